//! To what socket, from what file, over what link.

use super::{Feature, Group};
use crate::scenario::{
    Actor, Congestion, DeviceKind, Distribution, Family, FileKind, Netem, Op, PAGE_BYTES, Range,
    ReaderMode, Scenario, SocketSpec, Step, Sysctl,
};

fn family(scenario: &mut Scenario, family: Family) {
    scenario.setup.socket.family = family;
}

pub const FAMILIES: &[Feature] = features! { Family:
    "tcp4", |s| s.setup.socket.family == Family::Tcp4, |s| family(s, Family::Tcp4);
    "tcp6", |s| s.setup.socket.family == Family::Tcp6, |s| family(s, Family::Tcp6);
    "ktls4", |s| s.setup.socket.family == Family::Ktls4, |s| family(s, Family::Ktls4);
    "mptcp4", |s| s.setup.socket.family == Family::Mptcp4, |s| family(s, Family::Mptcp4);
    "mptcp6", |s| s.setup.socket.family == Family::Mptcp6, |s| family(s, Family::Mptcp6);
    "unix", |s| s.setup.socket.family == Family::Unix, |s| family(s, Family::Unix);
    "unix-seqpacket", |s| s.setup.socket.family == Family::UnixSeqpacket,
        |s| family(s, Family::UnixSeqpacket);
    "vsock", |s| s.setup.socket.family == Family::Vsock, |s| family(s, Family::Vsock);
    "udp4", |s| s.setup.socket.family == Family::Udp4, |s| family(s, Family::Udp4);
    "udp6", |s| s.setup.socket.family == Family::Udp6, |s| family(s, Family::Udp6);
};

pub const SOCKET: &[Feature] = features! { Socket:
    "sndbuf", |s| s.setup.socket.sndbuf_bytes.is_some(),
        |s| s.setup.socket.sndbuf_bytes = Some(65_536);
    "rcvbuf", |s| s.setup.socket.rcvbuf_bytes.is_some(),
        |s| s.setup.socket.rcvbuf_bytes = Some(65_536);
    "user-timeout", |s| s.setup.socket.user_timeout_us > 0,
        |s| s.setup.socket.user_timeout_us = 1000;
    "send-timeout", |s| s.setup.socket.send_timeout_us > 0,
        |s| s.setup.socket.send_timeout_us = 1000;
    "nodelay", |s| s.setup.socket.nodelay, |s| s.setup.socket.nodelay = true;
    "cork", |s| s.setup.socket.cork, |s| s.setup.socket.cork = true;
    "nonblock", |s| s.setup.socket.nonblock, |s| s.setup.socket.nonblock = true;
    "poll", |s| s.setup.socket.poll, |s| {
        s.setup.socket.nonblock = true;
        s.setup.socket.poll = true;
    };
    "timestamping", |s| s.setup.socket.timestamping,
        |s| s.setup.socket.timestamping = true;
    "notsent-lowat", |s| s.setup.socket.tcp.notsent_lowat_bytes > 0,
        |s| s.setup.socket.tcp.notsent_lowat_bytes = 4096;
    "congestion reno", |s| s.setup.socket.tcp.congestion == Some(Congestion::Reno),
        |s| s.setup.socket.tcp.congestion = Some(Congestion::Reno);
    "congestion cubic", |s| s.setup.socket.tcp.congestion == Some(Congestion::Cubic),
        |s| s.setup.socket.tcp.congestion = Some(Congestion::Cubic);
    "congestion bbr", |s| s.setup.socket.tcp.congestion == Some(Congestion::Bbr),
        |s| s.setup.socket.tcp.congestion = Some(Congestion::Bbr);
    "quickack on", |s| s.setup.socket.tcp.quickack == Some(true),
        |s| s.setup.socket.tcp.quickack = Some(true);
    "quickack off", |s| s.setup.socket.tcp.quickack == Some(false),
        |s| s.setup.socket.tcp.quickack = Some(false);
    "each", |s| s.setup.socket.each, |s| {
        s.setup.socket.each = true;
        s.steps.push(Step { actor: Actor::B, op: Op::Sendfile(Range { offset: 0, len: 1 }) });
    };
    "plain", |s| {
        let socket = s.setup.socket;
        socket == SocketSpec { family: socket.family, ..SocketSpec::default() }
    }, |s| s.setup.socket = SocketSpec { family: s.setup.socket.family, ..SocketSpec::default() };
};

