//! The text form of a scenario: its form of record.
//!
//! docs/scenario.md has the grammar. A text is accepted exactly when it runs as
//! it is written: what [`normalize`](super::normalize) would change is an error
//! here, with its place and reason. `parse(print(x)) == x` for every normalized
//! scenario.

mod folder;
mod lex;
mod nearest;
mod options;
mod parse;
mod print;
mod source;
pub(crate) mod units;

pub use folder::files;
pub use source::{ReadError, parse, parse_bytes, read_file};

/// Where and why a text is not a scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ParseError {
    /// The file's name as given.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

#[cfg(test)]
mod tests;
