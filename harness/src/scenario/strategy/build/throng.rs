//! How sends crowd.

use std::mem;

use super::Builder;
use crate::scenario::strategy::genes::{Crowd, Genes, Impatience, OpGenes};
use crate::scenario::strategy::tables::{self, pick, total};
use crate::scenario::{Actor, Borrowing, Copying, Op, Range, Step, Sysctl};

/// The same, with more than one who sends, and little room.
pub fn cramp(genes: &Genes) -> Genes {
    let mut genes = genes.clone();
    genes.swarm.senders = true;
    genes.borrows = true;
    genes.file = genes.file.max(tables::LARGER_FILE);
    let socket = &mut genes.socket;
    if !socket.sndbuf.0 {
        socket.sndbuf = (true, tables::SMALL_BUFFER);
    }
    // The other end has little room, too, until it is told to read.
    if genes.throng.sips {
        socket.paused = true;
        socket.rcvbuf = (true, tables::SMALL_BUFFER);
    }
    socket.send_timeout.0 |= genes.throng.impatience == Impatience::TimeLimit;
    genes
}

/// The same over TCP that looks for longer packets than it begins with, with many sends that
/// nobody waits for.
pub fn probe(genes: &Genes) -> Genes {
    let mut genes = genes.clone();
    genes.family.0 = false;
    genes.swarm.senders = true;
    genes.borrows = true;
    // A window has to be filled first.
    let (on, row) = &mut genes.throng.rows;
    *on = true;
    *row = tables::LONGEST_ROW;
    genes.stack.any = true;
    for (sysctl, value) in Sysctl::all().zip(&mut genes.stack.values) {
        if matches!(sysctl, Sysctl::MtuProbing | Sysctl::BaseMss) {
            // The first value of both is the one that has it look at once.
            *value = (true, 0);
        }
    }
    genes
}

/// The same over TCP and a queue that is too short. What TCP could not get rid of stays the
/// last that it has to send, and what is sent next comes to it: by copy, and by reference.
pub fn overflow(genes: &Genes) -> Genes {
    let mut genes = over_netem(genes);
    genes.swarm.copies = true;
    genes.borrows = true;
    genes.throng.rows.0 = true;
    let link = &mut genes.link;
    link.limit = (true, link.limit.1.max(tables::SHORT_QUEUE));
    // Else nothing is ever in it.
    link.data_delay_ms.0 = true;
    let socket = &mut genes.socket;
    socket.nonblock = false;
    socket.timestamping = genes.throng.stamped;
    genes
}

/// The same over TCP and a link that spoils packets, and does nothing else to them. Netem cuts a
/// packet that it spoils into segments first, spoils one of them
/// (net/sched/sch_netem.c:netem_enqueue), and may spoil others as well: parts of what TCP has as
/// one are lost.
pub fn sack(genes: &Genes) -> Genes {
    let mut genes = over_netem(&unhindered(genes));
    genes.swarm.copies = true;
    // What several threads copy into one connection lies in pages of each.
    (genes.swarm.senders, genes.company.each) = (true, false);
    (genes.plumbing, genes.swarm.past_the_end) = (false, false);
    // Of zeros it cannot be seen where they are from.
    genes.source.sparse = false;
    // A packet that has no segments is not cut.
    (genes.device.mtu.0, genes.device.any) = (false, false);
    let socket = &mut genes.socket;
    (socket.cork, socket.user_timeout.0) = (false, false);
    genes.file = genes.file.max(tables::LONG_FILE);
    let link = &mut genes.link;
    link.chance.corrupt = (true, tables::MOST_CORRUPT);
    link.chance.correlation = false;
    // Else what was sent is there before more of it is.
    link.data_delay_ms.0 = true;
    // What TCP has as one is of many segments, however long the way is, once the window has room.
    genes.stack.any = true;
    for (sysctl, value) in Sysctl::all().zip(&mut genes.stack.values) {
        *value = (sysctl == Sysctl::MinTsoSegs, tables::MANY_SEGMENTS);
    }
    genes
}

