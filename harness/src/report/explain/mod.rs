//! One scenario, explained: what happened on each kernel, as files for people.

#[cfg(test)]
mod doctored;
pub mod folder;
pub mod markdown;
pub mod pcap;
pub mod program;
pub mod promise;
pub mod timeline;

use crate::capture::Capture;
use crate::history::History;
use crate::oracle::Violation;

/// A scenario as it ran on one kernel.
#[derive(Debug, Clone)]
pub struct Run {
    /// The kernel: `6.12-stock`.
    pub kernel: String,
    /// What was seen.
    pub history: History,
    /// What it breaks; empty: everything held.
    pub violations: Vec<Violation>,
    /// The packets; `None` where the link has none (AF_UNIX) or nobody looked.
    pub capture: Option<Capture>,
}
