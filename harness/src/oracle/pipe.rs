//! How full the user pipe can be.
//!
//! A pipe has slots, each of which holds (part of) one page; it is full when
//! every slot is taken, however few bytes are in them (fs/pipe.c:pipe_full). A
//! fill takes a slot for every page that it touches (mm/filemap.c:
//! splice_folio_into_pipe, mm/shmem.c:shmem_file_splice_read); older kernels put
//! neighbouring bytes of one page into one slot. A write takes a slot for every page
//! that it fills, and may add its odd bytes to the last one that is there
//! (fs/pipe.c:pipe_write). Up to Linux 6.4 a hole of a file on tmpfs comes in pages of
//! the pipe's own, filled from their begin (lib/iov_iter.c:append_pipe): as many, but when
//! a part has gone out one more may be left. So what is asked here is how many can be
//! taken at most.

use std::collections::VecDeque;

use crate::history::{Call, Outcome};
use crate::scenario::{FileKind, Op, PAGE_BYTES, Scenario};

/// PIPE_DEF_BUFFERS of include/linux/pipe_fs_i.h.
const DEFAULT_SLOTS: u64 = 16;

/// How many buffers one round of a splice to a socket takes (fs/splice.c:splice_to_socket).
const ROUND_SLOTS: u64 = 16;

/// The user pipe, and the second one.
#[derive(Debug)]
pub(super) struct Pipes {
    pair: [PipeModel; 2],
    /// What is spliced from the file may be of holes. On ext4 these are pages like any other.
    has_holes: bool,
    /// A call was killed, and nobody knows what it has put in.
    is_unknown: bool,
}

impl Pipes {
    pub fn new(scenario: &Scenario) -> Pipes {
        Pipes {
            pair: Default::default(),
            has_holes: scenario.setup.file.kind != FileKind::Ext4 && scenario.may_have_holes(),
            is_unknown: false,
        }
    }

    /// The user pipe, or the second one.
    pub fn of(&self, second: bool) -> &PipeModel {
        &self.pair[usize::from(second)]
    }

    /// Slots taken in both.
    pub fn used_slots(&self) -> u64 {
        self.pair.iter().map(PipeModel::used_slots).sum()
    }

    /// What a call has done to them.
    pub fn note(&mut self, op: Op, call: &Call) {
        self.is_unknown |= op.uses_pipe() && call.outcome == Outcome::Killed;
        let Outcome::Returned(bytes) = call.outcome else {
            return;
        };
        let [pipe, second] = &mut self.pair;
        match op {
            Op::Pipe { capacity_bytes } => pipe.resize(capacity_bytes),
            Op::SpliceIn { range, .. } if self.has_holes => {
                pipe.fill_with_holes(range.offset, bytes);
            }
            Op::SpliceIn { range, .. } | Op::Vmsplice { range, .. } => {
                pipe.fill(range.offset, bytes);
            }
            Op::PipeWrite { tee: false, .. } => pipe.write(bytes),
            Op::PipeWrite { tee: true, .. } => second.write(bytes),
            Op::Tee { .. } => pipe.copy_to(second, bytes),
            Op::Pour { .. } => pipe.move_to(second, bytes),
            Op::SpliceOut { tee: false, .. } => pipe.drain(bytes),
            Op::SpliceOut { tee: true, .. } => second.drain(bytes),
            _ => {}
        }
    }

    /// Whether there may be as many buffers in one of them as one round of a splice to a
    /// socket takes.
    pub fn may_fill_a_round(&self, second: bool) -> bool {
        self.is_unknown || self.of(second).may_fill_a_round()
    }
}

/// A pipe.
#[derive(Debug)]
pub(super) struct PipeModel {
    slots: u64,
    /// The slots that are taken.
    taken: VecDeque<Slot>,
    bytes: u64,
    /// Bytes that went out before the fill that brought them is accounted: the
    /// two ran at the same time.
    owed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    bytes: u64,
    part: Part,
}

/// What a slot may have of what one call has put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Any, of what takes the slots that it seems to take.
    Plain,
    /// The first of what may be of holes.
    First,
    /// What follows that.
    Further,
    /// What is left of it when some has gone out: it may take a slot more.
    Rest,
}

impl Default for PipeModel {
    fn default() -> Self {
        PipeModel {
            slots: DEFAULT_SLOTS,
            taken: VecDeque::new(),
            bytes: 0,
            owed: 0,
        }
    }
}

