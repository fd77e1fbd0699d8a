//! Datagrams. udp(7): each send is one, and arrives whole or not at all; with UDP_CORK,
//! and with MSG_MORE (send(2)), what is sent "is accumulated into a single datagram".
//! A file may end, and a pipe run dry, before a call has as much as it was asked for:
//! whether its datagram waits for more is then left open.

use super::bytes::{CallId, Stretch};
use super::limits::Asked;
use super::network;
use crate::scenario::{PAGE_BYTES, Range, Scenario};

/// Whether a call ends the datagram that it is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    No,
    Maybe,
    Yes,
}

/// What one call has put into a datagram.
#[derive(Debug)]
struct Piece {
    call: CallId,
    bytes: super::bytes::Bytes,
    ends: Ends,
}

/// All that was sent in datagrams, and what has arrived of it.
#[derive(Debug, Default)]
pub struct Messages {
    pieces: Vec<Piece>,
    /// Before which of them, as they stand behind one that failed, what waited may have
    /// been thrown away.
    thrown: Vec<usize>,
    /// Of each one that arrived: the pieces that it can be made of, from the first to
    /// before the last.
    arrived: Vec<Vec<(usize, usize)>>,
    /// A call never returned: nobody knows what it has sent.
    open: bool,
}

impl Messages {
    /// A call puts bytes into the socket.
    pub fn send(&mut self, call: CallId, bytes: Vec<Stretch>) {
        if bytes.is_empty() {
            return;
        }
        let stretches = bytes.into_iter().map(|it| Stretch { call, ..it });
        self.pieces.push(Piece {
            call,
            bytes: super::bytes::Bytes(stretches.collect()),
            ends: Ends::Maybe,
        });
    }

    pub fn give_up(&mut self) {
        self.open = true;
    }

    /// The call has returned. `short`: it has met an error, at once or on the way.
    pub fn leave(&mut self, call: CallId, ends: Ends, short: bool) {
        let mut pieces = self.pieces.iter_mut();
        if let Some(piece) = pieces.rfind(|piece| piece.call == call) {
            piece.ends = ends;
        }
        if short {
            self.thrown.push(self.pieces.len());
        }
    }

    pub fn show(&mut self, generation: u8, written: Range) {
        for piece in &mut self.pieces {
            piece.bytes.show(generation, written);
        }
    }

    pub fn settle(&mut self, call: CallId) {
        for piece in &mut self.pieces {
            piece.bytes.settle(call);
        }
    }

    /// What waits for more, at the most.
    pub fn waiting(&self) -> Asked {
        let waits = (self.pieces.iter().rev()).take_while(|piece| piece.ends != Ends::Yes);
        let stretches: Vec<&Stretch> = waits.flat_map(|piece| &piece.bytes.0).collect();
        Asked {
            bytes: stretches.iter().map(|it| it.len).sum(),
            pages: stretches.iter().map(|it| pages(it.offset, it.len)).sum(),
            in_rounds: false,
        }
    }

    /// A datagram arrives. `Err`: it is none that was sent.
    pub fn arrive(&mut self, bytes: &[u8], is: impl Fn(u8, u64, u8) -> bool) -> Result<(), ()> {
        let fits = |first: usize, end: usize| {
            let stretches = self.pieces[first..end].iter().flat_map(|it| &it.bytes.0);
            let places = stretches.flat_map(|it| (0..it.len).map(move |at| (it, it.offset + at)));
            places.zip(bytes).all(|((stretch, offset), byte)| {
                let mut seen = stretch.seen.iter();
                seen.any(|generation| is(generation, offset, *byte))
            })
        };
        let mut ways = Vec::new();
        for first in 0..self.pieces.len() {
            let mut len = 0;
            for end in first + 1..=self.pieces.len() {
                len += self.pieces[end - 1].bytes.len();
                if len == bytes.len() as u64 && fits(first, end) {
                    ways.push((first, end));
                }
            }
        }
        let none = ways.is_empty() && !self.open;
        self.arrived.push(ways);
        if none { Err(()) } else { Ok(()) }
    }

    /// All is over. `Err`: which datagram cannot have come then, or that one is missing.
    pub fn end(&self, scenario: &Scenario, all: bool) -> Result<(), Option<usize>> {
        if self.open {
            return Ok(());
        }
        if network::shuffles(scenario) {
            // Any of them any time, and more than once.
            let one = |ways: &Vec<(usize, usize)>| {
                let mut ways = ways.iter();
                ways.any(|&(first, end)| self.may_begin(first) && self.may_end(first, end))
            };
            let wrong = self.arrived.iter().position(|ways| !one(ways));
            return wrong.map_or(Ok(()), |at| Err(Some(at)));
        }
        let sent = self.pieces.iter().map(|piece| piece.bytes.len()).sum();
        let loses = network::loses_datagrams(scenario, self.pieces.len() as u64, sent);
        let mut over = self.without(vec![0], loses);
        for (at, ways) in self.arrived.iter().enumerate() {
            let ways = ways
                .iter()
                .filter(|(first, end)| over.contains(first) && self.may_end(*first, *end));
            let next: Vec<usize> = ways.map(|&(_, end)| end).collect();
            if next.is_empty() {
                return Err(Some(at));
            }
            over = self.without(next, loses);
        }
        match all && !over.contains(&self.pieces.len()) {
            true => Err(None),
            false => Ok(()),
        }
    }

    /// How many pieces may be over when `over` may be, and some datagrams never arrive.
    fn without(&self, over: Vec<usize>, loses: bool) -> Vec<usize> {
        let mut all = over;
        let mut at = 0;
        while let Some(&first) = all.get(at) {
            for end in first + 1..=self.pieces.len() {
                let waits = self.waits_between(first, end - 1);
                let lost = self.may_end(first, end) && (loses || self.met(first, end));
                let gone = waits && (lost || self.thrown.contains(&end));
                if gone && !all.contains(&end) {
                    all.push(end);
                }
            }
            at += 1;
        }
        all
    }

    /// RFC 768: a checksum that was made before a write does not fit what is sent after
    /// it, and then the receiver drops the datagram.
    fn met(&self, first: usize, end: usize) -> bool {
        let mut stretches = self.pieces[first..end].iter().flat_map(|it| &it.bytes.0);
        stretches.any(|stretch| stretch.met)
    }

    fn may_begin(&self, first: usize) -> bool {
        first == 0 || self.thrown.contains(&first) || self.pieces[first - 1].ends != Ends::No
    }

    fn may_end(&self, first: usize, end: usize) -> bool {
        // What waits to the end goes when the cork is pulled.
        let last = end == self.pieces.len();
        self.waits_between(first, end - 1) && (last || self.pieces[end - 1].ends != Ends::No)
    }

    /// Whether none of these pieces ends a datagram for certain.
    fn waits_between(&self, first: usize, end: usize) -> bool {
        let mut pieces = self.pieces[first..end].iter();
        !pieces.any(|piece| piece.ends == Ends::Yes)
    }
}

/// How many pages a run of bytes lies in.
pub fn pages(offset: u64, len: u64) -> u64 {
    match len {
        0 => 0,
        len => (offset.saturating_add(len) - 1) / PAGE_BYTES - offset / PAGE_BYTES + 1,
    }
}
