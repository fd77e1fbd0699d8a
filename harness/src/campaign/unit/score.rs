//! A unit of a score: some of the bugs that were put in, looked for from some of the seeds.

use serde::{Deserialize, Serialize};

use super::check::Error;
use super::store::Store;
use super::{Done, Found, Unit, Watch};
use crate::campaign::score::{self, Plan, Run, Subject};
use crate::kernel::{Kernel, KernelName, Mutant};
use crate::oracle::Property;

/// One kernel, looked at from one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    /// The kernel.
    pub kernel: String,
    /// The bug that is in it; `None`: none that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<Bug>,
    /// Properties of which any is the right one to catch it.
    pub right: Vec<Property>,
    /// What came of it.
    pub run: Run,
}

/// A bug that was put in, for the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bug {
    /// Its name.
    pub name: String,
    /// What its patch says of itself.
    pub subject: String,
    /// What is seen of it.
    pub symptom: String,
}

impl Looked {
    /// The kernel as a subject of a score; `None`: its name is none that this inflight knows.
    pub fn subject(&self) -> Option<Subject> {
        let kernel: KernelName = self.kernel.parse().ok()?;
        let mutant = self.mutant.as_ref().map(|bug| Mutant {
            name: bug.name.clone(),
            kernel: kernel.clone(),
            subject: bug.subject.clone(),
            symptom: bug.symptom.clone(),
            properties: Vec::new(),
            takes_cpus: false,
        });
        Some(Subject {
            kernel,
            mutant,
            right: self.right.clone(),
        })
    }
}

/// Looks at the kernels of `unit`'s part: `kernel` tells one by its name. Kernels and seeds
/// are dealt out one by one, a kernel's seeds behind each other.
///
/// # Errors
/// [`Error`]; what `kernel` says. Then the unit is not through.
pub fn run<E: From<Error>>(
    unit: &Unit,
    plan: &Plan,
    store: &Store,
    mut kernel: impl FnMut(&KernelName) -> Result<Kernel, E>,
    mut tell: impl FnMut(&Looked),
) -> Result<Done, E> {
    let watch = Watch::start();
    let mut runs: Vec<Looked> = Vec::new();
    let seeds = (0..).zip(&plan.subjects).flat_map(|(number, subject)| {
        let first: u64 = number * plan.seeds;
        (1..=plan.seeds).map(move |seed| (first + seed - 1, subject, seed))
    });
    for (_, subject, seed) in seeds.filter(|(number, ..)| unit.shard.has(*number)) {
        let kernel = kernel(&plan.mode.kernel(&subject.kernel))?;
        let mut trouble = None;
        let run = score::look_once(plan, &kernel, seed, |finding| {
            // Of the kernel that showed it; the unit has many.
            let mut found = Found::new(unit, finding.clone(), None);
            (found.kernel, found.key) = (kernel.name.to_string(), kernel.key.clone());
            found.seed = seed;
            // That there is a bug is known.
            found.is_expected = subject.mutant.is_some();
            if let Err(error) = store.note(&found) {
                trouble.get_or_insert(error);
            }
        });
        if let Some(error) = trouble {
            return Err(Error::from(error).into());
        }
        if !run.failures.is_empty() {
            let why = format!("{}, seed {seed}: {}", kernel.name, run.failures.join("; "));
            return Err(Error::Failed(why).into());
        }
        let looked = Looked {
            kernel: subject.kernel.to_string(),
            mutant: subject.mutant.as_ref().map(|it| Bug {
                name: it.name.clone(),
                subject: it.subject.clone(),
                symptom: it.symptom.clone(),
            }),
            right: subject.right.clone(),
            run,
        };
        tell(&looked);
        runs.push(looked);
    }
    let done = Done {
        scenarios: runs.iter().map(|it| it.run.scenarios).sum(),
        took: watch.stop(runs.iter().map(|it| it.run.took).sum()),
        runs,
        ..Done::of(unit)
    };
    store.put(&done).map_err(Error::from)?;
    Ok(done)
}
