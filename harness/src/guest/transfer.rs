//! One connection that carries a lot, or many small sends: what a way of sending
//! costs in virtual time.

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use serde::{Deserialize, Serialize};

use super::connection::reset_on_close;
use super::file::Mapping;
use super::link::Link;
use crate::scenario::{Family, Range, Setup};

/// What read(2) and write(2) move at a time, and the receiver.
const BUFFER_BYTES: usize = 64 * 1024;
/// include/uapi/linux/errqueue.h
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
const STABLE: &str = "/proc/sys/fs/splice_stable";

/// How the bytes of a file get into the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// sendfile(2), as the kernel comes.
    Sendfile,
    /// sendfile(2) with `fs.splice_stable` set to this.
    Stable(u8),
    /// read(2) into a buffer and write(2) from there.
    Copy,
    /// send(2) with MSG_ZEROCOPY from a mapping of the file, and a wait for the
    /// notification before the call counts as over.
    ZeroCopy,
}

/// Calls of one size, one after the other, on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// How.
    pub way: Way,
    /// Bytes a call.
    pub call_bytes: usize,
    /// Number of calls.
    pub calls: u32,
}

/// What a transfer took of the guest's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// From the entry of the first call to the return of the last.
    pub sent_ns: u64,
    /// From there to when the receiver had read the last byte.
    pub received_ns: u64,
}

impl Transfer {
    /// Runs it over a link of this setup. `begin` is called when everything is set
    /// up, right before the first call.
    ///
    /// # Errors
    /// What the system calls said; a kernel without the series has no
    /// `fs.splice_stable` for [`Way::Stable`].
    pub fn run(&self, setup: &Setup, begin: impl FnOnce() -> io::Result<()>) -> io::Result<Took> {
        if let Way::Stable(mode) = self.way {
            std::fs::write(STABLE, mode.to_string())
                .map_err(|error| io::Error::other(format!("{STABLE} = {mode}: {error}")))?;
        }
        let mut link = Link::create()?;
        link.configure(setup, |_| false)?;
        let file = file(self.call_bytes)?;
        let address = SocketAddr::new(Link::receiver_address(Family::Tcp4), 0);
        let listener = link.receiver().with(|| TcpListener::bind(address))?;
        let sender = TcpStream::connect(listener.local_addr()?)?;
        sender.set_nodelay(true)?;
        let (receiver, _) = listener.accept()?;
        let wanted = self.call_bytes as u64 * u64::from(self.calls);
        let reader = thread::spawn(move || receive(receiver, wanted));
        let mut method = Method::prepare(self.way, &sender, &file, self.call_bytes)?;

        begin()?;
        let start = Instant::now();
        for _ in 0..self.calls {
            method.call()?;
        }
        let sent = start.elapsed();
        let received = reader
            .join()
            .map_err(|_| io::Error::other("the receiver died"))??;
        reset_on_close(&sender);
        Ok(Took {
            sent_ns: nanos(sent),
            received_ns: nanos(received.duration_since(start)),
        })
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A file without holes: those have no page that could be in flight.
fn file(bytes: usize) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"transfer", MFdFlags::empty())?);
    let chunk = vec![b'x'; bytes.min(1 << 20)];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(chunk.len());
        file.write_all(&chunk[..now])?;
        left -= now;
    }
    Ok(file)
}

fn receive(mut from: TcpStream, wanted: u64) -> io::Result<Instant> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut seen = 0;
    while seen < wanted {
        match from.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => seen += bytes as u64,
        }
    }
    Ok(Instant::now())
}

/// A way of sending with what it needs between its calls.
enum Method<'a> {
    Sendfile {
        sender: &'a TcpStream,
        file: &'a File,
        bytes: usize,
    },
    Copy {
        sender: &'a TcpStream,
        file: &'a File,
        buffer: Vec<u8>,
        bytes: usize,
    },
    ZeroCopy(ZeroCopy<'a>),
}

