//! The operations, as statements: the steps of an actor, in their order and in turn.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `statement` | one step |
//! | `sends` | operations that send |
//! | `pipes` | the two pipes, and what goes into them |

mod pipes;
mod sends;
mod statement;

use std::fmt::Write;

use super::ends;
use super::shape::{Reader, Shape};
use crate::scenario::{Actor, Op, Scenario, Step};
use statement::statements;

/// All steps of an actor, each below its text.
pub fn steps_of(scenario: &Scenario, shape: &Shape, actor: Actor) -> String {
    let mut text = String::new();
    let mut awaited = Vec::new();
    let mut seen = Vec::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        // What the reader does in the main thread is no thread's.
        let inline = shape.reader == Reader::Inline && step.actor == Actor::Reader;
        let who = if inline { Actor::A } else { step.actor };
        if who != actor {
            continue;
        }
        let _ = writeln!(text, "\n\t/* {step} */");
        let lines = statements(scenario, shape, index, &seen);
        let read = shape.reader == Reader::Drains && arrives_before(scenario, index);
        let read = match read {
            true => "\tusleep(100);\t/* What has arrived is read. */\n",
            false => "",
        };
        seen.push(step.op);
        if !shape.takes_turns {
            text += read;
            lines.iter().for_each(|line| text += &indented(line));
            continue;
        }
        for last in lasts(scenario, index, actor) {
            if !awaited.contains(&last) {
                let _ = writeln!(text, "\tafter(&{}, {});", name(last.0), last.1);
                awaited.push(last);
            }
        }
        text += read;
        // A program that is run takes its time, and is not blocked by that.
        if !matches!(step.op, Op::Hold { .. } | Op::Release { .. }) {
            let _ = writeln!(text, "\tbegin(&{actor});");
        }
        lines.iter().for_each(|line| text += &indented(line));
        let _ = writeln!(text, "\tend(&{}, {});", name(actor), index + 1);
    }
    text
}

/// Whether a write is the first one behind a send that can have arrived by then.
fn arrives_before(scenario: &Scenario, index: usize) -> bool {
    let steps = &scenario.steps;
    let before = steps[..index].iter().rev();
    let gives_time = |it: &Step| it.op.writes().is_some() || matches!(it.op, Op::Wait { .. });
    let mut since = before.take_while(|it| !gives_time(it));
    let writes = steps[index].op.writes().is_some();
    let family = scenario.setup.socket.family;
    let data = &scenario.setup.data;
    let late = data.delay_us > 0 || data.slot_us > 0 || data.rate_bps > 0;
    let at_once = !family.passes_link() || !late;
    let copies = |it: &Step| matches!(it.op, Op::Copy { .. });
    writes && at_once && since.any(|it| it.op.sends() && !copies(it))
}

/// The last steps that the other actors have before the one at `index`, counted from 1.
pub fn lasts(scenario: &Scenario, index: usize, actor: Actor) -> Vec<(Actor, usize)> {
    let mut lasts: Vec<(Actor, usize)> = Vec::new();
    for (at, step) in scenario.steps[..index].iter().enumerate() {
        if step.actor != actor {
            lasts.retain(|(it, _)| *it != step.actor);
            lasts.push((step.actor, at + 1));
        }
    }
    lasts
}

/// Whether it is to be known who sleeps: somebody awaits that another one is blocked, or
/// reads what is left when the others are.
pub fn notes_sleep(scenario: &Scenario, shape: &Shape) -> bool {
    let awaits = |it: &Step| matches!(it.op, Op::Await { .. });
    let sleeps = |it: &Step| matches!(it.op, Op::Wait { .. }) && it.actor != Actor::Reader;
    let steps = &scenario.steps;
    let waits_for_all = shape.reader == Reader::Actor && !ends::may_leave(scenario);
    // Who is alone awaits one who does nothing, and so nobody.
    shape.takes_turns && (steps.iter().any(awaits) || waits_for_all && steps.iter().any(sleeps))
}

/// What an actor is called in C, where link(2) is something else.
pub fn name(actor: Actor) -> &'static str {
    match actor {
        Actor::A => "a",
        Actor::B => "b",
        Actor::C => "c",
        Actor::Reader => "reader",
        Actor::Link => "the_link",
    }
}

pub fn indented(line: &str) -> String {
    line.lines().map(|it| format!("\t{it}\n")).collect()
}
