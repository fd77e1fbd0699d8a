//! One unit of a campaign that many machines work at.
//!
//! A unit is a function of what is written in [`Unit`] and of nothing else: no network, no
//! service, no other unit. So it can be killed, run again, and run twice at once, and what
//! it comes to is the same but for the time that it took ([`Took`]). What it comes to is
//! written whole or not at all ([`store`]), under a name that says what it is ([`Unit::id`]):
//! who finds that name there has nothing left to do. A violation is written as soon as it
//! is seen, before it is made smaller.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`shard`] | which part of a campaign |
//! | [`store`] | the folder that units write to |
//! | [`check`] | generated scenarios |
//! | [`fuzz`] | the fuzzer |
//! | [`score`] | bugs that were put in |
//! | [`smaller`] | a finding of the campaign made smaller |

pub mod check;
pub mod fuzz;
pub mod score;
pub mod shard;
pub mod smaller;
pub mod store;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::job::Finding;
use super::known::Bug;
use crate::fuzz::record::{State, short_hash};
use crate::minimize::Size;
use crate::oracle::{Contract, Property};
use crate::scenario::features::Exercised;
use crate::scenario::text;
pub use shard::Shard;

/// Everything that decides what a unit comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Which inflight: [`this_program`].
    pub program: String,
    /// What is done.
    pub work: Work,
    /// The kernel's name; of a score the version.
    pub kernel: String,
    /// The kernel's content key; of a score that of all its kernels.
    pub key: String,
    /// What the kernel is held to.
    pub contract: Contract,
    /// Seed of the campaign.
    pub seed: u64,
    /// Which part of it.
    pub shard: Shard,
}

/// What a campaign does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Work {
    /// Runs generated scenarios.
    Check {
        /// So many, all units together.
        cases: u64,
        /// Runs that making one finding smaller may take.
        shrink_runs: u64,
    },
    /// Fuzzes.
    Fuzz {
        /// So many inputs, all units together.
        runs: u64,
        /// Runs that making one finding smaller may take.
        shrink_runs: u64,
        /// The target and what it begins with: hash of their contents.
        inputs: String,
    },
    /// Looks for bugs that were put in.
    Score {
        /// The mutants, by name.
        mutants: Vec<String>,
        /// So many seeds.
        seeds: u64,
        /// So long from each, in milliseconds.
        time_ms: u64,
        /// `check` or `fuzz`.
        by: String,
        /// Runs that making one finding smaller may take.
        shrink_runs: u64,
    },
    /// Makes a finding smaller.
    Smaller {
        /// The cause: of the merged campaign.
        cause: String,
        /// The smallest scenario so far, as text.
        scenario: String,
        /// Runs that it may take.
        shrink_runs: u64,
    },
}

impl Work {
    /// In one word, the subcommand's.
    pub fn mode(&self) -> &'static str {
        match self {
            Work::Check { .. } => "check",
            Work::Fuzz { .. } => "fuzz",
            Work::Score { .. } => "score",
            Work::Smaller { .. } => "smaller",
        }
    }
}

impl Unit {
    /// Its name: no two units have the same.
    pub fn id(&self) -> String {
        let (number, of) = (self.shard.index() + 1, self.shard.of());
        format!("{}-{number}-of-{of}-{}", self.stem(), self.hash())
    }

    /// What the units of one campaign on one kernel have in common.
    pub fn series(&self) -> String {
        let mut first = self.clone();
        first.shard = Shard::new(0, self.shard.of()).unwrap_or(self.shard);
        format!("{}-of-{}-{}", self.stem(), self.shard.of(), first.hash())
    }

    fn stem(&self) -> String {
        let kernel = crate::report::finding::file_name(&self.kernel);
        format!("{}-{kernel}-{}", self.work.mode(), self.seed)
    }

    fn hash(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&text).to_hex()[..8].to_owned()
    }
}

/// What names this program: a hash of its content, 16 hexadecimal digits. Another one may
/// generate other scenarios from the same seed.
///
/// # Errors
/// It cannot be read.
pub fn this_program() -> io::Result<String> {
    let bytes = fs::read("/proc/self/exe")?;
    Ok(blake3::hash(&bytes).to_hex()[..16].to_owned())
}

/// What a unit came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The unit.
    pub unit: Unit,
    /// Scenarios that ran, without repetitions and shrinking.
    pub scenarios: u64,
    /// Virtual time that passed.
    #[serde(default)]
    pub virtual_ns: u64,
    /// Scenarios that met a known bug.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub excused: BTreeMap<Bug, u64>,
    /// What generated scenarios exercised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exercised: Option<Exercised>,
    /// Features that the fuzzer has seen: the kernel's code, and what happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuzz_features: Option<u64>,
    /// What came of each bug that was put in, from each seed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<score::Looked>,
    /// It found so much that it went no further: scenarios that were left.
    #[serde(default)]
    pub left_out: u64,
    /// Scenarios that need what the kernel lacks.
    #[serde(default)]
    pub skipped: u64,
    /// Where and when.
    pub took: Took,
}

impl Done {
    /// Of a unit that did nothing yet.
    fn of(unit: &Unit) -> Done {
        Done {
            unit: unit.clone(),
            scenarios: 0,
            virtual_ns: 0,
            excused: BTreeMap::new(),
            exercised: None,
            fuzz_features: None,
            runs: Vec::new(),
            left_out: 0,
            skipped: 0,
            took: Took::default(),
        }
    }
}

