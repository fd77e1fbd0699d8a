//! The numbers of a scenario, and which smaller values are worth a try.

use crate::scenario::{
    Actor, Congestion, DeviceKind, Distribution, Family, FileKind, Op, PAGE_BYTES, ReaderMode,
    Scenario, Setup, Sysctl,
};

/// A field of the setup as a number; switches are 0 and 1.
pub(crate) struct Field {
    pub get: fn(&Setup) -> u64,
    pub set: fn(&mut Setup, u64),
    /// Values below the present one that are worth a try besides the default.
    pub smaller: fn(u64) -> Vec<u64>,
}

impl Field {
    pub fn is_default(&self, setup: &Setup) -> bool {
        (self.get)(setup) == (self.get)(&Setup::default())
    }

    pub fn reset(&self, setup: &mut Setup) {
        (self.set)(setup, (self.get)(&Setup::default()));
    }
}

/// A field that is a plain number.
macro_rules! number {
    ($($path:ident).+, $smaller:expr) => {
        Field {
            get: |setup| setup.$($path).+.into(),
            set: |setup, value| setup.$($path).+ = value.try_into().unwrap_or_default(),
            smaller: $smaller,
        }
    };
}

/// A switch.
macro_rules! switch {
    ($($path:ident).+) => {
        Field {
            get: |setup| setup.$($path).+.into(),
            set: |setup, value| setup.$($path).+ = value != 0,
            smaller: none,
        }
    };
}

/// A field of two values, the default first.
macro_rules! choice {
    ($($path:ident).+, $default:expr, $other:expr) => {
        Field {
            get: |setup| u64::from(setup.$($path).+ != $default),
            set: |setup, value| setup.$($path).+ = if value == 0 { $default } else { $other },
            smaller: none,
        }
    };
}

/// The family by its place in the list, which begins with the simplest.
const FAMILY: Field = Field {
    get: |setup| setup.socket.family as u64,
    set: |setup, value| {
        let named = usize::try_from(value)
            .ok()
            .and_then(|place| Family::NAMED.get(place));
        setup.socket.family = named.map_or_else(Family::default, |(_, family)| *family);
    },
    smaller: |place| (1..place).collect(),
};

/// The kind of link by its place in the list, which begins with the simplest.
const DEVICE_KIND: Field = Field {
    get: |setup| setup.device.kind as u64,
    set: |setup, value| {
        let named = usize::try_from(value)
            .ok()
            .and_then(|place| DeviceKind::NAMED.get(place));
        setup.device.kind = named.map_or_else(DeviceKind::default, |(_, kind)| *kind);
    },
    smaller: none,
};

/// The congestion control by its place in the list, counted from 1.
const CONGESTION: Field = Field {
    get: |setup| setup.socket.tcp.congestion.map_or(0, |it| 1 + it as u64),
    set: |setup, value| {
        let place = usize::try_from(value).ok().and_then(|it| it.checked_sub(1));
        let named = place.and_then(|place| Congestion::NAMED.get(place));
        setup.socket.tcp.congestion = named.map(|(_, congestion)| *congestion);
    },
    smaller: |place| (1..place).collect(),
};

/// TCP_QUICKACK: 0 none, 1 on, 2 off.
const QUICKACK: Field = Field {
    get: |setup| match setup.socket.tcp.quickack {
        None => 0,
        Some(true) => 1,
        Some(false) => 2,
    },
    set: |setup, value| {
        setup.socket.tcp.quickack = [None, Some(true), Some(false)]
            .get(value as usize)
            .copied()
            .flatten();
    },
    smaller: |place| (1..place).collect(),
};

/// The kind of file by its place in the list, which begins with the simplest.
const FILE_KIND: Field = Field {
    get: |setup| setup.file.kind as u64,
    set: |setup, value| {
        let place = usize::try_from(value).ok();
        let named = place.and_then(|place| FileKind::NAMED.get(place));
        setup.file.kind = named.map_or_else(FileKind::default, |(_, kind)| *kind);
    },
    smaller: |place| (1..place).collect(),
};

