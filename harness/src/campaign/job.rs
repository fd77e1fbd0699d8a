//! What a guest is asked, and what it tells: one line each on its standard output.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::known::Bug;
use crate::guest::lacks::Lack;
use crate::guest::transfer::{Took, Transfer};
use crate::history::{Counters, History};
use crate::minimize::{Minimized, Size, Stopped};
use crate::oracle::{Contract, Property};
use crate::scenario::Scenario;

/// What a guest is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    /// Run generated cases up to the first violation.
    Check {
        /// The seed of the campaign.
        seed: u64,
        /// The first case.
        first: u64,
        /// From one case to the next: the number of workers.
        stride: u64,
        /// One past the last case.
        end: u64,
        /// What the kernel is held to.
        contract: Contract,
        /// How many runs the minimizer may use.
        shrink_runs: u64,
    },
    /// Run given scenarios.
    Replay {
        /// Their texts.
        texts: Vec<String>,
        /// How often each.
        times: u32,
        /// What the kernel is held to.
        contract: Contract,
    },
    /// Make one scenario smaller.
    Minimize {
        /// Its text.
        text: String,
        /// What it must go on to break, if it breaks several properties.
        property: Option<Property>,
        /// What the kernel is held to.
        contract: Contract,
        /// How many runs the minimizer may use.
        shrink_runs: u64,
    },
    /// Run one scenario once, and tell all of it.
    Explain {
        /// Its text.
        text: String,
        /// What the kernel is held to.
        contract: Contract,
        /// Where to write what was seen ([`super::explain::Explained`], as JSON): a file of
        /// the host, in a folder that is there.
        file: PathBuf,
    },
    /// Run given scenarios once each, and note which code of the kernel they reach.
    Cover {
        /// Their texts.
        texts: Vec<String>,
        /// Where to write the addresses of what ran: a file of the host, in a folder
        /// that is there.
        file: PathBuf,
    },
    /// Run one scenario over and over, and judge it each time.
    Bench {
        /// Its text.
        text: String,
        /// How often.
        times: u32,
    },
    /// The calls of the basic scenario over and over, with nothing around them.
    Bare {
        /// The scenario whose link and file are used, as text.
        text: String,
        /// How often.
        times: u32,
    },
    /// Say what this kernel lacks.
    Probe,
    /// One connection, timed.
    Transfer {
        /// The scenario whose link is used, as text.
        text: String,
        /// What is sent, and how.
        transfer: Transfer,
    },
}

/// What a guest tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Case or run number so-and-so is about to run. Written before it runs, so
    /// that a crash of the guest names its scenario.
    About {
        /// Number of the case, or of the scenario in a replay.
        index: u64,
        /// Virtual time that has passed since the job began.
        virtual_ns: u64,
    },
    /// A case broke something, but by a known bug of this kernel.
    Excused(Bug),
    /// The case that was about to run did not: this kernel lacks something.
    Skipped(Lack),
    /// What this kernel lacks.
    Lacks(Vec<Lack>),
    /// A violation was seen; it is now run again and made smaller.
    Suspect(Finding),
    /// The same, smaller than last told.
    Smaller(Finding),
    /// The same, confirmed and minimized.
    Found(Finding),
    /// All runs of one replayed scenario.
    Replayed(Replayed),
    /// The file of [`Job::Explain`] is whole.
    Explained,
    /// The next scenario of [`Job::Cover`] is through, and the file has what it reached.
    Covered,
    /// A transfer is through.
    Transferred(Took),
    /// The job is done.
    Done {
        /// Scenarios run, without repetitions and shrinking.
        scenarios: u64,
        /// Virtual time that passed.
        virtual_ns: u64,
    },
    /// The job could not be done; says why.
    Failed(String),
}

/// A scenario that breaks a property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Number of the case in its campaign.
    pub index: u64,
    /// What is broken.
    pub property: Property,
    /// Says how, for people.
    pub message: String,
    /// Repetitions that broke the same property.
    pub seen: u32,
    /// Repetitions.
    pub of: u32,
    /// The scenario as generated, as text.
    pub original: String,
    /// The smallest one found, as text; the original until then.
    pub minimized: String,
    /// Steps of the original.
    pub steps_before: usize,
    /// Steps of the smallest.
    pub steps_after: usize,
    /// Bytes that the steps of the original name, added up.
    #[serde(default)]
    pub bytes_before: u64,
    /// Bytes that those of the smallest name.
    #[serde(default)]
    pub bytes_after: u64,
    /// Runs that the minimizer used.
    pub shrink_runs: u64,
    /// What was seen in the one run that showed it, where no other did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Box<History>>,
    /// Why the minimizer stopped; `None`: it has not.
    #[serde(default)]
    pub stopped: Option<Stopped>,
}

