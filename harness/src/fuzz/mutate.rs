//! Other scenarios near a scenario, and between two.
//!
//! What is made need not be able to run: normalization makes it so. What is new in it
//! comes from a scenario that the generator draws, and so has the values that are worth
//! more than others.

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::minimize::knobs::{self, FIELDS, KNOBS, Knob};
use crate::scenario::normalize::normalize;
use crate::scenario::{Actor, PAGE_BYTES, Scenario, Setup, Step, strategy};

/// How often something else is tried where nothing has changed.
const ATTEMPTS: u32 = 8;
/// Who a step can be given to.
const ACTORS: [Actor; 4] = [Actor::A, Actor::B, Actor::C, Actor::Reader];
/// What is one more or less than a boundary, or the boundary itself: pages, segments of
/// an Ethernet packet, what a socket buffer can carry, the usual pipe.
const BOUNDARIES: [u64; 12] = [
    0,
    1,
    PAGE_BYTES,
    2 * PAGE_BYTES,
    536,
    1428,
    1448,
    2 * 1448,
    32 << 10,
    64 << 10,
    17 * PAGE_BYTES,
    256 << 10,
];

/// One of the scenarios near `scenario`: of it, a seed and nothing else.
pub fn mutate(scenario: &Scenario, seed: u32) -> Scenario {
    let mut dice = Dice::new(seed);
    let begin = bare(scenario);
    for _ in 0..ATTEMPTS {
        let mut changed = begin.clone();
        // One change, or with ever less chance several.
        loop {
            change(&mut changed, &mut dice);
            if dice.below(2) == 0 {
                break;
            }
        }
        let changed = normalize(changed);
        if changed != begin {
            return changed;
        }
    }
    // Nothing can be changed in it, or luck was against it.
    dice.donor()
}

/// One of the scenarios between two.
pub fn cross(one: &Scenario, other: &Scenario, seed: u32) -> Scenario {
    let mut dice = Dice::new(seed);
    let (one, other) = match dice.below(2) {
        0 => (bare(one), bare(other)),
        _ => (bare(other), bare(one)),
    };
    let mut child = one.clone();
    // Steps of one, then of the other.
    let cut = dice.below(one.steps.len() + 1);
    let from = dice.below(other.steps.len() + 1);
    child.steps.truncate(cut);
    child.steps.extend_from_slice(&other.steps[from..]);
    if dice.below(2) == 0 {
        // Fields of both.
        for field in FIELDS {
            if dice.below(2) == 0 {
                (field.set)(&mut child.setup, (field.get)(&other.setup));
            }
        }
    }
    normalize(child)
}

/// Without what is not run: prose and expectations.
fn bare(scenario: &Scenario) -> Scenario {
    Scenario {
        setup: scenario.setup.clone(),
        steps: scenario.steps.clone(),
        ..Scenario::default()
    }
}

fn change(scenario: &mut Scenario, dice: &mut Dice) {
    let changes: [fn(&mut Scenario, &mut Dice); 11] = [
        insert, insert, replace, delete, swap, repeat, retarget, turn, turn, take_field, take_part,
    ];
    changes[dice.below(changes.len())](scenario, dice);
    if dice.below(8) == 0 {
        reset_field(scenario, dice);
    }
}

fn insert(scenario: &mut Scenario, dice: &mut Dice) {
    if let Some(step) = dice.step() {
        let at = dice.below(scenario.steps.len() + 1);
        scenario.steps.insert(at, step);
    }
}

fn replace(scenario: &mut Scenario, dice: &mut Dice) {
    if let Some(at) = dice.place(scenario)
        && let Some(step) = dice.step()
    {
        scenario.steps[at] = step;
    }
}

fn delete(scenario: &mut Scenario, dice: &mut Dice) {
    if let Some(at) = dice.place(scenario) {
        scenario.steps.remove(at);
    }
}

fn swap(scenario: &mut Scenario, dice: &mut Dice) {
    if let (Some(one), Some(other)) = (dice.place(scenario), dice.place(scenario)) {
        scenario.steps.swap(one, other);
    }
}

