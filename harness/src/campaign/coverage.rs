//! Which code of a kernel given scenarios reach.
//!
//! The addresses of the blocks that ran are too many for lines on a guest's console: the
//! guest adds them to a file of the host after each scenario. So a scenario that takes its
//! kernel down takes nothing with it but what itself has reached, and those that were to
//! follow are handed to another guest.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::crash::Crash;
use super::host::{End, Fleet, Id, Report};
use super::job::{Event, Job};
use crate::engine::run_dir::{self, RunDir};
use crate::engine::{self, Exit};
use crate::kcov::Machine;
use crate::kernel::Kernel;

/// Scenarios a guest; also keeps a job within what one argument may hold.
const MOST_A_GUEST: usize = 128;
const MOST_BYTES_A_GUEST: usize = 64 * 1024;
/// Guests for each that runs at a time, so that all have work to the end.
const ROUNDS: usize = 2;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On which kernels; they count their code.
    pub kernels: Vec<Kernel>,
    /// The scenarios, as text.
    pub texts: Vec<String>,
    /// Guests at a time.
    pub jobs: usize,
}

/// What came of it on one kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The addresses of the blocks that ran.
    pub addresses: BTreeSet<u64>,
    /// Scenarios that ran to their end.
    pub ran: usize,
    /// Scenarios that took the kernel down, as an index, and how.
    pub crashes: Vec<(usize, String)>,
    /// Scenarios that could not be run, and why.
    pub failures: Vec<(usize, String)>,
}

/// Runs `plan`; what came of it, by kernel.
///
/// # Errors
/// When a guest cannot be booted at all. Everything else is in the outcomes.
pub fn run(plan: &Plan) -> Result<Vec<Outcome>, engine::Error> {
    // Of those that are swept away after whoever was killed.
    let folder = run_dir::cache_root().ok_or_else(|| io::Error::other("there is no cache"));
    let folder = folder.and_then(|cache| RunDir::create(&cache));
    let folder = folder.map_err(|source| engine::Error::Host {
        what: "make a folder for what is reached".into(),
        source,
    })?;
    let mut runs = Runs::new(plan, folder.path());
    runs.start_what_fits()?;
    while !runs.fleet.is_empty() {
        if let Some(report) = runs.fleet.next(Duration::from_secs(3600)) {
            runs.note(report)?;
        }
        runs.start_what_fits()?;
    }
    Ok(runs.outcomes)
}

/// Scenarios that one guest is to run.
#[derive(Debug)]
struct Batch {
    kernel: usize,
    /// Indices into the plan's texts, still to be run.
    texts: VecDeque<usize>,
    /// Whether its guest has told of any.
    told: bool,
    failure: Option<String>,
    /// Where its guest writes.
    file: PathBuf,
}

struct Runs<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    fleet: Fleet,
    started: usize,
    waiting: VecDeque<(usize, VecDeque<usize>)>,
    running: HashMap<Id, Batch>,
    outcomes: Vec<Outcome>,
}

impl<'a> Runs<'a> {
    fn new(plan: &'a Plan, folder: &'a Path) -> Runs<'a> {
        let batches = batches(&plan.texts, plan.jobs);
        let kernels = 0..plan.kernels.len();
        let of_kernel = |kernel| batches.iter().map(move |it| (kernel, it.clone()));
        Runs {
            plan,
            folder,
            fleet: Fleet::new(),
            started: 0,
            waiting: kernels.flat_map(of_kernel).collect(),
            running: HashMap::new(),
            outcomes: vec![Outcome::default(); plan.kernels.len()],
        }
    }

    fn start_what_fits(&mut self) -> Result<(), engine::Error> {
        while self.fleet.len() < self.plan.jobs {
            let Some((kernel, texts)) = self.waiting.pop_front() else {
                break;
            };
            let file = self.folder.join(format!("{}.pcs", self.started));
            self.started += 1;
            let job = Job::Cover {
                texts: texts
                    .iter()
                    .map(|&it| self.plan.texts[it].clone())
                    .collect(),
                file: file.clone(),
            };
            let id = self.fleet.start(&self.plan.kernels[kernel], &job)?;
            let batch = Batch {
                kernel,
                texts,
                told: false,
                failure: None,
                file,
            };
            self.running.insert(id, batch);
        }
        Ok(())
    }

    fn note(&mut self, report: Report) -> Result<(), engine::Error> {
        match report {
            Report::Told(id, _, event) => {
                let Some(batch) = self.running.get_mut(&id) else {
                    return Ok(());
                };
                match event {
                    // A guest tells of its scenarios in order.
                    Event::Covered => {
                        batch.told = true;
                        if batch.texts.pop_front().is_some() {
                            self.outcomes[batch.kernel].ran += 1;
                        }
                    }
                    Event::Failed(why) => batch.failure = Some(why),
                    _ => {}
                }
            }
            Report::Ended(id, _, end) => {
                if let Some(batch) = self.running.remove(&id) {
                    let addresses = read(&batch.file).map_err(|source| engine::Error::Host {
                        what: "read what was reached".into(),
                        source,
                    })?;
                    self.outcomes[batch.kernel].addresses.extend(addresses);
                    self.note_end(batch, end);
                }
            }
        }
        Ok(())
    }

    fn note_end(&mut self, mut batch: Batch, end: End) {
        // Whatever it was about to tell of is what ended it.
        let Some(text) = batch.texts.pop_front() else {
            return;
        };
        let outcome = &mut self.outcomes[batch.kernel];
        match (batch.failure.take(), end.outcome) {
            (Some(why), _) => outcome.failures.push((text, why)),
            (None, Err(error)) => outcome.failures.push((text, error.to_string())),
            (None, Ok(ended)) => match (Crash::of(&ended.exit), ended.exit) {
                (Some(crash), _) => {
                    let message = crash.message("while it ran");
                    outcome.crashes.push((text, message));
                }
                // A wedged kernel ends its worker early, and well.
                (None, Exit::Status(0)) if batch.told => batch.texts.push_front(text),
                (None, exit) => {
                    let why = format!("{exit:?}: {}", end.stray.trim());
                    outcome.failures.push((text, why));
                }
            },
        }
        if !batch.texts.is_empty() {
            self.waiting.push_back((batch.kernel, batch.texts));
        }
    }
}

