//! Bugs of released kernels that are not the race; the series mends most of them. A
//! campaign goes on past them: in one of the first cases such a bug would hide all that is
//! looked for. It counts them, a replay shows them, and the corpus has one scenario of each.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::history::{Call, End, History, Outcome};
use crate::oracle::{DOES_NOT_BLOCK, Property, Violation};
use crate::scenario::{Borrowing, Family, Op, PAGE_BYTES, Range, Scenario, Setup, Sysctl};

/// The largest record of TLS.
const KTLS_RECORD_BYTES: u64 = 16 * 1024;

/// A bug of released kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bug {
    /// kTLS is sent to page by page, by sendpage(), and forgets the end of a record
    /// that fills the send buffer.
    KtlsStall,
    /// UDP over IPv6 has no sendpage(), so that each page is a datagram.
    PageADatagram,
    /// `inet6_dgram_ops` (net/ipv6/af_inet6.c) has no `splice_eof`, so that over IPv6
    /// the end of the file ends no datagram: it waits for more, though nobody said so,
    /// and close(2) throws it away.
    ForgottenEnd,
    /// An MTU probe refers to what was sent by reference, and forgets who is to be told
    /// when that is over (net/ipv4/tcp_output.c:tcp_clone_payload).
    ForgottenOwner,
    /// A call with MSG_ZEROCOPY that fails gives back the number that was given last,
    /// which may be another thread's (net/core/skbuff.c:msg_zerocopy_put_abort). Over
    /// UDP it stays so with the series, but there no scenario has two threads.
    NumberGivenBack,
    /// TCP adds what is sent by reference to a packet that was dropped before it left, and
    /// of which a copy with a time is in the error queue: that copy has the pages then, too,
    /// for as long as nobody reads it (net/core/skbuff.c:skb_zerocopy_iter_stream).
    HeldByATime,
    /// A SYN that comes after its own repetition is answered with an ACK without the
    /// options of MPTCP, for which who connects takes its peer for one of plain TCP, and
    /// the peer does not notice (net/mptcp/options.c:check_fully_established). No kernel
    /// mends it.
    LateSyn,
    /// At the end of the file kTLS sends what it has held back as if the socket could
    /// block (net/tls/tls_sw.c:tls_sw_splice_eof). No kernel mends it, and the series
    /// brings it to 6.1.
    WaitingEnd,
}

impl Bug {
    /// The scenario that shows it.
    pub fn corpus(self) -> &'static str {
        match self {
            Bug::KtlsStall => "corpus/socket/ktls-small-sndbuf.scn",
            Bug::PageADatagram => "corpus/udp/udp6-pages.scn",
            Bug::ForgottenEnd => "corpus/udp/udp6-past-end.scn",
            Bug::ForgottenOwner => "corpus/zerocopy/mtu-probe.scn",
            Bug::NumberGivenBack => "corpus/zerocopy/number-given-back.scn",
            Bug::HeldByATime => "corpus/zerocopy/held-by-a-time.scn",
            Bug::LateSyn => "corpus/end/late-syn-mptcp.scn",
            Bug::WaitingEnd => "corpus/socket/ktls-nonblock-past-end.scn",
        }
    }

    /// Whether it can be what `violations` of `scenario` are about. What else went
    /// wrong after it is not told apart.
    fn explains(self, scenario: &Scenario, history: &History, violations: &[Violation]) -> bool {
        let any = |properties: &[Property]| {
            let mut broken = violations.iter().map(|it| it.property);
            broken.any(|it| properties.contains(&it))
        };
        // With a datagram that is in two, or late, the next ones can look like torn
        // ones.
        let datagrams = [Property::Datagrams, Property::StableOnReturn];
        let completion = |is: &dyn Fn(&Violation) -> bool| {
            let mut broken = violations.iter();
            broken.any(|it| it.property == Property::Completion && is(it))
        };
        match self {
            // The call hangs; if it may not block, its data does.
            Bug::KtlsStall => stalls_a_record(scenario) && any(&[Property::Liveness]),
            Bug::PageADatagram => sends_pages(scenario) && any(&datagrams),
            Bug::ForgottenEnd => {
                let broken = |past: usize| {
                    let mut violations = violations.iter();
                    violations.any(|it| {
                        too_long_a_datagram(it)
                            || lost_with_another(it)
                            || taken_for_another(it, past)
                    })
                };
                past_the_end(scenario, Family::Udp6)
                    .is_some_and(|past| any(&datagrams) || broken(past))
            }
            Bug::ForgottenOwner => {
                let setup = &scenario.setup;
                setup.stack.probes() && completion(&|it| can_be_probed(scenario, history, it))
            }
            Bug::NumberGivenBack => {
                gives_back(scenario, history) && completion(&|it| is_of_a_number(scenario, it))
            }
            // Who waits for a number reads the error queue.
            Bug::HeldByATime => {
                scenario.setup.socket.timestamping
                    && completion(&|it| by_ring(scenario, it) && can_be_held(scenario, history, it))
            }
            // Data after it is noticed, unless that is all there is.
            Bug::LateSyn => {
                overtakes_a_syn(scenario)
                    && any(&[Property::Liveness])
                    && ends_in_silence(scenario, history)
            }
            Bug::WaitingEnd => {
                let waits = |it: &Violation, past: usize| {
                    it.property == Property::Liveness
                        && it.message.contains(DOES_NOT_BLOCK)
                        && it.step.is_some_and(|step| step >= past)
                };
                past_the_end(scenario, Family::Ktls4)
                    .is_some_and(|past| violations.iter().any(|it| waits(it, past)))
            }
        }
    }
}

