//! `--shard I/N --out DIR`: a part of a campaign that many machines work at.
//!
//! Nothing is built here: the machine may have no compiler, and a thousand of them are not to
//! build the same kernel. Kernels are those of the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::json;

use super::format::{Format, note, print};
use super::{Failure, Status, usage};
use crate::campaign::score::{Mode, Plan as ScorePlan};
use crate::campaign::unit::check::{Error, Tell};
use crate::campaign::unit::store::{Store, StoreError};
use crate::campaign::unit::{self, Done, Found, Shard, Unit, Work};
use crate::kernel::{self, Kernel, KernelName, Machine};
use crate::oracle::Contract;
use crate::process::{interrupted, watch_for_interrupts};
use crate::report::campaign::render;

/// Where a part goes, and how it is told of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// Which part.
    pub shard: Shard,
    /// The folder.
    pub out: &'a Path,
    /// Files of kernels.
    pub parcels: Option<&'a Path>,
    /// How it is told of.
    pub format: Format,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let status = match error {
            StoreError::Damaged { .. } => Status::Usage,
            StoreError::Io { .. } => Status::Missing,
        };
        Failure::new(status, error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Store(error) => error.into(),
            Error::Engine(error) => error.into(),
            Error::Failed(_) if interrupted() => Failure::new(Status::Interrupted, error),
            Error::Failed(_) => Failure::new(Status::Internal, error),
        }
    }
}

/// A number that all parts are to have in common.
pub(super) fn seed(given: Option<u64>) -> Result<u64, Failure> {
    given.ok_or_else(|| {
        usage(anyhow!(
            "--shard: --seed is needed: all parts of a campaign have the same"
        ))
    })
}

/// A kernel of the cache, or from a file in `parcels`, where that is given.
pub(super) fn shipped(name: &KernelName, parcels: Option<&Path>) -> Result<Kernel, Failure> {
    let Some(folder) = parcels else {
        let kernel = kernel::shipped(name, Machine::Uml)?;
        return kernel.ok_or_else(|| absent(name));
    };
    let (parcel, key) = parcel(name, folder)?;
    if let Some(kernel) = kernel::of_key(name, Machine::Uml, &key)? {
        return Ok(kernel);
    }
    kernel::import(&parcel)?;
    kernel::of_key(name, Machine::Uml, &key)?.ok_or_else(|| {
        let parcel = parcel.display();
        usage(anyhow!(
            "{parcel}: there is another kernel in it than its name says"
        ))
    })
}

/// The key of a kernel, without unpacking it.
fn key_of(name: &KernelName, parcels: Option<&Path>) -> Result<String, Failure> {
    match parcels {
        None => Ok(shipped(name, None)?.key),
        Some(folder) => Ok(parcel(name, folder)?.1),
    }
}

fn parcel(name: &KernelName, folder: &Path) -> Result<(PathBuf, String), Failure> {
    let parcel = kernel::parcel_in(folder, name, Machine::Uml)?;
    parcel.ok_or_else(|| {
        let folder = folder.display();
        Failure::new(
            Status::Missing,
            anyhow!(
                "{name} is not in --parcels {folder}\n  remedy: inflight kernel export {name} \
                 --out {folder}, where it is built"
            ),
        )
    })
}

fn absent(name: &KernelName) -> Failure {
    let end = kernel::PARCEL_SUFFIX;
    Failure::new(
        Status::Missing,
        anyhow!(
            "{name} is not in the cache, and a part of a campaign builds nothing\n  remedy: \
             inflight kernel build {name}, or, from where it is built, inflight kernel export \
             {name} and here inflight kernel import {name}-KEY{end}"
        ),
    )
}

fn program() -> Result<String, Failure> {
    unit::this_program().map_err(|error| {
        Failure::new(
            Status::Internal,
            anyhow!("cannot read this program: {error}"),
        )
    })
}

