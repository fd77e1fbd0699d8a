//! What is still on its way when a scenario is over.

use std::time::Duration;

use crate::scenario::{Netem, Setup};

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
pub fn settle(setup: &Setup) {
    let mut settle_us: u64 = [setup.data, setup.ack].iter().map(Netem::longest_us).sum();
    let family = setup.socket.family;
    if family.has_datagrams() && !setup.data.is_steady() {
        let (ipv4_s, ipv6_s) = FRAGMENTS_KEPT_S;
        let kept_s = if family.over_ipv6() { ipv6_s } else { ipv4_s };
        settle_us += (kept_s + LATE_S) * 1_000_000;
    }
    std::thread::sleep(Duration::from_micros(settle_us));
}
