//! **source**: the file changes only where the scenario wrote. At the end every
//! byte is what the last write left there (of several that overlapped each
//! other: any of the last; of one that never returned: either value), through
//! pread(2) and through the shared mapping.

use super::ledger::{Ledger, Window};
use super::sizes::Sizes;
use super::{Property, Violation, name_step};
use crate::history::History;
use crate::scenario::{Range, Scenario};

/// Judges the file as it was left.
pub(super) fn judge(
    scenario: &Scenario,
    history: &History,
    ledger: &Ledger,
    sizes: &Sizes,
) -> Option<Violation> {
    let size = sizes.during(Window::END);
    // A scenario without a mapping leaves file_mmap empty.
    let mapped = !history.file_mmap.is_empty() && history.file_mmap != history.file_pread;
    let views = [
        ("pread", Some(&history.file_pread)),
        ("the mapping", mapped.then_some(&history.file_mmap)),
    ];
    for (view, bytes) in views {
        let Some(bytes) = bytes else { continue };
        let len = bytes.len() as u64;
        if !(size.least..=size.most).contains(&len) {
            let message = format!("the file is {len} bytes long by {view}, not {size}");
            return Some(violation(None, None, message));
        }
        if let Some(at) = first_wrong(bytes, ledger) {
            return Some(name(scenario, ledger, view, bytes, at));
        }
    }
    None
}

fn allowed(ledger: &Ledger, offset: u64) -> super::ledger::Generations {
    ledger.during(offset, Window::END)
}

fn first_wrong(bytes: &[u8], ledger: &Ledger) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        let end = ledger.segment_end(at as u64, bytes.len() as u64) as usize;
        let allowed = allowed(ledger, at as u64);
        if let Some(generation) = allowed.single() {
            at += ledger.matching(&bytes[at..end], at as u64, generation);
        } else {
            let is_allowed = |at: &usize| ledger.allows(&allowed, *at as u64, bytes[*at]);
            at = (at..end).find(|at| !is_allowed(at)).unwrap_or(end);
        }
        if at < end {
            return Some(at);
        }
    }
    None
}

fn name(scenario: &Scenario, ledger: &Ledger, view: &str, bytes: &[u8], at: usize) -> Violation {
    let offset = at as u64;
    let generation = ledger.shown(&ledger.ever(offset, u64::MAX), offset, bytes[at]);
    let len = (at..bytes.len())
        .take_while(|&at| {
            let offset = at as u64;
            !ledger.allows(&allowed(ledger, offset), offset, bytes[at])
        })
        .count();
    let expected: Vec<String> = allowed(ledger, offset)
        .iter()
        .map(|g| g.to_string())
        .collect();
    let writer = ledger.write_of(generation).map(|write| write.step);
    let origin = match writer {
        Some(step) => format!("generation {generation}, by {}", name_step(scenario, step)),
        None if generation == 0 => "the original content".to_string(),
        None => "of no generation".to_string(),
    };
    violation(
        writer,
        Some(Range {
            offset,
            len: len as u64,
        }),
        format!(
            "{len} bytes from file byte {offset} on are wrong by {view}: the first is {:#04x}, \
             {origin}; expected: generation {}",
            bytes[at],
            expected.join(" or "),
        ),
    )
}

fn violation(torn_by: Option<usize>, file_range: Option<Range>, message: String) -> Violation {
    Violation {
        property: Property::Source,
        step: None,
        stream_offset: None,
        file_range,
        torn_by,
        after_return_ns: None,
        message,
    }
}

#[cfg(test)]
mod tests {
    use crate::history::{Outcome, fill, pattern};
    use crate::oracle::doctor::{Plan, range};
    use crate::scenario::Op;

    fn written() -> Plan {
        let mut plan = Plan::new(4096);
        plan.call(Op::Pwrite(range(100, 200)), 1, 2);
        plan.call(Op::MmapWrite(range(200, 200)), 3, 4);
        plan
    }

    #[test]
    fn the_writes_of_the_scenario_are_expected() {
        let mut plan = written();
        assert!(plan.violations().is_empty());
        plan.history.file_mmap = plan.history.file_pread.clone();
        assert!(plan.violations().is_empty());
    }

