//! A receiver that passes on what it gets by splice(2), from socket to pipe to socket, as
//! a proxy does. What it passes on is read at the far end of its second connection.
//!
//! That one is TCP, since of TCP alone a patched kernel waits for what came out of a pipe,
//! and it blocks, since nothing else does wait. It is over the loopback of a namespace of
//! its own: no setting of the link or of the stack is about it.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::{LOOK_UP_INTERVAL, reset_on_close};
use super::link::forget_paths;
use super::loopback::Loopback;
use super::netns::NetNs;
use super::reader::{Received, Reception};
use super::receiver::Receiver;
use crate::history::End;
use crate::scenario::limits::DEFAULT_PIPE_PAGES;

/// Where the second connections are made.
#[derive(Debug)]
pub struct Relay {
    namespace: NetNs,
}

impl Relay {
    /// Makes the namespace.
    pub fn set_up() -> io::Result<Relay> {
        let namespace = NetNs::create()?;
        namespace.with(|| {
            Loopback::bring_up()?;
            forget_paths()
        })?;
        Ok(Relay { namespace })
    }

    /// The namespace of the second connections.
    pub fn namespace(&self) -> &NetNs {
        &self.namespace
    }

    /// Passes on what `near` receives, to its end, to who does `read` at the far end.
    pub fn pass_on(
        &self,
        near: &Receiver,
        reception: &Reception,
        read: impl FnOnce(Receiver, &Reception) -> Received,
    ) -> io::Result<Received> {
        let (out, far) = self.connect()?;
        let pipe = Pipe::open()?;
        let beyond = Reception {
            quickack: None,
            relay: None,
            ..reception.clone()
        };
        thread::scope(|scope| {
            let forward = || pipe.forward(near, &out, reception);
            let forwarding = thread::Builder::new()
                .name("relay".into())
                .spawn_scoped(scope, forward)?;
            let mut received = read(far, &beyond);
            // The far end is closed by now, and whatever waits for it ends.
            let ended = forwarding
                .join()
                .map_err(|_| io::Error::other("the relay panicked"))?;
            // The end of the second connection says only that there was one.
            if received.end == End::Eof {
                received.end = ended;
            }
            Ok(received)
        })
    }

    fn connect(&self) -> io::Result<(Socket, Receiver)> {
        let tcp = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP));
        let (listener, out) = self.namespace.with(|| Ok((tcp()?, tcp()?)))?;
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        listener.listen(1)?;
        out.connect(&listener.local_addr()?)?;
        // What has arrived goes on at once, however little it is.
        out.set_tcp_nodelay(true)?;
        let (far, _) = listener.accept()?;
        far.set_read_timeout(Some(LOOK_UP_INTERVAL))?;
        reset_on_close(&far);
        Ok((out, Receiver::stream(far)))
    }
}

/// What the relay itself writes into its pipe.
const MARK: [u8; 1] = [0x5a];

/// What lies between the two sockets. It is one that was used before, and it is used for more
/// than what is passed on: a byte of the relay's own stands behind what it has taken, as a
/// proxy has that frames what it passes on, and is taken out again behind it.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    fn open() -> io::Result<Pipe> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        let pipe = Pipe { read, write };
        // Each slot keeps something of what was in it before.
        for _ in 0..DEFAULT_PIPE_PAGES {
            nix::unistd::write(&pipe.write, &MARK)?;
            pipe.take_mark()?;
        }
        Ok(pipe)
    }

    /// Puts it behind what is in there, unless that is full.
    fn put_mark(&self) -> nix::Result<bool> {
        let mut room = [PollFd::new(self.write.as_fd(), PollFlags::POLLOUT)];
        let has_room = poll(&mut room, PollTimeout::ZERO)? > 0;
        if has_room {
            nix::unistd::write(&self.write, &MARK)?;
        }
        Ok(has_room)
    }

    fn take_mark(&self) -> nix::Result<()> {
        let mut mark = [0];
        match nix::unistd::read(&self.read, &mut mark)? {
            1 if mark == MARK => Ok(()),
            _ => Err(Errno::EILSEQ),
        }
    }

    /// Moves all that comes, and says how that ended. `near` stays open, as the sender
    /// would hear of it if it did not.
    fn forward(&self, near: &Receiver, out: &Socket, reception: &Reception) -> End {
        reception.ask_for_acks(near);
        let end = loop {
            let filled = match near.splice_into(&self.write) {
                Ok(0) => break End::Eof,
                Ok(bytes) => bytes,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) if reception.is_late() => break End::GivenUp,
                Err(Errno::EAGAIN) => continue,
                Err(errno) => break End::Failed(errno as i32),
            };
            reception.ask_for_acks(near);
            if let Err(errno) = self.empty_into(out, filled) {
                break End::Failed(errno as i32);
            }
        };
        // It fails when the far end has left, and then nobody has to be told.
        let _ = out.shutdown(Shutdown::Write);
        end
    }

    fn empty_into(&self, out: &Socket, mut left: usize) -> nix::Result<()> {
        let is_marked = self.put_mark()?;
        while left > 0 {
            match splice(
                &self.read,
                None,
                out.as_fd(),
                None,
                left,
                SpliceFFlags::empty(),
            ) {
                // The pipe has what is left, and the socket blocks.
                Ok(0) => return Err(Errno::EIO),
                Ok(bytes) => left -= bytes,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        match is_marked {
            true => self.take_mark(),
            false => Ok(()),
        }
    }
}
