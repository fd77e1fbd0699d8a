//! **stable-on-return**: every received byte equals its file's value at some
//! instant between the entry and the return of the call that sent it. A write
//! after the return never shows.
//!
//! Not flagged: a write that overlaps the call (either value, byte by byte); a
//! write to bytes that are still in the user pipe. Both are in the window that
//! [`super::stream`] gives each stretch. What is sent by reference and completed later
//! promises something else, which is [`super::completion`]'s.

use super::ledger::Ledger;
use super::stream::{Sent, StableFault};
use super::{Property, Violation, name_step};
use crate::history::History;
use crate::scenario::{Range, Scenario};

/// Puts an unstable run into words.
pub(super) fn violation(
    scenario: &Scenario,
    history: &History,
    ledger: &Ledger,
    runs: &[Sent],
    fault: StableFault,
) -> Violation {
    let run = &runs[fault.at.run];
    let write = ledger.write_of(fault.generation);
    let after_return_ns = write.map(|write| write.entry.time_ns.saturating_sub(run.exit.time_ns));
    let allowed: Vec<String> = fault.allowed.iter().map(|g| g.to_string()).collect();
    let cause = match (write, after_return_ns) {
        (Some(write), Some(after_ns)) => format!(
            "{} wrote that {}after the send had returned",
            name_step(scenario, write.step),
            how_long(after_ns),
        ),
        // What is older than the call breaks `wire`.
        _ => "no write after the send".to_string(),
    };
    let stream = fault.at.stream;
    let file = fault.at.file;
    Violation {
        property: Property::StableOnReturn,
        step: Some(run.step),
        stream_offset: Some(stream as u64),
        file_range: Some(Range {
            offset: file,
            len: fault.len as u64,
        }),
        torn_by: write.map(|write| write.step),
        after_return_ns,
        message: format!(
            "{} from stream byte {stream} on (file byte {file}), sent by {}, {} generation {} \
             (first {:#04x}): {cause}. Allowed was generation {}.",
            count_bytes(fault.len),
            name_step(scenario, run.step),
            if fault.len == 1 { "shows" } else { "show" },
            fault.generation,
            history.received[stream],
            allowed.join(" or "),
        ),
    }
}

pub(super) fn count_bytes(len: usize) -> String {
    match len {
        1 => "1 byte".to_string(),
        len => format!("{len} bytes"),
    }
}

