//! What was reached, by file, function and line.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use serde::Serialize;

use super::image::Blocks;

/// How many of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// So many were reached.
    pub reached: usize,
    /// Of so many that there are.
    pub total: usize,
}

/// What was reached of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By path.
    pub files: Vec<File>,
}

/// What was reached of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// From the root of the source.
    pub path: String,
    /// The functions that stand in it, by line.
    pub functions: Vec<Function>,
    /// Lines at which a block begins, and whether one was reached that does.
    pub lines: BTreeMap<u32, bool>,
    /// Other lines that have code which runs with a block, and whether one was reached.
    /// The compiler moves code about: this is for the eye, and not counted.
    pub through: BTreeMap<u32, bool>,
    /// Blocks that begin in it.
    pub blocks: Tally,
}

/// What was reached of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The first line at which a block begins.
    pub line: u32,
    /// Whether any of it was reached: a block, or code that runs with a block of whom it
    /// is inlined into.
    pub reached: bool,
    /// Its blocks, with those of what is inlined into it, in each copy that there is of it.
    pub blocks: Tally,
    /// Lines at which a block begins that is its own.
    pub lines: Tally,
}

impl Tally {
    fn note(&mut self, reached: bool) {
        self.total += 1;
        self.reached += usize::from(reached);
    }

    /// As a fraction of one.
    pub fn share(self) -> f64 {
        match self.total {
            0 => 0.0,
            total => self.reached as f64 / total as f64,
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.reached += other.reached;
        self.total += other.total;
    }
}

impl File {
    /// How many of its functions were reached.
    pub fn function_tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.functions.iter().for_each(|it| tally.note(it.reached));
        tally
    }

    /// How many of its lines were reached.
    pub fn line_tally(&self) -> Tally {
        tally(&self.lines)
    }
}

fn tally(lines: &BTreeMap<u32, bool>) -> Tally {
    let mut tally = Tally::default();
    lines.values().for_each(|&reached| tally.note(reached));
    tally
}

/// A function while it is counted.
#[derive(Debug, Clone, Default)]
struct Count {
    reached: bool,
    blocks: Tally,
    first_line: Option<u32>,
    lines: BTreeMap<u32, bool>,
}

impl Coverage {
    /// What of `blocks` was reached, if these addresses were seen.
    pub fn of(blocks: &Blocks, seen: &BTreeSet<u64>) -> Coverage {
        let mut counts = vec![Count::default(); blocks.functions.len()];
        let mut files: BTreeMap<&str, File> = BTreeMap::new();
        let file_of = |function: usize| blocks.functions[function].file.as_str();
        for function in 0..blocks.functions.len() {
            let path = file_of(function);
            files.entry(path).or_insert_with(|| File::new(path));
        }
        for (function, pc) in &blocks.entered {
            counts[*function].reached |= seen.contains(pc);
        }
        for block in &blocks.blocks {
            let reached = seen.contains(&block.pc);
            for (frame, depth) in block.frames.iter().zip(0..) {
                let count = &mut counts[frame.function];
                count.reached |= reached;
                let first = count.first_line.unwrap_or(frame.line);
                count.first_line = Some(first.min(frame.line));
                let inside = &block.frames[..depth];
                if !inside.iter().any(|it| it.function == frame.function) {
                    count.blocks.note(reached);
                }
                // Who calls what was inlined has run as far as that. Of what was not
                // reached this says nothing: the call may be in the block before.
                if depth > 0 && !reached {
                    continue;
                }
                *count.lines.entry(frame.line).or_default() |= reached;
                if let Some(file) = files.get_mut(file_of(frame.function)) {
                    *file.lines.entry(frame.line).or_default() |= reached;
                    if depth == 0 {
                        file.blocks.note(reached);
                    }
                }
            }
        }
        for (function, count) in blocks.functions.iter().zip(counts) {
            // Of one without a block there is nothing to miss.
            if count.blocks.total > 0
                && let Some(file) = files.get_mut(function.file.as_str())
            {
                file.functions.push(Function {
                    name: function.name.clone(),
                    line: count.first_line.unwrap_or(0),
                    reached: count.reached,
                    blocks: count.blocks,
                    lines: tally(&count.lines),
                });
            }
        }
        for (file, line, pc) in &blocks.through {
            if let Some(file) = files.get_mut(blocks.files[*file].as_str())
                && !file.lines.contains_key(line)
            {
                *file.through.entry(*line).or_default() |= seen.contains(pc);
            }
        }
        let has_any = |it: &File| !it.functions.is_empty();
        let mut files: Vec<File> = files.into_values().filter(has_any).collect();
        for file in &mut files {
            let order = |it: &Function| (it.line, it.name.clone());
            file.functions.sort_by_key(order);
        }
        Coverage { files }
    }
}

