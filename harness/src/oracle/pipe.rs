//! How full the user pipe can be.
//!
//! A pipe has slots, each of which holds (part of) one page; it is full when
//! every slot is taken, however few bytes are in them (fs/pipe.c:pipe_full). A
//! fill takes a slot for every page that it touches (mm/filemap.c:
//! splice_folio_into_pipe, mm/shmem.c:shmem_file_splice_read); older kernels put
//! neighbouring bytes of one page into one slot. A write takes a slot for every page
//! that it fills, and may add its odd bytes to the last one that is there
//! (fs/pipe.c:pipe_write). So the count here is the most that can be taken.

use std::collections::VecDeque;

use crate::scenario::PAGE_BYTES;

/// PIPE_DEF_BUFFERS of include/linux/pipe_fs_i.h.
const DEFAULT_SLOTS: u64 = 16;

/// The user pipe.
#[derive(Debug)]
pub(super) struct PipeModel {
    slots: u64,
    /// Bytes in each taken slot.
    taken: VecDeque<u64>,
    bytes: u64,
    /// Bytes that went out before the fill that brought them is accounted: the
    /// two ran at the same time.
    owed: u64,
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
        self.used_slots() >= self.slots
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
        self.used_slots() <= Self::slots_for(capacity_bytes)
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
        let end = offset.saturating_add(len);
        let gone = self.owed.min(len);
        self.owed -= gone;
        let mut at = offset.saturating_add(gone);
        while at < end {
            let page_end = (at - at % PAGE_BYTES).saturating_add(PAGE_BYTES);
            let part = page_end.min(end) - at;
            self.taken.push_back(part);
            self.bytes += part;
            at += part;
        }
    }

    /// `len` bytes are there twice: tee(2) gives the other pipe a slot for every slot
    /// that it reads from.
    pub fn copy_to(&self, other: &mut PipeModel, len: u64) {
        let mut rest = len;
        for &slot in &self.taken {
            let part = rest.min(slot);
            if part == 0 {
                return;
            }
            other.taken.push_back(part);
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
            let part = rest.min(*slot);
            *slot -= part;
            rest -= part;
            self.bytes -= part;
            if *slot == 0 {
                self.taken.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
