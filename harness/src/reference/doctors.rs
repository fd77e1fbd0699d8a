//! For tests and fuzzing: what can be wrong with a history.

use super::{Call, History, Op, Outcome, Scenario};
use crate::history::Completed;
use crate::oracle::draw::Rng;
use crate::scenario::Step;

/// Changes a history. Says whether it found something to change.
pub(super) type Doctor = fn(&mut Rng, &Scenario, &mut History) -> bool;

fn some(rng: &mut Rng, len: usize) -> Option<usize> {
    (len > 0).then(|| rng.below(len as u64) as usize)
}

fn some_call(
    rng: &mut Rng,
    scenario: &Scenario,
    history: &mut History,
    of: impl Fn(Op, &Call) -> bool,
    change: impl Fn(&mut Call),
) -> bool {
    let all = history.calls.iter_mut();
    let mut fit: Vec<&mut Call> = all
        .filter(|call| of(scenario.steps[call.step].op, call))
        .collect();
    let at = some(rng, fit.len());
    at.map(|at| change(fit[at])).is_some()
}

pub(super) const DOCTORS: &[(&str, Doctor)] = &[
    ("a byte of the stream is another", |rng, _, history| {
        let at = some(rng, history.received.len());
        at.map(|at| history.received[at] = rng.next() as u8)
            .is_some()
    }),
    (
        "a byte of the stream is of another write",
        |rng, scenario, history| {
            let at = some(rng, history.received.len());
            let by = rng.below(1 + scenario.steps.len() as u64) as u8;
            at.map(|at| history.received[at] = history.received[at].wrapping_add(by))
                .is_some()
        },
    ),
    (
        "two bytes of the stream change places",
        |rng, _, history| {
            let at = some(rng, history.received.len().saturating_sub(1));
            at.map(|at| history.received.swap(at, at + 1)).is_some()
        },
    ),
    ("the last byte of the stream is missing", |_, _, history| {
        if let Some(chunk) = history.chunks.last_mut() {
            chunk.len -= 1;
        }
        history.received.pop().is_some()
    }),
    ("the stream has a byte more", |rng, _, history| {
        let Some(chunk) = history.chunks.last_mut() else {
            return false;
        };
        chunk.len += 1;
        history.received.push(rng.next() as u8);
        true
    }),
    ("a send returns a byte more", |rng, scenario, history| {
        let sends = |op: Op, call: &Call| op.sends() && call.outcome.bytes() > 0;
        some_call(rng, scenario, history, sends, |call| {
            call.outcome = Outcome::Returned(call.outcome.bytes() + 1);
        })
    }),
    (
        "something else returns another count",
        |rng, scenario, history| {
            let other = |op: Op, call: &Call| {
                // By so little a read or a hold is not held.
                let counts = op.writes().is_some() || matches!(op, Op::Wait { .. } | Op::Msync);
                counts && matches!(call.outcome, Outcome::Returned(_))
            };
            some_call(rng, scenario, history, other, |call| {
                call.outcome = Outcome::Returned(call.outcome.bytes() + 1);
            })
        },
    ),
    ("an offset is off by one", |rng, scenario, history| {
        let given_one = |_: Op, call: &Call| call.offset_after.is_some();
        some_call(rng, scenario, history, given_one, |call| {
            *call.offset_after.as_mut().unwrap() += 1;
        })
    }),
    (
        "the file position is off by one",
        |rng, scenario, history| {
            let known = |_: Op, call: &Call| call.f_pos_after.is_some();
            some_call(rng, scenario, history, known, |call| {
                *call.f_pos_after.as_mut().unwrap() += 1;
            })
        },
    ),
    ("a call fails for no reason", |rng, scenario, history| {
        let any = |_: Op, call: &Call| call.outcome == Outcome::Returned(0);
        some_call(rng, scenario, history, any, |call| {
            call.outcome = Outcome::Failed(libc::EIO);
        })
    }),
    (
        "a call is interrupted and nobody did it",
        |rng, scenario, history| {
            let empty = |op: Op, call: &Call| op.sends() && call.outcome.bytes() == 0;
            some_call(rng, scenario, history, empty, |call| {
                call.outcome = Outcome::Failed(libc::EINTR);
            })
        },
    ),
    ("a completion is missing", |rng, _, history| {
        let at = some(rng, history.completions.len());
        at.map(|at| history.completions.remove(at)).is_some()
    }),
    ("a completion comes twice", |rng, _, history| {
        let at = some(rng, history.completions.len());
        at.map(|at| history.completions.push(history.completions[at]))
            .is_some()
    }),
    ("a completion comes at once", |rng, _, history| {
        let at = some(rng, history.completions.len());
        at.map(|at| {
            let told = history.completions.remove(at);
            history.completions.insert(0, told);
            history.completions[0].at.order = 0;
        })
        .is_some()
    }),
    ("a completion names one more", |rng, _, history| {
        let numbered = history
            .completions
            .iter_mut()
            .filter_map(|it| match &mut it.of {
                Completed::Sends { last, .. } => Some(last),
                _ => None,
            });
        let mut numbered: Vec<&mut u32> = numbered.collect();
        let at = some(rng, numbered.len());
        at.map(|at| *numbered[at] += 1).is_some()
    }),
    ("a byte of the file is another", |rng, _, history| {
        let at = some(rng, history.file_pread.len());
        at.map(|at| history.file_pread[at] = rng.next() as u8)
            .is_some()
    }),
    ("a byte of the mapping is another", |rng, _, history| {
        let at = some(rng, history.file_mmap.len());
        at.map(|at| history.file_mmap[at] = rng.next() as u8)
            .is_some()
    }),
    ("the file is longer", |_, scenario, history| {
        // Where several change the length at once, the oracle takes any that lies
        // between theirs for right.
        let resizes = |step: &&Step| {
            let op = step.op;
            matches!(op, Op::Truncate { .. } | Op::Pwrite(_) | Op::DirectWrite(_))
        };
        if scenario.resizes() && scenario.steps.iter().filter(resizes).count() > 1 {
            return false;
        }
        history.file_pread.push(0);
        history.file_mmap.clear();
        true
    }),
];
