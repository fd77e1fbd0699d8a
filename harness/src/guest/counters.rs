//! What a patched kernel counts: how it kept its promise.

use std::fs;
use std::io;

use crate::history::Counters;
use crate::scenario::{Expect, Expected, Scenario};

/// Five decimal numbers since boot; kernel-patch/README.md says which.
const FILE: &str = "/proc/sys/fs/splice_stable_state";

/// The counters of now; `None`: this kernel has none.
pub fn read() -> io::Result<Option<Counters>> {
    match fs::read_to_string(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => parse(&text?).map(Some),
    }
}

/// The kernel's counters, where a line asks for them: reading them costs more than
/// what most scenarios do.
pub fn asked(scenario: &Scenario) -> io::Result<Option<Counters>> {
    let asks = |expect: &Expect| matches!(expect.verdict, Expected::Holds(Some(_)));
    match scenario.expects.iter().any(asks) {
        true => read(),
        false => Ok(None),
    }
}

fn parse(text: &str) -> io::Result<Counters> {
    let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    match numbers.as_deref() {
        Ok(
            &[
                waits,
                wait_us,
                referenced_bytes,
                copied_bytes,
                detached_bytes,
            ],
        ) => Ok(Counters {
            waits,
            wait_us,
            referenced_bytes,
            copied_bytes,
            detached_bytes,
        }),
        _ => Err(io::Error::other(format!(
            "found `{}` in {FILE}, expected five numbers",
            text.trim_end()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_numbers_and_nothing_else() {
        let counters = Counters {
            waits: 1,
            wait_us: 60_000,
            referenced_bytes: 4096,
            copied_bytes: 0,
            detached_bytes: 5,
        };
        assert_eq!(parse("1\t60000\t4096\t0\t5\n").unwrap(), counters);
        assert_eq!(parse("1 60000  4096 0 5").unwrap(), counters);
        for text in ["", "1 2 3 4", "1 2 3 4 5 6", "1 2 3 4 -5", "1 2 3 4 x"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("expected five numbers"), "{error}");
        }
    }
}
