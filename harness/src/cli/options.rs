//! Options that several subcommands share.

use std::thread::available_parallelism;

use clap::Args;

use super::{Failure, usage};
use crate::kernel::{self, Kernel, KernelName};
use crate::oracle::Contract;

/// The kernels of the main job.
const DEFAULT_KERNELS: [&str; 2] = ["6.12-stock", "6.12-patched"];

/// On which kernels, and what they are held to.
#[derive(Debug, Clone, Args)]
pub struct On {
    /// Run on this kernel; may be given several times [default: 6.12-stock, 6.12-patched]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<KernelName>,
    /// Hold the kernels to this contract: documented, or stable (which adds stable-on-return)
    #[arg(long, value_name = "CONTRACT", default_value = "stable")]
    pub contract: Contract,
    /// Run so many guests at a time, each on a CPU of its own [default: the CPUs that this process may use]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl On {
    /// The names given, or those of the main job; each once.
    pub fn names(&self) -> Vec<KernelName> {
        let mut names: Vec<KernelName> = Vec::new();
        let defaults = DEFAULT_KERNELS.iter().filter_map(|name| name.parse().ok());
        let given = self.kernels.iter().cloned();
        let wanted: Vec<KernelName> = match self.kernels.is_empty() {
            true => defaults.collect(),
            false => given.collect(),
        };
        for name in wanted {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Builds what is not built yet, and says so.
    pub fn kernels(&self) -> Result<Vec<Kernel>, Failure> {
        ensure(&self.names())
    }

    /// How many guests run at a time.
    pub fn jobs(&self) -> usize {
        jobs(self.jobs)
    }
}

/// How many guests run at a time: as many as given, or one a CPU.
pub fn jobs(given: Option<u16>) -> usize {
    match given {
        Some(jobs) => jobs.into(),
        None => available_parallelism().map_or(1, usize::from),
    }
}

/// Builds what is not built yet, and says so.
pub fn ensure(names: &[KernelName]) -> Result<Vec<Kernel>, Failure> {
    let progress = kernel::progress::stderr();
    names
        .iter()
        .map(|name| kernel::ensure(name, &*progress).map_err(Failure::from))
        .collect()
}

/// A number for a generator: as given, or a new one.
pub fn seed(given: Option<u64>) -> Result<u64, Failure> {
    match given {
        Some(seed) => Ok(seed),
        None => {
            let mut bytes = [0; 8];
            std::fs::File::open("/dev/urandom")
                .and_then(|mut source| std::io::Read::read_exact(&mut source, &mut bytes))
                .map_err(usage)?;
            // Short enough to be read out and typed in.
            Ok(u64::from_le_bytes(bytes) % 1_000_000_000)
        }
    }
}
