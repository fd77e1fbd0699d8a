//! The connection from the sender's namespace to the receiver's: how TCP makes it,
//! and how the sender of any family ends it.

use std::fs::OpenOptions;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::error_queue;
use super::link::Link;
use super::netns::NetNs;
use super::orphan;
use super::receiver::Receiver;
use crate::scenario::{Congestion, DeviceKind, Family, SocketSpec};

/// How often a reader looks at its deadline while nothing arrives.
pub const LOOK_UP_INTERVAL: Duration = Duration::from_secs(5);

/// With packets lost both ways a handshake can fail; that is not what is tested.
const CONNECT_ATTEMPTS: usize = 20;

/// The receiver's listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: SocketAddr,
}

impl Listener {
    /// Listens in `receiver`, or where else this kind of link has it, on a port of the kernel's choice. `rcvbuf_bytes`
    /// is set before listen(2), so that accepted sockets have it from the
    /// handshake on, window scale included.
    pub fn open(
        receiver: &NetNs,
        (kind, family): (DeviceKind, Family),
        rcvbuf_bytes: Option<u32>,
    ) -> io::Result<Listener> {
        Link::at_receiver(receiver, kind, || {
            let socket = stream(family)?;
            if let Some(bytes) = rcvbuf_bytes {
                socket.set_recv_buffer_size(bytes as usize)?;
            }
            let address = SocketAddr::new(Link::receiver_address_over(kind, family), 0);
            // Inherited by accepted sockets.
            socket.set_read_timeout(Some(LOOK_UP_INTERVAL))?;
            // Inherited as well.
            reset_on_close(&socket);
            socket.bind(&address.into())?;
            socket.listen(8)?;
            let address = socket
                .local_addr()?
                .as_socket()
                .ok_or_else(|| io::Error::other("a listener without an IP address"))?;
            Ok(Listener { socket, address })
        })
    }

    /// Waits for one connection; fails with `WouldBlock` at times.
    pub fn accept(&self) -> io::Result<Receiver> {
        let (socket, _) = self.socket.accept()?;
        Ok(Receiver::stream(socket))
    }
}

/// The sending end, connected.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
    ending: Ending,
    /// Once it is closed; the local port, if it had one.
    closed: OnceLock<Option<u16>>,
}

/// How the receiver learns that nothing more will come.
#[derive(Debug)]
pub enum Ending {
    /// shutdown(2).
    Shutdown,
    /// TLS's close_notify alert, and shutdown(2): the alert also pushes a record that
    /// was kept open for more, which a shutdown would not.
    CloseNotify,
    /// Nothing on the wire tells it. What can arrive has arrived after this time, and
    /// the receiver then reads what is queued and nothing else.
    Datagrams {
        /// The other end.
        receiver: Receiver,
        /// From the last send.
        arrival: Duration,
    },
}

impl Sender {
    /// The sending end of a connection.
    pub fn new(socket: Socket, ending: Ending) -> Sender {
        Sender {
            socket,
            ending,
            closed: OnceLock::new(),
        }
    }

