//! The private directory of a run: the job file, a link to the program that is
//! PID 1, and what UML wants to write. Nothing of a run lies anywhere else.
//!
//! It is locked, flock(2), while its run lives, and removed with the run: by the
//! supervisor of [`crate::process`] even if we are killed. What remains after
//! both were killed is not locked, and the next run sweeps it away.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where inflight keeps what can be made again: `$INFLIGHT_CACHE`, else
/// `$XDG_CACHE_HOME/inflight`, else `$HOME/.cache/inflight`; `None` if none of
/// them is set. The last two must be absolute, or do not count.
pub fn cache_root() -> Option<PathBuf> {
    let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let below = |name, folder: &str| {
        let path = PathBuf::from(value(name)?);
        path.is_absolute().then(|| path.join(folder))
    };
    match value("INFLIGHT_CACHE") {
        // From where the user stands, as for `crate::kernel`.
        Some(path) => std::path::absolute(path).ok(),
        None => below("XDG_CACHE_HOME", "inflight").or_else(|| below("HOME", ".cache/inflight")),
    }
}

/// A directory that is removed when dropped.
#[derive(Debug)]
#[must_use = "dropping it removes the directory"]
pub struct RunDir {
    path: PathBuf,
    /// The directory itself, locked.
    _lock: File,
}

impl RunDir {
    /// Makes a directory in `<cache>/run`, readable to this user only, and sweeps
    /// away those of processes that have been killed.
    ///
    /// # Errors
    /// What the file system says, e.g. no space or no permission.
    pub fn create(cache: &Path) -> io::Result<RunDir> {
        let parent = cache.join("run");
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&parent)?;
        // A directory is not locked in the moment it is made. Makers therefore
        // hold this lock shared, and a sweeper alone.
        let makers = File::options()
            .create(true)
            .append(true)
            .open(parent.join(".lock"))?;
        if makers.try_lock().is_ok() {
            sweep(&parent);
        }
        makers.lock_shared()?;
        let path = tempfile::Builder::new()
            .prefix("")
            .rand_bytes(10)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)?
            .keep();
        let lock = File::open(&path)?;
        lock.lock()?;
        // To close it would not do: a process that another thread has just forked has it
        // open as well.
        makers.unlock()?;
        Ok(RunDir { path, _lock: lock })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // Usually the supervisor has done so already.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes directories whose run is over. What cannot be removed now stays for
/// the next time.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if let Ok(directory) = File::open(&path)
            && path.is_dir()
            && !matches!(directory.try_lock(), Err(TryLockError::WouldBlock))
        {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_live_directory_stays_and_a_stale_one_goes() {
        let cache = tempfile::tempdir().unwrap();
        let live = RunDir::create(cache.path()).unwrap();
        let mode = fs::metadata(live.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let stale = cache.path().join("run/stale");
        fs::create_dir_all(stale.join("deep")).unwrap();
        fs::write(stale.join("deep/file"), "x").unwrap();

        let second = RunDir::create(cache.path()).unwrap();
        assert!(live.path().is_dir() && second.path().is_dir());
        assert!(!stale.exists());

        let path = live.path().to_owned();
        drop(live);
        assert!(!path.exists());
    }

    /// A lock belongs to what was opened, and so to whoever is forked meanwhile, until it
    /// has called execve(2).
    #[test]
    fn what_others_fork_meanwhile_keeps_no_lock() {
        let cache = tempfile::tempdir().unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    Command::new("true").status().unwrap();
                }
            });
            let stale = cache.path().join("run/stale");
            let left = (0..200).find(|_| {
                drop(RunDir::create(cache.path()).unwrap());
                fs::create_dir_all(&stale).unwrap();
                drop(RunDir::create(cache.path()).unwrap());
                stale.exists()
            });
            over.store(true, Ordering::Relaxed);
            assert_eq!(left, None);
        });
    }

    #[test]
    fn makers_and_sweepers_side_by_side_lose_nothing() {
        let cache = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let run = RunDir::create(cache.path()).unwrap();
                        fs::write(run.path().join("file"), "x").unwrap();
                        assert!(run.path().join("file").exists());
                    }
                });
            }
        });
        let left: Vec<_> = fs::read_dir(cache.path().join("run"))
            .unwrap()
            .flatten()
            .collect();
        assert_eq!(left.len(), 1, "only the lock: {left:?}");
    }
}
