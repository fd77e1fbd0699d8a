//! The specification in executable form: what the manual pages say that each call does,
//! over a network that keeps what it is given. It is told in which order the calls of a
//! real history were entered and left, and how much each moved, where the manual pages
//! leave that open; it says what each may return, which bytes may arrive, and what may
//! be in the file in the end.
//!
//! It is a second opinion on [`crate::oracle`], and shares nothing with it: what the one
//! flags and the other does not is a mistake of one of the two. It is slow, and does
//! not say why something is wrong, only where.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `file` | the bytes of the file and its length |
//! | `bytes` | bytes that are on their way: in a pipe or in the socket |
//! | `loans` | pages that are lent, and given back |
//! | `pipe` | a pipe, by what is in it and by how full it is |
//! | `socket` | one connection, and what goes by it |
//! | `wire` | what may arrive of a stream |
//! | `packets` | where a stream that keeps boundaries is cut |
//! | `messages` | which datagrams may arrive |
//! | `network` | what the network may do to them |
//! | `limits` | how long a message may be |
//! | `connection` | how a connection may end |
//! | `calls` | what a call may return |

mod bytes;
mod calls;
mod connection;
mod doctors;
mod file;
pub mod fuzz;
mod limits;
mod loans;
mod messages;
mod network;
mod packets;
mod pipe;
mod socket;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::history::{Call, History, Outcome};
use crate::oracle::Contract;
use crate::scenario::{Actor, Op, Range, Scenario};

use calls::Fault;
use file::{Content, Sizes};
use messages::Ends;
use pipe::Pipe;
use socket::{Seen, Socket};

/// What the specification says of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opinion {
    /// It can have been so.
    Agrees,
    /// It cannot.
    Differs {
        /// The call that cannot have been so, if it is one.
        step: Option<usize>,
        /// What is different, for people.
        what: String,
    },
    /// It has too many equal bytes of several senders.
    Unknown,
}

/// Holds `history` against the specification; under [`Contract::Stable`] the bytes of a
/// send are settled when it returns. How long anything takes it does not say.
pub fn opinion(contract: Contract, scenario: &Scenario, history: &History) -> Opinion {
    match Reference::new(contract, scenario).follow(history) {
        Ok(true) => Opinion::Agrees,
        Ok(false) => Opinion::Unknown,
        Err((step, what)) => Opinion::Differs { step, what },
    }
}

/// What happens, in the order of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Enter(usize),
    Arrive(Actor, usize),
    Tell(Actor, usize),
    Leave(usize),
}

/// A call between its entry and its return.
struct Running {
    step: usize,
    op: Op,
    /// The part of the file that it is about.
    range: Option<Range>,
    /// How long the file was at some instant of it.
    sizes: Vec<u64>,
    /// What was in the pipe that it takes from.
    held: u64,
    held_pages: u64,
    signalled: bool,
    /// Past the page cache, while something was written by way of it; or the other way
    /// round.
    mixed: bool,
}

struct Reference<'a> {
    contract: Contract,
    scenario: &'a Scenario,
    content: Content,
    sizes: Sizes,
    /// Where sendfile(2) without an offset begins; `None`: one was killed.
    position: Option<u64>,
    pipes: [Pipe; 2],
    /// By whose it is.
    sockets: BTreeMap<Actor, Socket>,
    running: Vec<Running>,
    /// Of steps that are made in several calls: what is left of them.
    rests: BTreeMap<usize, Op>,
}

/// Why a connection is there.
const HAS_ONE: &str = "whoever has a connection has a socket";

type Step<T = ()> = Result<T, (Option<usize>, String)>;

impl<'a> Reference<'a> {
    fn new(contract: Contract, scenario: &'a Scenario) -> Self {
        let size = scenario.setup.file.size_bytes;
        Reference {
            contract,
            scenario,
            content: Content::new(scenario),
            sizes: Sizes::new(size),
            position: Some(0),
            pipes: Default::default(),
            sockets: (scenario.connections())
                .map(|actor| (actor, Socket::new(scenario)))
                .collect(),
            running: Vec::new(),
            rests: BTreeMap::new(),
        }
    }

