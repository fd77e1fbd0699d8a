//! For people or for programs.

use std::io::{self, Write};

use anyhow::Context as _;

use super::{Failure, Status};

/// How results are printed on standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table
    #[default]
    Human,
    /// One object a line
    Json,
}

/// Prints `text` to standard output as it is.
///
/// # Errors
/// Standard output is closed or full.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write to standard output")
        .map_err(|error| Failure {
            status: Status::Internal,
            error,
        })
}
