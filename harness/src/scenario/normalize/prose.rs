//! The header and the `expect` lines.

use super::PROPERTIES;
use super::rule::{Line, Notes, Rule};
use crate::scenario::limits::{MAX_EXPECTS, MAX_HEADER_BYTES, MAX_KERNEL_NAME_BYTES};
use crate::scenario::{Expect, Expected};

/// The header without control characters, blanks at line ends, and blank lines
/// at its top and bottom: what a comment block can hold and give back.
pub fn tidy_header(header: &str) -> String {
    let mut tidy = String::with_capacity(header.len());
    for line in header.split('\n') {
        // Removed before trimming: what stands before a control character may
        // be the blank that has to go.
        let plain: String = line
            .chars()
            .filter(|&c| c == '\t' || !c.is_control())
            .collect();
        if !tidy.is_empty() {
            tidy.push('\n');
        }
        tidy.push_str(plain.trim_end());
    }
    tidy.truncate(tidy.trim_end_matches('\n').len());
    tidy
}

/// As much of the header as a scenario can have.
fn cut_header(header: &str) -> &str {
    let mut cut = header.len().min(MAX_HEADER_BYTES);
    while !header.is_char_boundary(cut) {
        cut -= 1;
    }
    &header[..cut]
}

/// Whether a name can stand in an `expect` line.
pub fn is_kernel_name(name: &str) -> bool {
    (1..=MAX_KERNEL_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._:/+-@".contains(&b))
}

pub fn header(header: String, notes: &mut Notes) -> String {
    if header.is_empty() {
        return header;
    }
    let clean = tidy_header(cut_header(&header));
    if clean != header {
        notes.push(Line::Header, "", Rule::HeaderPlain);
    }
    clean
}

pub fn expects(expects: Vec<Expect>, notes: &mut Notes) -> Vec<Expect> {
    let mut kept: Vec<Expect> = Vec::with_capacity(expects.len().min(MAX_EXPECTS));
    for (index, expect) in expects.into_iter().enumerate() {
        let known = match &expect.verdict {
            Expected::Violates(property) => PROPERTIES.contains(&property.as_str()),
            Expected::Holds(_) | Expected::Either => true,
        };
        let broken = if kept.len() == MAX_EXPECTS {
            Some(Rule::ExpectCount)
        } else if !is_kernel_name(&expect.kernel) {
            Some(Rule::ExpectKernel)
        } else if !known {
            Some(Rule::ExpectProperty)
        } else if kept.iter().any(|other| other.kernel == expect.kernel) {
            // The first match counts, so a second one says nothing.
            Some(Rule::ExpectTwice)
        } else {
            None
        };
        match broken {
            Some(rule) => notes.push(Line::Expect(index), "", rule),
            None => kept.push(expect),
        }
    }
    kept
}
