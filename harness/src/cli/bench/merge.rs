//! How long it takes to put units together, against how many there are.
//!
//! The units' files are those of real cases, with the size that they have after a campaign; what
//! is timed is all that `inflight campaign merge` does: read, unite, write, and make the page.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;

use crate::campaign::check::{self, Outcome, Ran};
use crate::campaign::job::Finding;
use crate::campaign::merge::Merged;
use crate::campaign::unit::store::Store;
use crate::campaign::unit::{Done, Found, Shard, Took, Unit, Work, this_program};
use crate::cli::campaign::merge::publish;
use crate::cli::{Failure, Status};
use crate::oracle::{Contract, Property};
use crate::report::table::Table;
use crate::scenario::features::Exercised;
use crate::scenario::strategy;

/// So many units, each twice as many as before and then more at a time.
const UNITS: [u32; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384];
/// Scenarios of a unit whose features are counted: enough to have met most.
const CASES: u64 = 500;
/// A violation in each so many units.
const FOUND_EVERY: u32 = 8;

/// How long so many took.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    units: u32,
    bytes: u64,
    read: Duration,
    all: Duration,
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Status::Internal, anyhow!("bench merge: {error}"))
}

/// Times merges.
pub fn measure(seed: u64) -> Result<Vec<Timing>, Failure> {
    UNITS.into_iter().map(|units| time(units, seed)).collect()
}

fn time(units: u32, seed: u64) -> Result<Timing, Failure> {
    let dir = tempfile::tempdir().map_err(failed)?;
    let store = Store::open(&dir.path().join("campaign"))?;
    let (done, found) = models(seed)?;
    for index in 0..units {
        let mut done = done.clone();
        done.unit.shard = Shard::new(index, units).unwrap_or(Shard::WHOLE);
        store.put(&done)?;
        if index.is_multiple_of(FOUND_EVERY) {
            let mut found = found.clone();
            found.unit = done.unit.id();
            store.note(&found)?;
        }
    }
    let out = Store::open(&dir.path().join("merged"))?;
    let begun = Instant::now();
    let merged = Merged::read(&store)?;
    let read = begun.elapsed();
    merged.write(&out)?;
    publish(&merged, out.root()).map_err(failed)?;
    let all = begun.elapsed();
    if merged.units().len() != units as usize {
        return Err(failed("some units are missing"));
    }
    Ok(Timing {
        units,
        bytes: size(store.root())?,
        read,
        all,
    })
}

/// A unit and a violation as a campaign has them.
fn models(seed: u64) -> Result<(Done, Found), Failure> {
    let unit = Unit {
        program: this_program().map_err(failed)?,
        work: Work::Check {
            cases: CASES,
            shrink_runs: 200,
        },
        kernel: "6.12-patched".into(),
        key: "0123456789abcdef".into(),
        contract: Contract::Stable,
        seed,
        shard: Shard::WHOLE,
    };
    let outcome = Outcome {
        kernel: unit.kernel.parse().map_err(failed)?,
        scenarios: CASES,
        finding: None,
        busy: Duration::ZERO,
        virtual_ns: 0,
        failures: Vec::new(),
        ran: vec![Ran {
            first: 0,
            stride: 1,
            cases: CASES,
        }],
        excused: Default::default(),
        skipped: Default::default(),
        skipped_cases: Default::default(),
    };
    let done = Done {
        unit: unit.clone(),
        scenarios: CASES,
        virtual_ns: 1,
        excused: Default::default(),
        exercised: Some(Exercised::from(&check::coverage(seed, [&outcome]))),
        fuzz_features: None,
        runs: Vec::new(),
        left_out: 0,
        skipped: 0,
        took: Took {
            begun_unix_ms: 1,
            ended_unix_ms: 2,
            busy_ms: 1,
            node: "n1".into(),
        },
    };
    let scenario = strategy::case(seed, 0);
    let finding = Finding::suspect(0, Property::Wire, "as if".into(), &scenario);
    Ok((done, Found::new(&unit, finding, None)))
}

fn size(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        bytes += match metadata.is_dir() {
            true => size(&entry.path())?,
            false => metadata.len(),
        };
    }
    Ok(bytes)
}

/// The table.
pub fn human(timings: &[Timing]) -> String {
    let mut table = Table::new(
        ["units", "bytes", "read", "merge", "a unit"],
        &[0, 1, 2, 3, 4],
    );
    let seconds = |it: Duration| format!("{:.3} s", it.as_secs_f64());
    for it in timings {
        table.row([
            it.units.to_string(),
            it.bytes.to_string(),
            seconds(it.read),
            seconds(it.all),
            format!("{:.2} ms", it.all.as_secs_f64() * 1e3 / f64::from(it.units)),
        ]);
    }
    format!("time to merge units\n{table}")
}

/// An object a line.
pub fn json(timings: &[Timing]) -> String {
    let line = |it: &Timing| {
        let line = json!({
            "bench": "merge",
            "units": it.units,
            "bytes": it.bytes,
            "read_seconds": it.read.as_secs_f64(),
            "seconds": it.all.as_secs_f64(),
        });
        format!("{line}\n")
    };
    timings.iter().map(line).collect()
}
