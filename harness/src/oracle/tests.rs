//! Histories of the model, as they are and doctored at random.

use super::doctor::{Plan, range};
use super::draw::{Rng, random_scenario};
use super::ledger::Ledger;
use super::model::{Ran, Style, Takes, run};
use super::stream::Promise;
use super::*;
use crate::history::{Completed, Completion, Outcome, pattern};
use crate::scenario::Op;

const RUNS: u64 = 3_000;

fn style(takes: Takes, overlap: bool) -> Style {
    Style {
        takes,
        overlap,
        give_up_after: None,
    }
}

/// A random scenario and a run of it.
fn ran(seed: u64, style: Style) -> (Scenario, Ran) {
    let scenario = random_scenario(&mut Rng::new(seed));
    let ran = run(&scenario, style, !seed);
    (scenario, ran)
}

fn names(scenario: &Scenario, history: &History) -> Vec<Property> {
    judge(Contract::Stable, scenario, history)
        .iter()
        .map(|v| v.property)
        .collect()
}

#[test]
fn legal_histories_are_never_flagged() {
    let mut bytes = 0;
    for seed in 0..RUNS {
        for takes in [Takes::DuringSend, Takes::WhenFilled] {
            let (scenario, ran) = ran(seed, style(takes, seed % 4 != 0));
            assert!(!ran.torn, "seed {seed}: the model itself is wrong");
            let violations = judge(Contract::Stable, &scenario, &ran.history);
            assert_eq!(violations, [], "seed {seed} {takes:?}: {scenario:#?}");
            bytes += ran.history.received.len();
        }
    }
    assert!(bytes > 250 * RUNS as usize, "only {bytes} bytes were sent");
}

#[test]
fn a_kernel_that_sends_references_keeps_the_documented_contract() {
    for seed in 0..RUNS {
        let (scenario, ran) = ran(seed, style(Takes::WhenReceived, seed % 4 != 0));
        let violations = judge(Contract::Documented, &scenario, &ran.history);
        assert_eq!(violations, [], "seed {seed}: {scenario:#?}");
    }
}

#[test]
fn stable_is_flagged_exactly_where_a_byte_is_torn() {
    let (mut torn, mut flagged) = (0, 0);
    for seed in 0..RUNS {
        let overlap = seed % 2 == 0;
        let (scenario, ran) = ran(seed, style(Takes::WhenReceived, overlap));
        let found = names(&scenario, &ran.history);
        let cries = found.contains(&Property::StableOnReturn);
        assert!(found.len() <= usize::from(cries), "seed {seed}: {found:?}");
        assert!(
            ran.torn || !cries,
            "seed {seed}: false alarm: {scenario:#?}"
        );
        // Where writes overlap each other, the order in which they hit a byte is
        // not known, and the benefit of the doubt is due.
        assert!(
            overlap || cries == ran.torn,
            "seed {seed}: missed: {scenario:#?}"
        );
        torn += u64::from(ran.torn);
        flagged += u64::from(cries);
    }
    assert!(torn > RUNS / 10, "only {torn} torn");
    assert!(flagged * 10 > torn * 9, "{flagged} of {torn} flagged");
}

#[test]
fn a_run_that_was_given_up_breaks_liveness_and_nothing_else() {
    for seed in 0..RUNS {
        let style = Style {
            give_up_after: Some(1 + seed % 20),
            ..style(Takes::DuringSend, true)
        };
        let (scenario, ran) = ran(seed, style);
        let expected: &[Property] = match ran.history.end {
            crate::history::End::GivenUp => &[Property::Liveness],
            _ => &[],
        };
        let found = judge(Contract::Stable, &scenario, &ran.history);
        let found_names: Vec<_> = found.iter().map(|v| v.property).collect();
        assert_eq!(
            found_names, expected,
            "seed {seed}: {found:#?} {scenario:#?}"
        );
    }
}

/// Runs `doctor` on legal histories and expects `property` each time that it
/// says it changed something; at least `at_least` times in all.
fn expect_flagged(
    property: Property,
    at_least: u64,
    doctor: impl Fn(&mut Rng, &Scenario, &mut History) -> bool,
) {
    let mut doctored = 0;
    for seed in 0..RUNS {
        let (scenario, mut ran) = ran(seed, style(Takes::DuringSend, true));
        if !doctor(&mut Rng::new(seed ^ 0xd0c), &scenario, &mut ran.history) {
            continue;
        }
        doctored += 1;
        let found = judge(Contract::Stable, &scenario, &ran.history);
        assert!(
            found.iter().any(|v| v.property == property),
            "seed {seed}: no {property}: {found:#?} {scenario:#?}"
        );
    }
    assert!(doctored >= at_least, "only {doctored} doctored");
}

