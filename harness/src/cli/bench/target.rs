//! The fuzz target as it is run for a figure.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::anyhow;

use crate::cli::{Failure, Status};
use crate::engine::run_dir::{self, RunDir};
use crate::kernel::KernelName;
use crate::process;

/// How it is run.
pub(super) struct Run<'a> {
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
    ) -> Result<i32, Failure> {
        let failed = |error: std::io::Error| {
            let program = self.program.display();
            Failure::new(Status::Internal, anyhow!("{program}: {error}"))
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
}

/// A folder of its own for a run, which the next one sweeps away, should this one be
/// killed.
pub(super) fn folder() -> Result<RunDir, Failure> {
    let cache = run_dir::cache_root().ok_or_else(|| anyhow!("no cache directory: set HOME"));
    let made = cache.and_then(|it| RunDir::create(&it).map_err(Into::into));
    made.map_err(|error| Failure::new(Status::Missing, error))
}

/// What a run that should have gone well ended with.
pub(super) fn check(status: i32, last: &[String]) -> Result<(), Failure> {
    match status {
        0 => Ok(()),
        _ => {
            let said = last.join("\n");
            let why = anyhow!("the fuzz target ended with status {status}:\n{said}");
            Err(Failure::new(Status::Internal, why))
        }
    }
}

/// Keeps the last lines.
pub(super) fn keep(last: &mut Vec<String>, line: &str) {
    const LINES: usize = 20;
    if last.len() == LINES {
        last.remove(0);
    }
    last.push(line.to_owned());
}
