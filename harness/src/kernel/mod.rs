//! Where a kernel comes from: source, patch series, configuration, build cache.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// What a kernel is called: `6.12-stock`, `6.12-patched`, `tree:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KernelName {
    /// A version of the catalog and a flavour.
    Release {
        /// `6.12`
        version: String,
        /// What is done to the source.
        flavour: Flavour,
    },
    /// A source tree of the user's, taken as it is.
    Tree(PathBuf),
}

/// What is done to the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Nothing.
    Stock,
    /// Our series is applied.
    Patched,
}

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Its name.
    pub name: KernelName,
    /// The UML executable.
    pub image: PathBuf,
    /// `uname -r` of the source, e.g. `6.12.117`.
    pub release: String,
    /// Content key: source, patches, configuration, compiler.
    pub key: String,
}

/// A name that is no kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kernel `{name}`: {why}")]
pub struct NameError {
    name: String,
    why: String,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Flavour::Stock => "stock",
            Flavour::Patched => "patched",
        })
    }
}

impl fmt::Display for KernelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelName::Release { version, flavour } => f.pad(&format!("{version}-{flavour}")),
            KernelName::Tree(path) => f.pad(&format!("tree:{}", path.display())),
        }
    }
}

impl FromStr for KernelName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        let _ = name;
        todo!("kernel")
    }
}
