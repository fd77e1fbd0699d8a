//! Histories of sends by reference, doctored and not.

use crate::history::{Completed, End, Outcome};
use crate::oracle::doctor::{Plan, range};
use crate::oracle::{Contract, Property, judge};
use crate::scenario::{Actor, Borrowing, Family, Op};

fn send() -> Op {
    let (by, range) = (Borrowing::Send, range(0, 4096));
    Op::Borrow { by, range }
}

fn uring() -> Op {
    let (by, range) = (Borrowing::Uring, range(0, 4096));
    Op::Borrow { by, range }
}

/// Two pages with MSG_ZEROCOPY, which arrive; nothing is told yet.
fn two() -> Plan {
    let mut plan = Plan::new(4096);
    plan.call(send(), 1, 2);
    plan.call(send(), 3, 4);
    plan.receive(10, range(0, 4096), 0);
    plan.receive(11, range(0, 4096), 0);
    plan
}

/// One with io_uring.
fn notified(promised: bool, notified: bool) -> Plan {
    let mut plan = Plan::new(4096);
    plan.call(uring(), 1, 3);
    plan.receive(10, range(0, 4096), 0);
    if promised {
        plan.tell(2, Completed::Promised { call: 1 });
    }
    if notified {
        plan.tell(20, Completed::Notified { call: 1 });
    }
    plan
}

#[track_caller]
fn says(plan: &Plan, words: &str) {
    let violation = plan.violation();
    assert_eq!(violation.property, Property::Completion);
    assert!(violation.message.contains(words), "{}", violation.message);
    let documented = judge(Contract::Documented, &plan.scenario, &plan.history);
    assert_eq!(documented, [violation], "no contract makes a difference");
}

#[test]
fn each_number_once_in_any_order_and_grouping_is_fine() {
    for told in [&[(0, 1)][..], &[(0, 0), (1, 1)], &[(1, 1), (0, 0)]] {
        let mut plan = two();
        for (at, &(first, last)) in told.iter().enumerate() {
            plan.complete(20 + at as u64, first, last);
        }
        assert_eq!(plan.violations(), [], "{told:?}");
        // That it was copied is nobody's fault.
        for completion in &mut plan.history.completions {
            if let Completed::Sends { copied, .. } = &mut completion.of {
                *copied = true;
            }
        }
        assert_eq!(plan.violations(), [], "{told:?}");
    }
}

#[test]
fn a_number_that_is_missing_is_flagged_at_a_clean_end() {
    for (told, missing) in [
        (None, "completion 0 of 2"),
        (Some(0), "completion 1 of 2"),
        (Some(1), "completion 0 of 2"),
    ] {
        let mut plan = two();
        if let Some(number) = told {
            plan.complete(20, number, number);
        }
        says(&plan, missing);
        for end in [End::Failed(libc::ECONNRESET), End::GivenUp] {
            plan.history.end = end;
            let found = plan.verdict();
            assert!(!found.contains(&"completion".to_string()), "{end:?}");
        }
    }
}

#[test]
fn a_sender_that_closed_its_end_is_not_told() {
    let mut plan = two();
    plan.call(Op::Close, 5, 6);
    plan.scenario.steps[2].actor = Actor::B;
    assert_eq!(plan.violations(), []);
    plan.complete(7, 2, 2);
    says(&plan, "completion 2 was reported, and only 2 calls");
}

#[test]
fn what_nobody_sent_cannot_be_completed() {
    for (first, last, words) in [
        (0, 2, "completion 2 was reported, and only 2 calls"),
        (1, 0, "completions 1 to 0 were reported"),
        (0, u32::MAX, "was reported, and only 2 calls"),
    ] {
        let mut plan = two();
        plan.complete(20, first, last);
        says(&plan, words);
    }
    // Told before the second one was made.
    let mut plan = two();
    plan.complete(2, 0, 1);
    says(&plan, "completion 1 was reported, and only 1 calls");
}

#[test]
fn a_number_that_is_told_again_is_flagged() {
    for told in [[(0, 1), (1, 1)], [(0, 0), (0, 1)], [(1, 1), (0, 1)]] {
        let mut plan = two();
        for (first, last) in told {
            plan.complete(20, first, last);
        }
        says(&plan, "was reported twice");
    }
}

