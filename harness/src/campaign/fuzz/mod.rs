//! The fuzzer for hours: targets at work, what they find made smaller, and how it stands.
//!
//! A target is a process of its own ([`program`]): libFuzzer, which goes on inside a guest.
//! All of them share the corpus. A violation does not end a target: it is left in a folder
//! ([`crate::fuzz::spool`]), where it is found here, run again on a kernel just booted, made
//! smaller, and kept by cause. A kernel that dies is started again.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`folder`] | what a campaign makes, and goes on from |
//! | `lines` | what a target prints |
//! | `page` | how it stands, for people |
//! | [`program`] | the target, built by cargo |
//! | `records` | what was found, what is to be made smaller next, the causes |
//! | [`status`] | how it stands, for programs |
//! | [`target`] | one run of the target, for a figure |
//! | `worker` | one target at work |

pub mod folder;
mod lines;
mod page;
pub mod program;
mod records;
pub mod status;
pub mod target;
mod worker;

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::check::expected;
use super::minimize::{self, Item, Outcome};
use crate::engine::{self, DIED_STATUS, HUNG_STATUS};
use crate::fuzz::spool::{Counted, FINDINGS_VARIABLE};
use crate::fuzz::{CONTRACT_VARIABLE, Input, KERNEL_VARIABLE, KEY_VARIABLE, SPENT_STATUS};
use crate::kernel::Kernel;
use crate::oracle::Contract;
use crate::report::whole;
use crate::scenario::text;
use folder::Folder;
pub(crate) use lines::executions;
use lines::{Line, Progress};
pub use page::FILE as PAGE;
pub(crate) use page::{number, time};
use records::Records;
use status::{Status, WorkerStatus};
use worker::{Id, News, Order, Process};

/// From one look at what has come to the next.
const PATIENCE: Duration = Duration::from_millis(200);
/// From one look at the folder of what guests leave to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From one writing of how it stands to the next.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// libFuzzer ends by itself when the time is over; after so much more it is made to.
const OVERTIME: Duration = Duration::from_secs(5);
/// For what was found and not made smaller by the end.
const FINISH_TIME: Duration = Duration::from_secs(120);
/// For one finding.
const SHRINK_TIME: Duration = Duration::from_secs(60);
/// For one that takes the kernel down: each run is a boot, and a kernel that hangs is
/// waited for.
const SHRINK_DEATH_TIME: Duration = Duration::from_secs(300);
/// A target that has ended is started again after so much.
const PAUSE: Duration = Duration::from_secs(1);
/// While targets in a row run no input, this is doubled up to so much.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Targets in a row that run no input, and nobody else has run one: it cannot be.
const MOST_BARREN: u32 = 3;
/// The same, where all others are done and no time ends it.
const MOST_BARREN_LAST: u32 = 8;
/// libFuzzer's numbers are `int`s, and wrap around.
const MOST_TOLD: u64 = i32::MAX as u64;
/// What went wrong is shown so often.
const MOST_FAILURES: usize = 8;
/// The rate is that of so much time.
const OF_LATE: Duration = Duration::from_secs(30);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On which kernel.
    pub kernel: Kernel,
    /// What it is held to.
    pub contract: Contract,
    /// Targets at a time.
    pub jobs: usize,
    /// Seed of the mutations.
    pub seed: u64,
    /// For how long.
    pub time: Option<Duration>,
    /// So many inputs, those of the corpus with them. Each target reads the whole corpus
    /// first, so that a few more may run.
    pub runs: Option<u64>,
    /// More corpus folders, which are only read.
    pub inputs: Vec<PathBuf>,
    /// The target.
    pub program: PathBuf,
    /// More of libFuzzer's options.
    pub arguments: Vec<OsString>,
    /// Runs that making one finding smaller may take.
    pub shrink_runs: u64,
}

/// Why a campaign ended before it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No target comes to run an input.
    #[error("the target runs no input ({how}); its last lines:\n  {}", lines.join("\n  "))]
    Target {
        /// How it ends.
        how: String,
        /// What it says.
        lines: Vec<String>,
    },
    /// The file system says no.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

