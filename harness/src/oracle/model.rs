//! For tests and fuzzing: a small kernel in plain Rust that runs a scenario over a
//! perfect network, at random interleavings, and knows for every byte whether it
//! was torn. Its histories are legal by construction; the oracle must agree.

use std::collections::VecDeque;

mod enter;
mod lent;

use self::lent::Lent;
use super::draw::Rng;
use super::pipe::PipeModel;
use crate::history::{Call, Chunk, Completion, End, History, Outcome, Stamp, pattern};
use crate::scenario::{Actor, Op, Range, ReaderMode, Scenario};

/// When a kernel takes the value of a byte that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Some time during the send: keeps the promise.
    DuringSend,
    /// When a user pipe is filled, else during the send: keeps it, too.
    WhenFilled,
    /// When the receiver reads: the race.
    WhenReceived,
}

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub takes: Takes,
    /// Whether operations of different actors overlap.
    pub overlap: bool,
    /// Give up after this many events.
    pub give_up_after: Option<u64>,
}

/// What came out.
pub struct Ran {
    pub history: History,
    /// Whether a received byte differs from all values that its place in the file
    /// had during the call that sent it.
    pub torn: bool,
}

struct InFlight {
    offset: u64,
    value: Option<u8>,
    /// Order from which on the value may have been taken.
    from: u64,
    step: usize,
    lent: bool,
}

#[derive(Clone, Copy)]
struct Piped {
    offset: u64,
    value: Option<u8>,
    from: u64,
    /// Taken when it is sent, by any kernel.
    copied: bool,
    /// Taken when it is received, by any kernel.
    late: bool,
}

enum Work {
    Send(VecDeque<Piped>),
    Write {
        left: VecDeque<u64>,
        generation: u8,
        grows: bool,
    },
    Read {
        left: u64,
    },
    /// Until all that was lent is back, or it has waited long enough.
    Await,
    /// At once, when nobody writes: a lock of the file has writes and cuts take turns.
    Cut {
        zeros: Range,
        size: u64,
    },
    Return,
}

struct Running {
    call: Call,
    work: Work,
}

struct Kernel<'a> {
    scenario: &'a Scenario,
    style: Style,
    rng: Rng,
    now: Stamp,
    /// To the largest size that it can have; zeros beyond its end.
    file: Vec<u8>,
    size: u64,
    /// For each byte of the file: since when it has had which value.
    past: Vec<Vec<(u64, u8)>>,
    /// The user pipe and the one that `tee` fills.
    pipes: [VecDeque<Piped>; 2],
    slots: [PipeModel; 2],
    wire: VecDeque<InFlight>,
    queues: [VecDeque<usize>; 4],
    running: [Option<Running>; 4],
    done: Vec<Call>,
    chunks: Vec<Chunk>,
    received: Vec<u8>,
    arrived: Vec<InFlight>,
    /// The file position.
    position: u64,
    lent: Vec<Lent>,
    completions: Vec<Completion>,
}

/// Sends a range from now on.
fn send(range: Range, from: u64, copied: bool) -> Work {
    let bytes = range.offset..range.end();
    Work::Send(
        bytes
            .map(|offset| Piped {
                offset,
                value: None,
                from,
                copied,
                late: false,
            })
            .collect(),
    )
}

/// Runs a scenario once.
pub fn run(scenario: &Scenario, style: Style, seed: u64) -> Ran {
    let size = scenario.setup.file.size_bytes;
    let filled = if scenario.setup.file.sparse { 0 } else { size };
    let mut file: Vec<u8> = (0..filled).map(|at| pattern(at, 0)).collect();
    file.resize(scenario.extent_bytes() as usize, 0);
    let mut kernel = Kernel {
        scenario,
        style,
        rng: Rng::new(seed),
        now: Stamp::default(),
        past: file.iter().map(|value| vec![(0, *value)]).collect(),
        file,
        size,
        pipes: Default::default(),
        slots: Default::default(),
        wire: VecDeque::new(),
        queues: Default::default(),
        running: Default::default(),
        done: Vec::new(),
        chunks: Vec::new(),
        received: Vec::new(),
        arrived: Vec::new(),
        position: 0,
        lent: Vec::new(),
        completions: Vec::new(),
    };
    let end = kernel.schedule();
    kernel.finish(end)
}

