//! The types of a scenario. Units stand in the names; see docs/scenario.md for
//! the text form.

use super::Family;
use super::limits::FILE_BYTES;

/// Page size of the kernels under test, in bytes.
pub const PAGE_BYTES: u64 = 4096;

/// One test case: a setup and a list of operations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scenario {
    /// The prose above the first line, without the leading `# `; may be empty.
    pub header: String,
    /// What a replay must see on which kernels; first match counts.
    pub expects: Vec<Expect>,
    /// What stands before the first operation.
    pub setup: Setup,
    /// The operations, in the order in which the scheduler hands them out.
    pub steps: Vec<Step>,
}

/// `expect KERNEL VERDICT`: what a replay must see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expect {
    /// A kernel name (`6.12-stock`) or a flavour of any version (`stock`).
    pub kernel: String,
    /// What it must show.
    pub verdict: Expected,
}

/// What a replay must see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Every property holds, by the means given, if any is.
    Holds(Option<Means>),
    /// The property of this name is violated, as [`crate::oracle::Property`]
    /// prints it.
    Violates(String),
}

/// How a patched kernel kept its promise, by its own counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// A call slept until its pages were released; nothing was copied.
    Waited,
    /// Copies were sent, and nothing by reference.
    Copied,
    /// Pages that were still queued when a call returned were replaced by copies.
    Detached,
}

impl Means {
    /// All of them, with the words that the text has for them.
    pub const NAMED: [(&str, Means); 3] = [
        ("waited", Means::Waited),
        ("copied", Means::Copied),
        ("detached", Means::Detached),
    ];
}

impl Expect {
    /// Whether this line is about the kernel of that name: it names the kernel
    /// itself, its flavour with or without `-debug`, or `patched` for `detach`, which
    /// is the same kernel with another setting.
    pub fn is_about(&self, kernel: &str) -> bool {
        if self.kernel == kernel {
            return true;
        }
        // The path of a source tree is no flavour, whatever it ends in.
        let Some((_, flavour)) = kernel.split_once('-').filter(|_| !kernel.contains(':')) else {
            return false;
        };
        let plain = flavour.strip_suffix("-debug").unwrap_or(flavour);
        [flavour, plain].contains(&self.kernel.as_str())
            || plain == "detach" && self.kernel == "patched"
    }
}

/// What stands before the first operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Setup {
    /// The queue on the sender's interface: what happens to data.
    pub data: Netem,
    /// The queue on the receiver's interface: what happens to acknowledgements.
    pub ack: Netem,
    /// The sending socket.
    pub socket: SocketSpec,
    /// The file that is sent.
    pub file: FileSpec,
    /// How the receiver reads.
    pub reader: ReaderMode,
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
    /// TCP_USER_TIMEOUT of the sender; 0: none.
    pub user_timeout_us: u64,
    /// SO_SNDTIMEO of the sender; 0: none.
    pub send_timeout_us: u64,
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

/// One operation and who performs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The thread that performs it.
    pub actor: Actor,
    /// What it does.
    pub op: Op,
}

/// A thread that performs operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Actor {
    /// The sender, and who acts where nothing else is said.
    #[default]
    A,
    /// A second thread of the sending process.
    B,
    /// A third thread of the sending process.
    C,
    /// The receiver; reads and leaves.
    Reader,
    /// The link itself: no thread, so nothing that blocks holds it up.
    Link,
}

impl Actor {
    /// The actors that act on the sender's side.
    pub const SENDING_SIDE: [Actor; 3] = [Actor::A, Actor::B, Actor::C];

    /// Its place in [`Actor::SENDING_SIDE`].
    ///
    /// # Panics
    /// For the reader and the link, which have none.
    pub fn index(self) -> usize {
        Actor::SENDING_SIDE
            .iter()
            .position(|&actor| actor == self)
            .expect("neither the reader nor the link acts on the sender's side")
    }
}

/// One direction of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the sender to the receiver.
    Data,
    /// Back.
    Ack,
}

impl Way {
    /// Both, with the words that the text has for them.
    pub const NAMED: [(&str, Way); 2] = [("data", Way::Data), ("ack", Way::Ack)];
}

/// A range of bytes of the file, written `OFFSET+LEN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

impl Range {
    /// One past the last byte.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// A call that copies what it sends, and so has taken the values when it returns:
/// what the others are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Copying {
    /// write(2).
    Write,
    /// send(2), without flags.
    Send,
    /// writev(2) of two parts.
    Writev,
}

impl Copying {
    /// All of them with the words that the text has for them, the simplest first.
    pub const NAMED: [(&str, Copying); 3] = [
        ("write", Copying::Write),
        ("send", Copying::Send),
        ("writev", Copying::Writev),
    ];
}

