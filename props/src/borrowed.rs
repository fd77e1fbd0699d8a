//! That what is sent by reference is so, and that its completions are what they say. A
//! kernel that copied, or a guest that never read an error queue, would keep every
//! promise.

use inflight::history::{Call, Completed, History, Outcome, pattern};
use inflight::oracle::{AWAIT_NS, Contract};

use crate::behaviour::{call, duration_ns, run};
use crate::properties::Result;

const MS: u64 = 1_000_000;
const LINK: &str = "link data delay=20ms\nlink ack delay=20ms\n";
const CALLS: [&str; 2] = ["send-zerocopy", "uring-send-zerocopy"];

/// A send by reference returns at once, shows what is written until it is completed, and
/// is completed a round trip later, or as late as the acknowledgement.
pub fn what_is_lent_is_given_back() -> Result {
    for send in CALLS {
        let text = format!("{LINK}\n{send} 0+4096\nmmap-write 0+4096\nawait-completions\n");
        let history = run(Contract::Documented, &text)?;
        let (sent, awaited) = (call(&history, 0)?, call(&history, 2)?);
        let took_ns = [sent, awaited].map(duration_ns);
        if took_ns[0] > MS || !(39 * MS..100 * MS).contains(&took_ns[1]) {
            return Err(format!("{send}: {took_ns:?} ns"));
        }
        if awaited.outcome != Outcome::Returned(0) {
            return Err(format!("{send} is still open: {awaited:?}"));
        }
        if history.received != written(1) {
            return Err(format!("{send} has copied"));
        }
        let told: Vec<Completed> = history.completions.iter().map(|it| it.of).collect();
        match told[..] {
            [
                Completed::Sends {
                    first: 0, last: 0, ..
                },
            ] if send == CALLS[0] => {}
            [
                Completed::Promised { call: promised },
                Completed::Notified { call: notified },
            ] if send == CALLS[1] && promised == notified => {}
            _ => return Err(format!("{send}: {told:?}")),
        }
    }
    Ok(())
}

/// What stays unacknowledged stays lent: whoever waits for it gives up.
pub fn a_wait_for_what_stays_lent_ends() -> Result {
    for send in CALLS {
        let text =
            format!("hold ack\n{send} 0+4096\nawait-completions\nb: wait 8s\nb: release ack\n");
        let history = run(Contract::Documented, &text)?;
        let awaited = call(&history, 2)?;
        let took_ns = duration_ns(awaited);
        let gave_up = (AWAIT_NS..AWAIT_NS + 200 * MS).contains(&took_ns);
        if awaited.outcome != Outcome::Returned(1) || !gave_up {
            return Err(format!("{send}: {awaited:?}"));
        }
        // In the end it is told all the same, or the oracle would have cried.
    }
    Ok(())
}

/// Calls that send nothing have no number, and those that do have all of them.
pub fn only_what_was_sent_is_counted() -> Result {
    let send = "send-zerocopy 0+65536\n".repeat(12);
    let text = format!(
        "{LINK}socket tcp4 sndbuf=16384 nonblock\nfile tmpfs size=65536\n\n{send}wait 1s\n\
         send-zerocopy 0+100\nawait-completions\n"
    );
    let history = run(Contract::Documented, &text)?;
    let sends = history.calls.iter().filter(|it| it.step <= 12);
    let (sent, refused): (Vec<&Call>, Vec<&Call>) =
        sends.partition(|it| matches!(it.outcome, Outcome::Returned(_)));
    let eagain = |it: &&Call| it.outcome == Outcome::Failed(libc::EAGAIN);
    if sent.len() < 2 || refused.is_empty() || !refused.iter().all(eagain) {
        return Err(format!("{:#?}", history.calls));
    }
    let told: usize = numbers(&history)
        .map(|(first, last)| (last - first + 1) as usize)
        .sum();
    match told == sent.len() {
        true => Ok(()),
        false => Err(format!("{told} of {} were told", sent.len())),
    }
}

/// Stock: behind what a ring has sent, and is still in the queue, MSG_ZEROCOPY is refused.
pub fn nobody_lends_behind_a_ring() -> Result {
    behind_a_ring(Outcome::Failed(libc::ENOBUFS))
}

/// Patched: it begins a buffer of its own.
pub fn a_stream_lends_behind_a_ring() -> Result {
    behind_a_ring(Outcome::Returned(4096))
}

fn behind_a_ring(expected: Outcome) -> Result {
    // The window of ten segments is full, so that the ring's data waits in the queue.
    let text = format!(
        "{LINK}file tmpfs size=65536\n\nwrite 0+16384\nuring-send-zerocopy 0+4096\n\
         send-zerocopy 4096+4096\n"
    );
    let history = run(Contract::Documented, &text)?;
    match call(&history, 2)?.outcome {
        outcome if outcome == expected => Ok(()),
        outcome => Err(format!("{outcome:?}")),
    }
}

/// Who can lend and who cannot.
pub fn families_lend_or_refuse() -> Result {
    for (family, lends) in [
        ("tcp6", true),
        ("udp4", true),
        ("udp6", true),
        ("vsock", lends_by_vsock()),
        ("ktls4", false),
        ("mptcp4", false),
        ("unix", false),
    ] {
        for send in CALLS {
            let text = format!("socket {family}\n\n{send} 0+1000\nawait-completions\n");
            let history = run(Contract::Documented, &text)?;
            let expected = match lends {
                true => (Outcome::Returned(1000), 1000),
                false => (Outcome::Failed(libc::EOPNOTSUPP), 0),
            };
            let seen = (call(&history, 0)?.outcome, history.received.len());
            let told = history.completions.len();
            // A ring notifies even of what was refused.
            let silent = !lends && send == CALLS[0];
            if seen != expected || (told == 0) != silent {
                return Err(format!("{family}, {send}: {seen:?}, {told} completions"));
            }
        }
    }
    Ok(())
}

/// Whether the kernel is Linux 6.7 or later.
fn lends_by_vsock() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map_while(|it| it.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(7))
}

fn numbers(history: &History) -> impl Iterator<Item = (u32, u32)> + '_ {
    history.completions.iter().filter_map(|it| match it.of {
        Completed::Sends { first, last, .. } => Some((first, last)),
        _ => None,
    })
}

fn written(generation: u8) -> Vec<u8> {
    (0..4096).map(|at| pattern(at, generation)).collect()
}
