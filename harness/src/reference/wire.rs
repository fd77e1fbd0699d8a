//! What may arrive. tcp(7): "a reliable, stream-oriented, full-duplex connection": all
//! that was sent, once and in order. Each sender has a line of its own; where sends of
//! several overlap in time, their bytes may take turns.

use super::bytes::{Bytes, CallId, Stretch};
use super::line;
use crate::scenario::{Actor, Range};

/// So many ways to explain the same bytes are only found among equal bytes, and then
/// there is no end of them.
const MOST_WAYS: usize = 64;

/// How far each line has arrived.
type Way = [u64; 3];

#[derive(Debug)]
pub struct Wire {
    lines: [Line; 3],
    /// Each way in which what has arrived can be explained.
    ways: Vec<Way>,
    /// Whether there were too many to follow.
    lost: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Wire {
            lines: Default::default(),
            ways: vec![[0; 3]],
            lost: false,
        }
    }
}

/// What one sender has sent.
#[derive(Debug, Default)]
struct Line {
    /// From the first byte that some way is still at.
    bytes: Bytes,
    /// Where that stands in the line.
    begin: u64,
    /// One past the last byte.
    end: u64,
    /// One past the last byte of calls that have returned.
    returned: u64,
    /// From where on bytes need not come: their call was killed.
    optional: Option<u64>,
}

impl Wire {
    /// A call puts bytes into the socket.
    pub fn send(&mut self, actor: Actor, call: CallId, bytes: Vec<Stretch>) {
        let after = [0, 1, 2].map(|it| self.lines[it].returned);
        let line = &mut self.lines[line(actor)];
        for stretch in bytes {
            line.end += stretch.len;
            line.bytes.0.push_back(Stretch {
                call,
                after,
                ..stretch
            });
        }
    }

    /// The call of a sender that ran has returned.
    pub fn leave(&mut self, actor: Actor) {
        let line = &mut self.lines[line(actor)];
        line.returned = line.optional.unwrap_or(line.end);
    }

    /// What a sender has yet to bring need not come.
    pub fn give_up(&mut self, actor: Actor, bytes: u64) {
        let line = &mut self.lines[line(actor)];
        line.optional = Some(line.end.saturating_sub(bytes));
    }

    pub fn show(&mut self, generation: u8, written: Range) {
        for line in &mut self.lines {
            line.bytes.show(generation, written);
        }
    }

    pub fn settle(&mut self, call: CallId) {
        for line in &mut self.lines {
            line.bytes.settle(call);
        }
    }

    /// Bytes arrive. `Err`: which of them cannot be what it is.
    pub fn arrive(&mut self, bytes: &[u8], is: impl Fn(u8, u64, u8) -> bool) -> Result<(), usize> {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.lost {
                break;
            }
            let mut next: Vec<Way> = Vec::with_capacity(1);
            for way in &self.ways {
                for (sender, line) in self.lines.iter().enumerate() {
                    let Some((stretch, offset)) = line.at(way[sender]) else {
                        continue;
                    };
                    let in_turn = (0..3).all(|it| it == sender || way[it] >= stretch.after[it]);
                    let is = |generation| is(generation, offset, byte);
                    if !in_turn || !stretch.seen.iter().any(is) {
                        continue;
                    }
                    let mut then = *way;
                    then[sender] += 1;
                    if !next.contains(&then) {
                        next.push(then);
                    }
                }
            }
            if next.is_empty() {
                return Err(at);
            }
            self.lost = next.len() > MOST_WAYS;
            self.ways = next;
            for (sender, line) in self.lines.iter_mut().enumerate() {
                let least = self.ways.iter().map(|way| way[sender]).min();
                line.forget(least.unwrap_or(0));
            }
        }
        Ok(())
    }

    /// Whether there were too many ways to explain what arrived.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether everything that must come has come.
    pub fn may_be_over(&self) -> bool {
        self.lost
            || self.ways.iter().any(|way| {
                (self.lines.iter().zip(way))
                    .all(|(line, at)| *at >= line.optional.unwrap_or(line.end))
            })
    }
}

impl Line {
    /// The stretch that has a byte of the line, and where that byte is in the file.
    fn at(&self, position: u64) -> Option<(&Stretch, u64)> {
        let mut rest = position.checked_sub(self.begin)?;
        for stretch in &self.bytes.0 {
            if rest < stretch.len {
                return Some((stretch, stretch.offset + rest));
            }
            rest -= stretch.len;
        }
        None
    }

    /// Nobody asks for what stands before that any more.
    fn forget(&mut self, position: u64) {
        while let Some(stretch) = self.bytes.0.front()
            && self.begin + stretch.len <= position
        {
            self.begin += stretch.len;
            self.bytes.0.pop_front();
        }
    }
}
