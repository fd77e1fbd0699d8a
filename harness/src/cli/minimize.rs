//! `inflight minimize`: a failing scenario made smaller.

use std::fs;
use std::path::PathBuf;

use anyhow::anyhow;
use serde_json::json;

use super::format::{Format, note, print};
use super::options::ensure;
use super::{Failure, Status, usage};
use crate::campaign::host;
use crate::campaign::job::{Event, Finding, Job};
use crate::engine::Exit;
use crate::kernel::KernelName;
use crate::oracle::Contract;
use crate::report::finding::{self, Origin};
use crate::scenario::{normalize, text};

/// Make a failing scenario smaller, as long as it breaks the same property.
///
/// Prints the smallest scenario found. Exits with 0 when there is one, with 4
/// when the file breaks nothing on this kernel.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Scenario file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Kernel to run it on
    #[arg(short, long, value_name = "KERNEL", default_value = "6.12-stock")]
    kernel: KernelName,
    /// What the kernel is held to: documented or stable
    #[arg(long, value_name = "CONTRACT", default_value = "stable")]
    contract: Contract,
    /// Runs that it may take
    #[arg(long, value_name = "N", default_value_t = 2000)]
    shrink_runs: u64,
    /// Write the result to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Output: human, or json
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

/// Minimizes.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let scenario = normalize::normalize(text::read_file(&args.file).map_err(usage)?);
    let kernel = &ensure(std::slice::from_ref(&args.kernel))?[0];
    let job = Job::Minimize {
        text: scenario.to_string(),
        property: None,
        contract: args.contract,
        shrink_runs: args.shrink_runs,
    };
    let mut found: Option<Finding> = None;
    let mut failure = None;
    let end = host::alone(kernel, &job, |_, event| match event {
        Event::Suspect(finding) | Event::Smaller(finding) | Event::Found(finding) => {
            found = Some(finding)
        }
        Event::Failed(why) => failure = Some(why),
        _ => {}
    })?;
    let outcome = end.outcome?;
    if let Some(why) = failure {
        return Err(Failure::new(Status::Internal, anyhow!(why)));
    }
    let Some(finding) = found else {
        return match outcome.exit {
            Exit::Status(0) => {
                note(format_args!(
                    "{} breaks nothing on {} under the contract {}",
                    args.file.display(),
                    kernel.name,
                    args.contract
                ));
                Ok(Status::NothingRan)
            }
            // A scenario that takes the kernel down is as small as it is: every
            // smaller one would need a boot of its own.
            exit => Err(Failure::new(Status::Violated, anyhow!("{exit:?}"))),
        };
    };
    let origin = Origin {
        kernel: &kernel.name,
        seed: None,
    };
    let text = finding::render(&finding, &origin);
    if let Some(path) = &args.output
        && let Err(error) = fs::write(path, &text)
    {
        // Better on the terminal than lost.
        note(&text);
        let error = anyhow::Error::new(error);
        let context = format!("cannot write --output {}", path.display());
        return Err(Failure::new(Status::Missing, error.context(context)));
    }
    note(format_args!(
        "{} ops, from {}, after {} runs; seen in {} of {} runs",
        finding.steps_after, finding.steps_before, finding.shrink_runs, finding.seen, finding.of
    ));
    match args.format {
        Format::Human if args.output.is_none() => print(&text)?,
        Format::Human => {}
        Format::Json => print(&format!(
            "{}\n",
            json!({
                "file": args.file,
                "kernel": kernel.name.to_string(),
                "contract": args.contract,
                "violated": finding.property,
                "message": finding.message,
                "ops_before": finding.steps_before,
                "minimized_ops": finding.steps_after,
                "runs": finding.shrink_runs,
                "seen": finding.seen,
                "of": finding.of,
                "scenario": text,
            })
        ))?,
    }
    Ok(Status::Held)
}
