//! `inflight check`: the main job.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::format::{Format, note, print};
use super::options::{On, refuse_host, seed};
use super::{Failure, Status, unit};
use crate::campaign::check::{self, News, Outcome, Plan};
use crate::campaign::job::Finding;
use crate::campaign::unit::Shard;
use crate::kernel::{Kernel, Machine};
use crate::oracle::Property;
use crate::report::finding::{self, Origin};
use crate::report::{features, shell, table::Table};

/// Cases a kernel, unless others are asked for.
const CASES: u64 = 10_000;
/// The same, and for how long, where work takes time: a case takes far longer then.
const CASES_BY_THE_CLOCK: u64 = 500;
const TIME_BY_THE_CLOCK: Duration = Duration::from_secs(120);

/// What is nothing for one part of a campaign. clap passes over what an argument requires beside
/// one that this conflicts with, so each of a part's arguments has the whole list.
const NOT_OF_A_PART: [&str; 4] = ["time", "findings", "jobs", "engine"];

/// Generate scenarios, run them on kernels, shrink and save what breaks.
///
/// A stock kernel is expected to break stable-on-return: that is the race. It is
/// searched up to the first violation, which is then made smaller. Every other
/// kernel is expected to hold in all cases. Kernels that are not built yet are
/// built first. Where work takes time (--engine qemu, --engine host) less is run unless it
/// is asked for: 500 cases, and 120 seconds of them; cases that need what the kernel lacks
/// are skipped, and counted.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    on: On,
    /// Run so many scenarios on each kernel [default: 10000; by qemu or host 500]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    cases: Option<u64>,
    /// Stop after so many seconds; what was run by then counts [default: never; by qemu or host after 120]
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    time: Option<u64>,
    /// Generate the scenarios from this seed [default: a new one, printed]
    #[arg(short, long, value_name = "N")]
    seed: Option<u64>,
    /// Make a violation smaller in at most so many runs
    #[arg(long, value_name = "N", default_value_t = 2000)]
    shrink_runs: u64,
    /// Save what is found in this folder
    #[arg(long, value_name = "DIR", default_value = "findings")]
    findings: PathBuf,
    /// Run only this part of the cases, from 1/N to N/N, and write what it comes to into --out
    #[arg(long, value_name = "I/N", requires = "out", conflicts_with_all = NOT_OF_A_PART)]
    shard: Option<Shard>,
    /// Write to this folder, which the parts of a campaign share (docs/campaigns.md)
    #[arg(long, value_name = "DIR", requires = "shard", conflicts_with_all = NOT_OF_A_PART)]
    out: Option<PathBuf>,
    /// Find kernels in this folder, as files that `kernel export` has written
    #[arg(long, value_name = "DIR", requires = "shard", conflicts_with_all = NOT_OF_A_PART)]
    parcels: Option<PathBuf>,
    /// Print for people, or as json with one object a kernel
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

/// A violation that was seen, and where it was saved.
struct Saved {
    path: PathBuf,
    finding: Finding,
}

