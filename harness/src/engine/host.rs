//! Runs a program on the kernel that runs already, in namespaces of its own: no kernel is
//! built and none is booted, no root is needed, and time passes by the clock.
//!
//! The supervisor of [`crate::process`] enters the user namespace with the program, and the
//! program becomes PID 1 of a PID namespace: this same binary, which leaves the host's
//! other namespaces (`guest::namespaces`), makes the file systems, and starts the job's
//! program. When PID 1 ends, however it ends, the kernel ends all that is left in there,
//! and interfaces and mounts go with the last of them.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sched::CloneFlags;

use super::monitor::{self, Guest};
use super::{Boot, Error, launch};
use crate::guest::job::{VARIABLE, Ways};
use crate::guest::namespaces::{self, Identity};
use crate::process;

/// As [`super::spawn`] says.
pub(super) fn spawn(boot: Boot) -> Result<Guest, Error> {
    if namespaces::may_be_empty() {
        probe()?;
    }
    let cache = launch::cache(&boot)?;
    let (streams, ends) = launch::pipes()?;
    let inherited = [&ends.stdout, &ends.stderr, &ends.control].map(AsRawFd::as_raw_fd);
    let run = launch::run_dir(&boot, &cache, Ways::host(inherited))?;

    let program = run.path().join("init");
    let mut command = Command::new(&program);
    command
        .current_dir(run.path())
        .env_clear()
        .env(VARIABLE, run.path().join("job.json"))
        .stdin(Stdio::null())
        .stdout(launch::to_stdio(&ends.log)?)
        .stderr(launch::to_stdio(&ends.log)?);
    let identity = Identity::own();
    // SAFETY: between fork and exec; system calls only, on memory copied in.
    unsafe {
        command.pre_exec(move || {
            close_on_exec()?;
            launch::free(&inherited)?;
            // Before the supervisor forks, whose child is then the first of the namespace.
            identity.enter(CloneFlags::CLONE_NEWPID)
        });
    }
    let first = process::spawn_removing(&mut command, run.path()).map_err(|source| {
        match namespaces::attempt() {
            Ok(()) => Error::Image {
                path: program,
                source,
            },
            Err(error) => refused(&error),
        }
    })?;
    // The namespaces now hold the only write ends, so their end is an end of file.
    drop((command, ends));
    monitor::start(&boot, first, streams, (None, run))
}

/// What others have left open for our children is not for the program: it could write
/// there.
fn close_on_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: changes a flag of descriptors.
    match unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a program could be run that way.
///
/// # Errors
/// Why not, and the remedy.
pub fn probe() -> Result<(), Error> {
    namespaces::attempt().map_err(|error| refused(&error))
}

fn refused(error: &io::Error) -> Error {
    let (why, remedy) = namespaces::why_refused(error);
    Error::Namespaces { why, remedy }
}