impl Kernel<'_> {
    fn tick(&mut self) -> Stamp {
        self.now.order += 1;
        self.now.time_ns += self.rng.below(1_000);
        self.now
    }

    fn schedule(&mut self) -> End {
        let mut next = 0;
        let mut events = 0;
        loop {
            events += 1;
            if self.style.give_up_after.is_some_and(|most| events > most) {
                return End::GivenUp;
            }
            let steps = &self.scenario.steps;
            let active: Vec<usize> = (0..4)
                .filter(|&a| self.can_go_on(a, next == steps.len()))
                .collect();
            let senders_done = next == steps.len()
                && self.running[..3].iter().all(Option::is_none)
                && self.queues[..3].iter().all(VecDeque::is_empty);
            let idle = self.running.iter().all(Option::is_none);
            if senders_done && idle && self.wire.is_empty() {
                return End::Eof;
            }
            let blocked = active.is_empty();
            let hand_out =
                next < steps.len() && (blocked || self.style.overlap && self.rng.chance(30));
            if hand_out {
                let actor = steps[next].actor as usize;
                self.queues[actor].push_back(next);
                next += 1;
                self.start(actor);
            } else if let Some(actor) = self.pick(&active) {
                self.work(actor, senders_done);
            }
            let drains = self.scenario.setup.reader == ReaderMode::Drain || senders_done;
            if drains && self.running[Actor::Reader as usize].is_none() && self.rng.chance(40) {
                let most = 1 + self.rng.below(200);
                self.receive(most);
            }
        }
    }

    fn pick(&mut self, of: &[usize]) -> Option<usize> {
        (!of.is_empty()).then(|| of[self.rng.below(of.len() as u64) as usize])
    }

    fn can_go_on(&self, actor: usize, all_handed_out: bool) -> bool {
        match self.running[actor].as_ref().map(|running| &running.work) {
            None => false,
            Some(Work::Cut { .. }) => !self.someone_writes(),
            Some(Work::Read { left }) => *left == 0 || !self.wire.is_empty() || all_handed_out,
            Some(_) => true,
        }
    }

    fn someone_writes(&self) -> bool {
        let mut running = self.running.iter().flatten();
        running.any(|it| matches!(it.work, Work::Write { .. }))
    }

    fn start(&mut self, actor: usize) {
        if self.running[actor].is_some() {
            return;
        }
        let Some(step) = self.queues[actor].pop_front() else {
            return;
        };
        let entry = self.tick();
        let mut call = Call {
            step,
            entry,
            exit: entry,
            outcome: Outcome::Pending,
            offset_after: None,
            f_pos_after: None,
        };
        let work = self.enter(self.scenario.steps[step].op, &mut call);
        self.running[actor] = Some(Running { call, work });
    }

    /// Some of what a call does; at the end it returns.
    fn work(&mut self, actor: usize, senders_done: bool) {
        let order = self.tick().order;
        let mut running = self.running[actor].take().unwrap();
        let step = running.call.step;
        let some = if self.style.overlap {
            1 + self.rng.below(200)
        } else {
            u64::MAX
        };
        let over = match &mut running.work {
            Work::Send(left) => {
                for byte in left.drain(..left.len().min(some as usize)) {
                    let now = self.file[byte.offset as usize];
                    let early = byte.copied || self.style.takes != Takes::WhenReceived;
                    let takes = early && !byte.late;
                    let taken = takes.then_some(now);
                    let lent = self.take_back(step, taken.is_some());
                    self.wire.push_back(InFlight {
                        offset: byte.offset,
                        value: byte.value.or(taken),
                        from: byte.from,
                        step,
                        lent,
                    });
                }
                left.is_empty()
            }
            Work::Write {
                left,
                generation,
                grows,
            } => {
                for offset in left.drain(..left.len().min(some as usize)) {
                    let value = pattern(offset, *generation);
                    self.file[offset as usize] = value;
                    self.past[offset as usize].push((order, value));
                    if *grows {
                        self.size = self.size.max(offset + 1);
                    }
                }
                left.is_empty()
            }
            Work::Cut { zeros, size } => {
                let end = zeros.end().min(self.file.len() as u64);
                for offset in zeros.offset..end {
                    self.file[offset as usize] = 0;
                    self.past[offset as usize].push((order, 0));
                }
                if let Op::Truncate { .. } = self.scenario.steps[step].op {
                    self.size = *size;
                }
                true
            }
            Work::Read { left } => {
                let got = self.receive((*left).min(some));
                *left -= got;
                running.call.outcome = Outcome::Returned(running.call.outcome.bytes() + got);
                *left == 0 || senders_done && self.wire.is_empty()
            }
            Work::Await => {
                let open = self.lent.iter().filter(|it| it.left > 0).count() as u64;
                running.call.outcome = Outcome::Returned(open);
                let over = open == 0 || self.rng.chance(10);
                if over {
                    self.tell();
                }
                over
            }
            Work::Return => true,
        };
        if over {
            self.promise(step);
            running.call.exit = self.tick();
            self.done.push(running.call);
            self.start(actor);
        } else {
            self.running[actor] = Some(running);
        }
    }

    /// One recv(2) of at most that many bytes.
    fn receive(&mut self, most: u64) -> u64 {
        let len = self.wire.len().min(most as usize);
        if len == 0 {
            return 0;
        }
        let start = self.received.len();
        for mut byte in self.wire.drain(..len) {
            let value = byte.value.unwrap_or(self.file[byte.offset as usize]);
            let late = byte.value.is_none();
            byte.value = Some(value);
            if byte.lent && late {
                lent::give_back(&mut self.lent, byte.step);
            }
            self.received.push(value);
            self.arrived.push(byte);
        }
        let at = self.tick();
        self.chunks.push(Chunk { at, start, len });
        len as u64
    }

    fn finish(mut self, end: End) -> Ran {
        self.tell();
        let exit = self.tick();
        let mut calls = std::mem::take(&mut self.done);
        for running in self.running.into_iter().flatten() {
            calls.push(Call {
                exit,
                outcome: Outcome::Pending,
                offset_after: None,
                f_pos_after: None,
                ..running.call
            });
        }
        calls.sort_by_key(|call| call.entry.order);
        // Looked at once, for the last of them.
        let given_one = |call: &&mut Call| call.offset_after.is_some();
        if let Some(call) = calls.iter_mut().rev().find(given_one) {
            call.f_pos_after = Some(self.position);
        }
        let returned = |step: usize| {
            let call = calls.iter().find(|call| call.step == step).unwrap();
            match self.scenario.steps[step].op {
                Op::Borrow { .. } => lent::until(&self.lent, call),
                _ => call.exit.order,
            }
        };
        let torn = self.arrived.iter().any(|byte| {
            let past = &self.past[byte.offset as usize];
            let first = past
                .iter()
                .rposition(|(since, _)| *since <= byte.from)
                .unwrap_or(0);
            !past[first..]
                .iter()
                .take_while(|(since, _)| *since <= byte.from.max(returned(byte.step)))
                .any(|(_, value)| Some(*value) == byte.value)
        });
        Ran {
            history: History {
                calls,
                completions: self.completions,
                chunks: self.chunks,
                received: self.received,
                file_mmap: match self.rng.chance(50) {
                    true => self.file[..self.size as usize].to_vec(),
                    false => Vec::new(),
                },
                file_pread: self.file[..self.size as usize].to_vec(),
                end,
                end_ns: exit.time_ns,
                beside: Vec::new(),
                counters: None,
                leftovers: None,
                by_the_clock: false,
            },
            torn,
        }
    }
}
