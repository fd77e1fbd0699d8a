//! The pipes of a scenario, and what goes in and out of them.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice, tee};
use nix::sys::sendfile::sendfile64;
use nix::unistd::pipe2;

use super::done::{Done, done, failed, outcome, returned, skipped};
use super::{Stage, lock};
use crate::scenario::{Copying, Filling, Range};

/// The user pipe, and how many bytes are in it.
#[derive(Debug)]
pub struct UserPipe {
    read: OwnedFd,
    write: OwnedFd,
    bytes: u64,
}

impl Stage {
    pub(super) fn set_pipe(&self, capacity_bytes: u32) -> Done {
        let mut guard = lock(&self.pipe);
        let result = match guard.as_ref() {
            Some(pipe) => resize(pipe, capacity_bytes),
            None => UserPipe::open().and_then(|pipe| {
                let result = resize(&pipe, capacity_bytes);
                *guard = Some(pipe);
                result
            }),
        };
        match result {
            Ok(bytes) => returned(bytes),
            Err(errno) => failed(errno),
        }
    }

    pub(super) fn fill(&self, range: Range, by: Filling, flags: SpliceFFlags) -> Done {
        let mut guard = lock(&self.pipe);
        let Some(pipe) = guard.as_mut() else {
            return skipped();
        };
        let (file, len) = (self.file.file(), range.len as usize);
        let mut offset = range.offset as libc::loff_t;
        let at = Some(&mut offset);
        let result = match by {
            Filling::Sendfile => pipe
                .do_not_wait()
                .and_then(|()| sendfile64(&pipe.write, file, at, len)),
            Filling::Splice | Filling::Move => splice(file, at, &pipe.write, None, len, flags),
        };
        pipe.bytes += result.unwrap_or(0) as u64;
        Done {
            outcome: outcome(result.map(|bytes| bytes as isize)),
            offset_after: u64::try_from(offset).ok(),
        }
    }

    pub(super) fn write_to_pipe(&self, pipe: Option<&mut UserPipe>, range: Range) -> Done {
        let Some(pipe) = pipe else {
            return skipped();
        };
        if let Err(errno) = pipe.do_not_wait() {
            return failed(errno);
        }
        // A write that meets the end of the mapping leaves an empty buffer in the pipe
        // (fs/pipe.c:pipe_write), and how many there are must be known.
        let (_guard, range) = self.mapped(range);
        if range.len == 0 {
            return skipped();
        }
        let result = self.file.copy_to(&pipe.write, Copying::Write, range);
        pipe.bytes += result.unwrap_or(0) as u64;
        done(outcome(result.map(|bytes| bytes as isize)))
    }

    pub(super) fn vmsplice(&self, range: Range, gift: bool) -> Done {
        let mut guard = lock(&self.pipe);
        let Some(pipe) = guard.as_mut() else {
            return skipped();
        };
        let result = self.file.vmsplice(&pipe.write, range, gift);
        pipe.bytes += result.unwrap_or(0) as u64;
        done(outcome(result.map(|bytes| bytes as isize)))
    }

    pub(super) fn tee(&self, len: u64) -> Done {
        self.to_second(|pipe, second| duplicate(pipe, second, len))
    }

    pub(super) fn pour(&self, len: u64) -> Done {
        self.to_second(|pipe, second| pour(pipe, second, len))
    }

    fn to_second(&self, go: impl Fn(&mut UserPipe, &mut UserPipe) -> nix::Result<usize>) -> Done {
        let mut other = lock(&self.second_pipe);
        let result = match lock(&self.pipe).as_mut() {
            Some(pipe) if pipe.bytes > 0 => second(&mut other).and_then(|second| go(pipe, second)),
            _ => return skipped(),
        };
        done(outcome(result.map(|bytes| bytes as isize)))
    }

    pub(super) fn splice_out(
        &self,
        pipe: &mut Option<UserPipe>,
        len: u64,
        flags: SpliceFFlags,
    ) -> Done {
        let pipe = match pipe {
            // An empty pipe with a writer blocks for ever, and the writer is us.
            Some(pipe) if pipe.bytes > 0 => pipe,
            _ => return skipped(),
        };
        let result = splice(
            &pipe.read,
            None,
            self.sender.as_fd(),
            None,
            len as usize,
            flags,
        );
        pipe.bytes = pipe.bytes.saturating_sub(result.unwrap_or(0) as u64);
        Done {
            outcome: outcome(result.map(|bytes| bytes as isize)),
            offset_after: None,
        }
    }
}

impl UserPipe {
    fn open() -> nix::Result<UserPipe> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(UserPipe {
            read,
            write,
            bytes: 0,
        })
    }

    /// What has no flag for it does not wait for room from now on; all else is told so call by
    /// call.
    fn do_not_wait(&self) -> nix::Result<()> {
        fcntl(&self.write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
    }
}

fn duplicate(from: &UserPipe, to: &mut UserPipe, len: u64) -> nix::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
    let bytes = tee(&from.read, &to.write, len as usize, flags)?;
    to.bytes += bytes as u64;
    Ok(bytes)
}

fn pour(from: &mut UserPipe, to: &mut UserPipe, len: u64) -> nix::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
    let bytes = splice(&from.read, None, &to.write, None, len as usize, flags)?;
    from.bytes = from.bytes.saturating_sub(bytes as u64);
    to.bytes += bytes as u64;
    Ok(bytes)
}

/// The second pipe, which is made when it is first needed.
pub(super) fn second(pipe: &mut Option<UserPipe>) -> nix::Result<&mut UserPipe> {
    if pipe.is_none() {
        *pipe = Some(UserPipe::open()?);
    }
    Ok(pipe.as_mut().expect("it was made just now"))
}

fn resize(pipe: &UserPipe, capacity_bytes: u32) -> nix::Result<u64> {
    let capacity = i32::try_from(capacity_bytes).unwrap_or(i32::MAX);
    let got = fcntl(&pipe.write, FcntlArg::F_SETPIPE_SZ(capacity))?;
    Ok(u64::try_from(got).unwrap_or(0))
}
