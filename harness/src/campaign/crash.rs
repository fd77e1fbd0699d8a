//! Scenarios that take the kernel down with them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::host::{Fleet, Id, Report};
use super::job::{Finding, Job};
use crate::engine::{self, Exit};
use crate::kernel::Kernel;
use crate::minimize::{self, Budget, Judge, Memory, Plan, Stopped, Verdict};
use crate::oracle::{Contract, Property};
use crate::scenario::{Scenario, text};

/// Every candidate needs a boot of its own, so there is less patience than with a
/// kernel that lives on.
pub const SHRINK_TIME: Duration = Duration::from_secs(60);
/// From one look at the time to the next.
const PATIENCE: Duration = Duration::from_millis(100);

/// How a kernel went down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// What that breaks: a kernel that hangs breaks liveness.
    pub property: Property,
    what: String,
    log: Vec<String>,
}

impl Crash {
    /// What the end of a guest says of its kernel; `None`: it is not the kernel
    /// that ended it.
    pub fn of(exit: &Exit) -> Option<Crash> {
        let (property, what, log) = match exit {
            Exit::Panic { log } => (Property::Splat, "panicked".to_string(), log),
            Exit::Died { status, log } => (Property::Splat, format!("ended ({status})"), log),
            Exit::Hung { why, log } => (Property::Liveness, format!("hangs ({why})"), log),
            Exit::Status(_) | Exit::Signalled(_) => return None,
        };
        Some(Crash {
            property,
            what,
            log: log.clone(),
        })
    }

    /// Says so for people, with the kernel's last lines.
    pub fn message(&self, when: &str) -> String {
        format!("the kernel {} {when}\n{}", self.what, self.log.join("\n"))
    }
}

/// Runs the scenario of `finding` alone, on a kernel just booted; if that takes the
/// kernel down as well, makes it smaller in the same way, with a boot for each
/// candidate and `jobs` of them at a time. Else `seen` is 1 of 2: what went before had
/// a part in it.
///
/// # Errors
/// Why one of the kernels says nothing. The finding is as good as it was by then.
pub fn shrink(
    kernel: &Kernel,
    contract: Contract,
    finding: &mut Finding,
    budget: Budget,
    jobs: usize,
    interrupted: &dyn Fn() -> bool,
) -> Result<(), engine::Error> {
    let Ok(scenario) = text::parse("finding", &finding.original) else {
        return Ok(());
    };
    let property = finding.property;
    let since = Instant::now();
    let mut boots = Boots {
        kernel,
        contract,
        jobs,
        over: &|| interrupted() || since.elapsed() >= budget.time,
        trouble: None,
    };
    match boots.judge(std::slice::from_ref(&scenario)).as_slice() {
        [Verdict::Breaks(broken)] if *broken == [property] => {
            (finding.seen, finding.of) = (2, 2);
        }
        [Verdict::Breaks(_)] => {
            finding.of = 2;
            return Ok(());
        }
        // It has not run again.
        _ => {
            let out_of_time = since.elapsed() >= budget.time;
            finding.stopped = Some(match out_of_time {
                true => Stopped::Budget,
                false => Stopped::Interrupted,
            });
            return boots.trouble.map_or(Ok(()), Err);
        }
    }
    let plan = Plan {
        property,
        budget,
        tries: 1,
        memory: &mut Memory::new(),
    };
    let minimized = minimize::minimize(&scenario, plan, &mut boots);
    finding.take(&minimized);
    finding.stopped = Some(minimized.stopped);
    boots.trouble.map_or(Ok(()), Err)
}

/// Judges candidates by how the kernel goes down: each has one of its own.
struct Boots<'a> {
    kernel: &'a Kernel,
    contract: Contract,
    jobs: usize,
    over: &'a dyn Fn() -> bool,
    /// Why a boot says nothing of the kernel.
    trouble: Option<engine::Error>,
}

impl Judge for Boots<'_> {
    fn lanes(&self) -> usize {
        self.jobs
    }

    fn judge(&mut self, candidates: &[Scenario]) -> Vec<Verdict> {
        let mut fleet = Fleet::new();
        let mut running: HashMap<Id, usize> = HashMap::new();
        let mut verdicts = vec![Verdict::Interrupted; candidates.len()];
        let mut waiting = candidates.iter().enumerate();
        loop {
            while fleet.len() < self.jobs.max(1)
                && let Some((place, candidate)) = waiting.next()
            {
                let job = Job::Replay {
                    texts: vec![candidate.to_string()],
                    times: 1,
                    contract: self.contract,
                };
                match fleet.start(self.kernel, &job) {
                    Ok(id) => drop(running.insert(id, place)),
                    // Nothing is known of it, then.
                    Err(error) => {
                        self.trouble = Some(error);
                        return verdicts;
                    }
                }
            }
            if fleet.is_empty() || (self.over)() {
                return verdicts;
            }
            if let Some(Report::Ended(id, _, end)) = fleet.next(PATIENCE)
                && let Some(place) = running.remove(&id)
            {
                let outcome = match end.outcome {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        self.trouble = Some(error);
                        continue;
                    }
                };
                let crash = Crash::of(&outcome.exit);
                verdicts[place] = Verdict::Breaks(crash.iter().map(|it| it.property).collect());
            }
        }
    }
}
