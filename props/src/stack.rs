//! That the interfaces and the stack are as a scenario says, and for that scenario only.

use std::fs;

use inflight::history::Outcome;
use inflight::oracle::Contract;

use crate::behaviour::{call, run};
use crate::families::counter;
use crate::properties::Result;

/// A datagram is cut into fragments and a stream into segments as long as the link takes.
pub fn packets_are_as_long_as_the_link_takes() -> Result {
    // The first run makes the guest, whose counters these are.
    run(Contract::Documented, "sendfile 0+1\n")?;
    for (setup, counted, expected) in [
        // 8 bytes of header are a part of what is cut, and 20 are one of each packet.
        (
            "link veth mtu=576\nsocket udp4\n",
            "FragCreates",
            8_008_u64.div_ceil(552),
        ),
        (
            "link veth mtu=1280\nsocket udp4\n",
            "FragCreates",
            8_008_u64.div_ceil(1256),
        ),
        ("link veth mtu=9000\nsocket udp4\n", "FragCreates", 0),
        (
            "link veth mtu=576\n",
            "OutSegs",
            8_000_u64.div_ceil(524) + 3,
        ),
        ("link veth mtu=9000\n", "OutSegs", 1 + 3),
        (
            "link veth mtu=65535\nsocket tcp4 nodelay\n",
            "OutSegs",
            1 + 3,
        ),
    ] {
        let before = counter("snmp", counted)?;
        let text = format!("{setup}file tmpfs size=8192\n\nsendfile 0+8000\n");
        run(Contract::Documented, &text)?;
        let packets = counter("snmp", counted)? - before;
        // SYN, FIN and the acknowledgements of the handshake and of the end are the rest.
        if !(expected..=expected + 1).contains(&packets) {
            return Err(format!("{counted}: {packets}, not {expected}:\n{text}"));
        }
    }
    Ok(())
}

/// TCP that probes for longer packets finds them.
pub fn a_probe_finds_longer_packets() -> Result {
    run(Contract::Documented, "sendfile 0+1\n")?;
    let probes = |setup: &str| -> std::result::Result<u64, String> {
        let before = counter("netstat", "TCPMTUPSuccess")?;
        let text =
            format!("link data delay=5ms\n{setup}file tmpfs size=262144\n\nsendfile 0+262144\n");
        run(Contract::Documented, &text)?;
        Ok(counter("netstat", "TCPMTUPSuccess")? - before)
    };
    match (probes("")?, probes("stack mtu-probing=2 base-mss=512\n")?) {
        (0, 1..) => Ok(()),
        found => Err(format!("{found:?} probes without and with probing")),
    }
}

/// What a scenario sets is set at both ends, and is put back for the next one.
pub fn the_stack_is_set_for_one_scenario() -> Result {
    let setting = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/tcp_{name}");
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        Ok::<_, String>(text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    for (line, name, value) in [
        ("sack=0", "sack", "0"),
        ("mtu-probing=1", "mtu_probing", "1"),
        ("limit-output=16384", "limit_output_bytes", "16384"),
        ("rmem=16384", "rmem", "4096 16384 16384"),
    ] {
        run(Contract::Documented, "sendfile 0+1\n")?;
        let usual = setting(name)?;
        run(
            Contract::Documented,
            &format!("stack {line}\n\nsendfile 0+1\n"),
        )?;
        let set = setting(name)?;
        run(Contract::Documented, "sendfile 0+1\n")?;
        if set != value || usual == value || setting(name)? != usual {
            return Err(format!(
                "{name} was {usual}, then {set}, then {:?}",
                setting(name)
            ));
        }
    }
    Ok(())
}

/// The buffers of the stack are what a call fills that may not wait, and the receiver's
/// is part of it.
pub fn the_buffers_of_the_stack_limit_a_send() -> Result {
    let sent = |stack: &str| -> std::result::Result<u64, String> {
        let text = format!(
            "{stack}socket tcp4 nonblock\nfile tmpfs size=1048576\nreader paused\n\n\
             sendfile 0+1048576\nwait 1s\nsendfile 0+1048576\n"
        );
        let history = run(Contract::Documented, &text)?;
        let bytes = |step| match call(&history, step)?.outcome {
            Outcome::Returned(bytes) => Ok::<_, String>(bytes),
            _ => Ok(0),
        };
        Ok(bytes(0)? + bytes(2)?)
    };
    let all = [
        sent("stack wmem=4096 rmem=4096\n")?,
        sent("stack wmem=4096\n")?,
        sent("")?,
    ];
    // Copies, which 6.1 with the series makes for who may not wait, are charged by the page:
    // there the first buffer is soon as large as the next.
    match all.is_sorted_by(|few, more| 11 * few <= 10 * more) {
        true => Ok(()),
        false => Err(format!("{all:?} bytes were taken")),
    }
}
