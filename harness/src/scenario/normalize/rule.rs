//! What normalization changes, and why.

use std::fmt;

use crate::scenario::PAGE_BYTES;
use crate::scenario::Sysctl;
use crate::scenario::limits::*;
use crate::scenario::text::units::{Bytes, Percent, Rate, Time};

/// A line of the text form that a value stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The comment block at the top.
    Header,
    /// An `expect` line, by index.
    Expect(usize),
    /// `link data`.
    Data,
    /// `link ack`.
    Ack,
    /// `link veth`.
    Device,
    /// `stack`.
    Stack,
    /// `socket`.
    Socket,
    /// `file`.
    File,
    /// `reader`.
    Reader,
    /// An operation, by its index before normalization.
    Step(usize),
    /// The scenario as a whole.
    Whole,
}

/// One change that normalization made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// The line it concerns.
    pub line: Line,
    /// The key on that line, or empty for the line as a whole.
    pub key: &'static str,
    /// The rule that asked for it.
    pub rule: Rule,
}

/// The changes so far.
#[derive(Debug, Default)]
pub struct Notes(Vec<Note>);

impl Notes {
    /// Records that `rule` changed the value of `key`.
    pub fn push(&mut self, line: Line, key: &'static str, rule: Rule) {
        self.0.push(Note { line, key, rule });
    }

    /// All of them, in the order in which they were made.
    pub fn into_inner(self) -> Vec<Note> {
        self.0
    }
}

