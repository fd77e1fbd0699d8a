//! The connection from the sender's namespace to the receiver's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::link::Link;
use super::netns::NetNs;
use crate::scenario::{Family, SocketSpec};

const LOOK_UP_INTERVAL: Duration = Duration::from_secs(5);

/// The receiver's listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: SocketAddr,
}

impl Listener {
    /// Listens in `receiver`, on a port of the kernel's choice. `rcvbuf_bytes`
    /// is set before listen(2), so that accepted sockets have it from the
    /// handshake on, window scale included.
    pub fn open(
        receiver: &NetNs,
        family: Family,
        rcvbuf_bytes: Option<u32>,
    ) -> io::Result<Listener> {
        receiver.with(|| {
            let socket = stream(family)?;
            if let Some(bytes) = rcvbuf_bytes {
                socket.set_recv_buffer_size(bytes as usize)?;
            }
            let address = SocketAddr::new(Link::receiver_address(family), 0);
            // Inherited by accepted sockets: how often a reader looks at its
            // deadline while nothing arrives.
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
    pub fn accept(&self) -> io::Result<Socket> {
        let (socket, _) = self.socket.accept()?;
        Ok(socket)
    }
}

/// The sending end, connected.
#[derive(Debug)]
pub struct Sender {
    socket: Socket,
}

impl Sender {
    /// Connects to `listener` and sets the options. Buffers are set before the
    /// handshake, O_NONBLOCK after it.
    pub fn connect(spec: &SocketSpec, listener: &Listener) -> io::Result<Sender> {
        let socket = stream(spec.family)?;
        if let Some(bytes) = spec.sndbuf_bytes {
            socket.set_send_buffer_size(bytes as usize)?;
        }
        socket.connect(&listener.address.into())?;
        if spec.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if spec.cork {
            socket.set_tcp_cork(true)?;
        }
        if spec.nonblock {
            socket.set_nonblocking(true)?;
        }
        let timeout = |us| (us > 0).then(|| Duration::from_micros(us));
        if let Some(timeout) = timeout(spec.user_timeout_us) {
            socket.set_tcp_user_timeout(Some(timeout))?;
        }
        if let Some(timeout) = timeout(spec.send_timeout_us) {
            socket.set_write_timeout(Some(timeout))?;
        }
        Ok(Sender { socket })
    }

    /// Ends the stream: the receiver reads to its end. Flushes a cork.
    pub fn finish(&self) -> io::Result<()> {
        self.socket.shutdown(std::net::Shutdown::Write)
    }

    /// Sets TCP_CORK or takes it away.
    pub fn cork(&self, on: bool) -> io::Result<()> {
        self.socket.set_tcp_cork(on)
    }

    /// Whether TCP has given up on this connection after its last retransmission
    /// (tcp(7), tcp_retries2). The receiver never hears of that.
    pub fn timed_out(&self) -> bool {
        let error = self.socket.take_error().ok().flatten();
        error.is_some_and(|error| error.raw_os_error() == Some(libc::ETIMEDOUT))
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

fn stream(family: Family) -> io::Result<Socket> {
    let domain = match family {
        Family::Tcp4 => Domain::IPV4,
        Family::Tcp6 => Domain::IPV6,
    };
    Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
}
