//! A link of two TUN interfaces, and what carries packets from one to the other: a thread
//! a direction. What it reads has left the kernel, as bytes leave at a network card.
//!
//! It counts the packets of a scenario, and does something to those whose number the
//! scenario names.
//!
//! Where the kernel has no netem it takes that one's place, for delays and for holding
//! packets: it reads a packet no sooner than it may go, because what was read has left the
//! kernel, and nobody changes it any more. When the first packet comes it waits for the
//! delay, and then reads all that is there: what has come meanwhile waited for less. No
//! packet can be lost by that, as long as no more wait than the interface keeps.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::rtnl::Gate;
use super::tap::sum;
use crate::scenario::Nth;

/// linux/if_tun.h
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUN_F_CSUM: libc::c_ulong = 1;
/// `struct virtio_net_hdr`, which stands before each packet; in its first byte
/// VIRTIO_NET_HDR_F_NEEDS_CSUM says that the checksum is yet to be computed.
const HEADER_BYTES: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
/// A packet is as long as its header can say, at most.
const MOST_BYTES: usize = HEADER_BYTES + (1 << 16);
/// A thread that is there looks sooner.
const PATIENCE: Duration = Duration::from_secs(10);

/// The end of a link that is a file.
#[derive(Debug)]
pub struct End {
    file: File,
}

impl End {
    /// Makes an interface of this name in the calling thread's namespace.
    pub fn create(name: &str) -> io::Result<End> {
        let file = open(name, libc::IFF_TUN, libc::O_NONBLOCK)?;
        Ok(End { file })
    }
}

/// Makes an interface with a file behind it, of packets (IFF_TUN) or of frames (IFF_TAP),
/// each behind the header of virtio.
pub(super) fn open(name: &str, kind: libc::c_int, open_flags: libc::c_int) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(open_flags)
        .open("/dev/net/tun")?;
    let flags = kind | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    // SAFETY: `ifreq` is plain data; the ioctl reads and writes one.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        Errno::result(libc::ioctl(file.as_raw_fd(), TUNSETIFF as _, &mut request))?;
    }
    Ok(file)
}

/// Carries packets in one direction.
#[derive(Debug, Clone)]
pub struct Carrier(Arc<Carriage>);

#[derive(Debug)]
struct Carriage {
    from: File,
    to: File,
    receivers: [IpAddr; 2],
    /// Whether queues of the kernel let packets wait.
    kernel_waits: bool,
    load: Mutex<Load>,
    /// The thread has done what there was to do since [`Load::turned`] changed.
    looked: Condvar,
    /// Read by the thread, and written by who has changed something.
    wake: File,
}

#[derive(Debug, Default)]
struct Load {
    nth: Nth,
    /// Packets of this scenario so far.
    packets: u32,
    /// What the next packet is to overtake.
    kept: Option<Vec<u8>>,
    /// How long the first of those that wait does so.
    delay: Duration,
    /// When those that wait may go; `None`: none waits that is known of.
    due: Option<Due>,
    gate: Gate,
    /// Whether checksums are computed here.
    offloads: bool,
    /// How often somebody has turned the gate, and how many of these the thread has seen.
    turned: u64,
    seen: u64,
}

/// When packets may go.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// They need not wait. The clock is not asked: where time is virtual, asking can move
    /// it (kernel-patch/uml/).
    Now,
    /// From then on.
    At(Instant),
}

impl Due {
    fn after(delay: Duration) -> Due {
        match delay.is_zero() {
            true => Due::Now,
            false => Due::At(Instant::now() + delay),
        }
    }

    fn left(self) -> Duration {
        match self {
            Due::Now => Duration::ZERO,
            Due::At(due) => due.saturating_duration_since(Instant::now()),
        }
    }
}

impl Carrier {
    /// Starts the thread. What is not for one of the `receivers` goes nowhere: the kernel
    /// has packets of its own to send, and those are not to be counted. Where queues of
    /// the kernel let packets wait nothing ever does so here, and the thread only reads and
    /// writes.
    pub fn start(
        name: &str,
        (from, to): (&End, &End),
        receivers: [IpAddr; 2],
        kernel_waits: bool,
    ) -> io::Result<Carrier> {
        // SAFETY: makes a descriptor, and the result is checked before it is owned.
        let wake = unsafe {
            let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
            File::from_raw_fd(Errno::result(libc::eventfd(0, flags))?)
        };
        let carriage = Arc::new(Carriage {
            from: from.file.try_clone()?,
            to: to.file.try_clone()?,
            receivers,
            kernel_waits,
            load: Mutex::default(),
            looked: Condvar::new(),
            wake,
        });
        if kernel_waits {
            let flags = OFlag::from_bits_retain(fcntl(&carriage.from, FcntlArg::F_GETFL)?);
            let blocking = flags.difference(OFlag::O_NONBLOCK);
            fcntl(&carriage.from, FcntlArg::F_SETFL(blocking))?;
        }
        let carrier = Carrier(Arc::clone(&carriage));
        thread::Builder::new().name(name.into()).spawn(move || {
            let mut buffer = vec![0; MOST_BYTES];
            // It ends with the interface.
            match kernel_waits {
                true => while carriage.carry_one(&mut buffer).is_ok() {},
                false => while carriage.carry(&mut buffer).is_ok() {},
            }
        })?;
        Ok(carrier)
    }

