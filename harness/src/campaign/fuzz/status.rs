//! How a campaign stands: what it writes for programs, and goes on from.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::campaign::known::Bug;
use crate::fuzz::record::State;
use crate::oracle::{Contract, Property};
use crate::report::whole;

/// What it is called.
pub const FILE: &str = "status.json";
/// So many points of time are kept: more than a chart has pixels for.
const MOST_POINTS: usize = 1000;

/// How a campaign stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The kernel.
    pub kernel: String,
    /// What it is held to.
    pub contract: Contract,
    /// Whether somebody is at work.
    pub is_running: bool,
    /// How often it was begun or gone on with.
    pub sessions: u64,
    /// The seed of the last session.
    pub seed: u64,
    /// How long it has run, in all sessions.
    pub elapsed_s: f64,
    /// How long this session still has; `None`: no limit of time, or it is over.
    pub remaining_s: Option<f64>,
    /// Inputs that ran, in all sessions.
    pub executions: u64,
    /// Inputs a second, of late.
    pub executions_per_s: f64,
    /// The most features that one target has seen.
    pub features: u64,
    /// Files of the corpus.
    pub corpus_files: u64,
    /// Their bytes.
    pub corpus_bytes: u64,
    /// Targets that were started again.
    pub restarts: u64,
    /// Kernels that died or hung.
    pub deaths: u64,
    /// Inputs that met a known bug.
    pub excused: BTreeMap<Bug, u64>,
    /// Inputs that broke something else.
    pub violations: BTreeMap<Property, u64>,
    /// What was found, by cause.
    pub causes: Vec<Cause>,
    /// The targets at work.
    pub workers: Vec<WorkerStatus>,
    /// What went wrong apart from the kernel under test, last.
    pub failures: Vec<String>,
    /// Files with violations that could not be read: what they tell is not among the causes.
    #[serde(default)]
    pub unreadable: u64,
    /// How it came to stand so.
    pub series: Series,
}

/// Findings with one cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// What they break.
    pub property: Property,
    /// Whether that is what this kernel does.
    pub is_expected: bool,
    /// What has been done about the one that is shown.
    pub state: State,
    /// How many of those that were kept have it.
    pub findings: u64,
    /// In how many runs it was seen.
    pub seen: u32,
    /// Of how many.
    pub of: u32,
    /// Operations of the smallest scenario.
    pub ops: usize,
    /// What is wrong, for people.
    pub message: String,
    /// The smallest scenario, from the campaign's folder.
    pub file: PathBuf,
    /// The kernel's log, likewise.
    pub log: Option<PathBuf>,
    /// How often that one was run on a kernel just booted, and not seen.
    #[serde(default)]
    pub misses: u32,
}

impl Cause {
    /// What is to be known of how far it has come, for people.
    pub fn remark(&self) -> Option<&'static str> {
        match self.state {
            State::New => Some("not made smaller yet"),
            State::Lost if self.misses == 0 => Some("could not be run again"),
            State::Lost => Some("not seen again"),
            State::Smaller => None,
        }
    }
}

/// A target at work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Its number.
    pub number: usize,
    /// What it is doing.
    pub doing: String,
    /// Inputs that it has run in this session.
    pub executions: u64,
    /// Features that it has seen.
    pub features: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// What it prints, from the campaign's folder.
    pub log: PathBuf,
}

/// Points of time, evenly apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// From one to the next, in seconds.
    pub every_s: f64,
    /// The points.
    pub points: Vec<Point>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Since the campaign began, without the time in which nobody was at work.
    pub at_s: f64,
    /// Inputs that had run.
    pub executions: u64,
    /// Features that had been seen.
    pub features: u64,
    /// Files of the corpus.
    pub corpus_files: u64,
    /// Causes.
    pub causes: u64,
}

