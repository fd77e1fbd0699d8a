//! Bytes on their way. They are references to the file: whoever writes to it while they
//! are not settled may be seen in them.

use std::collections::VecDeque;

use crate::scenario::Range;

/// A set of generations, of which a scenario has 64 at most besides 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generations(u128);

impl Generations {
    pub fn insert(&mut self, generation: u8) {
        self.0 |= 1 << generation;
    }

    pub fn remove(&mut self, generation: u8) {
        self.0 &= !(1 << generation);
    }

    pub fn contains(self, generation: u8) -> bool {
        self.0 >> generation & 1 == 1
    }

    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..128).filter(move |&it| self.contains(it))
    }
}

impl FromIterator<u8> for Generations {
    fn from_iter<I: IntoIterator<Item = u8>>(all: I) -> Self {
        let mut set = Generations::default();
        for generation in all {
            set.insert(generation);
        }
        set
    }
}

/// A call, by the order of its entry: an operation can be made in several.
pub type CallId = u64;

/// A run of bytes of the file with the same past.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// Of the first byte in the file.
    pub offset: u64,
    pub len: u64,
    /// The generations that may be seen in it.
    pub seen: Generations,
    /// The call that put it where it is.
    pub call: CallId,
    /// Whether no later write may be seen.
    pub settled: bool,
    /// Whether a write has met it that was not certain to show, or not to.
    pub met: bool,
    /// Whether it lies in pages of a pipe's own, who knows how.
    pub loose: bool,
    /// On the wire: where the line of each sender stands before this can follow.
    pub after: [u64; 3],
}

/// A queue of them.
#[derive(Debug, Default)]
pub struct Bytes(pub VecDeque<Stretch>);

impl Bytes {
    pub fn len(&self) -> u64 {
        self.0.iter().map(|stretch| stretch.len).sum()
    }

    /// The first so many bytes.
    pub fn first(&self, len: u64) -> Vec<Stretch> {
        let mut rest = len;
        let mut first = Vec::new();
        for stretch in &self.0 {
            let part = rest.min(stretch.len);
            if part == 0 {
                break;
            }
            first.push(Stretch {
                len: part,
                ..*stretch
            });
            rest -= part;
        }
        first
    }

    /// Takes them out.
    pub fn take(&mut self, len: u64) -> Vec<Stretch> {
        let first = self.first(len);
        let mut rest = len;
        while let Some(stretch) = self.0.front_mut() {
            let part = rest.min(stretch.len);
            stretch.offset += part;
            stretch.len -= part;
            rest -= part;
            if stretch.len > 0 {
                break;
            }
            self.0.pop_front();
        }
        first
    }

    /// A write to a range of the file may be seen from now on.
    pub fn show(&mut self, generation: u8, written: Range) {
        let touched = |it: &Stretch| {
            !it.settled && it.offset < written.end() && written.offset < it.offset + it.len
        };
        if !self.0.iter().any(touched) {
            return;
        }
        for stretch in std::mem::take(&mut self.0) {
            if !touched(&stretch) {
                self.0.push_back(stretch);
                continue;
            }
            let end = stretch.offset + stretch.len;
            let inside = written.offset.clamp(stretch.offset, end);
            let behind = written.end().clamp(stretch.offset, end);
            let mut seen = stretch.seen;
            seen.insert(generation);
            for (from, to, seen, met) in [
                (stretch.offset, inside, stretch.seen, stretch.met),
                (inside, behind, seen, true),
                (behind, end, stretch.seen, stretch.met),
            ] {
                if from < to {
                    self.0.push_back(Stretch {
                        offset: from,
                        len: to - from,
                        seen,
                        met,
                        ..stretch
                    });
                }
            }
        }
    }

    /// No later write may be seen in what a call put here.
    pub fn settle(&mut self, call: CallId) {
        for stretch in &mut self.0 {
            stretch.settled |= stretch.call == call;
        }
    }
}
