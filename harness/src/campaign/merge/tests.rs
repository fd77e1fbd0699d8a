use std::fs;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;
use crate::campaign::job::Finding;
use crate::campaign::unit::tests::unit;
use crate::campaign::unit::{Unit, Work};
use crate::fuzz::record::State;
use crate::minimize::Stopped;
use crate::oracle::Property;
use crate::scenario::features::{Coverage, Exercised};
use crate::scenario::{strategy, text};

const SCENARIOS: [&str; 4] = [
    "sendfile 0+4096\nmmap-write 0+4096\n",
    "sendfile 0+1\nmmap-write 0+1\n",
    "sendfile 0+1\npwrite 0+1\n",
    "pipe-write 0+9\nsplice-out 9\n",
];

fn exercised(case: u64) -> Exercised {
    let mut coverage = Coverage::default();
    coverage.add(&strategy::case(1, case));
    Exercised::from(&coverage)
}

/// Of a universe so small that parts have much in common.
fn done() -> impl Strategy<Value = Done> {
    (0..3_u32, 0..3_u64, 5..8_u64, any::<bool>()).prop_map(|(index, before, ended, late)| Done {
        unit: unit(index, 3),
        scenarios: 333,
        virtual_ns: 5,
        excused: BTreeMap::new(),
        exercised: Some(exercised(u64::from(index))),
        fuzz_features: None,
        runs: Vec::new(),
        left_out: 0,
        skipped: 0,
        took: Took {
            begun_unix_ms: ended - before,
            ended_unix_ms: ended,
            busy_ms: 2,
            node: if late { "n1" } else { "n2" }.into(),
        },
    })
}

fn found() -> impl Strategy<Value = Found> {
    let state = prop::sample::select(vec![State::New, State::Smaller, State::Lost]);
    let text = prop::sample::select(SCENARIOS.to_vec());
    (0..3_u32, 0..2_u64, state, text, 1..3_u32).prop_map(|(index, case, state, small, of)| {
        found_of(&unit(index, 3), case, (SCENARIOS[0], small), state, of)
    })
}

fn found_of(unit: &Unit, case: u64, (large, small): (&str, &str), state: State, of: u32) -> Found {
    let scenario = text::parse("t", large).unwrap();
    let mut finding = Finding::suspect(case, Property::Wire, "torn".into(), &scenario);
    small.clone_into(&mut finding.minimized);
    (finding.seen, finding.of) = (1, of);
    finding.stopped = (state == State::Smaller).then_some(Stopped::Minimal);
    Found {
        state,
        ..Found::new(unit, finding, None)
    }
}

fn part() -> impl Strategy<Value = Merged> {
    let done = prop::collection::vec(done(), 0..4);
    let found = prop::collection::vec(found(), 0..4);
    (done, found).prop_map(|(done, found)| {
        let mut part = Merged::default();
        done.into_iter().for_each(|it| part.add(it));
        found.into_iter().for_each(|it| part.note(it));
        part
    })
}

fn union(a: &Merged, b: &Merged) -> Merged {
    let mut union = a.clone();
    union.merge(b.clone());
    union
}

proptest! {
    #[test]
    fn the_order_of_merging_does_not_matter(a in part(), b in part(), c in part()) {
        let left = union(&union(&a, &b), &c);
        prop_assert_eq!(&left, &union(&a, &union(&b, &c)));
        prop_assert_eq!(&left, &union(&c, &union(&b, &a)));
        // Nor what is computed of it.
        let other = union(&c, &union(&b, &a));
        prop_assert_eq!(left.causes(), other.causes());
    }

    #[test]
    fn what_is_merged_twice_counts_once(a in part(), b in part()) {
        prop_assert_eq!(&union(&a, &a), &a);
        let both = union(&a, &b);
        prop_assert_eq!(&union(&both, &a), &both);
        prop_assert_eq!(&union(&both, &both), &both);
        prop_assert_eq!(&union(&a, &Merged::default()), &a);
    }

    #[test]
    fn folders_that_are_merged_are_folders_to_be_merged(a in part(), b in part()) {
        let dir = tempfile::tempdir().unwrap();
        let store = |name: &str| Store::open(&dir.path().join(name)).unwrap();
        // One as units leave it, one as a merge does.
        let (one, two) = (store("one"), store("two"));
        a.units().for_each(|it| one.put(it).unwrap());
        a.found().for_each(|it| one.note(it).unwrap());
        b.write(&two).unwrap();
        let mut read = Merged::read(&one).unwrap();
        prop_assert_eq!(&read, &a);
        read.merge(Merged::read(&two).unwrap());
        prop_assert_eq!(&read, &union(&a, &b));
        // Into a folder that has something already.
        read.write(&two).unwrap();
        prop_assert_eq!(&Merged::read(&two).unwrap(), &read);
    }
}

