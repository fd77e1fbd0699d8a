//! What fills and empties pipes.

use super::Builder;
use crate::scenario::limits::{DEFAULT_PIPE_PAGES, MAX_COUNT_BYTES};
use crate::scenario::strategy::genes::{AIMS, OpGenes};
use crate::scenario::strategy::tables::{self, pick, pick_scaled, total};
use crate::scenario::{Actor, Filling, Op, PAGE_BYTES, Range};

impl Builder<'_> {
    pub(super) fn pipe(&mut self, genes: &OpGenes) {
        let table = match self.plumbing {
            false => tables::PIPE_BYTES,
            true => tables::SMALL_PIPE_BYTES,
        };
        let capacity_bytes = pick(table, genes.offset % total(table));
        self.push(Actor::A, Op::Pipe { capacity_bytes });
        self.has_pipe = true;
    }

    pub(super) fn splice_in(&mut self, genes: &OpGenes) -> Range {
        if !self.has_pipe {
            self.pipe(genes);
        }
        let range = self.send(genes);
        self.fill(genes, range);
        range
    }

    /// Puts pages of the file into the pipe.
    pub(super) fn fill(&mut self, genes: &OpGenes, range: Range) {
        let op = match self.swarm.pipes && genes.back >= 2 {
            true => Op::Vmsplice {
                range,
                gift: genes.back == 3,
            },
            false => Op::SpliceIn {
                range,
                by: match self.moves[0] {
                    true => Filling::Move,
                    // Some of them, as each has another way to find that there is no room.
                    false if self.fills_by_sendfile && genes.back == 1 => Filling::Sendfile,
                    false => Filling::Splice,
                },
            },
        };
        self.push(Actor::A, op);
    }

    pub(super) fn splice_out(&mut self, genes: &OpGenes, len: u64, tee: bool) {
        // MSG_MORE in one of four, or in most, and NONBLOCK in one, which a send can do
        // without.
        let more = genes.actor == 1 || self.throng.joins && genes.actor != 0;
        let nonblock = genes.back == 3;
        let op = Op::SpliceOut {
            len,
            more,
            nonblock,
            tee,
            move_pages: self.moves[1],
        };
        self.push(Actor::A, op);
    }

    pub(super) fn len(&self, genes: &OpGenes) -> u64 {
        match self.plumbing {
            false => pick(tables::LENGTHS, genes.len),
            true => pick_scaled(tables::PIPE_LENGTHS, genes.len, total(tables::LENGTHS)),
        }
    }

    /// Puts something into a pipe, hands a part of it or all on, and puts more where that went
    /// to, or behind where it was: what is in a slot meets what was there, and what others
    /// still have of it.
    pub(super) fn hand_over(&mut self, genes: &OpGenes) {
        if !self.has_pipe {
            self.pipe(genes);
        }
        // Each has draws of its own, made of those that there are.
        let apart = APART + genes.aim + 4 * genes.back + genes.kind;
        let put = |place: u32| OpGenes {
            back: (genes.back + place * (genes.aim / 6)) % 4,
            len: (genes.len + place * apart) % total(tables::LENGTHS),
            offset: (genes.offset + place * apart) % tables::OFFSETS.end,
            actor: 0,
            ..genes.clone()
        };
        // Bytes of the pipe's own, or pages; in turn, or not.
        let (first, turns) = (genes.aim % 2 == 1, !(genes.aim / 2).is_multiple_of(3));
        let own = |place: u32| first ^ (turns && place.is_multiple_of(2));
        self.put(&put(0), first, false);
        let len = self.len(&put(1));
        let tee = match genes.actor {
            0 | 1 => {
                // If all of it goes, the slot is free again.
                let len = if genes.kind.is_multiple_of(2) {
                    len
                } else {
                    MAX_COUNT_BYTES
                };
                self.push(Actor::A, splice_all(len, false));
                false
            }
            2 => {
                self.push(Actor::A, Op::Tee { len });
                true
            }
            _ => {
                self.push(Actor::A, Op::Pour { len });
                true
            }
        };
        for place in 2..4 {
            self.put(&put(place), own(place), tee);
        }
        if tee {
            self.push(Actor::A, splice_all(MAX_COUNT_BYTES, true));
        }
        self.push(Actor::A, splice_all(MAX_COUNT_BYTES, false));
    }

    /// Puts bytes of the pipe's own into it, or pages; into the second one always the former.
    fn put(&mut self, genes: &OpGenes, own: bool, tee: bool) {
        let range = self.send(genes);
        match own || tee {
            true => self.push(Actor::A, Op::PipeWrite { range, tee }),
            false => self.fill(genes, range),
        }
    }

    /// Puts so many buffers of one length into the pipe, and takes them all out at once.
    pub(super) fn gather(&mut self, genes: &OpGenes) {
        let buffers = self.many(pick_scaled(tables::BUFFERS, genes.aim, total(AIMS)));
        let len = pick_scaled(tables::BUFFER_BYTES, genes.len, total(tables::LENGTHS));
        // Each takes a page of the pipe, however short it is, or two. What else is in there
        // may leave less.
        let pages = match len < PAGE_BYTES / 2 {
            true => buffers,
            false => 2 * buffers,
        };
        let slots = pages.next_power_of_two().max(DEFAULT_PIPE_PAGES);
        let capacity_bytes = slots * PAGE_BYTES as u32;
        self.push(Actor::A, Op::Pipe { capacity_bytes });
        self.has_pipe = true;
        let mut offset = self.offset(genes);
        let mut all = 0;
        for _ in 0..buffers {
            let range = Range {
                offset,
                len: len.min(self.size_bytes - offset),
            };
            self.sends.push(range);
            self.fill(genes, range);
            all += range.len;
            offset = (offset + len) % self.size_bytes;
        }
        // What is asked for says whether more is to follow: just that, or more.
        let asked = match genes.back {
            0 => all,
            _ => 2 * all,
        };
        self.splice_out(genes, asked, false);
    }
}

/// All that is there, up to `len` bytes.
fn splice_all(len: u64, tee: bool) -> Op {
    Op::SpliceOut {
        len,
        more: false,
        nonblock: false,
        tee,
        move_pages: false,
    }
}

/// How far apart in their tables the draws of what follows each other are.
const APART: u32 = 37;
