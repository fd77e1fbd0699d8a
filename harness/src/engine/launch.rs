//! What every engine does to start a guest: it looks at what it was asked for, makes the
//! pipes, and leaves a job for PID 1 in the run directory.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::monitor::Streams;
use super::run_dir::{self, RunDir};
use super::{Boot, Error};
use crate::guest::job::{self, Job, OsText, Ways};

/// Where run directories and CPU slots live.
pub(super) fn cache(boot: &Boot) -> Result<PathBuf, Error> {
    match &boot.cache {
        Some(cache) => Ok(cache.clone()),
        None => run_dir::cache_root().ok_or_else(|| Error::Host {
            what: "find a cache directory: set INFLIGHT_CACHE or HOME".into(),
            source: io::ErrorKind::NotFound.into(),
        }),
    }
}

/// A run directory with the job in it.
pub(super) fn run_dir(boot: &Boot, cache: &Path, ways: Ways) -> Result<RunDir, Error> {
    let run = RunDir::create(cache).map_err(Error::host(format!(
        "make a run directory in {}",
        cache.display()
    )))?;
    hand_over(boot, run.path(), ways)?;
    Ok(run)
}

/// The write ends of a guest's pipes.
pub(super) struct Ends {
    pub log: PipeWriter,
    pub stdout: PipeWriter,
    pub stderr: PipeWriter,
    pub control: PipeWriter,
}

/// The pipes of a guest.
pub(super) fn pipes() -> Result<(Streams, Ends), Error> {
    let pipe = || io::pipe().map_err(Error::host("make a pipe"));
    let (log, log_end) = pipe()?;
    let (stdout, stdout_end) = pipe()?;
    let (stderr, stderr_end) = pipe()?;
    let (control, control_end) = pipe()?;
    let streams = Streams {
        log,
        stdout,
        stderr,
        control,
    };
    let ends = Ends {
        log: log_end,
        stdout: stdout_end,
        stderr: stderr_end,
        control: control_end,
    };
    Ok((streams, ends))
}

pub(super) fn to_stdio(end: &PipeWriter) -> Result<Stdio, Error> {
    let copy = end.try_clone().map_err(Error::host("copy a descriptor"))?;
    Ok(copy.into())
}

/// For between fork and exec: lets the program inherit descriptors, allows it as many
/// files as the host does (those of the guest are files of its own), and forbids core
/// files.
pub(super) fn free(inherited: &[RawFd]) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    for &fd in inherited {
        // SAFETY: changes a flag of a descriptor.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The words of a kernel command line: what the engine has to say, what the caller wants,
/// and where PID 1 and its job are. The kernel joins them with blanks, and `parse_args`
/// (kernel/params.c) splits at blanks outside of double quotes.
pub(super) fn command_line(
    mut words: Vec<OsString>,
    boot: &Boot,
    run: &Path,
    most_bytes: usize,
) -> Result<Vec<OsString>, Error> {
    let run = quotable(run)?;
    for word in &boot.kernel_args {
        if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c == '"') {
            return Err(Error::CommandLine {
                word: word.clone(),
                why: "a word has no blanks and no quotes",
            });
        }
        words.push(word.into());
    }
    for (name, file) in [("init", "init"), (job::VARIABLE, "job.json")] {
        let mut word = OsString::from(format!("{name}=\""));
        word.push(run);
        word.push(format!("/{file}\""));
        words.push(word);
    }
    let length: usize = words.iter().map(|word| word.len() + 1).sum();
    if length > most_bytes {
        return Err(Error::CommandLine {
            word: run.to_string_lossy().into_owned(),
            why: "all words together are too long",
        });
    }
    Ok(words)
}

fn quotable(path: &Path) -> Result<&OsStr, Error> {
    let path = path.as_os_str();
    if path
        .as_bytes()
        .iter()
        .any(|&b| b == b'"' || b.is_ascii_control())
    {
        return Err(Error::CommandLine {
            word: path.to_string_lossy().into_owned(),
            why: "a path has no quotes and no control characters",
        });
    }
    Ok(path)
}

/// The paths of the host that the guest needs.
fn mentioned(boot: &Boot) -> impl Iterator<Item = &PathBuf> {
    [&boot.program, &boot.cwd].into_iter().chain(&boot.out_dirs)
}

/// Finds early what the guest could only fail at.
pub(super) fn check(boot: &Boot) -> Result<(), Error> {
    let program_error = |path: &Path, why: String| Error::Program {
        path: path.to_owned(),
        why,
    };
    for path in mentioned(boot) {
        if !path.is_absolute() {
            return Err(program_error(path, "not an absolute path".into()));
        }
    }
    let program = &boot.program;
    match fs::metadata(program) {
        Err(error) => return Err(program_error(program, error.to_string())),
        Ok(data) if data.is_dir() => return Err(program_error(program, "a directory".into())),
        Ok(data) if data.permissions().mode() & 0o111 == 0 => {
            return Err(program_error(program, "not executable".into()));
        }
        Ok(_) => {}
    }
    for directory in [&boot.cwd].into_iter().chain(&boot.out_dirs) {
        match fs::metadata(directory) {
            Err(error) => return Err(program_error(directory, error.to_string())),
            Ok(data) if !data.is_dir() => {
                return Err(program_error(directory, "not a directory".into()));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Writes the job file, and the link through which PID 1 is started.
fn hand_over(boot: &Boot, run: &Path, ways: Ways) -> Result<(), Error> {
    let init = std::env::current_exe().map_err(Error::host("find our own executable"))?;
    if !init.exists() {
        return Err(Error::Program {
            path: init,
            why: "our own executable, PID 1 of the guest, has been replaced or removed".into(),
        });
    }
    let mut visible = Vec::new();
    for path in mentioned(boot) {
        visible.push(OsText::from(path));
        // Where links lead must be visible, too.
        if let Ok(real) = path.canonicalize() {
            visible.push(real.into());
        }
    }
    let job = Job {
        program: (&boot.program).into(),
        args: boot.args.iter().map(Into::into).collect(),
        env: boot
            .env
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        cwd: (&boot.cwd).into(),
        out_dirs: boot.out_dirs.iter().map(Into::into).collect(),
        visible,
        sysctls: boot
            .kernel_args
            .iter()
            .filter_map(|word| word.strip_prefix("sysctl."))
            .map(str::to_owned)
            .collect(),
        ways,
    };
    let write = || -> io::Result<()> {
        fs::write(run.join("job.json"), serde_json::to_vec(&job)?)?;
        std::os::unix::fs::symlink(init, run.join("init"))
    };
    write().map_err(Error::host("write the job file"))
}

/// A pipe's read end, as the monitor wants it.
pub(super) fn pending_bytes(pipe: &PipeReader) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    let done = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &mut count) };
    if done < 0 { 0 } else { count.max(0) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_before_the_boot() {
        let boot = |program: &str, cwd: &str| Boot {
            cwd: cwd.into(),
            ..Boot::new("/linux", program)
        };
        for (program, cwd) in [
            ("bin/true", "/"),
            ("/nonexistent", "/"),
            ("/etc/passwd", "/"),
            ("/etc", "/"),
            ("/bin/true", "here"),
            ("/bin/true", "/nonexistent"),
            ("/bin/true", "/etc/passwd"),
        ] {
            let error = check(&boot(program, cwd)).unwrap_err();
            assert!(
                matches!(error, Error::Program { .. }),
                "{program} {cwd}: {error}"
            );
        }
        check(&boot("/bin/true", "/")).unwrap();
    }
}
