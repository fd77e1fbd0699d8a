//! How a kernel kept its promise, by its own counters: whether a call waited, was
//! copied, or had its pages replaced. No property: a kernel may choose. An `expect`
//! line may ask for one of them all the same, so that a scenario that is there to
//! show the wait does not pass on a kernel that has copied everything.

use crate::history::Counters;
use crate::scenario::Means;

/// What the counters show; `None`: none of them, or a mixture.
pub fn means(counters: &Counters) -> Option<Means> {
    let Counters {
        waits,
        referenced_bytes,
        copied_bytes,
        detached_bytes,
        ..
    } = *counters;
    match (copied_bytes, detached_bytes) {
        (0, 0) if waits > 0 => Some(Means::Waited),
        (0, 1..) => Some(Means::Detached),
        (1.., _) if referenced_bytes == 0 => Some(Means::Copied),
        _ => None,
    }
}

/// Why the counters do not show what was expected, as a sentence; `None`: they do.
pub fn not_by(expected: Means, counters: Option<&Counters>) -> Option<String> {
    let Some(counters) = counters else {
        return Some(format!(
            "expected {expected}, but this kernel has no counters (fs.splice_stable_state)"
        ));
    };
    if means(counters) == Some(expected) {
        return None;
    }
    let Counters {
        waits,
        wait_us,
        referenced_bytes,
        copied_bytes,
        detached_bytes,
    } = *counters;
    let instead = match expected {
        Means::Waited | Means::Detached if copied_bytes > 0 => {
            format!("{copied_bytes} bytes were copied")
        }
        Means::Waited if detached_bytes > 0 => format!("{detached_bytes} bytes were detached"),
        Means::Waited => "no call slept".to_string(),
        Means::Detached => "nothing was detached".to_string(),
        Means::Copied if referenced_bytes > 0 => {
            format!("{referenced_bytes} bytes were given by reference")
        }
        Means::Copied => "nothing was copied".to_string(),
    };
    Some(format!(
        "expected {expected}, but {instead} (waits {waits}, {wait_us} us in all; bytes \
         referenced {referenced_bytes}, copied {copied_bytes}, detached {detached_bytes})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(waits: u64, referenced: u64, copied: u64, detached: u64) -> Counters {
        Counters {
            waits,
            wait_us: waits * 60_000,
            referenced_bytes: referenced,
            copied_bytes: copied,
            detached_bytes: detached,
        }
    }

    #[test]
    fn each_of_the_three_is_told_from_the_others() {
        for (counted, shows) in [
            (counters(1, 4096, 0, 0), Some(Means::Waited)),
            (counters(0, 0, 4096, 0), Some(Means::Copied)),
            (counters(0, 4096, 0, 4096), Some(Means::Detached)),
            // Detach waits for what is not in the socket's queues any more.
            (counters(1, 8192, 0, 4096), Some(Means::Detached)),
            // Some of each, and nothing at all.
            (counters(1, 4096, 4096, 0), None),
            (counters(0, 4096, 1, 4096), None),
            (counters(0, 4096, 0, 0), None),
            (counters(0, 0, 0, 0), None),
        ] {
            assert_eq!(means(&counted), shows, "{counted:?}");
            for (_, expected) in Means::NAMED {
                let fault = not_by(expected, Some(&counted));
                assert_eq!(fault.is_none(), shows == Some(expected), "{fault:?}");
            }
        }
    }

    #[test]
    fn what_happened_instead_is_said_with_its_numbers() {
        let says = |expected, counted, words: &str| {
            let said = not_by(expected, counted).unwrap();
            assert!(said.starts_with(words), "{said}");
        };
        let copied = counters(0, 0, 4096, 0);
        let waited = counters(1, 4096, 0, 0);
        let detached = counters(0, 4096, 0, 4096);
        let nothing = counters(0, 0, 0, 0);
        says(
            Means::Waited,
            Some(&copied),
            "expected waited, but 4096 bytes were copied (waits 0, 0 us in all; bytes \
             referenced 0, copied 4096, detached 0)",
        );
        says(
            Means::Waited,
            Some(&detached),
            "expected waited, but 4096 bytes were detached",
        );
        says(
            Means::Waited,
            Some(&nothing),
            "expected waited, but no call slept",
        );
        says(
            Means::Copied,
            Some(&waited),
            "expected copied, but 4096 bytes were given by reference",
        );
        says(
            Means::Copied,
            Some(&nothing),
            "expected copied, but nothing was copied",
        );
        says(
            Means::Detached,
            Some(&waited),
            "expected detached, but nothing was detached",
        );
        says(
            Means::Detached,
            None,
            "expected detached, but this kernel has no counters",
        );
    }
}
