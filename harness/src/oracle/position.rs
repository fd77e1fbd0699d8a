//! The file position, which sendfile(2) goes by where it is given no offset: each such
//! call begins where the one before it ended.

use crate::history::{Call, History, Outcome};
use crate::scenario::{Op, Range, Scenario};

/// Where it stands, while the calls are gone through in order. Only one thread moves it.
#[derive(Debug, Default)]
pub(super) struct Position(u64);

impl Position {
    /// What a call was, with the range of the file that the position gives it. The call
    /// then has moved it.
    pub fn resolve(&mut self, op: Op, call: &Call) -> Op {
        let Op::SendfileOn { len } = op else {
            return op;
        };
        let offset = self.0;
        self.0 = offset.saturating_add(call.outcome.bytes());
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
