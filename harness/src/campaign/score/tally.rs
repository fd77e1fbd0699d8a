//! What the runs of one kernel come to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Run, Subject};
use crate::oracle::Property;

/// The runs of one kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Which.
    pub subject: Subject,
    /// A run a seed, in the order of the seeds.
    pub runs: Vec<Run>,
}

/// Whether a kernel showed what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The bug was caught, often enough and by the right property; or there was none.
    Good,
    /// The bug was caught, but from too few seeds.
    Seldom,
    /// The bug was never caught.
    Missed,
    /// It was caught often enough, but by another property.
    Wrong,
    /// There is no bug, and one was told of.
    FalseAlarm,
    /// Something went wrong apart from the kernel.
    Failed,
}

/// From so many seeds a bug must be caught, of so many: 9 of 10.
pub fn needed(seeds: usize) -> usize {
    seeds - seeds / 10
}

impl Score {
    /// Of all seeds of a kernel.
    pub fn new(subject: Subject, mut runs: Vec<Run>) -> Score {
        runs.sort_by_key(|it| it.seed);
        Score { subject, runs }
    }

    /// From how many seeds something was caught.
    pub fn seeds_caught(&self) -> usize {
        self.runs.iter().filter(|it| it.caught.is_some()).count()
    }

    /// From how many of these by the right property.
    pub fn seeds_right(&self) -> usize {
        let caught = self.runs.iter().filter_map(|it| it.caught);
        caught.filter(|it| self.subject.right.contains(it)).count()
    }

    /// What was caught from most seeds.
    pub fn caught(&self) -> Option<Property> {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let place = |property| Property::ALL.iter().position(|it| *it == property);
        for at in self.runs.iter().filter_map(|it| place(it.caught?)) {
            *counts.entry(at).or_default() += 1;
        }
        // Of several the first one that there is.
        let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
        most.map(|(at, _)| Property::ALL[at])
    }

    /// Scenarios up to the catch, the median over the seeds, where one that caught nothing
    /// counts as later than all; `None`: the median caught nothing.
    pub fn scenarios(&self) -> Option<u64> {
        median(self.caught_or_never(|it| it.scenarios))
    }

    /// The same of the time.
    pub fn took(&self) -> Option<Duration> {
        median(self.caught_or_never(|it| it.took))
    }

    fn caught_or_never<T>(&self, of: impl Fn(&Run) -> T) -> impl Iterator<Item = Option<T>> {
        self.runs.iter().map(move |it| it.caught.map(|_| of(it)))
    }

    /// Steps of the smallest scenarios, the median of those that were made smaller.
    pub fn minimized_ops(&self) -> Option<usize> {
        let made = self.runs.iter().filter_map(|it| it.minimized_ops);
        median(made.map(Some))
    }

    /// All scenarios that ran.
    pub fn all_scenarios(&self) -> u64 {
        self.runs.iter().map(|it| it.scenarios).sum()
    }

    /// Whether it showed what it should.
    pub fn verdict(&self) -> Verdict {
        let needed = needed(self.runs.len());
        let ran = |it: &Run| it.caught.is_some() || it.scenarios > 0;
        if self
            .runs
            .iter()
            .any(|it| !it.failures.is_empty() || !ran(it))
        {
            return Verdict::Failed;
        }
        match (&self.subject.mutant, self.seeds_caught()) {
            (None, 0) => Verdict::Good,
            (None, _) => Verdict::FalseAlarm,
            (Some(_), 0) => Verdict::Missed,
            (Some(_), caught) if caught < needed => Verdict::Seldom,
            (Some(_), _) if self.seeds_right() < needed => Verdict::Wrong,
            (Some(_), _) => Verdict::Good,
        }
    }
}

/// The middle one, of an even number the later; `None` is later than all.
pub(crate) fn median<T: Ord>(values: impl Iterator<Item = Option<T>>) -> Option<T> {
    let mut values: Vec<Option<T>> = values.collect();
    values.sort_unstable_by(|a, b| match (a, b) {
        (Some(a), Some(b)) => a.cmp(b),
        // Those that there are come first.
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    let middle = values.len() / 2;
    values.into_iter().nth(middle).flatten()
}
