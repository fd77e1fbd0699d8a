//! Addresses of blocks that ran, as a file.
//!
//! ```text
//! # inflight: blocks that ran, by address
//! kernel 6.12-patched-kcov
//! text 0123456789abcdef
//! 603e4132
//! ```
//!
//! An address says nothing without the image that it is of. Two images of one name differ
//! in their addresses as soon as a patch is changed: `text` is [`super::Image::identity`].

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

const TITLE: &str = "# inflight: blocks that ran, by address";

/// Blocks of a kernel that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pcs {
    /// The kernel's name.
    pub kernel: String,
    /// Which image it is.
    pub identity: String,
    /// Their addresses.
    pub addresses: BTreeSet<u64>,
}

/// Why a file gives none.
#[derive(Debug, thiserror::Error)]
pub enum PcsError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{}:{line}: not a file of blocks that ran: {found:?}", path.display())]
    Strange {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// It is another kernel's.
    #[error(
        "{} is of {} (text {}), and this is {kernel} (text {identity}): the addresses of one \
         mean nothing in the other", path.display(), theirs.kernel, theirs.identity
    )]
    Another {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        theirs: Box<Pcs>,
        /// This kernel.
        kernel: String,
        /// Its image.
        identity: String,
    },
}

impl Pcs {
    /// None yet.
    pub fn new(kernel: impl fmt::Display, identity: &str) -> Pcs {
        Pcs {
            kernel: kernel.to_string(),
            identity: identity.to_owned(),
            addresses: BTreeSet::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It is none.
    pub fn read(path: &Path) -> Result<Pcs, PcsError> {
        let text = std::fs::read(path).map_err(|source| PcsError::Io {
            path: path.to_owned(),
            source,
        })?;
        Pcs::parse(path, &String::from_utf8_lossy(&text))
    }

    fn parse(path: &Path, text: &str) -> Result<Pcs, PcsError> {
        let strange = |line: usize, found: &str| PcsError::Strange {
            path: path.to_owned(),
            line,
            found: found.chars().take(60).collect(),
        };
        let mut lines = text.lines().zip(1..);
        let mut head = |word: &str| {
            let (line, number) = lines.next().unwrap_or(("", 1));
            let rest = line
                .strip_prefix(word)
                .ok_or_else(|| strange(number, line))?;
            Ok::<String, PcsError>(rest.trim().to_owned())
        };
        head(TITLE)?;
        let mut pcs = Pcs {
            kernel: head("kernel ")?,
            identity: head("text ")?,
            addresses: BTreeSet::new(),
        };
        for (line, number) in lines {
            let address = u64::from_str_radix(line, 16).map_err(|_| strange(number, line))?;
            pcs.addresses.insert(address);
        }
        Ok(pcs)
    }

    /// Whether they are of the same image.
    pub fn fits(&self, other: &Pcs) -> bool {
        self.identity == other.identity
    }

    /// Adds those of a file, which was read from `path`.
    ///
    /// # Errors
    /// They are of another image.
    pub fn merge(&mut self, other: Pcs, path: &Path) -> Result<(), PcsError> {
        if !self.fits(&other) {
            return Err(PcsError::Another {
                path: path.to_owned(),
                theirs: Box::new(other),
                kernel: self.kernel.clone(),
                identity: self.identity.clone(),
            });
        }
        self.addresses.extend(other.addresses);
        Ok(())
    }
}

impl fmt::Display for Pcs {
    /// The text of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TITLE}\nkernel {}\ntext {}", self.kernel, self.identity)?;
        self.addresses
            .iter()
            .try_for_each(|it| writeln!(f, "{it:x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pcs(identity: &str, addresses: &[u64]) -> Pcs {
        Pcs {
            addresses: addresses.iter().copied().collect(),
            ..Pcs::new("6.12-patched-kcov", identity)
        }
    }

    #[test]
    fn a_file_is_read_back_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.pcs");
        let written = pcs("0123", &[0x6000_0001, 0x603e_4132]);
        std::fs::write(&path, written.to_string()).unwrap();
        assert_eq!(Pcs::read(&path).unwrap(), written);
    }

    #[test]
    fn merging_is_a_union() {
        let path = Path::new("a.pcs");
        let mut all = pcs("0123", &[1, 2]);
        all.merge(pcs("0123", &[2, 3]), path).unwrap();
        assert_eq!(all, pcs("0123", &[1, 2, 3]));
        let once = all.clone();
        all.merge(once.clone(), path).unwrap();
        assert_eq!(all, once);
    }

    #[test]
    fn another_kernel_is_refused_and_changes_nothing() {
        let mut all = pcs("0123", &[1]);
        let error = all.merge(pcs("4567", &[2]), Path::new("a.pcs"));
        assert_eq!(
            error.unwrap_err().to_string(),
            "a.pcs is of 6.12-patched-kcov (text 4567), and this is 6.12-patched-kcov (text \
             0123): the addresses of one mean nothing in the other"
        );
        assert_eq!(all, pcs("0123", &[1]));
    }

    #[test]
    fn other_files_are_refused_where_they_differ() {
        let good = pcs("0123", &[1]).to_string();
        for (text, line) in [
            (String::new(), 1),
            ("sendfile 0+1\n".to_owned(), 1),
            (good.replace("text", "txt"), 3),
            (format!("{good}x\n"), 5),
            (format!("{good}\n"), 5),
        ] {
            let error = Pcs::parse(Path::new("a"), &text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("a:{line}: ")), "{error}");
        }
    }
}
