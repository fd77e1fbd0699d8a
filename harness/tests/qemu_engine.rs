//! The engine `qemu`: real kernels of a PC, two CPUs, real drivers.
//!
//! Skipped, and said so, where QEMU or its kernels are not there: the main job and the
//! property tests do without.

mod common;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use inflight::engine::{self, Boot, Exit, Outcome};
use inflight::kernel::{self, Kernel, Machine, tools};
use serde_json::Value;

use common::{repository, say};

const ENGINES: [&str; 2] = ["qemu", "qemu:icount"];
/// A guest that makes no progress is stuck, even on a busy machine.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// The kernel, if it and QEMU are here; that they are not is said.
fn found(name: &str, engine: &str) -> Option<Kernel> {
    let test = thread::current().name().unwrap_or("test").to_owned();
    let skip = |what: &str, remedy: &str| {
        say(&format!("skipped {test}: {what}\n  remedy: {remedy}\n"));
        None
    };
    if tools::find("qemu-system-x86_64").is_none() {
        return skip("no QEMU", &tools::install_command(tools::QEMU));
    }
    let machine: Machine = engine.parse().unwrap();
    match kernel::find(&name.parse().unwrap(), machine).unwrap() {
        Some(kernel) => Some(kernel),
        None => skip(
            &format!("{name} is not built for QEMU"),
            &format!("inflight kernel build --engine qemu {name}"),
        ),
    }
}

/// Runs a script of the shell in a guest; what it said, and how it ended.
fn run(kernel: &Kernel, script: &str, change: impl FnOnce(&mut Boot)) -> ([String; 2], Outcome) {
    let mut boot = Boot::of(kernel, "/bin/sh");
    boot.args = vec!["-c".into(), script.into()];
    boot.env = vec![("PATH".into(), "/usr/bin:/bin:/usr/sbin:/sbin".into())];
    boot.idle_limit = Some(IDLE_LIMIT);
    change(&mut boot);
    let mut guest = engine::spawn(boot).unwrap();
    let mut stderr = guest.take_stderr();
    let errors = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let mut text = String::new();
    guest.take_stdout().read_to_string(&mut text).unwrap();
    ([text, errors.join().unwrap()], guest.wait().unwrap())
}

#[test]
fn streams_and_status_come_out_as_they_are() {
    for engine in ENGINES {
        let Some(kernel) = found("6.12-stock", engine) else {
            return;
        };
        let script = "head -c 300000 /dev/zero | tr '\\0' x; echo err >&2; exit 7";
        let ([out, err], outcome) = run(&kernel, script, |_| {});
        assert_eq!(outcome.exit, Exit::Status(7), "{}", outcome.kernel_log);
        // Far more than any pipe holds.
        assert_eq!(out.len(), 300_000);
        assert!(out.bytes().all(|byte| byte == b'x'));
        assert_eq!(err, "err\n");

        let (_, outcome) = run(&kernel, "kill -9 $$", |_| {});
        assert_eq!(outcome.exit, Exit::Signalled(9));
    }
}

#[test]
fn a_pc_has_two_cpus_and_may_be_preempted() {
    let Some(kernel) = found("6.12-stock", "qemu") else {
        return;
    };
    let ([out, _], _) = run(&kernel, "nproc; uname -v", |_| {});
    assert!(out.starts_with("2\n"), "{out}");
    assert!(out.contains("SMP PREEMPT"), "{out}");
}

/// Five minutes by the guest's clock; the limit is on the host's, and shorter than these.
#[test]
fn where_instructions_are_counted_nobody_waits_for_the_clock() {
    let Some(kernel) = found("6.12-stock", "qemu:icount") else {
        return;
    };
    let limit = Duration::from_secs(280);
    let ([out, _], outcome) = run(&kernel, "sleep 300; cat /proc/uptime", |boot| {
        boot.wall_limit = Some(limit);
    });
    assert_eq!(outcome.exit, Exit::Status(0));
    let uptime: f64 = out.split_whitespace().next().unwrap().parse().unwrap();
    assert!(uptime > 300.0, "{out}");
}

