//! The versions that we know where to get.

use super::Flavour;
use super::series::PatchFiles;

/// A version of Linux and where its source comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// What it is called on the command line, and its folder in `kernel-patch/`.
    pub version: &'static str,
    /// The Debian package that holds the source, as
    /// `usr/src/PACKAGE.tar.xz` with everything in the folder `PACKAGE`.
    pub package: &'static str,
    /// The suite of Debian that has the package; `None`: one of those that the
    /// machine is configured for.
    pub suite: Option<&'static str>,
}

/// Every version that can be named; the first is [`DEFAULT`].
pub const VERSIONS: &[Version] = &[
    Version {
        version: DEFAULT,
        package: "linux-source-6.12",
        suite: None,
    },
    Version {
        version: "6.1",
        package: "linux-source-6.1",
        suite: None,
    },
    Version {
        version: "7.3",
        package: "linux-source-7.3",
        suite: Some("trixie-backports"),
    },
];

/// The version that is meant where none is named: who is new here waits for the
/// build of one.
pub const DEFAULT: &str = "6.12";

/// Looks a version up.
#[must_use]
pub fn version(version: &str) -> Option<&'static Version> {
    VERSIONS.iter().find(|entry| entry.version == version)
}

/// All that there are.
pub const FLAVOURS: &[Flavour] = &[Flavour::Stock, Flavour::Patched, Flavour::Detach];

/// What can be made of a version: all of it where there is a series for it.
#[must_use]
pub fn flavours(version: &str) -> &'static [Flavour] {
    // A folder that is wrong is complained about when something is built from it.
    let files = PatchFiles::from_env().unwrap_or(PatchFiles::Embedded);
    match files.has_series(version) {
        true => FLAVOURS,
        false => &FLAVOURS[..1],
    }
}
