//! A ring of io_uring that sends by reference.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use nix::errno::Errno;

/// A send and its notification; there is never more on its way than a scenario sends,
/// and what does not fit the kernel keeps.
const ENTRIES: u32 = 8;

/// A ring of one thread.
pub struct Ring {
    ring: IoUring,
    /// Sends that are yet to be told done with.
    promised: usize,
}

/// What the ring tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// What a send has returned, and whether more is to be told of it.
    Returned {
        /// Bytes, or minus the errno.
        result: i32,
        /// IORING_CQE_F_MORE.
        more: bool,
    },
    /// The pages of the send that was given this number are done with.
    Done(u64),
}

impl Ring {
    /// A ring for the calling thread alone. What happens in it happens while that thread
    /// waits for it: a completion interrupts no other call, which would look as if a
    /// signal had.
    pub fn open() -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(ENTRIES)?;
        Ok(Ring { ring, promised: 0 })
    }

    /// How many sends are yet to be told done with.
    pub fn owed(&self) -> usize {
        self.promised
    }

    /// IORING_OP_SEND_ZC of `part`, to be known as `number`; waits until it has returned.
    /// `tell` is told of everything as it is seen.
    ///
    /// # Errors
    /// Those of the ring, not of the send.
    ///
    /// # Safety
    /// `part` must be mapped until this returns. From then on the kernel holds the pages
    /// themselves.
    pub unsafe fn send(
        &mut self,
        socket: &impl AsFd,
        part: libc::iovec,
        number: u64,
        mut tell: impl FnMut(Told),
    ) -> io::Result<()> {
        let socket = Fd(socket.as_fd().as_raw_fd());
        let entry = opcode::SendZc::new(socket, part.iov_base.cast(), part.iov_len as u32)
            .build()
            .user_data(number);
        // SAFETY: the caller keeps the memory, and the socket is open until the send
        // has returned, which is waited for.
        unsafe { self.ring.submission().push(&entry) }.map_err(io::Error::other)?;
        let mut returned = false;
        while !returned {
            match self.ring.submit_and_wait(1) {
                // A signal, which is not one to what is in the ring.
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                result => drop(result?),
            }
            self.drain(|told| {
                returned |= matches!(told, Told::Returned { .. });
                tell(told);
            });
        }
        Ok(())
    }

    /// Waits for something to be told, at most so long.
    pub fn wait(&mut self, patience: Duration, tell: impl FnMut(Told)) -> io::Result<()> {
        let patience = Timespec::from(patience);
        let args = SubmitArgs::new().timespec(&patience);
        let result = self.ring.submitter().submit_with_args(1, &args);
        self.drain(tell);
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ETIME | Errno::EINTR) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn drain(&mut self, mut tell: impl FnMut(Told)) {
        for entry in self.ring.completion() {
            match cqueue::notif(entry.flags()) {
                true => {
                    self.promised = self.promised.saturating_sub(1);
                    tell(Told::Done(entry.user_data()));
                }
                false => {
                    let more = cqueue::more(entry.flags());
                    self.promised += usize::from(more);
                    let result = entry.result();
                    tell(Told::Returned { result, more });
                }
            }
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("promised", &self.promised)
            .finish_non_exhaustive()
    }
}
