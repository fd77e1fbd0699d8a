//! Pages that are lent: the kernel gives them back by saying so.
//!
//! Documentation/networking/msg_zerocopy.rst: each socket counts the calls with
//! MSG_ZEROCOPY that have sent something, and a notification names a range of these
//! numbers. io_uring_enter(2), IORING_OP_SEND_ZC: a completion with IORING_CQE_F_MORE is
//! followed by a second one.

use std::collections::BTreeSet;

use super::Step;
use super::bytes::CallId;
use crate::history::{Call, Completed, Completion, Outcome};
use crate::scenario::{Borrowing, Family};

/// A call that has a number, or may have one.
#[derive(Debug)]
struct Counted {
    call: CallId,
    /// It has sent something, or is over without anybody knowing.
    certain: bool,
    /// How many had returned before it was made: its number is not less.
    least: usize,
    returned: bool,
    /// Calls that may have come before it, besides these.
    beside: usize,
    given_back: bool,
}

/// All that a connection has lent.
#[derive(Debug)]
pub struct Loans {
    family: Family,
    counted: Vec<Counted>,
    /// Numbers that were told.
    told: BTreeSet<u32>,
    /// Calls of a ring of which more is to be heard, some time.
    promised: BTreeSet<CallId>,
    /// Those of which it was said, and of which it was heard.
    owed: BTreeSet<CallId>,
    notified: BTreeSet<CallId>,
    /// Calls of a ring.
    by_ring: BTreeSet<CallId>,
}

impl Loans {
    pub fn new(family: Family) -> Loans {
        Loans {
            family,
            counted: Vec::new(),
            told: BTreeSet::new(),
            promised: BTreeSet::new(),
            owed: BTreeSet::new(),
            notified: BTreeSet::new(),
            by_ring: BTreeSet::new(),
        }
    }

    /// Which calls of a ring have a second completion, whenever that is read.
    pub fn expect(&mut self, completions: &[Completion]) {
        let promised = completions.iter().filter_map(|it| match it.of {
            Completed::Promised { call } => Some(call),
            _ => None,
        });
        self.promised.extend(promised);
    }

    pub fn enter(&mut self, by: Borrowing, call: &Call) {
        let certain = match call.outcome {
            Outcome::Returned(bytes) => bytes > 0,
            Outcome::Pending | Outcome::Killed => false,
            Outcome::Failed(_) | Outcome::Skipped => return,
        };
        let open = matches!(call.outcome, Outcome::Pending | Outcome::Killed);
        let id = call.entry.order;
        match by {
            Borrowing::Uring => drop(self.by_ring.insert(id)),
            Borrowing::Send if certain || open => {
                let least = self.counted.iter().filter(|it| it.returned).count();
                let beside = self.counted.len() - least;
                for other in self.counted.iter_mut().filter(|it| !it.returned) {
                    other.beside += 1;
                }
                self.counted.push(Counted {
                    call: id,
                    certain,
                    least,
                    returned: false,
                    beside,
                    given_back: false,
                });
            }
            Borrowing::Send => {}
        }
    }

    pub fn leave(&mut self, call: CallId) {
        for counted in &mut self.counted {
            counted.returned |= counted.call == call && counted.certain;
        }
    }

    /// Whether a call that returns has nothing lent.
    pub fn is_over(&self, call: CallId) -> bool {
        match self.by_ring.contains(&call) {
            true => !self.promised.contains(&call) || self.notified.contains(&call),
            false => self
                .counted
                .iter()
                .any(|it| it.call == call && it.given_back),
        }
    }

    /// The calls of which all pages are back with that.
    pub fn tell(&mut self, of: Completed) -> Step<Vec<CallId>> {
        match of {
            Completed::Sends { first, last, .. } => self.tell_numbers(first, last),
            Completed::Promised { call } => match self.owed.insert(call) {
                true => Ok(Vec::new()),
                false => Err((None, "a notification is promised twice".into())),
            },
            Completed::Notified { call } => {
                match self.owed.contains(&call) && self.notified.insert(call) {
                    true => Ok(vec![call]),
                    false => Err((None, "a notification that nobody waits for".into())),
                }
            }
        }
    }

    fn tell_numbers(&mut self, first: u32, last: u32) -> Step<Vec<CallId>> {
        if last < first {
            return Err((None, format!("numbers {first} to {last} are told of")));
        }
        // AF_VSOCK counts the parts in which it takes what one call sends.
        let parts = self.family == Family::Vsock;
        if last as usize >= self.counted.len() && (!parts || self.counted.is_empty()) {
            return Err((None, format!("number {last} is told of, which nobody has")));
        }
        for number in first..=last {
            if !self.told.insert(number) {
                return Err((None, format!("number {number} is told of twice")));
            }
        }
        let mut back = Vec::new();
        if parts {
            return Ok(back);
        }
        for counted in &mut self.counted {
            let mut numbers = counted.least..=counted.least + counted.beside;
            let all = numbers.all(|it| self.told.contains(&(it as u32)));
            if all && !counted.given_back {
                counted.given_back = true;
                back.push(counted.call);
            }
        }
        Ok(back)
    }

    /// All has arrived, and the socket could be asked to the end.
    pub fn end(&self) -> Step {
        if let Some(call) = self.owed.difference(&self.notified).next() {
            return Err((
                None,
                format!("the call made at {call} was never notified of"),
            ));
        }
        let certain = self.counted.iter().filter(|it| it.certain).count() as u32;
        let all = certain.max(self.told.last().map_or(0, |last| last + 1));
        match (0..all).find(|number| !self.told.contains(number)) {
            Some(number) => Err((None, format!("number {number} was never told of"))),
            None => Ok(()),
        }
    }
}
