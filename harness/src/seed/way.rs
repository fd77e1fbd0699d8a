//! How references to the file's pages get onto the socket.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use socket2::Socket;

const PIPE_MAX_SIZE: &str = "/proc/sys/fs/pipe-max-size";

/// A way to send.
#[derive(Debug)]
pub enum Way {
    /// sendfile(2).
    Sendfile,
    /// splice(2) into a pipe, and from there to the socket.
    Splice(Pipe),
}

impl Way {
    /// One call, or two, that send at most `len` bytes of `file` from `offset` on. It may
    /// be fewer; 0 is the end of the file.
    ///
    /// To be called next for what comes right after: a pipe may still hold bytes.
    ///
    /// # Errors
    /// As sendfile(2), splice(2); nothing was sent then.
    pub fn send(&mut self, socket: &Socket, file: &File, offset: u64, len: u64) -> io::Result<u64> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let mut offset = i64::try_from(offset).map_err(io::Error::other)?;
        match self {
            Way::Sendfile => {
                // SAFETY: both descriptors are open and `offset` outlives the call.
                let sent = unsafe {
                    libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &mut offset, len)
                };
                Ok(Errno::result(sent)? as u64)
            }
            Way::Splice(pipe) => pipe.send(socket, file, offset, len),
        }
    }
}

/// The pipe between the file and the socket.
#[derive(Debug)]
pub struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    /// Bytes in it.
    held: usize,
    capacity: usize,
}

impl Pipe {
    /// A pipe for at least `size` bytes; without a size, as the kernel makes them.
    ///
    /// # Errors
    /// There is none to be had, or none of this size: with the option's name.
    pub fn new(size: Option<u32>) -> io::Result<Pipe> {
        let (output, input) = pipe2(OFlag::O_CLOEXEC)?;
        if let Some(size) = size {
            let asked = i32::try_from(size).unwrap_or(i32::MAX);
            fcntl(&input, FcntlArg::F_SETPIPE_SZ(asked)).map_err(|errno| refused(size, errno))?;
        }
        let capacity = fcntl(&input, FcntlArg::F_GETPIPE_SZ)?;
        Ok(Pipe {
            output,
            input,
            held: 0,
            capacity: usize::try_from(capacity).unwrap_or_default(),
        })
    }

    /// What the kernel made of the size: whole pages, a power of two of them.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.capacity
    }

    fn send(
        &mut self,
        socket: &Socket,
        file: &File,
        mut offset: i64,
        len: usize,
    ) -> io::Result<u64> {
        // No SPLICE_F_MORE: a kernel that waits for its pages does not for a packet that
        // waits for more.
        let flags = SpliceFFlags::empty();
        if self.held == 0 {
            // More than fits would wait for a reader, which is us.
            let len = len.min(self.capacity);
            self.held = splice(file, Some(&mut offset), &self.input, None, len, flags)?;
            if self.held == 0 {
                return Ok(0);
            }
        }
        let sent = splice(self.output.as_fd(), None, socket, None, self.held, flags)?;
        self.held -= sent;
        Ok(sent as u64)
    }
}

fn refused(size: u32, errno: Errno) -> io::Error {
    let limit = std::fs::read_to_string(PIPE_MAX_SIZE).unwrap_or_default();
    let why = match errno {
        Errno::EPERM => format!(
            "more than {PIPE_MAX_SIZE} ({}) lets one have who is not root, or than is left of \
             /proc/sys/fs/pipe-user-pages-soft",
            limit.trim()
        ),
        _ => format!("{}; {PIPE_MAX_SIZE} is {}", errno.desc(), limit.trim()),
    };
    io::Error::new(
        io::Error::from(errno).kind(),
        format!("--pipe-size {size}: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;

    /// A socket pair is enough of a network here.
    fn sent_by(way: &mut Way, bytes: usize) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let (from, mut to) = UnixStream::pair().unwrap();
        let from = Socket::from(OwnedFd::from(from));
        let reader = thread::spawn(move || {
            let mut seen = Vec::new();
            to.read_to_end(&mut seen).unwrap();
            seen
        });
        let mut offset = 0;
        loop {
            let left = content.len() as u64 - offset;
            match way.send(&from, &file, offset, left.max(1)).unwrap() {
                0 => break,
                sent => offset += sent,
            }
        }
        assert_eq!(offset, content.len() as u64);
        drop(from);
        let seen = reader.join().unwrap();
        assert!(seen == content, "{} bytes arrived", seen.len());
        seen
    }

    #[test]
    fn all_ways_send_the_same_whatever_fits_into_the_pipe() {
        let bytes = 300_001;
        sent_by(&mut Way::Sendfile, bytes);
        for size in [None, Some(1), Some(5000), Some(1 << 20)] {
            let pipe = Pipe::new(size).unwrap();
            assert!(pipe.capacity_bytes() >= size.unwrap_or_default() as usize);
            sent_by(&mut Way::Splice(pipe), bytes);
        }
    }

    #[test]
    fn a_socket_that_takes_a_part_gets_the_rest_in_order() {
        let bytes = 1 << 20;
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        file.write_all(&content).unwrap();
        for mut way in [
            Way::Sendfile,
            Way::Splice(Pipe::new(Some(1 << 20)).unwrap()),
        ] {
            let (from, mut to) = UnixStream::pair().unwrap();
            from.set_nonblocking(true).unwrap();
            to.set_nonblocking(true).unwrap();
            let from = Socket::from(OwnedFd::from(from));
            // One packet goes beyond this, a second does not: no call can be whole.
            from.set_send_buffer_size(10_000).unwrap();
            let mut seen = Vec::new();
            let (mut offset, mut parts) = (0, 0);
            while offset < bytes {
                match way.send(&from, &file, offset, bytes - offset) {
                    Ok(sent) => {
                        offset += sent;
                        parts += 1;
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                // Up to WouldBlock: all that is there.
                let _ = to.read_to_end(&mut seen);
            }
            assert!(
                seen == content,
                "{} bytes arrived in {parts} parts",
                seen.len()
            );
            assert!(parts > 4, "{parts}");
        }
    }

    #[test]
    fn what_the_socket_did_not_take_is_sent_next() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut pipe = Pipe::new(None).unwrap();
        // As if the socket had taken two bytes of a first call.
        let mut offset = 2;
        let flags = SpliceFFlags::empty();
        pipe.held = splice(&file, Some(&mut offset), &pipe.input, None, 5, flags).unwrap();
        let (from, mut to) = UnixStream::pair().unwrap();
        let from = Socket::from(OwnedFd::from(from));
        let mut way = Way::Splice(pipe);
        assert_eq!(way.send(&from, &file, 2, 8).unwrap(), 5);
        assert_eq!(way.send(&from, &file, 7, 3).unwrap(), 3);
        drop(from);
        let mut seen = String::new();
        to.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "23456789");
    }

    #[test]
    fn a_pipe_that_cannot_be_names_the_option_and_the_limit() {
        for errno in [Errno::EPERM, Errno::ENOMEM] {
            let text = refused(1 << 30, errno).to_string();
            assert!(text.contains("--pipe-size 1073741824"), "{text}");
            assert!(text.contains(PIPE_MAX_SIZE), "{text}");
        }
    }
}
