//! Campaigns of the fuzzer, on real kernels. The target is built first if need be.

mod common;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use inflight::kernel;
use inflight::scenario::text;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use common::{repository, say};

/// The target may have to be built, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Whether this kernel is here; that it is not is said. It is not built for this: the
/// property tests and the main job do without.
fn is_built(name: &str) -> bool {
    let found = kernel::find(&name.parse().unwrap(), kernel::Machine::Uml).unwrap();
    if found.is_none() {
        let test = thread::current().name().unwrap_or("test").to_owned();
        say(&format!(
            "skipped {test}: {name} is not built\n  remedy: inflight kernel build {name}\n"
        ));
    }
    found.is_some()
}

/// Who has a target already names it by INFLIGHT_FUZZ_TARGET, and saves its building.
fn target() -> Vec<OsString> {
    let target = std::env::var_os("INFLIGHT_FUZZ_TARGET");
    target.map_or_else(Vec::new, |it| vec!["--target".into(), it])
}

fn fuzz(kernel: &str, contract: &str, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inflight"));
    command
        .args(["fuzz", "--kernel", kernel, "--contract", contract])
        .args(["--jobs", "1", "--seed", "2008", "--format", "json", "--out"])
        .arg(out)
        .args(more)
        .args(target())
        .arg(repository().join("corpus"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The line of the whole, and those of the causes.
fn said(output: &Output) -> (Value, Vec<Value>) {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(serde_json::from_str);
    let mut lines: Vec<Value> = lines
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let whole = lines.pop().unwrap_or_else(|| panic!("{output:?}"));
    (whole, lines)
}

/// Waits until something is so.
fn until<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(it) = is() {
            return it;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Parent and name of a process (proc(5), field 4 of `stat`).
fn stat(pid: &str) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    Some((tail.split_whitespace().nth(1)?.to_owned(), name))
}

/// The kernel of a target below this process.
fn guest(of: u32) -> Option<Pid> {
    let of = of.to_string();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|it| it.file_name().into_string().ok());
    let mut kernels = pids.filter(|pid| {
        let mut names = Vec::new();
        let mut at = pid.clone();
        while at != of {
            match stat(&at) {
                Some((parent, name)) if parent != "0" => {
                    names.push(name);
                    at = parent;
                }
                _ => return false,
            }
        }
        // Itself, the one that guards it, and the target that has booted it.
        names.len() >= 3 && names[0] == "linux" && names[2] == "target"
    });
    kernels.next()?.parse().ok().map(Pid::from_raw)
}

/// Whether any process below the campaign's folder goes on.
fn anybody_uses(out: &Path) -> bool {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let uses = |path: PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let corpus = out.join("corpus").into_os_string().into_encoded_bytes();
        line.windows(corpus.len()).any(|it| *it == *corpus)
    };
    pids.map(|it| it.path()).any(uses)
}

fn status(out: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(out.join("status.json")).ok()?).ok()
}

/// Waits until the target has run inputs.
fn until_it_fuzzes(campaign: &mut Child, out: &Path) {
    until("an input has run", || {
        assert!(campaign.try_wait().unwrap().is_none(), "it has ended");
        let log = fs::read_to_string(out.join("log/worker-1.log")).unwrap_or_default();
        log.contains("\tNEW").then_some(())
    });
}

