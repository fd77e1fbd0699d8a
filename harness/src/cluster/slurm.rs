//! Slurm's own commands: sbatch(1), squeue(1), scancel(1), scontrol(1).

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::campaign::merge::progress::{ranges, written};

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

/// A job or a task of an array that waits or runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The job's number.
    pub job: String,
    /// Its own in the array, if it is one.
    pub number: Option<u32>,
    /// Whether it runs, or is just ending.
    pub is_running: bool,
    /// Whether it is ending: what was cancelled is for a while.
    pub is_ending: bool,
    /// The file that was submitted.
    pub script: PathBuf,
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
    command.args(array.map(|it| format!("--array={it}")));
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

/// What waits and what runs, of all users: a colleague may ask how a campaign stands.
///
/// # Errors
/// [`SlurmError`]
pub fn queue() -> Result<Vec<Task>, SlurmError> {
    let mut command = Command::new("squeue");
    command.args(["--all", "--noheader", "--array", "--format=%F|%K|%T|%o"]);
    // What a user is usually shown is a part of it.
    let filters = std::env::vars_os().map(|(name, _)| name);
    for name in filters.filter(|it| it.to_string_lossy().starts_with("SQUEUE_")) {
        command.env_remove(name);
    }
    let output = run("squeue", &mut command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(task).collect())
}

fn task(line: &str) -> Option<Task> {
    let mut fields = line.trim().splitn(4, '|');
    let mut next = || fields.next();
    let (job, number, state, script) = (next()?, next()?, next()?, next()?);
    Some(Task {
        job: job.to_owned(),
        number: number.parse().ok(),
        is_running: matches!(state, "RUNNING" | "COMPLETING"),
        is_ending: state == "COMPLETING",
        script: script.into(),
    })
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
    written(&ranges(numbers.iter().copied()), ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_queue_is_a_task() {
        let told = task("12|3|RUNNING|/shared/first/jobs/a|b.sbatch").unwrap();
        assert_eq!(
            (&*told.job, told.number, told.is_running),
            ("12", Some(3), true)
        );
        assert_eq!(told.script, Path::new("/shared/first/jobs/a|b.sbatch"));
        let ending = task("12|4|COMPLETING|/x").unwrap();
        assert!(ending.is_ending && ending.is_running && !told.is_ending);
        let told = task("5|N/A|PENDING|/x").unwrap();
        assert_eq!((told.number, told.is_running), (None, false));
        assert_eq!(task("slurm_load_jobs error"), None);
    }

    #[test]
    fn numbers_are_written_as_sbatch_has_them() {
        assert_eq!(array(&[1, 2, 3, 7, 9, 10]), "1-3,7,9-10");
        assert_eq!(array(&[5]), "5");
    }
}
