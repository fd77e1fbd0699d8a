//! The search against predicates that need no kernel.

use std::cell::RefCell;
use std::collections::HashSet;

use super::*;
use crate::scenario::normalize::normalize;
use crate::scenario::{
    Actor, Distribution, Family, FileKind, Filling, Netem, Op, Range, ReaderMode, Step,
};

mod judging;

const PLENTY: Budget = Budget {
    runs: 100_000,
    time: Duration::from_secs(60),
};

fn range(offset: u64, len: u64) -> Range {
    Range { offset, len }
}

fn splice_out(len: u64) -> Op {
    Op::SpliceOut {
        len,
        more: true,
        nonblock: true,
        tee: false,
        move_pages: true,
    }
}

fn steps(ops: &[Op]) -> Vec<Step> {
    let step = |&op| Step {
        actor: Actor::A,
        op,
    };
    ops.iter().map(step).collect()
}

/// A scenario with one of everything and much that no failure needs.
fn large() -> Scenario {
    let netem = Netem {
        delay_us: 37_000,
        jitter_us: 300,
        loss_ppm: 12_345,
        duplicate_ppm: 10,
        reorder_ppm: 777,
        rate_bps: 9_999_999,
        limit_packets: 77,
        seed: 42,
        corrupt_ppm: 999,
        correlation_ppm: 11_111,
        gap_packets: 3,
        recover_ppm: 600_000,
        slot_us: 300,
        overhead_bytes: 33,
        distribution: Distribution::Pareto,
        mark: false,
        nth: Default::default(),
    };
    let mut scenario = Scenario {
        header: "Why.".into(),
        ..Scenario::default()
    };
    scenario.setup.data = netem;
    scenario.setup.ack = netem;
    scenario.setup.socket.family = Family::Tcp6;
    scenario.setup.socket.sndbuf_bytes = Some(50_000);
    scenario.setup.socket.nodelay = true;
    scenario.setup.file.kind = FileKind::Memfd;
    scenario.setup.file.size_bytes = 100_000;
    scenario.setup.reader = ReaderMode::Paused;
    scenario.setup.relay = true;
    scenario.steps = steps(&[
        Op::Pipe {
            capacity_bytes: 65_536,
        },
        Op::Wait { us: 12_345 },
        Op::Pwrite(range(0, 100)),
        Op::SpliceIn {
            range: range(300, 5000),
            by: Filling::Move,
        },
        Op::Sendfile(range(20_000, 30_000)),
        Op::Read { len: 1000 },
        splice_out(5000),
        Op::MmapWrite(range(21_000, 3_000)),
        Op::Sendfile(range(0, 10)),
        Op::Wait { us: 10 },
        Op::Pwrite(range(90_000, 10)),
        Op::Sendfile(range(90_000, 4 << 30)),
        Op::MmapWrite(range(90_500, 1000)),
    ]);
    scenario.steps[7].actor = Actor::B;
    scenario.steps[10].actor = Actor::C;
    scenario.steps[5].actor = Actor::Reader;
    scenario
}

/// The 2008 race: a send, and later a write to bytes that it sent.
fn race(scenario: &Scenario) -> bool {
    let steps = scenario.steps.iter().enumerate();
    steps.clone().any(|(at, send)| {
        let Op::Sendfile(sent) = send.op else {
            return false;
        };
        scenario.steps[at..].iter().any(|step| {
            step.op.writes().is_some_and(|written| {
                let from = sent.offset.max(written.offset);
                from < sent.end().min(written.end())
            })
        })
    })
}

fn has(scenario: &Scenario, of: impl Fn(Op) -> bool) -> bool {
    scenario.steps.iter().any(|step| of(step.op))
}

/// The property that the fake failures break.
const BROKEN: Property = Property::StableOnReturn;

fn verdict(fails: bool) -> Verdict {
    Verdict::Breaks(if fails { vec![BROKEN] } else { Vec::new() })
}

