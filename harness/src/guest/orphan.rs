//! A TCP connection whose socket was closed: nobody can ask it any more how it ended, but
//! the kernel still has it as long as it tries.

use std::fs;
use std::io;

/// One a line, in the namespace of the calling thread (proc_net_tcp(5)).
const CONNECTIONS: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];

/// Whether the kernel has given up, or done, what there was to do for the connection from
/// this local port.
pub fn is_gone(port: u16) -> io::Result<bool> {
    for file in CONNECTIONS {
        if has(&fs::read_to_string(file)?, port) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a connection is listed that still has something to do.
fn has(connections: &str, port: u16) -> bool {
    /// TCP_TIME_WAIT (include/net/tcp_states.h).
    const DONE: &str = "06";
    let suffix = format!(":{port:04X}");
    connections.lines().any(|line| {
        // Number, local and remote address, state.
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().is_some_and(|it| it.ends_with(&suffix));
        local && fields.nth(1).is_some_and(|state| state != DONE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 016433C6:D209 026433C6:AC0C 04 00001001:00000000 01:00000014 00000000     0        0 0 1
   2: 016433C6:00A1 026433C6:1F91 06 00000000:00000000 03:00000014 00000000     0        0 0 3
";

    #[test]
    fn what_waits_for_an_acknowledgement_is_still_there() {
        assert!(has(LISTED, 0xD209));
        assert!(has(LISTED, 0x1F90));
        // Done; only a remote port; nobody's.
        for port in [0x00A1, 0xAC0C, 0x1F91, 9] {
            assert!(!has(LISTED, port), "{port:x}");
        }
    }
}
