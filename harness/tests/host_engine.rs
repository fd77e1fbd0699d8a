//! The engine `host`: programs and scenarios on the kernel that runs these tests, and
//! nothing of it outside its namespaces.
//!
//! Where that kernel does not give us namespaces, or lacks what a test is about, the test
//! says SKIPPED, why, and what may help, and shows nothing.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::say;
use serde_json::Value;

/// How long the kernel may take to end what was killed, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    say(&format!("SKIPPED {test}: {why}\n"));
}

/// The program under a path that nobody else runs it by, and its cache.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// `None`, and a line, where there are no namespaces to be had.
    fn new() -> Option<Place> {
        if let Err(error) = inflight::engine::host::probe() {
            skipped(&error.to_string());
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let program = env!("CARGO_BIN_EXE_inflight");
        let own = folder.path().join("inflight");
        fs::hard_link(program, &own)
            .or_else(|_| fs::copy(program, &own).map(drop))
            .unwrap();
        Some(Place { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("inflight"));
        command
            .args(arguments)
            .env("INFLIGHT_CACHE", self.path("cache"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn shell(&self, script: &str) -> Output {
        self.run(&["run", "--kernel", "host", "--", "/bin/sh", "-c", script])
    }

    /// Replays scenarios; the exit status, and what is told of each.
    fn replay(&self, texts: &[&str]) -> (Option<i32>, Vec<Value>) {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        for (number, text) in texts.iter().enumerate() {
            fs::write(folder.path().join(format!("{number}.scn")), text).unwrap();
        }
        let folder = folder.path().to_str().unwrap();
        let output = self.run(&["replay", folder, "--kernel", "host", "--format", "json"]);
        let rows = text(&output.stdout);
        let rows = rows.lines().map(|line| serde_json::from_str(line).unwrap());
        (output.status.code(), rows.collect())
    }

    /// The processes that run the program of this place, or something that was started
    /// with a word of it.
    fn processes(&self) -> Vec<String> {
        let own = self.folder.path().to_str().unwrap().to_owned();
        let all = fs::read_dir("/proc").unwrap().flatten();
        let words = all.filter_map(|it| fs::read_to_string(it.path().join("cmdline")).ok());
        words.filter(|words| words.contains(&own)).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What of the machine nothing in a namespace may change.
#[derive(Debug, PartialEq)]
struct Machine {
    settings: BTreeMap<PathBuf, String>,
    interfaces: Vec<String>,
    mounts: String,
}

impl Machine {
    fn now() -> Machine {
        let mut settings = BTreeMap::new();
        for folder in ["net", "vm", "kernel"] {
            read_settings(&Path::new("/proc/sys").join(folder), &mut settings);
        }
        let interfaces = fs::read_dir("/sys/class/net").unwrap().flatten();
        let mut interfaces: Vec<String> = interfaces
            .map(|it| it.file_name().to_string_lossy().into_owned())
            .collect();
        interfaces.sort();
        Machine {
            settings,
            interfaces,
            mounts: fs::read_to_string("/proc/self/mounts").unwrap(),
        }
    }
}

fn read_settings(folder: &Path, settings: &mut BTreeMap<PathBuf, String>) {
    // Numbers that the kernel counts, or draws anew each time.
    const MOVING: [&str; 6] = [
        "ns_last_pid",
        "random",
        "pty",
        "nf_conntrack_count",
        "stat_refresh",
        "dentry-state",
    ];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if MOVING.iter().any(|it| entry.file_name() == *it) {
            continue;
        }
        match path.is_dir() {
            true => read_settings(&path, settings),
            false => {
                if let Ok(value) = fs::read_to_string(&path) {
                    settings.insert(path, value);
                }
            }
        }
    }
}

#[test]
fn exit_status_and_output_are_the_programs() {
    let Some(place) = Place::new() else { return };
    let output = place.shell("echo out; echo err >&2; exit 7");
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert_eq!(text(&output.stdout), "out\n");
    assert_eq!(text(&output.stderr), "err\n");
    let output = place.shell("kill -9 $$");
    assert_eq!(output.status.code(), Some(128 + 9), "{output:?}");
    // More than a pipe holds.
    let output = place.shell("head -c 1000000 /dev/zero");
    assert_eq!(output.stdout.len(), 1_000_000);
}

#[test]
fn a_program_is_root_and_alone_in_there() {
    let Some(place) = Place::new() else { return };
    let output = place.shell("id -u; cat /proc/sys/kernel/hostname; ls -d /proc/[0-9]* | wc -l");
    let said = text(&output.stdout);
    let mut lines = said.lines();
    assert_eq!((lines.next(), lines.next()), (Some("0"), Some("inflight")));
    // PID 1, the shell, and what counts them.
    let processes: u32 = lines.next().unwrap().trim().parse().unwrap();
    assert!((2..=5).contains(&processes), "{said}");
}

#[test]
fn what_others_left_open_is_not_inherited() {
    let Some(place) = Place::new() else { return };
    let mut command = place.command(&["run", "--kernel", "host", "--", "/bin/sh", "-c"]);
    let (mut ours, theirs) = std::io::pipe().unwrap();
    let number = {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&theirs);
        nix::unistd::dup(&theirs).map(drop).unwrap();
        // SAFETY: changes a flag of a descriptor.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }, 0);
        fd
    };
    command.arg(format!("echo secret >&{number}"));
    let output = command.output().unwrap();
    drop((command, theirs));
    assert_ne!(output.status.code(), Some(0), "{output:?}");
    let mut got = String::new();
    ours.read_to_string(&mut got).unwrap();
    assert_eq!(got, "");
}

#[test]
fn only_the_output_folder_can_be_written_to() {
    let Some(place) = Place::new() else { return };
    let (out, other) = (place.folder("out"), place.folder("other"));
    let script = format!(
        "echo 1 > {0}/kept; echo 1 > {1}/lost; echo 1 > /lost; echo 1 > /tmp/own && cat /tmp/own",
        out.display(),
        other.display()
    );
    let output = place.run(&[
        "run",
        "--kernel",
        "host",
        "--out",
        out.to_str().unwrap(),
        "--",
        "/bin/sh",
        "-c",
        &script,
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), "1\n");
    assert_eq!(fs::read_to_string(out.join("kept")).unwrap(), "1\n");
    assert!(!other.join("lost").exists() && !Path::new("/lost").exists());
    assert!(!Path::new("/tmp/own").exists());
    let refused = text(&output.stderr);
    assert_eq!(refused.matches("Read-only").count(), 2, "{refused}");
}

#[test]
fn what_is_everybodys_cannot_be_changed() {
    let Some(place) = Place::new() else { return };
    let before = Machine::now();
    for script in [
        "echo 1 > /proc/sys/vm/drop_caches",
        "cat /proc/sys/vm/swappiness > /proc/sys/vm/swappiness",
        "echo h > /proc/sysrq-trigger",
        "touch /sys/kernel/x",
    ] {
        let output = place.shell(script);
        assert_ne!(output.status.code(), Some(0), "{script}");
    }
    // Its own it may.
    let output = place.shell(
        "echo 0 > /proc/sys/net/ipv4/tcp_sack && cat /proc/sys/net/ipv4/tcp_sack; \
         mount -t tmpfs none /run",
    );
    assert_eq!(text(&output.stdout), "0\n", "{output:?}");
    assert_eq!(Machine::now(), before);
}

const RACE: &str = "expect stock violates stable-on-return\n\n\
    hold data\nsendfile 0+4096\nmmap-write 0+4096\nrelease data\n";

#[test]
fn a_run_leaves_the_machine_as_it_was() {
    let Some(place) = Place::new() else { return };
    let before = Machine::now();
    let (_, rows) = place.replay(&["stack sack=0\n\nsendfile 0+4096\n", RACE]);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["scenarios"], 1, "{}", rows[0]);
    assert_eq!(Machine::now(), before);
    assert_eq!(place.processes(), Vec::<String>::new());
    assert_eq!(runs(&place), Vec::<PathBuf>::new());
}

/// The folders of runs.
fn runs(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.path("cache/run")).into_iter().flatten();
    let paths = entries.flatten().map(|it| it.path());
    paths.filter(|it| it.is_dir()).collect()
}

#[test]
fn who_is_killed_in_the_middle_takes_everything_along() {
    let Some(place) = Place::new() else { return };
    let before = Machine::now();
    // In a session of its own, with a child in another: nobody's signal reaches them.
    let token = place.path("token");
    let script = format!(
        "setsid sh -c 'sleep 1000; : {0}' & echo started; sleep 1000; : {0}",
        token.display()
    );
    let mut child = place
        .command(&["run", "--kernel", "host", "--", "/bin/sh", "-c", &script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "started\n");
    // Us, the supervisor, PID 1, and the shells.
    assert!(place.processes().len() >= 4, "{:?}", place.processes());
    assert_eq!(runs(&place).len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    let since = Instant::now();
    while !place.processes().is_empty() || !runs(&place).is_empty() {
        assert!(since.elapsed() < PATIENCE, "{:?}", place.processes());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(Machine::now(), before);
}

/// Whether the kernel that runs this keeps the promise.
fn is_stable() -> bool {
    fs::read_to_string("/proc/sys/fs/splice_stable").is_ok_and(|it| it.trim() != "0")
}

#[test]
fn what_tears_on_a_stock_kernel_is_seen_torn() {
    let Some(place) = Place::new() else { return };
    let (status, rows) = place.replay(&[RACE]);
    let row = &rows[0];
    if !row["skipped"].is_null() {
        return skipped(&row["skipped"].to_string());
    }
    // A line about `stock` is about this kernel as well, and so nothing is surprising.
    assert_eq!(status, Some(0), "{row}");
    match is_stable() {
        true => assert!(row["violated"].is_null(), "{row}"),
        false => assert_eq!(row["violated"], "stable-on-return", "{row}"),
    }
}

#[test]
fn what_was_counted_to_pass_has_passed_before_the_write() {
    let Some(place) = Place::new() else { return };
    let text = "hold data\nsendfile 0+4096\nrelease data\nwait 100ms\nmmap-write 0+4096\n";
    let (status, rows) = place.replay(&[text]);
    if !rows[0]["skipped"].is_null() {
        return skipped(&rows[0]["skipped"].to_string());
    }
    assert_eq!(status, Some(0), "{}", rows[0]);
    assert!(rows[0]["violated"].is_null(), "{}", rows[0]);
}

const ON_A_DEVICE: &str = "file ext4 size=4096\n\nsendfile 0+4096\n";

#[test]
fn what_cannot_be_run_is_skipped_and_never_held() {
    let Some(place) = Place::new() else { return };
    let (status, rows) = place.replay(&[ON_A_DEVICE]);
    assert_eq!(status, Some(4), "nothing ran: {}", rows[0]);
    let lack = &rows[0]["skipped"];
    assert_eq!(lack["what"], "ext4");
    assert!(lack["reason"].as_str().is_some_and(|it| !it.is_empty()));
    assert!(lack["remedy"].as_str().is_some_and(|it| it.contains("uml")));
    assert_eq!(rows[0]["scenarios"], 0);

    let (status, rows) = place.replay(&[ON_A_DEVICE, "sendfile 0+4096\n"]);
    assert_eq!(status, Some(0), "{rows:?}");
    assert!(!rows[0]["skipped"].is_null() && rows[1]["skipped"].is_null());
    assert_eq!(rows[1]["scenarios"], 1);

    fs::write(place.path("disk.scn"), ON_A_DEVICE).unwrap();
    let output = place.run(&["replay", "disk.scn", "--kernel", "host"]);
    let said = text(&output.stdout);
    assert!(said.contains("  skipped"), "{said}");
    assert!(said.contains("skipped 1: no ext4 here: "), "{said}");
    assert!(said.contains("1 of them skipped"), "{said}");
}

#[test]
fn generated_cases_hold_what_is_documented_and_all_are_accounted_for() {
    const CASES: u64 = 40;
    let Some(place) = Place::new() else { return };
    let cases = CASES.to_string();
    let output = place.run(&[
        "check",
        "--engine",
        "host",
        "--contract",
        "documented",
        "--cases",
        &cases,
        "--seed",
        "1",
        "--format",
        "json",
    ]);
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{row}");
    assert_eq!(row["kernel"], "host");
    let skipped = row["skipped"].as_array().unwrap().iter();
    let skipped: u64 = skipped.map(|it| it["cases"].as_u64().unwrap()).sum();
    let ran = row["scenarios"].as_u64().unwrap();
    assert_eq!(ran + skipped, CASES, "{row}");
    assert!(ran > 0, "{row}");
}
