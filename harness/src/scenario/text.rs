//! The text form of a scenario: its form of record.

use std::fmt;

use super::Scenario;

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

/// Reads a scenario. `file` is only used in errors.
pub fn parse(file: &str, text: &str) -> Result<Scenario, ParseError> {
    let _ = (file, text);
    todo!("text")
}

impl fmt::Display for Scenario {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!("text")
    }
}
