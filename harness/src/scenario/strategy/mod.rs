//! The generator, as a proptest strategy.
//!
//! Everything is drawn at once, without one draw depending on another, and a
//! plain function makes a scenario of it that [`normalize`](super::normalize)
//! then finishes: so every draw shrinks by itself, towards the scenario that is
//! the 2008 race without a link: `sendfile 0+4096`, `mmap-write 0+4096`.
//!
//! * `tables`: the values worth more than others;
//! * `genes`: what is drawn;
//! * `build`: what is made of it;
//! * `wishes`: what some cases are given besides.

mod build;
mod genes;
mod tables;
mod wishes;

use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::Scenario;
use genes::{Draw, Genes};

/// Scenarios that can run, of every kind.
pub fn scenario() -> BoxedStrategy<Scenario> {
    genes::genes().prop_map(|genes| finish(&genes)).boxed()
}

fn finish(genes: &Genes) -> Scenario {
    let scenario = build::build(genes);
    match genes.wish.on {
        true => wishes::grant(scenario, &genes.wish),
        false => scenario,
    }
}

/// Case number `index` of the campaign with this seed: a pure function of both,
/// so cases can be split over any number of workers.
///
/// Wishes are not drawn but come in turn, so that a campaign which is long enough has
/// them all.
///
/// # Panics
/// Never: the strategy rejects nothing.
pub fn case(seed: u64, index: u64) -> Scenario {
    // Another seed begins elsewhere; 2^64 divided by the golden ratio spreads seeds.
    let begin = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 34;
    let turn = begin + index;
    let mut genes = draw(seed, index);
    genes.wish.on = turn.is_multiple_of(wishes::every());
    genes.wish.pair = (turn / wishes::every()) as Draw;
    finish(&genes)
}

/// The same, without what it is given besides.
fn without_wish(seed: u64, index: u64) -> Scenario {
    build::build(&draw(seed, index))
}

fn draw(seed: u64, index: u64) -> Genes {
    thread_local! {
        static STRATEGY: BoxedStrategy<Genes> = genes::genes();
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, hasher.finalize().as_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    STRATEGY
        .with(|strategy| strategy.new_tree(&mut runner))
        .expect("the strategy rejects nothing")
        .current()
}

#[cfg(test)]
mod tests;