/// What a merge that adds up would do, to see that the properties above can fail.
#[test]
fn a_sum_is_no_union() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let sum = |part: &Merged| part.units().map(|it| it.scenarios).sum::<u64>();
    let differs = (0..50).any(|_| {
        let [a, b] = [0; 2].map(|_| part().new_tree(&mut runner).unwrap().current());
        sum(&union(&a, &b)) != sum(&a) + sum(&b)
    });
    assert!(differs);
}

#[test]
fn the_first_of_two_runs_counts_and_the_smallest_of_two_findings() {
    let mut merged = Merged::default();
    let done = |ended: u64| Done {
        unit: unit(0, 2),
        scenarios: 1,
        virtual_ns: 0,
        excused: BTreeMap::new(),
        exercised: None,
        fuzz_features: None,
        runs: Vec::new(),
        left_out: 0,
        skipped: 0,
        took: Took {
            ended_unix_ms: ended,
            ..Took::default()
        },
    };
    for ended in [3, 2, 4] {
        merged.add(done(ended));
    }
    let ended: Vec<u64> = merged.units().map(|it| it.took.ended_unix_ms).collect();
    assert_eq!(ended, [2]);
    let found = |small, state| found_of(&unit(0, 2), 5, (SCENARIOS[0], small), state, 1);
    for it in [
        found(SCENARIOS[0], State::New),
        found(SCENARIOS[1], State::Smaller),
        found(SCENARIOS[0], State::Smaller),
    ] {
        merged.note(it);
    }
    let small: Vec<&str> = merged.found().map(|it| &*it.finding.minimized).collect();
    assert_eq!(small, [SCENARIOS[1]]);
}

#[test]
fn a_cause_is_followed_to_what_it_became() {
    let mut merged = Merged::default();
    for index in 0..2 {
        let small = (SCENARIOS[0], SCENARIOS[2]);
        merged.note(found_of(&unit(index, 2), 5, small, State::Smaller, 10));
    }
    let other = (SCENARIOS[0], SCENARIOS[1]);
    merged.note(found_of(&unit(0, 2), 6, other, State::Smaller, 10));
    let causes = merged.causes();
    let counts = |causes: &[Cause<'_>]| -> Vec<(u64, u64, bool)> {
        causes
            .iter()
            .map(|it| (it.findings, it.units, it.is_settled))
            .collect()
    };
    assert_eq!(counts(&causes), [(2, 2, false), (1, 1, false)]);
    // One of them turns out to be the other.
    let mut smaller = unit(0, 1);
    smaller.work = Work::Smaller {
        cause: causes[0].name.clone(),
        scenario: SCENARIOS[2].into(),
        shrink_runs: 9,
    };
    let name = causes[1].name.clone();
    let smallest = found_of(
        &smaller,
        0,
        (SCENARIOS[2], SCENARIOS[1]),
        State::Smaller,
        10,
    );
    let through = Done {
        took: Took::default(),
        ..of_unit(&smaller)
    };
    merged.add(through);
    merged.note(smallest);
    let causes = merged.causes();
    assert_eq!(counts(&causes), [(3, 2, true)]);
    assert_eq!(causes[0].name, name);
    assert_eq!(causes[0].smallest.finding.minimized, SCENARIOS[1]);
}

fn of_unit(unit: &Unit) -> Done {
    Done {
        unit: unit.clone(),
        scenarios: 0,
        virtual_ns: 0,
        excused: BTreeMap::new(),
        exercised: None,
        fuzz_features: None,
        runs: Vec::new(),
        left_out: 0,
        skipped: 0,
        took: Took::default(),
    }
}

#[test]
fn what_is_half_made_smaller_or_turned_into_another_is_no_finding() {
    let mut merged = Merged::default();
    let small = (SCENARIOS[0], SCENARIOS[2]);
    merged.note(found_of(&unit(0, 2), 5, small, State::Smaller, 10));
    let before = merged.clone();
    let mut smaller = unit(0, 1);
    smaller.work = Work::Smaller {
        cause: before.causes()[0].name.clone(),
        scenario: SCENARIOS[2].into(),
        shrink_runs: 9,
    };
    // Killed before it was through.
    let begun = (SCENARIOS[2], SCENARIOS[1]);
    merged.note(found_of(&smaller, 0, begun, State::New, 1));
    assert_eq!(merged.causes(), before.causes());
    // The kernel died meanwhile.
    let mut died = found_of(&smaller, 1, begun, State::Smaller, 10);
    died.finding.property = Property::Splat;
    merged.note(died);
    let causes = merged.causes();
    let told: Vec<(Property, u64)> = causes.iter().map(|it| (it.property, it.findings)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.contains(&(Property::Wire, 1)) && told.contains(&(Property::Splat, 1)));
    assert!(causes.iter().all(|it| !it.is_settled));
}

