//! A connection for each sender.

use std::fmt::Write;

use super::shape::{Reader, Shape};
use super::threads::{self, Thread};
use crate::scenario::{Actor, Scenario, Step};

/// Makes all of them; the main thread goes on with that of `a`.
pub fn connect(scenario: &Scenario) -> String {
    let mut owners: Vec<Actor> = scenario.connections().collect();
    owners.reverse();
    let connect = |owner: &Actor| format!("\town = &of_{owner};\n\tconnect_ends();\n");
    owners.iter().map(connect).collect()
}

/// Lines for every one of them.
pub fn for_each(scenario: &Scenario, lines: &str) -> String {
    let mut text = String::new();
    for owner in scenario.connections() {
        let _ = write!(text, "\town = &of_{owner};\n{lines}");
    }
    text
}

/// What is wrong with any of them.
pub fn verdicts(scenario: &Scenario) -> String {
    let mut text = String::new();
    for owner in scenario.connections() {
        let _ = write!(
            text,
            "\town = &of_{owner};\n\tprintf(\"{owner}: \");\n\twrong |= verdict();\n"
        );
    }
    text + "\treturn wrong;\n"
}

/// Whether the reader has steps, which are about the connection of `a`.
fn reads_by_steps(scenario: &Scenario) -> bool {
    let reads = |it: &Step| it.actor == Actor::Reader;
    scenario.steps.iter().any(reads)
}

/// The connections of which a thread reads the rest that does nothing else.
fn rests(scenario: &Scenario) -> impl Iterator<Item = Actor> {
    let but_a = reads_by_steps(scenario);
    let owners = scenario.connections();
    owners.filter(move |it| *it != Actor::A || !but_a)
}

/// The functions that read what nobody has read.
pub fn readers(scenario: &Scenario, shape: &Shape) -> Vec<String> {
    if !scenario.setup.socket.each || shape.reader == Reader::Drains {
        return Vec::new();
    }
    let function = |owner: Actor| {
        format!(
            "/* What is left of the connection of {owner}, when all is done. */\n\
             static void *{owner}_rest(void *unused)\n{{\n\town = &of_{owner};\n{}\
             \treturn unused;\n}}\n",
            threads::read_rest(scenario, owner)
        )
    };
    rests(scenario).map(function).collect()
}

/// The threads that read.
pub fn reading(scenario: &Scenario, shape: &Shape) -> Vec<Thread> {
    let thread = |owner: Actor| match shape.reader {
        Reader::Drains => Thread {
            handle: format!("{owner}_draining"),
            function: "drain".into(),
            argument: format!("&of_{owner}"),
            reads: true,
        },
        _ => Thread {
            handle: format!("{owner}_reading"),
            function: format!("{owner}_rest"),
            argument: "NULL".into(),
            reads: true,
        },
    };
    match shape.reader {
        Reader::Drains => scenario.connections().map(thread).collect(),
        _ => rests(scenario).map(thread).collect(),
    }
}
