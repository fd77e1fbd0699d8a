//! `inflight fuzz`: the fuzzer for hours.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::duration::time;
use super::format::{Format, note, print};
use super::options::{ensure, jobs, refuse_host, seed};
use super::{Failure, Status as Exit, unit, usage};
use crate::campaign::fuzz::folder::{Folder, FolderError};
use crate::campaign::fuzz::status::{self, ResumeError, Status};
use crate::campaign::fuzz::{self as campaign, Error, Plan, program};
use crate::campaign::unit::Shard;
use crate::fuzz::{usual, usual_contract};
use crate::kernel::{self, KernelName};
use crate::oracle::Contract;
use crate::process::{interrupted, watch_for_interrupts};
use crate::report::finding::file_name;
use crate::report::{shell, table::Table};

/// What is nothing for one part of a campaign (as with `check`).
const NOT_OF_A_PART: [&str; 3] = ["time", "jobs", "options"];

/// Search with a fuzzer that the kernel's own coverage guides, for hours, and keep what is
/// found.
///
/// One libFuzzer a job runs inside a kernel and shares its corpus with the others. What
/// breaks the contract ends nothing: it is run again on a kernel just booted, made
/// smaller, and kept in --out by cause. A kernel that dies or hangs is started again.
///
/// Run it again with the same --out to go on: corpus, findings and figures stay, whatever
/// ended it. Open status.html there in a browser to watch it.
///
/// The exit status is 0 when nothing was found that is not expected of the kernel, nor a
/// known bug; 1 when something was; 3 when a file cannot be read or written; 4 when no
/// input ran; 70 when no target comes to run one. Ctrl-C ends it with 130.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// More corpus folders, which are only read (e.g. `corpus`)
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Run on this kernel; of a release the one is meant that counts its code (`-kcov`) [default: 6.12-patched]
    #[arg(short, long, value_name = "KERNEL")]
    kernel: Option<KernelName>,
    /// Hold the kernel to this contract: documented or stable [default: documented for a stock kernel, else stable]
    #[arg(long, value_name = "CONTRACT")]
    contract: Option<Contract>,
    /// Stop after so long, from now on: 90, 90s, 10m, 8h, 1d, 1h30m [default: 10m, without --runs]
    #[arg(short, long, value_name = "TIME", value_parser = time)]
    time: Option<Duration>,
    /// Stop after so many inputs, those of the corpus with them. Each guest reads the whole corpus first, so that a few more may run
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Run so many guests at a time [default: the CPUs that this process may use]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Begin the mutations with this seed [default: a new one, printed]
    #[arg(short, long, value_name = "N")]
    seed: Option<u64>,
    /// Make each finding smaller in at most so many runs
    #[arg(long, value_name = "N", default_value_t = 2000)]
    shrink_runs: u64,
    /// Write everything to this folder, and go on from what is there [default: fuzzing/KERNEL-CONTRACT]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run this target instead of building `scenario` from the checkout's fuzz/
    #[arg(long, value_name = "PROGRAM")]
    target: Option<PathBuf>,
    /// Run only this part of the --runs, from 1/N to N/N, and write what it comes to into --out, which the parts of a campaign share (docs/campaigns.md)
    #[arg(long, value_name = "I/N", requires_all = ["out", "runs", "target"], conflicts_with_all = NOT_OF_A_PART)]
    shard: Option<Shard>,
    /// Find kernels in this folder, as files that `kernel export` has written
    #[arg(long, value_name = "DIR", requires = "shard", conflicts_with_all = NOT_OF_A_PART)]
    parcels: Option<PathBuf>,
    /// Print for people, or as json with one object a cause, then one of the whole
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
    /// Give libFuzzer these options, too
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<OsString>,
}

/// For how long, unless told.
const USUAL_TIME: Duration = Duration::from_secs(600);
/// From one line to the next, where there is no terminal.
const SPEAK_EVERY: Duration = Duration::from_secs(30);

