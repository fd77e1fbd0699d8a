use std::collections::HashSet;

use super::*;
use crate::scenario::text;

fn race() -> Scenario {
    let text =
        "# Prose.\nexpect stock violates stable-on-return\n\nsendfile 0+4096\nmmap-write 0+4096\n";
    text::parse("race.scn", text).unwrap()
}

#[test]
fn what_is_made_can_run_is_new_and_follows_from_the_seed() {
    let race = race();
    let mut texts = HashSet::new();
    for seed in 0..500 {
        let near = mutate(&race, seed);
        assert_eq!(near, normalize(near.clone()), "seed {seed}");
        assert_eq!(near, mutate(&race, seed));
        assert!(near.header.is_empty() && near.expects.is_empty());
        assert_ne!(near, bare(&race), "seed {seed}");
        texts.insert(near.to_string());
    }
    assert!(texts.len() > 250, "{} of 500 differ", texts.len());
}

#[test]
fn every_change_happens() {
    let race = bare(&race());
    let all: Vec<Scenario> = (0..2_000).map(|seed| mutate(&race, seed)).collect();
    let some = |what: &str, is: &dyn Fn(&Scenario) -> bool| {
        let count = all.iter().filter(|it| is(it)).count();
        assert!(count >= 10, "{what}: {count} of 2000");
    };
    let same_setup = |it: &Scenario| it.setup == race.setup;
    some("a step more", &|it| it.steps.len() > 2);
    some("a step less", &|it| same_setup(it) && it.steps.len() < 2);
    let reversed: Vec<Step> = race.steps.iter().rev().cloned().collect();
    some("the other order", &|it| it.steps == reversed);
    let twice = |it: &Scenario| it.steps.windows(2).any(|two| two[0] == two[1]);
    some("a step twice", &twice);
    let by_other = |it: &Scenario| it.steps.len() == 2 && it.steps[1].actor == Actor::B;
    some("another actor", &by_other);
    let turned = |it: &Scenario| {
        same_setup(it) && it.steps.len() == 2 && it.steps[0].op.range() != race.steps[0].op.range()
    };
    some("another number", &turned);
    some("another link", &|it| it.setup.data != race.setup.data);
    some("another socket", &|it| it.setup.socket != race.setup.socket);
}

#[test]
fn a_field_goes_back_to_its_default() {
    let text = "link data delay=20ms\nsocket tcp4 nodelay\n\nsendfile 0+4096\n";
    let scenario = text::parse("set.scn", text).unwrap();
    let near = (0..500).map(|seed| mutate(&scenario, seed));
    let back = near.filter(|it| it.setup == Setup::default()).count();
    let near = (0..500).map(|seed| mutate(&scenario, seed));
    let undelayed = near.filter(|it| it.setup.data.delay_us == 0).count();
    assert!(undelayed > 10 && undelayed > back, "{undelayed}, {back}");
}

#[test]
fn a_child_has_something_of_both() {
    let one = text::parse("one", "link data delay=20ms\n\nsendfile 0+100\nwait 1ms\n").unwrap();
    let other = text::parse("other", "socket tcp6\n\npwrite 0+7\nmsync\n").unwrap();
    let all: Vec<Scenario> = (0..200).map(|seed| cross(&one, &other, seed)).collect();
    let has = |it: &Scenario, of: &Scenario| it.steps.iter().any(|step| of.steps.contains(step));
    assert!(all.iter().any(|it| has(it, &one) && has(it, &other)));
    let delayed = |it: &Scenario| it.setup.data.delay_us == 20_000;
    let six = |it: &Scenario| it.setup.socket.family == other.setup.socket.family;
    assert!(all.iter().any(|it| delayed(it) && six(it)));
    assert!(all.iter().any(|it| delayed(it) && !six(it)));
    for child in &all {
        assert_eq!(*child, normalize(child.clone()));
    }
    assert_eq!(cross(&one, &other, 5), cross(&one, &other, 5));
}
