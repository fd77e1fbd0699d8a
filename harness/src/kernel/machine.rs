//! What a kernel is run on, and so what it is built for.

use std::fmt;
use std::str::FromStr;

/// What runs a kernel: an engine, and how it is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Machine {
    /// User Mode Linux: a process, one CPU, virtual time.
    #[default]
    Uml,
    /// An emulated or virtualized PC: several CPUs, drivers, preemption.
    Qemu(Pc),
    /// None: the kernel that runs already, in namespaces.
    Host,
}

/// The PC that QEMU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pc {
    /// Who executes its instructions.
    pub accelerator: Accelerator,
    /// Its CPUs.
    pub cpus: u8,
}

/// Who executes the instructions of a PC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// The CPU itself where a guest really boots that way, else [`Accelerator::Tcg`].
    Auto,
    /// The CPU itself.
    Kvm,
    /// QEMU translates them; each CPU of the guest is a thread of the host.
    Tcg,
    /// QEMU translates and counts them: each takes the same of the guest's time, and waiting
    /// takes none of the host's. The guest's CPUs take turns.
    Icount,
}

/// Most CPUs of a PC: `CONFIG_NR_CPUS` of `kernel-patch/config/qemu.config`.
pub const MOST_CPUS: u8 = 8;

impl Default for Pc {
    /// Two CPUs, and the best accelerator that there is.
    fn default() -> Self {
        Pc {
            accelerator: Accelerator::Auto,
            cpus: 2,
        }
    }
}

impl Accelerator {
    const NAMED: [(Accelerator, &str); 3] = [
        (Accelerator::Kvm, "kvm"),
        (Accelerator::Tcg, "tcg"),
        (Accelerator::Icount, "icount"),
    ];
}

impl Machine {
    /// What a kernel is compiled for to be run on it; nothing is for the host's.
    pub(super) fn arch(self) -> Arch {
        match self {
            Machine::Uml | Machine::Host => Arch::Um,
            Machine::Qemu(_) => Arch::X86_64,
        }
    }

    /// What an `expect` line calls it behind an `@`: without what changes no verdict.
    #[must_use]
    pub fn plain(self) -> &'static str {
        match self {
            Machine::Uml => "uml",
            Machine::Qemu(pc) if pc.accelerator == Accelerator::Icount => "qemu:icount",
            Machine::Qemu(_) => "qemu",
            Machine::Host => "host",
        }
    }

    /// CPUs of the host that one guest keeps busy.
    #[must_use]
    pub fn busy_cpus(self) -> usize {
        match self {
            Machine::Qemu(pc) if pc.accelerator != Accelerator::Icount => pc.cpus.into(),
            // Of the host's kernel all have the CPUs, and its guests mostly wait.
            _ => 1,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pc = match self {
            Machine::Uml => return f.pad("uml"),
            Machine::Host => return f.pad("host"),
            Machine::Qemu(pc) => *pc,
        };
        let mut options = Vec::new();
        let named = Accelerator::NAMED.iter();
        options.extend(
            named
                .filter(|(it, _)| *it == pc.accelerator)
                .map(|(_, name)| (*name).to_owned()),
        );
        if pc.cpus != Pc::default().cpus {
            options.push(format!("cpus={}", pc.cpus));
        }
        match options.is_empty() {
            true => f.pad("qemu"),
            false => f.pad(&format!("qemu:{}", options.join(","))),
        }
    }
}

/// A text that is no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown engine `{text}`: {why}; known are `uml`, `qemu` and `host`, and \
     `qemu:OPTION,...` with the options `kvm`, `tcg`, `icount` and `cpus=N`"
)]
pub struct MachineError {
    text: String,
    why: String,
}

impl FromStr for Machine {
    type Err = MachineError;

