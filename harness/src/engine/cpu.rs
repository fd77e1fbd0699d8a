//! Which CPU a guest gets.
//!
//! A UML kernel and its user processes take turns, never side by side. Spread
//! over CPUs, each turn wakes another one: the same work takes four times as long.
//! So a guest, all its threads and processes, is pinned to one CPU, and guests of
//! the same user, whichever process they belong to, keep out of each other's way by
//! locks: flock(2) on `<cache>/cpu/<number>.lock`, which ends with its holder.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// A CPU for one guest, for as long as this value lives.
#[derive(Debug)]
#[must_use = "dropping it gives the CPU back"]
pub struct Slot {
    cpu: usize,
    /// `None` if every CPU had its guest already and this one has to share.
    lock: Option<File>,
}

impl Slot {
    /// The number of the CPU.
    pub fn cpu(&self) -> usize {
        self.cpu
    }

    /// Whether another guest runs on the CPU.
    pub fn is_shared(&self) -> bool {
        self.lock.is_none()
    }
}

/// Keeps the calling thread, and what it starts, on one CPU. One that was taken away since it
/// was chosen is not insisted on: better slow than not at all. Fit for the time between
/// fork and exec.
pub fn stay_on(cpu: usize) {
    let mut cpus = CpuSet::new();
    // A CPU that does not fit the set does not come out of sched_getaffinity(2).
    let _ = cpus.set(cpu);
    let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
}

/// Takes a free CPU among those that this process may run on; if none is free,
/// one after the other in turn.
///
/// # Errors
/// sched_getaffinity(2), or the lock files cannot be made.
pub fn pick(cache: &Path) -> io::Result<Slot> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let directory = cache.join("cpu");
    fs::create_dir_all(&directory)?;
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpus: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    for &cpu in &cpus {
        let path = directory.join(format!("{cpu}.lock"));
        let file = File::options().create(true).append(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                return Ok(Slot {
                    cpu,
                    lock: Some(file),
                });
            }
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    // A process may always run somewhere.
    let cpu = cpus.get(turn % cpus.len().max(1)).copied().unwrap_or(0);
    Ok(Slot { cpu, lock: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cpu_is_given_once_then_they_are_shared_in_turn() {
        let cache = tempfile::tempdir().unwrap();
        let count = std::thread::available_parallelism().unwrap().get();
        let own: Vec<Slot> = (0..count).map(|_| pick(cache.path()).unwrap()).collect();
        let mut cpus: Vec<usize> = own.iter().map(Slot::cpu).collect();
        cpus.sort_unstable();
        cpus.dedup();
        assert_eq!(cpus.len(), count);
        assert!(!own.iter().any(Slot::is_shared));

        let mut shared: Vec<usize> = (0..count)
            .map(|_| {
                let slot = pick(cache.path()).unwrap();
                assert!(slot.is_shared());
                slot.cpu()
            })
            .collect();
        shared.sort_unstable();
        assert_eq!(shared, cpus);

        let free = own.into_iter().next_back().unwrap();
        let number = free.cpu();
        drop(free);
        // Dropping one gives all back here: `own` is gone. Lowest first.
        let again = pick(cache.path()).unwrap();
        assert!(!again.is_shared() && again.cpu() <= number);
    }
}