/// Runs the campaign.
pub fn run(args: &Args) -> Result<Status, Failure> {
    if let (Some(shard), Some(out)) = (args.shard, &args.out) {
        return run_part(args, shard, out);
    }
    let seed = seed(args.seed)?;
    let kernels = args.on.kernels()?;
    let slow = kernels.iter().any(|it| it.machine != Machine::Uml);
    // A given number of cases is run to its end, and a given time is used.
    let (cases, time) = match (args.cases, args.time) {
        (None, None) if slow => (CASES_BY_THE_CLOCK, Some(TIME_BY_THE_CLOCK)),
        (cases, time) => (cases.unwrap_or(CASES), time.map(Duration::from_secs)),
    };
    let plan = Plan {
        kernels,
        contract: args.on.contract,
        seed,
        first: 0,
        stride: 1,
        cases,
        jobs: args.on.jobs(),
        time,
        shrink_runs: args.shrink_runs,
    };
    note(format_args!(
        "inflight check: {} cases a kernel, contract {}, {} guests at a time, --seed {seed}",
        plan.cases, plan.contract, plan.jobs
    ));
    let lines = Lines::new(&plan);
    let mut saved: Vec<Option<Saved>> = plan.kernels.iter().map(|_| None).collect();
    let mut trouble = None;
    let outcomes = check::run(&plan, |news| match news {
        News::Progress(kernel, scenarios) => lines.progress(kernel, scenarios),
        News::Finding(kernel, finding) => {
            let origin = Origin {
                machine: plan.kernels[kernel].machine,
                kernel: &plan.kernels[kernel].name,
                seed: Some(seed),
            };
            match finding::save(finding, &origin, &args.findings) {
                Ok(path) => {
                    let finding = finding.clone();
                    saved[kernel] = Some(Saved { path, finding });
                }
                Err(error) => {
                    // Better on the terminal than lost.
                    note(format_args!("{}", finding::render(finding, &origin)));
                    trouble = Some(anyhow!(
                        "cannot save a finding in --findings {}: {error}",
                        args.findings.display()
                    ));
                }
            }
        }
    })?;
    lines.clear();
    match args.format {
        Format::Human => {
            let coverage = check::coverage(seed, &outcomes);
            print(&(human(&plan, &outcomes, &saved) + "\n" + &features::human(&coverage)))?;
        }
        Format::Json => print(&lines_of_json(&plan, &outcomes, &saved))?,
    }
    if let Some(error) = trouble {
        return Err(Failure::new(Status::Missing, error));
    }
    Ok(status(&plan, &outcomes))
}

fn run_part(args: &Args, shard: Shard, out: &Path) -> Result<Status, Failure> {
    let part = unit::Part {
        shard,
        out,
        parcels: args.parcels.as_deref(),
        format: args.format,
    };
    let names = args.on.names();
    refuse_host(&names)?;
    let seed = unit::seed(args.seed)?;
    let bounds = (args.cases.unwrap_or(CASES), args.shrink_runs);
    unit::check(part, &names, args.on.contract, seed, bounds)
}

fn status(plan: &Plan, outcomes: &[Outcome]) -> Status {
    let any = |what: &dyn Fn(&Outcome) -> bool| outcomes.iter().any(what);
    let surprising = |outcome: &Outcome| !as_expected(plan, outcome);
    if any(&|outcome| !outcome.failures.is_empty()) {
        Status::Internal
    } else if any(&|outcome| outcome.finding.is_some() && surprising(outcome)) {
        Status::Violated
    } else if any(&|outcome| outcome.scenarios == 0) {
        // A time limit can pass before the first case; that is no verdict.
        Status::NothingRan
    } else if any(&surprising) {
        Status::Violated
    } else {
        Status::Held
    }
}

/// Whether no case could be run since the kernel lacks something.
fn all_skipped(outcome: &Outcome) -> bool {
    outcome.scenarios == 0 && outcome.skips() > 0
}

fn violated(outcome: &Outcome) -> Option<Property> {
    outcome.finding.as_ref().map(|finding| finding.property)
}

fn as_expected(plan: &Plan, outcome: &Outcome) -> bool {
    let expected = check::expected(&outcome.kernel, plan.contract);
    violated(outcome) == expected
}

/// Scenarios a second on one CPU.
fn rate(outcome: &Outcome) -> f64 {
    let seconds = outcome.busy.as_secs_f64();
    if seconds > 0.0 {
        outcome.scenarios as f64 / seconds
    } else {
        0.0
    }
}

