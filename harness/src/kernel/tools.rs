//! The programs that building a kernel needs.
//!
//! The list was checked by building in a bare Debian 12 (`debootstrap
//! --variant=minbase`) with exactly these packages. perl-base, gzip, awk, tar and
//! dpkg-deb are in every Debian.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::command::{Event, Log, clean, shown};
use super::lock::Lock;
use super::machine::Arch;
use super::{Cache, Error, Progress};

/// Something that a build runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The program or, for `libc6-dev`, what it is.
    pub name: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    probe: Probe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// There is a program of the name in `PATH`.
    Program,
    /// gcc finds the file: headers and start files of the C library are there.
    CompilerFile(&'static str),
}

const fn program(name: &'static str, package: &'static str) -> Tool {
    Tool {
        name,
        package,
        probe: Probe::Program,
    }
}

/// Every tool.
pub const TOOLS: &[Tool] = &[
    program("bc", "bc"),
    program("bison", "bison"),
    program("flex", "flex"),
    program("gcc", "gcc"),
    program("ld", "binutils"),
    Tool {
        name: "the C library's development files",
        package: "libc6-dev",
        probe: Probe::CompilerFile("crt1.o"),
    },
    program("make", "make"),
    program("patch", "patch"),
    program("perl", "perl-base"),
    program("tar", "tar"),
    program("xz", "xz-utils"),
];

/// What building a fuzz target needs besides: libFuzzer is C++.
const CXX: &[Tool] = &[program("c++", "g++")];

/// What building a PC's kernel needs besides: its build checks its own objects.
const PC: &[Tool] = &[Tool {
    name: "libelf's development files",
    package: "libelf-dev",
    probe: Probe::CompilerFile("libelf.so"),
}];

/// What runs a PC.
pub const QEMU: &[Tool] = &[program("qemu-system-x86_64", "qemu-system-x86")];

/// The tools that are not there.
#[must_use]
pub fn missing() -> Vec<Tool> {
    missing_in(std::env::var_os("PATH").as_deref())
}

fn missing_in(path: Option<&OsStr>) -> Vec<Tool> {
    missing_of(TOOLS, path)
}

fn missing_of(tools: &[Tool], path: Option<&OsStr>) -> Vec<Tool> {
    let there = |tool: &&Tool| match tool.probe {
        Probe::Program => find_in(path, tool.name).is_some(),
        Probe::CompilerFile(file) => {
            find_in(path, "gcc").is_some_and(|gcc| compiler_has(Command::new(gcc), path, file))
        }
    };
    tools.iter().filter(|tool| !there(tool)).copied().collect()
}

/// `gcc -print-file-name=X` prints a path when it knows the file, and `X` when not.
fn compiler_has(mut gcc: Command, path: Option<&OsStr>, file: &str) -> bool {
    gcc.arg(format!("-print-file-name={file}"))
        .env("PATH", path.unwrap_or_default())
        .stdin(Stdio::null());
    gcc.output()
        .is_ok_and(|output| output.stdout.contains(&b'/'))
}

/// Where a program is, as a shell would look for it.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    find_in(std::env::var_os("PATH").as_deref(), program)
}

fn find_in(path: Option<&OsStr>, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path?)
        .filter(|folder| !folder.as_os_str().is_empty())
        .map(|folder| folder.join(program))
        .find(|file| {
            file.is_file() && nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok()
        })
}

/// The first line of `gcc --version`; it is part of every kernel's key. `None`
/// where there is no gcc.
#[must_use]
pub fn compiler() -> Option<String> {
    let output = clean("gcc").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned)
}

/// The one command that installs `missing`. On a system without apt it is a
/// sentence, since the packages are called otherwise there.
#[must_use]
pub fn install_command(missing: &[Tool]) -> String {
    let names = |f: fn(&Tool) -> &'static str| {
        let mut names: Vec<_> = missing.iter().map(f).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    if find("apt-get").is_none() {
        let names = names(|tool| tool.name).join(", ");
        return format!("install {names} with this system's package manager");
    }
    let packages = names(|tool| tool.package).join(" ");
    if nix::unistd::geteuid().is_root() {
        format!("apt-get update && apt-get install -y --no-install-recommends {packages}")
    } else {
        format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}")
    }
}

/// The error that says so.
fn lacking(missing: &[Tool]) -> Error {
    let names: Vec<_> = missing.iter().map(|tool| tool.name).collect();
    let what = match missing[0] {
        it if CXX.contains(&it) => "building a fuzz target",
        it if QEMU.contains(&it) => "the engine qemu",
        _ => "building a kernel",
    };
    Error::missing(
        format!("{what} needs {}, not found here", names.join(", ")),
        install_command(missing),
    )
}

/// Whether what is missing is installed by us, instead of being asked for.
#[must_use]
pub fn can_install() -> bool {
    nix::unistd::geteuid().is_root() && find("apt-get").is_some() && find("dpkg").is_some()
}

/// Makes sure that every tool is there. As root on Debian it installs the missing
/// ones with apt-get(8), and says so.
///
/// # Errors
/// [`Error::Missing`] with the command to run, or with what apt-get said.
pub(super) fn ensure(arch: Arch, progress: &dyn Progress) -> Result<(), Error> {
    match arch {
        Arch::Um => ensure_all(TOOLS, progress),
        Arch::X86_64 => ensure_all(&[TOOLS, PC].concat(), progress),
    }
}

