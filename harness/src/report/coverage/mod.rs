//! What of a kernel was reached: as a table, as JSON, as a tracefile of lcov, as a page.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `groups` | folders, and functions that nothing reached |
//! | `lcov` | a tracefile, which other programs read |
//! | `page` | the page: summary, functions, and the source with what was reached |
//! | `source` | its lines of source |
//! | `summary` | the same in short, for a terminal and for programs |

mod groups;
mod lcov;
mod page;
mod source;
mod summary;

use std::collections::HashMap;

pub use lcov::tracefile;
pub use page::page;
pub use summary::{human, json};

use crate::coverage::Coverage;

/// What there is to tell of one kernel.
#[derive(Debug, Clone)]
pub struct Report {
    /// The kernel's name.
    pub kernel: String,
    /// Which image it is.
    pub identity: String,
    /// How many scenarios ran for it.
    pub scenarios: usize,
    /// What was reached.
    pub coverage: Coverage,
    /// The text of its source, by path.
    pub sources: HashMap<String, String>,
}

impl Report {
    /// What reached it all, as the begin of a sentence.
    fn runs(&self) -> String {
        match self.scenarios {
            0 => "Earlier runs".to_owned(),
            some => format!("{some} scenarios"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::coverage::Tally;
    use crate::coverage::tally::{File, Function};

    fn file(path: &str, functions: &[(&str, u32, usize, usize)], lines: &[(u32, bool)]) -> File {
        let function = |&(name, line, reached, total): &(&str, u32, usize, usize)| Function {
            name: name.to_owned(),
            line,
            reached: reached > 0,
            blocks: Tally { reached, total },
            lines: Tally { reached, total },
        };
        let functions: Vec<Function> = functions.iter().map(function).collect();
        let mut blocks = Tally::default();
        functions.iter().for_each(|it| blocks += it.blocks);
        File {
            path: path.to_owned(),
            functions,
            lines: lines.iter().copied().collect::<BTreeMap<u32, bool>>(),
            through: lines
                .iter()
                .map(|(line, reached)| (line + 1, *reached))
                .collect(),
            blocks,
        }
    }

    /// Three files: one partly reached, one not at all, and a header.
    pub(super) fn report() -> Report {
        let files = vec![
            file(
                "fs/splice.c",
                &[("splice_to_socket", 10, 2, 3), ("iter_to_pipe", 30, 0, 2)],
                &[(10, true), (11, true), (14, false), (30, false)],
            ),
            file(
                "net/ipv4/fib_trie.c",
                &[("fib_find", 20, 0, 2)],
                &[(20, false), (22, false), (48, false)],
            ),
            file(
                "include/linux/skbuff.h",
                &[("skb_get", 5, 1, 1)],
                &[(5, true)],
            ),
        ];
        Report {
            kernel: "6.12-patched-kcov".into(),
            identity: "0123456789abcdef".into(),
            scenarios: 2,
            coverage: Coverage { files },
            sources: HashMap::new(),
        }
    }
}