#[test]
fn calls_that_sent_nothing_have_no_number() {
    let failed = || {
        let mut plan = two();
        plan.scenario.setup.socket.nonblock = true;
        plan.history.calls[0].outcome = Outcome::Failed(libc::EAGAIN);
        plan.history.received.truncate(4096);
        plan.history.chunks.pop();
        plan
    };
    let mut plan = failed();
    plan.complete(20, 0, 0);
    assert_eq!(plan.violations(), []);
    let mut plan = failed();
    plan.complete(20, 0, 1);
    says(&plan, "completion 1 was reported, and only 1 calls");
}

#[test]
fn a_ring_notifies_once_and_only_if_it_said_so() {
    assert_eq!(notified(true, true).violations(), []);
    assert_eq!(notified(false, false).violations(), []);
    says(&notified(true, false), "was never notified of");
    says(&notified(false, true), "no notification was to follow");
    let mut twice = notified(true, true);
    twice.tell(21, Completed::Notified { call: 1 });
    says(&twice, "was notified of twice");
    let mut twice = notified(true, true);
    twice.tell(22, Completed::Promised { call: 1 });
    says(&twice, "is to be notified of twice");
    let mut early = notified(true, true);
    early.history.completions.reverse();
    says(&early, "no notification was to follow");
    let mut broken = notified(true, false);
    broken.history.end = End::Failed(libc::ECONNRESET);
    assert!(!broken.verdict().contains(&"completion".to_string()));
}

/// A write from order 5 to 6, shown or not, and a completion at another order.
fn written(op: Op, told: u64, shown: u8) -> Plan {
    let mut plan = Plan::new(4096);
    plan.call(op, 1, 3);
    plan.call(Op::Pwrite(range(100, 50)), 5, 6);
    plan.receive(10, range(0, 100), 0);
    plan.receive(10, range(100, 50), shown);
    plan.receive(10, range(150, 3946), 0);
    match op == send() {
        true => plan.complete(told, 0, 0),
        false => {
            plan.tell(2, Completed::Promised { call: 1 });
            plan.tell(told, Completed::Notified { call: 1 });
        }
    }
    plan
}

/// A step in several calls: each has a number, and a notification.
#[test]
fn each_call_of_a_step_counts() {
    for op in [send(), uring()] {
        let mut plan = Plan::new(4096);
        let socket = &mut plan.scenario.setup.socket;
        (socket.nonblock, socket.poll) = (true, true);
        plan.call(op, 1, 2).outcome = Outcome::Returned(1000);
        let mut second = plan.history.calls[0];
        (second.entry.order, second.exit.order) = (3, 4);
        second.outcome = Outcome::Returned(3096);
        plan.history.calls.push(second);
        plan.receive(10, range(0, 4096), 0);
        let told = |plan: &mut Plan, number: u32| match op == send() {
            true => plan.complete(20, number, number),
            false => {
                let call = 1 + 2 * u64::from(number);
                plan.tell(5, Completed::Promised { call });
                plan.tell(20, Completed::Notified { call });
            }
        };
        told(&mut plan, 0);
        if op == send() {
            says(&plan, "completion 1 of 2 was never reported");
        }
        told(&mut plan, 1);
        assert_eq!(plan.violations(), []);
        told(&mut plan, 1);
        says(&plan, "twice");
    }
}

#[test]
fn a_write_before_the_completion_may_show_or_not() {
    for op in [send(), uring()] {
        for shown in [0, 1] {
            assert_eq!(written(op, 20, shown).violations(), []);
        }
        assert_eq!(written(op, 4, 0).violations(), []);
    }
}

#[test]
fn a_write_after_the_completion_never_shows() {
    for op in [send(), uring()] {
        let plan = written(op, 4, 1);
        says(
            &plan,
            "operation 2 (pwrite 100+50) wrote that 0.001 ms after the kernel",
        );
        let violation = plan.violation();
        assert_eq!((violation.step, violation.torn_by), (Some(0), Some(1)));
        assert_eq!(violation.stream_offset, Some(100));
        assert_eq!(violation.file_range, Some(range(100, 50)));
    }
    // Nothing was to follow: the send itself was the completion.
    let mut plan = written(uring(), 20, 1);
    plan.history.completions.clear();
    says(
        &plan,
        "stood there at no instant between the call and its completion",
    );
}