    /// Whether it is certain, if nothing is wrong.
    fn follow(mut self, history: &History) -> Step<bool> {
        let mut events: Vec<(u64, Event)> = Vec::new();
        for (at, call) in history.calls.iter().enumerate() {
            if call.step >= self.scenario.steps.len() {
                return Err((Some(call.step), "no such operation".into()));
            }
            events.push((call.entry.order, Event::Enter(at)));
            if call.outcome != Outcome::Pending {
                events.push((call.exit.order, Event::Leave(at)));
            }
        }
        for (&actor, socket) in &mut self.sockets {
            let seen = Seen::of(history, actor);
            socket.loans.expect(seen.completions);
            let chunks = seen.chunks.iter().enumerate();
            events.extend(chunks.map(|(at, chunk)| (chunk.at.order, Event::Arrive(actor, at))));
            let told = seen.completions.iter().enumerate();
            events.extend(told.map(|(at, told)| (told.at.order, Event::Tell(actor, at))));
        }
        events.sort();
        for (_, event) in events {
            match event {
                Event::Enter(at) => self.enter(&history.calls[at]),
                Event::Leave(at) => self.leave(&history.calls[at])?,
                Event::Tell(actor, at) => {
                    let told = Seen::of(history, actor).completions[at];
                    let socket = self.socket(actor);
                    for call in socket.loans.tell(told.of)? {
                        socket.settle(call);
                    }
                }
                Event::Arrive(actor, at) => {
                    let seen = Seen::of(history, actor);
                    let socket = self.sockets.get_mut(&actor).expect(HAS_ONE);
                    socket.arrive(seen, &seen.chunks[at], &self.content)?;
                }
            }
        }
        self.end(history)
    }

    /// The one that an actor acts on.
    fn socket(&mut self, actor: Actor) -> &mut Socket {
        let owner = self.scenario.connection_of(actor);
        self.sockets.get_mut(&owner).expect(HAS_ONE)
    }

