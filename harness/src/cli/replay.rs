//! `inflight replay`: scenario files again, on one or more kernels.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::format::{Format, print};
use super::options::On;
use super::{Failure, Status};
use crate::campaign::check;
use crate::campaign::replay::{self, Outcome, Plan};
use crate::kernel::{Kernel, KernelName, Machine};
use crate::oracle::{Contract, Property, not_by};
use crate::report::table::Table;
use crate::scenario::{Expected, Means, Scenario, normalize, text};

/// Run scenario files again, and hold them against their `expect` lines.
///
/// A file says what to expect of which kernel: `expect stock violates
/// stable-on-return`. Where it says nothing, every property must hold; of the kernel that
/// runs already, what is expected of the kernel of the catalog that is most like it. What
/// that one cannot run is `skipped`, with the reason; if all was, the exit status is 4.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Scenario files, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    on: On,
    /// Run each so many times on each kernel
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Print for people, or as json with one object a file and kernel
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

/// One file on one kernel.
pub(super) struct Row<'a> {
    file: &'a PathBuf,
    kernel: &'a KernelName,
    engine: Machine,
    contract: Contract,
    expected: Option<Property>,
    means: Option<Means>,
    /// Where it is chance what is seen: the one property that may be violated.
    chance: Option<Option<Property>>,
    outcome: &'a Outcome,
}

/// Replays the files.
pub fn run(args: &Args) -> Result<Status, Failure> {
    // Every file is read before any kernel is built: bad input fails at once.
    let files: Vec<Vec<PathBuf>> = args
        .files
        .iter()
        .map(|path| text::files(path))
        .collect::<Result<_, _>>()
        .map_err(super::usage)?;
    let files = files.concat();
    let scenarios: Vec<Scenario> = files
        .iter()
        .map(|path| text::read_file(path).map(normalize::normalize))
        .collect::<Result<_, _>>()
        .map_err(super::usage)?;
    let plan = Plan {
        kernels: args.on.kernels()?,
        texts: scenarios.iter().map(Scenario::to_string).collect(),
        times: args.times,
        contract: args.on.contract,
        jobs: args.on.jobs(),
    };
    let start = Instant::now();
    let outcomes = replay::run(&plan)?;
    let mut rows = Vec::new();
    for ((file, scenario), index) in files.iter().zip(&scenarios).zip(0..) {
        for (kernel, outcomes) in plan.kernels.iter().zip(&outcomes) {
            let outcome: &Outcome = &outcomes[index];
            rows.push(Row::new((file, scenario), kernel, plan.contract, outcome));
        }
    }
    match args.format {
        Format::Human => print(&human(&rows, start.elapsed().as_secs_f64()))?,
        Format::Json => print(
            &rows
                .iter()
                .map(|row| format!("{}\n", row.json()))
                .collect::<String>(),
        )?,
    }
    Ok(status(&rows))
}

/// The exit status that these deserve.
pub(super) fn status(rows: &[Row<'_>]) -> Status {
    if rows.iter().any(|row| row.outcome.failure.is_some()) {
        return Status::Internal;
    }
    let ran = |row: &Row<'_>| row.outcome.skipped.is_none();
    if !rows.is_empty() && !rows.iter().any(ran) {
        return Status::NothingRan;
    }
    match rows.iter().all(Row::as_expected) {
        true => Status::Held,
        false => Status::Violated,
    }
}

/// What an `expect` line says under this contract.
fn expected(line: Option<&Expected>, contract: Contract) -> Option<Property> {
    let Expected::Violates(property) = line? else {
        return None;
    };
    let property = property.parse().ok()?;
    let judged = contract == Contract::Stable || property != Property::StableOnReturn;
    judged.then_some(property)
}

/// By which means the kernel must keep its promise, if the line says so.
fn expected_means(line: Option<&Expected>) -> Option<Means> {
    match line? {
        Expected::Holds(means) => *means,
        Expected::Violates(_) | Expected::Either => None,
    }
}

/// The first line about this kernel.
fn line<'a>(scenario: &'a Scenario, kernel: &KernelName, on: Machine) -> Option<&'a Expected> {
    let of = |name: &str| {
        let mut lines = scenario.expects.iter();
        lines.find(|it| it.is_about_on(name, on.plain()))
    };
    let line = match kernel {
        KernelName::Host => of("host").or_else(|| of(&check::like_host())),
        kernel => of(&kernel.to_string()),
    };
    line.map(|it| &it.verdict)
}