fn human(plan: &Plan, outcomes: &[Outcome], saved: &[Option<Saved>]) -> String {
    let headings = [
        "kernel",
        "engine",
        "contract",
        "verdict",
        "first at",
        "ops",
        "scenarios",
        "per second",
        "virtual",
    ];
    let mut table = Table::new(headings, &[4, 5, 6, 7, 8]);
    for (outcome, kernel) in outcomes.iter().zip(&plan.kernels) {
        let verdict = match violated(outcome) {
            Some(property) => format!("violates {property}"),
            None if all_skipped(outcome) => "skipped".to_string(),
            None => "holds".to_string(),
        };
        let surprise = match as_expected(plan, outcome) {
            _ if all_skipped(outcome) => "",
            true => " (as expected)",
            false => " (NOT EXPECTED)",
        };
        let finding = outcome.finding.as_ref();
        table.row([
            outcome.kernel.to_string(),
            kernel.machine.to_string(),
            plan.contract.to_string(),
            verdict + surprise,
            finding.map_or("-".into(), |it| (it.index + 1).to_string()),
            finding.map_or("-".into(), |it| it.steps_after.to_string()),
            outcome.scenarios.to_string(),
            format!("{:.0}", rate(outcome)),
            format!("{:.1} s", outcome.virtual_ns as f64 / 1e9),
        ]);
    }
    let mut text = table.to_string();
    for outcome in outcomes {
        for (bug, cases) in &outcome.excused {
            let _ = writeln!(
                text,
                "{}: {cases} of its scenarios met a known bug, see {}",
                outcome.kernel,
                bug.corpus()
            );
        }
    }
    for outcome in outcomes {
        for (cases, lack) in outcome.skipped.values() {
            let _ = writeln!(
                text,
                "{}: {cases} of its scenarios were skipped: {lack}",
                outcome.kernel
            );
        }
    }
    // As it was called, so that the command can be pasted.
    let program = std::env::args().next();
    let program = shell::quote(program.as_deref().unwrap_or("inflight"));
    for (kernel, saved) in plan.kernels.iter().zip(saved) {
        if let Some(Saved { path, finding }) = saved {
            let path = shell::quote(&path.display().to_string());
            let mut name = shell::quote(&kernel.name.to_string());
            let engine = match kernel.machine {
                Machine::Qemu(_) => format!(" --engine {}", kernel.machine),
                Machine::Uml | Machine::Host => String::new(),
            };
            name += &engine;
            let others = beside(plan, outcomes, kernel);
            let _ = write!(
                text,
                "\n{}: {}, seen in {} of {} runs\n\n{}\nreplay it:  {program} replay {path} --kernel {name}\nexplain it: {program} explain {path} --kernel {name}{others}\n",
                path,
                finding.ratio(),
                finding.seen,
                finding.of,
                indent(&finding::render(
                    finding,
                    &Origin {
                        machine: kernel.machine,
                        kernel: &kernel.name,
                        seed: Some(plan.seed),
                    }
                )),
            );
        }
    }
    for outcome in outcomes {
        for failure in &outcome.failures {
            let _ = writeln!(text, "\n{}: FAILED: {failure}", outcome.kernel);
        }
    }
    text
}

/// Kernels that broke nothing, to be shown beside the one that did: one at the most, so
/// that the two can be compared.
fn beside(plan: &Plan, outcomes: &[Outcome], kernel: &Kernel) -> String {
    let mut held = plan.kernels.iter().zip(outcomes);
    let other = held.find(|(it, outcome)| it.name != kernel.name && outcome.finding.is_none());
    let option = |it: &Kernel| format!(" --kernel {}", shell::quote(&it.name.to_string()));
    other.map(|(it, _)| option(it)).unwrap_or_default()
}