/// The file offset of a stream byte.
fn file_offset(scenario: &Scenario, history: &History, stream: usize) -> u64 {
    let mut rest = stream as u64;
    for run in stream::sent(scenario, history) {
        if rest < run.range.len {
            return run.range.offset + rest;
        }
        rest -= run.range.len;
    }
    unreachable!("stream byte {stream} was not sent")
}

/// Whether the place of a byte in the stream does not tell who sent it.
fn takes_turns(scenario: &Scenario, history: &History) -> bool {
    interleave::overlaps(scenario, &stream::sent(scenario, history))
}

/// Whether zeros of several threads take turns: any order of them is right.
fn mixes_zeros(scenario: &Scenario, history: &History) -> bool {
    scenario.may_have_holes() && takes_turns(scenario, history)
}

fn some_byte(rng: &mut Rng, of: &[u8]) -> Option<usize> {
    (!of.is_empty()).then(|| rng.below(of.len() as u64) as usize)
}

#[test]
fn a_flipped_byte_is_flagged() {
    expect_flagged(Property::Wire, RUNS / 2, |rng, scenario, history| {
        let Some(at) = some_byte(rng, &history.received) else {
            return false;
        };
        if mixes_zeros(scenario, history) {
            return false;
        }
        // What is or becomes a zero says little about its generation.
        if [0, 156].contains(&history.received[at]) {
            return false;
        }
        // No scenario here has 100 writes.
        history.received[at] = history.received[at].wrapping_add(100);
        true
    });
}

#[test]
fn a_dropped_byte_is_flagged() {
    let drop = |rng: &mut Rng, scenario: &Scenario, history: &mut History| {
        let Some(at) = some_byte(rng, &history.received) else {
            return false;
        };
        if mixes_zeros(scenario, history) {
            return false;
        }
        history.received.remove(at);
        for chunk in &mut history.chunks {
            let holds = chunk.start <= at && at < chunk.start + chunk.len;
            chunk.len -= usize::from(holds);
            chunk.start -= usize::from(chunk.start > at);
        }
        true
    };
    expect_flagged(Property::Wire, RUNS / 2, drop);
    expect_flagged(Property::Counts, RUNS / 2, drop);
}

#[test]
fn a_repeated_run_is_flagged() {
    let repeat = |rng: &mut Rng, scenario: &Scenario, history: &mut History| {
        let Some(at) = some_byte(rng, &history.received) else {
            return false;
        };
        if mixes_zeros(scenario, history) {
            return false;
        }
        let again = history.received[at..].to_vec();
        history.received.extend(again);
        true
    };
    expect_flagged(Property::Wire, RUNS / 2, repeat);
    expect_flagged(Property::Counts, RUNS / 2, repeat);
}

#[test]
fn swapped_blocks_are_flagged() {
    const BLOCK: usize = 16;
    expect_flagged(Property::Wire, RUNS / 3, |rng, scenario, history| {
        let len = history.received.len();
        if len < 2 * BLOCK {
            return false;
        }
        if takes_turns(scenario, history) {
            return false;
        }
        let first = rng.below((len - 2 * BLOCK + 1) as u64) as usize;
        let second = first + BLOCK;
        // Zeros are everywhere the same.
        if scenario.may_have_holes() {
            return false;
        }
        // The same range may have been sent twice.
        let same = (0..BLOCK).any(|at| {
            file_offset(scenario, history, first + at)
                == file_offset(scenario, history, second + at)
        });
        let (left, right) = history.received[first..].split_at_mut(BLOCK);
        left.swap_with_slice(&mut right[..BLOCK]);
        !same
    });
}

#[test]
fn a_byte_of_a_write_after_the_return_is_flagged() {
    late_writes_are_flagged(Promise::Return, Property::StableOnReturn, RUNS / 5);
}

#[test]
fn a_byte_of_a_write_after_the_completion_is_flagged() {
    late_writes_are_flagged(Promise::Completion, Property::Completion, RUNS / 100);
}

/// Puts the value of a later write where something was sent under that promise.
fn late_writes_are_flagged(promise: Promise, property: Property, at_least: u64) {
    expect_flagged(property, at_least, |rng, scenario, history| {
        let sent = stream::sent(scenario, history);
        let ledger = Ledger::new(scenario, history);
        if takes_turns(scenario, history) {
            return false;
        }
        let mut candidates: Vec<(usize, u8)> = Vec::new();
        let mut stream = 0;
        for run in &sent {
            for file in run.range.offset..run.range.end() {
                // What was copied breaks `wire` then.
                let other = run.copied || run.promise != promise;
                let newest = if other { 0 } else { ledger.newest() };
                for generation in 1..=newest {
                    let late = ledger.write_of(generation).is_some_and(|write| {
                        let covers = ledger.ever(file, u64::MAX).contains(generation);
                        covers && write.entry.order > run.window.to
                    });
                    let value = ledger.value(generation, file);
                    let during = ledger.during(file, run.window);
                    if late && !ledger.allows(&during, file, value) {
                        candidates.push((stream, value));
                    }
                }
                stream += 1;
            }
        }
        if candidates.is_empty() {
            return false;
        }
        let (stream, value) = candidates[rng.below(candidates.len() as u64) as usize];
        history.received[stream] = value;
        // The receiver was slow, so that it can have seen that write.
        for chunk in &mut history.chunks {
            chunk.at.order += 1 << 32;
        }
        true
    });
}