#[test]
fn what_nobody_expects_does_not_hide_behind_what_all_do() {
    let mut merged = Merged::default();
    let shape = "sendfile 0+9\nmmap-write 0+9\n";
    let mut stock = found_of(&unit(0, 2), 5, (shape, SCENARIOS[1]), State::Smaller, 10);
    stock.is_expected = true;
    stock.kernel = "6.12-stock".into();
    let patched = found_of(&unit(0, 2), 5, (shape, shape), State::Smaller, 10);
    merged.note(stock);
    merged.note(patched.clone());
    let causes = merged.causes();
    assert_eq!(causes.len(), 1);
    assert!(!causes[0].is_expected);
    assert_eq!(causes[0].smallest, &patched);
    assert_eq!(causes[0].findings, 2);
    // Nor behind what one of those was made smaller to.
    let mut smaller = unit(0, 1);
    smaller.work = Work::Smaller {
        cause: causes[0].name.clone(),
        scenario: SCENARIOS[1].into(),
        shrink_runs: 9,
    };
    let small = (SCENARIOS[1], SCENARIOS[1]);
    let mut smallest = found_of(&smaller, 0, small, State::Smaller, 10);
    smallest.is_expected = true;
    merged.note(smallest);
    let causes = merged.causes();
    assert_eq!(causes[0].smallest, &patched);
}

#[test]
fn one_unit_may_find_one_case_on_many_kernels() {
    // As a unit of a score does.
    let mut merged = Merged::default();
    for (kernel, seed) in [("a", 1), ("b", 1), ("a", 2)] {
        let small = (SCENARIOS[0], SCENARIOS[2]);
        let mut found = found_of(&unit(0, 2), 5, small, State::Smaller, 10);
        (found.kernel, found.seed) = (kernel.into(), seed);
        merged.note(found);
    }
    assert_eq!(merged.found().len(), 3);
}

#[test]
fn a_twin_that_is_behind_takes_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let found = |small, state| found_of(&unit(0, 2), 5, (SCENARIOS[0], small), state, 10);
    let best = found(SCENARIOS[2], State::Smaller);
    for it in [
        found(SCENARIOS[0], State::New),
        best.clone(),
        found(SCENARIOS[0], State::New),
    ] {
        store.note(&it).unwrap();
    }
    assert_eq!(store.found().unwrap(), [best]);
}

#[test]
fn a_file_that_no_unit_wrote_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.put(&of_unit(&unit(0, 2))).unwrap();
    // What is being written is none yet.
    fs::write(dir.path().join("units/.half.json.7"), "{").unwrap();
    assert_eq!(Merged::read(&store).unwrap().units().len(), 1);
    fs::write(dir.path().join("units/half.json"), "{").unwrap();
    let error = Merged::read(&store).unwrap_err().to_string();
    assert!(error.contains("units/half.json: "), "{error}");
    fs::remove_file(dir.path().join("units/half.json")).unwrap();
    fs::write(dir.path().join("found.jsonl"), "\n{}\n").unwrap();
    let error = Merged::read(&store).unwrap_err().to_string();
    assert!(error.contains("found.jsonl:2: "), "{error}");
}

#[test]
fn shards_of_one_campaign_are_one_series() {
    let mut merged = Merged::default();
    for index in [0, 3, 4] {
        let done = Done {
            scenarios: 10,
            ..of_unit(&unit(index, 6))
        };
        merged.add(done);
    }
    merged.add(of_unit(&unit(0, 2)));
    let all = progress::series(&merged);
    let told = all.iter().map(|it| (it.done, it.of, it.scenarios));
    assert_eq!(told.collect::<Vec<_>>(), [(1, 2, 0), (3, 6, 30)]);
    let missing = all.iter().map(|it| it.missing.clone());
    assert_eq!(
        missing.collect::<Vec<_>>(),
        [vec![(2, 2)], vec![(2, 3), (6, 6)]]
    );
}
