//! How often something fails, and how often it then has to be tried.

use std::fmt;

/// In how many runs of how many something failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reliability {
    /// Runs that failed.
    pub seen: u32,
    /// Runs.
    pub of: u32,
}

/// How often the smallest scenario may be missed where the failure is not certain.
const MISSED: f64 = 0.05;
/// More tries than this make a search hopeless.
const MOST_TRIES: u32 = 30;

impl Reliability {
    /// How often a candidate has to hold before it is believed, if it fails as often
    /// as this did. In virtual time a failure is certain or none, so once will do.
    #[must_use]
    pub fn tries(self) -> u32 {
        if self.seen >= self.of {
            return 1;
        }
        let fails = f64::from(self.seen) / f64::from(self.of);
        // So many, that all of them hold in one case of twenty only.
        let tries = (MISSED.ln() / (1.0 - fails).ln()).ceil();
        // What never failed again divides by zero.
        match tries.is_finite() {
            true => (tries as u32).clamp(1, MOST_TRIES),
            false => MOST_TRIES,
        }
    }
}

impl fmt::Display for Reliability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.seen, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_seldom_is_tried_often() {
        for (seen, of, tries) in [
            (10, 10, 1),
            (0, 0, 1),
            (9, 10, 2),
            (5, 10, 5),
            (2, 10, 14),
            (1, 10, 29),
            (1, 100, 30),
            (0, 10, 30),
        ] {
            let reliability = Reliability { seen, of };
            assert_eq!(reliability.tries(), tries, "{reliability}");
        }
    }
}
