//! From a file or bytes to text, and from text to a scenario.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::lex::{Place, Trouble};
use super::{ParseError, parse as grammar};
use crate::scenario::Scenario;
use crate::scenario::limits::MAX_TEXT_BYTES;

/// Why a file gives no scenario.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file's name as given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder that has none.
    #[error("{}: no scenarios (.scn files)", .0.display())]
    NoScenarios(PathBuf),
    /// It was read, but it is not a scenario.
    #[error(transparent)]
    Parse(#[from] ParseError),
}

/// Reads the scenario in the file at `path`. Reads no more of it than the
/// longest text has, so a device or a huge file is refused quickly.
pub fn read_file(path: &Path) -> Result<Scenario, ReadError> {
    let io = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(MAX_TEXT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    Ok(parse_bytes(&path.display().to_string(), &bytes)?)
}

/// Reads a scenario from bytes that may not be text. `file` is only used in
/// errors.
pub fn parse_bytes(file: &str, bytes: &[u8]) -> Result<Scenario, ParseError> {
    let trouble = match std::str::from_utf8(bytes) {
        Ok(text) => return parse(file, text),
        // The check for NUL comes first: it says more about a binary file.
        Err(_) if bytes.len() <= MAX_TEXT_BYTES && bytes.contains(&0) => {
            let at = bytes.iter().position(|&byte| byte == 0).unwrap_or(0);
            Trouble::new(place_of(&bytes[..at]), NUL)
        }
        Err(_) if bytes.len() > MAX_TEXT_BYTES => too_large(),
        Err(error) => {
            let at = error.valid_up_to();
            Trouble::new(
                place_of(&bytes[..at]),
                format!(
                    "found the byte {:#04x}, which is not UTF-8; a scenario is plain text",
                    bytes[at]
                ),
            )
        }
    };
    Err(trouble.in_file(file))
}

/// Reads a scenario. `file` is only used in errors.
pub fn parse(file: &str, text: &str) -> Result<Scenario, ParseError> {
    check_plain(text)
        .and_then(|()| grammar::scenario(text))
        .map_err(|trouble| trouble.in_file(file))
}

const NUL: &str = "found a NUL byte: this is a binary file; a scenario is plain text";

fn too_large() -> Trouble {
    Trouble::new(
        Place { line: 1, column: 1 },
        format!("too large: a scenario has at most {MAX_TEXT_BYTES} bytes"),
    )
}

fn check_plain(text: &str) -> Result<(), Trouble> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(too_large());
    }
    // A carriage return is legal before a line feed only, and a tab anywhere.
    let strange = |(at, c): &(usize, char)| match c {
        '\n' | '\t' => false,
        '\r' => !text[at + 1..].starts_with('\n'),
        _ => c.is_control(),
    };
    match text.char_indices().find(strange) {
        None => Ok(()),
        Some((at, '\0')) => Err(Trouble::new(place_of(&text.as_bytes()[..at]), NUL)),
        Some((at, c)) => Err(Trouble::new(
            place_of(&text.as_bytes()[..at]),
            format!(
                "found the control character U+{:04X}; a scenario is plain text",
                c as u32
            ),
        )),
    }
}

/// The place right after `before`, which need not be text as a whole.
fn place_of(before: &[u8]) -> Place {
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    Place {
        line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
        column: 1 + String::from_utf8_lossy(&before[line_start..])
            .chars()
            .count(),
    }
}
