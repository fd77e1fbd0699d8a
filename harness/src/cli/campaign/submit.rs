//! `inflight campaign submit`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{Mode, Submit};
use crate::campaign::fuzz::program;
use crate::campaign::merge::Merged;
use crate::campaign::unit::store::Store;
use crate::cli::format::note;
use crate::cli::options::seed;
use crate::cli::{Failure, Status, usage};
use crate::cluster::plan::{self, Job, Plan, PlanError};
use crate::cluster::sbatch::{self, Script};
use crate::cluster::slurm::{self, Task};
use crate::kernel::{self, Extras, KernelName, Machine};
use crate::report::{shell, whole};

/// Where what was merged goes, from the campaign's folder.
pub(super) const MERGED: &str = "merged";
const JOBS: &str = "jobs";
const CASES: u64 = 1_000_000;
const MOST_UNITS: u32 = 10_000_000;
const CASES_A_UNIT: u64 = 20_000;

/// A campaign's folder, as it is called on all machines: a link is not followed.
pub(super) fn real(dir: &Path) -> Result<PathBuf, Failure> {
    let real = std::path::absolute(dir).map_err(|error| unwritable("read", dir, &error))?;
    // Without dots, as it is to stand in the files.
    Ok(real.components().collect())
}

/// What of this campaign waits and runs.
pub(super) fn own(dir: &Path) -> Result<Vec<Task>, Failure> {
    // A folder has more than one name, by links and dots.
    let Ok(jobs) = dir.join(JOBS).canonicalize() else {
        return Ok(Vec::new());
    };
    let is_there = |task: &Task| {
        let folder = task.script.parent().and_then(|it| it.canonicalize().ok());
        folder.as_ref() == Some(&jobs)
    };
    let mut tasks = slurm::queue()?;
    tasks.retain(is_there);
    Ok(tasks)
}

/// The file that a part's units are submitted by.
pub(super) fn script_of(plan: &Plan, part: &str) -> String {
    sbatch::units(plan, part, Path::new("/")).name
}

fn unwritable(verb: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Status::Missing,
        anyhow!("cannot {verb} {}: {error}", path.display()),
    )
}