/// A buffer size that may be left to the kernel.
macro_rules! buffer {
    ($($path:ident).+) => {
        Field {
            get: |setup| setup.$($path).+.unwrap_or(0).into(),
            set: |setup, value| {
                setup.$($path).+ = u32::try_from(value).ok().filter(|bytes| *bytes > 0);
            },
            smaller: powers_of_two,
        }
    };
}

/// A distribution by its place in the list, which begins with the simplest.
macro_rules! distribution {
    ($way:ident) => {
        Field {
            get: |setup| setup.$way.distribution as u64,
            set: |setup, value| {
                let named = usize::try_from(value)
                    .ok()
                    .and_then(|place| Distribution::NAMED.get(place));
                setup.$way.distribution = named.map_or_else(Distribution::default, |it| it.1);
            },
            smaller: none,
        }
    };
}

/// A setting of the stack: one more than its value, and 0 where the kernel's is kept.
macro_rules! sysctl {
    ($sysctl:ident) => {
        Field {
            get: |setup| {
                setup
                    .stack
                    .get(Sysctl::$sysctl)
                    .map_or(0, |it| u64::from(it) + 1)
            },
            set: |setup, value| {
                let value = value.checked_sub(1).and_then(|it| u32::try_from(it).ok());
                setup.stack.set(Sysctl::$sysctl, value);
            },
            smaller: none,
        }
    };
}

/// Every field of the setup.
pub(crate) const FIELDS: &[Field] = &[
    number!(data.seed, none),
    number!(data.nth.drop, round),
    number!(data.nth.twice, round),
    number!(data.nth.swap, round),
    number!(data.nth.flip, round),
    switch!(data.mark),
    number!(data.correlation_ppm, round),
    number!(data.recover_ppm, round),
    number!(data.gap_packets, round),
    number!(data.overhead_bytes, round),
    distribution!(data),
    number!(data.corrupt_ppm, round),
    number!(data.slot_us, durations),
    number!(data.loss_ppm, round),
    number!(data.duplicate_ppm, round),
    number!(data.reorder_ppm, round),
    number!(data.jitter_us, durations),
    number!(data.rate_bps, round),
    number!(data.limit_packets, round),
    number!(data.delay_us, durations),
    number!(ack.seed, none),
    number!(ack.nth.drop, round),
    number!(ack.nth.twice, round),
    number!(ack.nth.swap, round),
    number!(ack.nth.flip, round),
    switch!(ack.mark),
    number!(ack.correlation_ppm, round),
    number!(ack.recover_ppm, round),
    number!(ack.gap_packets, round),
    number!(ack.overhead_bytes, round),
    distribution!(ack),
    number!(ack.corrupt_ppm, round),
    number!(ack.slot_us, durations),
    number!(ack.loss_ppm, round),
    number!(ack.duplicate_ppm, round),
    number!(ack.reorder_ppm, round),
    number!(ack.jitter_us, durations),
    number!(ack.rate_bps, round),
    number!(ack.limit_packets, round),
    number!(ack.delay_us, durations),
    DEVICE_KIND,
    buffer!(device.mtu_bytes),
    switch!(device.gro),
    switch!(device.no_tso),
    switch!(device.no_gso),
    switch!(device.no_sg),
    switch!(device.no_checksum),
    sysctl!(MtuProbing),
    sysctl!(BaseMss),
    sysctl!(Sack),
    sysctl!(Dsack),
    sysctl!(Recovery),
    sysctl!(EarlyRetrans),
    sysctl!(Frto),
    sysctl!(Reordering),
    sysctl!(RetransCollapse),
    sysctl!(Autocorking),
    sysctl!(MinTsoSegs),
    sysctl!(TsoWinDivisor),
    sysctl!(LimitOutput),
    sysctl!(WindowScaling),
    sysctl!(Timestamps),
    sysctl!(Ecn),
    sysctl!(SlowStartAfterIdle),
    sysctl!(ModerateRcvbuf),
    sysctl!(Wmem),
    sysctl!(Rmem),
    FAMILY,
    buffer!(socket.sndbuf_bytes),
    buffer!(socket.rcvbuf_bytes),
    switch!(socket.nodelay),
    switch!(socket.cork),
    switch!(socket.nonblock),
    switch!(socket.each),
    switch!(socket.timestamping),
    number!(socket.user_timeout_us, durations),
    number!(socket.send_timeout_us, durations),
    switch!(socket.poll),
    number!(socket.tcp.notsent_lowat_bytes, powers_of_two),
    CONGESTION,
    QUICKACK,
    FILE_KIND,
    switch!(file.sparse),
    switch!(file.read_only),
    number!(file.size_bytes, powers_of_two),
    choice!(reader, ReaderMode::Drain, ReaderMode::Paused),
    switch!(relay),
];

