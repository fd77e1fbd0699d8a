//! What must be gone is looked for in /proc by a marker in the environment, which
//! every descendant inherits.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Supervised, spawn, spawn_removing};

const MARKER: &str = "INFLIGHT_TEST_MARKER";
/// Tells the test binary, started by a test, to be the parent that gets killed.
const VICTIM: &str = "INFLIGHT_TEST_VICTIM";

/// A value for [`MARKER`] that no other test has.
fn marker(test: &str) -> String {
    format!("{test}-{}", std::process::id())
}

/// Live processes (no zombies) with the marker in their environment.
fn marked(value: &str) -> Vec<String> {
    let wanted = format!("{MARKER}={value}");
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let environ = fs::read(path.join("environ")).ok()?;
            environ
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes())
                .then(|| {
                    let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
                    format!("{} {}", path.display(), name.trim())
                })
        })
        .collect()
}

/// Waits until `condition` holds; fails after 10 s.
fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A shell that leaves a child, a grandchild in a session of its own whose parent
/// has gone, and then does `then`.
fn family(marker_value: &str, then: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(format!(
            "sleep 1000 & (setsid sleep 1000 & ) ; setsid sh -c 'sleep 1000; true' & {then}"
        ))
        .env(MARKER, marker_value);
    command
}

fn family_is_up(marker_value: &str) -> bool {
    marked(marker_value)
        .iter()
        .filter(|line| line.ends_with(" sleep"))
        .count()
        == 3
}

#[test]
fn descendants_end_when_the_program_ends() {
    let marker = marker("ends");
    let mut child = spawn(family(&marker, "read line; exit 7").stdin(Stdio::piped())).unwrap();
    until("the family is up", || family_is_up(&marker));
    drop(child.child().stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!(marked(&marker), [""; 0]);
}

#[test]
fn descendants_end_when_the_handle_is_dropped() {
    let marker = marker("drop");
    let child = spawn(&mut family(&marker, "wait")).unwrap();
    until("the family is up", || family_is_up(&marker));
    drop(child);
    assert_eq!(marked(&marker), [""; 0]);
}

#[test]
fn kill_is_reported_as_a_signal_and_may_be_repeated() {
    let marker = marker("kill");
    let mut child = spawn(&mut family(&marker, "wait")).unwrap();
    child.kill().unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert_eq!(marked(&marker), [""; 0]);
}

/// Not a test of its own: the parent in the two tests below, which start it as a
/// process and kill it.
#[test]
#[ignore = "started by other tests"]
fn victim() {
    let Ok(marker) = std::env::var(VICTIM) else {
        return;
    };
    let directory = std::env::temp_dir().join(&marker);
    // A shell's job in the background ignores it, and so do all that it starts.
    // SAFETY: nobody else in this process cares for it.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let mut child = spawn_removing(&mut family(&marker, "wait"), &directory).unwrap();
    child.wait().unwrap();
}

fn killed_parent_leaves_nothing(signal: i32) {
    let marker = marker(&format!("victim{signal}"));
    let directory = std::env::temp_dir().join(&marker);
    fs::create_dir_all(directory.join("a/b")).unwrap();
    fs::write(directory.join("a/b/file"), "x").unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "process::tests::victim"])
        .env(VICTIM, &marker)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("the family is up", || family_is_up(&marker));
    // SAFETY: a process that we started and have not reaped.
    unsafe { libc::kill(parent.id() as i32, signal) };
    assert_eq!(parent.wait().unwrap().signal(), Some(signal));
    until("everybody is gone", || marked(&marker).is_empty());
    until("the directory is gone", || !directory.exists());
}

#[test]
fn descendants_and_directory_go_when_the_parent_is_killed() {
    killed_parent_leaves_nothing(libc::SIGKILL);
}

#[test]
fn descendants_and_directory_go_when_the_parent_is_interrupted() {
    killed_parent_leaves_nothing(libc::SIGINT);
}

#[test]
fn the_directory_is_gone_when_wait_returns() {
    let directory = tempfile::tempdir().unwrap().keep();
    for name in ["file", "deep/er/file", "deep/file"] {
        fs::create_dir_all(directory.join(name).parent().unwrap()).unwrap();
        fs::write(directory.join(name), "x").unwrap();
    }
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("kept"), "x").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), directory.join("link")).unwrap();
    for number in 0..300 {
        fs::write(directory.join(format!("many-{number}")), "").unwrap();
    }
    let mut child = spawn_removing(&mut Command::new("true"), &directory).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(!directory.exists());
    assert!(
        elsewhere.path().join("kept").exists(),
        "a link was followed"
    );
}

