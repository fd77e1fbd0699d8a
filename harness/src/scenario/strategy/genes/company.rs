//! What is drawn of the actors' company.

use proptest::bool::weighted;
use proptest::strategy::Strategy;

/// How the actors go together.
#[derive(Debug, Clone)]
pub struct Company {
    /// Some begin only when another one is blocked.
    pub awaits: bool,
}

pub fn company() -> impl Strategy<Value = Company> {
    weighted(0.2).prop_map(|awaits| Company { awaits })
}
