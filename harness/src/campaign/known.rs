//! Bugs of released kernels that are not the race; the series mends most of them. A
//! campaign goes on past them: in one of the first cases such a bug would hide all that is
//! looked for. It counts them, a replay shows them, and the corpus has one scenario of each.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::history::{Call, End, History, Outcome};
use crate::oracle::{Property, Violation};
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
    /// A SYN that comes after its own repetition is answered with an ACK without the
    /// options of MPTCP, for which who connects takes its peer for one of plain TCP, and
    /// the peer does not notice (net/mptcp/options.c:check_fully_established). No kernel
    /// mends it.
    LateSyn,
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
            Bug::LateSyn => "corpus/end/late-syn-mptcp.scn",
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
                sends_past_the_end(scenario)
                    && (any(&datagrams)
                        || violations.iter().any(too_long_a_datagram)
                        || violations.iter().any(lost_with_another))
            }
            Bug::ForgottenOwner => {
                let setup = &scenario.setup;
                setup.stack.probes() && completion(&|it| can_be_probed(scenario, history, it))
            }
            Bug::NumberGivenBack => {
                gives_back(scenario, history) && completion(&|it| is_of_a_number(scenario, it))
            }
            // Data after it is noticed.
            Bug::LateSyn => {
                overtakes_a_syn(scenario) && any(&[Property::Liveness]) && ends_in_silence(history)
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
        }
        if known {
            bugs.push(Bug::LateSyn);
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
        let mut bugs = self.0.iter().copied();
        bugs.find(|bug| bug.explains(scenario, history, violations))
    }
}

/// Whether a call can fill a record, the end of which stays in the send buffer if that
/// is full by then. A small buffer is filled by one record, one that the kernel tunes
/// by a few sends.
fn stalls_a_record(scenario: &Scenario) -> bool {
    let setup = &scenario.setup;
    setup.socket.family == Family::Ktls4 && setup.file.size_bytes > KTLS_RECORD_BYTES
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
    let step = violation.step;
    let by_ring = step.is_some_and(|it| borrows(scenario, it) == Some(Borrowing::Uring));
    violation.stream_offset.is_none() && !by_ring
}

/// Whether the byte that it is about can have been in an MTU probe: not in the first
/// segment, as a probe waits for more window than a connection begins with, and with
/// more behind it than a reordering of three segments takes
/// (net/ipv4/tcp_output.c:tcp_mtu_probe).
fn can_be_probed(scenario: &Scenario, history: &History, violation: &Violation) -> bool {
    let (Some(step), Some(at)) = (violation.step, violation.stream_offset) else {
        return false;
    };
    let connection = |step: usize| scenario.connection_of(scenario.steps[step].actor);
    let same = |call: &&Call| {
        connection(call.step) == connection(step) && scenario.steps[call.step].op.sends()
    };
    let sends = || history.calls.iter().filter(same);
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
    let late = data.nth.swap == 1 || shuffles && data.longest_us() >= REPEATED_AFTER_US;
    let stamped = stack.get(Sysctl::Timestamps) != Some(0);
    socket.family == Family::Mptcp4 && stamped && late
}