    fn enter(&mut self, call: &Call) {
        let step = self.scenario.steps[call.step];
        let op = self.rests.get(&call.step).copied().unwrap_or(step.op);
        // Of a kill it is that of who is killed.
        let about = match op {
            Op::Kill { to } => to,
            _ => step.actor,
        };
        let scenario = self.scenario;
        self.socket(about).connection.enter(scenario, call);
        // sendfile(2), of an offset that is NULL: "data will be read from in_fd starting
        // at the file offset".
        let range = match op {
            Op::SendfileOn { len } => self.position.map(|offset| Range { offset, len }),
            op => op.range(),
        };
        let moved = range.map(|range| Range {
            len: match call.outcome {
                Outcome::Returned(moved) => moved.min(range.len),
                // Nobody knows how much.
                Outcome::Killed | Outcome::Pending => {
                    let left = self.scenario.extent_bytes().saturating_sub(range.offset);
                    range.len.min(left)
                }
                Outcome::Failed(_) | Outcome::Skipped => 0,
            },
            ..range
        });
        let generation = self.scenario.generation(call.step);
        if let (Some(generation), Some(written)) = (generation, written(op, call, moved)) {
            if let Op::Collapse(taken) = op {
                self.content.collapse(generation, taken);
            }
            self.content.enter(generation, written);
            self.show(generation, written);
            if let Some(resize) = file::resize(op, written) {
                self.sizes.enter(generation, resize);
                let now = self.sizes.possible();
                for other in &mut self.running {
                    other.sizes.extend_from_slice(&now);
                }
            }
        }
        if let Op::Borrow { by, .. } = op {
            self.socket(step.actor).loans.enter(by, call);
        }
        let taken = call.outcome.bytes();
        let (held, held_pages) = match op {
            Op::SpliceOut { tee, .. } => self.pipes[usize::from(tee)].fill(),
            Op::Tee { .. } | Op::Pour { .. } => self.pipes[0].fill(),
            _ => (0, 0),
        };
        let newly = |content: &Content| match moved {
            Some(range) => content.read(range, call.entry.order),
            None => Vec::new(),
        };
        if let Some((_, second)) = op.fills() {
            let mut bytes = newly(&self.content);
            for stretch in &mut bytes {
                stretch.loose = matches!(op, Op::PipeWrite { .. });
            }
            // write(2) has pages of the pipe's own, pipe(7): "Pipe capacity".
            let filled = match (op, moved) {
                (Op::PipeWrite { .. }, Some(range)) => Some(Range { offset: 0, ..range }),
                _ => moved,
            };
            let is_hole = matches!(op, Op::SpliceIn { .. }) && file::lacks_pages(self.scenario);
            let hole = is_hole.then_some(call.entry.order);
            self.pipes[usize::from(second)].put(&pipe::pages(filled, hole), bytes);
        }
        match op {
            Op::Tee { .. } => {
                let (slots, bytes) = self.pipes[0].first(taken);
                self.pipes[1].put(&slots, bytes);
            }
            Op::Pour { .. } => {
                let (slots, _) = self.pipes[0].first(taken);
                let bytes = self.pipes[0].take(taken);
                self.pipes[1].put(&slots, bytes);
            }
            op if op.sends() => {
                let bytes = match op {
                    Op::SpliceOut { tee, .. } => self.pipes[usize::from(tee)].take(taken),
                    _ => newly(&self.content),
                };
                let owner = self.scenario.connection_of(step.actor);
                let socket = self.sockets.get_mut(&owner).expect(HAS_ONE);
                socket.send(step.actor, call.entry.order, op, bytes, &self.content);
                if let (Outcome::Killed | Outcome::Pending, Some(range)) = (call.outcome, moved) {
                    socket.give_up(step.actor, range.len);
                }
            }
            _ => {}
        }
        let is_signalled = |other: &Running| match self.scenario.steps[other.step].op {
            Op::Signal { to } => to == step.actor,
            _ => false,
        };
        let signalled = self.running.iter().any(is_signalled);
        if let Op::Signal { to } = op {
            for other in &mut self.running {
                other.signalled |= self.scenario.steps[other.step].actor == to;
            }
        }
        let mut mixed = false;
        for other in &mut self.running {
            if file::mixes(op, other.op) {
                (mixed, other.mixed) = (true, true);
            }
        }
        self.running.push(Running {
            step: call.step,
            op,
            range,
            sizes: self.sizes.possible(),
            held,
            held_pages,
            signalled,
            mixed,
        });
    }

    /// A write shows in all that refers to the pages of the file, from its entry on.
    fn show(&mut self, generation: u8, written: Range) {
        for pipe in &mut self.pipes {
            pipe.show(generation, written);
        }
        for socket in self.sockets.values_mut() {
            socket.show(generation, written);
        }
    }

    fn leave(&mut self, call: &Call) -> Step {
        let Some(at) = self.running.iter().position(|it| it.step == call.step) else {
            return Err((Some(call.step), "returns without a call".into()));
        };
        let running = self.running.remove(at);
        let op = running.op;
        if let Some(generation) = self.scenario.generation(call.step) {
            let direct = matches!(op, Op::DirectWrite(_));
            self.content.leave(generation, direct && running.mixed);
            self.sizes.leave(generation);
        }
        let actor = self.scenario.steps[call.step].actor;
        let contract = self.contract;
        let waiting = self.socket(actor).waiting();
        let socket = self.socket(actor);
        // Killed, it never returned.
        if call.outcome != Outcome::Killed && op.sends() {
            let settles = match op {
                Op::Copy { .. } => true,
                // Until it is given back it may be seen to change.
                Op::Borrow { .. } => socket.loans.is_over(call.entry.order),
                _ => contract == Contract::Stable,
            };
            if settles {
                socket.settle(call.entry.order);
            }
        }
        if op.sends() {
            let (ends, short) = ending(self.scenario, &running, call);
            let socket = self.socket(actor);
            socket.leave(actor, call.entry.order, ends, short);
            if let Op::Borrow { .. } = op {
                socket.loans.leave(call.entry.order);
            }
            if let Some(rest) = op.after(call.outcome.bytes()) {
                self.rests.insert(call.step, rest);
            }
        }
        if let Op::PipeWrite { tee, .. } = op {
            self.pipes[usize::from(tee)].settle(call.entry.order);
        }
        let position = self.position;
        if let Op::SendfileOn { .. } = op {
            self.position = match call.outcome {
                Outcome::Killed => None,
                outcome => position.map(|it| it.saturating_add(outcome.bytes())),
            };
        }
        let owner = self.scenario.connection_of(actor);
        let result = calls::result(&calls::Case {
            scenario: self.scenario,
            op,
            call,
            range: running.range,
            sizes: &running.sizes,
            held: running.held,
            held_pages: running.held_pages,
            waiting,
            signalled: running.signalled,
            pipes: &self.pipes,
            connection: &self.sockets[&owner].connection,
            position: self.position,
        });
        if let Op::Pipe { capacity_bytes } = op
            && let Outcome::Returned(_) = call.outcome
        {
            self.pipes[0].resize(capacity_bytes);
        }
        result.map_err(|Fault(what)| (Some(call.step), what))
    }