/// Which texts a guest gets: as equal in number as can be.
fn batches(texts: &[String], jobs: usize) -> Vec<VecDeque<usize>> {
    let most = texts.len().div_ceil(jobs.max(1) * ROUNDS);
    let most = most.clamp(1, MOST_A_GUEST);
    let mut batches = vec![VecDeque::new()];
    let mut bytes = 0;
    for (index, text) in texts.iter().enumerate() {
        let full = |it: &VecDeque<usize>| {
            it.len() == most || (!it.is_empty() && bytes + text.len() > MOST_BYTES_A_GUEST)
        };
        if batches.last().is_some_and(full) {
            batches.push(VecDeque::new());
            bytes = 0;
        }
        if let Some(batch) = batches.last_mut() {
            batch.push_back(index);
        }
        bytes += text.len();
    }
    batches.retain(|it| !it.is_empty());
    batches
}

/// The guest's side: what ran goes to a file of the host.
#[derive(Debug)]
pub(super) struct Record {
    file: File,
    known: usize,
}

impl Record {
    pub fn create(path: &Path) -> io::Result<Record> {
        Ok(Record {
            file: File::create(path)?,
            known: 0,
        })
    }

    /// Adds what has been seen since the last time.
    pub fn add(&mut self, machine: &Machine) -> io::Result<()> {
        let new = machine.seen(self.known);
        self.known += new.len();
        let bytes: Vec<u8> = new.iter().flat_map(|it| it.to_le_bytes()).collect();
        // The host has it then: hostfs writes through.
        self.file.write_all(&bytes)
    }
}

/// What a guest has written, or has not come to write.
fn read(path: &Path) -> io::Result<Vec<u64>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    // The last one may be cut off.
    let whole = bytes.as_chunks::<8>().0.iter();
    Ok(whole.map(|it| u64::from_le_bytes(*it)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_in_one_batch_and_none_is_too_large() {
        let sizes = |texts: &[String], jobs| -> Vec<usize> {
            let batches = batches(texts, jobs);
            let all: Vec<usize> = batches.iter().flatten().copied().collect();
            assert_eq!(all, (0..texts.len()).collect::<Vec<_>>());
            batches.iter().map(VecDeque::len).collect()
        };
        assert_eq!(sizes(&[], 2), [0; 0]);
        let short = vec!["sendfile 0+1\n".to_owned(); 1000];
        assert_eq!(sizes(&short[..2], 2), [1, 1]);
        assert_eq!(sizes(&short[..10], 2), [3, 3, 3, 1]);
        assert_eq!(sizes(&short, 1)[0], MOST_A_GUEST);
        let long = vec!["x".repeat(MOST_BYTES_A_GUEST - 1); 3];
        assert_eq!(sizes(&long, 1), [1, 1, 1]);
    }

    #[test]
    fn what_was_cut_off_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.pcs");
        assert!(read(&path).unwrap().is_empty());
        let mut bytes = 0x603e_4132_u64.to_le_bytes().to_vec();
        bytes.extend([1, 2, 3]);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(read(&path).unwrap(), [0x603e_4132]);
    }
}
