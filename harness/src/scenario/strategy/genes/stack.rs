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
    pub mtu: (bool, Draw),
    /// Whether any of the switches counts.
    pub any: bool,
    pub switches: Vec<bool>,
}

/// A link of TUN.
#[derive(Debug, Clone)]
pub struct TunGenes {
    pub on: bool,
    /// What happens to packets by their numbers, of the data and of what comes back.
    pub nth: Vec<(bool, u32)>,
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
    )
        .prop_map(|(mtu, any, switches)| DeviceGenes { mtu, any, switches })
}

pub fn stack() -> impl Strategy<Value = StackGenes> {
    let value = (weighted(0.2), 0..tables::SYSCTL_VALUES as Draw);
    (weighted(0.12), vec(value, Sysctl::COUNT)).prop_map(|(any, values)| StackGenes { any, values })
}

pub fn tun() -> impl Strategy<Value = TunGenes> {
    // The handshake is the first two.
    let nth = vec((weighted(0.2), 1..=8_u32), 8);
    (weighted(0.08), nth).prop_map(|(on, nth)| TunGenes { on, nth })
}
