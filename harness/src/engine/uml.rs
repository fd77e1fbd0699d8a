//! Boots User Mode Linux: a kernel that is one program of the host, with virtual
//! time (`time-travel=inf-cpu`: work takes no time, waiting costs nothing).

use std::ffi::OsString;
use std::io::PipeWriter;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::statvfs::{FsFlags, statvfs};

use super::monitor::{self, Guest};
use super::{Boot, Error, cpu, launch};
use crate::guest::job::Ways;
use crate::process;

/// COMMAND_LINE_SIZE of arch/um/include/uapi/asm/setup.h, with room for what the
/// kernel adds.
const COMMAND_LINE_MAX: usize = 4096 - 256;

/// As [`super::spawn`] says.
pub(super) fn spawn(boot: Boot) -> Result<Guest, Error> {
    let cache = launch::cache(&boot)?;
    let cpu = cpu::pick().map_err(Error::host("take a CPU"))?;
    let run = launch::run_dir(&boot, &cache, Ways::uml())?;
    let (streams, ends) = launch::pipes()?;
    let ttys = [&ends.stdout, &ends.stderr, &ends.control];
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
        .stdout(launch::to_stdio(&ends.log)?)
        .stderr(launch::to_stdio(&ends.log)?);
    confine(&mut command, cpu.cpu(), ttys.map(PipeWriter::as_raw_fd));
    let kernel =
        process::spawn_removing(&mut command, run.path()).map_err(|source| Error::Image {
            path: boot.image.clone(),
            source,
        })?;
    // The guest now holds the only write ends, so its end is an end of file.
    drop((command, ends));
    monitor::start(&boot, kernel, streams, (Some(cpu), run))
}

/// The words of the kernel command line.
fn command_line(boot: &Boot, run: &Path, ttys: [RawFd; 3]) -> Result<Vec<OsString>, Error> {
    let [stdout, stderr, control] = ttys;
    let words = [
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
    ];
    let words = words.map(OsString::from).into();
    launch::command_line(words, boot, run, COMMAND_LINE_MAX)
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

/// Pins the kernel to one CPU. A kernel that panics aborts, and leaves no core file.
fn confine(command: &mut Command, cpu: usize, ttys: [RawFd; 3]) {
    // SAFETY: between fork and exec; system calls only, on memory copied in.
    unsafe {
        command.pre_exec(move || {
            cpu::stay_on(cpu);
            launch::free(&ttys)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

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
}
