//! How sends crowd.

use std::mem;

use super::Builder;
use crate::scenario::strategy::genes::{Genes, Impatience, OpGenes};
use crate::scenario::strategy::tables::{self, pick, total};
use crate::scenario::{Actor, Borrowing, Copying, Op, Range, Step, Sysctl};

/// The same, with more than one who sends, and little room.
pub fn cramp(genes: &Genes) -> Genes {
    let mut genes = genes.clone();
    genes.swarm.senders = true;
    genes.borrows = true;
    let socket = &mut genes.socket;
    if !socket.sndbuf.0 {
        socket.sndbuf = (true, tables::SMALL_BUFFER);
    }
    socket.send_timeout.0 |= genes.throng.impatience == Impatience::TimeLimit;
    genes
}

/// The same over TCP that looks for longer packets than it begins with, with many sends that
/// nobody waits for.
pub fn probe(genes: &Genes) -> Genes {
    let mut genes = genes.clone();
    genes.family.0 = false;
    genes.borrows = true;
    genes.throng.rows.0 = true;
    genes.stack.any = true;
    for (sysctl, value) in Sysctl::all().zip(&mut genes.stack.values) {
        if matches!(sysctl, Sysctl::MtuProbing | Sysctl::BaseMss) {
            // The first value of both is the one that has it look at once.
            *value = (true, 0);
        }
    }
    genes
}

/// More than a small send buffer holds.
const FILL_BYTES: u64 = 16_384;

impl Builder<'_> {
    /// Two wait for room behind what fills it, one of them may be disturbed, and somebody
    /// sends when that is over.
    pub(super) fn crowd(&mut self, genes: &OpGenes) {
        let fill = Range {
            offset: 0,
            len: self.size_bytes.min(FILL_BYTES),
        };
        self.sends.push(fill);
        let by = Copying::Write;
        self.push(Actor::A, Op::Copy { by, range: fill });
        let sends = [
            (Actor::A, genes.aim),
            (Actor::B, genes.kind),
            (Actor::B, genes.offset),
        ];
        for (place, (actor, draw)) in sends.into_iter().enumerate() {
            if place == 2 && self.throng.impatience == Impatience::Signal {
                let to = [Actor::A, Actor::B][genes.back as usize % 2];
                let us = pick(tables::WAITS_US, genes.offset % total(tables::WAITS_US));
                self.push(Actor::C, Op::Wait { us });
                self.push(Actor::C, Op::Signal { to });
            }
            // Bytes of one's own, so that it can be seen whose they are.
            let genes = &OpGenes {
                offset: tables::page_offset(genes.offset + place as u32 + 1),
                ..genes.clone()
            };
            // What goes by the pipe is one's alone.
            if place == 0 && draw % 4 == 1 {
                let range = self.splice_in(genes);
                self.splice_out(genes, range.len, false);
                continue;
            }
            let range = self.send(genes);
            let op = match draw % 4 {
                0 | 1 => Op::Borrow {
                    by: Borrowing::Send,
                    range,
                },
                2 => Op::Sendfile(range),
                _ => Op::Copy { by, range },
            };
            self.push(actor, op);
        }
    }

    /// What a reader does who takes a little at a time.
    pub(super) fn sip(&mut self, genes: &OpGenes) {
        if !self.paused || !self.throng.sips {
            return;
        }
        for place in 0..2 {
            let len = length_in_a_row(genes, place);
            self.push(Actor::Reader, Op::Read { len });
        }
    }

    /// How many sends are in a row.
    fn row(&self) -> u32 {
        match self.throng.rows {
            (true, draw) => pick(tables::ROWS, draw),
            (false, _) => 1,
        }
    }

    /// So many where there are not many yet, else a few.
    pub(super) fn many(&mut self, wanted: u32) -> u32 {
        let is_many = wanted > MOST_FEW;
        match is_many && mem::replace(&mut self.has_many, true) {
            true => 2,
            false => wanted,
        }
    }

    /// Makes a row of the send that was pushed last, of all lengths.
    pub(super) fn in_a_row(&mut self, genes: &OpGenes) {
        for place in 1..self.many(self.row()) {
            let Some(&Step { actor, op }) = self.steps.last() else {
                return;
            };
            let len = length_in_a_row(genes, place);
            let Some((op, range)) = onward(op, len, self.size_bytes) else {
                return;
            };
            self.push(actor, op);
            self.sends.push(range);
        }
    }

    /// The same by way of the pipe, where what comes first says that more is to follow.
    pub(super) fn splice_in_a_row(&mut self, genes: &OpGenes) {
        for place in (1..self.many(self.row())).rev() {
            let range = self.splice_in(&OpGenes {
                len: genes.len / place,
                ..genes.clone()
            });
            let actor = u32::from(place > 1);
            let last = OpGenes {
                actor,
                ..genes.clone()
            };
            self.splice_out(&last, range.len, false);
        }
    }
}

/// What is not many.
const MOST_FEW: u32 = 4;

/// The bytes of one of a row: of all lengths, and a few pages at most.
fn length_in_a_row(genes: &OpGenes, place: u32) -> u64 {
    let draw = genes.len + place * APART;
    pick(tables::LENGTHS, draw % total(tables::LENGTHS)).min(tables::ROW_BYTES)
}

/// How far apart in their table the lengths of neighbours in a row are: with a few steps
/// all over it.
const APART: u32 = 31;

/// The same kind of send, of the bytes behind; from the begin, if there are none.
fn onward(op: Op, len: u64, size_bytes: u64) -> Option<(Op, Range)> {
    let (Op::Sendfile(range) | Op::Copy { range, .. } | Op::Borrow { range, .. }) = op else {
        return None;
    };
    let offset = match range.end() < size_bytes {
        true => range.end(),
        false => 0,
    };
    let range = Range {
        offset,
        len: len.min(size_bytes - offset),
    };
    let op = match op {
        Op::Copy { by, .. } => Op::Copy { by, range },
        Op::Borrow { by, .. } => Op::Borrow { by, range },
        _ => Op::Sendfile(range),
    };
    Some((op, range))
}
