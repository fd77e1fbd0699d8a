//! How long the file may have been, and when.
//!
//! As in [`super::ledger`]: of two calls that overlap, either may have come first.

use std::fmt;

use super::ledger::Window;
use crate::history::{Call, History, Outcome};
use crate::scenario::{Op, Range, Scenario};

/// The sizes that the file may have had, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// At least so long.
    pub least: u64,
    /// At most so long.
    pub most: u64,
}

impl Bounds {
    /// How many bytes there were from `offset` on.
    pub fn from(self, offset: u64) -> Bounds {
        Bounds {
            least: self.least.saturating_sub(offset),
            most: self.most.saturating_sub(offset),
        }
    }

    /// The only size, if it is certain.
    pub fn certain(self) -> Option<u64> {
        (self.least == self.most).then_some(self.least)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.certain() {
            Some(size) => write!(f, "{size}"),
            None => write!(f, "{} to {}", self.least, self.most),
        }
    }
}

/// One call that may have made the file longer or shorter.
#[derive(Debug)]
struct Change {
    entry_order: u64,
    /// Never, if it did not return.
    exit_order: u64,
    size_bytes: u64,
    /// The file then ends there; else it only does so if it was shorter.
    cuts: bool,
}

impl Change {
    fn before(&self, order: u64) -> bool {
        self.exit_order < order
    }
}

/// All changes of the size in a history.
#[derive(Debug)]
pub(super) struct Sizes {
    initial: u64,
    changes: Vec<Change>,
}

impl Sizes {
    /// Reads them out of a history. What failed or was skipped changed nothing; what is
    /// still pending may have done its part.
    pub fn new(scenario: &Scenario, history: &History) -> Self {
        let initial = scenario.setup.file.size_bytes;
        // Writes lie inside the file where nobody cuts it.
        let changes = match scenario.resizes() {
            true => (history.calls.iter())
                .filter_map(|call| change(scenario, call))
                .collect(),
            false => Vec::new(),
        };
        Sizes { initial, changes }
    }

    /// How long the file may have been at some instant of `window`.
    pub fn during(&self, window: Window) -> Bounds {
        let initial = Bounds {
            least: self.initial,
            most: self.initial,
        };
        if self.changes.is_empty() {
            return initial;
        }
        let cuts = || self.changes.iter().filter(|it| it.cuts);
        let over = || cuts().filter(|it| it.before(window.from));
        let newest_entry = over().map(|it| it.entry_order).max();
        // What it was cut to, and since when at the latest: before the window for
        // certain, and by none that another one has undone for certain.
        let last = over().filter(|it| newest_entry.is_some_and(|newest| it.exit_order >= newest));
        let meanwhile = cuts().filter(|it| !it.before(window.from) && it.entry_order < window.to);
        let cut_to = last
            .chain(meanwhile)
            .map(|it| (it.size_bytes, it.entry_order, it.exit_order));
        let uncut = newest_entry.is_none().then_some((self.initial, 0, 0));
        let all = cut_to.chain(uncut).map(|(size, entry, exit)| Bounds {
            least: self.grown(size, |it| it.before(window.from) && it.entry_order >= exit),
            most: self.grown(size, |it| {
                it.entry_order < window.to && it.exit_order >= entry
            }),
        });
        all.reduce(|one, other| Bounds {
            least: one.least.min(other.least),
            most: one.most.max(other.most),
        })
        .unwrap_or(initial)
    }

    /// How long the file was while a call ran.
    pub fn in_call(&self, call: &Call) -> Bounds {
        let returned = !matches!(call.outcome, Outcome::Pending | Outcome::Killed);
        self.during(Window {
            from: call.entry.order,
            to: if returned { call.exit.order } else { u64::MAX },
        })
    }

    /// The size after the writes that `which` picks.
    fn grown(&self, size_bytes: u64, which: impl Fn(&&Change) -> bool) -> u64 {
        let writes = self.changes.iter().filter(|it| !it.cuts);
        let ends = writes.filter(which).map(|it| it.size_bytes);
        ends.fold(size_bytes, u64::max)
    }
}