/// The same for QEMU, which only its engine needs.
///
/// # Errors
/// As when a build tool is missing: with the command to run, or with what apt-get said.
pub fn ensure_qemu(progress: &dyn Progress) -> Result<(), Error> {
    ensure_all(QEMU, progress)
}

/// The same for the C++ compiler, which only a fuzz target needs.
///
/// # Errors
/// As [`ensure_qemu`].
pub fn ensure_cxx(progress: &dyn Progress) -> Result<(), Error> {
    ensure_all(CXX, progress)
}

fn ensure_all(tools: &[Tool], progress: &dyn Progress) -> Result<(), Error> {
    let missing = missing_of(tools, std::env::var_os("PATH").as_deref());
    if missing.is_empty() {
        return Ok(());
    }
    if !can_install() {
        return Err(lacking(&missing));
    }
    let cache = Cache::from_env()?;
    let lock = Lock::acquire(&cache.lock_path("tools"), "the build tools", progress)?;
    let mut log = Log::create(cache.log_path("tools"))?;
    install(tools, &mut log, &lock, progress)
}

fn install(
    tools: &[Tool],
    log: &mut Log,
    lock: &Lock,
    progress: &dyn Progress,
) -> Result<(), Error> {
    // Whoever had the lock may have installed them.
    let missing = missing_of(tools, std::env::var_os("PATH").as_deref());
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    progress.step(&format!("installing {} with apt-get", packages.join(", ")));
    let mut run = |words: &[&str]| -> Result<bool, Error> {
        let mut command = clean(words[0]);
        command
            .args(&words[1..])
            .env("DEBIAN_FRONTEND", "noninteractive");
        let status = log.run(command, lock, &mut |event| {
            if event == Event::Idle {
                progress.tick(0, None, "");
            }
        })?;
        Ok(status.success())
    };
    let mut install = vec![
        "apt-get",
        "install",
        "-y",
        "--no-install-recommends",
        // Another apt-get may be at work.
        "-oDPkg::Lock::Timeout=300",
    ];
    install.extend(&packages);
    // The lists of a fresh machine are empty or old, and an apt-get that was
    // killed leaves packages unpacked: both cures cost seconds, so they are
    // applied where the first attempt fails.
    if !run(&install)? {
        run(&["dpkg", "--configure", "-a"])?;
        run(&["apt-get", "update"])?;
        if !run(&install)? {
            let what = shown(clean("apt-get").args(&install[1..]));
            let Error::Failed { tail, log, .. } = log.failure(&what) else {
                return Err(Error::full(what));
            };
            let log = log.unwrap_or_default();
            return Err(Error::missing(
                format!(
                    "installing the build tools failed (log: {})\n  {}",
                    log.display(),
                    tail.join("\n  ")
                ),
                install_command(&missing),
            ));
        }
    }
    match missing_of(
        tools,
        std::env::var_os("PATH")
            .or_else(|| Some(OsString::from("/usr/bin")))
            .as_deref(),
    ) {
        still if still.is_empty() => Ok(()),
        still => Err(lacking(&still)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ErrorKind;

    #[test]
    fn an_empty_path_lacks_everything_and_the_message_names_it() {
        for path in [None, Some(OsStr::new("")), Some(OsStr::new("/nowhere"))] {
            assert_eq!(missing_in(path), TOOLS);
        }
        let error = lacking(&missing_in(None));
        assert_eq!(error.kind(), ErrorKind::Missing);
        let text = error.to_string();
        for tool in TOOLS {
            assert!(text.contains(tool.name), "{text}");
        }
        let error = lacking(&missing_of(CXX, None)).to_string();
        assert!(error.contains("fuzz target needs c++"), "{error}");
        let error = lacking(&missing_in(None));
        let remedy = error.remedy().unwrap();
        if find("apt-get").is_some() {
            assert!(
                remedy.contains("apt-get install -y --no-install-recommends bc binutils bison"),
                "{remedy}"
            );
        } else {
            assert!(remedy.contains("package manager"), "{remedy}");
        }
    }

    /// Who is no root is told there, before this program can be linked, what to
    /// install for all of it.
    #[test]
    fn the_linker_asks_for_every_package() {
        let linker = include_str!("../../../.cargo/linker");
        let wanted = linker.lines().find(|line| line.starts_with("wanted="));
        let needed = linker.lines().find(|line| line.starts_with("needed="));
        let words = format!("{} {}", needed.unwrap(), wanted.unwrap());
        let words: Vec<_> = words.split(['"', ' ']).collect();
        for tool in TOOLS {
            assert!(words.contains(&tool.package), "{} in {words:?}", tool.name);
        }
    }

    #[test]
    fn a_program_has_to_be_executable() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bc");
        std::fs::write(&file, "").unwrap();
        let path = folder.path().as_os_str();
        assert!(missing_in(Some(path)).iter().any(|tool| tool.name == "bc"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(missing_in(Some(path)).iter().all(|tool| tool.name != "bc"));
    }

    #[test]
    fn a_compiler_without_c_library_is_noticed() {
        let answer = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            compiler_has(command, None, "crt1.o")
        };
        assert!(answer("echo /usr/lib/crt1.o"));
        assert!(!answer("echo crt1.o"));
        assert!(!answer("exit 1"));
    }
}
