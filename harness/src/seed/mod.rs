//! What `send` and `recv` are made of, the two programs that came with the kernel
//! patch of 2008.
//!
//! ```text
//! address ─> socket ─┐
//!            zeros  ─┴─> way ─> (the network) ─> judge
//!                                                  │
//!            send reads it  <────── message <──────┘
//! ```
//!
//! Nothing of the suite is used here: they show the race with no harness around it,
//! between two machines, and work in a kernel with nothing but themselves.

pub mod address;
pub mod inbox;
pub mod judge;
pub mod loss;
pub mod message;
pub mod meter;
pub mod signals;
pub mod socket;
pub mod way;
pub mod zeros;

use std::time::Duration;

/// A `--timeout` of so many seconds, which need not be whole; 0 is never.
///
/// # Errors
/// It is no such number; what is wrong with it, as text for the user.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        // What TCP_USER_TIMEOUT and poll(2) can be given: an int of milliseconds.
        Ok(time) if time.as_millis() <= i32::MAX as u128 => Ok(time),
        _ => Err("not a number of seconds from 0 to 2147483".into()),
    }
}

/// For an option that 0 turns off.
#[must_use]
pub fn unless_zero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_be_broken_and_never_is_zero() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert_eq!(unless_zero(seconds("0").unwrap()), None);
        for bad in ["", "-1", "1e9", "soon", "nan", "inf"] {
            seconds(bad).unwrap_err();
        }
    }
}