/// The same with a pipe, over TCP and a link and buffers that hold nothing up.
pub fn gathered(genes: &Genes) -> Genes {
    let mut genes = unhindered(genes);
    genes.swarm.splice = true;
    genes.family.0 = false;
    genes.tun.on = false;
    genes
}

/// The same with a link and buffers that hold nothing up, a file in memory, a reader who takes
/// all, and nobody who comes between.
fn unhindered(genes: &Genes) -> Genes {
    let mut genes = genes.clone();
    let socket = &mut genes.socket;
    for buffer in [&mut socket.sndbuf, &mut socket.rcvbuf] {
        buffer.0 = false;
    }
    (socket.nonblock, socket.paused) = (false, false);
    (genes.tcp.notsent_lowat.0, genes.tcp.congestion.0) = (false, false);
    (genes.swarm.hold, genes.swarm.trouble, genes.relay) = (false, false, false);
    (genes.stack.any, genes.source.ext4) = (false, false);
    let link = &mut genes.link;
    (link.jitter.0, link.chance.slot_ms.0) = (false, false);
    for chance in [
        &mut link.loss,
        &mut link.duplicate,
        &mut link.reorder,
        &mut link.chance.corrupt,
        &mut link.rate,
        &mut link.limit,
    ] {
        chance.0 = false;
    }
    genes
}

/// The same over TCP and veth, where netem has what is special about the link for the data.
fn over_netem(genes: &Genes) -> Genes {
    let mut genes = genes.clone();
    genes.family.0 = false;
    genes.tun.on = false;
    genes.loopback = false;
    genes.link.direction = tables::OF_DATA;
    genes
}

/// As much as a small send buffer holds, and more.
const FILL_BYTES: [u64; 2] = [4096, 16_384];

/// What the first of a crowd sends at least: not all of it finds room.
const LONG_BYTES: u64 = 16_384;

/// How many copies there are where packets are to have more than one stretch of memory, which
/// has up to 32 KiB (net/core/sock.c:skb_page_frag_refill).
const COPIES: u32 = 7;

/// How the first of a crowd sends.
#[derive(Clone, Copy, PartialEq)]
enum First {
    Borrows,
    Splices,
    Sends,
}

