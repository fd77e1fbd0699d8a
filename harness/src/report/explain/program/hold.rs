//! Packets that are held at the end of the link, and let go.
//!
//! A plug holds what waits in it, until tc(8) opens it. Where packets are counted it is a
//! netem with slots that holds them, of which the next one is never; the plug behind it is
//! open then, and opening it again makes the kernel look at the queue.

use std::fmt::Write;

use super::shape::senders;
use crate::scenario::{Actor, Op, Scenario, Step, Way};

/// A slot after which there is never another one.
const NEVER: &str = "slot 1000000s";
/// 8.6 s before they come: -4 times the jitter, which is all that the table says.
const AHEAD: &str = "delay 1us 2147ms";

/// Whether of the packets of a direction some are counted.
fn counts(scenario: &Scenario, way: Way) -> bool {
    let counts = |step: &Step| match step.op {
        Op::Hold {
            way: it,
            after_packets,
        } => it == way && after_packets > 0,
        Op::Release { way: it, packets } => it == way && packets.is_some(),
        _ => false,
    };
    scenario.steps.iter().any(counts)
}

/// Whether some pass before a hold.
fn passes_some(scenario: &Scenario, way: Way) -> bool {
    let passes = |step: &Step| matches!(step.op, Op::Hold { way: it, after_packets } if it == way && after_packets > 0);
    scenario.steps.iter().any(passes)
}

fn interface(way: Way) -> &'static str {
    match way {
        Way::Data => "near",
        Way::Ack => "far",
    }
}

fn plug(scenario: &Scenario, way: Way) -> &'static str {
    match counts(scenario, way) {
        true => "parent 2: handle 3: plug",
        false => "parent 1: handle 3: plug",
    }
}

/// The commands that make what holds packets, behind the root queue 1: of an interface.
pub fn queues(scenario: &Scenario, way: Way) -> String {
    if !scenario.holds(way) {
        return String::new();
    }
    let dev = interface(way);
    let plug = plug(scenario, way);
    let mut text = String::new();
    if passes_some(scenario, way) {
        let _ = writeln!(
            text,
            "\t/*\n\
             \t * Packets are held here, by slots of netem: so many pass, and then none until the\n\
             \t * next slot, which is never. What is due before a slot begins is part of it, so\n\
             \t * those that are yet to come are made due 8 s before they come, by a table of\n\
             \t * delays that says -4.\n\
             \t */\n\
             \trun(\"tables=$(mktemp -d) && echo -32768 >$tables/ahead.dist && \"\n\
             \t    \"TC_LIB_DIR=$tables tc qdisc add dev {dev} parent 1: handle 2: \"\n\
             \t    \"netem {AHEAD} distribution ahead && rm -r $tables\");"
        );
    } else if counts(scenario, way) {
        let _ = writeln!(
            text,
            "\t/*\n\
             \t * Packets are held here, by slots of netem: so many pass, and then none until the\n\
             \t * next slot, which is never.\n\
             \t */\n\
             \trun(\"tc qdisc add dev {dev} parent 1: handle 2: netem\");"
        );
    } else {
        text += "\t/* Packets are held here. */\n";
    }
    let _ = writeln!(
        text,
        "\trun(\"tc qdisc add dev {dev} {plug} limit 100000000\");\n\
         \trun(\"tc qdisc change dev {dev} {plug} release_indefinite\");"
    );
    text
}

/// The step, as commands.
pub fn statements(scenario: &Scenario, op: Op) -> Vec<String> {
    let Some((way, slot)) = turned(op) else {
        return Vec::new();
    };
    let dev = interface(way);
    let plug = plug(scenario, way);
    let slots = format!("run(\"tc qdisc change dev {dev} parent 1: handle 2: netem {slot}\");");
    let look = format!("run(\"tc qdisc change dev {dev} {plug} release_indefinite\");");
    let lines = match (op, counts(scenario, way)) {
        (Op::Hold { .. }, true) => vec![slots],
        (Op::Hold { .. }, false) => {
            vec![format!("run(\"tc qdisc change dev {dev} {plug} block\");")]
        }
        (_, true) => vec![slots, "/* That alone starts nothing. */".into(), look],
        (_, false) => vec![look],
    };
    there(way, lines)
}

/// The direction that an operation holds or lets go, and the slot that does it.
fn turned(op: Op) -> Option<(Way, String)> {
    match op {
        Op::Hold {
            way,
            after_packets: 0,
        } => Some((way, format!("{NEVER} packets 1"))),
        Op::Hold { way, after_packets } => {
            Some((way, format!("{AHEAD} {NEVER} packets {after_packets}")))
        }
        Op::Release {
            way,
            packets: Some(packets),
        } => Some((way, format!("{NEVER} packets {packets}"))),
        Op::Release { way, packets: None } => Some((way, "slot 0".into())),
        _ => None,
    }
}

/// Commands in the namespace that has the queue.
fn there(way: Way, lines: Vec<String>) -> Vec<String> {
    if way == Way::Data {
        return lines;
    }
    let mut all = vec!["must(setns(far, CLONE_NEWNET), \"setns\");".to_owned()];
    all.extend(lines);
    all.push("must(setns(near, CLONE_NEWNET), \"setns\");".to_owned());
    all
}

/// What is still held when everybody has done what there is to do.
pub fn rest(scenario: &Scenario) -> Vec<String> {
    let mut lines = Vec::new();
    for (_, way) in Way::NAMED {
        if left(scenario, way).is_some() {
            lines.extend(statements(scenario, Op::Release { way, packets: None }));
        }
    }
    if !lines.is_empty() {
        lines.insert(0, "/* What is still held. */".into());
    }
    lines
}

/// The step from which on a direction is held to the end.
fn left(scenario: &Scenario, way: Way) -> Option<usize> {
    let mut held = None;
    for (index, step) in scenario.steps.iter().enumerate() {
        match step.op {
            Op::Hold { way: it, .. } if it == way => held = Some(index),
            Op::Release {
                way: it,
                packets: None,
            } if it == way => held = None,
            _ => {}
        }
    }
    held
}

/// A direction that nobody would release if a call waited for just that: with the actor
/// whose call that is, and the last step (counted from 1) that has to be done.
pub fn deadlocks(scenario: &Scenario) -> Vec<(Way, Actor, usize)> {
    let mut found = Vec::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        if let Op::Hold { way, .. } = step.op {
            for it in waiting(scenario, way, index) {
                if !found.contains(&it) {
                    found.push(it);
                }
            }
        }
    }
    found
}

/// Who would wait for ever for what is held from the step at `index` on: whoever sends
/// before the release, where there is none, or where it is his own.
fn waiting(scenario: &Scenario, way: Way, index: usize) -> Vec<(Way, Actor, usize)> {
    let steps = &scenario.steps;
    let ends = |it: &Step| matches!(it.op, Op::Release { way: it, packets: None } if it == way);
    let end = (index..steps.len()).find(|&at| ends(&steps[at]));
    let before = &steps[..end.unwrap_or(steps.len())];
    let waits = |actor: &Actor| {
        let sends = before.iter().any(|it| it.actor == *actor && it.op.sends());
        sends && end.is_none_or(|at| steps[at].actor == *actor)
    };
    let last = |actor: Actor| {
        let last = end.or_else(|| steps.iter().rposition(|it| it.actor == actor));
        last.map(|last| (way, actor, last + 1))
    };
    senders(scenario).filter(waits).filter_map(last).collect()
}
