//! The main job and its relatives, on real kernels.

mod common;

use std::fs;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use common::{kernels, repository};

fn inflight(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inflight"));
    command.args(args).current_dir(repository());
    command
}

fn json(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn check_finds_the_race_and_its_cure() {
    if !kernels() {
        return;
    }
    let found = tempfile::tempdir().unwrap();
    let findings = found.path().to_str().unwrap();
    let args = [
        "check", "--cases", "500", "--seed", "2008", "--format", "json",
    ];
    let output = inflight(&args)
        .args(["--findings", findings])
        .output()
        .unwrap();
    let lines = json(&output);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(lines.len(), 2, "{output:?}");
    let [stock, patched] = [&lines[0], &lines[1]];

    assert_eq!(stock["kernel"], "6.12-stock");
    assert_eq!(stock["violated"], "stable-on-return");
    assert_eq!(stock["seed"], 2008);
    assert_eq!(stock["seen"], stock["of"]);
    assert!(stock["first_at"].as_u64().unwrap() <= 20, "{stock}");
    assert!(stock["minimized_ops"].as_u64().unwrap() <= 4, "{stock}");

    assert_eq!(patched["kernel"], "6.12-patched");
    assert_eq!(patched["violated"], Value::Null);
    assert_eq!(patched["scenarios"], 500);
    assert_eq!(patched["file"], Value::Null);
    assert!(
        patched["virtual_seconds"].as_f64().unwrap() > 1.0,
        "{patched}"
    );

    // The file says what it is, and a replay sees just that.
    let file = stock["file"].as_str().unwrap();
    let args = [
        "replay",
        file,
        "--kernel",
        "6.12-stock",
        "--times",
        "20",
        "--format",
        "json",
    ];
    let output = inflight(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(json(&output)[0]["reproduced"], 20);
    // On the patched kernel it breaks nothing.
    let args = ["replay", file, "--kernel", "6.12-patched", "--times", "20"];
    let output = inflight(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn the_same_seed_finds_the_same() {
    if !kernels() {
        return;
    }
    let run = |jobs: &str| {
        let found = tempfile::tempdir().unwrap();
        let args = [
            "check",
            "--cases",
            "50",
            "--seed",
            "7",
            "--format",
            "json",
            "-k",
            "6.12-stock",
        ];
        let mut command = inflight(&args);
        let findings = found.path().to_str().unwrap();
        let output = command
            .args(["--jobs", jobs, "--findings", findings])
            .output()
            .unwrap();
        let line = &json(&output)[0];
        let text = fs::read_to_string(line["file"].as_str().unwrap()).unwrap();
        (line["first_at"].clone(), text)
    };
    assert_eq!(run("1"), run("2"));
}

#[test]
fn a_kernel_that_breaks_its_contract_is_exit_status_1() {
    if !kernels() {
        return;
    }
    // A file that expects the stock kernel to hold where it does not.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wrong.scn");
    let text = "link data delay=20ms\n\nsendfile 0+4096\nmmap-write 0+4096\n";
    fs::write(&file, format!("expect stock holds\n{text}")).unwrap();
    let path = file.to_str().unwrap();
    let output = inflight(&["replay", path, "-k", "6.12-stock"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("NOT EXPECTED"), "{stdout}");

    // One that expects the race where there is none.
    fs::write(
        &file,
        format!("expect patched violates stable-on-return\n{text}"),
    )
    .unwrap();
    let output = inflight(&["replay", path, "-k", "6.12-patched"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // What the manual pages promise, the stock kernel keeps.
    fs::write(&file, text).unwrap();
    let args = [
        "replay",
        path,
        "-k",
        "6.12-stock",
        "--contract",
        "documented",
    ];
    let output = inflight(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn the_corpus_gets_the_verdicts_in_its_headers() {
    if !kernels() {
        return;
    }
    let corpus = repository().join("corpus");
    let corpus = corpus.to_str().unwrap();
    let output = inflight(&["replay", "--times", "3", corpus])
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
}

#[test]
fn minimize_leaves_a_send_and_a_write() {
    if !kernels() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large.scn");
    let text = "link data delay=20ms\nlink ack delay=40ms\nsocket tcp6 nodelay\nfile memfd size=65536\n\n\
        sendfile 0+10000\nwait 5ms\nb: pwrite 60000+10\nmmap-write 4096+4096\npwrite 0+1\nsendfile 8192+4096\n";
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let output = inflight(&["minimize", path, "--format", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let line = &json(&output)[0];
    assert_eq!(line["minimized_ops"], 2, "{line}");
    assert_eq!(line["ops_before"], 6, "{line}");

    let args = ["minimize", path, "--kernel", "6.12-patched"];
    let output = inflight(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

/// The 2008 race, from whatever seed it is found, comes down to the same two operations;
/// so does a scenario of sixty.
#[test]
fn every_race_is_minimized_to_the_same_two_operations() {
    if !kernels() {
        return;
    }
    let args = ["bench", "minimize", "--format", "json"];
    let output = inflight(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = json(&output);
    assert_eq!(lines.len(), 21);
    for line in lines {
        let what = &line["what"];
        let scenario = line["scenario"].as_str().unwrap();
        assert_eq!(scenario, "sendfile 0+1\nmmap-write 0+1\n", "{what}");
        assert_eq!(
            (&line["seen"], &line["of"]),
            (&10.into(), &10.into()),
            "{what}"
        );
        assert!(line["runs"].as_u64().unwrap() < 150, "{line}");
    }
}

#[test]
fn findings_in_a_folder_are_grouped_by_cause() {
    if !kernels() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let race = "expect stock violates stable-on-return\n\nfile tmpfs size=16384\n\n\
        sendfile 0+9000\nmmap-write 4096+4096\n";
    fs::write(at("one.scn"), race).unwrap();
    fs::write(at("crash-2"), "wait 1ms\nsendfile 0+10\npwrite 0+10\n").unwrap();
    let unix = repository().join("corpus/race/race-unix.scn");
    fs::copy(unix, at("unix.scn")).unwrap();
    fs::write(at("fine.scn"), "sendfile 0+10\n").unwrap();
    let path = dir.path().to_str().unwrap();
    let output = inflight(&["minimize", path, "--format", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = json(&output);
    let (files, causes) = lines.split_at(4);
    let violated: Vec<bool> = files.iter().map(|it| it["violated"].is_string()).collect();
    assert_eq!(violated, [true, false, true, true], "{files:?}");
    // What a socket of another family does for no reason of its own is the same race.
    assert_eq!(causes.len(), 1, "{causes:?}");
    assert_eq!(causes[0]["cause"], "sendfile N+N\nmmap-write N+N\n");
    assert_eq!(causes[0]["findings"], 3, "{causes:?}");
    // Each is a scenario that replays; the folder of results is not read again.
    let results = at("minimized");
    assert!(results.join("causes.txt").exists());
    let output = inflight(&["replay", results.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let again = inflight(&["minimize", path]).output().unwrap();
    let table = String::from_utf8(again.stdout).unwrap();
    assert_eq!(
        table,
        fs::read_to_string(results.join("causes.txt")).unwrap()
    );
}

#[test]
fn run_relays_output_and_status() {
    if !kernels() {
        return;
    }
    let args = [
        "run",
        "--kernel",
        "6.12-stock",
        "--",
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
    ];
    let output = inflight(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "err\n");
}

#[test]
fn nothing_is_left_of_a_run_that_was_killed() {
    if !kernels() {
        return;
    }
    let found = tempfile::tempdir().unwrap();
    let marker = found.path().to_str().unwrap();
    // The marker stands on the command line, so what is left can be told apart.
    let args = [
        "check",
        "--cases",
        "100000000",
        "-k",
        "6.12-patched",
        "--findings",
        marker,
    ];
    let before = guests();
    let mut child = inflight(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("its guests are up", || guests().len() > before.len());
    child.kill().unwrap();
    child.wait().unwrap();
    // Other tests boot guests of their own, so only those that this run may have
    // started are waited for.
    let theirs: Vec<i32> = guests()
        .into_iter()
        .filter(|it| !before.contains(it))
        .collect();
    wait_until("its guests are gone", || {
        let now = guests();
        theirs.iter().all(|guest| !now.contains(guest))
    });
}

/// The process numbers of all UML kernels.
fn guests() -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let number = |name: std::ffi::OsString| name.to_str()?.parse::<i32>().ok();
    processes
        .filter_map(|entry| number(entry.file_name()))
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains("time-travel=inf-cpu"))
        })
        .collect()
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "not within a minute: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}