/// A step, or several in a row, once more: right after, or anywhere.
fn repeat(scenario: &mut Scenario, dice: &mut Dice) {
    let Some(from) = dice.place(scenario) else {
        return;
    };
    let end = (from + 1 + dice.below(3)).min(scenario.steps.len());
    let row: Vec<Step> = scenario.steps[from..end].to_vec();
    let at = match dice.below(2) {
        0 => end,
        _ => dice.below(scenario.steps.len() + 1),
    };
    scenario.steps.splice(at..at, row);
}

fn retarget(scenario: &mut Scenario, dice: &mut Dice) {
    if let Some(at) = dice.place(scenario) {
        scenario.steps[at].actor = ACTORS[dice.below(ACTORS.len())];
    }
}

/// Another number in a step: a boundary, one beside it, or one that another step has.
fn turn(scenario: &mut Scenario, dice: &mut Dice) {
    let Some(at) = dice.place(scenario) else {
        return;
    };
    let op = scenario.steps[at].op;
    let has: Vec<Knob> = (KNOBS.into_iter())
        .filter(|knob| knobs::read(op, *knob).is_some())
        .collect();
    if has.is_empty() {
        return;
    }
    let knob = has[dice.below(has.len())];
    let old = knobs::read(op, knob).unwrap_or_default();
    let elsewhere = || -> Vec<u64> {
        let others = scenario.steps.iter();
        others.filter_map(|it| knobs::read(it.op, knob)).collect()
    };
    let value = match dice.below(6) {
        0 => old.saturating_add(1),
        1 => old.saturating_sub(1),
        2 => old.saturating_mul(2),
        3 => old / 2,
        4 => {
            let elsewhere = elsewhere();
            elsewhere[dice.below(elsewhere.len())]
        }
        _ => {
            let boundary = BOUNDARIES[dice.below(BOUNDARIES.len())];
            (boundary + dice.below(3) as u64).saturating_sub(1)
        }
    };
    knobs::turn(&mut scenario.steps[at].op, knob, value);
}

fn take_field(scenario: &mut Scenario, dice: &mut Dice) {
    let donor = dice.donor();
    let other: Vec<_> = FIELDS
        .iter()
        .filter(|it| (it.get)(&donor.setup) != (it.get)(&scenario.setup))
        .collect();
    if !other.is_empty() {
        let field = other[dice.below(other.len())];
        (field.set)(&mut scenario.setup, (field.get)(&donor.setup));
    }
}

/// What belongs together, from another scenario.
fn take_part(scenario: &mut Scenario, dice: &mut Dice) {
    let parts: [fn(&mut Setup, Setup); 8] = [
        |setup, donor| setup.data = donor.data,
        |setup, donor| setup.ack = donor.ack,
        |setup, donor| setup.device = donor.device,
        |setup, donor| setup.stack = donor.stack,
        |setup, donor| setup.socket = donor.socket,
        |setup, donor| setup.socket.family = donor.socket.family,
        |setup, donor| setup.file = donor.file,
        |setup, donor| (setup.reader, setup.relay) = (donor.reader, donor.relay),
    ];
    let donor = dice.donor();
    parts[dice.below(parts.len())](&mut scenario.setup, donor.setup);
}

fn reset_field(scenario: &mut Scenario, dice: &mut Dice) {
    let set: Vec<_> = FIELDS
        .iter()
        .filter(|it| !it.is_default(&scenario.setup))
        .collect();
    if !set.is_empty() {
        set[dice.below(set.len())].reset(&mut scenario.setup);
    }
}

/// What is drawn by a seed.
struct Dice(TestRng);

impl Dice {
    fn new(seed: u32) -> Dice {
        let seed = blake3::hash(&seed.to_le_bytes());
        Dice(TestRng::from_seed(RngAlgorithm::ChaCha, seed.as_bytes()))
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        // The least bit of bias does no harm here.
        (self.0.next_u64() % bound as u64) as usize
    }

    /// The place of a step; `None`: there is none.
    fn place(&mut self, scenario: &Scenario) -> Option<usize> {
        let steps = scenario.steps.len();
        (steps > 0).then(|| self.below(steps))
    }

    /// A scenario of the generator.
    fn donor(&mut self) -> Scenario {
        let index = u64::from(self.0.next_u32());
        strategy::case(self.0.next_u64(), index)
    }

    /// A step of one.
    fn step(&mut self) -> Option<Step> {
        let donor = self.donor();
        let at = self.place(&donor)?;
        Some(donor.steps[at])
    }
}

#[cfg(test)]
mod tests;
