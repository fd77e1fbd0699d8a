//! What a scenario exercises, by name, and how often a campaign did: so that a blind
//! spot of the generator is seen.
//!
//! Each feature comes with a way to give it to a scenario. Two features *can meet* if
//! a scenario that was given both still has both when it is normalized; so which pairs
//! are impossible follows from the rules and stands in no list of its own.

use std::sync::LazyLock;

use super::limits::FILE_BYTES;
use super::normalize::normalize;
use super::{
    Actor, Copying, Family, FileKind, Netem, Op, PAGE_BYTES, Range, ReaderMode, Scenario,
    SocketSpec, Step, Way,
};

/// Something that a scenario has or has not.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// What kind of thing it is.
    pub group: Group,
    /// Its name, unique in its group: the word that the text form has for it.
    pub name: &'static str,
    has: fn(&Scenario) -> bool,
    put: fn(&mut Scenario),
}

/// The kinds of features, in the order in which a report has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What is done.
    Operation,
    /// Who does it.
    Actor,
    /// To what socket.
    Family,
    /// With what settings of it.
    Socket,
    /// From what file.
    File,
    /// How it is received.
    Reader,
    /// What happens to data on the way.
    LinkData,
    /// What happens to acknowledgements.
    LinkAck,
}

impl Group {
    /// All of them, with the words of the text form for them.
    pub const NAMED: [(&'static str, Group); 8] = [
        ("operation", Group::Operation),
        ("actor", Group::Actor),
        ("family", Group::Family),
        ("socket", Group::Socket),
        ("file", Group::File),
        ("reader", Group::Reader),
        ("link data", Group::LinkData),
        ("link ack", Group::LinkAck),
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        let named = Group::NAMED.iter().find(|(_, group)| *group == self);
        named.map_or("", |(name, _)| name)
    }
}

/// All features, by group.
pub fn all() -> &'static [Feature] {
    &FEATURES
}

/// Whether the features at `a` and `b` of [`all`] can be in one scenario.
pub fn can_meet(a: usize, b: usize) -> bool {
    MEETINGS[a * FEATURES.len() + b]
}

/// How often each feature and each pair of them was exercised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    cases: u64,
    // By [row * n + column]; a feature alone is the pair with itself.
    pairs: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Coverage {
            cases: 0,
            pairs: vec![0; FEATURES.len() * FEATURES.len()],
        }
    }
}

impl Coverage {
    /// Counts one scenario.
    pub fn add(&mut self, scenario: &Scenario) {
        let count = FEATURES.len();
        let has: Vec<usize> = (0..count)
            .filter(|&it| (FEATURES[it].has)(scenario))
            .collect();
        self.cases += 1;
        for &a in &has {
            for &b in &has {
                self.pairs[a * count + b] += 1;
            }
        }
    }

    /// How many scenarios were counted.
    pub fn cases(&self) -> u64 {
        self.cases
    }

    /// How many of them had the feature at `index` of [`all`].
    pub fn of(&self, index: usize) -> u64 {
        self.of_pair(index, index)
    }

    /// How many of them had both.
    pub fn of_pair(&self, a: usize, b: usize) -> u64 {
        self.pairs[a * FEATURES.len() + b]
    }

    /// The pairs that can meet, and how often each did. A feature alone is no pair.
    pub fn pairs(&self) -> impl Iterator<Item = ((usize, usize), u64)> {
        let of = |a| (0..a).map(move |b| (b, a));
        let all = (0..FEATURES.len()).flat_map(of);
        all.filter(|&(a, b)| can_meet(a, b))
            .map(|pair| (pair, self.of_pair(pair.0, pair.1)))
    }
}

static MEETINGS: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let meet = |a: &Feature, b: &Feature| {
        let mut both = Scenario::default();
        (a.put)(&mut both);
        (b.put)(&mut both);
        let both = normalize(both);
        (a.has)(&both) && (b.has)(&both)
    };
    let row = |a| FEATURES.iter().map(move |b| meet(a, b) || meet(b, a));
    FEATURES.iter().flat_map(row).collect()
});