    /// # Errors
    /// An engine or an option that there is none of; or CPUs from 1 to [`MOST_CPUS`] are
    /// not what was asked for.
    fn from_str(text: &str) -> Result<Self, MachineError> {
        let error = |why: String| MachineError {
            text: text.to_owned(),
            why,
        };
        let (engine, options) = match text.split_once(':') {
            Some((engine, options)) => (engine, Some(options)),
            None => (text, None),
        };
        match (engine, options) {
            ("uml", None) => return Ok(Machine::Uml),
            ("host", None) => return Ok(Machine::Host),
            ("qemu", _) => {}
            ("uml" | "host", Some(_)) => return Err(error(format!("{engine} has no options"))),
            _ => return Err(error("there is none of this name".to_owned())),
        }
        let mut pc = Pc::default();
        for option in options.into_iter().flat_map(|it| it.split(',')) {
            let mut named = Accelerator::NAMED.iter();
            if let Some((accelerator, _)) = named.find(|(_, name)| *name == option) {
                pc.accelerator = *accelerator;
            } else if let Some(cpus) = option.strip_prefix("cpus=") {
                let cpus = cpus.parse().ok().filter(|it| (1..=MOST_CPUS).contains(it));
                pc.cpus = cpus.ok_or_else(|| error(format!("cpus are 1 to {MOST_CPUS}")))?;
            } else {
                return Err(error(format!("qemu has no option `{option}`")));
            }
        }
        Ok(Machine::Qemu(pc))
    }
}

/// What the compiler makes instructions for: ARCH of Kbuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arch {
    /// `ARCH=um`
    Um,
    /// `ARCH=x86_64`
    X86_64,
}

impl Arch {
    /// The word for make(1).
    pub(super) fn word(self) -> &'static str {
        match self {
            Arch::Um => "um",
            Arch::X86_64 => "x86_64",
        }
    }

    /// What make(1) is to make; it is what is booted.
    pub(super) fn target(self) -> &'static str {
        match self {
            Arch::Um => "linux",
            Arch::X86_64 => "vmlinux",
        }
    }

    /// The files of `kernel-patch/config/` that any kernel for it is configured by; what
    /// watches itself takes [`Arch::watching`] besides.
    pub(super) fn fragments(self) -> [&'static str; 2] {
        match self {
            Arch::Um => ["uml.config", "common.config"],
            Arch::X86_64 => ["qemu.config", "common.config"],
        }
    }

    /// The file for what watches itself, on top of that for all.
    pub(super) fn watching(self) -> &'static str {
        match self {
            Arch::Um => "debug-uml.config",
            Arch::X86_64 => "debug-qemu.config",
        }
    }

    /// The folder of `kernel-patch/` with what no kernel for it goes without.
    pub(super) fn base(self) -> &'static str {
        match self {
            Arch::Um => "uml",
            Arch::X86_64 => "qemu",
        }
    }

    /// What names of files and folders end with.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Arch::Um => "",
            Arch::X86_64 => "-qemu",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_print_as_they_are_read() {
        for text in [
            "uml",
            "host",
            "qemu",
            "qemu:kvm",
            "qemu:tcg,cpus=4",
            "qemu:icount",
            "qemu:cpus=1",
        ] {
            assert_eq!(text.parse::<Machine>().unwrap().to_string(), text);
        }
        let plain: Machine = "qemu:cpus=2".parse().unwrap();
        assert_eq!(plain, Machine::Qemu(Pc::default()));
    }

    #[test]
    fn what_is_no_engine_is_told_why() {
        for (text, why) in [
            ("", "none of this name"),
            ("kvm", "none of this name"),
            ("Qemu", "none of this name"),
            ("uml:cpus=2", "uml has no options"),
            ("host:", "host has no options"),
            ("qemu:", "no option ``"),
            ("qemu:cpus=0", "1 to 8"),
            ("qemu:cpus=9", "1 to 8"),
            ("qemu:cpus=x", "1 to 8"),
            ("qemu:smp", "no option `smp`"),
        ] {
            let error = text.parse::<Machine>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
