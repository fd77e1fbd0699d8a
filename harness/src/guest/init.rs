//! PID 1 of a guest.
//!
//! The kernel under test starts this same binary as its init. [`main_if_pid1`],
//! which runs before `main`, then makes the guest a place to live in, starts the
//! job's program, reaps whatever ends, tells the host how the program ended, and
//! switches the machine off. PID 1 must never end: the kernel would panic. Only that of
//! namespaces of the host's kernel may, and takes all of them with it.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::Pid;

use super::job::{
    CONTROL_VARIABLE, GUEST_VARIABLE, Job, Off, Report, SHARED_VARIABLE, VARIABLE, Ways,
};
use super::{kmemleak, mounts, namespaces};

/// Open files that a program in the guest may have.
const OPEN_FILES: u64 = 65_536;

/// Runs [`main_if_pid1`] before `main`, so that a binary of any kind can be PID 1:
/// also one whose `main` is not ours, like that of a test.
// `.init_array` functions of glibc and musl take argc, argv and envp, or nothing.
// std fills its arguments in an earlier one. `pub` and `#[used]` keep it.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = {
    extern "C" fn before_main() {
        main_if_pid1();
    }
    before_main
};

/// Makes the linker keep [`BEFORE_MAIN`] in every binary that can boot a guest.
pub(crate) fn ensure_linked() {
    std::hint::black_box(BEFORE_MAIN);
}

/// Becomes PID 1 of the guest, and never returns, if this process is that;
/// returns at once everywhere else.
pub fn main_if_pid1() {
    if std::process::id() != 1 {
        return;
    }
    let Some(job_file) = std::env::var_os(VARIABLE) else {
        return;
    };
    // First of all, while the host's /tmp and /run are still to be seen.
    let job = match read(Path::new(&job_file)) {
        Ok(job) => job,
        // The kernel's console is all that is left, and a panic.
        Err(error) => panic!("cannot understand the job file: {error}"),
    };
    let report = match run(&job) {
        Ok(report) => report,
        Err(Failed { what, error }) => Report::Failed(format!("{what}: {error}")),
    };
    switch_off(&report, &job.ways)
}

fn read(job_file: &Path) -> io::Result<Job> {
    Ok(serde_json::from_slice(&std::fs::read(job_file)?)?)
}

/// What PID 1 could not do.
struct Failed {
    what: String,
    error: io::Error,
}

/// For `map_err`: `what` completes "cannot".
fn failed<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failed {
    let what = what.into();
    move |error| Failed {
        what,
        error: error.into(),
    }
}

fn run(job: &Job) -> Result<Report, Failed> {
    let shared = job.ways.shares_kernel();
    if shared {
        // What begins the log of every kernel.
        eprintln!("Linux version {}: the kernel that runs already", release());
        namespaces::leave().map_err(|error| {
            let (why, remedy) = namespaces::why_refused(&error);
            failed("leave the host's namespaces")(io::Error::other(format!(
                "{why}; remedy: {remedy}"
            )))
        })?;
    }
    mounts::set_up(job).map_err(|(what, error)| Failed { what, error })?;
    for setting in &job.sysctls {
        check_sysctl(setting).map_err(failed(format!("boot with sysctl.{setting}")))?;
    }
    set_host_name().map_err(failed("set the host name"))?;
    loopback_up().map_err(failed("set the loopback interface up"))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(failed("forbid core files"))?;
    let (_, most) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(failed("read the limit of open files"))?;
    // What the host allows, and no more, where the files are the host's.
    let most = if shared {
        most.min(OPEN_FILES)
    } else {
        OPEN_FILES
    };
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
        .map_err(failed("raise the limit of open files"))?;
    let stdout = open_tty(&job.ways.stdout).map_err(failed("open standard output"))?;
    let stderr = open_tty(&job.ways.stderr).map_err(failed("open standard error"))?;

    let streams = (&stdout, &stderr);
    let program = start(job, streams)?;
    let report = wait_for(program)?;
    // Nothing may still be writing when the host is told that all is done.
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    while reap().is_ok() {}
    if shared {
        // A pipe has what was written, and what the kernel has lost is no matter of ours.
        return Ok(report);
    }
    check_flushed(&stdout)?;
    check_flushed(&stderr)?;
    // On the kernel's console, where reports of bugs belong.
    eprint!("{}", kmemleak::scan().map_err(failed("look for leaks"))?);
    Ok(report)
}

/// Makes sure that the kernel has taken a setting of its command line: it only logs
/// when it has not, and a test of another mode than the one that was asked for
/// proves nothing.
fn check_sysctl(setting: &str) -> io::Result<()> {
    let Some((name, wanted)) = setting.split_once('=') else {
        return Err(io::Error::other("no value is given"));
    };
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    let is = match std::fs::read_to_string(&path) {
        Ok(is) => is,
        Err(error) => return Err(io::Error::other(format!("{}: {error}", path.display()))),
    };
    if is.trim() == wanted {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} is {}: this kernel does not know the value",
        path.display(),
        is.trim()
    )))
}

