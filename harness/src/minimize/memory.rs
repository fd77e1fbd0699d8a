//! What is known of candidates that have run.

use std::collections::HashMap;

use crate::oracle::Property;
use crate::scenario::Scenario;

/// Candidates by their canonical text, and what they did. It may serve several
/// searches, for whatever property, on one kernel.
#[derive(Debug, Default)]
pub struct Memory(HashMap<String, Seen>);

#[derive(Debug, Default)]
struct Seen {
    runs: u32,
    /// What some run of it broke.
    broke: Vec<Property>,
}

impl Memory {
    /// Knows nothing.
    #[must_use]
    pub fn new() -> Memory {
        Memory::default()
    }

    /// How many candidates it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it knows none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Under which text a scenario is known: two that do the same have the same.
    pub(super) fn key(scenario: &Scenario) -> String {
        let bare = Scenario {
            header: String::new(),
            expects: Vec::new(),
            setup: scenario.setup.clone(),
            steps: scenario.steps.clone(),
        };
        bare.to_string()
    }

    /// Whether it breaks `property`; `None`: it has not run `tries` times yet, and no
    /// run has broken it.
    pub(super) fn breaks(&self, key: &str, property: Property, tries: u32) -> Option<bool> {
        let seen = self.0.get(key)?;
        match seen.broke.contains(&property) {
            true => Some(true),
            false if seen.runs >= tries => Some(false),
            false => None,
        }
    }

    /// Notes one run.
    pub(super) fn note(&mut self, key: String, broke: &[Property]) {
        let seen = self.0.entry(key).or_default();
        seen.runs += 1;
        for property in broke {
            if !seen.broke.contains(property) {
                seen.broke.push(*property);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Property::{Leaks, Wire};

    #[test]
    fn one_failure_is_proof_and_holding_takes_as_many_runs_as_asked_for() {
        let mut memory = Memory::new();
        assert_eq!(memory.breaks("a", Wire, 1), None);
        memory.note("a".into(), &[Leaks]);
        assert_eq!(memory.breaks("a", Wire, 1), Some(false));
        assert_eq!(memory.breaks("a", Wire, 2), None);
        assert_eq!(memory.breaks("a", Leaks, 9), Some(true));
        memory.note("a".into(), &[]);
        assert_eq!(memory.breaks("a", Wire, 2), Some(false));
        memory.note("a".into(), &[Wire]);
        assert_eq!(memory.breaks("a", Wire, 2), Some(true));
        assert_eq!(memory.breaks("a", Leaks, 2), Some(true));
        assert_eq!(memory.len(), 1);
    }

    #[test]
    fn what_is_written_about_a_scenario_is_no_part_of_it() {
        let mut one = Scenario::default();
        let other = one.clone();
        one.header = "Why.".into();
        assert_eq!(Memory::key(&one), Memory::key(&other));
    }
}
