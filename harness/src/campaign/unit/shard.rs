//! Which part of a campaign.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// More parts than any scheduler has places for.
const MOST: u32 = 10_000_000;

/// One of so many equal parts. As text `I/N`, where the first is `1/N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    of: u32,
}

/// Not a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no part: write I/N, from 1/N to N/N, with N at most {MOST}")]
pub struct ShardError(String);

impl Shard {
    /// All of it.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };

    /// The part `index` of `of`, where the first is 0; `None`: there is no such part.
    pub fn new(index: u32, of: u32) -> Option<Shard> {
        (index < of && of <= MOST).then_some(Shard { index, of })
    }

    /// Its number; the first is 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// How many parts there are.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether the `number`th thing, counted from 0, belongs to it: things are dealt out like
    /// cards.
    pub fn has(self, number: u64) -> bool {
        number % u64::from(self.of) == u64::from(self.index)
    }

    /// How many of `all` things belong to it.
    pub fn share(self, all: u64) -> u64 {
        let (index, of) = (u64::from(self.index), u64::from(self.of));
        all / of + u64::from(index < all % of)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Shard, ShardError> {
        let shard = text.split_once('/').and_then(|(index, of)| {
            let index = index.parse::<u32>().ok()?.checked_sub(1)?;
            Shard::new(index, of.parse().ok()?)
        });
        shard.ok_or_else(|| ShardError(text.to_owned()))
    }
}

impl TryFrom<String> for Shard {
    type Error = ShardError;

    fn try_from(text: String) -> Result<Shard, ShardError> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_number_of_a_number() {
        let shard: Shard = "3/64".parse().unwrap();
        assert_eq!((shard.index(), shard.of()), (2, 64));
        assert_eq!(shard.to_string(), "3/64");
        for text in [
            "",
            "3",
            "0/4",
            "5/4",
            "1/0",
            "-1/4",
            "1/4/4",
            "1/x",
            "1/10000001",
        ] {
            let error = text.parse::<Shard>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn the_parts_are_the_whole_and_share_nothing() {
        for (all, of) in [(0, 1), (1, 3), (10, 3), (1000, 7), (5, 5)] {
            let mut owners = vec![0; all];
            let mut shares = 0;
            for index in 0..of {
                let shard = Shard::new(index, of).unwrap();
                let own: Vec<usize> = (0..all).filter(|it| shard.has(*it as u64)).collect();
                assert_eq!(own.len() as u64, shard.share(all as u64));
                shares += shard.share(all as u64);
                own.into_iter().for_each(|it| owners[it] += 1);
            }
            assert!(owners.iter().all(|it| *it == 1), "{all} {of}");
            assert_eq!(shares, all as u64);
        }
    }
}
