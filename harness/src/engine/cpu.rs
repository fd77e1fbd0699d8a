//! Which CPU a guest gets.
//!
//! A UML kernel and its user processes take turns, never side by side. Spread
//! over CPUs, each turn wakes another one: the same work takes four times as long.
//! So a guest, all its threads and processes, is pinned to one CPU, and guests of
//! the same machine and user, whichever process they belong to, keep out of each other's
//! way by names: who has bound the abstract address of a CPU (unix(7)) has the CPU, until
//! it ends, however it does. A file would be in a cache, which other machines may share and
//! other processes of this machine may not.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// A CPU for one guest, for as long as this value lives.
#[derive(Debug)]
#[must_use = "dropping it gives the CPU back"]
pub struct Slot {
    cpu: usize,
    /// `None` if every CPU had its guest already and this one has to share.
    lock: Option<UnixDatagram>,
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
/// sched_getaffinity(2), or a socket cannot be had.
pub fn pick() -> io::Result<Slot> {
    pick_of(&format!("inflight-{}-cpu-", nix::unistd::getuid()))
}

/// Takes a CPU by an address that begins with `prefix`.
fn pick_of(prefix: &str) -> io::Result<Slot> {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let cpus: Vec<usize> = (0..CpuSet::count())
        .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .collect();
    // Who has another network namespace, as containers have, does not see these names: they
    // are not all to begin with the same CPU.
    let random = RandomState::new().build_hasher().finish() as usize;
    let first = random % cpus.len().max(1);
    for &cpu in cpus[first..].iter().chain(&cpus[..first]) {
        let address = SocketAddr::from_abstract_name(format!("{prefix}{cpu}"))?;
        match UnixDatagram::bind_addr(&address) {
            Ok(socket) => {
                return Ok(Slot {
                    cpu,
                    lock: Some(socket),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
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
        let own_prefix = format!("inflight-test-{}-", std::process::id());
        let pick = || pick_of(&own_prefix);
        let count = std::thread::available_parallelism().unwrap().get();
        let own: Vec<Slot> = (0..count).map(|_| pick().unwrap()).collect();
        let mut cpus: Vec<usize> = own.iter().map(Slot::cpu).collect();
        cpus.sort_unstable();
        cpus.dedup();
        assert_eq!(cpus.len(), count);
        assert!(!own.iter().any(Slot::is_shared));

        let mut shared: Vec<usize> = (0..count)
            .map(|_| {
                let slot = pick().unwrap();
                assert!(slot.is_shared());
                slot.cpu()
            })
            .collect();
        shared.sort_unstable();
        assert_eq!(shared, cpus);

        // Whoever is dropped gives its CPU back.
        drop(own);
        assert!(!pick().unwrap().is_shared());
    }
}
