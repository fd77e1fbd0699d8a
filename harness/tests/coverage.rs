//! What is reached of a kernel that counts, as the program tells it.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use inflight::kernel;
use serde_json::Value;

use common::{repository, say};

const KERNEL: &str = "6.12-patched-kcov";
/// Plain TCP.
const PLAIN: [&str; 2] = ["corpus/race/race-2008.scn", "corpus/send/write.scn"];
const KTLS: [&str; 1] = ["corpus/socket/ktls.scn"];

/// Whether the kernel is there. It takes minutes to build, so nobody does it for this.
fn built(test: &str) -> bool {
    is_built(KERNEL, test)
}

fn is_built(kernel: &str, test: &str) -> bool {
    let name = kernel.parse().unwrap();
    let found = kernel::find(&name, kernel::Machine::Uml).unwrap().is_some();
    if !found {
        say(&format!(
            "skipped {test}: no {kernel}\n  remedy: inflight kernel build {kernel}\n"
        ));
    }
    found
}

fn coverage(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args(["coverage", "--format", "json", "--out"])
        .arg(folder)
        .args(args)
        .current_dir(repository())
        .output()
        .unwrap()
}

/// Runs it, and returns what it told and which functions lcov is told of.
fn told(folder: &Path, args: &[&str]) -> (Value, HashMap<String, bool>) {
    let output = coverage(folder, args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let object: Value = serde_json::from_str(&text).unwrap();
    let tracefile = fs::read_to_string(object["tracefile"].as_str().unwrap()).unwrap();
    let functions = tracefile.lines().filter_map(|line| {
        let (reached, name) = line.strip_prefix("FNDA:")?.split_once(',')?;
        Some((name.to_owned(), reached == "1"))
    });
    // Of several functions of one name that are static any will do.
    let mut all = HashMap::new();
    for (name, reached) in functions {
        *all.entry(name).or_default() |= reached;
    }
    (object, all)
}

#[test]
fn a_scenario_reaches_what_it_is_about_and_nothing_else() {
    if !built("a_scenario_reaches_what_it_is_about_and_nothing_else") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (object, plain) = told(&dir.path().join("plain"), &PLAIN);
    assert_eq!(object["kernel"], KERNEL);
    assert_eq!(object["scenarios"], 2);
    for (function, reached) in [
        ("tcp_sendmsg_locked", true),
        ("splice_to_socket", true),
        // What softirqs do, on nobody's behalf.
        ("tcp_ack", true),
        ("tls_sw_sendmsg", false),
        ("udp_sendmsg", false),
    ] {
        assert_eq!(plain.get(function), Some(&reached), "{function}");
    }
    let missed = object["never_reached"].as_array().unwrap();
    let is_missed = |name: &str| missed.iter().any(|it| it["function"] == name);
    assert!(is_missed("tls_sw_sendmsg") && !is_missed("tcp_ack"));

    let (_, ktls) = told(&dir.path().join("ktls"), &KTLS);
    assert_eq!(ktls.get("tls_sw_sendmsg"), Some(&true));
}

#[test]
fn what_was_reached_is_merged_and_only_with_the_same_kernel() {
    if !built("what_was_reached_is_merged_and_only_with_the_same_kernel") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let blocks = |object: &Value| object["all"]["blocks"]["reached"].as_u64().unwrap();
    let (plain, _) = told(&at("plain"), &PLAIN);
    let (ktls, _) = told(&at("ktls"), &KTLS);
    let pcs = |object: &Value| object["pcs"].as_str().unwrap().to_owned();
    let both = ["--pcs", &pcs(&plain), "--pcs", &pcs(&ktls)];
    let (merged, functions) = told(&at("both"), &both);
    assert_eq!(merged["scenarios"], 0);
    assert!(functions["tls_sw_sendmsg"] && functions["tcp_ack"]);
    assert!(blocks(&merged) >= blocks(&plain).max(blocks(&ktls)));
    let lines = |path: String| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.dedup();
        lines
    };
    let mut union = [lines(pcs(&plain)), lines(pcs(&ktls))].concat();
    union.sort();
    union.dedup();
    assert_eq!(lines(pcs(&merged)), union);

    let text = fs::read_to_string(pcs(&plain)).unwrap();
    let identity = plain["text"].as_str().unwrap();
    fs::write(at("other.pcs"), text.replace(identity, "0123456789abcdef")).unwrap();
    let other = at("other.pcs");
    let output = coverage(&at("other"), &["--pcs", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("other.pcs is of 6.12-patched-kcov"), "{said}");
    assert!(!at("other").exists());
    // An address that is in the middle of something.
    let strange = text + "60000001\n";
    fs::write(&other, strange).unwrap();
    let output = coverage(&at("other"), &["--pcs", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(70), "{output:?}");
}

#[test]
fn the_page_has_the_source_of_this_kernel() {
    if !built("the_page_has_the_source_of_this_kernel") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (object, _) = told(dir.path(), &PLAIN);
    let page = fs::read_to_string(object["page"].as_str().unwrap()).unwrap();
    // Of the series, whatever the tree has at the moment.
    assert!(page.contains("struct splice_flight *flight"));
    assert!(page.ends_with("</html>"));
}

#[test]
fn what_takes_the_kernel_down_takes_nothing_else_with_it() {
    const MUTANT: &str = "6.12-mutant:panic-tee-kcov";
    if !is_built(
        MUTANT,
        "what_takes_the_kernel_down_takes_nothing_else_with_it",
    ) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // One guest: what follows the panic needs another.
    let args = ["--kernel", MUTANT, "--jobs", "1"];
    let files = [
        "corpus/pipe/tee.scn",
        "kernel-patch/mutants/panic-tee.scn",
        "corpus/socket/ktls.scn",
    ];
    let (object, functions) = told(dir.path(), &[&args[..], &files[..]].concat());
    assert_eq!(object["scenarios"], 2);
    assert_eq!(object["crashes"], 1);
    assert!(functions["link_pipe"] && functions["tls_sw_sendmsg"]);
}
