use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::kernel::Machine;

fn mutant(properties: &[&str]) -> Mutant {
    Mutant {
        name: "x".into(),
        kernel: "6.12-mutant:x".parse().unwrap(),
        subject: "net: a slip".into(),
        symptom: String::new(),
        properties: properties
            .iter()
            .map(|it| ((*it).to_owned(), "x.patch:9:11".to_owned()))
            .collect(),
        takes_cpus: false,
    }
}

fn run(seed: u64, caught: Option<(Property, u64)>) -> Run {
    Run {
        seed,
        scenarios: caught.map_or(1000, |(_, scenarios)| scenarios),
        took: Duration::from_millis(caught.map_or(60_000, |(_, scenarios)| scenarios)),
        caught: caught.map(|(property, _)| property),
        ..Run::default()
    }
}

fn score(mutant_of: &[&str], runs: &[Option<(Property, u64)>]) -> Score {
    let subject = match mutant_of {
        [] => Subject::clean("6.12-patched".parse().unwrap()),
        properties => Subject::of(mutant(properties)).unwrap(),
    };
    let runs = runs.iter().zip(1..).map(|(it, seed)| run(seed, *it));
    Score::new(subject, runs.collect())
}

const WIRE: Option<(Property, u64)> = Some((Property::Wire, 7));
const LEAKS: Option<(Property, u64)> = Some((Property::Leaks, 5));

#[test]
fn nine_of_ten_are_enough_and_of_few_all() {
    assert_eq!([1, 2, 9, 10, 19, 20].map(needed), [1, 2, 9, 9, 18, 18]);
}

#[test]
fn a_bug_counts_if_it_is_caught_often_and_by_what_its_patch_names() {
    let mut ten = [WIRE; 10];
    assert_eq!(score(&["wire"], &ten).verdict(), Verdict::Good);
    ten[3] = None;
    assert_eq!(score(&["wire"], &ten).verdict(), Verdict::Good);
    // Nine are caught, but one of them by another property.
    ten[4] = LEAKS;
    assert_eq!(score(&["wire"], &ten).verdict(), Verdict::Wrong);
    assert_eq!(score(&["wire", "leaks"], &ten).verdict(), Verdict::Good);
    ten[5] = None;
    assert_eq!(score(&["wire", "leaks"], &ten).verdict(), Verdict::Seldom);
    assert_eq!(score(&["wire"], &[None; 10]).verdict(), Verdict::Missed);
}

#[test]
fn a_kernel_without_a_bug_must_raise_nothing_and_must_have_run() {
    assert_eq!(score(&[], &[None, None]).verdict(), Verdict::Good);
    assert_eq!(score(&[], &[None, WIRE]).verdict(), Verdict::FalseAlarm);
    let mut nothing_ran = score(&[], &[None, None]);
    nothing_ran.runs[1].scenarios = 0;
    assert_eq!(nothing_ran.verdict(), Verdict::Failed);
    let mut failed = score(&["wire"], &[WIRE, WIRE]);
    failed.runs[0].failures.push("it did not boot".into());
    assert_eq!(failed.verdict(), Verdict::Failed);
}

#[test]
fn medians_take_what_caught_nothing_for_later_than_all() {
    let at = |scenarios| Some((Property::Wire, scenarios));
    let three = score(&["wire"], &[at(9), None, at(3)]);
    assert_eq!(three.scenarios(), Some(9));
    assert_eq!(three.took(), Some(Duration::from_millis(9)));
    let two = score(&["wire"], &[at(9), None, None]);
    assert_eq!((two.scenarios(), two.took()), (None, None));
    assert_eq!((two.seeds_caught(), two.all_scenarios()), (1, 2009));
    let mut made = score(&["wire"], &[at(1), at(1), at(1)]);
    assert_eq!(made.minimized_ops(), None);
    made.runs[0].minimized_ops = Some(4);
    made.runs[2].minimized_ops = Some(2);
    // Of two the larger; one that was not made smaller does not count.
    assert_eq!(made.minimized_ops(), Some(4));
}

#[test]
fn what_most_seeds_caught_is_named() {
    assert_eq!(score(&["wire"], &[None, None]).caught(), None);
    let most = score(&["wire"], &[WIRE, LEAKS, LEAKS]);
    assert_eq!(most.caught(), Some(Property::Leaks));
    let even = score(&["wire"], &[LEAKS, WIRE, None]);
    assert_eq!(even.caught(), Some(Property::Wire));
}

#[test]
fn a_property_that_is_none_is_told_with_its_place() {
    let error = Subject::of(mutant(&["wire", "wires"]))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("x.patch:9:11: no property `wires`; there are wire, "),
        "{error}"
    );
}

/// What is in kernel-patch/mutants names properties that there are, and there are enough of
/// them; each property is the right one to catch some.
#[test]
fn our_own_mutants_are_well_formed() {
    let mut right: Vec<Property> = Vec::new();
    for (version, at_least) in [("6.12", 50), ("7.3", 10)] {
        let all = crate::kernel::mutants(version, None).unwrap();
        assert!(all.len() >= at_least, "{version}: {}", all.len());
        for mutant in all {
            assert!(
                !mutant.subject.is_empty() && !mutant.symptom.is_empty(),
                "{mutant:?}"
            );
            right.extend(Subject::of(mutant).unwrap().right);
        }
    }
    for property in Property::ALL {
        assert!(right.contains(&property), "{property}");
    }
}

#[test]
fn the_fuzz_target_takes_kernels_that_count() {
    let fuzz = Mode::Fuzz {
        program: "/x".into(),
        corpus: Vec::new(),
    };
    for (kernel, counts) in [
        ("6.12-mutant:x", "6.12-mutant:x-kcov"),
        ("6.12-patched-debug", "6.12-patched-debug-kcov"),
    ] {
        let name = kernel.parse().unwrap();
        assert_eq!(fuzz.kernel(&name).to_string(), counts);
        assert_eq!(Mode::Check.kernel(&name), name);
    }
}

/// What cannot be built or booted takes nothing from the others.
#[test]
fn what_cannot_be_had_is_told_and_the_others_go_on() {
    let subjects = ["6.12-mutant:a", "6.12-mutant:b"];
    let plan = Plan {
        subjects: subjects
            .map(|name| Subject {
                kernel: name.parse().unwrap(),
                ..Subject::of(mutant(&["wire"])).unwrap()
            })
            .into(),
        seeds: 3,
        time: Duration::from_secs(1),
        jobs: 2,
        mode: Mode::Check,
        shrink_runs: 0,
    };
    let asked = AtomicUsize::new(0);
    let build = |name: &KernelName| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Err(Error::Input("does not apply".into())),
        _ => Ok(Kernel {
            name: name.clone(),
            machine: Machine::Uml,
            image: "/none/such".into(),
            release: "6.12".into(),
            key: String::new(),
        }),
    };
    let mut not_built = Vec::new();
    let mut scored = Vec::new();
    let scores = super::run(&plan, build, |news| match news {
        News::NotBuilt(subject, error) => not_built.push((subject, error.to_string())),
        News::Scored(subject, score) => scored.push((subject, score.verdict())),
        News::Finding(..) => panic!("nothing ran"),
    });
    assert_eq!(not_built, [(0, "does not apply".to_owned())]);
    assert_eq!(scored, [(1, Verdict::Failed)]);
    let seeds: Vec<u64> = scores[0].runs.iter().map(|it| it.seed).collect();
    assert_eq!(seeds, [1, 2, 3]);
    assert!(scores[0].runs[0].failures[0].contains("/none/such"));
}
