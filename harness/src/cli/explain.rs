//! `inflight explain`: everything there is to say about one scenario, as files.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use serde_json::json;

use super::format::{Format, note, print};
use super::options::On;
use super::replay::{Row, human, status};
use super::{Failure, Status, usage};
use crate::campaign::explain::{self, Explained, Outcome};
use crate::campaign::replay::{self, Plan};
use crate::kernel::{Kernel, KernelName};
use crate::report::explain::folder::{Error, Folder};
use crate::report::explain::markdown::{self, Case, OnKernel};
use crate::report::explain::pcap::{self, At};
use crate::report::explain::{Run, program, timeline};
use crate::report::finding;
use crate::scenario::{Scenario, normalize, text};

const SCENARIO: &str = "scenario.scn";
const REPORT: &str = "report.md";
const TIMELINE: &str = "timeline.html";
const PROGRAM: &str = "reproducer.c";

/// Explain a scenario: what happens on each kernel, as files to read and to send.
///
/// What is written: a bug report (report.md), a page that shows what happened when
/// (timeline.html), the packets at both ends of the link for Wireshark (KERNEL-sender.pcap,
/// KERNEL-receiver.pcap), a C program that does the same without this tool (reproducer.c),
/// and the scenario itself (scenario.scn). Files of an earlier explanation in the same folder
/// are replaced, others never.
///
/// The exit status is that of `replay`: 0 when the scenario did what its `expect` lines say, 1
/// when it did not. The files are written in either case, also when a kernel went down.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Scenario file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write to this folder [default: explained/NAME, after the file]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    on: On,
    /// Run it so many times on each kernel, to say how reliable it is
    #[arg(short, long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Print for people, or as json with one object a kernel
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

/// Explains.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let scenario = normalize::normalize(text::read_file(&args.file).map_err(usage)?);
    let output = args.output.clone().unwrap_or_else(|| default(&args.file));
    // Before any kernel is built or run for nothing.
    let folder = Folder::open(&output, &names(&args.on.names()))
        .map_err(|error| usage(anyhow!(error).context("--output")))?;
    let plan = Plan {
        kernels: args.on.kernels()?,
        texts: vec![scenario.to_string()],
        times: args.times,
        contract: args.on.contract,
        jobs: args.on.jobs(),
    };
    let start = Instant::now();
    let outcomes = replay::run(&plan)?.concat();
    let mut told = Vec::new();
    for kernel in &plan.kernels {
        let outcome = explain::run(kernel, scenario.to_string(), plan.contract);
        // What the other kernels have shown is not to be lost with it.
        let outcome = outcome.unwrap_or_else(|error| Outcome {
            explained: None,
            trouble: Some(error.to_string()),
            kernel_log: String::new(),
        });
        told.push(Told::new(kernel, outcome));
    }
    for (kernel, told) in plan.kernels.iter().zip(&told) {
        if let Some(why) = &told.unseen {
            let name = &kernel.name;
            note(format_args!("{name}: the packets could not be seen: {why}"));
        }
    }
    let files = files(&scenario, &plan, &outcomes, &told, &output);
    let rows: Vec<Row<'_>> = (plan.kernels.iter().zip(&outcomes))
        .map(|(kernel, outcome)| {
            let of = (&args.file, &scenario);
            Row::new(of, &kernel.name, plan.contract, outcome)
        })
        .collect();
    if let Err(error) = folder.fill(&files) {
        // What took long is told all the same.
        let took_s = start.elapsed().as_secs_f64();
        note(human(&rows, took_s).trim_end());
        return Err(unwritten(error));
    }
    let written: Vec<&String> = files.iter().map(|(name, _)| name).collect();
    match args.format {
        Format::Human => {
            let mut text = human(&rows, start.elapsed().as_secs_f64());
            text += &format!("\nwritten to {}:\n", output.display());
            let line = |name: &&String| format!("    {}\n", output.join(name).display());
            text += &written.iter().map(line).collect::<String>();
            print(&text)?;
        }
        Format::Json => {
            let line = |row: &Row<'_>| {
                let mut object = row.json();
                object["output"] = json!(output);
                object["files"] = json!(written);
                format!("{object}\n")
            };
            print(&rows.iter().map(line).collect::<String>())?;
        }
    }
    // Where only the run with its packets failed, or they are missing, something is wrong
    // with us.
    let failed = |it: &Told| it.run.is_none() || it.unseen.is_some();
    match told.iter().any(failed) && status(&rows) == Status::Held {
        true => Ok(Status::Internal),
        false => Ok(status(&rows)),
    }
}

/// Where the explanation of a file goes if nothing is said.
fn default(file: &Path) -> PathBuf {
    Path::new("explained").join(file.file_stem().unwrap_or(file.as_os_str()))
}

fn unwritten(error: Error) -> Failure {
    Failure::new(Status::Missing, anyhow!(error).context("--output"))
}

/// Every file that there may be.
fn names(kernels: &[KernelName]) -> Vec<String> {
    let packets = kernels.iter().flat_map(|kernel| {
        let name = |(end, _)| packets_name(kernel, end);
        At::NAMED.map(name)
    });
    let others = [SCENARIO, REPORT, TIMELINE, PROGRAM].map(String::from);
    others.into_iter().chain(packets).collect()
}

