//! The command line: one file a subcommand.

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::engine;
use crate::kernel::{Kernel, KernelName, Machine};

mod alone;
mod bench;
mod bisect;
mod campaign;
mod check;
mod coverage;
mod demo;
mod doctor;
mod duration;
mod explain;
mod format;
mod fuzz;
mod kernel;
mod minimize;
mod node;
mod options;
mod recv;
mod replay;
pub mod run;
mod score;
mod selftest;
mod send;
mod switch;
mod unit;
mod worker;

pub use alone::{main_of_recv, main_of_send};

/// Exit statuses, the same for every subcommand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Every expectation held.
    Held = 0,
    /// A property was violated.
    Violated = 1,
    /// Usage or bad input.
    Usage = 2,
    /// This machine lacks something; the message names it and the remedy.
    Missing = 3,
    /// Nothing ran.
    NothingRan = 4,
    /// A bug of ours.
    Internal = 70,
    /// Neither good nor bad: what `git bisect run` is told, too.
    CannotTell = 125,
    /// Ctrl-C; what there was by then is kept.
    Interrupted = crate::process::INTERRUPTED_STATUS,
    /// What ends `git bisect run`, for which 1 to 127 is a bad commit.
    EndsSearch = 255,
}

/// An error with the exit status that it deserves. Subcommands return it; the
/// binary prints the message and exits with the status.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: Status,
    /// What to tell the user, with context.
    pub error: anyhow::Error,
}

impl Failure {
    /// An error with this status.
    pub fn new(status: Status, error: impl Into<anyhow::Error>) -> Failure {
        Failure {
            status,
            error: error.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Failure {
        Failure::new(run::status_of(&error), error)
    }
}

/// A usage error or bad input: exit status 2.
fn usage(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Status::Usage, error)
}

/// Find bytes that change while they are in flight.
///
/// Without a command: `check`, the main job.
#[derive(Debug, Parser)]
#[command(
    version,
    infer_subcommands = true,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    check: check::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Replay(replay::Args),
    Minimize(minimize::Args),
    Fuzz(fuzz::Args),
    Bisect(bisect::Args),
    Explain(explain::Args),
    Coverage(coverage::Args),
    Run(run::Args),
    Kernel(kernel::Args),
    Demo(demo::Args),
    Doctor(doctor::Args),
    Bench(bench::Args),
    Score(score::Args),
    Campaign(campaign::Args),
    Send(send::Args),
    Recv(recv::Args),
    #[command(hide = true)]
    Worker(worker::Args),
    #[command(hide = true)]
    Node(node::Args),
    #[command(hide = true)]
    Switch(switch::Args),
}

/// A kernel by name, built if need be.
fn kernel(name: &str, machine: Machine) -> Result<Kernel, Failure> {
    let name = name.parse::<KernelName>().map_err(usage)?;
    let mut kernels = options::ensure_on(&[name], machine)?;
    Ok(kernels.remove(0))
}

/// Runs the command line of this process. A panic has printed what and where, and
/// gets the exit status of a bug of ours.
pub fn main() -> ExitCode {
    std::panic::catch_unwind(|| main_from(std::env::args_os()))
        .unwrap_or(ExitCode::from(Status::Internal as u8))
}

/// Runs a command line; `args` begin with the program's name.
pub fn main_from(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let status = match error.use_stderr() {
                true if bisect::is_judge(&args) => Status::EndsSearch,
                true => Status::Usage,
                false => Status::Held,
            };
            return ExitCode::from(status as u8);
        }
    };
    let result = match cli.command.unwrap_or(Command::Check(cli.check)) {
        Command::Check(args) => check::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Minimize(args) => minimize::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Bisect(args) => bisect::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Coverage(args) => coverage::run(&args),
        Command::Kernel(args) => kernel::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Switch(args) => switch::run(&args),
        Command::Doctor(args) => doctor::run(args),
        Command::Bench(args) => bench::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Campaign(args) => campaign::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Recv(args) => recv::run(&args),
        Command::Worker(args) => worker::run(&args),
        // Its status is the program's own.
        Command::Run(args) => match run::run(args, kernel) {
            Ok(status) => return ExitCode::from(status),
            Err(failure) => Err(failure),
        },
    };
    exit("inflight", result)
}

/// The exit status of a result; an error is said by `program`.
fn exit(program: &str, result: Result<Status, Failure>) -> ExitCode {
    match result {
        Ok(status) => ExitCode::from(status as u8),
        Err(failure) => {
            format::note(format_args!("{program}: {failure}"));
            ExitCode::from(failure.status as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// With these begins what a command or an option does.
    const VERBS: [&str; 29] = [
        "Begin", "Boot", "Build", "Connect", "Explain", "Fetch", "Find", "Generate", "Give",
        "Hold", "Judge", "Kill", "Let", "Listen", "Look", "Make", "Measure", "Print", "Receive",
        "Remove", "Run", "Save", "Say", "Search", "Send", "Show", "Stop", "Submit", "Write",
    ];

    fn check(command: &clap::Command) {
        let verb = |help: Option<&clap::builder::StyledStr>, of: &str| {
            let help = help.map(ToString::to_string).unwrap_or_default();
            let first = help.split([' ', ',']).next().unwrap_or_default();
            assert!(VERBS.contains(&first), "{of}: {help}");
        };
        verb(command.get_about(), command.get_name());
        for option in command.get_arguments().filter(|it| !it.is_positional()) {
            verb(
                option.get_help(),
                &format!("{} {option}", command.get_name()),
            );
        }
        let commands = command.get_subcommands();
        commands.filter(|it| !it.is_hide_set()).for_each(check);
    }

    /// Every command of ours in files that nobody runs here: it is at least one that could be
    /// run.
    #[test]
    fn commands_in_files_for_other_machines_are_commands() {
        let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut checked = 0;
        for file in [
            "docs/campaigns.md",
            "deploy/Dockerfile",
            "deploy/kubernetes/campaign.yaml",
            "deploy/kubernetes/merge.yaml",
            ".github/workflows/campaign.yml",
            ".clusterfuzzlite/Dockerfile",
        ] {
            let text = std::fs::read_to_string(home.join(file)).unwrap();
            let plain = |line: &&str| !line.trim_start().starts_with(['#', '|', '*']);
            let before = checked;
            for line in text.lines().filter(plain) {
                // In the document commands are indented, and sentences are not.
                if file.ends_with(".md") && !line.starts_with("    ") {
                    continue;
                }
                for word in ["check", "fuzz", "score", "kernel", "campaign", "coverage"] {
                    let Some((_, rest)) = line.split_once(&format!("inflight {word} ")) else {
                        continue;
                    };
                    let end = rest.find([';', '|', '&', '\'']).unwrap_or(rest.len());
                    let rest = rest[..end]
                        .replace("${{ matrix.kernel }}", "6.12-patched")
                        .replace("$KERNELS", "6.12-patched")
                        .replace("$((JOB_COMPLETION_INDEX + 1))", "1")
                        .replace("${{ matrix.shard }}", "1");
                    let rest = rest.replace("${{ inputs.cases }}", "9");
                    let rest = rest.replace("${{ inputs.seed }}", "9").replace('"', "");
                    let args = ["inflight", word].into_iter();
                    let args = args.chain(rest.split_whitespace());
                    if let Err(error) = Cli::try_parse_from(args) {
                        panic!("{file}: {line}: {error}");
                    }
                    checked += 1;
                }
            }
            assert!(checked > before, "{file} has none");
        }
    }

    #[test]
    fn help_tells_commands_and_options_to_do_something() {
        let mut command = Cli::command();
        command.build();
        check(&command);
    }
}
