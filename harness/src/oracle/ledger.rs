//! Which value a byte of the file may have had, and when.
//!
//! Two calls compare by their stamps: one is *before* the other if it returned
//! before the other entered; else they overlap, and either may have come first,
//! byte by byte.
//!
//! A generation is one write, and what it wrote is the pattern of its number or, where
//! it zeroed, zeros. The file is zeros beyond its end, so that its length is nothing
//! that a byte's value depends on; [`super::sizes`] knows it.

use std::cell::Cell;

use super::runs::{generation_at, matching, zeros};
use crate::history::{Call, History, Outcome, Stamp};
use crate::scenario::{Op, Range, Scenario};

/// A set of generations; 0 is what the file was filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Generations([u64; 4]);

impl Generations {
    /// The set of one.
    pub fn just(generation: u8) -> Self {
        let mut set = Generations::default();
        set.insert(generation);
        set
    }

    pub fn insert(&mut self, generation: u8) {
        self.0[usize::from(generation >> 6)] |= 1 << (generation & 63);
    }

    #[inline]
    pub fn contains(&self, generation: u8) -> bool {
        self.0[usize::from(generation >> 6)] & (1 << (generation & 63)) != 0
    }

    /// All but one.
    fn without(mut self, generation: u8) -> Generations {
        self.0[usize::from(generation >> 6)] &= !(1 << (generation & 63));
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=255).filter(|&generation| self.contains(generation))
    }

    /// Whether it has a member of `other`.
    #[inline]
    fn meets(&self, other: &Generations) -> bool {
        self.0
            .iter()
            .zip(other.0)
            .any(|(one, other)| one & other != 0)
    }

    /// The only member, if there is exactly one.
    pub fn single(&self) -> Option<u8> {
        let count: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        if count != 1 {
            return None;
        }
        let word = self.0.iter().position(|word| *word != 0)?;
        u8::try_from(word as u32 * 64 + self.0[word].trailing_zeros()).ok()
    }
}

/// One write to the file, as far as it got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    /// The step that wrote.
    pub step: usize,
    /// What it wrote.
    pub generation: u8,
    start: u64,
    end: u64,
    /// When it began.
    pub entry: Stamp,
    /// [`Stamp::order`] of its return; never, if it did not return.
    exit_order: u64,
    /// Whether it may have been lost, and what it should have overwritten is there.
    unsure: bool,
}

impl Write {
    fn covers(&self, offset: u64) -> bool {
        self.start <= offset && offset < self.end
    }
}

/// Whether something was stored or written through the page cache while a call ran.
fn is_mixed(scenario: &Scenario, history: &History, call: &Call) -> bool {
    history.calls.iter().any(|other| {
        let op = scenario.steps.get(other.step).map(|step| step.op);
        let cached = op.is_some_and(|op| op.stores() || matches!(op, Op::Pwrite(_)));
        let open = matches!(other.outcome, Outcome::Pending | Outcome::Killed);
        let before = !open && other.exit.order < call.entry.order;
        cached && !before && other.entry.order < call.exit.order
    })
}

/// The stretch of time in which a value may have been taken: from one
/// [`Stamp::order`] to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Order of the entry.
    pub from: u64,
    /// Order of the return.
    pub to: u64,
}

impl Window {
    /// After everything.
    pub const END: Window = Window {
        from: u64::MAX,
        to: u64::MAX,
    };
}

/// A write whose bytes are those that stood further behind.
#[derive(Debug, Clone, Copy)]
struct Moved {
    generation: u8,
    /// By so many bytes.
    by: u64,
    /// When.
    window: Window,
}

/// All writes of a history.
#[derive(Debug)]
pub(super) struct Ledger {
    writes: Vec<Write>,
    /// Where any of them begins or ends; ascending, without repeats.
    cuts: Vec<u64>,
    /// The generations that zeroed.
    blank: Generations,
    /// The one that moved what lay behind a range that was taken out.
    moved: Option<Moved>,
    /// From here on generation 0 is zeros, too.
    filled_bytes: u64,
    /// What [`Ledger::before_move`] said last, and of which bytes.
    stood: Cell<Option<(Range, Generations)>>,
}

