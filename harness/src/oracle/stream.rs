//! Walks the received stream along the ranges that were reported sent.
//!
//! One pass finds the first byte that breaks `wire` and the first that breaks
//! `stable-on-return`. Past a byte that breaks `wire` nothing is known about the
//! alignment of the stream any more, so the walk ends there.

use super::completion::Completions;
use super::ledger::{Generations, Ledger, Window};
use super::position::Position;
use crate::history::{Chunk, End, History, Outcome, Stamp};
use crate::scenario::{Op, Range, Scenario};

/// loff_t ends there; what a history claims beyond it was not sent.
const LAST_OFFSET: u64 = i64::MAX as u64;

/// From when on a write to what was sent must not show any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// From the return of the send on; a kernel need not promise that.
    Return,
    /// From its completion on, which is told later.
    Completion,
}

/// A stretch of the stream as a send reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// The send.
    pub step: usize,
    /// The bytes of the file.
    pub range: Range,
    /// When their values may have been taken: during the send; for bytes that
    /// came through the user pipe from the entry of the splice that put them
    /// there, since a kernel is free to copy when it fills a pipe; for what is completed
    /// later to its completion.
    pub window: Window,
    /// Just before the send.
    pub entry: Stamp,
    /// Just after it.
    pub exit: Stamp,
    /// Whether the send returned. One that did not may have sent any part, from
    /// nothing to everything, and has promised nothing.
    pub certain: bool,
    /// Whether the bytes were copied by the end of the window, as every kernel's manual
    /// says: a later write is no longer a matter of what a contract asks.
    pub copied: bool,
    /// What ends the window.
    pub promise: Promise,
}

impl Sent {
    /// What its byte of the file `offset` can show under any contract, if it was
    /// received at `received`: what stood there between the call and then; of what was
    /// copied only what stood there meanwhile.
    pub fn possible(&self, ledger: &Ledger, offset: u64, received: u64) -> Generations {
        let to = match self.copied {
            true => self.window.to.min(received),
            false => received,
        };
        let from = self.window.from;
        ledger.during(offset, Window { from, to })
    }

    /// Whether `byte` stood at `offset` once, and was overwritten before the call.
    pub fn is_stale(&self, ledger: &Ledger, offset: u64, byte: u8) -> bool {
        let before = ledger.ever(offset, self.window.from);
        ledger.allows(&before, offset, byte)
    }
}

/// The stretches of the stream, in order. A return value that claims more than
/// the user pipe held yields what the pipe held.
pub(super) fn sent(scenario: &Scenario, history: &History) -> Vec<Sent> {
    let size = scenario.extent_bytes();
    let (mut pipe, mut second_pipe) = (Fifo::default(), Fifo::default());
    // All fills first: a fill by one thread may overlap a send by another, which
    // can then return before it.
    for call in &history.calls {
        let Some(op) = scenario.steps.get(call.step).map(|step| step.op) else {
            continue;
        };
        if let Some((range, second)) = op.fills()
            && !second
        {
            let len = call.outcome.bytes();
            pipe.push(Piped {
                range: Range { len, ..range },
                filled: call.entry.order,
                copied: matches!(op, Op::PipeWrite { .. }).then_some(call.exit.order),
            });
        }
    }
    let mut runs = Vec::with_capacity(history.calls.len());
    let mut position = Position::default();
    let completions = Completions::new(scenario, history);
    for call in &history.calls {
        let Some(step) = scenario.steps.get(call.step) else {
            continue;
        };
        let certain = !matches!(call.outcome, Outcome::Pending | Outcome::Killed);
        let to = if certain { call.exit.order } else { u64::MAX };
        let mut add = |range: Range, window: Window, copied: bool| {
            let range = Range {
                len: range.len.min(LAST_OFFSET.saturating_sub(range.offset)),
                ..range
            };
            if range.len > 0 {
                runs.push(Sent {
                    step: call.step,
                    range,
                    window,
                    entry: call.entry,
                    exit: call.exit,
                    certain,
                    copied,
                    promise: match step.op {
                        Op::Borrow { .. } => Promise::Completion,
                        _ => Promise::Return,
                    },
                });
            }
        };
        match position.resolve(step.op, call) {
            Op::Sendfile(range) => {
                let most = range.len.min(size.saturating_sub(range.offset));
                let len = if certain { call.outcome.bytes() } else { most };
                let offset = range.offset;
                let from = call.entry.order;
                add(Range { offset, len }, Window { from, to }, false);
            }
            Op::Copy { range, .. } => {
                let len = match certain {
                    true => call.outcome.bytes(),
                    false => range.len,
                };
                let from = call.entry.order;
                add(Range { len, ..range }, Window { from, to }, true);
            }
            Op::Borrow { range, .. } => {
                let len = match certain {
                    true => call.outcome.bytes(),
                    false => range.len,
                };
                let from = call.entry.order;
                let to = if certain { completions.until(call) } else { to };
                add(Range { len, ..range }, Window { from, to }, false);
            }
            // What is in that one has an order, which a fill of the other by the same
            // thread keeps.
            Op::PipeWrite { range, tee: true } => second_pipe.push(Piped {
                range: Range {
                    len: call.outcome.bytes(),
                    ..range
                },
                filled: call.entry.order,
                copied: Some(call.exit.order),
            }),
            Op::Tee { .. } => {
                for piped in pipe.peek(call.outcome.bytes()) {
                    second_pipe.push(piped);
                }
            }
            Op::Pour { .. } => {
                let mut rest = call.outcome.bytes();
                while let Some(piped) = pipe.pop(rest) {
                    rest -= piped.range.len;
                    second_pipe.push(piped);
                }
            }
            Op::SpliceOut { len, tee, .. } => {
                let mut rest = if certain { call.outcome.bytes() } else { len };
                let pipe = if tee { &mut second_pipe } else { &mut pipe };
                while let Some(piped) = pipe.pop(rest) {
                    rest -= piped.range.len;
                    let window = Window {
                        from: piped.filled.min(call.entry.order),
                        to: piped.copied.unwrap_or(to),
                    };
                    add(piped.range, window, piped.copied.is_some());
                }
            }
            _ => {}
        }
    }
    runs
}

