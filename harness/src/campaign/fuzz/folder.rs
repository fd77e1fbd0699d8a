//! The folder of a campaign: all that it makes, and all that it goes on from.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::fuzz::spool;

/// Who holds it is at work in the folder.
const LOCK: &str = "lock";

/// The folder of a campaign, which nobody else works in meanwhile.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    _lock: File,
}

/// Why a folder cannot be worked in.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Somebody else does.
    #[error("{}: another campaign is at work there", .0.display())]
    Busy(PathBuf),
    /// What is unfinished cannot be removed.
    #[error("cannot clean {}", path.display())]
    Unswept {
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system says no.
    #[error("cannot make {}", path.display())]
    Io {
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// For so long a lock is tried that somebody has.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Folder {
    /// Makes what is not there yet, and takes it.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        let make = |path: &Path| {
            let made = fs::create_dir_all(path).and_then(|()| path.canonicalize());
            made.map_err(|source| FolderError::Io {
                path: path.to_owned(),
                source,
            })
        };
        let root = make(path)?;
        let path = root.join(LOCK);
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.map_err(|source| FolderError::Io {
            path: path.clone(),
            source,
        })?;
        let since = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // A child that this process is just starting has it up to its exec.
                Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => {
                    thread::sleep(LOOK_AGAIN);
                }
                Err(TryLockError::WouldBlock) => return Err(FolderError::Busy(root)),
                Err(TryLockError::Error(source)) => return Err(FolderError::Io { path, source }),
            }
        }
        let folder = Folder { root, _lock: lock };
        for path in [
            folder.corpus(),
            folder.artifacts(),
            folder.seen(),
            folder.findings(),
            folder.logs(),
        ] {
            make(&path)?;
        }
        // All guests of the session before have ended, perhaps while they wrote.
        let path = folder.seen();
        spool::sweep(&path).map_err(|source| FolderError::Unswept { path, source })?;
        Ok(folder)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What reached something new.
    pub fn corpus(&self) -> PathBuf {
        self.root.join("corpus")
    }

    /// What kernels died of.
    pub fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Violations, as they were seen.
    pub fn seen(&self) -> PathBuf {
        self.root.join("seen")
    }

    /// Violations made smaller, one a cause.
    pub fn findings(&self) -> PathBuf {
        self.root.join("findings")
    }

    /// The target of this session: what it was built as may be built anew meanwhile.
    pub fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// What the targets print.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }
}

/// How many files there are in a folder, and how many bytes.
pub(super) fn size(folder: &Path) -> (u64, u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter_map(|it| it.metadata().ok());
    let files = files.filter(fs::Metadata::is_file);
    files.fold((0, 0), |(count, bytes), file| {
        (count + 1, bytes + file.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_works_in_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = Folder::open(&path).unwrap();
        assert!(first.corpus().is_dir() && first.findings().is_dir());
        let second = Folder::open(&path).unwrap_err();
        assert!(matches!(second, FolderError::Busy(_)), "{second}");
        drop(first);
        Folder::open(&path).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Folder::open(&file.join("below")).unwrap_err();
        assert!(error.to_string().contains("file/below"), "{error}");
    }

    #[test]
    fn files_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "12").unwrap();
        fs::write(dir.path().join("b"), "345").unwrap();
        fs::create_dir(dir.path().join("c")).unwrap();
        assert_eq!(size(dir.path()), (2, 5));
        assert_eq!(size(Path::new("/nonexistent")), (0, 0));
    }
}
