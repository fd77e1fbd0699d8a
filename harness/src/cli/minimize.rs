//! `inflight minimize`: failing scenarios made smaller.

mod causes;
mod input;
mod output;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::format::{Format, note, print};
use super::options::{ensure_on, jobs};
use super::{Failure, Status, usage};
use crate::campaign::job::Finding;
use crate::campaign::minimize::{self, Item, Outcome, Plan};
use crate::kernel::{Kernel, KernelName, Machine};
use crate::oracle::Contract;
use crate::process::{interrupted, watch_for_interrupts};
use crate::report::finding::{self, Origin};
use input::{Input, Inputs};
use output::Output;

/// Make failing scenarios smaller, as long as they break the same property.
///
/// A file is a scenario, whatever it is called: a finding, what a property test kept or
/// printed, what libFuzzer left behind. Of one file the smallest scenario found is
/// printed. Of several, or of a folder, each is written to --output, and grouped by
/// cause: the same property broken by smallest scenarios of the same shape.
///
/// The exit status is 0 when there is one, 4 when nothing breaks anything on its kernel.
/// Ctrl-C ends the search: what has been found by then is printed and written as if it
/// were the end, and the exit status is 130.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Files with a scenario, or folders of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run them on this kernel [default: the one that a file says it breaks, else 6.12-stock]
    #[arg(short, long, value_name = "KERNEL")]
    kernel: Option<KernelName>,
    /// Hold the kernel to this contract: documented or stable
    #[arg(long, value_name = "CONTRACT", default_value = "stable")]
    contract: Contract,
    /// Make each smaller in at most so many runs
    #[arg(long, value_name = "N", default_value_t = 2000)]
    shrink_runs: u64,
    /// Stop after so many seconds; what has been found by then counts
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    time: Option<u64>,
    /// Run so many guests at a time [default: the CPUs that this process may use]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Write the result of one file to this file instead of standard output, those of several
    /// to this folder [default: `minimized` in the first folder given, else here]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Print for people, or as json with one object a file, then one a cause
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

/// The kernel where neither the command nor the file names one.
const DEFAULT_KERNEL: &str = "6.12-stock";
/// One file, and what became of it.
struct Row<'a> {
    input: &'a Input,
    kernel: &'a Kernel,
    contract: Contract,
    outcome: &'a Outcome,
    /// Where the result was written.
    output: Option<PathBuf>,
}

/// Minimizes.
pub fn run(args: &Args) -> Result<Status, Failure> {
    // Before any kernel is built or run for nothing.
    let output = Output::open(&args.files, args.output.as_deref()).map_err(usage)?;
    let Inputs { inputs, others } = input::read(&args.files, output.folder()).map_err(usage)?;
    let (names, items) = items(args, &inputs)?;
    let plan = Plan {
        kernels: ensure_on(&names, Machine::Uml)?,
        items,
        contract: args.contract,
        shrink_runs: args.shrink_runs,
        time: args.time.map(Duration::from_secs),
        jobs: jobs(args.jobs),
    };
    watch_for_interrupts().map_err(|error| Failure::new(Status::Internal, error))?;
    let outcomes = minimize::run(&plan, &interrupted, &mut |_, _| {})?;
    let mut rows = Vec::new();
    for ((input, item), outcome) in inputs.iter().zip(&plan.items).zip(&outcomes) {
        rows.push(Row {
            input,
            kernel: &plan.kernels[item.kernel],
            contract: plan.contract,
            outcome,
            output: None,
        });
    }
    match &output {
        Output::Folder(folder) => several(&mut rows, others, folder, args.format)?,
        output => one(&mut rows[0], output, args)?,
    }
    Ok(status(&rows, interrupted()))
}

/// Which kernels are needed, and what is to be made smaller on which of them.
fn items(args: &Args, inputs: &[Input]) -> Result<(Vec<KernelName>, Vec<Item>), Failure> {
    let mut names: Vec<KernelName> = Vec::new();
    let mut items = Vec::new();
    for input in inputs {
        let usual: KernelName = DEFAULT_KERNEL.parse().map_err(usage)?;
        let name = args.kernel.clone().or_else(|| input.kernel(&usual));
        let name = name.unwrap_or(usual);
        let property = input.property(&name);
        let kernel = names.iter().position(|known| *known == name);
        let kernel = kernel.unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        items.push(Item {
            kernel,
            text: input.scenario.to_string(),
            property,
        });
    }
    Ok((names, items))
}