/// `20.004 ms `, for what came so long after something else; `right ` for what cannot be told
/// from that.
pub(super) fn how_long(ns: u64) -> String {
    match ns {
        ..1_000 => "right ".to_string(),
        ns => format!("{}.{:03} ms ", ns / 1_000_000, ns / 1_000 % 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::how_long;
    use crate::history::{Outcome, pattern};
    use crate::oracle::doctor::{Plan, TICK_NS, range};
    use crate::oracle::{Contract, Property, judge};
    use crate::scenario::{Filling, Op};

    fn sendfile() -> Op {
        Op::Sendfile(range(0, 4096))
    }

    fn splice_out() -> Op {
        Op::SpliceOut {
            len: 4096,
            more: false,
            nonblock: false,
            tee: false,
            move_pages: false,
        }
    }

    fn write() -> Op {
        Op::MmapWrite(range(1000, 500))
    }

    #[test]
    fn a_write_after_the_return_is_named_with_its_time_and_place() {
        let mut plan = Plan::new(4096);
        plan.call(sendfile(), 1, 2);
        plan.call(write(), 7, 8);
        plan.receive(9, range(0, 1000), 0);
        plan.receive(10, range(1000, 500), 1);
        plan.receive(11, range(1500, 2596), 0);
        let violation = plan.violation();
        assert_eq!(violation.property, Property::StableOnReturn);
        assert_eq!(violation.step, Some(0));
        assert_eq!(violation.torn_by, Some(1));
        assert_eq!(violation.stream_offset, Some(1000));
        assert_eq!(violation.file_range, Some(range(1000, 500)));
        assert_eq!(violation.after_return_ns, Some(5 * TICK_NS));
        assert_eq!(
            violation.message,
            format!(
                "500 bytes from stream byte 1000 on (file byte 1000), sent by operation 1 \
                 (sendfile 0+4096), show generation 1 (first {:#04x}): operation 2 (mmap-write \
                 1000+500) wrote that 0.005 ms after the send had returned. Allowed was \
                 generation 0.",
                pattern(1000, 1),
            )
        );
        assert!(judge(Contract::Documented, &plan.scenario, &plan.history).is_empty());
    }

    #[test]
    fn zeros_of_a_cut_after_the_return_name_it() {
        for op in [
            Op::Truncate { size_bytes: 1000 },
            Op::Punch(range(1000, 3096)),
        ] {
            let mut plan = Plan::new(4096);
            plan.call(sendfile(), 1, 2);
            plan.call(op, 7, 8);
            plan.receive(9, range(0, 4096), 0);
            assert_eq!(plan.violations(), [], "the page was taken away whole");
            plan.history.received[1500..1600].fill(0);
            let violation = plan.violation();
            assert_eq!(violation.property, Property::StableOnReturn);
            assert_eq!((violation.step, violation.torn_by), (Some(0), Some(1)));
            assert_eq!(violation.after_return_ns, Some(5 * TICK_NS));
            assert!(violation.message.contains("show generation 1 (first 0x00)"));
            // What lies in front of the cut, and zeros that came before it.
            plan.history.received[500..510].fill(0);
            assert_eq!(plan.verdict(), ["wire"]);
        }
    }

    #[test]
    fn a_cut_during_the_call_may_show_byte_by_byte() {
        for (entry, exit) in [(2, 3), (0, 2), (3, 9), (0, 9)] {
            let mut plan = Plan::new(4096);
            plan.call(sendfile(), 1, 4);
            plan.call(Op::Truncate { size_bytes: 1000 }, entry, exit);
            plan.history.calls.sort_by_key(|call| call.entry.order);
            plan.receive(10, range(0, 4096), 0);
            for at in (1000..4096).step_by(3) {
                plan.history.received[at] = 0;
            }
            assert_eq!(plan.violations(), [], "cut at {entry}..{exit}");
        }
    }

    #[test]
    fn a_write_during_the_call_may_show_byte_by_byte() {
        for (entry, exit) in [(2, 3), (0, 2), (3, 9), (0, 9)] {
            let mut plan = Plan::new(4096);
            plan.call(sendfile(), 1, 4);
            plan.call(write(), entry, exit);
            plan.history.calls.sort_by_key(|call| call.entry.order);
            plan.receive(10, range(0, 1000), 0);
            for at in 1000..1500 {
                plan.receive(11, range(at, 1), u8::from(at % 3 == 0));
            }
            plan.receive(12, range(1500, 2596), 0);
            assert!(plan.violations().is_empty(), "write at {entry}..{exit}");
        }
    }

    #[test]
    fn a_write_that_never_returned_overlaps_all_that_follows() {
        let mut plan = Plan::new(4096);
        plan.call(write(), 1, 2).outcome = Outcome::Pending;
        plan.call(sendfile(), 3, 4);
        plan.receive(5, range(0, 1200), 0);
        plan.history.received.truncate(1000);
        plan.receive(6, range(1000, 500), 1);
        plan.receive(7, range(1500, 2596), 0);
        assert_eq!(plan.verdict(), ["liveness"]);
    }

    #[test]
    fn a_write_to_bytes_in_the_user_pipe_is_nobodys_fault() {
        for generation in [0, 1] {
            let mut plan = Plan::new(4096);
            plan.call(
                Op::SpliceIn {
                    range: range(0, 4096),
                    by: Filling::Splice,
                },
                1,
                2,
            );
            plan.call(write(), 3, 4);
            plan.call(splice_out(), 5, 6);
            plan.receive(7, range(0, 1000), 0);
            plan.receive(7, range(1000, 500), generation);
            plan.receive(7, range(1500, 2596), 0);
            assert!(plan.violations().is_empty(), "generation {generation}");
        }
    }

    #[test]
    fn a_write_after_the_splice_to_the_socket_is_flagged() {
        let mut plan = Plan::new(4096);
        plan.call(
            Op::SpliceIn {
                range: range(0, 4096),
                by: Filling::Splice,
            },
            1,
            2,
        );
        plan.call(splice_out(), 3, 4);
        plan.call(write(), 5, 6);
        plan.receive(7, range(0, 1000), 0);
        plan.receive(7, range(1000, 500), 1);
        plan.receive(7, range(1500, 2596), 0);
        let violation = plan.violation();
        assert_eq!((violation.step, violation.torn_by), (Some(1), Some(2)));
    }

    #[test]
    fn a_short_send_covers_only_what_it_returned() {
        let mut plan = Plan::new(4096);
        let call = plan.call(sendfile(), 1, 2);
        call.outcome = Outcome::Returned(1000);
        call.offset_after = Some(1000);
        plan.call(write(), 3, 4);
        plan.call(Op::Sendfile(range(1000, 3096)), 5, 6);
        plan.receive(7, range(0, 1000), 0);
        plan.receive(7, range(1000, 500), 1);
        plan.receive(7, range(1500, 2596), 0);
        assert!(plan.violations().is_empty());
    }

    #[test]
    fn what_takes_no_time_has_no_figure() {
        let cases = [
            (0, "right "),
            (999, "right "),
            (1_000, "0.001 ms "),
            (20_004_999, "20.004 ms "),
        ];
        for (ns, words) in cases {
            assert_eq!(how_long(ns), words);
        }
    }
}