/// The bugs of one kernel.
#[derive(Debug, Clone)]
pub struct Known(Vec<Bug>);

impl Known {
    /// Those of the kernel that runs this.
    pub fn here() -> Known {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Known::of(
            &read("/proc/sys/kernel/osrelease"),
            &read("/proc/sys/fs/splice_stable"),
        )
    }

    /// Of a kernel by its `uname -r` and its fs.splice_stable, empty if it has none.
    fn of(release: &str, splice_stable: &str) -> Known {
        let mut numbers = release.split(|it: char| !it.is_ascii_digit());
        let mut number = || numbers.next().and_then(|it| it.parse::<u32>().ok());
        let version = (number(), number());
        let known = version.0.is_some();
        let old = known && version < (Some(6), Some(5));
        let mode = splice_stable.trim();
        // The series mends what is of UDP, switched on or not. kTLS is sent to by other
        // means while it is on.
        let has_series = !mode.is_empty();
        let mut bugs = Vec::new();
        if old && matches!(mode, "" | "0") {
            bugs.push(Bug::KtlsStall);
        }
        if old && !has_series {
            bugs.push(Bug::PageADatagram);
        }
        if known && !has_series {
            bugs.push(Bug::ForgottenEnd);
        }
        if known && !old && !has_series {
            bugs.push(Bug::ForgottenOwner);
        }
        if known && !has_series {
            bugs.push(Bug::NumberGivenBack);
            bugs.push(Bug::HeldByATime);
        }
        if known {
            bugs.push(Bug::LateSyn);
        }
        // Up to 6.4 kTLS is sent to by sendpage(), which holds nothing back.
        if known && (!old || !matches!(mode, "" | "0")) {
            bugs.push(Bug::WaitingEnd);
        }
        Known(bugs)
    }

    /// Whether this kernel has `bug`.
    pub fn has(&self, bug: Bug) -> bool {
        self.0.contains(&bug)
    }

    /// The one that `violations` of `scenario` are about, if one is.
    pub fn explain(
        &self,
        scenario: &Scenario,
        history: &History,
        violations: &[Violation],
    ) -> Option<Bug> {
        // None of them is heard of in the kernel's log.
        let heard = |it: &Violation| it.property == Property::Splat;
        if violations.iter().any(heard) {
            return None;
        }
        let mut bugs = self.0.iter().copied();
        bugs.find(|bug| bug.explains(scenario, history, violations))
    }
}

/// Whether a call can fill a record, the end of which stays in the send buffer if that
/// is full by then. A small buffer is filled by one record, one that the kernel tunes
/// by a few sends.
fn stalls_a_record(scenario: &Scenario) -> bool {
    let setup = &scenario.setup;
    // What is in a pipe can be parts of the file more than once.
    let ops = || scenario.steps.iter().map(|step| step.op);
    let filled = ops().filter_map(Op::fills).map(|(range, _)| range.len);
    let tees = ops().filter(|op| matches!(op, Op::Tee { .. })).count();
    let most = filled.sum::<u64>() * (1 + tees as u64);
    let piped =
        |op: Op| matches!(op, Op::SpliceOut { len, .. } if len.min(most) > KTLS_RECORD_BYTES);
    let fills = setup.file.size_bytes > KTLS_RECORD_BYTES || ops().any(piped);
    setup.socket.family == Family::Ktls4 && fills
}

