//! The command line: one file a subcommand.

pub mod doctor;
pub mod format;
pub mod kernel;

use std::process::ExitCode;

/// Exit statuses, the same for every subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Every expectation held.
    Held = 0,
    /// A property was violated.
    Violated = 1,
    /// Usage or bad input.
    Usage = 2,
    /// This machine lacks something; the message names it and the remedy.
    Missing = 3,
    /// Nothing ran.
    NothingRan = 4,
    /// A bug of ours.
    Internal = 70,
}

/// An error with the exit status that it deserves. Subcommands return it; the
/// binary prints the message and exits with the status.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: Status,
    /// What to tell the user, with context.
    pub error: anyhow::Error,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    ExitCode::from(Status::NothingRan as u8)
}
