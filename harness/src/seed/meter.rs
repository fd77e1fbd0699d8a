//! How much, in what time.

use std::time::{Duration, Instant};

use super::signals;

/// Counts while a connection lasts.
#[derive(Debug)]
pub struct Meter {
    /// Bytes a round.
    count: u64,
    bytes: u64,
    /// Of a transport that has some.
    datagrams: Option<u64>,
    start: Instant,
    /// Of the last bytes.
    end: Instant,
    /// What was said last, if anything is to be said on the way.
    shown: Option<Shown>,
}

#[derive(Debug, Clone, Copy)]
struct Shown {
    at: Instant,
    bytes: u64,
    tick: u32,
}

impl Meter {
    /// Starts the clock. With `progress`, [`Meter::progress`] has something to say.
    #[must_use]
    pub fn start(count: u64, datagrams: bool, progress: bool) -> Meter {
        let now = Instant::now();
        let shown = Shown {
            at: now,
            bytes: 0,
            tick: signals::ticks(),
        };
        Meter {
            count,
            bytes: 0,
            datagrams: datagrams.then_some(0),
            start: now,
            end: now,
            shown: progress.then_some(shown),
        }
    }

    /// So many bytes more, in one datagram if there are any.
    pub fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let Some(datagrams) = &mut self.datagrams {
            *datagrams += 1;
        }
    }

    /// Stops the clock; it may be stopped again, later.
    pub fn stop(&mut self) {
        self.end = Instant::now();
    }

    /// Bytes a round.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes up to now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whole rounds up to now.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.bytes / self.count
    }

    /// Datagrams up to now.
    #[must_use]
    pub fn datagrams(&self) -> Option<u64> {
        self.datagrams
    }

    /// A line about the last second, once a second. The clock is only asked when the
    /// timer has gone off.
    pub fn progress(&mut self) -> Option<String> {
        let shown = self.shown?;
        let tick = signals::ticks();
        if tick == shown.tick {
            return None;
        }
        let now = Instant::now();
        let bytes = self.bytes;
        self.shown = Some(Shown {
            at: now,
            bytes,
            tick,
        });
        let speed = self.speed(bytes - shown.bytes, now - shown.at);
        let seconds = (now - self.start).as_secs_f64();
        Some(format!("{seconds:.0} s: {speed}; {}", self.amount()))
    }

    /// The line at the end.
    #[must_use]
    pub fn summary(&self) -> String {
        let time = self.end - self.start;
        let speed = self.speed(self.bytes, time);
        format!("{} in {:.6} s: {speed}", self.amount(), time.as_secs_f64())
    }

    /// What there was up to now: `8192 bytes, 2 rounds of 4096`.
    #[must_use]
    pub fn amount(&self) -> String {
        let rounds = match self.rounds() {
            1 => "1 round".into(),
            rounds => format!("{rounds} rounds"),
        };
        let datagrams = match self.datagrams {
            None => String::new(),
            Some(1) => ", 1 datagram".into(),
            Some(datagrams) => format!(", {datagrams} datagrams"),
        };
        format!(
            "{} bytes, {rounds} of {}{datagrams}",
            self.bytes, self.count
        )
    }

    fn speed(&self, bytes: u64, time: Duration) -> String {
        // Virtual time may not have gone on at all.
        let seconds = time.as_secs_f64();
        if seconds == 0.0 {
            return "no time".into();
        }
        let megabytes = bytes as f64 / 1e6 / seconds;
        let rounds = bytes as f64 / self.count as f64 / seconds;
        format!("{megabytes:.3} MB/s, {rounds:.1} rounds/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_how_much_and_how_fast() {
        let mut meter = Meter::start(4096, false, false);
        meter.add(8192);
        meter.add(1000);
        meter.end = meter.start + Duration::from_secs(2);
        assert_eq!(
            meter.summary(),
            "9192 bytes, 2 rounds of 4096 in 2.000000 s: 0.005 MB/s, 1.1 rounds/s"
        );
        meter.end = meter.start;
        assert!(meter.summary().ends_with("no time"), "{}", meter.summary());
        assert_eq!(meter.progress(), None);
    }

    #[test]
    fn datagrams_are_counted_where_there_are_any() {
        let mut meter = Meter::start(100, true, false);
        meter.add(60);
        meter.add(40);
        assert_eq!(meter.amount(), "100 bytes, 1 round of 100, 2 datagrams");
        assert_eq!(Meter::start(1, false, false).datagrams(), None);
    }
}
