//! Given scenarios on several kernels at once.
//!
//! A guest that crashes takes its kernel's remaining scenarios with it, so they
//! are handed to a new one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::crash::Crash;
use super::host::{End, Fleet, Id, Report};
use super::job::{Event, Job, Replayed};
use crate::engine::{self, Exit};
use crate::guest::lacks::Lack;
use crate::history::Counters;
use crate::kernel::Kernel;
use crate::oracle::{Contract, Property};

/// Scenarios a guest; also keeps a job within what one argument may hold.
const MOST_A_GUEST: usize = 16;
const MOST_BYTES_A_GUEST: usize = 64 * 1024;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On which kernels.
    pub kernels: Vec<Kernel>,
    /// The scenarios, as text.
    pub texts: Vec<String>,
    /// How often each.
    pub times: u32,
    /// What the kernels are held to.
    pub contract: Contract,
    /// Guests at a time.
    pub jobs: usize,
}

/// What one scenario did on one kernel, `times` times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Runs made.
    pub runs: u32,
    /// Properties broken, and in how many runs.
    pub violated: Vec<(Property, u32)>,
    /// Of the first violation, for people.
    pub message: Option<String>,
    /// Different histories seen; `None` when the guest crashed.
    pub digests: Option<usize>,
    /// What the kernel counted: see [`Replayed::counters`].
    pub counters: Vec<Counters>,
    /// What went wrong apart from the kernel under test.
    pub failure: Option<String>,
    /// What the kernel lacks, so that it was not run.
    pub skipped: Option<Lack>,
}

/// Runs `plan`; the outcomes by kernel, then by scenario.
///
/// # Errors
/// When a guest cannot be booted at all. Everything else is in the outcomes.
pub fn run(plan: &Plan) -> Result<Vec<Vec<Outcome>>, engine::Error> {
    let mut replay = Replay::new(plan);
    replay.start_what_fits()?;
    while !replay.fleet.is_empty() {
        if let Some(report) = replay.fleet.next(Duration::from_secs(3600)) {
            replay.note(report);
        }
        replay.start_what_fits()?;
    }
    let missing = || Outcome::failed("it was not run".into());
    let outcomes = replay.outcomes.into_iter();
    Ok(outcomes
        .map(|kernel| {
            kernel
                .into_iter()
                .map(|it| it.unwrap_or_else(missing))
                .collect()
        })
        .collect())
}

/// Scenarios that one guest is to run.
#[derive(Debug)]
struct Batch {
    kernel: usize,
    /// Indices into the plan's texts, still to be run.
    files: VecDeque<usize>,
    /// Whether its guest has told of any.
    told: bool,
    failure: Option<String>,
}

struct Replay<'a> {
    plan: &'a Plan,
    fleet: Fleet,
    waiting: VecDeque<Batch>,
    running: HashMap<Id, Batch>,
    outcomes: Vec<Vec<Option<Outcome>>>,
}

impl<'a> Replay<'a> {
    fn new(plan: &'a Plan) -> Replay<'a> {
        let mut waiting = VecDeque::new();
        for kernel in 0..plan.kernels.len() {
            let mut files = VecDeque::new();
            let mut bytes = 0;
            for (file, text) in plan.texts.iter().enumerate() {
                if files.len() == MOST_A_GUEST || bytes + text.len() > MOST_BYTES_A_GUEST {
                    let files = std::mem::take(&mut files);
                    waiting.push_back(Batch::new(kernel, files));
                    bytes = 0;
                }
                files.push_back(file);
                bytes += text.len();
            }
            waiting.push_back(Batch::new(kernel, files));
        }
        waiting.retain(|batch| !batch.files.is_empty());
        Replay {
            plan,
            fleet: Fleet::new(),
            waiting,
            running: HashMap::new(),
            outcomes: vec![vec![None; plan.texts.len()]; plan.kernels.len()],
        }
    }

    fn start_what_fits(&mut self) -> Result<(), engine::Error> {
        while self.fleet.len() < self.plan.jobs {
            let Some(batch) = self.waiting.pop_front() else {
                break;
            };
            let texts = batch
                .files
                .iter()
                .map(|&file| self.plan.texts[file].clone());
            let job = Job::Replay {
                texts: texts.collect(),
                times: self.plan.times,
                contract: self.plan.contract,
            };
            let id = self.fleet.start(&self.plan.kernels[batch.kernel], &job)?;
            self.running.insert(id, batch);
        }
        Ok(())
    }

    fn note(&mut self, report: Report) {
        match report {
            Report::Told(id, _, event) => {
                let Some(batch) = self.running.get_mut(&id) else {
                    return;
                };
                match event {
                    // A guest tells of its scenarios in order.
                    Event::Replayed(replayed) => {
                        batch.told = true;
                        if let Some(file) = batch.files.pop_front() {
                            self.outcomes[batch.kernel][file] = Some(replayed.into());
                        }
                    }
                    Event::Failed(why) => batch.failure = Some(why),
                    _ => {}
                }
            }
            Report::Ended(id, _, end) => {
                if let Some(batch) = self.running.remove(&id) {
                    self.note_end(batch, end);
                }
            }
        }
    }

    fn note_end(&mut self, mut batch: Batch, end: End) {
        // Whatever it was about to tell of is what ended it.
        let Some(file) = batch.files.pop_front() else {
            return;
        };
        let outcome = match (batch.failure.take(), end.outcome) {
            (Some(why), _) => Outcome::failed(why),
            (None, Err(error)) => Outcome::failed(error.to_string()),
            (None, Ok(outcome)) => match (Crash::of(&outcome.exit), outcome.exit) {
                (Some(crash), _) => Outcome {
                    runs: 1,
                    violated: vec![(crash.property, 1)],
                    message: Some(crash.message("while it ran")),
                    digests: None,
                    counters: Vec::new(),
                    failure: None,
                    skipped: None,
                },
                // A wedged kernel ends its worker early, and well.
                (None, Exit::Status(0)) if batch.told => {
                    batch.told = false;
                    batch.files.push_front(file);
                    self.waiting.push_back(batch);
                    return;
                }
                (None, exit) => Outcome::failed(format!("{exit:?}: {}", end.stray.trim())),
            },
        };
        self.outcomes[batch.kernel][file] = Some(outcome);
        if !batch.files.is_empty() {
            batch.told = false;
            self.waiting.push_back(batch);
        }
    }
}

impl Batch {
    fn new(kernel: usize, files: VecDeque<usize>) -> Batch {
        Batch {
            kernel,
            files,
            told: false,
            failure: None,
        }
    }
}

impl Outcome {
    fn failed(why: String) -> Outcome {
        Outcome {
            runs: 0,
            violated: Vec::new(),
            message: None,
            digests: None,
            counters: Vec::new(),
            failure: Some(why),
            skipped: None,
        }
    }

    /// In how many runs `property` was broken.
    pub fn times(&self, property: Property) -> u32 {
        let broken = self.violated.iter().find(|(it, _)| *it == property);
        broken.map_or(0, |(_, times)| *times)
    }
}

impl From<Replayed> for Outcome {
    fn from(replayed: Replayed) -> Outcome {
        Outcome {
            runs: replayed.runs,
            violated: replayed.violated,
            message: replayed.message,
            digests: Some(replayed.digests),
            counters: replayed.counters,
            failure: None,
            skipped: replayed.skipped,
        }
    }
}
