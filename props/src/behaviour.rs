//! That the parts do what they say: the link delays and loses, a send waits or
//! does not, a blocked call is overtaken. A suite whose link delayed nothing would
//! find nothing, and nobody would notice.

use std::cell::RefCell;

use inflight::history::{Call, History, Outcome};
use inflight::oracle::Contract;
use inflight::scenario::text;
use inflight::trial::Trial;

use crate::properties::Result;

const MS: u64 = 1_000_000;

/// A delay on the data is seen by the receiver, to the millisecond, and one on the
/// acknowledgements is not.
pub fn the_link_delays() -> Result {
    for (data_ms, ack_ms) in [(0, 0), (20, 0), (0, 20), (150, 30)] {
        let setup = format!("link data delay={data_ms}ms\nlink ack delay={ack_ms}ms\n\n");
        let setup = setup.replace("link data delay=0ms\n", "");
        let setup = setup.replace("link ack delay=0ms\n", "");
        let history = run(Contract::Documented, &format!("{setup}sendfile 0+100\n"))?;
        let sent_ns = call(&history, 0)?.entry.time_ns;
        let arrived = history.chunks.first().ok_or("nothing arrived")?;
        let took_ns = arrived.at.time_ns - sent_ns;
        within("the data's way", took_ns, data_ms * MS, (data_ms + 1) * MS)?;
    }
    Ok(())
}

/// A rate makes a send of 100 kB take its time: 80 ms at 10 Mbit/s.
pub fn the_link_has_a_rate() -> Result {
    let text = "link data rate=10mbit\nfile tmpfs size=131072\n\nsendfile 0+100000\n";
    let history = run(Contract::Documented, text)?;
    let arrived = history.chunks.last().ok_or("nothing arrived")?;
    within("100 kB", arrived.at.time_ns, 80 * MS, 110 * MS)
}

/// Loss costs a retransmission, as often as the percentage says; the bytes arrive
/// all the same. A connection of one segment sends SYN, ACK with data or without,
/// and FIN; each is lost in a tenth of the runs, whatever the seed.
pub fn the_link_loses() -> Result {
    const RUNS: u64 = 300;
    let mut slow = 0;
    for seed in 1..=RUNS {
        let text = format!("link data delay=5ms loss=10% seed={seed}\n\nsendfile 0+1000\n");
        let history = run(Contract::Documented, &text)?;
        if history.received.len() != 1000 {
            return Err(format!("{} bytes arrived", history.received.len()));
        }
        // Without loss it is over after one way of data and one of the FIN.
        slow += u64::from(history.end_ns > 100 * MS);
    }
    // Data and FIN are what can be late once the connection is there: 10 to 19 %.
    match 100 * slow / RUNS {
        5..=30 => Ok(()),
        percent => Err(format!("{percent} % of {RUNS} runs were delayed by a loss")),
    }
}

/// Stock: a send returns before its bytes are anywhere.
pub fn a_send_returns_at_once() -> Result {
    let history = run(Contract::Documented, &race(""))?;
    within("sendfile", duration_ns(call(&history, 0)?), 0, MS)
}

/// Patched: a send returns when its pages are free, which is a round trip later, or
/// as late as the receiver's delayed acknowledgement. Were it at once, then all was
/// copied, and the cure would only seem to work.
pub fn a_send_waits_for_its_pages() -> Result {
    let history = run(Contract::Stable, &race(""))?;
    within(
        "sendfile",
        duration_ns(call(&history, 0)?),
        40 * MS,
        100 * MS,
    )?;
    let pipe = "link data delay=20ms\nlink ack delay=20ms\n\n\
        pipe capacity=65536\nsplice-in 0+4096\nsplice-out 4096\nmmap-write 0+4096\n";
    let history = run(Contract::Stable, pipe)?;
    within("splice", duration_ns(call(&history, 2)?), 40 * MS, 100 * MS)
}