/// What differs each time that a unit runs, and says nothing of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Took {
    /// Since 1970, in milliseconds.
    pub begun_unix_ms: u64,
    /// Since 1970, in milliseconds.
    pub ended_unix_ms: u64,
    /// For so long scenarios ran, in milliseconds.
    pub busy_ms: u64,
    /// The machine's name.
    pub node: String,
}

/// A watch for a unit.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    begun: SystemTime,
}

impl Watch {
    /// From now on.
    pub fn start() -> Watch {
        Watch {
            begun: SystemTime::now(),
        }
    }

    /// Up to now; scenarios ran for `busy`.
    pub fn stop(self, busy: Duration) -> Took {
        let whole = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let since = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.map_or(0, whole)
        };
        Took {
            begun_unix_ms: since(self.begun),
            ended_unix_ms: since(SystemTime::now()),
            busy_ms: whole(busy),
            node: node(),
        }
    }
}

/// What this machine is called: by the scheduler, if it runs this, else by itself.
fn node() -> String {
    let named = std::env::var("SLURMD_NODENAME").ok();
    let own = || nix::unistd::gethostname().ok()?.into_string().ok();
    named.or_else(own).unwrap_or_default()
}

/// A violation that a unit has seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// [`Unit::id`] of the first that saw it.
    pub unit: String,
    /// The kernel.
    pub kernel: String,
    /// Its content key.
    pub key: String,
    /// What it was held to.
    pub contract: Contract,
    /// Seed of the campaign.
    pub seed: u64,
    /// What was seen; made smaller, once it is.
    pub finding: Finding,
    /// How far it has come.
    pub state: State,
    /// Whether this kernel is expected to show it.
    pub is_expected: bool,
    /// The cause that it makes smaller; `None`: it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_cause: Option<String>,
    /// The kernel's log, if it died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

impl Found {
    /// What `unit` has seen on the kernel that it names.
    pub fn new(unit: &Unit, finding: Finding, expected: Option<Property>) -> Found {
        Found {
            unit: unit.id(),
            kernel: unit.kernel.clone(),
            key: unit.key.clone(),
            contract: unit.contract,
            seed: unit.seed,
            is_expected: expected == Some(finding.property),
            state: match finding.stopped {
                Some(_) => State::Smaller,
                None => State::New,
            },
            finding,
            of_cause: match &unit.work {
                Work::Smaller { cause, .. } => Some(cause.clone()),
                _ => None,
            },
            log: None,
        }
    }

    /// Its name: what a unit sees of one case or input on one kernel has one, however small it
    /// is by then.
    pub fn id(&self) -> String {
        let finding = &self.finding;
        let (kernel, seed) = (&self.kernel, self.seed);
        let what = short_hash(&format!("{kernel}\0{seed}\0{}", finding.original));
        format!(
            "{}-{}-{}-{what}",
            self.unit, finding.property, finding.index
        )
    }

    /// Orders what is known of one violation: what has come furthest is first.
    pub(super) fn further(&self) -> impl Ord + use<> {
        let state = match self.state {
            State::Smaller => 0,
            State::Lost => 1,
            State::New => 2,
        };
        let text = serde_json::to_string(self).unwrap_or_default();
        (state, Reverse(self.finding.of), self.size(), text)
    }

    /// How large its smallest scenario is; what is none is largest.
    pub(super) fn size(&self) -> (bool, Option<Size>) {
        let scenario = text::parse("finding", &self.finding.minimized);
        let size = scenario.ok().map(|it| Size::of(&it));
        (size.is_none(), size)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::campaign) fn unit(index: u32, of: u32) -> Unit {
        Unit {
            program: "0123456789abcdef".into(),
            work: Work::Check {
                cases: 1000,
                shrink_runs: 10,
            },
            kernel: "6.12-patched".into(),
            key: "fedcba9876543210".into(),
            contract: Contract::Stable,
            seed: 7,
            shard: Shard::new(index, of).unwrap(),
        }
    }

    #[test]
    fn each_unit_has_a_name_of_its_own() {
        let one = unit(0, 4);
        let mut others = vec![unit(1, 4), unit(0, 5)];
        for change in [
            |it: &mut Unit| it.program = "another".into(),
            |it: &mut Unit| it.kernel = "7.3-patched".into(),
            |it: &mut Unit| it.key = "another".into(),
            |it: &mut Unit| it.contract = Contract::Documented,
            |it: &mut Unit| it.seed = 8,
            |it: &mut Unit| {
                it.work = Work::Check {
                    cases: 1001,
                    shrink_runs: 10,
                }
            },
        ] {
            let mut other = one.clone();
            change(&mut other);
            others.push(other);
        }
        let ids: std::collections::BTreeSet<String> = others.iter().map(Unit::id).collect();
        assert_eq!(ids.len(), others.len());
        assert!(!ids.contains(&one.id()));
        assert!(
            one.id().starts_with("check-6.12-patched-7-1-of-4-"),
            "{}",
            one.id()
        );
        // The same campaign, and another.
        assert_eq!(one.series(), unit(1, 4).series());
        assert_ne!(one.series(), unit(0, 5).series());
    }

    #[test]
    fn a_unit_survives_as_text() {
        let text = serde_json::to_string(&unit(2, 4)).unwrap();
        assert!(text.contains(r#""shard":"3/4""#), "{text}");
        assert_eq!(serde_json::from_str::<Unit>(&text).unwrap(), unit(2, 4));
    }
}
