//! Reports of histories written by hand.

use super::*;
use crate::campaign::replay::Outcome;
use crate::oracle::doctor::{Plan, range};
use crate::report::explain::doctored;
use crate::scenario::Op;

fn kernel(name: &str) -> Kernel {
    Kernel {
        name: name.parse().unwrap(),
        machine: crate::kernel::Machine::Uml,
        image: "/nonexistent".into(),
        release: "6.12.117".into(),
        key: String::new(),
    }
}

fn outcome(violated: Vec<(Property, u32)>) -> Outcome {
    Outcome {
        runs: 100,
        violated,
        message: Some("the kernel panicked while it ran\nKernel panic - not syncing".into()),
        digests: Some(1),
        counters: Vec::new(),
        failure: None,
        skipped: None,
    }
}

/// [`doctored::torn`], with a header that Markdown could take for its own.
fn torn() -> Plan {
    let mut plan = doctored::torn();
    plan.scenario.header = "The race.\n\nWith `ticks` and\n````\nfences.".into();
    plan
}

fn run(plan: &Plan) -> Run {
    doctored::run(plan, None)
}

fn case<'a>(scenario: &'a Scenario, kernels: Vec<OnKernel<'a>>) -> Case<'a> {
    Case {
        scenario,
        contract: Contract::Stable,
        times: 100,
        kernels,
        file: "my folder/scenario.scn",
        program: None,
        packets: vec!["none, since unix sends no packets over a link".into()],
    }
}

fn contains_all(report: &str, words: &[&str]) {
    for words in words {
        assert!(report.contains(words), "{words}:\n{report}");
    }
}

#[test]
fn a_report_says_what_was_torn_by_what_and_how_to_see_it() {
    let (plan, kernel) = (torn(), kernel("6.12-stock"));
    let (run, outcome) = (run(&plan), outcome(vec![(Property::StableOnReturn, 93)]));
    let on = OnKernel {
        kernel: &kernel,
        outcome: &outcome,
        run: Some(&run),
        trouble: None,
        kernel_log: "not told: nothing went wrong",
    };
    let report = report(&case(&plan.scenario, vec![on]));
    contains_all(
        &report,
        &[
            "# 6.12-stock violates stable-on-return\n\nThe race.\n\nWith `ticks`",
            "| 6.12-stock | 6.12.117 | violates **stable-on-return** | 93 of 100 |",
            "contract `stable`",
            "> sendfile(2), NOTES",
            "callers must ensure the transferred portions",
            "* The call: operation 1, `sendfile 0+4096`, entered at 1.0 µs, returned 4096 at 2.0 µs",
            "* Torn by: operation 2, `mmap-write 1000+500`, entered at 7.0 µs",
            "* That was 5.0 µs after the return of the send",
            "* The bytes: 1000+500 of the stream, which are 1000+500 (from 0x3e8) of the file",
            "sendfile 0+4096\nmmap-write 1000+500\n```\n",
            "inflight replay 'my folder/scenario.scn' --kernel 6.12-stock --times 100\n",
            "TORN",
            "* none, since unix sends no packets over a link\n",
        ],
    );
    assert!(!report.contains("not told"), "{report}");
    assert!(!report.contains("program in C"), "{report}");
}

#[test]
fn a_kernel_that_went_down_is_reported_with_its_last_words() {
    let (plan, kernel) = (torn(), kernel("6.12-patched"));
    let outcome = outcome(vec![(Property::Splat, 1)]);
    let log: String = (0..200).map(|line| format!("line {line}\n")).collect();
    let on = OnKernel {
        kernel: &kernel,
        outcome: &outcome,
        run: None,
        trouble: Some("the kernel panicked while it ran"),
        kernel_log: &log,
    };
    let report = report(&case(&plan.scenario, vec![on]));
    contains_all(
        &report,
        &[
            "# 6.12-patched violates splat\n",
            "## 6.12-patched: splat\n",
            "Kernel panic - not syncing",
            "## 6.12-patched: what went wrong\n",
            "line 199\n",
            "line 140\n",
            "## Reproducer",
        ],
    );
    assert!(
        !report.contains("line 139\n") && !report.contains("> "),
        "{report}"
    );
}

#[test]
fn nothing_is_accused_where_everything_held() {
    let mut plan = Plan::new(4096);
    plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
    plan.receive(20, range(0, 4096), 0);
    let (kernel, run, mut outcome) = (kernel("6.12-stock"), run(&plan), outcome(Vec::new()));
    outcome.message = None;
    let on = |outcome| OnKernel {
        kernel: &kernel,
        outcome,
        run: Some(&run),
        trouble: None,
        kernel_log: "",
    };
    let mut case = case(&plan.scenario, vec![on(&outcome)]);
    case.contract = Contract::Documented;
    case.program = Some(Err("it needs io_uring".into()));
    let held = report(&case);
    contains_all(
        &held,
        &[
            "# Nothing is violated\n",
            "| 6.12-stock | 6.12.117 | holds | 0 of 100 |",
            " --contract documented --times 100\n",
            "There is no program in C: it needs io_uring.",
        ],
    );
    assert!(
        !held.contains("violates") && !held.contains("TORN"),
        "{held}"
    );
    let mut failed = outcome.clone();
    failed.failure = Some("no memory".into());
    case.kernels = vec![on(&failed)];
    case.program = Some(Ok("reproducer.c"));
    contains_all(
        &report(&case),
        &[
            "could not be run",
            "## 6.12-stock: not run",
            "no memory",
            "gcc reproducer.c",
        ],
    );
}

#[test]
fn a_fence_is_longer_than_any_in_it() {
    assert_eq!(fenced("a\n"), "```text\na\n```\n");
    assert_eq!(fenced("a ```` b"), "`````text\na ```` b\n`````\n");
}
