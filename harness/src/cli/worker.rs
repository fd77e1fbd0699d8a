//! `inflight worker`: what a guest of a campaign runs. Not for people.

use std::io;

use anyhow::{Context, anyhow};

use super::{Failure, Status, usage};
use crate::campaign::job::Job;
use crate::campaign::worker;
use crate::engine;

/// Do one job inside a guest
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job, as JSON
    job: String,
}

/// Does the job.
pub fn run(args: &Args) -> Result<Status, Failure> {
    if !engine::in_guest() {
        return Err(usage(anyhow!(
            "this is what a guest runs; it would change the network of this machine"
        )));
    }
    let job: Job = serde_json::from_str(&args.job)
        .context("the job is not one")
        .map_err(usage)?;
    worker::work(&job, io::stdout().lock())
        .map_err(|error| Failure::new(Status::Internal, error))?;
    Ok(Status::Held)
}
