//! How bugs that are put in are counted, on real kernels: one that is found, one that is found
//! by what its patch does not name, and one that is none.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use common::{kernels, repository, say};
use inflight::kernel::{self, Extras, KernelName};

/// A slip that `wake-early` is, and a change that is none.
fn mutants(folder: &Path) {
    let early = repository().join("kernel-patch/mutants/wake-early.patch");
    let early = fs::read_to_string(early).unwrap();
    let right = "Property: stable-on-return";
    assert!(early.contains(right));
    fs::write(folder.join("early.patch"), &early).unwrap();
    let other = early.replace(right, "Property: leaks, datagrams");
    fs::write(folder.join("misnamed.patch"), other).unwrap();
    let none = "Subject: [PATCH] splice: <nothing> & more\n\nApplies-to: 6.12\nProperty: wire\n\
                ---\n--- a/fs/splice.c\n+++ b/fs/splice.c\n@@ -1,2 +1,3 @@\n \
                // SPDX-License-Identifier: GPL-2.0-only\n+/* no bug */\n /*\n";
    fs::write(folder.join("none.patch"), none).unwrap();
    // Not for this version, so nobody looks for it.
    let versions = early.lines().find(|it| it.starts_with("Applies-to: "));
    let old = early.replace(versions.unwrap(), "Applies-to: 6.1");
    assert_ne!(old, early);
    fs::write(folder.join("old.patch"), old).unwrap();
}

/// A change of the series that a mutant does not survive is noticed, without that all of them
/// are built.
#[test]
fn every_mutant_applies_where_it_says() {
    if !kernels() {
        return;
    }
    let file = ["fs/splice.c".to_owned()];
    for version in ["6.12", "7.3", "6.1"] {
        let patched: KernelName = format!("{version}-patched").parse().unwrap();
        if kernel::source_files(&patched, &file).unwrap() == [None] {
            let remedy = format!("inflight kernel build {patched}");
            say(&format!(
                "skipped: there is no source of {version}: {remedy}\n"
            ));
            continue;
        }
        for mutant in kernel::mutants(version, None).unwrap() {
            // All are made of one source.
            let name = mutant.kernel.with(Extras::None);
            let applied = kernel::source_files(&name, &file);
            let applied = applied.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(applied[0].is_some(), "{name}");
        }
    }
}

#[test]
fn each_mutant_gets_what_it_deserves() {
    if !kernels() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (own, out) = (home.path().join("own"), home.path().join("out"));
    fs::create_dir(&own).unwrap();
    mutants(&own);
    let inflight = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inflight"));
        command.args(args).output().unwrap()
    };
    let args = [
        "score",
        "--mutant-dir",
        own.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--seeds=2",
        "--time-per-mutant=8s",
        "--format=json",
    ];
    let output = inflight(&args);
    // Two of them are not as they should be.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let of = |mutant: Value| lines.iter().find(|it| it["mutant"] == mutant).unwrap();
    assert_eq!(lines.len(), 4, "{text}");

    let early = of("early".into());
    assert_eq!(early["caught"], "stable-on-return", "{early}");
    assert_eq!(
        [
            &early["seeds_caught"],
            &early["seeds_right"],
            &early["seeds"]
        ],
        [2, 2, 2]
    );
    assert_eq!(early["good"], true);
    assert!(early["minimized_ops"].as_u64().unwrap() <= 6, "{early}");
    assert!(early["seconds"].as_f64().unwrap() < 8.0, "{early}");

    let misnamed = of("misnamed".into());
    assert_eq!(
        [&misnamed["seeds_caught"], &misnamed["seeds_right"]],
        [2, 0],
        "{misnamed}"
    );
    assert_eq!(misnamed["good"], false);

    for (none, good) in [(of("none".into()), false), (of(Value::Null), true)] {
        assert_eq!(none["caught"], Value::Null, "{none}");
        assert_eq!(none["seeds_caught"], 0, "{none}");
        assert_eq!(none["scenarios"], Value::Null, "{none}");
        assert_eq!(none["good"], good, "{none}");
        assert!(
            none["runs"][1]["scenarios"].as_u64().unwrap() > 10,
            "{none}"
        );
    }

    // What is kept is what was printed, and the page has a row each.
    let kept = fs::read_to_string(out.join("score.jsonl")).unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&kept), sorted(&text));
    let page = fs::read_to_string(out.join("score.html")).unwrap();
    assert_eq!(page.matches("<details class=\"row ").count(), 4);
    assert!(
        page.contains("splice: &lt;nothing&gt; &amp; more"),
        "{page}"
    );

    // A finding names its kernel so that it can be run again from anywhere.
    let findings = fs::read_dir(out.join("findings")).unwrap();
    let findings = findings.map(|it| it.unwrap().path());
    let findings: Vec<_> = findings
        .filter(|it| it.to_str().unwrap().contains("early"))
        .collect();
    assert_eq!(findings.len(), 2, "{findings:?}");
    let kernel = early["kernel"].as_str().unwrap();
    let again = inflight(&["replay", findings[0].to_str().unwrap(), "--kernel", kernel]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
}
