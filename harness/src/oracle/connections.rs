//! Where each actor has a connection of its own, each is judged as if it were the only
//! one: what the others sent is not in its stream, and how theirs ended explains nothing
//! about it. Writes to the file are everybody's.

use std::borrow::Cow;

use super::Violation;
use crate::history::{Call, End, History};
use crate::scenario::{Actor, Op, Scenario};

/// One connection, and what happened to it.
pub(super) struct Part<'a> {
    /// Whose it is; `None`: there is no other.
    of: Option<Actor>,
    /// The calls that were about it, or about none, and its stream.
    pub history: Cow<'a, History>,
}

impl Part<'_> {
    /// A violation, with the connection that it is about.
    pub fn name(&self, mut violation: Violation) -> Violation {
        if let Some(actor) = self.of {
            violation.message = format!("the connection of `{actor}`: {}", violation.message);
        }
        violation
    }
}

/// Every connection, that of `a` first.
pub(super) fn parts<'a>(scenario: &Scenario, history: &'a History) -> Vec<Part<'a>> {
    if !scenario.setup.socket.each {
        let history = Cow::Borrowed(history);
        return vec![Part { of: None, history }];
    }
    let part = |actor| Part {
        of: Some(actor),
        history: Cow::Owned(of(scenario, history, actor)),
    };
    scenario.connections().map(part).collect()
}

fn of(scenario: &Scenario, history: &History, actor: Actor) -> History {
    let is_about = |call: &&Call| match scenario.steps.get(call.step) {
        Some(step) => match whose(scenario, step.actor, step.op) {
            Some(owner) => owner == actor,
            None => true,
        },
        // Whatever that is, it is wrong once.
        None => actor == Actor::A,
    };
    let mut part = History {
        calls: history.calls.iter().filter(is_about).copied().collect(),
        ..history.clone()
    };
    part.beside.clear();
    if actor == Actor::A {
        return part;
    }
    match history.beside.iter().find(|it| it.actor == actor) {
        Some(stream) => {
            part.chunks.clone_from(&stream.chunks);
            part.received.clone_from(&stream.received);
            part.completions.clone_from(&stream.completions);
            (part.end, part.end_ns) = (stream.end, stream.end_ns);
        }
        // Nobody has seen it: then nothing has arrived.
        None => {
            part.chunks.clear();
            part.received.clear();
            part.completions.clear();
            part.end = End::Eof;
        }
    }
    part
}

/// Whose connection an operation is about, if it is about any. The pipes are those of
/// `a`, who alone uses them.
fn whose(scenario: &Scenario, actor: Actor, op: Op) -> Option<Actor> {
    let is_about_one = op.sends()
        || op.leaves()
        || op.uses_pipe()
        || matches!(
            op,
            Op::Shutdown | Op::Cork { .. } | Op::Read { .. } | Op::AwaitCompletions
        );
    is_about_one.then(|| scenario.connection_of(actor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Outcome, Stream};
    use crate::oracle::doctor::{Plan, range, stamp};

    fn two() -> Plan {
        Plan::of_two_connections()
    }

    fn beside_b(plan: &mut Plan) -> &mut Stream {
        &mut plan.history.beside[0]
    }

    #[track_caller]
    fn says(plan: &Plan, words: &str) {
        let violation = plan.violation();
        assert!(violation.message.contains(words), "{}", violation.message);
    }

    #[test]
    fn each_stream_is_what_its_actor_sent() {
        assert_eq!(two().violations(), []);
        let mut swapped = two();
        let a = std::mem::take(&mut swapped.history.received);
        let b = std::mem::replace(&mut beside_b(&mut swapped).received, a);
        swapped.history.received = b;
        assert_eq!(swapped.verdict(), ["wire"]);
        says(&swapped, "the connection of `a`: ");
        // On one connection it would be right.
        let mut together = two();
        let mut b = std::mem::take(&mut beside_b(&mut together).received);
        together.history.received.append(&mut b);
        together.history.chunks[0].len = 8192;
        assert_eq!(together.verdict(), ["wire", "counts"]);
    }

    #[test]
    fn what_is_missing_or_torn_names_its_connection() {
        let mut short = two();
        beside_b(&mut short).received.pop();
        beside_b(&mut short).chunks[0].len -= 1;
        assert_eq!(short.verdict(), ["wire", "counts"]);
        assert!(
            short.violations()[1]
                .message
                .contains("connection of `b`: the sends returned 4096")
        );
        let mut unseen = two();
        unseen.history.beside.clear();
        assert_eq!(unseen.verdict(), ["wire", "counts"]);
        let mut late = two();
        late.call(Op::Pwrite(range(4096, 1)), 6, 7);
        beside_b(&mut late).received[0] = crate::history::pattern(4096, 1);
        beside_b(&mut late).chunks[0].at = stamp(8);
        let violations = late.violations();
        assert_eq!(late.verdict(), ["stable-on-return"]);
        assert_eq!(violations[0].step, Some(1));
        assert!(violations[0].message.contains("the connection of `b`: "));
    }

    #[test]
    fn how_one_ends_explains_nothing_about_the_other() {
        let failed = |step: usize| {
            let mut plan = two();
            plan.history.calls[step].outcome = Outcome::Failed(libc::EPIPE);
            plan.history.calls[step].offset_after = Some([0, 4096][step]);
            match step {
                0 => {
                    plan.history.received.clear();
                    plan.history.chunks.clear();
                }
                _ => {
                    beside_b(&mut plan).received.clear();
                    beside_b(&mut plan).chunks.clear();
                }
            }
            plan
        };
        for step in 0..2 {
            says(&failed(step), "failed with EPIPE");
            for (actor, explains) in [(Actor::A, step == 0), (Actor::B, step == 1)] {
                let mut shut = failed(step);
                shut.call(Op::Shutdown, 0, 1);
                shut.scenario.steps[2].actor = actor;
                shut.history.calls.rotate_right(1);
                assert_eq!(shut.violations().is_empty(), explains, "{step} {actor}");
            }
        }
        // What the reader does it does to the connection of `a`.
        let mut left = failed(1);
        left.call(Op::Reset, 0, 1);
        left.scenario.steps[2].actor = Actor::Reader;
        left.history.end = End::Closed;
        says(&left, "failed with EPIPE");
    }

    #[test]
    fn a_stream_that_does_not_end_is_its_own() {
        let mut plan = two();
        beside_b(&mut plan).end = End::GivenUp;
        assert_eq!(plan.verdict(), ["liveness"]);
        says(&plan, "the connection of `b`: all calls returned");
    }

    /// There is one file, whose position nobody may move who gives an offset, and one
    /// list of writes.
    #[test]
    fn the_file_is_everybodys() {
        let mut plan = two();
        plan.call(Op::SendfileOn { len: 100 }, 8, 9).f_pos_after = Some(100);
        plan.receive(10, range(0, 100), 0);
        plan.history.calls[0].f_pos_after = None;
        plan.history.calls[1].f_pos_after = Some(100);
        assert_eq!(plan.violations(), []);
        plan.history.calls[1].f_pos_after = Some(0);
        says(&plan, "yet moved the file position to 0");
    }
}