/// A number in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knob {
    /// Where a range begins.
    Offset,
    /// How many bytes.
    Len,
    /// What a pipe can hold.
    Capacity,
    /// How long.
    Wait,
    /// How much later.
    Phase,
    /// How many packets.
    Packets,
}

/// The numbers in steps, in the order in which they are turned down.
pub(crate) const KNOBS: [Knob; 6] = [
    Knob::Len,
    Knob::Offset,
    Knob::Capacity,
    Knob::Wait,
    Knob::Phase,
    Knob::Packets,
];

/// The value of a knob, if the operation has it.
pub(crate) fn read(op: Op, knob: Knob) -> Option<u64> {
    match (op, knob) {
        (
            Op::SendfileOn { len }
            | Op::SpliceOut { len, .. }
            | Op::Tee { len }
            | Op::Pour { len }
            | Op::Read { len },
            Knob::Len,
        ) => Some(len),
        (Op::Truncate { size_bytes }, Knob::Len) => Some(size_bytes),
        (Op::Pipe { capacity_bytes }, Knob::Capacity) => Some(capacity_bytes.into()),
        (Op::Wait { us }, Knob::Wait) => Some(us),
        (Op::Meet { after_ns, .. }, Knob::Phase) => Some(after_ns.into()),
        (Op::Hold { after_packets, .. }, Knob::Packets) => Some(after_packets.into()),
        (Op::Release { packets, .. }, Knob::Packets) => packets.map(u64::from),
        (op, Knob::Offset) => op.range().map(|range| range.offset),
        (op, Knob::Len) => op.range().map(|range| range.len),
        _ => None,
    }
}

/// Turns a knob; no effect where the operation has none.
pub(crate) fn turn(op: &mut Op, knob: Knob, value: u64) {
    match (&mut *op, knob) {
        (
            Op::SendfileOn { len }
            | Op::SpliceOut { len, .. }
            | Op::Tee { len }
            | Op::Pour { len }
            | Op::Read { len },
            Knob::Len,
        ) => *len = value,
        (Op::Truncate { size_bytes }, Knob::Len) => *size_bytes = value,
        (Op::Pipe { capacity_bytes }, Knob::Capacity) => {
            *capacity_bytes = u32::try_from(value).unwrap_or(u32::MAX);
        }
        (Op::Wait { us }, Knob::Wait) => *us = value,
        (Op::Meet { after_ns, .. }, Knob::Phase) => {
            *after_ns = u32::try_from(value).unwrap_or(u32::MAX);
        }
        (
            Op::Hold {
                after_packets: packets,
                ..
            }
            | Op::Release {
                packets: Some(packets),
                ..
            },
            Knob::Packets,
        ) => *packets = u32::try_from(value).unwrap_or(u32::MAX),
        (_, Knob::Offset) => {
            if let Some(range) = op.range_mut() {
                range.offset = value;
            }
        }
        (_, Knob::Len) => {
            if let Some(range) = op.range_mut() {
                range.len = value;
            }
        }
        _ => {}
    }
}