impl<'a> Method<'a> {
    fn prepare(
        way: Way,
        sender: &'a TcpStream,
        file: &'a File,
        bytes: usize,
    ) -> io::Result<Method<'a>> {
        Ok(match way {
            Way::Sendfile | Way::Stable(_) => Method::Sendfile {
                sender,
                file,
                bytes,
            },
            Way::Copy => Method::Copy {
                sender,
                file,
                buffer: vec![0; bytes.min(BUFFER_BYTES)],
                bytes,
            },
            Way::ZeroCopy => Method::ZeroCopy(ZeroCopy::prepare(sender, file, bytes)?),
        })
    }

    /// Sends the whole file once.
    fn call(&mut self) -> io::Result<()> {
        match self {
            Method::Sendfile {
                sender,
                file,
                bytes,
            } => {
                let mut offset = 0;
                while (offset as usize) < *bytes {
                    let left = *bytes - offset as usize;
                    // SAFETY: both descriptors are open and `offset` outlives the
                    // call.
                    let sent = unsafe {
                        libc::sendfile(sender.as_raw_fd(), file.as_raw_fd(), &mut offset, left)
                    };
                    if Errno::result(sent)? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Ok(())
            }
            Method::Copy {
                sender,
                file,
                buffer,
                bytes,
            } => {
                let mut offset = 0;
                while offset < *bytes {
                    let now = buffer.len().min(*bytes - offset);
                    file.read_exact_at(&mut buffer[..now], offset as u64)?;
                    sender.write_all(&buffer[..now])?;
                    offset += now;
                }
                Ok(())
            }
            Method::ZeroCopy(it) => it.call(),
        }
    }
}

/// MSG_ZEROCOPY from a mapping, Documentation/networking/msg_zerocopy.rst.
struct ZeroCopy<'a> {
    sender: &'a TcpStream,
    map: Mapping,
    bytes: usize,
    /// Sends that were accepted, and those that were notified.
    sent: u32,
    done: u32,
}

impl<'a> ZeroCopy<'a> {
    fn prepare(sender: &'a TcpStream, file: &File, bytes: usize) -> io::Result<ZeroCopy<'a>> {
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an int, and `on` is one. (nix does not know
        // this option.)
        let set = unsafe {
            libc::setsockopt(
                sender.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ZEROCOPY,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        Errno::result(set)?;
        let map = Mapping::of(file, bytes as u64)?;
        Ok(ZeroCopy {
            sender,
            map,
            bytes,
            sent: 0,
            done: 0,
        })
    }

    fn call(&mut self) -> io::Result<()> {
        let mut offset = 0;
        while offset < self.bytes {
            let rest = self.map.part(Range {
                offset: offset as u64,
                len: (self.bytes - offset) as u64,
            });
            // SAFETY: a part of the mapping, which lives as long as `self`.
            let sent = unsafe {
                libc::send(
                    self.sender.as_raw_fd(),
                    rest.iov_base,
                    rest.iov_len,
                    libc::MSG_ZEROCOPY,
                )
            };
            match Errno::result(sent) {
                Ok(sent) => {
                    offset += sent as usize;
                    self.sent = self.sent.wrapping_add(1);
                }
                // No memory for one more notification until one was read.
                Err(Errno::ENOBUFS) if self.sent != self.done => self.notified()?,
                Err(errno) => return Err(errno.into()),
            }
        }
        while self.sent != self.done {
            self.notified()?;
        }
        Ok(())
    }

    /// Waits for notifications and reads them.
    fn notified(&mut self) -> io::Result<()> {
        use std::os::fd::AsFd;
        // Errors are always polled for.
        let mut fds = [PollFd::new(self.sender.as_fd(), PollFlags::empty())];
        poll(&mut fds, PollTimeout::NONE)?;
        let mut space = cmsg_space!(libc::sock_extended_err, libc::sockaddr_in);
        let mut nothing: [IoSliceMut; 0] = [];
        let message = recvmsg::<SockaddrStorage>(
            self.sender.as_raw_fd(),
            &mut nothing,
            Some(&mut space),
            MsgFlags::MSG_ERRQUEUE,
        )?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::Ipv4RecvErr(error, _) = control
                && error.ee_origin == SO_EE_ORIGIN_ZEROCOPY
            {
                // A range of sends, both ends included.
                let range = error.ee_data.wrapping_sub(error.ee_info);
                self.done = self.done.wrapping_add(range.wrapping_add(1));
            }
        }
        Ok(())
    }
}
