//! How many threads a program needs.

use super::ends;
use super::hold;
use super::lend;
use super::own::Own;
use crate::scenario::{Actor, Op, ReaderMode, Scenario, Step};

/// What of a connection surely fits the receiver's buffer, if nobody has said how large
/// that is: half of what Linux begins with (tcp_rmem).
const FITS_BYTES: u64 = 32 * 1024;

/// Who does what in a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// How it receives.
    pub reader: Reader,
    /// What each sender has for itself.
    pub own: Own,
    /// Threads wait for each other's steps.
    pub takes_turns: bool,
    /// The file can change while a call that sends runs, or has lent it.
    pub changes_during: bool,
}

/// How a program receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// By a thread that reads whatever arrives.
    Drains,
    /// In the thread of `a`: what is sent fits the buffers.
    Inline,
    /// By a thread that has steps of its own.
    Actor,
}

impl Shape {
    /// That of a scenario.
    pub fn of(scenario: &Scenario) -> Shape {
        let steps = &scenario.steps;
        let beside = |step: &Step| matches!(step.actor, Actor::B | Actor::C | Actor::Link);
        // Who reads what it sends does so when it has sent it.
        let fits = fits(scenario) || scenario.reads_itself();
        let inline = fits && !steps.iter().any(beside) && reads_too_much(scenario).is_none();
        let reader = match scenario.setup.reader {
            ReaderMode::Drain => Reader::Drains,
            ReaderMode::Paused if inline => Reader::Inline,
            ReaderMode::Paused => Reader::Actor,
        };
        let senders: Vec<Actor> = senders(scenario).collect();
        let writes = |step: &Step| step.op.writes().is_some();
        let foreign = |step: &Step| writes(step) && senders.iter().any(|it| *it != step.actor);
        Shape {
            reader,
            own: Own::of(scenario),
            takes_turns: reader == Reader::Actor
                || steps.iter().any(beside)
                || !hold::deadlocks(scenario).is_empty(),
            changes_during: steps.iter().any(foreign) || lend::changes(scenario),
        }
    }

    /// The threads besides that of `a`, which is the main one.
    pub fn threads(&self, scenario: &Scenario) -> Vec<Actor> {
        let stuck = !hold::deadlocks(scenario).is_empty();
        let acts = |actor: &Actor| {
            let mut steps = scenario.steps.iter();
            steps.any(|it| it.actor == *actor) || *actor == Actor::Link && stuck
        };
        let others = [Actor::B, Actor::C, Actor::Link];
        let mut threads: Vec<Actor> = others.into_iter().filter(acts).collect();
        // Each connection has who reads the rest of it.
        let rests = self.own == Own::Connection;
        let reads = scenario.steps.iter().any(|it| it.actor == Actor::Reader);
        if self.reader == Reader::Actor && (reads || !rests) {
            threads.push(Actor::Reader);
        }
        threads
    }
}

/// The actors that send.
pub fn senders(scenario: &Scenario) -> impl Iterator<Item = Actor> + '_ {
    let sends = |actor: &Actor| {
        let mut steps = scenario.steps.iter();
        steps.any(|it| it.actor == *actor && it.op.sends())
    };
    Actor::SENDING_SIDE.into_iter().filter(sends)
}

/// How many bytes can be sent at most: no call moves what the file does not have.
pub fn most_bytes(scenario: &Scenario) -> u64 {
    let extent_bytes = scenario.extent_bytes();
    // A tee has nothing that was not put into a pipe.
    let fills = scenario.steps.iter().filter_map(|it| it.op.fills());
    let filled_bytes: u64 = fills.map(|(range, _)| range.len.min(extent_bytes)).sum();
    let calls = scenario.steps.iter().map(|step| match step.op {
        Op::Sendfile(range) => range.len.min(extent_bytes),
        Op::SendfileOn { len } => len.min(extent_bytes),
        Op::Copy { range, .. } | Op::Borrow { range, .. } => range.len,
        Op::SpliceOut { len, .. } => len.min(filled_bytes),
        _ => 0,
    });
    calls.sum()
}

/// The first read that would wait for what the same thread has yet to send, or, by another
/// thread than the reader's, for what nobody sends.
pub fn reads_too_much(scenario: &Scenario) -> Option<Step> {
    let steps = &scenario.steps;
    let sure = |steps: &[Step]| -> u64 { steps.iter().map(|it| sure_bytes(scenario, it)).sum() };
    let mut read_bytes = 0;
    for (index, step) in steps.iter().enumerate() {
        let Op::Read { len } = step.op else {
            continue;
        };
        read_bytes += len;
        let sent_bytes = match step.actor {
            Actor::B | Actor::C => sure(steps),
            _ => sure(&steps[..index]),
        };
        if read_bytes > sent_bytes {
            return Some(*step);
        }
    }
    None
}

/// How many bytes a step sends at least.
fn sure_bytes(scenario: &Scenario, step: &Step) -> u64 {
    let setup = &scenario.setup;
    let lost = setup.socket.family.has_datagrams() && !setup.data.is_steady();
    if lost || ends::may_fail(scenario) || scenario.resizes() {
        return 0;
    }
    match step.op {
        Op::Sendfile(range) => range
            .end()
            .min(setup.file.size_bytes)
            .saturating_sub(range.offset),
        Op::Copy { range, .. } | Op::Borrow { range, .. } => range.len,
        _ => 0,
    }
}

fn fits(scenario: &Scenario) -> bool {
    let socket = &scenario.setup.socket;
    let sized = socket.sndbuf_bytes.or(socket.rcvbuf_bytes).is_some();
    let waits = socket.tcp.notsent_lowat_bytes > 0;
    !sized && !waits && most_bytes(scenario) <= FITS_BYTES
}