/// Goes on with the campaign in `folder` as it stands (`status`) until its time is over or
/// it is `interrupted`; `hear` is told every second how it stands. What was found is made
/// smaller meanwhile, and for a while after the end.
///
/// # Errors
/// [`Error`]. What was found by then is in the folder.
pub fn run(
    plan: &Plan,
    folder: &Folder,
    status: Status,
    interrupted: &dyn Fn() -> bool,
    hear: &mut dyn FnMut(&Status),
) -> Result<Status, Error> {
    let mut campaign = Campaign::new(plan, folder, status);
    campaign.look(true)?;
    campaign.write()?;
    let ended = campaign.fuzz(interrupted, hear);
    campaign.halt();
    if ended.is_ok() && !interrupted() {
        campaign.finish(interrupted, hear)?;
    }
    campaign.stop_minimizing();
    campaign.status.is_running = false;
    campaign.look(true)?;
    campaign.write()?;
    ended.map(|()| campaign.status)
}

struct Campaign<'a> {
    plan: &'a Plan,
    folder: &'a Folder,
    status: Status,
    begun: Instant,
    /// Of the sessions before.
    elapsed_before_s: f64,
    executions_before: u64,
    slots: Vec<Slot>,
    next: Id,
    tell: Sender<News>,
    news: Receiver<News>,
    records: Records,
    minimizing: HashSet<String>,
    /// Those for which no guest could be had: in the next session, perhaps.
    unable: HashSet<String>,
    give_up: Arc<AtomicBool>,
    minimized: (Sender<Settled>, Receiver<Settled>),
    looked: Instant,
    written: Instant,
    of_late: VecDeque<(Instant, u64)>,
}

/// What became of a finding, by the name of its record.
type Settled = (String, Outcome);

/// One target after the other.
#[derive(Debug)]
struct Slot {
    number: usize,
    /// Inputs that are left to it.
    budget: Option<u64>,
    current: Option<Current>,
    not_before: Instant,
    is_done: bool,
    barren: u32,
    /// Inputs of those that have ended.
    executions: u64,
    /// The most features that one of those has seen.
    features: u64,
    restarts: u64,
}

/// The one at work.
#[derive(Debug)]
struct Current {
    id: Id,
    process: Process,
    progress: Progress,
    counted: u64,
    artifact: Option<PathBuf>,
}

impl Current {
    /// libFuzzer tells it exactly, but seldom.
    fn executions(&self) -> u64 {
        self.progress.executions.max(self.counted)
    }
}

impl Slot {
    fn executions(&self) -> u64 {
        self.executions + self.current.as_ref().map_or(0, Current::executions)
    }

    fn features(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |it| it.progress.features);
        self.features.max(current)
    }

    /// One has ended.
    fn account(&mut self, ended: &Current) {
        let executions = ended.executions();
        self.executions += executions;
        self.features = self.features.max(ended.progress.features);
        self.budget = self.budget.map(|left| left.saturating_sub(executions));
    }

    fn status(&self) -> WorkerStatus {
        let doing = match &self.current {
            None if self.is_done => "done",
            None => "starting again",
            Some(it) if it.executions() == 0 => "booting",
            Some(it) if !it.progress.is_read => "reading the corpus",
            Some(_) => "fuzzing",
        };
        WorkerStatus {
            number: self.number,
            doing: doing.to_owned(),
            executions: self.executions(),
            features: self.features(),
            restarts: self.restarts,
            log: log_of(self.number),
        }
    }
}

/// What a target prints, from the campaign's folder.
fn log_of(number: usize) -> PathBuf {
    format!("log/worker-{number}.log").into()
}