/// Patched: where a send must not wait it is copied, returns at once, and is stable
/// all the same.
pub fn a_send_that_must_not_wait_is_copied() -> Result {
    for socket in ["socket tcp4 nonblock\n", "socket tcp4 cork\n"] {
        let history = run(Contract::Stable, &race(socket))?;
        within(socket.trim(), duration_ns(call(&history, 0)?), 0, MS)?;
    }
    for flag in ["more", "nonblock"] {
        let text = format!(
            "link data delay=20ms\nlink ack delay=20ms\n\n\
             pipe capacity=65536\nsplice-in 0+4096\nsplice-out 4096 {flag}\nmmap-write 0+4096\n"
        );
        let history = run(Contract::Stable, &text)?;
        within(flag, duration_ns(call(&history, 2)?), 0, MS)?;
    }
    Ok(())
}

/// A call that blocks is overtaken by the other actors, and its own actor's next
/// step waits for it.
pub fn a_blocked_call_is_overtaken() -> Result {
    let text = "socket tcp4 sndbuf=4608 rcvbuf=2304\nfile tmpfs size=262144\nreader paused\n\n\
        sendfile 0+262144\nb: pwrite 200000+100\npwrite 0+1\nread 1000\n";
    let history = run(Contract::Documented, text)?;
    let (send, other, own) = (call(&history, 0)?, call(&history, 1)?, call(&history, 2)?);
    let overtaken = other.entry.order > send.entry.order && other.exit.order < send.exit.order;
    match (send.outcome, overtaken, own.entry.order > send.exit.order) {
        (Outcome::Returned(262_144), true, true) => Ok(()),
        what => Err(format!("{what:?}\n{:#?}", history.calls)),
    }
}

/// A wait takes as long as it says, and holds up its own actor only.
pub fn a_wait_takes_its_time() -> Result {
    let history = run(
        Contract::Documented,
        "b: wait 30ms\npwrite 0+1\nsendfile 0+1\n",
    )?;
    let (wait, write) = (call(&history, 0)?, call(&history, 1)?);
    within("the wait", duration_ns(wait), 30 * MS, 31 * MS)?;
    match write.exit.order < wait.exit.order {
        true => Ok(()),
        false => Err(format!("the write waited too: {:#?}", history.calls)),
    }
}

fn race(socket: &str) -> String {
    format!(
        "link data delay=20ms\nlink ack delay=20ms\n{socket}\nsendfile 0+4096\nmmap-write 0+4096\n"
    )
}

thread_local! {
    /// One guest for all the runs of a test.
    static TRIAL: RefCell<Option<Trial>> = const { RefCell::new(None) };
}

/// Runs a text; whatever it breaks is an error. A test keeps to one contract.
pub(crate) fn run(contract: Contract, scenario: &str) -> std::result::Result<History, String> {
    let scenario = text::parse("behaviour", scenario).map_err(|error| error.to_string())?;
    TRIAL.with_borrow_mut(|trial| {
        let trial = match trial {
            Some(trial) => trial,
            None => trial.insert(Trial::set_up(contract).map_err(|error| error.to_string())?),
        };
        let verdict = trial.run(&scenario).map_err(|error| error.to_string())?;
        match verdict.violations.first() {
            None => Ok(verdict.history),
            Some(violation) => Err(format!("{}\n\n{scenario}", violation.message)),
        }
    })
}

pub(crate) fn call(history: &History, step: usize) -> std::result::Result<&Call, String> {
    let call = history.call(step);
    call.ok_or_else(|| format!("operation {} did not run", step + 1))
}

pub(crate) fn duration_ns(call: &Call) -> u64 {
    call.exit.time_ns - call.entry.time_ns
}

fn within(what: &str, took_ns: u64, least_ns: u64, most_ns: u64) -> Result {
    let ms = |ns: u64| ns as f64 / 1e6;
    match (least_ns..=most_ns).contains(&took_ns) {
        true => Ok(()),
        false => Err(format!(
            "{what} took {:.3} ms, not {:.0} to {:.0} ms",
            ms(took_ns),
            ms(least_ns),
            ms(most_ns)
        )),
    }
}
