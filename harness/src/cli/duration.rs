//! Times as people write them.

use std::time::Duration;

/// A humane time: a number of seconds, or numbers with units.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "must be like 90, 90s, 10m, 8h, 1d or 1h30m, and more than nothing".to_owned();
    if let Ok(seconds) = text.parse::<u64>() {
        return match seconds {
            0 => Err(wrong()),
            _ => Ok(Duration::from_secs(seconds)),
        };
    }
    let mut rest = text;
    let (mut total, mut last) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(0);
        let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = match rest.as_bytes().get(digits) {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            _ => return Err(wrong()),
        };
        // The larger ones first, and each once.
        if unit >= last {
            return Err(wrong());
        }
        last = unit;
        let part = count.checked_mul(unit).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[digits + 1..];
    }
    match total {
        0 => Err(wrong()),
        _ => Ok(Duration::from_secs(total)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_people_write_them() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("10m", 600),
            ("8h", 28_800),
            ("1d", 86_400),
            ("1h30m", 5_400),
            ("1d2h3m4s", 93_784),
        ] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "0",
            "0s",
            "s",
            "h8",
            "8x",
            "8 h",
            "-1",
            "1.5h",
            "8h5",
            "30m1h",
            "1h1h",
            "8hh",
            "99999999999999999999",
            "99999999999999999d",
            "\u{661}s",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
