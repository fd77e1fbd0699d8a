//! The calls of the basic scenario with nothing around them: what the harness is
//! measured against.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use super::connection::reset_on_close;
use super::file::SentFile;
use super::link::Link;
use crate::scenario::{Family, PAGE_BYTES, Range, Scenario};

/// Connections over the scenario's link, one after the other, by one thread.
#[derive(Debug)]
pub struct Bare {
    // Its namespaces live as long as it does.
    _link: Link,
    listener: TcpListener,
    address: SocketAddr,
    file: SentFile,
    page: Range,
}

impl Bare {
    /// Makes the link and one file for all rounds.
    pub fn set_up(scenario: &Scenario) -> io::Result<Bare> {
        let mut link = Link::create()?;
        link.configure(&scenario.setup, |_| false)?;
        let address = Link::receiver_address(Family::Tcp4);
        let listener = link.receiver().with(|| TcpListener::bind((address, 0)))?;
        let page = Range {
            offset: 0,
            len: PAGE_BYTES,
        };
        let mut file = SentFile::create(&scenario.setup.file)?;
        file.map(scenario.setup.file.size_bytes)?;
        Ok(Bare {
            _link: link,
            address: listener.local_addr()?,
            listener,
            file,
            page,
        })
    }

    /// Connects, sends one page, writes over it, receives it, closes.
    pub fn round(&self) -> io::Result<()> {
        let sender = TcpStream::connect(self.address)?;
        let mut offset = self.page.offset as libc::off_t;
        // SAFETY: both descriptors are open and `offset` outlives the call.
        let sent = unsafe {
            libc::sendfile(
                sender.as_raw_fd(),
                self.file.file().as_raw_fd(),
                &mut offset,
                self.page.len as usize,
            )
        };
        if sent != self.page.len as isize {
            return Err(io::Error::last_os_error());
        }
        self.file.store(self.page, 1);
        let (mut receiver, _) = self.listener.accept()?;
        receiver.read_exact(&mut [0; PAGE_BYTES as usize])?;
        reset_on_close(&receiver);
        reset_on_close(&sender);
        Ok(())
    }
}
