//! `inflight score`: how many bugs that were put in are found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;

use super::duration::time;
use super::format::{Format, note, print};
use super::kernel::status_of;
use super::options::jobs;
use super::{Failure, Status, unit, usage};
use crate::campaign::fuzz::program;
use crate::campaign::score::{self as campaign, Mode, News, Plan, Score, Subject, Verdict};
use crate::campaign::unit::Shard;
use crate::kernel::{self, Extras, Flavour, KernelName, Machine, Mutant};
use crate::report::finding::{self, Origin};
use crate::report::score::{self as report, Setting};
use crate::report::{shell, whole};

/// The page, in --out.
const PAGE: &str = "score.html";
/// What is printed as json, in --out.
const LINES: &str = "score.jsonl";
/// Where findings go, in --out.
const FINDINGS: &str = "findings";

/// How bugs are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum How {
    /// Generated scenarios, as by `inflight check`
    Check,
    /// The fuzz target, as by `inflight fuzz`
    Fuzz,
}

/// Measure how many bugs are found, of those that were put in on purpose.
///
/// A mutant is the patched kernel with one bug (kernel-patch/mutants). Each is looked at from
/// several seeds, on one CPU and for a limited time, from nothing, unless --corpus is given. It
/// counts as caught if 9 of 10 seeds break a property that its patch names. The patched
/// kernel itself is looked at in the same way, and must raise nothing. Kernels that are not
/// built yet are built meanwhile.
///
/// --out gets score.html, score.jsonl, and what was found; each mutant is added when it is
/// through. The exit status is 0 if all mutants are caught and the others raise nothing.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Look for this mutant only; may be given several times [default: all]
    #[arg(short, long = "mutant", value_name = "NAME")]
    mutants: Vec<String>,
    /// Look for the mutants in this folder instead of those in kernel-patch/mutants
    #[arg(long, value_name = "DIR")]
    mutant_dir: Option<PathBuf>,
    /// Make the mutants of this version, of those that apply to it; may be given several times
    #[arg(long = "series", value_name = "VERSION", default_value = "6.12")]
    versions: Vec<String>,
    /// Make all of them kernels that watch themselves (KASAN, lockdep, kmemleak), not only those that say so
    #[arg(long)]
    debug: bool,
    /// Look for each so long from each seed: 60, 60s, 5m
    #[arg(short, long, value_name = "TIME", default_value = "60s", value_parser = time)]
    time_per_mutant: Duration,
    /// Look from so many seeds, from 1 on
    #[arg(short, long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Look for them by generated scenarios, or by the fuzz target
    #[arg(long, value_name = "MODE", default_value = "check", value_enum)]
    mode: How,
    /// Give the fuzz target these scenarios to begin with; may be given several times
    #[arg(long, value_name = "DIR")]
    corpus: Vec<PathBuf>,
    /// Run this target instead of building `scenario` from the checkout's fuzz/
    #[arg(long, value_name = "PROGRAM")]
    target: Option<PathBuf>,
    /// Look only at mutants, not at the kernels without one
    #[arg(long)]
    without_clean: bool,
    /// Make what is found smaller in at most so many runs, for the first three seeds
    #[arg(long, value_name = "N", default_value_t = 500)]
    shrink_runs: u64,
    /// Write everything to this folder
    #[arg(short, long, value_name = "DIR", default_value = "score")]
    out: PathBuf,
    /// Run so many guests at a time, each on a CPU of its own [default: the CPUs that this process may use]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Look only at this part of the mutants and seeds, from 1/N to N/N; --out, which the parts
    /// share, then gets what docs/campaigns.md describes
    #[arg(long, value_name = "I/N", conflicts_with = "jobs")]
    shard: Option<Shard>,
    /// Find kernels in this folder, as files that `kernel export` has written
    #[arg(long, value_name = "DIR", requires = "shard", conflicts_with = "jobs")]
    parcels: Option<PathBuf>,
    /// Print for people, or as json with one object a mutant
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