impl Builder<'_> {
    /// Two wait for room behind what fills it, one of them may be disturbed, and somebody
    /// sends when that is over.
    pub(super) fn crowd(&mut self, genes: &OpGenes) {
        let first = match genes.aim % 8 {
            0..=3 => First::Borrows,
            4..=6 => First::Splices,
            _ => First::Sends,
        };
        // Who finds no room at all waits before it has sent anything.
        let fills_up = first == First::Borrows || genes.len % 2 == 1;
        let fill = Range {
            offset: 0,
            len: self.size_bytes.min(FILL_BYTES[usize::from(fills_up)]),
        };
        let [fills, senders @ .., writes] = self.throng.members;
        let by = Copying::Write;
        if fills {
            self.sends.push(fill);
            self.push(Actor::A, Op::Copy { by, range: fill });
        }
        let sends = [
            (Actor::A, genes.aim),
            (Actor::B, genes.kind),
            (Actor::B, genes.offset),
        ];
        let mut first_range = None;
        for (place, (actor, draw)) in sends.into_iter().enumerate() {
            if !senders[place] {
                continue;
            }
            if place == 2 && self.throng.impatience == Impatience::Signal {
                let to = [Actor::A, Actor::B][genes.back as usize % 2];
                // Who fills it up waits as well, but is not the one.
                let us = pick(tables::WAITS_US, genes.offset % total(tables::WAITS_US));
                let op = match fills_up {
                    true => Op::Wait { us },
                    false => Op::Await { who: to },
                };
                self.push(Actor::C, op);
                self.push(Actor::C, Op::Signal { to });
            }
            // Bytes of one's own, so that it can be seen whose they are.
            let genes = &OpGenes {
                offset: tables::page_offset(genes.offset + place as u32 + 1),
                inside: false,
                ..genes.clone()
            };
            let range = self.send(genes);
            let range = match place {
                0 => self.lengthened(range),
                _ => range,
            };
            if place == 0 {
                first_range = Some(range);
            }
            let borrow = Op::Borrow {
                by: Borrowing::Send,
                range,
            };
            let op = match (place, first, draw % 4) {
                // What goes by the pipe is one's alone.
                (0, First::Splices, _) => {
                    if !self.has_pipe {
                        self.pipe(genes);
                    }
                    self.fill(genes, range);
                    self.splice_out(genes, range.len, false);
                    continue;
                }
                (0, First::Borrows, _) => borrow,
                (0, First::Sends, _) => Op::Sendfile(range),
                (_, _, 0 | 1) => borrow,
                (_, _, 2) => Op::Sendfile(range),
                _ => Op::Copy { by, range },
            };
            self.push(actor, op);
        }
        // The first one goes on as soon as it can.
        if let (true, Some(range)) = (writes, first_range) {
            self.push(Actor::A, Op::MmapWrite(range));
        }
    }

    /// Copies, one after the other, until a packet has what lies in several stretches of memory:
    /// those that the kernel gives a thread for its copies, or those of two threads.
    pub(super) fn copy_on(&mut self, genes: &OpGenes) {
        let (_, by) = Copying::NAMED[genes.aim as usize % Copying::NAMED.len()];
        let range = self.send(genes);
        let mut op = Op::Copy { by, range };
        self.push(Actor::A, op);
        for place in 1..COPIES {
            let draw = (genes.len + place) as usize;
            let len = tables::LONG_COPIES[draw % tables::LONG_COPIES.len()];
            let Some((next, range)) = onward(op, len, self.size_bytes) else {
                return;
            };
            let actor = match genes.back >= 2 && place % 2 == 1 {
                true => Actor::B,
                false => Actor::A,
            };
            self.push(actor, next);
            self.sends.push(range);
            op = next;
        }
    }

    /// What was to be sent last, and more of it, if the file has more.
    fn lengthened(&mut self, range: Range) -> Range {
        let left = self.size_bytes.saturating_sub(range.offset);
        let range = Range {
            len: range.len.max(LONG_BYTES.min(left)),
            ..range
        };
        if let Some(last) = self.sends.last_mut() {
            last.len = last.len.max(LONG_BYTES.min(self.size_bytes - last.offset));
        }
        range
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

    /// What is sent is to be put together for a probe.
    pub(super) fn is_probed(&self) -> bool {
        self.throng.crowd == Crowd::Probed
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
            let most = match self.is_probed() {
                true => tables::PROBED_BYTES,
                false => tables::ROW_BYTES,
            };
            let len = length_in_a_row(genes, place).min(most);
            let Some((mut op, range)) = onward(op, len, self.size_bytes) else {
                return;
            };
            // Sends by the same way share an owner, and a probe is to hold the data of several.
            if let (true, Op::Borrow { by, .. }) = (self.is_probed(), &mut op) {
                *by = match by {
                    Borrowing::Send => Borrowing::Uring,
                    Borrowing::Uring => Borrowing::Send,
                };
            }
            // What is sent by reference comes to what was copied and is still there.
            if self.throng.crowd == Crowd::Overflows {
                op = match op {
                    Op::Copy { range, .. } if (genes.aim + place).is_multiple_of(3) => Op::Borrow {
                        by: Borrowing::Uring,
                        range,
                    },
                    Op::Copy { range, .. } => Op::Sendfile(range),
                    _ => Op::Copy {
                        by: Copying::Write,
                        range,
                    },
                };
            }
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
