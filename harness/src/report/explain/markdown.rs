//! A bug report: what a maintainer has to know, in one file of Markdown.

use std::fmt::Write as _;

use super::promise::{self, Promise};
use super::{Run, timeline};
use crate::campaign::replay::Outcome;
use crate::history::Call;
use crate::kernel::Kernel;
use crate::oracle::{Contract, Property, Violation, name_errno};
use crate::report::shell;
use crate::scenario::{Range, Scenario};

/// More lines than this no timeline in words has.
const MOST_LINES: usize = 120;
/// So much of a kernel's log tells what took it down.
const LOG_LINES: usize = 60;

/// A scenario, and what came of it.
#[derive(Debug)]
pub struct Case<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What the kernels were held to.
    pub contract: Contract,
    /// How often each was asked to run it.
    pub times: u32,
    /// By kernel.
    pub kernels: Vec<OnKernel<'a>>,
    /// The path of the scenario's file beside the report.
    pub file: &'a str,
    /// The program in C, or why there is none; `None`: nobody asked.
    pub program: Option<Result<&'a str, String>>,
    /// The files that hold packets, and why other kernels have none.
    pub packets: Vec<String>,
}

/// What came of it on one kernel.
#[derive(Debug)]
pub struct OnKernel<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Of all its runs.
    pub outcome: &'a Outcome,
    /// The one that is told in detail; `None`: the kernel did not live to tell.
    pub run: Option<&'a Run>,
    /// What went wrong apart from that.
    pub trouble: Option<&'a str>,
    /// What the kernel said.
    pub kernel_log: &'a str,
}

/// The report.
pub fn report(case: &Case<'_>) -> String {
    let mut text = format!("# {}\n\n", title(case));
    if !case.scenario.header.is_empty() {
        let _ = writeln!(text, "{}\n", case.scenario.header.trim_end());
    }
    let _ = writeln!(text, "{}\n", summary(case));
    for on in &case.kernels {
        text.push_str(&broken(case, on));
    }
    text.push_str(&reproducer(case));
    text.push_str("## Timeline\n\n");
    text.push_str(
        "In virtual time: computing takes none, and a time below zero is before the connection \
         was made. `timeline.html` shows the same as a picture.\n\n",
    );
    for on in &case.kernels {
        let Some(run) = on.run else { continue };
        let words = timeline::text(case.scenario, run, MOST_LINES);
        let _ = writeln!(text, "### {}\n\n{}", on.kernel.name, fenced(&words));
    }
    if !case.packets.is_empty() {
        text.push_str("## Packets\n\n");
        for line in &case.packets {
            let _ = writeln!(text, "* {line}");
        }
    }
    text.trim_end().to_string() + "\n"
}

