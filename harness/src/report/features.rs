//! What a campaign exercised: each feature, and each pair that can meet.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::table::Table;
use crate::scenario::features::{Coverage, Exercised, Feature, Group, all};

/// Features on one line.
const COLUMNS: usize = 5;
/// Pairs that are named before the rest is only counted.
const PAIRS_NAMED: usize = 10;

/// A table for a terminal.
pub fn human(coverage: &Coverage) -> String {
    let mut table = Table::default();
    for (name, group) in Group::NAMED {
        let cells: Vec<String> = of(group)
            .map(|(index, feature)| format!("{} {}", feature.name, coverage.of(index)))
            .collect();
        for (line, cells) in cells.chunks(COLUMNS).enumerate() {
            let heading = if line == 0 { name } else { "" };
            table.push([&[heading.to_string()], cells].concat());
        }
    }
    let never = never(coverage);
    let possible = coverage.pairs().count();
    let mut text = format!(
        "features of {} scenarios\n{table}pairs of features that met: {} of {possible}",
        coverage.cases(),
        possible - never.len(),
    );
    if !never.is_empty() {
        let named: Vec<String> = never.iter().take(PAIRS_NAMED).map(pair).collect();
        let _ = write!(text, "; never: {}", named.join(", "));
    }
    if let Some(more) = never.len().checked_sub(PAIRS_NAMED + 1) {
        let _ = write!(text, ", and {} more", more + 1);
    }
    text + "\n"
}

/// The same for programs, with all pairs that never met.
pub fn json(coverage: &Coverage) -> Value {
    let mut exercised = Map::new();
    for (name, group) in Group::NAMED {
        let counts = of(group).map(|(at, it)| (it.name.to_string(), coverage.of(at).into()));
        exercised.insert(name.to_string(), Value::Object(counts.collect()));
    }
    let never: Vec<String> = never(coverage).iter().map(pair).collect();
    json!({
        "scenarios": coverage.cases(),
        "exercised": exercised,
        "pairs_possible": coverage.pairs().count(),
        "pairs_never": never,
    })
}

/// How often each feature was there, by group; nothing, where another inflight has other
/// features.
pub fn counts(exercised: &Exercised) -> Vec<(&'static str, Vec<(&'static str, u64)>)> {
    if exercised.counts.len() != all().len() {
        return Vec::new();
    }
    let counts = |group| -> Vec<(&'static str, u64)> {
        of(group)
            .map(|(at, it)| (it.name, exercised.counts[at]))
            .collect()
    };
    Group::NAMED
        .map(|(name, group)| (name, counts(group)))
        .to_vec()
}

fn of(group: Group) -> impl Iterator<Item = (usize, &'static Feature)> {
    let all = all().iter().enumerate();
    all.filter(move |(_, feature)| feature.group == group)
}

fn never(coverage: &Coverage) -> Vec<(usize, usize)> {
    let never = coverage.pairs().filter(|(_, times)| *times == 0);
    never.map(|(pair, _)| pair).collect()
}

fn pair((a, b): &(usize, usize)) -> String {
    let name = |index: usize| {
        let Feature { group, name, .. } = all()[index];
        format!("{} {name}", group.name())
    };
    format!("{} + {}", name(*a), name(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{strategy, text};

    #[test]
    fn it_counts_each_feature_and_names_the_pairs_that_are_missing() {
        let mut coverage = Coverage::default();
        let scenario = text::parse("features.scn", "reader paused\n\nsendfile 0+1\nread 1\n");
        coverage.add(&scenario.unwrap());
        let text = human(&coverage);
        assert!(text.starts_with("features of 1 scenarios\n"), "{text}");
        for line in ["operation  sendfile 1 ", "reader     drain 0 "] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(text.contains("never: operation sendfile + operation past the end, "));
        let value = json(&coverage);
        assert_eq!(value["exercised"]["operation"]["read"], 1);
        assert_eq!(value["exercised"]["reader"]["drain"], 0);
        let never = value["pairs_never"].as_array().unwrap().len();
        let more = text.rsplit(", and ").next().unwrap();
        assert_eq!(more, format!("{} more\n", never - PAIRS_NAMED));
        assert!(!text.contains("operation sendfile + operation read,"));
    }

    #[test]
    fn where_every_pair_met_none_is_named() {
        let mut coverage = Coverage::default();
        for case in 0..20_000 {
            coverage.add(&strategy::case(1, case));
        }
        let text = human(&coverage);
        assert!(!text.contains("never"), "{text}");
    }
}
