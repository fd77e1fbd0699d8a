//! The words of a scenario's text, for libFuzzer's own mutations: `fuzz/text.dict`.
//! Written by this test where `UPDATE_EXPECT=1`, and else held against.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::scenario::{strategy, text};

/// How many generated scenarios say what words there are.
const CASES: u64 = 20_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The words of a text, without its prose: `delay=20ms` is `delay=` and `20ms`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(|line| {
        line.split_whitespace()
            .flat_map(|word| word.split_inclusive('='))
    })
}

/// What of a word is none of the numbers, which libFuzzer finds by itself: all of it, or
/// the unit of a quantity.
fn letters(word: &str) -> Option<&str> {
    let is_quantity = word.starts_with(|c: char| c.is_ascii_digit()) && !word.contains('-');
    let letters = match is_quantity {
        true => word.trim_start_matches(|c: char| !c.is_ascii_alphabetic()),
        false => word,
    };
    let has_some = letters.contains(|c: char| c.is_ascii_alphabetic());
    (has_some && letters.len() > 1).then_some(letters)
}

fn all_words() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut add = |text: &str| {
        let words = words(text).filter_map(letters);
        all.extend(words.map(str::to_owned));
    };
    for index in 0..CASES {
        add(&strategy::case(1, index).to_string());
    }
    for folder in fs::read_dir(root().join("corpus")).unwrap() {
        let folder = folder.unwrap().path();
        for file in fs::read_dir(&folder).into_iter().flatten() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|it| it == "scn") {
                let bytes = fs::read(&file).unwrap();
                // As it is printed: without what a person wrote beside it.
                let name = file.display().to_string();
                add(&text::parse_bytes(&name, &bytes).unwrap().to_string());
            }
        }
    }
    all
}

#[test]
fn every_word_of_the_grammar_is_in_the_dictionary() {
    let path = root().join("fuzz/text.dict");
    let mut wanted = String::from("# The words of a scenario, for `cargo fuzz run text`.\n");
    for word in all_words() {
        wanted += &format!("\"{word}\"\n");
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    assert_eq!(found, wanted, "UPDATE_EXPECT=1 writes it anew");
}

#[test]
fn numbers_are_no_words() {
    let text = "# prose\nlink data delay=20ms rate=1mbit\nsendfile 0+4096\nb: pwrite 1+2\n";
    let all: Vec<_> = words(text).filter_map(letters).collect();
    assert_eq!(
        all,
        [
            "link", "data", "delay=", "ms", "rate=", "mbit", "sendfile", "b:", "pwrite"
        ]
    );
}