/// Puts a value that was overwritten before its send where it was sent.
#[test]
fn a_byte_from_before_the_call_is_flagged_by_any_contract() {
    let mut doctored = 0;
    for seed in 0..RUNS {
        let (scenario, mut ran) = ran(seed, style(Takes::WhenReceived, seed % 2 == 0));
        let history = &mut ran.history;
        if takes_turns(&scenario, history) {
            continue;
        }
        let ledger = Ledger::new(&scenario, history);
        let mut candidates: Vec<(usize, u8)> = Vec::new();
        let mut stream = 0;
        for run in &stream::sent(&scenario, history) {
            for file in run.range.offset..run.range.end() {
                let possible = run.possible(&ledger, file, u64::MAX);
                let stale = ledger.ever(file, run.window.from);
                let values = stale.iter().map(|it| ledger.value(it, file));
                let wrong = values.filter(|byte| !ledger.allows(&possible, file, *byte));
                candidates.extend(wrong.map(|byte| (stream, byte)));
                stream += 1;
            }
        }
        candidates.retain(|(stream, _)| *stream < history.received.len());
        if candidates.is_empty() {
            continue;
        }
        let which = Rng::new(seed ^ 0xd0c).below(candidates.len() as u64) as usize;
        let (stream, value) = candidates[which];
        history.received[stream] = value;
        doctored += 1;
        let found = judge(Contract::Documented, &scenario, history);
        let flagged = (found.iter()).any(|it| it.property == Property::Wire);
        assert!(flagged, "seed {seed}: {found:#?} {scenario:#?}");
    }
    assert!(doctored > RUNS / 5, "only {doctored} doctored");
}

/// Doctors what was told of sends by reference.
fn expect_completion_flagged(doctor: impl Fn(&mut Rng, &mut Vec<Completion>, usize) -> bool) {
    expect_flagged(Property::Completion, RUNS / 10, |rng, _, history| {
        let told = &mut history.completions;
        if told.is_empty() || history.end != crate::history::End::Eof {
            return false;
        }
        let at = rng.below(told.len() as u64) as usize;
        doctor(rng, told, at)
    });
}

#[test]
fn a_completion_that_is_lost_is_flagged() {
    expect_completion_flagged(|_, told, at| {
        told.remove(at);
        true
    });
}

#[test]
fn a_completion_that_is_repeated_is_flagged() {
    expect_completion_flagged(|_, told, at| {
        told.push(told[at]);
        true
    });
}

#[test]
fn a_completion_of_what_was_not_sent_is_flagged() {
    expect_completion_flagged(|rng, told, at| match &mut told[at].of {
        Completed::Sends { last, .. } => {
            *last += 1 + rng.below(1 << 31) as u32;
            true
        }
        Completed::Notified { call } | Completed::Promised { call } => {
            *call += 1 << 32;
            true
        }
    });
}

/// Doctors a random call of those that `of` picks.
fn expect_call_flagged(
    of: impl Fn(&Scenario, &crate::history::Call) -> bool,
    doctor: impl Fn(&mut crate::history::Call),
) {
    expect_flagged(Property::Counts, RUNS / 5, |rng, scenario, history| {
        let calls: Vec<usize> = (0..history.calls.len())
            .filter(|&at| of(scenario, &history.calls[at]))
            .collect();
        if calls.is_empty() {
            return false;
        }
        let at = calls[rng.below(calls.len() as u64) as usize];
        doctor(&mut history.calls[at]);
        true
    });
}

#[test]
fn a_return_value_that_is_off_by_one_is_flagged() {
    let sends = |scenario: &Scenario, call: &crate::history::Call| {
        scenario.steps[call.step].op.sends() && call.outcome.bytes() > 0
    };
    let off = |by: i64| {
        move |call: &mut crate::history::Call| {
            let returned = call.outcome.bytes().saturating_add_signed(by);
            call.outcome = Outcome::Returned(returned);
        }
    };
    expect_call_flagged(sends, off(1));
    expect_call_flagged(sends, off(-1));
}