/// A range of the file in a pipe.
#[derive(Debug, Clone, Copy)]
struct Piped {
    range: Range,
    /// Order of the entry of the call that put it there.
    filled: u64,
    /// Order of the return of that call, if it copied.
    copied: Option<u64>,
}

/// What is in a pipe.
#[derive(Debug, Default)]
struct Fifo {
    ranges: Vec<Piped>,
    head: usize,
}

impl Fifo {
    fn push(&mut self, mut piped: Piped) {
        let most = LAST_OFFSET.saturating_sub(piped.range.offset);
        piped.range.len = piped.range.len.min(most);
        self.ranges.push(piped);
    }

    /// The first `most` bytes, which stay.
    fn peek(&self, most: u64) -> Vec<Piped> {
        let mut rest = most;
        let mut ranges = Vec::new();
        for mut piped in self.ranges[self.head..].iter().copied() {
            piped.range.len = piped.range.len.min(rest);
            rest -= piped.range.len;
            if piped.range.len > 0 {
                ranges.push(piped);
            }
        }
        ranges
    }

    /// Takes up to `most` bytes off the first range that has any.
    fn pop(&mut self, most: u64) -> Option<Piped> {
        if most == 0 {
            return None;
        }
        while let Some(piped) = self.ranges.get_mut(self.head) {
            let range = &mut piped.range;
            if range.len == 0 {
                self.head += 1;
                continue;
            }
            let (offset, len) = (range.offset, range.len.min(most));
            range.offset += len;
            range.len -= len;
            let range = Range { offset, len };
            return Some(Piped { range, ..*piped });
        }
        None
    }
}

/// A byte of the stream and where it should come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index into the list of [`Sent`].
    pub run: usize,
    /// Offset in the stream.
    pub stream: usize,
    /// Offset in the file.
    pub file: u64,
}

/// How the stream is not the concatenation of the ranges reported sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireFault {
    /// The byte has no value that was there between the call and its receipt.
    Byte {
        /// Which.
        at: Place,
        /// What it could have been.
        possible: Generations,
    },
    /// The byte was received before the send that sent it was called.
    Early {
        /// Which.
        at: Place,
    },
    /// More bytes arrived than were reported sent: from this one on.
    Extra {
        /// Offset in the stream.
        stream: usize,
    },
    /// The stream ended cleanly before everything that was reported sent.
    Missing {
        /// The first byte that did not arrive.
        at: Place,
        /// Bytes reported sent.
        reported: u64,
    },
}

/// A run of bytes that the file held at another time than during the send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StableFault {
    /// The first of them.
    pub at: Place,
    /// How many bytes.
    pub len: usize,
    /// Their generation.
    pub generation: u8,
    /// What the first of them could have been.
    pub allowed: Generations,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The first fault of each kind.
    pub wire: Option<WireFault>,
    /// The first run that is not stable, however the stream goes on.
    pub stable: Option<StableFault>,
    /// The first run that shows a value from after its completion.
    pub completion: Option<StableFault>,
}