impl File {
    fn new(path: &str) -> File {
        File {
            path: path.to_owned(),
            functions: Vec::new(),
            lines: BTreeMap::new(),
            through: BTreeMap::new(),
            blocks: Tally::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::image::{self, Block, Frame};
    use super::*;

    /// `outer` has two blocks of its own, and one of `inner`, which is in `third`, too.
    fn blocks() -> Blocks {
        let functions = [("a.c", "outer"), ("a.h", "inner"), ("a.c", "third")];
        let block = |pc: u64, frames: &[(usize, u32)]| Block {
            pc,
            frames: frames
                .iter()
                .map(|&(function, line)| Frame { function, line })
                .collect(),
        };
        Blocks {
            files: vec!["a.c".into(), "a.h".into(), "b.h".into()],
            through: vec![(0, 20, 3), (0, 22, 1), (0, 22, 2), (0, 31, 3), (2, 1, 1)],
            entered: vec![(2, 3)],
            functions: functions
                .map(|(file, name)| image::Function {
                    file: file.into(),
                    name: name.into(),
                })
                .to_vec(),
            blocks: vec![
                block(1, &[(0, 20)]),
                block(2, &[(1, 5), (0, 21)]),
                block(3, &[(0, 30)]),
                block(4, &[(1, 5), (2, 41)]),
            ],
        }
    }

    fn of(seen: &[u64]) -> Coverage {
        Coverage::of(&blocks(), &seen.iter().copied().collect())
    }

    fn tallies(coverage: &Coverage) -> Vec<(&str, usize, usize)> {
        let functions = coverage.files.iter().flat_map(|it| &it.functions);
        functions
            .map(|it| (it.name.as_str(), it.blocks.reached, it.blocks.total))
            .collect()
    }

    #[test]
    fn a_block_is_of_the_function_and_of_what_that_is_inlined_into() {
        let coverage = of(&[2]);
        let expected = [("outer", 1, 3), ("third", 0, 1), ("inner", 1, 2)];
        assert_eq!(tallies(&coverage), expected);
        let [source, header] = &coverage.files[..] else {
            panic!("{coverage:?}")
        };
        // Who calls what was inlined ran as far as that; line 41 may have, too.
        let lines = BTreeMap::from([(20, false), (21, true), (30, false)]);
        assert_eq!(source.lines, lines);
        assert_eq!(header.lines, BTreeMap::from([(5, true)]));
        // Of what is marked anyway nothing else is said.
        assert_eq!(source.through, BTreeMap::from([(22, true), (31, false)]));
        // A block is of one file.
        let total: usize = coverage.files.iter().map(|it| it.blocks.total).sum();
        assert_eq!((total, header.blocks.total), (4, 2));
        assert_eq!(source.functions[0].line, 20);
    }

    #[test]
    fn what_is_inlined_into_a_block_is_reached_with_it() {
        let reached = |seen: &[u64]| {
            let coverage = of(seen);
            let third = coverage.files[0]
                .functions
                .iter()
                .find(|it| it.name == "third");
            third.map(|it| (it.reached, it.blocks.reached))
        };
        assert_eq!(reached(&[1, 2]), Some((false, 0)));
        assert_eq!(reached(&[3]), Some((true, 0)));
        assert_eq!(reached(&[4]), Some((true, 1)));
    }

    #[test]
    fn nothing_and_all() {
        let none = of(&[]);
        let all = of(&[1, 2, 3, 4]);
        assert!(none.files.iter().all(|it| it.function_tally().reached == 0));
        for file in &all.files {
            let tallies = [file.function_tally(), file.line_tally(), file.blocks];
            assert!(tallies.iter().all(|it| it.reached == it.total), "{file:?}");
        }
    }
}
