//! What each of several senders has for itself: what it has sent, or its connection.
//!
//! In the text of a program these are variables like any other; here they become members
//! of a structure, which each thread has a pointer to.

use super::shape::senders;
use crate::scenario::{Actor, Scenario};

/// What is noted of what was sent.
const SENT: [&str; 4] = ["expected", "earlier", "offset_of", "sent_bytes"];

/// What else belongs to a connection.
const CONNECTION: [&str; 8] = [
    "sender",
    "receiver",
    "received",
    "received_bytes",
    "end_of",
    "datagrams",
    "arrived_end",
    "arrived",
];

/// What each sender has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// Nothing: there is one of all.
    Nothing,
    /// What it has sent, on a connection that several share.
    Sent,
    /// A connection.
    Connection,
}

impl Own {
    /// That of a scenario.
    pub fn of(scenario: &Scenario) -> Own {
        match (scenario.setup.socket.each, senders(scenario).count()) {
            (true, _) => Own::Connection,
            (false, 0 | 1) => Own::Nothing,
            (false, _) => Own::Sent,
        }
    }

    /// Whether a variable belongs to it.
    pub fn has(self, name: &str) -> bool {
        match self {
            Own::Nothing => false,
            Own::Sent => SENT.contains(&name),
            Own::Connection => SENT.contains(&name) || CONNECTION.contains(&name),
        }
    }

    /// Who has something.
    pub fn owners(self, scenario: &Scenario) -> Vec<Actor> {
        match self {
            Own::Nothing => Vec::new(),
            Own::Sent => senders(scenario).collect(),
            Own::Connection => scenario.connections().collect(),
        }
    }

    /// With what a thread begins.
    pub fn take(self, scenario: &Scenario, actor: Actor) -> Option<String> {
        let owner = match self {
            Own::Nothing => return None,
            Own::Sent => actor,
            Own::Connection => scenario.connection_of(actor),
        };
        let owns = self.owners(scenario).contains(&owner);
        owns.then(|| format!("own = &of_{owner};"))
    }

    /// The structure, of these members, with one for each owner.
    pub fn declare(self, scenario: &Scenario, members: &str) -> String {
        let (comment, name) = match self {
            Own::Nothing => return String::new(),
            Own::Sent => ("What a sender has sent.", "sent_by"),
            Own::Connection => (
                "The connection of a sender, and what was sent and received by it.",
                "connection",
            ),
        };
        let owners = self.owners(scenario);
        let each: Vec<String> = owners.iter().map(|it| format!("of_{it}")).collect();
        let members = members.replace("static ", "\t");
        format!(
            "\n/* {comment} */\nstruct {name} {{\n{members}}};\n\n\
             static struct {name} {};\n\
             static _Thread_local struct {name} *own;\t/* that of the thread */\n",
            each.join(", ")
        )
    }

    /// The text of a program in which its variables are members.
    pub fn text(self, text: &str) -> String {
        let mut written = String::new();
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let (word, is_word) = token(rest);
            let member = written.ends_with("->") || written.ends_with('.');
            if is_word && !member && self.has(word) {
                written += "own->";
            }
            written += word;
            rest = &rest[word.len().max(next.len_utf8())..];
        }
        written
    }
}

/// The first word, comment, string or other character of a text, and whether it is a word.
fn token(text: &str) -> (&str, bool) {
    let part = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let until = |end: &str, from: usize| {
        let found = text[from..].find(end);
        found.map_or(text, |at| &text[..from + at + end.len()])
    };
    match text.chars().next() {
        Some('/') if text.starts_with("/*") => (until("*/", 2), false),
        Some('"') => (string(text), false),
        Some(first) if part(first) => {
            let end = text.find(|it| !part(it)).unwrap_or(text.len());
            (&text[..end], true)
        }
        Some(first) => (&text[..first.len_utf8()], false),
        None => (text, false),
    }
}

/// A string, with its quotes.
fn string(text: &str) -> &str {
    let mut escaped = false;
    for (at, it) in text.char_indices().skip(1) {
        match it {
            '"' if !escaped => return &text[..=at],
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text
}
