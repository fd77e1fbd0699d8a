//! What must hold of scenarios before any kernel has seen them.

use inflight::scenario::{Scenario, normalize::normalize, strategy, text};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

/// A scenario that has what another one cannot: the setup of one, the operations of two.
fn crossed() -> impl Strategy<Value = Scenario> {
    let all = (
        strategy::scenario(),
        strategy::scenario(),
        strategy::scenario(),
    );
    (all, any::<bool>(), 0_u64..10_000).prop_map(|((setup, one, other), each, size_bytes)| {
        let mut crossed = setup;
        crossed.steps = [other.steps, one.steps].concat();
        crossed.setup.socket.each = each;
        crossed.setup.file.size_bytes = size_bytes;
        crossed
    })
}

/// A scenario of which it does not hold, if there is one.
fn search(
    strategy: impl Strategy<Value = Scenario>,
    holds: impl Fn(&Scenario) -> bool,
) -> Option<Scenario> {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let found = TestRunner::new(config).run(&strategy, |scenario| match holds(&scenario) {
        true => Ok(()),
        false => Err(TestCaseError::fail("it does not hold")),
    });
    match found {
        Ok(()) => None,
        Err(TestError::Fail(_, scenario)) => Some(scenario),
        Err(TestError::Abort(reason)) => panic!("gave up: {reason}"),
    }
}

/// Whether a text says all of a scenario.
fn comes_back(scenario: &Scenario, print: impl Fn(&Scenario) -> String) -> bool {
    text::parse("t.scn", &print(scenario)).as_ref() == Ok(scenario)
}

#[test]
fn parse_print_round_trip() {
    let found = search(strategy::scenario(), |scenario| {
        comes_back(scenario, ToString::to_string)
    });
    assert_eq!(found, None);
}

/// A printer that forgets something is found.
#[test]
fn parse_print_round_trip_can_fail() {
    let forgets = |line: &str, scenario: &Scenario| {
        let text = scenario.to_string();
        let kept = text.lines().filter(|it| !it.starts_with(line));
        kept.collect::<Vec<_>>().join("\n")
    };
    for line in ["socket ", "link data ", "mmap-write "] {
        let found = search(strategy::scenario(), |scenario| {
            comes_back(scenario, |it| forgets(line, it))
        });
        let scenario = found.unwrap();
        assert!(scenario.to_string().contains(line), "{scenario}");
    }
}

/// Whether a second time changes nothing any more.
fn is_settled(wild: &Scenario, normalize: impl Fn(Scenario) -> Scenario) -> bool {
    let once = normalize(wild.clone());
    normalize(once.clone()) == once
}

#[test]
fn normalize_is_idempotent() {
    let found = search(crossed(), |wild| is_settled(wild, normalize));
    assert_eq!(found, None);
}

/// The wild ones are wild, and a rule that undoes what another one has done is found.
#[test]
fn normalize_is_idempotent_can_fail() {
    let wild = search(crossed(), |wild| normalize(wild.clone()) == *wild);
    assert!(wild.is_some());
    let turns = |scenario: Scenario| {
        let mut normal = normalize(scenario);
        normal.setup.file.sparse = !normal.setup.file.sparse;
        normal
    };
    let found = search(crossed(), |wild| is_settled(wild, turns));
    assert!(found.is_some());
}
