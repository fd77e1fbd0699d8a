//! Features of what happened, besides the code that ran: two runs through the same code
//! can end a call short, with another errno, or after a wait that the other did not have.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;

use crate::guest::observed::Observed;
use crate::history::{Call, Completed, Counters, History, Outcome};
use crate::scenario::Scenario;

/// How many counters the features have; each has one by a hash.
pub const FEATURES: usize = 4096;

/// Marks the features of a run: of what is in its history, what was observed beside it,
/// and what the series counted.
pub(super) fn mark(
    scenario: &Scenario,
    history: &History,
    observed: &[Observed],
    counted: Option<Counters>,
    counters: &mut [u8],
) {
    mark_history(scenario, history, counters);
    for it in observed {
        let op = discriminant(&scenario.steps[it.step].op);
        let below = magnitude(it.below_bytes.into());
        let queued = magnitude(it.queued_bytes.into());
        set(counters, &("in flight", op, below, queued));
        if let Some(tcp) = it.tcp {
            let packets = [tcp.unacked, tcp.sacked, tcp.lost, tcp.retransmitted];
            let packets = packets.map(|it| magnitude(it.into()));
            set(counters, &("tcp", tcp.congestion, tcp.timeouts, packets));
            set(counters, &("state", op, tcp.congestion, tcp.timeouts));
        }
    }
    if let Some(counted) = counted {
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

fn mark_history(scenario: &Scenario, history: &History, counters: &mut [u8]) {
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
    use crate::guest::observed::Connection;
    use crate::history::{End, Stamp};
    use crate::scenario::text;

    /// All that there is of a run.
    struct Run {
        history: History,
        observed: Vec<Observed>,
        counted: Option<Counters>,
    }

    fn features(text: &str, change: impl Fn(&mut Run)) -> Vec<u8> {
        let scenario = text::parse("state.scn", text).unwrap();
        let call = |step| Call {
            step,
            entry: Stamp::default(),
            exit: Stamp::default(),
            outcome: Outcome::Returned(100),
            offset_after: None,
            f_pos_after: None,
        };
        let history = History {
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
            by_the_clock: false,
        };
        let mut run = Run {
            history,
            observed: vec![Observed {
                step: 0,
                below_bytes: 0,
                queued_bytes: 4096,
                tcp: Some(Connection {
                    congestion: 0,
                    timeouts: 0,
                    unacked: 3,
                    sacked: 0,
                    lost: 0,
                    retransmitted: 0,
                }),
            }],
            counted: None,
        };
        change(&mut run);
        let mut counters = vec![0; FEATURES];
        let (observed, counted) = (&run.observed, run.counted);
        mark(&scenario, &run.history, observed, counted, &mut counters);
        counters
    }

    #[test]
    fn what_happened_otherwise_is_another_feature() {
        const RACE: &str = "sendfile 0+100\nmmap-write 0+100\n";
        let usual = features(RACE, |_| ());
        assert_eq!(usual, features(RACE, |_| ()));
        fn tcp(it: &mut Run) -> &mut Connection {
            it.observed[0].tcp.as_mut().unwrap()
        }
        let others: [&dyn Fn(&mut Run); 10] = [
            &|it| it.history.calls[0].outcome = Outcome::Returned(99),
            &|it| it.history.calls[0].outcome = Outcome::Failed(libc::EAGAIN),
            &|it| it.history.calls[0].exit.time_ns = 20_000_000,
            &|it| it.history.end_ns = 20_000_000,
            &|it| it.observed[0].below_bytes = 5000,
            &|it| it.observed[0].queued_bytes = 0,
            &|it| it.observed[0].tcp = None,
            &|it| tcp(it).congestion = 4,
            &|it| tcp(it).lost = 1,
            &|it| {
                it.counted = Some(Counters {
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