impl<'a> Row<'a> {
    /// A scenario, from its file, as it fared.
    pub fn new(
        (file, scenario): (&'a PathBuf, &Scenario),
        kernel: &'a Kernel,
        contract: Contract,
        outcome: &'a Outcome,
    ) -> Row<'a> {
        let engine = kernel.machine;
        let kernel = &kernel.name;
        let exact = line(scenario, kernel, Machine::Uml);
        let line = line(scenario, kernel, engine);
        Row {
            file,
            kernel,
            engine,
            contract,
            expected: expected(line, contract),
            means: expected_means(line),
            // What it breaks where nothing is chance.
            chance: (line == Some(&Expected::Either)).then(|| expected(exact, contract)),
            outcome,
        }
    }
}

impl Row<'_> {
    // Every broken property must be the expected one, and that one be broken. What did not
    // run says nothing.
    fn as_expected(&self) -> bool {
        if self.outcome.skipped.is_some() {
            return true;
        }
        let broken: Vec<Property> = self.outcome.violated.iter().map(|it| it.0).collect();
        if let Some(may_break) = self.chance {
            let may_be = broken.iter().all(|it| Some(*it) == may_break);
            return self.outcome.failure.is_none() && may_be;
        }
        self.outcome.failure.is_none()
            && broken == Vec::from_iter(self.expected)
            && self.not_by_means().is_none()
    }

    // Every run must have kept the promise by the means expected.
    fn not_by_means(&self) -> Option<String> {
        let means = self.means?;
        let counters = &self.outcome.counters;
        match counters.is_empty() {
            true => not_by(means, None),
            false => counters.iter().find_map(|it| not_by(means, Some(it))),
        }
    }

    fn reproduced(&self) -> u32 {
        match self.expected {
            Some(property) => self.outcome.times(property),
            None => self
                .outcome
                .violated
                .iter()
                .map(|it| it.1)
                .max()
                .unwrap_or(0),
        }
    }

    // What to tell people of it: what broke, else why the means are wrong.
    fn message(&self) -> Option<String> {
        let message = self.outcome.message.clone();
        message.or_else(|| self.not_by_means())
    }

    fn violated(&self) -> Option<Property> {
        self.outcome.violated.first().map(|it| it.0)
    }

    /// What is told of it to programs.
    pub fn json(&self) -> serde_json::Value {
        json!({
            "file": self.file,
            "kernel": self.kernel.to_string(),
            "engine": self.engine.to_string(),
            "contract": self.contract,
            "scenarios": self.outcome.runs,
            "violated": self.violated(),
            "reproduced": self.reproduced(),
            "expected": self.expected,
            "as_expected": self.as_expected(),
            "digests": self.outcome.digests,
            "message": self.message(),
            "counters": self.outcome.counters.first(),
            "failure": self.outcome.failure,
            "skipped": self.outcome.skipped,
        })
    }
}

