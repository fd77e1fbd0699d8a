//! One target after the other, and what is left to them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::campaign::fuzz::lines::Progress;
use crate::campaign::fuzz::status::WorkerStatus;
use crate::campaign::fuzz::worker::{Id, Process};

/// A target that has ended is started again after so much.
const PAUSE: Duration = Duration::from_secs(1);
/// While targets in a row run no input, this is doubled up to so much.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One target after the other.
#[derive(Debug)]
pub(super) struct Slot {
    pub number: usize,
    /// Inputs that are left to it.
    pub budget: Option<u64>,
    pub current: Option<Current>,
    pub not_before: Instant,
    pub is_done: bool,
    pub barren: u32,
    /// Inputs of those that have ended.
    pub executions: u64,
    /// The most features that one of those has seen.
    pub features: u64,
    pub restarts: u64,
}

/// The one at work.
#[derive(Debug)]
pub(super) struct Current {
    pub id: Id,
    pub process: Process,
    pub progress: Progress,
    pub counted: u64,
    pub artifact: Option<PathBuf>,
}

impl Current {
    /// libFuzzer tells it exactly, but seldom.
    pub fn executions(&self) -> u64 {
        self.progress.executions.max(self.counted)
    }
}

impl Slot {
    pub fn executions(&self) -> u64 {
        self.executions + self.current.as_ref().map_or(0, Current::executions)
    }

    fn features(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |it| it.progress.features);
        self.features.max(current)
    }

    /// One has ended.
    pub fn account(&mut self, ended: &Current) {
        let executions = ended.executions();
        self.executions += executions;
        self.features = self.features.max(ended.progress.features);
        self.budget = self.budget.map(|left| left.saturating_sub(executions));
    }

    pub fn status(&self) -> WorkerStatus {
        let doing = match &self.current {
            None if self.is_done => "done",
            None => "starting again",
            Some(it) if it.executions() == 0 => "booting",
            Some(it) if !it.progress.is_read => "reading the corpus",
            Some(_) => "fuzzing",
        };
        WorkerStatus {
            number: self.number,
            doing: doing.to_owned(),
            executions: self.executions(),
            features: self.features(),
            restarts: self.restarts,
            log: log_of(self.number),
        }
    }
}

/// What a target prints, from the campaign's folder.
pub(super) fn log_of(number: usize) -> PathBuf {
    format!("log/worker-{number}.log").into()
}

/// The part of `runs` that one of `jobs` has to run.
pub(super) fn share(runs: u64, jobs: usize, which: usize) -> u64 {
    let (jobs, which) = (jobs as u64, which as u64);
    runs / jobs + u64::from(which < runs % jobs)
}

/// Before a target is started again, the last so many of which have run no input.
pub(super) fn pause(barren: u32) -> Duration {
    let doubled = PAUSE.saturating_mul(2_u32.saturating_pow(barren.saturating_sub(1)));
    doubled.min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_shared_out_and_none_is_lost() {
        for (runs, jobs) in [(100, 3), (2, 4), (0, 2), (7, 7)] {
            let shares: Vec<u64> = (0..jobs).map(|it| share(runs, jobs, it)).collect();
            assert_eq!(shares.iter().sum::<u64>(), runs);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn who_fails_is_waited_for_longer_and_not_too_long() {
        let seconds: Vec<u64> = (0..9).map(|it| pause(it).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
