//! What the search makes of verdicts: other properties, failures by chance, what is
//! known already, and several at a time.

use super::*;

/// The race breaks what is wanted; whatever has no `wait` breaks something else.
fn two_bugs(candidate: &Scenario) -> Verdict {
    let mut broken = Vec::new();
    if !has(candidate, |op| matches!(op, Op::Wait { .. })) {
        broken.push(Property::Counts);
    }
    if race(candidate) && has(candidate, |op| matches!(op, Op::Pipe { .. })) {
        broken.push(BROKEN);
    }
    Verdict::Breaks(broken)
}

#[test]
fn another_property_is_no_failure() {
    let found = search(&large(), PLENTY, &mut two_bugs);
    let ops: Vec<Op> = found.scenario.steps.iter().map(|step| step.op).collect();
    let pipe = Op::Pipe {
        capacity_bytes: 4096,
    };
    // Without regard to the property this would be a send alone.
    assert_eq!(
        ops,
        [pipe, Op::Sendfile(range(0, 1)), Op::MmapWrite(range(0, 1))]
    );
}

/// A judge that fails by chance: in one run of `chance`, by the number of the run.
fn by_chance(chance: u64, mut draw: u64, fails: fn(&Scenario) -> bool) -> impl Judge {
    move |candidate: &Scenario| {
        draw = draw
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        verdict(fails(candidate) && (draw >> 33).is_multiple_of(chance))
    }
}

#[test]
fn what_fails_by_chance_is_tried_until_that_is_unlikely() {
    let tried = |tries: u32, seed: u64| {
        let plan = Plan {
            property: BROKEN,
            budget: PLENTY,
            tries,
            memory: &mut Memory::new(),
        };
        minimize(&large(), plan, &mut by_chance(3, seed, race))
    };
    let small = |it: &Minimized| (it.after.steps, it.after.fields) == (2, 0);
    let often = Reliability { seen: 3, of: 10 }.tries();
    let with = (0..100).filter(|seed| small(&tried(often, *seed))).count();
    let without = (0..100).filter(|seed| small(&tried(1, *seed))).count();
    assert!(with >= 90, "{with} of 100");
    assert!(without < 60, "one try is as good: {without} of 100");
}

#[test]
fn nothing_is_run_again_that_is_known() {
    let mut memory = Memory::new();
    fn plan(memory: &mut Memory) -> Plan<'_> {
        Plan {
            property: BROKEN,
            budget: PLENTY,
            tries: 1,
            memory,
        }
    }
    let mut judge = |candidate: &Scenario| verdict(race(candidate));
    let first = minimize(&large(), plan(&mut memory), &mut judge);
    assert_eq!(memory.len() as u64, first.runs);
    let again = minimize(&large(), plan(&mut memory), &mut judge);
    assert_eq!((again.scenario, again.runs), (first.scenario, 0));
    // What is known of one property says nothing of another.
    let other = Plan {
        property: Property::Wire,
        ..plan(&mut memory)
    };
    assert_eq!(minimize(&large(), other, &mut judge).scenario, large());
}

/// Counts how often it is asked.
struct Lanes<'a> {
    lanes: usize,
    fails: &'a dyn Fn(&Scenario) -> bool,
    asked: u64,
    interrupt_after: u64,
    told: Vec<Size>,
}

impl Judge for Lanes<'_> {
    fn judge(&mut self, candidates: &[Scenario]) -> Vec<Verdict> {
        assert!(candidates.len() <= self.lanes, "{}", candidates.len());
        self.asked += 1;
        if self.asked > self.interrupt_after {
            return vec![Verdict::Interrupted; candidates.len()];
        }
        candidates
            .iter()
            .map(|it| verdict((self.fails)(it)))
            .collect()
    }

    fn lanes(&self) -> usize {
        self.lanes
    }

    fn smaller(&mut self, best: &Minimized) {
        assert!((self.fails)(&best.scenario), "not known to fail");
        self.told.push(best.after.clone());
    }
}

fn by_lanes(lanes: usize, fails: &dyn Fn(&Scenario) -> bool) -> (Minimized, Lanes<'_>) {
    let mut judge = Lanes {
        lanes,
        fails,
        asked: 0,
        interrupt_after: u64::MAX,
        told: Vec::new(),
    };
    let found = search(&large(), PLENTY, &mut judge);
    (found, judge)
}

#[test]
fn the_result_does_not_depend_on_the_lanes_and_the_time_does() {
    let not_a = |s: &Scenario| s.steps.iter().any(|step| step.actor != Actor::A);
    let odd = |s: &Scenario| s.steps.len() % 2 == 1 && has(s, |op| op.sends());
    let table: [&dyn Fn(&Scenario) -> bool; 4] =
        [&race, &not_a, &odd, &|s| s.setup.data.delay_us > 3_000];
    for (number, fails) in table.iter().enumerate() {
        let (one, one_judge) = by_lanes(1, fails);
        assert_eq!(one_judge.asked, one.runs);
        for lanes in [2, 3, 8] {
            let (several, judge) = by_lanes(lanes, fails);
            assert_eq!(several.scenario, one.scenario, "{number} by {lanes}");
            assert_eq!(judge.told, one_judge.told, "{number} by {lanes}");
            assert!(judge.asked < one.runs, "{number} by {lanes}");
            assert!(several.runs >= one.runs, "{number} by {lanes}");
        }
    }
}

#[test]
fn an_interruption_of_several_keeps_what_is_known() {
    let (whole, _) = by_lanes(3, &race);
    let mut last = Size::of(&large());
    for interrupt_after in 0..40 {
        let mut judge = Lanes {
            lanes: 3,
            fails: &race,
            asked: 0,
            interrupt_after,
            told: Vec::new(),
        };
        let found = search(&large(), PLENTY, &mut judge);
        assert!(race(&found.scenario));
        assert!(found.after <= last, "more runs made it worse");
        let minimal = found.stopped == Stopped::Minimal;
        assert!(minimal || judge.asked == interrupt_after + 1);
        assert!(!minimal || found.scenario == whole.scenario);
        last = found.after;
    }
}

#[test]
fn every_change_for_the_better_is_told_once() {
    let (found, judge) = by_lanes(1, &race);
    assert!(judge.told.windows(2).all(|pair| pair[1] < pair[0]));
    assert_eq!(judge.told.last(), Some(&found.after));
}

#[test]
fn what_is_unrelated_goes_in_few_runs() {
    // Forty operations on pages of their own, three of which matter.
    let mut start = Scenario::default();
    start.setup.file.size_bytes = 64 << 12;
    for page in 0..20 {
        let sent = range(page << 12, 4096);
        start
            .steps
            .extend(steps(&[Op::Sendfile(sent), Op::Pwrite(sent)]));
    }
    let mut start = normalize(start);
    for (at, step) in start.steps.iter_mut().enumerate() {
        step.actor = [Actor::A, Actor::B, Actor::C][at % 3];
    }
    let wanted = |s: &Scenario| race(s) && s.steps.iter().any(|step| step.actor == Actor::C);
    let found = checked(&start, PLENTY, wanted);
    assert_eq!(found.after.steps, 2);
    assert!(found.runs < 60, "{} runs", found.runs);
}
