//! Work for a forked child: what another process does to the file, or a send that can
//! be killed without the rest of the suite.

use std::io;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The child that an actor waits for, if it waits for one.
#[derive(Debug, Default)]
pub struct Child(Mutex<Option<Pid>>);

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with two numbers.
    Told([i64; 2]),
    /// By a signal.
    Killed,
}

impl Child {
    /// Forks a child for `work`, and waits until it has ended.
    ///
    /// `work` runs in a copy of one thread of a process that has others: it makes
    /// system calls and stores to memory, takes no lock that another thread can hold,
    /// and does not panic.
    pub fn run(&self, work: impl FnOnce() -> [i64; 2]) -> io::Result<Ended> {
        let told = Shared::new()?;
        // SAFETY: the child does `work`, which keeps to what is allowed there, and
        // leaves by _exit(2): nothing of the parent's is unwound or flushed twice.
        // The descriptors are the parent's, and stay so: with copies of its own it would
        // keep the receiver's end open that a `reset` is to close.
        let flags = libc::CLONE_FILES | libc::SIGCHLD;
        // SAFETY: as above; without a stack of its own it goes on like one of fork(2).
        let pid = match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {
                let numbers = work();
                // SAFETY: the memory is shared, mapped and as large as that; the
                // parent reads it when the child is gone.
                unsafe { told.0.as_ptr().write_volatile(numbers) };
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) }
            }
            pid => Pid::from_raw(pid as libc::pid_t),
        };
        *self.lock() = Some(pid);
        let status = await_end(pid);
        // Its number is its own until it is reaped.
        *self.lock() = None;
        let mut ignored = 0;
        // SAFETY: reaps a child of ours; writes one int.
        unsafe { libc::waitpid(pid.as_raw(), &mut ignored, 0) };
        match status? {
            // SAFETY: the child has written it before it left.
            libc::CLD_EXITED => Ok(Ended::Told(unsafe { told.0.as_ptr().read_volatile() })),
            _ => Ok(Ended::Killed),
        }
    }

    /// Sends SIGKILL to the child, and does `before` first: when [`Child::run`] returns,
    /// it is done. False: there is no child, and nothing was done.
    pub fn kill(&self, before: impl FnOnce()) -> nix::Result<bool> {
        let child = self.lock();
        match *child {
            Some(pid) => {
                before();
                kill(pid, Signal::SIGKILL).map(|()| true)
            }
            None => Ok(false),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a child without reaping it; says how it ended (CLD_EXITED and
/// the like, waitid(2)).
fn await_end(pid: Pid) -> io::Result<libc::c_int> {
    loop {
        // SAFETY: all zero is a siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: writes `info`.
        let result = unsafe {
            libc::waitid(
                libc::P_PID,
                pid.as_raw() as libc::id_t,
                &mut info,
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        match nix::errno::Errno::result(result) {
            Ok(_) => return Ok(info.si_code),
            // A signal to this thread is not one to the child.
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A page that parent and child see.
struct Shared(NonNull<[i64; 2]>);

impl Shared {
    fn new() -> io::Result<Shared> {
        // SAFETY: a new mapping, nobody else's.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<[i64; 2]>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(address.cast())
            .map(Shared)
            .ok_or_else(|| io::Error::other("a mapping at address 0"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nobody refers to any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<[i64; 2]>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_child_tells_two_numbers() {
        let child = Child::default();
        assert_eq!(child.run(|| [7, -1]).unwrap(), Ended::Told([7, -1]));
        assert_eq!(child.kill(|| unreachable!()), Ok(false), "it is gone");
    }

    #[test]
    fn a_child_is_killed_when_all_is_ready_for_that() {
        let child = Arc::new(Child::default());
        let ready = Arc::new(AtomicBool::new(false));
        let (waits, seen) = (Arc::clone(&child), Arc::clone(&ready));
        let parent = std::thread::spawn(move || {
            let ended = waits.run(|| {
                loop {
                    // SAFETY: waits for a signal.
                    unsafe { libc::pause() };
                }
            });
            (ended.unwrap(), seen.load(Ordering::SeqCst))
        });
        // Slow, so that a signal that came first would have ended the child by then.
        let before = || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            ready.store(true, Ordering::SeqCst);
        };
        while !child.kill(before).unwrap() {
            std::thread::yield_now();
        }
        assert_eq!(parent.join().unwrap(), (Ended::Killed, true));
    }
}
