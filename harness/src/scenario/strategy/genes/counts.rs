//! What is drawn of the counts of sendfile.

use proptest::bool::weighted;
use proptest::strategy::Strategy;

use super::{Draw, from};
use crate::scenario::strategy::tables;

/// How much is asked for, whatever the file has.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Some ask for more than one call moves, and for how much; it counts only if its
    /// flag is set.
    pub beyond: (bool, Draw),
}

pub fn counts() -> impl Strategy<Value = Counts> {
    (weighted(0.04), from(tables::COUNTS_BEYOND)).prop_map(|beyond| Counts { beyond })
}