/// Whether a datagram over IPv6 is made of more than a page.
fn sends_pages(scenario: &Scenario) -> bool {
    let pages = |op: Op| match op {
        Op::Sendfile(range) => range.offset % PAGE_BYTES + range.len > PAGE_BYTES,
        // It begins wherever the one before it ended.
        Op::SendfileOn { len } => len > 1,
        Op::SpliceOut { .. } => true,
        _ => false,
    };
    scenario.setup.socket.family == Family::Udp6 && scenario.steps.iter().any(|it| pages(it.op))
}

/// The calls with MSG_ZEROCOPY.
fn numbered<'a>(scenario: &'a Scenario, history: &'a History) -> impl Iterator<Item = &'a Call> {
    let is = |call: &&Call| borrows(scenario, call.step) == Some(Borrowing::Send);
    history.calls.iter().filter(is)
}

/// How a step sends by reference, if it does.
fn borrows(scenario: &Scenario, step: usize) -> Option<Borrowing> {
    match scenario.steps.get(step)?.op {
        Op::Borrow { by, .. } => Some(by),
        _ => None,
    }
}

/// Whether what it is about can have been added to what TCP had sent before and could not
/// get rid of.
fn can_be_held(scenario: &Scenario, history: &History, violation: &Violation) -> bool {
    let Some(step) = violation.step else {
        return false;
    };
    let sent = |call: &Call| call.step != step && call.outcome.bytes() > 0;
    let is_tcp = matches!(scenario.setup.socket.family, Family::Tcp4 | Family::Tcp6);
    is_tcp && violation.stream_offset.is_none() && sends_beside(scenario, history, step).any(sent)
}

/// The calls that sent on the connection of `step`, its own among them.
fn sends_beside<'a>(
    scenario: &'a Scenario,
    history: &'a History,
    step: usize,
) -> impl Iterator<Item = &'a Call> {
    let connection = |step: usize| scenario.connection_of(scenario.steps[step].actor);
    let same = move |call: &&Call| {
        connection(call.step) == connection(step) && scenario.steps[call.step].op.sends()
    };
    history.calls.iter().filter(same)
}

/// Whether a call gave a number back, and another thread may have been given a later
/// one meanwhile: both were under way on one socket at one time, and one of them did
/// not send anything.
fn gives_back(scenario: &Scenario, history: &History) -> bool {
    let failed = |call: &&Call| matches!(call.outcome, Outcome::Failed(_) | Outcome::Killed);
    let actor = |call: &Call| scenario.steps[call.step].actor;
    let socket = |call: &Call| scenario.connection_of(actor(call));
    let beside = |one: &Call, other: &Call| {
        let at_once = one.entry < other.exit && other.entry < one.exit;
        at_once && actor(one) != actor(other) && socket(one) == socket(other)
    };
    let mut given_back = numbered(scenario, history).filter(failed);
    given_back.any(|one| numbered(scenario, history).any(|other| beside(one, other)))
}

/// Whether it is about the numbers of MSG_ZEROCOPY, which io_uring has not, and not
/// about bytes.
fn is_of_a_number(scenario: &Scenario, violation: &Violation) -> bool {
    violation.stream_offset.is_none() && !by_ring(scenario, violation)
}

/// Whether it is about a send by io_uring.
fn by_ring(scenario: &Scenario, violation: &Violation) -> bool {
    let step = violation.step;
    step.is_some_and(|it| borrows(scenario, it) == Some(Borrowing::Uring))
}

