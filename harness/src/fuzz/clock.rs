//! The host's time for libFuzzer.
//!
//! A guest's clock stands still while it computes and leaps while it waits: a minute of
//! `-max_total_time` would be over after some scenarios, and `exec/s` would mean nothing.
//! A guest can read the CPU's time stamp counter, though, as any process can. The host
//! tells how that relates to its own clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Carries a [`Relation`] to the guest.
pub(super) const VARIABLE: &str = "INFLIGHT_CLOCK";
/// How long the counter is watched to learn how fast it is.
const WATCHED: Duration = Duration::from_millis(10);

/// How the time stamp counter relates to the host's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Relation {
    /// The counter at some moment.
    ticks: u64,
    /// The time of that moment, in nanoseconds since 1970.
    at_ns: u64,
    /// How long a tick is.
    ns_a_tick: f64,
}

impl Relation {
    /// As it is now; `None`: this CPU has no counter that always goes at the same speed.
    pub fn measure() -> Option<Relation> {
        let (begin, begun) = (ticks()?, Instant::now());
        while begun.elapsed() < WATCHED {
            std::hint::spin_loop();
        }
        let (end, elapsed) = (ticks()?, begun.elapsed());
        let passed = end.checked_sub(begin).filter(|it| *it > 0)?;
        Some(Relation {
            ticks: end,
            at_ns: clock_ns(),
            ns_a_tick: elapsed.as_nanos() as f64 / passed as f64,
        })
    }

    fn read(text: &str) -> Option<Relation> {
        let mut words = text.split(' ');
        let relation = Relation {
            ticks: words.next()?.parse().ok()?,
            at_ns: words.next()?.parse().ok()?,
            ns_a_tick: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(relation)
    }

    fn time_ns(self, ticks: u64) -> u64 {
        let since = ticks.saturating_sub(self.ticks) as f64 * self.ns_a_tick;
        self.at_ns + since as u64
    }
}

impl std::fmt::Display for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.ticks, self.at_ns, self.ns_a_tick)
    }
}

/// The host's time, in nanoseconds since 1970; in a guest that was not told how to know
/// it, the guest's.
pub fn now_ns() -> u64 {
    static TOLD: OnceLock<Option<Relation>> = OnceLock::new();
    let told = TOLD.get_or_init(|| Relation::read(&std::env::var(VARIABLE).ok()?));
    match (told, ticks()) {
        (Some(relation), Some(ticks)) => relation.time_ns(ticks),
        _ => clock_ns(),
    }
}

fn clock_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX))
}

/// The time stamp counter, if its speed never changes (CPUID 8000_0007h, EDX bit 8).
#[cfg(target_arch = "x86_64")]
fn ticks() -> Option<u64> {
    use std::arch::x86_64::{__cpuid, _rdtsc};
    static INVARIANT: OnceLock<bool> = OnceLock::new();
    let invariant = *INVARIANT.get_or_init(|| {
        let largest = __cpuid(0x8000_0000).eax;
        largest >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0
    });
    // SAFETY: every x86-64 CPU has it, and user space may read it unless prctl(2) with
    // PR_SET_TSC says otherwise, which nobody here does.
    invariant.then(|| unsafe { _rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn ticks() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_survives_the_way_to_the_guest() {
        let relation = Relation {
            ticks: 1_000,
            at_ns: 5_000,
            ns_a_tick: 0.5,
        };
        assert_eq!(Relation::read(&relation.to_string()), Some(relation));
        for text in ["", "1 2", "1 2 x", "1 2 3 4"] {
            assert_eq!(Relation::read(text), None, "{text}");
        }
        assert_eq!(relation.time_ns(1_000), 5_000);
        assert_eq!(relation.time_ns(1_010), 5_005);
        // A counter that went back is no time travel.
        assert_eq!(relation.time_ns(0), 5_000);
    }

    #[test]
    fn what_was_measured_tells_the_time() {
        let Some(relation) = Relation::measure() else {
            eprintln!("SKIPPED: this CPU's time stamp counter is not said to be invariant");
            return;
        };
        let before = clock_ns();
        let told = relation.time_ns(ticks().unwrap());
        let after = clock_ns();
        // Within a thousandth of the 10 ms for which it was watched.
        let slack = 100_000;
        assert!(told + slack >= before, "{told} {before}");
        assert!(told <= after + slack, "{told} {after}");
    }
}
