//! What the cure may cost: a large file is through within a round trip of what a
//! stock kernel takes, and no call is slower than MSG_ZEROCOPY with a wait for its
//! notification, which promises the same.

use inflight::guest::transfer::{Took, Transfer, Way};
use inflight::scenario::text;

use crate::properties::Result;

const LINK: &str = "link data delay=10ms rate=100mbit\nlink ack delay=10ms\nfile tmpfs size=4096\n\nsendfile 0+1\n";
const ROUND_TRIP_NS: u64 = 20_000_000;
/// Reading a clock takes a little virtual time.
const CLOCK_NS: u64 = 100_000;

const OFF: Way = Way::Stable(0);
const WAIT: Way = Way::Stable(1);

/// 16 MiB over 100 Mbit/s: the call returns a round trip at most after the moment
/// at which the unpatched way has the last byte at the receiver.
pub fn a_large_file_waits_a_round_trip_at_most() -> Result {
    const BYTES: usize = 16 << 20;
    let off = took(OFF, BYTES, 1)?;
    let wait = took(WAIT, BYTES, 1)?;
    // It does wait: else the comparison is of two equal things.
    if wait.sent_ns <= off.sent_ns {
        return Err(format!("it does not wait: {wait:?}, without it {off:?}"));
    }
    let bound_ns = off.received_ns + ROUND_TRIP_NS + CLOCK_NS;
    match wait.sent_ns <= bound_ns {
        true => Ok(()),
        false => Err(format!("{wait:?}, without it {off:?}: past {bound_ns} ns")),
    }
}

/// Sends of one byte to 1 MiB.
pub fn no_call_is_slower_than_a_notification() -> Result {
    const CALLS: u32 = 20;
    for bytes in [1, 1448, 4096, 16 << 10, 64 << 10, 1 << 20] {
        let notified = took(Way::ZeroCopy, bytes, CALLS)?;
        let wait = took(WAIT, bytes, CALLS)?;
        if wait.sent_ns > notified.sent_ns + u64::from(CALLS) * CLOCK_NS {
            return Err(format!("{bytes} bytes a call: {wait:?}, {notified:?}"));
        }
    }
    Ok(())
}

fn took(way: Way, call_bytes: usize, calls: u32) -> Result<Took> {
    let scenario = text::parse("cost", LINK).map_err(|error| error.to_string())?;
    let transfer = Transfer {
        way,
        call_bytes,
        calls,
    };
    transfer
        .run(&scenario.setup, || Ok(()))
        .map_err(|error| error.to_string())
}
