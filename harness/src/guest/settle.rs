//! What is still on its way when a scenario is over.

use std::time::Duration;

use crate::oracle::overflows;
use crate::scenario::{Netem, Scenario};

/// How long the kernel keeps the fragments of a datagram the others of which are lost:
/// IP_FRAG_TIME and IPV6_FRAG_TIMEOUT (include/net/ip.h, include/net/ipv6.h).
const FRAGMENTS_KEPT_S: (u64, u64) = (30, 60);
/// By how much a timer of so long can be late: from 41 s on those of the kernel's wheel
/// fire at multiples of 512 ticks of 10 ms (kernel/time/timer.c).
const LATE_S: u64 = 6;

/// How long half a datagram can wait for its other half.
pub fn longest_half() -> Duration {
    let (_, kept_s) = FRAGMENTS_KEPT_S;
    Duration::from_secs(kept_s + LATE_S)
}

/// What is still on its way belongs to nobody; lets it arrive before the next
/// scenario, which shares the link. Half a datagram would meet the other half of the
/// next one: with the same random numbers it can have the same identification.
pub fn settle(scenario: &Scenario) {
    std::thread::sleep(Duration::from_micros(settles_in_us(scenario)));
}

fn settles_in_us(scenario: &Scenario) -> u64 {
    let setup = &scenario.setup;
    let mut settle_us: u64 = [setup.data, setup.ack].iter().map(Netem::longest_us).sum();
    let family = setup.socket.family;
    if family.has_datagrams() && leaves_halves(scenario) {
        let (ipv4_s, ipv6_s) = FRAGMENTS_KEPT_S;
        let kept_s = if family.over_ipv6() { ipv6_s } else { ipv4_s };
        settle_us += (kept_s + LATE_S) * 1_000_000;
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
            settles_in_us(&scenario) / 1_000_000
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
