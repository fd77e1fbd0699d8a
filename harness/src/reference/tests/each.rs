//! A connection for each actor: what goes by one says nothing about the others.

use super::*;
use crate::history::End;

fn two() -> Plan {
    Plan::of_two_connections()
}

#[test]
fn each_stream_is_what_its_actor_sent() {
    assert!(both(&two()));
    let mut swapped = two();
    let History {
        received, beside, ..
    } = &mut swapped.history;
    std::mem::swap(received, &mut beside[0].received);
    assert!(!both(&swapped));
    let mut missing = two();
    missing.history.beside[0].received.pop();
    missing.history.beside[0].chunks[0].len -= 1;
    assert!(!both(&missing));
    let mut unseen = two();
    unseen.history.beside.clear();
    assert!(!both(&unseen));
}

#[test]
fn a_write_shows_in_the_connection_that_still_refers_to_it() {
    for (entry, fine) in [(3, true), (6, false)] {
        let mut plan = two();
        plan.call(Op::Pwrite(range(4096, 1)), entry, entry + 1);
        let stream = &mut plan.history.beside[0];
        stream.received[0] = pattern(4096, 1);
        stream.chunks[0].at.order = 9;
        assert_eq!(says(&plan, Contract::Documented), None);
        assert_eq!(both(&plan), fine);
    }
}

#[test]
fn how_one_ends_explains_nothing_about_the_other() {
    for (actor, fine) in [(Actor::A, false), (Actor::B, true)] {
        let mut plan = two();
        plan.history.calls[1].outcome = Outcome::Failed(libc::EPIPE);
        plan.history.calls[1].offset_after = Some(4096);
        plan.history.beside[0].received.clear();
        plan.history.beside[0].chunks.clear();
        assert!(!both(&plan));
        plan.call(Op::Shutdown, 0, 1);
        plan.scenario.steps[2].actor = actor;
        plan.history.calls.rotate_right(1);
        assert_eq!(both(&plan), fine);
    }
    // What the reader does it does to the connection of `a`.
    let mut left = two();
    left.call(Op::Reset, 8, 9);
    left.scenario.steps[2].actor = Actor::Reader;
    left.history.end = End::Closed;
    assert!(both(&left));
    left.history.beside[0].end = End::Closed;
    assert!(says(&left, Contract::Stable).is_some());
}

/// Each socket counts its own sends by reference.
#[test]
fn numbers_are_those_of_a_connection() {
    use crate::history::{Completed, Completion};
    use crate::oracle::doctor::stamp;
    let by = crate::scenario::Borrowing::Send;
    let lent = |told: bool| {
        let mut plan = Plan::new(8192);
        plan.scenario.setup.socket.each = true;
        for at in 0..2 {
            let range = range(4096 * at, 4096);
            plan.call(Op::Borrow { by, range }, 1 + at, 4 + at);
        }
        plan.scenario.steps[1].actor = Actor::B;
        plan.receive(6, range(4096, 4096), 0);
        let at = stamp(8);
        let (first, last, copied) = (0, 0, false);
        let of = Completed::Sends {
            first,
            last,
            copied,
        };
        plan.arrived_beside(Actor::B);
        let completion = told.then_some(Completion { at, of });
        plan.history.beside[0].completions.extend(completion);
        plan.receive(7, range(0, 4096), 0);
        plan.complete(9, 0, u32::from(!told));
        plan
    };
    assert!(both(&lent(true)));
    assert!(!both(&lent(false)));
}