impl PipeModel {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn slots(&self) -> u64 {
        self.slots
    }

    pub fn used_slots(&self) -> u64 {
        self.taken.len() as u64
    }

    pub fn may_be_full(&self) -> bool {
        self.most_used_slots() >= self.slots
    }

    fn may_fill_a_round(&self) -> bool {
        self.most_used_slots() >= ROUND_SLOTS
    }

    fn most_used_slots(&self) -> u64 {
        let rests = self.taken.iter().filter(|slot| slot.part == Part::Rest);
        self.used_slots() + rests.count() as u64
    }

    /// Slots after F_SETPIPE_SZ (fs/pipe.c:round_pipe_size).
    fn slots_for(capacity_bytes: u32) -> u64 {
        u64::from(capacity_bytes)
            .div_ceil(PAGE_BYTES)
            .max(1)
            .next_power_of_two()
    }

    /// Whether a pipe of that size can hold what this one holds.
    pub fn fits(&self, capacity_bytes: u32) -> bool {
        self.most_used_slots() <= Self::slots_for(capacity_bytes)
    }

    pub fn resize(&mut self, capacity_bytes: u32) {
        self.slots = Self::slots_for(capacity_bytes);
    }

    /// `len` bytes come in by a write, which fills pages of the pipe's own.
    pub fn write(&mut self, len: u64) {
        self.fill(0, len);
    }

    /// `len` bytes from file offset `offset` come in.
    pub fn fill(&mut self, offset: u64, len: u64) {
        self.fill_from(offset, len, false);
    }

    /// The same from a file that may have holes.
    pub fn fill_with_holes(&mut self, offset: u64, len: u64) {
        self.fill_from(offset, len, true);
    }

    fn fill_from(&mut self, offset: u64, len: u64, of_holes: bool) {
        let end = offset.saturating_add(len);
        let gone = self.owed.min(len);
        self.owed -= gone;
        let mut at = offset.saturating_add(gone);
        while at < end {
            let page_end = (at - at % PAGE_BYTES).saturating_add(PAGE_BYTES);
            let part = page_end.min(end) - at;
            self.taken.push_back(Slot {
                bytes: part,
                part: match of_holes {
                    false => Part::Plain,
                    true if at == offset => Part::First,
                    true => Part::Further,
                },
            });
            self.bytes += part;
            at += part;
        }
    }

    /// `len` bytes are there twice: tee(2) gives the other pipe a slot for every slot
    /// that it reads from.
    pub fn copy_to(&self, other: &mut PipeModel, len: u64) {
        let mut rest = len;
        for &slot in &self.taken {
            let part = rest.min(slot.bytes);
            if part == 0 {
                return;
            }
            other.taken.push_back(Slot {
                bytes: part,
                ..slot
            });
            other.bytes += part;
            rest -= part;
        }
    }

    /// `len` bytes go over to the other pipe, as many of its slots as they were in here.
    pub fn move_to(&mut self, other: &mut PipeModel, len: u64) {
        self.copy_to(other, len);
        self.drain(len);
    }

