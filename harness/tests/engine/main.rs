//! The uml engine against a real kernel.
//!
//! The kernel is the UML executable that `INFLIGHT_TEST_IMAGE` names; without it
//! these tests skip, and say so. This binary is also the program that runs in the
//! guests: see `support::tasks`.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use inflight::engine::{self, Boot, Error, Exit, Limit};
use support::{Lab, random_bytes};

/// Far longer than a boot takes on a busy machine.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// Skips the test when there is no kernel.
macro_rules! lab {
    () => {
        match Lab::new() {
            Some(lab) => lab,
            None => return,
        }
    };
}

// After the macro that it uses.
mod processes;
mod support;

fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Runs to the end; how it ended, and the two outputs as text.
fn run(boot: Boot) -> (engine::Outcome, String, String) {
    let mut guest = engine::spawn(boot).unwrap();
    let (stdout, stderr) = (guest.take_stdout(), guest.take_stderr());
    let stderr = std::thread::spawn(|| read_all(stderr));
    let stdout = String::from_utf8_lossy(&read_all(stdout)).into_owned();
    let stderr = String::from_utf8_lossy(&stderr.join().unwrap()).into_owned();
    let outcome = guest.wait().unwrap();
    (outcome, stdout, stderr)
}

#[test]
fn output_is_exact_and_complete() {
    let lab = lab!();
    let mut guest = engine::spawn(lab.task("random")).unwrap();
    let (stdout, stderr) = (guest.take_stdout(), guest.take_stderr());
    let stderr = std::thread::spawn(|| read_all(stderr));
    let stdout = read_all(stdout);
    let stderr = stderr.join().unwrap();
    assert_eq!(guest.wait().unwrap().exit, Exit::Status(0));
    assert_eq!((stdout.len(), stderr.len()), (10 << 20, 1 << 20));
    assert_eq!(
        blake3::hash(&stdout),
        blake3::hash(&random_bytes(1, 10 << 20))
    );
    assert_eq!(
        blake3::hash(&stderr),
        blake3::hash(&random_bytes(2, 1 << 20))
    );
}

#[test]
fn output_is_exact_when_the_reader_is_slow_and_the_kernel_is_stopped_meanwhile() {
    let lab = lab!();
    let mut guest = engine::spawn(lab.task("random")).unwrap();
    let (mut stdout, stderr) = (guest.take_stdout(), guest.take_stderr());
    let stderr = std::thread::spawn(|| read_all(stderr));
    let kernel = lab.kernel_process();
    let mut got = Vec::new();
    let mut buffer = vec![0; 8192];
    loop {
        // A stop in the middle of a write to a full pipe cuts the write short.
        if got.len() < 2 << 20 {
            support::stop_and_continue(kernel);
        }
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            len => got.extend_from_slice(&buffer[..len]),
        }
    }
    assert_eq!(guest.wait().unwrap().exit, Exit::Status(0));
    assert_eq!(got.len(), 10 << 20);
    assert_eq!(blake3::hash(&got), blake3::hash(&random_bytes(1, 10 << 20)));
    assert_eq!(stderr.join().unwrap(), random_bytes(2, 1 << 20));
}

#[test]
fn a_short_last_write_is_not_lost() {
    let lab = lab!();
    for _ in 0..5 {
        let (outcome, stdout, stderr) = run(lab.shell("printf 'no newline'; printf x >&2"));
        assert_eq!(outcome.exit, Exit::Status(0));
        assert_eq!((stdout.as_str(), stderr.as_str()), ("no newline", "x"));
    }
}

#[test]
fn exit_statuses_are_the_programs() {
    let lab = lab!();
    for status in [0, 1, 42, 255] {
        let (outcome, ..) = run(lab.shell(&format!("exit {status}")));
        assert_eq!(outcome.exit, Exit::Status(status), "{}", outcome.kernel_log);
        assert!(outcome.kernel_log.contains("Linux version"));
        assert_eq!(outcome.splats(), [""; 0]);
    }
}

#[test]
fn deaths_by_signal_are_the_programs() {
    let lab = lab!();
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGTERM, 40] {
        let (outcome, ..) = run(lab.shell(&format!("kill -{signal} $$")));
        assert_eq!(outcome.exit, Exit::Signalled(signal));
    }
}

