//! Which parts of the file are sent, written to and cut off.

use super::{Builder, option};
use crate::scenario::strategy::genes::{AIMS, Aim, OpGenes};
use crate::scenario::strategy::tables::{self, pick, pick_scaled, total};
use crate::scenario::{PAGE_BYTES, Range};

impl Builder<'_> {
    /// A range to send, remembered for later writes to aim at.
    pub(super) fn send(&mut self, genes: &OpGenes) -> Range {
        let offset = self.offset(genes);
        let len = match self.fragments && genes.back >= 2 {
            true => pick(tables::FRAGMENTS, genes.len % total(tables::FRAGMENTS)),
            false => self.len(genes),
        };
        let left = self.size_bytes - offset;
        let inside = Range {
            offset,
            len: len.min(left),
        };
        self.sends.push(inside);
        // One in four from beyond the end, the others to it, at least.
        match (self.swarm.past_the_end, genes.actor) {
            (false, _) => inside,
            (true, 3) => Range {
                offset: offset + self.size_bytes,
                len,
            },
            (true, _) => Range {
                offset,
                len: len.max(left + 1),
            },
        }
    }

    /// Half of the counts are beyond what one call moves, where any is.
    pub(super) fn count_beyond(&self, genes: &OpGenes) -> Option<u64> {
        let (on, draw) = self.counts.beyond;
        option(on && genes.back % 2 == 1, tables::COUNTS_BEYOND, draw)
    }

    /// How many bytes to send from the file position, if all before were sent.
    pub(super) fn send_on(&mut self, genes: &OpGenes) -> u64 {
        let len = pick(tables::LENGTHS, genes.len);
        let left = self.size_bytes.saturating_sub(self.position);
        if left > 0 {
            self.sends.push(Range {
                offset: self.position,
                len: len.min(left),
            });
        }
        self.position += len.min(left);
        match self.swarm.past_the_end {
            true => len.max(left + 1),
            false => len,
        }
    }

    /// A range to write, most often one that meets an earlier send.
    pub(super) fn write(&self, genes: &OpGenes) -> Range {
        let back = [0, 0, 1, 2][genes.back as usize % 4];
        let len = pick(tables::LENGTHS, genes.len);
        let anywhere = Range {
            offset: self.offset(genes),
            len,
        };
        let Some(send) = self.sends.iter().rev().nth(back).or(self.sends.last()) else {
            return anywhere;
        };
        let inside = send.offset + u64::from(genes.offset) * 37 % send.len;
        let last = send.end() - 1;
        match pick(AIMS, genes.aim) {
            Aim::Same => *send,
            Aim::FirstByte => Range {
                offset: send.offset,
                len: 1,
            },
            Aim::LastByte => Range {
                offset: last,
                len: 1,
            },
            Aim::Page => Range {
                offset: inside / PAGE_BYTES * PAGE_BYTES,
                len: PAGE_BYTES,
            },
            Aim::Inside => Range {
                offset: inside,
                len: len.min(send.end() - inside),
            },
            Aim::AcrossStart => Range {
                offset: send.offset.saturating_sub(len / 2),
                len: len.max(2),
            },
            Aim::AcrossEnd => Range {
                offset: last.saturating_sub(len / 2),
                len: len.max(2),
            },
            Aim::Anywhere => anywhere,
        }
    }

    /// Where the file is to end: most often in or at the end of what was sent, else
    /// where it ended, or further on.
    pub(super) fn cut(&self, genes: &OpGenes) -> u64 {
        let at = self.write(genes);
        match genes.back {
            0 => at.offset,
            1 => at.end(),
            2 => self.size_bytes,
            _ => self.size_bytes + at.len,
        }
    }

    /// An offset in the file.
    pub(super) fn offset(&self, genes: &OpGenes) -> u64 {
        let offset = match self.plumbing && genes.inside {
            false => tables::offset(genes.offset),
            true => pick_scaled(tables::PIPE_OFFSETS, genes.offset, tables::OFFSETS.end),
        };
        offset % self.size_bytes
    }
}
