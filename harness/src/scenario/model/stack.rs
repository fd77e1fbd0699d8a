//! The settings of the TCP stack.

use std::ops::RangeInclusive;

/// A sysctl below net.ipv4 that every network namespace has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sysctl {
    /// tcp_mtu_probing: 1 after a black hole was found, 2 always.
    MtuProbing,
    /// tcp_base_mss: what probing begins with.
    BaseMss,
    /// tcp_sack.
    Sack,
    /// tcp_dsack.
    Dsack,
    /// tcp_recovery: bits of RACK.
    Recovery,
    /// tcp_early_retrans: 0 is no tail loss probe.
    EarlyRetrans,
    /// tcp_frto.
    Frto,
    /// tcp_reordering: duplicate acknowledgements until a retransmission.
    Reordering,
    /// tcp_retrans_collapse.
    RetransCollapse,
    /// tcp_autocorking.
    Autocorking,
    /// tcp_min_tso_segs.
    MinTsoSegs,
    /// tcp_tso_win_divisor: what share of the window may wait for more.
    TsoWinDivisor,
    /// tcp_limit_output_bytes: what of one connection may wait in the queues below TCP.
    LimitOutput,
    /// tcp_window_scaling.
    WindowScaling,
    /// tcp_timestamps.
    Timestamps,
    /// tcp_ecn.
    Ecn,
    /// tcp_slow_start_after_idle.
    SlowStartAfterIdle,
    /// tcp_moderate_rcvbuf.
    ModerateRcvbuf,
    /// tcp_wmem: where a send buffer begins and how far it grows.
    Wmem,
    /// tcp_rmem: the same of a receive buffer.
    Rmem,
}

/// What the text and the kernel have for one, in the order of [`Sysctl`].
const TABLE: [(Sysctl, &str, RangeInclusive<u32>); Sysctl::COUNT] = [
    (Sysctl::MtuProbing, "mtu-probing", 0..=2),
    (Sysctl::BaseMss, "base-mss", 256..=9000),
    (Sysctl::Sack, "sack", 0..=1),
    (Sysctl::Dsack, "dsack", 0..=1),
    (Sysctl::Recovery, "recovery", 0..=7),
    (Sysctl::EarlyRetrans, "early-retrans", 0..=4),
    (Sysctl::Frto, "frto", 0..=2),
    (Sysctl::Reordering, "reordering", 1..=100),
    (Sysctl::RetransCollapse, "retrans-collapse", 0..=1),
    (Sysctl::Autocorking, "autocorking", 0..=1),
    (Sysctl::MinTsoSegs, "min-tso-segs", 1..=64),
    (Sysctl::TsoWinDivisor, "tso-win-divisor", 0..=16),
    (Sysctl::LimitOutput, "limit-output", 1..=4 << 20),
    (Sysctl::WindowScaling, "window-scaling", 0..=1),
    (Sysctl::Timestamps, "timestamps", 0..=2),
    (Sysctl::Ecn, "ecn", 0..=2),
    (Sysctl::SlowStartAfterIdle, "slow-start-after-idle", 0..=1),
    (Sysctl::ModerateRcvbuf, "moderate-rcvbuf", 0..=1),
    (Sysctl::Wmem, "wmem", 4096..=4 << 20),
    (Sysctl::Rmem, "rmem", 4096..=4 << 20),
];

impl Sysctl {
    /// How many there are.
    pub const COUNT: usize = 20;

    /// All of them.
    pub fn all() -> impl Iterator<Item = Sysctl> {
        TABLE.iter().map(|(sysctl, ..)| *sysctl)
    }

    /// Its name in the text: the kernel's without `tcp_`, and with hyphens.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// The values that a scenario may give it.
    pub fn bounds(self) -> RangeInclusive<u32> {
        TABLE[self as usize].2.clone()
    }

    /// Whether its value is a number of bytes.
    pub fn is_size(self) -> bool {
        matches!(
            self,
            Sysctl::BaseMss | Sysctl::LimitOutput | Sysctl::Wmem | Sysctl::Rmem
        )
    }
}

/// What a scenario changes of the stack, at both ends; the rest is as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stack([Option<u32>; Sysctl::COUNT]);

impl Stack {
    /// The value that it gives to one.
    pub fn get(&self, sysctl: Sysctl) -> Option<u32> {
        self.0[sysctl as usize]
    }

    /// Gives one a value, or leaves it to the kernel.
    pub fn set(&mut self, sysctl: Sysctl, value: Option<u32>) {
        self.0[sysctl as usize] = value;
    }

    /// What it changes.
    pub fn changes(&self) -> impl Iterator<Item = (Sysctl, u32)> + '_ {
        Sysctl::all().filter_map(|sysctl| Some((sysctl, self.get(sysctl)?)))
    }

    /// Whether segments begin smaller than the link allows.
    pub fn probes(&self) -> bool {
        self.get(Sysctl::MtuProbing).is_some_and(|mode| mode > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_and_its_name() {
        let mut names = std::collections::HashSet::new();
        for (place, sysctl) in Sysctl::all().enumerate() {
            assert_eq!(sysctl as usize, place);
            assert!(names.insert(sysctl.name()));
        }
        assert_eq!(names.len(), Sysctl::COUNT);
    }
}
