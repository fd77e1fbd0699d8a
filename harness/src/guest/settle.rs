//! What is still on its way when a scenario is over.

use std::io;
use std::time::Duration;

use crate::oracle::overflows;
use crate::scenario::{Netem, Scenario};

/// How long the kernel keeps the fragments of a datagram the others of which are lost:
/// IP_FRAG_TIME and IPV6_FRAG_TIMEOUT (include/net/ip.h, include/net/ipv6.h).
const FRAGMENTS_KEPT_S: (u64, u64) = (30, 60);
/// By how much a timer of so long can be late: from 41 s on those of the kernel's wheel
/// fire at multiples of 512 ticks of 10 ms (kernel/time/timer.c).
const LATE_S: u64 = 6;

/// How long the kernel keeps them where time passes by the clock: see [`forget_halves`].
const KEPT_BY_THE_CLOCK_S: u64 = 1;

/// How long half a datagram can wait for its other half.
pub fn longest_half(is_virtual: bool) -> Duration {
    Duration::from_secs(half_s(is_virtual, true))
}

fn half_s(is_virtual: bool, over_ipv6: bool) -> u64 {
    let (ipv4_s, ipv6_s) = FRAGMENTS_KEPT_S;
    match (is_virtual, over_ipv6) {
        (true, true) => ipv6_s + LATE_S,
        (true, false) => ipv4_s + LATE_S,
        // Timers of a second are late by less.
        (false, _) => 2 * KEPT_BY_THE_CLOCK_S,
    }
}

/// Has this namespace keep half a datagram for a second only: nobody is to wait for a
/// minute after each scenario that loses one.
pub fn forget_halves() -> io::Result<()> {
    for setting in ["ipv4/ipfrag_time", "ipv6/ip6frag_time"] {
        let path = format!("/proc/sys/net/{setting}");
        std::fs::write(path, KEPT_BY_THE_CLOCK_S.to_string())?;
    }
    Ok(())
}

/// What is still on its way belongs to nobody; lets it arrive before the next
/// scenario, which shares the link. Half a datagram would meet the other half of the
/// next one: with the same random numbers it can have the same identification.
pub fn settle(scenario: &Scenario, is_virtual: bool) {
    std::thread::sleep(Duration::from_micros(settles_in_us(scenario, is_virtual)));
}

fn settles_in_us(scenario: &Scenario, is_virtual: bool) -> u64 {
    let setup = &scenario.setup;
    let mut settle_us: u64 = [setup.data, setup.ack].iter().map(Netem::longest_us).sum();
    let family = setup.socket.family;
    if family.has_datagrams() && leaves_halves(scenario) {
        settle_us += half_s(is_virtual, family.over_ipv6()) * 1_000_000;
    }
    settle_us
}

/// Whether a fragment may wait for others that do not come: they are lost, or it came
/// twice, and the second time for a datagram that was whole by then.
fn leaves_halves(scenario: &Scenario) -> bool {
    let data = &scenario.setup.data;
    !data.is_steady() || data.nth.twice > 0 || overflows(scenario)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::text;

    #[test]
    fn half_a_datagram_is_waited_for() {
        const UDP: &str = "socket udp6\nfile tmpfs size=65536\n";
        let settles_in_s = |text: &str| {
            let scenario = text::parse("settle.scn", text).unwrap();
            settles_in_us(&scenario, true) / 1_000_000
        };
        let all = "sendfile 0+65000\n";
        assert_eq!(settles_in_s(&format!("{UDP}{all}")), 0);
        for link in [
            "link tun\nlink data drop=3\n",
            "link tun\nlink data twice=3\n",
            "link data loss=1%\n",
        ] {
            assert_eq!(settles_in_s(&format!("{link}{UDP}{all}")), 66, "{link}");
        }
        let tcp = "link tun\nlink data twice=3\nsendfile 0+1\n";
        assert_eq!(settles_in_s(tcp), 0);
        // More than the queue takes.
        assert_eq!(settles_in_s(&format!("{UDP}{}", all.repeat(20))), 66);
    }
}
