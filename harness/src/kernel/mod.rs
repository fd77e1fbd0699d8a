//! Where a kernel comes from: source, patch series, configuration, build cache.
//!
//! | module | what it does |
//! | --- | --- |
//! | `name` | what kernels are called |
//! | [`catalog`] | the versions that we know where to get |
//! | `mutant` | bugs that are put in on purpose |
//! | `series` | what `kernel-patch/` contains: configuration fragment and patches |
//! | `recipe` | the key: what makes one kernel differ from another |
//! | [`cache`] | the folder with everything that was fetched and built |
//! | `parcel` | a kernel as one file, to be carried to where nothing is built |
//! | `lock` | one builder at a time |
//! | `archive` | the mirror that the machine's apt configuration names |
//! | `source` | fetches a version's source by apt |
//! | `tree` | mirrors a source tree of the user's |
//! | `flavour` | stock and patched source in one place; `-debug` and `-kcov` have one each |
//! | `make` | configures and compiles |
//! | `config` | did Kconfig take our configuration? |
//! | `recover` | makes an interrupted build safe to continue |
//! | [`tools`] | the programs that building needs |
//! | [`space`] | is there room? |
//! | [`progress`] | telling a person what takes so long |
//! | `workshop` | all of it in order |
//!
//! Everything that is left behind by a kill is either whole or made again; no
//! step of a later run trusts what an interrupted one was writing.

mod archive;
pub mod cache;
pub mod catalog;
mod command;
mod config;
mod error;
mod files;
mod flavour;
mod lock;
pub mod machine;
mod make;
mod mutant;
mod name;
mod parcel;
pub mod progress;
mod recipe;
mod recover;
mod series;
mod source;
pub mod space;
pub mod tools;
mod tree;
mod workshop;

use std::path::{Path, PathBuf};

use cache::Cache;
pub use cache::{Entry, EntryKind};
pub use error::{Error, ErrorKind};
pub use machine::Machine;
pub use mutant::Mutant;
pub use name::{Extras, Flavour, KernelName, NameError};
pub use parcel::{Imported, SUFFIX as PARCEL_SUFFIX};
pub use progress::Progress;
pub use series::PATCH_VARIABLE;
use workshop::Workshop;

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its name.
    pub name: KernelName,
    /// What it is run on.
    pub machine: Machine,
    /// The UML executable, or the ELF file of a PC's kernel; empty for the host's.
    pub image: PathBuf,
    /// `uname -r` of the source, e.g. `6.12.117`.
    pub release: String,
    /// Content key: source, patches, configuration, compiler.
    pub key: String,
}

impl Kernel {
    /// The kernel that runs already.
    fn of_host() -> Result<Kernel, Error> {
        let release = "/proc/sys/kernel/osrelease";
        let release = std::fs::read_to_string(release).map_err(|error| {
            Error::missing(format!("cannot read {release}: {error}"), "mount /proc")
        })?;
        Ok(Kernel {
            name: KernelName::Host,
            machine: Machine::Host,
            image: PathBuf::new(),
            release: release.trim().to_owned(),
            key: String::new(),
        })
    }

    /// Words for [`crate::engine::Boot::kernel_args`] that suit this kernel.
    ///
    /// From 6.16 User Mode Linux can run its processes under a seccomp filter,
    /// which costs less than ptrace(2). With `auto` it tries, and goes back to
    /// ptrace where the host does not let it; its log says which
    /// (arch/um/os-Linux/start_up.c:init_seccomp). An older kernel would hand the
    /// word to PID 1.
    ///
    /// The mode of the series is set by the kernel itself before the first process
    /// runs, from the word that names the sysctl (fs/proc/proc_sysctl.c); PID 1
    /// makes sure that it was taken.
    #[must_use]
    pub fn boot_args(&self) -> Vec<String> {
        let mut numbers = self
            .release
            .split(|c: char| !c.is_ascii_digit())
            .map(|number| number.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let mut args = Vec::new();
        if self.machine == Machine::Uml && version >= (6, 16) {
            args.push("seccomp=auto".to_owned());
        }
        if let KernelName::Release {
            flavour: Flavour::Detach,
            ..
        } = self.name
        {
            args.push("sysctl.fs.splice_stable=2".to_owned());
        }
        args
    }

    /// Memory in MiB of a guest that would do with `plain_mib` on a kernel that
    /// does not watch itself: freed memory is kept in quarantine, and a note is made
    /// of every allocation.
    #[must_use]
    pub fn memory_mib(&self, plain_mib: u32) -> u32 {
        match self.name.is_debug() {
            true => 2 * plain_mib,
            false => plain_mib,
        }
    }
}

/// What is to be done before kernels can be booted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// Some source has to be fetched.
    pub fetch: bool,
    /// These have to be built.
    pub build: Vec<KernelName>,
    /// Space that has to be free in the cache's folder.
    pub free_bytes: u64,
}

