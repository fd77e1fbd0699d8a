//! What is drawn of the interfaces and of the stack.

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::strategy::Strategy;

use super::{Draw, from};
use crate::scenario::Sysctl;
use crate::scenario::strategy::tables;

/// The interfaces at both ends.
#[derive(Debug, Clone)]
pub struct DeviceGenes {
    pub tun: bool,
    /// What happens to packets by their numbers, of the data and of what comes back.
    pub nth: Vec<(bool, u32)>,
    pub mtu: (bool, Draw),
    /// Whether any of the switches counts.
    pub any: bool,
    pub switches: Vec<bool>,
}

/// The stack. A value counts only if its flag is set, and that of all.
#[derive(Debug, Clone)]
pub struct StackGenes {
    pub any: bool,
    pub values: Vec<(bool, Draw)>,
}

pub fn device() -> impl Strategy<Value = DeviceGenes> {
    const SWITCHES: usize = 5;
    (
        (weighted(0.1), from(tables::MTU_BYTES)),
        weighted(0.1),
        vec(weighted(0.4), SWITCHES),
        weighted(0.08),
        // The handshake is the first two.
        vec((weighted(0.2), 1..=8_u32), 8),
    )
        .prop_map(|(mtu, any, switches, tun, nth)| DeviceGenes {
            tun,
            nth,
            mtu,
            any,
            switches,
        })
}

pub fn stack() -> impl Strategy<Value = StackGenes> {
    let value = (weighted(0.2), 0..tables::SYSCTL_VALUES as Draw);
    (weighted(0.12), vec(value, Sysctl::COUNT)).prop_map(|(any, values)| StackGenes { any, values })
}
