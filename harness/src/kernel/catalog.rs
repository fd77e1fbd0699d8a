//! The versions that we know where to get.

use super::Flavour;

/// A version of Linux and where its source comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// What it is called on the command line, and its folder in `kernel-patch/`.
    pub version: &'static str,
    /// The Debian package that holds the source, as
    /// `usr/src/PACKAGE.tar.xz` with everything in the folder `PACKAGE`.
    pub package: &'static str,
}

/// Every version that can be named.
pub const VERSIONS: &[Version] = &[Version {
    version: "6.12",
    package: "linux-source-6.12",
}];

/// Every flavour of a version.
pub const FLAVOURS: &[Flavour] = &[Flavour::Stock, Flavour::Patched];

/// Looks a version up.
#[must_use]
pub fn version(version: &str) -> Option<&'static Version> {
    VERSIONS.iter().find(|entry| entry.version == version)
}
