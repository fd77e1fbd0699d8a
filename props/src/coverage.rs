//! That a kernel which counts its code counts what a fuzzer is to be guided by: what
//! sends, and what receives and acknowledges on nobody's behalf.

use std::fs;

use inflight::kcov::{Contexts, Machine};
use inflight::oracle::Contract;
use inflight::scenario::{normalize, text};
use inflight::trial::Trial;

use crate::properties::Result;

const SCENARIO: &str = "link data delay=1ms\n\nsendfile 0+4096\n";
/// Functions that run for whoever sends; each in another folder of the kernel.
const OF_TASKS: [&str; 4] = [
    "splice_direct_to_actor",
    "shmem_file_splice_read",
    "tcp_sendmsg_locked",
    "skb_splice_from_iter",
];
/// Functions that run when a packet comes in.
const OF_SOFTIRQS: [&str; 3] = ["tcp_v4_rcv", "tcp_ack", "ip_rcv"];

/// Tasks and softirqs apart, and nothing while nobody asks.
pub fn the_code_of_tasks_and_of_softirqs_is_counted() -> Result {
    let said = |error: std::io::Error| error.to_string();
    let machine = Machine::open().map_err(said)?.ok_or("nothing is counted")?;
    let mut trial = Trial::set_up(Contract::Documented).map_err(said)?;
    let scenario = text::parse("counted.scn", SCENARIO).map_err(|error| error.to_string())?;
    let scenario = normalize::normalize(scenario);
    let symbols = Symbols::read().map_err(said)?;
    let mut known = 0;
    for (contexts, some, others) in [
        (Contexts::NONE, &[][..], &OF_TASKS[..]),
        (Contexts::SOFTIRQS, &OF_SOFTIRQS[..], &OF_TASKS[..]),
        (Contexts::TASKS, &OF_TASKS[..], &[][..]),
    ] {
        machine.clear();
        machine.count(contexts);
        let verdict = trial.run(&scenario);
        machine.count(Contexts::NONE);
        verdict.map_err(said)?;
        let ran = machine.counters().filter(|it| *it > 0).count();
        if (ran == 0) != (contexts == Contexts::NONE) {
            return Err(format!("{contexts:?}: {ran} counters"));
        }
        // A block is named once only: those of softirqs come first.
        let seen = machine.seen(known);
        known += seen.len();
        let saw = |function: &&str| seen.iter().any(|at| symbols.is_in(*at, function));
        if let Some(missing) = some.iter().find(|it| !saw(it)) {
            return Err(format!("{contexts:?}: nothing of {missing} was seen"));
        }
        if let Some(other) = others.iter().find(|it| saw(it)) {
            return Err(format!("{contexts:?}: {other} was seen"));
        }
    }
    Ok(())
}

/// Where the functions of this kernel are, by address.
struct Symbols(Vec<(u64, String)>);

impl Symbols {
    fn read() -> std::io::Result<Symbols> {
        let text = fs::read_to_string("/proc/kallsyms")?;
        let symbol = |line: &str| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let kind = words.next()?;
            let name = words.next()?;
            matches!(kind, "t" | "T").then(|| (address, name.to_owned()))
        };
        let mut symbols: Vec<_> = text.lines().filter_map(symbol).collect();
        symbols.sort_unstable();
        Ok(Symbols(symbols))
    }

    fn is_in(&self, address: u64, function: &str) -> bool {
        let after = self.0.partition_point(|(begin, _)| *begin <= address);
        after > 0 && self.0[after - 1].1 == function
    }
}
