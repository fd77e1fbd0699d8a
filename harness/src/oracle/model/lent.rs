//! What the model's kernel has borrowed, and what it tells of it.

use std::collections::VecDeque;

use super::{Kernel, Piped, Work};
use crate::history::{Call, Completed, Completion, Outcome};
use crate::scenario::{Borrowing, Op, Range};

/// A send by reference that has sent something.
#[derive(Clone, Copy)]
pub struct Lent {
    step: usize,
    /// When it was entered.
    entry: u64,
    /// By MSG_ZEROCOPY.
    number: Option<u32>,
    /// Bytes that are yet to be taken.
    pub left: u64,
    /// Whether it will be told of.
    promised: bool,
    /// When it was told that all are.
    told: Option<u64>,
}

/// One byte less is to be taken.
pub fn give_back(lent: &mut [Lent], step: usize) {
    if let Some(lent) = lent.iter_mut().find(|it| it.step == step) {
        lent.left -= 1;
    }
}

/// Order from which on nothing of a send is taken any more.
pub fn until(lent: &[Lent], call: &Call) -> u64 {
    match lent.iter().find(|it| it.step == call.step) {
        Some(lent) if lent.promised => lent.told.unwrap_or(u64::MAX),
        _ => call.exit.order,
    }
}

impl Kernel<'_> {
    /// Decides what a send by reference returns.
    pub fn lend(&mut self, by: Borrowing, range: Range, call: &mut Call, refuses: bool) -> Work {
        if refuses && self.scenario.setup.socket.nonblock {
            call.outcome = Outcome::Failed(libc::EAGAIN);
            return Work::Return;
        }
        let mapped = self.size.next_multiple_of(4096);
        let len = self.short(range.len.min(mapped.saturating_sub(range.offset)));
        if len == 0 {
            call.outcome = Outcome::Failed(libc::EFAULT);
            return Work::Return;
        }
        call.outcome = Outcome::Returned(len);
        let numbers = self.lent.iter().filter(|it| it.number.is_some()).count();
        self.lent.push(Lent {
            step: call.step,
            entry: call.entry.order,
            number: (by == Borrowing::Send).then_some(numbers as u32),
            left: len,
            promised: true,
            told: None,
        });
        // It may copy all the same.
        let copies = self.rng.chance(30);
        let bytes = range.offset..range.offset + len;
        let bytes: VecDeque<Piped> = bytes
            .map(|offset| Piped {
                offset,
                value: None,
                from: call.entry.order,
                copied: copies,
                late: !copies,
            })
            .collect();
        Work::Send(bytes)
    }

    /// A byte is sent, and was taken or not. Whether it is a borrowed one.
    pub fn take_back(&mut self, step: usize, taken: bool) -> bool {
        let borrowed = matches!(self.scenario.steps[step].op, Op::Borrow { .. });
        if borrowed && taken {
            give_back(&mut self.lent, step);
        }
        borrowed
    }

    /// A call returns: a ring says whether there is more to be told.
    pub fn promise(&mut self, step: usize) {
        let leaves_out = self.rng.chance(20);
        let at = self.tick();
        if let Some(lent) = self.lent.iter_mut().find(|it| it.step == step)
            && lent.number.is_none()
        {
            lent.promised = lent.left > 0 || !leaves_out;
            if lent.promised {
                let of = Completed::Promised { call: lent.entry };
                self.completions.push(Completion { at, of });
            }
        }
    }

    /// Tells of all that is back.
    pub fn tell(&mut self) {
        let mut index = 0;
        while index < self.lent.len() {
            let first = index;
            index += 1;
            if !self.is_due(first) {
                continue;
            }
            let at = self.tick();
            self.lent[first].told = Some(at.order);
            let (call, number) = (self.lent[first].entry, self.lent[first].number);
            let Some(number) = number else {
                let of = Completed::Notified { call };
                self.completions.push(Completion { at, of });
                continue;
            };
            // Neighbours are told together, as a kernel does.
            let mut last = number;
            while index < self.lent.len()
                && self.is_due(index)
                && self.lent[index].number.is_some()
                && self.rng.chance(60)
            {
                self.lent[index].told = Some(at.order);
                last += 1;
                index += 1;
            }
            let of = Completed::Sends {
                first: number,
                last,
                copied: self.rng.chance(50),
            };
            self.completions.push(Completion { at, of });
        }
    }

    /// Whether a send is to be told of and was not.
    fn is_due(&self, index: usize) -> bool {
        let Lent {
            entry: call,
            number,
            left,
            told,
            ..
        } = self.lent[index];
        let promised = |it: &Completion| it.of == Completed::Promised { call };
        left == 0 && told.is_none() && (number.is_some() || self.completions.iter().any(promised))
    }
}
