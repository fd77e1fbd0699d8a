//! What stands before the first operation.

use std::ops::RangeInclusive;

use super::rule::{Line, Notes, Rule};
use super::stack;
use crate::scenario::limits::*;
use crate::scenario::{DeviceKind, Distribution, Netem, Scenario, Setup, SocketSpec, Sysctl};

pub fn setup(mut setup: Setup, notes: &mut Notes) -> Setup {
    let family = setup.socket.family;
    if !family.passes_link() {
        unused_link(&mut setup.data, Line::Data, Rule::LinkNotPassed, notes);
        unused_link(&mut setup.ack, Line::Ack, Rule::LinkNotPassed, notes);
    } else if setup.device.kind == DeviceKind::Loopback {
        unused_link(&mut setup.data, Line::Data, Rule::LoopbackHasNoQueue, notes);
        unused_link(&mut setup.ack, Line::Ack, Rule::LoopbackHasNoQueue, notes);
    } else if !family.is_acknowledged() {
        unused_link(&mut setup.ack, Line::Ack, Rule::NothingComesBack, notes);
    }
    setup.data = netem(setup.data, Line::Data, notes);
    setup.ack = netem(setup.ack, Line::Ack, notes);
    setup.device = stack::device(setup.device, family, notes);
    setup.stack = stack::stack(setup.stack, family, notes);
    let marks = setup.stack.get(Sysctl::Ecn) == Some(1);
    for (netem, line, can_mark) in [
        (&mut setup.data, Line::Data, marks),
        (&mut setup.ack, Line::Ack, false),
    ] {
        if !(can_mark && netem.loss_ppm > 0) && std::mem::take(&mut netem.mark) {
            notes.push(line, "mark", Rule::MarkNeedsEcn);
        }
        stack::nth(netem, line, setup.device.kind, notes);
    }
    options(&mut setup.socket, notes);
    if !family.is_stream() && std::mem::take(&mut setup.relay) {
        notes.push(Line::Reader, "", Rule::RelayNeedsStream);
    }

    let mut clamp = Clamp {
        line: Line::Socket,
        notes,
    };
    for (key, buffer) in [
        ("sndbuf", &mut setup.socket.sndbuf_bytes),
        ("rcvbuf", &mut setup.socket.rcvbuf_bytes),
    ] {
        if let Some(bytes) = buffer {
            clamp.within(key, bytes, SOCKET_BUFFER_BYTES, Rule::SocketBuffer);
        }
    }
    for (key, us) in [
        ("user-timeout", &mut setup.socket.user_timeout_us),
        ("send-timeout", &mut setup.socket.send_timeout_us),
    ] {
        let whole_us = us.div_ceil(1_000).saturating_mul(1_000);
        clamp.within(key, us, whole_us..=whole_us, Rule::TimeoutUnit);
        clamp.within(key, us, 0..=MAX_TIMEOUT_US, Rule::Timeout);
    }
    clamp.line = Line::File;
    clamp.within(
        "size",
        &mut setup.file.size_bytes,
        FILE_BYTES,
        Rule::FileSize,
    );
    setup
}

/// A connection for each is for more than one, and who that is the operations say.
pub fn each(scenario: &mut Scenario, notes: &mut Notes) {
    if scenario.setup.socket.each && scenario.connections().count() == 1 {
        scenario.setup.socket.each = false;
        notes.push(Line::Socket, "each", Rule::EachAlone);
    }
}

/// A direction that nothing of this family passes is left as it is.
fn unused_link(netem: &mut Netem, line: Line, rule: Rule, notes: &mut Notes) {
    if *netem != Netem::default() {
        *netem = Netem::default();
        notes.push(line, "", rule);
    }
}

/// Drops what does nothing to a socket of this family.
fn options(socket: &mut SocketSpec, notes: &mut Notes) {
    let family = socket.family;
    for (key, buffer, has) in [
        ("sndbuf", &mut socket.sndbuf_bytes, family.has_sndbuf()),
        ("rcvbuf", &mut socket.rcvbuf_bytes, family.has_rcvbuf()),
    ] {
        if !has && buffer.take().is_some() {
            notes.push(Line::Socket, key, Rule::SocketOption);
        }
    }
    for (key, flag, has) in [
        ("nodelay", &mut socket.nodelay, family.has_nodelay()),
        ("cork", &mut socket.cork, family.has_cork()),
        (
            "timestamping",
            &mut socket.timestamping,
            family.has_timestamping(),
        ),
    ] {
        if !has && std::mem::take(flag) {
            notes.push(Line::Socket, key, Rule::SocketOption);
        }
    }
    if !socket.nonblock && std::mem::take(&mut socket.poll) {
        notes.push(Line::Socket, "poll", Rule::PollNeedsNonblock);
    }
    if !family.has_short_sends() && std::mem::take(&mut socket.poll) {
        notes.push(Line::Socket, "poll", Rule::PollNeedsParts);
    }
    if socket.poll && std::mem::take(&mut socket.timestamping) {
        notes.push(Line::Socket, "timestamping", Rule::PollOfTimes);
    }
    tcp_options(socket, notes);
    for (key, us) in [
        ("user-timeout", &mut socket.user_timeout_us),
        ("send-timeout", &mut socket.send_timeout_us),
    ] {
        if !family.is_plain_tcp() && std::mem::take(us) > 0 {
            notes.push(Line::Socket, key, Rule::PlainTcp);
        }
    }
}

