//! The operations.

use serde::{Deserialize, Serialize};

use super::{Actor, Way};
use crate::scenario::limits::FILE_BYTES;

/// A range of bytes of the file, written `OFFSET+LEN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// How pages of the file come into the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filling {
    /// splice(2), SPLICE_F_NONBLOCK.
    Splice,
    /// The same with SPLICE_F_MOVE: a hint, which neither files nor sockets act on.
    Move,
    /// sendfile(2) to a pipe whose end is O_NONBLOCK (fs/read_write.c:do_sendfile).
    Sendfile,
}

/// A send from the mapping without a copy: the pages are the kernel's to read until it
/// says that it is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Borrowing {
    /// send(2) with MSG_ZEROCOPY; the error queue of the socket says it.
    Send,
    /// IORING_OP_SEND_ZC of io_uring; a second completion of the ring says it.
    Uring,
}

impl Borrowing {
    /// Both with the words that the text has for them.
    pub const NAMED: [(&str, Borrowing); 2] = [
        ("send-zerocopy", Borrowing::Send),
        ("uring-send-zerocopy", Borrowing::Uring),
    ];
}

/// One operation.
///
/// Every operation that writes to the file has a *generation*: 1 for the first
/// one of the scenario, 2 for the second, and so on; see
/// [`Scenario::generation`](crate::scenario::Scenario::generation). One that [zeroes](Op::zeroes) has one, too, of which
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
    /// Sends from the shared mapping by reference.
    Borrow {
        /// How.
        by: Borrowing,
        /// The part of the mapping, which is that of the file.
        range: Range,
    },
    /// Waits until the kernel is done with the pages of all sends by reference, those of
    /// io_uring by other actors aside.
    AwaitCompletions,
    /// Makes the user pipe if there is none, then F_SETPIPE_SZ.
    Pipe {
        /// Requested capacity in bytes.
        capacity_bytes: u32,
    },
    /// Puts pages of the file into the user pipe. A full one is not waited for.
    SpliceIn {
        /// The part of the file.
        range: Range,
        /// How.
        by: Filling,
    },
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
        /// SPLICE_F_MOVE.
        move_pages: bool,
    },
    /// tee(2) from the user pipe to a second one, which is made if there is none,
    /// SPLICE_F_NONBLOCK; skipped when the user pipe is empty.
    Tee {
        /// Number of bytes asked for.
        len: u64,
    },
    /// splice(2) from the user pipe to the second one, which is made if there is none,
    /// SPLICE_F_NONBLOCK; skipped when the user pipe is empty.
    Pour {
        /// Number of bytes asked for.
        len: u64,
    },
    /// write(2) of a part of the shared mapping into a pipe, O_NONBLOCK: bytes of the
    /// pipe's own, beside pages of the file.
    PipeWrite {
        /// The part of the mapping, which is that of the file.
        range: Range,
        /// Into the second pipe, which is made if there is none.
        tee: bool,
    },
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
    /// pwrite(2) by a descriptor with O_DIRECT, past the page cache.
    DirectWrite(Range),
    /// fallocate(2) with FALLOC_FL_ZERO_RANGE and FALLOC_FL_KEEP_SIZE: zeros.
    ZeroRange(Range),
    /// fallocate(2) with FALLOC_FL_COLLAPSE_RANGE: the range is taken out, and what lay
    /// behind it moves to where it began.
    Collapse(Range),
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
    /// Waits until another actor is blocked: in an operation that has begun and does not
    /// return, but for `wait`. Skipped when that one has nothing more to do.
    Await {
        /// For whom.
        who: Actor,
    },
    /// Waits until another actor enters its next operation. The one that stands below
    /// begins at that instant, or so much later: both run side by side where there are
    /// CPUs for that. Skipped when that one has nothing more to do.
    Meet {
        /// Whom.
        who: Actor,
        /// So many nanoseconds later.
        after_ns: u32,
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
            | Op::DirectWrite(range)
            | Op::ZeroRange(range)
            | Op::Punch(range) => Some(range),
            // All that lies behind moves.
            Op::Collapse(Range { offset, .. }) => Some(Range {
                offset,
                len: FILE_BYTES.end().saturating_sub(offset),
            }),
            Op::Truncate { size_bytes } => Some(Range {
                offset: size_bytes,
                len: FILE_BYTES.end().saturating_sub(size_bytes),
            }),
            _ => None,
        }
    }

    /// Whether it puts pages into the pipe by sendfile(2).
    pub fn is_sendfile_in(self) -> bool {
        matches!(
            self,
            Op::SpliceIn {
                by: Filling::Sendfile,
                ..
            }
        )
    }

    /// Whether what it writes is zeros.
    pub fn zeroes(self) -> bool {
        matches!(self, Op::Truncate { .. } | Op::Punch(_) | Op::ZeroRange(_))
    }

    /// Whether only ext4 has it.
    pub fn needs_ext4(self) -> bool {
        matches!(
            self,
            Op::DirectWrite(_) | Op::ZeroRange(_) | Op::Collapse(_)
        )
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
            Op::Sendfile(_)
                | Op::SendfileOn { .. }
                | Op::Copy { .. }
                | Op::Borrow { .. }
                | Op::SpliceOut { .. }
        )
    }

    /// What a send is to send when so many bytes of it are sent; `None`: nothing.
    pub fn after(self, bytes: u64) -> Option<Op> {
        let mut rest = self;
        match &mut rest {
            Op::Sendfile(range) | Op::Copy { range, .. } | Op::Borrow { range, .. } => {
                range.offset = range.offset.saturating_add(bytes);
                range.len = range.len.checked_sub(bytes).filter(|len| *len > 0)?;
            }
            Op::SendfileOn { len } | Op::SpliceOut { len, .. } => {
                *len = len.checked_sub(bytes).filter(|len| *len > 0)?;
            }
            _ => return None,
        }
        Some(rest)
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
            | Op::Borrow { range, .. }
            | Op::SpliceIn { range, .. }
            | Op::PipeWrite { range, .. }
            | Op::Vmsplice { range, .. }
            | Op::MmapWrite(range)
            | Op::Pwrite(range)
            | Op::ForkWrite(range)
            | Op::SecondWrite(range)
            | Op::DirectWrite(range)
            | Op::ZeroRange(range)
            | Op::Collapse(range)
            | Op::Punch(range) => Some(range),
            _ => None,
        }
    }

    /// The range of the file that it puts into a pipe, and whether that is the second one.
    pub fn fills(self) -> Option<(Range, bool)> {
        match self {
            Op::SpliceIn { range, .. } | Op::Vmsplice { range, .. } => Some((range, false)),
            Op::PipeWrite { range, tee } => Some((range, tee)),
            _ => None,
        }
    }

    /// Whether it fills or empties the user pipe, and whether the second one.
    pub fn pipes(self) -> [bool; 2] {
        match self {
            Op::SpliceOut { tee, .. } => [!tee, tee],
            Op::Tee { .. } | Op::Pour { .. } => [true; 2],
            _ => match self.fills() {
                Some((_, second)) => [!second, second],
                None => [false; 2],
            },
        }
    }

    /// Whether it makes, fills or empties a pipe.
    pub fn uses_pipe(self) -> bool {
        self.fills().is_some()
            || matches!(
                self,
                Op::Pipe { .. } | Op::SpliceOut { .. } | Op::Tee { .. } | Op::Pour { .. }
            )
    }

    /// Whether it needs the mapping of the file.
    pub fn maps(self) -> bool {
        self.stores()
            || matches!(
                self,
                Op::PipeWrite { .. }
                    | Op::Vmsplice { .. }
                    | Op::Copy { .. }
                    | Op::Borrow { .. }
                    | Op::Msync
            )
    }

    /// Who performs it where nothing else is said.
    pub fn usual_actor(self) -> Actor {
        match self {
            Op::Read { .. } | Op::Reset | Op::Close => Actor::Reader,
            Op::Hold { .. } | Op::Release { .. } => Actor::Link,
            Op::Await { .. } | Op::Meet { .. } => Actor::B,
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
