//! `inflight replay`: scenario files again, on one or more kernels.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::format::{Format, print};
use super::options::On;
use super::{Failure, Status};
use crate::campaign::replay::{self, Outcome, Plan};
use crate::kernel::{Kernel, KernelName};
use crate::oracle::{Contract, Property};
use crate::report::table::Table;
use crate::scenario::{Scenario, normalize, text};

/// Run scenario files again, and hold them against their `expect` lines.
///
/// A file says what to expect of which kernel: `expect stock violates
/// stable-on-return`. Where it says nothing, every property must hold.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Scenario files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    on: On,
    /// Run each so many times on each kernel
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Output: human, or json with one object a file and kernel
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

/// One file on one kernel.
struct Row<'a> {
    file: &'a PathBuf,
    kernel: &'a KernelName,
    contract: Contract,
    expected: Option<Property>,
    outcome: &'a Outcome,
}

/// Replays the files.
pub fn run(args: &Args) -> Result<Status, Failure> {
    // Every file is read before any kernel is built: bad input fails at once.
    let scenarios: Vec<Scenario> = args
        .files
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
    for ((file, scenario), index) in args.files.iter().zip(&scenarios).zip(0..) {
        for (Kernel { name, .. }, outcomes) in plan.kernels.iter().zip(&outcomes) {
            rows.push(Row {
                file,
                kernel: name,
                contract: plan.contract,
                expected: expected(scenario, name, plan.contract),
                outcome: &outcomes[index],
            });
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
    if rows.iter().any(|row| row.outcome.failure.is_some()) {
        return Ok(Status::Internal);
    }
    match rows.iter().all(Row::as_expected) {
        true => Ok(Status::Held),
        false => Ok(Status::Violated),
    }
}

/// What the scenario's `expect` lines say of this kernel under this contract.
fn expected(scenario: &Scenario, kernel: &KernelName, contract: Contract) -> Option<Property> {
    let name = kernel.to_string();
    let flavour = match kernel {
        KernelName::Release { flavour, .. } => flavour.to_string(),
        _ => String::new(),
    };
    let mut lines = scenario.expects.iter();
    let line = lines.find(|it| it.kernel == name || it.kernel == flavour)?;
    let property = line.violated.as_ref()?.parse().ok()?;
    let judged = contract == Contract::Stable || property != Property::StableOnReturn;
    judged.then_some(property)
}

impl Row<'_> {
    // Every broken property must be the expected one, and that one be broken.
    fn as_expected(&self) -> bool {
        let broken: Vec<Property> = self.outcome.violated.iter().map(|it| it.0).collect();
        self.outcome.failure.is_none() && broken == Vec::from_iter(self.expected)
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

    fn violated(&self) -> Option<Property> {
        self.outcome.violated.first().map(|it| it.0)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "file": self.file,
            "kernel": self.kernel.to_string(),
            "contract": self.contract,
            "scenarios": self.outcome.runs,
            "violated": self.violated(),
            "reproduced": self.reproduced(),
            "expected": self.expected,
            "as_expected": self.as_expected(),
            "digests": self.outcome.digests,
            "message": self.outcome.message,
            "failure": self.outcome.failure,
        })
    }
}

fn human(rows: &[Row<'_>], seconds: f64) -> String {
    let mut table = Table::new(["file", "kernel", "verdict", "seen"], &[]);
    let mut details = String::new();
    for row in rows {
        let verdict = match (&row.outcome.failure, row.violated()) {
            (Some(_), _) => "FAILED".to_string(),
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
            format!("{verdict}{surprise}"),
            format!("{} of {}", row.reproduced(), row.outcome.runs),
        ]);
        let message = row
            .outcome
            .failure
            .as_ref()
            .or(row.outcome.message.as_ref());
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
    let files = rows.len();
    format!("{table}{details}\n{files} replays in {seconds:.1} s\n")
}