/// A search with nothing known, one try each.
fn search(start: &Scenario, budget: Budget, judge: &mut impl Judge) -> Minimized {
    let plan = Plan {
        property: BROKEN,
        budget,
        tries: 1,
        memory: &mut Memory::new(),
    };
    minimize(start, plan, judge)
}

/// Runs a search and checks what holds of every search.
#[track_caller]
fn checked(start: &Scenario, budget: Budget, fails: impl Fn(&Scenario) -> bool) -> Minimized {
    assert!(fails(start), "the start must fail");
    let seen = RefCell::new(HashSet::new());
    let smallest = RefCell::new(Size::of(start));
    let result = search(start, budget, &mut |candidate: &Scenario| {
        assert!(seen.borrow_mut().insert(candidate.clone()), "seen twice");
        assert!(Size::of(candidate) < *smallest.borrow(), "not smaller");
        assert_eq!(*candidate, normalize(candidate.clone()), "not normal");
        let fails = fails(candidate);
        if fails {
            *smallest.borrow_mut() = Size::of(candidate);
        }
        verdict(fails)
    });
    assert!(fails(&result.scenario), "the result does not fail");
    assert!(Size::of(&result.scenario) <= Size::of(start));
    assert_eq!(result.runs, seen.borrow().len() as u64);
    assert!(result.runs <= budget.runs);
    assert_eq!(result.before, Size::of(start));
    assert_eq!(result.after, Size::of(&result.scenario));
    result
}

#[track_caller]
fn minimal(start: &Scenario, fails: impl Fn(&Scenario) -> bool) -> Scenario {
    let result = checked(start, PLENTY, &fails);
    assert_eq!(result.stopped, Stopped::Minimal);
    // A second search has nothing left to do.
    let again = checked(&result.scenario, PLENTY, &fails);
    assert_eq!(again.scenario, result.scenario);
    println!("{} runs", result.runs);
    result.scenario
}

#[test]
fn the_race_is_a_send_and_a_write_of_one_byte() {
    let found = minimal(&large(), race);
    let ops = [Op::Sendfile(range(0, 1)), Op::MmapWrite(range(0, 1))];
    assert_eq!(found.steps, steps(&ops));
    assert_eq!(found.setup, Default::default());
    assert_eq!(found.header, "Why.");
}

/// Where the writer is late without a delay, an operation before it makes up for that;
/// the delay is the simpler scenario.
#[test]
fn a_delay_takes_the_place_of_an_operation() {
    let sends = |s: &Scenario| s.steps.iter().filter(|step| step.op.sends()).count();
    let late = |s: &Scenario| race(s) && (s.setup.data.delay_us > 0 || sends(s) > 1);
    let mut start = Scenario::default();
    let (send, write) = (Op::Sendfile(range(0, 1)), Op::MmapWrite(range(0, 1)));
    start.steps = steps(&[send, send, write]);
    let found = minimal(&start, late);
    assert_eq!(found.steps, steps(&[send, write]));
    assert_eq!(found.setup.data.delay_us, 1000);
    assert_eq!(Size::of(&found).fields, 1);
}

type Fails = fn(&Scenario) -> bool;

