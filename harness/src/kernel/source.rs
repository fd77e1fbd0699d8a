//! The source of a version of the catalog: from Debian's package, by apt, without
//! installing anything.
//!
//! apt-get(8) gets its own state and cache below ours and its own configuration
//! on top of the system's: it needs no root, and leaves the system's lists and
//! packages alone. It checks the package against the archive's signature.
//!
//! A version of a suite that the machine does not use comes from the mirror that
//! it uses. Such a suite replaces its packages as time goes on: when the package
//! is gone, the newest of its kind is taken instead, and said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::archive;
use super::catalog::Version;
use super::command::{Event, Log, clean};
use super::error::Context as _;
use super::lock::Lock;
use super::{Error, Progress, files, tools};

/// What a step of a build has at hand.
pub(super) struct Site<'a> {
    pub lock: &'a Lock,
    pub log: &'a mut Log,
    pub progress: &'a dyn Progress,
}

impl Site<'_> {
    /// Runs a command of which only the end counts; `what` names it where it fails.
    pub(super) fn run(&mut self, command: Command, what: &str) -> Result<(), Error> {
        let progress = self.progress;
        let status = self
            .log
            .run(command, self.lock, &mut |_| progress.tick(0, None, ""))?;
        match status.success() {
            true => Ok(()),
            false => Err(self.log.failure(&format!("{what} failed"))),
        }
    }
}

/// Where source comes from.
pub(super) trait Fetch {
    /// Unpacks the newest source of `version` to `into`, which does not exist yet,
    /// and returns the version of the package. Returns `None` when that is `have`.
    /// `work` is an empty folder on the same file system.
    fn fetch(
        &self,
        version: &Version,
        have: Option<&str>,
        work: &Path,
        into: &Path,
        site: &mut Site<'_>,
    ) -> Result<Option<String>, Error>;
}

/// Debian's archive.
#[derive(Debug, Clone)]
pub(super) struct Apt {
    /// Where the machine names its mirrors.
    etc: PathBuf,
    /// More of apt.conf(5).
    options: &'static str,
}

impl Apt {
    /// The one that this machine uses.
    pub(super) fn of_machine() -> Self {
        Self {
            etc: PathBuf::from("/etc/apt"),
            options: "",
        }
    }
}

impl Fetch for Apt {
    fn fetch(
        &self,
        version: &Version,
        have: Option<&str>,
        work: &Path,
        into: &Path,
        site: &mut Site<'_>,
    ) -> Result<Option<String>, Error> {
        if tools::find("apt-get").is_none() || tools::find("dpkg-deb").is_none() {
            return Err(Error::missing(
                format!(
                    "the source of {} comes from Debian, and there is no apt-get here",
                    version.version
                ),
                "unpack a kernel and name its folder: `tree:PATH`",
            ));
        }
        let apt = PrivateApt::new(self, work, version)?;
        site.progress
            .step("asking apt for the newest source package");
        // One archive of many that does not answer makes this fail; whether it was
        // ours shows in the next step.
        let updated = run(site, apt.get(&["update"]))?;
        let found = match apt.candidate(version.package, site)? {
            Some(candidate) => Some((version.package.to_owned(), candidate)),
            None => apt.substitute(version, site)?,
        };
        let Some((package, candidate)) = found else {
            return Err(if let (true, Some(suite)) = (updated, version.suite) {
                Error::missing(
                    format!("{suite} has no package {} any more", version.package),
                    "unpack a kernel and name its folder: `tree:PATH`",
                )
            } else if updated {
                Error::missing(
                    format!(
                        "the apt sources of this machine have no package {}",
                        version.package
                    ),
                    "add bookworm-security or a newer Debian to the apt sources, or unpack a kernel \
                     and name its folder: `tree:PATH`",
                )
            } else {
                offline(version, site)
            });
        };
        if have == Some(candidate.version.as_str()) {
            return Ok(None);
        }

        site.progress.step(&format!(
            "fetching {package} {} ({})",
            candidate.version,
            super::space::human_bytes(candidate.size_bytes)
        ));
        let downloads = work.join("package");
        files::create_folder(&downloads)?;
        let wanted = format!("{package}={}", candidate.version);
        let mut command = apt.get(&["download", &wanted]);
        command.current_dir(&downloads);
        let total_mb = candidate.size_bytes / 1_000_000;
        let status = site.log.run(command, site.lock, &mut |_| {
            let done_mb = files::disk_bytes(&downloads) / 1_000_000;
            site.progress.tick(done_mb, Some(total_mb), "MB");
        })?;
        let file = only_file(&downloads)?;
        let (true, Some(file)) = (status.success(), file) else {
            return Err(offline(version, site));
        };

        site.progress.step(&format!("unpacking {package}"));
        unpack(&file, &package, work, into, site)?;
        files::remove_tree(&downloads)?;
        Ok(Some(candidate.version))
    }
}

/// Runs a program whose output only goes to the log.
fn run(site: &mut Site<'_>, command: Command) -> Result<bool, Error> {
    let status = site.log.run(command, site.lock, &mut |event| {
        if event == Event::Idle {
            site.progress.tick(0, None, "");
        }
    })?;
    Ok(status.success())
}

/// The source could not be had from the archive.
fn offline(version: &Version, site: &Site<'_>) -> Error {
    match site.log.failure("") {
        Error::Failed { tail, .. } => Error::missing(
            format!(
                "{} could not be fetched:\n  {}",
                version.package,
                tail.iter()
                    .filter(|line| line.starts_with("E:") || line.starts_with("Err:"))
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("\n  ")
            ),
            "check the network and /etc/apt/sources.list, or unpack a kernel and name its folder: \
             `tree:PATH`",
        ),
        other => other,
    }
}

