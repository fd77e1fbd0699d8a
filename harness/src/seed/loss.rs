//! Datagrams that were sent and those that arrived: what UDP does is no corruption.

/// So much, of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// In all datagrams.
    pub bytes: u64,
    /// Datagrams; for a sender, calls that should have made one each.
    pub datagrams: u64,
}

/// A sentence about them.
#[must_use]
pub fn sentence(sent: Amount, arrived: Amount) -> String {
    let (calls, datagrams) = (sent.datagrams, arrived.datagrams);
    if arrived.bytes > sent.bytes {
        return format!("{calls} datagrams were sent and {datagrams} arrived: some twice");
    }
    // UDP over IPv6 made one of every page before Linux 6.5, whatever MSG_MORE said.
    let cut = match datagrams > calls {
        true => format!("; the kernel made {datagrams} datagrams of {calls}"),
        false => String::new(),
    };
    let lost_bytes = sent.bytes - arrived.bytes;
    match calls.saturating_sub(datagrams) {
        0 if lost_bytes == 0 && cut.is_empty() => {
            format!("none of {calls} datagrams was lost")
        }
        0 if lost_bytes == 0 => format!("no byte was lost{cut}"),
        0 => format!("{lost_bytes} of {} bytes lost{cut}", sent.bytes),
        lost => {
            let percent = lost as f64 / calls as f64 * 100.0;
            format!("{lost} of {calls} datagrams lost ({percent:.1} %)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sent: (u64, u64), arrived: (u64, u64)) -> String {
        let amount = |(datagrams, bytes)| Amount { bytes, datagrams };
        sentence(amount(sent), amount(arrived))
    }

    #[test]
    fn loss_is_a_share_of_what_was_sent() {
        assert_eq!(of((10, 100), (10, 100)), "none of 10 datagrams was lost");
        assert_eq!(of((8, 80), (7, 70)), "1 of 8 datagrams lost (12.5 %)");
        assert_eq!(of((8, 80), (0, 0)), "8 of 8 datagrams lost (100.0 %)");
        assert_eq!(of((0, 0), (0, 0)), "none of 0 datagrams was lost");
    }

    #[test]
    fn what_arrives_twice_or_in_pieces_is_no_loss() {
        assert_eq!(
            of((8, 80), (9, 90)),
            "8 datagrams were sent and 9 arrived: some twice"
        );
        assert_eq!(
            of((8, 80), (9, 80)),
            "no byte was lost; the kernel made 9 datagrams of 8"
        );
        assert_eq!(
            of((8, 80), (9, 75)),
            "5 of 80 bytes lost; the kernel made 9 datagrams of 8"
        );
    }
}