pub(super) fn new(
    work: Work,
    kernel: &Kernel,
    contract: Contract,
    seed: u64,
    shard: Shard,
) -> Result<Unit, Failure> {
    Ok(Unit {
        program: program()?,
        work,
        kernel: kernel.name.to_string(),
        key: kernel.key.clone(),
        contract,
        seed,
        shard,
    })
}

/// A scheduler that takes its machine back says so first.
fn watch() -> Result<(), Failure> {
    watch_for_interrupts().map_err(|error| Failure::new(Status::Internal, error))
}

/// Runs a part of `cases` generated scenarios on each kernel.
pub(super) fn check(
    part: Part<'_>,
    names: &[KernelName],
    contract: Contract,
    seed: u64,
    (cases, shrink_runs): (u64, u64),
) -> Result<Status, Failure> {
    let store = Store::open(part.out)?;
    watch()?;
    let mut all = Vec::new();
    for name in names {
        let kernel = shipped(name, part.parcels)?;
        let work = Work::Check { cases, shrink_runs };
        all.push((new(work, &kernel, contract, seed, part.shard)?, kernel));
    }
    let mut status = Status::Held;
    for (unit, kernel) in all {
        let ended = unless_done(part, &store, &unit, || {
            let share = unit.shard.share(cases);
            let done = unit::check::run(&unit, &kernel, &store, |tell| match tell {
                Tell::Progress(scenarios) => progress(&unit, scenarios, share),
                Tell::Found(found) => say(found),
            })?;
            Ok(done)
        })?;
        status = worse(status, ended);
    }
    Ok(status)
}

/// Runs a part of `runs` inputs of the fuzz target.
pub(super) fn fuzz(
    part: Part<'_>,
    name: &KernelName,
    contract: Contract,
    seed: u64,
    (runs, shrink_runs): (u64, u64),
    (target, inputs): (&Path, &[PathBuf]),
) -> Result<Status, Failure> {
    let store = Store::open(part.out)?;
    let kernel = shipped(name, part.parcels)?;
    let work = Work::Fuzz {
        runs,
        shrink_runs,
        inputs: hash_of(target, inputs)?,
    };
    let unit = new(work, &kernel, contract, seed, part.shard)?;
    watch()?;
    unless_done(part, &store, &unit, || {
        let share = unit.shard.share(runs);
        let mut told = 0;
        let done = unit::fuzz::run(&unit, &kernel, target, inputs, &store, |status| {
            if status.executions >= told + EVERY {
                told = status.executions;
                progress(&unit, told, share);
            }
        })?;
        Ok(done)
    })
}

/// Looks for some of the bugs that were put in.
pub(super) fn score(
    part: Part<'_>,
    plan: &ScorePlan,
    versions: &[String],
) -> Result<Status, Failure> {
    let store = Store::open(part.out)?;
    watch()?;
    let mut keys = blake3::Hasher::new();
    let mut mutants = Vec::new();
    for subject in &plan.subjects {
        let name = plan.mode.kernel(&subject.kernel);
        keys.update(name.to_string().as_bytes());
        keys.update(key_of(&name, part.parcels)?.as_bytes());
        mutants.extend(subject.mutant.as_ref().map(|it| it.kernel.to_string()));
    }
    let work = Work::Score {
        mutants,
        seeds: plan.seeds,
        time_ms: u64::try_from(plan.time.as_millis()).unwrap_or(u64::MAX),
        by: match &plan.mode {
            Mode::Check => "check".into(),
            Mode::Fuzz { program, corpus } => format!("fuzz {}", hash_of(program, corpus)?),
        },
        shrink_runs: plan.shrink_runs,
    };
    let unit = Unit {
        program: program()?,
        work,
        kernel: versions.join("+"),
        key: keys.finalize().to_hex()[..16].to_owned(),
        contract: Contract::Stable,
        seed: 0,
        shard: part.shard,
    };
    unless_done(part, &store, &unit, || {
        let kernel = |name: &KernelName| shipped(name, part.parcels);
        unit::score::run(&unit, plan, &store, kernel, |looked| {
            let caught = match looked.run.caught {
                Some(property) => format!("{property} after {} scenarios", looked.run.scenarios),
                None => format!("nothing in {} scenarios", looked.run.scenarios),
            };
            note(format_args!(
                "{}, seed {}: {caught}",
                looked.kernel, looked.run.seed
            ));
        })
    })
}

