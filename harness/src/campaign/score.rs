//! How good the suite is: bugs are put in, and it is counted which of them are found.
//!
//! A bug is a mutant of the patched kernel ([`crate::kernel::Mutant`]). It is looked for from
//! several seeds, each time from nothing, on one CPU and for a limited time: no scenario of
//! the corpus is used. The patched kernel itself is looked at in the same way and for as long,
//! and must raise nothing.
//!
//! While the first mutants are looked for, the next are built.

mod seek;
mod tally;

use std::collections::BTreeMap;
use std::mem;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::campaign::job::Finding;
use crate::kernel::{Error, Kernel, KernelName, Mutant};
use crate::oracle::Property;
pub(crate) use tally::median;
pub use tally::{Score, Verdict, needed};

/// How a bug is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Generated scenarios, as by `inflight check`.
    Check,
    /// The fuzz target.
    Fuzz {
        /// Its file.
        program: PathBuf,
        /// Scenarios to begin with; none, and it begins from nothing.
        corpus: Vec<PathBuf>,
    },
}

/// A kernel that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub kernel: KernelName,
    /// The bug that is in it; `None`: none that is known.
    pub mutant: Option<Mutant>,
    /// Properties of which any is the right one to catch it.
    pub right: Vec<Property>,
}

impl Subject {
    /// A kernel with a bug.
    ///
    /// # Errors
    /// Its patch names a property that there is not.
    pub fn of(mutant: Mutant) -> Result<Subject, Error> {
        Ok(Subject {
            kernel: mutant.kernel.clone(),
            right: right(&mutant)?,
            mutant: Some(mutant),
        })
    }

    /// A kernel that must raise nothing.
    pub fn clean(kernel: KernelName) -> Subject {
        Subject {
            kernel,
            mutant: None,
            right: Vec::new(),
        }
    }
}

/// The properties of which any is the right one to catch a mutant.
///
/// # Errors
/// Its patch names one that there is not: `file:line:col`.
pub fn right(mutant: &Mutant) -> Result<Vec<Property>, Error> {
    let property = |(name, place): &(String, String)| {
        let known = || Property::ALL.into_iter();
        known().find(|it| it.to_string() == *name).ok_or_else(|| {
            let known: Vec<String> = known().map(|it| it.to_string()).collect();
            let known = known.join(", ");
            Error::Input(format!("{place}: no property `{name}`; there are {known}"))
        })
    };
    mutant.properties.iter().map(property).collect()
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is looked at, in this order.
    pub subjects: Vec<Subject>,
    /// So many seeds, from 1 on.
    pub seeds: u64,
    /// For so long from each, the boot included.
    pub time: Duration,
    /// Guests at a time.
    pub jobs: usize,
    /// How.
    pub mode: Mode,
    /// Runs that the minimizer may use for each finding that is made smaller.
    pub shrink_runs: u64,
}

/// What came of one seed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// Scenarios that ran, up to the catch.
    pub scenarios: u64,
    /// How long they took, without the boot.
    pub took: Duration,
    /// What was broken.
    pub caught: Option<Property>,
    /// Steps of the smallest scenario that breaks it, if it was made smaller.
    pub minimized_ops: Option<usize>,
    /// What went wrong apart from the kernel.
    pub failures: Vec<String>,
}

/// What is told meanwhile; subjects by their place in the plan.
#[derive(Debug)]
pub enum News<'a> {
    /// A violation, before or after it was made smaller: to be saved at once.
    Finding(usize, u64, &'a Finding),
    /// All seeds of a subject are through.
    Scored(usize, &'a Score),
    /// A kernel cannot be had, so nothing is known of it.
    NotBuilt(usize, &'a Error),
}

/// The findings of so many seeds are made smaller: of the others it is only of interest when
/// they come.
const MINIMIZED_SEEDS: u64 = 3;

/// A kernel to be looked at from a seed.
struct Task {
    subject: usize,
    kernel: Kernel,
    seed: u64,
}

enum Told {
    Finding(usize, u64, Finding),
    Ran(usize, Run),
    NotBuilt(usize, Error),
}

/// Carries out `plan`, with kernels by `build`, which is called for each in turn. Returns the
/// scores of those that could be built, in the order of the plan.
pub fn run(
    plan: &Plan,
    build: impl Fn(&KernelName) -> Result<Kernel, Error> + Send,
    mut tell: impl FnMut(News<'_>),
) -> Vec<Score> {
    let (say, told) = mpsc::channel();
    let (hand, tasks) = mpsc::channel();
    let tasks = Mutex::new(tasks);
    let mut runs: BTreeMap<usize, Vec<Run>> = BTreeMap::new();
    let mut scores = BTreeMap::new();
    thread::scope(|scope| {
        let builder = say.clone();
        scope.spawn(move || build_all(plan, build, &hand, &builder));
        for _ in 0..plan.jobs.max(1) {
            let (say, tasks) = (say.clone(), &tasks);
            scope.spawn(move || look(plan, tasks, &say));
        }
        // What is left are the threads' own.
        drop(say);
        for it in told {
            match it {
                Told::Finding(subject, seed, finding) => {
                    tell(News::Finding(subject, seed, &finding));
                }
                Told::NotBuilt(subject, error) => tell(News::NotBuilt(subject, &error)),
                Told::Ran(subject, run) => {
                    let all = runs.entry(subject).or_default();
                    all.push(run);
                    if all.len() as u64 == plan.seeds {
                        let score = Score::new(plan.subjects[subject].clone(), mem::take(all));
                        tell(News::Scored(subject, &score));
                        scores.insert(subject, score);
                    }
                }
            }
        }
    });
    scores.into_values().collect()
}

fn build_all(
    plan: &Plan,
    build: impl Fn(&KernelName) -> Result<Kernel, Error>,
    hand: &Sender<Task>,
    say: &Sender<Told>,
) {
    for (subject, entry) in plan.subjects.iter().enumerate() {
        match build(&plan.mode.kernel(&entry.kernel)) {
            Err(error) => drop(say.send(Told::NotBuilt(subject, error))),
            Ok(kernel) => {
                for seed in 1..=plan.seeds {
                    let kernel = kernel.clone();
                    // Whoever would take it has panicked, which the scope passes on.
                    let _ = hand.send(Task {
                        subject,
                        kernel,
                        seed,
                    });
                }
            }
        }
    }
}

/// Looks at one kernel from one seed; `hear` gets what is found, before and after it was made
/// smaller.
pub fn look_once(plan: &Plan, kernel: &Kernel, seed: u64, hear: impl FnMut(&Finding)) -> Run {
    let shrink_runs = match seed <= MINIMIZED_SEEDS {
        true => plan.shrink_runs,
        false => 0,
    };
    seek::seek(plan, kernel, seed, shrink_runs, hear)
}

fn look(plan: &Plan, tasks: &Mutex<Receiver<Task>>, say: &Sender<Told>) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        let Task {
            subject,
            kernel,
            seed,
        } = task;
        let hear = |finding: &Finding| {
            let _ = say.send(Told::Finding(subject, seed, finding.clone()));
        };
        let run = look_once(plan, &kernel, seed, hear);
        let _ = say.send(Told::Ran(subject, run));
    }
}

#[cfg(test)]
mod tests;
