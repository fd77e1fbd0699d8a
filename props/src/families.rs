//! That the sockets are of the families that the scenarios name. A guest that fell back
//! to TCP would find nothing either.

use std::fs;

use inflight::campaign::known::{Bug, Known};
use inflight::history::Outcome;
use inflight::oracle::Contract;

use crate::behaviour::{call, run};
use crate::properties::Result;

const MS: u64 = 1_000_000;
const PAGE: usize = 4096;

/// What passes the link takes the link's time, and what does not takes none.
pub fn each_family_takes_its_way() -> Result {
    for (family, link, least_ms) in [
        ("ktls4", "link data delay=20ms\n", 20),
        ("mptcp4", "link data delay=20ms\n", 20),
        ("mptcp6", "link data delay=20ms\n", 20),
        ("udp4", "link data delay=20ms\n", 20),
        ("udp6", "link data delay=20ms\n", 20),
        ("unix", "", 0),
        ("unix-seqpacket", "", 0),
        ("vsock", "", 0),
    ] {
        let text = format!("{link}socket {family}\n\nsendfile 0+100\n");
        let history = run(Contract::Documented, &text)?;
        let sent_ns = call(&history, 0)?.entry.time_ns;
        let arrived = history
            .chunks
            .first()
            .ok_or(format!("{family}: nothing arrived"))?;
        let took_ns = arrived.at.time_ns - sent_ns;
        if history.received.len() != 100 || !(least_ms * MS..(least_ms + 1) * MS).contains(&took_ns)
        {
            let bytes = history.received.len();
            return Err(format!("{family}: {bytes} bytes after {took_ns} ns"));
        }
    }
    Ok(())
}

/// A send to UDP is a datagram, however many rounds the kernel needs; what waits for
/// more is one with what follows.
pub fn a_send_is_a_datagram() -> Result {
    for (setup, ops, lengths) in [
        ("", "sendfile 0+1000\nsendfile 0+500", &[1000, 500][..]),
        (" cork", "sendfile 0+1000\nsendfile 0+500", &[1500]),
        ("", "sendfile 0+60000\nsendfile 1+65000", &[60_000, 65_000]),
        (
            "",
            "pipe capacity=65536\nsplice-in 0+30\nsplice-out 10 more\nsplice-out 10\nsplice-out 10",
            &[20, 10],
        ),
    ] {
        // The first of them is the first that the guest ever sends.
        for family in ["udp6", "udp4"] {
            let text = format!("socket {family}{setup}\nfile tmpfs size=131072\n\n{ops}\n");
            if Known::here().has(Bug::PageADatagram) && family == "udp6" && lengths[0] > PAGE {
                // Older kernels have a bug there, see corpus/udp/udp6-pages.scn: it is
                // still here, or this exception has to go.
                match run(Contract::Documented, &text) {
                    Err(why) if why.contains("none that was sent") => continue,
                    other => return Err(format!("a datagram of many pages: {other:?}")),
                }
            }
            let history = run(Contract::Documented, &text)?;
            let got: Vec<usize> = history.chunks.iter().map(|chunk| chunk.len).collect();
            if got != lengths {
                return Err(format!("{got:?}, not {lengths:?}:\n{text}"));
            }
        }
    }
    Ok(())
}

/// Patched: the end of the file ends the datagram over IPv6 as well, where stock kernels
/// have a bug.
pub fn the_end_of_the_file_ends_the_datagram() -> Result {
    for family in ["udp4", "udp6"] {
        let text = format!("socket {family}\n\nsendfile 0+4097\nsendfile 0+1\n");
        let history = run(Contract::Documented, &text)?;
        let got: Vec<usize> = history.chunks.iter().map(|chunk| chunk.len).collect();
        if got != [4096, 1] {
            return Err(format!("{family}: {got:?}"));
        }
    }
    Ok(())
}

/// A call that copies is a packet, whatever its length; a splice is cut between pages
/// only. Where they are too long they are refused.
pub fn packets_keep_their_boundaries() -> Result {
    let text = "socket unix-seqpacket\nfile tmpfs size=262144\nreader paused\n\n\
        write 0+5000\nwritev 5000+200000\nsendfile 100+200000\nsend 7+1\nwrite 0+212961\n";
    let history = run(Contract::Documented, text)?;
    let got: Vec<usize> = history.chunks.iter().map(|chunk| chunk.len).collect();
    let spliced = &got[2..got.len() - 1];
    let ends = spliced.iter().scan(100, |at, len| {
        *at += len;
        Some(*at)
    });
    let between_pages = ends.clone().all(|end| end % PAGE == 0 || end == 200_100);
    let refused = call(&history, 4)?.outcome == Outcome::Failed(libc::EMSGSIZE);
    let sizes = got[..2] == [5000, 200_000] && got.last() == Some(&1);
    match sizes && between_pages && spliced.len() > 1 && refused {
        true => Ok(()),
        false => Err(format!("packets of {got:?} bytes\n{:#?}", history.calls)),
    }
}

/// Nobody repairs what the link does to datagrams: as many are lost as it says.
pub fn datagrams_get_lost() -> Result {
    const RUNS: u64 = 100;
    const EACH: u64 = 10;
    let mut arrived = 0;
    for seed in 1..=RUNS {
        let ops = "sendfile 0+100\n".repeat(EACH as usize);
        let text = format!("link data delay=5ms loss=20% seed={seed}\nsocket udp4\n\n{ops}");
        arrived += run(Contract::Documented, &text)?.chunks.len() as u64;
    }
    match 100 * (RUNS * EACH - arrived) / (RUNS * EACH) {
        15..=25 => Ok(()),
        percent => Err(format!("{percent} % of {} datagrams lost", RUNS * EACH)),
    }
}

/// The kernel counts the sockets that encrypt, and the handshakes in which both ends
/// spoke Multipath TCP.
pub fn the_kernel_knows_the_protocols() -> Result {
    for (family, file, name) in [
        ("ktls4", "tls_stat", "TlsTxSw"),
        ("mptcp4", "netstat", "MPCapableSYNACKRX"),
        ("mptcp6", "netstat", "MPCapableSYNACKRX"),
    ] {
        // The first run makes the guest, whose counters these are.
        run(Contract::Documented, "sendfile 0+1\n")?;
        let before = counter(file, name)?;
        let text = format!("socket {family}\n\nsendfile 0+100\n");
        run(Contract::Documented, &text)?;
        let after = counter(file, name)?;
        if after != before + 1 {
            return Err(format!("{family}: {name} went from {before} to {after}"));
        }
    }
    Ok(())
}

/// A counter of the sender's namespace: `NAME VALUE` a line, or a line of names above
/// one of values.
pub(crate) fn counter(file: &str, name: &str) -> std::result::Result<u64, String> {
    let path = format!("/proc/thread-self/net/{file}");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let value = lines.iter().enumerate().find_map(|(number, words)| {
        let place = words.iter().position(|word| *word == name)?;
        match place {
            0 => words.get(1),
            _ => lines.get(number + 1)?.get(place),
        }
    });
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| format!("{path} has no {name}:\n{text}"))
}
