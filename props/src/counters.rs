//! What the series counts and traces is what happened.

use std::fs;

use inflight::history::Counters;
use inflight::oracle::Contract;

use crate::behaviour::{call, duration_ns, run};
use crate::properties::Result;

const EVENTS: &str = "/sys/kernel/tracing/events/splice";
const BYTES: u64 = 4096;

/// A send that waits: once, for as long as the call took, with all bytes by
/// reference.
pub fn a_wait_is_counted() -> Result {
    let (counted, took_us) = send("link data delay=20ms\nlink ack delay=20ms\n", "waited")?;
    let wanted = Counters {
        waits: 1,
        wait_us: counted.wait_us,
        referenced_bytes: BYTES,
        copied_bytes: 0,
        detached_bytes: 0,
    };
    match counted == wanted && counted.wait_us.abs_diff(took_us) < 1000 && took_us >= 40_000 {
        true => Ok(()),
        false => Err(format!("{counted:?}, and the call took {took_us} us")),
    }
}

/// A send that must not wait: all bytes as copies.
pub fn a_copy_is_counted() -> Result {
    let (counted, _) = send("link data delay=20ms\nsocket tcp4 nonblock\n", "copied")?;
    let wanted = Counters {
        waits: 0,
        wait_us: 0,
        referenced_bytes: 0,
        copied_bytes: BYTES,
        detached_bytes: 0,
    };
    match counted == wanted {
        true => Ok(()),
        false => Err(format!("{counted:?}")),
    }
}

/// A send whose acknowledgement is late: nobody but the retransmit queue has its
/// page, so it is replaced there.
pub fn a_detached_page_is_counted() -> Result {
    let (counted, took_us) = send("link ack delay=20ms\n", "detached")?;
    let right = counted.referenced_bytes == BYTES
        && counted.copied_bytes == 0
        && (1..=BYTES).contains(&counted.detached_bytes);
    match right && took_us < 1000 {
        true => Ok(()),
        false => Err(format!("{counted:?}, and the call took {took_us} us")),
    }
}

/// Two events around a wait, with what was waited for, and for how long.
pub fn a_wait_is_traced() -> Result {
    let tracing = |file: &str, value: &str| {
        let path = format!("/sys/kernel/tracing/{file}");
        fs::write(&path, value).map_err(|error| format!("{path}: {error}"))
    };
    if fs::metadata(EVENTS).is_err() {
        return Err(format!("no {EVENTS}: the series has no tracepoints"));
    }
    tracing("trace", "")?;
    tracing("events/splice/enable", "1")?;
    let (counted, took_us) = send("link data delay=20ms\nlink ack delay=20ms\n", "waited")?;
    tracing("events/splice/enable", "0")?;
    let trace = fs::read_to_string("/sys/kernel/tracing/trace");
    let trace = trace.map_err(|error| error.to_string())?;
    let events: Vec<&str> = (trace.lines())
        .filter(|line| line.contains(": splice_wait_"))
        .collect();
    let [begin, end] = events[..] else {
        return Err(format!("not one pair of events:\n{trace}"));
    };
    let wait_us = field(end, "wait_ns")? / 1000;
    let right = begin.contains(": splice_wait_begin:")
        && end.contains(": splice_wait_end:")
        && [begin, end]
            .iter()
            .all(|event| (field(event, "bytes"), field(event, "pages")) == (Ok(BYTES), Ok(1)))
        && field(end, "ret") == Ok(0)
        && wait_us == counted.wait_us
        && wait_us >= 40_000;
    match right && took_us.abs_diff(wait_us) < 1000 {
        true => Ok(()),
        false => Err(format!(
            "{trace}\n{counted:?}, and the call took {took_us} us"
        )),
    }
}

/// The value of `name=` in an event's line.
fn field(event: &str, name: &str) -> std::result::Result<u64, String> {
    let value = event
        .split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let value = value.and_then(|value| value.parse().ok());
    value.ok_or(format!("no number `{name}` in `{event}`"))
}

/// Sends one page; returns what was counted, and how long the call took.
fn send(setup: &str, means: &str) -> std::result::Result<(Counters, u64), String> {
    // Counters are only read for who asks about them.
    let expect = format!("expect patched holds {means}");
    let text = format!("{setup}{expect}\n\nsendfile 0+{BYTES}\nmmap-write 0+{BYTES}\n");
    let history = run(Contract::Stable, &text)?;
    let counted = history.counters.ok_or("this kernel counts nothing")?;
    Ok((counted, duration_ns(call(&history, 0)?) / 1000))
}
