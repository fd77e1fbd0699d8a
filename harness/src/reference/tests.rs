//! The two opinions side by side: on histories of the random kernel, as they are and
//! doctored, and on some written by hand.

mod boundaries;
mod collapse;
mod each;

use super::*;
use crate::history::{Completed, fill, pattern};
use crate::oracle::doctor::{Plan, range};
use crate::oracle::draw::{Rng, random_scenario};
use crate::oracle::judge;
use crate::oracle::model::{Style, Takes, run};
use crate::scenario::Step;

const RUNS: u64 = 1_500;

/// A scenario and what happened in it.
fn ran(seed: u64, takes: Takes) -> (Scenario, History) {
    let scenario = random_scenario(&mut Rng(seed));
    let style = Style {
        takes,
        overlap: !seed.is_multiple_of(4),
        give_up_after: None,
    };
    let history = run(&scenario, style, !seed).history;
    (scenario, history)
}

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

/// Changes a history. Says whether it found something to change.
type Doctor = fn(&mut Rng, &Scenario, &mut History) -> bool;

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

const DOCTORS: &[(&str, Doctor)] = &[
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

/// Whatever is done to a history, both see it or neither does.
#[test]
fn both_see_the_same_faults() {
    for (name, doctor) in DOCTORS {
        let (mut done, mut seen) = (0, 0);
        for seed in 0..RUNS {
            let (scenario, mut history) = ran(seed, Takes::DuringSend);
            if !doctor(&mut Rng(seed ^ 0xd0c), &scenario, &mut history) {
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
