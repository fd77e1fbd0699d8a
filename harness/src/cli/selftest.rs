//! `inflight kernel selftest`: the kernel's own tests inside kernels.

use std::thread::available_parallelism;

use serde_json::json;

use super::format::{Format, print};
use super::{Failure, Status, options};
use crate::kernel::{self, KernelName};
use crate::report::table::Table;
use crate::selftest::judge::{Mark, judge, reference_of};
use crate::selftest::run::{self, Outcome};
use crate::selftest::suite::{self, TESTS, Test};
use crate::selftest::tap::Verdict;

/// Run tests of the kernel's own source inside kernels, and compare.
///
/// splice_stable, which comes with the series, must fail on a stock kernel and pass
/// on a patched one; every other test must end alike on both, case by case.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run on this kernel; may be given several times [default: 6.12-stock, 6.12-patched]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<KernelName>,
    /// Run so many guests at a time [default: the CPUs that this process may use]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Print for people, or as json with one object a test and kernel
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Tests to run, e.g. splice_stable, tls [default: all that the source has]
    #[arg(value_name = "TEST", value_parser = suite::find)]
    tests: Vec<&'static Test>,
}

/// One test on one kernel.
struct Row<'a> {
    test: &'static Test,
    kernel: &'a KernelName,
    outcome: &'a Outcome,
    mark: Mark,
}

/// # Errors
/// A kernel or test cannot be built, or no guest is to be had.
pub fn run(args: Args) -> Result<Status, Failure> {
    let mut names: Vec<KernelName> = Vec::new();
    for name in args.kernels {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names = KernelName::usual();
    }
    let all_meant = args.tests.is_empty();
    let tests: Vec<&'static Test> = match all_meant {
        true => TESTS.iter().collect(),
        false => args.tests,
    };
    let kernels = options::ensure(&names)?;
    let jobs = args.jobs.map_or_else(
        || available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let progress = kernel::progress::stderr();
    let outcomes = run::run::<Failure>(&kernels, &tests, jobs, &*progress)?;
    drop(progress);

    let mut rows = Vec::new();
    for (index, test) in tests.iter().enumerate() {
        let of = |name: &KernelName| {
            let at = names.iter().position(|known| known == name);
            at.map(|at| &outcomes[at][index])
        };
        // A test of another time says nothing, unless somebody asked for it.
        let absent = outcomes.iter().all(|row| row[index] == Outcome::Absent);
        if absent && all_meant && test.name != suite::OURS {
            continue;
        }
        for (kernel, outcomes) in names.iter().zip(&outcomes) {
            let outcome = &outcomes[index];
            let reference = reference_of(kernel, &names).and_then(of);
            rows.push(Row {
                test,
                kernel,
                outcome,
                mark: judge(test.name, kernel, outcome, reference),
            });
        }
    }
    match args.format {
        Format::Human => print(&human(&names, &rows))?,
        Format::Json => {
            let lines: String = rows.iter().map(|row| row.json() + "\n").collect();
            print(&lines)?;
        }
    }
    Ok(status(&rows))
}