/// Drops what is TCP's where there is none.
fn tcp_options(socket: &mut SocketSpec, notes: &mut Notes) {
    if !socket.family.has_tcp_options() {
        let dropped = std::mem::take(&mut socket.tcp);
        for (key, set) in [
            ("notsent-lowat", dropped.notsent_lowat_bytes > 0),
            ("congestion", dropped.congestion.is_some()),
            ("quickack", dropped.quickack.is_some()),
        ] {
            if set {
                notes.push(Line::Socket, key, Rule::SocketOption);
            }
        }
    }
    if socket.tcp.notsent_lowat_bytes > 0 {
        let mut clamp = Clamp {
            line: Line::Socket,
            notes,
        };
        clamp.within(
            "notsent-lowat",
            &mut socket.tcp.notsent_lowat_bytes,
            NOTSENT_LOWAT_BYTES,
            Rule::NotsentLowat,
        );
    }
}

fn netem(mut netem: Netem, line: Line, notes: &mut Notes) -> Netem {
    let mut clamp = Clamp { line, notes };
    clamp.within("delay", &mut netem.delay_us, 0..=MAX_DELAY_US, Rule::Delay);
    clamp.within(
        "jitter",
        &mut netem.jitter_us,
        0..=netem.delay_us,
        Rule::JitterWithinDelay,
    );
    clamp.within("loss", &mut netem.loss_ppm, 0..=MAX_LOSS_PPM, Rule::Loss);
    let shuffle = 0..=MAX_SHUFFLE_PPM;
    clamp.within(
        "duplicate",
        &mut netem.duplicate_ppm,
        shuffle.clone(),
        Rule::Shuffle,
    );
    if netem.delay_us == 0 {
        clamp.within(
            "reorder",
            &mut netem.reorder_ppm,
            0..=0,
            Rule::ReorderNeedsDelay,
        );
    }
    clamp.within("reorder", &mut netem.reorder_ppm, shuffle, Rule::Shuffle);
    if netem.rate_bps != 0 {
        clamp.within("rate", &mut netem.rate_bps, RATE_BPS, Rule::Rate);
    }
    clamp.within(
        "limit",
        &mut netem.limit_packets,
        0..=MAX_LIMIT_PACKETS,
        Rule::Limit,
    );
    chances(netem, line, notes)
}

/// What makes of chances, rates and times something else.
fn chances(mut netem: Netem, line: Line, notes: &mut Notes) -> Netem {
    let mut clamp = Clamp { line, notes };
    let corrupt = 0..=MAX_CORRUPT_PPM;
    clamp.within("corrupt", &mut netem.corrupt_ppm, corrupt, Rule::Corrupt);
    clamp.within("slot", &mut netem.slot_us, 0..=MAX_DELAY_US, Rule::Delay);
    for (key, number, most, rule, needs, has) in [
        (
            "gap",
            &mut netem.gap_packets,
            MAX_GAP_PACKETS,
            Rule::Gap,
            Rule::GapNeedsReorder,
            netem.reorder_ppm > 0,
        ),
        (
            "recover",
            &mut netem.recover_ppm,
            CERTAIN_PPM,
            Rule::Recover,
            Rule::RecoverNeedsLoss,
            netem.loss_ppm > 0,
        ),
        (
            "overhead",
            &mut netem.overhead_bytes,
            MAX_OVERHEAD_BYTES,
            Rule::Overhead,
            Rule::OverheadNeedsRate,
            netem.rate_bps > 0,
        ),
    ] {
        match has {
            true => clamp.within(key, number, 0..=most, rule),
            false => clamp.within(key, number, 0..=0, needs),
        }
    }
    if netem.recover_ppm > 0 {
        let least = LEAST_RECOVERY * netem.loss_ppm;
        let recover = &mut netem.recover_ppm;
        clamp.within("recover", recover, least..=CERTAIN_PPM, Rule::Recover);
    }
    if netem.jitter_us == 0 && netem.distribution != Distribution::default() {
        netem.distribution = Distribution::default();
        clamp
            .notes
            .push(line, "distribution", Rule::DistributionNeedsJitter);
    }
    let chance = netem.jitter_us > 0
        || netem.loss_ppm + netem.duplicate_ppm + netem.reorder_ppm + netem.corrupt_ppm > 0;
    let (most, rule) = match chance {
        true => (MAX_CORRELATION_PPM, Rule::Correlation),
        false => (0, Rule::CorrelationNeedsChance),
    };
    clamp.within("correlation", &mut netem.correlation_ppm, 0..=most, rule);
    netem
}

/// Brings values of one line within their bounds.
pub(super) struct Clamp<'a> {
    pub line: Line,
    pub notes: &'a mut Notes,
}

impl Clamp<'_> {
    pub fn within<T: Ord + Copy>(
        &mut self,
        key: &'static str,
        value: &mut T,
        bounds: RangeInclusive<T>,
        rule: Rule,
    ) {
        let clamped = (*value).clamp(*bounds.start(), *bounds.end());
        if clamped != *value {
            *value = clamped;
            self.notes.push(self.line, key, rule);
        }
    }
}
