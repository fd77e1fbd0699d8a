//! Judges a history. One file a property; each has a doctored history that makes
//! it cry and the cases that must not be flagged.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `wire` | the stream is the concatenation of the ranges reported sent |
//! | `source` | the file changes only where the scenario wrote |
//! | `counts` | returns, offsets, errnos and the total agree |
//! | `liveness` | everything ends within [`bound_ns`] |
//! | `polling` | and sends in several calls go on until all is sent |
//! | `stable` | no byte shows a write made after its send returned |
//! | `completion` | what is sent by reference is completed once, and then left alone |
//! | `splat` | [`splats`], [`reports`]: the kernel's log reports no bug |
//! | `leaks` | nothing is left when everything is closed |
//! | `datagrams` | what arrived are datagrams that were sent |
//! | `ledger` | which value a byte of the file may have had, and when |
//! | `sizes` | how long the file may have been, and when |
//! | `stream` | walks the stream once, for `wire` and `stable` |
//! | `interleave` | the same where several threads sent at once |
//! | `records` | the same of packets that are never lost |
//! | `sendings` | where datagrams begin and end, for `datagrams` |
//! | `runs` | compares runs of bytes with the pattern, fast |
//! | `breaks` | what may end a connection or cut a call short, and from when on |
//! | `connections` | what concerns which, where each actor has its own |
//! | `pipe` | how full the user pipe can be |
//! | `position` | where the file position stands |
//! | `means` | [`not_by`]: by which means the promise was kept, where a scenario asks |

mod breaks;
mod checksum;
mod completion;
mod connections;
mod counts;
mod datagrams;
mod interleave;
mod leaks;
mod ledger;
mod liveness;
mod means;
mod pipe;
mod polling;
mod position;
mod records;
mod runs;
mod sendings;
mod sizes;
mod source;
mod splat;
mod stable;
mod stream;
mod wire;

#[cfg(test)]
pub(crate) mod doctor;
pub(crate) mod draw;
pub(crate) mod model;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::history::History;
use crate::scenario::{Actor, Range, Scenario};

pub use leaks::violation as leak;
pub(crate) use liveness::DOES_NOT_BLOCK;
pub use liveness::{AWAIT_NS, HELD_NS, RESCUE_NS, arrival_ns, bound_ns, overflows};
pub use means::{means, not_by};
pub use splat::{is_report, message, reports, splats};

/// The set of properties that a kernel is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contract {
    /// What the manual pages promise.
    Documented,
    /// Documented, plus stable-on-return.
    Stable,
}

/// One thing that must hold of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Property {
    /// The stream is the concatenation of the ranges reported sent.
    Wire,
    /// Each received datagram is one that was sent.
    Datagrams,
    /// The file changes only where the scenario wrote.
    Source,
    /// Return values, offsets and the received total agree.
    Counts,
    /// Everything ends within a bound computed from the link.
    Liveness,
    /// No byte of the stream shows a write made after the call that sent it returned.
    StableOnReturn,
    /// What is sent by reference is told done with once, and no later write shows.
    Completion,
    /// The kernel's log has no WARN, BUG, Oops or panic.
    Splat,
    /// Sockets, pages and files are gone when everything is closed.
    Leaks,
}

impl Property {
    /// Every property, in the order in which violations are listed.
    pub const ALL: [Property; 9] = [
        Property::Wire,
        Property::Datagrams,
        Property::Source,
        Property::Counts,
        Property::Liveness,
        Property::StableOnReturn,
        Property::Completion,
        Property::Splat,
        Property::Leaks,
    ];
}

/// One way in which a history breaks a property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The property.
    pub property: Property,
    /// The step whose call is to blame (the send, where a byte is wrong).
    pub step: Option<usize>,
    /// Where in the stream the first wrong byte stands.
    pub stream_offset: Option<u64>,
    /// The run of wrong file bytes that begins there.
    pub file_range: Option<Range>,
    /// The step whose write the wrong byte came from.
    pub torn_by: Option<usize>,
    /// From the return of the send to the entry of that write, in virtual nanoseconds.
    pub after_return_ns: Option<u64>,
    /// One sentence for people, with the byte, the offsets and what was allowed.
    pub message: String,
}

impl Violation {
    /// One that is nowhere in the stream and torn by nobody.
    pub(crate) fn new(property: Property, step: Option<usize>, message: String) -> Violation {
        Violation {
            property,
            step,
            stream_offset: None,
            file_range: None,
            torn_by: None,
            after_return_ns: None,
            message,
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Property::Wire => "wire",
            Property::Datagrams => "datagrams",
            Property::Source => "source",
            Property::Counts => "counts",
            Property::Liveness => "liveness",
            Property::StableOnReturn => "stable-on-return",
            Property::Completion => "completion",
            Property::Splat => "splat",
            Property::Leaks => "leaks",
        })
    }
}

/// Judges `history` under `contract`. Empty: everything held. At most one
/// violation a property, in the order of [`Property`].
///
/// Never panics, whatever the history claims. [`Property::Splat`] is not judged
/// here: the kernel's log is not part of a history, see [`splats`].
pub fn judge(contract: Contract, scenario: &Scenario, history: &History) -> Vec<Violation> {
    let ledger = ledger::Ledger::new(scenario, history);
    let sizes = sizes::Sizes::new(scenario, history);
    let mut violations = Vec::new();
    violations.extend(source::judge(scenario, history, &ledger, &sizes));
    violations.extend(leaks::judge(history));
    for part in connections::parts(scenario, history) {
        let of = of_connection(scenario, history, &part.history, &ledger, &sizes);
        violations.extend(of.into_iter().flatten().map(|it| part.name(it)));
    }
    violations.retain(|it| contract == Contract::Stable || it.property != Property::StableOnReturn);
    // The first one of each.
    violations.sort_by_key(|it| it.property);
    violations.dedup_by_key(|it| it.property);
    violations
}