/// Fuzzes.
pub fn run(args: &Args) -> Result<Exit, Failure> {
    let inputs = inputs(&args.inputs)?;
    let name = counting(args.kernel.clone().unwrap_or_else(usual));
    refuse_host(std::slice::from_ref(&name))?;
    let contract = args.contract.unwrap_or_else(|| usual_contract(&name));
    if let (Some(shard), Some(out), Some(runs), Some(program)) =
        (args.shard, &args.out, args.runs, &args.target)
    {
        let part = unit::Part {
            shard,
            out,
            parcels: args.parcels.as_deref(),
            format: args.format,
        };
        let program = program
            .canonicalize()
            .map_err(|error| usage(anyhow!("--target {}: {error}", program.display())))?;
        let bounds = (runs, args.shrink_runs);
        let seed = unit::seed(args.seed)?;
        return unit::fuzz(part, &name, contract, seed, bounds, (&program, &inputs));
    }
    let usual_out = || Path::new("fuzzing").join(file_name(&format!("{name}-{contract}")));
    let out = args.out.clone().unwrap_or_else(usual_out);
    // Before anything is built for nothing.
    let folder = Folder::open(&out)?;
    let status = Status::resume(folder.root(), &name.to_string(), contract)?;
    let target = target(args.target.as_deref(), &folder)?;
    let kernel = ensure(&[name])?.remove(0);
    let plan = Plan {
        kernel,
        contract,
        jobs: jobs(args.jobs),
        seed: seed(args.seed)?,
        time: match (args.time, args.runs) {
            (None, None) => Some(USUAL_TIME),
            (time, _) => time,
        },
        runs: args.runs,
        inputs,
        program: target,
        arguments: args.options.clone(),
        shrink_runs: args.shrink_runs,
    };
    note(format_args!(
        "inflight fuzz: {} under {}, {}, {} guests at a time, --seed {}",
        plan.kernel.name,
        plan.contract,
        bounds(&plan),
        plan.jobs,
        plan.seed
    ));
    if status.sessions > 0 {
        note(format_args!(
            "going on in {} after {} executions and {}",
            out.display(),
            campaign::number(status.executions),
            campaign::time(status.elapsed_s)
        ));
    }
    note(format_args!(
        "watch it: {}",
        out.join(campaign::PAGE).display()
    ));
    watch_for_interrupts().map_err(|error| Failure::new(Exit::Internal, error))?;
    let line = Line::new();
    let ended = campaign::run(&plan, &folder, status, &interrupted, &mut |status| {
        line.show(status);
    });
    line.clear();
    let status = ended?;
    print(&match args.format {
        Format::Human => human(&status, &out),
        Format::Json => lines_of_json(&status, &out),
    })?;
    Ok(exit(&status, interrupted()))
}

/// The release's kernel that counts its code: the one thing that guides.
fn counting(name: KernelName) -> KernelName {
    let counting = name.counting();
    if counting == name {
        // So is a tree, which is taken as it is.
        return name;
    }
    note(format_args!(
        "{name}: by its coverage, so {counting} is meant"
    ));
    counting
}

fn bounds(plan: &Plan) -> String {
    let time = plan.time.map(|it| campaign::time(it.as_secs_f64()));
    let runs = plan.runs.map(|it| format!("{it} inputs"));
    let bounds: Vec<String> = time.into_iter().chain(runs).collect();
    bounds.join(" or ")
}

/// As the target is to be told: it may stand elsewhere.
fn inputs(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let folder = |path: &PathBuf| match path.canonicalize() {
        Ok(real) if real.is_dir() => Ok(real),
        Ok(_) => Err(usage(anyhow!("{} is no folder", path.display()))),
        Err(error) => Err(usage(anyhow!("{}: {error}", path.display()))),
    };
    given.iter().map(folder).collect()
}

/// A copy of the target: a campaign takes hours, and who builds it anew meanwhile is not to
/// be in the way.
fn target(given: Option<&Path>, folder: &Folder) -> Result<PathBuf, Failure> {
    let built = match given {
        None => program::build(&*kernel::progress::stderr())?,
        Some(path) => path
            .canonicalize()
            .map_err(|error| usage(anyhow!("--target {}: {error}", path.display())))?,
    };
    let copy = folder.target();
    if built == copy {
        // That of the session before.
        return Ok(copy);
    }
    // One that still runs somewhere cannot be written to, and one half copied not be run.
    let part = folder.root().join(".target");
    let _ = std::fs::remove_file(&part);
    let copied = std::fs::copy(&built, &part).and_then(|_| std::fs::rename(&part, &copy));
    copied.map_err(|error| {
        let (from, to) = (built.display(), copy.display());
        Failure::new(
            Exit::Missing,
            anyhow!("cannot copy {from} to {to}: {error}"),
        )
    })?;
    Ok(copy)
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Failure {
        let status = match error {
            FolderError::Busy(_) => Exit::Usage,
            FolderError::Io { .. } | FolderError::Unswept { .. } => Exit::Missing,
        };
        Failure::new(status, error)
    }
}

