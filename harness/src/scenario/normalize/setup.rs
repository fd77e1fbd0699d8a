//! What stands before the first operation.

use std::ops::RangeInclusive;

use super::rule::{Line, Notes, Rule};
use crate::scenario::limits::*;
use crate::scenario::{Netem, Setup};

pub fn setup(mut setup: Setup, notes: &mut Notes) -> Setup {
    setup.data = netem(setup.data, Line::Data, notes);
    setup.ack = netem(setup.ack, Line::Ack, notes);

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
    netem
}

/// Brings values of one line within their bounds.
struct Clamp<'a> {
    line: Line,
    notes: &'a mut Notes,
}

impl Clamp<'_> {
    fn within<T: Ord + Copy>(
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
