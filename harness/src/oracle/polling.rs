//! **liveness**, of sends that are made call by call, each when poll(2) has said that
//! there is room: they go on until all is sent, or a call says why it is not. What says
//! that there is room and then never has any breaks it.

use super::position::Position;
use super::{Property, Violation, name_step};
use crate::history::{History, Outcome};
use crate::scenario::Scenario;

/// Judges the last call of each such send.
pub(super) fn judge(scenario: &Scenario, history: &History) -> Option<Violation> {
    if !scenario.setup.socket.poll {
        return None;
    }
    let mut position = Position::default();
    let mut last = vec![None; scenario.steps.len()];
    for call in &history.calls {
        let Some(step) = scenario.steps.get(call.step) else {
            continue;
        };
        if step.op.sends() {
            let asked = position.resolve(step.op, call);
            last[call.step] = Some((asked, call.outcome));
        }
    }
    let stuck = last.iter().enumerate().find_map(|(step, last)| {
        let (asked, outcome) = (*last)?;
        let left = match outcome {
            Outcome::Failed(libc::EAGAIN) => Some(asked),
            Outcome::Returned(bytes @ 1..) => asked.after(bytes),
            _ => None,
        };
        left.map(|left| (step, left))
    });
    let (step, left) = stuck?;
    let calls = history.calls.iter().filter(|call| call.step == step);
    Some(Violation {
        file_range: left.range(),
        ..Violation::new(
            Property::Liveness,
            Some(step),
            format!(
                "{} ended after {} calls with `{left}` to go: poll(2) says that there is room, \
             and there is none",
                name_step(scenario, step),
                calls.count()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::history::Outcome;
    use crate::oracle::doctor::{Plan, range};
    use crate::scenario::Op;

    /// One send of 10,000 bytes in calls that return this, and what was received of it.
    fn sent(outcomes: &[Outcome], received: u64) -> Plan {
        let mut plan = Plan::new(16_384);
        let socket = &mut plan.scenario.setup.socket;
        (socket.nonblock, socket.poll) = (true, true);
        plan.call(Op::Sendfile(range(100, 10_000)), 1, 2);
        let first = plan.history.calls.remove(0);
        let mut offset = 100;
        for (order, &outcome) in (1..).step_by(2).zip(outcomes) {
            let mut call = first;
            (call.entry.order, call.exit.order) = (order, order + 1);
            offset += outcome.bytes();
            call.outcome = outcome;
            call.offset_after = Some(offset);
            plan.history.calls.push(call);
        }
        plan.receive(100, range(100, received), 0);
        plan
    }

    const NO_ROOM: Outcome = Outcome::Failed(libc::EAGAIN);

    #[test]
    fn each_call_goes_on_where_the_one_before_it_ended() {
        let plan = sent(
            &[
                NO_ROOM,
                Outcome::Returned(4000),
                NO_ROOM,
                Outcome::Returned(5999),
                Outcome::Returned(1),
            ],
            10_000,
        );
        assert_eq!(plan.violations(), []);
        // An end that is none of its own says why.
        for end in [Outcome::Returned(0), Outcome::Failed(libc::EPIPE)] {
            let mut plan = sent(&[Outcome::Returned(4000), end], 4000);
            assert!(!plan.verdict().contains(&"liveness".to_string()));
            plan.history.calls[1].outcome = NO_ROOM;
            assert_eq!(plan.verdict(), ["liveness"]);
        }
    }

    #[test]
    fn a_loop_that_ends_early_is_flagged() {
        let violation = sent(&[Outcome::Returned(4000), NO_ROOM], 4000).violation();
        assert_eq!(violation.file_range, Some(range(4100, 6000)));
        let words = "ended after 2 calls with `sendfile 4100+6000` to go";
        assert!(violation.message.contains(words), "{}", violation.message);
        let plan = sent(&[Outcome::Returned(4000)], 4000);
        assert_eq!(plan.verdict(), ["liveness"]);
    }

    #[test]
    fn each_call_promises_for_itself() {
        let torn = |write: u64, shown| {
            let mut plan = sent(&[Outcome::Returned(4000), Outcome::Returned(6000)], 10_000);
            plan.history.calls[1].entry.order = 9;
            plan.history.calls[1].exit.order = 10;
            plan.call(Op::Pwrite(range(100, 10_000)), write, write + 1);
            plan.history.calls.sort_by_key(|call| call.entry.order);
            for at in 4000..10_000 {
                let offset = 100 + at as u64;
                plan.history.received[at] = crate::history::pattern(offset, shown);
            }
            plan.verdict()
        };
        // Between the two calls: the second has the new bytes, and must.
        assert_eq!(torn(5, 1), [""; 0]);
        assert_eq!(torn(5, 0), ["wire"]);
        assert_eq!(torn(20, 0), [""; 0]);
        assert_eq!(torn(20, 1), ["stable-on-return"]);
    }
}
