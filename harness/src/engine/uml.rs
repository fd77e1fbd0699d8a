//! Boots User Mode Linux: a kernel that is one program of the host, with virtual
//! time (`time-travel=inf-cpu`: work takes no time, waiting costs nothing).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;

use super::monitor::{self, Guest, Streams};
use super::run_dir::{self, RunDir};
use super::{Boot, Error, cpu};
use crate::guest::job::{self, Job, OsText};
use crate::process;

/// COMMAND_LINE_SIZE of arch/um/include/uapi/asm/setup.h, with room for what the
/// kernel adds.
const COMMAND_LINE_MAX: usize = 4096 - 256;

/// Boots the kernel and starts the program in it. The guest runs until its
/// program ends, a limit is exceeded, or the [`Guest`] is dropped.
///
/// PID 1 of the guest is the calling binary (see [`crate::guest::init`]), which
/// therefore must still be at its place.
///
/// # Errors
/// What is wrong with `boot`, or what the host lacks. Whatever goes wrong after
/// the kernel has started is reported by [`Guest::wait`].
pub fn spawn(boot: Boot) -> Result<Guest, Error> {
    crate::guest::init::ensure_linked();
    check(&boot)?;
    let cache = match &boot.cache {
        Some(cache) => cache.clone(),
        None => run_dir::cache_root().ok_or_else(|| Error::Host {
            what: "find a cache directory: set INFLIGHT_CACHE or HOME".into(),
            source: io::ErrorKind::NotFound.into(),
        })?,
    };
    let cpu = cpu::pick(&cache).map_err(Error::host("lock a CPU in the cache directory"))?;
    let run = RunDir::create(&cache).map_err(Error::host(format!(
        "make a run directory in {}",
        cache.display()
    )))?;
    hand_over(&boot, run.path())?;

    let pipe = || io::pipe().map_err(Error::host("make a pipe"));
    let (log, log_end) = pipe()?;
    let (stdout, stdout_end) = pipe()?;
    let (stderr, stderr_end) = pipe()?;
    let (control, control_end) = pipe()?;
    let ttys = [&stdout_end, &stderr_end, &control_end];
    let arguments = command_line(&boot, run.path(), ttys.map(PipeWriter::as_raw_fd))?;

    let mut command = Command::new(&boot.image);
    command
        .args(arguments)
        // What UML puts into its `uml_dir`, the current directory, goes with the run.
        .current_dir(run.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", run.path())
        .env("TMPDIR", memory_directory(boot.memory_mib, run.path()))
        .stdin(Stdio::null())
        .stdout(to_stdio(&log_end)?)
        .stderr(log_end);
    confine(&mut command, cpu.cpu(), ttys.map(PipeWriter::as_raw_fd));
    let kernel =
        process::spawn_removing(&mut command, run.path()).map_err(|source| Error::Image {
            path: boot.image.clone(),
            source,
        })?;
    // The guest now holds the only write ends, so its end is an end of file.
    drop((command, stdout_end, stderr_end, control_end));
    let streams = Streams {
        log,
        stdout,
        stderr,
        control,
    };
    monitor::start(&boot, kernel, streams, (cpu, run))
}

fn to_stdio(end: &PipeWriter) -> Result<Stdio, Error> {
    let copy = end.try_clone().map_err(Error::host("copy a descriptor"))?;
    Ok(copy.into())
}

/// The paths of the host that the guest needs.
fn mentioned(boot: &Boot) -> impl Iterator<Item = &PathBuf> {
    [&boot.program, &boot.cwd].into_iter().chain(&boot.out_dirs)
}

/// Finds early what the guest could only fail at.
fn check(boot: &Boot) -> Result<(), Error> {
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
fn hand_over(boot: &Boot, run: &Path) -> Result<(), Error> {
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
    };
    let write = || -> io::Result<()> {
        fs::write(run.join("job.json"), serde_json::to_vec(&job)?)?;
        std::os::unix::fs::symlink(init, run.join("init"))
    };
    write().map_err(Error::host("write the job file"))
}

/// The words of the kernel command line. The kernel joins them with blanks, and
/// `parse_args` (kernel/params.c) splits at blanks outside of double quotes.
fn command_line(boot: &Boot, run: &Path, ttys: [RawFd; 3]) -> Result<Vec<OsString>, Error> {
    let run = quotable(run)?;
    let [stdout, stderr, control] = ttys;
    let mut words: Vec<OsString> = [
        format!("mem={}M", boot.memory_mib),
        "root=/dev/root".into(),
        "rootfstype=hostfs".into(),
        "rootflags=/".into(),
        "ro".into(),
        "con=null".into(),
        "con0=null,fd:1".into(),
        format!("con1=null,fd:{stdout}"),
        format!("con2=null,fd:{stderr}"),
        format!("con3=null,fd:{control}"),
        "time-travel=inf-cpu".into(),
        // From kernel-patch/uml/: what differs from boot to boot is not the machine.
        "random.fixed_seed=1".into(),
        // Relative: UML neither quotes it nor takes more than 512 bytes.
        "uml_dir=./".into(),
        "umid=guest".into(),
    ]
    .map(OsString::from)
    .into();
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
    if length > COMMAND_LINE_MAX {
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

/// Where UML puts the (unlinked) file that is the guest's memory: on a tmpfs, or
/// the host would write it to disk; with space for all of it, since a full file
/// system is a bus error in the guest; and where code may be mapped. That is
/// /dev/shm, or `otherwise` where it is not fit.
pub fn memory_directory(memory_mib: u32, otherwise: &Path) -> PathBuf {
    let shm = Path::new("/dev/shm");
    let wanted = (u64::from(memory_mib) + 64) << 20;
    let fits = statvfs(shm).is_ok_and(|fs| {
        let free = fs.blocks_available().saturating_mul(fs.fragment_size());
        let refused = FsFlags::ST_NOEXEC | FsFlags::ST_RDONLY;
        free >= wanted && !fs.flags().intersects(refused)
    });
    let fits = fits && nix::unistd::access(shm, nix::unistd::AccessFlags::W_OK).is_ok();
    if fits { shm } else { otherwise }.to_owned()
}

/// Pins the kernel to one CPU, lets it inherit the ttys' pipes, allows it as many
/// files as the host does (hostfs opens one for each file in use), and forbids core
/// files: a kernel that panics aborts.
fn confine(command: &mut Command, cpu: usize, ttys: [RawFd; 3]) {
    let mut cpus = CpuSet::new();
    // A CPU that does not fit the set does not come out of `cpu::pick`.
    let _ = cpus.set(cpu);
    // SAFETY: between fork and exec; system calls only, on memory copied in.
    unsafe {
        command.pre_exec(move || {
            // A CPU can be taken away between the choice and now; better slow
            // than not at all.
            let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
            setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
            let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
            setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
            for tty in ttys {
                if libc::fcntl(tty, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
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

    fn line(boot: &Boot, run: &str) -> Result<String, Error> {
        let words = command_line(boot, Path::new(run), [13, 14, 15])?;
        Ok(words.join(OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn paths_with_blanks_are_quoted_and_with_quotes_refused() {
        let boot = Boot::new("/linux", "/bin/true");
        let text = line(&boot, "/a b/run").unwrap();
        assert!(text.ends_with(r#"init="/a b/run/init" INFLIGHT_JOB="/a b/run/job.json""#));
        assert!(text.contains("con3=null,fd:15 "));
        for run in ["/a\"b", "/a\nb"] {
            assert!(
                matches!(line(&boot, run), Err(Error::CommandLine { .. })),
                "{run}"
            );
        }
        let long = format!("/{}", "a".repeat(4000));
        assert!(matches!(line(&boot, &long), Err(Error::CommandLine { .. })));
    }

    #[test]
    fn kernel_args_are_single_words() {
        let mut boot = Boot::new("/linux", "/bin/true");
        boot.kernel_args = vec!["seccomp=on".into()];
        assert!(line(&boot, "/run").unwrap().contains(" seccomp=on "));
        for word in ["", "a b", "a=\"b\""] {
            boot.kernel_args = vec![word.into()];
            assert!(
                matches!(line(&boot, "/run"), Err(Error::CommandLine { .. })),
                "{word}"
            );
        }
    }

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