impl Ledger {
    /// Reads the writes out of a history. A write that returned short counts for
    /// what it returned; one that failed or was skipped wrote nothing; one that
    /// is still pending may have written any part of its range.
    pub fn new(scenario: &Scenario, history: &History) -> Self {
        let mut generations = vec![0; scenario.steps.len()];
        let mut last = 0_usize;
        for (generation, step) in generations.iter_mut().zip(&scenario.steps) {
            if step.op.writes().is_some() {
                last += 1;
                *generation = last;
            }
        }
        let mut writes = Vec::new();
        let mut blank = Generations::default();
        let mut moved = None;
        for call in &history.calls {
            let Some(op) = scenario.steps.get(call.step).map(|step| step.op) else {
                continue;
            };
            let Some(range) = op.writes() else {
                continue;
            };
            // More than 255 writes have no generation of their own, so normal
            // scenarios have fewer.
            let Ok(generation) = u8::try_from(generations[call.step]) else {
                continue;
            };
            let (len, exit_order) = match call.outcome {
                // All or nothing; they return no count.
                Outcome::Returned(_) if op.zeroes() || matches!(op, Op::Collapse(_)) => {
                    (range.len, call.exit.order)
                }
                Outcome::Returned(len) => (len.min(range.len), call.exit.order),
                Outcome::Pending | Outcome::Killed => (range.len, u64::MAX),
                Outcome::Failed(_) | Outcome::Skipped => continue,
            };
            if len == 0 {
                continue;
            }
            // Beside it a store can be to a page that was read before, and what is stored
            // to is written back whole: open(2) warns of that. The page is in the cache
            // when the call returns, or it is not: what is written later stays.
            let unsure = matches!(op, Op::DirectWrite(_)) && is_mixed(scenario, history, call);
            if op.zeroes() {
                blank.insert(generation);
            }
            if let Op::Collapse(range) = op {
                moved = Some(Moved {
                    generation,
                    by: range.len,
                    window: Window {
                        from: call.entry.order,
                        to: exit_order,
                    },
                });
            }
            writes.push(Write {
                step: call.step,
                generation,
                start: range.offset,
                end: range.offset.saturating_add(len),
                entry: call.entry,
                exit_order,
                unsure,
            });
        }
        let mut cuts: Vec<u64> = writes.iter().flat_map(|w| [w.start, w.end]).collect();
        let file = &scenario.setup.file;
        let filled_bytes = if file.sparse { 0 } else { file.size_bytes };
        cuts.push(filled_bytes);
        cuts.sort_unstable();
        cuts.dedup();
        Ledger {
            writes,
            cuts,
            blank,
            moved,
            filled_bytes,
            stood: Cell::new(None),
        }
    }

    /// Whether that generation is zeros at `offset`.
    #[inline]
    fn is_blank(&self, generation: u8, offset: u64) -> bool {
        match generation {
            0 => offset >= self.filled_bytes,
            _ => self.blank.contains(generation),
        }
    }

    /// Whether one of the generations `of` is zeros at `offset`.
    #[inline]
    fn any_blank(&self, of: &Generations, offset: u64) -> bool {
        of.meets(&self.blank) || offset >= self.filled_bytes && of.contains(0)
    }

    /// Whether `byte` is what one of the generations `of` has at `offset`.
    #[inline]
    pub fn allows(&self, of: &Generations, offset: u64, byte: u8) -> bool {
        let generation = generation_at(offset, byte);
        of.contains(generation) && self.has_pattern(generation, offset)
            || byte == 0 && self.any_blank(of, offset)
            || self.moves(of, offset, byte)
    }

    /// All that the generations `of` can have at `offset`.
    pub fn values(&self, of: &Generations, offset: u64) -> impl Iterator<Item = u8> + Clone {
        let mut seen = [false; 256];
        for generation in of.iter() {
            if self.moved.is_some_and(|it| it.generation == generation) {
                for byte in 0..=u8::MAX {
                    seen[usize::from(byte)] |= self.moves(of, offset, byte);
                }
            } else {
                seen[usize::from(self.value(generation, offset))] = true;
            }
        }
        (0..=u8::MAX).filter(move |byte| seen[usize::from(*byte)])
    }

    /// Whether that generation is its pattern at `offset`.
    #[inline]
    fn has_pattern(&self, generation: u8, offset: u64) -> bool {
        let moved = self.moved.is_some_and(|it| it.generation == generation);
        !moved && !self.is_blank(generation, offset)
    }

    /// Whether one of the generations `of` is what moved, and `byte` what stood where
    /// that comes from.
    #[inline]
    fn moves(&self, of: &Generations, offset: u64, byte: u8) -> bool {
        let moved = self.moved.filter(|it| of.contains(it.generation));
        moved.is_some_and(|it| {
            let from = offset.saturating_add(it.by);
            self.allows(&self.before_move(it, from), from, byte)
        })
    }

