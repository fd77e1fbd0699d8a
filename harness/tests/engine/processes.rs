//! Where a guest runs, what is left of it, and processes that become one.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use inflight::engine::{self, Exit};

use crate::support::{Lab, descendants, until};

#[test]
fn every_thread_of_a_guest_is_pinned_to_the_same_cpu() {
    let lab = lab!();
    let mut guest = engine::spawn(lab.task("threads")).unwrap();
    let mut stdout = guest.take_stdout();
    stdout.read_exact(&mut [0; 6]).unwrap();
    let kernel = lab.kernel_process();
    let mut tasks = 0;
    let mut cpus = Vec::new();
    for pid in [vec![kernel], descendants(kernel)].concat() {
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap();
            let allowed = status
                .lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
            cpus.push(allowed.unwrap().trim().parse::<usize>().expect("one CPU"));
            tasks += 1;
        }
    }
    assert!(tasks >= 2, "the kernel and its user processes: {tasks}");
    cpus.dedup();
    assert_eq!(cpus.len(), 1, "{cpus:?}");
    drop(guest);
    lab.is_clean();
}

#[test]
fn two_guests_side_by_side_have_a_cpu_each() {
    // Guests of others may have the CPUs for a while, and then these two share one.
    const ATTEMPTS: u32 = 10;
    let lab = lab!();
    let mut boot = lab.task("spin");
    boot.wall_limit = Some(Duration::from_secs(2));
    let cpu = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed_list:"));
        line.unwrap().to_owned()
    };
    let are_apart = || {
        let guests: Vec<_> = (0..2)
            .map(|_| engine::spawn(boot.clone()).unwrap())
            .collect();
        let kernels = until("two kernels run", || {
            let found = lab.kernel_processes();
            (found.len() == 2).then_some(found)
        });
        let apart = cpu(&kernels[0]) != cpu(&kernels[1]);
        for guest in guests {
            assert!(matches!(guest.wait().unwrap().exit, Exit::Hung { .. }));
        }
        lab.is_clean();
        apart
    };
    if std::thread::available_parallelism().unwrap().get() > 1 {
        assert!((0..ATTEMPTS).any(|_| are_apart()), "they share a CPU");
    } else {
        are_apart();
    }
}

#[test]
fn a_dropped_guest_leaves_nothing() {
    let lab = lab!();
    // At once, in the middle of the boot, and later.
    for delay_ms in [0, 20, 100, 600] {
        let guest = engine::spawn(lab.task("spin")).unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        drop(guest);
        lab.is_clean();
    }
}

fn killed_parent_leaves_nothing(signal: i32) {
    let lab = lab!();
    // A shell's job in the background ignores it, and so do all that it starts.
    // SAFETY: nobody else in this process cares for it.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let mut parent = lab.host_task("host-parent").spawn().unwrap();
    let mut stdout = parent.stdout.take().unwrap();
    // From inside the guest: the program runs.
    stdout.read_exact(&mut [0; 8]).unwrap();
    assert_eq!(lab.kernel_processes().len(), 1);
    // SAFETY: a process that we started and have not reaped.
    unsafe { libc::kill(parent.id() as i32, signal) };
    assert_eq!(parent.wait().unwrap().signal(), Some(signal));
    until("all is gone", || lab.leftovers().is_empty().then_some(()));
}

#[test]
fn a_killed_parent_leaves_nothing() {
    killed_parent_leaves_nothing(libc::SIGKILL);
}

#[test]
fn an_interrupted_parent_leaves_nothing() {
    killed_parent_leaves_nothing(libc::SIGINT);
}

#[test]
fn enter_goes_on_in_the_guest() {
    let lab = lab!();
    let output = lab
        .host_task("enter")
        .args(["one", "two words"])
        .current_dir("/usr")
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(42), "{stdout}{stderr}");
    assert_eq!(
        stdout,
        "in guest: true, /usr, [\"one\", \"two words\"], dumb\n"
    );
    assert_eq!(stderr, "error output\n");
    lab.is_clean();
}

fn inflight_run(lab: &Lab, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command: Command = lab.host_task("run");
    let output = command.args(args).stderr(Stdio::piped()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn inflight_run_is_the_program() {
    let lab = lab!();
    let (status, stdout, stderr) =
        inflight_run(&lab, &["--", "sh", "-c", "uname -n; echo err >&2; exit 7"]);
    assert_eq!(
        (status, stdout.as_str(), stderr.as_str()),
        (Some(7), "inflight\n", "err\n")
    );

    let (status, ..) = inflight_run(&lab, &["sh", "-c", "kill -9 $$"]);
    assert_eq!(status, Some(128 + 9));

    let out = lab.dir("out");
    let (status, ..) = inflight_run(
        &lab,
        &[
            "--out",
            out.to_str().unwrap(),
            "--memory",
            "64",
            "--",
            "cp",
            "/etc/passwd",
            out.to_str().unwrap(),
        ],
    );
    assert_eq!(status, Some(0));
    assert_eq!(
        fs::read("/etc/passwd").unwrap(),
        fs::read(out.join("passwd")).unwrap()
    );
}

#[test]
fn inflight_run_tells_what_is_wrong() {
    let lab = lab!();
    for (args, wanted_status, wanted) in [
        (
            &["--", "no-such-program"][..],
            2,
            "no program `no-such-program`",
        ),
        (&["--", "/etc"], 2, "is not a file"),
        (&["--", "/etc/passwd"], 2, "not executable"),
        (&["--out", "/no/such", "--", "true"], 2, "--out /no/such"),
        (&["--timeout", "0", "--", "true"], 2, "positive"),
        (&[], 2, "PROG"),
        (
            &["--timeout", "1", "--", "sh", "-c", "while :; do :; done"],
            124,
            "not done after 1 s",
        ),
        (
            &[
                "--",
                "sh",
                "-c",
                "echo 2 > /proc/sys/vm/panic_on_oom; tail /dev/zero",
            ],
            70,
            "the kernel panicked",
        ),
    ] {
        let (status, _, stderr) = inflight_run(&lab, args);
        assert_eq!(status, Some(wanted_status), "{args:?}: {stderr}");
        assert!(stderr.contains(wanted), "{args:?}: {stderr}");
    }
    lab.is_clean();
}

#[test]
fn inflight_run_ends_when_nobody_reads() {
    let lab = lab!();
    let mut child = lab.host_task("run").args(["yes"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    assert_eq!(
        child.wait().unwrap().code(),
        Some(engine::BROKEN_PIPE_STATUS.into())
    );
    lab.is_clean();
}