/// What [`clean`] removes. Locks stay, and so does everything outside the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clean {
    /// Every build of one kernel.
    Kernel(KernelName),
    /// Builds for which there is a newer one of the same name.
    Outdated,
    /// Sources with their objects; kernels stay. The next build fetches again.
    Sources,
    /// Kernels, sources and logs.
    All,
}

/// A test of `tools/testing/selftests`: a program of one source file, or a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelftestFile {
    /// Its source below that folder: `net/tls.c`.
    pub source: &'static str,
}

/// What became of a [`SelftestFile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// It can be run.
    At(PathBuf),
    /// The tree has no such test.
    Absent,
    /// It does not compile: the first complaint.
    Failed(String),
}

/// Builds tests of a kernel's own tree, to run on the host's libraries, or finds
/// them built. Both flavours of a version get the same ones: those of the patched
/// source.
///
/// # Errors
/// As [`ensure`]. A test that is not there or does not compile is no error.
pub fn selftests(
    name: &KernelName,
    files: &[SelftestFile],
    progress: &dyn Progress,
) -> Result<Vec<Built>, Error> {
    Workshop::from_env()?.selftests(name, files, progress)
}

/// Files of the source that a kernel was built from, as that kernel's patches leave them;
/// `None` for one that is not there. Waits for nobody who builds from the same source.
///
/// # Errors
/// As [`ensure`]. A source that was removed is no error: none of its files is there.
pub fn source_files(name: &KernelName, files: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
    Workshop::from_env()?.source_files(name, files)
}

/// Builds the kernel, or finds it built. Milliseconds in the latter case (a tree
/// is looked through first: 0.2 s).
///
/// Fetches the source when there is none, and never looks for a newer one: see
/// [`update`]. Another process that builds from the same source is waited for.
///
/// # Errors
/// See [`Error::kind`].
pub fn ensure(
    name: &KernelName,
    machine: Machine,
    progress: &dyn Progress,
) -> Result<Kernel, Error> {
    Workshop::from_env()?.ensure(name, machine, progress)
}

/// The patches of the series that makes a patched kernel, in order: file and subject.
///
/// # Errors
/// There is no series for it.
pub fn patches(name: &KernelName) -> Result<Vec<(String, String)>, Error> {
    Workshop::from_env()?.patches(name)
}

/// The mutants of a version, sorted by name: those of `kernel-patch/mutants`, or those in a
/// folder of the user's. Builds nothing.
///
/// # Errors
/// A file that cannot be read, or whose tags make no sense.
pub fn mutants(version: &str, folder: Option<&std::path::Path>) -> Result<Vec<Mutant>, Error> {
    Workshop::from_env()?.mutants(version, folder)
}

/// As [`ensure`], of a patched kernel with only the first so many patches of its series.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_first(
    name: &KernelName,
    count: usize,
    progress: &dyn Progress,
) -> Result<Kernel, Error> {
    Workshop::from_env()?.ensure_first(name, count, progress)
}

/// The kernel if it is built. Without a compiler or without the source on this
/// machine, the newest that the same patches and configuration made.
///
/// # Errors
/// The name, tree or series makes no sense, or the cache cannot be read.
pub fn find(name: &KernelName, machine: Machine) -> Result<Option<Kernel>, Error> {
    Workshop::from_env()?.find(name, machine)
}

/// The kernel as it is in the cache: the newest that these patches and this configuration
/// made, of whatever source and by whatever compiler. For who must not build.
///
/// # Errors
/// As [`find`].
pub fn shipped(name: &KernelName, machine: Machine) -> Result<Option<Kernel>, Error> {
    Workshop::from_env()?.shipped(name, machine)
}

