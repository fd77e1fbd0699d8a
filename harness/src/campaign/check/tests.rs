use super::*;
use crate::engine::{Limit, Outcome as Ran};

const SPLAT: &str = "[    9.000000] WARNING: CPU: 0 PID: 33 at net/core/stream.c:212 f+0x1/0x2\n";

fn plan() -> Plan {
    let kernel = Kernel {
        name: "6.12-patched".parse().unwrap(),
        machine: crate::kernel::Machine::Uml,
        release: "6.12".into(),
        image: "/nonexistent".into(),
        key: String::new(),
    };
    Plan {
        kernels: vec![kernel],
        contract: Contract::Stable,
        seed: 1,
        first: 0,
        stride: 1,
        cases: 100,
        jobs: 2,
        time: None,
        shrink_runs: 0,
    }
}

fn shard(at: u64, cases: u64) -> Shard {
    Shard {
        kernel: 0,
        first: 0,
        stride: 1,
        begun: None,
        heard: None,
        caught: None,
        at,
        highest: None,
        cases,
        skipped: 0,
        virtual_ns: 0,
        done: true,
    }
}

/// The time is over: of guests that went on nothing is told, of one that had stopped to
/// speak it is, unless what it had found before was what it was at.
#[test]
fn who_is_silent_when_the_time_is_over_hangs() {
    let told_of = |heard: Option<Duration>, caught: bool| {
        let plan = plan();
        let mut campaign = Campaign::new(&plan);
        let ago = |it| Instant::now().checked_sub(it);
        let running = Shard {
            heard: heard.and_then(ago),
            caught: caught.then(Instant::now),
            ..shard(7, 8)
        };
        campaign.running.insert(0, running);
        let mut told = 0;
        campaign.stop_all(&mut |_| told += 1);
        let finding = campaign.outcomes.remove(0).finding;
        assert_eq!(told, usize::from(finding.is_some()));
        finding.map(|it| (it.property, it.index))
    };
    let hangs = Some((Property::Liveness, 7));
    assert_eq!(told_of(Some(SILENT), false), hangs);
    assert_eq!(told_of(Some(SILENT), true), None);
    assert_eq!(told_of(Some(SILENT / 2), false), None);
    // It has not booted.
    assert_eq!(told_of(None, false), None);
}

fn ended(exit: Exit, kernel_log: &str) -> End {
    let kernel_log = kernel_log.to_string();
    End {
        outcome: Ok(Ran { exit, kernel_log }),
        stray: String::new(),
    }
}

/// What remains of a guest that ended so.
#[track_caller]
fn after(shard: &Shard, end: End) -> Outcome {
    let plan = plan();
    let mut campaign = Campaign::new(&plan);
    let mut told = 0;
    campaign.note_end(shard, end, &mut |_| told += 1);
    let outcome = campaign.outcomes.remove(0);
    assert_eq!(told, usize::from(outcome.finding.is_some()));
    outcome
}

fn found(outcome: &Outcome) -> (u64, Property) {
    let finding = outcome.finding.as_ref().expect("a finding");
    (finding.index, finding.property)
}

#[test]
fn a_case_that_runs_again_counts_once() {
    let mut shard = shard(0, 0);
    for index in [0, 1, 2, 1, 2, 3] {
        shard.begin(index);
        assert_eq!(shard.at, index);
    }
    assert_eq!(shard.cases, 4);
}

#[test]
fn a_guest_that_ends_well_says_nothing() {
    let outcome = after(&shard(7, 8), ended(Exit::Status(0), "Linux version 6.12\n"));
    assert!(outcome.finding.is_none() && outcome.failures.is_empty());
}

#[test]
fn a_crash_is_a_finding_of_the_case_that_ran() {
    let log = vec!["last words".to_string()];
    let why = Limit::Idle(Duration::from_secs(60));
    for (exit, property) in [
        (Exit::Panic { log: log.clone() }, Property::Splat),
        (Exit::Hung { why, log }, Property::Liveness),
    ] {
        let outcome = after(&shard(7, 8), ended(exit.clone(), ""));
        assert_eq!(found(&outcome), (7, property));
        let finding = outcome.finding.unwrap();
        assert!(finding.message.ends_with("while it ran\nlast words"));
        assert_eq!(finding.minimized, strategy::case(1, 7).to_string());

        // The case has a violation already, and something smaller may be to blame.
        let mut shrinking = shard(7, 8);
        shrinking.caught = Some(Instant::now());
        let finding = after(&shrinking, ended(exit.clone(), "")).finding.unwrap();
        assert!(finding.message.contains("made smaller"), "{finding:?}");

        let outcome = after(&shard(0, 0), ended(exit, ""));
        assert!(outcome.finding.is_none());
        assert!(outcome.failures[0].contains("before the first case"));
    }
}

