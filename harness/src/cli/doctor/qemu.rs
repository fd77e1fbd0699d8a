//! What the engine `qemu` can do here.

use std::process::Command;

use super::{Check, State};
use crate::engine::kvm;
use crate::kernel::{self, KernelName, Machine, machine, tools};

const QEMU: &str = "engine qemu";

/// The engine `qemu`: whether it can be used, and who executes its instructions.
pub fn check() -> Check {
    judge(version(), kvm(), tools::can_install())
}

/// What the program says of itself; `None`: there is none.
fn version() -> Option<String> {
    let program = tools::find(tools::QEMU[0].name)?;
    let said = Command::new(program).arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&said.stdout);
    Some(said.lines().next().unwrap_or_default().to_owned())
}

/// Whether a guest gets anywhere on the CPU itself: `None` where there is no kernel yet to
/// see it by.
fn kvm() -> Option<Result<(), String>> {
    if let Err(why) = kvm::access() {
        return Some(Err(why));
    }
    let pc = Machine::Qemu(machine::Pc::default());
    let cache = kernel::cache::root().ok()?;
    let mut built = KernelName::usual().into_iter();
    let kernel = built.find_map(|name| kernel::find(&name, pc).ok().flatten())?;
    tools::find(tools::QEMU[0].name)?;
    Some(kvm::probe(&kernel.image, &cache))
}

fn judge(version: Option<String>, kvm: Option<Result<(), String>>, can_install: bool) -> Check {
    let Some(version) = version else {
        let command = tools::install_command(tools::QEMU);
        let remedy = match can_install {
            true => format!("installed by itself when it is needed; or: {command}"),
            false => command,
        };
        return Check::not_ok(QEMU, State::Warn, "QEMU is not installed", remedy);
    };
    let how = match kvm {
        Some(Ok(())) => "on the CPU itself (KVM)".to_owned(),
        Some(Err(why)) => format!("instructions are translated (TCG): {why}"),
        None => "KVM has yet to be tried; without it instructions are translated (TCG)".to_owned(),
    };
    Check::ok(QEMU, format!("{version}; {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_executes_is_told_and_why() {
        let version = || Some("QEMU emulator version 7.2".to_owned());
        let found = |kvm| judge(version(), kvm, true).found;
        assert!(found(Some(Ok(()))).ends_with("(KVM)"));
        let why = "there is no /dev/kvm".to_owned();
        assert!(found(Some(Err(why))).ends_with("(TCG): there is no /dev/kvm"));
        assert!(found(None).contains("has yet to be tried"));
    }

    #[test]
    fn without_the_program_the_remedy_is_a_command() {
        for can_install in [true, false] {
            let check = judge(None, None, can_install);
            assert_eq!(check.state, State::Warn);
            assert!(check.remedy.unwrap().contains("qemu"));
        }
    }
}
