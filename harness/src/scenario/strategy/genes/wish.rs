//! What is drawn of the features that a case is given on purpose.

use proptest::bool::weighted;
use proptest::strategy::Strategy;

use super::{Draw, from};
use crate::scenario::strategy::tables;
use crate::scenario::strategy::wishes::AT_LEAST_EVERY;

/// A pair of features that seldom meet otherwise; see [`wishes`](crate::scenario::strategy::wishes).
#[derive(Debug, Clone)]
pub struct Wish {
    pub on: bool,
    /// Always set, until it shrinks: whether there is anything else.
    pub beside: bool,
    /// The same of either feature.
    pub both: [bool; 2],
    /// Which pair.
    pub pair: Draw,
    /// Where in the list the operations come that it needs.
    pub place: Draw,
    /// Of what length they are.
    pub len: Draw,
}

pub fn wish() -> impl Strategy<Value = Wish> {
    (
        weighted(1.0 / AT_LEAST_EVERY as f64),
        weighted(1.0),
        [weighted(1.0), weighted(1.0)],
        0..1_u32 << 20,
        0..64_u32,
        from(tables::LENGTHS),
    )
        .prop_map(|(on, beside, both, pair, place, len)| Wish {
            on,
            beside,
            both,
            pair,
            place,
            len,
        })
}
