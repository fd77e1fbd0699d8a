//! The program as a user runs it, units of a campaign, and what comes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use inflight::campaign::merge::Merged;
use inflight::campaign::unit::store::Store;
use inflight::campaign::unit::{Done, Found};

use crate::common::repository;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_inflight");

pub const KERNELS: [&str; 2] = ["6.12-patched", "6.12-stock"];

pub fn inflight(args: &[&str]) -> Command {
    program(Path::new(PROGRAM), args)
}

pub fn run(args: &[&str]) -> Output {
    inflight(args).output().unwrap()
}

fn program(path: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(args).current_dir(repository());
    command
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Units of a campaign, from 1 on, one after the other.
pub fn units(kernel: &str, cases: &str, numbers: &[u32], of: u32, out: &Path) -> Vec<Output> {
    units_by(Path::new(PROGRAM), kernel, cases, numbers, of, out)
}

pub fn units_by(
    path: &Path,
    kernel: &str,
    cases: &str,
    numbers: &[u32],
    of: u32,
    out: &Path,
) -> Vec<Output> {
    let unit = |number: &u32| {
        let shard = format!("{number}/{of}");
        let args = [
            "check",
            "--kernel",
            kernel,
            "--cases",
            cases,
            "--seed",
            "7",
            "--shrink-runs",
            "40",
            "--shard",
            &shard,
            "--out",
            text(out),
        ];
        program(path, &args).output().unwrap()
    };
    numbers.iter().map(unit).collect()
}

pub fn merged(folder: &Path) -> Merged {
    Merged::read(&Store::at(folder)).unwrap()
}

/// Fails with what one of the two has and the other has not.
pub fn assert_same(one: &Merged, other: &Merged) {
    let told = |it: &Merged| {
        let unit = |it: &Done| (it.unit.id(), format!("{it:#?}"));
        let found = |it: &Found| (it.id(), format!("{it:#?}"));
        let all = it.units().map(unit).chain(it.found().map(found));
        all.collect::<BTreeMap<String, String>>()
    };
    let (left, right) = (told(one), told(other));
    let mut differences = Vec::new();
    for name in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
        match (left.get(name), right.get(name)) {
            (Some(left), Some(right)) => {
                let mut lines = left.lines().zip(right.lines());
                if let Some(line) = lines.find(|(left, right)| left != right) {
                    differences.push(format!("{name}: {line:?}"));
                }
            }
            // Only the first lines: a whole history may be in it.
            (Some(it), None) => differences.push(format!("only one has {name}: {it:.2000}")),
            (None, it) => differences.push(format!("only the other has {name}: {it:.2000?}")),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(one, other);
}