static FEATURES: LazyLock<Vec<Feature>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for table in [
        OPERATIONS, ACTORS, FAMILIES, SOCKET, FILE, READER, DATA, ACK,
    ] {
        all.extend_from_slice(table);
    }
    all
});

macro_rules! features {
    ($group:ident: $($name:literal, $has:expr, $put:expr;)*) => {
        &[$(Feature { group: Group::$group, name: $name, has: $has, put: $put }),*]
    };
}

const ONE: Range = Range { offset: 0, len: 1 };
const TOO_LONG: Range = Range {
    offset: 0,
    len: *FILE_BYTES.end() + 1,
};

fn any(scenario: &Scenario, what: impl Fn(Op) -> bool) -> bool {
    scenario.steps.iter().any(|step| what(step.op))
}

fn by(scenario: &Scenario, actor: Actor, op: Op) -> bool {
    scenario.steps.contains(&Step { actor, op })
}

fn push(scenario: &mut Scenario, actor: Actor, op: Op) {
    scenario.steps.push(Step { actor, op });
}

fn by_a(scenario: &mut Scenario, op: Op) {
    push(scenario, Actor::A, op);
}

fn by_reader(scenario: &mut Scenario, op: Op) {
    scenario.setup.reader = ReaderMode::Paused;
    push(scenario, Actor::Reader, op);
}

fn splice_out(scenario: &mut Scenario, more: bool, nonblock: bool) {
    by_a(scenario, Op::SpliceIn(ONE));
    let (len, tee) = (1, false);
    by_a(
        scenario,
        Op::SpliceOut {
            len,
            more,
            nonblock,
            tee,
        },
    );
}

fn copies(scenario: &Scenario, call: Copying) -> bool {
    any(
        scenario,
        |op| matches!(op, Op::Copy { by, .. } if by == call),
    )
}

fn copy(scenario: &mut Scenario, by: Copying) {
    by_a(scenario, Op::Copy { by, range: ONE });
}

fn hold(scenario: &mut Scenario, way: Way, after_packets: u32) {
    push(scenario, Actor::Link, Op::Hold { way, after_packets });
}

fn release(scenario: &mut Scenario, way: Way, packets: Option<u32>) {
    hold(scenario, way, 0);
    push(scenario, Actor::Link, Op::Release { way, packets });
}

/// The setup may forbid it of one direction.
fn both_ways(scenario: &mut Scenario, put: fn(&mut Scenario, Way)) {
    for (_, way) in Way::NAMED {
        put(scenario, way);
    }
}