/// All runs of one replayed scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Index into the texts of the job.
    pub file: usize,
    /// How often it ran.
    pub runs: u32,
    /// Why it did not run at all, if it did not.
    #[serde(default)]
    pub skipped: Option<Lack>,
    /// The properties that were broken, and in how many runs.
    pub violated: Vec<(Property, u32)>,
    /// Of the first violation, for people.
    pub message: Option<String>,
    /// How many different histories were seen, clocks aside.
    pub digests: usize,
    /// What the kernel counted, where the scenario asks for it: of the runs that
    /// show the same means, the first. Empty where the kernel has no counters.
    pub counters: Vec<Counters>,
}

impl Job {
    /// The folder of the host that it writes to.
    pub fn out_dir(&self) -> Option<&Path> {
        match self {
            Job::Explain { file, .. } | Job::Cover { file, .. } => file.parent(),
            _ => None,
        }
    }
}

/// A line that is no event.
#[derive(Debug, thiserror::Error)]
#[error("not an event: {0}")]
pub struct NotAnEvent(String);

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Once a scenario: short, because a guest's console is slow.
            Event::About { index, virtual_ns } => write!(f, "@{index} {virtual_ns}"),
            event => f.write_str(&serde_json::to_string(event).map_err(|_| fmt::Error)?),
        }
    }
}

impl FromStr for Event {
    type Err = NotAnEvent;

    fn from_str(line: &str) -> Result<Event, NotAnEvent> {
        let event = match line.strip_prefix('@') {
            Some(numbers) => numbers.split_once(' ').and_then(|(index, virtual_ns)| {
                Some(Event::About {
                    index: index.parse().ok()?,
                    virtual_ns: virtual_ns.parse().ok()?,
                })
            }),
            None => serde_json::from_str(line).ok(),
        };
        event.ok_or_else(|| NotAnEvent(line.chars().take(200).collect()))
    }
}

impl Finding {
    /// A finding as first seen: in one run of one, and as large as it was.
    pub fn suspect(
        index: u64,
        property: Property,
        message: String,
        scenario: &Scenario,
    ) -> Finding {
        let text = scenario.to_string();
        let steps = scenario.steps.len();
        let bytes = bytes(&Size::of(scenario));
        Finding {
            index,
            property,
            message,
            seen: 1,
            of: 1,
            minimized: text.clone(),
            original: text,
            steps_before: steps,
            steps_after: steps,
            bytes_before: bytes,
            bytes_after: bytes,
            shrink_runs: 0,
            history: None,
            stopped: None,
        }
    }

    /// Takes over what the minimizer has found so far.
    pub fn take(&mut self, minimized: &Minimized) {
        self.shrink_runs = minimized.runs;
        self.minimized = minimized.scenario.to_string();
        self.steps_after = minimized.after.steps;
        self.bytes_after = bytes(&minimized.after);
    }

    /// How much smaller it has become, for people.
    #[must_use]
    pub fn ratio(&self) -> String {
        format!(
            "{} of {} ops and {} of {} bytes left after {} runs",
            self.steps_after,
            self.steps_before,
            self.bytes_after,
            self.bytes_before,
            self.shrink_runs
        )
    }
}

fn bytes(size: &Size) -> u64 {
    u64::try_from(size.bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_a_line() {
        let events = [
            Event::About {
                index: 7,
                virtual_ns: 8,
            },
            Event::Done {
                scenarios: 3,
                virtual_ns: 9,
            },
            Event::Failed("two\nlines".into()),
            Event::Excused(Bug::PageADatagram),
        ];
        for event in events {
            let line = event.to_string();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(line.parse::<Event>().unwrap(), event);
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in ["", "@", "@x 1", "@1", "@1 2 3", "{}", "hello"] {
            assert!(line.parse::<Event>().is_err(), "{line:?}");
        }
    }
}
