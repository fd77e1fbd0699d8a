//! One builder at a time.
//!
//! flock(2) on a file under `locks/`: it vanishes with the process, however that
//! ends. The files themselves are never deleted, because a second builder could
//! then lock the deleted one and a third a new one.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::Context as _;
use super::{Error, Progress, files};

/// How often a waiting builder asks again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The right to build in one folder, given back on drop.
#[derive(Debug)]
#[must_use = "dropping it unlocks"]
pub(super) struct Lock {
    file: Flock<File>,
}

impl Lock {
    /// Waits for the lock, and tells `progress` for what.
    pub(super) fn acquire(path: &Path, what: &str, progress: &dyn Progress) -> Result<Self, Error> {
        let mut said = false;
        loop {
            match Self::attempt(path)? {
                Ok(lock) => return Ok(lock),
                Err(holder) => {
                    if !said {
                        progress.step(&format!("waiting for {holder}, which works on {what}"));
                        said = true;
                    }
                    progress.tick(0, None, "");
                    std::thread::sleep(ASK_AGAIN);
                }
            }
        }
    }

    /// The lock, or who has it.
    pub(super) fn attempt(path: &Path) -> Result<Result<Self, String>, Error> {
        if let Some(parent) = path.parent() {
            files::create_folder(parent)?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .at("open", path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                // For the message of whoever waits, nothing more.
                let _ = file.set_len(0);
                let _ = file.rewind();
                let _ = write!(file, "{}", std::process::id());
                Ok(Ok(Self { file }))
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut process = String::new();
                let _ = file.read_to_string(&mut process);
                Ok(Err(if process.is_empty() {
                    "another process".to_owned()
                } else {
                    format!("process {process}")
                }))
            }
            Err((_, errno)) => Err(errno).at("lock", path),
        }
    }

    /// Lets the program that `command` starts hold the lock as well: should this
    /// process be killed, the next builder waits until the last compiler of ours
    /// is gone.
    pub(super) fn share(&self, command: &mut Command) {
        let fd: RawFd = self.file.as_raw_fd();
        // SAFETY: between fork and exec only fcntl(2) is called, on a descriptor
        // that the fork has copied; nothing allocates or locks.
        unsafe {
            command.pre_exec(move || {
                if libc::fcntl(fd, libc::F_SETFD, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::progress::Silent;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Default)]
    struct Steps(Mutex<Vec<String>>);

    impl Progress for Steps {
        fn step(&self, what: &str) {
            self.0.lock().unwrap().push(what.to_owned());
        }
        fn tick(&self, _: u64, _: Option<u64>, _: &str) {}
        fn note(&self, _: &str) {}
    }

    #[test]
    fn the_second_waits_says_so_and_then_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks/x.lock");
        let first = Lock::acquire(&path, "6.12", &Silent).unwrap();
        let released = AtomicBool::new(false);
        let steps = Steps::default();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let lock = Lock::acquire(&path, "6.12", &steps).unwrap();
                assert!(released.load(Ordering::SeqCst), "both had the lock");
                lock
            });
            while steps.0.lock().unwrap().is_empty() {
                std::thread::yield_now();
            }
            released.store(true, Ordering::SeqCst);
            drop(first);
            drop(second.join().unwrap());
        });
        let expected = format!(
            "waiting for process {}, which works on 6.12",
            std::process::id()
        );
        assert_eq!(steps.0.into_inner().unwrap(), [expected]);
    }

    #[test]
    fn a_child_that_shares_the_lock_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let lock = Lock::acquire(&path, "", &Silent).unwrap();
        let mut command = Command::new("cat");
        lock.share(&mut command);
        command.stdin(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        // As a killed process gives it up: by closing, without LOCK_UN.
        let Lock { file } = lock;
        let fd = file.as_raw_fd();
        std::mem::forget(file);
        // SAFETY: `file` is forgotten, so this closes the descriptor once.
        assert_eq!(unsafe { libc::close(fd) }, 0);
        assert!(Lock::attempt(&path).unwrap().is_err(), "the child holds it");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(Lock::attempt(&path).unwrap().is_ok());
    }

    #[test]
    fn a_child_that_does_not_share_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let lock = Lock::acquire(&path, "", &Silent).unwrap();
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(lock);
        assert!(Lock::attempt(&path).unwrap().is_ok());
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