pub const FILE: &[Feature] = features! { File:
    "tmpfs", |s| s.setup.file.kind == FileKind::Tmpfs, |s| s.setup.file.kind = FileKind::Tmpfs;
    "memfd", |s| s.setup.file.kind == FileKind::Memfd, |s| s.setup.file.kind = FileKind::Memfd;
    "ext4", |s| s.setup.file.kind == FileKind::Ext4, |s| s.setup.file.kind = FileKind::Ext4;
    "sparse", |s| s.setup.file.sparse, |s| s.setup.file.sparse = true;
    "read-only", |s| s.setup.file.read_only, |s| s.setup.file.read_only = true;
    "part of a page", |s| s.setup.file.size_bytes < PAGE_BYTES,
        |s| s.setup.file.size_bytes = 100;
    "a page", |s| s.setup.file.size_bytes == PAGE_BYTES,
        |s| s.setup.file.size_bytes = PAGE_BYTES;
    "2 to 16 pages", |s| (PAGE_BYTES + 1..=16 * PAGE_BYTES).contains(&s.setup.file.size_bytes),
        |s| s.setup.file.size_bytes = 2 * PAGE_BYTES;
    "more pages", |s| s.setup.file.size_bytes > 16 * PAGE_BYTES,
        |s| s.setup.file.size_bytes = 17 * PAGE_BYTES;
};

pub const READER: &[Feature] = features! { Reader:
    "drain", |s| s.setup.reader == ReaderMode::Drain, |s| s.setup.reader = ReaderMode::Drain;
    "paused", |s| s.setup.reader == ReaderMode::Paused, |s| s.setup.reader = ReaderMode::Paused;
    "relay", |s| s.setup.relay, |s| s.setup.relay = true;
};

const DELAY_US: u64 = 1000;

// The same for both directions; a function pointer cannot carry which one it is.
macro_rules! link {
    ($group:ident, $way:ident; $($more:tt)*) => {
        features! { $group:
            "none", |s| s.setup.$way == Netem::default(), |s| s.setup.$way = Netem::default();
            "delay", |s| s.setup.$way.delay_us > 0, |s| s.setup.$way.delay_us = DELAY_US;
            "jitter", |s| s.setup.$way.jitter_us > 0, |s| {
                s.setup.$way.delay_us = DELAY_US;
                s.setup.$way.jitter_us = DELAY_US;
            };
            "loss", |s| s.setup.$way.loss_ppm > 0, |s| s.setup.$way.loss_ppm = 1000;
            "duplicate", |s| s.setup.$way.duplicate_ppm > 0,
                |s| s.setup.$way.duplicate_ppm = 1000;
            "reorder", |s| s.setup.$way.reorder_ppm > 0, |s| {
                s.setup.$way.delay_us = DELAY_US;
                s.setup.$way.reorder_ppm = 1000;
            };
            "rate", |s| s.setup.$way.rate_bps > 0, |s| s.setup.$way.rate_bps = 10_000_000;
            "limit", |s| s.setup.$way.limit_packets > 0, |s| s.setup.$way.limit_packets = 10;
            "corrupt", |s| s.setup.$way.corrupt_ppm > 0, |s| s.setup.$way.corrupt_ppm = 1000;
            "correlation", |s| s.setup.$way.correlation_ppm > 0, |s| {
                s.setup.$way.loss_ppm = 1000;
                s.setup.$way.correlation_ppm = 1000;
            };
            "gap", |s| s.setup.$way.gap_packets > 0, |s| {
                s.setup.$way.delay_us = DELAY_US;
                s.setup.$way.reorder_ppm = 1000;
                s.setup.$way.gap_packets = 5;
            };
            "recover", |s| s.setup.$way.recover_ppm > 0, |s| {
                s.setup.$way.loss_ppm = 1000;
                s.setup.$way.recover_ppm = 500_000;
            };
            "slot", |s| s.setup.$way.slot_us > 0, |s| s.setup.$way.slot_us = DELAY_US;
            "overhead", |s| s.setup.$way.overhead_bytes > 0, |s| {
                s.setup.$way.rate_bps = 10_000_000;
                s.setup.$way.overhead_bytes = 100;
            };
            "distribution", |s| s.setup.$way.distribution != Distribution::Uniform, |s| {
                s.setup.$way.delay_us = DELAY_US;
                s.setup.$way.jitter_us = DELAY_US;
                s.setup.$way.distribution = Distribution::Normal;
            };
            "drop", |s| s.setup.$way.nth.drop > 0, |s| {
                s.setup.device.kind = DeviceKind::Tun;
                s.setup.$way.nth.drop = 3;
            };
            "twice", |s| s.setup.$way.nth.twice > 0, |s| {
                s.setup.device.kind = DeviceKind::Tun;
                s.setup.$way.nth.twice = 3;
            };
            "swap", |s| s.setup.$way.nth.swap > 0, |s| {
                s.setup.device.kind = DeviceKind::Tun;
                s.setup.$way.nth.swap = 3;
            };
            "flip", |s| s.setup.$way.nth.flip > 0, |s| {
                s.setup.device.kind = DeviceKind::Tun;
                s.setup.$way.nth.flip = 3;
            };
            $($more)*
        }
    };
}

pub const DATA: &[Feature] = link!(LinkData, data;
    "mark", |s| s.setup.data.mark, |s| {
        s.setup.data.loss_ppm = 1000;
        s.setup.data.mark = true;
        s.setup.stack.set(Sysctl::Ecn, Some(1));
    };
);
pub const ACK: &[Feature] = link!(LinkAck, ack;);
