//! What a scenario exercises, by name, and how often a campaign did: so that a blind
//! spot of the generator is seen.
//!
//! Each feature comes with a way to give it to a scenario. Two features *can meet* if
//! a scenario that was given both still has both when it is normalized; so which pairs
//! are impossible follows from the rules and stands in no list of its own.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::Scenario;
use super::normalize::normalize;

macro_rules! features {
    ($group:ident: $($name:literal, $has:expr, $put:expr;)*) => {
        &[$(Feature { group: Group::$group, name: $name, has: $has, put: $put }),*]
    };
}

mod ops;
mod setup;
mod stack;

use ops::{ACTORS, OPERATIONS};
use setup::{ACK, DATA, FAMILIES, FILE, READER, SOCKET};
use stack::{DEVICE, STACK};

/// Something that a scenario has or has not.
#[derive(Debug, Clone, Copy)]
pub struct Feature {
    /// What kind of thing it is.
    pub group: Group,
    /// Its name, unique in its group: the word that the text form has for it.
    pub name: &'static str,
    has: fn(&Scenario) -> bool,
    put: fn(&mut Scenario),
}

impl Feature {
    /// Whether the scenario has it.
    pub fn is_in(&self, scenario: &Scenario) -> bool {
        (self.has)(scenario)
    }

    /// Gives it to the scenario: changes the setup, or adds operations at the end.
    pub fn put(&self, scenario: &mut Scenario) {
        (self.put)(scenario);
    }
}

/// The kinds of features, in the order in which a report has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What is done.
    Operation,
    /// Who does it.
    Actor,
    /// To what socket.
    Family,
    /// With what settings of it.
    Socket,
    /// From what file.
    File,
    /// How it is received.
    Reader,
    /// What happens to data on the way.
    LinkData,
    /// What happens to acknowledgements.
    LinkAck,
    /// Over what interfaces.
    Device,
    /// With what settings of the stack.
    Stack,
}

impl Group {
    /// All of them, with the words of the text form for them.
    pub const NAMED: [(&'static str, Group); 10] = [
        ("operation", Group::Operation),
        ("actor", Group::Actor),
        ("family", Group::Family),
        ("socket", Group::Socket),
        ("file", Group::File),
        ("reader", Group::Reader),
        ("link data", Group::LinkData),
        ("link ack", Group::LinkAck),
        ("link", Group::Device),
        ("stack", Group::Stack),
    ];

    /// Its word.
    pub fn name(self) -> &'static str {
        let named = Group::NAMED.iter().find(|(_, group)| *group == self);
        named.map_or("", |(name, _)| name)
    }
}

/// All features, by group.
pub fn all() -> &'static [Feature] {
    &FEATURES
}

/// Whether the features at `a` and `b` of [`all`] can be in one scenario.
pub fn can_meet(a: usize, b: usize) -> bool {
    MEETINGS[a * FEATURES.len() + b]
}

/// How often each feature and each pair of them was exercised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    cases: u64,
    // By [row * n + column]; a feature alone is the pair with itself.
    pairs: Vec<u64>,
}

impl Default for Coverage {
    fn default() -> Self {
        Coverage {
            cases: 0,
            pairs: vec![0; FEATURES.len() * FEATURES.len()],
        }
    }
}

impl Coverage {
    /// Counts one scenario.
    pub fn add(&mut self, scenario: &Scenario) {
        let count = FEATURES.len();
        let has: Vec<usize> = (0..count)
            .filter(|&it| (FEATURES[it].has)(scenario))
            .collect();
        self.cases += 1;
        for &a in &has {
            for &b in &has {
                self.pairs[a * count + b] += 1;
            }
        }
    }

    /// How many scenarios were counted.
    pub fn cases(&self) -> u64 {
        self.cases
    }

    /// How many of them had the feature at `index` of [`all`].
    pub fn of(&self, index: usize) -> u64 {
        self.of_pair(index, index)
    }

    /// How many of them had both.
    pub fn of_pair(&self, a: usize, b: usize) -> u64 {
        self.pairs[a * FEATURES.len() + b]
    }

    /// The pairs that can meet, and how often each did. A feature alone is no pair.
    pub fn pairs(&self) -> impl Iterator<Item = ((usize, usize), u64)> {
        let of = |a| (0..a).map(move |b| (b, a));
        let all = (0..FEATURES.len()).flat_map(of);
        all.filter(|&(a, b)| can_meet(a, b))
            .map(|pair| (pair, self.of_pair(pair.0, pair.1)))
    }
}

/// The same in few bytes, to be added up: which pairs met, not how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exercised {
    /// How many scenarios were counted.
    pub cases: u64,
    /// How many of them had each feature of [`all`].
    pub counts: Vec<u64>,
    /// A bit a pair, in the order of [`Coverage::pairs`], the lowest of a byte first.
    #[serde(with = "crate::hex")]
    met: Vec<u8>,
}

impl From<&Coverage> for Exercised {
    fn from(coverage: &Coverage) -> Exercised {
        let mut met = vec![0; coverage.pairs().count().div_ceil(8)];
        for (bit, (_, times)) in coverage.pairs().enumerate() {
            met[bit / 8] |= u8::from(times > 0) << (bit % 8);
        }
        Exercised {
            cases: coverage.cases(),
            counts: (0..FEATURES.len()).map(|it| coverage.of(it)).collect(),
            met,
        }
    }
}

impl Exercised {
    /// How many pairs met.
    pub fn pairs(&self) -> u64 {
        self.met.iter().map(|it| u64::from(it.count_ones())).sum()
    }

    /// Adds what others exercised. What a generator with other features did cannot be added:
    /// returns whether it was.
    #[must_use]
    pub fn add(&mut self, other: &Exercised) -> bool {
        if self.counts.is_empty() {
            *self = other.clone();
            return true;
        }
        let is_alike = self.counts.len() == other.counts.len() && self.met.len() == other.met.len();
        if is_alike {
            self.cases += other.cases;
            let counts = self.counts.iter_mut().zip(&other.counts);
            counts.for_each(|(sum, more)| *sum += more);
            let met = self.met.iter_mut().zip(&other.met);
            met.for_each(|(all, more)| *all |= more);
        }
        is_alike
    }
}

static MEETINGS: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let meet = |a: &Feature, b: &Feature| {
        let mut both = Scenario::default();
        (a.put)(&mut both);
        (b.put)(&mut both);
        let both = normalize(both);
        (a.has)(&both) && (b.has)(&both)
    };
    let row = |a| FEATURES.iter().map(move |b| meet(a, b) || meet(b, a));
    FEATURES.iter().flat_map(row).collect()
});

static FEATURES: LazyLock<Vec<Feature>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for table in [
        OPERATIONS, ACTORS, FAMILIES, SOCKET, FILE, READER, DATA, ACK, DEVICE, STACK,
    ] {
        all.extend_from_slice(table);
    }
    all
});

#[cfg(test)]
mod tests;
