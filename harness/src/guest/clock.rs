//! Stamps: one total order over all threads, and the kernel's clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::history::Stamp;

/// Gives out stamps for one scenario.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    order: AtomicU64,
    latest_ns: AtomicU64,
}

impl Clock {
    /// Time begins now.
    pub fn start() -> Clock {
        Clock {
            start: Instant::now(),
            order: AtomicU64::new(0),
            latest_ns: AtomicU64::new(0),
        }
    }

    /// A stamp with the time of now.
    pub fn stamp(&self) -> Stamp {
        self.order(self.elapsed_ns())
    }

    /// A stamp with the time of the latest one. Right in virtual time where nobody
    /// has waited since, because it stands still then, and without the system
    /// call, of which a stamp would else be made.
    pub fn stamp_at_once(&self) -> Stamp {
        self.order(self.latest_ns.load(Ordering::SeqCst))
    }

    /// Nanoseconds since the start.
    pub fn elapsed_ns(&self) -> u64 {
        let elapsed = self.start.elapsed().as_nanos();
        let elapsed_ns = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.latest_ns.fetch_max(elapsed_ns, Ordering::SeqCst);
        elapsed_ns
    }

    // Sequentially consistent, so that on several CPUs a stamp taken after a call
    // returned is later than any taken before it entered.
    fn order(&self, time_ns: u64) -> Stamp {
        Stamp {
            order: self.order.fetch_add(1, Ordering::SeqCst),
            time_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_ordered_even_when_the_clock_is_not_read() {
        let clock = Clock::start();
        let stamps = [clock.stamp(), clock.stamp_at_once(), clock.stamp()];
        assert_eq!(stamps[0].time_ns, stamps[1].time_ns);
        assert!(stamps[0].order < stamps[1].order && stamps[1].order < stamps[2].order);
        assert!(stamps[1].time_ns <= stamps[2].time_ns);
    }
}
