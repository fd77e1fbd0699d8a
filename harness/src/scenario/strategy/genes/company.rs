//! What is drawn of the actors' company.

use proptest::bool::weighted;
use proptest::strategy::Strategy;

/// How the actors go together.
#[derive(Debug, Clone)]
pub struct Company {
    /// Some begin only when another one is blocked.
    pub awaits: bool,
    /// The others send, too, each on a connection of its own.
    pub each: bool,
}

pub fn company() -> impl Strategy<Value = Company> {
    (weighted(0.2), weighted(0.1)).prop_map(|(awaits, each)| Company { awaits, each })
}
