//! Scenarios that take the kernel down with them.

use std::time::Duration;

use super::host;
use super::job::{Finding, Job};
use crate::engine::Exit;
use crate::kernel::Kernel;
use crate::minimize::{self, Budget};
use crate::oracle::{Contract, Property};
use crate::scenario::{Scenario, text};

/// Every candidate needs a boot of its own, so there is less patience than with a
/// kernel that lives on.
const SHRINK_TIME: Duration = Duration::from_secs(60);

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
/// kernel down as well, makes it smaller in the same way. Else `seen` is 1 of 2:
/// what went before had a part in it.
pub fn shrink(kernel: &Kernel, contract: Contract, finding: &mut Finding, shrink_runs: u64) {
    let Ok(scenario) = text::parse("finding", &finding.original) else {
        return;
    };
    let property = finding.property;
    let crashes = |candidate: &Scenario| {
        let job = Job::Replay {
            texts: vec![candidate.to_string()],
            times: 1,
            contract,
        };
        host::alone(kernel, &job, |_, _| {})
            .ok()
            .and_then(|end| Crash::of(&end.outcome.ok()?.exit))
            .is_some_and(|crash| crash.property == property)
    };
    finding.of = 2;
    if !crashes(&scenario) {
        return;
    }
    finding.seen = 2;
    let budget = Budget {
        runs: shrink_runs,
        time: SHRINK_TIME,
    };
    let minimized = minimize::minimize(&scenario, budget, crashes);
    finding.shrink_runs = minimized.runs;
    finding.minimized = minimized.scenario.to_string();
    finding.steps_after = minimized.steps_after;
}
