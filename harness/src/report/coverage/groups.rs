//! Folders, and functions that nothing reached.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::coverage::tally::File;
use crate::coverage::{Coverage, Tally, path};

/// Of a folder with fewer instrumented files each file is told by itself.
const FEW_FILES: usize = 3;
/// What is inlined from headers, wherever.
const HEADERS: &str = "headers";

/// What was reached of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tallies {
    pub functions: Tally,
    pub lines: Tally,
    pub blocks: Tally,
}

/// A function that nothing reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Missed<'a> {
    pub function: &'a str,
    pub file: &'a str,
    pub line: u32,
    pub blocks: usize,
}

impl Tallies {
    pub fn of(file: &File) -> Tallies {
        Tallies {
            functions: file.function_tally(),
            lines: file.line_tally(),
            blocks: file.blocks,
        }
    }

    pub fn all(coverage: &Coverage) -> Tallies {
        let mut all = Tallies::default();
        coverage
            .files
            .iter()
            .for_each(|it| all.add(Tallies::of(it)));
        all
    }

    fn add(&mut self, other: Tallies) {
        self.functions += other.functions;
        self.lines += other.lines;
        self.blocks += other.blocks;
    }
}

/// What was reached by folder, and by file where a folder has few; headers last.
pub(super) fn folders(coverage: &Coverage) -> Vec<(String, Tallies)> {
    let is_header = |it: &File| !it.path.ends_with(".c");
    let mut files_of: BTreeMap<&str, Vec<&File>> = BTreeMap::new();
    for file in coverage.files.iter().filter(|it| !is_header(it)) {
        let folder = file.path.rsplit_once('/').map_or("", |it| it.0);
        files_of.entry(folder).or_default().push(file);
    }
    let mut groups = Vec::new();
    for (folder, files) in files_of {
        if files.len() < FEW_FILES {
            groups.extend(files.iter().map(|it| (it.path.clone(), Tallies::of(it))));
        } else {
            groups.push((format!("{folder}/"), together(files)));
        }
    }
    let headers: Vec<&File> = coverage.files.iter().filter(|it| is_header(it)).collect();
    if !headers.is_empty() {
        groups.push((HEADERS.to_owned(), together(headers)));
    }
    groups
}

fn together(files: Vec<&File>) -> Tallies {
    let mut all = Tallies::default();
    files.into_iter().for_each(|it| all.add(Tallies::of(it)));
    all
}

/// What nothing reached, the largest first.
pub(super) fn missed(coverage: &Coverage) -> Vec<Missed<'_>> {
    let mut missed = Vec::new();
    for file in &coverage.files {
        for function in file.functions.iter().filter(|it| !it.reached) {
            missed.push(Missed {
                function: &function.name,
                file: &file.path,
                line: function.line,
                blocks: function.blocks.total,
            });
        }
    }
    missed.sort_by_key(|it| (std::cmp::Reverse(it.blocks), it.file, it.line));
    missed
}

/// Of these what is of the way of data that is sent.
pub(super) fn missed_on_the_way(coverage: &Coverage) -> Vec<Missed<'_>> {
    let mut missed = missed(coverage);
    missed.retain(|it| path::is_on(it.file, it.function));
    missed
}
