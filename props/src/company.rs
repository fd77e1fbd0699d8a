//! That actors go together as the scenario says.

use inflight::history::{Call, End, Outcome, pattern};
use inflight::oracle::Contract;
use inflight::scenario::{Actor, Family};

use crate::behaviour::{call, run};
use crate::properties::Result;

const MS: u64 = 1_000_000;

/// What stands behind an `await` begins while the call of the other one is blocked, not
/// before it is made, nor while that one only sleeps, and not after it.
pub fn an_await_ends_when_another_is_blocked() -> Result {
    let text = "socket tcp4 sndbuf=4608 rcvbuf=2304\nfile tmpfs size=262144\nreader paused\n\n\
        await a\nb: pwrite 200000+100\nwait 30ms\nsendfile 0+262144\n";
    let history = run(Contract::Documented, text)?;
    let (stood_by, write) = (call(&history, 0)?, call(&history, 1)?);
    let (slept, sent) = (call(&history, 2)?, call(&history, 3)?);
    let began = stood_by.entry.order < slept.entry.order && slept.exit.time_ns >= 30 * MS;
    let during = |it: &Call| sent.entry.order < it.exit.order && it.exit.order < sent.exit.order;
    match (stood_by.outcome, began, during(stood_by), during(write)) {
        (Outcome::Returned(0), true, true, true) => Ok(()),
        what => Err(format!("{what:?}\n{:#?}", history.calls)),
    }
}

/// Who awaits one that is never blocked goes on when that one has nothing more to do; and
/// two who await each other go on, both.
pub fn an_await_of_who_is_through_is_skipped() -> Result {
    let text = "await a\nb: pwrite 0+1\npwrite 1+1\nwait 10ms\npwrite 2+1\n";
    let history = run(Contract::Documented, text)?;
    let (stood_by, last) = (call(&history, 0)?, call(&history, 4)?);
    let after = stood_by.exit.order > last.exit.order;
    if (stood_by.outcome, after) != (Outcome::Skipped, true) {
        return Err(format!("{:#?}", history.calls));
    }
    let text = "a: await b\nawait a\npwrite 0+1\nb: pwrite 1+1\nsendfile 0+1\n";
    let history = run(Contract::Documented, text)?;
    let both = [call(&history, 0)?, call(&history, 1)?];
    match both.iter().all(|it| it.outcome == Outcome::Returned(0)) {
        true => Ok(()),
        false => Err(format!("{:#?}", history.calls)),
    }
}

/// What an actor sends arrives on its own connection, whole and alone, in every family; the
/// others' calls are made meanwhile.
pub fn each_actor_has_its_own_connection() -> Result {
    for (name, family) in Family::NAMED {
        let link = match family.passes_link() {
            true => "link data delay=20ms\n",
            false => "",
        };
        let text = format!(
            "{link}socket {name} each\nfile tmpfs size=65536\n\n\
             sendfile 0+4000\nb: sendfile 4096+3000\nc: write 8192+100\nb: sendfile 20480+1\n"
        );
        let history = run(Contract::Documented, &text)?;
        let sent = |ranges: &[(u64, u64)]| -> Vec<u8> {
            let offsets = ranges.iter().flat_map(|&(at, len)| at..at + len);
            offsets.map(|at| pattern(at, 0)).collect()
        };
        let of = |actor| history.beside.iter().find(|it| it.actor == actor);
        let of = |actor| of(actor).ok_or(format!("{name}: {actor} has no connection"));
        let (b, c) = (of(Actor::B)?, of(Actor::C)?);
        let right = history.received == sent(&[(0, 4000)])
            && b.received == sent(&[(4096, 3000), (20_480, 1)])
            && c.received == sent(&[(8192, 100)])
            && [history.end, b.end, c.end] == [End::Eof; 3];
        if !right {
            return Err(format!("{text}{:#?}", history.calls));
        }
    }
    Ok(())
}

/// Patched: one connection whose receiver does not read holds up the call that sends on
/// it, and not one that sends on another; on one connection it holds up both.
pub fn a_call_waits_for_its_own_connection_only() -> Result {
    for (each, own) in [(" each", true), ("", false)] {
        let text = format!(
            "link data delay=10ms\nsocket tcp4 rcvbuf=4608{each}\nfile tmpfs size=131072\n\
             reader paused\n\nsendfile 0+65536\nb: sendfile 65536+100\nb: wait 1s\nb: read 1\n"
        );
        let history = run(Contract::Stable, &text)?;
        let (first, second) = (call(&history, 0)?, call(&history, 1)?);
        let took_ns = second.exit.time_ns - second.entry.time_ns;
        let quick = took_ns < 500 * MS;
        let first_waits = first.exit.time_ns > 1000 * MS;
        if quick != own || took_ns < 10 * MS || !first_waits {
            return Err(format!("{text}{:#?}", history.calls));
        }
    }
    Ok(())
}
