//! What is drawn: numbers and flags without any dependence among them, so that
//! each can shrink by itself. [`build`](super::build) makes a scenario of them.
//!
//! A smaller number and an unset flag always mean a simpler scenario.

mod company;
mod counts;
mod setup;
mod stack;
mod tcp;
mod throng;
mod wish;

use std::ops::Range;

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::prop_compose;
use proptest::strategy::{BoxedStrategy, Strategy};

use super::tables::{self, Weighted, total};
pub use company::Company;
pub use counts::Counts;
pub use setup::{LinkGenes, SocketGenes, Source};
pub use stack::{DeviceGenes, StackGenes, TunGenes};
pub use tcp::TcpGenes;
pub use throng::{Crowd, Impatience, Throng};
pub use wish::Wish;

/// A draw from a table, by [`tables::pick`].
pub type Draw = u32;

/// Everything about one scenario.
#[derive(Debug, Clone)]
pub struct Genes {
    pub wish: Wish,
    pub link: LinkGenes,
    pub socket: SocketGenes,
    pub swarm: Swarm,
    pub file: Draw,
    /// How often the operations are repeated, out of 100.
    pub rounds: Draw,
    pub ops: Vec<OpGenes>,
    /// Always set, until it shrinks: repetitions that were needed before the operations
    /// were cut down may not be afterwards.
    pub again: bool,
    /// A family other than TCP.
    pub family: (bool, Draw),
    pub source: Source,
    pub company: Company,
    pub device: DeviceGenes,
    pub stack: StackGenes,
    pub tcp: TcpGenes,
    /// Sends by reference, and waits for their completion.
    pub borrows: bool,
    pub tun: TunGenes,
    /// Over loopback, unless over TUN.
    pub loopback: bool,
    /// SPLICE_F_MOVE, into the pipe and out of it.
    pub moves: [bool; 2],
    /// Some of the pages that go into the pipe do so by sendfile.
    pub fills_by_sendfile: bool,
    /// What is received goes on by splice.
    pub relay: bool,
    pub counts: Counts,
    /// Some who would await another one meet it instead.
    pub meets: bool,
    /// Most operations fill and empty the pipes, which are small.
    pub plumbing: bool,
    /// These are filled from a file with holes.
    pub holes: bool,
    pub throng: Throng,
}

/// Which kinds of operations this scenario has besides `sendfile` and
/// `mmap-write`. A few kinds at a time get further than all at once (swarm
/// testing), and an operation of a kind that is off becomes a simpler one.
#[derive(Debug, Clone)]
pub struct Swarm {
    pub pwrite: bool,
    pub splice: bool,
    pub wait: bool,
    pub actors: bool,
    pub past_the_end: bool,
    pub memfd: bool,
    /// Sends by the other threads.
    pub senders: bool,
    /// vmsplice, tee and writes to the pipe, with splices only.
    pub pipes: bool,
    /// Signals, corks, and ends that come early.
    pub trouble: bool,
    /// Sends by copy.
    pub copies: bool,
    /// Sends from the file position.
    pub onward: bool,
    /// Packets held on the link.
    pub hold: bool,
}

/// One operation, or a few that belong together.
#[derive(Debug, Clone)]
pub struct OpGenes {
    pub kind: Draw,
    /// How a write lies to the send it aims at.
    pub aim: Draw,
    /// Which send it aims at: 0 the last one, 1 the one before.
    pub back: Draw,
    pub offset: Draw,
    pub len: Draw,
    pub actor: Draw,
    /// What goes into a pipe lies anywhere in its page.
    pub inside: bool,
}

/// What an operation's `kind` draws from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sendfile,
    MmapWrite,
    Pwrite,
    /// `splice-in` and `splice-out` of the same length.
    Splice,
    /// The same with many buffers in the pipe.
    Gather,
    SpliceIn,
    SpliceOut,
    Pipe,
    Wait,
    Read,
    /// A splice that is sent twice, by way of `tee`.
    Tee,
    Pour,
    Signal,
    Cork,
    Shutdown,
    /// The reader closes its end, one way or the other.
    Leave,
    /// The sender closes its end.
    Close,
    /// The sender reads.
    OwnRead,
    Kill,
    ForkWrite,
    Truncate,
    Punch,
    DirectWrite,
    ZeroRange,
    Collapse,
    SecondWrite,
    Msync,
    DropCaches,
    /// A send by copy.
    Copy,
    /// sendfile from the file position.
    SendfileOn,
    /// Bytes of the pipe's own, and mostly all of it to the socket.
    PipeWrite,
    /// Something into a pipe, a part of it or all onward, and more behind it.
    HandOver,
    Hold,
    Release,
    /// A write by who waits for that moment.
    Await,
    /// A send by reference.
    Borrow,
    AwaitCompletions,
}

