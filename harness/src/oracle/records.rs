//! **datagrams**, of sockets that keep boundaries and lose nothing (AF_UNIX
//! SOCK_SEQPACKET): their bytes are a stream, and the rest is where it is cut. A packet
//! holds bytes of one call only; a call that copies makes one packet. How many pages of
//! a splice go into one is the kernel's affair (16 from 6.5 on, one before that:
//! fs/splice.c:splice_to_socket, pipe_to_sendpage), but a page it cuts nowhere.

use super::stream::Sent;
use super::{Property, Violation, name_step};
use crate::history::History;
use crate::scenario::{Op, PAGE_BYTES, Scenario};

/// The most that one message to a packet socket may hold, in bytes
/// (net/unix/af_unix.c:unix_dgram_sendmsg).
pub(super) fn longest_bytes(scenario: &Scenario) -> u64 {
    /// net.core.wmem_max, and wmem_default.
    const WMEM_BYTES: u64 = 212_992;
    /// What the kernel leaves for the head of a packet.
    const HEAD_BYTES: u64 = 32;
    let buffer = match scenario.setup.socket.sndbuf_bytes {
        Some(bytes) => 2 * u64::from(bytes).min(WMEM_BYTES),
        None => WMEM_BYTES,
    };
    buffer - HEAD_BYTES
}

/// The most of a splice that goes into one message: what 16 slots of a pipe hold.
pub(super) const ROUND_BYTES: u64 = 16 * PAGE_BYTES;

/// From here on the memory for a packet is so much in one piece that there may be none:
/// more than 17 pages beside what the allocator always has.
pub(super) const UNSURE_BYTES: u64 = 17 * PAGE_BYTES + 8 * PAGE_BYTES;

/// Judges where the received stream is cut. What its bytes are is judged elsewhere.
pub(super) fn judge(scenario: &Scenario, history: &History, runs: &[Sent]) -> Option<Violation> {
    // What a call that never returned has sent is anybody's guess, and it has broken
    // liveness already.
    if runs.iter().any(|run| !run.certain) {
        return None;
    }
    let mut stretches = Vec::with_capacity(runs.len());
    let mut start = 0_u64;
    for run in runs {
        stretches.push((start, run));
        start = start.saturating_add(run.range.len);
    }
    for chunk in &history.chunks {
        let (begin, end) = (chunk.start as u64, (chunk.start + chunk.len) as u64);
        let at = stretches.partition_point(|(start, _)| *start <= begin);
        let Some(&(_, first)) = at.checked_sub(1).and_then(|at| stretches.get(at)) else {
            continue;
        };
        let same_call = |run: &Sent| run.entry == first.entry;
        let beyond = (stretches[at..].iter())
            .find(|(start, run)| *start < end && !same_call(run))
            .map(|(_, run)| run);
        let name = name_step(scenario, first.step);
        if let Some(other) = beyond {
            let other = name_step(scenario, other.step);
            let message = format!(
                "a packet of {} bytes holds bytes of {name} and of {other}",
                chunk.len
            );
            return Some(violation(first, begin, message));
        }
        if !may_be_cut(scenario, history, &stretches, end) {
            let message = format!(
                "a packet of {} bytes of {name} ends in the middle of what had to stay together",
                chunk.len
            );
            return Some(violation(first, begin, message));
        }
    }
    None
}

/// Whether a packet can end at that place of the stream.
fn may_be_cut(
    scenario: &Scenario,
    history: &History,
    stretches: &[(u64, &Sent)],
    end: u64,
) -> bool {
    let at = stretches.partition_point(|(start, _)| *start < end);
    let Some(&(start, run)) = at.checked_sub(1).and_then(|at| stretches.get(at)) else {
        return true;
    };
    let into = end - start;
    // Where the run ends its slot of the pipe does, unless a write was added to it.
    if into >= run.range.len {
        return true;
    }
    let cut = run.range.offset + into;
    match scenario.steps.get(run.step).map(|step| step.op) {
        Some(Op::Copy { .. }) => false,
        // How a pipe lays out what is written to it depends on what is in it.
        _ if run.copied => true,
        _ if cut.is_multiple_of(PAGE_BYTES) => true,
        // Before Linux 6.5 the zeros of a hole are copied into pages of the pipe's own, one
        // after the other from where the call began (lib/iov_iter.c:pipe_zero).
        _ if scenario.may_have_holes() => {
            let filled = history.calls.iter().filter_map(|call| {
                let (range, _) = scenario.steps.get(call.step)?.op.fills()?;
                Some(range.offset)
            });
            let mut begins = filled.chain([run.range.offset]);
            begins.any(|begin| cut.abs_diff(begin).is_multiple_of(PAGE_BYTES))
        }
        _ => false,
    }
}

fn violation(run: &Sent, stream_offset: u64, message: String) -> Violation {
    Violation {
        stream_offset: Some(stream_offset),
        file_range: Some(run.range),
        ..Violation::new(Property::Datagrams, Some(run.step), message)
    }
}

#[cfg(test)]
mod tests {
    use crate::history::Outcome;
    use crate::oracle::doctor::{Plan, range};
    use crate::scenario::{Copying, Family, Filling, Op};

    fn plan() -> Plan {
        let mut plan = Plan::new(262_144);
        plan.scenario.setup.socket.family = Family::UnixSeqpacket;
        plan
    }