const OPERATIONS: &[Feature] = features! { Operation:
    "sendfile", |s| any(s, |op| matches!(op, Op::Sendfile(_))), |s| by_a(s, Op::Sendfile(ONE));
    "past the end", |s| {
        let size = s.setup.file.size_bytes;
        any(s, |op| matches!(op, Op::Sendfile(range) if range.end() > size))
    }, |s| by_a(s, Op::Sendfile(TOO_LONG));
    "sendfile without offset", |s| any(s, |op| matches!(op, Op::SendfileOn { .. })),
        |s| by_a(s, Op::SendfileOn { len: 1 });
    "write", |s| copies(s, Copying::Write), |s| copy(s, Copying::Write);
    "send", |s| copies(s, Copying::Send), |s| copy(s, Copying::Send);
    "writev", |s| copies(s, Copying::Writev), |s| copy(s, Copying::Writev);
    "pipe", |s| any(s, |op| matches!(op, Op::Pipe { .. })), |s| splice_out(s, false, false);
    "splice-in", |s| any(s, |op| matches!(op, Op::SpliceIn(_))), |s| by_a(s, Op::SpliceIn(ONE));
    "splice-out", |s| any(s, |op| matches!(op, Op::SpliceOut { .. })),
        |s| splice_out(s, false, false);
    "splice-out more", |s| any(s, |op| matches!(op, Op::SpliceOut { more: true, .. })),
        |s| splice_out(s, true, false);
    "splice-out nonblock", |s| any(s, |op| matches!(op, Op::SpliceOut { nonblock: true, .. })),
        |s| splice_out(s, false, true);
    "pipe-write", |s| any(s, |op| matches!(op, Op::PipeWrite(_))),
        |s| by_a(s, Op::PipeWrite(ONE));
    "vmsplice", |s| any(s, |op| matches!(op, Op::Vmsplice { .. })),
        |s| by_a(s, Op::Vmsplice { range: ONE, gift: false });
    "vmsplice gift", |s| any(s, |op| matches!(op, Op::Vmsplice { gift: true, .. })),
        |s| by_a(s, Op::Vmsplice { range: ONE, gift: true });
    "tee", |s| any(s, |op| matches!(op, Op::Tee { .. })), |s| {
        by_a(s, Op::SpliceIn(ONE));
        by_a(s, Op::Tee { len: 1 });
    };
    "splice-out tee", |s| any(s, |op| matches!(op, Op::SpliceOut { tee: true, .. })), |s| {
        by_a(s, Op::SpliceIn(ONE));
        by_a(s, Op::Tee { len: 1 });
        by_a(s, Op::SpliceOut { len: 1, more: false, nonblock: false, tee: true });
    };
    "mmap-write", |s| any(s, |op| matches!(op, Op::MmapWrite(_))), |s| by_a(s, Op::MmapWrite(ONE));
    "pwrite", |s| any(s, |op| matches!(op, Op::Pwrite(_))), |s| by_a(s, Op::Pwrite(ONE));
    "fork-write", |s| any(s, |op| matches!(op, Op::ForkWrite(_))), |s| by_a(s, Op::ForkWrite(ONE));
    "second mapping", |s| any(s, |op| matches!(op, Op::SecondWrite(_))),
        |s| by_a(s, Op::SecondWrite(ONE));
    "msync", |s| any(s, |op| op == Op::Msync), |s| by_a(s, Op::Msync);
    "drop-caches", |s| any(s, |op| op == Op::DropCaches), |s| by_a(s, Op::DropCaches);
    "truncate", |s| any(s, |op| matches!(op, Op::Truncate { .. })),
        |s| by_a(s, Op::Truncate { size_bytes: 1 });
    "punch", |s| any(s, |op| matches!(op, Op::Punch(_))), |s| by_a(s, Op::Punch(ONE));
    "read", |s| any(s, |op| matches!(op, Op::Read { .. })), |s| by_reader(s, Op::Read { len: 1 });
    "own read", Scenario::reads_itself, |s| {
        s.setup.reader = ReaderMode::Paused;
        by_a(s, Op::Read { len: 1 });
    };
    "wait", |s| any(s, |op| matches!(op, Op::Wait { .. })), |s| by_a(s, Op::Wait { us: 1 });
    "signal", |s| any(s, |op| matches!(op, Op::Signal { .. })),
        |s| push(s, Actor::B, Op::Signal { to: Actor::A });
    "kill", |s| any(s, |op| matches!(op, Op::Kill { .. })),
        |s| push(s, Actor::B, Op::Kill { to: Actor::A });
    "cork", |s| any(s, |op| matches!(op, Op::Cork { on: true })),
        |s| by_a(s, Op::Cork { on: true });
    "uncork", |s| any(s, |op| matches!(op, Op::Cork { on: false })),
        |s| by_a(s, Op::Cork { on: false });
    "hold data", |s| s.holds(Way::Data), |s| hold(s, Way::Data, 0);
    "hold ack", |s| s.holds(Way::Ack), |s| hold(s, Way::Ack, 0);
    "hold after", |s| any(s, |op| matches!(op, Op::Hold { after_packets: 1.., .. })),
        |s| both_ways(s, |s, way| hold(s, way, 1));
    "release", |s| any(s, |op| matches!(op, Op::Release { packets: None, .. })), |s| {
        both_ways(s, |s, way| release(s, way, None));
    };
    "release packets", |s| any(s, |op| matches!(op, Op::Release { packets: Some(_), .. })), |s| {
        both_ways(s, |s, way| release(s, way, Some(1)));
    };
    "shutdown", |s| any(s, |op| op == Op::Shutdown), |s| by_a(s, Op::Shutdown);
    "reset", |s| any(s, |op| op == Op::Reset), |s| by_reader(s, Op::Reset);
    "close", |s| by(s, Actor::Reader, Op::Close), |s| by_reader(s, Op::Close);
    "sender close", |s| any(s, |op| op == Op::Close) && !by(s, Actor::Reader, Op::Close),
        |s| by_a(s, Op::Close);
};

