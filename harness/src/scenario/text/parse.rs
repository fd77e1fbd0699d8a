//! The grammar: one statement a line.

mod op;
mod setup;
mod stack;

use super::lex::{Place, Trouble, Word, Words};
use crate::scenario::normalize::{Line, Note, explain, tidy_header};
use crate::scenario::{Actor, Op, Scenario, Step};

const SETUP: &[&str] = &["link", "stack", "socket", "file", "reader", "expect"];
const OPS: &[&str] = &[
    "sendfile",
    "write",
    "send",
    "writev",
    "send-zerocopy",
    "uring-send-zerocopy",
    "await-completions",
    "pipe",
    "splice-in",
    "sendfile-in",
    "splice-out",
    "tee",
    "pour",
    "pipe-write",
    "vmsplice",
    "mmap-write",
    "pwrite",
    "fork-write",
    "msync",
    "drop-caches",
    "truncate",
    "punch",
    "dwrite",
    "zero",
    "collapse",
    "read",
    "wait",
    "await",
    "meet",
    "shutdown",
    "reset",
    "close",
    "signal",
    "kill",
    "cork",
    "uncork",
    "hold",
    "release",
];
/// Operations that are one word.
const BARE: [(&str, Op); 8] = [
    ("await-completions", Op::AwaitCompletions),
    ("msync", Op::Msync),
    ("drop-caches", Op::DropCaches),
    ("shutdown", Op::Shutdown),
    ("reset", Op::Reset),
    ("close", Op::Close),
    ("cork", Op::Cork { on: true }),
    ("uncork", Op::Cork { on: false }),
];
const ACTORS: [(&str, Actor); 5] = [
    ("a", Actor::A),
    ("b", Actor::B),
    ("c", Actor::C),
    ("reader", Actor::Reader),
    ("link", Actor::Link),
];

/// Reads a text that is plain already.
pub fn scenario(text: &str) -> Result<Scenario, Trouble> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        let mut words = Words::new(line, index + 1);
        reader.end = Place {
            line: index + 1,
            column: 1,
        };
        match words.next() {
            Some(first) => reader.statement(first, words)?,
            None => reader.comment(line),
        }
    }
    reader.finish()
}

/// What was read so far, and where.
#[derive(Default)]
struct Reader<'a> {
    scenario: Scenario,
    header: String,
    in_body: bool,
    /// The setup lines seen, in words, with their places.
    setup_lines: Vec<(String, Place)>,
    /// Where the values stand that normalization may object to.
    places: Vec<(Line, &'static str, Word<'a>)>,
    end: Place,
}

impl Default for Place {
    fn default() -> Self {
        Place { line: 1, column: 1 }
    }
}

impl<'a> Reader<'a> {
    /// A line without a statement: blank, or a comment. All comments above the
    /// first statement are the header; a blank line between them is kept.
    fn comment(&mut self, line: &str) {
        if self.in_body {
            return;
        }
        let text = line.trim_start().strip_prefix('#').unwrap_or("");
        self.header.push_str(text.strip_prefix(' ').unwrap_or(text));
        self.header.push('\n');
    }

    fn statement(&mut self, first: Word<'a>, mut words: Words<'a>) -> Result<(), Trouble> {
        self.in_body = true;
        if SETUP.contains(&first.text) {
            return self.setup(first, words);
        }
        let (actor, name) = match first.split(':') {
            None => (None, first),
            Some((actor, op)) if op.text.is_empty() => (Some(actor), words.need("an operation")?),
            Some((actor, op)) => (Some(actor), op),
        };
        let actor = actor.map(op::read_actor).transpose()?;
        let line = Line::Step(self.scenario.steps.len());
        self.places.push((line, "actor", first));
        let op = self.op(line, name, actor.is_none(), &mut words)?;
        words.finish()?;
        self.scenario.steps.push(Step {
            actor: actor.unwrap_or(op.usual_actor()),
            op,
        });
        Ok(())
    }

    /// The scenario, if it runs as it is written.
    fn finish(mut self) -> Result<Scenario, Trouble> {
        // Blanks at line ends are no reason to refuse prose.
        self.scenario.header = tidy_header(&self.header);
        let (normal, notes) = explain(self.scenario);
        match notes.first() {
            None => Ok(normal),
            Some(Note { line, key, rule }) => {
                let at = |key: &str| {
                    self.places
                        .iter()
                        .find(|(l, k, _)| l == line && *k == key)
                        .map(|&(.., word)| word)
                };
                Err(match at(key).or_else(|| at("")) {
                    Some(word) => word.trouble(format!("found {}: {rule}", word.quoted())),
                    None => Trouble::new(self.end, rule.to_string()),
                })
            }
        }
    }
}
