//! One end of the link while it is watched.

use std::io;

use super::ring::{Frame, Ring};
use crate::guest::rtnl::{Interface, Rtnl};

/// Sees what is handed to the queue there, what leaves it, and what arrives.
#[derive(Debug)]
pub struct End {
    ring: Ring,
    mirror: Option<Mirror>,
}

/// What one end has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// In order.
    pub frames: Vec<Frame>,
    /// The interface on which packets are that have been handed to the queue.
    pub mirror: Option<i32>,
    /// Packets for which there was no room.
    pub lost: u64,
}

impl End {
    /// Watches from now on, in the calling thread's namespace; `queue`: the interface with
    /// the queue, if there is one.
    pub fn watch(queue: Option<&str>) -> io::Result<End> {
        let mirror = queue.map(Mirror::set_up).transpose()?;
        // After that, as it would see what the kernel says on a new interface.
        let ring = Ring::open()?;
        Ok(End { ring, mirror })
    }

    /// What was seen until [`super::ring::ALL_HANDED_OVER`] ago.
    pub fn read(self) -> io::Result<Seen> {
        let (frames, lost) = self.ring.read()?;
        let mirror = self.mirror.map(Mirror::take_down).transpose()?;
        Ok(Seen {
            frames,
            mirror,
            lost,
        })
    }
}

/// A mirror of a queue, which goes with this.
#[derive(Debug)]
struct Mirror {
    rtnl: Rtnl,
    interface: Interface,
    mirror: Interface,
    removed: bool,
}

impl Mirror {
    fn set_up(queue: &str) -> io::Result<Mirror> {
        let mut rtnl = Rtnl::open();
        let interface = rtnl.interface(queue)?;
        let mirror = rtnl.add_mirror(interface)?;
        Ok(Mirror {
            rtnl,
            interface,
            mirror,
            removed: false,
        })
    }

    /// Returns its number.
    fn take_down(mut self) -> io::Result<i32> {
        self.removed = true;
        self.rtnl.remove_mirror(self.interface)?;
        Ok(self.mirror.index())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if !self.removed {
            // Whoever gave up has another error to tell.
            let _ = self.rtnl.remove_mirror(self.interface);
        }
    }
}