/// Walks the stream once.
pub(super) fn walk(history: &History, ledger: &Ledger, runs: &[Sent]) -> Faults {
    let mut walk = Walk {
        received: &history.received,
        chunks: &history.chunks,
        chunk: 0,
        ledger,
        faults: Faults::default(),
    };
    let mut stream = 0;
    for (index, run) in runs.iter().enumerate() {
        let rest = walk.received.len() - stream;
        let len = usize::try_from(run.range.len).map_or(rest, |len| len.min(rest));
        let at = Place {
            run: index,
            stream,
            file: run.range.offset,
        };
        if (len as u64) < run.range.len && run.certain && history.end == End::Eof {
            walk.faults.wire = Some(WireFault::Missing {
                at: Place {
                    stream: stream + len,
                    file: run.range.offset + len as u64,
                    ..at
                },
                reported: reported(runs),
            });
        }
        walk.run(at, run, len);
        stream += len;
        if walk.faults.wire.is_some() {
            return walk.faults;
        }
    }
    if stream < walk.received.len() {
        walk.faults.wire = Some(WireFault::Extra { stream });
    }
    walk.faults
}

/// Bytes that the sends which returned reported.
pub(super) fn reported(runs: &[Sent]) -> u64 {
    let certain = runs.iter().filter(|run| run.certain);
    certain.fold(0, |sum, run| sum.saturating_add(run.range.len))
}

struct Walk<'a> {
    received: &'a [u8],
    chunks: &'a [Chunk],
    /// The chunk that the walk has reached.
    chunk: usize,
    ledger: &'a Ledger,
    faults: Faults,
}

impl Walk<'_> {
    /// When the byte was received, and one past the last byte received with it.
    fn received_at(&mut self, stream: usize) -> (u64, usize) {
        while let Some(chunk) = self.chunks.get(self.chunk) {
            let end = chunk.start.saturating_add(chunk.len);
            if stream < end {
                return (chunk.at.order, end);
            }
            self.chunk += 1;
        }
        (u64::MAX, self.received.len())
    }

    /// The first `len` bytes of a run.
    fn run(&mut self, first: Place, run: &Sent, len: usize) {
        if len > 0 && self.received_at(first.stream).0 < run.entry.order {
            self.faults.wire = Some(WireFault::Early { at: first });
            return;
        }
        let end = first.file + len as u64;
        let mut at = first;
        while at.file < end {
            let segment = (self.ledger.segment_end(at.file, end) - at.file) as usize;
            let allowed = self.ledger.during(at.file, run.window);
            let bytes = &self.received[at.stream..at.stream + segment];
            // One value only: then it is from before the send, so it was there
            // before the byte was received, too.
            let right = match allowed.single() {
                Some(generation) => self.ledger.matching(bytes, at.file, generation),
                None => 0,
            };
            if right < segment {
                let doubtful = Place {
                    stream: at.stream + right,
                    file: at.file + right as u64,
                    ..at
                };
                if !self.segment(run, doubtful, segment - right, allowed) {
                    return;
                }
            }
            at.stream += segment;
            at.file += segment as u64;
        }
    }

    /// Judges `len` bytes with the same history one by one; false: the stream
    /// is out of step, stop.
    fn segment(&mut self, run: &Sent, first: Place, len: usize, allowed: Generations) -> bool {
        let end = first.stream + len;
        let mut at = first;
        while at.stream < end {
            let (received, chunk_end) = self.received_at(at.stream);
            let possible = run.possible(self.ledger, at.file, received);
            for stream in at.stream..chunk_end.min(end) {
                let at = Place {
                    stream,
                    file: first.file + (stream - first.stream) as u64,
                    ..first
                };
                let byte = self.received[stream];
                if !self.ledger.allows(&possible, at.file, byte) {
                    // A missing tail says less than the byte that is wrong.
                    self.faults.wire = Some(WireFault::Byte { at, possible });
                    return false;
                }
                if !self.ledger.allows(&allowed, at.file, byte) {
                    let generation = self.ledger.shown(&possible, at.file, byte);
                    self.unstable(run.promise, at, generation, allowed);
                }
            }
            let next = chunk_end.min(end);
            at.file += (next - at.stream) as u64;
            at.stream = next;
        }
        true
    }

    fn unstable(&mut self, promise: Promise, at: Place, generation: u8, allowed: Generations) {
        let fault = match promise {
            Promise::Return => &mut self.faults.stable,
            Promise::Completion => &mut self.faults.completion,
        };
        match fault {
            None => {
                *fault = Some(StableFault {
                    at,
                    len: 1,
                    generation,
                    allowed,
                });
            }
            Some(first) => {
                let next = first.at.stream + first.len == at.stream;
                if next && first.generation == generation && first.at.run == at.run {
                    first.len += 1;
                }
            }
        }
    }
}
