//! Sends by reference, and who says when the kernel is done with them.

use super::ends;
use super::own::Own;
use super::shape::Shape;
use crate::scenario::{Actor, Borrowing, Op, Range, Scenario, Step};

/// Whether what was sent may change after its call has returned.
pub fn changes(scenario: &Scenario) -> bool {
    let writes = |step: &Step| step.op.writes().is_some();
    scenario.borrows_any() && scenario.steps.iter().any(writes)
}

/// The actors that have a ring.
pub fn ring_owners(scenario: &Scenario) -> Vec<Actor> {
    let has_ring = |actor: &Actor| {
        let mut steps = scenario.steps.iter();
        steps.any(|it| it.actor == *actor && is_by_ring(it.op))
    };
    let actors = Actor::SENDING_SIDE.into_iter();
    actors.filter(has_ring).collect()
}

/// Whether a send goes by a ring.
pub fn is_by_ring(op: Op) -> bool {
    matches!(
        op,
        Op::Borrow {
            by: Borrowing::Uring,
            ..
        }
    )
}

/// What is noted of the sends, as C declares it.
pub fn accounts(scenario: &Scenario) -> String {
    let mut text = String::new();
    if scenario.borrows(Borrowing::Send) {
        text += "static struct loans lent;\n";
    }
    if scenario.borrows(Borrowing::Uring) {
        text += &format!("static {}struct loans by_ring;\n", own(scenario));
    }
    text
}

/// How what every owner of a ring has for itself is declared.
pub fn own(scenario: &Scenario) -> &'static str {
    match ring_owners(scenario).len() {
        0 | 1 => "",
        _ => "_Thread_local ",
    }
}

/// `await-completions` of an actor.
pub fn wait(scenario: &Scenario, actor: Actor) -> Vec<String> {
    let mut lines = Vec::new();
    if scenario.borrows(Borrowing::Send) {
        lines.push("await_queue();".into());
    }
    if ring_owners(scenario).contains(&actor) {
        lines.push("await_ring();".into());
    }
    lines
}

/// What another actor than the main one does in the end.
pub fn settle(scenario: &Scenario, actor: Actor) -> Vec<String> {
    if !ring_owners(scenario).contains(&actor) {
        return Vec::new();
    }
    vec![
        "await_ring();".into(),
        "if (wrong_completions(&by_ring))\n\texit(1);".into(),
    ]
}

/// What the main one asks besides what has arrived.
pub fn verdicts(scenario: &Scenario) -> String {
    let mut text = String::new();
    if scenario.borrows(Borrowing::Send) {
        text += " || wrong_completions(&lent)";
    }
    if ring_owners(scenario).contains(&Actor::A) {
        text += " || wrong_completions(&by_ring)";
    }
    text
}

/// What is settled when a call was told done with.
pub fn settle_call(scenario: &Scenario, shape: &Shape) -> &'static str {
    match shape.own == Own::Sent && scenario.borrows(Borrowing::Send) {
        true => {
            "\t/* Who has which number is not known: of one alone nothing is. */\n\
             \tfor (size_t i = 0; loans->told >= loans->made && i < loans->made; i++)\n\
             \t\tsettle(&loans->of[i]);"
        }
        false => "\tsettle(&loans->of[call % 64]);",
    }
}

/// How often a call must be told done with, compared with 1.
pub fn once(scenario: &Scenario) -> &'static str {
    match ends::may_end_early(scenario) {
        true => "<=",
        false => "==",
    }
}

/// A write to what is still lent that another one has written to since: of three values
/// two would be known.
pub fn third_value(scenario: &Scenario) -> Option<Step> {
    let steps = &scenario.steps;
    steps
        .iter()
        .enumerate()
        .find_map(|(at, step)| match step.op {
            Op::Borrow { range, .. } => written_twice(scenario, &steps[at + 1..], range),
            _ => None,
        })
}

fn written_twice(scenario: &Scenario, later: &[Step], lent: Range) -> Option<Step> {
    let overlaps = |one: Range, other: Range| one.offset < other.end() && other.offset < one.end();
    let mut written: Vec<Range> = Vec::new();
    for step in later {
        // Where packets are held a wait can end without an answer.
        if step.op == Op::AwaitCompletions && !scenario.holds_any() {
            break;
        }
        let Some(range) = step.op.writes().filter(|it| overlaps(*it, lent)) else {
            continue;
        };
        if written.iter().any(|it| overlaps(*it, range)) {
            return Some(*step);
        }
        written.push(range);
    }
    None
}
