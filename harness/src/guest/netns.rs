//! Network namespaces of this process's threads.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, kept alive by its file in /proc.
#[derive(Debug)]
pub struct NetNs {
    file: File,
}

impl NetNs {
    /// The namespace of the calling thread.
    pub fn current() -> io::Result<NetNs> {
        // /proc/self is the process's first thread; setns is a thread's matter.
        let file = File::open("/proc/thread-self/ns/net")?;
        Ok(NetNs { file })
    }

    /// A new, empty namespace. The calling thread stays where it is.
    pub fn create() -> io::Result<NetNs> {
        let before = NetNs::current()?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let made = NetNs::current();
        before.join()?;
        made
    }

    /// Runs `work` with the calling thread inside, and comes back.
    pub fn with<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let before = NetNs::current()?;
        self.join()?;
        let result = work();
        before.join()?;
        result
    }

    /// The open namespace file, for netlink's IFLA_NET_NS_FD.
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn join(&self) -> io::Result<()> {
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET)?;
        Ok(())
    }
}