/// What is told of them to people.
pub(super) fn human(rows: &[Row<'_>], seconds: f64) -> String {
    let mut table = Table::new(["file", "kernel", "engine", "verdict", "seen"], &[]);
    let mut details = String::new();
    // Why, and how often.
    let mut skipped: Vec<(String, usize)> = Vec::new();
    for row in rows {
        let verdict = match (&row.outcome.failure, row.violated()) {
            (Some(_), _) => "FAILED".to_string(),
            (None, _) if row.outcome.skipped.is_some() => "skipped".to_string(),
            (None, Some(property)) => format!("violates {property}"),
            (None, None) => "holds".to_string(),
        };
        let surprise = match row.as_expected() {
            true => "",
            false => "  NOT EXPECTED",
        };
        table.row([
            row.file.display().to_string(),
            row.kernel.to_string(),
            row.engine.to_string(),
            format!("{verdict}{surprise}"),
            format!("{} of {}", row.reproduced(), row.outcome.runs),
        ]);
        if let Some(lack) = &row.outcome.skipped {
            let lack = lack.to_string();
            match skipped.iter_mut().find(|(known, _)| *known == lack) {
                Some((_, times)) => *times += 1,
                None => skipped.push((lack, 1)),
            }
        }
        let message = row.outcome.failure.clone().or_else(|| row.message());
        if let (Some(message), false) = (message, row.as_expected()) {
            let _ = writeln!(
                details,
                "\n{} on {}: {}",
                row.file.display(),
                row.kernel,
                message.trim_end()
            );
        }
    }
    for (lack, times) in &skipped {
        let _ = writeln!(details, "\nskipped {times}: {lack}");
    }
    let files = rows.len();
    let all: usize = skipped.iter().map(|(_, times)| times).sum();
    let skipped = match all {
        0 => String::new(),
        all => format!(", {all} of them skipped"),
    };
    format!("{table}{details}\n{files} replays in {seconds:.1} s{skipped}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Counters;

    fn kernel(name: &str) -> Kernel {
        Kernel {
            name: name.parse().unwrap(),
            machine: Machine::Uml,
            image: "/x".into(),
            release: String::new(),
            key: String::new(),
        }
    }

    /// How a scenario of the 2008 race fares that must hold as `line` says.
    fn judged(line: &str, kernel: &str, counters: &[Counters]) -> (bool, String) {
        let text = format!("expect {line}\n\nsendfile 0+4096\nmmap-write 0+4096\n");
        let scenario = text::parse("t.scn", &text).unwrap();
        let kernel = self::kernel(kernel);
        let outcome = Outcome {
            runs: 2,
            violated: Vec::new(),
            message: None,
            digests: Some(1),
            counters: counters.to_vec(),
            failure: None,
            skipped: None,
        };
        let file = "t.scn".into();
        let row = Row::new((&file, &scenario), &kernel, Contract::Stable, &outcome);
        (row.as_expected(), human(&[row], 0.0))
    }

    #[test]
    fn what_was_skipped_is_neither_held_nor_broken() {
        use crate::guest::lacks::{Feature, Lack};
        let scenario = text::parse("t.scn", "sendfile 0+1\n").unwrap();
        let kernel = kernel("host");
        let ran = Outcome {
            runs: 1,
            violated: Vec::new(),
            message: None,
            digests: Some(1),
            counters: Vec::new(),
            failure: None,
            skipped: None,
        };
        let lack = Lack {
            what: Feature::Vsock,
            reason: "no such device".into(),
            remedy: "load it".into(),
        };
        let skipped = Outcome {
            runs: 0,
            skipped: Some(lack),
            ..ran.clone()
        };
        let file = "t.scn".into();
        let row = |outcome| Row::new((&file, &scenario), &kernel, Contract::Stable, outcome);
        let said = human(&[row(&skipped), row(&ran), row(&skipped)], 0.0);
        assert!(
            said.contains("  skipped ") && said.contains("  holds "),
            "{said}"
        );
        let line = "skipped 2: no vsock here: no such device; remedy: load it\n";
        assert!(said.contains(line), "{said}");
        assert!(
            said.ends_with("3 replays in 0.0 s, 2 of them skipped\n"),
            "{said}"
        );
        assert_eq!(row(&skipped).json()["skipped"]["what"], "vsock");
        assert_eq!(status(&[row(&skipped)]), Status::NothingRan);
        assert_eq!(status(&[row(&skipped), row(&ran)]), Status::Held);
    }

    /// What is chance may be seen or not; what no line names may not.
    #[test]
    fn chance_excuses_one_property_only() {
        let text = "expect stock@qemu either\nexpect stock violates liveness\n\nsendfile 0+1\n";
        let scenario = text::parse("t.scn", text).unwrap();
        let file = "t.scn".into();
        let judged = |engine: &str, violated: &[Property]| {
            let kernel = Kernel {
                machine: engine.parse().unwrap(),
                ..kernel("6.12-stock")
            };
            let outcome = Outcome {
                runs: 1,
                violated: violated.iter().map(|it| (*it, 1)).collect(),
                message: None,
                digests: None,
                counters: Vec::new(),
                failure: None,
                skipped: None,
            };
            Row::new((&file, &scenario), &kernel, Contract::Stable, &outcome).as_expected()
        };
        assert!(judged("qemu", &[]) && judged("qemu", &[Property::Liveness]));
        assert!(!judged("qemu", &[Property::Splat]));
        assert!(!judged("uml", &[]) && judged("uml", &[Property::Liveness]));
    }

    #[test]
    fn the_means_expected_must_be_the_ones_counted_in_every_run() {
        let waited = Counters {
            waits: 1,
            wait_us: 60_000,
            referenced_bytes: 4096,
            ..Counters::default()
        };
        let copied = Counters {
            copied_bytes: 4096,
            ..Counters::default()
        };
        let (fine, said) = judged("patched holds waited", "6.12-patched", &[waited]);
        assert!(fine && !said.contains("NOT EXPECTED"), "{said}");
        for (counters, words) in [
            (
                &[waited, copied][..],
                "expected waited, but 4096 bytes were copied (waits 0, ",
            ),
            (&[], "expected waited, but this kernel has no counters"),
        ] {
            let (fine, said) = judged("patched holds waited", "6.12-patched", counters);
            assert!(!fine && said.contains("holds  NOT EXPECTED"), "{said}");
            assert!(said.contains(words), "{said}");
        }
        // Where no means is named, or the line is about another kernel, any will do.
        for (line, kernel) in [
            ("patched holds", "6.12-patched"),
            ("stock holds waited", "6.12-patched"),
            ("6.12-patched holds waited", "7.3-patched"),
        ] {
            assert!(judged(line, kernel, &[copied]).0, "{line}");
        }
    }
}