pub const KINDS: &[Weighted<Kind>] = &[
    (Kind::Sendfile, 34),
    (Kind::MmapWrite, 29),
    (Kind::Pwrite, 12),
    (Kind::Splice, 12),
    (Kind::SpliceIn, 4),
    (Kind::SpliceOut, 4),
    (Kind::Pipe, 2),
    (Kind::Wait, 6),
    (Kind::Read, 8),
    (Kind::Tee, 4),
    (Kind::Signal, 4),
    (Kind::Cork, 6),
    (Kind::Shutdown, 2),
    (Kind::Leave, 4),
    (Kind::Close, 2),
    (Kind::OwnRead, 3),
    (Kind::Kill, 3),
    (Kind::ForkWrite, 3),
    (Kind::Copy, 9),
    (Kind::SendfileOn, 5),
    (Kind::PipeWrite, 6),
    (Kind::Truncate, 5),
    (Kind::Punch, 4),
    (Kind::SecondWrite, 5),
    (Kind::Msync, 2),
    (Kind::DropCaches, 2),
    (Kind::Hold, 8),
    (Kind::Release, 14),
    (Kind::Await, 5),
    (Kind::DirectWrite, 6),
    (Kind::ZeroRange, 3),
    (Kind::Borrow, 16),
    (Kind::AwaitCompletions, 4),
    (Kind::Collapse, 3),
    (Kind::Gather, 18),
];

/// The same where most is about pipes. Each slot of a pipe keeps something of what was in
/// it before, so they are filled and emptied again and again, in parts.
pub const PIPE_KINDS: &[Weighted<Kind>] = &[
    (Kind::Sendfile, 4),
    (Kind::MmapWrite, 6),
    (Kind::SpliceIn, 9),
    (Kind::PipeWrite, 13),
    (Kind::Wait, 1),
    (Kind::Pipe, 1),
    (Kind::Tee, 8),
    (Kind::Pour, 8),
    (Kind::Gather, 5),
    // What sends comes last, side by side, so that shrinking finds the simpler of these.
    (Kind::SpliceOut, 10),
    (Kind::Splice, 3),
    (Kind::HandOver, 14),
];

/// How a write lies to the send it aims at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    Same,
    FirstByte,
    LastByte,
    Page,
    Inside,
    AcrossStart,
    AcrossEnd,
    Anywhere,
}

pub const AIMS: &[Weighted<Aim>] = &[
    (Aim::Same, 36),
    (Aim::FirstByte, 8),
    (Aim::LastByte, 10),
    (Aim::Page, 12),
    (Aim::Inside, 12),
    (Aim::AcrossStart, 6),
    (Aim::AcrossEnd, 6),
    (Aim::Anywhere, 10),
];

/// Most operations before they are repeated and pipes are added.
const MOST_OPS: usize = 9;

pub fn genes() -> BoxedStrategy<Genes> {
    all().boxed()
}

// The order is that in which a case shrinks, and in which its seed is used up.
prop_compose! {
    fn all()(
        // What was wished for goes first when a case shrinks, then what gives all operations
        // another meaning.
        wish in wish::wish(),
        // Before what takes place over TCP only, so that it needs not stay for that.
        family in (weighted(0.36), from(tables::FAMILIES)),
        throng in throng::throng(),
        plumbing in weighted(0.2),
        holes in weighted(0.3),
        link in setup::link(),
        socket in setup::socket(),
        swarm in swarm(),
        file in from(tables::FILE_BYTES),
        rounds in 0..100_u32,
        ops in vec(op(), 1..=MOST_OPS),
        again in weighted(1.0),
        source in setup::source(),
        company in company::company(),
        device in stack::device(),
        stack in stack::stack(),
        tcp in tcp::tcp(),
        borrows in weighted(0.3),
        tun in stack::tun(),
        loopback in weighted(0.02),
        moves in [weighted(0.2), weighted(0.2)],
        fills_by_sendfile in weighted(0.4),
        relay in weighted(0.06),
        counts in counts::counts(),
        meets in weighted(0.12),
    ) -> Genes {
        Genes {
            wish,
            link,
            socket,
            swarm,
            file,
            rounds,
            ops,
            again,
            family,
            source,
            company,
            device,
            stack,
            tcp,
            borrows,
            tun,
            loopback,
            moves,
            fills_by_sendfile,
            relay,
            counts,
            meets,
            plumbing,
            holes,
            throng,
        }
    }
}

fn from<T: Copy>(table: &[Weighted<T>]) -> Range<Draw> {
    0..total(table)
}

prop_compose! {
    fn swarm()(
        pwrite in weighted(0.4),
        splice in weighted(0.3),
        wait in weighted(0.4),
        actors in weighted(0.35),
        past_the_end in weighted(0.15),
        memfd in weighted(0.2),
        senders in weighted(0.12),
        pipes in weighted(0.3),
        trouble in weighted(0.15),
        copies in weighted(0.25),
        onward in weighted(0.2),
        hold in weighted(0.3),
    ) -> Swarm {
        Swarm {
            pwrite,
            splice,
            wait,
            actors,
            past_the_end,
            memfd,
            senders,
            pipes,
            trouble,
            copies,
            onward,
            hold,
        }
    }
}

prop_compose! {
    fn op()(
        kind in from(KINDS),
        aim in from(AIMS),
        back in 0..4_u32,
        // Before the offset: a send that is as long as the page can begin at its start,
        // and still meet the write.
        len in from(tables::LENGTHS),
        offset in tables::OFFSETS,
        actor in 0..4_u32,
        inside in weighted(0.5),
    ) -> OpGenes {
        OpGenes {
            kind,
            aim,
            back,
            offset,
            len,
            actor,
            inside,
        }
    }
}
