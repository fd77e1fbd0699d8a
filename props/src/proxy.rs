//! That a relay is a proxy: all goes through it, by reference where the kernel can, and
//! what waits behind it holds the sender up.

use inflight::history::{Counters, End, History, Outcome};
use inflight::oracle::Contract;

use crate::behaviour::{call, duration_ns, run};
use crate::properties::Result;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const BYTES: u64 = 300_000;

/// A stream of any family comes through it whole, with its end, however the far end is
/// read.
pub fn a_relay_passes_everything_on() -> Result {
    for family in [
        "tcp4",
        "tcp6",
        "ktls4",
        "mptcp4",
        "mptcp6",
        "unix",
        "vsock",
        "tcp4 each",
    ] {
        for reader in ["relay", "paused relay"] {
            let text = format!(
                "socket {family}\nfile tmpfs size=300000\nreader {reader}\n\n\
                 sendfile 0+{BYTES}\nwrite 5+100\n"
            );
            let text = match family.contains("each") {
                true => format!("{text}b: sendfile 1+1\n"),
                false => text,
            };
            let history = run(Contract::Documented, &text)?;
            let bytes = history.received.len() as u64;
            if history.end != End::Eof || bytes != BYTES + 100 {
                let end = history.end;
                return Err(format!("{bytes} bytes, and {end:?}:\n{text}"));
            }
        }
    }
    Ok(())
}

/// What does not fit the buffers of the sender's connection waits for a reader that keeps
/// away, unless a relay takes it on; and what does not fit those of a relay waits, too.
pub fn a_relay_takes_what_it_has_room_for() -> Result {
    let small = "socket tcp4 sndbuf=4608 rcvbuf=4608\nfile tmpfs size=65536\n";
    let ops = "sendfile 0+40000\na: read 1\n";
    let large = "socket tcp4 sndbuf=65536 rcvbuf=65536\nfile tmpfs size=1048576\n";
    let all = "sendfile 0+1048576\nsendfile 0+1048576\nsendfile 0+1048576\na: read 1\n";
    for (setup, reader, ops, waits) in [
        (small, "paused", ops, true),
        (small, "paused relay", ops, false),
        (large, "paused relay", all, true),
    ] {
        let text = format!("{setup}reader {reader}\n\n{ops}");
        let history = run(Contract::Documented, &text)?;
        let took_ns = sends_took_ns(&history)?;
        // The reader comes to the rescue of who waits for itself after 5 s, not sooner.
        if (took_ns >= 5 * SECOND) != waits {
            return Err(format!("the sends took {} ms:\n{text}", took_ns / MS));
        }
    }
    Ok(())
}

/// Patched: a relay sends by reference, as the sender does, and both are counted.
pub fn a_relay_sends_by_reference() -> Result {
    for (reader, times) in [("drain", 1), ("relay", 2)] {
        let text = format!(
            "link data delay=20ms\nlink ack delay=20ms\nreader {reader}\n\
             expect patched holds waited\n\nsendfile 0+4096\n"
        );
        let text = text.replace("reader drain\n", "");
        let history = run(Contract::Stable, &text)?;
        let counted = history.counters.ok_or("no counters")?;
        let wanted = Counters {
            referenced_bytes: times * 4096,
            copied_bytes: 0,
            ..counted
        };
        if counted != wanted {
            return Err(format!("{counted:?}:\n{text}"));
        }
    }
    Ok(())
}

fn sends_took_ns(history: &History) -> std::result::Result<u64, String> {
    let sends = history.calls.len() - 1;
    let mut took_ns = 0;
    for step in 0..sends {
        let send = call(history, step)?;
        if !matches!(send.outcome, Outcome::Returned(1..)) {
            return Err(format!("{send:?}"));
        }
        took_ns += duration_ns(send);
    }
    Ok(took_ns)
}