#[test]
fn a_wrong_offset_or_file_position_is_flagged() {
    let has_offset = |_: &Scenario, call: &crate::history::Call| call.offset_after.is_some();
    let has_f_pos = |_: &Scenario, call: &crate::history::Call| call.f_pos_after.is_some();
    expect_call_flagged(has_offset, |call| *call.offset_after.as_mut().unwrap() += 1);
    expect_call_flagged(has_f_pos, |call| *call.f_pos_after.as_mut().unwrap() += 1);
}

/// What no write of a scenario puts there, of which it has far less than that, nor zeros.
fn no_writes(at: usize) -> u8 {
    let mut others = (200..).map(|generation| pattern(at as u64, generation));
    others.find(|byte| *byte != 0).unwrap()
}

#[test]
fn a_changed_file_is_flagged() {
    expect_flagged(Property::Source, RUNS * 9 / 10, |rng, _, history| {
        let Some(at) = some_byte(rng, &history.file_pread) else {
            return false;
        };
        history.file_pread[at] = no_writes(at);
        true
    });
    expect_flagged(Property::Source, RUNS / 3, |rng, _, history| {
        let Some(at) = some_byte(rng, &history.file_mmap) else {
            return false;
        };
        history.file_mmap[at] = no_writes(at);
        true
    });
}

#[test]
fn a_file_of_another_length_is_flagged() {
    expect_flagged(Property::Source, RUNS / 2, |rng, scenario, history| {
        // Of cuts that overlap, any can be the last.
        let sizes = sizes::Sizes::new(scenario, history);
        if sizes.during(ledger::Window::END).certain().is_none() {
            return false;
        }
        match rng.chance(50) {
            true => history.file_pread.push(0),
            false if history.file_pread.pop().is_none() => return false,
            false => {}
        }
        history.file_mmap.clear();
        true
    });
}

#[test]
fn a_late_end_is_flagged() {
    expect_flagged(Property::Liveness, RUNS, |_, scenario, history| {
        history.end_ns = bound_ns(scenario) + 1;
        true
    });
}

#[test]
fn names_of_properties_and_contracts_read_back() {
    for property in Property::ALL {
        assert_eq!(property.to_string().parse(), Ok(property));
    }
    for contract in [Contract::Documented, Contract::Stable] {
        assert_eq!(contract.to_string().parse(), Ok(contract));
    }
    let unknown = "torn".parse::<Property>().unwrap_err().to_string();
    assert!(
        unknown.starts_with("unknown property `torn` (known: wire, "),
        "{unknown}"
    );
}

#[test]
fn nonsense_does_not_panic() {
    let mut plan = Plan::new(4096);
    plan.call(Op::Sendfile(range(u64::MAX - 5, 100)), 1, 2)
        .outcome = Outcome::Returned(u64::MAX);
    plan.receive(3, range(0, 100), 0);
    plan.history.calls[0].step = 9;
    assert_eq!(plan.verdict(), ["wire", "counts"]);
    plan.history.calls[0].step = 0;
    assert!(!plan.verdict().is_empty());
    plan.call(
        Op::SpliceOut {
            len: u64::MAX,
            more: true,
            nonblock: true,
            tee: false,
            move_pages: false,
        },
        4,
        5,
    );
    plan.history.chunks.clear();
    plan.history.end = crate::history::End::Failed(0);
    assert!(!plan.verdict().is_empty());
}

/// The time that `judge` takes where nothing is wrong; run with
/// `cargo test --release -p inflight judge_speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn judge_speed() {
    let mut plan = Plan::new(32768);
    let mut order = 0;
    let mut tick = || {
        order += 1;
        order
    };
    // Eight sends of 4 KiB with a write after each, received 1448 bytes at a time.
    let mut arrivals = Vec::new();
    for page in 0..8 {
        let page = range(page * 4096, 4096);
        plan.call(Op::Sendfile(page), tick(), tick());
        arrivals.push(page);
        plan.call(
            Op::MmapWrite(range(page.offset + 100, 3000)),
            tick(),
            tick(),
        );
    }
    for page in arrivals {
        for part in [
            range(page.offset, 1448),
            range(page.offset + 1448, 1448),
            range(page.offset + 2896, 1200),
        ] {
            plan.receive(tick(), part, 0);
        }
    }
    plan.history.file_mmap = plan.history.file_pread.clone();
    assert_eq!(plan.violations(), []);
    let rounds = 20_000;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        let found = judge(Contract::Stable, &plan.scenario, &plan.history);
        assert!(std::hint::black_box(found).is_empty());
    }
    let us = start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds);
    println!("judge: {us:.2} us for 32 KiB in 8 sends, 8 writes, 24 chunks, two views of the file");
    assert!(us < 20.0, "{us} us");
}