fn start(job: &Job, (stdout, stderr): (&File, &File)) -> Result<libc::pid_t, Failed> {
    let copy = |tty: &File| tty.try_clone().map_err(failed("copy a descriptor"));
    // chdir here, not in the child: std does not tell its failure from exec's.
    nix::unistd::chdir(job.cwd.path())
        .map_err(failed(format!("enter {}", job.cwd.path().display())))?;
    let mut command = Command::new(job.program.path());
    command
        .args(job.args.iter().map(|arg| &arg.0))
        .env_clear()
        .envs(job.env.iter().map(|(name, value)| (&name.0, &value.0)))
        .env(GUEST_VARIABLE, "1")
        .env(CONTROL_VARIABLE, &job.ways.control)
        .env("TMPDIR", "/tmp")
        .env_remove(VARIABLE)
        .env_remove(SHARED_VARIABLE)
        .envs(job.ways.shares_kernel().then_some((SHARED_VARIABLE, "1")))
        .stdin(Stdio::null())
        .stdout(copy(stdout)?)
        .stderr(copy(stderr)?)
        // Not in our group: a program may signal its own.
        .process_group(0);
    let child = command
        .spawn()
        .map_err(failed(format!("execute {}", job.program.path().display())))?;
    Ok(child.id() as libc::pid_t)
}

/// Reaps until the program has ended.
fn wait_for(program: libc::pid_t) -> Result<Report, Failed> {
    loop {
        // Not nix's `wait`: it has no name for real-time signals.
        match reap() {
            Ok((pid, status)) if pid == program && libc::WIFSIGNALED(status) => {
                return Ok(Report::Signal(libc::WTERMSIG(status)));
            }
            Ok((pid, status)) if pid == program => {
                return Ok(Report::Exit(libc::WEXITSTATUS(status) as u8));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("wait for the program")(errno)),
        }
    }
}

/// Waits for the end of any child.
fn reap() -> nix::Result<(libc::pid_t, libc::c_int)> {
    let mut status = 0;
    // SAFETY: writes one int.
    let pid = Errno::result(unsafe { libc::waitpid(-1, &mut status, 0) })?;
    Ok((pid, status))
}

/// Opens a terminal so that bytes pass as they are, and at once: the kernel writes
/// to the host's pipe before the program's write returns. The terminal layer hands
/// over 2048 bytes at a time, and a pipe takes up to PIPE_BUF (4096) bytes whole or
/// not at all (pipe(7)), so nothing stays in the line's buffer
/// (arch/um/drivers/line.c), which nobody would flush.
///
/// A PC's consoles are worked the same way: the kernel waits until the host has taken what
/// it writes (drivers/char/virtio_console.c:put_chars). They come to be some time after
/// PID 1.
fn open_tty(path: &str) -> io::Result<File> {
    const ATTEMPTS: usize = 1000;
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_NOCTTY);
    let mut tty = options.open(path);
    for _ in 0..ATTEMPTS {
        let is_early = |errno| [libc::ENODEV, libc::ENOENT, libc::ENXIO].contains(&errno);
        match &tty {
            Err(error) if error.raw_os_error().is_some_and(is_early) => {}
            _ => break,
        }
        std::thread::sleep(Duration::from_millis(10));
        tty = options.open(path);
    }
    let tty = tty?;
    if !std::io::IsTerminal::is_terminal(&tty) {
        return Ok(tty);
    }
    let mut termios = tcgetattr(&tty)?;
    cfmakeraw(&mut termios);
    tcsetattr(&tty, SetArg::TCSANOW, &termios)?;
    Ok(tty)
}

/// Makes sure that the host has everything. It has, see [`open_tty`]; a kernel
/// where that does not hold must not go unnoticed.
fn check_flushed(tty: &File) -> Result<(), Failed> {
    let mut pending: libc::c_int = 0;
    // SAFETY: TIOCOUTQ writes one int.
    Errno::result(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCOUTQ, &mut pending) })
        .map_err(failed("ask for pending output"))?;
    if pending > 0 {
        let what = format!("hand over the last {pending} bytes of output");
        return Err(failed(what)(io::Error::from(io::ErrorKind::WriteZero)));
    }
    Ok(())
}

fn switch_off(report: &Report, ways: &Ways) -> ! {
    if !ways.shares_kernel() {
        // Files in the output directory, before the host is told that all is done.
        nix::unistd::sync();
    }
    let told = open_tty(&ways.control)
        .and_then(|mut control| control.write_all(report.to_line().as_bytes()));
    if let Err(error) = told {
        // Standard error of PID 1 is the kernel's console.
        eprintln!("inflight: cannot tell the host ({error}): {report:?}");
    } else if let Report::Failed(what) = report {
        eprintln!("inflight: the guest cannot {what}");
    }
    let how = match ways.off {
        Off::Power => RebootMode::RB_POWER_OFF,
        Off::Reset => RebootMode::RB_AUTOBOOT,
        Off::Stay => std::process::exit(0),
    };
    match reboot(how) {
        Ok(never) => match never {},
        // The kernel panics, and the host learns it that way.
        Err(errno) => panic!("cannot switch off: {errno}"),
    }
}

fn release() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map_or_else(|_| "?".into(), |it| it.trim().to_owned())
}

fn set_host_name() -> nix::Result<()> {
    const NAME: &[u8] = b"inflight";
    // SAFETY: reads as many bytes as it is told.
    Errno::result(unsafe { libc::sethostname(NAME.as_ptr().cast(), NAME.len()) }).map(drop)
}

/// `ip link set lo up`
fn loopback_up() -> nix::Result<()> {
    const NAME: &CStr = c"lo";
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: `ifreq` is plain data; the ioctls read and write one.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(NAME.to_bytes()) {
            *to = *from as libc::c_char;
        }
        Errno::result(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFFLAGS as _,
            &request,
        ))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        Errno::result(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &request,
        ))?;
    }
    Ok(())
}

/// A path for the kernel.
pub(super) fn c_path(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
