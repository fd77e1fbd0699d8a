//! Stamps: one total order over all threads, and the kernel's clock.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

use crate::history::Stamp;

/// Timers of the kernel's wheel (kernel/time/timer.c) fire at multiples of 64 ticks at
/// the most, if they are less than 40 s away; with the 100 Hz of the suite's kernels:
const TICK_NS: i64 = 64 * 10_000_000;
/// By then whatever the tick has woken has run. The kernel's own threads do not wake with
/// each of them, and what they do is no part of what comes next: where the clock is read
/// a hundred times at one instant it moves (kernel-patch/uml/), for whoever reads it next.
const AFTER_NS: i64 = 100_000;

/// Whether the kernel's time only moves when nobody can run.
pub fn is_virtual() -> io::Result<bool> {
    // It does not change, and is asked for each connection of datagrams.
    static KNOWN: OnceLock<bool> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let command_line = std::fs::read_to_string("/proc/cmdline")?;
    Ok(*KNOWN.get_or_init(|| command_line.contains("time-travel=inf-cpu")))
}

/// Sleeps until the timers of the kernel stand as they do after every other call.
pub fn await_tick() -> io::Result<()> {
    let clock = ClockId::CLOCK_MONOTONIC;
    let now_ns = clock_gettime(clock)?.num_nanoseconds();
    let begin = TimeSpec::nanoseconds((now_ns / TICK_NS + 1) * TICK_NS + AFTER_NS);
    match clock_nanosleep(clock, ClockNanosleepFlags::TIMER_ABSTIME, &begin) {
        // A signal, of which a guest has none, only makes it early.
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sleeps until the kernel has run for so long.
pub fn await_uptime(least: Duration) -> io::Result<()> {
    let now_ns = clock_gettime(ClockId::CLOCK_MONOTONIC)?.num_nanoseconds();
    let now = Duration::from_nanos(now_ns.unsigned_abs());
    std::thread::sleep(least.saturating_sub(now));
    Ok(())
}

/// Gives out stamps for one scenario. Time begins when the clock is first read.
#[derive(Debug)]
pub struct Clock {
    virtual_time: bool,
    start: OnceLock<Instant>,
    order: AtomicU64,
    latest_ns: AtomicU64,
}

impl Clock {
    /// A clock of this kernel's kind of time.
    pub fn new(virtual_time: bool) -> Clock {
        Clock {
            virtual_time,
            start: OnceLock::new(),
            order: AtomicU64::new(0),
            latest_ns: AtomicU64::new(0),
        }
    }

    /// Whether time moves only when nobody can run.
    pub fn is_virtual(&self) -> bool {
        self.virtual_time
    }

    /// A stamp after something that may have waited.
    pub fn stamp(&self) -> Stamp {
        self.order(self.elapsed_ns())
    }

    /// A stamp before a call, or after one that never waits. In virtual time the
    /// clock stands still while anybody runs, and whoever wakes up reads it first;
    /// so the latest reading is the time of now, and costs no system call.
    pub fn stamp_at_entry(&self) -> Stamp {
        match self.virtual_time {
            true => self.order(self.latest_ns()),
            false => self.stamp(),
        }
    }

    /// Nanoseconds since the start.
    pub fn elapsed_ns(&self) -> u64 {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(*self.start.get_or_init(|| now));
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.latest_ns.fetch_max(elapsed_ns, Ordering::SeqCst);
        elapsed_ns
    }

    /// What CLOCK_REALTIME showed at the start. Reading a clock may take time, also where
    /// that is virtual: both sides are taken to take the same.
    pub fn begun_ns(&self) -> io::Result<i64> {
        let before_ns = self.elapsed_ns();
        let real_ns = clock_gettime(ClockId::CLOCK_REALTIME)?.num_nanoseconds();
        let after_ns = self.elapsed_ns();
        let elapsed_ns = before_ns.midpoint(after_ns);
        Ok(real_ns.saturating_sub_unsigned(elapsed_ns))
    }

    /// The latest reading, nanoseconds since the start.
    pub fn latest_ns(&self) -> u64 {
        self.latest_ns.load(Ordering::SeqCst)
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
        let clock = Clock::new(true);
        let stamps = [clock.stamp(), clock.stamp_at_entry(), clock.stamp()];
        assert_eq!(stamps[0].time_ns, stamps[1].time_ns);
        assert!(stamps[0].order < stamps[1].order && stamps[1].order < stamps[2].order);
        assert!(stamps[1].time_ns <= stamps[2].time_ns);
    }

    #[test]
    fn in_real_time_every_stamp_reads_the_clock() {
        let clock = Clock::new(false);
        let before = clock.stamp();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(clock.stamp_at_entry().time_ns >= before.time_ns + 2_000_000);
    }
}
