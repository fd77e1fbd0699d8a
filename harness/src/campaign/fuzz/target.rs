//! The fuzz target as one run of its own: for a figure, and to see whether it finds a bug.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::lines;
use crate::engine::run_dir::{self, RunDir};
use crate::fuzz::{SPENT_STATUS, end_of_guest};
use crate::kernel::KernelName;
use crate::oracle::Property;
use crate::process;

/// libFuzzer's exit status for an input that crashes.
const CRASHED: i32 = 77;

/// How it is run.
pub struct Run<'a> {
    /// The target.
    pub program: &'a Path,
    /// In which kernel.
    pub kernel: &'a KernelName,
    /// `INFLIGHT_FUZZ_COUNT`: what guides it.
    pub guide: &'a str,
    /// `INFLIGHT_CONTRACT`.
    pub contract: &'a str,
    /// Where the blocks that are new are written to.
    pub trace: Option<&'a Path>,
}

impl Run<'_> {
    /// Runs it to its end with these arguments of libFuzzer's, and hears each line that it
    /// says, and when. Returns its exit status.
    pub fn run(
        &self,
        arguments: &[String],
        mut hear: impl FnMut(&str, Instant),
    ) -> io::Result<i32> {
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.program.display()))
        };
        let mut command = Command::new(self.program);
        command
            .args(arguments)
            .env("INFLIGHT_KERNEL", self.kernel.to_string())
            .env("INFLIGHT_FUZZ_COUNT", self.guide)
            .env("INFLIGHT_CONTRACT", self.contract)
            .env("INFLIGHT_FUZZ_TRACE", self.trace.unwrap_or(Path::new("")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = process::spawn(&mut command).map_err(failed)?;
        if let Some(stderr) = child.child().stderr.take() {
            for line in BufReader::new(stderr).split(b'\n') {
                let line = line.map_err(failed)?;
                hear(&String::from_utf8_lossy(&line), Instant::now());
            }
        }
        let status = child.wait().map_err(failed)?;
        // By a signal only if somebody sent it one.
        Ok(status.code().unwrap_or(-1))
    }

    /// Runs it up to the first violation, or to the end.
    ///
    /// # Errors
    /// It cannot be run, or ends otherwise: its last lines.
    pub fn seek(&self, arguments: &[String]) -> io::Result<Sought> {
        let mut sought = Sought::default();
        let mut begun = None;
        let mut said = Vec::new();
        let status = self.run(arguments, |line, at| {
            if let Some(number) = executed(line) {
                // Its guest has booted.
                let begun = *begun.get_or_insert(at);
                sought.executions = number;
                // What comes after a violation is its repetition.
                if sought.violated.is_none() {
                    sought.took = at.duration_since(begun);
                }
            }
            sought.artifact = sought.artifact.take().or_else(|| artifact(line));
            if sought.violated.is_none()
                && let Some(property) = violated(line)
            {
                sought.violated = Some(property);
                sought.took = begun.map_or(Duration::ZERO, |begun| at.duration_since(begun));
            }
            keep(&mut said, line);
        })?;
        // A call that a known bug has left hanging takes a new guest.
        if ![CRASHED, SPENT_STATUS.into()].contains(&status)
            || (status == CRASHED) != sought.is_found()
        {
            check(status, &said)?;
        }
        Ok(sought)
    }
}

/// What a run up to the first violation has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    /// Inputs that ran: as libFuzzer last said, so up to twice as many up to a crash.
    pub executions: u64,
    /// From the first of them to the last, or to the violation.
    pub took: Duration,
    /// What was broken.
    pub violated: Option<Property>,
    /// The input that broke it.
    pub artifact: Option<PathBuf>,
}

impl Sought {
    fn is_found(&self) -> bool {
        self.violated.is_some()
    }
}

/// A folder of its own for a run, which the next one sweeps away, should this one be
/// killed.
pub fn folder() -> io::Result<RunDir> {
    let cache = run_dir::cache_root();
    RunDir::create(&cache.ok_or_else(|| io::Error::other("no cache directory: set HOME"))?)
}

/// What a run that should have gone well ended with.
pub fn check(status: i32, last: &[String]) -> io::Result<()> {
    match status {
        0 => Ok(()),
        _ => {
            let said = last.join("\n");
            let why = format!("the fuzz target ended with status {status}:\n{said}");
            Err(io::Error::other(why))
        }
    }
}

/// Keeps the last lines.
pub fn keep(last: &mut Vec<String>, line: &str) {
    const LINES: usize = 20;
    if last.len() == LINES {
        last.remove(0);
    }
    last.push(line.to_owned());
}

/// Which property a violation is of, by the line that tells of it.
fn violated(line: &str) -> Option<Property> {
    let ends = [Property::Liveness, Property::Leaks, Property::Splat];
    if let Some(end) = ends.into_iter().find(|it| line == end_of_guest(*it)) {
        return Some(end);
    }
    let (_, rest) = line.split_once(" violates ")?;
    let name = rest.split(',').next()?;
    Property::ALL.into_iter().find(|it| it.to_string() == name)
}

/// Where the input is that crashed, by the line that tells of it: libFuzzer's own, which
/// begins with the prefix, or ours where the kernel died (FuzzerLoop.cpp).
fn artifact(line: &str) -> Option<PathBuf> {
    let (_, path) = line.split_once("Test unit written to ")?;
    Some(path.trim().into())
}

/// How many inputs have run, by a line of libFuzzer's.
fn executed(line: &str) -> Option<u64> {
    if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
        return number.trim().parse().ok();
    }
    Some(lines::executions(line)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_told_of_by_libfuzzer_and_by_us() {
        let path = Some("/x/crash-1".into());
        let theirs = "artifact_prefix='/x/'; Test unit written to /x/crash-1";
        assert_eq!(artifact(theirs), path);
        assert_eq!(artifact("Test unit written to /x/crash-1"), path);
        assert_eq!(artifact("Base64: eA=="), None);
    }

    #[test]
    fn executions_are_the_last_that_libfuzzer_says() {
        assert_eq!(executed("#512\tpulse  ft: 29927"), Some(512));
        assert_eq!(executed("stat::number_of_executed_units: 519"), Some(519));
        assert_eq!(executed("6.12-patched violates source"), None);
        let line = "6.12-mutant:x-kcov violates stable-on-return, in 11 of 11 runs:";
        assert_eq!(violated(line), Some(Property::StableOnReturn));
        let hung = violated("ERROR: the kernel hung with this input");
        assert_eq!(hung, Some(Property::Liveness));
        assert_eq!(violated("violates nothing, in 1 of 1 runs:"), None);
    }
}