/// Why normalization changes something. Its display is a sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    HeaderPlain,
    ExpectKernel,
    ExpectProperty,
    ExpectTwice,
    ExpectCount,
    FileSize,
    Delay,
    JitterWithinDelay,
    Loss,
    Shuffle,
    ReorderNeedsDelay,
    Rate,
    Limit,
    SocketBuffer,
    LinkNotPassed,
    NothingComesBack,
    SocketOption,
    OpCount,
    NoOps,
    Nothing,
    WriteInside,
    Truncate,
    Offset,
    Count,
    SendfileCount,
    Budget,
    OnlyAPipes,
    OnlyAGoesOn,
    OnlyReaderResets,
    ReaderOnlyReads,
    ReadNeedsPause,
    ReaderGone,
    NeedsPipe,
    NothingToSplice,
    NothingTeed,
    NothingToAwait,
    MapInside,
    PipeCapacity,
    Wait,
    Phase,
    Timeout,
    TimeoutUnit,
    SignalOther,
    CloseNeedsDrain,
    KillOnce,
    KillOnlySender,
    PlainTcp,
    OnlyLinkHolds,
    HoldShuffled,
    HeldAlready,
    NotHeld,
    Passing,
    CloseNeedsNoHold,
    AwaitOther,
    MeetOnce,
    Mtu,
    Ipv6Mtu,
    StackNeedsTcp,
    StackValue(Sysctl),
    BaseMssNeedsProbing,
    Correlation,
    CorrelationNeedsChance,
    Corrupt,
    DistributionNeedsJitter,
    Gap,
    GapNeedsReorder,
    MarkNeedsEcn,
    NthNeedsTun,
    Nth,
    OffloadNeedsVeth,
    /// Neither settings of a direction nor holds.
    LoopbackHasNoQueue,
    NotsentLowat,
    Overhead,
    OverheadNeedsRate,
    PollNeedsNonblock,
    PollNeedsParts,
    PollOfTimes,
    NeedsExt4,
    WholeSectors,
    Recover,
    RecoverNeedsLoss,
    EachAlone,
    WholeBlocks,
    CollapseAlone,
    RelayNeedsStream,
    RelayStays,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::HeaderPlain => write!(
                f,
                "a header is plain text of at most {} bytes",
                MAX_HEADER_BYTES
            ),
            Rule::ExpectKernel => write!(
                f,
                "a kernel's name has letters, digits and `._:/+-@`, and at most {MAX_KERNEL_NAME_BYTES} bytes"
            ),
            Rule::ExpectProperty => write!(f, "no such property"),
            Rule::ExpectTwice => write!(f, "this kernel has an `expect` line already"),
            Rule::ExpectCount => write!(f, "at most {MAX_EXPECTS} `expect` lines"),
            Rule::FileSize => write!(
                f,
                "a file has {} to {}",
                FILE_BYTES.start(),
                Bytes(*FILE_BYTES.end())
            ),
            Rule::Delay => write!(
                f,
                "at most {}, so that a scenario ends in bounded virtual time",
                Time(MAX_DELAY_US)
            ),
            Rule::JitterWithinDelay => write!(
                f,
                "jitter varies the delay, so it can be no longer than the delay of the same line"
            ),
            Rule::Loss => write!(
                f,
                "at most {}: with more, a retransmission is likely to be lost again until the connection fails",
                Percent(MAX_LOSS_PPM)
            ),
            Rule::Shuffle => write!(f, "at most {}", Percent(MAX_SHUFFLE_PPM)),
            Rule::ReorderNeedsDelay => write!(
                f,
                "a reordered packet is one that skips the delay, so the same line must have a delay"
            ),
            Rule::Rate => write!(
                f,
                "between {} and {}, so that a scenario ends in bounded virtual time",
                Rate(*RATE_BPS.start()),
                Rate(*RATE_BPS.end())
            ),
            Rule::Limit => write!(f, "at most {MAX_LIMIT_PACKETS} packets"),
            Rule::SocketBuffer => write!(
                f,
                "between {} and {}, as the kernel has bounds of its own",
                SOCKET_BUFFER_BYTES.start(),
                Bytes((*SOCKET_BUFFER_BYTES.end()).into())
            ),
            Rule::LinkNotPassed => write!(
                f,
                "sockets of this family do not pass the link, so this line would do nothing"
            ),
            Rule::NothingComesBack => write!(
                f,
                "a receiver of datagrams sends nothing back, so this line would do nothing"
            ),
            Rule::SocketOption => {
                write!(f, "on sockets of this family this would do nothing")
            }
            Rule::OpCount => write!(
                f,
                "at most {MAX_OPS} operations, pipes that had to be made among them"
            ),
            Rule::NoOps => write!(f, "no operation: a scenario has at least one"),
            Rule::Nothing => write!(f, "an operation of length 0 does nothing"),
            Rule::WriteInside => write!(
                f,
                "a write must lie inside the file, or inside what a `truncate` above has made of it"
            ),
            Rule::Truncate => write!(f, "a file has at most {}", Bytes(MAX_TRUNCATE_BYTES)),
            Rule::Offset => write!(f, "an offset of at most {}", Bytes(MAX_OFFSET_BYTES)),
            Rule::Count => write!(f, "at most {}", Bytes(MAX_COUNT_BYTES)),
            Rule::SendfileCount => write!(f, "at most {}", Bytes(MAX_SENDFILE_COUNT_BYTES)),
            Rule::Budget => write!(
                f,
                "all sends together move at most {} of the file",
                Bytes(MAX_SENT_BYTES)
            ),
            Rule::OnlyAPipes => write!(
                f,
                "only actor `a` uses the pipes: what is in them must be known"
            ),
            Rule::OnlyAGoesOn => write!(
                f,
                "only actor `a` sends from the file position: where it stands must be known"
            ),
            Rule::OnlyReaderResets => write!(f, "only the reader can `reset`"),
            Rule::CloseNeedsDrain => write!(
                f,
                "a sender closes where the reader drains: of a closed socket TCP gives up data \
                 for which the window stays closed"
            ),
            Rule::KillOnce => write!(f, "only one operation can kill"),
            Rule::KillOnlySender => write!(
                f,
                "who is killed must be the only one who sends: what a killed call has sent is \
                 not known, so nothing can follow it"
            ),
            Rule::ReaderOnlyReads => write!(
                f,
                "the reader can only `read`, `reset`, `close` and `shutdown`"
            ),
            Rule::ReadNeedsPause => write!(
                f,
                "what the reader does needs the line `reader paused`; \
                 without it everything is read as it arrives"
            ),
            Rule::ReaderGone => write!(f, "the reader has closed its end already"),
            Rule::NeedsPipe => write!(f, "no pipe yet: a `pipe` operation must come first"),
            Rule::NothingToSplice => write!(
                f,
                "the pipe is empty: a `splice-in`, `sendfile-in`, `vmsplice` or `pipe-write` must \
                 come first"
            ),
            Rule::NothingTeed => write!(
                f,
                "the second pipe is empty: a `tee`, `pour` or `pipe-write tee` must come first"
            ),
            Rule::NothingToAwait => write!(
                f,
                "nothing completes: a `send-zerocopy` or `uring-send-zerocopy` must come first"
            ),
            Rule::MapInside => write!(f, "the mapping ends where the file ends"),
            Rule::PipeCapacity => write!(
                f,
                "between {} and {}, as the kernel has it",
                PIPE_BYTES.start(),
                Bytes((*PIPE_BYTES.end()).into())
            ),
            Rule::Wait => write!(f, "at most {}", Time(MAX_WAIT_US)),
            Rule::Phase => write!(f, "at most {}", Time(u64::from(MAX_PHASE_NS) / 1_000)),
            Rule::Timeout => write!(f, "at most {}", Time(MAX_TIMEOUT_US)),
            Rule::TimeoutUnit => write!(f, "the kernel counts this in whole milliseconds"),
            Rule::PlainTcp => write!(
                f,
                "only tcp4 and tcp6 have this: how a connection of another family ends early, \
                 or is shared, is not known"
            ),
            Rule::OnlyLinkHolds => write!(f, "the link can only `hold` and `release`"),
            Rule::HoldShuffled => write!(
                f,
                "a direction that duplicates or reorders cannot be held: netem lets reordered \
                 packets past what holds the others, and kernels refuse to hold behind duplicates"
            ),
            Rule::HeldAlready => write!(
                f,
                "this direction is held already: a `release` of all must come first"
            ),
            Rule::NotHeld => write!(
                f,
                "nothing is held: a `hold` of this direction must come first"
            ),
            Rule::Passing => write!(f, "at most {MAX_PASSING_PACKETS} packets"),
            Rule::CloseNeedsNoHold => write!(
                f,
                "a sender closes where nothing is held: of a closed socket TCP gives up data \
                 that stays unacknowledged"
            ),
            Rule::AwaitOther => {
                write!(f, "one of `a`, `b` and `c` awaits or meets another of them")
            }
            Rule::MeetOnce => {
                write!(
                    f,
                    "who has met somebody does something before it meets again"
                )
            }
            Rule::Mtu => write!(
                f,
                "between {} and {}",
                MTU_BYTES.start(),
                Bytes((*MTU_BYTES.end()).into())
            ),
            Rule::Ipv6Mtu => write!(f, "IPv6 needs packets of {LEAST_IPV6_MTU_BYTES} bytes"),
            Rule::StackNeedsTcp => write!(
                f,
                "these are settings of TCP, so with this family the line would do nothing"
            ),
            Rule::StackValue(sysctl) => {
                let bounds = sysctl.bounds();
                write!(f, "between {} and {}", bounds.start(), bounds.end())
            }
            Rule::BaseMssNeedsProbing => write!(
                f,
                "only probing begins there, so the same line must have `mtu-probing=1` or 2"
            ),
            Rule::PollOfTimes => write!(
                f,
                "an error queue that nobody empties keeps poll(2) awake, so not beside `poll`"
            ),
            Rule::PollNeedsNonblock => {
                write!(
                    f,
                    "a call that blocks needs no poll: the same line must have `nonblock`"
                )
            }
            Rule::PollNeedsParts => write!(
                f,
                "a datagram is taken whole or not at all, so there is no rest to poll for"
            ),
            Rule::NotsentLowat => {
                write!(f, "at most {}", Bytes((*NOTSENT_LOWAT_BYTES.end()).into()))
            }
            Rule::NeedsExt4 => write!(f, "only files on ext4 have this: `file ext4`"),
            Rule::WholeBlocks => write!(
                f,
                "what is taken out is whole blocks of {PAGE_BYTES} bytes, and not the end of the file"
            ),
            Rule::CollapseAlone => write!(
                f,
                "only one `collapse`, and no `truncate` beside it: how long the file is must be \
                 known"
            ),
            Rule::WholeSectors => write!(
                f,
                "what passes the page cache begins and ends at multiples of {SECTOR_BYTES} bytes, \
                 inside the file"
            ),
            Rule::Corrupt => write!(
                f,
                "at most {}, since what is corrupt is lost",
                Percent(MAX_CORRUPT_PPM)
            ),
            Rule::Correlation => write!(
                f,
                "at most {}: with more, one packet after the other is lost until the connection fails",
                Percent(MAX_CORRELATION_PPM)
            ),
            Rule::CorrelationNeedsChance => write!(
                f,
                "nothing of this line is left to chance: no jitter, no loss, no shuffling"
            ),
            Rule::Gap => write!(f, "at most {MAX_GAP_PACKETS} packets"),
            Rule::GapNeedsReorder => write!(f, "the same line must have `reorder`"),
            Rule::Recover => write!(
                f,
                "at least {LEAST_RECOVERY} times the loss of the same line, and at most {}: \
                 one packet in five is then lost at most",
                Percent(CERTAIN_PPM)
            ),
            Rule::RecoverNeedsLoss => write!(f, "the same line must have `loss`"),
            Rule::Overhead => write!(f, "at most {}", Bytes(MAX_OVERHEAD_BYTES.into())),
            Rule::OverheadNeedsRate => write!(
                f,
                "how long a packet is matters to its rate, so the same line must have a `rate`"
            ),
            Rule::DistributionNeedsJitter => {
                write!(
                    f,
                    "jitter is what is distributed: the same line must have it"
                )
            }
            Rule::NthNeedsTun => write!(f, "only a `link tun` knows its packets by their numbers"),
            Rule::Nth => write!(f, "at most {MAX_NTH}"),
            Rule::OffloadNeedsVeth => write!(f, "only a `link veth` has offloads to switch"),
            Rule::LoopbackHasNoQueue => write!(
                f,
                "a `link loopback` has no queue, so nothing can wait or get lost there"
            ),
            Rule::MarkNeedsEcn => write!(
                f,
                "what is marked is data that would be lost, of connections that use ECN: this \
                 needs `loss`, `stack ecn=1`, and `link data`"
            ),
            Rule::RelayNeedsStream => write!(
                f,
                "a stream can be relayed; of datagrams and packets it would lose the boundaries"
            ),
            Rule::RelayStays => write!(
                f,
                "behind a `relay` the reader can only `read`: the sender's connection is not its own"
            ),
            Rule::EachAlone => write!(
                f,
                "neither `b` nor `c` sends, so nobody else needs a connection"
            ),
            Rule::SignalOther => write!(f, "a signal goes to another of `a`, `b` and `c`"),
        }
    }
}