fn lines_of_json(plan: &Plan, outcomes: &[Outcome], saved: &[Option<Saved>]) -> String {
    let mut text = String::new();
    for ((outcome, saved), kernel) in outcomes.iter().zip(saved).zip(&plan.kernels) {
        let finding = outcome.finding.as_ref();
        let path: Option<&Path> = saved.as_ref().map(|saved| &*saved.path);
        let line = json!({
            "kernel": outcome.kernel.to_string(),
            "engine": kernel.machine.to_string(),
            "contract": plan.contract,
            "scenarios": outcome.scenarios,
            "violated": violated(outcome),
            "as_expected": as_expected(plan, outcome),
            "first_at": finding.map(|it| it.index + 1),
            "minimized_ops": finding.map(|it| it.steps_after),
            "minimized_bytes": finding.map(|it| it.bytes_after),
            "shrink_runs": finding.map(|it| it.shrink_runs),
            "seen": finding.map(|it| it.seen),
            "of": finding.map(|it| it.of),
            "message": finding.map(|it| &it.message),
            "file": path,
            "scenarios_per_second": rate(outcome),
            "virtual_seconds": outcome.virtual_ns as f64 / 1e9,
            "seed": plan.seed,
            "failures": outcome.failures,
            "excused": excused(outcome),
            "skipped": skipped(outcome),
            "features": features::json(&check::coverage(plan.seed, [outcome])),
        });
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Scenarios by the known bug that they met, which is named by its corpus file.
fn excused(outcome: &Outcome) -> serde_json::Value {
    let pairs = outcome.excused.iter();
    pairs.map(|(bug, cases)| (bug.corpus(), *cases)).collect()
}

/// Cases that were not run, by what is lacking, with the reason.
fn skipped(outcome: &Outcome) -> serde_json::Value {
    let all = outcome.skipped.values();
    all.map(|(cases, lack)| json!({ "cases": cases, "lack": lack }))
        .collect()
}

fn indent(text: &str) -> String {
    let line = |line: &str| match line {
        "" => "\n".to_string(),
        line => format!("    {line}\n"),
    };
    text.lines().map(line).collect()
}

/// One line a kernel while it runs: bars on a terminal, else nothing but a word
/// now and then.
struct Lines {
    bars: Option<(MultiProgress, Vec<ProgressBar>)>,
    names: Vec<String>,
    cases: u64,
    spoken: std::cell::Cell<Instant>,
}

impl Lines {
    fn new(plan: &Plan) -> Lines {
        let names: Vec<String> = plan.kernels.iter().map(|it| it.name.to_string()).collect();
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let style = ProgressStyle::with_template(
                "{prefix:18} {bar:30} {pos}/{len} {per_sec} {elapsed}",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = |name: &String| {
                let bar = ProgressBar::new(plan.cases).with_style(style.clone());
                all.add(bar.with_prefix(name.clone()))
            };
            let bars = names.iter().map(bar).collect();
            (all, bars)
        });
        Lines {
            bars,
            names,
            cases: plan.cases,
            spoken: Instant::now().into(),
        }
    }

    fn progress(&self, kernel: usize, scenarios: u64) {
        if let Some((_, bars)) = &self.bars {
            bars[kernel].set_position(scenarios);
        } else if self.spoken.get().elapsed() > Duration::from_secs(10) {
            self.spoken.set(Instant::now());
            note(format_args!(
                "{}: {scenarios} of {}",
                self.names[kernel], self.cases
            ));
        }
    }

    fn clear(&self) {
        if let Some((_, bars)) = &self.bars {
            // A bar that is only erased is drawn again when it is dropped, below
            // the report.
            for bar in bars {
                bar.finish_and_clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::known::Bug;
    use crate::oracle::Contract;

    fn plan() -> Plan {
        let kernel = |name: &str| Kernel {
            name: name.parse().unwrap(),
            machine: crate::kernel::Machine::Uml,
            release: "6.12".into(),
            image: "/nonexistent".into(),
            key: String::new(),
        };
        Plan {
            kernels: ["6.12-stock", "6.12-patched"].map(kernel).to_vec(),
            contract: Contract::Stable,
            seed: 1,
            first: 0,
            stride: 1,
            cases: 100,
            jobs: 1,
            time: None,
            shrink_runs: 0,
        }
    }

    fn outcome(kernel: &str, scenarios: u64, violated: Option<Property>) -> Outcome {
        Outcome {
            kernel: kernel.parse().unwrap(),
            scenarios,
            finding: violated.map(|property| Finding {
                index: 0,
                property,
                message: String::new(),
                seen: 1,
                of: 1,
                original: String::new(),
                minimized: String::new(),
                steps_before: 0,
                steps_after: 0,
                bytes_before: 0,
                bytes_after: 0,
                shrink_runs: 0,
                history: None,
                stopped: None,
            }),
            busy: Duration::ZERO,
            virtual_ns: 0,
            failures: Vec::new(),
            ran: Vec::new(),
            excused: Default::default(),
            skipped: Default::default(),
            skipped_cases: Default::default(),
        }
    }

    #[test]
    fn what_is_excused_is_said() {
        let mut outcomes = [
            outcome("6.1-stock", 100, None),
            outcome("6.12-patched", 9, None),
        ];
        outcomes[0].excused = [(Bug::KtlsStall, 3), (Bug::PageADatagram, 9)].into();
        let said = human(&plan(), &outcomes, &[]);
        for line in [
            "6.1-stock: 3 of its scenarios met a known bug, see corpus/socket/ktls-small-sndbuf.scn\n",
            "6.1-stock: 9 of its scenarios met a known bug, see corpus/udp/udp6-pages.scn\n",
        ] {
            assert!(said.contains(line), "{said}");
        }
        assert!(!said.contains("6.12-patched: "), "{said}");
        let json = excused(&outcomes[0]).to_string();
        assert_eq!(
            json,
            r#"{"corpus/socket/ktls-small-sndbuf.scn":3,"corpus/udp/udp6-pages.scn":9}"#
        );
        assert_eq!(excused(&outcomes[1]).to_string(), "{}");
    }

    #[test]
    fn what_was_skipped_is_no_verdict() {
        use crate::guest::lacks::{Feature, Lack};
        let lack = Lack {
            what: Feature::Netem,
            reason: "no such file".into(),
            remedy: "load it".into(),
        };
        let mut outcomes = [
            outcome("6.12-stock", 0, None),
            outcome("6.12-patched", 0, None),
        ];
        for it in &mut outcomes {
            it.skipped = [(Feature::Netem, (3, lack.clone()))].into();
        }
        assert_eq!(status(&plan(), &outcomes), Status::NothingRan);
        let said = human(&plan(), &outcomes[1..], &[]);
        let line = "6.12-patched: 3 of its scenarios were skipped: no netem here: no such file; \
                    remedy: load it\n";
        assert!(said.contains(line), "{said}");
        assert!(
            said.contains(" skipped ") && !said.contains(" holds"),
            "{said}"
        );
        let json = skipped(&outcomes[0]).to_string();
        assert!(
            json.contains(r#""cases":3"#) && json.contains("netem"),
            "{json}"
        );
    }

    #[test]
    fn the_exit_status_tells_the_worst() {
        use Property::{StableOnReturn, Wire};
        let stock = |scenarios, violated| outcome("6.12-stock", scenarios, violated);
        let patched = |scenarios, violated| outcome("6.12-patched", scenarios, violated);
        let race = Some(StableOnReturn);
        for (stock, patched, expected) in [
            (stock(1, race), patched(100, None), Status::Held),
            (stock(1, race), patched(5, race), Status::Violated),
            (stock(1, Some(Wire)), patched(100, None), Status::Violated),
            (stock(100, None), patched(100, None), Status::Violated),
            (stock(1, race), patched(0, None), Status::NothingRan),
            (stock(0, None), patched(100, None), Status::NothingRan),
            // A violation is one even where time ran out for the other kernel.
            (stock(0, None), patched(5, race), Status::Violated),
        ] {
            let mut outcomes = [stock, patched];
            assert_eq!(status(&plan(), &outcomes), expected, "{outcomes:?}");
            outcomes[1].failures.push("it did not boot".into());
            assert_eq!(status(&plan(), &outcomes), Status::Internal);
        }
    }
}
