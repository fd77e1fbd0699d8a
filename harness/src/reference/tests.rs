//! The two opinions side by side: on histories of the random kernel, as they are and
//! doctored, and on some written by hand.

mod boundaries;
mod collapse;
mod each;

use super::doctors::DOCTORS;
use super::fuzz::ran;
use super::*;
use crate::history::{fill, pattern};
use crate::oracle::doctor::{Plan, range};
use crate::oracle::draw::Rng;
use crate::oracle::judge;
use crate::oracle::model::Takes;
use crate::scenario::{Borrowing, Family, FileKind, Filling};

const RUNS: u64 = 1_500;

/// `None`: it does not know.
fn differs(contract: Contract, scenario: &Scenario, history: &History) -> Option<bool> {
    match opinion(contract, scenario, history) {
        Opinion::Agrees => Some(false),
        Opinion::Differs { .. } => Some(true),
        Opinion::Unknown => None,
    }
}

#[test]
fn a_kernel_in_order_is_what_it_says() {
    let (mut seen, mut unknown) = (0, 0);
    for seed in 0..RUNS {
        for takes in [Takes::DuringSend, Takes::WhenFilled] {
            let (scenario, history) = ran(seed, takes);
            seen += 1;
            for contract in [Contract::Stable, Contract::Documented] {
                let differs = differs(contract, &scenario, &history);
                unknown += u64::from(differs.is_none());
                assert_ne!(differs, Some(true), "seed {seed} {takes:?}: {scenario}");
            }
        }
    }
    assert!(unknown * 20 < seen, "{unknown} of {seen} are unknown");
}

#[test]
fn both_see_the_race_and_in_the_same_histories() {
    let mut seen = 0;
    for seed in 0..RUNS {
        let (scenario, history) = ran(seed, Takes::WhenReceived);
        let documented = differs(Contract::Documented, &scenario, &history);
        assert_ne!(documented, Some(true), "seed {seed}: {scenario}");
        let Some(stable) = differs(Contract::Stable, &scenario, &history) else {
            continue;
        };
        let flagged = !judge(Contract::Stable, &scenario, &history).is_empty();
        assert_eq!(stable, flagged, "seed {seed}: {scenario}");
        seen += u64::from(stable);
    }
    assert!(seen > RUNS / 10, "only {seen}");
}

/// Whatever is done to a history, both see it or neither does.
#[test]
fn both_see_the_same_faults() {
    for (name, doctor) in DOCTORS {
        let (mut done, mut seen) = (0, 0);
        for seed in 0..RUNS {
            let (scenario, mut history) = ran(seed, Takes::DuringSend);
            if !doctor(&mut Rng::new(seed ^ 0xd0c), &scenario, &mut history) {
                continue;
            }
            done += 1;
            let violations = judge(Contract::Stable, &scenario, &history);
            let opinion = opinion(Contract::Stable, &scenario, &history);
            if opinion == Opinion::Unknown {
                continue;
            }
            assert_eq!(
                violations.is_empty(),
                opinion == Opinion::Agrees,
                "seed {seed}, {name}: {opinion:?}, {violations:#?}\n{scenario}\n{history:#?}"
            );
            seen += u64::from(!violations.is_empty());
        }
        assert!(done > RUNS / 10, "{name}: only {done}");
        assert!(seen * 2 > done, "{name}: {seen} of {done} seen");
    }
}

fn says(plan: &Plan, contract: Contract) -> Option<String> {
    match opinion(contract, &plan.scenario, &plan.history) {
        Opinion::Differs { what, .. } => Some(what),
        _ => None,
    }
}

/// What both say of a plan: whether it can have been so.
#[track_caller]
fn both(plan: &Plan) -> bool {
    let specified = says(plan, Contract::Stable);
    let violations = plan.violations();
    assert_eq!(
        specified.is_none(),
        violations.is_empty(),
        "{specified:?} {violations:#?}"
    );
    specified.is_none()
}

#[test]
fn the_race_by_hand() {
    let mut plan = Plan::new(4096);
    plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
    plan.call(Op::MmapWrite(range(100, 100)), 3, 4);
    plan.receive(5, range(0, 4096), 0);
    plan.history.received[150] = pattern(150, 1);
    assert_eq!(says(&plan, Contract::Documented), None);
    let what = says(&plan, Contract::Stable).unwrap();
    assert_eq!(what, "stream byte 150 cannot be that");
    // During the call it may show.
    plan.history.calls[0].exit.order = 4;
    plan.history.calls.swap(0, 1);
    assert_eq!(says(&plan, Contract::Stable), None);
}

#[test]
fn a_ring_may_not_add_to_a_datagram_of_somebody_else() {
    for corked in [true, false] {
        let mut plan = Plan::new(4096);
        plan.scenario.setup.socket.family = Family::Udp4;
        plan.scenario.setup.socket.cork = corked;
        let (mine, other) = (Borrowing::Send, Borrowing::Uring);
        let borrow = |by| Op::Borrow {
            by,
            range: range(0, 100),
        };
        plan.call(borrow(mine), 1, 2);
        plan.call(borrow(other), 3, 4).outcome = Outcome::Failed(libc::EINVAL);
        plan.complete(5, 0, 0);
        if !corked {
            plan.receive(6, range(0, 100), 0);
        }
        assert_eq!(both(&plan), corked);
    }
}