/// The kernel with this key, if it is in the cache.
///
/// # Errors
/// As [`find`].
pub fn of_key(name: &KernelName, machine: Machine, key: &str) -> Result<Option<Kernel>, Error> {
    Workshop::from_env()?.of_key(name, machine, key)
}

/// The file in `folder` that [`export`] has written of a kernel, and the kernel's key. Of
/// several the first by name.
///
/// # Errors
/// As [`find`]; the folder cannot be read.
pub fn parcel_in(
    folder: &Path,
    name: &KernelName,
    machine: Machine,
) -> Result<Option<(PathBuf, String)>, Error> {
    parcel::find(folder, &parcel_stem(name, machine)?)
}

/// Packs a kernel that is built into a file of its own in `folder`, which is named by the
/// kernel and its key. `None`: it is not built.
///
/// # Errors
/// As [`find`]; the file cannot be written.
pub fn export(
    name: &KernelName,
    machine: Machine,
    folder: &Path,
) -> Result<Option<PathBuf>, Error> {
    Workshop::from_env()?.export(name, machine, folder)
}

/// What the name of the file that [`export`] writes begins with; a dash and the key follow.
/// Kernels that differ only in how they are booted have one file.
///
/// # Errors
/// As [`find`].
pub fn parcel_stem(name: &KernelName, machine: Machine) -> Result<String, Error> {
    Workshop::from_env()?.slug(name, machine)
}

/// Puts a kernel that [`export`] has packed into the cache, where everything finds it by
/// its name, whatever compiler there is here. Two at once do no harm.
///
/// # Errors
/// The file is no such thing, or not whole: [`ErrorKind::BadInput`].
pub fn import(parcel: &Path) -> Result<Imported, Error> {
    Workshop::from_env()?.import(parcel)
}

/// What has to be done before these kernels can be booted; does nothing of it.
///
/// # Errors
/// As [`find`].
pub fn need(names: &[KernelName], machine: Machine) -> Result<Need, Error> {
    Workshop::from_env()?.need(names, machine)
}

/// Fetches the source of a catalog version anew if the archive has a newer one;
/// returns its package version then. Kernels stay.
///
/// # Errors
/// As [`ensure`]; a tree has no newer source: [`ErrorKind::BadInput`].
pub fn update(name: &KernelName, progress: &dyn Progress) -> Result<Option<String>, Error> {
    Workshop::from_env()?.update(name, progress)
}

/// What the cache holds: kernels, the newest first, then sources. Sizes are
/// added up by walking the files: about a second for two sources.
///
/// # Errors
/// There is no place for a cache.
pub fn list() -> Result<Vec<Entry>, Error> {
    Ok(Cache::from_env()?.list())
}

/// Removes things from the cache; returns the bytes that were freed.
///
/// # Errors
/// A source is being worked on, or a file cannot be removed.
pub fn clean(what: &Clean) -> Result<u64, Error> {
    Workshop::from_env()?.clean(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_is_asked_for_by_its_sysctl() {
        let args = |name: &str| {
            let kernel = Kernel {
                name: name.parse().unwrap(),
                machine: Machine::Uml,
                image: "/x/linux".into(),
                release: "6.12.117".to_owned(),
                key: String::new(),
            };
            kernel.boot_args().concat()
        };
        assert_eq!(args("6.12-detach"), "sysctl.fs.splice_stable=2");
        assert_eq!(args("6.12-detach-debug"), "sysctl.fs.splice_stable=2");
        assert_eq!(args("6.12-patched") + &args("6.12-stock-debug"), "");
    }

    #[test]
    fn seccomp_is_asked_for_where_it_exists() {
        let args = |release: &str| {
            let kernel = Kernel {
                name: KernelName::Tree("/x".into()),
                machine: Machine::Uml,
                image: "/x/linux".into(),
                release: release.to_owned(),
                key: String::new(),
            };
            kernel.boot_args().concat()
        };
        for release in ["6.16.0", "6.16-rc1", "7.3.4", "10.0"] {
            assert_eq!(args(release), "seccomp=auto", "{release}");
        }
        for release in ["6.12.117", "6.1.192", "6.15.9", "5.19", "", "next"] {
            assert_eq!(args(release), "", "{release}");
        }
    }
}
