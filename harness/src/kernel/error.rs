//! What can go wrong, and whose turn it then is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::NameError;

/// Whose turn it is after an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The user asked for something that cannot be.
    BadInput,
    /// The machine lacks something; [`Error::remedy`] says what to do.
    Missing,
    /// It should have worked.
    Failed,
}

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is no kernel.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The request makes no sense: a tree that is none, a series that is not there.
    #[error("{0}")]
    Input(String),
    /// The machine lacks something.
    #[error("{what}\n  remedy: {remedy}")]
    Missing {
        /// What it lacks.
        what: String,
        /// A command where there is one, otherwise a sentence.
        remedy: String,
    },
    /// A patch does not fit the source. Nothing was changed.
    #[error("{patch} does not apply to {version}: {detail}")]
    Patch {
        /// The patch file.
        patch: String,
        /// The source, e.g. `linux-source-6.12 6.12.117-1~deb12u1`.
        version: String,
        /// The file and the hunk, in the words of patch(1).
        detail: String,
    },
    /// A program that we ran failed.
    #[error("{what}{}", log_tail(.log.as_deref(), .tail))]
    Failed {
        /// What did not work.
        what: String,
        /// Everything that was printed, where it was kept.
        log: Option<PathBuf>,
        /// The last lines of it.
        tail: Vec<String>,
        /// Whose turn it is: the user's, where the user's own source does not compile.
        kind: ErrorKind,
    },
    /// The file system said no.
    // Not called `source`: whoever prints the chain would print it twice.
    #[error("{what}: {cause}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// Why not.
        cause: io::Error,
    },
}

impl Error {
    /// Whose turn it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Name(_) | Error::Input(_) => ErrorKind::BadInput,
            Error::Missing { .. } => ErrorKind::Missing,
            Error::Io { cause, .. } if lacks_permission(cause) => ErrorKind::Missing,
            Error::Failed { kind, .. } => *kind,
            Error::Patch { .. } | Error::Io { .. } => ErrorKind::Failed,
        }
    }

    /// What to do about it, for [`ErrorKind::Missing`].
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Error::Missing { remedy, .. } => Some(remedy),
            _ => None,
        }
    }

    pub(super) fn missing(what: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Error::Missing {
            what: what.to_string(),
            remedy: remedy.to_string(),
        }
    }

    /// The same failure, of something that the user brought.
    pub(super) fn of_user(self) -> Self {
        match self {
            Error::Failed {
                what, log, tail, ..
            } => Error::Failed {
                what,
                log,
                tail,
                kind: ErrorKind::BadInput,
            },
            other => other,
        }
    }

    /// The file system is full, found out the hard way.
    pub(super) fn full(what: impl fmt::Display) -> Self {
        Self::missing(
            format!("{what}: no space left on the device"),
            "free some, or set INFLIGHT_CACHE to a folder on a larger disk",
        )
    }
}

fn lacks_permission(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn log_tail(log: Option<&Path>, tail: &[String]) -> String {
    let mut text = String::new();
    if let Some(log) = log {
        text += &format!("; the last lines of {}:", log.display());
    } else if !tail.is_empty() {
        text += "; it said:";
    }
    for line in tail {
        text += &format!("\n    {line}");
    }
    text
}

/// Says what was tried when the file system says no.
pub(super) trait Context<T> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, Error>;

    /// [`Context::context`] for the usual "cannot VERB PATH".
    fn at(self, verb: &str, path: &Path) -> Result<T, Error>
    where
        Self: Sized,
    {
        self.context(|| format!("cannot {verb} {}", path.display()))
    }
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T, Error> {
        self.map_err(|cause| {
            let (what, cause) = (what().to_string(), cause.into());
            if cause.raw_os_error() == Some(libc::ENOSPC)
                || cause.raw_os_error() == Some(libc::EDQUOT)
            {
                Error::full(what)
            } else {
                Error::Io { what, cause }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(errno: i32) -> Error {
        let result: io::Result<()> = Err(io::Error::from_raw_os_error(errno));
        result.at("write", Path::new("/cache/file")).unwrap_err()
    }

    #[test]
    fn a_full_disk_is_something_missing() {
        let error = tried(libc::ENOSPC);
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert!(
            error
                .to_string()
                .contains("cannot write /cache/file: no space left"),
            "{error}"
        );
        assert!(error.remedy().unwrap().contains("INFLIGHT_CACHE"));
    }

    #[test]
    fn permission_is_something_missing_and_the_rest_failed() {
        assert_eq!(tried(libc::EACCES).kind(), ErrorKind::Missing);
        assert_eq!(tried(libc::EROFS).kind(), ErrorKind::Missing);
        assert_eq!(tried(libc::EIO).kind(), ErrorKind::Failed);
    }

    #[test]
    fn a_failure_shows_the_end_of_its_log() {
        let error = Error::Failed {
            what: "make failed".to_owned(),
            log: Some(PathBuf::from("/cache/logs/x.log")),
            tail: vec!["fs/splice.c:1: error".to_owned()],
            kind: ErrorKind::Failed,
        };
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert_eq!(
            error.to_string(),
            "make failed; the last lines of /cache/logs/x.log:\n    fs/splice.c:1: error"
        );
        assert_eq!(error.of_user().kind(), ErrorKind::BadInput);
    }
}