#[test]
fn a_hole_of_which_a_part_is_gone_may_fill_the_pipe() {
    for (kind, sparse) in [
        (FileKind::Tmpfs, true),
        (FileKind::Tmpfs, false),
        (FileKind::Ext4, true),
    ] {
        let mut plan = Plan::new(8192);
        let splice = |range| Op::SpliceIn {
            range,
            by: Filling::Splice,
        };
        let capacity_bytes = 8192;
        plan.call(Op::Pipe { capacity_bytes }, 1, 2);
        plan.call(splice(range(4095, 4097)), 3, 4);
        let out = Op::SpliceOut {
            len: 1,
            more: false,
            nonblock: false,
            tee: false,
            move_pages: false,
        };
        plan.call(out, 5, 6);
        let call = plan.call(splice(range(0, 1)), 7, 8);
        (call.outcome, call.offset_after) = (Outcome::Failed(libc::EAGAIN), Some(0));
        plan.receive(9, range(4095, 1), 0);
        plan.scenario.setup.file.kind = kind;
        if sparse {
            plan.scenario.setup.file.sparse = true;
            for bytes in [
                &mut plan.history.received,
                &mut plan.history.file_pread,
                &mut plan.history.file_mmap,
            ] {
                bytes.fill(0);
            }
        }
        assert_eq!(both(&plan), kind == FileKind::Tmpfs && sparse, "{kind:?}");
    }
}

#[test]
fn writes_that_overlap_end_in_either_order_and_others_in_theirs() {
    for (second, first_may_be_last) in [((2, 3), true), ((5, 6), false)] {
        let mut plan = Plan::new(4096);
        plan.call(Op::Pwrite(range(0, 100)), 1, 4);
        plan.call(Op::Pwrite(range(0, 100)), second.0, second.1);
        assert_eq!(says(&plan, Contract::Stable), None);
        fill(&mut plan.history.file_pread[..50], 0, 1);
        let agrees = says(&plan, Contract::Stable).is_none();
        assert_eq!(agrees, first_may_be_last);
    }
}

#[test]
fn senders_take_turns_only_where_they_overlap() {
    for (second, may) in [((2, 3), true), ((5, 6), false)] {
        let mut plan = Plan::new(200);
        plan.call(Op::Sendfile(range(0, 100)), 1, 4);
        plan.call(Op::Sendfile(range(100, 100)), second.0, second.1);
        plan.scenario.steps[1].actor = Actor::B;
        for part in [range(0, 50), range(100, 100), range(50, 50)] {
            plan.receive(9, part, 0);
        }
        assert_eq!(says(&plan, Contract::Stable).is_none(), may);
        assert_eq!(plan.violations().is_empty(), may);
    }
}

#[test]
fn what_a_call_copies_is_settled_on_every_kernel() {
    let mut plan = Plan::new(4096);
    let by = crate::scenario::Copying::Write;
    let range = range(0, 100);
    plan.call(Op::Copy { by, range }, 1, 2);
    plan.call(Op::Pwrite(range), 3, 4);
    plan.receive(5, range, 1);
    assert!(says(&plan, Contract::Documented).is_some());
    assert_eq!(plan.verdict(), ["wire"]);
}

#[test]
fn a_write_past_the_page_cache_beside_another_may_be_lost() {
    for (beside, may_be_lost) in [((2, 3), true), ((5, 6), false)] {
        let mut plan = Plan::new(4096);
        plan.call(Op::DirectWrite(range(0, 512)), 1, 4);
        plan.call(Op::Pwrite(range(600, 10)), beside.0, beside.1);
        plan.call(Op::Pwrite(range(0, 10)), 7, 8);
        assert_eq!(says(&plan, Contract::Stable), None);
        fill(&mut plan.history.file_pread[10..512], 10, 0);
        assert_eq!(says(&plan, Contract::Stable).is_none(), may_be_lost);
        assert_eq!(plan.violations().is_empty(), may_be_lost);
        // What was written when it was over is not.
        fill(&mut plan.history.file_pread[..10], 0, 1);
        assert!(says(&plan, Contract::Stable).is_some());
        assert_eq!(plan.verdict(), ["source"]);
    }
}

#[test]
fn what_is_lent_shows_writes_until_it_is_given_back() {
    use crate::scenario::Borrowing;
    for (told, may_show) in [(6, true), (3, false)] {
        let mut plan = Plan::new(4096);
        let by = Borrowing::Send;
        let range = range(0, 100);
        plan.call(Op::Borrow { by, range }, 1, 2);
        plan.call(Op::Pwrite(range), 4, 5);
        plan.complete(told, 0, 0);
        plan.receive(7, range, 1);
        for contract in [Contract::Documented, Contract::Stable] {
            assert_eq!(says(&plan, contract).is_none(), may_show);
        }
        assert_eq!(plan.violations().is_empty(), may_show);
    }
}

/// Of two that overlap either may have the number.
#[test]
fn a_number_may_be_of_either_of_two() {
    use crate::scenario::Borrowing;
    for (second, may_show) in [((2, 3), true), ((6, 7), false)] {
        let mut plan = Plan::new(4096);
        let by = Borrowing::Send;
        for (at, (entry, exit)) in [(1, 5), second].into_iter().enumerate() {
            let range = range(at as u64 * 100, 100);
            plan.call(Op::Borrow { by, range }, entry, exit);
        }
        plan.scenario.steps[1].actor = Actor::B;
        plan.complete(8, 0, 0);
        plan.call(Op::Pwrite(range(0, 10)), 9, 10);
        plan.complete(11, 1, 1);
        plan.receive(12, range(0, 200), 0);
        plan.history.received[5] = pattern(5, 1);
        assert_eq!(says(&plan, Contract::Documented).is_none(), may_show);
        assert_eq!(plan.violations().is_empty(), may_show);
    }
}
