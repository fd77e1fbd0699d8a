//! The generator, as a proptest strategy.

use proptest::strategy::{BoxedStrategy, Just, Strategy};

use super::Scenario;

/// Scenarios that can run, of every kind.
pub fn scenario() -> BoxedStrategy<Scenario> {
    Just(Scenario::default()).boxed()
}

/// Case number `index` of the campaign with this seed: a pure function of both,
/// so cases can be split over any number of workers.
pub fn case(seed: u64, index: u64) -> Scenario {
    let _ = (seed, index);
    todo!("strategy")
}
