//! The settings of the stack in one network namespace.

use std::fs;
use std::io;

use super::netns::NetNs;
use crate::scenario::{Stack, Sysctl};

/// Where the settings of both ends stand, and what they were before anybody changed them.
#[derive(Debug, Default)]
pub struct Sysctls {
    now: Stack,
    /// As the kernel has it: the same at both ends.
    usual: [Option<String>; Sysctl::COUNT],
}

impl Sysctls {
    /// Makes both ends what `wanted` says: this thread's namespace and `receiver`. Only
    /// what differs is written.
    pub fn set(&mut self, wanted: &Stack, receiver: &NetNs) -> io::Result<()> {
        if self.now == *wanted {
            return Ok(());
        }
        let differ = |it: &Sysctl| self.now.get(*it) != wanted.get(*it);
        let mut texts = Vec::new();
        for sysctl in Sysctl::all().filter(differ) {
            let usual = &mut self.usual[sysctl as usize];
            let usual = match usual {
                Some(usual) => usual,
                None => usual.insert(fs::read_to_string(path(sysctl)).map_err(named(sysctl))?),
            };
            let text = wanted
                .get(sysctl)
                .map_or(usual.clone(), |value| text(sysctl, value));
            texts.push((sysctl, text));
        }
        let write = || {
            let mut all = texts.iter();
            all.try_for_each(|(sysctl, text)| {
                fs::write(path(*sysctl), text).map_err(named(*sysctl))
            })
        };
        write()?;
        receiver.with(write)?;
        self.now = *wanted;
        Ok(())
    }
}

/// Where it stands.
pub fn path(sysctl: Sysctl) -> String {
    let name = sysctl.name().replace('-', "_");
    let suffix = match sysctl {
        Sysctl::LimitOutput => "_bytes",
        _ => "",
    };
    format!("/proc/sys/net/ipv4/tcp_{name}{suffix}")
}

/// A buffer has a least, a first and a largest size.
fn text(sysctl: Sysctl, value: u32) -> String {
    match sysctl {
        Sysctl::Wmem | Sysctl::Rmem => format!("4096 {value} {value}"),
        _ => value.to_string(),
    }
}

fn named(sysctl: Sysctl) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path(sysctl)))
}
