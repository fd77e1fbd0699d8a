//! How much later than its last byte arrives a call may return.
//!
//! A patched kernel lets a call sleep until its pages are released. What releases them is
//! the acknowledgement of its last byte, or, if that byte is sent once more before the
//! acknowledgement is there (a tail loss probe), the end of that packet's way. Both are over
//! a round trip after the receiver has read the byte, which it does not do later than it
//! would on a stock kernel: nothing but the return of the call waits.
//!
//! That holds under these conditions, which each scenario is given:
//!
//! * the link loses, holds, overtakes and slows down nothing: else a retransmission, for
//!   which a timer of a second or more may have to run out, can be on its way (Nagle, a cork,
//!   a window and pacing delay the byte itself, and so are in the time of its arrival);
//! * the receiver acknowledges at once (TCP_QUICKACK): else a timer of 40 to 200 ms can come
//!   on top;
//! * it reads all the time: a closed window is as long as the receiver likes;
//! * neither end leaves early.

use std::cell::{Cell, RefCell};

use inflight::history::{Call, Chunk, History, Outcome};
use inflight::oracle::{Contract, layout};
use inflight::scenario::{Actor, Netem, Op, ReaderMode, Scenario, normalize, strategy, text};
use inflight::trial::Trial;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::properties::Result;

/// Each reading of a clock, and each hand-over between threads, takes a little virtual time.
const CLOCK_NS: u64 = 1_000_000;

/// Of so many sends one must have been looked at, at least: of who sends what at the same
/// time is not known whose byte came last.
const MOST_OPEN: u32 = 2;

/// No send returns later than a round trip of the link after its last byte was received.
pub fn patched_is_never_slower_than_one_rtt() -> Result {
    let trial = Trial::set_up(Contract::Stable).map_err(|error| format!("set-up: {error}"))?;
    let trial = RefCell::new(trial);
    let (sends, seen) = (Cell::new(0), Cell::new(0));
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&strategy::scenario(), |drawn| {
            let scenario = plain(drawn);
            let verdict = (trial.borrow_mut().run(&scenario))
                .map_err(|error| TestCaseError::reject(error.to_string()))?;
            let sent =
                |call: &&Call| scenario.steps[call.step].op.sends() && call.outcome.bytes() > 0;
            let sent = verdict.history.calls.iter().filter(sent).count() as u32;
            let returns = returns(&scenario, &verdict.history);
            sends.set(sends.get() + sent);
            seen.set(seen.get() + returns.len() as u32);
            match returns.into_iter().find(|it| it.is_late(&scenario)) {
                None => Ok(()),
                Some(late) => Err(TestCaseError::fail(format!("{late:?}\n\n{scenario}"))),
            }
        })
        .map_err(|error| error.to_string())?;
    match seen.get() * MOST_OPEN >= sends.get() && seen.get() > 0 {
        true => Ok(()),
        false => Err(format!("only {seen:?} of {sends:?} sends were looked at")),
    }
}

/// The check of the check: the acknowledgement is held back for a second, and then the call
/// does return too late.
pub fn a_held_acknowledgement_is_slower_than_one_rtt() -> Result {
    let scenario = text::parse(
        "held",
        "link data delay=20ms\nlink ack delay=20ms\nsocket tcp4 quickack=on\n\n\
         hold ack\nsendfile 0+4096\nb: wait 1s\nb: release ack\n",
    );
    let scenario = scenario.map_err(|error| error.to_string())?;
    let mut trial = Trial::set_up(Contract::Stable).map_err(|error| error.to_string())?;
    let history = trial
        .run(&scenario)
        .map_err(|error| error.to_string())?
        .history;
    let late = returns(&scenario, &history);
    let not_held = plain(scenario.clone());
    let history = trial
        .run(&not_held)
        .map_err(|error| error.to_string())?
        .history;
    let in_time = returns(&not_held, &history);
    let is_late = |all: &[Return]| {
        all.iter()
            .map(|it| it.is_late(&scenario))
            .collect::<Vec<_>>()
    };
    match (is_late(&late).as_slice(), is_late(&in_time).as_slice()) {
        ([true], [false]) => Ok(()),
        _ => Err(format!("{late:?}, and without a hold {in_time:?}")),
    }
}

/// The same on a network and for a receiver of which a call can only wait for what it has
/// sent itself.
fn plain(mut scenario: Scenario) -> Scenario {
    let only_delays = |link: Netem| Netem {
        delay_us: link.delay_us,
        ..Netem::default()
    };
    let setup = &mut scenario.setup;
    setup.data = only_delays(setup.data);
    setup.ack = only_delays(setup.ack);
    setup.socket.tcp.quickack = Some(true);
    setup.socket.each = false;
    (setup.reader, setup.relay) = (ReaderMode::Drain, false);
    scenario.steps.retain(|step| {
        let ends = step.op.leaves() || matches!(step.op, Op::Shutdown | Op::Kill { .. });
        !ends && step.op.way().is_none()
    });
    normalize::normalize(scenario)
}

/// A send that has returned.
#[derive(Debug)]
struct Return {
    /// Index of its operation.
    #[allow(dead_code, reason = "for people")]
    step: usize,
    /// When its last byte had been received.
    received_ns: u64,
    returned_ns: u64,
}

impl Return {
    fn is_late(&self, scenario: &Scenario) -> bool {
        let setup = &scenario.setup;
        let round_trip_ns = (setup.data.delay_us + setup.ack.delay_us) * 1_000;
        self.returned_ns > self.received_ns + round_trip_ns + CLOCK_NS
    }
}

/// The sends of which it is known when the last byte arrived.
fn returns(scenario: &Scenario, history: &History) -> Vec<Return> {
    let mut returns: Vec<Return> = Vec::new();
    let mut end = 0;
    for (step, range) in layout(scenario, history, Actor::A).unwrap_or_default() {
        end += range.len;
        let has_it = |chunk: &&Chunk| (chunk.start + chunk.len) as u64 >= end;
        let of_step = |call: &&Call| call.step == step;
        let (Some(chunk), Some(call)) = (
            history.chunks.iter().find(has_it),
            history.calls.iter().rfind(of_step),
        ) else {
            continue;
        };
        let Outcome::Returned(_) = call.outcome else {
            continue;
        };
        // Of what came in several pieces the last one counts.
        returns.retain(|it| it.step != step);
        returns.push(Return {
            step,
            received_ns: chunk.at.time_ns,
            returned_ns: call.exit.time_ns,
        });
    }
    returns
}
