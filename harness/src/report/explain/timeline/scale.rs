//! Time as height: the same for every kernel of a page.
//!
//! Computing takes no virtual time, so that a scenario is a few instants full of events
//! and long waits between them. Waits are drawn to scale as far as that goes; what would
//! lie on top of each other is moved apart, and what is long and empty is cut short. The
//! axis says which is which.

use std::collections::{BTreeMap, HashMap};

/// A wait that is drawn to scale is not higher than this.
const LONGEST_PX: f64 = 150.0;
/// The height of a usual wait.
const USUAL_PX: f64 = 64.0;
/// What is shorter is computing, not waiting.
const WAIT_NS: u64 = 100_000;
/// Above the first event and below the last.
const MARGIN_PX: f64 = 14.0;

/// When something happened. Events of the same instant are told apart by their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// Nanoseconds since the scenario began. The connection is made before that.
    pub time_ns: i64,
    /// Which of those of the same instant.
    pub order: u64,
}

/// Something that must not lie on top of what came before it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// When.
    pub at: At,
    /// Those of the same track of the same chart keep their distance.
    pub track: (usize, u32),
    /// From the one before it on that track, in pixels.
    pub gap_px: f64,
}

/// How true a stretch of the axis is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// To scale.
    Scale,
    /// Longer, so that everything in it can be seen.
    Stretched,
    /// Shorter: nothing happens.
    Cut,
}

/// A stretch of the axis between two instants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    /// Where it begins and ends, in pixels.
    pub y_px: (f64, f64),
    /// How long it is.
    pub ns: u64,
    /// How true.
    pub truth: Truth,
}

/// Where each instant lies.
#[derive(Debug)]
pub struct Scale {
    y_px: BTreeMap<At, f64>,
    /// From the first instant to the last.
    pub stretches: Vec<Stretch>,
}

impl Scale {
    /// With room for each of them.
    pub fn new(mut places: Vec<Place>) -> Scale {
        places.sort_by_key(|place| place.at);
        let px_per_ns = px_per_ns(&places);
        let mut last: HashMap<(usize, u32), f64> = HashMap::new();
        let mut y_px: BTreeMap<At, f64> = BTreeMap::new();
        let mut before: Option<(At, f64)> = None;
        let mut stretches: Vec<Stretch> = Vec::new();
        for group in places.chunk_by(|one, other| one.at == other.at) {
            let at = group[0].at;
            let (ns, from) = match before {
                Some((earlier, y)) => (at.time_ns.abs_diff(earlier.time_ns), y),
                None => (0, MARGIN_PX),
            };
            let true_px = ns as f64 * px_per_ns;
            let apart = group.iter().map(|place| match last.get(&place.track) {
                Some(y) => y + place.gap_px,
                None => MARGIN_PX,
            });
            let y = apart.fold(from + true_px.min(LONGEST_PX), f64::max);
            for place in group {
                last.insert(place.track, y);
            }
            let truth = match y - from - true_px {
                more if more > 1.0 => Truth::Stretched,
                less if less < -1.0 => Truth::Cut,
                _ => Truth::Scale,
            };
            match stretches.last_mut() {
                // Nothing but room between events of nearly the same instant.
                Some(stretch) if stretch.truth == truth && truth == Truth::Stretched => {
                    stretch.y_px.1 = y;
                    stretch.ns += ns;
                }
                _ if y > from => stretches.push(Stretch {
                    y_px: (from, y),
                    ns,
                    truth,
                }),
                _ => {}
            }
            y_px.insert(at, y);
            before = Some((at, y));
        }
        Scale { y_px, stretches }
    }

    /// The height of an instant: its own, or that of the one before it.
    pub fn y(&self, at: At) -> f64 {
        let before = self.y_px.range(..=at).next_back();
        before.map_or(MARGIN_PX, |(_, y)| *y)
    }

    /// The height of everything.
    pub fn height_px(&self) -> f64 {
        let last = self.y_px.values().next_back();
        last.copied().unwrap_or(MARGIN_PX) + 2.0 * MARGIN_PX
    }
}

/// The middle one of the waits gets the usual height.
fn px_per_ns(sorted: &[Place]) -> f64 {
    let pairs = sorted.windows(2);
    let mut waits: Vec<u64> = pairs
        .map(|pair| pair[1].at.time_ns.abs_diff(pair[0].at.time_ns))
        .filter(|ns| *ns >= WAIT_NS)
        .collect();
    waits.sort_unstable();
    match waits.get(waits.len() / 2) {
        Some(ns) => USUAL_PX / *ns as f64,
        None => USUAL_PX / WAIT_NS as f64,
    }
}

/// The clock of a history as an instant.
pub fn ns(time_ns: u64) -> i64 {
    i64::try_from(time_ns).unwrap_or(i64::MAX)
}

/// An instant for people: as [`time`], and with a minus if it is before the scenario.
pub fn instant(ns: i64) -> String {
    let sign = if ns < 0 { "−" } else { "" };
    sign.to_string() + &time(ns.unsigned_abs())
}

/// A duration for people: `12.3 µs`, `20.004 ms`, `1.200 s`.
pub fn time(ns: u64) -> String {
    match ns {
        0 => "0".to_string(),
        1..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.3} ms", ns as f64 / 1e6),
        _ => format!("{:.3} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn place(time_ns: i64, order: u64, track: (usize, u32), gap_px: f64) -> Place {
        let at = At { time_ns, order };
        Place { at, track, gap_px }
    }

    #[test]
    fn waits_are_to_scale_and_an_instant_has_room_for_all_its_events() {
        let mut places: Vec<Place> = (0..5).map(|it| place(0, it, (0, 0), 10.0)).collect();
        places.push(place(20 * MS, 5, (0, 0), 10.0));
        places.push(place(60 * MS, 6, (1, 0), 10.0));
        let scale = Scale::new(places);
        let y = |time_ns, order| scale.y(At { time_ns, order });
        for order in 1..5 {
            assert!(y(0, order) - y(0, order - 1) >= 10.0);
        }
        let (short, long) = (y(20 * MS, 5) - y(0, 4), y(60 * MS, 6) - y(20 * MS, 5));
        assert!((long - 2.0 * short).abs() < 0.1, "{short} {long}");
        let truths: Vec<Truth> = scale.stretches.iter().map(|it| it.truth).collect();
        assert_eq!(truths, [Truth::Stretched, Truth::Scale, Truth::Scale]);
    }

    #[test]
    fn a_retransmission_timeout_is_cut_and_says_how_long_it_was() {
        let times = [0, MS, 2 * MS, 3 * MS, 10_003 * MS];
        let places = times.map(|ns| place(ns, 0, (0, 0), 1.0));
        let scale = Scale::new(places.to_vec());
        let cut = scale.stretches.last().unwrap();
        assert_eq!((cut.truth, cut.ns), (Truth::Cut, 10_000_000_000));
        assert!(scale.height_px() < 500.0);
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time(0), "0");
        assert_eq!(time(1_234), "1.2 µs");
        assert_eq!(time(20_004_000), "20.004 ms");
        assert_eq!(time(1_200_000_000), "1.200 s");
        assert_eq!(instant(1_200_000_000), "1.200 s");
        assert_eq!(instant(-40_100_000), "−40.100 ms");
    }
}
