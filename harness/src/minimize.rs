//! Makes a failing scenario smaller.
//!
//! A greedy search: each pass proposes smaller candidates, the first one that
//! still fails takes the place of the best so far, and the passes are repeated
//! until none finds anything. What "smaller" means is [`Size`]; every accepted
//! candidate is smaller in it, so the search ends, budget or not.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `knobs` | the numbers of a scenario, and which smaller values are worth a try |
//! | `passes` | drop steps, defaults, one actor, small numbers, canonical order |
//! | `size` | the measure |

mod knobs;
mod passes;
mod size;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::scenario::Scenario;
use crate::scenario::normalize::normalize;

pub use size::Size;

/// How much a search may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Calls of the predicate.
    pub runs: u64,
    /// Wall-clock time. A call of the predicate is not interrupted by it.
    pub time: Duration,
}

/// What the predicate says about a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It violates the same property as the start did.
    Fails,
    /// It does not.
    Holds,
    /// Nothing, and no more candidates are wanted.
    Interrupted,
}

impl From<bool> for Verdict {
    fn from(fails: bool) -> Self {
        if fails {
            Verdict::Fails
        } else {
            Verdict::Holds
        }
    }
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// No pass finds anything smaller.
    Minimal,
    /// The budget is spent.
    Budget,
    /// The predicate said so.
    Interrupted,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimized {
    /// The smallest scenario that failed; the start, if no smaller one did.
    pub scenario: Scenario,
    /// Calls of the predicate.
    pub runs: u64,
    /// Candidates proposed, with those that were no smaller or already known.
    pub tried: u64,
    /// Steps at the start.
    pub steps_before: usize,
    /// Steps of the result.
    pub steps_after: usize,
    /// Why the search ended.
    pub stopped: Stopped,
}

/// Searches for the smallest scenario that `fails`.
///
/// `start` is taken to fail; it is returned unchanged if nothing smaller does.
/// `fails` gets normalized candidates, each at most once; it must say
/// [`Verdict::Fails`] (or `true`) only for the *same* property that `start`
/// violates, else the search walks off to another bug. Where failures are not
/// certain, it is for `fails` to try several times. Header and expectations of
/// `start` are kept.
pub fn minimize<V: Into<Verdict>>(
    start: &Scenario,
    budget: Budget,
    fails: impl FnMut(&Scenario) -> V,
) -> Minimized {
    let mut search = Search {
        best_size: Size::of(start),
        best: start.clone(),
        known: HashSet::from([start.clone()]),
        fails,
        budget,
        since: Instant::now(),
        runs: 0,
        tried: 0,
        stopped: None,
    };
    let stopped = loop {
        let before = search.best_size.clone();
        passes::all(&mut search);
        match search.stopped {
            Some(stopped) => break stopped,
            None if search.best_size == before => break Stopped::Minimal,
            None => {}
        }
    };
    Minimized {
        runs: search.runs,
        tried: search.tried,
        steps_before: start.steps.len(),
        steps_after: search.best.steps.len(),
        stopped,
        scenario: search.best,
    }
}

/// The best scenario so far, and what is known.
struct Search<F> {
    best: Scenario,
    best_size: Size,
    /// Everything that the predicate has seen.
    known: HashSet<Scenario>,
    fails: F,
    budget: Budget,
    since: Instant,
    runs: u64,
    tried: u64,
    stopped: Option<Stopped>,
}

/// What passes see of a search.
trait Propose {
    /// The best scenario so far.
    fn best(&self) -> &Scenario;

    /// Tries a candidate; true: it is the best now.
    fn propose(&mut self, candidate: Scenario) -> bool;

    /// Whether proposals are in vain.
    fn is_over(&self) -> bool;

    /// Tries a change of the best.
    fn change(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut candidate = self.best().clone();
        change(&mut candidate);
        self.propose(candidate)
    }
}

impl<V: Into<Verdict>, F: FnMut(&Scenario) -> V> Propose for Search<F> {
    fn best(&self) -> &Scenario {
        &self.best
    }

    fn is_over(&self) -> bool {
        self.stopped.is_some()
    }

    fn propose(&mut self, candidate: Scenario) -> bool {
        if self.is_over() {
            return false;
        }
        self.tried += 1;
        let candidate = normalize(candidate);
        let size = Size::of(&candidate);
        if size >= self.best_size || self.known.contains(&candidate) {
            return false;
        }
        if self.runs >= self.budget.runs || self.since.elapsed() >= self.budget.time {
            self.stopped = Some(Stopped::Budget);
            return false;
        }
        self.known.insert(candidate.clone());
        self.runs += 1;
        match (self.fails)(&candidate).into() {
            Verdict::Fails => {
                self.best = candidate;
                self.best_size = size;
                true
            }
            Verdict::Holds => false,
            Verdict::Interrupted => {
                self.stopped = Some(Stopped::Interrupted);
                false
            }
        }
    }
}
