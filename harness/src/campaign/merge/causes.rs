//! Violations by what causes them: the property, and the shape of the smallest scenario
//! ([`crate::minimize::cause`]).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Merged, size};
use crate::campaign::unit::{Done, Found, Work};
use crate::fuzz::record::{State, short_hash};
use crate::minimize::cause;
use crate::oracle::Property;
use crate::scenario::text;

/// Violations with one cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause<'a> {
    /// Its name: the property, and a hash of the shape.
    pub name: String,
    /// What is broken.
    pub property: Property,
    /// Whether all kernels that show it are expected to.
    pub is_expected: bool,
    /// The kernels that show it.
    pub kernels: BTreeSet<&'a str>,
    /// How many violations.
    pub findings: u64,
    /// How many units saw one.
    pub units: u64,
    /// The smallest of them.
    pub smallest: &'a Found,
    /// Whether a unit has made it smaller than it was found.
    pub is_settled: bool,
}

/// The causes of what was found.
pub(super) fn of(merged: &Merged) -> Vec<Cause<'_>> {
    let smaller: BTreeMap<String, &str> = merged.units().filter_map(made_smaller).collect();
    let names: BTreeMap<&str, &Found> = merged
        .found()
        .filter_map(|it| Some((*smaller.get(&it.unit)?, it)))
        .collect();
    let mut causes: BTreeMap<String, Cause<'_>> = BTreeMap::new();
    let own = merged.found().filter(|it| !smaller.contains_key(&it.unit));
    for found in own {
        let (name, last) = follow(name_of(found), &names);
        let smallest = last.unwrap_or(found);
        let cause = causes.entry(name.clone()).or_insert_with(|| Cause {
            name,
            property: found.finding.property,
            is_expected: true,
            kernels: BTreeSet::new(),
            findings: 0,
            units: 0,
            smallest,
            is_settled: last.is_some(),
        });
        cause.is_expected &= found.is_expected;
        cause.kernels.insert(&found.kernel);
        cause.findings += 1;
        if rank(smallest) < rank(cause.smallest) {
            cause.smallest = smallest;
        }
        cause.is_settled |= last.is_some();
    }
    let mut units: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for found in merged.found().filter(|it| !smaller.contains_key(&it.unit)) {
        let (name, _) = follow(name_of(found), &names);
        if let Some((name, _)) = causes.get_key_value(&name) {
            units.entry(name).or_default().insert(&found.unit);
        }
    }
    let counts: BTreeMap<String, u64> = units
        .into_iter()
        .map(|(name, units)| (name.to_owned(), units.len() as u64))
        .collect();
    let mut causes: Vec<Cause<'_>> = causes
        .into_values()
        .map(|it| Cause {
            units: counts.get(&it.name).copied().unwrap_or(0),
            ..it
        })
        .collect();
    causes.sort_by_key(|it| (it.is_expected, Reverse(it.findings), it.name.clone()));
    causes
}

/// The name of a unit that makes a cause smaller, and of that cause.
fn made_smaller(done: &Done) -> Option<(String, &str)> {
    match &done.unit.work {
        Work::Smaller { cause, .. } => Some((done.unit.id(), cause)),
        _ => None,
    }
}

/// From a cause to that which it became when it was made smaller, and so on; and the last
/// violation on the way.
fn follow<'a>(mut name: String, names: &BTreeMap<&str, &'a Found>) -> (String, Option<&'a Found>) {
    let mut last = None;
    let mut seen = BTreeSet::new();
    while let Some(found) = names.get(&*name) {
        // It could not get any smaller, or two became each other.
        if !seen.insert(name.clone()) {
            break;
        }
        last = Some(*found);
        name = name_of(found);
    }
    (name, last)
}

/// What violations of one cause have in common.
pub fn name_of(found: &Found) -> String {
    let finding = &found.finding;
    let shape = match text::parse("finding", &finding.minimized) {
        Ok(scenario) => cause::shape(&scenario),
        // It is not looked into, then.
        Err(_) => finding.minimized.clone(),
    };
    let lost = match found.state {
        State::Lost => "-lost",
        State::New | State::Smaller => "",
    };
    format!("{}-{}{lost}", finding.property, short_hash(&shape))
}

/// The first is shown.
fn rank(found: &Found) -> impl Ord + use<> {
    let size = size(&found.finding.minimized);
    (size.is_none(), size, found.id())
}