#[test]
fn a_report_that_no_case_told_of_is_not_lost() {
    let outcome = after(&shard(99, 100), ended(Exit::Status(0), SPLAT));
    assert_eq!(found(&outcome), (99, Property::Splat));
    let finding = outcome.finding.unwrap();
    assert!(finding.message.contains("stream.c:212"), "{finding:?}");
    // One that was told of is not told twice.
    let mut told = shard(99, 100);
    told.caught = Some(Instant::now());
    assert!(
        after(&told, ended(Exit::Status(0), SPLAT))
            .finding
            .is_none()
    );
}

#[test]
fn a_worker_that_fails_is_no_finding() {
    let mut unfinished = shard(7, 8);
    unfinished.done = false;
    for (shard, exit) in [
        (unfinished, Exit::Status(0)),
        (shard(7, 8), Exit::Status(101)),
        (shard(7, 8), Exit::Signalled(9)),
    ] {
        let outcome = after(&shard, ended(exit, ""));
        assert!(outcome.finding.is_none());
        assert!(outcome.failures[0].contains("the worker ended"));
    }
}

#[test]
fn the_earliest_violation_counts_whichever_comes_first() {
    let plan = plan();
    let mut campaign = Campaign::new(&plan);
    let mut saved = Vec::new();
    let log = Vec::new();
    for (at, cases) in [(9, 5), (4, 3), (6, 4)] {
        let end = ended(Exit::Panic { log: log.clone() }, "");
        campaign.note_end(&shard(at, cases), end, &mut |news| {
            if let News::Finding(_, finding) = news {
                saved.push(finding.index);
            }
        });
    }
    assert_eq!(saved, [9, 4]);
    assert_eq!(found(&campaign.outcomes[0]).0, 4);
    // What lies behind it needs no guest; what lies before it does.
    assert!(campaign.is_settled_before(0, 5));
    assert!(!campaign.is_settled_before(0, 4));
}

#[test]
fn a_limit_beyond_all_time_is_none() {
    let plan = |time| Plan {
        time: Some(time),
        ..plan()
    };
    let remaining = |time| Campaign::new(&plan(time)).remaining();
    assert_eq!(remaining(Duration::from_secs(u64::MAX)), Duration::MAX);
    let hour = Duration::from_secs(3600);
    assert!(remaining(hour) <= hour);
}

#[test]
fn the_hosts_kernel_is_taken_for_the_one_that_it_is_most_like() {
    for (release, switch, name) in [
        ("6.18.44-fc", None, "6.12-stock"),
        ("6.12.0", Some("0\n"), "6.12-stock"),
        ("6.11.9-amd64", None, "6.1-stock"),
        ("5.10", None, "6.1-stock"),
        ("7.3.1", Some("1\n"), "7.3-patched"),
        ("10.0", Some("2\n"), "7.3-detach"),
    ] {
        assert_eq!(like(release, switch), name);
        assert!(name.parse::<KernelName>().is_ok(), "{name}");
    }
    assert!(is_stable(Some("1\n")) && !is_stable(Some("0\n")) && !is_stable(None));
}

#[test]
fn what_was_skipped_did_not_run_and_is_counted_by_what_is_lacking() {
    let lack = |what: Feature| Lack {
        what,
        reason: "it was not built".into(),
        remedy: "build it".into(),
    };
    let plan = plan();
    let mut campaign = Campaign::new(&plan);
    campaign.running.insert(7, shard(0, 0));
    for (index, what) in [
        (0, Some(Feature::Netem)),
        (2, None),
        (4, Some(Feature::Netem)),
        (6, Some(Feature::Ktls)),
    ] {
        let about = Event::About {
            index,
            virtual_ns: 0,
        };
        campaign.note_event(7, Instant::now(), about, &mut |_| {});
        if let Some(what) = what {
            campaign.note_event(7, Instant::now(), Event::Skipped(lack(what)), &mut |_| {});
        }
    }
    campaign.stop(7);
    let outcome = &campaign.outcomes[0];
    assert_eq!((outcome.scenarios, outcome.skips()), (1, 3));
    assert_eq!(outcome.skipped[&Feature::Netem].0, 2);
    assert_eq!(outcome.skipped_cases, BTreeSet::from([0, 4, 6]));
}