    /// Connects to `listener` and sets the options. Buffers are set before the
    /// handshake, O_NONBLOCK after it.
    pub fn connect(spec: &SocketSpec, listener: &Listener) -> io::Result<Sender> {
        let socket = stream(spec.family)?;
        if let Some(bytes) = spec.sndbuf_bytes {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        socket.connect(&listener.address.into())?;
        let sender = Sender::new(socket, Ending::Shutdown);
        sender.set_options(spec)?;
        Ok(sender)
    }

    /// Sets what can be set once it is connected.
    pub fn set_options(&self, spec: &SocketSpec) -> io::Result<()> {
        if spec.nodelay {
            self.socket.set_tcp_nodelay(true)?;
        }
        if spec.cork {
            match self.ending {
                Ending::Datagrams { .. } => self.cork_datagrams(true)?,
                _ => self.socket.set_tcp_cork(true)?,
            }
        }
        if spec.nonblock {
            self.socket.set_nonblocking(true)?;
        }
        if spec.timestamping {
            error_queue::have_times_told(&self.socket)?;
        }
        let timeout = |us| (us > 0).then(|| Duration::from_micros(us));
        if let Some(timeout) = timeout(spec.user_timeout_us) {
            self.socket.set_tcp_user_timeout(Some(timeout))?;
        }
        if let Some(timeout) = timeout(spec.send_timeout_us) {
            self.socket.set_write_timeout(Some(timeout))?;
        }
        if spec.tcp.notsent_lowat_bytes > 0 {
            self.socket
                .set_tcp_notsent_lowat(spec.tcp.notsent_lowat_bytes)?;
        }
        if let Some(congestion) = spec.tcp.congestion {
            self.set_congestion(congestion)?;
        }
        Ok(())
    }

    /// TCP_CONGESTION. Read back, since nothing that is received would tell some of them
    /// from others.
    fn set_congestion(&self, congestion: Congestion) -> io::Result<()> {
        let name = congestion.name();
        self.socket.set_tcp_congestion(name.as_bytes())?;
        let is = self.socket.tcp_congestion()?;
        let is = String::from_utf8_lossy(&is);
        match is.trim_end_matches('\0') == name {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "TCP_CONGESTION is {is}, not {name}"
            ))),
        }
    }

    /// Waits until poll(2) says that there is room, or that there will be none.
    pub fn await_room(&self) {
        let mut asked = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        // It fails for nothing but a signal, and then the next call says how it stands.
        let _ = poll(&mut asked, PollTimeout::NONE);
    }

    /// Ends what is sent: the receiver reads to its end. Flushes a cork.
    pub fn finish(&self) -> io::Result<()> {
        Sender::finish_all(&[self]).pop().unwrap_or(Ok(()))
    }

    /// The same of several, which share the link: what can arrive of any has arrived when
    /// the first of them ends.
    pub fn finish_all(senders: &[&Sender]) -> Vec<io::Result<()>> {
        let mut arrives_in = Duration::ZERO;
        let flushed = |sender: &&Sender| match &sender.ending {
            Ending::Datagrams { arrival, .. } => {
                arrives_in = arrives_in.max(*arrival);
                sender.cork_datagrams(false)
            }
            Ending::Shutdown | Ending::CloseNotify => Ok(()),
        };
        let flushed: Vec<io::Result<()>> = senders.iter().map(flushed).collect();
        if !arrives_in.is_zero() {
            std::thread::sleep(arrives_in);
        }
        let ended = senders.iter().zip(flushed);
        ended
            .map(|(sender, flushed)| sender.end().and(flushed))
            .collect()
    }

    fn end(&self) -> io::Result<()> {
        match &self.ending {
            Ending::Shutdown => self.socket.shutdown(Shutdown::Write),
            Ending::CloseNotify => {
                self.socket.set_nonblocking(false)?;
                send_close_notify(&self.socket)?;
                self.socket.shutdown(Shutdown::Write)
            }
            Ending::Datagrams { receiver, .. } => receiver.socket().shutdown(Shutdown::Read),
        }
    }

    /// close(2). The number stays taken, by what is good for nothing (O_PATH), so that a
    /// later call fails as on a number that is free, and nobody else is given it.
    pub fn close(&self) -> io::Result<()> {
        let nothing = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open("/")?;
        let local = self.socket.local_addr().ok().and_then(|it| it.as_socket());
        // SAFETY: both are open; `socket` goes on to own its number.
        let result = unsafe {
            libc::dup3(
                nothing.as_raw_fd(),
                self.socket.as_raw_fd(),
                libc::O_CLOEXEC,
            )
        };
        nix::errno::Errno::result(result)?;
        let _ = self.closed.set(local.map(|address| address.port()));
        Ok(())
    }

    /// UDP_CORK. Taking it away sends what waits, for MSG_MORE too.
    fn cork_datagrams(&self, on: bool) -> io::Result<()> {
        let on = libc::c_int::from(on);
        // SAFETY: the option's value is an int, and it outlives the call.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::IPPROTO_UDP,
                libc::UDP_CORK,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        nix::errno::Errno::result(result)?;
        Ok(())
    }

    /// Sets TCP_CORK or takes it away.
    pub fn cork(&self, on: bool) -> io::Result<()> {
        self.socket.set_tcp_cork(on)
    }

    /// Whether TCP has given up on this connection after its last retransmission
    /// (tcp(7), tcp_retries2). The receiver never hears of that. Once it is closed, all
    /// that can be seen is that it is no more.
    pub fn timed_out(&self) -> bool {
        if let Some(&Some(port)) = self.closed.get() {
            return orphan::is_gone(port).unwrap_or(false);
        }
        let error = self.socket.take_error().ok().flatten();
        error.is_some_and(|error| error.raw_os_error() == Some(libc::ETIMEDOUT))
    }

    /// Whether the scenario has closed it.
    pub fn is_closed(&self) -> bool {
        self.closed.get().is_some()
    }

    /// Waits for the receiver to close the connection.
    pub fn await_close(&self) {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        loop {
            match self.socket.recv(&mut byte) {
                Ok(1..) => {}
                // The sends are over, so it may block from here on.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && self.socket.set_nonblocking(false).is_ok() => {}
                // It closes by a reset: that is an error, and the end.
                Ok(0) | Err(_) => return,
            }
        }
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes close(2) of this socket reset the connection: nothing lingers, so one
/// scenario leaves no timer and no packet to the next.
pub fn reset_on_close(socket: &impl AsFd) {
    // Best effort: it fails only on a socket that is dead already.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Sends the alert that ends a TLS stream, as a record of its own type.
fn send_close_notify(socket: &Socket) -> io::Result<()> {
    const ALERT: u8 = 21;
    let mut close_notify = [1_u8, 0];
    let mut part = libc::iovec {
        iov_base: close_notify.as_mut_ptr().cast(),
        iov_len: close_notify.len(),
    };
    // Aligned as a cmsghdr is, and larger than one with its byte.
    let mut told = [0_u64; 8];
    // SAFETY: all zero is a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = told.as_mut_ptr().cast();
    // SAFETY: `told` has room for one header and one byte, and everything that
    // `message` points to outlives the call.
    let sent = unsafe {
        message.msg_controllen = libc::CMSG_SPACE(1) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_TLS;
        (*header).cmsg_type = libc::TLS_SET_RECORD_TYPE;
        (*header).cmsg_len = libc::CMSG_LEN(1) as _;
        *libc::CMSG_DATA(header) = ALERT;
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    nix::errno::Errno::result(sent)?;
    Ok(())
}

/// Tries to connect, again and again.
pub fn retry<T>(connect: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let mut attempt = 1;
    loop {
        match connect() {
            Err(error) if failed_on_the_way(&error) && attempt < CONNECT_ATTEMPTS => {
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// Whether a handshake can fail so because of what the link does: packets are lost, or an
/// IPv6 header gets corrupt, which the other end answers with a complaint.
fn failed_on_the_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut || error.raw_os_error() == Some(libc::EPROTO)
}

fn stream(family: Family) -> io::Result<Socket> {
    let domain = match family.over_ipv6() {
        false => Domain::IPV4,
        true => Domain::IPV6,
    };
    Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
}
