//! Connections of the families other than plain TCP, whose two ends one thread
//! makes before anything else happens: some need both ends to agree on more than
//! an address.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::clock;
use super::connection::{Ending, LOOK_UP_INTERVAL, Sender, reset_on_close};
use super::link::Link;
use super::receiver::Receiver;
use crate::oracle::arrival_ns;
use crate::scenario::{Family, Scenario, SocketSpec};

/// How long the receiver's end of a handshake may take: longer than the SYN-ACK is
/// sent again (tcp(7), tcp_synack_retries).
const ACCEPT_WITHIN: Duration = Duration::from_secs(100);

/// Both ends of a new connection.
pub fn connect(link: &Link, scenario: &Scenario) -> io::Result<(Sender, Receiver)> {
    let spec = &scenario.setup.socket;
    let (sender, receiver) = match spec.family {
        Family::Tcp4 | Family::Tcp6 | Family::Mptcp4 | Family::Mptcp6 => {
            let (sender, receiver) = stream(link, spec)?;
            (
                Sender::new(sender, Ending::Shutdown),
                Receiver::stream(receiver),
            )
        }
        Family::Ktls4 => {
            let (sender, receiver) = stream(link, spec)?;
            encrypt(&sender, sockopt::TcpTlsTx)?;
            encrypt(&receiver, sockopt::TcpTlsRx)?;
            (
                Sender::new(sender, Ending::CloseNotify),
                Receiver::records(receiver),
            )
        }
        Family::Unix => {
            let (sender, receiver) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
            set_sndbuf(&sender, spec)?;
            (
                Sender::new(sender, Ending::Shutdown),
                Receiver::stream(receiver),
            )
        }
        Family::UnixSeqpacket => {
            let (sender, receiver) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
            set_sndbuf(&sender, spec)?;
            (
                Sender::new(sender, Ending::Shutdown),
                // They end as a stream does, by a shutdown of the other end.
                Receiver::datagrams(receiver),
            )
        }
        Family::Vsock => {
            let (sender, receiver) = vsock()?;
            (
                Sender::new(sender, Ending::Shutdown),
                Receiver::stream(receiver),
            )
        }
        Family::Udp4 | Family::Udp6 => {
            let (sender, receiver) = datagrams(link, spec)?;
            let receiver = Receiver::datagrams(receiver);
            let ending = Ending::Datagrams {
                receiver: receiver.clone(),
                arrival: Duration::from_nanos(arrival_ns(scenario)) + work()?,
            };
            (Sender::new(sender, ending), receiver)
        }
    };
    // How often the reader looks at its deadline while nothing arrives.
    receiver.socket().set_read_timeout(Some(LOOK_UP_INTERVAL))?;
    reset_on_close(receiver.socket());
    sender.set_options(spec)?;
    Ok((sender, receiver))
}

/// How long the machine itself may take to let a datagram arrive, where work takes time.
fn work() -> io::Result<Duration> {
    Ok(match clock::is_virtual()? {
        true => Duration::ZERO,
        false => Duration::from_millis(300),
    })
}

fn set_sndbuf(sender: &Socket, spec: &SocketSpec) -> io::Result<()> {
    match spec.sndbuf_bytes {
        Some(bytes) => sender.set_send_buffer_size(bytes as usize),
        None => Ok(()),
    }
}

/// A socket of the receiver's, with its buffer, bound to a port of the kernel's
/// choice.
fn bound(link: &Link, spec: &SocketSpec, kind: Type, proto: Protocol) -> io::Result<Socket> {
    Link::at_receiver(link.receiver(), link.kind(), || {
        let address = SocketAddr::new(Link::receiver_address_over(link.kind(), spec.family), 0);
        let socket = Socket::new(Domain::for_address(address), kind, Some(proto))?;
        if let Some(bytes) = spec.rcvbuf_bytes {
            socket.set_recv_buffer_size(bytes as usize)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    })
}

fn stream(link: &Link, spec: &SocketSpec) -> io::Result<(Socket, Socket)> {
    let protocol = match spec.family {
        Family::Mptcp4 | Family::Mptcp6 => Protocol::MPTCP,
        _ => Protocol::TCP,
    };
    let listener = bound(link, spec, Type::STREAM, protocol)?;
    listener.listen(1)?;
    let address = listener.local_addr()?;
    let sender = Socket::new(address.domain(), Type::STREAM, Some(protocol))?;
    set_sndbuf(&sender, spec)?;
    sender.connect(&address)?;
    Ok((sender, accept(&listener)?))
}

fn vsock() -> io::Result<(Socket, Socket)> {
    let listener = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    listener.bind(&SockAddr::vsock(
        libc::VMADDR_CID_LOCAL,
        libc::VMADDR_PORT_ANY,
    ))?;
    listener.listen(1)?;
    let sender = Socket::new(Domain::VSOCK, Type::STREAM, None)?;
    sender.connect(&listener.local_addr()?)?;
    Ok((sender, accept(&listener)?))
}

/// The other end of a connection that is made already, as the sender sees it. With
/// packets lost it may not be: then all is to be tried again.
fn accept(listener: &Socket) -> io::Result<Socket> {
    // Not by SO_RCVTIMEO: accept(2) of MPTCP takes no notice of it (Linux 6.12, 7.3).
    listener.set_nonblocking(true)?;
    let mut asked = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let within = PollTimeout::try_from(ACCEPT_WITHIN).unwrap_or(PollTimeout::MAX);
    poll(&mut asked, within)?;
    match listener.accept() {
        Ok((socket, _)) => Ok(socket),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error),
    }
}

/// Each end knows the other: what an earlier scenario has left on its way is
/// nobody's.
fn datagrams(link: &Link, spec: &SocketSpec) -> io::Result<(Socket, Socket)> {
    let receiver = bound(link, spec, Type::DGRAM, Protocol::UDP)?;
    let address = receiver.local_addr()?;
    let sender = Socket::new(address.domain(), Type::DGRAM, Some(Protocol::UDP))?;
    set_sndbuf(&sender, spec)?;
    sender.connect(&address)?;
    receiver.connect(&sender.local_addr()?)?;
    Ok((sender, receiver))
}

/// Puts TLS into one direction of a TCP connection. The keys are no secret.
fn encrypt<O>(socket: &Socket, direction: O) -> io::Result<()>
where
    O: nix::sys::socket::SetSockOpt<Val = sockopt::TlsCryptoInfo>,
{
    let keys = libc::tls12_crypto_info_aes_gcm_128 {
        info: libc::tls_crypto_info {
            version: libc::TLS_1_2_VERSION,
            cipher_type: libc::TLS_CIPHER_AES_GCM_128,
        },
        iv: [1; 8],
        key: [2; 16],
        salt: [3; 4],
        rec_seq: [0; 8],
    };
    setsockopt(socket, sockopt::TcpUlp::default(), b"tls")?;
    setsockopt(socket, direction, &sockopt::TlsCryptoInfo::Aes128Gcm(keys))?;
    Ok(())
}
