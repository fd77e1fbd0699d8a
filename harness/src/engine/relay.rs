//! Our streams and our exit status are the guest's.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Boot, Error, Exit, Outcome, Output, copy, in_guest, spawn};
use crate::guest;

/// What [`enter`] and [`run_to_exit`] exit with when a limit was exceeded, as
/// timeout(1) does.
pub const HUNG_STATUS: u8 = 124;
/// What they exit with when the kernel panicked or the guest died: an internal
/// error, as in sysexits(3).
pub const DIED_STATUS: u8 = 70;
/// What they exit with when nobody reads our output any more: what a shell shows
/// for SIGPIPE.
pub const BROKEN_PIPE_STATUS: u8 = 128 + libc::SIGPIPE as u8;

/// How [`enter`] boots.
#[derive(Debug, Clone)]
pub struct Options {
    /// [`Boot::kernel_args`]
    pub kernel_args: Vec<String>,
    /// [`Boot::out_dirs`]
    pub out_dirs: Vec<PathBuf>,
    /// [`Boot::memory_mib`]
    pub memory_mib: u32,
    /// [`Boot::wall_limit`]
    pub wall_limit: Option<Duration>,
    /// [`Boot::idle_limit`]
    pub idle_limit: Option<Duration>,
}

impl Default for Options {
    /// 128 MiB, no writable directory, no limits.
    fn default() -> Self {
        Options {
            kernel_args: Vec::new(),
            out_dirs: Vec::new(),
            memory_mib: 128,
            wall_limit: None,
            idle_limit: None,
        }
    }
}

/// Goes on inside the kernel `image`.
///
/// In a guest this returns at once. On the host it does not return unless it
/// fails to boot: it starts this program again, with the same arguments,
/// environment and directory, in a guest; its standard output and error come out
/// of ours byte for byte; and then **this process exits**, without running
/// destructors or `atexit` functions, as [`run_to_exit`] says.
///
/// # Errors
/// The kernel cannot be booted, or this program not be run in it.
pub fn enter(image: &Path, options: &Options) -> Result<(), Error> {
    guest::init::main_if_pid1();
    if in_guest() {
        return Ok(());
    }
    let program = std::env::current_exe().map_err(Error::host("find our own executable"))?;
    let cwd = std::env::current_dir().map_err(Error::host("find the current directory"))?;
    let boot = Boot {
        kernel_args: options.kernel_args.clone(),
        args: std::env::args_os().skip(1).collect(),
        env: std::env::vars_os().collect(),
        cwd,
        out_dirs: options.out_dirs.clone(),
        memory_mib: options.memory_mib,
        wall_limit: options.wall_limit,
        idle_limit: options.idle_limit,
        ..Boot::new(image, program)
    };
    let status = run_to_exit(boot)?;
    // SAFETY: ends the process. Not `exit`: what a fuzzer or a coverage run-time
    // has registered to do at exit belongs to the guest's run, and nothing of
    // ours is buffered.
    unsafe { libc::_exit(status.into()) }
}

/// Runs a program in a guest with our standard output and error as its own, byte
/// for byte, and returns the exit status that tells how it ended:
///
/// | status | end |
/// | --- | --- |
/// | 0 to 255 | the program's own status |
/// | 128 + N | the program died by signal N |
/// | [`HUNG_STATUS`] 124 | a limit was exceeded |
/// | [`DIED_STATUS`] 70 | the kernel panicked, or the guest died |
/// | [`BROKEN_PIPE_STATUS`] 141 | nobody reads our output any more |
///
/// Panics, limits and kernel bug reports are told on standard error with the
/// kernel's last lines. The program sees terminals; if ours are none, the variables
/// `TERM=dumb` and `NO_COLOR=1` ask it to write as for a file.
///
/// # Errors
/// As [`spawn`] and [`super::Guest::wait`].
pub fn run_to_exit(boot: Boot) -> Result<u8, Error> {
    run_to_end(boot).map(|(status, _)| status)
}

/// [`run_to_exit`], and what is known of the run besides; `None`: nobody read our output
/// any more, and the guest was ended for that.
///
/// # Errors
/// As [`run_to_exit`].
pub fn run_to_end(mut boot: Boot) -> Result<(u8, Option<Outcome>), Error> {
    if !io::stdout().is_terminal() || !io::stderr().is_terminal() {
        boot.env.push(("TERM".into(), "dumb".into()));
        boot.env.push(("NO_COLOR".into(), "1".into()));
    }
    // Past std's buffers, and past the capture of a test's output.
    let unbuffered = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned().map(File::from);
    let _ = io::stdout().flush();
    let out = unbuffered(&io::stdout()).map_err(Error::host("copy a descriptor"))?;
    let err = unbuffered(&io::stderr()).map_err(Error::host("copy a descriptor"))?;

    let mut guest = spawn(boot)?;
    let (stdout, stderr) = (guest.take_stdout(), guest.take_stderr());
    let relay = |from: Output, to: File| move || copy(from, to);
    let stderr_relay = std::thread::spawn(relay(stderr, err));
    let stdout_relay = std::thread::spawn(relay(stdout, out));
    // When writing fails the relay drops its end: the program's next write fails.
    // A program that never writes again must not keep us: so end it here.
    if stdout_relay.join().is_ok_and(|copied| copied.is_err()) {
        return Ok((BROKEN_PIPE_STATUS, None));
    }
    let _ = stderr_relay.join();
    let outcome = guest.wait()?;

    let mut message = String::new();
    let status = match &outcome.exit {
        Exit::Status(status) => *status,
        Exit::Signalled(signal) => 128 | (*signal as u8),
        Exit::Panic { log } => {
            describe(&mut message, "the kernel panicked", log);
            DIED_STATUS
        }
        Exit::Hung { why, log } => {
            describe(&mut message, &format!("killed: {why}"), log);
            HUNG_STATUS
        }
        Exit::Died { status, log } => {
            describe(&mut message, &format!("the guest died: {status}"), log);
            DIED_STATUS
        }
    };
    if message.is_empty() && !outcome.splats().is_empty() {
        describe(&mut message, "the kernel reported", &outcome.splats());
    }
    // Nowhere to complain if standard error is closed.
    let _ = io::stderr().write_all(message.as_bytes());
    Ok((status, Some(outcome)))
}

fn describe(message: &mut String, what: &str, log: &[String]) {
    message.push_str("inflight: ");
    message.push_str(what);
    message.push('\n');
    for line in log {
        message.push_str("  ");
        message.push_str(line);
        message.push('\n');
    }
}
