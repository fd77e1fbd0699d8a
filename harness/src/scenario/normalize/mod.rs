//! Total normalization: any scenario becomes one that can run.
//!
//! The rules stand once, here. The text reader applies the same ones and turns
//! the first that would change something into an error, so a text is accepted
//! exactly when it runs as it is written. docs/scenario.md gives each rule's reason.

mod ops;
mod prose;
pub(super) mod rule;
mod setup;
mod stack;

use super::Scenario;
pub(super) use prose::{is_kernel_name, tidy_header};
use rule::Notes;
pub(super) use rule::{Line, Note, Rule};

/// The properties that an `expect` line can name, as
/// [`crate::oracle::Property`] prints them.
pub const PROPERTIES: [&str; 9] = [
    "wire",
    "datagrams",
    "source",
    "counts",
    "liveness",
    "stable-on-return",
    "completion",
    "splat",
    "leaks",
];

/// Makes `scenario` one that can run. Idempotent; never fails; returns a
/// scenario that can run already as it is.
pub fn normalize(scenario: Scenario) -> Scenario {
    explain(scenario).0
}

/// [`normalize`], and what had to be changed: empty exactly when nothing was.
pub(super) fn explain(scenario: Scenario) -> (Scenario, Vec<Note>) {
    let mut notes = Notes::default();
    let header = prose::header(scenario.header, &mut notes);
    let expects = prose::expects(scenario.expects, &mut notes);
    let setup = setup::setup(scenario.setup, &mut notes);
    let steps = ops::steps(&scenario.steps, &setup, &mut notes);
    let mut normal = Scenario {
        header,
        expects,
        setup,
        steps,
    };
    setup::each(&mut normal, &mut notes);
    (normal, notes.into_inner())
}

#[cfg(test)]
mod tests;
