//! Violations by what causes them: the property, and the shape of the smallest scenario
//! ([`crate::minimize::cause`]).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Merged;
use crate::campaign::unit::Found;
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
    let smaller = made_smaller(merged);
    let mut causes: BTreeMap<String, (Cause<'_>, BTreeSet<&str>)> = BTreeMap::new();
    for found in merged.found().filter(|it| is_own(it)) {
        let (name, last) = follow(found, &smaller);
        // What everybody expects is not shown for what nobody does.
        let last = last.filter(|it| !it.is_expected || found.is_expected);
        let smallest = last.unwrap_or(found);
        let (cause, units) = causes.entry(name.clone()).or_insert_with(|| {
            let cause = Cause {
                name,
                property: found.finding.property,
                is_expected: true,
                kernels: BTreeSet::new(),
                findings: 0,
                units: 0,
                smallest,
                is_settled: false,
            };
            (cause, BTreeSet::new())
        });
        units.insert(&found.unit);
        cause.is_expected &= found.is_expected;
        cause.kernels.insert(&found.kernel);
        cause.findings += 1;
        if rank(smallest) < rank(cause.smallest) {
            cause.smallest = smallest;
        }
        cause.is_settled |= last.is_some();
    }
    let mut all = Vec::new();
    for (mut cause, units) in causes.into_values() {
        cause.units = units.len() as u64;
        all.push(cause);
    }
    all.sort_by_key(|it| (it.is_expected, Reverse(it.findings), it.name.clone()));
    all
}

/// Whether it was found, and is not only the same made smaller. What came to break something
/// else on the way is found.
fn is_own(found: &Found) -> bool {
    let same = |cause: &String| cause.starts_with(&prefix(found));
    match (&found.of_cause, found.state) {
        (None, _) => true,
        (Some(cause), State::Smaller) => !same(cause),
        (Some(_), State::New | State::Lost) => false,
    }
}

/// What each cause was made smaller to, by its name. What came to break another property
/// on the way is something else.
fn made_smaller(merged: &Merged) -> BTreeMap<&str, &Found> {
    let mut smaller: BTreeMap<&str, &Found> = BTreeMap::new();
    for found in merged.found().filter(|it| it.state == State::Smaller) {
        let Some(cause) = &found.of_cause else {
            continue;
        };
        if !cause.starts_with(&prefix(found)) {
            continue;
        }
        let known = smaller.entry(cause).or_insert(found);
        if rank(found) < rank(known) {
            *known = found;
        }
    }
    smaller
}

/// From the cause of a violation to that which it became when it was made smaller, and so on;
/// and the last violation on the way.
fn follow<'a>(found: &Found, smaller: &BTreeMap<&str, &'a Found>) -> (String, Option<&'a Found>) {
    let mut name = name_of(found);
    let mut last = None;
    let mut seen = BTreeSet::new();
    while let Some(next) = smaller.get(&*name) {
        // It could not get any smaller, or two became each other.
        if !seen.insert(name.clone()) {
            break;
        }
        last = Some(*next);
        name = name_of(next);
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
    format!("{}{}{lost}", prefix(found), short_hash(&shape))
}

/// What the names of all causes begin with that break the same.
fn prefix(found: &Found) -> String {
    format!("{}-", found.finding.property)
}

/// The first is shown: what nobody expects, so that it does not hide behind what all do.
fn rank(found: &Found) -> impl Ord + use<> {
    (found.is_expected, found.size(), found.id())
}
