//! Configuring and compiling.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::command::{Event, clean};
use super::error::Context as _;
use super::machine::Arch;
use super::source::Site;
use super::{Error, config, files, recover};

/// Lines that make prints for the slim configuration of 6.12, built from nothing.
fn objects_of(arch: Arch) -> u64 {
    match arch {
        Arch::Um => 1322,
        Arch::X86_64 => 1808,
    }
}

/// What a build was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Built {
    /// `uname -r`
    pub release: String,
    /// Lines that make printed, when it began with nothing.
    pub objects: Option<u64>,
}

/// A tree to build.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job<'a> {
    /// The kernel's name, for people.
    pub name: &'a str,
    /// What for.
    pub arch: Arch,
    /// The tree.
    pub source: &'a Path,
    /// The configuration to put on top of `allnoconfig`.
    pub fragment: &'a [u8],
    /// How many compilers at once.
    pub jobs: usize,
    /// What an earlier build from nothing printed.
    pub objects: Option<u64>,
}

/// Makes the kernel in the tree. What a killed build left is continued.
///
/// # Errors
/// Kconfig drops a line that nothing works without, or make fails: with the end
/// of its output. A full disk is told apart.
pub(super) fn build(job: Job<'_>, site: &mut Site<'_>) -> Result<Built, Error> {
    let Job { name, source, .. } = job;
    let removed = recover::begin(source)?;
    if removed > 0 {
        let note =
            format!("an earlier build of {name} was interrupted: {removed} files are made again");
        site.log.line(&note);
    }
    let fresh = !source.join("vmlinux.a").exists() && !source.join(".config").exists();
    configure(job, site)?;

    site.progress.step(&format!("compiling {name}"));
    let total = fresh.then_some(job.objects.unwrap_or(objects_of(job.arch)));
    let mut objects = 0;
    let progress = site.progress;
    let mut command = make(source, job.arch);
    let target = job.arch.target();
    command.arg(format!("-j{}", job.jobs)).arg(target);
    let status = site.log.run(command, site.lock, &mut |event| {
        if let Event::Line(line) = event
            && is_object(line)
        {
            objects += 1;
        }
        progress.tick(objects, total, "objects");
    })?;
    if !status.success() {
        return Err(site.log.failure(&format!("compiling {name} failed")));
    }
    recover::end(source)?;

    let release = source.join("include/config/kernel.release");
    let release = files::read(&release)?.unwrap_or_default();
    let release = String::from_utf8_lossy(&release).trim().to_owned();
    if release.is_empty() || fs::metadata(source.join(target)).is_ok_and(|image| image.len() == 0) {
        return Err(site.log.failure(&format!("make left no kernel of {name}")));
    }
    Ok(Built {
        release,
        objects: fresh.then_some(objects),
    })
}

fn configure(job: Job<'_>, site: &mut Site<'_>) -> Result<(), Error> {
    let Job { name, source, .. } = job;
    site.progress.step(&format!("configuring {name}"));
    let fragment = source.with_file_name("fragment.config");
    files::write(&fragment, job.fragment, 0o644)?;
    let mut command = make(source, job.arch);
    command
        .env("KCONFIG_ALLCONFIG", &fragment)
        .arg("allnoconfig");
    site.run(command, &format!("configuring {name}"))?;
    let path = source.join(".config");
    let config = fs::read_to_string(&path).at("read", &path)?;
    let dropped = config::dropped(&String::from_utf8_lossy(job.fragment), &config);
    if !dropped.required.is_empty() {
        return Err(Error::Input(format!(
            "{name} cannot run the suite: its Kconfig does not take {}",
            dropped.required.join(", ")
        )));
    }
    if !dropped.optional.is_empty() {
        let note = format!(
            "note: the Kconfig of {name} does not take {}; scenarios that need it will not run",
            dropped.optional.join(", ")
        );
        site.log.line(&note);
        site.progress.note(&note);
    }
    Ok(())
}

/// `make ARCH=...` in `source`. The image is a function of the key's ingredients
/// only: neither the time nor who builds where gets in.
fn make(source: &Path, arch: Arch) -> Command {
    let mut command = clean("make");
    command
        .arg("-C")
        .arg(source)
        .arg(format!("ARCH={}", arch.word()))
        .env("KBUILD_BUILD_USER", "inflight")
        .env("KBUILD_BUILD_HOST", "inflight")
        .env("KBUILD_BUILD_VERSION", "1")
        .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970")
        // Set and empty: scripts/setlocalversion adds no `+`.
        .env("LOCALVERSION", "");
    command
}

/// `  CC      fs/splice.o` and its like.
fn is_object(line: &str) -> bool {
    line.strip_prefix("  ")
        .is_some_and(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_counted_and_prose_is_not() {
        for line in [
            "  CC      fs/splice.o",
            "  AR      built-in.a",
            "  HOSTCC  scripts/x",
        ] {
            assert!(is_object(line), "{line}");
        }
        for line in [
            "make: Entering directory",
            "   ^~~~",
            "fs/splice.c: In function",
            "  int x;",
            "",
        ] {
            assert!(!is_object(line), "{line}");
        }
    }
}
