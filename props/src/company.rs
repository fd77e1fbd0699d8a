//! That actors go together as the scenario says.

use inflight::history::{Call, Outcome};
use inflight::oracle::Contract;

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
