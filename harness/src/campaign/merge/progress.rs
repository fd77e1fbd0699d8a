//! How far a campaign has come, and when.

use std::collections::{BTreeMap, BTreeSet};

use super::Merged;
use crate::campaign::unit::{Done, Unit, Work};
use crate::scenario::features::Exercised;

/// Points of a chart: more than it has pixels for.
const MOST_POINTS: usize = 400;

/// The units of one campaign on one kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Series<'a> {
    /// One of them.
    pub unit: &'a Unit,
    /// How many are through.
    pub done: u64,
    /// How many there are.
    pub of: u64,
    /// The numbers of those that are not, from 1 on, as ranges.
    pub missing: Vec<(u32, u32)>,
    /// Scenarios that ran.
    pub scenarios: u64,
    /// Scenarios that were left, as too much had been found before.
    pub left_out: u64,
    /// Virtual time that passed.
    pub virtual_ns: u64,
    /// For so long scenarios ran, on one CPU each, in milliseconds.
    pub busy_ms: u64,
    /// Where they ran.
    pub nodes: BTreeSet<&'a str>,
    /// When the first began, since 1970, in milliseconds.
    pub begun_unix_ms: u64,
    /// When the last ended, since 1970, in milliseconds.
    pub ended_unix_ms: u64,
    /// What generated scenarios exercised.
    pub exercised: Exercised,
    /// The most features that one fuzzing unit has seen.
    pub fuzz_features: u64,
}

impl Series<'_> {
    /// Scenarios a second on one CPU.
    pub fn rate(&self) -> f64 {
        match self.busy_ms {
            0 => 0.0,
            busy_ms => self.scenarios as f64 * 1000.0 / busy_ms as f64,
        }
    }

    /// Whether all are through.
    pub fn is_whole(&self) -> bool {
        self.done == self.of
    }
}

/// How it stood when a unit ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Since the first unit began.
    pub at_s: f64,
    /// Units that were through.
    pub units: u64,
    /// Scenarios that had run.
    pub scenarios: u64,
    /// Pairs of features that had met.
    pub pairs: u64,
}

/// Each campaign on each kernel, by name.
pub fn series(merged: &Merged) -> Vec<Series<'_>> {
    let mut all: BTreeMap<String, (Series<'_>, BTreeSet<u32>)> = BTreeMap::new();
    for done in merged.units() {
        let (series, there) = all
            .entry(done.unit.series())
            .or_insert_with(|| (of(done), BTreeSet::new()));
        there.insert(done.unit.shard.index());
        add(series, done);
    }
    let mut whole = Vec::new();
    for (mut series, there) in all.into_values() {
        let of = series.unit.shard.of();
        series.missing = ranges((1..=of).filter(|it| !there.contains(&(it - 1))));
        whole.push(series);
    }
    whole
}

fn of(done: &Done) -> Series<'_> {
    Series {
        unit: &done.unit,
        done: 0,
        of: done.unit.shard.of().into(),
        missing: Vec::new(),
        scenarios: 0,
        left_out: 0,
        virtual_ns: 0,
        busy_ms: 0,
        nodes: BTreeSet::new(),
        begun_unix_ms: u64::MAX,
        ended_unix_ms: 0,
        exercised: Exercised::default(),
        fuzz_features: 0,
    }
}

fn add<'a>(series: &mut Series<'a>, done: &'a Done) {
    series.done += 1;
    series.scenarios += done.scenarios;
    series.left_out += done.left_out;
    series.virtual_ns += done.virtual_ns;
    series.busy_ms += done.took.busy_ms;
    series.nodes.insert(&done.took.node);
    series.begun_unix_ms = series.begun_unix_ms.min(done.took.begun_unix_ms);
    series.ended_unix_ms = series.ended_unix_ms.max(done.took.ended_unix_ms);
    if let Some(exercised) = &done.exercised {
        // All are by one program: they have the same features.
        let _ = series.exercised.add(exercised);
    }
    series.fuzz_features = series.fuzz_features.max(done.fuzz_features.unwrap_or(0));
}

/// Numbers that rise, as ranges.
pub fn ranges(numbers: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// Ranges as people write them, and sbatch(1) does: `1-3,7`; `between` stands for the comma.
pub fn written(ranges: &[(u32, u32)], between: &str) -> String {
    let range = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(between)
}

/// How it came to stand so.
pub fn over_time(merged: &Merged) -> Vec<Point> {
    // Those that make findings smaller come on top.
    let is_own = |it: &&Done| !matches!(it.unit.work, Work::Smaller { .. });
    let mut units: Vec<&Done> = merged.units().filter(is_own).collect();
    units.sort_by_key(|it| it.took.ended_unix_ms);
    let begun = units.iter().map(|it| it.took.begun_unix_ms).min();
    let begun = begun.unwrap_or(0);
    let every = units.len().div_ceil(MOST_POINTS).max(1);
    let mut points = Vec::new();
    let mut exercised = Exercised::default();
    let mut scenarios = 0;
    for (number, done) in (1..).zip(&units) {
        scenarios += done.scenarios;
        if let Some(more) = &done.exercised {
            // Of another program: it is not in this chart.
            let _ = exercised.add(more);
        }
        if number % every == 0 || number == units.len() {
            points.push(Point {
                at_s: done.took.ended_unix_ms.saturating_sub(begun) as f64 / 1000.0,
                units: number as u64,
                scenarios,
                pairs: exercised.pairs(),
            });
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_in_ranges() {
        let told = |numbers: &[u32]| ranges(numbers.iter().copied());
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[1, 2, 3, 8, 10, 11]), [(1, 3), (8, 8), (10, 11)]);
    }
}
