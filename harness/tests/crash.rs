//! A kernel that goes down takes no finding with it. The kernels here are shell
//! scripts that talk like one: what a guest tells, then what a panic looks like.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use inflight::campaign::check::{self, News, Outcome, Plan};
use inflight::campaign::job::{Event, Finding};
use inflight::campaign::{minimize, replay};
use inflight::kernel::{Kernel, KernelName};
use inflight::minimize::Stopped;
use inflight::oracle::{Contract, Property};
use inflight::process::{interrupted, watch_for_interrupts};
use inflight::scenario::{strategy, text};
use tempfile::TempDir;

const SEED: u64 = 2008;

/// A kernel whose guest does what `script` says, with `tell` to tell an event.
fn kernel(dir: &TempDir, script: &str) -> Kernel {
    let image = dir.path().join("linux");
    let prelude = r#"#!/bin/sh
echo "Linux version 0.0"
for word in "$@"; do
    case $word in
        con1=null,fd:*) out=${word##*:} ;;
        con3=null,fd:*) control=${word##*:} ;;
    esac
done
tell() { printf '%s\n' "$1" >"/proc/self/fd/$out"; }
panic() { echo "Kernel panic - not syncing: $1"; kill -ABRT $$; }
"#;
    fs::write(&image, format!("{prelude}{script}\n")).unwrap();
    fs::set_permissions(&image, fs::Permissions::from_mode(0o755)).unwrap();
    Kernel {
        name: "6.12-patched".parse::<KernelName>().unwrap(),
        machine: inflight::kernel::Machine::Uml,
        image,
        release: "0.0".into(),
        key: "none".into(),
    }
}

fn run(kernel: Kernel) -> (Outcome, Vec<u64>) {
    let plan = Plan {
        kernels: vec![kernel],
        contract: Contract::Stable,
        seed: SEED,
        first: 0,
        stride: 1,
        cases: 10,
        jobs: 1,
        time: None,
        shrink_runs: 0,
    };
    let mut saved = Vec::new();
    let mut outcomes = check::run(&plan, |news| {
        if let News::Finding(_, finding) = news {
            saved.push(finding.index);
        }
    })
    .unwrap();
    (outcomes.remove(0), saved)
}

#[test]
fn a_panic_is_a_finding_with_its_scenario_and_the_kernels_last_lines() {
    let dir = tempfile::tempdir().unwrap();
    let script = "tell '@0 0'; tell '@1 5000'; tell '@2 9000'; panic 'Fatal exception'";
    let (outcome, saved) = run(kernel(&dir, script));
    let finding = outcome.finding.expect("the panic is found");
    assert_eq!(outcome.failures, Vec::<String>::new());
    assert_eq!((finding.index, finding.property), (2, Property::Splat));
    assert!(
        finding.message.contains("Fatal exception"),
        "{}",
        finding.message
    );
    assert_eq!(finding.original, strategy::case(SEED, 2).to_string());
    // This kernel panics whatever it is given, so it does so again on its own.
    assert_eq!((finding.seen, finding.of), (2, 2));
    assert_eq!(outcome.scenarios, 3);
    assert_eq!(
        saved,
        [2, 2],
        "saved when it was seen, and again in the end"
    );
}

#[test]
fn a_panic_that_needs_more_than_its_scenario_is_kept_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    // The second boot, which runs the scenario alone, ends well.
    let script =
        "if mkdir \"$(dirname \"$0\")/booted\" 2>/dev/null; then tell '@0 0'; panic 'once'; fi
        echo 'exit 0' >\"/proc/self/fd/$control\"";
    let (outcome, _) = run(kernel(&dir, script));
    let finding = outcome.finding.expect("the panic is found");
    assert_eq!((finding.seen, finding.of), (1, 2));
    assert_eq!(finding.minimized, finding.original);
}

#[test]
fn a_kernel_that_never_comes_to_a_case_says_nothing_about_one() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, saved) = run(kernel(&dir, "panic 'No init found'"));
    assert!(outcome.finding.is_none() && saved.is_empty(), "{outcome:?}");
    assert!(outcome.failures[0].contains("No init found"), "{outcome:?}");
}

#[test]
fn a_worker_that_ends_early_is_a_failure_and_no_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let script = "tell '@0 0'; tell 'nonsense'; echo 'exit 0' >\"/proc/self/fd/$control\"";
    let (outcome, _) = run(kernel(&dir, script));
    assert!(outcome.finding.is_none(), "{outcome:?}");
    assert!(outcome.failures[0].contains("nonsense"), "{outcome:?}");
}

fn smaller(dir: &TempDir, script: &str, time: Option<Duration>) -> (minimize::Outcome, u32) {
    let large = "sendfile 0+1\npwrite 0+1\nwait 1ms\n";
    let plan = minimize::Plan {
        kernels: vec![kernel(dir, script)],
        items: vec![minimize::Item {
            kernel: 0,
            text: large.into(),
            property: None,
        }],
        contract: Contract::Stable,
        shrink_runs: 50,
        time,
        jobs: 2,
    };
    let heard = Cell::new(0);
    let interrupted = || time.is_none() && heard.get() == 2;
    let mut outcomes =
        minimize::run(&plan, &interrupted, &mut |_, _| heard.set(heard.get() + 1)).unwrap();
    (outcomes.remove(0), heard.get())
}