#[test]
fn arguments_environment_and_directory_arrive() {
    let lab = lab!();
    let cwd = lab.dir("with blank");
    let odd = OsString::from_vec(vec![b'a', 0xfe, b'\n', b'"']);
    let mut boot = lab.shell(r#"pwd; printf '<%s>' "$@"; printf '[%s]' "$ODD"; id -u; hostname"#);
    boot.args
        .extend(["sh".into(), "".into(), "a  b".into(), odd.clone()]);
    boot.env.push(("ODD".into(), odd));
    boot.cwd = cwd.clone();
    let mut guest = engine::spawn(boot).unwrap();
    let stdout = read_all(guest.take_stdout());
    assert_eq!(guest.wait().unwrap().exit, Exit::Status(0));
    let mut wanted = format!("{}\n<><a  b>", cwd.display()).into_bytes();
    wanted.extend(b"<a\xfe\n\">[a\xfe\n\"]0\ninflight\n");
    assert_eq!(stdout, wanted, "{}", String::from_utf8_lossy(&stdout));
}

#[test]
fn a_program_behind_a_link_and_in_a_path_with_blanks_runs() {
    let lab = lab!();
    let link = lab.dir("a b").join("my sh");
    std::os::unix::fs::symlink("/bin/sh", &link).unwrap();
    let mut boot = lab.shell("echo $0");
    boot.args.push("zero".into());
    boot.program = link;
    boot.cache = Some(lab.dir("the cache"));
    let (outcome, stdout, _) = run(boot);
    assert_eq!((outcome.exit, stdout.as_str()), (Exit::Status(0), "zero\n"));
}

#[test]
fn what_is_not_executable_in_the_guest_is_an_error() {
    let lab = lab!();
    let script = lab.dir("x").join("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let mut boot = lab.shell("");
    boot.program = script;
    let error = engine::spawn(boot).unwrap().wait().unwrap_err();
    assert!(
        matches!(&error, Error::Guest { what } if what.contains("execute")),
        "{error}"
    );
    lab.is_clean();
}

#[test]
fn a_kernel_that_is_not_there_is_an_error() {
    let lab = lab!();
    for image in [Path::new("/nonexistent/linux"), Path::new("/etc/passwd")] {
        let mut boot = lab.shell("");
        boot.image = image.to_owned();
        let error = engine::spawn(boot).unwrap_err();
        assert!(matches!(error, Error::Image { .. }), "{error}");
    }
    lab.is_clean();
}

#[test]
fn a_kernel_that_says_nothing_of_its_program_died() {
    let lab = lab!();
    let (outcome, ..) = run(lab.task("power-off"));
    assert!(
        matches!(outcome.exit, Exit::Died { .. }),
        "{:?}",
        outcome.exit
    );
}

#[test]
fn a_kernel_that_the_host_does_not_let_start_is_an_error() {
    let lab = lab!();
    let script = lab.dir("x").join("linux");
    // The latter is how it also ends when it is killed, once it has begun.
    for code in [5, 1] {
        let text = format!("#!/bin/sh\necho ptrace: not permitted; exit {code}\n");
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let mut boot = lab.shell("");
        boot.image = script.clone();
        match engine::spawn(boot).unwrap().wait().unwrap_err() {
            Error::NoStart { status, log } => {
                assert_eq!(status.code(), Some(code));
                assert_eq!(log, ["ptrace: not permitted"]);
            }
            other => panic!("{other}"),
        }
    }
    lab.is_clean();
}

#[test]
fn a_cpu_with_more_registers_than_the_kernel_keeps_is_an_error() {
    let lab = lab!();
    let script = lab.dir("x").join("linux");
    let log = "[    0.000000] Linux version 6.12.117\n\
               [    0.000000] userspace - ptrace set fp regs failed, errno = 14\n\
               [    0.000000] Kernel panic - not syncing: Attempted to kill init!\n";
    fs::write(
        &script,
        format!("#!/bin/sh\ncat <<'END'\n{log}END\nexit 134\n"),
    )
    .unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let mut boot = lab.shell("");
    boot.image = script;
    match engine::spawn(boot).unwrap().wait().unwrap_err() {
        Error::Registers { log } => assert_eq!(log.len(), 3),
        other => panic!("{other}"),
    }
    lab.is_clean();
}

#[test]
fn a_panic_is_reported_with_the_kernels_last_lines() {
    let lab = lab!();
    let start = Instant::now();
    let (outcome, stdout, _) =
        run(lab.shell("echo before; echo 2 > /proc/sys/vm/panic_on_oom; tail /dev/zero"));
    assert_eq!(stdout, "before\n");
    let Exit::Panic { log } = &outcome.exit else {
        panic!("{:?}", outcome.exit);
    };
    assert!(
        log.iter().any(|line| line.contains("panic_on_oom")),
        "{log:#?}"
    );
    assert!(
        outcome
            .splats()
            .iter()
            .any(|line| line.contains("Kernel panic"))
    );
    assert!(start.elapsed() < Duration::from_secs(20));
    lab.is_clean();
}

#[test]
fn the_death_of_pid_1_is_a_panic() {
    let lab = lab!();
    let (outcome, ..) = run(lab.task("crash-init"));
    assert!(
        matches!(outcome.exit, Exit::Panic { .. }),
        "{:?}",
        outcome.exit
    );
    assert!(outcome.kernel_log.contains("Attempted to kill init"));
}

#[test]
fn a_spinning_program_is_hung() {
    let lab = lab!();
    let mut boot = lab.task("spin");
    boot.idle_limit = Some(IDLE_LIMIT);
    let start = Instant::now();
    let (outcome, stdout, _) = run(boot);
    assert_eq!(stdout, "spinning\n");
    match outcome.exit {
        Exit::Hung { why, .. } => assert_eq!(why, Limit::Idle(IDLE_LIMIT)),
        other => panic!("{other:?}"),
    }
    assert!(start.elapsed() >= IDLE_LIMIT);
    lab.is_clean();
}

#[test]
fn a_blocked_program_is_hung() {
    let lab = lab!();
    // Nobody opens the other end, and no timer runs: the kernel itself sleeps.
    let mut boot = lab.shell("mkfifo /tmp/fifo; cat /tmp/fifo");
    boot.idle_limit = Some(IDLE_LIMIT);
    let (outcome, ..) = run(boot);
    assert!(
        matches!(outcome.exit, Exit::Hung { .. }),
        "{:?}",
        outcome.exit
    );
}

#[test]
fn a_talkative_program_is_hung_at_the_wall_limit_only() {
    let lab = lab!();
    let mut boot = lab.shell("while :; do echo .; done");
    let limit = 2 * IDLE_LIMIT;
    boot.idle_limit = Some(IDLE_LIMIT);
    boot.wall_limit = Some(limit);
    let (outcome, ..) = run(boot);
    match outcome.exit {
        Exit::Hung { why, .. } => assert_eq!(why, Limit::Wall(limit)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn heartbeats_are_signs_of_life() {
    let lab = lab!();
    let mut boot = lab.task("beat");
    boot.idle_limit = Some(IDLE_LIMIT);
    boot.wall_limit = Some(2 * IDLE_LIMIT);
    let (outcome, stdout, _) = run(boot);
    assert_eq!(stdout, "beating\n");
    match outcome.exit {
        Exit::Hung { why, .. } => assert_eq!(why, Limit::Wall(2 * IDLE_LIMIT)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_guest_that_waits_for_its_reader_is_not_hung() {
    let lab = lab!();
    let mut boot = lab.task("random");
    boot.idle_limit = Some(IDLE_LIMIT);
    let mut guest = engine::spawn(boot).unwrap();
    let (mut stdout, stderr) = (guest.take_stdout(), guest.take_stderr());
    let stderr = std::thread::spawn(|| read_all(stderr));
    let mut first = [0; 1];
    stdout.read_exact(&mut first).unwrap();
    std::thread::sleep(IDLE_LIMIT * 3 / 2);
    assert_eq!(read_all(stdout).len(), (10 << 20) - 1);
    assert_eq!(guest.wait().unwrap().exit, Exit::Status(0));
    assert_eq!(stderr.join().unwrap().len(), 1 << 20);
}

#[test]
fn output_that_nobody_takes_or_keeps_does_not_stop_the_guest() {
    let lab = lab!();
    let guest = engine::spawn(lab.task("random")).unwrap();
    assert_eq!(guest.wait().unwrap().exit, Exit::Status(0));
    let mut guest = engine::spawn(lab.shell("yes; exit 0")).unwrap();
    let mut stdout = guest.take_stdout();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    assert_eq!(guest.wait().unwrap().exit, Exit::Status(0));
}

#[test]
fn nothing_of_the_host_can_be_written() {
    let lab = lab!();
    let cwd = lab.dir("cwd");
    fs::write(cwd.join("old"), "old").unwrap();
    let name = format!("inflight-test-{}", std::process::id());
    let mut boot = lab.shell(
        r#"echo x > new; echo x > old; rm old; mkdir sub; echo x > /etc/$0
        for d in /tmp /run /dev /dev/shm; do echo x > $d/$0 || exit 1; done
        cat old; touch /proc/self/cwd/x; test "$TMPDIR" = /tmp"#,
    );
    boot.args.push((&name).into());
    boot.cwd = cwd.clone();
    let (outcome, stdout, stderr) = run(boot);
    assert_eq!(outcome.exit, Exit::Status(0), "{stderr}");
    assert_eq!(stdout, "old");
    assert_eq!(
        stderr.matches("Read-only file system").count(),
        6,
        "{stderr}"
    );
    assert_eq!(fs::read_dir(&cwd).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(cwd.join("old")).unwrap(), "old");
    for directory in ["/tmp", "/run", "/dev", "/dev/shm", "/etc"] {
        assert!(!Path::new(directory).join(&name).exists(), "{directory}");
    }
}

#[test]
fn the_output_directory_is_the_one_way_out() {
    let lab = lab!();
    let out = lab.dir("cwd/out put");
    let mut boot = lab.shell(
        r#"cat "$0/in"; echo result > "$0/out"; mkdir "$0/d"; head -c 3000000 /dev/zero > "$0/d/big"
        echo x > outside"#,
    );
    fs::write(out.join("in"), "input\n").unwrap();
    boot.args.push((&out).into());
    boot.cwd = out.parent().unwrap().to_owned();
    boot.out_dirs = vec![out.clone()];
    let (outcome, stdout, stderr) = run(boot);
    assert_eq!(stdout, "input\n");
    assert_eq!(outcome.exit, Exit::Status(2), "{stderr}");
    assert_eq!(
        stderr.matches("Read-only file system").count(),
        1,
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(out.join("out")).unwrap(), "result\n");
    assert_eq!(fs::read(out.join("d/big")).unwrap(), vec![0; 3_000_000]);
    assert!(!out.parent().unwrap().join("outside").exists());
}

#[test]
fn the_guest_has_what_programs_expect() {
    let lab = lab!();
    let (outcome, stdout, stderr) = run(lab.shell(
        "set -e; ls /proc/1 > /dev/null; test -c /dev/null; test -d /sys/class; ulimit -c; ulimit -n
        echo fd > /dev/stdout; cat < /dev/stdin; grep -c '^lo:\\|lo:' /proc/net/dev
        cat /sys/class/net/lo/operstate; grep ' /tmp ' /proc/mounts | cut -d' ' -f3",
    ));
    assert_eq!(outcome.exit, Exit::Status(0), "{stderr}");
    assert_eq!(stdout, "0\n65536\nfd\n1\nunknown\ntmpfs\n");
}

#[test]
fn daemons_end_with_the_program() {
    let lab = lab!();
    let (outcome, stdout, _) = run(lab.shell("setsid sleep 1000000 & sleep 1; echo done; exit 3"));
    assert_eq!((outcome.exit, stdout.as_str()), (Exit::Status(3), "done\n"));
}

#[test]
fn a_thousand_seconds_of_sleep_take_none() {
    let lab = lab!();
    let boot = lab.shell("cut -d. -f1 /proc/uptime; sleep 1000; cut -d. -f1 /proc/uptime");
    let start = Instant::now();
    let (outcome, stdout, _) = run(boot);
    assert_eq!(
        (outcome.exit, stdout.as_str()),
        (Exit::Status(0), "0\n1000\n")
    );
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
}
