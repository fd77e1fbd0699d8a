//! How fast the fuzz target runs, next to the property run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::json;

use super::{Measured, measure};
use crate::campaign::fuzz::{
    self,
    target::{self, Run},
};
use crate::campaign::job::Job;
use crate::cli::options::ensure;
use crate::cli::{Failure, Status};
use crate::kernel::{Extras, Kernel};
use crate::oracle::Contract;
use crate::report::table::Table;
use crate::scenario::strategy;

/// Executions a second on one CPU, each but the last of the same generated cases.
pub(super) struct Rates {
    /// The property run.
    property: f64,
    /// The target on a kernel that is not instrumented.
    plain: f64,
    /// The target on one that is, where nothing is counted.
    instrumented: f64,
    /// The target as it is used: all that guides is counted.
    counted: f64,
    /// The same, with mutations, from an empty corpus.
    climbing: f64,
}

/// Measures with so many cases of a seed.
pub(super) fn rates(
    kernel: &Kernel,
    program: &Path,
    cases: u32,
    seed: u64,
) -> Result<Rates, Failure> {
    let internal = |error: anyhow::Error| Failure::new(Status::Internal, error);
    let folder = target::folder().map_err(|it| Failure::new(Status::Missing, it))?;
    let inputs = folder.path().join("inputs");
    let empty = folder.path().join("empty");
    let found = folder.path().join("found");
    for path in [&inputs, &empty, &found] {
        fs::create_dir(path)
            .context("cannot make a folder for inputs")
            .map_err(internal)?;
    }
    for index in 0..cases {
        let text = strategy::case(seed, index.into()).to_string();
        fs::write(inputs.join(format!("{index:06}")), text)
            .context("cannot write an input")
            .map_err(internal)?;
    }
    let job = Job::Check {
        seed,
        first: 0,
        stride: 1,
        end: cases.into(),
        contract: Contract::Documented,
        shrink_runs: 0,
    };
    let Measured {
        busy, scenarios, ..
    } = measure(kernel, &job)?;
    let counting = ensure(&[kernel.name.clone().with(Extras::Kcov)])?;
    let counting = counting
        .first()
        .ok_or_else(|| internal(anyhow!("no kernel that counts")))?;
    let read = |kernel: &Kernel, guide: &str| {
        let arguments = [path(&inputs), "-runs=0".into(), prefix(&found)];
        timed(program, kernel, guide, &arguments, "INITED")
    };
    let climb = [
        path(&empty),
        format!("-runs={cases}"),
        format!("-seed={}", (seed as u32).max(1)),
        prefix(&found),
    ];
    Ok(Rates {
        property: scenarios as f64 / busy.as_secs_f64(),
        plain: read(kernel, "none")?,
        instrumented: read(counting, "none")?,
        counted: read(counting, "all")?,
        climbing: timed(program, counting, "all", &climb, "DONE")?,
    })
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn prefix(folder: &Path) -> String {
    format!("-artifact_prefix={}/", folder.display())
}

/// Executions a second from when the guest begins with its inputs to the line that says
/// `last`.
fn timed(
    program: &Path,
    kernel: &Kernel,
    guide: &str,
    arguments: &[String],
    last: &str,
) -> Result<f64, Failure> {
    let run = Run {
        program,
        kernel: &kernel.name,
        guide,
        contract: "documented",
        trace: None,
    };
    let (mut begun, mut done) = (None, None);
    let mut said = Vec::new();
    let status = run.run(arguments, |line, at| {
        if begins(line) {
            begun.get_or_insert(at);
        }
        if let Some(executions) = executions(line, last) {
            done = Some((at, executions));
        }
        target::keep(&mut said, line);
    });
    let internal = |it: std::io::Error| Failure::new(Status::Internal, it);
    target::check(status.map_err(internal)?, &said).map_err(internal)?;
    let (Some(begun), Some((at, executions))) = (begun, done) else {
        let why = anyhow!("the fuzz target did not say when it was done: {said:#?}");
        return Err(Failure::new(Status::Internal, why));
    };
    Ok(rate(executions, at.duration_since(begun)))
}

fn rate(executions: u64, took: Duration) -> f64 {
    executions as f64 / took.as_secs_f64().max(1e-9)
}

/// What libFuzzer says before it runs its first input (FuzzerLoop.cpp).
fn begins(line: &str) -> bool {
    line.starts_with("INFO: seed corpus:") || line.starts_with("INFO: A corpus is not provided")
}

/// The number of executions in a line of libFuzzer's that says `what`.
fn executions(line: &str, what: &str) -> Option<u64> {
    let (executions, occasion) = fuzz::executions(line)?;
    (occasion == what).then_some(executions)
}

pub(super) fn human(rows: &[(&Kernel, Rates)]) -> String {
    let headings = [
        "kernel",
        "property run",
        "target",
        "instrumented",
        "counted",
        "counted to target",
        "climbing",
    ];
    let mut table = Table::new(headings, &[1, 2, 3, 4, 5, 6]);
    for (kernel, it) in rows {
        let number = |rate: f64| format!("{rate:.0}/s");
        table.row([
            kernel.name.to_string(),
            number(it.property),
            number(it.plain),
            number(it.instrumented),
            number(it.counted),
            format!("{:.2}", it.counted / it.plain),
            number(it.climbing),
        ]);
    }
    format!("executions a second on one CPU, of the same generated cases\n\n{table}")
}

pub(super) fn json(kernel: &Kernel, it: &Rates) -> serde_json::Value {
    json!({
        "kernel": kernel.name.to_string(),
        "property_per_second": it.property,
        "target_per_second": it.plain,
        "instrumented_per_second": it.instrumented,
        "counted_per_second": it.counted,
        "counted_to_target": it.counted / it.plain,
        "climbing_per_second": it.climbing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_lines_say_how_many() {
        let done = "#2000\tDONE   ft: 47274 corp: 549/179Kb lim: 4096 exec/s: 80 rss: 55Mb";
        assert_eq!(executions(done, "DONE"), Some(2000));
        assert_eq!(executions(done, "INITED"), None);
        assert_eq!(executions("#12\tINITED cov: 1", "INITED"), Some(12));
        assert_eq!(executions("# 12 INITED", "INITED"), None);
        assert!(begins(
            "INFO: seed corpus: files: 3 min: 1b max: 2b total: 4b rss: 30Mb"
        ));
        assert!(begins(
            "INFO: A corpus is not provided, starting from an empty corpus"
        ));
        assert!(!begins("INFO: Running with entropic power schedule"));
        let twice = rate(10, Duration::from_secs(5));
        assert!((twice - 2.0).abs() < 1e-9);
    }
}
