//! A unit of generated scenarios.

use std::time::Duration;

use super::store::{Store, StoreError};
use super::{Done, Found, Unit, Watch, Work};
use crate::campaign::check::{self, News, Outcome, Plan};
use crate::engine;
use crate::kernel::Kernel;
use crate::process::interrupted;
use crate::scenario::features::Exercised;

/// A unit that has found so much is over: its kernel breaks all the time, and more of the
/// same is no news.
pub const MOST_FINDINGS: u64 = 16;

/// Why a unit did not come to its end. What it has found is in the folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be written to.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No guest can be had.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// Something went wrong apart from the kernel.
    #[error("{0}")]
    Failed(String),
}

/// What a unit tells meanwhile.
#[derive(Debug)]
pub enum Tell<'a> {
    /// So many scenarios have run.
    Progress(u64),
    /// A violation, before or after it was made smaller. It is in the folder.
    Found(&'a Found),
}

/// Runs `unit` on `kernel`, and writes what it comes to into `store`. It goes on after a
/// violation, up to [`MOST_FINDINGS`].
///
/// # Errors
/// [`Error`]. Then the unit is not through, and is to be run again.
pub fn run(
    unit: &Unit,
    kernel: &Kernel,
    store: &Store,
    mut tell: impl FnMut(Tell<'_>),
) -> Result<Done, Error> {
    let &Work::Check { cases, shrink_runs } = &unit.work else {
        return Err(Error::Failed(format!("{}: no such unit", unit.id())));
    };
    let watch = Watch::start();
    let expected = check::expected(&kernel.name, unit.contract);
    let shard = unit.shard;
    let mut all = Vec::new();
    let mut first = u64::from(shard.index());
    let mut findings = 0;
    while first < cases && findings < MOST_FINDINGS {
        let plan = Plan {
            kernels: vec![kernel.clone()],
            contract: unit.contract,
            seed: unit.seed,
            first,
            stride: shard.of().into(),
            cases,
            jobs: 1,
            time: None,
            shrink_runs,
        };
        let before: u64 = all.iter().map(|it: &Outcome| it.scenarios).sum();
        let mut trouble = None;
        let outcomes = check::run_until(&plan, &interrupted, |news| match news {
            News::Progress(_, scenarios) => tell(Tell::Progress(before + scenarios)),
            News::Finding(_, finding) => {
                let found = Found::new(unit, finding.clone(), expected);
                if let Err(error) = store.note(&found) {
                    trouble.get_or_insert(error);
                }
                tell(Tell::Found(&found));
            }
        })?;
        if let Some(error) = trouble {
            return Err(error.into());
        }
        let outcome = outcomes.into_iter().next();
        let outcome = outcome.ok_or_else(|| Error::Failed("no kernel ran".into()))?;
        if !outcome.failures.is_empty() {
            return Err(Error::Failed(outcome.failures.join("\n")));
        }
        let next = outcome.finding.as_ref().map(|it| it.index);
        all.push(outcome);
        let Some(index) = next else { break };
        findings += 1;
        first = index.saturating_add(shard.of().into());
    }
    // Where it has not come to the end, it has found enough.
    let left_out = match findings >= MOST_FINDINGS && first < cases {
        true => (cases - first).div_ceil(u64::from(shard.of())),
        false => 0,
    };
    let done = Done {
        left_out,
        ..done(unit, watch, &all)
    };
    store.put(&done)?;
    Ok(done)
}

fn done(unit: &Unit, watch: Watch, all: &[Outcome]) -> Done {
    let busy: Duration = all.iter().map(|it| it.busy).sum();
    let mut excused = std::collections::BTreeMap::new();
    for (bug, times) in all.iter().flat_map(|it| &it.excused) {
        *excused.entry(*bug).or_default() += times;
    }
    Done {
        scenarios: all.iter().map(|it| it.scenarios).sum(),
        virtual_ns: all.iter().map(|it| it.virtual_ns).sum(),
        excused,
        exercised: Some(Exercised::from(&check::coverage(unit.seed, all))),
        skipped: all.iter().map(Outcome::skips).sum(),
        took: watch.stop(busy),
        ..Done::of(unit)
    }
}
