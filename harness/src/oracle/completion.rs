//! **completion**: what was sent by reference (MSG_ZEROCOPY, io_uring's SEND_ZC) is told
//! done with exactly once, and from then on a write to it never shows.
//!
//! MSG_ZEROCOPY counts the calls that have sent something, from 0 on, and reports ranges
//! of these numbers; io_uring says of each send whether a notification is to follow.
//! Until then the bytes may be taken at any time, so a write after the return is nobody's
//! fault; [`until`] says when that ends.
//!
//! Not flagged: completions that say that the data were copied; any order; what is
//! missing where the stream did not end cleanly, or the sender closed its end and could
//! not be told any more.

use super::ledger::Ledger;
use super::stream::{Sent, StableFault};
use super::{Property, Violation, name_step, stable};
use crate::history::{Call, Completed, Completion, End, History, Outcome};
use crate::scenario::{Actor, Borrowing, Family, Op, Scenario};

/// What a history tells about sends by reference.
pub(super) struct Completions<'a> {
    scenario: &'a Scenario,
    history: &'a History,
    /// The calls with MSG_ZEROCOPY that have sent something, or may have.
    counted: Vec<Counted>,
}

/// A call with MSG_ZEROCOPY that has a number.
#[derive(Debug, Clone, Copy)]
struct Counted {
    step: usize,
    /// [`crate::history::Stamp::order`] of its entry, and of its return.
    entry: u64,
    exit: u64,
    /// Whether it has a number for certain.
    certain: bool,
}

impl<'a> Completions<'a> {
    pub fn new(scenario: &'a Scenario, history: &'a History) -> Self {
        let counted = |call: &Call| {
            let certain = match call.outcome {
                Outcome::Returned(bytes) if bytes > 0 => true,
                Outcome::Pending | Outcome::Killed => false,
                _ => return None,
            };
            let by = sent_by(scenario, call.step);
            (by == Some(Borrowing::Send)).then_some(Counted {
                step: call.step,
                entry: call.entry.order,
                exit: if certain { call.exit.order } else { u64::MAX },
                certain,
            })
        };
        Completions {
            scenario,
            history,
            counted: history.calls.iter().filter_map(counted).collect(),
        }
    }

    /// Order of the moment from which on the kernel has nothing to do any more with what
    /// `call` has sent; never, if that was not told.
    pub fn until(&self, call: &Call) -> u64 {
        match sent_by(self.scenario, call.step) {
            Some(Borrowing::Uring) => self.notified(call),
            _ => self.numbered(call),
        }
    }

    fn notified(&self, call: &Call) -> u64 {
        let mut told = self.history.completions.iter();
        let (exit, call) = (call.exit.order, call.entry.order);
        if !told.any(|it| it.of == Completed::Promised { call }) {
            return exit;
        }
        let mut told = self.history.completions.iter();
        let found = told.find(|it| it.of == Completed::Notified { call });
        found.map_or(u64::MAX, |it| it.at.order)
    }

    /// The same by number. Of calls that overlap it is not known which has which, so the
    /// last of those that it can be counts.
    fn numbered(&self, call: &Call) -> u64 {
        let entry = call.entry.order;
        let Some(own) = self.counted.iter().find(|it| it.entry == entry) else {
            return u64::MAX;
        };
        let before = |it: &&Counted| it.exit < own.entry;
        let beside =
            |it: &&Counted| it.entry != entry && it.exit >= own.entry && it.entry < own.exit;
        let least = self.counted.iter().filter(before).count();
        let most = least + self.counted.iter().filter(beside).count();
        let (first, last) = match self.splits() {
            true => (0, self.numbers_told().max(self.counted.len() as u64) - 1),
            false => (least as u64, most as u64),
        };
        let ends = (first..=last).map(|number| self.told_of(number).unwrap_or(u64::MAX));
        ends.max().unwrap_or(u64::MAX)
    }

    /// Whether one call can have had several numbers: AF_VSOCK takes what one call sends
    /// in parts, and counts these, if the other end has no room for all of it
    /// (net/vmw_vsock/af_vsock.c:vsock_connectible_sendmsg).
    fn splits(&self) -> bool {
        self.scenario.setup.socket.family == Family::Vsock
            && self.numbers_told() > self.counted.len() as u64
    }

    /// How many numbers were told, at least.
    fn numbers_told(&self) -> u64 {
        let last = |it: &Completion| match it.of {
            Completed::Sends { last, .. } => Some(u64::from(last) + 1),
            _ => None,
        };
        let told = self.history.completions.iter().filter_map(last).max();
        // A send takes at most 4 MiB, and a part is not smaller than a byte.
        told.unwrap_or(0).min(MOST_NUMBERS)
    }

    /// When a number was told first.
    fn told_of(&self, number: u64) -> Option<u64> {
        let tells = |it: &&Completion| match it.of {
            Completed::Sends { first, last, .. } => {
                (u64::from(first)..=u64::from(last)).contains(&number)
            }
            _ => false,
        };
        let found = self.history.completions.iter().find(tells);
        found.map(|it| it.at.order)
    }

    /// What is wrong with what was told, if anything is.
    pub fn judge(&self) -> Option<Violation> {
        let (step, message) = self.odd().or_else(|| self.missing())?;
        Some(Violation::new(Property::Completion, step, message))
    }

