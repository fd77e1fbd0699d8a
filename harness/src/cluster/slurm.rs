//! Slurm's own commands: sbatch(1), squeue(1), scancel(1), scontrol(1).

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

/// What installs them.
const REMEDY: &str = "apt-get install slurm-client, on a machine of the cluster";

/// Why Slurm cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// It is not installed.
    #[error("there is no {0}: Slurm is not installed here\n  remedy: {REMEDY}")]
    Absent(&'static str),
    /// A command failed.
    #[error("{command} says: {said}")]
    Failed {
        /// Which.
        command: String,
        /// Its words.
        said: String,
    },
    /// It cannot be run.
    #[error("cannot run {command}")]
    Io {
        /// Which.
        command: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// How many tasks of an array are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Those that run.
    pub running: u64,
    /// Those that wait.
    pub pending: u64,
}

/// Submits a file; `after` are dependencies as sbatch(1) has them. Returns the job's number.
///
/// # Errors
/// [`SlurmError`]
pub fn submit(script: &Path, array: Option<&str>, after: &[String]) -> Result<String, SlurmError> {
    let mut command = Command::new("sbatch");
    command.arg("--parsable");
    if !after.is_empty() {
        command.arg(format!("--dependency={}", after.join(",")));
        // One that can never run is not to stay for ever.
        command.arg("--kill-on-invalid-dep=yes");
    }
    if let Some(array) = array {
        command.arg(format!("--array={array}"));
    }
    command.arg(script);
    let output = run("sbatch", &mut command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    // With a cluster's name behind it, where there are several.
    let job = text.trim().split(';').next().unwrap_or_default();
    match job.is_empty() {
        false => Ok(job.to_owned()),
        true => Err(SlurmError::Failed {
            command: "sbatch".into(),
            said: "no number of a job".into(),
        }),
    }
}

/// The tasks that wait or run, by the numbers of these jobs.
///
/// # Errors
/// [`SlurmError`]
pub fn queue(jobs: &[String]) -> Result<BTreeMap<String, Tasks>, SlurmError> {
    let mut tasks = BTreeMap::new();
    // Of jobs that are long over squeue(1) knows nothing, and says so of a job that it is
    // asked for alone.
    let mut command = Command::new("squeue");
    command.args(["--noheader", "--array", "--me", "--format=%F %T"]);
    let output = run("squeue", &mut command)?;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((job, state)) = line.trim().split_once(' ') else {
            continue;
        };
        if !jobs.iter().any(|it| it == job) {
            continue;
        }
        let entry: &mut Tasks = tasks.entry(job.to_owned()).or_default();
        match state {
            "RUNNING" | "COMPLETING" => entry.running += 1,
            _ => entry.pending += 1,
        }
    }
    Ok(tasks)
}

/// Ends jobs. Those that are over already are none the worse.
///
/// # Errors
/// [`SlurmError`]
pub fn cancel(jobs: &[String]) -> Result<(), SlurmError> {
    run("scancel", Command::new("scancel").arg("--quiet").args(jobs)).map(drop)
}

/// One more than the largest number of a task of an array; `None`: it does not say.
///
/// # Errors
/// [`SlurmError`]
pub fn most_tasks() -> Result<Option<u32>, SlurmError> {
    let mut command = Command::new("scontrol");
    let output = run("scontrol", command.args(["show", "config"]))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|it| it.starts_with("MaxArraySize"));
    let value = line.and_then(|it| it.split_once('='));
    Ok(value.and_then(|(_, value)| value.trim().parse().ok()))
}

fn run(name: &'static str, command: &mut Command) -> Result<Output, SlurmError> {
    let output = command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SlurmError::Absent(name),
        _ => SlurmError::Io {
            command: name,
            source,
        },
    })?;
    match output.status.success() {
        true => Ok(output),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(SlurmError::Failed {
                command: name.to_owned(),
                said: said.trim().to_owned(),
            })
        }
    }
}

/// Numbers as an array has them: `1-3,7`.
pub fn array(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let range = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_sbatch_has_them() {
        assert_eq!(array(&[1, 2, 3, 7, 9, 10]), "1-3,7,9-10");
        assert_eq!(array(&[5]), "5");
    }
}
