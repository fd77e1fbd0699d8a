//! How long it takes to make a failure smaller.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;

use crate::campaign::host;
use crate::campaign::job::{Event, Finding, Job};
use crate::cli::{Failure, Status};
use crate::kernel::Kernel;
use crate::oracle::Contract;
use crate::report::table::Table;

/// Seeds from which the race is found.
const SEEDS: u64 = 20;
/// More cases than it takes to find the race from any seed.
const CASES: u64 = 10_000;
const SHRINK_RUNS: u64 = 2000;
/// Operations of the large scenario, by three actors.
const OPS: u64 = 60;

/// One failure made smaller.
pub(super) struct Shrunk {
    /// What was made smaller.
    what: String,
    finding: Finding,
    /// From the violation to the smallest scenario, run again ten times.
    took: Duration,
}

/// The race from several seeds, then a large scenario.
pub(super) fn measure(kernel: &Kernel) -> Result<Vec<Shrunk>, Failure> {
    let seeds = (1..=SEEDS).map(|seed| {
        let job = Job::Check {
            seed,
            first: 0,
            stride: 1,
            end: CASES,
            contract: Contract::Stable,
            shrink_runs: SHRINK_RUNS,
        };
        (format!("race of seed {seed}"), job)
    });
    let large = Job::Minimize {
        text: large(),
        property: None,
        contract: Contract::Stable,
        shrink_runs: SHRINK_RUNS,
    };
    let large = (format!("{OPS} ops of 3 actors"), large);
    let jobs = seeds.chain(std::iter::once(large));
    jobs.map(|(what, job)| shrunk(kernel, what, &job)).collect()
}

fn shrunk(kernel: &Kernel, what: String, job: &Job) -> Result<Shrunk, Failure> {
    let mut seen: Option<Instant> = None;
    let mut found = None;
    let end = host::alone(kernel, job, |at, event| match event {
        Event::Suspect(_) => seen = Some(at),
        Event::Found(finding) => found = Some((at, finding)),
        _ => {}
    })?;
    let (Some(seen), Some((at, finding))) = (seen, found) else {
        let why = anyhow!("{what}: nothing was found: {:?} {}", end.outcome, end.stray);
        return Err(Failure::new(Status::Internal, why));
    };
    Ok(Shrunk {
        what,
        finding,
        took: at - seen,
    })
}

/// Sends and writes all over a file of 64 pages. Many of them race.
fn large() -> String {
    let mut text =
        "link data delay=20ms\nlink ack delay=30ms\nfile tmpfs size=262144\n\n".to_string();
    for number in 0..OPS {
        // Numbers that have nothing to do with each other.
        let (offset, len) = (
            number * 37 % 61 * 4096 + number * 7,
            number * 613 % 12_000 + 1,
        );
        let actor = ["", "b: ", "c: "][(number * 5 % 7 % 3) as usize];
        let _ = match number % 5 {
            0 | 3 => writeln!(text, "{actor}sendfile {offset}+{len}"),
            1 => writeln!(text, "{actor}pwrite {offset}+{len}"),
            2 => writeln!(text, "{actor}mmap-write {offset}+{len}"),
            _ => writeln!(text, "{actor}wait {}ms", number % 9 + 1),
        };
    }
    text
}

/// The median and the worst of the seeds, then the rest.
pub(super) fn human(rows: &[(&Kernel, Vec<Shrunk>)]) -> String {
    let headings = ["kernel", "made smaller", "ops", "bytes", "runs", "took"];
    let mut table = Table::new(headings, &[2, 3, 4, 5]);
    for (kernel, shrunk) in rows {
        let mut races: Vec<&Shrunk> = shrunk.iter().take(SEEDS as usize).collect();
        races.sort_by_key(|it| it.took);
        let median = (
            format!("the race, median of {SEEDS} seeds"),
            races[races.len() / 2],
        );
        let worst = (
            format!("the race, worst of {SEEDS} seeds"),
            races[races.len() - 1],
        );
        let others = shrunk.iter().skip(SEEDS as usize);
        let others = others.map(|it| (it.what.clone(), it));
        for (what, it) in [median, worst].into_iter().chain(others) {
            let finding = &it.finding;
            table.row([
                kernel.name.to_string(),
                what,
                format!("{} to {}", finding.steps_before, finding.steps_after),
                format!("{} to {}", finding.bytes_before, finding.bytes_after),
                finding.shrink_runs.to_string(),
                format!("{:.0} ms", it.took.as_secs_f64() * 1e3),
            ]);
        }
    }
    format!("failures made smaller, from the violation on\n\n{table}")
}

pub(super) fn json(kernel: &Kernel, shrunk: &Shrunk) -> String {
    let finding = &shrunk.finding;
    json!({
        "kernel": kernel.name.to_string(),
        "what": shrunk.what,
        "ops_before": finding.steps_before,
        "minimized_ops": finding.steps_after,
        "bytes_before": finding.bytes_before,
        "minimized_bytes": finding.bytes_after,
        "runs": finding.shrink_runs,
        "seen": finding.seen,
        "of": finding.of,
        "milliseconds": shrunk.took.as_secs_f64() * 1e3,
        "scenario": finding.minimized,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{normalize, text};

    #[test]
    fn the_large_scenario_runs_as_it_is_written() {
        let scenario = text::parse("large", &large()).unwrap();
        assert_eq!(scenario.steps.len() as u64, OPS);
        let mut actors: Vec<_> = scenario.steps.iter().map(|it| it.actor).collect();
        actors.sort();
        actors.dedup();
        assert_eq!(actors.len(), 3);
        assert_eq!(
            normalize::normalize(scenario.clone()).steps.len() as u64,
            OPS
        );
    }
}