    /// A write of 5000 bytes and a sendfile of 9000 from byte 100 on, received so.
    fn received(parts: &[u64]) -> Plan {
        let mut plan = plan();
        let by = Copying::Write;
        let copied = range(0, 5000);
        plan.call(Op::Copy { by, range: copied }, 1, 2);
        plan.call(Op::Sendfile(range(100, 9000)), 3, 4);
        let mut left = vec![copied, range(100, 9000)];
        for (order, &part) in (5..).zip(parts) {
            // A packet that holds bytes of both calls is received as one.
            let before = plan.history.chunks.len();
            let mut rest = part;
            while rest > 0 {
                let from = &mut left[0];
                let len = rest.min(from.len);
                plan.receive(order, range(from.offset, len), 0);
                (from.offset, from.len) = (from.offset + len, from.len - len);
                rest -= len;
                if left[0].len == 0 {
                    left.remove(0);
                }
            }
            let chunks = plan.history.chunks.split_off(before);
            let whole = chunks.iter().map(|it| it.len).sum();
            plan.history.chunks.push(crate::history::Chunk {
                len: whole,
                ..chunks[0]
            });
        }
        plan
    }

    #[test]
    fn a_splice_may_be_cut_between_pages_and_nothing_else_is() {
        for parts in [
            &[5000, 9000][..],
            &[5000, 3996, 4096, 908],
            &[5000, 8092, 908],
        ] {
            assert_eq!(received(parts).violations(), [], "{parts:?}");
        }
        for (parts, words) in [
            (
                &[5001, 8999][..],
                "holds bytes of operation 1 (write 0+5000) and of operation 2",
            ),
            (&[14_000], "holds bytes of operation 1"),
            (
                &[4096, 904, 9000],
                "a packet of 4096 bytes of operation 1 (write 0+5000) ends in",
            ),
            (
                &[5000, 4096, 4904],
                "operation 2 (sendfile 100+9000) ends in the middle",
            ),
            (&[5000, 8999, 1], "ends in the middle"),
        ] {
            let violation = received(parts).violation();
            assert_eq!(violation.property.to_string(), "datagrams");
            assert!(violation.message.contains(words), "{}", violation.message);
        }
    }

    #[test]
    fn the_zeros_of_a_hole_may_be_cut_where_their_copies_end() {
        for (sparse, fine) in [(true, true), (false, false)] {
            let mut plan = plan();
            plan.call(Op::Sendfile(range(1, 8000)), 1, 2);
            for part in [range(1, 4096), range(4097, 3904)] {
                plan.receive(3, part, 0);
            }
            if sparse {
                plan.scenario.setup.file.sparse = true;
                plan.history.received.fill(0);
                plan.history.file_pread.fill(0);
            }
            assert_eq!(plan.violations().is_empty(), fine, "{sparse}");
            plan.history.chunks[0].len += 1;
            (plan.history.chunks[1].start, plan.history.chunks[1].len) = (4097, 3903);
            assert_eq!(plan.verdict(), ["datagrams"]);
        }
    }

    #[test]
    fn none_is_lost_and_none_is_late() {
        let mut plan = received(&[5000, 9000]);
        plan.history.received.truncate(5000);
        plan.history.chunks.truncate(1);
        assert_eq!(plan.verdict(), ["wire", "counts"]);
    }

    #[test]
    fn what_comes_through_a_pipe_is_cut_where_its_slots_end() {
        for (cut, fine) in [(4096, true), (5000, true), (6000, false), (5100, false)] {
            let mut plan = plan();
            plan.call(
                Op::Pipe {
                    capacity_bytes: 65536,
                },
                1,
                2,
            );
            plan.call(
                Op::SpliceIn {
                    range: range(0, 5000),
                    by: Filling::Splice,
                },
                3,
                4,
            );
            plan.call(
                Op::Vmsplice {
                    range: range(100, 3000),
                    gift: false,
                },
                5,
                6,
            );
            let (more, nonblock, tee) = (false, false, false);
            plan.call(
                Op::SpliceOut {
                    len: 8000,
                    more,
                    nonblock,
                    tee,
                    move_pages: false,
                },
                7,
                8,
            );
            plan.receive(9, range(0, 5000), 0);
            plan.receive(9, range(100, 3000), 0);
            let mut chunks = plan.history.chunks.clone();
            chunks[0].len = cut;
            (chunks[1].start, chunks[1].len) = (cut, 8000 - cut);
            plan.history.chunks = chunks;
            let verdict: &[&str] = if fine { &[] } else { &["datagrams"] };
            assert_eq!(plan.verdict(), verdict, "{cut}");
        }
    }

    #[test]
    fn only_what_is_too_long_is_refused() {
        let by = Copying::Send;
        let refused = |op, sndbuf, errno| {
            let mut plan = plan();
            plan.scenario.setup.socket.sndbuf_bytes = sndbuf;
            let call = plan.call(op, 1, 2);
            call.outcome = Outcome::Failed(errno);
            if let (Op::Sendfile(range), Some(offset)) = (op, &mut call.offset_after) {
                *offset = range.offset;
            }
            plan
        };
        let copy = |len| Op::Copy {
            by,
            range: range(0, len),
        };
        for (op, sndbuf, errno, fine) in [
            (copy(212_961), None, libc::EMSGSIZE, true),
            (copy(212_960), None, libc::EMSGSIZE, false),
            (copy(9_185), Some(4608), libc::EMSGSIZE, true),
            (copy(9_184), Some(4608), libc::EMSGSIZE, false),
            // A splice is sent in rounds.
            (Op::Sendfile(range(0, 262_144)), None, libc::EMSGSIZE, false),
            (
                Op::Sendfile(range(0, 9_185)),
                Some(4608),
                libc::EMSGSIZE,
                true,
            ),
            (copy(200_000), None, libc::ENOBUFS, true),
            (copy(90_000), None, libc::ENOBUFS, false),
        ] {
            let expected: &[&str] = if fine { &[] } else { &["counts"] };
            assert_eq!(
                refused(op, sndbuf, errno).verdict(),
                expected,
                "{op} {errno}"
            );
        }
    }
}
