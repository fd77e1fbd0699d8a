//! Child processes that never outlive us.
//!
//! A program that we start (a kernel, a compiler, `apt`) starts processes of its
//! own, and none of them may be left behind: not when the program ends, not when
//! we lose interest, and not when we are killed with `kill -9` and get no chance
//! to clean up. Signals to the process group miss whoever changed the group, and
//! `PR_SET_PDEATHSIG` reaches one generation only. So between us and the program
//! stands a small process, the *supervisor*:
//!
//! ```text
//! this process ──lifeline pipe──> supervisor (subreaper) ──> program ──> ...
//! ```
//!
//! It is a fork of us that never executes anything. Orphans anywhere below it
//! become its children (`PR_SET_CHILD_SUBREAPER`, prctl(2)), so it can kill them
//! all: when the program ends, and when the lifeline, a pipe whose only write end
//! is ours, reports end of file. It then ends the way the program ended, so that
//! [`std::process::Child`] of the supervisor reads like that of the program.

mod interrupt;
mod supervisor;
#[cfg(test)]
mod tests;

pub use interrupt::{INTERRUPTED_STATUS, interrupted, watch_for_interrupts};

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A child process whose every descendant ends with it, and which ends when this
/// process ends, however this process ends.
#[derive(Debug)]
#[must_use = "dropping it kills the child"]
pub struct Supervised {
    child: Child,
    /// Write end of the lifeline; closing it kills everything below the supervisor.
    lifeline: Option<OwnedFd>,
    status: Option<ExitStatus>,
}

/// Starts `command` under supervision. Standard streams, environment, directory
/// and `pre_exec` closures are as set in `command`; the program gets a session
/// without a terminal and a process group of its own, so that a Ctrl-C at our
/// terminal reaches us first.
///
/// A command is to be started once: `spawn` leaves a closure in it.
///
/// # Errors
/// What [`Command::spawn`] returns: among others the program cannot be executed,
/// or a process or a file descriptor is not to be had.
pub fn spawn(command: &mut Command) -> io::Result<Supervised> {
    start(command, None)
}

/// Like [`spawn`], and the supervisor removes `directory` with all it contains
/// once every process is gone, before [`Supervised::wait`] returns. This also
/// happens when this process has been killed.
///
/// # Errors
/// As [`spawn`]; a path with a NUL byte is `InvalidInput`. When the program could
/// not be executed, the directory is removed all the same.
pub fn spawn_removing(command: &mut Command, directory: &Path) -> io::Result<Supervised> {
    start(
        command,
        Some(CString::new(directory.as_os_str().as_bytes())?),
    )
}

fn start(command: &mut Command, directory: Option<CString>) -> io::Result<Supervised> {
    let (lifeline_end, lifeline) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // The closure stays in the command after we return. Should the command be
    // started again, it finds -1 here and does nothing.
    let armed = Arc::new(AtomicI32::new(lifeline_end.as_raw_fd()));
    let plan = Arc::clone(&armed);
    // SAFETY: the closure runs between fork and exec, where another thread may
    // have held any lock at the time of the fork. It makes system calls on memory
    // that exists already: nothing in `supervisor` allocates or locks.
    unsafe {
        command.pre_exec(move || match plan.load(Ordering::Relaxed) {
            -1 => Ok(()),
            lifeline => supervisor::enter(lifeline, directory.as_deref()),
        });
    }
    let child = command.spawn();
    armed.store(-1, Ordering::Relaxed);
    Ok(Supervised {
        child: child?,
        lifeline: Some(lifeline),
        status: None,
    })
}

impl Supervised {
    /// The child as std knows it, for its streams. Its process id is that of the
    /// supervisor; use [`Supervised::kill`], not [`Child::kill`], to end it.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the end of the program and of everything it started, which is
    /// killed when the program ends. The status is the program's; a program that
    /// died by a signal is reported so, though never with a core dump.
    ///
    /// # Errors
    /// As waitpid(2).
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait()?;
        self.ended(status);
        Ok(status)
    }

    /// The status if the program has ended, without waiting.
    ///
    /// # Errors
    /// As waitpid(2).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        if let Some(status) = status {
            self.ended(status);
        }
        Ok(status)
    }

    /// Waits for the end for at most `limit` of wall-clock time; `None` means
    /// that the program is still running.
    ///
    /// # Errors
    /// As waitpid(2), pidfd_open(2), poll(2).
    pub fn wait_timeout(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        if let Some(status) = self.try_wait()? {
            return Ok(Some(status));
        }
        let deadline = Instant::now() + limit;
        let pidfd = pidfd_open(self.child.id())?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Round up, so that the last millisecond is slept and not spun through.
            let timeout = PollTimeout::try_from(left + Duration::from_micros(999))
                .unwrap_or(PollTimeout::MAX);
            match poll(
                &mut [PollFd::new(pidfd_ref(&pidfd), PollFlags::POLLIN)],
                timeout,
            ) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let status = self.try_wait()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
        }
    }

    /// Kills the program and all its descendants, and waits until they are gone.
    /// Does nothing when they are.
    ///
    /// # Errors
    /// As waitpid(2).
    pub fn kill(&mut self) -> io::Result<()> {
        if self.status.is_none() {
            self.lifeline = None;
            self.wait()?;
        }
        Ok(())
    }

    fn ended(&mut self, status: ExitStatus) {
        self.status = Some(status);
        self.lifeline = None;
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // The one way to fail is that somebody else reaped the supervisor: it is
        // gone then, and so is everything below it.
        let _ = self.kill();
    }
}

fn pidfd_ref(fd: &OwnedFd) -> std::os::fd::BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(fd)
}

/// pidfd_open(2), Linux 5.3.
fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: two integer arguments, and the result is checked.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
