//! The interfaces and the stack.

use super::rule::{Line, Notes, Rule};
use super::setup::Clamp;
use crate::scenario::limits::*;
use crate::scenario::{Device, DeviceKind, Family, Netem, Stack, Sysctl};

pub fn device(mut device: Device, family: Family, notes: &mut Notes) -> Device {
    if !family.passes_link() {
        if device != Device::default() {
            notes.push(Line::Device, "", Rule::LinkNotPassed);
        }
        return Device::default();
    }
    let line = Line::Device;
    if device.kind != DeviceKind::Veth {
        for (key, set) in device.switches() {
            if set {
                notes.push(line, key, Rule::OffloadNeedsVeth);
            }
        }
        device = Device {
            kind: device.kind,
            mtu_bytes: device.mtu_bytes,
            ..Device::default()
        };
    }
    if let Some(bytes) = &mut device.mtu_bytes {
        let mut clamp = Clamp { line, notes };
        clamp.within("mtu", bytes, MTU_BYTES, Rule::Mtu);
        // The loopback interface has its IPv6 whoever uses it.
        if family.over_ipv6() || device.kind == DeviceKind::Loopback {
            let least = LEAST_IPV6_MTU_BYTES..=u32::MAX;
            clamp.within("mtu", bytes, least, Rule::Ipv6Mtu);
        }
    }
    device
}

pub fn stack(mut stack: Stack, family: Family, notes: &mut Notes) -> Stack {
    if !family.is_acknowledged() {
        if stack != Stack::default() {
            notes.push(Line::Stack, "", Rule::StackNeedsTcp);
        }
        return Stack::default();
    }
    let line = Line::Stack;
    for (sysctl, value) in stack.clone().changes() {
        let mut clamped = value;
        let mut clamp = Clamp { line, notes };
        let rule = Rule::StackValue(sysctl);
        clamp.within(sysctl.name(), &mut clamped, sysctl.bounds(), rule);
        stack.set(sysctl, Some(clamped));
    }
    if stack.get(Sysctl::BaseMss).is_some() && !stack.probes() {
        stack.set(Sysctl::BaseMss, None);
        let key = Sysctl::BaseMss.name();
        notes.push(line, key, Rule::BaseMssNeedsProbing);
    }
    stack
}

/// What happens to packets by their numbers.
pub fn nth(netem: &mut Netem, line: Line, kind: DeviceKind, notes: &mut Notes) {
    let (most, rule) = match kind {
        DeviceKind::Tun => (MAX_NTH, Rule::Nth),
        DeviceKind::Veth | DeviceKind::Loopback => (0, Rule::NthNeedsTun),
    };
    for (key, number) in netem.nth.named() {
        let mut clamp = Clamp { line, notes };
        clamp.within(key, number, 0..=most, rule);
    }
}
