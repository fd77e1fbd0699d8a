//! What a target prints, as far as a campaign reads it.

use std::path::PathBuf;

use crate::fuzz::spool::{COUNTED, Counted};

/// A line that tells something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// How far libFuzzer has come.
    Progress(Progress),
    /// What has come to the inputs since this was last told.
    Counted(Counted),
    /// The kernel died or hung, and this is the input.
    Artifact(PathBuf),
}

/// libFuzzer's own figures (FuzzerLoop.cpp:PrintStats).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Inputs that ran, those of the corpus with them.
    pub executions: u64,
    /// Features that it has seen.
    pub features: u64,
    /// Inputs of the corpus that it works with.
    pub units: u64,
    /// Whether the corpus has been read.
    pub is_read: bool,
}

/// What libFuzzer calls the occasions on which it prints its figures.
const OCCASIONS: [&str; 7] = ["READ", "INITED", "NEW", "REDUCE", "RELOAD", "pulse", "DONE"];

/// What a line says; `None`: nothing of that kind.
pub(super) fn read(line: &str) -> Option<Line> {
    if let Some(counts) = line.strip_prefix(COUNTED) {
        return serde_json::from_str(counts).ok().map(Line::Counted);
    }
    if let Some(path) = line.strip_prefix("Test unit written to ") {
        return Some(Line::Artifact(path.trim().into()));
    }
    progress(line).map(Line::Progress)
}

/// How many inputs had run on which occasion, if that is what a line tells.
pub(crate) fn executions(line: &str) -> Option<(u64, &str)> {
    let (executions, rest) = line.strip_prefix('#')?.split_once('\t')?;
    let occasion = rest.split_ascii_whitespace().next()?;
    let known = OCCASIONS.contains(&occasion);
    Some((executions.parse().ok()?, occasion)).filter(|_| known)
}

fn progress(line: &str) -> Option<Progress> {
    let (executions, occasion) = executions(line)?;
    let mut words = line.split_ascii_whitespace();
    let mut progress = Progress {
        executions,
        is_read: occasion != "READ",
        ..Progress::default()
    };
    while let Some(word) = words.next() {
        match word {
            "ft:" => progress.features = words.next()?.parse().ok()?,
            "corp:" => {
                let units = words.next()?.split('/').next()?;
                progress.units = units.parse().ok()?;
            }
            _ => {}
        }
    }
    Some(progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Property;

    #[test]
    fn figures_are_read_whatever_they_are_told_with() {
        let told = |line| match read(line) {
            Some(Line::Progress(it)) => (it.executions, it.features, it.units, it.is_read),
            other => panic!("{line}: {other:?}"),
        };
        for (line, expected) in [
            (
                "#1234\tNEW    cov: 1 ft: 65987 corp: 300/50Kb lim: 4096 exec/s: 130 rss: 60Mb L: 12/100 MS: 1 Custom-",
                (1234, 65987, 300, true),
            ),
            (
                "#512\tpulse  cov: 1 ft: 9 corp: 3/77b lim: 4 exec/s: 256 rss: 29Mb",
                (512, 9, 3, true),
            ),
            ("#2\tINITED exec/s: 0 rss: 25Mb", (2, 0, 0, true)),
            ("#64\tREAD units: 70 exec/s: 0 rss: 25Mb", (64, 0, 0, false)),
            (
                "#1000\tDONE   ft: 40000 corp: 120/9Kb lim: 8 exec/s: 90 rss: 33Mb",
                (1000, 40000, 120, true),
            ),
            (
                "#77\tRELOAD ft: 5 corp: 2/1b exec/s: 1 rss: 1Mb",
                (77, 5, 2, true),
            ),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }

    #[test]
    fn what_the_target_counts_and_where_it_dies_are_read() {
        let mut counted = Counted {
            inputs: 512,
            ..Counted::default()
        };
        counted.violations.insert(Property::StableOnReturn, 3);
        assert_eq!(read(&counted.line()), Some(Line::Counted(counted)));
        let line = "Test unit written to out/artifacts/crash-1f";
        assert_eq!(
            read(line),
            Some(Line::Artifact("out/artifacts/crash-1f".into()))
        );
    }

    #[test]
    fn other_lines_say_nothing() {
        for line in [
            "",
            "#",
            "#12",
            "# a comment",
            "#x NEW ft: 1",
            "#99999999999999999999999 NEW ft: 1",
            "#12\tSPLIT ft: 1",
            "#12\tNEW    ft: many corp: 1/1b",
            "#12\tNEW    ft:",
            "#12\tNEW    ft: 1 corp: /1b",
            "INFO: seed corpus: files: 3 min: 1b max: 2b total: 3b rss: 25Mb",
            "Done 1000 runs in 7 second(s)",
            "inflight-counted ",
            "inflight-counted {\"inputs\":-1}",
            "\u{fffd}\u{0}#12 NEW",
        ] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }
}