fn acts(scenario: &Scenario, actor: Actor) -> bool {
    scenario.steps.iter().any(|step| step.actor == actor)
}

fn sends(scenario: &Scenario, actor: Actor) -> bool {
    let mut steps = scenario.steps.iter();
    steps.any(|step| step.actor == actor && step.op.sends())
}

const ACTORS: &[Feature] = features! { Actor:
    "b", |s| acts(s, Actor::B), |s| push(s, Actor::B, Op::MmapWrite(ONE));
    "c", |s| acts(s, Actor::C), |s| push(s, Actor::C, Op::MmapWrite(ONE));
    "b sends", |s| sends(s, Actor::B), |s| push(s, Actor::B, Op::Sendfile(ONE));
    "c sends", |s| sends(s, Actor::C), |s| push(s, Actor::C, Op::Sendfile(ONE));
    "reader", |s| acts(s, Actor::Reader), |s| by_reader(s, Op::Read { len: 1 });
};

fn family(scenario: &mut Scenario, family: Family) {
    scenario.setup.socket.family = family;
}

const FAMILIES: &[Feature] = features! { Family:
    "tcp4", |s| s.setup.socket.family == Family::Tcp4, |s| family(s, Family::Tcp4);
    "tcp6", |s| s.setup.socket.family == Family::Tcp6, |s| family(s, Family::Tcp6);
    "ktls4", |s| s.setup.socket.family == Family::Ktls4, |s| family(s, Family::Ktls4);
    "mptcp4", |s| s.setup.socket.family == Family::Mptcp4, |s| family(s, Family::Mptcp4);
    "mptcp6", |s| s.setup.socket.family == Family::Mptcp6, |s| family(s, Family::Mptcp6);
    "unix", |s| s.setup.socket.family == Family::Unix, |s| family(s, Family::Unix);
    "vsock", |s| s.setup.socket.family == Family::Vsock, |s| family(s, Family::Vsock);
    "udp4", |s| s.setup.socket.family == Family::Udp4, |s| family(s, Family::Udp4);
    "udp6", |s| s.setup.socket.family == Family::Udp6, |s| family(s, Family::Udp6);
};

const SOCKET: &[Feature] = features! { Socket:
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
    "plain", |s| {
        let socket = s.setup.socket;
        socket == SocketSpec { family: socket.family, ..SocketSpec::default() }
    }, |s| s.setup.socket = SocketSpec { family: s.setup.socket.family, ..SocketSpec::default() };
};

const FILE: &[Feature] = features! { File:
    "tmpfs", |s| s.setup.file.kind == FileKind::Tmpfs, |s| s.setup.file.kind = FileKind::Tmpfs;
    "memfd", |s| s.setup.file.kind == FileKind::Memfd, |s| s.setup.file.kind = FileKind::Memfd;
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

const READER: &[Feature] = features! { Reader:
    "drain", |s| s.setup.reader == ReaderMode::Drain, |s| s.setup.reader = ReaderMode::Drain;
    "paused", |s| s.setup.reader == ReaderMode::Paused, |s| s.setup.reader = ReaderMode::Paused;
};

const DELAY_US: u64 = 1000;

// The same for both directions; a function pointer cannot carry which one it is.
macro_rules! link {
    ($group:ident, $way:ident) => {
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
        }
    };
}

const DATA: &[Feature] = link!(LinkData, data);
const ACK: &[Feature] = link!(LinkAck, ack);

#[cfg(test)]
mod tests;
