//! With what interfaces, and with what settings of the stack.

use super::{Feature, Group};
use crate::scenario::{Device, DeviceKind, Scenario, Sysctl};

fn mtu(scenario: &Scenario) -> u32 {
    scenario.setup.device.mtu_bytes()
}

pub const DEVICE: &[Feature] = features! { Device:
    "usual", |s| s.setup.device == Device::default(), |s| s.setup.device = Device::default();
    "tun", |s| s.setup.device.kind == DeviceKind::Tun, |s| s.setup.device.kind = DeviceKind::Tun;
    "loopback", |s| s.setup.device.kind == DeviceKind::Loopback,
        |s| s.setup.device.kind = DeviceKind::Loopback;
    "mtu", |s| s.setup.device.mtu_bytes.is_some(), |s| s.setup.device.mtu_bytes = Some(1400);
    "small mtu", |s| mtu(s) < 1280, |s| s.setup.device.mtu_bytes = Some(576);
    "large mtu", |s| mtu(s) > Device::USUAL_MTU_BYTES, |s| s.setup.device.mtu_bytes = Some(9000);
    "gro", |s| s.setup.device.gro, |s| s.setup.device.gro = true;
    "no-tso", |s| s.setup.device.no_tso, |s| s.setup.device.no_tso = true;
    "no-gso", |s| s.setup.device.no_gso, |s| s.setup.device.no_gso = true;
    "no-sg", |s| s.setup.device.no_sg, |s| s.setup.device.no_sg = true;
    "no-checksum", |s| s.setup.device.no_checksum, |s| s.setup.device.no_checksum = true;
};

macro_rules! stack {
    ($($name:literal, $sysctl:ident, $value:literal;)*) => {
        features! { Stack:
            $($name, |s| s.setup.stack.get(Sysctl::$sysctl).is_some(),
                |s| s.setup.stack.set(Sysctl::$sysctl, Some($value));)*
            "base-mss", |s| s.setup.stack.get(Sysctl::BaseMss).is_some(), |s| {
                s.setup.stack.set(Sysctl::MtuProbing, Some(2));
                s.setup.stack.set(Sysctl::BaseMss, Some(512));
            };
        }
    };
}

pub const STACK: &[Feature] = stack! {
    "mtu-probing", MtuProbing, 2;
    "sack", Sack, 0;
    "dsack", Dsack, 0;
    "recovery", Recovery, 0;
    "early-retrans", EarlyRetrans, 0;
    "frto", Frto, 0;
    "reordering", Reordering, 10;
    "retrans-collapse", RetransCollapse, 0;
    "autocorking", Autocorking, 0;
    "min-tso-segs", MinTsoSegs, 1;
    "tso-win-divisor", TsoWinDivisor, 1;
    "limit-output", LimitOutput, 1;
    "window-scaling", WindowScaling, 0;
    "timestamps", Timestamps, 0;
    "ecn", Ecn, 1;
    "slow-start-after-idle", SlowStartAfterIdle, 0;
    "moderate-rcvbuf", ModerateRcvbuf, 0;
    "wmem", Wmem, 16384;
    "rmem", Rmem, 16384;
};
