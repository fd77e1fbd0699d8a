//! **counts**: what the calls returned agrees with what they were asked, with
//! the offset, the file position, the user pipe and the received total, and they
//! fail only with an errno that the scenario explains.
//!
//! Not flagged: short sends and writes; EAGAIN of a non-blocking call; what
//! [`super::breaks`] explains.

use super::breaks::Breaks;
use super::datagrams::longest_bytes;
use super::pipe::Pipes;
use super::position::{self, Position};
use super::records;
use super::sendings::{Closes, closes};
use super::sizes::Sizes;
use super::{Property, Violation, name_errno, name_step};
use crate::history::{Call, End, History, Outcome};
use crate::scenario::{Borrowing, Family, Op, PAGE_BYTES, Range, Scenario};

mod borrows;

/// So many parts, each of which can lie on two pages, always fit the 17 pieces that a
/// packet can refer to (CONFIG_MAX_SKB_FRAGS).
const MOST_PARTS: u64 = 8;

/// Judges every call of one connection, whose calls are a part of the `whole`, then the
/// total.
pub(super) fn judge(
    scenario: &Scenario,
    whole: &History,
    history: &History,
    sizes: &Sizes,
) -> Option<Violation> {
    let mut judge = Judge {
        scenario,
        history,
        sizes,
        breaks: Breaks::new(scenario, history),
        pipes: Pipes::new(scenario),
        sent: 0,
        open: (0, 0),
        position: Position::default(),
        last_position: position::last(scenario, whole),
    };
    for call in &history.calls {
        let Some(step) = scenario.steps.get(call.step) else {
            let message = format!(
                "a call for operation {} of a shorter scenario",
                call.step + 1
            );
            return Some(violation(None, message));
        };
        let op = judge.position.resolve(step.op, call);
        let fault = judge.call(op, call);
        judge.note(op, call);
        if let Some(fault) = fault {
            let name = name_step(scenario, call.step);
            return Some(violation(Some(call.step), format!("{name} {fault}")));
        }
    }
    judge.total().map(|fault| violation(None, fault))
}

fn violation(step: Option<usize>, message: String) -> Violation {
    Violation::new(Property::Counts, step, message)
}

struct Judge<'a> {
    scenario: &'a Scenario,
    history: &'a History,
    sizes: &'a Sizes,
    breaks: Breaks<'a>,
    pipes: Pipes,
    /// Bytes reported sent.
    sent: u64,
    /// Of a datagram that waits for more: bytes at most, and parts.
    open: (u64, u64),
    position: Position,
    /// Where that stands in the end, if it is known.
    last_position: Option<u64>,
}

