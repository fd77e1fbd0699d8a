//! The fuzzer for hours: targets at work, what they find made smaller, and how it stands.
//!
//! A target is a process of its own ([`program`]): libFuzzer, which goes on inside a guest.
//! All of them share the corpus. A violation does not end a target: it is left in a folder
//! ([`crate::fuzz::spool`]), where it is found here, run again on a kernel just booted, made
//! smaller, and kept by cause. A kernel that dies is started again.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `campaign` | a campaign from its beginning to its end |
//! | [`folder`] | what a campaign makes, and goes on from |
//! | `lines` | what a target prints |
//! | `page` | how it stands, for people |
//! | [`program`] | the target, built by cargo |
//! | `records` | what was found, what is to be made smaller next, the causes |
//! | [`status`] | how it stands, for programs |
//! | [`target`] | one run of the target, for a figure |
//! | `worker` | one target at work |

mod campaign;
pub mod folder;
mod lines;
mod page;
pub mod program;
mod records;
pub mod status;
pub mod target;
mod worker;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::kernel::Kernel;
use crate::oracle::Contract;
use campaign::Campaign;
use folder::Folder;
pub(crate) use lines::executions;
pub use page::FILE as PAGE;
pub(crate) use page::{number, time};
use status::Status;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On which kernel.
    pub kernel: Kernel,
    /// What it is held to.
    pub contract: Contract,
    /// Targets at a time.
    pub jobs: usize,
    /// Seed of the mutations.
    pub seed: u64,
    /// For how long.
    pub time: Option<Duration>,
    /// So many inputs, those of the corpus with them. Each target reads the whole corpus
    /// first, so that a few more may run.
    pub runs: Option<u64>,
    /// More corpus folders, which are only read.
    pub inputs: Vec<PathBuf>,
    /// The target.
    pub program: PathBuf,
    /// More of libFuzzer's options.
    pub arguments: Vec<OsString>,
    /// Runs that making one finding smaller may take.
    pub shrink_runs: u64,
}

/// Why a campaign ended before it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No target comes to run an input.
    #[error("the target runs no input ({how}); its last lines:\n  {}", lines.join("\n  "))]
    Target {
        /// How it ends.
        how: String,
        /// What it says.
        lines: Vec<String>,
    },
    /// The file system says no.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

/// Goes on with the campaign in `folder` as it stands (`status`) until its time is over or
/// it is `interrupted`; `hear` is told every second how it stands. What was found is made
/// smaller meanwhile, and for a while after the end.
///
/// # Errors
/// [`Error`]. What was found by then is in the folder.
pub fn run(
    plan: &Plan,
    folder: &Folder,
    status: Status,
    interrupted: &dyn Fn() -> bool,
    hear: &mut dyn FnMut(&Status),
) -> Result<Status, Error> {
    let mut campaign = Campaign::new(plan, folder, status);
    campaign.look(true)?;
    campaign.write()?;
    let ended = campaign.fuzz(interrupted, hear);
    campaign.halt();
    if ended.is_ok() && !interrupted() {
        campaign.finish(interrupted, hear)?;
    }
    campaign.stop_minimizing();
    campaign.status.is_running = false;
    campaign.look(true)?;
    campaign.write()?;
    ended.map(|()| campaign.status)
}
