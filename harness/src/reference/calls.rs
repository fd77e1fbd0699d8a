//! What a call may return, by its manual page.

use super::connection::{Connection, TICKS_NS};
use super::limits::{self, Asked};
use super::messages::pages;
use super::pipe::Pipe;
use crate::history::{Call, Outcome};
use crate::scenario::{Borrowing, Family, Op, PAGE_BYTES, Range, Scenario};

/// Why a call cannot have been so.
#[derive(Debug)]
pub struct Fault(pub String);

/// A call that has returned, and what it met.
pub struct Case<'a> {
    pub scenario: &'a Scenario,
    pub op: Op,
    pub call: &'a Call,
    /// What it was asked for; `None`: nothing of the file, or nobody knows.
    pub range: Option<Range>,
    /// How long the file was at some instant of it.
    pub sizes: &'a [u64],
    /// What was in the pipe that it takes from, in how many pages.
    pub held: u64,
    pub held_pages: u64,
    /// What waited in the socket for more.
    pub waiting: Asked,
    pub signalled: bool,
    /// As they are behind it.
    pub pipes: &'a [Pipe; 2],
    pub connection: &'a Connection,
    /// Of the file, behind it.
    pub position: Option<u64>,
}

/// Whether the call may have ended so.
pub fn result(case: &Case<'_>) -> Result<(), Fault> {
    let call = case.call;
    let allowed = match call.outcome {
        Outcome::Returned(n) => case.may_return(n),
        Outcome::Failed(errno) => case.may_fail(errno),
        Outcome::Skipped => case.may_be_skipped(),
        // Whenever it is told to.
        Outcome::Killed => return Ok(()),
        Outcome::Pending => true,
    };
    if !allowed {
        return Err(Fault(format!("{:?}", call.outcome)));
    }
    case.offsets(call.outcome.bytes())
}