/// The properties that a kernel broke, in any run.
fn properties(on: &OnKernel<'_>) -> Vec<Property> {
    let told = on.run.iter().flat_map(|run| &run.violations);
    let counted = on.outcome.violated.iter().map(|it| it.0);
    let mut all: Vec<Property> = told.map(|it| it.property).chain(counted).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn title(case: &Case<'_>) -> String {
    let mut broken = case.kernels.iter().filter_map(|on| {
        let names: Vec<String> = properties(on).iter().map(Property::to_string).collect();
        (!names.is_empty()).then(|| format!("{} violates {}", on.kernel.name, names.join(", ")))
    });
    let first = broken.next();
    first.unwrap_or_else(|| "Nothing is violated".to_string())
}

fn summary(case: &Case<'_>) -> String {
    let headings = ["kernel", "release", "verdict", "runs"];
    let mut rows = format!("| {} |\n|{}\n", headings.join(" | "), " --- |".repeat(4));
    for on in &case.kernels {
        let broken = properties(on);
        let verdict = match (&on.outcome.failure, &broken[..]) {
            (Some(_), []) => "could not be run".to_string(),
            (None, []) => "holds".to_string(),
            (_, broken) => {
                let names: Vec<String> = broken.iter().map(|it| format!("**{it}**")).collect();
                format!("violates {}", names.join(", "))
            }
        };
        let seen = |it: &Property| format!("{} of {}", on.outcome.times(*it), on.outcome.runs);
        let runs = match broken.first() {
            Some(property) => seen(property),
            None => format!("0 of {}", on.outcome.runs),
        };
        let cells = [
            on.kernel.name.to_string(),
            on.kernel.release.clone(),
            verdict,
            runs,
        ];
        let _ = writeln!(
            rows,
            "| {} |",
            cells.map(|it| it.replace('|', "\\|")).join(" | ")
        );
    }
    let promises = match case.contract {
        Contract::Documented => "what the manual pages promise",
        Contract::Stable => {
            "what the manual pages promise, and that a write after the return of a send never shows"
        }
    };
    format!(
        "{rows}\nThe kernels are held to the contract `{}`: {promises}. *Runs*: in how many of all \
         runs it was violated.",
        case.contract
    )
}

fn broken(case: &Case<'_>, on: &OnKernel<'_>) -> String {
    let mut text = String::new();
    let name = &on.kernel.name;
    for property in properties(on) {
        let _ = writeln!(text, "## {name}: {property}\n");
        text.push_str(&promised(promise::of(
            property,
            case.scenario.setup.socket.family,
        )));
        let mut violations = on.run.iter().flat_map(|run| &run.violations);
        match (violations.find(|it| it.property == property), on.run) {
            (Some(violation), Some(run)) => text.push_str(&told(case.scenario, run, violation)),
            _ => {
                // Of another run, or of a kernel that went down.
                let message = on.outcome.message.as_deref();
                text.push_str(&fenced(
                    message.unwrap_or("The run told here does not show it."),
                ));
                text.push('\n');
            }
        }
    }
    if let Some(failure) = &on.outcome.failure {
        let _ = writeln!(text, "## {name}: not run\n\n{}", fenced(failure));
    }
    if let Some(trouble) = on.trouble {
        let _ = writeln!(text, "## {name}: what went wrong\n\n{}", fenced(trouble));
        let lines: Vec<&str> = on.kernel_log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        if !last.is_empty() {
            let log = fenced(&last.join("\n"));
            let _ = writeln!(text, "The last lines of the kernel's log:\n\n{log}");
        }
    }
    text
}

fn promised(promise: Promise) -> String {
    let quote = match promise.quote {
        Some(quote) => format!("> {quote}\n>\n> {}\n\n", promise.source),
        None => String::new(),
    };
    format!("{quote}{}\n\n", promise.why)
}

/// What is wrong, and which calls have to do with it.
fn told(scenario: &Scenario, run: &Run, violation: &Violation) -> String {
    let mut text = fenced(&violation.message);
    text.push('\n');
    let call = |step: usize| match (run.history.call(step), scenario.steps.get(step)) {
        (Some(call), Some(step)) => format!("`{step}`, {}", times(call)),
        (None, Some(step)) => format!("`{step}`"),
        _ => String::new(),
    };
    if let Some(step) = violation.step {
        let _ = writeln!(text, "* The call: operation {}, {}", step + 1, call(step));
    }
    if let Some(write) = violation.torn_by {
        let _ = writeln!(text, "* Torn by: operation {}, {}", write + 1, call(write));
    }
    if let Some(ns) = violation.after_return_ns {
        let after = match ns {
            0 => "after the return of the send, at the same virtual time".to_string(),
            ns => format!("{} after the return of the send", timeline::time(ns)),
        };
        let _ = writeln!(text, "* That was {after}");
    }
    let range = |range: Range| format!("{}+{} (from {:#x})", range.offset, range.len, range.offset);
    if let (Some(offset), Some(file)) = (violation.stream_offset, violation.file_range) {
        let len = file.len;
        let _ = writeln!(
            text,
            "* The bytes: {offset}+{len} of the stream, which are {} of the file",
            range(file)
        );
    }
    text + "\n"
}

fn times(call: &Call) -> String {
    use crate::history::Outcome;
    let outcome = match call.outcome {
        Outcome::Returned(value) => format!("returned {value}"),
        Outcome::Failed(errno) => format!("failed: {}", name_errno(errno)),
        Outcome::Skipped => "had nothing to do".to_string(),
        Outcome::Killed => "was killed".to_string(),
        Outcome::Pending => "had not returned".to_string(),
    };
    let [entry, exit] = [call.entry, call.exit].map(|it| timeline::time(it.time_ns));
    format!("entered at {entry}, {outcome} at {exit}")
}

fn reproducer(case: &Case<'_>) -> String {
    let mut text = String::from("## Reproducer\n\n");
    let mut bare = case.scenario.clone();
    bare.header.clear();
    let _ = writeln!(text, "{}", fenced(&bare.to_string()));
    let mut kernels = String::new();
    for on in &case.kernels {
        let _ = write!(
            kernels,
            " --kernel {}",
            shell::quote(&on.kernel.name.to_string())
        );
    }
    let contract = match case.contract {
        Contract::Stable => String::new(),
        contract => format!(" --contract {contract}"),
    };
    let command = format!(
        "inflight replay {}{kernels}{contract} --times {}",
        shell::quote(case.file),
        case.times
    );
    let _ = writeln!(text, "Replays exactly:\n\n{}", fenced(&command));
    match &case.program {
        Some(Ok(file)) => {
            let _ = writeln!(
                text,
                "`{file}` does the same without this suite, as root, on any kernel with veth and \
                 netem: `gcc {file} && ./a.out`. It exits with 1 where it shows.\n"
            );
        }
        Some(Err(why)) => {
            let _ = writeln!(text, "There is no program in C: {why}.\n");
        }
        None => {}
    }
    text
}

/// A block in which nothing of Markdown has a meaning.
fn fenced(text: &str) -> String {
    let longest = text.split(|it| it != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

#[cfg(test)]
mod tests;