    /// What can have stood at `from` when it was moved. Asked byte by byte, and the same
    /// up to the next cut.
    fn before_move(&self, moved: Moved, from: u64) -> Generations {
        if let Some((known, set)) = self.stood.get()
            && (known.offset..known.end()).contains(&from)
        {
            return set;
        }
        let set = self.during(from, moved.window).without(moved.generation);
        let len = self.segment_end(from, u64::MAX) - from;
        self.stood.set(Some((Range { offset: from, len }, set)));
        set
    }

    /// Whether `byte` is what some generation has there, by its number alone: quick, and
    /// too lenient.
    #[inline]
    pub fn is_known(&self, offset: u64, byte: u8) -> bool {
        byte == 0 || self.moved.is_some() || generation_at(offset, byte) <= self.newest()
    }

    /// What `generation` has at `offset`, unless it is the one that moved something.
    pub fn value(&self, generation: u8, offset: u64) -> u8 {
        match self.is_blank(generation, offset) {
            true => 0,
            false => crate::history::pattern(offset, generation),
        }
    }

    /// How many of the first bytes are what `generation` has from `offset` on, within a
    /// [segment](Ledger::segment_end).
    #[inline]
    pub fn matching(&self, bytes: &[u8], offset: u64, generation: u8) -> usize {
        if self.moved.is_some_and(|it| it.generation == generation) {
            let of = Generations::just(generation);
            let bytes = (offset..).zip(bytes);
            let right = bytes.take_while(|(at, byte)| self.allows(&of, *at, **byte));
            return right.count();
        }
        match self.is_blank(generation, offset) {
            true => zeros(bytes),
            false => matching(bytes, offset, generation),
        }
    }

    /// The generation that `byte` shows at `offset`: one of `known` if it can be, else
    /// that of which it is the pattern.
    pub fn shown(&self, known: &Generations, offset: u64, byte: u8) -> u8 {
        let generation = generation_at(offset, byte);
        let pattern = known.contains(generation) && self.has_pattern(generation, offset);
        let zero = |generation: &u8| self.is_blank(*generation, offset);
        match byte {
            _ if !pattern && self.moves(known, offset, byte) => {
                self.moved.map_or(generation, |it| it.generation)
            }
            0 if !pattern => known.iter().filter(zero).last().unwrap_or(generation),
            _ => generation,
        }
    }

    /// The write of a generation, if it happened.
    pub fn write_of(&self, generation: u8) -> Option<&Write> {
        self.writes.iter().find(|w| w.generation == generation)
    }

    /// The highest generation that was written anywhere; 0 if none was.
    pub fn newest(&self) -> u8 {
        self.writes.iter().map(|w| w.generation).max().unwrap_or(0)
    }

    /// One past the last byte for which everything this ledger says about
    /// `offset` holds too; at most `end`.
    pub fn segment_end(&self, offset: u64, end: u64) -> u64 {
        let next = self.cuts.partition_point(|&cut| cut <= offset);
        self.cuts.get(next).map_or(end, |&cut| cut.min(end))
    }

    /// What the byte at `offset` can have been at some instant of `window`: what
    /// the last write before it left (of several that overlapped each other, any
    /// of the last), and what any write during it may have put there.
    pub fn during(&self, offset: u64, window: Window) -> Generations {
        let before = |w: &&Write| w.covers(offset) && w.exit_order < window.from;
        let newest_entry = self
            .writes
            .iter()
            .filter(before)
            .filter(|w| !w.unsure)
            .map(|w| w.entry.order)
            .max();
        let mut set = match newest_entry {
            None => Generations::just(0),
            Some(_) => Generations::default(),
        };
        // A write is overwritten for certain only by one that began after it had
        // returned.
        for write in self.writes.iter().filter(before) {
            if newest_entry.is_none_or(|newest| write.exit_order >= newest) {
                set.insert(write.generation);
            }
        }
        self.insert_overlapping(&mut set, offset, window);
        set
    }

    fn insert_overlapping(&self, set: &mut Generations, offset: u64, window: Window) {
        for write in &self.writes {
            let overlaps = write.exit_order >= window.from && write.entry.order < window.to;
            if overlaps && write.covers(offset) {
                set.insert(write.generation);
            }
        }
    }

    /// A write to any byte of `range` that may have happened in `window`; the first
    /// by generation.
    pub fn meeting(&self, range: Range, window: Window) -> Option<&Write> {
        self.writes.iter().find(|write| {
            let overlaps = write.exit_order >= window.from && write.entry.order < window.to;
            overlaps && write.start < range.end() && range.offset < write.end
        })
    }

