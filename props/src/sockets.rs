//! That the settings of a socket are set: each leaves a mark on what is seen.

use inflight::history::Outcome;
use inflight::oracle::Contract;

use crate::behaviour::{call, run};
use crate::properties::Result;

const MS: u64 = 1_000_000;

/// A call that meets no room is made again for the rest when there is some, and each
/// is there to be judged by itself.
pub fn a_poll_loop_sends_all() -> Result {
    let text = "link data delay=5ms\nsocket tcp4 sndbuf=8192 nonblock poll\nfile tmpfs size=300000\n\n\
        sendfile 0+300000\nwrite 7+200000\n";
    let history = run(Contract::Documented, text)?;
    for (step, bytes) in [(0, 300_000), (1, 200_000)] {
        let calls: Vec<Outcome> = (history.calls.iter())
            .filter(|call| call.step == step)
            .map(|call| call.outcome)
            .collect();
        let sent: u64 = calls.iter().map(|outcome| outcome.bytes()).sum();
        if calls.len() < 3 || sent != bytes {
            return Err(format!("operation {}: {calls:?}", step + 1));
        }
    }
    // Past the end of the file the last call says so.
    let past = "socket tcp4 nonblock poll\n\nsendfile 4000+200\n";
    let history = run(Contract::Documented, past)?;
    let outcomes: Vec<Outcome> = history.calls.iter().map(|call| call.outcome).collect();
    match outcomes == [Outcome::Returned(96), Outcome::Returned(0)] {
        true => Ok(()),
        false => Err(format!("at the end of the file: {outcomes:?}")),
    }
}

/// The receiver acknowledges each segment at once, or late. Nagle's algorithm tells: a
/// small send waits for the acknowledgement of the one before it, and for company.
pub fn acknowledgements_are_quick_or_late() -> Result {
    const SENDS: usize = 10;
    let sends = "write 0+10\nwait 5ms\n".repeat(SENDS);
    let segments = |setting: &str| -> std::result::Result<usize, String> {
        let text = format!("link data delay=1ms\nsocket tcp4{setting}\n\n{sends}");
        Ok(run(Contract::Documented, &text)?.chunks.len())
    };
    let (quick, late) = (segments(" quickack=on")?, segments(" quickack=off")?);
    // A delayed acknowledgement takes 40 ms at least (TCP_DELACK_MIN), in which eight are
    // sent; the first is not delayed.
    match quick == SENDS && late <= 4 {
        true => Ok(()),
        false => Err(format!(
            "{quick} segments with quick ones, {late} with late ones"
        )),
    }
}

/// Beyond the first ten segments BBR paces; the others send all that the window allows
/// when an acknowledgement opens it.
pub fn bbr_paces() -> Result {
    for (name, least, most) in [("reno", 2, 4), ("cubic", 2, 4), ("bbr", 8, 1000)] {
        let text = format!(
            "link data delay=50ms\nlink ack delay=50ms\nsocket tcp4 congestion={name}\n\
             file tmpfs size=65536\n\nwrite 0+43440\n"
        );
        let history = run(Contract::Documented, &text)?;
        let mut times_ms: Vec<u64> = (history.chunks.iter())
            .map(|chunk| chunk.at.time_ns / MS)
            .collect();
        times_ms.dedup();
        if !(least..=most).contains(&times_ms.len()) {
            return Err(format!("{name}: something arrived at {times_ms:?} ms"));
        }
    }
    Ok(())
}

/// A call that must not wait takes what the window allows and a little more, where
/// unsent bytes are bounded, and else what the buffer holds.
pub fn unsent_bytes_are_bounded() -> Result {
    let sent = |setting: &str| -> std::result::Result<u64, String> {
        let text = format!(
            "link data delay=50ms\nsocket tcp4 sndbuf=212992 nonblock{setting}\nfile tmpfs size=1048576\n\n\
             sendfile 0+1048576\n"
        );
        let history = run(Contract::Documented, &text)?;
        Ok(call(&history, 0)?.outcome.bytes())
    };
    let (bounded, free) = (sent(" notsent-lowat=4096")?, sent("")?);
    match bounded < free && bounded > 4096 {
        true => Ok(()),
        false => Err(format!("{bounded} bytes with a bound, {free} without")),
    }
}