    /// `len` bytes go out.
    pub fn drain(&mut self, len: u64) {
        let mut rest = len;
        while rest > 0 {
            let Some(slot) = self.taken.front_mut() else {
                self.owed += rest;
                return;
            };
            let part = rest.min(slot.bytes);
            slot.bytes -= part;
            rest -= part;
            self.bytes -= part;
            if slot.part != Part::Plain {
                slot.part = Part::Rest;
            }
            if slot.bytes == 0 {
                self.taken.pop_front();
                // It was of the same call.
                if let Some(slot) = self.taken.front_mut()
                    && slot.part == Part::Further
                {
                    slot.part = Part::Rest;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::doctor::Plan;
    use crate::scenario::{Filling, Range};

    #[test]
    fn a_pipe_is_full_by_slots_not_by_bytes() {
        let mut pipe = PipeModel::default();
        for _ in 0..16 {
            assert!(!pipe.may_be_full());
            pipe.fill(4095, 1);
        }
        assert!(pipe.may_be_full());
        assert_eq!(pipe.bytes(), 16);
        pipe.drain(1);
        assert!(!pipe.may_be_full());
    }

    #[test]
    fn a_fill_across_pages_takes_a_slot_a_page_and_frees_it_when_empty() {
        let mut pipe = PipeModel::default();
        pipe.fill(4000, 4096 + 200);
        assert_eq!(pipe.used_slots(), 3);
        pipe.drain(95);
        assert_eq!(pipe.used_slots(), 3);
        pipe.drain(1);
        assert_eq!(pipe.used_slots(), 2);
        pipe.drain(4200);
        assert_eq!((pipe.used_slots(), pipe.bytes()), (0, 0));
    }

    #[test]
    fn bytes_that_left_before_their_fill_returned_are_not_there_twice() {
        let mut pipe = PipeModel::default();
        pipe.drain(100);
        pipe.fill(0, 4196);
        assert_eq!((pipe.used_slots(), pipe.bytes()), (2, 4096));
    }

    #[test]
    fn what_is_copied_is_there_twice_slot_by_slot() {
        let (mut pipe, mut other) = (PipeModel::default(), PipeModel::default());
        pipe.fill(4000, 4096);
        pipe.copy_to(&mut other, 100);
        assert_eq!((other.used_slots(), other.bytes()), (2, 100));
        assert_eq!((pipe.used_slots(), pipe.bytes()), (2, 4096));
        other.drain(97);
        assert_eq!((other.used_slots(), other.bytes()), (1, 3));
        pipe.copy_to(&mut other, 96);
        assert_eq!((other.used_slots(), other.bytes()), (2, 99));
    }

    #[test]
    fn a_hole_of_which_a_part_is_gone_may_take_a_slot_more() {
        let mut pipe = PipeModel::default();
        pipe.resize(8192);
        // A byte and a page, or a page and a byte.
        pipe.fill_with_holes(4095, 4097);
        assert!(pipe.may_be_full());
        pipe.drain(1);
        assert_eq!(pipe.used_slots(), 1);
        assert!(pipe.may_be_full() && !pipe.fits(4096));
        // What is there twice may take two slots each time, and something else before it
        // changes nothing.
        let mut other = PipeModel::default();
        other.write(1);
        for copies in 1..=8 {
            assert!(!other.may_be_full(), "{copies}");
            pipe.copy_to(&mut other, 4096);
        }
        other.drain(1);
        assert!(other.may_be_full());
        other.drain(4096);
        assert!(!other.may_be_full());
    }

    #[test]
    fn what_is_whole_takes_the_slots_that_it_seems_to() {
        let mut pipe = PipeModel::default();
        pipe.resize(8192);
        pipe.fill_with_holes(4095, 4097);
        pipe.drain(4097);
        pipe.fill_with_holes(4095, 1);
        assert!(!pipe.may_be_full());
        // Pages of the file do so when a part of them is gone, too.
        pipe.drain(1);
        pipe.fill(4095, 4097);
        pipe.drain(1);
        assert!(!pipe.may_be_full());
    }

    #[test]
    fn a_round_is_filled_by_sixteen_buffers_at_once_or_nobody_knows() {
        let page = |offset| Range { offset, len: 1 };
        let fill = Op::SpliceIn {
            range: page(0),
            by: Filling::Splice,
        };
        let write = Op::PipeWrite {
            range: page(0),
            tee: true,
        };
        let mut plan = Plan::new(4096);
        for (op, second) in [(fill, false), (write, true)] {
            let mut pipes = Pipes::new(&plan.scenario);
            for buffers in 0..16 {
                assert!(!pipes.may_fill_a_round(second), "{buffers}");
                let call = *plan.call(op, 1, 2);
                pipes.note(op, &call);
            }
            assert!(pipes.may_fill_a_round(second));
            assert!(!pipes.may_fill_a_round(!second));
        }
        let mut pipes = Pipes::new(&plan.scenario);
        let call = plan.call(fill, 1, 2);
        call.outcome = Outcome::Killed;
        let call = *call;
        pipes.note(fill, &call);
        assert!(pipes.may_fill_a_round(false));
    }

    #[test]
    fn sizes_round_up_to_a_power_of_two_of_pages() {
        let mut pipe = PipeModel::default();
        for (capacity, slots) in [
            (0, 1),
            (1, 1),
            (4096, 1),
            (4097, 2),
            (12288, 4),
            (1 << 20, 256),
        ] {
            pipe.resize(capacity);
            assert_eq!(pipe.slots(), slots, "{capacity}");
        }
        pipe.fill(0, 8192);
        assert!(!pipe.fits(4096));
        assert!(pipe.fits(8192));
    }
}