/// Turns a knob of every step that has it.
pub(super) fn turn_all(scenario: &mut Scenario, knob: Knob, value: impl Fn(u64) -> u64) {
    for step in &mut scenario.steps {
        if let Some(old) = read(step.op, knob) {
            turn(&mut step.op, knob, value(old));
        }
    }
}

/// Values below the present one, best first, for the knobs that prefer round
/// ones; lengths and offsets are bisected instead.
pub(super) fn rounder(knob: Knob, value: u64) -> Vec<u64> {
    match knob {
        Knob::Wait => durations(value),
        Knob::Capacity => powers_of_two(value),
        Knob::Phase | Knob::Packets => [vec![0], round(value)].concat(),
        Knob::Len | Knob::Offset => Vec::new(),
    }
}

/// How far an actor is from the one that acts where nothing else is said.
pub(super) fn rank(actor: Actor) -> u64 {
    match actor {
        Actor::A | Actor::Reader | Actor::Link => 0,
        Actor::B => 1,
        Actor::C => 2,
    }
}

fn none(_: u64) -> Vec<u64> {
    Vec::new()
}

/// 1, 2, 5, 10, ... below `value`, ascending.
fn round(value: u64) -> Vec<u64> {
    let decades = (0..20).map(|exponent| 10_u64.pow(exponent));
    decades
        .flat_map(|unit| [1, 2, 5].map(|digit| unit.saturating_mul(digit)))
        .take_while(|&candidate| candidate < value)
        .collect()
}

/// The same in microseconds; what is not shorter than a millisecond is cut down to
/// whole ones, which are long enough to be seen and short enough to be read.
fn durations(us: u64) -> Vec<u64> {
    let floor = if us >= 1_000 { 1_000 } else { 1 };
    let mut all = round(us);
    all.retain(|&candidate| candidate >= floor);
    all
}

/// Whole pages, doubling, below `value`.
fn powers_of_two(value: u64) -> Vec<u64> {
    let doubling = std::iter::successors(Some(PAGE_BYTES), |pages| pages.checked_mul(2));
    doubling
        .take_while(|&candidate| candidate < value)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ladders_are_round_and_below_the_value() {
        assert_eq!(round(20), [1, 2, 5, 10]);
        assert_eq!(durations(37_000), [1_000, 2_000, 5_000, 10_000, 20_000]);
        assert_eq!(durations(3), [1, 2]);
        assert!(durations(1).is_empty());
        assert_eq!(powers_of_two(16384), [4096, 8192]);
        assert_eq!(round(u64::MAX).last(), Some(&10_000_000_000_000_000_000));
    }

    #[test]
    fn every_field_resets_to_its_default_and_only_itself() {
        let mut changed = Setup::default();
        for field in FIELDS {
            let other = if (field.get)(&changed) == 0 { 1 } else { 7 };
            (field.set)(&mut changed, other);
            assert_eq!((field.get)(&changed), other);
        }
        for (index, field) in FIELDS.iter().enumerate() {
            assert!(!field.is_default(&changed), "field {index}");
            field.reset(&mut changed);
            let left = FIELDS.iter().filter(|f| !f.is_default(&changed)).count();
            assert_eq!(left, FIELDS.len() - index - 1, "field {index}");
        }
        let mut stacked = Setup::default();
        for sysctl in Sysctl::all() {
            stacked.stack.set(sysctl, Some(*sysctl.bounds().end()));
        }
        let found = FIELDS.iter().filter(|f| !f.is_default(&stacked)).count();
        assert_eq!(found, Sysctl::COUNT);
        // No field was forgotten.
        assert_eq!(changed, Setup::default());
    }
}
