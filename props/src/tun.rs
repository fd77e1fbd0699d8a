//! That a TUN link carries packets, and knows each by its number.

use inflight::oracle::Contract;

use crate::behaviour::run;
use crate::properties::Result;

/// What happens to the second of four datagrams happens to no other. Over IPv6, too.
pub fn a_packet_is_known_by_its_number() -> Result {
    for (nth, expected) in [
        ("", &[1, 2, 3, 4][..]),
        ("link data drop=2\n", &[1, 3, 4]),
        ("link data twice=2\n", &[1, 2, 2, 3, 4]),
        ("link data swap=2\n", &[1, 3, 2, 4]),
        // The checksum does not fit any more.
        ("link data flip=2\n", &[1, 3, 4]),
    ] {
        for family in ["udp4", "udp6"] {
            let text = format!(
                "{nth}link tun\nsocket {family}\n\n\
                 sendfile 0+1\nwait 1ms\nsendfile 0+2\nwait 1ms\nsendfile 0+3\nwait 1ms\nsendfile 0+4\n"
            );
            let history = run(Contract::Documented, &text)?;
            let got: Vec<usize> = history.chunks.iter().map(|chunk| chunk.len).collect();
            if got != expected {
                return Err(format!("{got:?} arrived, not {expected:?}:\n{text}"));
            }
        }
    }
    Ok(())
}
