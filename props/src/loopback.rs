//! That loopback carries what is to go over it, and nothing else.

use std::fs;

use inflight::oracle::Contract;

use crate::behaviour::run;
use crate::families::counter;
use crate::properties::Result;

/// What was sent crossed `lo`, or did not, as the scenario says; in fragments where its
/// packets are shorter, and where the next scenario says nothing no more.
pub fn loopback_is_a_link() -> Result {
    // The first run makes the guest, whose interfaces these are.
    run(Contract::Documented, "sendfile 0+1\n")?;
    for (setup, crosses, is_cut) in [
        ("socket tcp4\n", false, false),
        ("link loopback\nsocket tcp4\n", true, false),
        ("link loopback\nsocket tcp6\n", true, false),
        ("link loopback\nsocket mptcp4\n", true, false),
        ("link loopback mtu=1280\nsocket udp4\n", true, true),
        ("link loopback\nsocket udp4\n", true, false),
        ("link loopback\nsocket udp6\n", true, false),
        ("link tun\nsocket udp4\n", false, true),
    ] {
        let (bytes, cut) = (sent_bytes()?, counter("snmp", "FragCreates")?);
        let text = format!("{setup}file tmpfs size=8192\n\nwrite 0+8000\n");
        let history = run(Contract::Documented, &text)?;
        let received: usize = history.chunks.iter().map(|chunk| chunk.len).sum();
        let bytes = sent_bytes()? - bytes;
        let cut = counter("snmp", "FragCreates")? - cut;
        if received != 8000 || (bytes >= 8000) != crosses || (cut > 0) != is_cut {
            return Err(format!(
                "{received} bytes received, {bytes} over lo, {cut} fragments:\n{text}"
            ));
        }
    }
    Ok(())
}

/// What `lo` of this namespace has carried (proc_pid_net(5)).
fn sent_bytes() -> std::result::Result<u64, String> {
    const RECEIVED_FIELDS: usize = 8;
    let table =
        fs::read_to_string("/proc/thread-self/net/dev").map_err(|error| error.to_string())?;
    let mut rows = table.lines().map(str::trim);
    rows.find_map(|row| row.strip_prefix("lo:"))
        .and_then(|row| row.split_whitespace().nth(RECEIVED_FIELDS)?.parse().ok())
        .ok_or_else(|| format!("no row for lo in\n{table}"))
}
