//! What is done, and by whom.

use super::{Feature, Group};
use crate::scenario::limits::{FILE_BYTES, MAX_MOVED_BYTES, SECTOR_BYTES};
use crate::scenario::{
    Actor, Borrowing, Copying, FileKind, Filling, Op, PAGE_BYTES, Range, ReaderMode, Scenario,
    Step, Way,
};

const ONE: Range = Range { offset: 0, len: 1 };
const SECTOR: Range = Range {
    offset: 0,
    len: SECTOR_BYTES,
};
const ONE_PAGE: Range = Range {
    offset: 0,
    len: PAGE_BYTES,
};
const TOO_LONG: Range = Range {
    offset: 0,
    len: *FILE_BYTES.end() + 1,
};

const MORE_THAN_MOVES: Range = Range {
    offset: 0,
    len: MAX_MOVED_BYTES + 1,
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

/// On a file that has a sector.
fn on_ext4(scenario: &mut Scenario, op: Op) {
    let file = &mut scenario.setup.file;
    file.kind = FileKind::Ext4;
    file.size_bytes = file.size_bytes.max(SECTOR_BYTES);
    by_a(scenario, op);
}

fn splice_out(scenario: &mut Scenario, more: bool, nonblock: bool) {
    by_a(
        scenario,
        Op::SpliceIn {
            range: ONE,
            by: Filling::Splice,
        },
    );
    let (len, tee) = (1, false);
    by_a(
        scenario,
        Op::SpliceOut {
            len,
            more,
            nonblock,
            tee,
            move_pages: false,
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

fn borrow(scenario: &mut Scenario, by: Borrowing) {
    by_a(scenario, Op::Borrow { by, range: ONE });
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

pub const OPERATIONS: &[Feature] = features! { Operation:
    "sendfile", |s| any(s, |op| matches!(op, Op::Sendfile(_))), |s| by_a(s, Op::Sendfile(ONE));
    "past the end", |s| {
        let size = s.setup.file.size_bytes;
        any(s, |op| matches!(op, Op::Sendfile(range) if range.end() > size))
    }, |s| by_a(s, Op::Sendfile(TOO_LONG));
    "more than one call moves", |s| {
        any(s, |op| matches!(op, Op::Sendfile(range) if range.len > MAX_MOVED_BYTES))
    }, |s| by_a(s, Op::Sendfile(MORE_THAN_MOVES));
    "sendfile without offset", |s| any(s, |op| matches!(op, Op::SendfileOn { .. })),
        |s| by_a(s, Op::SendfileOn { len: 1 });
    "write", |s| copies(s, Copying::Write), |s| copy(s, Copying::Write);
    "send", |s| copies(s, Copying::Send), |s| copy(s, Copying::Send);
    "writev", |s| copies(s, Copying::Writev), |s| copy(s, Copying::Writev);
    "send-zerocopy", |s| s.borrows(Borrowing::Send), |s| borrow(s, Borrowing::Send);
    "uring-send-zerocopy", |s| s.borrows(Borrowing::Uring), |s| borrow(s, Borrowing::Uring);
    "await-completions", |s| any(s, |op| op == Op::AwaitCompletions), |s| {
        borrow(s, Borrowing::Send);
        by_a(s, Op::AwaitCompletions);
    };
    "pipe", |s| any(s, |op| matches!(op, Op::Pipe { .. })), |s| splice_out(s, false, false);
    "splice-in", |s| any(s, |op| matches!(op, Op::SpliceIn { .. }) && !op.is_sendfile_in()), |s| by_a(s, Op::SpliceIn { range: ONE, by: Filling::Splice });
    "splice-out", |s| any(s, |op| matches!(op, Op::SpliceOut { .. })),
        |s| splice_out(s, false, false);
    "splice-out more", |s| any(s, |op| matches!(op, Op::SpliceOut { more: true, .. })),
        |s| splice_out(s, true, false);
    "splice-out nonblock", |s| any(s, |op| matches!(op, Op::SpliceOut { nonblock: true, .. })),
        |s| splice_out(s, false, true);
    "pipe-write", |s| any(s, |op| matches!(op, Op::PipeWrite { .. })),
        |s| by_a(s, Op::PipeWrite { range: ONE, tee: false });
    "pipe-write tee", |s| any(s, |op| matches!(op, Op::PipeWrite { tee: true, .. })),
        |s| by_a(s, Op::PipeWrite { range: ONE, tee: true });
    "vmsplice", |s| any(s, |op| matches!(op, Op::Vmsplice { .. })),
        |s| by_a(s, Op::Vmsplice { range: ONE, gift: false });
    "vmsplice gift", |s| any(s, |op| matches!(op, Op::Vmsplice { gift: true, .. })),
        |s| by_a(s, Op::Vmsplice { range: ONE, gift: true });
    "splice-in move", |s| any(s, |op| matches!(op, Op::SpliceIn { by: Filling::Move, .. })),
        |s| by_a(s, Op::SpliceIn { range: ONE, by: Filling::Move });
    "sendfile-in", |s| any(s, |op| op.is_sendfile_in()),
        |s| by_a(s, Op::SpliceIn { range: ONE, by: Filling::Sendfile });
    "splice-out move", |s| any(s, |op| matches!(op, Op::SpliceOut { move_pages: true, .. })), |s| {
        by_a(s, Op::SpliceIn { range: ONE, by: Filling::Splice });
        by_a(s, Op::SpliceOut { len: 1, more: false, nonblock: false, tee: false, move_pages: true });
    };
    "tee", |s| any(s, |op| matches!(op, Op::Tee { .. })), |s| {
        by_a(s, Op::SpliceIn { range: ONE, by: Filling::Splice });
        by_a(s, Op::Tee { len: 1 });
    };
    "pour", |s| any(s, |op| matches!(op, Op::Pour { .. })), |s| {
        by_a(s, Op::SpliceIn { range: ONE, by: Filling::Splice });
        by_a(s, Op::Pour { len: 1 });
    };
    "splice-out tee", |s| any(s, |op| matches!(op, Op::SpliceOut { tee: true, .. })), |s| {
        by_a(s, Op::SpliceIn { range: ONE, by: Filling::Splice });
        by_a(s, Op::Tee { len: 1 });
        by_a(s, Op::SpliceOut { len: 1, more: false, nonblock: false, tee: true, move_pages: false });
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
    "dwrite", |s| any(s, |op| matches!(op, Op::DirectWrite(_))),
        |s| on_ext4(s, Op::DirectWrite(SECTOR));
    "zero", |s| any(s, |op| matches!(op, Op::ZeroRange(_))),
        |s| on_ext4(s, Op::ZeroRange(ONE));
    "collapse", |s| any(s, |op| matches!(op, Op::Collapse(_))), |s| {
        s.setup.file.size_bytes = s.setup.file.size_bytes.max(2 * PAGE_BYTES);
        on_ext4(s, Op::Collapse(ONE_PAGE));
    };
    "read", |s| any(s, |op| matches!(op, Op::Read { .. })), |s| by_reader(s, Op::Read { len: 1 });
    "own read", Scenario::reads_itself, |s| {
        s.setup.reader = ReaderMode::Paused;
        by_a(s, Op::Read { len: 1 });
    };
    "wait", |s| any(s, |op| matches!(op, Op::Wait { .. })), |s| by_a(s, Op::Wait { us: 1 });
    "signal", |s| any(s, |op| matches!(op, Op::Signal { .. })),
        |s| push(s, Actor::B, Op::Signal { to: Actor::A });
    "await", |s| any(s, |op| matches!(op, Op::Await { .. })),
        |s| push(s, Actor::B, Op::Await { who: Actor::A });
    "meet", |s| any(s, |op| matches!(op, Op::Meet { .. })),
        |s| push(s, Actor::B, Op::Meet { who: Actor::A, after_ns: 0 });
    "meet after", |s| any(s, |op| matches!(op, Op::Meet { after_ns: 1.., .. })),
        |s| push(s, Actor::B, Op::Meet { who: Actor::A, after_ns: 1 });
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

/// On a connection of its own where none can be shared.
fn other_sends(scenario: &mut Scenario, actor: Actor) {
    let socket = &mut scenario.setup.socket;
    socket.each |= !socket.family.is_plain_tcp();
    push(scenario, actor, Op::Sendfile(ONE));
}

pub const ACTORS: &[Feature] = features! { Actor:
    "b", |s| acts(s, Actor::B), |s| push(s, Actor::B, Op::MmapWrite(ONE));
    "c", |s| acts(s, Actor::C), |s| push(s, Actor::C, Op::MmapWrite(ONE));
    "b sends", |s| sends(s, Actor::B), |s| other_sends(s, Actor::B);
    "c sends", |s| sends(s, Actor::C), |s| other_sends(s, Actor::C);
    "reader", |s| acts(s, Actor::Reader), |s| by_reader(s, Op::Read { len: 1 });
};
