//! Lets those go who wait for another actor to be blocked, or for one who never comes.

use std::time::Duration;

use super::together::Run;
use crate::scenario::limits::MAX_PHASE_NS;
use crate::scenario::{Actor, Op, Step};

/// Who has met another actor begins within this.
const LONGEST_PHASE_NS: u64 = 2 * MAX_PHASE_NS as u64;

/// Whether a step waits for another actor, who may have nothing more to do.
pub(super) fn awaits(step: &Step) -> bool {
    matches!(step.op, Op::Await { .. } | Op::Meet { .. })
}

impl Run<'_> {
    /// [`Run::next_event`], but before it waits for long it looks who is blocked by
    /// now, and who has waited for that.
    pub(super) fn next_event_or_answer(&mut self, patience: Duration) -> Option<Option<usize>> {
        let mut until_ns = None;
        while self.has_awaits {
            let event = self.event_or_rest();
            if event.is_some() {
                return event;
            }
            if self.answer() {
                continue;
            }
            if !self.is_anybody_to_enter() {
                break;
            }
            let now_ns = self.stage.clock.elapsed_ns();
            if now_ns >= *until_ns.get_or_insert(now_ns + LONGEST_PHASE_NS) {
                break;
            }
        }
        self.next_event(patience)
    }

    /// Answers everybody for whom the wait is over; false: nobody. Nobody can run when
    /// this is called, so who is in an operation is blocked in it. One who only sleeps
    /// goes on by itself. Two who await each other are both blocked, and both go on.
    pub(super) fn answer(&self) -> bool {
        let steps = &self.stage.scenario.steps;
        let running = self.stage.running();
        let mut answered = false;
        for &(step, _) in &running {
            let who = match steps[step].op {
                Op::Await { who } => who,
                // Whoever enters an operation says so by itself.
                Op::Meet { who, .. } if !self.is_through(who) => continue,
                Op::Meet { who, .. } => who,
                _ => continue,
            };
            let at = running.iter().find(|(at, _)| steps[*at].actor == who);
            let is_blocked = match at.map(|(at, _)| steps[*at].op) {
                Some(Op::Wait { .. }) => continue,
                Some(_) => true,
                None if self.is_through(who) => false,
                None => continue,
            };
            let told = &self.stage.awaited[steps[step].actor.index()];
            told.put((step, is_blocked));
            answered = true;
        }
        answered
    }

    /// Whether an actor has been given a step that it is yet to enter: one who has met another
    /// sleeps up to the instant, and may itself await somebody then, which nobody would tell of.
    fn is_anybody_to_enter(&self) -> bool {
        let steps = &self.stage.scenario.steps;
        let running = self.stage.running();
        let has_entered = |who: Actor| running.iter().any(|(at, _)| steps[*at].actor == who);
        Actor::SENDING_SIDE
            .into_iter()
            .any(|who| self.outstanding[who.index()] > 0 && !has_entered(who))
    }

    /// Whether an actor has done all that it ever has to do.
    fn is_through(&self, actor: Actor) -> bool {
        let mut later = self.stage.scenario.steps[self.handed_out..].iter();
        self.outstanding[actor.index()] == 0 && !later.any(|step| step.actor == actor)
    }
}