impl From<ResumeError> for Failure {
    fn from(error: ResumeError) -> Failure {
        let status = match error {
            ResumeError::Another { .. } | ResumeError::Damaged { .. } => Exit::Usage,
            ResumeError::Io { .. } => Exit::Missing,
        };
        Failure::new(status, error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match error {
            Error::Io { .. } => Exit::Missing,
            Error::Target { .. } => Exit::Internal,
        };
        Failure::new(status, error)
    }
}

fn exit(status: &Status, interrupted: bool) -> Exit {
    if interrupted {
        Exit::Interrupted
    } else if status.surprises().next().is_some() {
        Exit::Violated
    } else if status.unreadable > 0 {
        // Who knows what is in there.
        Exit::Missing
    } else if status.executions == 0 {
        Exit::NothingRan
    } else {
        Exit::Held
    }
}

fn human(status: &Status, out: &Path) -> String {
    let mut text = format!("{}\n", summary(status));
    if !status.causes.is_empty() {
        let headings = ["violates", "seen", "ops", "findings", "scenario"];
        let mut table = Table::new(headings, &[2, 3]);
        for cause in &status.causes {
            let remark = cause
                .remark()
                .map(|it| format!(", {it}"))
                .unwrap_or_default();
            let expected = match cause.is_expected {
                true => " (as expected)",
                false => " (NOT EXPECTED)",
            };
            table.row([
                format!("{}{expected}", cause.property),
                format!("{} of {}{remark}", cause.seen, cause.of),
                cause.ops.to_string(),
                cause.findings.to_string(),
                out.join(&cause.file).display().to_string(),
            ]);
        }
        let _ = write!(text, "\n{table}");
    }
    for (bug, times) in &status.excused {
        let times = campaign::number(*times);
        let _ = writeln!(text, "{times} inputs met a known bug, see {}", bug.corpus());
    }
    for failure in &status.failures {
        let _ = writeln!(text, "went wrong: {failure}");
    }
    if let Some(cause) = status.surprises().next() {
        let program = std::env::args().next();
        let program = shell::quote(program.as_deref().unwrap_or("inflight"));
        let path = shell::quote(&out.join(&cause.file).display().to_string());
        let (kernel, contract) = (shell::quote(&status.kernel), status.contract);
        let _ = writeln!(
            text,
            "\nreplay it:  {program} replay {path} --kernel {kernel} --contract {contract}\n\
             explain it: {program} explain {path} --kernel {kernel} --contract {contract}"
        );
    }
    text
}

/// One line.
fn summary(status: &Status) -> String {
    let count = |what: &str, count: u64| match count {
        1 => format!("1 {what}"),
        more => format!("{} {what}s", campaign::number(more)),
    };
    let left = match status.remaining_s {
        Some(left) => format!(", {} left", campaign::time(left)),
        None => String::new(),
    };
    let restarts = match status.restarts {
        0 => String::new(),
        more => format!(", {}", count("restart", more)),
    };
    let (surprises, all) = (status.surprises().count(), status.causes.len());
    let expected = match all - surprises {
        0 => String::new(),
        more => format!(" and {more} expected"),
    };
    format!(
        "{}{left}: {}, {:.0}/s, {}, corpus {}, {}{expected}{restarts}",
        campaign::time(status.elapsed_s),
        count("execution", status.executions),
        status.executions_per_s,
        count("feature", status.features),
        campaign::number(status.corpus_files),
        count("cause", surprises as u64),
    )
}

fn lines_of_json(status: &Status, out: &Path) -> String {
    // JSON has no other bytes than those of text.
    let path = |below: &Path| out.join(below).to_string_lossy().into_owned();
    let mut text = String::new();
    for cause in &status.causes {
        let line = json!({
            "violated": cause.property,
            "as_expected": cause.is_expected,
            "state": cause.state,
            "findings": cause.findings,
            "seen": cause.seen,
            "of": cause.of,
            "minimized_ops": cause.ops,
            "message": cause.message,
            "file": path(&cause.file),
            "log": cause.log.as_deref().map(path),
        });
        let _ = writeln!(text, "{line}");
    }
    let line = json!({
        "kernel": status.kernel,
        "contract": status.contract,
        "seed": status.seed,
        "sessions": status.sessions,
        "seconds": status.elapsed_s,
        "executions": status.executions,
        "features": status.features,
        "corpus": status.corpus_files,
        "causes": status.causes.len(),
        "surprises": status.surprises().count(),
        "restarts": status.restarts,
        "deaths": status.deaths,
        "excused": status.excused.iter().map(|(bug, times)| (bug.corpus(), *times)).collect::<serde_json::Value>(),
        "violations": status.violations,
        "failures": status.failures,
        "status": path(Path::new(status::FILE)),
    });
    let _ = writeln!(text, "{line}");
    text
}

/// How it stands, in one line on a terminal; elsewhere one now and then.
struct Line {
    bar: Option<ProgressBar>,
    spoken: std::cell::Cell<Instant>,
}

impl Line {
    fn new() -> Line {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        Line {
            bar,
            spoken: Instant::now().into(),
        }
    }

