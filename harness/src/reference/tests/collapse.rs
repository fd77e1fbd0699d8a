//! A range that is taken out of the file.

use super::*;
use crate::scenario::FileKind;

/// Three pages, of which the second one is taken out from 3 to 6.
fn collapsed() -> Plan {
    let mut plan = Plan::new(3 * 4096);
    plan.scenario.setup.file.kind = FileKind::Ext4;
    plan.call(Op::Collapse(range(4096, 4096)), 3, 6);
    plan
}

#[test]
fn what_lay_behind_has_moved_and_the_file_is_shorter() {
    assert!(both(&collapsed()));
    let mut unmoved = collapsed();
    fill(&mut unmoved.history.file_pread[4096..], 4096, 0);
    assert!(!both(&unmoved));
    let mut longer = collapsed();
    longer.history.file_pread.resize(3 * 4096, 0);
    assert!(!both(&longer));
    let mut before = collapsed();
    before.history.file_pread[4095] ^= 1;
    assert!(!both(&before));
}

#[test]
fn a_send_sees_it_before_behind_or_on_the_way() {
    // Where its bytes come from, by when it ran.
    for (entry, exit, from, fine) in [
        (1, 2, 4096, true),
        (1, 2, 8192, false),
        (4, 5, 4096, true),
        (4, 5, 8192, true),
        (4, 5, 4097, false),
        (7, 8, 8192, true),
        (7, 8, 4096, false),
    ] {
        let mut plan = collapsed();
        plan.call(Op::Sendfile(range(4096, 100)), entry, exit);
        plan.receive(9, range(from, 100), 0);
        assert_eq!(
            says(&plan, Contract::Stable).is_none(),
            fine,
            "{entry} {from}"
        );
        assert_eq!(plan.violations().is_empty(), fine, "{entry} {from}");
    }
}

#[test]
fn what_was_written_there_before_or_meanwhile_moves_with_it() {
    // When the third page was written, and what then may be in the second one: that
    // write, or what was there.
    for (entry, exit, new, old) in [(1, 2, true, false), (4, 5, true, true)] {
        let file = |generation| {
            let mut plan = collapsed();
            plan.history.file_pread = Plan::new(2 * 4096).history.file_pread;
            fill(&mut plan.history.file_pread[4096..], 8192, generation);
            let mut written = Plan::new(0);
            written.call(Op::MmapWrite(range(8192, 4096)), entry, exit);
            // It comes first in the list, so that its generation is 1.
            plan.scenario.steps.insert(0, written.scenario.steps[0]);
            plan.history.calls[0].step = 1;
            plan.history.calls.insert(0, written.history.calls[0]);
            plan
        };
        assert_eq!(both(&file(1)), new);
        assert_eq!(both(&file(0)), old);
        assert!(!both(&file(2)));
    }
}

#[test]
fn only_so_much_is_left_to_send() {
    for (moved, fine) in [(4096, true), (4097, false)] {
        let mut plan = collapsed();
        let call = plan.call(Op::Sendfile(range(4096, 8192)), 7, 8);
        call.outcome = Outcome::Returned(moved);
        call.offset_after = Some(4096 + moved);
        plan.receive(9, range(8192, moved), 0);
        assert_eq!(both(&plan), fine);
    }
}