fn packets_name(kernel: &KernelName, end: &str) -> String {
    format!("{}-{end}.pcap", finding::file_name(&kernel.to_string()))
}

/// What came of the run with its packets on one kernel.
struct Told {
    run: Option<Run>,
    /// Why its packets were not seen, if there are any.
    unseen: Option<String>,
    trouble: Option<String>,
    kernel_log: String,
}

impl Told {
    fn new(kernel: &Kernel, outcome: Outcome) -> Told {
        let mut unseen = None;
        let run = |explained: Explained| Run {
            kernel: kernel.name.to_string(),
            history: explained.history,
            violations: explained.violations,
            capture: explained
                .packets
                .and_then(|it| it.map_err(|why| unseen = Some(why)).ok()),
        };
        Told {
            run: outcome.explained.map(run),
            unseen,
            trouble: outcome.trouble,
            kernel_log: outcome.kernel_log,
        }
    }
}

/// All files, by name.
fn files(
    scenario: &Scenario,
    plan: &Plan,
    outcomes: &[replay::Outcome],
    told: &[Told],
    output: &Path,
) -> Vec<(String, Vec<u8>)> {
    let runs: Vec<Run> = told.iter().filter_map(|it| it.run.clone()).collect();
    let mut files = vec![
        (SCENARIO.to_string(), scenario.to_string().into_bytes()),
        (
            TIMELINE.to_string(),
            timeline::page(scenario, &runs).into_bytes(),
        ),
    ];
    let program = match program::source(scenario) {
        Ok(text) => {
            files.push((PROGRAM.to_string(), text.into_bytes()));
            Ok(PROGRAM)
        }
        Err(not) => Err(not.to_string()),
    };
    let mut packets = Vec::new();
    for (kernel, told) in plan.kernels.iter().zip(told) {
        let name = &kernel.name;
        let Some(run) = &told.run else {
            packets.push(format!("{name}: none, since it did not live to tell"));
            continue;
        };
        let Some(capture) = &run.capture else {
            let family = scenario.setup.socket.family;
            packets.push(match &told.unseen {
                Some(why) => format!("{name}: none, since they could not be seen: {why}"),
                None => format!("{name}: none, since {family} sends no packets over a link"),
            });
            continue;
        };
        for (end, at) in At::NAMED {
            let file = packets_name(name, end);
            packets.push(format!("`{file}`: as seen at the {end}'s end of the link"));
            files.push((file, pcap::file(capture, at)));
        }
        if capture.lost > 0 {
            packets.push(format!("{name}: {} more were not kept", capture.lost));
        }
    }
    let path = output.join(SCENARIO).display().to_string();
    let on = plan.kernels.iter().zip(outcomes).zip(told);
    let report = markdown::report(&Case {
        scenario,
        contract: plan.contract,
        times: plan.times,
        kernels: on
            .map(|((kernel, outcome), told)| OnKernel {
                kernel,
                outcome,
                run: told.run.as_ref(),
                trouble: told.trouble.as_deref(),
                kernel_log: &told.kernel_log,
            })
            .collect(),
        file: &path,
        program: Some(program),
        packets,
    });
    files.push((REPORT.to_string(), report.into_bytes()));
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Contract;
    use crate::oracle::doctor::{self, Plan as Doctored};
    use crate::scenario::Op;

    #[test]
    fn packets_that_could_not_be_seen_are_missing_and_nothing_else_is() {
        let mut doctored = Doctored::new(4096);
        doctored.call(Op::Sendfile(doctor::range(0, 4096)), 1, 2);
        let kernel = Kernel {
            name: "6.12-stock".parse().unwrap(),
            machine: crate::kernel::Machine::Uml,
            image: "/nonexistent".into(),
            release: "6.12".into(),
            key: String::new(),
        };
        let told = Told::new(
            &kernel,
            Outcome {
                explained: Some(Explained {
                    history: doctored.history.clone(),
                    violations: Vec::new(),
                    packets: Some(Err("remove a hook: no such device".into())),
                }),
                trouble: None,
                kernel_log: String::new(),
            },
        );
        let plan = Plan {
            kernels: vec![kernel],
            texts: Vec::new(),
            times: 1,
            contract: Contract::Stable,
            jobs: 1,
        };
        let outcome = replay::Outcome {
            runs: 1,
            violated: Vec::new(),
            message: None,
            digests: None,
            counters: Vec::new(),
            failure: None,
            skipped: None,
        };
        let output = Path::new("explained/race");
        let files = files(&doctored.scenario, &plan, &[outcome], &[told], output);
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [SCENARIO, TIMELINE, PROGRAM, REPORT]);
        let text = |name| {
            let (_, bytes) = files.iter().find(|(it, _)| it == name).unwrap();
            String::from_utf8(bytes.clone()).unwrap()
        };
        let (report, page) = (text(REPORT), text(TIMELINE));
        let why = "6.12-stock: none, since they could not be seen: remove a hook: no such device";
        assert!(report.contains(why), "{report}");
        assert!(report.contains("1: sendfile 0+4096  returned"), "{report}");
        assert!(page.contains("no packets captured"), "{page}");
    }
}
