//! A packet(7) socket that copies what it sees into memory, and is read afterwards.
//!
//! A socket without such memory would queue the packets themselves, and with them
//! references to the pages of the file: who read them later would see what was written
//! later, and a kernel that waits for its pages would wait for the reader. And nobody
//! reads while a scenario runs, since a thread more is another interleaving.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// linux/if_packet.h
const PACKET_VERSION: libc::c_int = 10;
/// More than the longest packet, which is what the stack segments later.
const BLOCK_BYTES: usize = 256 * 1024;
const BLOCKS: usize = 64;
const RING_BYTES: NonZeroUsize = NonZeroUsize::new(BLOCK_BYTES * BLOCKS).unwrap();
/// The kernel hands a block over when it is full, or when a timer has come upon it
/// unchanged. The longest there can be (in milliseconds, in 16 bits): it is to disturb
/// nobody.
const HANDED_OVER_MS: u32 = 60_000;
/// By when everything has been that was seen before: the timer comes twice, and is late by 5.12 s at the most
/// (kernel/time/timer.c).
pub const ALL_HANDED_OVER: Duration = Duration::from_millis(2 * (HANDED_OVER_MS as u64 + 5_120));

/// What the socket says of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When, by CLOCK_REALTIME.
    pub real_ns: i64,
    /// At which interface.
    pub interface: i32,
    /// Whether it was about to leave there; else it has come.
    pub outgoing: bool,
    /// Whether its checksum is left to the hardware.
    pub unsummed: bool,
    /// From its IP header on.
    pub bytes: Vec<u8>,
}

/// The socket, which has the memory.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
}

/// That memory, seen from here. It is mapped only when all is over: the processes that a
/// scenario forks would inherit it.
#[derive(Debug)]
struct Memory(NonNull<libc::c_void>);

impl Ring {
    /// Sees every packet of every interface of the calling thread's namespace from now on.
    pub fn open() -> io::Result<Ring> {
        // SAFETY: a new descriptor. Protocol 0: it sees nothing yet.
        let socket = unsafe {
            let socket = libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
            OwnedFd::from_raw_fd(Errno::result(socket)?)
        };
        let version = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
        set(&socket, PACKET_VERSION, &version)?;
        let request = libc::tpacket_req3 {
            tp_block_size: BLOCK_BYTES as u32,
            tp_block_nr: BLOCKS as u32,
            // Frames are as long as what is in them; this only has to fit the blocks.
            tp_frame_size: BLOCK_BYTES as u32,
            tp_frame_nr: BLOCKS as u32,
            tp_retire_blk_tov: HANDED_OVER_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(&socket, libc::PACKET_RX_RING, &request)?;
        // SAFETY: all zeros are a valid address, and bind(2) reads one.
        unsafe {
            let mut all: libc::sockaddr_ll = std::mem::zeroed();
            all.sll_family = libc::AF_PACKET as u16;
            all.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            let bound = libc::bind(socket.as_raw_fd(), (&raw const all).cast(), len);
            Errno::result(bound)?;
        }
        Ok(Ring { socket })
    }

    /// What was seen until [`ALL_HANDED_OVER`] ago, in order, and how many packets there
    /// was no room for.
    pub fn read(self) -> io::Result<(Vec<Frame>, u64)> {
        let memory = Memory::of(&self.socket)?;
        let mut frames = Vec::new();
        for block in 0..BLOCKS {
            frames.extend(memory.block(block).unwrap_or_default());
        }
        Ok((frames, self.lost()?))
    }

    fn lost(&self) -> io::Result<u64> {
        // SAFETY: all zeros are valid statistics, and getsockopt(2) writes no more.
        unsafe {
            let mut statistics: libc::tpacket_stats_v3 = std::mem::zeroed();
            let mut len = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
            Errno::result(libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &mut len,
            ))?;
            Ok(statistics.tp_drops.into())
        }
    }
}

impl Memory {
    fn of(socket: &OwnedFd) -> io::Result<Memory> {
        let (access, flags) = (ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
        // SAFETY: a new mapping, which only `block` reads.
        let memory = unsafe { mmap(None, RING_BYTES, access, flags, socket, 0) }?;
        Ok(Memory(memory))
    }

    /// The packets of a block; `None`: the kernel still has it.
    fn block(&self, index: usize) -> Option<Vec<Frame>> {
        // SAFETY: the kernel writes nothing into a block once TP_STATUS_USER is set, and
        // never takes it back before it is told to, which nobody does. All offsets and
        // lengths are the kernel's, and lie within the block.
        unsafe {
            let block = self.0.cast::<u8>().add(index * BLOCK_BYTES);
            let header = block.cast::<libc::tpacket_block_desc>().as_ref().hdr.bh1;
            if header.block_status & libc::TP_STATUS_USER == 0 {
                return None;
            }
            let mut frames = Vec::with_capacity(header.num_pkts as usize);
            let mut at = block.add(header.offset_to_first_pkt as usize);
            for _ in 0..header.num_pkts {
                frames.push(frame(at));
                let next = at.cast::<libc::tpacket3_hdr>().read().tp_next_offset;
                at = at.add(next as usize);
            }
            Some(frames)
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: nothing refers to it any more. It cannot fail with what mmap returned.
        let _ = unsafe { munmap(self.0, RING_BYTES.get()) };
    }
}

/// The packet whose header is there.
///
/// # Safety
/// One is, all of it, and nobody writes to it.
unsafe fn frame(at: NonNull<u8>) -> Frame {
    // SAFETY: as promised. The address follows the header (tpacket_rcv).
    unsafe {
        let header = at.cast::<libc::tpacket3_hdr>().read();
        let behind = size_of::<libc::tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
        let from = at.add(behind).cast::<libc::sockaddr_ll>().read_unaligned();
        let bytes = at.add(header.tp_net.into());
        Frame {
            real_ns: i64::from(header.tp_sec) * 1_000_000_000 + i64::from(header.tp_nsec),
            interface: from.sll_ifindex,
            outgoing: from.sll_pkttype == libc::PACKET_OUTGOING,
            unsummed: header.tp_status & libc::TP_STATUS_CSUMNOTREADY != 0,
            bytes: NonNull::slice_from_raw_parts(bytes, header.tp_snaplen as usize)
                .as_ref()
                .to_vec(),
        }
    }
}

fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    let value: *const T = value;
    // SAFETY: the option is of that type, and is only read.
    Errno::result(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            value.cast(),
            len,
        )
    })?;
    Ok(())
}
