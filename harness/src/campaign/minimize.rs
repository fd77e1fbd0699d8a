//! Given findings made smaller, each in a guest of its own, several at once.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::crash::{self, Crash};
use super::host::{End, Fleet, Id, Report};
use super::job::{Event, Finding, Job};
use crate::engine::{self, Exit};
use crate::kernel::Kernel;
use crate::minimize::{Budget, Stopped};
use crate::oracle::{Contract, Property};
use crate::scenario::text;

/// From one look at the time and at Ctrl-C to the next.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is to be made smaller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Place of its kernel in the plan.
    pub kernel: usize,
    /// The scenario.
    pub text: String,
    /// What it must go on to break, if it breaks several properties.
    pub property: Option<Property>,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On which kernels.
    pub kernels: Vec<Kernel>,
    /// What.
    pub items: Vec<Item>,
    /// What the kernels are held to.
    pub contract: Contract,
    /// Runs that each may take.
    pub shrink_runs: u64,
    /// Wall-clock limit; the smallest found by then counts.
    pub time: Option<Duration>,
    /// Guests at a time.
    pub jobs: usize,
}

/// What became of one item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The smallest scenario found; `None`: it breaks nothing, or did not run.
    pub finding: Option<Finding>,
    /// Whether it has run, and was not stopped before it was judged.
    pub ran: bool,
    /// What went wrong apart from that.
    pub failure: Option<String>,
}

/// Runs `plan`; the outcomes in the order of its items. Ends early when `interrupted`
/// says so. `hear` is told of each finding, by its place, and each time it got smaller.
///
/// # Errors
/// When not even the first guest can be booted. Everything else is in the outcomes.
pub fn run(
    plan: &Plan,
    interrupted: &dyn Fn() -> bool,
    hear: &mut dyn FnMut(usize, &Finding),
) -> Result<Vec<Outcome>, engine::Error> {
    let mut run = Run {
        plan,
        deadline: plan.time.and_then(|time| Instant::now().checked_add(time)),
        fleet: Fleet::new(),
        waiting: (0..plan.items.len()).collect(),
        running: HashMap::new(),
        outcomes: vec![Outcome::default(); plan.items.len()],
        crashed: Vec::new(),
    };
    loop {
        let over = match (interrupted(), run.left().is_zero()) {
            (true, _) => Some(Stopped::Interrupted),
            (false, true) => Some(Stopped::Budget),
            (false, false) => None,
        };
        if let Some(why) = over {
            run.stop(why);
            break;
        }
        run.start_what_fits()?;
        if run.fleet.is_empty() {
            break;
        }
        if let Some(report) = run.fleet.next(PATIENCE.min(run.left())) {
            run.note(report, hear);
        }
    }
    run.shrink_crashes(interrupted);
    Ok(run.outcomes)
}

struct Run<'a> {
    plan: &'a Plan,
    deadline: Option<Instant>,
    fleet: Fleet,
    /// Items by their place in the plan.
    waiting: VecDeque<usize>,
    running: HashMap<Id, usize>,
    outcomes: Vec<Outcome>,
    /// Those that took the kernel down.
    crashed: Vec<usize>,
}

impl Run<'_> {
    fn left(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }

    fn start_what_fits(&mut self) -> Result<(), engine::Error> {
        while self.fleet.len() < self.plan.jobs.max(1)
            && let Some(place) = self.waiting.pop_front()
        {
            let item = &self.plan.items[place];
            let job = Job::Minimize {
                text: item.text.clone(),
                property: item.property,
                contract: self.plan.contract,
                shrink_runs: self.plan.shrink_runs,
            };
            match self.fleet.start(&self.plan.kernels[item.kernel], &job) {
                Ok(id) => drop(self.running.insert(id, place)),
                Err(error) if self.has_nothing() => return Err(error),
                // What was found is not to be lost with it.
                Err(error) => self.outcomes[place].failure = Some(error.to_string()),
            }
        }
        Ok(())
    }

    fn has_nothing(&self) -> bool {
        let untold = |it: &Outcome| *it == Outcome::default();
        self.fleet.is_empty() && self.outcomes.iter().all(untold)
    }

    fn stop(&mut self, why: Stopped) {
        for (id, place) in self.running.drain() {
            self.fleet.stop(id);
            let outcome = &mut self.outcomes[place];
            match &mut outcome.finding {
                Some(finding) => drop(finding.stopped.get_or_insert(why)),
                // Nothing is known of it.
                None => outcome.ran = false,
            }
        }
    }

    fn note(&mut self, report: Report, hear: &mut dyn FnMut(usize, &Finding)) {
        match report {
            Report::Told(id, _, event) => {
                let Some(place) = self.running.get(&id) else {
                    return;
                };
                let outcome = &mut self.outcomes[*place];
                outcome.ran = true;
                match event {
                    Event::Suspect(it) | Event::Smaller(it) | Event::Found(it) => {
                        hear(*place, &it);
                        outcome.finding = Some(it);
                    }
                    Event::Failed(why) => outcome.failure = Some(why),
                    _ => {}
                }
            }
            Report::Ended(id, _, end) => {
                if let Some(place) = self.running.remove(&id) {
                    self.note_end(place, end);
                }
            }
        }
    }

    fn note_end(&mut self, place: usize, end: End) {
        let item = &self.plan.items[place];
        let outcome = &mut self.outcomes[place];
        let ended = match end.outcome {
            Ok(ended) => ended,
            Err(error) => return outcome.failure = Some(error.to_string()),
        };
        let crash = Crash::of(&ended.exit);
        match (&mut outcome.finding, crash) {
            (Some(finding), Some(crash)) => {
                finding.stopped.get_or_insert(Stopped::Interrupted);
                outcome.failure = Some(crash.message("while it was made smaller"));
            }
            (None, Some(crash)) if outcome.ran => {
                let message = crash.message("while it ran");
                match text::parse("finding", &item.text) {
                    Ok(scenario) => {
                        let finding = Finding::suspect(0, crash.property, message, &scenario);
                        outcome.finding = Some(finding);
                        self.crashed.push(place);
                    }
                    Err(error) => outcome.failure = Some(error.to_string()),
                }
            }
            (None, Some(crash)) => {
                outcome.failure = Some(crash.message("before the scenario ran"));
            }
            (_, None) if ended.exit == Exit::Status(0) => {}
            (_, None) => {
                let stray = end.stray.trim();
                outcome.failure = Some(format!("the worker ended: {:?}: {stray}", ended.exit));
            }
        }
    }

    // Each candidate needs a boot of its own, so all guests work on one of them.
    fn shrink_crashes(&mut self, interrupted: &dyn Fn() -> bool) {
        let Plan {
            kernels,
            items,
            contract,
            shrink_runs,
            jobs,
            ..
        } = self.plan;
        for place in std::mem::take(&mut self.crashed) {
            let budget = Budget {
                runs: *shrink_runs,
                time: self.left(),
            };
            let outcome = &mut self.outcomes[place];
            if let Some(finding) = &mut outcome.finding {
                let kernel = &kernels[items[place].kernel];
                let shrunk = crash::shrink(kernel, *contract, finding, budget, *jobs, interrupted);
                if let Err(error) = shrunk {
                    outcome.failure = Some(error.to_string());
                }
            }
        }
    }
}