#[test]
fn the_race_is_found_made_smaller_and_kept() {
    if !is_built("6.12-stock-kcov") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // The name without -kcov means that one, too.
    let output = fuzz("6.12-stock", "stable", &out, &["--runs", "600"])
        .output()
        .unwrap();
    let (whole, causes) = said(&output);
    // The race is what this kernel does, and all that it does.
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(whole["surprises"], 0, "{output:?}");
    let others: Vec<&Value> = causes
        .iter()
        .filter(|it| it["violated"] != "stable-on-return")
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(
        whole["violations"]["stable-on-return"].as_u64() > Some(0),
        "{whole}"
    );
    assert_eq!(whole["kernel"], "6.12-stock-kcov");
    assert_eq!(whole["executions"], 600, "{whole}");
    assert!(whole["features"].as_u64().unwrap() > 1000, "{whole}");
    assert!(whole["corpus"].as_u64().unwrap() > 10, "{whole}");
    let race = causes
        .iter()
        .find(|it| it["violated"] == "stable-on-return" && it["minimized_ops"] == 2)
        .unwrap_or_else(|| panic!("{causes:?}"));
    assert_eq!(
        (&race["state"], &race["as_expected"]),
        (&"smaller".into(), &true.into())
    );
    assert_eq!(race["seen"], race["of"]);

    // A replay sees just that.
    let file = race["file"].as_str().unwrap();
    assert!(Path::new(file).starts_with(out.join("findings")), "{file}");
    let output = Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args([
            "replay",
            file,
            "--kernel",
            "6.12-stock-kcov",
            "--times",
            "5",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // What it was before is there as well, and the corpus is one of scenarios.
    for folder in ["seen", "corpus"] {
        let files = fs::read_dir(out.join(folder)).unwrap().flatten();
        let scenarios = files
            .filter(|it| text::read_file(&it.path()).is_ok())
            .count();
        assert!(scenarios > 0, "{folder}");
    }
    let page = fs::read_to_string(out.join("status.html")).unwrap();
    assert!(page.contains("findings/stable-on-return-"), "{page}");
}

#[test]
fn a_kernel_that_dies_is_a_finding_and_another_one_goes_on() {
    if !is_built("6.12-patched-kcov") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut campaign = fuzz("6.12-patched", "stable", &out, &["--runs", "1500"])
        .spawn()
        .unwrap();
    until_it_fuzzes(&mut campaign, &out);
    let guest = guest(campaign.id()).expect("the target has a kernel");
    // As a kernel ends itself when it panics; one that is killed is no finding.
    kill(guest, Signal::SIGABRT).unwrap();
    let output = campaign.wait_with_output().unwrap();
    let (whole, causes) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        (&whole["deaths"], &whole["restarts"]),
        (&1.into(), &1.into())
    );
    // The second one has run what the first had left.
    assert_eq!(whole["executions"], 1500, "{whole}");
    assert_eq!(whole["failures"].as_array().unwrap().len(), 0, "{whole}");

    // No kernel dies of it, as it was we who killed it.
    let death = causes.iter().find(|it| it["violated"] == "splat");
    let death = death.unwrap_or_else(|| panic!("{causes:?}"));
    assert_eq!((&death["state"], &death["of"]), (&"lost".into(), &9.into()));
    let read = |what: &str| fs::read_to_string(death[what].as_str().unwrap()).unwrap();
    assert!(read("file").contains("SIGABRT"), "{}", read("file"));
    assert!(read("log").contains("Linux version"), "{}", read("log"));
    let artifacts = fs::read_dir(out.join("artifacts")).unwrap().flatten();
    // If what it had just taken is one of the corpus, that is put aside beside it.
    let mut names: Vec<String> = artifacts
        .map(|it| it.file_name().into_string().unwrap())
        .filter(|it| !it.starts_with("corpus-"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[1], format!("{}.log", names[0]));
    text::read_file(&out.join("artifacts").join(&names[0])).unwrap();
}

#[test]
fn who_is_killed_leaves_nobody_behind_and_is_gone_on_with() {
    if !is_built("6.12-patched-kcov") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().canonicalize().unwrap().join("out");
    let forever = || {
        fuzz("6.12-patched", "stable", &out, &["--time", "1d"])
            .spawn()
            .unwrap()
    };
    let mut first = forever();
    until_it_fuzzes(&mut first, &out);
    // One at a time.
    let second = forever().wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    let why = String::from_utf8_lossy(&second.stderr);
    assert!(why.contains("another campaign"), "{why}");
    let before = until("it has written how it stands", || {
        status(&out).filter(|it| it["executions"].as_u64() > Some(0))
    });
    first.kill().unwrap();
    first.wait().unwrap();
    until("all are gone", || (!anybody_uses(&out)).then_some(()));

    // With another kernel it is not the same campaign.
    let other = fuzz("6.12-stock", "stable", &out, &[]).output().unwrap();
    assert_eq!(other.status.code(), Some(2), "{other:?}");

    let mut third = forever();
    until("it goes on", || {
        status(&out).filter(|it| it["sessions"] == 2)
    });
    until("a target runs", || guest(third.id()));
    kill(Pid::from_raw(third.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(third.wait().unwrap().code(), Some(130));
    assert!(!anybody_uses(&out));
    let after = status(&out).unwrap();
    assert_eq!(after["is_running"], false);
    for figure in ["executions", "features"] {
        let of = |status: &Value| status[figure].as_u64().unwrap();
        assert!(of(&after) >= of(&before), "{figure}: {before} {after}");
    }
    let elapsed = |status: &Value| status["elapsed_s"].as_f64().unwrap();
    assert!(elapsed(&after) > elapsed(&before));
}
