use super::*;
use crate::scenario::Family;
use crate::scenario::strategy;
use crate::scenario::text;

fn at(group: Group, name: &str) -> usize {
    let place = all()
        .iter()
        .position(|it| (it.group, it.name) == (group, name));
    place.unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn each_feature_can_be_had_and_has_a_name_of_its_own() {
    for (index, feature) in all().iter().enumerate() {
        assert!(can_meet(index, index), "{} cannot be put", feature.name);
        assert_eq!(at(feature.group, feature.name), index);
    }
    for (_, group) in Group::NAMED {
        assert!(all().iter().any(|it| it.group == group), "{group:?}");
    }
}

/// A word of the text form that is no feature would be a blind spot of this table.
#[test]
fn whatever_the_text_says_is_a_feature() {
    let family = |name: &str| {
        all()
            .iter()
            .any(|it| (it.group, it.name) == (Group::Family, name))
    };
    for (name, _) in Family::NAMED {
        assert!(family(name), "{name}");
    }
    for index in 0..2000 {
        let scenario = strategy::case(11, index);
        for step in &scenario.steps {
            let mut alone = scenario.clone();
            alone.steps = vec![*step];
            let known = all()
                .iter()
                .any(|it| it.group == Group::Operation && (it.has)(&alone));
            assert!(known, "{step}");
        }
        for (group, line) in [
            (Group::LinkData, "link data"),
            (Group::LinkAck, "link ack"),
            (Group::Socket, "socket"),
            (Group::Device, "link veth"),
            (Group::Device, "link tun"),
            (Group::Device, "link loopback"),
            (Group::Stack, "stack"),
        ] {
            let text = scenario.setup.to_string();
            let Some(line) = text.lines().find_map(|it| it.strip_prefix(line)) else {
                continue;
            };
            for word in line.split_whitespace() {
                let key = word.split('=').next().unwrap();
                if key == "seed" || family(key) {
                    continue;
                }
                // Where there are few values each is a feature.
                let value = word.replace('=', " ");
                let has = |name: &str| {
                    let mut named = all().iter().filter(|it| it.group == group);
                    let named = named.find(|it| it.name == name);
                    named.is_some_and(|it| (it.has)(&scenario))
                };
                assert!(has(key) || has(&value), "{word} of {text}");
            }
        }
    }
}

#[test]
fn what_can_meet_follows_from_the_rules() {
    let meet = |a: (Group, &str), b: (Group, &str)| {
        let (a, b) = (at(a.0, a.1), at(b.0, b.1));
        assert_eq!(can_meet(a, b), can_meet(b, a));
        can_meet(a, b)
    };
    assert!(meet((Group::Family, "udp4"), (Group::LinkData, "loss")));
    assert!(!meet((Group::Family, "udp4"), (Group::LinkAck, "loss")));
    assert!(!meet((Group::Family, "unix"), (Group::LinkData, "delay")));
    assert!(!meet((Group::Family, "tcp4"), (Group::Family, "tcp6")));
    assert!(!meet((Group::Operation, "read"), (Group::Reader, "drain")));
    assert!(meet(
        (Group::Operation, "splice-out tee"),
        (Group::Operation, "vmsplice gift")
    ));
    assert!(!meet((Group::LinkData, "none"), (Group::LinkData, "delay")));
    assert!(meet((Group::Family, "udp4"), (Group::Device, "small mtu")));
    assert!(!meet((Group::Family, "udp6"), (Group::Device, "small mtu")));
    assert!(!meet((Group::Family, "udp4"), (Group::Stack, "sack")));
}

#[test]
fn a_scenario_counts_for_what_it_has() {
    let scenario = "link data delay=20ms loss=1%\nreader paused\n\n\
                    sendfile 0+4097\nmmap-write 0+1\nb: sendfile 0+1\nread 5\n";
    let scenario = text::parse("features.scn", scenario).unwrap();
    let mut coverage = Coverage::default();
    coverage.add(&scenario);
    coverage.add(&scenario);
    let mut seen: Vec<&str> = Vec::new();
    for (index, feature) in all().iter().enumerate() {
        assert!([0, 2].contains(&coverage.of(index)));
        if coverage.of(index) == 2 {
            seen.push(feature.name);
        }
    }
    assert_eq!(
        seen,
        [
            "sendfile",
            "past the end",
            "mmap-write",
            "read",
            "b",
            "b sends",
            "reader",
            "tcp4",
            "plain",
            "tmpfs",
            "a page",
            "paused",
            "delay",
            "loss",
            "none",
            "usual"
        ]
    );
    assert_eq!(coverage.cases(), 2);
    let met = coverage.pairs().filter(|(_, times)| *times > 0);
    assert_eq!(met.count(), seen.len() * (seen.len() - 1) / 2);
    let (read, loss) = (at(Group::Operation, "read"), at(Group::LinkData, "loss"));
    assert_eq!(coverage.of_pair(read, loss), 2);
    assert_eq!(coverage.of_pair(read, at(Group::LinkAck, "loss")), 0);
}

/// Nothing that can be met is counted where it cannot, so the rules and the counting
/// agree; and the generator leaves no feature out, and no pair that is possible.
#[test]
fn generated_scenarios_have_every_possible_pair_and_no_other() {
    for seed in [3, 2008] {
        let mut coverage = Coverage::default();
        for index in 0..20_000 {
            coverage.add(&strategy::case(seed, index));
        }
        for (a, first) in all().iter().enumerate() {
            for (b, second) in all().iter().enumerate() {
                assert_eq!(
                    can_meet(a, b),
                    coverage.of_pair(a, b) > 0,
                    "{:?} {} and {:?} {}",
                    first.group,
                    first.name,
                    second.group,
                    second.name
                );
            }
        }
    }
}

#[test]
fn what_parts_exercised_is_what_the_whole_did() {
    use super::super::strategy;
    let exercised = |cases: &[u64]| {
        let mut coverage = Coverage::default();
        for case in cases {
            coverage.add(&strategy::case(3, *case));
        }
        (Exercised::from(&coverage), coverage)
    };
    let (whole, coverage) = exercised(&(0..60).collect::<Vec<_>>());
    let met = coverage.pairs().filter(|(_, times)| *times > 0).count();
    assert_eq!(whole.pairs(), met as u64);
    let mut sum = Exercised::default();
    for part in 0..3 {
        let (part, _) = exercised(&(0..20).map(|it| it * 3 + part).collect::<Vec<_>>());
        assert!(part.pairs() < whole.pairs());
        assert!(sum.add(&part));
    }
    assert_eq!(sum, whole);
    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Exercised>(&text).unwrap(), whole);
    // Another generator's are no part of it.
    let mut other = whole.clone();
    other.counts.push(1);
    assert!(!sum.add(&other));
    assert_eq!(sum, whole);
}