fn status(rows: &[Row<'_>]) -> Status {
    let ran = |row: &Row<'_>| matches!(row.outcome, Outcome::Ran(_));
    if rows.iter().any(|row| matches!(row.mark, Mark::Wrong(_))) {
        Status::Violated
    } else if rows.iter().any(ran) {
        Status::Held
    } else {
        Status::NothingRan
    }
}

impl Row<'_> {
    fn count(&self, verdict: Verdict) -> usize {
        match self.outcome {
            Outcome::Ran(report) => report.count(verdict),
            _ => 0,
        }
    }

    /// Why there is no result.
    fn not_run(&self) -> Option<String> {
        match self.outcome {
            Outcome::Ran(_) => None,
            Outcome::Absent => Some("this kernel's source has no such test".to_owned()),
            Outcome::NotBuilt(why) => Some(format!("does not compile: {why}")),
        }
    }

    fn cell(&self) -> String {
        match self.outcome {
            Outcome::Absent => "-".to_owned(),
            Outcome::NotBuilt(_) => "not built".to_owned(),
            Outcome::Ran(_) => {
                let parts = [
                    (Verdict::Pass, "pass"),
                    (Verdict::Fail, "fail"),
                    (Verdict::Skip, "skip"),
                ];
                let parts = parts.map(|(verdict, word)| (self.count(verdict), word));
                let parts = parts.iter().filter(|(count, _)| *count > 0);
                let parts: Vec<_> = parts
                    .map(|(count, word)| format!("{count} {word}"))
                    .collect();
                parts.join(", ")
            }
        }
    }

    fn failed(&self) -> Vec<&str> {
        match self.outcome {
            Outcome::Ran(report) => {
                let cases = report.cases.iter();
                let failed = cases.filter(|case| case.verdict == Verdict::Fail);
                failed.map(|case| case.name.as_str()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn json(&self) -> String {
        let wrong = match &self.mark {
            Mark::Wrong(why) => why.as_slice(),
            _ => &[],
        };
        json!({
            "test": self.test.name,
            "kernel": self.kernel.to_string(),
            "passed": self.count(Verdict::Pass),
            "failed": self.count(Verdict::Fail),
            "skipped": self.count(Verdict::Skip),
            "failures": self.failed(),
            "not_run": self.not_run(),
            "verdict": self.mark.word().to_lowercase(),
            "wrong": wrong,
        })
        .to_string()
    }
}

/// A line a test, and below what is to be said about some of them.
fn human(names: &[KernelName], rows: &[Row<'_>]) -> String {
    let mut heading = vec!["test".to_owned()];
    heading.extend(names.iter().map(ToString::to_string));
    heading.push("verdict".to_owned());
    let mut lines = vec![heading];
    let mut remarks: Vec<String> = Vec::new();
    for rows in rows.chunks(names.len().max(1)) {
        let mut line = vec![rows[0].test.name.to_owned()];
        line.extend(rows.iter().map(Row::cell));
        line.push(verdict(rows).to_owned());
        lines.push(line);
        for row in rows {
            if row.outcome != &Outcome::Absent
                && let Some(why) = row.not_run()
            {
                remarks.push(format!("{} on {} {why}", row.test.name, row.kernel));
            }
            if let (Mark::Wrong(why), Outcome::Ran(_) | Outcome::Absent) = (&row.mark, row.outcome)
            {
                let of = |why| format!("{} on {}: {why}", row.test.name, row.kernel);
                remarks.extend(why.iter().map(of));
            }
        }
    }
    let mut text = Table::of(lines).to_string();
    if !remarks.is_empty() {
        text += &format!("\n{}\n", remarks.join("\n"));
    }
    text
}

/// The one word for a test on all kernels: the worst, or the one that says most.
fn verdict(rows: &[Row<'_>]) -> &'static str {
    let rank = |mark: &Mark| match mark {
        Mark::Wrong(_) => 4,
        Mark::AsExpected => 3,
        Mark::Same => 2,
        Mark::Reference => 1,
        Mark::NotRun => 0,
    };
    let worst = rows.iter().max_by_key(|row| rank(&row.mark));
    worst.map_or("", |row| row.mark.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::tap;

    fn ran(text: &str) -> Outcome {
        Outcome::Ran(tap::read("x", text, None))
    }

    fn row<'a>(test: &str, kernel: &'a KernelName, outcome: &'a Outcome) -> Row<'a> {
        Row {
            test: suite::find(test).unwrap(),
            kernel,
            outcome,
            mark: judge(test, kernel, outcome, None),
        }
    }

    #[test]
    fn the_table_has_a_line_a_test_and_says_what_is_wrong() {
        let names = ["6.12-stock", "6.12-patched"].map(|name| name.parse().unwrap());
        let (good, bad) = (
            ran("ok 1 a\nok 2 b # SKIP no\n"),
            ran("ok 1 a\nnot ok 2 b\n"),
        );
        let broken = Outcome::NotBuilt("tls.c:1: error: oops".into());
        let rows = [
            row("splice_stable", &names[0], &bad),
            row("splice_stable", &names[1], &good),
            row("tcp_inq", &names[0], &bad),
            row("tcp_inq", &names[1], &bad),
            row("tls", &names[0], &broken),
            row("tls", &names[1], &Outcome::Absent),
        ];
        assert_eq!(
            human(&names, &rows),
            "\
test           6.12-stock      6.12-patched    verdict
splice_stable  1 pass, 1 fail  1 pass, 1 skip  as expected
tcp_inq        1 pass, 1 fail  1 pass, 1 fail  WRONG
tls            not built       -               not run

tcp_inq on 6.12-patched: fails 1: b, and there is no stock kernel of the version to compare with
tls on 6.12-stock does not compile: tls.c:1: error: oops
"
        );
        assert_eq!(status(&rows), Status::Violated);
        assert_eq!(status(&rows[..2]), Status::Held);
        assert_eq!(status(&rows[4..]), Status::NothingRan);
    }

    #[test]
    fn a_line_of_json_has_every_field() {
        let name = "6.12-stock".parse().unwrap();
        let bad = ran("ok 1 a\nnot ok 2 b\n");
        assert_eq!(
            row("splice_stable", &name, &bad).json(),
            r#"{"failed":1,"failures":["b"],"kernel":"6.12-stock","not_run":null,"passed":1,"skipped":0,"test":"splice_stable","verdict":"as expected","wrong":[]}"#
        );
        let absent = row("tls", &name, &Outcome::Absent).json();
        assert!(absent.contains(r#""not_run":"this kernel's source has no such test""#));
    }
}
