//! The link and the socket.

use super::option;
use crate::scenario::strategy::genes::{LinkGenes, SocketGenes, TcpGenes};
use crate::scenario::strategy::tables;
use crate::scenario::{Distribution, Family, Netem, SocketSpec, TcpSpec};

pub fn link(genes: &LinkGenes) -> (Netem, Netem) {
    let delay_us = |(on, ms): (bool, u64)| if on { ms * 1000 } else { 0 };
    let shares = |(on, draw): (bool, u32)| option(on, tables::SHARES_PPM, draw).unwrap_or(0);
    let of_delay = |delay_us: u64| {
        let (on, percent) = genes.jitter;
        if on { delay_us * percent / 100 } else { 0 }
    };
    let (loss_ppm, duplicate_ppm) = (shares(genes.loss), shares(genes.duplicate));
    let rate_bps = option(genes.rate.0, tables::RATES_BPS, genes.rate.1).unwrap_or(0);
    let limit_packets = option(genes.limit.0, tables::LIMITS_PACKETS, genes.limit.1).unwrap_or(0);
    let shaped = |delayed_us: u64| {
        let jitter_us = of_delay(delayed_us);
        let reorder_ppm = if delayed_us > 0 {
            shares(genes.reorder)
        } else {
            0
        };
        let chance = &genes.chance;
        let corrupt_ppm =
            option(chance.corrupt.0, tables::CORRUPT_PPM, chance.corrupt.1).unwrap_or(0);
        let random = jitter_us > 0 || loss_ppm + duplicate_ppm + reorder_ppm + corrupt_ppm > 0;
        let (uneven, distribution) = chance.distribution;
        let with = |on: bool, value: u32| if on { value } else { 0 };
        Netem {
            delay_us: delayed_us,
            jitter_us,
            loss_ppm,
            duplicate_ppm,
            reorder_ppm,
            rate_bps,
            limit_packets,
            // Without a seed of its own netem would draw another one each run.
            seed: if random { genes.seed } else { 0 },
            corrupt_ppm,
            correlation_ppm: with(chance.correlation && random, 250_000),
            gap_packets: with(chance.gap && reorder_ppm > 0, 3),
            recover_ppm: with(chance.recover && loss_ppm > 0, (5 * loss_ppm).max(500_000)),
            slot_us: delay_us(chance.slot_ms),
            overhead_bytes: with(chance.overhead && rate_bps > 0, 100),
            distribution: match uneven && jitter_us > 0 {
                true => Distribution::NAMED[distribution as usize].1,
                false => Distribution::Uniform,
            },
            mark: chance.mark && loss_ppm > 0,
            nth: Default::default(),
        }
    };
    let plain = |delay_us| Netem {
        delay_us,
        ..Netem::default()
    };
    let (data, ack) = (delay_us(genes.data_delay_ms), delay_us(genes.ack_delay_ms));
    match genes.direction {
        0..=2 => (shaped(data), plain(ack)),
        3 | 4 => (plain(data), shaped(ack)),
        _ => (shaped(data), shaped(ack)),
    }
}

pub fn socket(genes: &SocketGenes, of_tcp: &TcpGenes) -> SocketSpec {
    let buffer = |(on, draw)| option(on, tables::SOCKET_BUFFER_BYTES, draw);
    let timeout = |(on, draw)| option(on, tables::TIMEOUTS_US, draw).unwrap_or(0);
    SocketSpec {
        family: match genes.tcp6 {
            false => Family::Tcp4,
            true => Family::Tcp6,
        },
        sndbuf_bytes: buffer(genes.sndbuf),
        rcvbuf_bytes: buffer(genes.rcvbuf),
        nodelay: genes.nodelay,
        cork: genes.cork,
        nonblock: genes.nonblock,
        user_timeout_us: timeout(genes.user_timeout),
        send_timeout_us: timeout(genes.send_timeout),
        poll: genes.nonblock && of_tcp.poll,
        timestamping: genes.timestamping,
        tcp: tcp(of_tcp),
        each: false,
    }
}

fn tcp(genes: &TcpGenes) -> TcpSpec {
    let (lowat, draw) = genes.notsent_lowat;
    TcpSpec {
        notsent_lowat_bytes: option(lowat, tables::NOTSENT_LOWAT_BYTES, draw).unwrap_or(0),
        congestion: option(genes.congestion.0, tables::CONGESTIONS, genes.congestion.1),
        quickack: option(genes.quickack.0, tables::QUICKACKS, genes.quickack.1),
    }
}