    #[test]
    fn a_byte_that_nobody_wrote_is_flagged() {
        let mut plan = written();
        plan.history.file_pread[1000] ^= 0x80;
        let violation = plan.violation();
        assert_eq!(violation.property.to_string(), "source");
        assert_eq!(violation.file_range, Some(range(1000, 1)));
        assert!(
            violation.message.contains("of no generation"),
            "{}",
            violation.message
        );
    }

    #[test]
    fn a_lost_write_is_flagged() {
        let mut plan = written();
        fill(&mut plan.history.file_pread[100..400], 100, 0);
        let violation = plan.violation();
        assert_eq!(violation.file_range, Some(range(100, 300)));
        let words = "the original content; expected: generation 1";
        assert!(violation.message.contains(words), "{}", violation.message);
    }

    #[test]
    fn a_mapping_that_differs_is_flagged() {
        let mut plan = written();
        plan.history.file_mmap = plan.history.file_pread.clone();
        plan.history.file_mmap[250] = pattern(250, 1);
        let violation = plan.violation();
        assert_eq!(violation.torn_by, Some(0));
        assert!(
            violation.message.contains("by the mapping"),
            "{}",
            violation.message
        );
    }

    #[test]
    fn another_length_is_flagged() {
        let mut plan = written();
        plan.history.file_pread.push(0);
        let violation = plan.violation();
        assert_eq!(
            violation.message,
            "the file is 4097 bytes long by pread, not 4096"
        );
    }

    #[test]
    fn what_was_cut_off_is_zeros_and_does_not_come_back() {
        let mut plan = written();
        plan.call(Op::Truncate { size_bytes: 250 }, 5, 6);
        assert!(plan.violations().is_empty());
        plan.call(Op::Truncate { size_bytes: 6000 }, 7, 8);
        plan.call(Op::Pwrite(range(5000, 10)), 9, 10);
        assert!(plan.violations().is_empty());
        plan.history.file_pread[300] = pattern(300, 2);
        let violation = plan.violation();
        assert_eq!(violation.file_range, Some(range(300, 1)));
        let words = "generation 2, by operation 2 (mmap-write 200+200); expected: generation 3";
        assert!(violation.message.contains(words), "{}", violation.message);
        plan.history.file_pread[300] = 0;
        plan.history.file_pread.truncate(4096);
        assert_eq!(
            plan.violation().message,
            "the file is 4096 bytes long by pread, not 6000"
        );
    }

    #[test]
    fn writes_that_overlap_in_time_may_end_either_way() {
        for last in [1, 2] {
            let mut plan = Plan::new(4096);
            plan.call(Op::Pwrite(range(0, 100)), 1, 4);
            plan.call(Op::Pwrite(range(0, 100)), 2, 3);
            fill(&mut plan.history.file_pread[..50], 0, last);
            assert!(plan.violations().is_empty(), "{last}");
        }
        let mut plan = Plan::new(4096);
        plan.call(Op::Pwrite(range(0, 100)), 1, 2);
        plan.call(Op::Pwrite(range(0, 100)), 3, 4);
        fill(&mut plan.history.file_pread[..50], 0, 1);
        assert_eq!(plan.verdict(), ["source"]);
    }

    #[test]
    fn a_short_write_wrote_only_what_it_returned() {
        let mut plan = Plan::new(4096);
        plan.call(Op::Pwrite(range(0, 100)), 1, 2).outcome = Outcome::Returned(40);
        fill(&mut plan.history.file_pread[40..100], 40, 0);
        assert!(plan.violations().is_empty());
    }

    #[test]
    fn what_was_taken_out_is_gone_and_the_rest_is_there() {
        let mut plan = Plan::new(16_384);
        plan.call(Op::Pwrite(range(9000, 10)), 1, 2);
        plan.call(Op::Collapse(range(4096, 4096)), 3, 4);
        assert_eq!(plan.history.file_pread.len(), 12_288);
        assert!(plan.violations().is_empty());
        // Bytes that did not move, or moved elsewhere.
        fill(&mut plan.history.file_pread[4096..4106], 4096, 0);
        let violation = plan.violation();
        assert_eq!(violation.file_range, Some(range(4096, 10)));
        fill(&mut plan.history.file_pread[4096..4106], 8192, 0);
        plan.history.file_pread.push(0);
        assert_eq!(
            plan.violation().message,
            "the file is 12289 bytes long by pread, not 12288"
        );
    }
}
