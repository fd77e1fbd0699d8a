//! Which generations bytes show: of the received stream, and of packets on their way.

use crate::history::generation_of;
use crate::scenario::{Range, Scenario};

/// A run of bytes that show the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Where in the bytes it begins.
    pub start: usize,
    /// How many.
    pub len: usize,
    /// The generation; `None`: zeros, or nothing that was ever written.
    pub generation: Option<u8>,
}

/// What the bytes that begin at `stream` show, where it is known what stands where.
pub fn shown(
    scenario: &Scenario,
    layout: &[(usize, Range)],
    stream: u64,
    bytes: &[u8],
) -> Vec<Shown> {
    let steps = scenario.steps.iter();
    let last = steps.filter(|step| step.op.writes().is_some()).count();
    let mut runs: Vec<Shown> = Vec::new();
    let mut ranges = layout.iter().map(|(_, range)| *range);
    let mut begin = 0;
    let mut range = ranges.next();
    for (start, byte) in bytes.iter().enumerate() {
        let at = stream + start as u64;
        while let Some(it) = range {
            if at < begin + it.len {
                break;
            }
            begin += it.len;
            range = ranges.next();
        }
        let generation = range
            .map(|range| generation_of(range.offset + (at - begin), *byte))
            .filter(|generation| usize::from(*generation) <= last);
        match runs.last_mut() {
            Some(run) if run.generation == generation => run.len += 1,
            _ => runs.push(Shown {
                start,
                len: 1,
                generation,
            }),
        }
    }
    runs
}

/// The part of the file that a part of the stream comes from, in words.
pub fn file_ranges(layout: &[(usize, Range)], stream: u64, len: u64) -> Vec<Range> {
    let mut begin = 0;
    let mut found = Vec::new();
    for (_, range) in layout {
        let from = stream.max(begin);
        let to = (stream + len).min(begin + range.len);
        if from < to {
            found.push(Range {
                offset: range.offset + (from - begin),
                len: to - from,
            });
        }
        begin += range.len;
    }
    found
}

/// The generations in words; empty: none is known.
pub fn words(runs: &[Shown]) -> String {
    let mut all: Vec<u8> = runs.iter().filter_map(|run| run.generation).collect();
    all.sort_unstable();
    all.dedup();
    let names: Vec<String> = all.iter().map(u8::to_string).collect();
    match &names[..] {
        [] => String::new(),
        [one] => format!("generation {one}"),
        [first @ .., last] => format!("generations {} and {last}", first.join(", ")),
    }
}

/// The only generation that they show.
pub fn only(runs: &[Shown]) -> Option<u8> {
    match runs {
        [run] => run.generation,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::pattern;
    use crate::oracle::doctor::range;
    use crate::scenario::{Actor, Op, Step};

    #[test]
    fn bytes_name_their_generations_across_sends() {
        let mut scenario = Scenario::default();
        let op = Op::Pwrite(range(0, 4096));
        let actor = Actor::A;
        scenario.steps.push(Step { actor, op });
        let layout = [(0, range(100, 4)), (1, range(0, 4))];
        let bytes = [
            pattern(102, 0),
            pattern(103, 0),
            pattern(0, 0),
            pattern(1, 1),
            pattern(2, 9),
        ];
        let runs = shown(&scenario, &layout, 2, &bytes);
        let shows: Vec<_> = runs
            .iter()
            .map(|it| (it.start, it.len, it.generation))
            .collect();
        assert_eq!(shows, [(0, 3, Some(0)), (3, 1, Some(1)), (4, 1, None)]);
        assert_eq!(words(&runs), "generations 0 and 1");
        assert_eq!(file_ranges(&layout, 2, 5), [range(102, 2), range(0, 3)]);
    }
}
