//! Options that several subcommands share.

use std::thread::available_parallelism;

use anyhow::anyhow;
use clap::Args;

use super::{Failure, usage};
use crate::kernel::{self, Kernel, KernelName, Machine, tools};
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
    /// Run them by this engine: uml (virtual time), qemu (several CPUs, real time), or host;
    /// docs/engines.md compares them
    #[arg(long, value_name = "ENGINE", default_value_t)]
    pub engine: Machine,
    /// Run so many guests at a time, each on CPUs of its own [default: as many as find one]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl On {
    /// The names given, or those of the main job; each once.
    pub fn names(&self) -> Vec<KernelName> {
        let mut names: Vec<KernelName> = Vec::new();
        let defaults = DEFAULT_KERNELS.iter().filter_map(|name| name.parse().ok());
        if self.kernels.is_empty() && self.engine == Machine::Host {
            return vec![KernelName::Host];
        }
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
        ensure_on(&self.names(), self.engine)
    }

    /// How many guests run at a time.
    pub fn jobs(&self) -> usize {
        jobs_on(self.jobs, self.engine)
    }
}

/// How many guests run at a time: as many as given, or one a CPU.
pub fn jobs(given: Option<u16>) -> usize {
    jobs_on(given, Machine::Uml)
}

/// How many guests run at a time: as many as given, or as many as find CPUs of their own.
fn jobs_on(given: Option<u16>, machine: Machine) -> usize {
    match given {
        Some(jobs) => jobs.into(),
        None => {
            let cpus = available_parallelism().map_or(1, usize::from);
            (cpus / machine.busy_cpus()).max(1)
        }
    }
}

/// Builds what is not built yet for User Mode Linux, and says so.
pub fn ensure(names: &[KernelName]) -> Result<Vec<Kernel>, Failure> {
    refuse_host(names)?;
    ensure_on(names, Machine::Uml)
}

/// What needs a kernel that is built and booted cannot have the one that runs already.
pub fn refuse_host(names: &[KernelName]) -> Result<(), Failure> {
    match names.contains(&KernelName::Host) {
        true => Err(usage(anyhow!(
            "the kernel `host` runs already, and this takes one that is built and booted; \
             docs/engines.md tells what can be done with it"
        ))),
        false => Ok(()),
    }
}

/// Builds what is not built yet, and says so; installs the engine if need be.
pub fn ensure_on(names: &[KernelName], machine: Machine) -> Result<Vec<Kernel>, Failure> {
    let progress = kernel::progress::stderr();
    let machines: Vec<Machine> = names
        .iter()
        .map(|name| machine_of(name, machine))
        .collect::<Result<_, _>>()?;
    if machines.iter().any(|it| matches!(it, Machine::Qemu(_))) {
        tools::ensure_qemu(&*progress)?;
    }
    let ensure = |(name, machine)| kernel::ensure(name, machine, &*progress);
    names
        .iter()
        .zip(machines)
        .map(|it| ensure(it).map_err(Failure::from))
        .collect()
}

/// What a kernel is run on, where `asked` was asked for: the host's runs already.
fn machine_of(name: &KernelName, asked: Machine) -> Result<Machine, Failure> {
    match (name, asked) {
        (KernelName::Host, Machine::Uml | Machine::Host) => Ok(Machine::Host),
        (KernelName::Host, _) => Err(usage(anyhow!(
            "--engine {asked}: the kernel `host` runs already"
        ))),
        (_, Machine::Host) => Err(usage(anyhow!(
            "--engine host: {name} is not the kernel that runs; `--kernel host` is"
        ))),
        _ => Ok(asked),
    }
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
