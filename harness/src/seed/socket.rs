//! Sockets: the first address that works, peers that vanish, and waiting.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, TcpKeepalive, Type};

/// Connections that wait to be taken.
const BACKLOG: i32 = 16;

/// What became of the addresses before the one that works, or of all.
#[derive(Debug, Default)]
pub struct Tries(pub Vec<(SocketAddr, io::Error)>);

impl fmt::Display for Tries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str("the name has no address"),
            [(_, error)] => write!(f, "{error}"),
            several => {
                for (index, (address, error)) in several.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{}: {error}", address.ip())?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Tries {}

/// What a try of several addresses has led to.
#[derive(Debug)]
pub struct Found<T> {
    /// What works.
    pub it: T,
    /// Its address.
    pub address: SocketAddr,
    /// The addresses before it.
    pub skipped: Tries,
}

/// Tries the addresses in order, up to the first one that works.
///
/// # Errors
/// None does; why.
pub fn first<T>(
    addresses: &[SocketAddr],
    attempt: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<Found<T>, Tries> {
    let mut skipped = Tries::default();
    for &address in addresses {
        match attempt(address) {
            Ok(it) => {
                return Ok(Found {
                    it,
                    address,
                    skipped,
                });
            }
            Err(error) => skipped.0.push((address, error)),
        }
    }
    Err(skipped)
}

/// A TCP connection; `timeout` is for the handshake.
///
/// # Errors
/// As connect(2).
pub fn connect(address: SocketAddr, timeout: Option<Duration>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    match timeout {
        Some(timeout) => socket.connect_timeout(&address.into(), timeout)?,
        None => socket.connect(&address.into())?,
    }
    Ok(socket)
}

/// A UDP socket that sends to `address` and hears of nobody else.
///
/// # Errors
/// As socket(2), connect(2).
pub fn datagrams_to(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.connect(&address.into())?;
    Ok(socket)
}

/// Where connections, or datagrams, arrive.
///
/// # Errors
/// As bind(2), listen(2).
pub fn listen(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    if kind == Type::STREAM {
        // The last connection may still be known to this port.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
    } else {
        socket.bind(&address.into())?;
    }
    Ok(socket)
}

/// Makes the kernel give up a TCP connection when the other side has acknowledged nothing
/// for this time, or taken nothing because its program does not read, and ask now and
/// then when there is nothing to acknowledge: a machine that loses its power says no
/// goodbye.
///
/// # Errors
/// As setsockopt(2).
pub fn notice_silence(socket: &Socket, timeout: Option<Duration>) -> io::Result<()> {
    let Some(timeout) = timeout else {
        return Ok(());
    };
    // Whole seconds; a fraction would be no time.
    let part = |share: u32| (timeout / share).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new()
        .with_time(part(2))
        .with_interval(part(6));
    socket.set_tcp_keepalive(&keepalive)?;
    // tcp(7): overrides the number of probes that keepalive would send.
    socket.set_tcp_user_timeout(Some(timeout.max(Duration::from_millis(1))))
}

/// Bytes that the other side's kernel has not acknowledged (tcp(7), SIOCOUTQ).
#[must_use]
pub fn unacknowledged(socket: &Socket) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: it writes one int, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    Errno::result(result).ok()?;
    u64::try_from(bytes).ok()
}

/// Why [`wait`] has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// A call would not block.
    Ready,
    /// It is late.
    Late,
    /// A signal, e.g. of the timer.
    Signal,
}

/// Waits until `socket` can be read from or written to, as `events` say. With no events
/// it waits for nothing but the time.
///
/// # Errors
/// As poll(2).
pub fn wait(socket: &impl AsFd, events: PollFlags, deadline: Option<Instant>) -> io::Result<Woken> {
    let timeout = match deadline {
        None => PollTimeout::NONE,
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            // Rounded up, so that the last millisecond is slept and not spun through.
            let left = left + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        }
    };
    let mut asked = [PollFd::new(socket.as_fd(), events)];
    // An error of the socket makes it ready, asked or not.
    let asked = if events.is_empty() {
        &mut []
    } else {
        &mut asked[..]
    };
    match poll(asked, timeout) {
        Ok(0) => Ok(Woken::Late),
        Ok(_) => Ok(Woken::Ready),
        Err(Errno::EINTR) => Ok(Woken::Signal),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn local(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn the_first_address_that_works_is_taken_and_the_others_are_told() {
        let listener = TcpListener::bind(local(0)).unwrap();
        let works = listener.local_addr().unwrap();
        // Bound and not listening: nobody else gets the port, and it refuses.
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bound.bind(&local(0).into()).unwrap();
        let refuses = bound.local_addr().unwrap().as_socket().unwrap();
        let found = first(&[refuses, works], |it| connect(it, None)).unwrap();
        assert_eq!(found.address, works);
        let [(skipped, error)] = &found.skipped.0[..] else {
            panic!("{:?}", found.skipped);
        };
        assert_eq!(*skipped, refuses);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

        let none = first(&[refuses, refuses], |it| connect(it, None)).unwrap_err();
        let text = none.to_string();
        assert_eq!(
            text.matches("127.0.0.1: Connection refused").count(),
            2,
            "{text}"
        );
        let empty = first(&[], |it| connect(it, None)).unwrap_err();
        assert!(empty.to_string().contains("no address"), "{empty}");
    }

    #[test]
    fn options_against_silence_are_set() {
        let listener = TcpListener::bind(local(0)).unwrap();
        let socket = connect(listener.local_addr().unwrap(), None).unwrap();
        notice_silence(&socket, None).unwrap();
        assert!(!socket.keepalive().unwrap());
        notice_silence(&socket, Some(Duration::from_secs(30))).unwrap();
        assert!(socket.keepalive().unwrap());
        let timeout = socket.tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(Duration::from_secs(30)));
        assert_eq!(unacknowledged(&socket), Some(0));
    }
}