#[test]
fn a_value_from_before_the_call_is_no_better() {
    let mut plan = Plan::new(4096);
    plan.call(Op::Pwrite(range(0, 4096)), 1, 2);
    plan.call(send(), 3, 4);
    plan.receive(5, range(0, 4096), 0);
    plan.complete(6, 0, 0);
    let found = plan.violation();
    assert_eq!(found.property, Property::Wire);
    let words = "overwritten before it was sent";
    assert!(found.message.contains(words), "{}", found.message);
}

#[test]
fn one_violation_does_not_hide_the_other() {
    let mut plan = written(send(), 4, 1);
    plan.call(Op::Sendfile(range(0, 4096)), 11, 12);
    plan.call(Op::Pwrite(range(0, 1)), 13, 14);
    plan.receive(15, range(0, 1), 2);
    plan.receive(15, range(1, 99), 0);
    plan.receive(15, range(100, 50), 1);
    plan.receive(15, range(150, 3946), 0);
    assert_eq!(plan.verdict(), ["stable-on-return", "completion"]);
    // And where threads take turns.
    plan.call(Op::Sendfile(range(0, 1)), 12, 20);
    plan.scenario.steps[4].actor = Actor::B;
    plan.history.calls[2].exit.order = 13;
    plan.receive(21, range(0, 1), 0);
    assert_eq!(plan.verdict(), ["stable-on-return", "completion"]);
}

#[test]
fn of_calls_that_overlap_the_last_completion_counts() {
    for (first_told, second_told, fine) in [(4, 20, true), (20, 4, true), (4, 4, false)] {
        let mut plan = written(send(), 4, 1);
        plan.history.completions.clear();
        plan.call(send(), 2, 4);
        plan.scenario.steps[2].actor = Actor::B;
        plan.history.calls.sort_by_key(|call| call.entry.order);
        plan.receive(11, range(0, 4096), 0);
        plan.complete(first_told, 0, 0);
        plan.complete(second_told, 1, 1);
        let expected: &[&str] = if fine { &[] } else { &["completion"] };
        assert_eq!(plan.verdict(), expected, "{first_told} {second_told}");
    }
}

#[test]
fn a_call_that_was_killed_may_have_a_number_or_not() {
    for (told, sent) in [(None, 0), (Some(1), 4096), (None, 100)] {
        let mut plan = two();
        plan.call(Op::Kill { to: Actor::A }, 3, 4);
        plan.scenario.steps[2].actor = Actor::B;
        plan.history.calls[1].outcome = Outcome::Killed;
        plan.history.chunks[1].len = sent;
        plan.history.received.truncate(4096 + sent);
        plan.complete(20, 0, 0);
        if let Some(number) = told {
            plan.complete(21, number, number);
        }
        assert_eq!(plan.violations(), [], "{told:?} {sent}");
    }
}

#[test]
fn a_datagram_shows_nothing_from_after_its_completion_either() {
    for (told, expected) in [(20, &[][..]), (4, &["completion"])] {
        for shuffled in [false, true] {
            let mut plan = written(send(), told, 1);
            plan.scenario.setup.socket.family = Family::Udp4;
            plan.scenario.setup.data.duplicate_ppm = u32::from(shuffled);
            plan.history.chunks.truncate(1);
            plan.history.chunks[0].len = 4096;
            assert_eq!(plan.verdict(), expected, "{told} {shuffled}");
        }
        // A checksum that no longer fits.
        let mut plan = written(send(), told, 1);
        plan.scenario.setup.socket.family = Family::Udp4;
        plan.history.chunks.clear();
        plan.history.received.clear();
        assert_eq!(plan.verdict(), expected, "{told}, destroyed");
    }
}

#[test]
fn a_vsock_call_in_parts_has_several_numbers() {
    let mut plan = written(send(), 4, 1);
    plan.scenario.setup.socket.family = Family::Vsock;
    assert_eq!(plan.verdict(), ["completion"]);
    plan.complete(20, 1, 2);
    assert_eq!(plan.violations(), [], "which of them is open is not known");
    plan.complete(21, 2, 2);
    says(&plan, "completion 2 was reported twice");
    plan.history.completions.pop();
    plan.complete(21, 4, 4);
    says(&plan, "completion 3 of 5 was never reported");
}