/// Scores.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let subjects = subjects(args)?;
    if let Some(shard) = args.shard {
        return run_part(args, subjects, shard);
    }
    // Before hours of work are lost for a folder that cannot be written.
    whole::try_out(&args.out, &[PAGE.as_ref(), LINES.as_ref()])
        .and_then(|()| std::fs::create_dir_all(&args.out))
        .map_err(|error| unwritable(&args.out, &error))?;
    let plan = Plan {
        subjects,
        seeds: args.seeds,
        time: args.time_per_mutant,
        jobs: jobs(args.jobs),
        mode: mode(args)?,
        shrink_runs: args.shrink_runs,
    };
    let setting = Setting {
        mode: match plan.mode {
            Mode::Check => "check",
            Mode::Fuzz { .. } => "fuzz",
        },
        time: plan.time,
        seeds: plan.seeds,
        mutants: (plan.subjects.iter().filter(|it| it.mutant.is_some())).count(),
        corpora: args.corpus.len(),
        command: command(),
    };
    note(format_args!(
        "inflight score: {} kernels by {}, {} seeds of {} s each, {} guests at a time",
        plan.subjects.len(),
        setting.mode,
        plan.seeds,
        plan.time.as_secs(),
        plan.jobs
    ));
    let mut keeper = Keeper {
        args,
        plan: &plan,
        setting: &setting,
        scores: BTreeMap::new(),
        trouble: None,
    };
    let build =
        |name: &KernelName| kernel::ensure(name, Machine::Uml, &*kernel::progress::stderr());
    let scores = campaign::run(&plan, build, |news| keeper.hear(news));
    let trouble = keeper.trouble.take();
    if args.format == Format::Human {
        print(&report::human(&scores.iter().collect::<Vec<_>>(), &setting))?;
        note(format_args!(
            "look at it: {}",
            args.out.join(PAGE).display()
        ));
    }
    match trouble {
        Some(failure) => Err(failure),
        None => Ok(status(&scores)),
    }
}

fn run_part(args: &Args, subjects: Vec<Subject>, shard: Shard) -> Result<Status, Failure> {
    let mode = match (&args.target, args.mode) {
        (None, How::Fuzz) => {
            return Err(usage(anyhow!(
                "--shard: --target is needed: a part of a campaign builds nothing"
            )));
        }
        _ => mode(args)?,
    };
    let plan = Plan {
        subjects,
        seeds: args.seeds,
        time: args.time_per_mutant,
        jobs: 1,
        mode,
        shrink_runs: args.shrink_runs,
    };
    let part = unit::Part {
        shard,
        out: &args.out,
        parcels: args.parcels.as_deref(),
        format: args.format,
    };
    unit::score(part, &plan, &args.versions)
}

fn status(scores: &[Score]) -> Status {
    let any = |of: &dyn Fn(Verdict) -> bool| scores.iter().any(|it| of(it.verdict()));
    // What a kernel without a bug has raised is told first, whatever else went wrong.
    if any(&|it| it == Verdict::FalseAlarm) {
        Status::Violated
    } else if any(&|it| it == Verdict::Failed) {
        Status::Internal
    } else if any(&|it| it != Verdict::Good) {
        Status::Violated
    } else if scores.is_empty() {
        Status::NothingRan
    } else {
        Status::Held
    }
}

/// What is looked at: the mutants that were asked for, then the kernels without one.
fn subjects(args: &Args) -> Result<Vec<Subject>, Failure> {
    let mut subjects = Vec::new();
    let mut clean = Vec::new();
    let mut there = Vec::new();
    let mut versions: Vec<&String> = Vec::new();
    for version in &args.versions {
        if versions.contains(&version) {
            continue;
        }
        versions.push(version);
        let patched = patched(version)?;
        let mut all = kernel::mutants(version, args.mutant_dir.as_deref())?;
        there.extend(all.iter().map(|it| it.name.clone()));
        all.retain(|it| args.mutants.is_empty() || args.mutants.contains(&it.name));
        let (out, all): (Vec<Mutant>, Vec<Mutant>) = all.into_iter().partition(|it| it.takes_cpus);
        for it in out {
            note(format_args!(
                "{}: left out: one CPU never shows it; docs/engines.md tells how it is found",
                it.kernel
            ));
        }
        for mut mutant in all {
            if args.debug {
                mutant.kernel = mutant.kernel.with(Extras::Debug);
            }
            let kernel = patched.clone().with(mutant.kernel.extras());
            if !clean.contains(&kernel) {
                clean.push(kernel);
            }
            subjects.push(Subject::of(mutant)?);
        }
    }
    if let Some(unknown) = args.mutants.iter().find(|it| !there.contains(it)) {
        there.sort_unstable();
        there.dedup();
        let (versions, there) = (args.versions.join(", "), there.join(", "));
        return Err(usage(anyhow!(
            "--mutant {unknown}: no such mutant of {versions}; there are {there}"
        )));
    }
    if subjects.is_empty() {
        let versions = args.versions.join(", ");
        return Err(match &args.mutant_dir {
            Some(folder) => usage(anyhow!(
                "--mutant-dir {}: no mutant of {versions} in it to look for",
                folder.display()
            )),
            None => usage(anyhow!("no mutant of {versions} to look for")),
        });
    }
    if !args.without_clean {
        subjects.extend(clean.into_iter().map(Subject::clean));
    }
    Ok(subjects)
}

