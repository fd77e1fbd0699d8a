//! Findings by their cause.
//!
//! Two findings have the same cause if they break the same property and the smallest
//! scenarios found for them have the same shape: the same operations by the same
//! actors and the same settings, whatever the numbers.

use std::collections::BTreeSet;

use super::{Memory, Size};
use crate::oracle::Property;
use crate::scenario::Scenario;

/// What stands for a number in a shape.
const NUMBER: char = 'N';

/// A minimized finding, to be grouped.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// What it breaks.
    pub property: Property,
    /// The smallest scenario that does.
    pub scenario: &'a Scenario,
    /// On which kernel.
    pub kernel: String,
}

/// Findings with one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they break.
    pub property: Property,
    /// The shape of their scenarios.
    pub shape: String,
    /// Indices of the findings, the smallest scenario first.
    pub cases: Vec<usize>,
    /// The kernels that showed them.
    pub kernels: BTreeSet<String>,
}

/// Groups findings; the largest group first, and of groups as large the simpler one.
#[must_use]
pub fn group(cases: &[Case<'_>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let (property, shape) = (case.property, shape(case.scenario));
        let at = groups
            .iter()
            .position(|it| it.property == property && it.shape == shape);
        let at = at.unwrap_or_else(|| {
            groups.push(Group {
                property,
                shape,
                cases: Vec::new(),
                kernels: BTreeSet::new(),
            });
            groups.len() - 1
        });
        groups[at].cases.push(index);
        groups[at].kernels.insert(case.kernel.clone());
    }
    let size = |case: &usize| Size::of(cases[*case].scenario);
    for group in &mut groups {
        group.cases.sort_by_key(size);
    }
    groups.sort_by_key(|it| (std::cmp::Reverse(it.cases.len()), size(&it.cases[0])));
    groups
}

/// The canonical text with every number, and its unit, made `N`. Names that end in a
/// digit (`tcp6`) stay.
#[must_use]
pub fn shape(scenario: &Scenario) -> String {
    without_numbers(&Memory::key(scenario))
}

/// A text with every number, and its unit, made `N`.
#[must_use]
pub fn without_numbers(text: &str) -> String {
    let mut shape = String::new();
    let mut before = ' ';
    let mut number = false;
    for c in text.chars() {
        let in_word = before.is_alphanumeric() || before == '_';
        number = match number {
            true => c.is_alphanumeric() || matches!(c, '.' | '%'),
            false => c.is_ascii_digit() && !in_word,
        };
        if !number {
            shape.push(c);
        } else if before != NUMBER {
            shape.push(NUMBER);
        }
        before = if number { NUMBER } else { c };
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::text;

    fn scenario(text: &str) -> Scenario {
        text::parse("t.scn", text).unwrap()
    }

    #[test]
    fn a_shape_has_words_and_no_numbers() {
        let text = "# Why 3.\nlink data delay=20ms loss=1.5%\nsocket tcp6\n\n\
                    b: sendfile 0+4096\nwait 5us\npwrite 1+1\n";
        assert_eq!(
            shape(&scenario(text)),
            "link data delay=N loss=N\nsocket tcp6\n\nb: sendfile N+N\nwait N\npwrite N+N\n"
        );
    }

    #[test]
    fn a_cause_is_a_property_and_a_shape() {
        use Property::{Counts, StableOnReturn};
        let race = scenario("sendfile 0+4096\nmmap-write 0+1\n");
        let small = scenario("sendfile 7+1\nmmap-write 7+1\n");
        let ipv6 = scenario("socket tcp6\n\nsendfile 0+1\nmmap-write 0+1\n");
        let by_b = scenario("sendfile 0+1\nb: mmap-write 0+1\n");
        let case = |property, scenario, kernel: &str| Case {
            property,
            scenario,
            kernel: kernel.to_string(),
        };
        let cases = [
            case(StableOnReturn, &ipv6, "6.12-stock"),
            case(StableOnReturn, &race, "6.12-stock"),
            case(Counts, &small, "6.12-stock"),
            case(StableOnReturn, &by_b, "6.12-stock"),
            case(StableOnReturn, &small, "7.3-stock"),
        ];
        let groups = group(&cases);
        let members: Vec<&[usize]> = groups.iter().map(|it| &*it.cases).collect();
        assert_eq!(members, [&[4, 1][..], &[2], &[3], &[0]]);
        assert_eq!(
            groups[0].kernels,
            ["6.12-stock", "7.3-stock"].map(String::from).into()
        );
    }
}
