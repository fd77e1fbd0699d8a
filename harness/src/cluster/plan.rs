//! What a campaign is to do, as it is written into its folder.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::campaign::merge::Merged;
use crate::campaign::unit::{Unit, Work};
use crate::fuzz::usual_contract;
use crate::oracle::Contract;
use crate::report::whole;

/// What it is called.
pub const FILE: &str = "plan.json";

/// A campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What is done.
    pub job: Job,
    /// On these kernels; of a score the versions.
    pub kernels: Vec<String>,
    /// What they are held to; `None`: what is usual for each.
    pub contract: Option<Contract>,
    /// Seed.
    pub seed: u64,
    /// So many units, for each kernel.
    pub units: u32,
    /// Runs that a unit may take to make a finding smaller.
    pub shrink_runs: u64,
    /// So many causes are made smaller at the end, a job each.
    pub causes: u32,
    /// CPUs for building kernels.
    pub build_cpus: u32,
    /// At most so many units of a part at a time; `None`: as many as there is room for.
    pub most_at_once: Option<u32>,
    /// More options for each job, as sbatch has them.
    pub options: Vec<String>,
}

/// What a campaign does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Job {
    /// Generated scenarios, so many a kernel.
    Check {
        /// How many.
        cases: u64,
    },
    /// The fuzz target, so many inputs a kernel.
    Fuzz {
        /// How many.
        runs: u64,
    },
    /// Bugs that were put in.
    Score {
        /// So many seeds.
        seeds: u64,
        /// For so long each, in seconds.
        time_s: u64,
        /// These mutants; none: all.
        mutants: Vec<String>,
    },
}

impl Job {
    /// In one word, the subcommand's.
    pub fn mode(&self) -> &'static str {
        match self {
            Job::Check { .. } => "check",
            Job::Fuzz { .. } => "fuzz",
            Job::Score { .. } => "score",
        }
    }
}

/// Why a folder is no campaign's.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no plan in it.
    #[error("{}: no campaign: there is no {FILE} in it", .0.display())]
    Absent(PathBuf),
    /// It is damaged.
    #[error("{}: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// The file system says no.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Plan {
    /// That of the campaign in `folder`.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn read(folder: &Path) -> Result<Plan, PlanError> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PlanError::Absent(folder.to_owned()));
            }
            Err(source) => return Err(PlanError::Io { path, source }),
        };
        serde_json::from_slice(&bytes).map_err(|error| PlanError::Damaged {
            path,
            why: error.to_string(),
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        whole::write(folder, FILE, &serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// What a part's kernel is held to.
    pub fn contract_of(&self, part: &str) -> Contract {
        let usual = || part.parse().map(|it| usual_contract(&it));
        self.contract
            .unwrap_or_else(|| usual().unwrap_or(Contract::Stable))
    }

    /// The parts, each of which is an array of units: a kernel each, and of a score one.
    pub fn parts(&self) -> Vec<String> {
        match self.job {
            Job::Score { .. } => vec![self.kernels.join("+")],
            Job::Check { .. } | Job::Fuzz { .. } => self.kernels.clone(),
        }
    }

    /// Whether a unit is one of a part of this campaign.
    pub fn has(&self, part: &str, unit: &Unit) -> bool {
        let is_alike = unit.kernel == part && unit.shard.of() == self.units;
        let is_seeded = unit.seed == self.seed && unit.contract == self.contract_of(part);
        let shrinks = |it: u64| it == self.shrink_runs;
        is_alike
            && match (&self.job, &unit.work) {
                (
                    Job::Check { cases },
                    Work::Check {
                        cases: its,
                        shrink_runs,
                    },
                ) => is_seeded && cases == its && shrinks(*shrink_runs),
                (
                    Job::Fuzz { runs },
                    Work::Fuzz {
                        runs: its,
                        shrink_runs,
                        ..
                    },
                ) => is_seeded && runs == its && shrinks(*shrink_runs),
                (
                    Job::Score { seeds, time_s, .. },
                    Work::Score {
                        seeds: its,
                        time_ms,
                        shrink_runs,
                        ..
                    },
                ) => seeds == its && time_s * 1000 == *time_ms && shrinks(*shrink_runs),
                _ => false,
            }
    }

    /// The numbers of the units of a part that are not through, from 1 on.
    pub fn missing(&self, part: &str, merged: &Merged) -> Vec<u32> {
        let its = merged.units().filter(|it| self.has(part, &it.unit));
        let there: BTreeSet<u32> = its.map(|it| it.unit.shard.index() + 1).collect();
        (1..=self.units).filter(|it| !there.contains(it)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::unit::Shard;

    fn plan() -> Plan {
        Plan {
            job: Job::Check { cases: 100 },
            kernels: vec!["6.12-patched".into(), "6.12-stock".into()],
            contract: None,
            seed: 7,
            units: 3,
            shrink_runs: 200,
            causes: 1,
            build_cpus: 1,
            most_at_once: None,
            options: Vec::new(),
        }
    }

    fn unit(kernel: &str, contract: Contract) -> Unit {
        Unit {
            program: "p".into(),
            work: Work::Check {
                cases: 100,
                shrink_runs: 200,
            },
            kernel: kernel.into(),
            key: "k".into(),
            contract,
            seed: 7,
            shard: Shard::new(1, 3).unwrap(),
        }
    }

    #[test]
    fn only_what_was_planned_counts_as_through() {
        let plan = plan();
        let own = unit("6.12-patched", Contract::Stable);
        assert!(plan.has("6.12-patched", &own));
        assert!(!plan.has("6.12-stock", &own));
        // A stock kernel is held to what manual pages promise, unless told otherwise.
        assert!(plan.has("6.12-stock", &unit("6.12-stock", Contract::Documented)));
        assert!(!plan.has("6.12-stock", &unit("6.12-stock", Contract::Stable)));
        for change in [
            |it: &mut Unit| it.seed = 8,
            |it: &mut Unit| it.contract = Contract::Documented,
            |it: &mut Unit| it.shard = Shard::new(1, 4).unwrap(),
            |it: &mut Unit| {
                it.work = Work::Check {
                    cases: 101,
                    shrink_runs: 200,
                }
            },
            |it: &mut Unit| {
                it.work = Work::Check {
                    cases: 100,
                    shrink_runs: 2000,
                }
            },
        ] {
            let mut other = own.clone();
            change(&mut other);
            assert!(!plan.has("6.12-patched", &other), "{other:?}");
        }
    }

    #[test]
    fn a_plan_survives_its_folder_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Plan::read(dir.path()), Err(PlanError::Absent(_))));
        plan().write(dir.path()).unwrap();
        assert_eq!(Plan::read(dir.path()).unwrap(), plan());
        fs::write(dir.path().join(FILE), "{").unwrap();
        let error = Plan::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("plan.json: "), "{error}");
    }
}
