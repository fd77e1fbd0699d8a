//! Bugs of released kernels that are not the race. A campaign goes on past them: in
//! one of the first cases such a bug would hide all that is looked for. It counts
//! them, a replay shows them, and the corpus has one scenario of each.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::oracle::{Property, Violation};
use crate::scenario::{Borrowing, Family, Op, PAGE_BYTES, Range, Scenario, Step};

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
    /// which may be another thread's (net/core/skbuff.c:msg_zerocopy_put_abort).
    NumberGivenBack,
}

impl Bug {
    /// The scenario that shows it.
    pub fn corpus(self) -> &'static str {
        match self {
            Bug::KtlsStall => "corpus/socket/ktls-small-sndbuf.scn",
            Bug::PageADatagram => "corpus/udp/udp6-pages.scn",
            Bug::ForgottenEnd => "corpus/udp/udp6-past-end.scn",
            Bug::ForgottenOwner => "corpus/zerocopy/mtu-probe.scn",
            Bug::NumberGivenBack => "docs/bugs/number-given-back.scn",
        }
    }

    /// Whether it can be what `violations` of `scenario` are about. What else went
    /// wrong after it is not told apart.
    fn explains(self, scenario: &Scenario, violations: &[Violation]) -> bool {
        let any = |properties: &[Property]| {
            let mut broken = violations.iter().map(|it| it.property);
            broken.any(|it| properties.contains(&it))
        };
        // With a datagram that is in two, or late, the next ones can look like torn
        // ones.
        let datagrams = [Property::Datagrams, Property::StableOnReturn];
        let completions = |late: bool| {
            let mut broken = violations.iter();
            broken
                .any(|it| it.property == Property::Completion && it.stream_offset.is_some() == late)
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
                setup.stack.probes() && scenario.borrows_any() && completions(true)
            }
            Bug::NumberGivenBack => lend_at_once(scenario) && completions(false),
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
        if known {
            bugs.push(Bug::NumberGivenBack);
        }
        Known(bugs)
    }

    /// Whether this kernel has `bug`.
    pub fn has(&self, bug: Bug) -> bool {
        self.0.contains(&bug)
    }

    /// The one that `violations` of `scenario` are about, if one is.
    pub fn explain(&self, scenario: &Scenario, violations: &[Violation]) -> Option<Bug> {
        let mut bugs = self.0.iter().copied();
        bugs.find(|bug| bug.explains(scenario, violations))
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

/// Whether several threads send with MSG_ZEROCOPY on one socket.
fn lend_at_once(scenario: &Scenario) -> bool {
    let lends = |it: &&Step| matches!(it.op, Op::Borrow { by, .. } if by == Borrowing::Send);
    let mut lenders = scenario.steps.iter().filter(lends).map(|it| it.actor);
    let first = lenders.next();
    scenario.connections().count() == 1 && lenders.any(|actor| Some(actor) != first)
}

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
        assert_eq!(Known::of(release, stable).explain(&scenario, &[]), None);
        Known::of(release, stable).explain(&scenario, &[violation])
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
                known.explain(&scenario, &[too_long(message)]),
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

    /// Of a byte that came from a write after the completion, or of a number.
    fn completion(scenario: &str, release: &str, stable: &str, late: bool) -> Option<Bug> {
        let scenario = text::parse("known.scn", scenario).unwrap();
        let violation = Violation {
            property: Property::Completion,
            step: Some(1),
            stream_offset: late.then_some(5000),
            file_range: None,
            torn_by: None,
            after_return_ns: None,
            message: String::new(),
        };
        Known::of(release, stable).explain(&scenario, &[violation])
    }

    #[test]
    fn a_probe_forgets_its_owner_since_probes_refer_to_pages() {
        const PROBE: &str = include_str!("../../../corpus/zerocopy/mtu-probe.scn");
        let found = |release, stable| completion(PROBE, release, stable, true);
        for release in ["6.5.0", "6.12.117", "7.3.4"] {
            assert_eq!(found(release, ""), Some(Bug::ForgottenOwner));
            assert_eq!(found(release, "0\n"), None, "the series mends it");
        }
        assert_eq!(found("6.1.192", ""), None);
        assert_eq!(completion(PROBE, "7.3.4", "", false), None);
        let calm = PROBE.replace("stack mtu-probing=2 base-mss=512\n", "");
        assert_eq!(completion(&calm, "7.3.4", "", true), None);
    }

    #[test]
    fn a_number_is_given_back_by_every_kernel_where_threads_send_at_once() {
        const NUMBER: &str = include_str!("../../../docs/bugs/number-given-back.scn");
        for (release, stable) in [("6.1.192", ""), ("6.12.117", "1\n"), ("7.3.4", "2\n")] {
            let found = |scenario: &str, late| completion(scenario, release, stable, late);
            assert_eq!(found(NUMBER, false), Some(Bug::NumberGivenBack));
            assert_eq!(found(NUMBER, true), None);
            let alone = NUMBER.replace("c: send-zerocopy", "b: send-zerocopy");
            assert_eq!(found(&alone, false), None);
        }
    }
}
