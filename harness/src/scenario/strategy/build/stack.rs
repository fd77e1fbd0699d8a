//! The interfaces and the stack.

use super::option;
use crate::scenario::strategy::genes::{DeviceGenes, StackGenes, TunGenes};
use crate::scenario::strategy::tables;
use crate::scenario::{Device, DeviceKind, Nth, Stack, Sysctl};

pub fn device(genes: &DeviceGenes, tun: bool, loopback: bool) -> Device {
    let (on, draw) = genes.mtu;
    let switch = |place: usize| genes.any && genes.switches[place];
    Device {
        kind: match (tun, loopback) {
            (true, _) => DeviceKind::Tun,
            (false, true) => DeviceKind::Loopback,
            (false, false) => DeviceKind::Veth,
        },
        mtu_bytes: option(on, tables::MTU_BYTES, draw),
        gro: switch(0),
        no_tso: switch(1),
        no_gso: switch(2),
        no_sg: switch(3),
        no_checksum: switch(4),
    }
}

/// What happens to packets by their numbers, of the data and of what comes back.
pub fn nth(genes: &TunGenes) -> (Nth, Nth) {
    let mut both = (Nth::default(), Nth::default());
    let numbers = both.0.named().into_iter().chain(both.1.named());
    for ((_, number), &(on, nth)) in numbers.zip(&genes.nth) {
        if genes.on && on {
            *number = nth;
        }
    }
    both
}

/// `marks`: the link is to mark what it would lose.
pub fn stack(genes: &StackGenes, marks: bool) -> Stack {
    let mut stack = Stack::default();
    if marks {
        stack.set(Sysctl::Ecn, Some(1));
    }
    for (sysctl, &(on, draw)) in Sysctl::all().zip(&genes.values) {
        if genes.any && on {
            stack.set(sysctl, Some(tables::sysctl_values(sysctl)[draw as usize]));
        }
    }
    // Alone it means nothing.
    if stack.get(Sysctl::BaseMss).is_some() && !stack.probes() {
        stack.set(Sysctl::MtuProbing, Some(2));
    }
    stack
}