    /// What was told and should not have been.
    fn odd(&self) -> Option<(Option<usize>, String)> {
        let mut seen: Vec<bool> = Vec::new();
        let told = &self.history.completions;
        for (index, completion) in told.iter().enumerate() {
            let earlier = &told[..index];
            let again = earlier.iter().any(|it| it.of == completion.of);
            let (call, fault) = match completion.of {
                Completed::Sends { first, last, .. } => {
                    let fault = self.odd_numbers(completion, first, last, &mut seen);
                    (None, fault)
                }
                Completed::Promised { call } => {
                    let fault = again.then_some("is to be notified of twice");
                    (Some(call), fault.map(String::from))
                }
                Completed::Notified { call } => {
                    let promised = (earlier.iter()).any(|it| it.of == Completed::Promised { call });
                    let fault = match (promised, again) {
                        (false, _) => Some("was notified of, and no notification was to follow"),
                        (_, true) => Some("was notified of twice"),
                        _ => None,
                    };
                    (Some(call), fault.map(String::from))
                }
            };
            if let Some(fault) = fault {
                return Some(match call {
                    Some(call) => (self.step_of(call), format!("{} {fault}", self.name(call))),
                    None => (None, fault),
                });
            }
        }
        None
    }

    /// The step of the call that was entered then.
    fn step_of(&self, entry: u64) -> Option<usize> {
        let mut calls = self.history.calls.iter();
        calls.find(|it| it.entry.order == entry).map(|it| it.step)
    }

    fn name(&self, entry: u64) -> String {
        let step = self.step_of(entry);
        step.map_or("what nobody called".into(), |it| {
            name_step(self.scenario, it)
        })
    }

    fn odd_numbers(
        &self,
        told: &Completion,
        first: u32,
        last: u32,
        seen: &mut Vec<bool>,
    ) -> Option<String> {
        if last < first {
            return Some(format!("completions {first} to {last} were reported"));
        }
        // Counted as they are made, so that nothing is told of a call that is yet to come.
        let made = self.counted.iter().filter(|it| it.entry < told.at.order);
        let made = made.count() as u64;
        let most = match self.scenario.setup.socket.family {
            Family::Vsock if made > 0 => MOST_NUMBERS,
            _ => made,
        };
        if u64::from(last) >= most {
            return Some(format!(
                "completion {last} was reported, and only {made} calls with MSG_ZEROCOPY had sent anything"
            ));
        }
        let (first, last) = (first as usize, last as usize);
        if seen.len() <= last {
            seen.resize(last + 1, false);
        }
        let twice = (first..=last).find(|&number| seen[number]);
        seen[first..=last].fill(true);
        twice.map(|number| format!("completion {number} was reported twice"))
    }

    /// What should have been told and was not.
    fn missing(&self) -> Option<(Option<usize>, String)> {
        let closes = |call: &Call| {
            let step = self.scenario.steps.get(call.step);
            step.is_some_and(|step| step.op == Op::Close && step.actor != Actor::Reader)
        };
        if self.history.end != End::Eof || self.history.calls.iter().any(closes) {
            return None;
        }
        let told = &self.history.completions;
        let owed = told.iter().find_map(|it| match it.of {
            Completed::Promised { call }
                if !told.iter().any(|it| it.of == Completed::Notified { call }) =>
            {
                Some(call)
            }
            _ => None,
        });
        if let Some(call) = owed {
            let name = self.name(call);
            let message =
                format!("{name} was never notified of, though a notification was to follow");
            return Some((self.step_of(call), message));
        }
        let certain = self.counted.iter().filter(|it| it.certain).count() as u64;
        let all = certain.max(self.numbers_told());
        let number = (0..all).find(|&number| self.told_of(number).is_none())?;
        let call = self.counted.get(number as usize);
        let message = format!(
            "completion {number} of {all} was never reported, though all that was sent has arrived"
        );
        Some((call.map(|it| it.step), message))
    }
}

/// More than any scenario can have.
const MOST_NUMBERS: u64 = 1 << 12;

/// How a step sends by reference, if it does.
fn sent_by(scenario: &Scenario, step: usize) -> Option<Borrowing> {
    match scenario.steps.get(step)?.op {
        Op::Borrow { by, .. } => Some(by),
        _ => None,
    }
}

/// Puts bytes into words that were written after their completion.
pub(super) fn violation(
    scenario: &Scenario,
    history: &History,
    ledger: &Ledger,
    runs: &[Sent],
    fault: StableFault,
) -> Violation {
    let run = &runs[fault.at.run];
    let name = name_step(scenario, run.step);
    let until = (history.completions.iter()).find(|it| it.at.order == run.window.to);
    let write = ledger.write_of(fault.generation);
    let late = write.filter(|write| write.entry.order > run.window.to);
    let cause = match (late, until) {
        (Some(write), Some(until)) => {
            let after_ns = write.entry.time_ns.saturating_sub(until.at.time_ns);
            let (writer, after) = (name_step(scenario, write.step), stable::how_long(after_ns));
            format!(
                "{writer} wrote that {after}after the kernel had reported that it was done with them"
            )
        }
        _ => "which stood there at no instant between the call and its completion".to_string(),
    };
    Violation {
        property: Property::Completion,
        message: format!(
            "{} from stream byte {} on (file byte {}), sent by {name}, {} generation {}: {cause}",
            stable::count_bytes(fault.len),
            fault.at.stream,
            fault.at.file,
            if fault.len == 1 { "shows" } else { "show" },
            fault.generation,
        ),
        ..stable::violation(scenario, history, ledger, runs, fault)
    }
}

#[cfg(test)]
mod tests;