impl Judge<'_> {
    /// What is wrong with a call, as a sentence that follows its name.
    fn call(&mut self, op: Op, call: &Call) -> Option<String> {
        let nonblock = self.scenario.setup.socket.nonblock;
        match op {
            Op::Sendfile(range) => {
                self.sent = self.sent.saturating_add(call.outcome.bytes());
                self.file_offset(range, call)
                    .or_else(|| self.datagram_errno(op, call))
                    .or_else(|| self.send_errno(call, nonblock))
            }
            Op::SendfileOn { .. } => unreachable!("its range is known here"),
            Op::Copy { range, .. } => {
                self.sent = self.sent.saturating_add(call.outcome.bytes());
                let odd = match call.outcome {
                    Outcome::Returned(0) if range.len > 0 => Some("returned 0".into()),
                    Outcome::Returned(n) => too_many(n, range.len),
                    _ => None,
                };
                match self.may_lack_pages(range, call) {
                    true => None,
                    false => odd
                        .or_else(|| self.datagram_errno(op, call))
                        .or_else(|| self.send_errno(call, nonblock)),
                }
            }
            Op::Borrow { by, range } => {
                self.sent = self.sent.saturating_add(call.outcome.bytes());
                let odd = match call.outcome {
                    Outcome::Returned(0) if range.len > 0 => Some("returned 0".into()),
                    Outcome::Returned(n) => too_many(n, range.len),
                    _ => None,
                };
                match self.refusal(by, call) {
                    Some(verdict) => verdict,
                    None if self.may_lack_pages(range, call) => None,
                    None => odd
                        .or_else(|| self.datagram_errno(op, call))
                        .or_else(|| self.send_errno(call, nonblock)),
                }
            }
            Op::SpliceIn { range, .. } => self
                .file_offset(range, call)
                .or_else(|| self.fill(false, call)),
            Op::PipeWrite { range, .. } | Op::Vmsplice { range, .. } => match call.outcome {
                Outcome::Returned(0) if range.len > 0 => Some("returned 0".into()),
                Outcome::Returned(n) if n > range.len => too_many(n, range.len),
                Outcome::Failed(libc::EFAULT) if self.is_unmapped(range, call) => None,
                _ => self.fill(op.pipes()[1], call),
            },
            Op::Tee { len } | Op::Pour { len } => self.copy(len, call),
            Op::SpliceOut {
                len,
                nonblock: now,
                tee,
                ..
            } => {
                self.sent = self.sent.saturating_add(call.outcome.bytes());
                self.drain(len, tee, call)
                    .or_else(|| self.datagram_errno(op, call))
                    .or_else(|| self.send_errno(call, nonblock || now))
            }
            Op::Pipe { capacity_bytes } => self.resize(capacity_bytes, call),
            Op::Pwrite(range)
            | Op::DirectWrite(range)
            | Op::MmapWrite(range)
            | Op::ForkWrite(range)
            | Op::SecondWrite(range) => match call.outcome {
                Outcome::Returned(n) if op.stores() => self.stored(range, n, call),
                Outcome::Skipped if op.stores() => self.stored(range, 0, call),
                Outcome::Returned(0) if range.len > 0 => {
                    Some(format!("wrote nothing of {} bytes", range.len))
                }
                Outcome::Returned(n) => too_many(n, range.len),
                _ => self.failed(call, &[]),
            },
            Op::Read { len } => match call.outcome {
                // The last datagram of it is read whole.
                Outcome::Returned(_) if self.keeps_boundaries() => None,
                Outcome::Returned(n) => too_many(n, len),
                // The end of the stream says what broke it.
                _ => None,
            },
            Op::Shutdown if self.breaks.explains_no_connection(call) => {
                match self.breaks.explains(call, libc::EBADF) {
                    true => self.failed(call, &[libc::ENOTCONN, libc::EBADF]),
                    false => self.failed(call, &[libc::ENOTCONN]),
                }
            }
            Op::Shutdown | Op::Close | Op::Cork { .. }
                if self.breaks.explains(call, libc::EBADF) =>
            {
                self.failed(call, &[libc::EBADF])
            }
            // How many there were.
            Op::AwaitCompletions => self.failed(call, &[]),
            Op::Wait { .. }
            | Op::Await { .. }
            | Op::Meet { .. }
            | Op::Shutdown
            | Op::Reset
            | Op::Close
            | Op::Signal { .. }
            | Op::Kill { .. }
            | Op::Hold { .. }
            | Op::Release { .. }
            | Op::Cork { .. }
            | Op::Msync
            | Op::DropCaches
            | Op::Truncate { .. }
            | Op::Punch(_)
            | Op::ZeroRange(_)
            | Op::Collapse(_) => match call.outcome {
                Outcome::Returned(n) if n > 0 => Some(format!("returned {n}, not 0")),
                _ => self.failed(call, &[]),
            },
        }
    }

    /// The rules that sendfile, splice-in and sendfile-in share.
    fn file_offset(&self, range: Range, call: &Call) -> Option<String> {
        let left = self.sizes.in_call(call).from(range.offset);
        if let Outcome::Returned(n) = call.outcome {
            if let Some(fault) = too_many(n, range.len) {
                return Some(fault);
            }
            if n > left.most {
                return Some(format!(
                    "returned {n}, but the file had only {} bytes from there on",
                    left.most
                ));
            }
            if n == 0 && range.len > 0 && left.least > 0 {
                return Some(format!(
                    "returned 0, {} bytes before the end of the file",
                    left.least
                ));
            }
        }
        let moved = call.outcome.bytes();
        let expected = range.offset.saturating_add(moved);
        match (call.outcome, call.offset_after, call.f_pos_after) {
            (Outcome::Pending | Outcome::Killed | Outcome::Skipped, _, _) => None,
            (_, Some(offset), _) if offset != expected => Some(format!(
                "moved {moved} bytes and left its offset at {offset}, not {expected}"
            )),
            (_, None, Some(f_pos)) if f_pos != expected => Some(format!(
                "moved {moved} bytes and left the file position at {f_pos}, not {expected}"
            )),
            // Looked at when all was over.
            (_, Some(_), Some(f_pos)) if self.last_position.is_some_and(|it| it != f_pos) => Some(
                format!("was given an offset, yet moved the file position to {f_pos}"),
            ),
            _ => None,
        }
    }

    /// Stores go as far as the file does, and no further.
    fn stored(&self, range: Range, bytes: u64, call: &Call) -> Option<String> {
        let left = self.sizes.in_call(call).from(range.offset);
        let (least, most) = (range.len.min(left.least), range.len.min(left.most));
        match bytes {
            _ if bytes < least => Some(format!("stored {bytes} bytes, and {least} were there")),
            _ if bytes > most => Some(format!("stored {bytes} bytes, and only {most} were there")),
            _ => None,
        }
    }

    /// Whether the mapping may have had no page where `range` begins: the file ended
    /// before it.
    fn is_unmapped(&self, range: Range, call: &Call) -> bool {
        self.mapped_bytes(call) <= range.offset
    }

    /// Whether a call failed because it may have had none somewhere in `range`. AF_VSOCK
    /// takes that for a lack of memory
    /// (net/vmw_vsock/virtio_transport_common.c:virtio_transport_send_pkt_info).
    fn may_lack_pages(&self, range: Range, call: &Call) -> bool {
        let lacks = match self.scenario.setup.socket.family {
            Family::Vsock => [libc::EFAULT, libc::ENOMEM].map(Outcome::Failed),
            _ => [Outcome::Failed(libc::EFAULT); 2],
        };
        lacks.contains(&call.outcome) && self.mapped_bytes(call) < range.end()
    }

    /// How much of the mapping had pages, at least.
    fn mapped_bytes(&self, call: &Call) -> u64 {
        self.sizes.in_call(call).least.next_multiple_of(PAGE_BYTES)
    }

    fn has_datagrams(&self) -> bool {
        self.scenario.setup.socket.family.has_datagrams()
    }

    /// Whether the receiver gets whole datagrams or packets.
    fn keeps_boundaries(&self) -> bool {
        self.has_datagrams() || self.scenario.setup.socket.family.has_records()
    }

    /// How many bytes a send can have had to send at most, and in how many parts.
    fn asked(&self, op: Op, call: &Call) -> Option<(u64, u64)> {
        match op {
            Op::Sendfile(range) => {
                let left = self.sizes.in_call(call).from(range.offset);
                Some((range.len.min(left.most), 1))
            }
            Op::Copy { range, .. } => Some((range.len, 1)),
            Op::Borrow { range, .. } => Some((range.len, range.len.div_ceil(PAGE_BYTES))),
            Op::SpliceOut { len, tee, .. } => {
                let pipe = self.pipes.of(tee);
                Some((len.min(pipe.bytes()), pipe.used_slots()))
            }
            _ => None,
        }
    }

    /// The errnos that only packets have that are never lost.
    fn record_errno(&self, op: Op, call: &Call) -> Option<String> {
        let Outcome::Failed(errno) = call.outcome else {
            return None;
        };
        let (asked, _) = self.asked(op, call)?;
        // What is spliced goes in rounds, and the first one has failed.
        let bytes = match op {
            Op::Copy { .. } => asked,
            _ => asked.min(records::ROUND_BYTES),
        };
        match errno {
            libc::EMSGSIZE if bytes <= records::longest_bytes(self.scenario) => Some(format!(
                "failed with EMSGSIZE, but the packet would have had only {bytes} bytes"
            )),
            libc::ENOBUFS if bytes <= records::UNSURE_BYTES => {
                Some(format!("failed with ENOBUFS for {bytes} bytes"))
            }
            _ => None,
        }
    }

    /// The errnos that only datagrams have.
    fn datagram_errno(&self, op: Op, call: &Call) -> Option<String> {
        let Outcome::Failed(errno) = call.outcome else {
            return None;
        };
        if self.scenario.setup.socket.family.has_records() {
            return self.record_errno(op, call);
        }
        if !self.has_datagrams() {
            return None;
        }
        let (asked, parts) = self.asked(op, call)?;
        let bytes = self.open.0.saturating_add(asked);
        let parts = self.open.1.saturating_add(parts);
        let longest = longest_bytes(self.scenario.setup.socket.family.over_ipv6());
        match errno {
            libc::EMSGSIZE if bytes <= longest && parts <= MOST_PARTS => Some(format!(
                "failed with EMSGSIZE, but the datagram would have had only {bytes} bytes in {parts} parts"
            )),
            libc::ENOBUFS if self.scenario.setup.socket.sndbuf_bytes.is_none() => {
                Some("failed with ENOBUFS, and its send buffer has the usual size".into())
            }
            _ => None,
        }
    }

    /// Keeps account of what is in the pipes, and of the datagram that waits for more.
    fn note(&mut self, op: Op, call: &Call) {
        let fills_a_round = match op {
            Op::SpliceOut { tee, .. } => {
                self.pipes.may_fill_a_round(tee)
                    || self.was_killed()
                    || self.pipe_shared_during(call)
            }
            _ => false,
        };
        let slots = self.pipes.used_slots();
        self.pipes.note(op, call);
        if !op.sends() || call.outcome.bytes() == 0 {
            return;
        }
        self.open.0 = self.open.0.saturating_add(call.outcome.bytes());
        self.open.1 += match op {
            Op::Sendfile(_) | Op::Copy { .. } => 1,
            Op::Borrow { .. } => call.outcome.bytes().div_ceil(PAGE_BYTES),
            // And part of one more.
            _ => slots.saturating_sub(self.pipes.used_slots()) + 1,
        };
        if closes(self.scenario, self.sizes, op, call, fills_a_round) == Closes::Yes {
            self.open = (0, 0);
        }
    }

    /// Nothing checks the header of IPv6: where a bit of its next header is flipped, the
    /// other end answers that it does not know that one (ICMPv6 Parameter Problem).
    fn corrupts_ipv6(&self) -> bool {
        let setup = &self.scenario.setup;
        setup.socket.family.over_ipv6() && setup.data.corrupt_ppm + setup.ack.corrupt_ppm > 0
    }

    fn send_errno(&self, call: &Call, nonblock: bool) -> Option<String> {
        let Outcome::Failed(errno) = call.outcome else {
            return None;
        };
        match errno {
            // Where they are wrong, `datagram_errno` has said so.
            libc::EMSGSIZE | libc::ENOBUFS if self.keeps_boundaries() => None,
            libc::EPROTO if self.corrupts_ipv6() => None,
            libc::EAGAIN if nonblock || self.breaks.send_timeout_in(call) => None,
            libc::EAGAIN => Some("failed with EAGAIN, and nothing about it is non-blocking".into()),
            libc::EPIPE | libc::ECONNRESET | libc::ETIMEDOUT | libc::EBADF
                if self.breaks.explains(call, errno) =>
            {
                None
            }
            libc::EPIPE | libc::ECONNRESET | libc::ETIMEDOUT => match self.history.end {
                End::Eof => Some(format!(
                    "failed with {}, yet the receiver saw a clean end",
                    name_errno(errno)
                )),
                End::Closed => Some(format!(
                    "failed with {} before the receiver closed its end",
                    name_errno(errno)
                )),
                // The end of the stream says what broke it.
                End::Failed(_) | End::GivenUp => None,
            },
            libc::EINTR => self.failed(call, &[]),
            _ => Some(format!("failed with {}", name_errno(errno))),
        }
    }

    fn fill(&self, second: bool, call: &Call) -> Option<String> {
        let pipe = self.pipes.of(second);
        match call.outcome {
            Outcome::Returned(_) => None,
            Outcome::Failed(libc::EAGAIN)
                if !pipe.may_be_full() && !self.pipe_shared_during(call) =>
            {
                Some(format!(
                    "failed with EAGAIN, but the pipe held only {} bytes in {} of {} slots",
                    pipe.bytes(),
                    pipe.used_slots(),
                    pipe.slots(),
                ))
            }
            _ => self.failed(call, &[libc::EAGAIN]),
        }
    }

    fn copy(&self, len: u64, call: &Call) -> Option<String> {
        let held = self.pipes.of(false).bytes();
        let second = self.pipes.of(true);
        match call.outcome {
            Outcome::Returned(n) if n > held => {
                Some(format!("returned {n}, but the pipe held only {held} bytes"))
            }
            Outcome::Returned(0) if len > 0 && held > 0 => {
                Some(format!("returned 0, but the pipe held {held} bytes"))
            }
            Outcome::Returned(n) => too_many(n, len),
            Outcome::Failed(libc::EAGAIN) if !second.may_be_full() && held > 0 => Some(format!(
                "failed with EAGAIN, but the pipe held {held} bytes, and the second one only {} in {} of {} slots",
                second.bytes(),
                second.used_slots(),
                second.slots(),
            )),
            _ => self.failed(call, &[libc::EAGAIN]),
        }
    }

    fn drain(&self, len: u64, second: bool, call: &Call) -> Option<String> {
        let Outcome::Returned(n) = call.outcome else {
            return None;
        };
        if let Some(fault) = too_many(n, len) {
            return Some(fault);
        }
        if self.pipe_shared_during(call) {
            return None;
        }
        let held = self.pipes.of(second).bytes();
        if n > held {
            return Some(format!("returned {n}, but the pipe held only {held} bytes"));
        }
        if n == 0 && len > 0 && held > 0 {
            return Some(format!("returned 0, but the pipe held {held} bytes"));
        }
        None
    }

    /// Whether another thread used the pipe during this call: what the pipe held
    /// at any instant of it is then open.
    fn pipe_shared_during(&self, call: &Call) -> bool {
        self.history.calls.iter().any(|other| {
            let steps = &self.scenario.steps;
            let uses_pipe = steps.get(other.step).is_some_and(|s| s.op.uses_pipe());
            let returned = other.outcome != Outcome::Pending;
            let before = returned && other.exit.order < call.entry.order;
            let after = call.exit.order < other.entry.order;
            uses_pipe && other.step != call.step && !before && !after
        })
    }

    fn resize(&self, capacity_bytes: u32, call: &Call) -> Option<String> {
        match call.outcome {
            Outcome::Returned(_) => None,
            // fs/pipe.c:pipe_set_size refuses to drop what the pipe holds, and
            // to go over the user's limit.
            Outcome::Failed(libc::EBUSY)
                if !self.pipes.of(false).fits(capacity_bytes) || self.pipe_shared_during(call) =>
            {
                None
            }
            _ => self.failed(call, &[libc::EPERM]),
        }
    }

    /// Whether a call was killed, so that nobody knows how much it sent.
    fn was_killed(&self) -> bool {
        let mut outcomes = self.history.calls.iter().map(|call| call.outcome);
        outcomes.any(|outcome| outcome == Outcome::Killed)
    }

    /// The sum of the returns against the stream, and how the stream ended.
    fn total(&self) -> Option<String> {
        let received = self.history.received.len() as u64;
        match self.history.end {
            End::Eof if self.has_datagrams() => None,
            // Only the stream can tell what that one has sent; *wire* bounds it.
            End::Eof if self.was_killed() && self.sent <= received => None,
            End::Eof if self.sent != received => Some(format!(
                "the sends returned {} bytes in all, but {received} were received at a clean end",
                self.sent
            )),
            // Only lost packets can make it time out by itself, and the reader is not
            // told then, or is told by a reset.
            End::Failed(libc::ETIMEDOUT) if super::liveness::lossy(self.scenario) => None,
            End::Failed(libc::ETIMEDOUT | libc::ECONNRESET)
                if self.breaks.user_timeout_by(self.history.end_ns) =>
            {
                None
            }
            End::Closed if !self.breaks.reader_left() => {
                Some("the receiver closed its end, and no operation told it to".into())
            }
            End::Failed(errno) => Some(format!(
                "receiving failed with {} after {received} bytes, and nothing broke the connection",
                name_errno(errno)
            )),
            End::Eof | End::Closed | End::GivenUp => None,
        }
    }

    /// A failure that neither `explained` nor a signal explains.
    fn failed(&self, call: &Call, explained: &[i32]) -> Option<String> {
        let Outcome::Failed(errno) = call.outcome else {
            return None;
        };
        match errno {
            _ if explained.contains(&errno) => None,
            libc::EINTR if self.breaks.signalled(call) => None,
            libc::EINTR => Some("failed with EINTR, and no signal went to its thread".into()),
            _ => Some(format!("failed with {}", name_errno(errno))),
        }
    }
}

fn too_many(returned: u64, asked: u64) -> Option<String> {
    (returned > asked).then(|| format!("returned {returned}, but was asked for {asked}"))
}

#[cfg(test)]
mod tests;
