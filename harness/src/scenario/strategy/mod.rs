//! The generator, as a proptest strategy.
//!
//! Everything is drawn at once, without one draw depending on another, and a
//! plain function makes a scenario of it that [`normalize`](super::normalize)
//! then finishes: so every draw shrinks by itself, towards the scenario that is
//! the 2008 race without a link: `sendfile 0+4096`, `mmap-write 0+4096`.
//!
//! * `tables`: the values worth more than others;
//! * `genes`: what is drawn;
//! * `build`: what is made of it.

mod build;
mod genes;
mod tables;

use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::Scenario;

/// Scenarios that can run, of every kind.
pub fn scenario() -> BoxedStrategy<Scenario> {
    genes::genes()
        .prop_map(|genes| build::build(&genes))
        .boxed()
}

/// Case number `index` of the campaign with this seed: a pure function of both,
/// so cases can be split over any number of workers.
///
/// # Panics
/// Never: the strategy rejects nothing.
pub fn case(seed: u64, index: u64) -> Scenario {
    thread_local! {
        static STRATEGY: BoxedStrategy<Scenario> = scenario();
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