/// A line each time that so many have run.
const EVERY: u64 = 1000;

fn progress(unit: &Unit, scenarios: u64, share: u64) {
    // It is told every 64.
    if scenarios / EVERY != scenarios.saturating_sub(64) / EVERY || scenarios.is_multiple_of(EVERY)
    {
        note(format_args!("{}: {scenarios} of {share}", unit.id()));
    }
}

fn say(found: &Found) {
    let finding = &found.finding;
    note(format_args!(
        "{}: case {} violates {}, {}",
        found.kernel,
        finding.index,
        finding.property,
        finding.ratio()
    ));
}

/// Runs a unit, unless somebody has done so; says what it came to.
fn unless_done(
    part: Part<'_>,
    store: &Store,
    unit: &Unit,
    run: impl FnOnce() -> Result<Done, Failure>,
) -> Result<Status, Failure> {
    let id = unit.id();
    let done = match store.get(unit)? {
        Some(done) => {
            note(format_args!("{id}: it is through already"));
            done
        }
        None => {
            note(format_args!("{id}: begun"));
            run()?
        }
    };
    let found = store.found_of(unit)?;
    let surprises: Vec<&Found> = found.iter().filter(|it| !it.is_expected).collect();
    print(&match part.format {
        Format::Json => format!("{}\n", json(&done, &found)),
        Format::Human => human(&done, &found, &surprises),
    })?;
    Ok(if !surprises.is_empty() {
        Status::Violated
    } else if done.scenarios == 0 && share(unit) > 0 {
        Status::NothingRan
    } else {
        Status::Held
    })
}

/// How many scenarios a unit has, as far as that is known before.
fn share(unit: &Unit) -> u64 {
    match unit.work {
        Work::Check { cases, .. } => unit.shard.share(cases),
        Work::Fuzz { runs, .. } => unit.shard.share(runs),
        Work::Score { .. } | Work::Smaller { .. } => 0,
    }
}

fn human(done: &Done, found: &[Found], surprises: &[&Found]) -> String {
    let mut text = format!(
        "{}: {} scenarios, {} violations, {} of them not expected\n",
        done.unit.id(),
        done.scenarios,
        found.len(),
        surprises.len()
    );
    for found in surprises {
        text += &format!("\n{}\n", render(found));
    }
    text
}

fn json(done: &Done, found: &[Found]) -> serde_json::Value {
    json!({
        "unit": done.unit.id(),
        "mode": done.unit.work.mode(),
        "kernel": done.unit.kernel,
        "key": done.unit.key,
        "shard": done.unit.shard,
        "scenarios": done.scenarios,
        "seconds": done.took.busy_ms as f64 / 1000.0,
        "findings": found.len(),
        "surprises": found.iter().filter(|it| !it.is_expected).count(),
    })
}

fn worse(one: Status, other: Status) -> Status {
    match (one, other) {
        (Status::Held, other) => other,
        (Status::NothingRan, Status::Violated) => other,
        _ => one,
    }
}

/// What names a target and what it begins with.
fn hash_of(target: &Path, inputs: &[PathBuf]) -> Result<String, Failure> {
    let unreadable = |path: &Path, error: std::io::Error| {
        usage(anyhow!("cannot read {}: {error}", path.display()))
    };
    let mut hasher = blake3::Hasher::new();
    let mut add = |path: &Path| {
        let bytes = fs::read(path).map_err(|error| unreadable(path, error))?;
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
        Ok::<_, Failure>(())
    };
    add(target)?;
    for folder in inputs {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let entries = entries.map_err(|error| unreadable(folder, error))?;
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|it| it.path()).collect();
        paths.retain(|it| it.is_file());
        paths.sort();
        paths.iter().try_for_each(|it| add(it))?;
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}
