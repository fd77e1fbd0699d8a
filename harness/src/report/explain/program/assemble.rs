//! One file of all of it.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::judge;
use super::parts::{self, HEADERS};
use super::shape::{Shape, most_bytes};
use crate::scenario::Scenario;

/// More than any sender sends, to see it if more arrives.
const SPARE_BYTES: u64 = 4096;

/// The program that these functions are the heart of.
pub fn program(scenario: &Scenario, shape: &Shape, functions: &str) -> String {
    let marks = judge::marks(scenario, shape);
    let mut texts = Vec::new();
    let mut all = without_comments(functions);
    // What is called comes before those who call.
    for part in parts::of(scenario, shape.own).iter().rev() {
        if !mentions(&all, part.name) {
            continue;
        }
        let mut text = part.text.to_owned();
        for (mark, with) in &marks {
            text = text.replace(&format!("{{{{{mark}}}}}"), with);
        }
        all += &without_comments(&text);
        texts.push(text);
    }
    texts.reverse();
    let globals = parts::globals(scenario, shape.own, &all);
    all += &globals;
    let headers: BTreeSet<&str> = HEADERS
        .iter()
        .filter(|(_, names)| names.iter().any(|name| mentions(&all, name)))
        .map(|(header, _)| *header)
        .collect();
    let mut text = comment(scenario);
    text += "#define _GNU_SOURCE\n";
    for header in headers {
        let _ = writeln!(text, "#include <{header}>");
    }
    let _ = writeln!(
        text,
        "\n#define FILE_BYTES {}\n#define MOST_BYTES {}\t/* that arrive */\n",
        scenario.setup.file.size_bytes,
        most_bytes(scenario) + scenario.extent_bytes() + SPARE_BYTES,
    );
    text += &globals;
    for part in texts {
        text += "\n";
        text += &shape.own.text(&part);
    }
    text += "\n";
    text + &shape.own.text(functions)
}

/// The comment above: what it is about, how it is run, what it does.
fn comment(scenario: &Scenario) -> String {
    let mut lines: Vec<String> = Vec::new();
    if !scenario.header.is_empty() {
        lines.extend(scenario.header.split('\n').map(str::to_owned));
        lines.push(String::new());
    }
    let needs = parts::needs(scenario);
    let text = format!(
        "Compile and run{}:\n\n\
         \x20   gcc -Wall -Wextra -O2 FILE.c && ./a.out; echo $?\n\n\
         {needs}\
         It prints what is torn, and exits 1 if something is, 0 if nothing is, and 2 if it\n\
         could not be run. What it makes is gone when it ends.\n\n\
         As a scenario of inflight:\n\n",
        if parts::takes_root(scenario) {
            ", as root"
        } else {
            ""
        },
    );
    lines.extend(text.split('\n').map(str::to_owned));
    lines.pop();
    let mut bare = scenario.clone();
    bare.header.clear();
    let words = bare.to_string();
    lines.extend(words.lines().map(|line| format!("    {line}")));
    let mut comment = String::from("/*\n");
    for line in lines {
        // What ends a comment in C may stand in a header.
        let line = line.replace("*/", "* /").replace("/*", "/ *");
        let line = format!(" * {line}");
        let _ = writeln!(comment, "{}", line.trim_end());
    }
    comment + " */\n"
}

/// Whether a text has that word.
pub fn mentions(text: &str, word: &str) -> bool {
    let part = |it: char| it.is_ascii_alphanumeric() || it == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// C without its comments and the text of its strings.
pub fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        code += before;
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    code += rest;
    let pieces = code.split('"').step_by(2);
    pieces.collect::<Vec<&str>>().join("\"\"")
}
