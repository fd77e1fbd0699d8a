//! What two CPUs show and one does not: a bug that is put in for just that.

mod common;

use std::path::Path;
use std::process::Command;

use inflight::kernel::{self, Machine};
use serde_json::Value;

use common::{repository, say};

const MUTANT: &str = "6.12-mutant:smp-last-one";

/// Whether QEMU is here, and the kernel for both engines; what is not is said.
fn can_run(test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let qemu = |dir: &Path| dir.join("qemu-system-x86_64").is_file();
    if !std::env::split_paths(&path).any(|dir| qemu(&dir)) {
        say(&format!(
            "SKIPPED {test}: there is no qemu-system-x86_64\n  \
             remedy: apt-get install qemu-system-x86\n"
        ));
        return false;
    }
    ["qemu", "uml"].into_iter().all(|engine| {
        let machine: Machine = engine.parse().unwrap();
        let found = kernel::find(&MUTANT.parse().unwrap(), machine).unwrap();
        if found.is_none() {
            say(&format!(
                "SKIPPED {test}: {MUTANT} is not built for {engine}\n  \
                 remedy: inflight kernel build --engine {engine} {MUTANT}\n"
            ));
        }
        found.is_some()
    })
}

/// Replays the scenario that goes with the mutant: its verdict, and in how many runs it
/// was seen.
fn replay(engine: &str, times: &str) -> (Value, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args(["replay", "--engine", engine, "--kernel", MUTANT])
        .args(["--times", times, "--format", "json"])
        .arg(repository().join("kernel-patch/mutants/smp-last-one.scn"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or_else(|| panic!("{output:?}"));
    let line: Value = serde_json::from_str(first).unwrap_or_else(|it| panic!("{it}: {output:?}"));
    (line["violated"].clone(), line["reproduced"].clone())
}

#[test]
fn a_count_that_is_not_atomic_is_found_with_two_cpus_and_not_with_one() {
    if !can_run("a_count_that_is_not_atomic_is_found_with_two_cpus_and_not_with_one") {
        return;
    }
    assert_eq!(replay("qemu", "20").0, "liveness");
    // Ten times as often.
    let (violated, seen) = replay("uml", "200");
    assert_eq!((violated, seen), (Value::Null, 0.into()));
}
