//! What is not in C.

use std::fmt;

use super::lend;
use super::own::Own;
use super::shape::{most_bytes, reads_too_much, senders};
use crate::scenario::{
    Actor, DeviceKind, Expect, Expected, Family, Netem, Op, Range, Scenario, Step,
    text::units::Percent,
};

/// The longest datagram that fits a packet of IPv4.
const DATAGRAM_BYTES: u64 = 65_507;

/// What surely fits the buffer of AF_VSOCK, which has 256 KiB.
const VSOCK_ROOM_BYTES: u64 = 128 * 1024;

/// Something of a scenario that its C program could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{what}` is not in C: {why}")]
pub struct NotInC {
    /// The step or the setting, as it stands in the text.
    pub what: String,
    /// What keeps it from being in a program.
    pub why: &'static str,
}

fn not(what: impl fmt::Display, why: &'static str) -> Result<(), NotInC> {
    Err(NotInC {
        what: what.to_string(),
        why,
    })
}

/// # Errors
/// The first thing that is not in C.
pub fn check(scenario: &Scenario) -> Result<(), NotInC> {
    check_setup(scenario)?;
    for step in &scenario.steps {
        check_step(scenario, step)?;
    }
    check_together(scenario)
}

fn check_setup(scenario: &Scenario) -> Result<(), NotInC> {
    let setup = &scenario.setup;
    if setup.device.kind == DeviceKind::Tun {
        return not("link tun", "it takes a program between two TUN interfaces");
    }
    for netem in [&setup.data, &setup.ack] {
        check_netem(netem)?;
    }
    if setup.relay && setup.socket.tcp.quickack.is_some() {
        return not("quickack", "it does not last, and a proxy does not read");
    }
    if setup.socket.each && setup.relay {
        return not("each", "every connection would have a proxy");
    }
    let loses = |it: &Netem| it.loss_ppm > 0 || it.corrupt_ppm > 0 || it.limit_packets > 0;
    if setup.socket.user_timeout_us > 0 && (loses(&setup.data) || loses(&setup.ack)) {
        return not(
            "user-timeout",
            "a sender that gives up tells nobody, and the receiver would wait for ever",
        );
    }
    Ok(())
}

/// What netem leaves to chance shows in some runs only: a few runs must be enough.
fn check_netem(netem: &Netem) -> Result<(), NotInC> {
    const CHANCE: &str = "tc(8) gives netem no seed, and bursts would show in few runs";
    match netem.recover_ppm {
        0 => Ok(()),
        ppm => not(format_args!("recover={}", Percent(ppm)), CHANCE),
    }
}

/// Whether it shows in some runs only, so that several have to be made.
pub fn is_left_to_chance(scenario: &Scenario) -> bool {
    let chances = |it: &Netem| it.loss_ppm > 0 || it.reorder_ppm > 0 || it.corrupt_ppm > 0;
    let violated = |it: &Expect| matches!(it.verdict, Expected::Violates(_));
    let may_break = scenario.expects.is_empty() || scenario.expects.iter().any(violated);
    may_break && (chances(&scenario.setup.data) || chances(&scenario.setup.ack))
}

fn check_step(scenario: &Scenario, step: &Step) -> Result<(), NotInC> {
    let maps = |it: &Step| it.op.maps();
    let any = |what: fn(&Step) -> bool| scenario.steps.iter().any(what);
    match step.op {
        Op::Meet { .. } => not(
            step,
            "which instant two threads meet at is seen in many runs only",
        ),
        Op::Kill { .. } => not(step, "each send would need a process of its own"),
        Op::Borrow { .. } if !lends(scenario.setup.socket.family) => {
            not(step, "the kernel refuses it, and says so in different ways")
        }
        Op::Borrow { .. } if scenario.setup.socket.poll => not(
            step,
            "a loop of sends would have as many completions as it takes turns",
        ),
        Op::Borrow { .. } if has_parts(scenario) => not(
            step,
            "what AF_VSOCK takes in parts has a completion for each of them",
        ),
        Op::Borrow { .. } if any(pipes) && lend::changes(scenario) => {
            not(step, "what is in a pipe would no longer be the file's")
        }
        Op::Signal { to } if to != Actor::A => {
            not(step, "only the main thread is known to the others")
        }
        Op::Close if step.actor != Actor::Reader => not(
            step,
            "another thread would have to go on with what is closed",
        ),
        Op::Truncate { .. } | Op::Collapse(_) if any(maps) => {
            not(step, "a store behind the end of a file is a trap (SIGBUS)")
        }
        Op::Borrow { .. } if scenario.setup.socket.each => not(
            step,
            "the completions of every connection would have to be counted",
        ),
        Op::Read { .. } if reads_beside(scenario, step.actor) => {
            not(step, "two threads would read from one socket")
        }
        Op::Read { .. } if step.actor != Actor::Reader && reads_too_much(scenario).is_some() => {
            not(step, "it gives up when nothing comes for 5 s")
        }
        Op::SpliceIn { .. } if scenario.setup.file.sparse && any(writes) => {
            not(step, "what is in a pipe of a hole is not the file's")
        }
        op if (op.zeroes() || op.needs_ext4()) && any(pipes) => {
            not(step, "what is in a pipe would no longer be the file's")
        }
        _ => Ok(()),
    }
}