fn only_file(folder: &Path) -> Result<Option<PathBuf>, Error> {
    let mut entries = fs::read_dir(folder).at("read", folder)?.flatten();
    Ok(entries
        .find(|entry| entry.path().extension().is_some_and(|end| end == "deb"))
        .map(|entry| entry.path()))
}

/// `dpkg-deb | tar | tar`: the archive in the package is not stored on the way.
fn unpack(
    package: &Path,
    name: &str,
    work: &Path,
    into: &Path,
    site: &mut Site<'_>,
) -> Result<(), Error> {
    let folder = work.join("source");
    files::create_folder(&folder)?;
    // The paths have no character that means something to a shell: the cache's
    // folder is checked, and the package's name is letters, digits, dots
    // and dashes by Debian's policy.
    let script = format!(
        "dpkg-deb --fsys-tarfile {} | tar -xO ./usr/src/{name}.tar.xz | tar -xJ --no-same-owner -C {}",
        package.display(),
        folder.display()
    );
    let mut command = clean("bash");
    command
        .args(["-o", "pipefail", "-c", &script])
        .stdin(Stdio::null());
    if !run(site, command)? {
        return Err(site
            .log
            .failure(&format!("unpacking {} failed", package.display())));
    }
    fs::rename(folder.join(name), into).at("create", into)
}

/// What apt would install.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    version: String,
    size_bytes: u64,
}

/// apt with a state of its own.
struct PrivateApt {
    configuration: PathBuf,
}

impl PrivateApt {
    fn new(apt: &Apt, work: &Path, version: &Version) -> Result<Self, Error> {
        let folder = work.join("apt");
        for name in ["state/lists/partial", "cache/archives/partial"] {
            files::create_folder(&folder.join(name))?;
        }
        let mut text = configuration_text(&folder) + apt.options;
        if let Some(suite) = version.suite {
            let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
            let codename = archive::codename(&os_release);
            let mirror = archive::main_archive(&apt.etc, codename).ok_or_else(|| {
                Error::missing(
                    format!(
                        "the source of {} is in Debian's suite {suite}, and /etc/apt names no \
                             mirror of Debian's main archive",
                        version.version
                    ),
                    "unpack a kernel and name its folder: `tree:PATH`",
                )
            })?;
            let sources = folder.join("sources");
            files::write(
                &sources.join("suite.sources"),
                mirror.with_suite(suite).as_bytes(),
                0o644,
            )?;
            text += &format!(
                "Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"{}\";\n",
                sources.display()
            );
        }
        let configuration = folder.join("apt.conf");
        files::write(&configuration, text.as_bytes(), 0o644)?;
        Ok(Self { configuration })
    }

    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = clean(program);
        // -c is read last, on top of /etc/apt: mirrors and proxies stay.
        command.arg("-c").arg(&self.configuration).args(words);
        command
    }

    fn get(&self, words: &[&str]) -> Command {
        self.command("apt-get", words)
    }

    fn candidate(&self, package: &str, site: &mut Site<'_>) -> Result<Option<Candidate>, Error> {
        let mut said = Vec::new();
        let command = self.command("apt-cache", &["show", "--no-all-versions", package]);
        site.log.run(command, site.lock, &mut |event| {
            if let Event::Line(line) = event {
                said.push(line.to_owned());
            }
        })?;
        Ok(candidate(&said))
    }

    /// For a version of a suite whose package is gone: the newest there is.
    fn substitute(
        &self,
        version: &Version,
        site: &mut Site<'_>,
    ) -> Result<Option<(String, Candidate)>, Error> {
        let Some(suite) = version.suite else {
            return Ok(None);
        };
        let mut said = Vec::new();
        let command = self.command("apt-cache", &["pkgnames", PACKAGES]);
        site.log.run(command, site.lock, &mut |event| {
            if let Event::Line(line) = event {
                said.push(line.to_owned());
            }
        })?;
        let Some(package) = newest(&said) else {
            return Ok(None);
        };
        let Some(candidate) = self.candidate(package, site)? else {
            return Ok(None);
        };
        site.progress.note(&format!(
            "{suite} has no {} any more: trying its {package}",
            version.package
        ));
        Ok(Some((package.to_owned(), candidate)))
    }
}

/// What all packages with sources begin with.
const PACKAGES: &str = "linux-source-";

/// The source package with the highest version; there are others of such a name.
fn newest(packages: &[String]) -> Option<&str> {
    let version = |package: &str| -> Option<Vec<u32>> {
        let numbers = package.strip_prefix(PACKAGES)?.split('.');
        numbers.map(|number| number.parse().ok()).collect()
    };
    packages
        .iter()
        .filter_map(|package| Some((version(package.trim())?, package.trim())))
        .max()
        .map(|(_, package)| package)
}

fn configuration_text(folder: &Path) -> String {
    let folder = folder.display();
    let mut text = format!(
        "Dir::State \"{folder}/state\";\n\
         Dir::State::status \"/var/lib/dpkg/status\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"2\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb::CNF::DefaultEnabled \"false\";\n"
    );
    // Programs that the system runs after its own updates.
    for hook in [
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
    ] {
        text += &format!("#clear {hook};\n");
    }
    if nix::unistd::geteuid().is_root() {
        // apt would download as user `_apt`, who cannot write below our home.
        text += "APT::Sandbox::User \"root\";\n";
    }
    text
}

/// Reads `apt-cache show`.
fn candidate(said: &[String]) -> Option<Candidate> {
    let field = |name: &str| said.iter().find_map(|line| line.strip_prefix(name));
    Some(Candidate {
        version: field("Version: ")?.trim().to_owned(),
        size_bytes: field("Size: ")?.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests;
