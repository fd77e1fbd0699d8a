//! Features that seldom meet by chance, put together on purpose.
//!
//! Swarm testing leaves pairs of rare features to the product of their chances. So
//! some cases are given such a pair: what each [feature](crate::scenario::features)
//! needs is put into a scenario that was drawn like any other. Which pairs are rare
//! stands in no list but is seen in a sample, so that a feature that is new is cared
//! for as well.

use std::sync::LazyLock;

use super::genes::Wish;
use super::tables::{self, pick};
use crate::scenario::features::{self, Coverage};
use crate::scenario::normalize::normalize;
use crate::scenario::{Scenario, Setup};

/// One case of so many has a wish, at least.
pub const AT_LEAST_EVERY: u64 = 6;

/// So many cases have all wishes.
const ALL_WITHIN: u64 = 18_000;

/// So many cases without wishes show which pairs are rare.
const SAMPLE_CASES: u64 = 2000;

/// A pair that met as often in the sample needs no help: the chance that it did and
/// then is missing in ten times as many cases is one in a million, whatever its share.
const OFTEN: u64 = 5;

/// By their places in [`features::all`], in no order: neighbours would have a feature in
/// common, and so would all the cases of a short campaign.
static RARE_PAIRS: LazyLock<Vec<(usize, usize)>> = LazyLock::new(|| {
    let mut sample = Coverage::default();
    for index in 0..SAMPLE_CASES {
        sample.add(&super::without_wish(0, index));
    }
    let seldom = sample.pairs().filter(|(_, times)| *times < OFTEN);
    let mut rare: Vec<_> = seldom.map(|(pair, _)| pair).collect();
    rare.sort_by_key(|(a, b)| {
        let place = [a.to_le_bytes(), b.to_le_bytes()];
        *blake3::hash(place.as_flattened()).as_bytes()
    });
    rare
});

/// One case of so many has a wish.
pub fn every() -> u64 {
    (ALL_WITHIN / RARE_PAIRS.len() as u64).clamp(1, AT_LEAST_EVERY)
}

/// `base` with the features that `wish` names. Where they cannot be had beside what it
/// has already, that goes: its setup, or its operations, or both.
pub fn grant(base: Scenario, wish: &Wish) -> Scenario {
    let (a, b) = RARE_PAIRS[wish.pair as usize % RARE_PAIRS.len()];
    let wished: Vec<usize> = [a, b]
        .into_iter()
        .zip(wish.both)
        .filter(|(_, on)| *on)
        .map(|(it, _)| it)
        .collect();
    let bare = Scenario {
        setup: Setup::default(),
        ..base.clone()
    };
    let idle = Scenario {
        steps: Vec::new(),
        ..base.clone()
    };
    let bases = [base, bare, idle, Scenario::default()];
    let first = if wish.beside { 0 } else { bases.len() - 1 };
    for base in &bases[first..] {
        // What the one needs the other may take away again.
        for reversed in [false, true] {
            for in_full in [true, false] {
                let mut wished = wished.clone();
                if reversed {
                    wished.reverse();
                }
                let granted = put(base, &wished, wish, in_full);
                if wished.iter().all(|&it| features::all()[it].is_in(&granted)) {
                    return granted;
                }
            }
        }
    }
    unreachable!("features that can meet do so in the scenario that has nothing else")
}

/// The operations come as one, somewhere among those of `base`; `in_full`: they are
/// about more than one byte.
fn put(base: &Scenario, wanted: &[usize], wish: &Wish, in_full: bool) -> Scenario {
    let mut wished = Scenario {
        steps: Vec::new(),
        ..base.clone()
    };
    for &feature in wanted {
        features::all()[feature].put(&mut wished);
    }
    if in_full {
        let len = pick(tables::LENGTHS, wish.len);
        let steps = wished.steps.iter_mut();
        for range in steps.filter_map(|step| step.op.range_mut()) {
            range.len = range.len.max(len);
        }
    }
    let place = wish.place as usize % (base.steps.len() + 1);
    let mut steps = base.steps.clone();
    steps.splice(place..place, wished.steps);
    normalize(Scenario { steps, ..wished })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_wished_for_is_had() {
        for index in 0..RARE_PAIRS.len() as u32 {
            let wish = Wish {
                on: true,
                beside: true,
                both: [true; 2],
                pair: index,
                place: index % 7,
                len: index % tables::total(tables::LENGTHS),
            };
            let base = super::super::without_wish(5, index.into());
            let granted = grant(base, &wish);
            let (a, b) = RARE_PAIRS[index as usize];
            for feature in [a, b].map(|it| &features::all()[it]) {
                assert!(feature.is_in(&granted), "{}:\n{granted}", feature.name);
            }
            assert_eq!(granted, normalize(granted.clone()));
        }
    }
}
