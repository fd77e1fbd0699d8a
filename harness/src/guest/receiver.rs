//! The receiving end of a connection, whatever its family.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, TlsGetRecordType, recvmsg};
use socket2::Socket;

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
