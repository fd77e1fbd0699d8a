//! What this binary does when it is started as a program, not as a test: in a
//! guest or as a parent on the host. It happens before `main`, so that the test
//! runner's own output is not in the way.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::exit;
use std::time::{Duration, Instant};

use clap::Parser;
use inflight::cli::{Failure, run};
use inflight::engine::{self, Boot, Options};
use inflight::kernel::Kernel;

use super::random_bytes;

/// Names the task.
pub const VARIABLE: &str = "INFLIGHT_TEST_TASK";

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn before_main() {
        // PID 1 is not for us, even if the library's own hook comes later.
        if std::process::id() != 1
            && let Ok(task) = std::env::var(VARIABLE)
        {
            // SAFETY: std does the same, only later: between here and `main`.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
            exit(perform(&task));
        }
    }
    before_main
};

fn image() -> PathBuf {
    std::env::var_os("INFLIGHT_TEST_IMAGE").unwrap().into()
}

fn say(text: &str) {
    io::stdout().write_all(text.as_bytes()).unwrap();
    io::stdout().flush().unwrap();
}

fn perform(task: &str) -> i32 {
    match task {
        "random" => random(),
        "spin" => {
            say("spinning\n");
            spin(Duration::MAX);
        }
        "beat" => {
            say("beating\n");
            // Virtual time stands still while a program works: no clock to look at.
            loop {
                std::hint::black_box(random_bytes(3, 1 << 20));
                engine::heartbeat();
            }
        }
        "threads" => {
            for _ in 0..3 {
                std::thread::spawn(|| spin(Duration::MAX));
            }
            say("ready\n");
            spin(Duration::MAX);
        }
        "power-off" => {
            if engine::in_guest() {
                // SAFETY: ends the guest.
                unsafe { libc::reboot(libc::LINUX_REBOOT_CMD_POWER_OFF) };
            }
        }
        "crash-init" => crash_init(),
        "host-parent" => {
            let boot = Boot {
                env: vec![(VARIABLE.into(), "spin".into())],
                ..Boot::new(image(), std::env::current_exe().unwrap())
            };
            return engine::run_to_exit(boot).unwrap().into();
        }
        "enter" => {
            let options = Options {
                wall_limit: Some(Duration::from_secs(60)),
                ..Options::default()
            };
            engine::enter(&image(), &options).unwrap();
            let args: Vec<String> = std::env::args().skip(1).collect();
            let cwd = std::env::current_dir().unwrap();
            let term = std::env::var("TERM").unwrap();
            let guest = engine::in_guest();
            say(&format!(
                "in guest: {guest}, {}, {args:?}, {term}\n",
                cwd.display()
            ));
            eprintln!("error output");
            return 42;
        }
        "run" => return inflight_run(),
        other => panic!("no task {other}"),
    }
    0
}

/// 10 MiB to standard output and 1 MiB to standard error, in pieces of all sizes,
/// in turns.
fn random() {
    let (out, err) = (random_bytes(1, 10 << 20), random_bytes(2, 1 << 20));
    let (mut out, mut err) = (&out[..], &err[..]);
    let mut size = 1;
    while !out.is_empty() || !err.is_empty() {
        size = size * 7 % 99_991;
        let (piece, rest) = out.split_at(size.min(out.len()));
        io::stdout().write_all(piece).unwrap();
        io::stdout().flush().unwrap();
        out = rest;
        let (piece, rest) = err.split_at((size / 10 + 1).min(err.len()));
        io::stderr().write_all(piece).unwrap();
        err = rest;
    }
}

/// Spins for a while of the clock: in a guest, where the clock stands still, for
/// ever.
fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Overwrites the code of PID 1, and ends so that it wakes up and runs it.
fn crash_init() {
    assert!(engine::in_guest());
    let maps = std::fs::read_to_string("/proc/1/maps").unwrap();
    let memory = std::fs::File::options()
        .write(true)
        .open("/proc/1/mem")
        .unwrap();
    for line in maps.lines().filter(|line| line.contains(" r-xp ")) {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split(' ').next().unwrap();
        let address = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = (address(start), address(end));
        let zeros = vec![0; (end - start) as usize];
        let _ = std::os::unix::fs::FileExt::write_all_at(&memory, &zeros, start);
    }
}

/// The subcommand `run`, as the binary will call it.
fn inflight_run() -> i32 {
    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: run::Args,
    }
    let kernel = |name: &str, machine| {
        Ok::<_, Failure>(Kernel {
            name: name.parse().unwrap(),
            machine,
            image: image(),
            release: "6.12".into(),
            key: String::new(),
        })
    };
    match run::run(Cli::parse().args, kernel) {
        Ok(status) => status.into(),
        Err(failure) => {
            eprintln!("inflight: {:#}", failure.error);
            failure.status as i32
        }
    }
}
