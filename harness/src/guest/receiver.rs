//! The receiving end of a connection, whatever its family.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TlsGetRecordType, recvmsg};
use socket2::Socket;

/// Most that one splice(2) asks for; a pipe takes what it has room for.
const SPLICED_BYTES: usize = 1 << 20;

/// The receiving end; closed with the last clone.
#[derive(Debug, Clone)]
pub struct Receiver {
    socket: Arc<Socket>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stream,
    Records,
    Datagrams,
}

impl Receiver {
    /// Of a plain stream.
    pub fn stream(socket: Socket) -> Receiver {
        Receiver::of(socket, Kind::Stream)
    }

    /// Of a stream that the kernel decrypts.
    pub fn records(socket: Socket) -> Receiver {
        Receiver::of(socket, Kind::Records)
    }

    /// Of datagrams or packets; they end when somebody shuts the socket down.
    pub fn datagrams(socket: Socket) -> Receiver {
        Receiver::of(socket, Kind::Datagrams)
    }

    fn of(socket: Socket, kind: Kind) -> Receiver {
        Receiver {
            socket: Arc::new(socket),
            kind,
        }
    }

    /// The socket itself.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Receives at most `most` bytes, but a datagram whole; 0 at the end.
    pub fn receive(&self, buffer: &mut [u8], most: usize) -> io::Result<usize> {
        let most = most.min(buffer.len());
        match self.kind {
            Kind::Stream => io::Read::read(&mut self.socket(), &mut buffer[..most]),
            Kind::Datagrams => io::Read::read(&mut self.socket(), buffer),
            Kind::Records => self.receive_record(&mut buffer[..most]),
        }
    }

    /// Moves what has arrived into a pipe, by reference where the kernel can; 0 at the end.
    pub fn splice_into(&self, pipe: &impl AsFd) -> nix::Result<usize> {
        let flags = SpliceFFlags::empty();
        let socket = self.socket.as_fd();
        match (
            self.kind,
            splice(socket, None, pipe, None, SPLICED_BYTES, flags),
        ) {
            // It leaves what is not data where it was (net/tls/tls_sw.c:tls_sw_splice_read).
            (Kind::Records, Err(Errno::EINVAL)) => match self.receive_record(&mut [0]) {
                Ok(0) => Ok(0),
                _ => Err(Errno::EINVAL),
            },
            (_, result) => result,
        }
    }

    /// What is not data is the alert that ends the stream.
    fn receive_record(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut told = cmsg_space!(u8);
        let mut room = [IoSliceMut::new(room)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut room, Some(&mut told), MsgFlags::empty())?;
        let is_data = message.cmsgs()?.all(|told| {
            matches!(
                told,
                ControlMessageOwned::TlsGetRecordType(TlsGetRecordType::ApplicationData)
            )
        });
        Ok(if is_data { message.bytes } else { 0 })
    }
}