/// One operation.
///
/// Every operation that writes to the file has a *generation*: 1 for the first
/// one of the scenario, 2 for the second, and so on; see
/// [`Scenario::generation`]. One that [zeroes](Op::zeroes) has one, too, of which
/// every byte is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// sendfile(2) from the file to the socket with an explicit offset.
    Sendfile(Range),
    /// sendfile(2) from the file position, which it moves.
    SendfileOn {
        /// Number of bytes.
        len: u64,
    },
    /// Sends from the shared mapping by copy.
    Copy {
        /// The call that copies.
        by: Copying,
        /// The part of the mapping, which is that of the file.
        range: Range,
    },
    /// Makes the user pipe if there is none, then F_SETPIPE_SZ.
    Pipe {
        /// Requested capacity in bytes.
        capacity_bytes: u32,
    },
    /// splice(2) from the file into the user pipe, SPLICE_F_NONBLOCK.
    SpliceIn(Range),
    /// splice(2) from the user pipe to the socket; skipped when the pipe is empty.
    SpliceOut {
        /// Number of bytes asked for.
        len: u64,
        /// SPLICE_F_MORE.
        more: bool,
        /// SPLICE_F_NONBLOCK.
        nonblock: bool,
        /// From the second pipe, which `tee` fills.
        tee: bool,
    },
    /// tee(2) from the user pipe to a second one, which is made if there is none,
    /// SPLICE_F_NONBLOCK; skipped when the user pipe is empty.
    Tee {
        /// Number of bytes asked for.
        len: u64,
    },
    /// write(2) of a part of the shared mapping into the user pipe, O_NONBLOCK: bytes
    /// of the pipe's own, beside pages of the file.
    PipeWrite(Range),
    /// vmsplice(2) of the shared mapping into the user pipe, SPLICE_F_NONBLOCK.
    Vmsplice {
        /// The part of the mapping, which is that of the file.
        range: Range,
        /// SPLICE_F_GIFT.
        gift: bool,
    },
    /// Stores through a shared mapping of the file.
    MmapWrite(Range),
    /// pwrite(2) to the file.
    Pwrite(Range),
    /// Stores through the shared mapping by a forked child, which is waited for.
    ForkWrite(Range),
    /// Stores through a second shared mapping of the file, at another address.
    SecondWrite(Range),
    /// msync(2) of the whole mapping, MS_SYNC.
    Msync,
    /// Gives back what the page cache can do without (/proc/sys/vm/drop_caches).
    DropCaches,
    /// ftruncate(2): the file ends there. What lay beyond is gone, and what comes to
    /// lie before the end is zeros.
    Truncate {
        /// The new length.
        size_bytes: u64,
    },
    /// fallocate(2) with FALLOC_FL_PUNCH_HOLE and FALLOC_FL_KEEP_SIZE: zeros.
    Punch(Range),
    /// The receiver reads this many bytes, or to the end of the stream. For another
    /// actor it does so at that one's word, who waits for it: who sends and reads in
    /// one thread.
    Read {
        /// Number of bytes.
        len: u64,
    },
    /// Sleeps.
    Wait {
        /// How long, in microseconds.
        us: u64,
    },
    /// shutdown(2) of the writing half of the actor's own end.
    Shutdown,
    /// The receiver closes its end by a reset (SO_LINGER of 0 seconds).
    Reset,
    /// close(2) of the actor's own end.
    Close,
    /// A signal to the thread of an actor, with a handler that does nothing and
    /// without SA_RESTART.
    Signal {
        /// Whom.
        to: Actor,
    },
    /// SIGKILL to the process that sends for an actor. Where a scenario has this, what
    /// that actor sends without a pipe is sent by a process of its own; skipped when
    /// there is none, as is what that actor would send afterwards.
    Kill {
        /// Whom.
        to: Actor,
    },
    /// TCP_CORK of the sender.
    Cork {
        /// Set or taken away.
        on: bool,
    },
    /// From now on the packets of one direction wait at the end of the link; skipped
    /// while they do already.
    Hold {
        /// Which direction.
        way: Way,
        /// So many packets pass first.
        after_packets: u32,
    },
    /// Lets held packets go, in the order in which they came; skipped while nothing is
    /// held.
    Release {
        /// Which direction.
        way: Way,
        /// So many packets from now on, those that wait first; `None`: all, and the
        /// hold is over.
        packets: Option<u32>,
    },
}

impl Op {
    /// The range of the file that it writes. A file is zeros beyond its end, so
    /// `truncate` writes to all that lies there.
    pub fn writes(self) -> Option<Range> {
        match self {
            Op::MmapWrite(range)
            | Op::Pwrite(range)
            | Op::ForkWrite(range)
            | Op::SecondWrite(range)
            | Op::Punch(range) => Some(range),
            Op::Truncate { size_bytes } => Some(Range {
                offset: size_bytes,
                len: FILE_BYTES.end().saturating_sub(size_bytes),
            }),
            _ => None,
        }
    }

    /// Whether what it writes is zeros.
    pub fn zeroes(self) -> bool {
        matches!(self, Op::Truncate { .. } | Op::Punch(_))
    }