/// Why a campaign cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It is another one.
    #[error(
        "{} is a campaign on {kernel} under {contract}: choose another folder with --out",
        path.display()
    )]
    Another {
        /// Its folder.
        path: PathBuf,
        /// Its kernel.
        kernel: String,
        /// Its contract.
        contract: Contract,
    },
    /// What it has written is damaged.
    #[error(
        "{} is damaged ({why}): remove it to count from nothing; corpus and findings stay",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// The file system says no.
    #[error("cannot read {}", path.display())]
    Io {
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Status {
    /// That of a campaign that has not run yet.
    pub fn new(kernel: &str, contract: Contract) -> Status {
        Status {
            kernel: kernel.to_owned(),
            contract,
            is_running: false,
            sessions: 0,
            seed: 0,
            elapsed_s: 0.0,
            remaining_s: None,
            executions: 0,
            executions_per_s: 0.0,
            features: 0,
            corpus_files: 0,
            corpus_bytes: 0,
            restarts: 0,
            deaths: 0,
            excused: BTreeMap::new(),
            violations: BTreeMap::new(),
            causes: Vec::new(),
            workers: Vec::new(),
            failures: Vec::new(),
            unreadable: 0,
            series: Series {
                every_s: 1.0,
                points: Vec::new(),
            },
        }
    }

    /// That of the campaign in `folder`, or of a new one.
    ///
    /// # Errors
    /// [`ResumeError`]
    pub fn resume(folder: &Path, kernel: &str, contract: Contract) -> Result<Status, ResumeError> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Status::new(kernel, contract));
            }
            Err(source) => return Err(ResumeError::Io { path, source }),
        };
        let status: Status =
            serde_json::from_slice(&bytes).map_err(|error| ResumeError::Damaged {
                path,
                why: error.to_string(),
            })?;
        if (&*status.kernel, status.contract) != (kernel, contract) {
            return Err(ResumeError::Another {
                path: folder.to_owned(),
                kernel: status.kernel,
                contract: status.contract,
            });
        }
        Ok(status)
    }

    /// Writes it, whole.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        whole::write(folder, FILE, &serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// Violations that this kernel is not expected to show.
    pub fn surprises(&self) -> impl Iterator<Item = &Cause> {
        self.causes.iter().filter(|it| !it.is_expected)
    }

    /// Remembers how it stands now, if it is time.
    pub fn note_point(&mut self) {
        self.series.add(Point {
            at_s: self.elapsed_s,
            executions: self.executions,
            features: self.features,
            corpus_files: self.corpus_files,
            causes: self.causes.len() as u64,
        });
    }
}

impl Series {
    fn add(&mut self, point: Point) {
        let due = self.points.last().map(|it| it.at_s + self.every_s);
        if due.is_some_and(|it| point.at_s < it) {
            return;
        }
        self.points.push(point);
        if self.points.len() > MOST_POINTS {
            // Every other one is left, and from now on they are twice as far apart.
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.every_s *= 2.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let mut status = Status::new("6.12-stock-kcov", Contract::Stable);
        status.executions = 77;
        status.excused.insert(Bug::LateSyn, 2);
        status.violations.insert(Property::Wire, 1);
        status.note_point();
        status
    }

    #[test]
    fn who_goes_on_has_the_totals() {
        let dir = tempfile::tempdir().unwrap();
        let resume = || Status::resume(dir.path(), "6.12-stock-kcov", Contract::Stable);
        assert_eq!(resume().unwrap().executions, 0);
        let mut status = status();
        // As it stands when its campaign is killed.
        status.is_running = true;
        status.write(dir.path()).unwrap();
        assert_eq!(resume().unwrap(), status);
    }

    #[test]
    fn another_campaign_and_a_damaged_one_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        status().write(dir.path()).unwrap();
        let resume = |kernel, contract| Status::resume(dir.path(), kernel, contract).unwrap_err();
        for (kernel, contract) in [
            ("6.12-patched-kcov", Contract::Stable),
            ("6.12-stock-kcov", Contract::Documented),
        ] {
            let error = resume(kernel, contract);
            assert!(matches!(error, ResumeError::Another { .. }), "{error}");
            assert!(error.to_string().contains("6.12-stock-kcov under stable"));
        }
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap();
        for damaged in ["", "{}", &text[..text.len() / 2]] {
            fs::write(&path, damaged).unwrap();
            let error = resume("6.12-stock-kcov", Contract::Stable);
            assert!(matches!(error, ResumeError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("remove it"), "{error}");
        }
    }

    #[test]
    fn a_series_stays_short_and_keeps_its_beginning() {
        let mut status = status();
        for second in 1..100_000_u32 {
            status.elapsed_s = second.into();
            status.executions = u64::from(second) * 100;
            status.note_point();
        }
        let points = &status.series.points;
        assert!(points.len() <= MOST_POINTS && points.len() > MOST_POINTS / 3);
        assert_eq!(points[0].at_s, 0.0);
        let last = points.last().unwrap();
        assert!(last.at_s > 99_000.0, "{last:?}");
        assert!(points.windows(2).all(|it| it[0].at_s < it[1].at_s));
    }
}