pub(super) fn run(args: &Submit) -> Result<Status, Failure> {
    let dir = real(&args.dir)?;
    if !sbatch::takes(&dir) {
        return Err(usage(anyhow!(
            "{}: sbatch would read this name otherwise; choose a folder of letters, digits and \
             ./_-+,=@ only",
            dir.display()
        )));
    }
    // Before anything is built for nothing.
    let (most_tasks, mut waiting) = match args.dry_run {
        // Where there is no Slurm, nothing waits.
        true => (None, own(&dir).unwrap_or_default()),
        false => (slurm::most_tasks()?, own(&dir)?),
    };
    // What is through has written its file by now.
    waiting.retain(|it| !it.is_ending);
    let (plan, is_new) = plan(args, &dir)?;
    let largest = plan.units.max(plan.causes);
    if let Some(most) = most_tasks.filter(|it| largest >= *it) {
        return Err(usage(anyhow!(
            "an array of {largest} tasks is more than there can be here (MaxArraySize is {most}): \
             --units and --causes at most {}; units can be as long as you like",
            most - 1
        )));
    }
    fs::create_dir_all(&dir).map_err(|error| unwritable("make", &dir, &error))?;
    if is_new {
        let written = plan.write(&dir);
        written.map_err(|error| unwritable("write to", &dir, &error))?;
    }
    provide(args, &plan, &dir)?;
    let is_built = pack(&plan, &dir)?;
    let scripts = write_scripts(&plan, &dir)?;
    let merged = Merged::read(&Store::at(&dir))?;
    let sender = Sender {
        dir: &dir,
        is_dry: args.dry_run,
    };
    let of = |script: &str| -> Vec<&Task> {
        let own = waiting.iter().filter(|it| it.script.ends_with(script));
        own.collect()
    };
    let mut wanted = Vec::new();
    // Before anything is submitted.
    let throttles: Vec<String> = scripts
        .units
        .iter()
        .map(|it| sender.throttle(it))
        .collect::<Result<_, _>>()?;
    for (part, script) in plan.parts().iter().zip(&scripts.units) {
        let mut missing = plan.missing(part, &merged);
        let queued: BTreeSet<u32> = of(script).iter().filter_map(|it| it.number).collect();
        missing.retain(|it| !queued.contains(it));
        wanted.push((script, missing));
    }
    let count: usize = wanted.iter().map(|(_, missing)| missing.len()).sum();
    let mut before: Vec<String> = of(&scripts.build).iter().map(|it| it.job.clone()).collect();
    if !is_built && before.is_empty() && count > 0 {
        before.push(sender.send(&scripts.build, None, &[])?);
    }
    let before: Vec<String> = before.iter().map(|it| format!("afterok:{it}")).collect();
    // What waits already is waited for, too.
    let mut units: BTreeSet<String> = BTreeSet::new();
    for ((script, missing), throttle) in wanted.into_iter().zip(throttles) {
        units.extend(of(script).iter().map(|it| format!("afterany:{}", it.job)));
        if !missing.is_empty() {
            let array = slurm::array(&missing) + &throttle;
            let job = sender.send(script, Some(&array), &before)?;
            units.insert(format!("afterany:{job}"));
        }
    }
    let units: Vec<String> = units.into_iter().collect();
    let are_last_there = !of(&scripts.minimize).is_empty();
    if count > 0 || !are_last_there {
        // Two that merge into one folder at once are in each other's way.
        let mut before_merge = units;
        for last in [&scripts.merge, &scripts.minimize] {
            before_merge.extend(of(last).iter().map(|it| format!("afterany:{}", it.job)));
        }
        before_merge.sort_unstable();
        before_merge.dedup();
        let merge = sender.send(&scripts.merge, None, &before_merge)?;
        let after = [format!("afterok:{merge}")];
        let minimize = sender.send(&scripts.minimize, None, &after)?;
        // Once more, with what has become smaller.
        sender.send(&scripts.merge, None, &[format!("afterany:{minimize}")])?;
    }
    let shown = shell::quote(&dir.display().to_string());
    note(format_args!(
        "{count} units submitted, --seed {}; how it stands: inflight campaign status {shown}",
        plan.seed
    ));
    Ok(Status::Held)
}

/// Submits.
struct Sender<'a> {
    dir: &'a Path,
    is_dry: bool,
}

impl Sender<'_> {
    /// Returns the job's number.
    fn send(&self, script: &str, array: Option<&str>, after: &[String]) -> Result<String, Failure> {
        let path = self.dir.join(JOBS).join(script);
        if self.is_dry {
            let mut words = vec!["sbatch".to_owned()];
            words.extend(array.map(|it| format!("--array={it}")));
            if !after.is_empty() {
                words.push(format!("--dependency={}", after.join(",")));
            }
            words.push(shell::quote(&path.display().to_string()));
            note(words.join(" "));
            return Ok(format!("JOB-OF-{script}"));
        }
        let job = slurm::submit(&path, array, after)?;
        note(format_args!("{script}: job {job}"));
        Ok(job)
    }

    /// How many tasks may run at a time, as the file says by now.
    fn throttle(&self, script: &str) -> Result<String, Failure> {
        let path = self.dir.join(JOBS).join(script);
        let text = fs::read_to_string(&path).map_err(|error| unwritable("read", &path, &error))?;
        Ok(sbatch::throttle(&text).to_owned())
    }
}

/// The plan that is there, or a new one.
fn plan(args: &Submit, dir: &Path) -> Result<(Plan, bool), Failure> {
    match Plan::read(dir) {
        Ok(plan) => {
            if !args.is_plain() && new_plan(args, plan.seed)? != plan {
                return Err(usage(anyhow!(
                    "{}: there is another campaign in it ({}); choose another folder, or leave \
                     the options out to go on with it",
                    dir.display(),
                    plan::FILE
                )));
            }
            note(format_args!(
                "going on with the campaign in {}",
                dir.display()
            ));
            Ok((plan, false))
        }
        Err(PlanError::Absent(_)) => Ok((new_plan(args, seed(args.seed)?)?, true)),
        Err(error) => Err(error.into()),
    }
}