#[test]
fn status_and_signal_are_relayed() {
    for code in [0, 1, 77, 255] {
        let mut child = spawn(Command::new("sh").args(["-c", &format!("exit {code}")])).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
    for signal in [
        libc::SIGTERM,
        libc::SIGKILL,
        libc::SIGABRT,
        libc::SIGSEGV,
        libc::SIGPIPE,
    ] {
        let script = format!("kill -{signal} $$");
        let mut child = spawn(Command::new("sh").args(["-c", &script])).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal), "{status}");
        assert!(!status.core_dumped());
    }
}

#[test]
fn the_program_has_an_ordinary_signal_mask() {
    let mut child = spawn(
        Command::new("grep")
            .args(["-E", "^Sig(Blk|Ign)", "/proc/self/status"])
            .stdout(Stdio::piped()),
    )
    .unwrap();
    let mut text = String::new();
    let mut stdout = child.child().stdout.take().unwrap();
    stdout.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(
        text.contains("SigBlk:\t0000000000000000"),
        "signals are blocked in the program: {text}"
    );
}

#[test]
fn a_signal_to_its_own_group_ends_the_program_only() {
    let mut child = spawn(Command::new("sh").args(["-c", "trap '' TERM; kill 0; exit 3"])).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn a_program_that_does_not_exist_is_an_error() {
    let error = spawn(&mut Command::new("/nonexistent/program")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    let error = spawn(&mut Command::new("/etc/passwd")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn output_ends_when_the_program_ends() {
    // A supervisor that kept the streams open would let the reader wait for ever.
    let mut child = spawn(
        Command::new("sh")
            .args(["-c", "echo one; sleep 1000 & exec echo two"])
            .stdout(Stdio::piped()),
    )
    .unwrap();
    let lines: Vec<String> = BufReader::new(child.child().stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .collect();
    assert_eq!(lines, ["one", "two"]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn wait_timeout_gives_up_and_succeeds() {
    let mut child = spawn(Command::new("cat").stdin(Stdio::piped())).unwrap();
    let limit = Duration::from_millis(30);
    let start = Instant::now();
    // `wait` of std closes standard input, a wait with a limit must not.
    assert_eq!(child.wait_timeout(limit).unwrap(), None);
    assert!(start.elapsed() >= limit);
    assert_eq!(child.try_wait().unwrap(), None);
    drop(child.child().stdin.take());
    let status = child.wait_timeout(Duration::from_secs(10)).unwrap();
    assert!(status.expect("cat ends at end of file").success());
}

#[test]
fn a_command_started_again_without_us_is_an_ordinary_one() {
    let mut command = Command::new("sh");
    command.args(["-c", "exit 5"]);
    assert_eq!(spawn(&mut command).unwrap().wait().unwrap().code(), Some(5));
    assert_eq!(command.status().unwrap().code(), Some(5));
    assert_eq!(spawn(&mut command).unwrap().wait().unwrap().code(), Some(5));
}

#[test]
fn the_life_of_one_child_does_not_hang_on_another() {
    // Two lifelines at a time: the younger supervisor must not keep the elder's.
    let mut elder = spawn(Command::new("sleep").arg("1000")).unwrap();
    let younger = spawn(Command::new("sleep").arg("1000")).unwrap();
    let start = Instant::now();
    elder.kill().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(younger);
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn children(of: u32) -> String {
    fs::read_dir(format!("/proc/{of}/task"))
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .collect()
}

/// Not a test of its own: alone in its process it can count descriptors and
/// children.
#[test]
#[ignore = "started by another test"]
fn leak_check() {
    let one = || -> Supervised { spawn(Command::new("true").stdout(Stdio::null())).unwrap() };
    one().wait().unwrap();
    let before = open_descriptors();
    for round in 0..2000 {
        let mut child = one();
        match round % 3 {
            0 => assert!(child.wait().unwrap().success()),
            1 => child.kill().unwrap(),
            _ => drop(child),
        }
        if round % 100 == 0 {
            spawn(&mut Command::new("/nonexistent")).unwrap_err();
        }
    }
    assert_eq!(open_descriptors(), before);
    assert_eq!(children(std::process::id()).trim(), "");
}

#[test]
fn two_thousand_children_leak_nothing() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "process::tests::leak_check"])
        .output()
        .unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
