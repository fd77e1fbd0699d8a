//! The file. A write takes effect on each byte once, at some instant between its entry
//! and its return; of writes that overlap in time any may come first.

use std::collections::BTreeMap;

use super::bytes::{CallId, Generations, Stretch};
use crate::history::pattern;
use crate::scenario::{FileKind, Op, Range, Scenario};

/// Whether a part of it may be no page: a hole, on tmpfs.
pub fn lacks_pages(scenario: &Scenario) -> bool {
    scenario.setup.file.kind != FileKind::Ext4 && scenario.may_have_holes()
}

/// One way in which things may stand: what the last effect was, and which of the writes
/// that still run have had theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State<T> {
    is: T,
    done: Generations,
}

/// All the ways, of a byte or of the length.
#[derive(Debug, Clone)]
struct States<T> {
    running: Generations,
    all: Vec<State<T>>,
}

impl<T: Copy + PartialEq> States<T> {
    fn settled(is: T) -> Self {
        let done = Generations::default();
        States {
            running: done,
            all: vec![State { is, done }],
        }
    }

    /// What it may be now.
    fn possible(&self) -> Vec<T> {
        self.all.iter().map(|state| state.is).collect()
    }

    /// A write begins: from now on it may have had its effect.
    fn enter(&mut self, generation: u8, effect: impl Fn(u8, T) -> T) {
        self.running.insert(generation);
        let mut next = 0;
        while let Some(&state) = self.all.get(next) {
            for writer in self.running.iter().filter(|it| !state.done.contains(*it)) {
                let mut done = state.done;
                done.insert(writer);
                let is = effect(writer, state.is);
                if !self.all.contains(&State { is, done }) {
                    self.all.push(State { is, done });
                }
            }
            next += 1;
        }
    }

    /// It is over: it has had its effect, unless that may be lost.
    fn leave(&mut self, generation: u8, may_be_lost: bool) {
        if !self.running.contains(generation) {
            return;
        }
        self.running.remove(generation);
        self.all
            .retain(|state| may_be_lost || state.done.contains(generation));
        let mut kept: Vec<State<T>> = Vec::new();
        for mut state in self.all.drain(..) {
            state.done.remove(generation);
            if !kept.contains(&state) {
                kept.push(state);
            }
        }
        self.all = kept;
    }
}

/// The bytes of the file.
#[derive(Debug)]
pub struct Content {
    /// In parts that have the same past, by their begin. Behind its end the file is
    /// zeros.
    parts: BTreeMap<u64, States<u8>>,
    /// How much of it is not zeros as it was made.
    filled: u64,
    /// Writes that write zeros.
    zeroes: Generations,
    moved: Option<Moved>,
}

/// What a call has moved. fallocate(2), FALLOC_FL_COLLAPSE_RANGE: "the contents of the
/// file starting at the location offset+len will be appended at the location offset".
#[derive(Debug)]
struct Moved {
    /// Of the call.
    generation: u8,
    /// How far.
    by: u64,
    running: bool,
    /// What may have stood there at some instant of the call, in parts by their begin.
    was: BTreeMap<u64, Generations>,
}

impl Content {
    pub fn new(scenario: &Scenario) -> Content {
        let file = &scenario.setup.file;
        let zeroes = scenario.steps.iter().enumerate();
        let zeroes = zeroes.filter(|(_, step)| step.op.zeroes());
        Content {
            parts: BTreeMap::from([(0, States::settled(0))]),
            filled: if file.sparse { 0 } else { file.size_bytes },
            zeroes: zeroes
                .filter_map(|(at, _)| scenario.generation(at))
                .collect(),
            moved: None,
        }
    }

    /// From now on a range may be taken out.
    pub fn collapse(&mut self, generation: u8, taken: Range) {
        let was = self.parts.iter();
        let was = was.map(|(at, states)| (*at, states.possible().into_iter().collect()));
        self.moved = Some(Moved {
            generation,
            by: taken.len,
            running: true,
            was: was.collect(),
        });
    }

    pub fn enter(&mut self, generation: u8, range: Range) {
        if range.len == 0 {
            return;
        }
        if let Some(moved) = &mut self.moved
            && moved.running
            && moved.generation != generation
        {
            cut(&mut moved.was, range);
            for (_, was) in moved.was.range_mut(range.offset..range.end()) {
                was.insert(generation);
            }
        }
        cut(&mut self.parts, range);
        for (_, states) in self.parts.range_mut(range.offset..range.end()) {
            states.enter(generation, |writer, _| writer);
        }
    }

    /// A write is over. open(2), O_DIRECT: "Applications should avoid mixing O_DIRECT and
    /// normal I/O to the same file", and mmap(2): one that was `mixed` may be lost.
    pub fn leave(&mut self, generation: u8, mixed: bool) {
        if let Some(moved) = &mut self.moved {
            moved.running &= moved.generation != generation;
        }
        for states in self.parts.values_mut() {
            states.leave(generation, mixed);
        }
    }