    fn end(self, history: &History) -> Step<bool> {
        let mut certain = true;
        for (&actor, socket) in &self.sockets {
            certain &= socket.end(self.scenario, Seen::of(history, actor))?;
        }
        // lseek(2) when all was over: sendfile(2) with an offset "does not modify the
        // file offset".
        let given_one = |it: &&Call| it.offset_after.is_some();
        let looked = history.calls.iter().rev().find(given_one);
        if let (Some(call), Some(position)) = (looked, self.position)
            && call.f_pos_after.is_some_and(|it| it != position)
        {
            let what = format!("the file position is not {position} in the end");
            return Err((Some(call.step), what));
        }
        for bytes in [&history.file_pread, &history.file_mmap] {
            if bytes.is_empty() && std::ptr::eq(bytes, &history.file_mmap) {
                continue;
            }
            if !self.sizes.possible().contains(&(bytes.len() as u64)) {
                return Err((None, format!("the file has {} bytes", bytes.len())));
            }
            if let Some(at) = self.content.first_wrong(bytes) {
                return Err((None, format!("byte {at} of the file cannot be that")));
            }
        }
        Ok(certain)
    }
}

/// What a call has written, if it has.
fn written(op: Op, call: &Call, moved: Option<Range>) -> Option<Range> {
    match (op.zeroes() || matches!(op, Op::Collapse(_)), call.outcome) {
        (_, Outcome::Failed(_) | Outcome::Skipped) => None,
        // They return no count, and do all of it.
        (true, _) => op.writes(),
        (false, _) => op.writes().and(moved),
    }
}

/// Whether a send ends the datagram that it is part of, and whether it has met an error,
/// at once or on its way.
fn ending(scenario: &Scenario, running: &Running, call: &Call) -> (Ends, bool) {
    let moved = call.outcome.bytes();
    let failed = matches!(call.outcome, Outcome::Failed(_));
    let cork = scenario.setup.socket.cork;
    let (ends, short) = match (running.op, running.range) {
        (Op::Sendfile(_) | Op::SendfileOn { .. }, Some(range)) => {
            let left = |size: &u64| range.len.min(size.saturating_sub(range.offset));
            let lefts = || running.sizes.iter().map(left);
            let all = moved == range.len || lefts().all(|left| left == moved);
            let ends = if all { Ends::Yes } else { Ends::Maybe };
            (ends, lefts().any(|left| moved < left))
        }
        (
            Op::SpliceOut {
                more: true, len, ..
            },
            _,
        ) => (Ends::No, moved < len),
        (Op::SpliceOut { len, .. }, _) if moved < len => (Ends::Maybe, true),
        (_, Some(range)) => (Ends::Yes, moved < range.len),
        _ => (Ends::Yes, false),
    };
    (if cork { Ends::No } else { ends }, failed || short)
}

/// Which of the three lines of bytes a sender has.
fn line(sender: Actor) -> usize {
    sender.index()
}