impl<'a> Campaign<'a> {
    fn new(plan: &'a Plan, folder: &'a Folder, mut status: Status) -> Campaign<'a> {
        let now = Instant::now();
        status.sessions += 1;
        status.is_running = true;
        status.seed = plan.seed;
        status.failures.clear();
        let (tell, news) = mpsc::channel();
        let slot = |number: usize| Slot {
            number,
            budget: plan.runs.map(|runs| share(runs, plan.jobs, number - 1)),
            current: None,
            not_before: now,
            is_done: false,
            barren: 0,
            executions: 0,
            features: 0,
            restarts: 0,
        };
        Campaign {
            plan,
            folder,
            begun: now,
            elapsed_before_s: status.elapsed_s,
            executions_before: status.executions,
            status,
            slots: (1..=plan.jobs).map(slot).collect(),
            next: 0,
            tell,
            news,
            records: Records::default(),
            minimizing: HashSet::new(),
            unable: HashSet::new(),
            give_up: Arc::new(AtomicBool::new(false)),
            minimized: mpsc::channel(),
            looked: now,
            written: now,
            of_late: VecDeque::new(),
        }
    }

    /// Until the time is over, the inputs have run, or it is interrupted.
    fn fuzz(
        &mut self,
        interrupted: &dyn Fn() -> bool,
        hear: &mut dyn FnMut(&Status),
    ) -> Result<(), Error> {
        let is_over = |it: &Campaign<'_>| {
            let time_is_over = it
                .plan
                .time
                .is_some_and(|time| it.begun.elapsed() >= time.saturating_add(OVERTIME));
            interrupted() || time_is_over || it.slots.iter().all(|slot| slot.is_done)
        };
        while !is_over(self) {
            self.start_what_fits()?;
            match self.news.recv_timeout(PATIENCE) {
                Ok(news) => self.note(news)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            // What else has come meanwhile; but a look at the clock now and then.
            for _ in 0..1000 {
                match self.news.try_recv() {
                    Ok(news) => self.note(news)?,
                    Err(_) => break,
                }
            }
            self.go_on(1, hear)?;
        }
        Ok(())
    }

    /// What was found and is not made smaller yet, now that the CPUs have time for it.
    fn finish(
        &mut self,
        interrupted: &dyn Fn() -> bool,
        hear: &mut dyn FnMut(&Status),
    ) -> Result<(), Error> {
        self.look(true)?;
        let begun = Instant::now();
        let has_work = |it: &Campaign<'_>| {
            let waits = it.records.next(|stem| it.unable.contains(stem), None);
            waits.is_some() || !it.minimizing.is_empty()
        };
        while has_work(self) && begun.elapsed() < FINISH_TIME && !interrupted() {
            thread::sleep(PATIENCE);
            self.go_on(self.plan.jobs, hear)?;
        }
        Ok(())
    }

    /// What is to be done all the while.
    fn go_on(&mut self, minimizers: usize, hear: &mut dyn FnMut(&Status)) -> Result<(), Error> {
        let settled: Vec<Settled> = self.minimized.1.try_iter().collect();
        let any = !settled.is_empty();
        for (stem, outcome) in settled {
            self.minimizing.remove(&stem);
            if let (false, Some(why)) = (outcome.ran, &outcome.failure) {
                self.fail(format!("making {stem} smaller: {why}"));
                self.unable.insert(stem);
                continue;
            }
            self.records
                .settle(&self.folder.seen(), &stem, outcome, false)
                .map_err(failed("write a finding"))?;
        }
        if any || self.looked.elapsed() >= LOOK_EVERY {
            self.look(any)?;
            self.minimize(minimizers);
            hear(&self.status);
        }
        if any || self.written.elapsed() >= WRITE_EVERY {
            self.write()?;
        }
        Ok(())
    }

    /// Brings how it stands up to date; `changed`: what was found has changed anyway.
    fn look(&mut self, changed: bool) -> Result<(), Error> {
        self.looked = Instant::now();
        if self.records.scan(&self.folder.seen()) || changed {
            self.records
                .publish(self.folder)
                .map_err(failed("write a finding"))?;
            let expected = expected(&self.plan.kernel.name, self.plan.contract);
            self.status.causes = self.records.causes(expected);
        }
        for complaint in self.records.take_complaints() {
            self.fail(complaint);
        }
        self.status.unreadable = self.records.unreadable();
        let executions: u64 = self.slots.iter().map(Slot::executions).sum();
        self.note_rate(executions);
        let status = &mut self.status;
        status.executions = self.executions_before + executions;
        status.elapsed_s = self.elapsed_before_s + self.begun.elapsed().as_secs_f64();
        status.remaining_s = self
            .plan
            .time
            .filter(|_| status.is_running)
            .map(|it| it.saturating_sub(self.begun.elapsed()).as_secs_f64());
        status.workers = self.slots.iter().map(Slot::status).collect();
        let features = status.workers.iter().map(|it| it.features).max();
        status.features = status.features.max(features.unwrap_or(0));
        Ok(())
    }

    fn note_rate(&mut self, executions: u64) {
        let now = Instant::now();
        self.of_late.push_back((now, executions));
        while self.of_late.len() > 2 && now - self.of_late[0].0 > OF_LATE {
            self.of_late.pop_front();
        }
        let (since, before) = self.of_late[0];
        let seconds = (now - since).as_secs_f64();
        if seconds > 0.0 {
            self.status.executions_per_s = (executions - before) as f64 / seconds;
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        self.written = Instant::now();
        let root = self.folder.root();
        (self.status.corpus_files, self.status.corpus_bytes) = folder::size(&self.folder.corpus());
        self.status.note_point();
        let page = page::of(&self.status);
        self.status
            .write(root)
            .and_then(|()| whole::write(root, page::FILE, page.as_bytes()))
            .map_err(failed(format!("write how it stands in {}", root.display())))?;
        Ok(())
    }

    fn start_what_fits(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        for slot in 0..self.slots.len() {
            let it = &self.slots[slot];
            if it.current.is_none() && !it.is_done && it.not_before <= now {
                self.start(slot)?;
            }
        }
        Ok(())
    }

    /// What is left of the time, if it is limited.
    fn left(&self) -> Option<Duration> {
        let time = self.plan.time?;
        Some(time.saturating_sub(self.begun.elapsed()))
    }

    /// Whether a target has run all its inputs, or has no time for more.
    fn has_enough(&self, slot: usize) -> bool {
        let time_is_over = self.left().is_some_and(|it| it < Duration::from_secs(1));
        self.slots[slot].budget == Some(0) || time_is_over
    }

    fn start(&mut self, slot: usize) -> Result<(), Error> {
        if self.has_enough(slot) {
            self.slots[slot].is_done = true;
            return Ok(());
        }
        let (left, budget) = (self.left(), self.slots[slot].budget);
        let id = self.next;
        self.next += 1;
        let env = [
            (KERNEL_VARIABLE, self.plan.kernel.name.to_string().into()),
            (KEY_VARIABLE, self.plan.kernel.key.clone().into()),
            (CONTRACT_VARIABLE, self.plan.contract.to_string().into()),
            (FINDINGS_VARIABLE, self.folder.seen().into()),
        ];
        let order = Order {
            id,
            program: self.plan.program.clone(),
            arguments: arguments(self.plan, self.folder, id, left, budget),
            env: env.into(),
            log: self.folder.root().join(log_of(self.slots[slot].number)),
        };
        let process = Process::start(order, self.tell.clone()).map_err(failed(format!(
            "start the target {}",
            self.plan.program.display()
        )))?;
        self.slots[slot].current = Some(Current {
            id,
            process,
            progress: Progress::default(),
            counted: 0,
            artifact: None,
        });
        Ok(())
    }

    fn note(&mut self, news: News) -> Result<(), Error> {
        let (News::Told(id, _) | News::Closed(id, _)) = &news;
        let is = |slot: &&mut Slot| slot.current.as_ref().is_some_and(|it| it.id == *id);
        let Some(slot) = self.slots.iter_mut().find(is) else {
            return Ok(());
        };
        let Some(current) = &mut slot.current else {
            return Ok(());
        };
        match news {
            News::Told(_, Line::Progress(progress)) => {
                current.progress = Progress {
                    features: current.progress.features.max(progress.features),
                    ..progress
                };
            }
            News::Told(_, Line::Artifact(path)) => current.artifact = Some(path),
            News::Told(_, Line::Counted(counted)) => {
                current.counted += counted.inputs;
                self.note_counts(counted);
            }
            News::Closed(_, tail) => {
                let slot = slot.number - 1;
                return self.note_end(slot, tail);
            }
        }
        Ok(())
    }

    fn note_counts(&mut self, counted: Counted) {
        for (bug, times) in counted.excused {
            *self.status.excused.entry(bug).or_default() += times;
        }
        for (property, times) in counted.violations {
            *self.status.violations.entry(property).or_default() += times;
        }
    }

    fn note_end(&mut self, slot: usize, tail: Vec<String>) -> Result<(), Error> {
        let Some(mut ended) = self.slots[slot].current.take() else {
            return Ok(());
        };
        let status = ended
            .process
            .wait()
            .map_err(failed("wait for the target"))?;
        // libFuzzer writes what it trips over itself, too, and ends with another status.
        let how = status.code().and_then(|it| u8::try_from(it).ok());
        let is_death = how.is_some_and(|it| [DIED_STATUS, HUNG_STATUS].contains(&it));
        let died = ended.artifact.take().filter(|_| is_death);
        if died.is_some() {
            // That input ran, whether or not it came to be counted.
            ended.counted = ended.counted.max(1);
        }
        let executions = ended.executions();
        self.slots[slot].account(&ended);
        if status.success() && self.has_enough(slot) {
            self.slots[slot].is_done = true;
            return Ok(());
        }
        let it = &mut self.slots[slot];
        it.restarts += 1;
        it.barren = match executions {
            0 => it.barren + 1,
            _ => 0,
        };
        it.not_before = Instant::now() + pause(it.barren);
        self.status.restarts += 1;
        if status.success() && executions > 0 {
            // It was told of an earlier end than we know of.
            return Ok(());
        }
        if let Some(artifact) = died {
            self.status.deaths += 1;
            self.move_out(&artifact);
            return Ok(());
        }
        if how == Some(SPENT_STATUS) {
            return Ok(());
        }
        if self.is_hopeless(slot) {
            return Err(Error::Target {
                how: status.to_string(),
                lines: tail,
            });
        }
        let number = slot + 1;
        let error = tail.iter().rfind(|it| it.starts_with("error: "));
        let last = error.or(tail.last()).map_or("", |it| it);
        self.fail(format!("worker {number}: {status}: {last}"));
        Ok(())
    }

    /// Whether to go on without inputs that run is of no use. One guest that cannot be had
    /// is not: others are at work, or have been, and it may be memory that is short.
    fn is_hopeless(&self, slot: usize) -> bool {
        let barren = self.slots[slot].barren;
        let fails = |it: &Slot| it.executions() == 0 && (it.is_done || it.barren > 0);
        let is_last = |(other, it): (usize, &Slot)| other == slot || it.is_done;
        let nobody_runs = barren >= MOST_BARREN && self.slots.iter().all(fails);
        let ends_never = self.plan.time.is_none() && barren >= MOST_BARREN_LAST;
        nobody_runs || ends_never && self.slots.iter().enumerate().all(is_last)
    }

    /// Tells what went wrong; the last few of these are kept.
    fn fail(&mut self, why: String) {
        let failures = &mut self.status.failures;
        failures.push(why);
        let more = failures.len().saturating_sub(MOST_FAILURES);
        failures.drain(..more);
    }

    /// Puts what a kernel died of aside, should it be in the corpus: whoever uses that
    /// next is spared.
    fn move_out(&self, artifact: &Path) {
        let Ok(deadly) = text::read_file(artifact) else {
            return;
        };
        let deadly = deadly.to_string();
        let entries = fs::read_dir(self.folder.corpus()).into_iter().flatten();
        for path in entries.flatten().map(|it| it.path()) {
            let is_it = |bytes: Vec<u8>| Input::of(&bytes).0.to_string() == deadly;
            if fs::read(&path).is_ok_and(is_it)
                && let Some(name) = path.file_name()
            {
                let mut aside = OsString::from("corpus-");
                aside.push(name);
                let _ = fs::rename(&path, self.folder.artifacts().join(aside));
            }
        }
    }

    /// Begins to make smaller what waits for it, in so many guests at a time.
    fn minimize(&mut self, most: usize) {
        let expected = expected(&self.plan.kernel.name, self.plan.contract);
        while self.minimizing.len() < most {
            let busy = |stem: &str| self.minimizing.contains(stem) || self.unable.contains(stem);
            let Some((stem, record)) = self.records.next(busy, expected) else {
                return;
            };
            let plan = minimize::Plan {
                kernels: vec![self.plan.kernel.clone()],
                items: vec![Item {
                    kernel: 0,
                    text: record.finding.original.clone(),
                    property: Some(record.finding.property),
                }],
                contract: self.plan.contract,
                shrink_runs: self.plan.shrink_runs,
                time: Some(match record.has_log {
                    true => SHRINK_DEATH_TIME,
                    false => SHRINK_TIME,
                }),
                jobs: 1,
            };
            let (stem, tell) = (stem.to_owned(), self.minimized.0.clone());
            let give_up = Arc::clone(&self.give_up);
            self.minimizing.insert(stem.clone());
            thread::spawn(move || {
                let over = || give_up.load(Ordering::Relaxed);
                let outcome = outcome(|| {
                    let mut outcomes = minimize::run(&plan, &over, &mut |_, _| {})?;
                    Ok(outcomes.remove(0))
                });
                let _ = tell.send((stem, outcome));
            });
        }
    }

    /// What is not done by now waits for the next session.
    fn stop_minimizing(&mut self) {
        self.give_up.store(true, Ordering::Relaxed);
        while !self.minimizing.is_empty() {
            let Ok((stem, outcome)) = self.minimized.1.recv() else {
                return;
            };
            self.minimizing.remove(&stem);
            // Should it not be written, it is done again.
            let _ = self
                .records
                .settle(&self.folder.seen(), &stem, outcome, true);
        }
    }

    /// Ends all targets and their guests.
    fn halt(&mut self) {
        for slot in &mut self.slots {
            if let Some(ended) = slot.current.take() {
                slot.account(&ended);
            }
            slot.is_done = true;
        }
    }
}