/// The patched kernel of a version.
fn patched(version: &str) -> Result<KernelName, Failure> {
    let name = format!("{version}-patched").parse::<KernelName>();
    name.ok()
        .filter(|it| it.flavour() == Some(Flavour::Patched) && it.extras() == Extras::None)
        .ok_or_else(|| {
            let known = KernelName::known();
            let known = known
                .iter()
                .filter(|it| it.flavour() == Some(Flavour::Patched));
            let known: Vec<&str> = known.filter_map(KernelName::version).collect();
            usage(anyhow!(
                "--series {version}: no such version; there are {}",
                known.join(", ")
            ))
        })
}

fn mode(args: &Args) -> Result<Mode, Failure> {
    match args.mode {
        How::Check if !args.corpus.is_empty() => Err(usage(anyhow!(
            "--corpus is for --mode fuzz: generated scenarios begin with nothing"
        ))),
        How::Check if args.target.is_some() => Err(usage(anyhow!("--target is for --mode fuzz"))),
        How::Check => Ok(Mode::Check),
        How::Fuzz => {
            let real = |path: &PathBuf, option: &str| {
                path.canonicalize()
                    .map_err(|error| usage(anyhow!("{option} {}: {error}", path.display())))
            };
            let corpus = args.corpus.iter().map(|it| real(it, "--corpus"));
            Ok(Mode::Fuzz {
                corpus: corpus.collect::<Result<_, _>>()?,
                program: match &args.target {
                    Some(path) => real(path, "--target")?,
                    None => program::build(&*kernel::progress::stderr())?,
                },
            })
        }
    }
}

/// This very command, to be run again.
fn command() -> String {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .map(|it| shell::quote(&it))
        .collect();
    format!("inflight {}", words.join(" "))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display();
    Failure::new(
        Status::Missing,
        anyhow!("cannot write to --out {path}: {error}"),
    )
}

/// Keeps what comes: an hour's work is not lost with its last minute.
struct Keeper<'a> {
    args: &'a Args,
    plan: &'a Plan,
    setting: &'a Setting,
    /// By their place in the plan.
    scores: BTreeMap<usize, Score>,
    /// The first that could not be done.
    trouble: Option<Failure>,
}

impl Keeper<'_> {
    fn hear(&mut self, news: News<'_>) {
        match news {
            News::Finding(subject, seed, finding) => {
                let origin = Origin {
                    machine: Machine::Uml,
                    kernel: &self.plan.subjects[subject].kernel,
                    seed: Some(seed),
                };
                let folder = self.args.out.join(FINDINGS);
                if let Err(error) = finding::save(finding, &origin, &folder) {
                    // Better on the terminal than lost.
                    note(format_args!("{}", finding::render(finding, &origin)));
                    self.failed(unwritable(&folder, &error));
                }
            }
            News::Scored(subject, score) => {
                note(format_args!("{}", line(score)));
                self.scores.insert(subject, score.clone());
                if let Err(failure) = self.write(score) {
                    self.failed(failure);
                }
            }
            News::NotBuilt(subject, error) => {
                let kernel = &self.plan.subjects[subject].kernel;
                note(format_args!("{kernel}: cannot be built: {error}"));
                self.failed(Failure::new(
                    status_of(error),
                    anyhow!("{kernel} cannot be built, see above"),
                ));
            }
        }
    }

    fn failed(&mut self, failure: Failure) {
        self.trouble.get_or_insert(failure);
    }

    fn write(&self, score: &Score) -> Result<(), Failure> {
        let scores: Vec<&Score> = self.scores.values().collect();
        let line = |it: &&Score| format!("{}\n", report::json(it, self.setting));
        let lines: String = scores.iter().map(line).collect();
        let page = report::page(&scores, self.setting);
        let out = &self.args.out;
        whole::write(out, LINES, lines.as_bytes())
            .and_then(|_| whole::write(out, PAGE, page.as_bytes()))
            .map_err(|error| unwritable(out, &error))?;
        match self.args.format {
            Format::Human => Ok(()),
            Format::Json => print(&format!("{}\n", report::json(score, self.setting))),
        }
    }
}

/// What is said of a kernel that is through.
fn line(score: &Score) -> String {
    let caught = match score.caught() {
        Some(property) => format!(
            "{property} from {} of {} seeds",
            score.seeds_caught(),
            score.runs.len()
        ),
        None => format!("nothing in {} scenarios", score.all_scenarios()),
    };
    let verdict = report::word(score.verdict());
    format!("{}: {caught}: {verdict}", score.subject.kernel)
}
