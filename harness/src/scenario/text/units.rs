//! Numbers with units: sizes, times, rates, shares.
//!
//! Every unit is a whole multiple of the one that the model counts in, and a
//! number is accepted only if it is exact in that one, so what is printed can
//! be read again without loss.

use std::fmt;

use super::lex::{Trouble, Word};

/// A kind of number: how it is called, and its units with their values.
struct Kind {
    what: &'static str,
    /// Units with their values. `""` stands for a bare number.
    units: &'static [(&'static str, u64)],
    example: &'static str,
}

const SIZE: Kind = Kind {
    what: "size",
    units: &[
        ("", 1),
        ("k", 1 << 10),
        ("KiB", 1 << 10),
        ("M", 1 << 20),
        ("MiB", 1 << 20),
    ],
    example: "4096, 64k or 1MiB",
};
const TIME: Kind = Kind {
    what: "time",
    units: &[("us", 1), ("ms", 1_000), ("s", 1_000_000)],
    example: "500us, 20ms or 1s",
};
const PHASE: Kind = Kind {
    what: "phase",
    units: &[("ns", 1), ("us", 1_000), ("ms", 1_000_000)],
    example: "500ns or 20us",
};
const RATE: Kind = Kind {
    what: "rate",
    units: &[
        ("bit", 1),
        ("kbit", 1_000),
        ("mbit", 1_000_000),
        ("gbit", 1_000_000_000),
    ],
    example: "100mbit",
};
const SHARE: Kind = Kind {
    what: "share",
    units: &[("%", 10_000)],
    example: "0.5%",
};
const NUMBER: Kind = Kind {
    what: "number",
    units: &[("", 1)],
    example: "7",
};

/// A size in bytes.
pub fn bytes(word: Word<'_>) -> Result<u64, Trouble> {
    SIZE.read(word)
}

/// A time in microseconds.
pub fn time_us(word: Word<'_>) -> Result<u64, Trouble> {
    TIME.read(word)
}

/// A short time in nanoseconds.
pub fn phase_ns(word: Word<'_>) -> Result<u32, Trouble> {
    narrow(word, PHASE.read(word)?)
}

/// A rate in bits per second.
pub fn rate_bps(word: Word<'_>) -> Result<u64, Trouble> {
    RATE.read(word)
}

/// A share in parts per million.
pub fn share_ppm(word: Word<'_>) -> Result<u32, Trouble> {
    narrow(word, SHARE.read(word)?)
}

/// A bare number.
pub fn number(word: Word<'_>) -> Result<u64, Trouble> {
    NUMBER.read(word)
}

/// `value`, which was read from `word`, as a number of 32 bits.
pub fn narrow(word: Word<'_>, value: u64) -> Result<u32, Trouble> {
    u32::try_from(value).map_err(|_| {
        word.trouble(format!(
            "{} is too large: at most {}",
            word.quoted(),
            u32::MAX
        ))
    })
}

impl Kind {
    fn read(&self, word: Word<'_>) -> Result<u64, Trouble> {
        let Kind { what, example, .. } = self;
        let found = word.quoted();
        let text = word.text;
        if text.is_empty() {
            return Err(word.trouble(format!("the {what} is missing, expected {example}")));
        }
        if text.starts_with('-') {
            return Err(word.trouble(format!(
                "found the negative {what} {found}, expected {example}"
            )));
        }
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits(text);
        if whole == 0 {
            return Err(word.trouble(format!(
                "found {found}, expected a {what} such as {example}"
            )));
        }
        let fraction = match text[whole..].strip_prefix('.') {
            None => "",
            Some(rest) => match digits(rest) {
                0 => {
                    return Err(word.trouble(format!(
                        "found {found}, expected a digit after the decimal point"
                    )));
                }
                len => &rest[..len],
            },
        };
        let point = usize::from(!fraction.is_empty());
        let unit = &text[whole + point + fraction.len()..];
        let scale = self.scale(word, unit)?;
        let too_large = || word.trouble(format!("the {what} {found} is too large"));
        let whole: u64 = text[..whole].parse().map_err(|_| too_large())?;
        let rest = part_of(scale, fraction).ok_or_else(|| {
            word.trouble(format!(
                "the {what} {found} is too fine: it has no whole number of {}",
                self.finest()
            ))
        })?;
        whole
            .checked_mul(scale)
            .and_then(|value| value.checked_add(rest))
            .ok_or_else(too_large)
    }

    fn scale(&self, word: Word<'_>, unit: &str) -> Result<u64, Trouble> {
        if let Some(&(_, scale)) = self.units.iter().find(|(name, _)| *name == unit) {
            return Ok(scale);
        }
        let named: Vec<_> = self
            .units
            .iter()
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let found = word.quoted();
        let what = self.what;
        Err(word.trouble(if unit.is_empty() {
            format!(
                "the {what} {found} has no unit, expected one of {}",
                named.join(", ")
            )
        } else if named.is_empty() {
            format!(
                "found {found}, expected a plain number such as {}",
                self.example
            )
        } else {
            format!(
                "the {what} {found} has an unknown unit, expected one of {}",
                named.join(", ")
            )
        }))
    }

    /// What the model counts in, for messages.
    fn finest(&self) -> &'static str {
        match self.what {
            "time" => "microseconds",
            "phase" => "nanoseconds",
            "rate" => "bits per second",
            "share" => "parts per million",
            "size" => "bytes",
            _ => "units",
        }
    }
}

/// `0.FRACTION * scale`, if that is a whole number.
fn part_of(scale: u64, fraction: &str) -> Option<u64> {
    let fraction = fraction.trim_end_matches('0');
    // No scale has more than 20 factors of two or of five, so no longer
    // fraction can be exact; and up to here nothing overflows.
    let digits = u32::try_from(fraction.len())
        .ok()
        .filter(|&len| len <= 20)?;
    if digits == 0 {
        return Some(0);
    }
    let scaled = fraction.parse::<u128>().ok()? * u128::from(scale);
    let ten = 10_u128.pow(digits);
    (scaled % ten == 0).then(|| u64::try_from(scaled / ten).ok())?
}

/// A size, as it is printed: bytes, without a unit.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}

/// A time in microseconds, as it is printed: in the largest unit that it is a
/// whole number of.
pub struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TIME.print(self.0, f)
    }
}

/// A short time in nanoseconds, as it is printed.
pub struct Phase(pub u32);

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PHASE.print(self.0.into(), f)
    }
}

/// A rate in bits per second, as it is printed.
pub struct Rate(pub u64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        RATE.print(self.0, f)
    }
}

/// A share in parts per million, as it is printed: with up to four decimals.
pub struct Percent(pub u32);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let decimals = format!("{rest:04}");
        write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
    }
}

impl Kind {
    fn print(&self, value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = self
            .units
            .iter()
            .rev()
            .find(|(_, scale)| value.is_multiple_of(*scale))
            .unwrap_or(&self.units[0]);
        write!(f, "{}{unit}", value / scale)
    }
}