fn status(rows: &[Row<'_>], interrupted: bool) -> Status {
    let any = |what: fn(&Outcome) -> bool| rows.iter().any(|row| what(row.outcome));
    if interrupted {
        Status::Interrupted
    } else if any(|it| it.failure.is_some()) {
        Status::Internal
    } else if any(|it| it.finding.is_some()) {
        Status::Held
    } else {
        Status::NothingRan
    }
}

/// Prints or writes the one result.
fn one(row: &mut Row<'_>, output: &Output, args: &Args) -> Result<(), Failure> {
    note(row.summary());
    let Some(text) = row.text() else {
        return Ok(());
    };
    match output {
        Output::File(path) => {
            row.save(path, |text, history| output::write(path, text, history))?;
        }
        // Nothing stands beside that.
        Output::Stream(path) => row.save(path, |_, _| output::write_stream(path, &text))?,
        Output::Printed | Output::Folder(_) => {}
    }
    match args.format {
        Format::Human if *output == Output::Printed => print(&text),
        Format::Human => Ok(()),
        Format::Json => print(&format!("{}\n", row.json())),
    }
}

/// Writes the results, groups them and prints the groups.
fn several(
    rows: &mut [Row<'_>],
    others: usize,
    output: &Path,
    format: Format,
) -> Result<(), Failure> {
    if others > 0 {
        note(format_args!(
            "{others} files are no scenarios, and left out"
        ));
    }
    let mut taken: Vec<PathBuf> = Vec::new();
    let mut unsaved = None;
    for row in rows.iter_mut() {
        note(format_args!(
            "{}: {}",
            row.input.file.display(),
            row.summary()
        ));
        let from = &row.input.file;
        let saved = row.save(output, |text, history| {
            Ok(output::write_new(output, from, &taken, text, history)?)
        });
        // The others can be saved nevertheless.
        if let Err(failure) = saved {
            unsaved.get_or_insert(failure);
        }
        taken.extend(row.output.clone());
    }
    let causes = causes::of(rows);
    if !causes.is_empty() {
        let table = causes::human(&causes);
        let path = output.join(causes::FILE);
        if let Err(error) = output::write(&path, &table, None) {
            unsaved.get_or_insert(unwritten(&path, error));
        }
        if format == Format::Human {
            print(&table)?;
        }
    }
    if format == Format::Json {
        let lines = rows.iter().map(Row::json);
        let lines = lines.chain(causes.iter().map(causes::Cause::json));
        print(&lines.map(|line| format!("{line}\n")).collect::<String>())?;
    }
    unsaved.map_or(Ok(()), Err)
}

fn unwritten(path: &Path, error: anyhow::Error) -> Failure {
    let what = format!("cannot write --output {}", path.display());
    Failure::new(Status::Missing, error.context(what))
}

impl Row<'_> {
    fn finding(&self) -> Option<&Finding> {
        self.outcome.finding.as_ref()
    }

    /// The result as a scenario, with nothing beside it.
    fn text(&self) -> Option<String> {
        let alone = Finding {
            history: None,
            ..self.finding()?.clone()
        };
        Some(self.render(&alone))
    }

    fn render(&self, finding: &Finding) -> String {
        let origin = Origin {
            machine: crate::kernel::Machine::Uml,
            kernel: &self.kernel.name,
            seed: None,
        };
        finding::render(finding, &origin)
    }

    /// Writes the result, if there is one, to `place` or in it. `write` is given what only
    /// one run has shown, too, and says where the result is.
    fn save(
        &mut self,
        place: &Path,
        write: impl FnOnce(&str, Option<&str>) -> anyhow::Result<PathBuf>,
    ) -> Result<(), Failure> {
        let Some(finding) = self.finding() else {
            return Ok(());
        };
        let text = self.render(finding);
        let history = finding.history.as_ref().map(|it| json!(it).to_string());
        let path = write(&text, history.as_deref()).map_err(|error| {
            // Better on the terminal than lost.
            note(&text);
            unwritten(place, error)
        })?;
        self.output = Some(path);
        Ok(())
    }

    /// What became of it, for people.
    fn summary(&self) -> String {
        let (kernel, contract) = (&self.kernel.name, self.contract);
        let mut summary = match (self.finding(), &self.outcome.failure) {
            (Some(it), _) => {
                let (property, seen, of) = (it.property, it.seen, it.of);
                let ratio = it.ratio();
                let stopped = causes::stopped(it.stopped);
                format!(
                    "violates {property} on {kernel}: {ratio}{stopped}; seen in {seen} of {of} runs"
                )
            }
            (None, Some(_)) => format!("FAILED on {kernel}"),
            (None, None) if self.outcome.ran => {
                format!("breaks nothing on {kernel} under the contract {contract}")
            }
            (None, None) => format!("was not run on {kernel}"),
        };
        if let Some(why) = &self.outcome.failure {
            summary += &format!("; {}", why.trim_end());
        }
        summary
    }

    fn json(&self) -> serde_json::Value {
        let finding = self.finding();
        json!({
            "file": self.input.file,
            "kernel": self.kernel.name.to_string(),
            "contract": self.contract,
            "violated": finding.map(|it| it.property),
            "message": finding.map(|it| &it.message),
            "ops_before": finding.map(|it| it.steps_before),
            "minimized_ops": finding.map(|it| it.steps_after),
            "bytes_before": finding.map(|it| it.bytes_before),
            "minimized_bytes": finding.map(|it| it.bytes_after),
            "runs": finding.map(|it| it.shrink_runs),
            "stopped": finding.and_then(|it| it.stopped),
            "seen": finding.map(|it| it.seen),
            "of": finding.map(|it| it.of),
            "failure": self.outcome.failure,
            "output": self.output,
            "scenario": self.text(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_only_one_run_has_shown_stands_beside_the_result() {
        let dir = tempfile::tempdir().unwrap();
        let mut plan = crate::oracle::doctor::Plan::new(4096);
        let range = crate::oracle::doctor::range(0, 4096);
        plan.call(crate::scenario::Op::Sendfile(range), 1, 2);
        let mut finding = Finding::suspect(
            0,
            crate::oracle::Property::Wire,
            "torn".into(),
            &plan.scenario,
        );
        finding.history = Some(Box::new(plan.history.clone()));
        let outcome = Outcome {
            finding: Some(finding),
            ran: true,
            failure: None,
        };
        let file = dir.path().join("a.scn");
        fs::write(&file, "sendfile 0+1\n").unwrap();
        let inputs = input::read(&[file], None).unwrap().inputs;
        let kernel = Kernel {
            name: "6.12-stock".parse().unwrap(),
            machine: Machine::Uml,
            image: "/nonexistent".into(),
            release: "6.12".into(),
            key: String::new(),
        };
        let mut row = Row {
            input: &inputs[0],
            kernel: &kernel,
            contract: Contract::Stable,
            outcome: &outcome,
            output: None,
        };
        // On a terminal nothing stands beside it.
        assert!(!row.text().unwrap().contains(finding::HISTORY_SUFFIX));
        let path = dir.path().join("small.scn");
        let save = |row: &mut Row<'_>, path: &Path| {
            row.save(path, |text, history| output::write(path, text, history))
        };
        save(&mut row, &path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(finding::HISTORY_SUFFIX), "{text}");
        let beside = dir.path().join("small.scn.history.json");
        let kept: crate::history::History =
            serde_json::from_slice(&fs::read(beside).unwrap()).unwrap();
        assert_eq!(kept, plan.history);
        assert_eq!(row.output, Some(path));
        // Where it cannot be written, there is no output.
        row.output = None;
        assert!(save(&mut row, &dir.path().join("none/small.scn")).is_err());
        assert_eq!(row.output, None);
    }
}
