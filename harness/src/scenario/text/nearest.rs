//! "Did you mean": the known name that a misspelt one is nearest to.

/// What to say about `found`, which is none of `known`. `what` says what it
/// should have been, `quoted` is `found` as messages show it.
pub fn unknown(what: &str, quoted: &str, found: &str, known: &[&str]) -> String {
    let all = known
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match nearest(found, known) {
        Some(near) => {
            format!("unknown {what} {quoted}, did you mean `{near}`? (expected one of {all})")
        }
        None => format!("unknown {what} {quoted}, expected one of {all}"),
    }
}

/// The one of `known` that `found` is a slip of, if any is near enough.
fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    const LONGEST: usize = 32;
    let found: Vec<char> = found
        .chars()
        .take(LONGEST + 1)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if found.len() > LONGEST {
        return None;
    }
    known
        .iter()
        .map(|&name| (slips(&found, name), name))
        // A third of the name wrong is another name, not a slip.
        .filter(|&(slips, name)| slips <= (name.len() / 3).clamp(1, 2))
        .min_by_key(|&(slips, _)| slips)
        .map(|(_, name)| name)
}

/// Characters inserted, dropped, replaced or swapped with their neighbour on
/// the way from one word to the other (optimal string alignment).
fn slips(found: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let width = name.len() + 1;
    let mut cost = vec![0; (found.len() + 1) * width];
    for row in 0..=found.len() {
        for column in 0..width {
            let at = row * width + column;
            if row == 0 || column == 0 {
                cost[at] = row + column;
                continue;
            }
            let same = found[row - 1] == name[column - 1];
            let mut best = (cost[at - 1] + 1)
                .min(cost[at - width] + 1)
                .min(cost[at - width - 1] + usize::from(!same));
            let swapped = row > 1
                && column > 1
                && found[row - 1] == name[column - 2]
                && found[row - 2] == name[column - 1];
            if swapped {
                best = best.min(cost[at - 2 * width - 2] + 1);
            }
            cost[at] = best;
        }
    }
    cost[cost.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPS: [&str; 4] = ["sendfile", "splice-in", "splice-out", "wait"];

    #[test]
    fn slips_are_found() {
        for (found, near) in [
            ("sendfle", "sendfile"),
            ("sendflie", "sendfile"),
            ("SendFile", "sendfile"),
            ("splice_in", "splice-in"),
            ("splice-ou", "splice-out"),
            ("wiat", "wait"),
        ] {
            assert_eq!(nearest(found, &OPS), Some(near), "{found}");
        }
    }

    #[test]
    fn other_words_are_not_slips() {
        for found in ["", "fork", "send", "waste", "splice", &"w".repeat(1000)] {
            assert_eq!(nearest(found, &OPS), None, "{found}");
        }
    }
}
