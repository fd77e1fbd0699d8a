//! What people and programs get to read.
//!
//! * [`campaign`]: what many units came to;
//! * [`chart`]: curves, and how numbers are written;
//! * [`coverage`]: what of a kernel was reached;
//! * [`document`]: what all pages have in common;
//! * [`explain`]: one scenario, explained;
//! * [`features`]: what a campaign exercised;
//! * [`finding`]: a violation as a file that can be replayed;
//! * [`score`]: how many of the bugs that were put in are found;
//! * [`table`]: aligned columns for a terminal;
//! * [`shell`]: arguments quoted for a shell;
//! * `whole`: files that are there whole or not at all.

pub mod campaign;
pub mod chart;
pub mod coverage;
pub mod document;
pub mod explain;
pub mod features;
pub mod finding;
pub mod score;
pub mod shell;
pub mod table;
pub(crate) mod whole;