impl Submit {
    /// Whether nothing is said of what is to be done.
    fn is_plain(&self) -> bool {
        let Submit {
            dir: _,
            mode,
            kernels,
            contract,
            cases,
            units,
            seed,
            shrink_runs,
            causes,
            most_at_once,
            build_cpus,
            seeds,
            time_per_mutant,
            mutants,
            target: _,
            options,
            dry_run: _,
        } = self;
        mode.is_none()
            && kernels.is_empty()
            && contract.is_none()
            && cases.is_none()
            && units.is_none()
            && seed.is_none()
            && shrink_runs.is_none()
            && causes.is_none()
            && most_at_once.is_none()
            && build_cpus.is_none()
            && seeds.is_none()
            && time_per_mutant.is_none()
            && mutants.is_empty()
            && options.is_empty()
    }
}

fn new_plan(args: &Submit, usual_seed: u64) -> Result<Plan, Failure> {
    let mode = args.mode.unwrap_or(Mode::Check);
    let cases = args.cases.unwrap_or(CASES);
    let (job, things) = match mode {
        Mode::Check => (Job::Check { cases }, cases.div_ceil(CASES_A_UNIT)),
        Mode::Fuzz => (Job::Fuzz { runs: cases }, cases.div_ceil(CASES_A_UNIT)),
        Mode::Score => {
            let job = Job::Score {
                seeds: args.seeds.unwrap_or(10),
                time_s: args.time_per_mutant.map_or(60, |it| it.as_secs()),
                mutants: args.mutants.clone(),
            };
            (job, 64)
        }
    };
    if mode == Mode::Score && args.cases.is_some() {
        return Err(usage(anyhow!("--cases is not for --mode score")));
    }
    let score = args.seeds.is_some() || args.time_per_mutant.is_some() || !args.mutants.is_empty();
    if mode != Mode::Score && score {
        return Err(usage(anyhow!(
            "--seeds, --time-per-mutant and --mutant are for --mode score"
        )));
    }
    if mode != Mode::Fuzz && args.target.is_some() {
        return Err(usage(anyhow!("--target is for --mode fuzz")));
    }
    Ok(Plan {
        job,
        kernels: kernels(args, mode)?,
        contract: args.contract,
        seed: args.seed.unwrap_or(usual_seed),
        units: args
            .units
            .unwrap_or(u32::try_from(things).unwrap_or(MOST_UNITS).min(MOST_UNITS)),
        shrink_runs: args.shrink_runs.unwrap_or(200),
        causes: args.causes.unwrap_or(16),
        most_at_once: args.most_at_once,
        build_cpus: args.build_cpus.unwrap_or(4),
        options: args.options.clone(),
    })
}

