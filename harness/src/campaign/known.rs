//! Bugs of released kernels that are not the race. A campaign goes on past them: in
//! one of the first cases such a bug would hide all that is looked for. A replay
//! shows them, and the corpus has one scenario of each.

use std::fs;

use crate::oracle::{Property, Violation};
use crate::scenario::{Family, Op, PAGE_BYTES, Scenario};

/// The largest record of TLS.
const KTLS_RECORD_BYTES: u64 = 16 * 1024;

/// The bugs of one kernel.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// kTLS is sent to page by page, by sendpage(): see corpus/ktls-small-sndbuf.scn.
    sendpage: bool,
    /// UDP over IPv6 has no sendpage(), so that each page is a datagram: see
    /// corpus/udp6-pages.scn. The patch leaves it so.
    pub page_a_datagram: bool,
}

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
        let old = version.0.is_some() && version < (Some(6), Some(5));
        Known {
            sendpage: old && matches!(splice_stable.trim(), "" | "0"),
            page_a_datagram: old,
        }
    }

    /// Whether one of them is what `violations` of `scenario` are about. What else
    /// went wrong after it is not told apart.
    pub fn explain(self, scenario: &Scenario, violations: &[Violation]) -> bool {
        // The call hangs; if it may not block, its data does.
        let hangs = |it: &Violation| it.property == Property::Liveness;
        // With a datagram that is in two, the next ones can look like torn ones.
        let splits =
            |it: &Violation| matches!(it.property, Property::Datagrams | Property::StableOnReturn);
        self.sendpage && stalls_a_record(scenario) && violations.iter().any(hangs)
            || self.page_a_datagram && sends_pages(scenario) && violations.iter().any(splits)
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
        Op::SpliceOut { .. } => true,
        _ => false,
    };
    scenario.setup.socket.family == Family::Udp6 && scenario.steps.iter().any(|it| pages(it.op))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::text;

    fn explained(release: &str, stable: &str, scenario: &str, property: Property) -> bool {
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
        assert!(!Known::of(release, stable).explain(&scenario, &[]));
        Known::of(release, stable).explain(&scenario, &[violation])
    }

    #[test]
    fn the_stall_of_ktls_is_one_of_kernels_with_sendpage_and_nothing_else_is() {
        const STALL: &str = include_str!("../../../corpus/ktls-small-sndbuf.scn");
        let hangs = Property::Liveness;
        assert!(explained("6.1.192\n", "", STALL, hangs));
        assert!(explained("6.1.192-inflight", "0\n", STALL, hangs));
        assert!(explained("5.10.1", "", STALL, hangs));
        // The patch sends by other means, and so does everything newer.
        assert!(!explained("6.1.192", "1\n", STALL, hangs));
        assert!(!explained("6.1.192", "2\n", STALL, hangs));
        assert!(!explained("6.5.0", "", STALL, hangs));
        assert!(!explained("6.12.117", "", STALL, hangs));
        assert!(!explained("7.3.4", "", STALL, hangs));
        assert!(!explained("", "", STALL, hangs));
        assert!(!explained("6.1.192", "", STALL, Property::Wire));
        for (from, to) in [("ktls4", "tcp4"), ("size=32768", "size=16384")] {
            let other = STALL.replace(from, to);
            assert_ne!(other, STALL);
            assert!(!explained("6.1.192", "", &other, hangs), "{from}");
        }
    }

    #[test]
    fn a_datagram_for_each_page_is_a_bug_of_ipv6_in_old_kernels() {
        const PAGES: &str = include_str!("../../../corpus/udp6-pages.scn");
        let splits = Property::Datagrams;
        assert!(explained("6.1.192", "", PAGES, splits));
        assert!(explained("6.1.192", "1\n", PAGES, splits));
        assert!(!explained("6.5.0", "", PAGES, splits));
        assert!(explained("6.1.192", "1\n", PAGES, Property::StableOnReturn));
        assert!(!explained("6.1.192", "", PAGES, Property::Wire));
        for (from, to) in [("udp6", "udp4"), ("4095+2", "4095+1"), ("4095+2", "0+4096")] {
            let other = PAGES.replace(from, to);
            assert_ne!(other, PAGES);
            assert!(!explained("6.1.192", "", &other, splits), "{from}");
        }
    }
}
