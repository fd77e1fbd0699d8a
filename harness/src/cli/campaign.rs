//! `inflight campaign`: more than one machine.

pub(super) mod merge;
mod submit;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use serde_json::json;

use super::duration::time;
use super::format::{Format, note, print};
use super::unit::{new as new_unit, shipped};
use super::{Failure, Status, kernel as kernels, usage};
use crate::campaign::check::expected;
use crate::campaign::merge::Merged;
use crate::campaign::unit::store::Store;
use crate::campaign::unit::{Shard, Work, smaller};
use crate::cluster::plan::{Plan, PlanError};
use crate::cluster::slurm::{self, SlurmError, Task};
use crate::kernel::{self, KernelName, Machine};
use crate::oracle::Contract;
use crate::process::watch_for_interrupts;
use crate::report::campaign::render;
use crate::report::chart::number;
use crate::report::table::Table;

/// Run a campaign on the machines of a Slurm cluster.
///
/// A campaign is a folder that all machines see. `submit` writes into it what is to be done
/// and the files that are submitted, and submits them: kernels are built once, units of
/// scenarios run wherever there is a CPU, what they came to is put together, and what was
/// found is made smaller. A unit that is killed is run again. docs/campaigns.md has it all on one
/// page, and how the same units run elsewhere.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    Submit(Submit),
    /// Show how far a campaign has come
    Status {
        /// Its folder
        dir: PathBuf,
        /// Print for people, or as json with one object a kernel
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Make one campaign of all that units have written, with one page
    ///
    /// Folders of several machines and campaigns that were merged before can be given in any
    /// order and as often as one likes. The exit status is 1 if something was found that is
    /// not expected, 4 if no unit is through.
    Merge {
        /// Folders that units have written to, or that were merged
        #[arg(required = true)]
        dirs: Vec<PathBuf>,
        /// Write what comes of it to this folder; what was merged there before stays in it
        #[arg(short, long, value_name = "DIR")]
        out: PathBuf,
        /// Print for people, or as json with one object a cause, then one a kernel
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Stop the jobs of a campaign; what they came to stays, and `submit` goes on
    Cancel {
        /// Its folder
        dir: PathBuf,
    },
    /// Make what was found smaller than its unit had time for
    Minimize {
        /// The campaign's folder, merged
        dir: PathBuf,
        /// Make this cause smaller, by its number on the page, from 1 on
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        cause: u32,
        /// Find its kernel in this folder, as a file that `kernel export` has written
        #[arg(long, value_name = "DIR")]
        parcels: Option<PathBuf>,
        /// Make it smaller in at most so many runs
        #[arg(long, value_name = "N", default_value_t = 5000)]
        shrink_runs: u64,
    },
    #[command(hide = true)]
    PackMutants {
        #[arg(long = "series")]
        versions: Vec<String>,
        #[arg(long = "mutant")]
        mutants: Vec<String>,
        #[arg(long)]
        out: PathBuf,
    },
}

/// Submit a campaign to Slurm, or what is missing of one.
///
/// Options are for a new campaign: one that is there goes on as it was begun.
#[derive(Debug, Clone, clap::Args)]
struct Submit {
    /// Its folder, which all machines see under this name; made if it is not there
    dir: PathBuf,
    /// Run generated scenarios, the fuzz target, or look for bugs that were put in [default: check]
    #[arg(long, value_name = "MODE", value_enum)]
    mode: Option<Mode>,
    /// Run on this kernel; may be given several times; with --mode score a version [default: 6.12-patched]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Hold the kernels to this contract [default: documented for a stock kernel, else stable]
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Run so many scenarios or inputs on each kernel [default: 1000000]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    cases: Option<u64>,
    /// Make so many units for each kernel [default: one for 20000 scenarios]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    units: Option<u32>,
    /// Generate the scenarios from this seed [default: a new one, printed]
    #[arg(short, long, value_name = "N")]
    seed: Option<u64>,
    /// Let a unit make each finding smaller in at most so many runs [default: 200]
    #[arg(long, value_name = "N")]
    shrink_runs: Option<u64>,
    /// Run at most so many units of a kernel at a time [default: as many as there is room for]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    most_at_once: Option<u32>,
    /// Make so many causes smaller at the end, a job each [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    causes: Option<u32>,
    /// Build with so many CPUs what is not built yet [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    build_cpus: Option<u32>,
    /// Look for each mutant from so many seeds, with --mode score [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: Option<u64>,
    /// Look so long from each seed, with --mode score [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    time_per_mutant: Option<Duration>,
    /// Look for this mutant only, with --mode score; may be given several times
    #[arg(long = "mutant", value_name = "NAME")]
    mutants: Vec<String>,
    /// Run this target instead of building `scenario` from the checkout's fuzz/, with --mode fuzz
    #[arg(long, value_name = "PROGRAM")]
    target: Option<PathBuf>,
    /// Give each job this option of sbatch(1), too: --sbatch=--partition=long
    #[arg(long = "sbatch", value_name = "OPTION", allow_hyphen_values = true)]
    options: Vec<String>,
    /// Write the files, say what would be submitted, and submit nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Generated scenarios, as by `inflight check`
    Check,
    /// The fuzz target, as by `inflight fuzz`
    Fuzz,
    /// Bugs that were put in, as by `inflight score`
    Score,
}

impl From<SlurmError> for Failure {
    fn from(error: SlurmError) -> Failure {
        let status = match error {
            SlurmError::Absent(_) | SlurmError::Io { .. } => Status::Missing,
            SlurmError::Failed { .. } => Status::Internal,
        };
        Failure::new(status, error)
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Failure {
        let status = match error {
            PlanError::Absent(_) | PlanError::Damaged { .. } => Status::Usage,
            PlanError::Io { .. } => Status::Missing,
        };
        Failure::new(status, error)
    }
}

/// Does what is asked.
pub fn run(args: &Args) -> Result<Status, Failure> {
    match &args.command {
        Command::Submit(args) => submit::run(args),
        Command::Status { dir, format } => status(dir, *format),
        Command::Merge { dirs, out, format } => merge::run(dirs, out, *format),
        Command::Cancel { dir } => cancel(dir),
        Command::Minimize {
            dir,
            cause,
            parcels,
            shrink_runs,
        } => minimize(dir, *cause, parcels.as_deref(), *shrink_runs),
        Command::PackMutants {
            versions,
            mutants,
            out,
        } => pack_mutants(versions, mutants, out),
    }
}

/// What of this campaign waits and runs, by the file that it was submitted by; `None`: Slurm
/// cannot be asked, which is said.
fn tasks(dir: &Path) -> Option<Vec<Task>> {
    match submit::own(dir) {
        Ok(tasks) => Some(tasks),
        Err(failure) => {
            note(format_args!("how many units run is not known: {failure}"));
            None
        }
    }
}

fn status(dir: &Path, format: Format) -> Result<Status, Failure> {
    let dir = &submit::real(dir)?;
    let plan = Plan::read(dir)?;
    let merged = Merged::read(&Store::at(dir))?;
    let tasks = tasks(dir);
    let headings = [
        "kernel",
        "units",
        "running",
        "waiting",
        "scenarios",
        "per second",
    ];
    let mut table = Table::new(headings, &[1, 2, 3, 4, 5]);
    let mut lines = String::new();
    let mut lost = 0;
    for part in plan.parts() {
        let missing = plan.missing(&part, &merged).len() as u64;
        let of = u64::from(plan.units);
        let own = merged.units().filter(|it| plan.has(&part, &it.unit));
        let (scenarios, busy_ms) = own.fold((0, 0), |(scenarios, busy), it| {
            (scenarios + it.scenarios, busy + it.took.busy_ms)
        });
        let rate = scenarios as f64 * 1000.0 / (busy_ms as f64).max(1.0);
        let script = submit::script_of(&plan, &part);
        let count = |is_running: bool| {
            let tasks = tasks.as_ref()?.iter();
            let own = tasks.filter(|it| it.script.ends_with(&script));
            Some(own.filter(|it| it.is_running == is_running).count() as u64)
        };
        let (running, waiting) = (count(true), count(false));
        if let (Some(running), Some(waiting)) = (running, waiting) {
            lost += missing.saturating_sub(running + waiting);
        }
        let shown = |count: Option<u64>| count.map_or("?".into(), |it| it.to_string());
        table.row([
            part.clone(),
            format!("{} of {of}", of - missing),
            shown(running),
            shown(waiting),
            number(scenarios),
            format!("{rate:.0}"),
        ]);
        let line = json!({
            "kernel": part,
            "units": of - missing,
            "of": of,
            "running": running,
            "waiting": waiting,
            "scenarios": scenarios,
            "scenarios_per_second": rate,
        });
        lines += &format!("{line}\n");
    }
    let causes = merged.causes();
    let surprises = causes.iter().filter(|it| !it.is_expected).count();
    match format {
        Format::Json => print(&lines)?,
        Format::Human => {
            let mut text = format!(
                "{table}{} causes found, {surprises} of them not expected\n",
                causes.len()
            );
            if lost > 0 {
                let shown = dir.display();
                text += &format!(
                    "{lost} units are neither through nor waiting; {shown}/log says why, and \
                     `inflight campaign submit {shown}` submits them again\n"
                );
            }
            let page = dir.join(submit::MERGED).join(merge::PAGE);
            if page.is_file() {
                text += &format!("the page: {}\n", page.display());
            }
            print(&text)?;
        }
    }
    Ok(match surprises {
        0 => Status::Held,
        _ => Status::Violated,
    })
}

fn cancel(dir: &Path) -> Result<Status, Failure> {
    let dir = &submit::real(dir)?;
    Plan::read(dir)?;
    // By what waits and runs now: a number that was given once may be another job's by now.
    let mut jobs: Vec<String> = submit::own(dir)?.into_iter().map(|it| it.job).collect();
    jobs.sort_unstable();
    jobs.dedup();
    if jobs.is_empty() {
        note(format_args!("nothing of it waits or runs"));
        return Ok(Status::Held);
    }
    slurm::cancel(&jobs)?;
    note(format_args!(
        "cancelled; `inflight campaign submit {}` goes on",
        dir.display()
    ));
    Ok(Status::Held)
}

fn minimize(
    dir: &Path,
    number: u32,
    parcels: Option<&Path>,
    shrink_runs: u64,
) -> Result<Status, Failure> {
    let merged = Merged::read(&Store::at(&dir.join(submit::MERGED)))?;
    let causes = merged.causes();
    let Some(cause) = causes.get(number as usize - 1) else {
        note(format_args!("there are {} causes", causes.len()));
        return Ok(Status::Held);
    };
    if cause.is_settled {
        note(format_args!("{}: it was made smaller before", cause.name));
        return Ok(Status::Held);
    }
    let found = cause.smallest;
    let name: KernelName = found.kernel.parse().map_err(usage)?;
    let kernel = shipped(&name, parcels)?;
    if kernel.key != found.key {
        return Err(Failure::new(
            Status::Missing,
            anyhow!(
                "it was found on {name} with the key {}, and the one here has {}\n  remedy: \
                 inflight kernel import, of the campaign's",
                found.key,
                kernel.key
            ),
        ));
    }
    let work = Work::Smaller {
        cause: cause.name.clone(),
        scenario: found.finding.minimized.clone(),
        shrink_runs,
    };
    let unit = new_unit(work, &kernel, found.contract, found.seed, Shard::WHOLE)?;
    let store = Store::open(dir)?;
    if store.get(&unit)?.is_some() {
        note(format_args!("{}: it is through already", unit.id()));
        return Ok(Status::Held);
    }
    watch_for_interrupts().map_err(|error| Failure::new(Status::Internal, error))?;
    let expected = expected(&name, found.contract);
    smaller::run(&unit, &kernel, found.finding.property, expected, &store)?;
    for found in store.found_of(&unit)? {
        print(&render(&found))?;
    }
    Ok(Status::Held)
}

fn pack_mutants(versions: &[String], mutants: &[String], out: &Path) -> Result<Status, Failure> {
    for name in submit::kernels_of_score(versions, mutants)? {
        if kernel::parcel_in(out, &name, Machine::Uml)?.is_some() {
            continue;
        }
        let progress = kernel::progress::stderr();
        kernel::ensure(&name, Machine::Uml, &*progress)?;
        kernel::export(&name, Machine::Uml, out).map_err(|error| Failure {
            status: kernels::status_of(&error),
            error: error.into(),
        })?;
    }
    Ok(Status::Held)
}