/// The kernels' names, as they are written.
fn kernels(args: &Submit, mode: Mode) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = Vec::new();
    let given: &[String] = match (args.kernels.is_empty(), mode) {
        (false, _) => &args.kernels,
        (true, Mode::Score) => &["6.12".to_owned()],
        (true, _) => &["6.12-patched".to_owned()],
    };
    for given in given {
        let name = match mode {
            // A version.
            Mode::Score => given.clone(),
            Mode::Check | Mode::Fuzz => {
                let name: KernelName = given
                    .parse()
                    .map_err(|error| usage(anyhow!("--kernel {given}: {error}")))?;
                if name == KernelName::Host {
                    return Err(usage(anyhow!(
                        "--kernel host: it runs already, on each machine another"
                    )));
                }
                match mode {
                    Mode::Fuzz => name.counting().to_string(),
                    _ => name.to_string(),
                }
            }
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if mode == Mode::Score {
        kernels_of_score(&names, &args.mutants)?;
    }
    Ok(names)
}

/// The kernels of a score of these versions: the mutants, and those without one.
pub(super) fn kernels_of_score(
    versions: &[String],
    mutants: &[String],
) -> Result<Vec<KernelName>, Failure> {
    let mut names = Vec::new();
    let mut unknown: Vec<&String> = mutants.iter().collect();
    for version in versions {
        let patched: KernelName = format!("{version}-patched")
            .parse()
            .map_err(|error| usage(anyhow!("version {version}: {error}")))?;
        for mutant in kernel::mutants(version, None)? {
            unknown.retain(|it| **it != mutant.name);
            if mutant.takes_cpus || !mutants.is_empty() && !mutants.contains(&mutant.name) {
                continue;
            }
            let clean = match mutant.kernel.extras() {
                Extras::None => patched.clone(),
                extras => patched.clone().with(extras),
            };
            for name in [clean, mutant.kernel] {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    if names.is_empty() && unknown.is_empty() {
        return Err(usage(anyhow!(
            "no mutant of {} is to be looked for; one CPU never shows those that need more \
             (docs/engines.md)",
            versions.join(", ")
        )));
    }
    if let Some(unknown) = unknown.first() {
        return Err(usage(anyhow!(
            "--mutant {unknown}: there is none in {}",
            versions.join(", ")
        )));
    }
    Ok(names)
}

/// Programs, and folders.
fn provide(args: &Submit, plan: &Plan, dir: &Path) -> Result<(), Failure> {
    for folder in ["bin", "kernels", JOBS, "log"] {
        let path = dir.join(folder);
        fs::create_dir_all(&path).map_err(|error| unwritable("make", &path, &error))?;
    }
    Store::open(dir)?;
    provide_program(Path::new("/proc/self/exe"), &dir.join("bin/inflight"))?;
    if let Job::Fuzz { .. } = plan.job {
        let there = dir.join("bin/scenario");
        let target = match &args.target {
            Some(path) => path.clone(),
            None if there.is_file() => return Ok(()),
            None => program::build(&*kernel::progress::stderr())?,
        };
        provide_program(&target, &there)?;
    }
    Ok(())
}

/// A copy: what a campaign was begun with does not change while it runs.
fn provide_program(from: &Path, to: &PathBuf) -> Result<(), Failure> {
    if to.is_file() {
        let same = fs::read(from).ok() == fs::read(to).ok();
        if !same {
            note(format_args!(
                "{} stays as the campaign was begun with it",
                to.display()
            ));
        }
        return Ok(());
    }
    let part = to.with_extension("part");
    let copied = fs::copy(from, &part).and_then(|_| fs::rename(&part, to));
    copied.map_err(|error| unwritable("write", to, &error))
}

/// Packs the kernels that are built here. Returns whether those are all.
fn pack(plan: &Plan, dir: &Path) -> Result<bool, Failure> {
    let names = match &plan.job {
        Job::Score { mutants, .. } => kernels_of_score(&plan.kernels, mutants)?,
        Job::Check { .. } | Job::Fuzz { .. } => plan
            .kernels
            .iter()
            .map(|it| it.parse::<KernelName>().map_err(usage))
            .collect::<Result<_, _>>()?,
    };
    let folder = dir.join("kernels");
    let mut is_all = true;
    for name in &names {
        // Of another key none is to come beside one that is there.
        if kernel::parcel_in(&folder, name, Machine::Uml)?.is_none() {
            is_all &= kernel::export(name, Machine::Uml, &folder)?.is_some();
        }
    }
    Ok(is_all)
}

struct Scripts {
    build: String,
    units: Vec<String>,
    merge: String,
    minimize: String,
}

/// Writes the files that are submitted. One that is there may have been changed, and stays.
fn write_scripts(plan: &Plan, dir: &Path) -> Result<Scripts, Failure> {
    let jobs = dir.join(JOBS);
    let write = |script: Script| match whole::write_new(&jobs, &script.name, script.text.as_bytes())
    {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(unwritable("write to", &jobs, &error))
        }
        _ => Ok(script.name),
    };
    let parts = plan.parts();
    let units = parts.iter().map(|it| write(sbatch::units(plan, it, dir)));
    Ok(Scripts {
        units: units.collect::<Result<_, _>>()?,
        build: write(sbatch::build(plan, dir))?,
        merge: write(sbatch::merge(plan, dir))?,
        minimize: write(sbatch::minimize(plan, dir))?,
    })
}
