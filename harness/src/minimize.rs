//! Makes a failing scenario smaller.
//!
//! A greedy search: each pass proposes smaller candidates, the first one that
//! still fails takes the place of the best so far, and the passes are repeated
//! until none finds anything. What "smaller" means is [`Size`]; every accepted
//! candidate is smaller in it, so the search ends, budget or not.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `cause` | findings by their cause: same property, same shape |
//! | `knobs` | the numbers of a scenario, and which smaller values are worth a try |
//! | `memory` | what is known of candidates that have run |
//! | `passes` | drop steps, defaults, one actor, small numbers, canonical order |
//! | `reliability` | how often something fails, and how often it then has to be tried |
//! | `search` | the search itself, several candidates at a time where that helps |
//! | `size` | the measure |

pub mod cause;
pub(crate) mod knobs;
mod memory;
mod passes;
mod reliability;
mod search;
mod size;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::oracle::Property;
use crate::scenario::Scenario;

pub use memory::Memory;
pub use reliability::Reliability;
pub use size::Size;

/// How much a search may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Runs of candidates.
    pub runs: u64,
    /// Wall-clock time. A run is not interrupted by it.
    pub time: Duration,
}

/// What a search looks for, and how hard.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What the start breaks, and every candidate that is accepted.
    pub property: Property,
    /// How much it may cost.
    pub budget: Budget,
    /// How often a candidate has to hold before it is believed: see
    /// [`Reliability::tries`].
    pub tries: u32,
    /// What is known already, to which it adds what it learns.
    pub memory: &'a mut Memory,
}

/// What one run of a candidate showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It breaks these properties; none: it holds.
    Breaks(Vec<Property>),
    /// Nothing, and no more candidates are wanted.
    Interrupted,
}

/// Runs candidates.
pub trait Judge {
    /// Runs each once; the verdicts in the same order.
    fn judge(&mut self, candidates: &[Scenario]) -> Vec<Verdict>;

    /// How many it runs in the time of one.
    fn lanes(&self) -> usize {
        1
    }

    /// Hears of each candidate that takes the place of the best so far.
    fn smaller(&mut self, best: &Minimized) {
        let _ = best;
    }
}

impl<F: FnMut(&Scenario) -> Verdict> Judge for F {
    fn judge(&mut self, candidates: &[Scenario]) -> Vec<Verdict> {
        candidates.iter().map(self).collect()
    }
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// No pass finds anything smaller.
    Minimal,
    /// The budget is spent.
    Budget,
    /// Somebody said so.
    Interrupted,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimized {
    /// The smallest scenario that failed; the start, if no smaller one did.
    pub scenario: Scenario,
    /// Runs of candidates.
    pub runs: u64,
    /// How large it was.
    pub before: Size,
    /// How large it is.
    pub after: Size,
    /// Why the search ended.
    pub stopped: Stopped,
}

/// Searches for the smallest scenario that breaks `plan.property`.
///
/// `start` is taken to break it; it is returned unchanged if nothing smaller does.
/// The judge gets normalized candidates, each as often as `plan.tries` says at
/// most, and never one that `plan.memory` knows. A candidate that breaks another
/// property is not accepted, else the search would walk off to another bug. Header
/// and expectations of `start` are kept.
///
/// Where the judge has several lanes, candidates are judged ahead of the search, on
/// the assumption that those before them hold. The one accepted is always the first
/// in order that fails, so where verdicts are certain, and the budget is not spent,
/// the result does not depend on the number of lanes.
pub fn minimize(start: &Scenario, plan: Plan<'_>, judge: &mut impl Judge) -> Minimized {
    search::Search::new(start, plan, judge).run()
}
