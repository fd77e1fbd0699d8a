//! `inflight run`: any program inside a kernel.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::{Failure, Status};
use crate::engine::{self, Boot, Error};
use crate::kernel::{Kernel, Machine};

/// Run a program inside a kernel, by default in virtual time.
///
/// It sees the host's files, all read-only, and its exit status is ours. Standard input
/// is empty.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run in this kernel, e.g. 6.12-stock or tree:PATH [default: 6.12-stock; by the engine
    /// host: host]
    #[arg(long, value_name = "KERNEL")]
    pub kernel: Option<String>,
    /// Run it by this engine: uml (virtual time), qemu (several CPUs, real time), or host
    #[arg(long, value_name = "ENGINE", default_value_t)]
    pub engine: Machine,
    /// Let the program write to this folder, and to no other
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Give the guest so much memory
    #[arg(long, value_name = "MIB", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(32..=1 << 20))]
    pub memory: u32,
    /// Kill the guest after this wall-clock time; the exit status is then 124
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// The program, looked up in PATH, and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROG")]
    pub command: Vec<OsString>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    Duration::try_from_secs_f64(number)
        .ok()
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| "not a positive number of seconds".into())
}

/// Runs the program; the result is the exit status for this process: the
/// program's own, or as [`engine::run_to_exit`] says.
///
/// `kernel` finds the kernel of that name, building it if
/// need be. It is asked last, when everything else is in order.
///
/// # Errors
/// A program or directory that is not there, or no guest to be had: with the exit
/// status of [`status_of`].
pub fn run(
    args: Args,
    kernel: impl FnOnce(&str, Machine) -> Result<Kernel, Failure>,
) -> Result<u8, Failure> {
    let usage = |error| Failure {
        status: Status::Usage,
        error,
    };
    let cwd = env::current_dir()
        .context("cannot find the current directory")
        .map_err(usage)?;
    let (name, arguments) = args.command.split_first().expect("clap requires a program");
    let program = find(name, &cwd, env::var_os("PATH").as_deref()).map_err(usage)?;
    let out_dir = match args.out {
        Some(out) => Some(
            out.canonicalize()
                .with_context(|| format!("--out {}", out.display()))
                .map_err(usage)?,
        ),
        None => None,
    };
    let usual = match args.engine {
        Machine::Host => "host",
        Machine::Uml | Machine::Qemu(_) => "6.12-stock",
    };
    let kernel = kernel(args.kernel.as_deref().unwrap_or(usual), args.engine)?;
    let boot = Boot {
        args: arguments.to_vec(),
        env: env::vars_os().collect(),
        cwd,
        out_dirs: out_dir.into_iter().collect(),
        memory_mib: args.memory,
        wall_limit: args.timeout,
        ..Boot::of(&kernel, program)
    };
    engine::run_to_exit(boot).map_err(|error| Failure {
        status: status_of(&error),
        error: error.into(),
    })
}

/// The exit status that an error of the engine deserves.
pub fn status_of(error: &Error) -> Status {
    match error {
        Error::Program { .. } | Error::CommandLine { .. } | Error::Guest { .. } => Status::Usage,
        Error::Image { .. }
        | Error::NoStart { .. }
        | Error::Registers { .. }
        | Error::Namespaces { .. } => Status::Missing,
        Error::Host { source, .. } if is_lacking(source) => Status::Missing,
        Error::Host { .. } | Error::Killed { .. } => Status::Internal,
    }
}

/// No room, no permission, no place for a cache: nothing that we did wrong.
fn is_lacking(error: &io::Error) -> bool {
    use io::ErrorKind::{
        NotADirectory, NotFound, OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem,
        StorageFull,
    };
    matches!(
        error.kind(),
        NotADirectory
            | NotFound
            | OutOfMemory
            | PermissionDenied
            | QuotaExceeded
            | ReadOnlyFilesystem
            | StorageFull
    )
}

/// The absolute path of a program: as it is if it names a file, else looked up in
/// `path`, as execvp(3) does.
fn find(name: &OsStr, cwd: &Path, path: Option<&OsStr>) -> anyhow::Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    if name.as_bytes().contains(&b'/') {
        let program = cwd.join(name);
        return match program.metadata() {
            Ok(data) if data.is_file() => Ok(program),
            Ok(_) => Err(anyhow!("{} is not a file", program.display())),
            Err(error) => Err(error).context(format!("cannot run {}", program.display())),
        };
    }
    env::split_paths(path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin")))
        .map(|directory| cwd.join(directory).join(name))
        .find(|program| {
            use std::os::unix::fs::PermissionsExt;
            let runs =
                |data: std::fs::Metadata| data.is_file() && data.permissions().mode() & 0o111 != 0;
            program.metadata().is_ok_and(runs)
        })
        .ok_or_else(|| anyhow!("no program `{}` in PATH", name.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_by_a_shell() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let path = format!("/nonexistent:{}:/usr/bin:/bin", dir.path().display());
        let find = |name: &str| find(OsStr::new(name), dir.path(), Some(OsStr::new(&path)));
        assert!(find("true").unwrap().ends_with("bin/true"));
        assert_eq!(find("./plain").unwrap(), dir.path().join("./plain"));
        assert_eq!(find("/bin/sh").unwrap(), Path::new("/bin/sh"));
        for name in ["plain", "no-such-program", "./nothing", "/etc", ""] {
            let message = format!("{:#}", find(name).unwrap_err());
            assert!(!message.is_empty(), "{name}");
        }
    }

    #[test]
    fn times_are_positive_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "x", "", "inf", "NaN"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
