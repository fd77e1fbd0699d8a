//! A link of two TUN interfaces, and what carries packets from one to the other: a thread
//! a direction. What it reads has left the kernel, as bytes leave at a network card.
//!
//! It counts the packets of a scenario, and does something to those whose number the
//! scenario names.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;

use crate::scenario::Nth;

/// linux/if_tun.h
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
/// A packet is as long as its header can say, at most.
const MOST_BYTES: usize = 1 << 16;

/// The end of a link that is a file.
#[derive(Debug)]
pub struct End {
    file: File,
}

impl End {
    /// Makes an interface of this name in the calling thread's namespace.
    pub fn create(name: &str) -> io::Result<End> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")?;
        // SAFETY: `ifreq` is plain data; the ioctl reads and writes one.
        unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from as libc::c_char;
            }
            request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
            Errno::result(libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &mut request))?;
        }
        Ok(End { file })
    }
}

/// Carries packets in one direction.
#[derive(Debug, Clone)]
pub struct Carrier(Arc<Mutex<Load>>);

#[derive(Debug, Default)]
struct Load {
    nth: Nth,
    /// Packets of this scenario so far.
    packets: u32,
    /// What the next packet is to overtake.
    kept: Option<Vec<u8>>,
}

impl Carrier {
    /// Starts the thread. What is not for one of the `receivers` goes nowhere: the kernel
    /// has packets of its own to send, and those are not to be counted.
    pub fn start(name: &str, from: &End, to: &End, receivers: [IpAddr; 2]) -> io::Result<Carrier> {
        let (mut from, mut to) = (from.file.try_clone()?, to.file.try_clone()?);
        let carrier = Carrier(Arc::default());
        let load = carrier.clone();
        thread::Builder::new().name(name.into()).spawn(move || {
            let mut buffer = vec![0; MOST_BYTES];
            // It ends with the interface.
            while let Ok(bytes) = from.read(&mut buffer) {
                let packet = &mut buffer[..bytes];
                if receivers.contains(&match destination(packet) {
                    Some(address) => address,
                    None => continue,
                }) {
                    for packet in load.load().carry(packet) {
                        // What the other end has no room for is lost.
                        let _ = to.write(&packet);
                    }
                }
            }
        })?;
        Ok(carrier)
    }

    /// Begins to count anew.
    pub fn begin(&self, nth: Nth) {
        *self.load() = Load {
            nth,
            ..Load::default()
        };
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// What arrives when this packet has been sent.
    fn carry(&mut self, packet: &mut [u8]) -> Vec<Vec<u8>> {
        self.packets = self.packets.saturating_add(1);
        let is = |nth: u32| nth == self.packets;
        if is(self.nth.flip)
            && let Some(last) = packet.last_mut()
        {
            *last ^= 1;
        }
        let mut carried = match () {
            () if is(self.nth.drop) => Vec::new(),
            () if is(self.nth.swap) => {
                self.kept = Some(packet.to_vec());
                return Vec::new();
            }
            () if is(self.nth.twice) => vec![packet.to_vec(); 2],
            () => vec![packet.to_vec()],
        };
        carried.extend(self.kept.take());
        carried
    }
}

/// The address in the header of a packet.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    let part = |at: usize, len: usize| packet.get(at..at + len);
    match packet.first()? >> 4 {
        4 => Some(<[u8; 4]>::try_from(part(16, 4)?).ok()?.into()),
        6 => Some(<[u8; 16]>::try_from(part(24, 16)?).ok()?.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(nth: Nth) -> Vec<u8> {
        let mut load = Load {
            nth,
            ..Load::default()
        };
        let packets = (1..=4).flat_map(|number| load.carry(&mut [0, 10 * number]));
        packets.map(|packet| packet[1]).collect()
    }

    #[test]
    fn a_packet_is_known_by_its_number() {
        let none = Nth::default();
        assert_eq!(carried(none), [10, 20, 30, 40]);
        assert_eq!(carried(Nth { drop: 2, ..none }), [10, 30, 40]);
        assert_eq!(carried(Nth { twice: 1, ..none }), [10, 10, 20, 30, 40]);
        assert_eq!(carried(Nth { swap: 2, ..none }), [10, 30, 20, 40]);
        assert_eq!(carried(Nth { swap: 4, ..none }), [10, 20, 30]);
        assert_eq!(carried(Nth { flip: 3, ..none }), [10, 20, 31, 40]);
        let all = Nth {
            swap: 1,
            drop: 2,
            twice: 3,
            flip: 4,
        };
        assert_eq!(carried(all), [10, 30, 30, 41]);
    }

    #[test]
    fn a_header_names_who_it_is_for() {
        let mut packet = [0; 40];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&[192, 0, 2, 1]);
        assert_eq!(destination(&packet), Some("192.0.2.1".parse().unwrap()));
        packet[0] = 0x60;
        packet[24] = 0x20;
        packet[39] = 7;
        let last = destination(&packet).map(|it| it.to_string());
        assert!(last.is_some_and(|it| it.starts_with("20") && it.ends_with("7")));
        assert_eq!(destination(&packet[..39]), None);
        assert_eq!(destination(&[]), None);
    }
}