/// Whether the byte that it is about can have been in an MTU probe: not in the first
/// segment, as a probe waits for more window than a connection begins with, and with
/// more behind it than a reordering of three segments takes
/// (net/ipv4/tcp_output.c:tcp_mtu_probe).
fn can_be_probed(scenario: &Scenario, history: &History, violation: &Violation) -> bool {
    let (Some(step), Some(at)) = (violation.step, violation.stream_offset) else {
        return false;
    };
    let sends = || sends_beside(scenario, history, step);
    // These may have sent anything.
    let unknown = |call: &Call| matches!(call.outcome, Outcome::Killed | Outcome::Pending);
    let sent_bytes: u64 = sends().map(|call| call.outcome.bytes()).sum();
    let followed = sends().any(unknown) || at + 4 * LEAST_MSS <= sent_bytes;
    borrows(scenario, step).is_some() && at >= LEAST_MSS && followed
}

/// Whether the first SYN of a connection of Multipath TCP can arrive after the second
/// one, with an older timestamp.
fn overtakes_a_syn(scenario: &Scenario) -> bool {
    /// TCP_TIMEOUT_INIT.
    const REPEATED_AFTER_US: u64 = 1_000_000;
    let Setup {
        socket,
        data,
        stack,
        ..
    } = &scenario.setup;
    let shuffles = data.jitter_us > 0 || data.reorder_ppm > 0;
    // Connections are made one after the other, each with a SYN and an ACK.
    let connections = scenario.connections().count() as u32;
    let of_a_syn = data.nth.swap % 2 == 1 && data.nth.swap < 2 * connections;
    let late = of_a_syn || shuffles && data.longest_us() >= REPEATED_AFTER_US;
    let stamped = stack.get(Sysctl::Timestamps) != Some(0);
    let multipath = matches!(socket.family, Family::Mptcp4 | Family::Mptcp6);
    multipath && stamped && late
}

/// Whether a receiver was left without an end, and without a byte or with all of them:
/// what is lost with the data's end is nothing else.
fn ends_in_silence(scenario: &Scenario, history: &History) -> bool {
    let sent = |call: &Call| match call.outcome {
        Outcome::Returned(bytes) if scenario.steps[call.step].op.sends() => bytes,
        _ => 0,
    };
    let sent: u64 = history.calls.iter().map(sent).sum();
    let received = history.received.len() as u64;
    let all = history.beside.is_empty() && received == sent;
    let first = (received == 0 || all, history.end);
    let beside = history.beside.iter();
    let mut streams = beside
        .map(|it| (it.received.is_empty(), it.end))
        .chain([first]);
    streams.any(|it| it == (true, End::GivenUp))
}

/// The least bytes of a segment (net.ipv4.tcp_min_snd_mss).
const LEAST_MSS: u64 = 48;

/// Whether a send did not fit, since it joined what should have left before.
fn too_long_a_datagram(violation: &Violation) -> bool {
    violation.property == Property::Counts && violation.message.contains("failed with EMSGSIZE")
}

/// Whether what was lent was never received, for a write after its completion: that of
/// whatever it joined is none of the completion's business.
fn lost_with_another(violation: &Violation) -> bool {
    violation.property == Property::Completion
        && violation.stream_offset.is_none()
        && violation.torn_by.is_some()
}

/// Whether it is about a byte of what was lent after the step `past`: it joined the
/// datagram of that step, and another datagram of its length is taken for it.
fn taken_for_another(violation: &Violation, past: usize) -> bool {
    violation.property == Property::Completion
        && violation.torn_by.is_some()
        && violation.step.is_some_and(|it| it > past)
}

/// The first call over `family` that reads on to find the end of the file.
fn past_the_end(scenario: &Scenario, family: Family) -> Option<usize> {
    let cut = scenario.steps.iter().filter_map(|step| match step.op {
        Op::Truncate { size_bytes } => Some(size_bytes),
        _ => None,
    });
    let taken_out = scenario.steps.iter().map(|step| match step.op {
        Op::Collapse(range) => range.len,
        _ => 0,
    });
    let end = cut.fold(scenario.setup.file.size_bytes, u64::min);
    let end = end.saturating_sub(taken_out.sum());
    let mut position = 0;
    let mut past = |op: Op| match op {
        Op::Sendfile(Range { offset, len }) => offset + len > end,
        Op::SendfileOn { len } => {
            position += len;
            position > end
        }
        _ => false,
    };
    let first = scenario.steps.iter().position(|it| past(it.op));
    first.filter(|_| scenario.setup.socket.family == family)
}

#[cfg(test)]
mod tests;