    /// References to a range as it is now, taken by a call.
    pub fn read(&self, range: Range, call: CallId) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let mut at = range.offset;
        while at < range.end() {
            let states = part_of(&self.parts, at);
            let next = self
                .parts
                .range(at + 1..)
                .next()
                .map_or(u64::MAX, |it| *it.0);
            let end = next.min(range.end());
            stretches.push(Stretch {
                offset: at,
                len: end - at,
                seen: states.possible().into_iter().collect(),
                call,
                settled: false,
                met: states.running != Generations::default(),
                loose: false,
                after: [0; 3],
            });
            at = end;
        }
        stretches
    }

    /// Whether that byte is what a generation puts at an offset. Generation 0 is the file
    /// as it was made.
    pub fn is(&self, generation: u8, offset: u64, byte: u8) -> bool {
        if let Some((from, was)) = self.moved_from(generation, offset) {
            return was.iter().any(|it| self.is(it, from, byte));
        }
        match self.is_zero(generation, offset) {
            true => byte == 0,
            false => byte == pattern(offset, generation),
        }
    }

    /// Whether a generation is zeros at an offset, or may be.
    pub fn is_zero(&self, generation: u8, offset: u64) -> bool {
        if let Some((from, was)) = self.moved_from(generation, offset) {
            return was.iter().any(|it| self.is_zero(it, from));
        }
        match generation {
            0 => offset >= self.filled,
            _ => self.zeroes.contains(generation),
        }
    }

    /// What a generation has at an offset, if it has moved it: from where, and what that
    /// may have been.
    fn moved_from(&self, generation: u8, offset: u64) -> Option<(u64, Generations)> {
        let moved = (self.moved.as_ref()).filter(|it| it.generation == generation)?;
        let from = offset.saturating_add(moved.by);
        Some((from, *part_of(&moved.was, from)))
    }

    /// The first byte that cannot be what it is.
    pub fn first_wrong(&self, bytes: &[u8]) -> Option<u64> {
        let all = Range {
            offset: 0,
            len: bytes.len() as u64,
        };
        for part in self.read(all, 0) {
            for offset in part.offset..part.offset + part.len {
                let is = |generation| self.is(generation, offset, bytes[offset as usize]);
                if !part.seen.iter().any(is) {
                    return Some(offset);
                }
            }
        }
        None
    }
}

/// Makes parts begin and end where a range does.
fn cut<T: Clone>(parts: &mut BTreeMap<u64, T>, range: Range) {
    for at in [range.offset, range.end()] {
        let before = part_of(parts, at).clone();
        parts.entry(at).or_insert(before);
    }
}

/// The part that a byte lies in.
fn part_of<T>(parts: &BTreeMap<u64, T>, at: u64) -> &T {
    let (_, part) = parts.range(..=at).next_back().expect("one begins at 0");
    part
}

/// What a call does to the length of the file.
#[derive(Debug, Clone, Copy)]
pub enum Resize {
    /// truncate(2): "to be truncated to a size of precisely length bytes".
    To(u64),
    /// pwrite(2) behind the end.
    AtLeast(u64),
    /// fallocate(2), FALLOC_FL_COLLAPSE_RANGE: "the file will be len bytes smaller".
    Less(u64),
}

/// What an operation that has written a range does to the length, if it does.
pub fn resize(op: Op, written: Range) -> Option<Resize> {
    match op {
        Op::Truncate { size_bytes } => Some(Resize::To(size_bytes)),
        Op::Collapse(taken) => Some(Resize::Less(taken.len)),
        Op::Pwrite(_) | Op::DirectWrite(_) => Some(Resize::AtLeast(written.end())),
        _ => None,
    }
}

/// Whether one of the two writes goes past the page cache and the other by way of it.
pub fn mixes(a: Op, b: Op) -> bool {
    let direct = |op| matches!(op, Op::DirectWrite(_));
    let cached = |op: Op| op.stores() || matches!(op, Op::Pwrite(_));
    direct(a) && cached(b) || cached(a) && direct(b)
}

/// The length of the file.
#[derive(Debug)]
pub struct Sizes {
    states: States<u64>,
    resizes: BTreeMap<u8, Resize>,
}

impl Sizes {
    pub fn new(size: u64) -> Sizes {
        Sizes {
            states: States::settled(size),
            resizes: BTreeMap::new(),
        }
    }

    pub fn enter(&mut self, generation: u8, resize: Resize) {
        self.resizes.insert(generation, resize);
        let resizes = &self.resizes;
        self.states
            .enter(generation, |writer, size| match resizes[&writer] {
                Resize::To(size) => size,
                Resize::AtLeast(least) => size.max(least),
                Resize::Less(less) => size.saturating_sub(less),
            });
    }

    pub fn leave(&mut self, generation: u8) {
        self.states.leave(generation, false);
    }

    /// What it may be now.
    pub fn possible(&self) -> Vec<u64> {
        self.states.possible()
    }
}
