//! That what makes of the link's chances, rates and times something else does that.

use inflight::history::History;
use inflight::oracle::Contract;

use crate::behaviour::run;
use crate::families::counter;
use crate::properties::Result;

const MS: u64 = 1_000_000;
/// Datagrams of a run: of length 1, 2, 3, and so on.
const EACH: u64 = 40;
const RUNS: u64 = 40;

type Found<T> = std::result::Result<T, String>;

/// What arrived of [`EACH`] datagrams sent at once over a link with these settings.
fn datagrams(link: &str, seed: u64) -> Found<History> {
    let sends: String = (1..=EACH)
        .map(|len| format!("sendfile 0+{len}\n"))
        .collect();
    let text = format!("link data {link} seed={seed}\nsocket udp4\n\n{sends}");
    run(Contract::Documented, &text)
}

/// Which of [`RUNS`] times [`EACH`] datagrams are lost.
fn losses(link: &str) -> Found<Vec<bool>> {
    let mut lost = Vec::new();
    for seed in 1..=RUNS {
        let history = datagrams(link, seed)?;
        let arrived = |len: u64| history.chunks.iter().any(|chunk| chunk.len as u64 == len);
        lost.extend((1..=EACH).map(|len| !arrived(len)));
    }
    Ok(lost)
}

/// In percent.
fn share(what: &[bool]) -> usize {
    100 * what.iter().filter(|it| **it).count() / what.len()
}

/// A packet with a flipped bit is thrown away, and what arrives is right.
pub fn what_is_corrupt_is_lost() -> Result {
    // A few bits of a packet are nobody's: the source's hardware address, for one.
    match share(&losses("corrupt=10%")?) {
        5..=14 => Ok(()),
        percent => Err(format!("{percent} % of the datagrams lost")),
    }
}

/// Losses in bursts: one in six all in all, and after a loss every other time one more.
pub fn losses_come_in_bursts() -> Result {
    let lost = losses("loss=10% recover=50%")?;
    let after: Vec<bool> = lost.windows(2).filter(|it| it[0]).map(|it| it[1]).collect();
    match (share(&lost), share(&after)) {
        (10..=22, 38..=60) => Ok(()),
        found => Err(format!("{found:?} % lost, and lost after a loss")),
    }
}

/// What follows the number before it is seldom far from the middle, so little is lost.
pub fn chances_follow_each_other() -> Result {
    let (alone, following) = (
        share(&losses("loss=20%")?),
        share(&losses("loss=20% correlation=50%")?),
    );
    match (alone, following) {
        (15..=25, 1..=9) => Ok(()),
        found => Err(format!("{found:?} % lost without and with correlation")),
    }
}

/// Of five packets at most one overtakes, where half of them would.
pub fn a_gap_spaces_what_overtakes() -> Result {
    let overtaking = |link: &str| -> Found<u64> {
        let mut early = 0;
        for seed in 1..=10 {
            let chunks = datagrams(link, seed)?.chunks;
            early += chunks.iter().filter(|it| it.at.time_ns < 10 * MS).count() as u64;
        }
        Ok(early)
    };
    let (any, few) = (
        overtaking("delay=20ms reorder=50%")?,
        overtaking("delay=20ms reorder=50% gap=5")?,
    );
    match (any > 10 * EACH / 3, (1..=10 * EACH / 5).contains(&few)) {
        (true, true) => Ok(()),
        _ => Err(format!("{any} and {few} of {} overtook", 10 * EACH)),
    }
}

/// What comes after a slot has begun waits for the next one.
pub fn packets_leave_in_slots() -> Result {
    let text = "link data slot=50ms\nsocket udp4\n\n\
        wait 200ms\nsendfile 0+1\nwait 30ms\nsendfile 0+2\nwait 30ms\nsendfile 0+3\nwait 30ms\n\
        sendfile 0+4\n";
    let history = run(Contract::Documented, text)?;
    let at: Vec<u64> = (history.chunks.iter())
        .map(|chunk| (chunk.at.time_ns + MS / 2) / MS)
        .collect();
    match at == [250, 250, 310, 310] {
        true => Ok(()),
        false => Err(format!("they arrived after {at:?} ms")),
    }
}

/// Ten packets of 142 bytes and 1000 more each take 91 ms at 1 Mbit/s.
pub fn packets_are_longer_on_the_wire() -> Result {
    let sends = "sendfile 0+100\n".repeat(10);
    for (overhead, expected_ms) in [("", 11), (" overhead=1000", 91)] {
        let text = format!("link data rate=1mbit{overhead}\nsocket udp4\n\n{sends}");
        let history = run(Contract::Documented, &text)?;
        let last = history.chunks.last().ok_or("nothing arrived")?;
        let took_ms = last.at.time_ns / MS;
        if !(expected_ms..=expected_ms + 1).contains(&took_ms) {
            return Err(format!("{took_ms} ms, not {expected_ms}, with{overhead}"));
        }
    }
    Ok(())
}

/// A uniform jitter keeps its bounds. A normal one does in two of three cases, and one of
/// Pareto is very late at times and never very early.
pub fn jitter_has_a_distribution() -> Result {
    for (distribution, early, late) in [
        ("uniform", 0..=0, 0..=0),
        ("normal", 10..=22, 10..=22),
        ("pareto", 0..=0, 5..=14),
    ] {
        let (mut too_early, mut too_late) = (Vec::new(), Vec::new());
        for seed in 1..=20 {
            let link = format!("delay=100ms jitter=10ms distribution={distribution}");
            let link = link.replace(" distribution=uniform", "");
            for chunk in datagrams(&link, seed)?.chunks {
                too_early.push(chunk.at.time_ns < 90 * MS);
                too_late.push(chunk.at.time_ns > 111 * MS);
            }
        }
        let found = (share(&too_early), share(&too_late));
        if !early.contains(&found.0) || !late.contains(&found.1) {
            return Err(format!(
                "{distribution}: {found:?} % too early and too late"
            ));
        }
    }
    Ok(())
}

/// Data that is marked is not lost, so hardly anything is sent again.
pub fn a_mark_takes_the_place_of_a_loss() -> Result {
    run(Contract::Documented, "sendfile 0+1\n")?;
    let sent_again = |mark: &str| -> Found<u64> {
        let before = counter("snmp", "RetransSegs")?;
        for seed in 1..=20 {
            let text = format!(
                "link data delay=5ms loss=20%{mark} seed={seed}\nstack ecn=1\nsocket tcp4 nodelay\n\n{}",
                "sendfile 0+1000\nwait 20ms\n".repeat(10)
            );
            run(Contract::Documented, &text)?;
        }
        Ok(counter("snmp", "RetransSegs")? - before)
    };
    let (lost, marked) = (sent_again("")?, sent_again(" mark")?);
    // A SYN cannot be marked.
    match lost > 20 && 2 * marked < lost {
        true => Ok(()),
        false => Err(format!("{lost} sent again, and {marked} with marks")),
    }
}
