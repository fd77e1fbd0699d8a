//! Judges a history. One file a property; each has a doctored history that makes
//! it cry and the cases that must not be flagged.

use std::fmt;
use std::str::FromStr;

use crate::history::History;
use crate::scenario::{Range, Scenario};

/// The set of properties that a kernel is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contract {
    /// What the manual pages promise.
    Documented,
    /// Documented, plus stable-on-return.
    Stable,
}

/// One thing that must hold of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Property {
    /// The stream is the concatenation of the ranges reported sent.
    Wire,
    /// The file changes only where the scenario wrote.
    Source,
    /// Return values, offsets and the received total agree.
    Counts,
    /// Everything ends within a bound computed from the link.
    Liveness,
    /// No byte of the stream shows a write made after the call that sent it returned.
    StableOnReturn,
    /// The kernel's log has no WARN, BUG, Oops or panic.
    Splat,
}

/// One way in which a history breaks a property.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Property::Wire => "wire",
            Property::Source => "source",
            Property::Counts => "counts",
            Property::Liveness => "liveness",
            Property::StableOnReturn => "stable-on-return",
            Property::Splat => "splat",
        })
    }
}

/// Judges `history` under `contract`. Empty: everything held. At most one
/// violation a property, in the order of [`Property`].
pub fn judge(contract: Contract, scenario: &Scenario, history: &History) -> Vec<Violation> {
    let _ = (contract, scenario, history);
    todo!("oracle")
}

/// An unknown name of a property or contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}` (known: {known})")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: &'static str,
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