/// Whether sends by reference are taken or refused there as elsewhere.
fn lends(family: Family) -> bool {
    !matches!(
        family,
        Family::Unix | Family::UnixSeqpacket | Family::Mptcp4 | Family::Mptcp6
    )
}

/// Whether a send by reference can be cut by a receiver that has no room for all of it.
fn has_parts(scenario: &Scenario) -> bool {
    scenario.setup.socket.family == Family::Vsock && most_bytes(scenario) > VSOCK_ROOM_BYTES
}

fn check_together(scenario: &Scenario) -> Result<(), NotInC> {
    if let Some(step) = refused_datagram(scenario) {
        return not(
            step,
            "what a datagram that is refused throws away is not known",
        );
    }
    if scenario.steps.iter().any(pipes)
        && let Some(step) = writes_beside(scenario)
    {
        return not(step, "what is in a pipe would change during the call");
    }
    if Own::of(scenario) == Own::Sent && has_zeros(scenario) {
        let second = senders(scenario).nth(1);
        let mut steps = scenario.steps.iter();
        if let Some(step) = steps.find(|it| it.op.sends() && Some(it.actor) == second) {
            return not(step, "of zeros it is not known who has sent them");
        }
    }
    // Both values of a byte are known, from before a call and from after it; not those
    // that it had meanwhile.
    for sender in senders(scenario) {
        if let Some(step) = written_twice_beside(scenario, sender) {
            return not(step, "a byte would have three values during one call");
        }
    }
    if let Some(step) = lend::third_value(scenario) {
        return not(step, "a byte would have three values before the completion");
    }
    Ok(())
}

/// A send whose datagram is refused, or could be. What a datagram is is clear where none
/// is cut, or put together by two.
fn refused_datagram(scenario: &Scenario) -> Option<Step> {
    let socket = &scenario.setup.socket;
    let sndbuf_bytes = socket.sndbuf_bytes.map_or(u64::MAX, u64::from);
    let room_bytes = sndbuf_bytes.min(DATAGRAM_BYTES);
    let steps = &scenario.steps;
    let waits = |it: &Step| matches!(it.op, Op::SpliceOut { more: true, .. });
    if !socket.family.has_datagrams() {
        return None;
    }
    if (socket.cork || steps.iter().any(waits)) && most_bytes(scenario) > room_bytes {
        return steps.iter().rfind(|it| it.op.sends()).copied();
    }
    let long = |it: &&Step| match it.op {
        Op::SendfileOn { len } | Op::SpliceOut { len, .. } => len > room_bytes,
        op if op.sends() => op.range().is_some_and(|range| range.len > room_bytes),
        _ => false,
    };
    steps.iter().find(long).copied()
}

/// A write by another thread than that of a sender.
fn writes_beside(scenario: &Scenario) -> Option<Step> {
    let beside = |it: &&Step| writes(it) && senders(scenario).any(|sender| sender != it.actor);
    scenario.steps.iter().find(beside).copied()
}

/// Whether bytes that are sent can be zeros that nobody has written.
fn has_zeros(scenario: &Scenario) -> bool {
    let zeroes = |it: &Step| it.op.zeroes();
    scenario.setup.file.sparse || scenario.steps.iter().any(zeroes)
}

/// The second write to a byte that others than a sender write to.
fn written_twice_beside(scenario: &Scenario, sender: Actor) -> Option<Step> {
    let written: Vec<(Step, Range)> = scenario
        .steps
        .iter()
        .filter(|it| it.actor != sender)
        .filter_map(|it| Some((*it, it.op.writes()?)))
        .collect();
    let overlaps = |one: Range, other: Range| one.offset < other.end() && other.offset < one.end();
    let again = |at: usize| {
        let before = &written[..at];
        before.iter().any(|(_, it)| overlaps(*it, written[at].1))
    };
    let at = (0..written.len()).find(|&at| again(at))?;
    Some(written[at].0)
}

/// Whether somebody else reads on the same connection by steps of its own.
fn reads_beside(scenario: &Scenario, reader: Actor) -> bool {
    let connection = |actor: Actor| match actor {
        Actor::Reader => Actor::A,
        actor => scenario.connection_of(actor),
    };
    let own = connection(reader);
    let reads = |it: &Step| matches!(it.op, Op::Read { .. });
    let beside = |it: &Step| it.actor != reader && connection(it.actor) == own && reads(it);
    matches!(reader, Actor::B | Actor::C) && scenario.steps.iter().any(beside)
}

fn writes(step: &Step) -> bool {
    step.op.writes().is_some()
}

fn pipes(step: &Step) -> bool {
    matches!(step.op, Op::SpliceOut { .. })
}
