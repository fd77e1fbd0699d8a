//! The file position, which sendfile(2) goes by where it is given no offset: each such
//! call begins where the one before it ended.

use crate::history::{Call, History, Outcome};
use crate::scenario::{Op, Range, Scenario};

/// Where it stands, while the calls are gone through in order. Only one thread moves it.
/// And what is left of the sends that are made in several calls.
#[derive(Debug, Default)]
pub(super) struct Position {
    at: u64,
    /// By step.
    left: Vec<(usize, Op)>,
}

impl Position {
    /// What a call was: of a step in several calls the rest that was left for it, with
    /// the range of the file that the position gives it. The call then has moved it.
    pub fn resolve(&mut self, op: Op, call: &Call) -> Op {
        if !op.sends() {
            return op;
        }
        let bytes = call.outcome.bytes();
        let known = self.left.iter().position(|(step, _)| *step == call.step);
        let asked = known.map_or(op, |known| self.left[known].1);
        match (known, asked.after(bytes)) {
            (Some(known), Some(rest)) => self.left[known].1 = rest,
            (None, Some(rest)) => self.left.push((call.step, rest)),
            (_, None) => {}
        }
        let Op::SendfileOn { len } = asked else {
            return asked;
        };
        let offset = self.at;
        self.at = offset.saturating_add(bytes);
        Op::Sendfile(Range { offset, len })
    }
}

/// Where it stands in the end; `None`: a call was killed that may have moved it.
pub(super) fn last(scenario: &Scenario, history: &History) -> Option<u64> {
    let mut moving = history.calls.iter().filter(|call| {
        let step = scenario.steps.get(call.step);
        step.is_some_and(|step| matches!(step.op, Op::SendfileOn { .. }))
    });
    moving.try_fold(0_u64, |position, call| match call.outcome {
        Outcome::Killed | Outcome::Pending => None,
        outcome => Some(position.saturating_add(outcome.bytes())),
    })
}