/// Tells of a finding, and then of a smaller one.
fn two_findings() -> String {
    let scenario = |text: &str| text::parse("t", text).unwrap();
    let suspect = |text: &str| {
        let scenario = scenario(text);
        Finding::suspect(0, Property::Counts, "torn".into(), &scenario)
    };
    let [large, small] = ["sendfile 0+1\npwrite 0+1\nwait 1ms\n", "sendfile 0+1\n"].map(suspect);
    let events = [Event::Suspect(large), Event::Smaller(small)];
    events.map(|event| format!("tell '{event}'\n")).concat()
}

#[test]
fn what_is_interrupted_keeps_the_smallest_so_far() {
    let dir = tempfile::tempdir().unwrap();
    let script = two_findings() + "exec sleep 1000";
    let (outcome, heard) = smaller(&dir, &script, None);
    let finding = outcome.finding.expect("the finding is kept");
    assert_eq!((finding.minimized.as_str(), heard), ("sendfile 0+1\n", 2));
    assert_eq!(finding.stopped, Some(Stopped::Interrupted));
    assert_eq!(outcome.failure, None);
    let (outcome, _) = smaller(&dir, &script, Some(Duration::from_secs(2)));
    assert_eq!(outcome.finding.unwrap().stopped, Some(Stopped::Budget));
}

#[test]
fn what_is_stopped_before_it_is_judged_has_not_held() {
    let dir = tempfile::tempdir().unwrap();
    let script = "tell '@0 0'; exec sleep 1000";
    let (outcome, _) = smaller(&dir, script, Some(Duration::from_secs(2)));
    assert_eq!(outcome, minimize::Outcome::default());
}

#[test]
fn a_panic_that_there_was_no_time_to_repeat_was_seen_once() {
    let dir = tempfile::tempdir().unwrap();
    let script = "tell '@0 0'
        if mkdir \"$(dirname \"$0\")/booted\" 2>/dev/null; then panic 'once'; fi
        exec sleep 1000";
    let (outcome, _) = smaller(&dir, script, Some(Duration::from_secs(4)));
    let finding = outcome.finding.expect("the panic is found");
    assert_eq!((finding.seen, finding.of), (1, 1));
    assert_eq!(finding.stopped, Some(Stopped::Budget));
}

#[test]
fn a_kernel_that_goes_down_over_a_smaller_scenario_leaves_the_finding() {
    let dir = tempfile::tempdir().unwrap();
    let script = two_findings() + "panic 'Fatal exception'";
    let (outcome, _) = smaller(&dir, &script, Some(Duration::from_secs(600)));
    assert_eq!(outcome.finding.unwrap().minimized, "sendfile 0+1\n");
    let failure = outcome.failure.unwrap();
    assert!(failure.contains("while it was made smaller"), "{failure}");
}

#[test]
fn a_scenario_that_takes_the_kernel_down_is_made_smaller_by_boots() {
    let dir = tempfile::tempdir().unwrap();
    // Whatever has no pwrite ends well.
    let script = "for word in \"$@\"; do
            case $word in INFLIGHT_JOB=*) job=$(echo \"${word#*=}\" | tr -d '\"') ;; esac
        done
        tell '@0 0'
        if grep -q pwrite \"$job\"; then panic 'Fatal exception'; fi
        echo 'exit 0' >\"/proc/self/fd/$control\"";
    let (outcome, _) = smaller(&dir, script, None);
    let finding = outcome.finding.expect("the panic is found");
    assert_eq!(finding.property, Property::Splat);
    assert_eq!(finding.minimized, "pwrite 0+1\n");
    assert_eq!((finding.seen, finding.of), (2, 2));
    assert_eq!(finding.stopped, Some(Stopped::Minimal));
}

#[test]
fn an_interrupt_is_told_and_ends_nothing() {
    watch_for_interrupts().unwrap();
    assert!(!interrupted());
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(interrupted());
}

#[test]
fn a_replay_goes_on_with_the_next_scenario_after_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let plan = replay::Plan {
        kernels: vec![kernel(&dir, "tell '@0 0'; panic 'Fatal exception'")],
        texts: vec!["sendfile 0+1\n".into(), "sendfile 0+2\n".into()],
        times: 1,
        contract: Contract::Stable,
        jobs: 1,
    };
    let outcomes = replay::run(&plan).unwrap();
    for outcome in &outcomes[0] {
        assert_eq!(outcome.violated, [(Property::Splat, 1)], "{outcome:?}");
        assert!(
            outcome
                .message
                .as_ref()
                .unwrap()
                .contains("Fatal exception")
        );
    }
}

#[test]
fn a_replay_whose_worker_tells_nothing_ends() {
    let dir = tempfile::tempdir().unwrap();
    let plan = replay::Plan {
        kernels: vec![kernel(&dir, "echo 'exit 0' >\"/proc/self/fd/$control\"")],
        texts: vec!["sendfile 0+1\n".into()],
        times: 1,
        contract: Contract::Stable,
        jobs: 1,
    };
    let outcomes = replay::run(&plan).unwrap();
    assert!(outcomes[0][0].failure.is_some(), "{outcomes:?}");
    assert!(Path::new(&plan.kernels[0].image).exists());
}