/// What is wrong with one connection, of which `history` is a part.
fn of_connection(
    scenario: &Scenario,
    whole: &History,
    history: &History,
    ledger: &ledger::Ledger,
    sizes: &sizes::Sizes,
) -> [Option<Violation>; 6] {
    let sent = stream::sent(scenario, history);
    let told = completion::Completions::new(scenario, history).judge();
    let Found {
        wire,
        stable,
        completion,
    } = match scenario.setup.socket.family.has_datagrams() {
        true => datagrams::judge(scenario, history, ledger, sizes, &sent),
        false => in_stream(scenario, history, ledger, &sent),
    };
    let records = match scenario.setup.socket.family.has_records() && wire.is_none() {
        true => records::judge(scenario, history, &sent),
        false => None,
    };
    [
        wire,
        records,
        counts::judge(scenario, whole, history, sizes),
        liveness::judge(scenario, history).or_else(|| polling::judge(scenario, history)),
        stable,
        told.or(completion),
    ]
}

/// What is wrong with what was received.
#[derive(Debug, Default)]
struct Found {
    /// What breaks `wire`, or `datagrams`.
    wire: Option<Violation>,
    /// What breaks `stable-on-return`.
    stable: Option<Violation>,
    /// What breaks `completion`.
    completion: Option<Violation>,
}

/// Whether the link can flip two bits of one packet, by chance and by number: then its
/// checksum can be right although it is not.
fn flips_two_bits(scenario: &Scenario) -> bool {
    let data = &scenario.setup.data;
    data.corrupt_ppm > 0 && data.nth.flip > 0
}

/// Whether a byte differs from what it may be by one bit.
fn is_a_bit_off(
    history: &History,
    ledger: &ledger::Ledger,
    at: &stream::Place,
    possible: &ledger::Generations,
) -> bool {
    let byte = history.received.get(at.stream).copied();
    let mut values = ledger.values(possible, at.file);
    byte.is_some_and(|byte| values.any(|value| (value ^ byte).count_ones() == 1))
}

fn in_stream(
    scenario: &Scenario,
    history: &History,
    ledger: &ledger::Ledger,
    sent: &[stream::Sent],
) -> Found {
    let faults = match interleave::overlaps(scenario, sent) {
        false => stream::walk(history, ledger, sent),
        true => interleave::walk(scenario, history, ledger, sent),
    };
    if let Some(stream::WireFault::Byte { at, possible }) = &faults.wire
        && flips_two_bits(scenario)
        && is_a_bit_off(history, ledger, at, possible)
    {
        return Found::default();
    }
    let wire = faults
        .wire
        .map(|fault| wire::violation(scenario, history, ledger, sent, fault));
    let stable = faults
        .stable
        .map(|fault| stable::violation(scenario, history, ledger, sent, fault));
    let completion = faults
        .completion
        .map(|fault| completion::violation(scenario, history, ledger, sent, fault));
    Found {
        wire,
        stable,
        completion,
    }
}

/// What stands where in the stream of the connection of `actor`: the send and the part
/// of the file, one after the other. `None`: several sends at once, or packets that may
/// have been lost, leave that open.
pub fn layout(scenario: &Scenario, history: &History, actor: Actor) -> Option<Vec<(usize, Range)>> {
    let parts = connections::parts(scenario, history);
    let place = scenario.connections().position(|it| it == actor)?;
    let part = parts.into_iter().nth(place)?;
    let sent = stream::sent(scenario, &part.history);
    let lossy = scenario.setup.socket.family.has_datagrams() && {
        let bytes: u64 = sent.iter().map(|it| it.range.len).sum();
        !scenario.setup.data.is_steady() || bytes != part.history.received.len() as u64
    };
    let open = lossy || interleave::overlaps(scenario, &sent);
    (!open).then(|| sent.iter().map(|it| (it.step, it.range)).collect())
}

/// A step as prose names it, counted from 1 as the lines of a scenario are.
fn name_step(scenario: &Scenario, step: usize) -> String {
    let number = step + 1;
    let Some(op) = scenario.steps.get(step).map(|step| step.op) else {
        return format!("operation {number}");
    };
    format!("operation {number} ({op})")
}

/// EPIPE and the like; the number where it has no name (a kernel-internal one
/// that leaked, for instance).
pub(crate) fn name_errno(errno: i32) -> String {
    match nix::errno::Errno::from_raw(errno) {
        nix::errno::Errno::UnknownErrno => format!("errno {errno}"),
        known => format!("{known:?}"),
    }
}

/// An unknown name of a property or contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}` (known: {known})")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: &'static str,
}

impl FromStr for Property {
    type Err = UnknownName;
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Property::ALL
            .into_iter()
            .find(|property| property.to_string() == name)
            .ok_or_else(|| UnknownName {
                what: "property",
                name: name.into(),
                known: "wire, datagrams, source, counts, liveness, stable-on-return, \
                        completion, splat, leaks",
            })
    }
}

impl FromStr for Contract {
    type Err = UnknownName;
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "documented" => Ok(Contract::Documented),
            "stable" => Ok(Contract::Stable),
            _ => Err(UnknownName {
                what: "contract",
                name: name.into(),
                known: "documented, stable",
            }),
        }
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Contract::Documented => "documented",
            Contract::Stable => "stable",
        })
    }
}