impl Case<'_> {
    fn may_return(&self, n: u64) -> bool {
        let asked = self.range.map_or(0, |range| range.len);
        let some = (1..=asked).contains(&n);
        if self.op.sends() && limits::is_too_long(self.scenario, self.op, n) {
            return false;
        }
        match self.op {
            // sendfile(2): "may write fewer bytes than requested"; splice(2): "A return
            // value of 0 means end of input".
            Op::Sendfile(_) | Op::SendfileOn { .. } | Op::SpliceIn { .. } => match self.range {
                Some(range) => match n {
                    0 => range.len == 0 || self.left(range).any(|left| left == 0),
                    n => some && self.left(range).any(|left| n <= left),
                },
                None => true,
            },
            // write(2), send(2): "the number of bytes [...] is returned".
            Op::Copy { .. } | Op::Borrow { .. } | Op::PipeWrite { .. } | Op::Vmsplice { .. } => {
                some
            }
            Op::Pwrite(_) | Op::DirectWrite(_) => some,
            // How many there were.
            Op::AwaitCompletions => true,
            // tee(2), splice(2)
            Op::Tee { len } | Op::Pour { len } | Op::SpliceOut { len, .. } => {
                n <= len.min(self.held) && (n > 0 || len == 0)
            }
            // fcntl(2): "returns the actual capacity that is set", which may be larger.
            Op::Pipe { capacity_bytes } => n >= capacity_bytes.into(),
            // As far as the file goes (mmap(2), SIGBUS), which may grow meanwhile.
            op if op.stores() => self.range.is_some_and(|range| {
                let enough = self.left(range).any(|left| n >= range.len.min(left));
                some && enough && self.left(range).any(|left| n <= left)
            }),
            // recv(2); the last datagram or packet is read whole.
            Op::Read { len } => n <= len || self.keeps_boundaries(),
            _ => n == 0,
        }
    }

    fn may_fail(&self, errno: i32) -> bool {
        let setup = &self.scenario.setup;
        let here = |causes: &[i32]| causes.contains(&errno);
        // signal(7): "Interruption of system calls"; the handler has no SA_RESTART.
        if errno == libc::EINTR {
            return self.signalled;
        }
        let full = |pipe: &Pipe| errno == libc::EAGAIN && pipe.may_be_full();
        match self.op {
            Op::SpliceIn { .. } => full(&self.pipes[0]),
            Op::PipeWrite { .. } | Op::Vmsplice { .. } => {
                let second = matches!(self.op, Op::PipeWrite { tee: true, .. });
                full(&self.pipes[usize::from(second)])
                    || here(&[libc::EFAULT]) && self.begins_behind_mapping()
            }
            Op::Tee { .. } | Op::Pour { .. } => full(&self.pipes[1]),
            // fcntl(2), F_SETPIPE_SZ
            Op::Pipe { capacity_bytes } => {
                here(&[libc::EPERM]) || here(&[libc::EBUSY]) && !self.pipes[0].fits(capacity_bytes)
            }
            op if op.sends() => {
                let now = matches!(op, Op::SpliceOut { nonblock: true, .. });
                let maps = matches!(op, Op::Copy { .. } | Op::Borrow { .. });
                // Documentation/networking/msg_zerocopy.rst: ENOBUFS by the limit of what
                // may be lent. io_uring_enter(2) has it of what is not there.
                let lends = matches!(op, Op::Borrow { .. });
                match errno {
                    libc::EAGAIN => setup.socket.nonblock || now || self.timed_out(),
                    libc::EFAULT => maps && self.ends_behind_mapping(),
                    // send(2); AF_VSOCK makes it of EFAULT.
                    libc::ENOMEM if setup.socket.family == Family::Vsock => {
                        maps && (lends || self.ends_behind_mapping())
                    }
                    libc::ENOBUFS | libc::EOPNOTSUPP if lends => true,
                    // What waits for more is somebody else's (net/ipv4/ip_output.c:
                    // __ip_append_data).
                    libc::EINVAL
                        if matches!(
                            op,
                            Op::Borrow {
                                by: Borrowing::Uring,
                                ..
                            }
                        ) =>
                    {
                        self.waiting.bytes > 0
                    }
                    libc::EMSGSIZE => {
                        limits::may_be_too_long(self.scenario, self.waiting, self.asked())
                    }
                    libc::ENOBUFS => {
                        self.keeps_boundaries()
                            && limits::may_lack_memory(self.scenario, self.asked())
                    }
                    _ => self.connection.may_fail(self.scenario, self.call, errno),
                }
            }
            Op::Shutdown | Op::Close | Op::Cork { .. } => match errno {
                libc::EBADF => self.connection.closed(),
                libc::ENOTCONN => {
                    let by = self.call.exit.time_ns;
                    let gone = self.connection.may_be_gone(self.scenario, by);
                    self.op == Op::Shutdown && gone
                }
                _ => false,
            },
            // The end of the stream, which is judged by itself, is all that it meets.
            Op::Read { .. } => true,
            _ => false,
        }
    }

    fn may_be_skipped(&self) -> bool {
        match self.op {
            Op::SpliceOut { .. } => self.held == 0 || self.connection.killed(),
            Op::Tee { .. } | Op::Pour { .. } => self.held == 0,
            op if op.stores() || matches!(op, Op::PipeWrite { .. }) => match self.range {
                Some(range) => self.left(range).any(|left| left == 0),
                None => false,
            },
            op if op.sends() => self.connection.killed(),
            Op::Read { .. } | Op::Kill { .. } | Op::Await { .. } | Op::Meet { .. } => true,
            Op::Hold { .. } | Op::Release { .. } => true,
            _ => false,
        }
    }

    /// sendfile(2): "this variable will be set to the offset of the byte following the
    /// last byte that was read"; without one, "the file offset is adjusted".
    fn offsets(&self, moved: u64) -> Result<(), Fault> {
        let expected = self.range.map(|range| range.offset.saturating_add(moved));
        if self.call.outcome == Outcome::Skipped {
            return Ok(());
        }
        if let (Some(expected), Some(offset)) = (expected, self.call.offset_after)
            && offset != expected
        {
            return Err(Fault(format!(
                "left its offset at {offset}, not {expected}"
            )));
        }
        if let (Op::SendfileOn { .. }, Some(expected), Some(position)) =
            (self.op, self.position, self.call.f_pos_after)
            && position != expected
        {
            return Err(Fault(format!(
                "left the file at {position}, not {expected}"
            )));
        }
        Ok(())
    }

    /// How much of the file there was behind the begin of a range.
    fn left(&self, range: Range) -> impl Iterator<Item = u64> {
        let sizes = self.sizes.iter();
        sizes.map(move |size| size.saturating_sub(range.offset))
    }

    /// mmap(2): what is mapped ends with the page in which the file ends.
    fn mapped(&self) -> u64 {
        let least = self.sizes.iter().min().copied().unwrap_or(0);
        least.next_multiple_of(PAGE_BYTES)
    }

    fn begins_behind_mapping(&self) -> bool {
        self.range
            .is_some_and(|range| self.mapped() <= range.offset)
    }

    fn ends_behind_mapping(&self) -> bool {
        self.range.is_some_and(|range| self.mapped() < range.end())
    }

    /// What a send was to send.
    fn asked(&self) -> Asked {
        let in_rounds = !matches!(self.op, Op::Copy { .. } | Op::Borrow { .. });
        if let Op::SpliceOut { len, .. } = self.op {
            return Asked {
                bytes: len.min(self.held),
                pages: self.held_pages,
                in_rounds,
            };
        }
        let range = self.range.unwrap_or(Range { offset: 0, len: 0 });
        // What is mapped was there to be sent.
        let bytes = match in_rounds {
            true => self.left(range).max().unwrap_or(0).min(range.len),
            false => range.len,
        };
        Asked {
            bytes,
            pages: pages(range.offset, bytes),
            in_rounds,
        }
    }

    fn keeps_boundaries(&self) -> bool {
        let family = self.scenario.setup.socket.family;
        family.has_datagrams() || family.has_records()
    }

    /// socket(7), SO_SNDTIMEO
    fn timed_out(&self) -> bool {
        let timeout_ns = self.scenario.setup.socket.send_timeout_us * 1_000;
        let took_ns = self.call.exit.time_ns - self.call.entry.time_ns.min(self.call.exit.time_ns);
        timeout_ns > 0 && took_ns + TICKS_NS >= timeout_ns
    }
}
