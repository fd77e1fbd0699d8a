//! Stamps: one total order over all threads, and the kernel's clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::history::Stamp;

/// Gives out stamps for one scenario.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    order: AtomicU64,
}

impl Clock {
    /// Time begins now.
    pub fn start() -> Clock {
        Clock {
            start: Instant::now(),
            order: AtomicU64::new(0),
        }
    }

    /// The next stamp. Sequentially consistent, so that on several CPUs a stamp
    /// taken after a call returned is later than any taken before it entered.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            time_ns: self.elapsed_ns(),
            order: self.order.fetch_add(1, Ordering::SeqCst),
        }
    }

    /// Nanoseconds since the start.
    pub fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