fn change(scenario: &Scenario, call: &Call) -> Option<Change> {
    let done = match call.outcome {
        Outcome::Returned(bytes) => Some(bytes),
        Outcome::Pending | Outcome::Killed => None,
        Outcome::Failed(_) | Outcome::Skipped => return None,
    };
    let (size_bytes, cuts) = match scenario.steps.get(call.step)?.op {
        Op::Truncate { size_bytes } => (size_bytes, true),
        // Nothing else changes the length of its file.
        Op::Collapse(Range { len, .. }) => {
            let size_bytes = scenario.setup.file.size_bytes;
            (size_bytes.saturating_sub(len), true)
        }
        Op::Pwrite(Range { offset, len }) | Op::DirectWrite(Range { offset, len }) => {
            (offset.saturating_add(done.unwrap_or(len).min(len)), false)
        }
        _ => return None,
    };
    Some(Change {
        entry_order: call.entry.order,
        exit_order: done.map_or(u64::MAX, |_| call.exit.order),
        size_bytes,
        cuts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::doctor::{Plan, range};

    fn bounds(plan: &Plan, from: u64, to: u64) -> (u64, u64) {
        let sizes = Sizes::new(&plan.scenario, &plan.history);
        let bounds = sizes.during(Window { from, to });
        (bounds.least, bounds.most)
    }

    fn truncate(size_bytes: u64) -> Op {
        Op::Truncate { size_bytes }
    }

    #[test]
    fn without_a_cut_nothing_changes() {
        let mut plan = Plan::new(4096);
        plan.call(Op::Pwrite(range(0, 100)), 1, 2);
        assert_eq!(bounds(&plan, 0, u64::MAX), (4096, 4096));
    }

    #[test]
    fn the_last_cut_counts_and_what_was_written_behind_it() {
        let mut plan = Plan::new(4096);
        plan.call(truncate(100), 1, 2);
        plan.call(Op::Pwrite(range(500, 50)), 3, 4);
        plan.call(truncate(200), 5, 6);
        assert_eq!(bounds(&plan, 0, 1), (4096, 4096));
        assert_eq!(bounds(&plan, 3, 3), (100, 100));
        assert_eq!(bounds(&plan, 5, 5), (550, 550));
        assert_eq!(bounds(&plan, 7, 8), (200, 200));
        // A window has all that was in it.
        assert_eq!(bounds(&plan, 0, 3), (100, 4096));
        assert_eq!(bounds(&plan, 3, 6), (100, 550));
    }

    #[test]
    fn calls_that_overlap_may_come_in_any_order() {
        let mut plan = Plan::new(4096);
        plan.call(truncate(100), 1, 5);
        plan.call(truncate(8192), 2, 4);
        plan.call(Op::Pwrite(range(500, 50)), 3, 6);
        // Cut to 100 last, with the write before or behind it.
        assert_eq!(bounds(&plan, 7, 8), (100, 8192));
        let mut plan = Plan::new(4096);
        plan.call(truncate(100), 1, 5);
        plan.call(Op::Pwrite(range(500, 50)), 3, 6);
        assert_eq!(bounds(&plan, 7, 8), (100, 550));
    }

    #[test]
    fn failed_short_and_pending_calls_count_for_what_they_did() {
        let mut plan = Plan::new(4096);
        plan.call(truncate(100), 1, 2);
        plan.call(truncate(0), 3, 4).outcome = Outcome::Failed(libc::EINTR);
        plan.call(Op::Pwrite(range(500, 50)), 5, 6).outcome = Outcome::Returned(10);
        assert_eq!(bounds(&plan, 7, 8), (510, 510));
        plan.call(truncate(50), 9, 10).outcome = Outcome::Pending;
        assert_eq!(bounds(&plan, 11, 12), (50, 510));
    }
}
