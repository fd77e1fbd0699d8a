//! Sees the packets of a scenario on their way, at both ends of the link, and changes
//! nothing about it.
//!
//! | file | what it is |
//! | --- | --- |
//! | `end` | one end of the link while it is watched |
//! | `ring` | a packet(7) socket and the memory that it fills |
//! | `sort` | what two of them have seen, as one list |
//! | `sum` | checksums that nobody has computed yet |

mod end;
mod ring;
mod sort;
pub(super) mod sum;

use std::io;

pub use sum::is_right;

use self::end::End;
use self::ring::ALL_HANDED_OVER;
use self::sort::Places;
use super::clock::Clock;
use super::link::Link;
use crate::capture::Capture;
use crate::scenario::{DeviceKind, Family};

/// Whoever has this sees the packets of both ends of the link. One a namespace, not one an
/// interface: the order of all that one of them sees is certain.
#[derive(Debug)]
pub struct Tap {
    sender: End,
    receiver: End,
    kind: DeviceKind,
}

impl Tap {
    /// Sees what goes over this kind of link from now on. That takes virtual time (the
    /// kernel waits until it is certain that everybody knows of it).
    pub fn open(link: &Link, kind: DeviceKind) -> io::Result<Tap> {
        let [sender, receiver] = Link::queue_names(kind);
        Ok(Tap {
            sender: End::watch(sender)?,
            receiver: link.receiver().with(|| End::watch(receiver))?,
            kind,
        })
    }

    /// What was seen of the scenario that has this clock.
    pub fn read(self, clock: &Clock) -> io::Result<Capture> {
        let begun_ns = clock.begun_ns()?;
        // Where time is virtual this takes none.
        std::thread::sleep(ALL_HANDED_OVER);
        let ends = [self.sender.read()?, self.receiver.read()?];
        let families = [Family::Tcp4, Family::Tcp6];
        let addresses = families.map(|family| Link::addresses(self.kind, family));
        let places = Places {
            addresses: addresses.concat(),
            loopback: self.kind == DeviceKind::Loopback,
            begun_ns,
        };
        Ok(Capture {
            lost: ends.iter().map(|it| it.lost).sum(),
            packets: sort::sort(&places, ends),
        })
    }
}