#[test]
fn what_is_needed_stays_and_nothing_else() {
    let table: &[(&str, Fails, &[Op])] = &[
        // Normalization leaves no scenario without an operation, and no operation
        // without a byte.
        ("anything", |_| true, &[Op::Sendfile(range(0, 1))]),
        (
            "three far apart",
            |s| {
                has(s, |op| matches!(op, Op::Pipe { .. }))
                    && has(s, |op| matches!(op, Op::Read { .. }))
                    && s.steps
                        .last()
                        .is_some_and(|last| matches!(last.op, Op::MmapWrite(_)))
            },
            &[
                Op::Pipe {
                    capacity_bytes: 4096,
                },
                Op::Read { len: 1 },
                Op::MmapWrite(range(0, 1)),
            ],
        ),
        (
            "a pair that needs each other",
            |s| {
                let fills = has(s, |op| matches!(op, Op::SpliceIn { .. }));
                let drains = has(s, |op| matches!(op, Op::SpliceOut { .. }));
                fills == drains && has(s, |op| matches!(op, Op::Wait { .. }))
            },
            &[Op::Wait { us: 1_000 }],
        ),
        (
            "a splice that could be a sendfile",
            |s| {
                let filled = has(s, |op| matches!(op, Op::SpliceIn { .. }));
                let moves = |op: Op| match op {
                    Op::SpliceOut { .. } => filled,
                    _ => op.sends(),
                };
                s.steps.iter().filter(|step| moves(step.op)).count() >= 4
            },
            &[Op::Sendfile(range(0, 1)); 4],
        ),
        (
            "a length past one page",
            |s| {
                has(
                    s,
                    |op| matches!(op, Op::Sendfile(range) if range.len > 4096),
                )
            },
            &[Op::Sendfile(range(0, 4097))],
        ),
        (
            "a count that no call moves",
            |s| has(s, |op| op.range().is_some_and(|it| it.len > 0x7fff_f000)),
            &[Op::Sendfile(range(0, 0x7fff_f001))],
        ),
        (
            "a count that no int holds",
            |s| has(s, |op| op.range().is_some_and(|it| it.len > 0x7fff_ffff)),
            &[Op::Sendfile(range(0, 1 << 31))],
        ),
        (
            "an offset inside a page",
            |s| {
                has(
                    s,
                    |op| matches!(op, Op::Sendfile(range) if range.offset % 4096 >= 100),
                )
            },
            &[Op::Sendfile(range(100, 1))],
        ),
        (
            "the usual order, where order does not matter",
            |s| {
                has(s, |op| matches!(op, Op::Pwrite(_)))
                    && has(s, |op| matches!(op, Op::SpliceIn { .. }))
            },
            &[
                Op::Pipe {
                    capacity_bytes: 4096,
                },
                Op::SpliceIn {
                    range: range(0, 1),
                    by: Filling::Splice,
                },
                Op::Pwrite(range(0, 1)),
            ],
        ),
    ];
    for (name, fails, ops) in table {
        let found = minimal(&large(), fails);
        let left: Vec<Op> = found.steps.iter().map(|step| step.op).collect();
        assert_eq!(left, *ops, "{name}");
    }
}

#[test]
fn times_become_short_but_stay_round() {
    let needs_5_ms = |s: &Scenario| s.setup.data.delay_us >= 5_000 && race(s);
    let found = minimal(&large(), needs_5_ms);
    assert_eq!(found.setup.data.delay_us, 5_000);
    assert_eq!(found.setup.ack, Netem::default());

    let needs_any = |s: &Scenario| s.setup.ack.delay_us > 0;
    assert_eq!(minimal(&large(), needs_any).setup.ack.delay_us, 1_000);

    let needs_wait = |s: &Scenario| has(s, |op| matches!(op, Op::Wait { us } if us > 1_500));
    assert_eq!(
        minimal(&large(), needs_wait).steps,
        steps(&[Op::Wait { us: 2_000 }])
    );
}

#[test]
fn each_part_of_the_setup_can_be_what_is_needed() {
    let table: &[(&str, Fails)] = &[
        ("loss", |s| s.setup.data.loss_ppm > 0),
        ("family", |s| s.setup.socket.family == Family::Tcp6),
        ("one of them", |s| s.setup.socket.family >= Family::Tcp6),
        ("buffer", |s| s.setup.socket.sndbuf_bytes.is_some()),
        ("file", |s| s.setup.file.kind == FileKind::Memfd),
        ("size", |s| s.setup.file.size_bytes > 8192),
        ("reader", |s| s.setup.reader == ReaderMode::Paused),
        ("relay", |s| s.setup.relay),
    ];
    for (name, fails) in table {
        let found = minimal(&large(), fails);
        assert_eq!(
            (Size::of(&found).steps, Size::of(&found).fields),
            (1, 1),
            "{name}"
        );
    }
    let table: &[(Fails, u64)] = &[(table[5].1, 16384)];
    for (fails, size) in table {
        assert_eq!(minimal(&large(), fails).setup.file.size_bytes, *size);
    }
}

