//! Features of what happened, besides the code that ran: two runs through the same code
//! can end a call short, with another errno, or after a wait that the other did not have.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;

use crate::history::{Call, Completed, History, Outcome};
use crate::scenario::Scenario;

/// How many counters the features have; each has one by a hash.
pub const FEATURES: usize = 4096;

/// Marks the features of a run.
pub(super) fn mark(scenario: &Scenario, history: &History, counters: &mut [u8]) {
    let mut calls: Vec<&Call> = history.calls.iter().collect();
    calls.sort_by_key(|call| call.entry);
    let mut before = None;
    for call in calls {
        let op = discriminant(&scenario.steps[call.step].op);
        let end = end_of(call, scenario);
        let took_us = (call.exit.time_ns - call.entry.time_ns) / 1_000;
        set(counters, &("call", op, end, magnitude(took_us)));
        if let Some(before) = before {
            set(counters, &("after", before, op, end));
        }
        before = Some((op, end));
    }
    for completion in &history.completions {
        let copied = matches!(completion.of, Completed::Sends { copied: true, .. });
        set(
            counters,
            &("completion", discriminant(&completion.of), copied),
        );
    }
    let streams = history.beside.len();
    let (end, chunks) = (discriminant(&history.end), history.chunks.len() as u64);
    set(
        counters,
        &("end", end, streams, magnitude(history.end_ns / 1_000)),
    );
    set(counters, &("chunks", magnitude(chunks)));
    if let Some(counted) = history.counters {
        for (name, value) in [
            ("waits", counted.waits),
            ("wait_us", counted.wait_us),
            ("referenced", counted.referenced_bytes),
            ("copied", counted.copied_bytes),
            ("detached", counted.detached_bytes),
        ] {
            set(counters, &(name, magnitude(value)));
        }
    }
}

/// How a call ended, and whether it did all that it was asked to.
fn end_of(call: &Call, scenario: &Scenario) -> (u8, i32) {
    let asked = scenario.steps[call.step].op.range().map(|it| it.len);
    match call.outcome {
        Outcome::Returned(0) => (0, 0),
        Outcome::Returned(bytes) if asked.is_some_and(|it| bytes < it) => (1, 0),
        Outcome::Returned(_) => (2, 0),
        Outcome::Failed(errno) => (3, errno),
        Outcome::Skipped => (4, 0),
        Outcome::Killed => (5, 0),
        Outcome::Pending => (6, 0),
    }
}

/// The number of bits.
fn magnitude(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

fn set(counters: &mut [u8], feature: &impl Hash) {
    let mut hasher = DefaultHasher::new();
    feature.hash(&mut hasher);
    let place = hasher.finish() % counters.len() as u64;
    let counter = &mut counters[place as usize];
    *counter = counter.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Counters, End, Stamp};
    use crate::scenario::text;

    fn features(text: &str, change: impl Fn(&mut History)) -> Vec<u8> {
        let scenario = text::parse("state.scn", text).unwrap();
        let call = |step| Call {
            step,
            entry: Stamp::default(),
            exit: Stamp::default(),
            outcome: Outcome::Returned(100),
            offset_after: None,
            f_pos_after: None,
        };
        let mut history = History {
            calls: (0..scenario.steps.len()).map(call).collect(),
            completions: Vec::new(),
            chunks: Vec::new(),
            received: Vec::new(),
            file_pread: Vec::new(),
            file_mmap: Vec::new(),
            end: End::Eof,
            end_ns: 0,
            beside: Vec::new(),
            counters: None,
            leftovers: None,
        };
        change(&mut history);
        let mut counters = vec![0; FEATURES];
        mark(&scenario, &history, &mut counters);
        counters
    }

    #[test]
    fn what_happened_otherwise_is_another_feature() {
        const RACE: &str = "sendfile 0+100\nmmap-write 0+100\n";
        let usual = features(RACE, |_| ());
        assert_eq!(usual, features(RACE, |_| ()));
        let others: [fn(&mut History); 5] = [
            |it| it.calls[0].outcome = Outcome::Returned(99),
            |it| it.calls[0].outcome = Outcome::Failed(libc::EAGAIN),
            |it| it.calls[0].exit.time_ns = 20_000_000,
            |it| it.end_ns = 20_000_000,
            |it| {
                it.counters = Some(Counters {
                    waits: 1,
                    ..Counters::default()
                });
            },
        ];
        let mut all = vec![usual];
        for other in others {
            let features = features(RACE, other);
            assert!(!all.contains(&features), "{}", all.len());
            all.push(features);
        }
        // The order of the same operations is one, too.
        let (a, b) = (
            "sendfile 0+100\npwrite 0+100\n",
            "pwrite 0+100\nsendfile 0+100\n",
        );
        assert_ne!(features(a, |_| ()), features(b, |_| ()));
    }
}
