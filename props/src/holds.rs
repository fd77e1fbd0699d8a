//! That a hold counts: exactly so many packets pass, in their order, and whatever is
//! still held at the end arrives then.

use inflight::history::History;
use inflight::oracle::Contract;

use crate::behaviour::run;
use crate::properties::Result;

const MS: u64 = 1_000_000;
/// Each send is a packet, and none waits for its acknowledgement.
const SETUP: &str = "socket tcp4 nodelay nonblock\n\n";
const SENDS: usize = 6;
const EACH: usize = 100;

/// So many packets pass as `after` says, one more when one is released, and the others
/// when all are.
pub fn a_hold_lets_so_many_pass() -> Result {
    for after in 0..4 {
        let ops = format!(
            "{}b: wait 10ms\nb: release data packets=1\nb: wait 10ms\nb: release data\n",
            sends()
        );
        let history = run(
            Contract::Documented,
            &format!("{SETUP}hold data after={after}\n{ops}"),
        )?;
        let arrived = [5, 15].map(|ms| arrived_by(&history, ms * MS));
        let expected = [after * EACH, (after + 1) * EACH];
        if arrived != expected || history.received.len() != SENDS * EACH {
            let all = history.received.len();
            return Err(format!(
                "after={after}: {arrived:?}, not {expected:?}; {all} in all"
            ));
        }
    }
    Ok(())
}

/// What is released is counted whether it waits already or is yet to come.
pub fn a_release_counts_what_is_yet_to_come() -> Result {
    // A connection of its own for each number, since a lost packet holds up the others.
    for packets in 1..5 {
        let ops = format!("sendfile 0+1\nrelease data packets={packets}\n{}", sends());
        let text = format!("{SETUP}hold data\n{ops}b: wait 10ms\nb: release data\n");
        let history = run(Contract::Documented, &text)?;
        let expected = 1 + (packets - 1) * EACH;
        match arrived_by(&history, 5 * MS) {
            bytes if bytes == expected => {}
            bytes => return Err(format!("packets={packets}: {bytes} bytes, not {expected}")),
        }
    }
    Ok(())
}

/// Nobody releases it, and it arrives all the same: when the last `release`, which is of
/// the other direction, has been performed.
pub fn what_is_held_arrives_in_the_end() -> Result {
    let ops = "hold data\nhold ack\nsendfile 0+100\nb: wait 2s\nb: release ack\n";
    let history = run(Contract::Documented, &format!("{SETUP}{ops}"))?;
    let early = arrived_by(&history, 2000 * MS);
    match (early, history.received.len()) {
        (0, 100) => Ok(()),
        (early, all) => Err(format!("{early} bytes after two seconds, {all} in all")),
    }
}

fn sends() -> String {
    let send = |index| format!("sendfile {}+{EACH}\n", index * EACH);
    (0..SENDS).map(send).collect()
}

fn arrived_by(history: &History, ns: u64) -> usize {
    let early = history.chunks.iter().filter(|chunk| chunk.at.time_ns < ns);
    early.map(|chunk| chunk.len).sum()
}
