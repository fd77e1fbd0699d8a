//! What many units came to, put together.
//!
//! A campaign is a set of units and a set of violations, each under its name. Putting two
//! together is the union of the sets; where both have a name, the better of the two is kept,
//! by an order that leaves nothing open. So it does not matter in which order parts are
//! put together, how often, or by whom: associative, commutative, idempotent, as tests
//! say. All else (causes, rates, coverage over time) is computed from the sets when it is asked
//! for.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`causes`] | violations by what causes them |
//! | [`progress`] | how far it has come, and when |

pub mod causes;
pub mod progress;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::unit::store::{Store, StoreError};
use super::unit::{Done, Found, Took};
pub use causes::Cause;

/// A campaign, or a part of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    units: BTreeMap<String, Done>,
    found: BTreeMap<String, Found>,
}

impl Merged {
    /// All that is in a folder.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn read(store: &Store) -> Result<Merged, StoreError> {
        let mut merged = Merged::default();
        store.units()?.into_iter().for_each(|it| merged.add(it));
        store.found()?.into_iter().for_each(|it| merged.note(it));
        Ok(merged)
    }

    /// Writes all of it into a folder, each set as one file.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn write(&self, store: &Store) -> Result<(), StoreError> {
        store.put_all(self.units.values(), self.found.values())
    }

    /// Adds a unit.
    pub fn add(&mut self, done: Done) {
        match self.units.entry(done.unit.id()) {
            Entry::Vacant(it) => drop(it.insert(done)),
            // Two ran it. They came to the same, but for the time; the first one counts.
            Entry::Occupied(mut it) => {
                if earlier(&done) < earlier(it.get()) {
                    it.insert(done);
                }
            }
        }
    }

    /// Adds a violation.
    pub fn note(&mut self, found: Found) {
        match self.found.entry(found.id()) {
            Entry::Vacant(it) => drop(it.insert(found)),
            Entry::Occupied(mut it) => {
                if found.further() < it.get().further() {
                    it.insert(found);
                }
            }
        }
    }

    /// Adds all of another part.
    pub fn merge(&mut self, other: Merged) {
        other.units.into_values().for_each(|it| self.add(it));
        other.found.into_values().for_each(|it| self.note(it));
    }

    /// The units that are through, by name.
    pub fn units(&self) -> impl ExactSizeIterator<Item = &Done> {
        self.units.values()
    }

    /// What was found, by name.
    pub fn found(&self) -> impl ExactSizeIterator<Item = &Found> {
        self.found.values()
    }

    /// What was found, by cause: what nobody expects first, then what is found most often.
    pub fn causes(&self) -> Vec<Cause<'_>> {
        causes::of(self)
    }

    /// The same without what differs each time that a unit runs.
    #[must_use]
    pub fn timeless(&self) -> Merged {
        let mut timeless = self.clone();
        for done in timeless.units.values_mut() {
            done.took = Took::default();
            for looked in &mut done.runs {
                looked.run.took = std::time::Duration::ZERO;
            }
        }
        timeless
    }
}

/// Orders what one unit came to in several runs.
fn earlier(done: &Done) -> (u64, String) {
    let ended = done.took.ended_unix_ms;
    (ended, serde_json::to_string(done).unwrap_or_default())
}

#[cfg(test)]
mod tests;