/// Whether a receiver was left without a byte and without an end.
fn ends_in_silence(history: &History) -> bool {
    let first = (history.received.is_empty(), history.end);
    let beside = history.beside.iter();
    let mut all = beside
        .map(|it| (it.received.is_empty(), it.end))
        .chain([first]);
    all.any(|it| it == (true, End::GivenUp))
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

/// Whether a call over IPv6 reads on to find the end of the file.
fn sends_past_the_end(scenario: &Scenario) -> bool {
    let cut = scenario.steps.iter().filter_map(|step| match step.op {
        Op::Truncate { size_bytes } => Some(size_bytes),
        _ => None,
    });
    let end = cut.fold(scenario.setup.file.size_bytes, u64::min);
    let mut position = 0;
    let mut past = |op: Op| match op {
        Op::Sendfile(Range { offset, len }) => offset + len > end,
        Op::SendfileOn { len } => {
            position += len;
            position > end
        }
        _ => false,
    };
    scenario.setup.socket.family == Family::Udp6 && scenario.steps.iter().any(|it| past(it.op))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Stamp;
    use crate::scenario::text;

    fn explained(release: &str, stable: &str, scenario: &str, property: Property) -> Option<Bug> {
        let scenario = text::parse("known.scn", scenario).unwrap();
        let violation = Violation {
            property,
            step: Some(0),
            stream_offset: None,
            file_range: None,
            torn_by: None,
            after_return_ns: None,
            message: String::new(),
        };
        let known = Known::of(release, stable);
        assert_eq!(known.explain(&scenario, &history(&[]), &[]), None);
        known.explain(&scenario, &history(&[]), &[violation])
    }

    #[test]
    fn the_stall_of_ktls_is_one_of_kernels_with_sendpage_and_nothing_else_is() {
        const STALL: &str = include_str!("../../../corpus/socket/ktls-small-sndbuf.scn");
        let hangs = Property::Liveness;
        for (release, stable) in [
            ("6.1.192\n", ""),
            ("6.1.192-inflight", "0\n"),
            ("5.10.1", ""),
        ] {
            let bug = explained(release, stable, STALL, hangs);
            assert_eq!(bug, Some(Bug::KtlsStall), "{release} {stable}");
        }
        // The patch sends by other means, and so does everything newer.
        for (release, stable) in [
            ("6.1.192", "1\n"),
            ("6.1.192", "2\n"),
            ("6.5.0", ""),
            ("6.12.117", ""),
            ("7.3.4", ""),
            ("", ""),
        ] {
            let bug = explained(release, stable, STALL, hangs);
            assert_eq!(bug, None, "{release} {stable}");
        }
        assert_eq!(explained("6.1.192", "", STALL, Property::Wire), None);
        for (from, to) in [("ktls4", "tcp4"), ("size=32768", "size=16384")] {
            let other = STALL.replace(from, to);
            assert_ne!(other, STALL);
            assert_eq!(explained("6.1.192", "", &other, hangs), None, "{from}");
        }
    }

    #[test]
    fn a_datagram_for_each_page_is_a_bug_of_ipv6_in_old_kernels_without_the_series() {
        const PAGES: &str = include_str!("../../../corpus/udp/udp6-pages.scn");
        let (splits, torn) = (Property::Datagrams, Property::StableOnReturn);
        let bug = Some(Bug::PageADatagram);
        assert_eq!(explained("6.1.192", "", PAGES, splits), bug);
        assert_eq!(explained("6.1.192", "", PAGES, torn), bug);
        for stable in ["0\n", "1\n", "2\n"] {
            assert_eq!(
                explained("6.1.192", stable, PAGES, splits),
                None,
                "{stable}"
            );
        }
        assert_eq!(explained("6.5.0", "", PAGES, splits), None);
        assert_eq!(explained("6.1.192", "", PAGES, Property::Wire), None);
        for (from, to) in [("udp6", "udp4"), ("4095+2", "4095+1"), ("4095+2", "0+4096")] {
            let other = PAGES.replace(from, to);
            assert_ne!(other, PAGES);
            assert_eq!(explained("6.1.192", "", &other, splits), None, "{from}");
        }
    }

    #[test]
    fn what_was_lent_is_lost_with_the_datagram_that_it_joined() {
        let of = |property, stream_offset, torn_by| Violation {
            property,
            step: Some(1),
            stream_offset,
            file_range: None,
            torn_by,
            after_return_ns: None,
            message: String::new(),
        };
        assert!(lost_with_another(&of(Property::Completion, None, Some(2))));
        // A number is, or a byte that was received.
        for other in [
            of(Property::Completion, None, None),
            of(Property::Completion, Some(0), Some(2)),
            of(Property::Wire, None, Some(2)),
        ] {
            assert!(!lost_with_another(&other), "{other:?}");
        }
    }

    #[test]
    fn the_end_of_the_file_is_forgotten_over_ipv6_by_every_kernel_without_the_series() {
        const END: &str = include_str!("../../../corpus/udp/udp6-past-end.scn");
        let late = Property::Datagrams;
        for release in ["6.12.117", "7.3.4"] {
            assert_eq!(explained(release, "", END, late), Some(Bug::ForgottenEnd));
            for stable in ["0\n", "1\n", "2\n"] {
                assert_eq!(explained(release, stable, END, late), None, "{stable}");
            }
            assert_eq!(explained(release, "", END, Property::Counts), None);
        }
        // What follows joins it, until no more fits.
        let scenario = text::parse("known.scn", END).unwrap();
        let too_long = |message: &str| Violation {
            property: Property::Counts,
            step: Some(1),
            stream_offset: None,
            file_range: None,
            torn_by: None,
            after_return_ns: None,
            message: message.into(),
        };
        for (message, bug) in [
            (
                "operation 2 failed with EMSGSIZE, but",
                Some(Bug::ForgottenEnd),
            ),
            ("operation 2 failed with EINVAL", None),
        ] {
            let known = Known::of("6.12.117", "");
            assert_eq!(
                known.explain(&scenario, &history(&[]), &[too_long(message)]),
                bug,
                "{message}"
            );
        }
        for (from, to) in [("udp6", "udp4"), ("0+4097", "0+4096")] {
            let other = END.replace(from, to);
            assert_ne!(other, END);
            assert_eq!(explained("6.12.117", "", &other, late), None, "{from}");
        }
    }

    /// In which only calls are of interest: step, entry, return, and how it ended.
    fn history(calls: &[(usize, u64, u64, Outcome)]) -> History {
        let stamp = |order| Stamp { order, time_ns: 0 };
        let call = |&(step, entry, exit, outcome): &_| Call {
            step,
            entry: stamp(entry),
            exit: stamp(exit),
            outcome,
            offset_after: None,
            f_pos_after: None,
        };
        History {
            calls: calls.iter().map(call).collect(),
            completions: Vec::new(),
            chunks: Vec::new(),
            received: Vec::new(),
            file_pread: Vec::new(),
            file_mmap: Vec::new(),
            end: End::Eof,
            end_ns: 0,
            beside: Vec::new(),
            counters: None,
            leftovers: None,
        }
    }

    fn of_completion(step: Option<usize>, stream_offset: Option<u64>) -> Violation {
        Violation {
            property: Property::Completion,
            step,
            stream_offset,
            file_range: None,
            torn_by: None,
            after_return_ns: None,
            message: String::new(),
        }
    }

    #[test]
    fn a_probe_forgets_its_owner_since_probes_refer_to_pages() {
        const PROBE: &str = include_str!("../../../corpus/zerocopy/mtu-probe.scn");
        let sent = |bytes| {
            let at = |step, bytes| (step, step as u64, step as u64, Outcome::Returned(bytes));
            history(&[at(0, 5000), at(1, 512), at(2, 512), at(3, bytes)])
        };
        let found = |text: &str, release, stable, sent_bytes, violation| {
            let scenario = text::parse("known.scn", text).unwrap();
            let known = Known::of(release, stable);
            known.explain(&scenario, &sent(sent_bytes), &[violation])
        };
        let torn = || of_completion(Some(2), Some(500));
        let bug = Some(Bug::ForgottenOwner);
        for release in ["6.5.0", "6.12.117", "7.3.4"] {
            assert_eq!(found(PROBE, release, "", 4096, torn()), bug);
            let mended = found(PROBE, release, "0\n", 4096, torn());
            assert_eq!(mended, None, "the series mends it");
        }
        assert_eq!(found(PROBE, "6.1.192", "", 4096, torn()), None);
        let calm = PROBE.replace("stack mtu-probing=2 base-mss=512\n", "");
        assert_eq!(found(&calm, "7.3.4", "", 4096, torn()), None);
        for (step, at, sent_bytes, bug) in [
            (Some(2), None, 4096, None),
            (None, Some(500), 4096, None),
            // In the first segment; with too little behind it; the last that can be.
            (Some(2), Some(47), 4096, None),
            (Some(2), Some(6024), 191, None),
            (Some(2), Some(6024), 192, bug),
            // A plain write has no owner.
            (Some(0), Some(500), 4096, None),
        ] {
            let found = found(PROBE, "7.3.4", "", sent_bytes, of_completion(step, at));
            assert_eq!(found, bug, "{step:?} {at:?} {sent_bytes}");
        }
    }

    #[test]
    fn a_late_syn_leaves_a_receiver_of_mptcp_in_silence() {
        const SYN: &str = include_str!("../../../corpus/end/late-syn-mptcp.scn");
        let found = |text: &str, change: &dyn Fn(&mut History), property| {
            let scenario = text::parse("known.scn", text).unwrap();
            let mut history = history(&[]);
            history.end = End::GivenUp;
            change(&mut history);
            let mut violation = of_completion(None, None);
            violation.property = property;
            Known::of("7.3.4", "1\n").explain(&scenario, &history, &[violation])
        };
        let (bug, hangs) = (Some(Bug::LateSyn), Property::Liveness);
        assert_eq!(found(SYN, &|_| (), hangs), bug);
        assert_eq!(found(SYN, &|_| (), Property::Wire), None);
        assert_eq!(found(SYN, &|it| it.end = End::Eof, hangs), None);
        assert_eq!(found(SYN, &|it| it.received.push(1), hangs), None);
        for (from, to, bug) in [
            ("swap=1", "delay=600ms jitter=400ms", bug),
            ("swap=1", "delay=600ms jitter=399ms", None),
            ("swap=1", "delay=2s", None),
            ("swap=1", "swap=2", None),
            ("mptcp4", "tcp4", None),
            ("link tun", "link tun\nstack timestamps=0", None),
        ] {
            let mut other = SYN.replace(from, to);
            if to.contains("delay") {
                other = other.replace("link tun\n", "");
            }
            assert_eq!(found(&other, &|_| (), hangs), bug, "{to}");
        }
    }

    #[test]
    fn a_number_is_given_back_where_a_call_fails_beside_one_of_another_thread() {
        const NUMBER: &str = include_str!("../../../corpus/zerocopy/number-given-back.scn");
        const FAILED: Outcome = Outcome::Failed(libc::EAGAIN);
        const SENT: Outcome = Outcome::Returned(100);
        let found = |text: &str, stable, calls: &[_], violation| {
            let scenario = text::parse("known.scn", text).unwrap();
            let known = Known::of("6.12.117", stable);
            known.explain(&scenario, &history(calls), &[violation])
        };
        let bug = Some(Bug::NumberGivenBack);
        let number = || of_completion(None, None);
        let at_once = [(3, 1, 3, FAILED), (5, 2, 4, SENT)];
        for (calls, bug) in [
            (at_once, bug),
            ([(3, 1, 3, Outcome::Killed), (5, 2, 4, SENT)], bug),
            // Both have sent something; one after the other; not with MSG_ZEROCOPY.
            ([(3, 1, 3, SENT), (5, 2, 4, SENT)], None),
            ([(3, 1, 2, FAILED), (5, 3, 4, SENT)], None),
            ([(3, 3, 4, FAILED), (5, 1, 2, SENT)], None),
            ([(0, 1, 3, FAILED), (5, 2, 4, SENT)], None),
        ] {
            assert_eq!(found(NUMBER, "", &calls, number()), bug, "{calls:?}");
        }
        for stable in ["0\n", "1\n", "2\n"] {
            let mended = found(NUMBER, stable, &at_once, number());
            assert_eq!(mended, None, "the series mends it");
        }
        let torn = of_completion(Some(5), Some(8000));
        assert_eq!(found(NUMBER, "", &at_once, torn), None);
        let by_ring = NUMBER.replace("c: send-zerocopy", "c: uring-send-zerocopy");
        let owed = of_completion(Some(5), None);
        assert_eq!(found(&by_ring, "", &at_once, owed), None);
        let alone = NUMBER.replace("c: ", "b: ");
        assert_eq!(found(&alone, "", &at_once, number()), None);
    }
}