/// What became of a finding, whatever happens: who waits for it is not to wait for ever.
fn outcome(shrink: impl FnOnce() -> Result<Outcome, engine::Error>) -> Outcome {
    let failure = match panic::catch_unwind(AssertUnwindSafe(shrink)) {
        Ok(Ok(outcome)) => return outcome,
        Ok(Err(error)) => error.to_string(),
        // What it says of that has been printed.
        Err(_) => "it panicked".to_owned(),
    };
    Outcome {
        failure: Some(failure),
        ..Outcome::default()
    }
}

/// Before a target is started again, the last so many of which have run no input.
fn pause(barren: u32) -> Duration {
    let doubled = PAUSE.saturating_mul(2_u32.saturating_pow(barren.saturating_sub(1)));
    doubled.min(LONGEST_PAUSE)
}

/// The part of `runs` that one of `jobs` has to run.
fn share(runs: u64, jobs: usize, which: usize) -> u64 {
    let (jobs, which) = (jobs as u64, which as u64);
    runs / jobs + u64::from(which < runs % jobs)
}

/// What libFuzzer is told.
fn arguments(
    plan: &Plan,
    folder: &Folder,
    id: Id,
    left: Option<Duration>,
    budget: Option<u64>,
) -> Vec<OsString> {
    // It writes to the first one.
    let mut arguments = vec![OsString::from(folder.corpus())];
    arguments.extend(plan.inputs.iter().map(OsString::from));
    let mut prefix = OsString::from("-artifact_prefix=");
    prefix.push(folder.artifacts().join(""));
    arguments.push(prefix);
    // 0 is no seed.
    let seed = plan.seed.wrapping_add(id as u64) % u64::from(u32::MAX) + 1;
    let mut flags = vec![format!("-seed={seed}"), "-reload=1".into()];
    if let Some(left) = left {
        flags.push(format!(
            "-max_total_time={}",
            left.as_secs().clamp(1, MOST_TOLD)
        ));
    }
    if let Some(budget) = budget {
        flags.push(format!("-runs={}", budget.min(MOST_TOLD)));
    }
    arguments.extend(flags.into_iter().map(OsString::from));
    arguments.extend(plan.arguments.iter().cloned());
    arguments
}

#[cfg(test)]
mod tests;