#[test]
fn a_second_thread_stays_only_where_it_matters() {
    let by_another = |s: &Scenario| s.steps.iter().any(|step| step.actor == Actor::C);
    let found = minimal(&large(), |s| by_another(s) && race(s));
    assert_eq!(
        found
            .steps
            .iter()
            .filter(|step| step.actor != Actor::A)
            .count(),
        1
    );
    let not_a = |s: &Scenario| {
        s.steps
            .iter()
            .any(|step| matches!(step.actor, Actor::B | Actor::C))
    };
    let found = minimal(&large(), not_a);
    assert_eq!(found.steps.len(), 1);
    assert_eq!(found.steps[0].actor, Actor::B);
}

#[test]
fn without_a_budget_the_start_comes_back() {
    for budget in [
        Budget { runs: 0, ..PLENTY },
        Budget {
            time: Duration::ZERO,
            ..PLENTY
        },
    ] {
        let result = checked(&large(), budget, race);
        assert_eq!(result.scenario, large());
        assert_eq!((result.runs, result.stopped), (0, Stopped::Budget));
    }
}

#[test]
fn every_budget_is_kept_and_its_result_fails() {
    let mut last = Size::of(&large());
    for runs in 0..60 {
        let result = checked(&large(), Budget { runs, ..PLENTY }, race);
        assert!(result.runs <= runs);
        let size = Size::of(&result.scenario);
        assert!(size <= last, "more runs made it worse");
        last = size;
    }
}

#[test]
fn an_interruption_keeps_the_best_so_far() {
    let mut runs = 0;
    let mut best = large();
    let result = search(&large(), PLENTY, &mut |candidate: &Scenario| {
        runs += 1;
        if runs >= 20 {
            return Verdict::Interrupted;
        }
        if race(candidate) {
            best = candidate.clone();
        }
        verdict(race(candidate))
    });
    assert_eq!(result.stopped, Stopped::Interrupted);
    assert_eq!(result.runs, 20);
    assert_eq!(result.scenario, best);
    assert!(result.after < result.before);
}

#[test]
fn nothing_that_was_not_seen_to_fail_is_returned() {
    // Nothing but the start fails.
    let result = search(&large(), PLENTY, &mut |_: &Scenario| verdict(false));
    assert_eq!(result.scenario, large());
    assert_eq!(result.stopped, Stopped::Minimal);
    // A failure that shows only now and then.
    for seed in 0..50_u64 {
        let mut draw = seed;
        let mut seen = HashSet::from([large()]);
        let result = search(&large(), PLENTY, &mut |candidate: &Scenario| {
            draw = draw
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let fails = race(candidate) && draw >> 62 != 0;
            if fails {
                seen.insert(candidate.clone());
            }
            verdict(fails)
        });
        assert!(seen.contains(&result.scenario), "seed {seed}");
        assert_eq!(result.stopped, Stopped::Minimal);
        let steps = result.after.steps;
        assert!(steps <= 4, "seed {seed}: {steps}");
    }
}

#[test]
fn a_family_goes_towards_the_simplest_that_fails() {
    let mut start = large();
    start.setup.socket.family = Family::Udp6;
    start.setup.ack = Netem::default();
    start.setup.socket.nodelay = false;
    let datagrams = |s: &Scenario| s.setup.socket.family.has_datagrams();
    assert_eq!(minimal(&start, datagrams).setup.socket.family, Family::Udp4);
    let ipv6 = |s: &Scenario| s.setup.socket.family.over_ipv6();
    assert_eq!(minimal(&start, ipv6).setup.socket.family, Family::Tcp6);
    assert_eq!(minimal(&start, race).setup.socket.family, Family::Tcp4);
}