    /// Whether it stores through the mapping of the file.
    pub fn stores(self) -> bool {
        matches!(
            self,
            Op::MmapWrite(_) | Op::ForkWrite(_) | Op::SecondWrite(_)
        )
    }

    /// Whether it can put bytes on the socket.
    pub fn sends(self) -> bool {
        matches!(
            self,
            Op::Sendfile(_) | Op::SendfileOn { .. } | Op::Copy { .. } | Op::SpliceOut { .. }
        )
    }

    /// The range of the file that it names, whatever for.
    pub fn range(mut self) -> Option<Range> {
        self.range_mut().copied()
    }

    /// The same, to be changed.
    pub fn range_mut(&mut self) -> Option<&mut Range> {
        match self {
            Op::Sendfile(range)
            | Op::Copy { range, .. }
            | Op::SpliceIn(range)
            | Op::PipeWrite(range)
            | Op::Vmsplice { range, .. }
            | Op::MmapWrite(range)
            | Op::Pwrite(range)
            | Op::ForkWrite(range)
            | Op::SecondWrite(range)
            | Op::Punch(range) => Some(range),
            _ => None,
        }
    }

    /// The range of the file that it puts into the user pipe.
    pub fn fills(self) -> Option<Range> {
        match self {
            Op::SpliceIn(range) | Op::PipeWrite(range) | Op::Vmsplice { range, .. } => Some(range),
            _ => None,
        }
    }

    /// Whether it makes, fills or empties a pipe.
    pub fn uses_pipe(self) -> bool {
        self.fills().is_some()
            || matches!(
                self,
                Op::Pipe { .. } | Op::SpliceOut { .. } | Op::Tee { .. }
            )
    }

    /// Whether it needs the mapping of the file.
    pub fn maps(self) -> bool {
        self.stores()
            || matches!(
                self,
                Op::PipeWrite(_) | Op::Vmsplice { .. } | Op::Copy { .. } | Op::Msync
            )
    }

    /// Who performs it where nothing else is said.
    pub fn usual_actor(self) -> Actor {
        match self {
            Op::Read { .. } | Op::Reset | Op::Close => Actor::Reader,
            Op::Hold { .. } | Op::Release { .. } => Actor::Link,
            _ => Actor::A,
        }
    }

    /// The direction of the link that it acts on.
    pub fn way(self) -> Option<Way> {
        match self {
            Op::Hold { way, .. } | Op::Release { way, .. } => Some(way),
            _ => None,
        }
    }

    /// Whether it closes the end of whoever performs it.
    pub fn leaves(self) -> bool {
        matches!(self, Op::Reset | Op::Close)
    }
}

impl Scenario {
    /// The largest size that the file can have, in bytes.
    pub fn extent_bytes(&self) -> u64 {
        let sizes = self.steps.iter().filter_map(|step| match step.op {
            Op::Truncate { size_bytes } => Some(size_bytes),
            _ => None,
        });
        sizes.fold(self.setup.file.size_bytes, u64::max)
    }

    /// Whether the size of the file changes.
    pub fn resizes(&self) -> bool {
        let mut ops = self.steps.iter().map(|step| step.op);
        ops.any(|op| matches!(op, Op::Truncate { .. }))
    }

    /// Whether a sending actor reads: it is its own reader.
    pub fn reads_itself(&self) -> bool {
        let own = |step: &Step| matches!(step.op, Op::Read { .. }) && step.actor != Actor::Reader;
        self.steps.iter().any(own)
    }

    /// Whether an operation holds packets of that direction.
    pub fn holds(&self, way: Way) -> bool {
        let mut ops = self.steps.iter().map(|step| step.op);
        ops.any(|op| matches!(op, Op::Hold { way: it, .. } if it == way))
    }

    /// Whether an operation holds packets of any direction.
    pub fn holds_any(&self) -> bool {
        Way::NAMED.iter().any(|&(_, way)| self.holds(way))
    }

    /// Whether an operation kills who sends for `actor`.
    pub fn kills(&self, actor: Actor) -> bool {
        let mut ops = self.steps.iter().map(|step| step.op);
        ops.any(|op| op == Op::Kill { to: actor })
    }

    /// The generation that the step at `index` writes, or `None` if it does not
    /// write. Counted from 1 in list order, wherever the scheduler runs it.
    pub fn generation(&self, index: usize) -> Option<u8> {
        self.steps.get(index)?.op.writes()?;
        let writes = self.steps[..=index]
            .iter()
            .filter(|step| step.op.writes().is_some())
            .count();
        u8::try_from(writes).ok()
    }

    /// The step that writes `generation`, or `None`.
    pub fn writer_of(&self, generation: u8) -> Option<usize> {
        let nth = usize::from(generation).checked_sub(1)?;
        self.steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step.op.writes().is_some())
            .nth(nth)
            .map(|(index, _)| index)
    }
}
