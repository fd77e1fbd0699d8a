//! Tables of delays, as netem draws from them: entry by entry with the same chance, in
//! units of the jitter over 8192 (NETEM_DIST_SCALE in linux/pkt_sched.h).

use std::sync::OnceLock;

use crate::scenario::Distribution;

const SCALE: f64 = 8192.0;
/// Enough that an end of the table is as rare as an i16 can say.
const ENTRIES: usize = 4096;

/// The table, as bytes; none for the uniform one, which netem has by itself. It is made
/// once, as making it takes as long as some scenarios.
pub fn table(distribution: Distribution) -> Option<&'static [u8]> {
    static TABLES: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
    let (made, quantile): (_, fn(f64) -> f64) = match distribution {
        Distribution::Uniform => return None,
        Distribution::Normal => (&TABLES[0], normal),
        Distribution::Pareto => (&TABLES[1], pareto),
    };
    Some(made.get_or_init(|| made_of(quantile)))
}

fn made_of(quantile: fn(f64) -> f64) -> Vec<u8> {
    let entry = |index: usize| {
        let share = (index as f64 + 0.5) / ENTRIES as f64;
        // A cast of a float saturates.
        (quantile(share) * SCALE).round() as i16
    };
    (0..ENTRIES)
        .flat_map(|it| entry(it).to_ne_bytes())
        .collect()
}

/// Of mean 0 and deviation 1, by bisection of its distribution function.
fn normal(share: f64) -> f64 {
    let (mut low, mut high) = (-5.0, 5.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        match below(middle) < share {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

/// The share of a normal distribution below `x` (Abramowitz and Stegun 26.2.17, good to
/// seven digits).
fn below(x: f64) -> f64 {
    const FACTORS: [f64; 5] = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let sum = FACTORS
        .iter()
        .rev()
        .fold(0.0, |sum, factor| (sum + factor) * t);
    let above = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum;
    if x < 0.0 { above } else { 1.0 - above }
}

/// Of shape 3, less its mean and over its deviation: most are a little early, a few are
/// very late.
fn pareto(share: f64) -> f64 {
    const MEAN: f64 = 1.5;
    const DEVIATION: f64 = 0.866_025_4;
    ((1.0 - share).powf(-1.0 / 3.0) - MEAN) / DEVIATION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(distribution: Distribution) -> Vec<f64> {
        let bytes = table(distribution).unwrap();
        let entries = bytes.chunks(2).map(|it| i16::from_ne_bytes([it[0], it[1]]));
        entries.map(|it| f64::from(it) / SCALE).collect()
    }

    #[test]
    fn tables_have_the_shape_of_their_names() {
        assert_eq!(table(Distribution::Uniform), None);
        for (distribution, low, high) in [
            (Distribution::Normal, -3.7..-3.5, 3.5..3.7),
            (Distribution::Pareto, -0.58..-0.57, 3.99..4.0),
        ] {
            let entries = entries(distribution);
            assert_eq!(entries.len(), ENTRIES);
            assert!(entries.is_sorted());
            assert!(low.contains(&entries[0]), "{}", entries[0]);
            assert!(
                high.contains(&entries[ENTRIES - 1]),
                "{}",
                entries[ENTRIES - 1]
            );
            let mean = entries.iter().sum::<f64>() / ENTRIES as f64;
            assert!(mean.abs() < 0.05, "{distribution:?}: {mean}");
        }
        // 68.3 % lie within one deviation.
        let within = entries(Distribution::Normal);
        let within = within.iter().filter(|it| it.abs() < 1.0).count();
        assert!((2794..2800).contains(&within), "{within}");
    }
}