    /// Begins to count anew, and lets packets wait from now on, for so long and wherever a
    /// gate is turned; `None`: nowhere. What waits from before goes nowhere.
    ///
    /// A packet that waits refers to its pages only where the checksum is not computed
    /// before: who computes it makes a copy first (net/core/dev.c:skb_checksum_help). So
    /// that is done here then, as a card would do it.
    pub fn begin(&self, nth: Nth, waits: Option<Duration>) -> io::Result<()> {
        let mut load = self.0.load();
        if self.0.kernel_waits {
            *load = Load {
                nth,
                ..Load::default()
            };
            return Ok(());
        }
        let offloads = waits.is_some();
        if offloads != load.offloads {
            let flags = if offloads { TUN_F_CSUM } else { 0 };
            // SAFETY: takes an integer.
            Errno::result(unsafe {
                libc::ioctl(self.0.from.as_raw_fd(), TUNSETOFFLOAD as _, flags)
            })?;
        }
        let mut buffer = [0; 64];
        while (&self.0.from).read(&mut buffer).is_ok() {}
        *load = Load {
            nth,
            delay: waits.unwrap_or_default(),
            offloads,
            turned: load.turned,
            seen: load.seen,
            ..Load::default()
        };
        self.0.wake();
        Ok(())
    }

    /// Turns the gate: exactly so many packets pass as it says, those that wait first.
    /// When this returns those have gone that may go now.
    pub fn turn(&self, gate: Gate) {
        let mut load = self.0.load();
        load.gate = gate;
        load.turned += 1;
        let turned = load.turned;
        self.0.wake();
        let unseen = |load: &mut Load| load.seen < turned;
        let looked = &self.0.looked;
        // A thread that has ended with its interface sees nothing any more.
        drop(looked.wait_timeout_while(load, PATIENCE, unseen));
    }
}

impl Carriage {
    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It cannot count so far that this fails.
        let _ = (&self.wake).write(&1u64.to_ne_bytes());
    }

    /// Waits for a packet, and carries it.
    fn carry_one(&self, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = (&self.from).read(buffer)?;
        let Some((_, packet)) = buffer[..bytes].split_at_mut_checked(HEADER_BYTES) else {
            return Ok(());
        };
        if destination(packet).is_some_and(|it| self.receivers.contains(&it)) {
            let mut carried = self.load().carry(packet);
            self.hand_over(&mut carried);
        }
        Ok(())
    }

    /// Waits until there is something to do, and does it.
    fn carry(&self, buffer: &mut [u8]) -> io::Result<()> {
        let (knows, timeout) = {
            let load = self.load();
            let timeout = load.due.filter(|_| load.gate.passes()).map(Due::left);
            (load.due.is_some(), timeout.map(TimeSpec::from))
        };
        let mut awaited = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        if !knows {
            awaited.push(PollFd::new(self.from.as_fd(), PollFlags::POLLIN));
        }
        match ppoll(&mut awaited, timeout, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has = |at: usize, flags: PollFlags| {
            let events = awaited.get(at).and_then(PollFd::revents);
            events.is_some_and(|it| it.intersects(flags))
        };
        if has(1, PollFlags::POLLERR | PollFlags::POLLHUP) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if has(0, PollFlags::POLLIN) {
            let _ = (&self.wake).read(&mut [0; 8]);
        }
        let mut load = self.load();
        if has(1, PollFlags::POLLIN) && load.due.is_none() {
            load.due = Some(Due::after(load.delay));
        }
        if load.due.is_some_and(|due| due.left().is_zero()) && self.pass(&mut load, buffer)? {
            load.due = None;
        }
        load.seen = load.turned;
        self.looked.notify_all();
        Ok(())
    }

    /// Carries what may go; whether nothing waits any more.
    fn pass(&self, load: &mut Load, buffer: &mut [u8]) -> io::Result<bool> {
        let mut carried = Vec::new();
        let over = loop {
            if !load.gate.passes() {
                break false;
            }
            let bytes = match (&self.from).read(buffer) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(error) => return Err(error),
            };
            let Some((header, packet)) = buffer[..bytes].split_at_mut_checked(HEADER_BYTES) else {
                continue;
            };
            if header[0] & NEEDS_CHECKSUM != 0 {
                sum::complete(packet);
            }
            if destination(packet).is_none_or(|it| !self.receivers.contains(&it)) {
                continue;
            }
            load.gate.count();
            carried.extend(load.carry(packet));
            // What is answered while others are yet to be read would be read with them.
            if load.delay.is_zero() {
                self.hand_over(&mut carried);
            }
        };
        self.hand_over(&mut carried);
        Ok(over)
    }

    fn hand_over(&self, packets: &mut Vec<Vec<u8>>) {
        for packet in packets.drain(..) {
            // What the other end has no room for is lost.
            let parts = [IoSlice::new(&[0; HEADER_BYTES]), IoSlice::new(&packet)];
            let _ = (&self.to).write_vectored(&parts);
        }
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
