//! One scenario on one kernel, with all that was seen of it.
//!
//! A history with its packets is too long for a line on a guest's console: the guest writes
//! it into a file of the host, and the line only says that the file is whole.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::crash::Crash;
use super::host;
use super::job::{Event, Job};
use crate::capture::Capture;
use crate::engine::run_dir::{self, RunDir};
use crate::engine::{self, Exit};
use crate::history::History;
use crate::kernel::Kernel;
use crate::oracle::{Contract, Violation};

/// What was seen of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Its history.
    pub history: History,
    /// What it breaks; empty: everything held.
    pub violations: Vec<Violation>,
    /// Its packets, or why they were not seen; `None`: it has none that pass a link.
    pub packets: Option<Result<Capture, String>>,
}

/// What came of a scenario on one kernel.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was seen; `None`: the kernel went down before that could be told, or the
    /// scenario could not be run.
    pub explained: Option<Explained>,
    /// Why not, or what went wrong afterwards.
    pub trouble: Option<String>,
    /// What the kernel said.
    pub kernel_log: String,
}

impl Explained {
    /// Writes it.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(file)?);
        serde_json::to_writer(&mut out, self)?;
        out.flush()
    }

    /// Reads it.
    pub fn read(file: &Path) -> io::Result<Explained> {
        Ok(serde_json::from_reader(BufReader::new(File::open(file)?))?)
    }
}

/// Runs the scenario `text` once on a kernel just booted.
///
/// # Errors
/// When the guest cannot be booted. Everything else is in the outcome.
pub fn run(kernel: &Kernel, text: String, contract: Contract) -> Result<Outcome, engine::Error> {
    // Of those that are swept away after whoever was killed.
    let folder = run_dir::cache_root().ok_or_else(|| io::Error::other("there is no cache"));
    let folder = folder.and_then(|cache| RunDir::create(&cache));
    let folder = folder.map_err(|source| engine::Error::Host {
        what: "make a folder for what is seen".into(),
        source,
    })?;
    let file = folder.path().join("explained.json");
    let job = Job::Explain {
        text,
        contract,
        file: file.clone(),
    };
    let (mut whole, mut failure) = (false, None);
    let end = host::alone(kernel, &job, |_, event| match event {
        Event::Explained => whole = true,
        Event::Failed(why) => failure = Some(why),
        _ => {}
    })?;
    let outcome = end.outcome?;
    let explained = whole.then(|| Explained::read(&file));
    let trouble = match (Crash::of(&outcome.exit), &explained, failure) {
        (Some(crash), None, _) => Some(crash.message("while it ran")),
        (Some(crash), Some(_), _) => Some(crash.message("after it had run")),
        (None, Some(Err(error)), _) => Some(format!("what was seen cannot be read: {error}")),
        (None, _, Some(why)) => Some(why),
        (None, Some(Ok(_)), None) if outcome.exit == Exit::Status(0) => None,
        (None, _, None) => Some(format!("{:?}: {}", outcome.exit, end.stray.trim())),
    };
    Ok(Outcome {
        explained: explained.and_then(Result::ok),
        trouble,
        kernel_log: outcome.kernel_log,
    })
}
