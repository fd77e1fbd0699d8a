//! What stands before the first operation.

use super::{Device, Nth, PAGE_BYTES, Stack, TcpSpec};
use crate::scenario::Family;

/// What stands before the first operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Setup {
    /// The queue on the sender's interface: what happens to data.
    pub data: Netem,
    /// The queue on the receiver's interface: what happens to acknowledgements.
    pub ack: Netem,
    /// The interfaces at both ends.
    pub device: Device,
    /// The settings of TCP at both ends.
    pub stack: Stack,
    /// The sending socket.
    pub socket: SocketSpec,
    /// The file that is sent.
    pub file: FileSpec,
    /// How the receiver reads.
    pub reader: ReaderMode,
    /// Whether what is received first goes on to another socket, by splice(2), and is read
    /// there.
    pub relay: bool,
}

/// One direction of the link, as tc-netem(8) means it. All zero: no delay, no
/// loss, queue of the default length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Netem {
    /// Added to every packet.
    pub delay_us: u64,
    /// Uniform variation around the delay; needs a delay.
    pub jitter_us: u64,
    /// Packets dropped, in parts per million.
    pub loss_ppm: u32,
    /// Packets sent twice, in parts per million.
    pub duplicate_ppm: u32,
    /// Packets that skip the delay, in parts per million; needs a delay.
    pub reorder_ppm: u32,
    /// Serialization rate in bits per second; 0: unlimited.
    pub rate_bps: u64,
    /// Queue length in packets; 0: 1000, as tc has it.
    pub limit_packets: u32,
    /// Seed of netem's own random numbers (Linux 6.7 and later).
    pub seed: u64,
    /// Packets in which a bit is flipped, in parts per million.
    pub corrupt_ppm: u32,
    /// How far each random number follows the one before, in parts per million.
    pub correlation_ppm: u32,
    /// Only one of so many packets may be reordered; 0: any.
    pub gap_packets: u32,
    /// Losses come in bursts, and this is the chance that one ends, in parts per million;
    /// 0: each packet is lost or not by itself.
    pub recover_ppm: u32,
    /// Packets leave only so often; 0: at any time.
    pub slot_us: u64,
    /// What each packet is longer on the wire, in bytes; needs a rate.
    pub overhead_bytes: u32,
    /// How jitter is distributed.
    pub distribution: Distribution,
    /// Data of a connection that uses ECN is marked where it would be lost.
    pub mark: bool,
    /// What happens to single packets; needs a TUN link.
    pub nth: Nth,
}

/// How delays lie around their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Distribution {
    /// All of them equally likely, no further away than the jitter.
    #[default]
    Uniform,
    /// The jitter is the standard deviation.
    Normal,
    /// The same, and a few are very late.
    Pareto,
}

impl Distribution {
    /// All of them with the words that the text has for them.
    pub const NAMED: [(&str, Distribution); 3] = [
        ("uniform", Distribution::Uniform),
        ("normal", Distribution::Normal),
        ("pareto", Distribution::Pareto),
    ];

    /// How far from its mean a delay can be, in jitters: netem's tables end there.
    pub fn reach(self) -> u64 {
        match self {
            Distribution::Uniform => 1,
            Distribution::Normal | Distribution::Pareto => 4,
        }
    }
}

impl Netem {
    /// Whether what happens to a packet depends on more than the packet: on random
    /// numbers, or on the packets before it.
    pub fn is_random(&self) -> bool {
        self.jitter_us > 0
            || self.loss_ppm > 0
            || self.duplicate_ppm > 0
            || self.reorder_ppm > 0
            || self.rate_bps > 0
            || self.corrupt_ppm > 0
            || self.slot_us > 0
    }

    /// Whether every packet arrives, in its turn: nothing is lost and nothing overtakes.
    pub fn is_steady(&self) -> bool {
        !self.is_random() && self.limit_packets == 0 && !self.nth.loses()
    }

    /// Whether every packet passes at once.
    pub fn does_nothing(&self) -> bool {
        self.delay_us == 0 && self.only_delays() && self.nth == Nth::default()
    }

    /// Whether all packets are delayed alike, those aside that are named by their numbers,
    /// and nothing else happens to them.
    pub fn only_delays(&self) -> bool {
        !self.is_random() && self.limit_packets == 0
    }

    /// The longest that it keeps a packet, others before it and its rate aside.
    pub fn longest_us(&self) -> u64 {
        let spread_us = self.jitter_us.saturating_mul(self.distribution.reach());
        self.delay_us
            .saturating_add(spread_us)
            .saturating_add(self.slot_us)
    }
}

/// The sending socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SocketSpec {
    /// Address family and protocol.
    pub family: Family,
    /// SO_SNDBUF of the sender in bytes; `None`: the kernel's autotuning.
    pub sndbuf_bytes: Option<u32>,
    /// SO_RCVBUF of the receiver in bytes; `None`: the kernel's autotuning.
    pub rcvbuf_bytes: Option<u32>,
    /// TCP_NODELAY on the sender.
    pub nodelay: bool,
    /// TCP_CORK or UDP_CORK on the sender until the last operation is done.
    pub cork: bool,
    /// O_NONBLOCK on the sender.
    pub nonblock: bool,
    /// A call that does not block and did not move everything is made again for the
    /// rest, once poll(2) says that there is room.
    pub poll: bool,
    /// SO_TIMESTAMPING on the sender: copies of what it has sent, with times, come into its
    /// error queue (Documentation/networking/timestamping.rst). Nobody asks for them.
    pub timestamping: bool,
    /// TCP_USER_TIMEOUT of the sender; 0: none.
    pub user_timeout_us: u64,
    /// SO_SNDTIMEO of the sender; 0: none.
    pub send_timeout_us: u64,
    /// What only TCP has.
    pub tcp: TcpSpec,
    /// A connection for each of the actors on the sender's side.
    pub each: bool,
}

/// The file that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileSpec {
    /// Where it lives.
    pub kind: FileKind,
    /// Its length in bytes; filled with [`crate::history::pattern`] generation 0.
    pub size_bytes: u64,
    /// Not filled: one hole, which reads as zeros.
    pub sparse: bool,
    /// The descriptor that is sent from is open for reading only; what writes has
    /// another one.
    pub read_only: bool,
}

impl Default for FileSpec {
    fn default() -> Self {
        FileSpec {
            kind: FileKind::default(),
            size_bytes: PAGE_BYTES,
            sparse: false,
            read_only: false,
        }
    }
}

/// Where the file lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FileKind {
    /// An unlinked file on tmpfs.
    #[default]
    Tmpfs,
    /// memfd_create(2).
    Memfd,
    /// An unlinked file on ext4, on a loop device.
    Ext4,
}

impl FileKind {
    /// All of them, with the words that the text has for them, the simplest first.
    pub const NAMED: [(&'static str, FileKind); 3] = [
        ("tmpfs", FileKind::Tmpfs),
        ("memfd", FileKind::Memfd),
        ("ext4", FileKind::Ext4),
    ];
}

/// How the receiver reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReaderMode {
    /// Reads whatever arrives as soon as it arrives.
    #[default]
    Drain,
    /// Reads only by `read` operations; drains after the last operation.
    Paused,
}
