//! Datagrams that were sent and those that arrived: what UDP does is no corruption.

/// A sentence about them.
#[must_use]
pub fn sentence(sent: u64, arrived: u64) -> String {
    match sent.checked_sub(arrived) {
        Some(0) => format!("none of {sent} datagrams was lost"),
        Some(lost) => {
            let percent = lost as f64 / sent as f64 * 100.0;
            format!("{lost} of {sent} datagrams lost ({percent:.1} %)")
        }
        None => format!("{sent} datagrams were sent and {arrived} arrived: some twice"),
    }
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn loss_is_a_share_of_what_was_sent() {
        assert_eq!(sentence(10, 10), "none of 10 datagrams was lost");
        assert_eq!(sentence(8, 7), "1 of 8 datagrams lost (12.5 %)");
        assert_eq!(sentence(8, 0), "8 of 8 datagrams lost (100.0 %)");
        assert_eq!(sentence(0, 0), "none of 0 datagrams was lost");
        assert_eq!(
            sentence(8, 9),
            "8 datagrams were sent and 9 arrived: some twice"
        );
    }
}
