//! Scenarios as bytes.
//!
//! The bytes of an input are a scenario's text, as in every other file here: a corpus can
//! be read, replayed and minimized, and `corpus/` is one. Bytes that are no such text
//! still mean a scenario, since libFuzzer begins with nothing: one that the generator
//! draws by them.

use std::fmt;

use arbitrary::{Arbitrary, Unstructured};

use crate::scenario::{Scenario, normalize, strategy, text};

/// What libFuzzer takes when it finds nothing that is short enough
/// (FuzzerMutate.cpp:MutateImpl). If that stood for something long, to minimize would be
/// to come upon it.
const GIVEN_UP: &[u8] = b" ";
/// So many lines at the end may be left over from something else.
const LINES: usize = 64;

/// What a fuzz target is given.
#[derive(Clone, PartialEq, Eq)]
pub struct Input(pub Scenario);

impl Input {
    /// The scenario that the bytes mean.
    pub fn of(bytes: &[u8]) -> Input {
        let written = || {
            let scenario = text::parse_bytes("input", bytes).ok()?;
            Some(normalize::normalize(scenario))
        };
        if bytes == GIVEN_UP {
            return Input(least());
        }
        Input(written().unwrap_or_else(|| drawn(bytes)))
    }

    /// What is to be mutated: the scenario that the bytes mean, or the one at their begin.
    /// libFuzzer mutates several times in a row, and when it minimizes it takes what is
    /// left of the longer text before for a part of the new one
    /// (FuzzerLoop.cpp:MinimizeCrashLoop).
    pub fn leading(bytes: &[u8]) -> Input {
        let ends = bytes.iter().enumerate().rev();
        let ends = ends.filter_map(|(at, byte)| (*byte == b'\n').then_some(at + 1));
        let lines = ends.map(|end| &bytes[..end]);
        let mut parts = std::iter::once(bytes).chain(lines).take(LINES);
        let found = parts.find_map(|part| {
            let scenario = text::parse_bytes("input", part).ok()?;
            (!scenario.steps.is_empty()).then(|| normalize::normalize(scenario))
        });
        found.map_or_else(|| Input::of(bytes), Input)
    }

    /// Whether the bytes are a scenario's text.
    pub fn is_text(bytes: &[u8]) -> bool {
        text::parse_bytes("input", bytes).is_ok()
    }
}

/// What nothing is to be found with: a byte is sent.
fn least() -> Scenario {
    let send = text::parse_bytes("input", b"sendfile 0+1\n");
    normalize::normalize(send.expect("it is a scenario"))
}

/// The one that the generator draws by these bytes.
fn drawn(bytes: &[u8]) -> Scenario {
    let hash = blake3::hash(bytes);
    let part = |at: usize| {
        let mut part = [0; 8];
        part.copy_from_slice(&hash.as_bytes()[at..at + 8]);
        u64::from_le_bytes(part)
    };
    strategy::case(part(0), part(8) >> 32)
}

impl fmt::Debug for Input {
    /// As its text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(unstructured: &mut Unstructured<'a>) -> arbitrary::Result<Input> {
        let len = unstructured.len();
        Ok(Input::of(unstructured.bytes(len)?))
    }

    fn arbitrary_take_rest(unstructured: Unstructured<'a>) -> arbitrary::Result<Input> {
        Ok(Input::of(unstructured.take_rest()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RACE: &str = "sendfile 0+4096\nmmap-write 0+4096\n";

    #[test]
    fn a_text_means_what_it_says() {
        let input = Input::of(RACE.as_bytes());
        assert_eq!(format!("{input:?}").trim(), RACE.trim());
        assert!(Input::is_text(RACE.as_bytes()));
    }

    #[test]
    fn other_bytes_mean_some_scenario_and_always_the_same() {
        let all: Vec<Input> = (0..64_u8).map(|byte| Input::of(&[byte, 255])).collect();
        for (byte, input) in (0..64_u8).zip(&all) {
            assert!(!Input::is_text(&[byte, 255]));
            assert_eq!(*input, Input::of(&[byte, 255]));
            // It can run, and has a text.
            assert_eq!(*input, Input::of(format!("{input:?}").as_bytes()));
        }
        let same = all.iter().filter(|it| **it == all[0]).count();
        assert!(same < 4, "{same} of 64 are equal");
        assert!(!all.iter().any(|it| it.0.steps.is_empty()));
    }

    #[test]
    fn what_is_taken_for_want_of_something_shorter_is_next_to_nothing() {
        assert_eq!(Input::of(b" ").0.steps.len(), 1);
        assert_eq!(Input::of(b" "), Input::of(b"sendfile 0+1\n"));
        assert_ne!(Input::of(b"  "), Input::of(b" "));
    }

    #[test]
    fn what_is_left_over_behind_a_scenario_is_not_mutated() {
        let race = Input::of(RACE.as_bytes());
        let left = format!("{RACE}864\nsendfile 95+5\nsendfi");
        assert_eq!(Input::leading(left.as_bytes()), race);
        assert_ne!(Input::of(left.as_bytes()), race);
        assert_eq!(Input::leading(RACE.as_bytes()), race);
        // Nothing at the begin is a scenario: as ever.
        for bytes in [b"\n".as_slice(), b"", b"864\nsendfile 95+5\n"] {
            assert_eq!(Input::leading(bytes), Input::of(bytes));
        }
    }

    #[test]
    fn arbitrary_takes_all_bytes() {
        let taken = Input::arbitrary_take_rest(Unstructured::new(RACE.as_bytes()));
        assert_eq!(taken.unwrap(), Input::of(RACE.as_bytes()));
        let mut rest = Unstructured::new(RACE.as_bytes());
        assert_eq!(
            Input::arbitrary(&mut rest).unwrap(),
            Input::of(RACE.as_bytes())
        );
        assert!(rest.is_empty());
    }
}
