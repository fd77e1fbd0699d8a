//! What was found is made smaller, in guests beside the targets.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::Campaign;
use crate::campaign::check::expected;
use crate::campaign::minimize::{self, Item, Outcome};
use crate::engine;

/// For one finding.
const SHRINK_TIME: Duration = Duration::from_secs(60);
/// For one that takes the kernel down: each run is a boot, and a kernel that hangs is
/// waited for.
const SHRINK_DEATH_TIME: Duration = Duration::from_secs(300);

/// What became of a finding, by the name of its record.
pub(super) type Settled = (String, Outcome);

impl Campaign<'_> {
    /// Begins to make smaller what waits for it, in so many guests at a time.
    pub(super) fn minimize(&mut self, most: usize) {
        let expected = expected(&self.plan.kernel.name, self.plan.contract);
        while self.minimizing.len() < most {
            let busy = |stem: &str| self.minimizing.contains(stem) || self.unable.contains(stem);
            let Some((stem, record)) = self.records.next(busy, expected) else {
                return;
            };
            let plan = minimize::Plan {
                kernels: vec![self.plan.kernel.clone()],
                items: vec![Item {
                    kernel: 0,
                    text: record.finding.original.clone(),
                    property: Some(record.finding.property),
                }],
                contract: self.plan.contract,
                shrink_runs: self.plan.shrink_runs,
                time: Some(match record.has_log {
                    true => SHRINK_DEATH_TIME,
                    false => SHRINK_TIME,
                }),
                jobs: 1,
            };
            let (stem, tell) = (stem.to_owned(), self.minimized.0.clone());
            let give_up = Arc::clone(&self.give_up);
            self.minimizing.insert(stem.clone());
            thread::spawn(move || {
                let over = || give_up.load(Ordering::Relaxed);
                let outcome = outcome(|| {
                    let mut outcomes = minimize::run(&plan, &over, &mut |_, _| {})?;
                    Ok(outcomes.remove(0))
                });
                let _ = tell.send((stem, outcome));
            });
        }
    }

    /// What is not done by now waits for the next session.
    pub(in crate::campaign::fuzz) fn stop_minimizing(&mut self) {
        self.give_up.store(true, Ordering::Relaxed);
        while !self.minimizing.is_empty() {
            let Ok((stem, outcome)) = self.minimized.1.recv() else {
                return;
            };
            self.minimizing.remove(&stem);
            // Should it not be written, it is done again.
            let _ = self
                .records
                .settle(&self.folder.seen(), &stem, outcome, true);
        }
    }
}

/// What became of a finding, whatever happens: who waits for it is not to wait for ever.
fn outcome(shrink: impl FnOnce() -> Result<Outcome, engine::Error>) -> Outcome {
    let failure = match panic::catch_unwind(AssertUnwindSafe(shrink)) {
        Ok(Ok(outcome)) => return outcome,
        Ok(Err(error)) => error.to_string(),
        // What it says of that has been printed.
        Err(_) => "it panicked".to_owned(),
    };
    Outcome {
        failure: Some(failure),
        ..Outcome::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_makes_smaller_and_panics_has_failed() {
        let outcome = outcome(|| panic!("as it does here"));
        assert!(!outcome.ran && outcome.finding.is_none());
        assert_eq!(outcome.failure.as_deref(), Some("it panicked"));
    }
}
