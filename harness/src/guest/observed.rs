//! What the sender's socket is like whenever a call has returned: what is still in
//! flight then, and in which state the connection is.
//!
//! No history has it: nothing is judged by it. A fuzzer climbs by it, and only while it
//! does is it asked for.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::kcov;

/// How many numbers SO_MEMINFO has (include/uapi/linux/sock_diag.h, SK_MEMINFO_VARS).
const NUMBERS: usize = 9;
/// Which of them: what was handed down and is not let go of, in bytes: by a queue of the
/// link, a driver, the way up to the receiver.
const WMEM_ALLOC: usize = 2;
/// Which of them: what is in the write and the retransmit queue, in bytes.
const WMEM_QUEUED: usize = 5;

/// A socket right after a call on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Index of the step that the call was of.
    pub step: usize,
    /// What lower layers hold, in bytes: it grows with the queue of the link.
    pub below_bytes: u32,
    /// What TCP holds to be sent, or sent again, in bytes: the pages in flight.
    pub queued_bytes: u32,
    /// What TCP says of the connection; `None`: it is none of TCP's.
    pub tcp: Option<Connection>,
}

/// tcp(7), TCP_INFO: in packets, but for the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// open, disorder, CWR, recovery or loss (include/uapi/linux/tcp.h, enum
    /// tcp_ca_state).
    pub congestion: u8,
    /// How often the timer has run out since the last acknowledgment.
    pub timeouts: u8,
    /// Sent and not acknowledged.
    pub unacked: u32,
    /// Of these, those that the receiver has behind a gap.
    pub sacked: u32,
    /// Of these, those that are taken for lost.
    pub lost: u32,
    /// Of these, those that were sent again.
    pub retransmitted: u32,
}

static ASKED: AtomicBool = AtomicBool::new(false);
static SEEN: Mutex<Vec<Observed>> = Mutex::new(Vec::new());

/// From now on sockets are looked at.
pub fn start() {
    ASKED.store(true, Ordering::SeqCst);
}

/// What was seen since this was last called, in order.
pub fn take() -> Vec<Observed> {
    std::mem::take(&mut SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Looks at a socket, if that is asked for; one that is closed has nothing to see.
pub(super) fn look(step: usize, socket: &impl AsFd) {
    if !ASKED.load(Ordering::Relaxed) {
        return;
    }
    // To look is nothing that the scenario does.
    let seen = kcov::uncounted(|| observe(step, socket));
    if let Some(seen) = seen {
        let mut all = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(seen);
    }
}

fn observe(step: usize, socket: &impl AsFd) -> Option<Observed> {
    let memory: [u32; NUMBERS] = option(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    let tcp: Option<libc::tcp_info> = option(socket, libc::IPPROTO_TCP, libc::TCP_INFO);
    Some(Observed {
        step,
        below_bytes: memory[WMEM_ALLOC],
        queued_bytes: memory[WMEM_QUEUED],
        tcp: tcp.map(|it| Connection {
            congestion: it.tcpi_ca_state,
            timeouts: it.tcpi_retransmits,
            unacked: it.tcpi_unacked,
            sacked: it.tcpi_sacked,
            lost: it.tcpi_lost,
            retransmitted: it.tcpi_retrans,
        }),
    })
}

/// getsockopt(2) of a value that is integers and nothing else; `None`: there is none.
fn option<T: Copy>(socket: &impl AsFd, level: i32, name: i32) -> Option<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: as many bytes as there are, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    // SAFETY: zeros are a value of integers, and so is what the kernel has put there.
    (result == 0).then(|| unsafe { value.assume_init() })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_is_not_acknowledged_is_seen_and_a_closed_socket_is_not() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let before = observe(3, &sender).unwrap();
        assert_eq!((before.step, before.queued_bytes), (3, 0));
        assert_eq!(before.tcp.map(|it| it.unacked), Some(0));
        // More than the other end takes while nobody reads.
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 1 << 16]).is_ok() {}
        let after = observe(4, &sender).unwrap();
        assert!(after.queued_bytes > 0, "{after:?}");

        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(observe(0, &one).unwrap().tcp, None);
        assert_eq!(observe(0, &std::fs::File::open("/").unwrap()), None);
    }

    #[test]
    fn nobody_looks_unless_asked() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        take();
        look(0, &listener);
        assert_eq!(take(), []);
    }
}
