//! What is compared in the end.

use super::ends;
use super::lend;
use super::place;
use super::shape::Shape;
use super::steps;
use crate::scenario::{Actor, Op, Scenario};

/// What stands in the place of the marks of a part.
pub fn marks(scenario: &Scenario, shape: &Shape) -> Vec<(&'static str, String)> {
    let setup = &scenario.setup;
    let family = setup.socket.family;
    let failed = match ends::may_fail(scenario) {
        true => "if (len < 0)\n\t\treturn;",
        false => "must(len, \"the send\");",
    };
    // Of a packet the rest would be lost.
    let (room, len) = match family.is_stream() {
        true => ("most < room ? most : room", "len"),
        false => ("room", "(size_t)len < most ? (size_t)len : most"),
    };
    let direct = |op: Op| matches!(op, Op::DirectWrite(_));
    let malloc = match scenario.steps.iter().any(|it| direct(it.op)) {
        // O_DIRECT wants it so.
        true => "aligned_alloc(4096, (len + 4095) / 4096 * 4096)",
        false => "malloc(len)",
    };
    let after = match setup.socket.tcp.quickack {
        // It does not last.
        Some(on) => format!(
            "\n\t\tset(receiver, IPPROTO_TCP, TCP_QUICKACK, {});",
            u8::from(on)
        ),
        None => String::new(),
    };
    let torn = match shape.changes_during {
        true => "received[at] != expected[at] && received[at] != earlier[at]",
        false => "received[at] != expected[at]",
    };
    let differs = match shape.changes_during {
        true => "received[from] != expected[at] && received[from] != earlier[at]",
        false => "received[from] != expected[at]",
    };
    let same = match shape.changes_during {
        true => "byte == whose->expected[at] || byte == whose->earlier[at]",
        false => "byte == whose->expected[at]",
    };
    let owners = shape.own.owners(scenario);
    let of_owners: Vec<String> = owners.iter().map(|it| format!("&of_{it}")).collect();
    let back = match place::has_two_ends(scenario) {
        true => "\n\tmust(setns(near, CLONE_NEWNET), \"setns\");",
        false => "",
    };
    let zeroes = setup.file.sparse || scenario.steps.iter().any(|it| it.op.zeroes());
    let moves = scenario.resizes();
    // A byte names the write that it is from, unless there are zeros that nobody wrote.
    let print = match zeroes || moves {
        true => {
            "0x%02x, and 0x%02x was sent\\n\",\n\
             \t\t       end - at, at, offset_of[at], received[at], expected[at])"
        }
        false => {
            "write %d, and write %d was sent\\n\",\n\
             \t\t       end - at, at, offset_of[at],\n\
             \t\t       (unsigned char)(received[at] - pattern(offset_of[at], 0)),\n\
             \t\t       (unsigned char)(expected[at] - pattern(offset_of[at], 0)))"
        }
    };
    let differ = match ends::may_end_early(scenario) {
        true => "received_bytes > sent_bytes",
        false => "received_bytes != sent_bytes",
    };
    // A datagram for which there is no room is lost as well.
    let arrives = setup.data.is_steady() && setup.socket.rcvbuf_bytes.is_none();
    let lost = match arrives {
        true => " || arrived != datagrams",
        false => "",
    };
    let has = |actor: &Actor| scenario.steps.iter().any(|it| it.actor == *actor);
    let actors = [Actor::A, Actor::B, Actor::C, Actor::Link, Actor::Reader];
    let actors = actors.into_iter().filter(has);
    let actors: Vec<&str> = actors.map(steps::name).collect();
    let sleeps = match steps::notes_sleep(scenario, shape) {
        true => "\n\tatomic_int sleeps;",
        false => "",
    };
    // Of either pipe account is kept only if it is filled or emptied.
    let uses = |pipe: usize| scenario.steps.iter().any(|it| it.op.pipes()[pipe]);
    let pipes = ["piped", "teed"].into_iter().enumerate();
    let pipes: Vec<&str> = pipes
        .filter_map(|(pipe, name)| uses(pipe).then_some(name))
        .collect();
    vec![
        ("SLEEPS", sleeps.into()),
        ("ACTORS", actors.join(", ")),
        ("PIPES", pipes.join(", ")),
        ("FAILED", failed.into()),
        ("ROOM", room.into()),
        ("LEN", len.into()),
        ("MALLOC", malloc.into()),
        ("AFTER", after),
        ("TORN", torn.into()),
        ("DIFFERS", differs.into()),
        ("LOANS", lend::accounts(scenario)),
        ("SETTLE", lend::settle_call(scenario, shape).into()),
        ("SENDERS", owners.len().to_string()),
        ("SENT_BY", of_owners.join(", ")),
        ("SAME", same.into()),
        ("DIFFER_IN_ALL", differ.replace("sent_bytes", "sent_in_all")),
        ("BACK", back.into()),
        ("ONCE", lend::once(scenario).into()),
        ("OWN", lend::own(scenario).into()),
        ("PRINT", print.into()),
        ("DIFFER", differ.into()),
        ("LOST", lost.into()),
    ]
}
