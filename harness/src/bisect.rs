//! Which change turns the verdict: over the patches of a series, or the commits of a
//! git tree.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`git`] | a private clone of a tree of the user's, in which git does the search |

pub mod git;

/// What one kernel says of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It keeps the property.
    Good,
    /// It breaks the property.
    Bad,
    /// There is no telling: it cannot be built, or does not come to the scenario.
    Unknown(String),
}

impl Verdict {
    /// What is on the other side of the change, from good or bad.
    #[must_use]
    pub fn opposite(&self) -> Verdict {
        match self {
            Verdict::Bad => Verdict::Good,
            _ => Verdict::Bad,
        }
    }
}

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The change with this number, counted from 1, turns the verdict.
    Change(usize),
    /// One of these does, from the first to the last; between them nothing can be told.
    Among(usize, usize),
}

/// Searches `changes` changes, in order, for the one that turns the verdict. `judge`
/// is asked of the first so many; without any it is known to say `before`, and with all
/// of them the opposite. Each number is asked at most once.
pub fn search(changes: usize, before: &Verdict, mut judge: impl FnMut(usize) -> Verdict) -> Found {
    let (mut low, mut high) = (0, changes.max(1));
    let mut unknown = vec![false; high + 1];
    // What lies in the middle of those that can be told of.
    while let Some(middle) = nearest(&unknown, low, high) {
        match judge(middle) {
            Verdict::Unknown(_) => unknown[middle] = true,
            verdict if verdict == *before => low = middle,
            _ => high = middle,
        }
    }
    match high - low {
        1 => Found::Change(high),
        _ => Found::Among(low + 1, high),
    }
}

fn nearest(unknown: &[bool], low: usize, high: usize) -> Option<usize> {
    let middle = low + (high - low) / 2;
    let open = (low + 1..high).filter(|it| !unknown[*it]);
    open.min_by_key(|it| it.abs_diff(middle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Bad, Good};

    /// Searches where the change `turns` turns the verdict and nothing can be told at
    /// `unknown`; what was found, and what was asked.
    fn found(
        changes: usize,
        turns: usize,
        unknown: &[usize],
        before: &Verdict,
    ) -> (Found, Vec<usize>) {
        let mut asked = Vec::new();
        let after = if *before == Good { Bad } else { Good };
        let found = search(changes, before, |number| {
            assert!(number > 0 && number < changes, "{number} is known");
            assert!(!asked.contains(&number), "{number} was asked before");
            asked.push(number);
            match (unknown.contains(&number), number < turns) {
                (true, _) => Verdict::Unknown("does not compile".into()),
                (false, true) => before.clone(),
                (false, false) => after.clone(),
            }
        });
        (found, asked)
    }

    #[test]
    fn every_change_is_found_in_few_steps() {
        for changes in 1..40 {
            for turns in 1..=changes {
                for before in [Good, Bad] {
                    let (found, asked) = found(changes, turns, &[], &before);
                    assert_eq!(found, Found::Change(turns), "of {changes}");
                    let most = usize::BITS - (changes - 1).leading_zeros();
                    assert!(
                        asked.len() <= most as usize,
                        "{turns} of {changes}: {asked:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_told_is_gone_around() {
        let table: &[(usize, usize, &[usize], Found)] = &[
            // The middle one does not build.
            (8, 2, &[4], Found::Change(2)),
            (8, 7, &[4], Found::Change(7)),
            // Those beside the change do not.
            (8, 4, &[4], Found::Among(4, 5)),
            (8, 4, &[3], Found::Among(3, 4)),
            (8, 4, &[2, 3, 4, 5], Found::Among(2, 6)),
            // None does.
            (5, 3, &[1, 2, 3, 4], Found::Among(1, 5)),
            (1, 1, &[], Found::Change(1)),
            (2, 1, &[1], Found::Among(1, 2)),
        ];
        for (changes, turns, unknown, expected) in table {
            let (found, _) = found(*changes, *turns, unknown, &Bad);
            assert_eq!(found, *expected, "{turns} of {changes} without {unknown:?}");
        }
    }
}