    fn show(&self, status: &Status) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(summary(status));
                bar.tick();
            }
            None if self.spoken.get().elapsed() >= SPEAK_EVERY => {
                self.spoken.set(Instant::now());
                note(summary(status));
            }
            None => {}
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;
    use crate::campaign::fuzz::status::Cause;
    use crate::fuzz::record::State;
    use crate::oracle::Property;

    fn status(causes: &[(Property, bool)]) -> Status {
        let mut status = Status::new("6.12-stock-kcov", Contract::Stable);
        status.executions = 1234;
        status.causes = causes
            .iter()
            .map(|(property, is_expected)| Cause {
                property: *property,
                is_expected: *is_expected,
                state: State::Smaller,
                findings: 1,
                seen: 10,
                of: 10,
                ops: 2,
                message: "torn".into(),
                file: "findings/a.scn".into(),
                log: None,
                misses: 0,
            })
            .collect();
        status
    }

    #[test]
    fn the_exit_status_tells_a_surprise_from_what_is_expected() {
        use Property::{StableOnReturn, Wire};
        for (causes, expected) in [
            (&[][..], Exit::Held),
            (&[(StableOnReturn, true)][..], Exit::Held),
            (&[(StableOnReturn, true), (Wire, false)][..], Exit::Violated),
        ] {
            let mut status = status(causes);
            assert_eq!(exit(&status, false), expected, "{causes:?}");
            assert_eq!(exit(&status, true), Exit::Interrupted);
            status.unreadable = 1;
            let unknown = match expected {
                Exit::Held => Exit::Missing,
                found => found,
            };
            assert_eq!(exit(&status, false), unknown, "{causes:?}");
            status.unreadable = 0;
            status.executions = 0;
            if expected == Exit::Held {
                assert_eq!(exit(&status, false), Exit::NothingRan);
            }
        }
    }

    #[test]
    fn what_is_found_is_said_with_its_file() {
        let status = status(&[(Property::Wire, false), (Property::StableOnReturn, true)]);
        let text = human(&status, Path::new("out"));
        for words in [
            "1,234 executions",
            "1 cause and 1 expected",
            "wire (NOT EXPECTED)",
            "out/findings/a.scn",
            "replay out/findings/a.scn --kernel 6.12-stock-kcov --contract stable",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let json = lines_of_json(&status, Path::new("out"));
        let lines: Vec<serde_json::Value> = json
            .lines()
            .map(|it| serde_json::from_str(it).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["file"], "out/findings/a.scn");
        assert_eq!(lines[2]["surprises"], 1);
    }

    #[test]
    fn a_folder_whose_name_is_no_text_can_be_told_of() {
        let status = status(&[(Property::Wire, false)]);
        let out = OsString::from_vec(b"out-\xff".to_vec());
        let json = lines_of_json(&status, Path::new(&out));
        let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(line["file"], "out-\u{fffd}/findings/a.scn");
    }

    #[test]
    fn the_target_is_a_copy_and_that_of_the_last_session_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(&dir.path().join("out")).unwrap();
        let given = dir.path().join("mine");
        std::fs::write(&given, "one").unwrap();
        let copy = target(Some(&given), &folder).unwrap();
        assert_eq!(copy, folder.target());
        // Of the copy itself, by whatever name.
        for name in [copy.clone(), folder.root().join("log/../target")] {
            assert_eq!(target(Some(&name), &folder).unwrap(), copy);
            assert_eq!(std::fs::read(&copy).unwrap(), b"one");
        }
        std::fs::write(&given, "two").unwrap();
        target(Some(&given), &folder).unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), b"two");
        assert_eq!(std::fs::read(&given).unwrap(), b"two");
        assert!(target(Some(Path::new("/nonexistent")), &folder).is_err());
    }

    #[test]
    fn the_kernel_is_one_that_counts() {
        let counting = |name: &str| counting(name.parse().unwrap()).to_string();
        assert_eq!(counting("7.3-stock"), "7.3-stock-kcov");
        assert_eq!(counting("6.12-patched-kcov"), "6.12-patched-kcov");
        assert_eq!(counting("6.12-patched-debug"), "6.12-patched-debug-kcov");
        assert_eq!(counting("tree:/linux"), "tree:/linux");
    }
}
