//! The kernel's random numbers: ports, sequence numbers, hash seeds, which bits netem
//! flips, and in a tree from before Linux 6.6 the packets that it loses. The kernels
//! that this suite builds take them from a fixed seed (kernel-patch/uml/), so that a
//! scenario meets the same ones whenever it is run.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use crate::engine;
use crate::scenario::Setup;

const FILE: &str = "/proc/sys/kernel/random/fixed_seed";

/// Begins the kernel's random numbers anew.
#[derive(Debug)]
pub struct Entropy(Option<File>);

impl Entropy {
    /// Of this kernel; one that was not built with a fixed seed keeps its own, and so does
    /// one that others draw from.
    pub fn open() -> io::Result<Entropy> {
        if engine::shares_kernel() {
            return Ok(Entropy(None));
        }
        match OpenOptions::new().write(true).open(FILE) {
            Ok(file) => Ok(Entropy(Some(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Entropy(None)),
            Err(error) => Err(error),
        }
    }

    /// The numbers that belong to `setup`.
    pub fn begin(&self, setup: &Setup) -> io::Result<()> {
        match &self.0 {
            Some(file) => file.write_all_at(seed(setup).to_string().as_bytes(), 0),
            None => Ok(()),
        }
    }
}

/// Follows the seeds of the link: a netem that has none of its own loses other packets
/// with another seed, too. Never 0, which means none.
fn seed(setup: &Setup) -> u64 {
    let both = setup.data.seed ^ setup.ack.seed.rotate_left(32);
    both.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_follows_the_link_and_is_never_none() {
        let with = |data, ack| {
            let mut setup = Setup::default();
            (setup.data.seed, setup.ack.seed) = (data, ack);
            seed(&setup)
        };
        assert_eq!(with(0, 0), 1);
        assert_eq!(with(7, 7 << 32), 1, "they cancel out");
        let all = [with(0, 0), with(7, 0), with(0, 7), with(7, 7), with(8, 7)];
        let different: std::collections::HashSet<u64> = all.into();
        assert_eq!(different.len(), all.len());
    }
}