#[test]
fn only_the_output_directory_is_written() {
    let Some(kernel) = found("6.12-stock", "qemu") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // A comma is special to QEMU.
    let [out, other] = ["out,put", "other"].map(|name| folder.path().join(name));
    for folder in [&out, &other] {
        fs::create_dir(folder).unwrap();
    }
    let script = format!(
        "echo yes > '{0}/file' && mkdir '{0}/deep'; echo no > {1}/file; echo no > /etc/inflight",
        out.display(),
        other.display()
    );
    let (_, outcome) = run(&kernel, &script, |boot| {
        boot.out_dirs = vec![out.clone()];
        boot.cwd = other.clone();
    });
    assert!(matches!(outcome.exit, Exit::Status(1..)), "{outcome:?}");
    assert_eq!(fs::read_to_string(out.join("file")).unwrap(), "yes\n");
    assert!(out.join("deep").is_dir());
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    assert!(!Path::new("/etc/inflight").exists());
}

#[test]
fn a_panic_is_told_from_an_end() {
    let Some(kernel) = found("6.12-stock", "qemu") else {
        return;
    };
    let (_, outcome) = run(&kernel, "true", |boot| {
        boot.kernel_args.push("rootfstype=ext4".to_owned());
    });
    let Exit::Panic { log } = outcome.exit else {
        panic!("{outcome:?}");
    };
    assert!(
        log.iter().any(|line| line.contains("Kernel panic")),
        "{log:?}"
    );
}

fn inflight(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args(arguments)
        .current_dir(repository())
        .output()
        .unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Stock tears, patched does not; and a file that says otherwise is found out.
#[test]
fn the_race_is_there_and_cured() {
    for engine in ENGINES {
        let kernels = ["6.12-stock", "6.12-patched"];
        if kernels.iter().any(|it| found(it, engine).is_none()) {
            return;
        }
        let file = "corpus/race/race-2008.scn";
        let replay = |file: &str| {
            let [stock, patched] = kernels;
            inflight(&[
                "replay", file, "-k", stock, "-k", patched, "--engine", engine, "--format", "json",
            ])
        };
        let output = replay(file);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        for (line, violated) in lines(&output).iter().zip([true, false]) {
            assert_eq!(line["violated"].is_string(), violated, "{line}");
            assert_eq!(line["engine"], engine);
        }
        let folder = tempfile::tempdir().unwrap();
        let wrong = folder.path().join("wrong.scn");
        let text = fs::read_to_string(repository().join(file)).unwrap();
        let text = text.replace(
            "expect patched holds waited",
            "expect patched violates wire",
        );
        fs::write(&wrong, text).unwrap();
        assert_eq!(replay(wrong.to_str().unwrap()).status.code(), Some(1));
    }
}

/// The harness has all that it needs before a scenario begins: this one's only write is the
/// first of its guest, and took 85 ms once, four times as long as the link holds the packet.
#[test]
fn the_first_write_of_a_guest_is_in_time() {
    const KERNEL: &str = "6.12-stock";
    let engine = "qemu:icount";
    if found(KERNEL, engine).is_none() {
        return;
    }
    let file = "corpus/pipe/sparse-vmsplice.scn";
    let output = inflight(&[
        "replay", file, "-k", KERNEL, "--engine", engine, "--format", "json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(lines(&output)[0]["violated"], "stable-on-return");
}

/// `send` on one machine, `recv` on another, nothing else.
#[test]
fn two_machines_show_it_as_it_was_first_shown() {
    if ["6.12-stock", "6.12-patched"]
        .iter()
        .any(|it| found(it, "qemu").is_none())
    {
        return;
    }
    let output = inflight(&[
        "demo",
        "two-machines",
        "--rounds",
        "100",
        "--format",
        "json",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) && said.contains("network between two machines") {
        say(&format!(
            "skipped: {said}\n  remedy: run as root, or allow user namespaces\n"
        ));
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let torn: Vec<_> = lines(&output)
        .iter()
        .map(|it| it["corrupted"].clone())
        .collect();
    assert_eq!(torn, [true, true, false, false], "{output:?}");
}
