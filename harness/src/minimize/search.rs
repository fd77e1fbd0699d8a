//! The search itself.
//!
//! A pass is a program that proposes candidates and goes on by the answers. To have
//! several judged at once it is run ahead: what is not known yet is taken to hold,
//! and gathered. When there is as much as the judge has lanes, it is judged, and the
//! pass begins again from where it began, now with more in its memory, until it gets
//! through on what is known. So it always takes the way that it would have taken with
//! one lane.

use std::time::Instant;

use super::{Judge, Memory, Minimized, Plan, Size, Stopped, Verdict, passes};
use crate::scenario::Scenario;
use crate::scenario::normalize::normalize;

/// The best scenario so far, and what is known.
pub(super) struct Search<'a, J> {
    plan: Plan<'a>,
    judge: &'a mut J,
    since: Instant,
    /// Where the pass is. While it runs ahead, this is only supposed.
    at: Scenario,
    at_size: Size,
    /// The best that is known to fail.
    best: Minimized,
    /// Candidates that are taken to hold until they are judged.
    supposed: Vec<(String, Scenario)>,
    /// Why no more may be judged.
    spent: Option<Stopped>,
    /// Set when one would have to be.
    stopped: Option<Stopped>,
}

/// What passes see of a search.
pub(super) trait Propose {
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

impl<'a, J: Judge> Search<'a, J> {
    pub(super) fn new(start: &Scenario, mut plan: Plan<'a>, judge: &'a mut J) -> Self {
        let size = Size::of(start);
        plan.tries = plan.tries.max(1);
        Search {
            plan,
            judge,
            since: Instant::now(),
            at: start.clone(),
            at_size: size.clone(),
            best: Minimized {
                scenario: start.clone(),
                runs: 0,
                before: size.clone(),
                after: size,
                stopped: Stopped::Minimal,
            },
            supposed: Vec::new(),
            spent: None,
            stopped: None,
        }
    }

    pub(super) fn run(mut self) -> Minimized {
        let stopped = loop {
            let before = self.at_size.clone();
            for pass in passes::all() {
                self.get_through(pass);
            }
            match self.stopped {
                Some(stopped) => break stopped,
                None if self.at_size == before => break Stopped::Minimal,
                None => {}
            }
        };
        self.best.stopped = stopped;
        self.best
    }

    /// Runs a pass to its end, as often as that takes.
    fn get_through(&mut self, pass: fn(&mut Self)) {
        let (begin, begin_size) = (self.at.clone(), self.at_size.clone());
        loop {
            pass(self);
            if self.supposed.is_empty() {
                return;
            }
            self.judge_supposed();
            (self.at, self.at_size) = (begin.clone(), begin_size.clone());
        }
    }

    fn judge_supposed(&mut self) {
        let mut open = std::mem::take(&mut self.supposed);
        let (property, tries) = (self.plan.property, self.plan.tries);
        while !open.is_empty() && self.spent.is_none() {
            let left = self.plan.budget.runs - self.best.runs;
            let out_of_time = self.since.elapsed() >= self.plan.budget.time;
            if left == 0 || out_of_time {
                self.spent = Some(Stopped::Budget);
                return;
            }
            open.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let candidates: Vec<Scenario> = open.iter().map(|(_, it)| it.clone()).collect();
            let verdicts = self.judge.judge(&candidates);
            self.best.runs += candidates.len() as u64;
            for ((key, _), verdict) in open.iter().zip(&verdicts) {
                match verdict {
                    Verdict::Breaks(broken) => self.plan.memory.note(key.clone(), broken),
                    Verdict::Interrupted => self.spent = Some(Stopped::Interrupted),
                }
            }
            open.retain(|(key, _)| self.plan.memory.breaks(key, property, tries).is_none());
        }
    }

    fn accept(&mut self, candidate: Scenario, size: Size) {
        (self.at, self.at_size) = (candidate, size);
        // What rests on a supposition may be taken back; what is accepted again when
        // a pass begins again is no news.
        if self.supposed.is_empty() && self.at_size < self.best.after {
            self.best.scenario.clone_from(&self.at);
            self.best.after.clone_from(&self.at_size);
            self.judge.smaller(&self.best);
        }
    }
}

impl<J: Judge> Propose for Search<'_, J> {
    fn best(&self) -> &Scenario {
        &self.at
    }

    fn is_over(&self) -> bool {
        self.stopped.is_some() || self.supposed.len() >= self.judge.lanes().max(1)
    }

    fn propose(&mut self, candidate: Scenario) -> bool {
        if self.is_over() {
            return false;
        }
        let candidate = normalize(candidate);
        let size = Size::of(&candidate);
        if size >= self.at_size {
            return false;
        }
        let key = Memory::key(&candidate);
        let known = |search: &Self| {
            let Plan {
                property, tries, ..
            } = search.plan;
            search.plan.memory.breaks(&key, property, tries)
        };
        let mut fails = known(self);
        if fails.is_none() {
            if self.spent.is_some() {
                self.stopped = self.spent;
                return false;
            }
            if self.supposed.iter().any(|(supposed, _)| *supposed == key) {
                return false;
            }
            self.supposed.push((key.clone(), candidate.clone()));
            if self.judge.lanes() > 1 {
                return false;
            }
            // Nothing to be gained by running ahead.
            self.judge_supposed();
            fails = known(self);
            if fails.is_none() {
                self.stopped = self.spent;
            }
        }
        if fails == Some(true) {
            self.accept(candidate, size);
        }
        fails == Some(true)
    }
}
