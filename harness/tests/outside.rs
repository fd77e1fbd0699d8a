//! What somebody of the host does to a guest says nothing of its kernel: a scheduler kills or
//! stops all that a job has, in any order, and the first to be told is who watches it.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use inflight::campaign::merge::Merged;
use inflight::campaign::unit::store::Store;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use common::kernels;

/// A unit that takes some seconds.
fn unit(out: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args(["check", "--kernel", "6.12-patched", "--cases", "100000"])
        .args(["--seed", "7", "--shard", "1/1", "--out"])
        .arg(out)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads what it says until scenarios run.
fn until_it_runs(said: &mut impl BufRead) {
    let mut line = String::new();
    while !line.contains(" of 100000") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it has ended");
    }
}

/// The processes whose parent is this one.
fn children(of: Pid) -> Vec<Pid> {
    let parent = format!("PPid:\t{of}");
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|it| it.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status"));
            status.is_ok_and(|it| it.lines().any(|line| line == parent))
        })
        .map(Pid::from_raw)
        .collect()
}

/// Who guards its guest, the guest, and the processes that stand for those in it.
fn descendants(of: &Child) -> [Vec<Pid>; 3] {
    let guard = children(Pid::from_raw(of.id().cast_signed()));
    let guest: Vec<Pid> = guard.iter().flat_map(|it| children(*it)).collect();
    let within = guest.iter().flat_map(|it| children(*it)).collect();
    [guard, guest, within]
}

fn merged(folder: &Path) -> Merged {
    Merged::read(&Store::at(folder)).unwrap()
}

#[test]
fn a_guest_that_is_killed_is_no_finding() {
    if !kernels() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Who guards it heeds only what nobody can ignore.
    for (which, signal) in [
        (0, Signal::SIGKILL),
        (1, Signal::SIGKILL),
        (1, Signal::SIGTERM),
        (2, Signal::SIGKILL),
        (2, Signal::SIGTERM),
        // Woken, as before it is asked to end.
        (2, Signal::SIGCONT),
    ] {
        let mut unit = unit(dir.path());
        let mut said = BufReader::new(unit.stderr.take().unwrap());
        until_it_runs(&mut said);
        // A process of the guest may have ended by itself meanwhile.
        for pid in &descendants(&unit)[which] {
            let _ = kill(*pid, signal);
        }
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        let why = format!("{which} {signal}: {rest}");
        assert_eq!(unit.wait().unwrap().code(), Some(70), "{why}");
        assert!(rest.contains("killed from outside"), "{why}");
        // It is to be run again, and nothing has been found.
        let merged = merged(dir.path());
        assert_eq!(
            (merged.units().len(), merged.found().len()),
            (0, 0),
            "{why}"
        );
    }
}

#[test]
fn a_unit_that_is_told_to_end_has_found_nothing() {
    if !kernels() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut unit = unit(dir.path());
    let mut said = BufReader::new(unit.stderr.take().unwrap());
    until_it_runs(&mut said);
    // As a scheduler does: all are told at once.
    let [_, guest, within] = descendants(&unit);
    let own = Pid::from_raw(unit.id().cast_signed());
    for pid in within.into_iter().chain(guest).chain([own]) {
        for signal in [Signal::SIGCONT, Signal::SIGTERM] {
            let _ = kill(pid, signal);
        }
    }
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(unit.wait().unwrap().code(), Some(130), "{rest}");
    let merged = merged(dir.path());
    assert_eq!((merged.units().len(), merged.found().len()), (0, 0));
}

#[test]
fn the_time_for_which_all_stand_still_does_not_count() {
    if !kernels() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "echo ready; until [ -e go ]; do sleep 1; done";
    let mut run = Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args(["run", "--timeout", "7", "--", "sh", "-c", script])
        // The guest sees it, unlike the rest of /tmp.
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    run.stdout.take().unwrap().read_exact(&mut ready).unwrap();
    let own = Pid::from_raw(run.id().cast_signed());
    let [_, guest, _] = descendants(&run);
    let all = || [own].into_iter().chain(guest.clone());
    let send = |signal| all().for_each(|it| kill(it, signal).unwrap());
    send(Signal::SIGSTOP);
    // Longer than it may take.
    thread::sleep(Duration::from_secs(8));
    fs::write(dir.path().join("go"), "").unwrap();
    send(Signal::SIGCONT);
    assert_eq!(run.wait().unwrap().code(), Some(0));
}