    /// What the byte at `offset` can ever have been before the event `before`.
    pub fn ever(&self, offset: u64, before: u64) -> Generations {
        let mut set = Generations::just(0);
        for write in &self.writes {
            if write.entry.order < before && write.covers(offset) {
                set.insert(write.generation);
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::doctor::{self, Plan};

    fn ledger(plan: &Plan) -> Ledger {
        Ledger::new(&plan.scenario(), &plan.history())
    }

    fn set(generations: &[u8]) -> Generations {
        let mut set = Generations::default();
        generations.iter().for_each(|&g| set.insert(g));
        set
    }

    #[test]
    fn a_set_knows_its_members() {
        let many = set(&[0, 63, 64, 255]);
        assert_eq!(many.iter().collect::<Vec<_>>(), [0, 63, 64, 255]);
        assert_eq!(many.single(), None);
        assert_eq!(set(&[200]).single(), Some(200));
        assert_eq!(Generations::default().single(), None);
    }

    #[test]
    fn the_last_write_before_the_window_counts() {
        let mut plan = Plan::new(4096);
        plan.call(Op::Pwrite(doctor::range(0, 100)), 1, 2);
        plan.call(Op::Pwrite(doctor::range(50, 100)), 3, 4);
        let ledger = ledger(&plan);
        let late = Window { from: 5, to: 6 };
        assert_eq!(ledger.during(0, late), set(&[1]));
        assert_eq!(ledger.during(50, late), set(&[2]));
        assert_eq!(ledger.during(149, late), set(&[2]));
        assert_eq!(ledger.during(150, late), set(&[0]));
        assert_eq!(ledger.during(60, Window { from: 0, to: 1 }), set(&[0]));
        assert_eq!(ledger.segment_end(0, 4096), 50);
        assert_eq!(ledger.segment_end(50, 4096), 100);
        assert_eq!(ledger.segment_end(100, 120), 120);
        assert_eq!(ledger.segment_end(150, 4096), 4096);
    }

    #[test]
    fn writes_that_overlap_each_other_leave_either_value() {
        let mut plan = Plan::new(4096);
        plan.call(Op::Pwrite(doctor::range(0, 10)), 1, 2);
        plan.call(Op::Pwrite(doctor::range(0, 10)), 3, 6);
        plan.call(Op::Pwrite(doctor::range(0, 10)), 4, 5);
        let ledger = ledger(&plan);
        assert_eq!(ledger.during(0, Window { from: 7, to: 8 }), set(&[2, 3]));
    }

    #[test]
    fn zeros_are_a_value_like_any_other_and_name_who_made_them() {
        let mut plan = Plan::new(4096);
        plan.call(Op::Truncate { size_bytes: 1000 }, 1, 2);
        plan.call(Op::Truncate { size_bytes: 8192 }, 3, 4);
        plan.call(Op::Pwrite(doctor::range(2000, 10)), 5, 6);
        plan.call(Op::Punch(doctor::range(0, 10)), 7, 8);
        let ledger = ledger(&plan);
        for (offset, before, after) in [(5, 0, 4), (999, 0, 0), (1000, 1, 1), (2005, 1, 3)] {
            let of = |order| {
                ledger.during(
                    offset,
                    Window {
                        from: order,
                        to: order,
                    },
                )
            };
            let (then, now) = (of(5), of(9));
            assert_eq!((then.single(), now.single()), (Some(before), Some(after)));
            for (set, generation) in [(then, before), (now, after)] {
                let byte = ledger.value(generation, offset);
                assert!(ledger.allows(&set, offset, byte));
                assert!(!ledger.allows(&set, offset, byte.wrapping_add(100)));
                assert_eq!(ledger.shown(&set, offset, byte), generation);
                assert_eq!(ledger.matching(&[byte], offset, generation), 1);
                let other = [byte.wrapping_add(1)];
                assert_eq!(ledger.matching(&other, offset, generation), 0);
            }
        }
        // The number of a generation of zeros has no pattern.
        let blank = set(&[1]);
        let pattern = crate::history::pattern(2000, 1);
        assert_ne!(pattern, 0);
        assert!(!ledger.allows(&blank, 2000, pattern));
        // Nobody has ever filled what lay beyond the end.
        assert_eq!(ledger.during(5000, Window { from: 0, to: 1 }), set(&[0]));
        assert_eq!(ledger.value(0, 5000), 0);
        assert_eq!(ledger.segment_end(3000, 8192), 4096);
    }

    #[test]
    fn a_write_during_the_window_gives_both_values() {
        let mut plan = Plan::new(4096);
        plan.call(Op::Pwrite(doctor::range(0, 10)), 2, 9);
        let ledger = ledger(&plan);
        assert_eq!(ledger.during(0, Window { from: 3, to: 4 }), set(&[0, 1]));
        assert_eq!(ledger.during(0, Window { from: 1, to: 3 }), set(&[0, 1]));
        assert_eq!(ledger.during(0, Window { from: 0, to: 1 }), set(&[0]));
        assert_eq!(ledger.during(0, Window { from: 10, to: 11 }), set(&[1]));
    }

    #[test]
    fn short_failed_and_pending_writes_count_for_what_they_did() {
        let mut plan = Plan::new(4096);
        plan.call(Op::Pwrite(doctor::range(0, 100)), 1, 2).outcome = Outcome::Returned(10);
        plan.call(Op::Pwrite(doctor::range(0, 100)), 3, 4).outcome = Outcome::Failed(libc::ENOSPC);
        plan.call(Op::Pwrite(doctor::range(0, 100)), 5, 6).outcome = Outcome::Pending;
        let ledger = ledger(&plan);
        assert_eq!(ledger.during(9, Window { from: 3, to: 4 }), set(&[1]));
        assert_eq!(ledger.during(10, Window { from: 3, to: 4 }), set(&[0]));
        assert_eq!(ledger.during(9, Window::END), set(&[1, 3]));
        assert_eq!(ledger.ever(9, 4), set(&[0, 1]));
        assert_eq!(ledger.newest(), 3);
    }

    #[test]
    fn what_passes_the_page_cache_beside_a_store_may_be_lost() {
        for (entry, exit, left) in [(1, 2, &[2][..]), (3, 5, &[1, 2]), (6, 7, &[1])] {
            let mut plan = Plan::new(4096);
            plan.call(Op::MmapWrite(doctor::range(0, 512)), entry, exit);
            plan.call(Op::DirectWrite(doctor::range(0, 512)), 4, 5);
            let ledger = ledger(&plan);
            assert_eq!(ledger.during(0, Window::END), set(left), "{entry}");
        }
    }

    #[test]
    fn what_is_lost_does_not_come_back() {
        let mut plan = Plan::new(4096);
        plan.call(Op::MmapWrite(doctor::range(600, 10)), 3, 5);
        plan.call(Op::DirectWrite(doctor::range(0, 512)), 4, 6);
        plan.call(Op::Pwrite(doctor::range(100, 10)), 7, 8);
        let ledger = ledger(&plan);
        assert_eq!(ledger.during(0, Window { from: 7, to: 8 }), set(&[0, 2]));
        assert_eq!(ledger.during(0, Window::END), set(&[0, 2]));
        assert_eq!(
            ledger.during(100, Window { from: 7, to: 8 }),
            set(&[0, 2, 3])
        );
        assert_eq!(ledger.during(100, Window::END), set(&[3]));
    }

    #[test]
    fn what_lies_behind_what_is_taken_out_keeps_its_values() {
        use crate::history::pattern;
        let mut plan = Plan::new(16_384);
        plan.call(Op::Pwrite(doctor::range(9000, 10)), 1, 2);
        plan.call(Op::Collapse(doctor::range(4096, 4096)), 3, 4);
        plan.call(Op::Pwrite(doctor::range(4200, 10)), 5, 6);
        let ledger = ledger(&plan);
        let late = Window { from: 7, to: 8 };
        for (offset, value, of) in [
            (4095, pattern(4095, 0), 0),
            (4096, pattern(8192, 0), 2),
            (4904, pattern(9000, 1), 2),
            (4200, pattern(4200, 3), 3),
            // The file is zeros beyond its end.
            (12_288, 0, 2),
        ] {
            let set = ledger.during(offset, late);
            assert_eq!(set.single(), Some(of), "{offset}");
            assert!(ledger.allows(&set, offset, value));
            assert_eq!(ledger.matching(&[value], offset, of), 1);
            assert_eq!(ledger.matching(&[value ^ 0x55], offset, of), 0);
            assert!(!ledger.allows(&set, offset, value ^ 0x55), "{offset}");
            assert_eq!(ledger.shown(&set, offset, value), of);
            assert!(ledger.is_known(offset, value));
        }
        // Before that everything stands where it stood.
        let set = ledger.during(4096, Window { from: 2, to: 3 });
        assert!(ledger.allows(&set, 4096, pattern(4096, 0)));
        assert!(!ledger.allows(&set, 4096, pattern(8192, 0)));
    }
}
