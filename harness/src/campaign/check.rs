//! Generated cases on several kernels at once.
//!
//! The cases of a kernel are split over as many guests as may run at a time;
//! worker `w` of `n` takes the cases `w`, `w + n`, `w + 2n`, ... A worker stops
//! at its first violation; the others go on until they have passed that case, so
//! the first violation of a seed is the same on every machine.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs;
use std::time::{Duration, Instant};

use super::crash::{self, Crash};
use super::host::{End, Fleet, Id, Report};
use super::job::{Event, Finding, Job};
use super::known::Bug;
use crate::engine::{self, Exit};
use crate::guest::lacks::{Feature, Lack};
use crate::kernel::{Flavour, Kernel, KernelName, Machine};
use crate::minimize::Budget;
use crate::oracle::{self, Contract, Property};
use crate::scenario::features::Coverage;
use crate::scenario::strategy;

const INTERRUPTED: &str = "interrupted";

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On which kernels.
    pub kernels: Vec<Kernel>,
    /// What they are held to.
    pub contract: Contract,
    /// Seed of the generator.
    pub seed: u64,
    /// The first case.
    pub first: u64,
    /// From one case to the next; 1: all of them.
    pub stride: u64,
    /// One past the last case: cases a kernel, where all of them run.
    pub cases: u64,
    /// Guests at a time.
    pub jobs: usize,
    /// Wall-clock limit; the cases that were run by then count.
    pub time: Option<Duration>,
    /// Runs that the minimizer may use.
    pub shrink_runs: u64,
}

/// What one kernel showed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The kernel.
    pub kernel: KernelName,
    /// Scenarios run, without repetitions and shrinking.
    pub scenarios: u64,
    /// The first violation.
    pub finding: Option<Finding>,
    /// Wall-clock time that its guests ran scenarios, added up.
    pub busy: Duration,
    /// Virtual time that passed in its guests, added up.
    pub virtual_ns: u64,
    /// What went wrong apart from the kernel under test.
    pub failures: Vec<String>,
    /// Which cases were run.
    pub ran: Vec<Ran>,
    /// How many of them broke something by a known bug of the kernel.
    pub excused: BTreeMap<Bug, u64>,
    /// How many were not run, by what the kernel lacks for them; the first of each.
    pub skipped: BTreeMap<Feature, (u64, Lack)>,
    /// Their numbers.
    pub skipped_cases: BTreeSet<u64>,
}

impl Outcome {
    /// How many cases were not run since the kernel lacks something.
    pub fn skips(&self) -> u64 {
        self.skipped.values().map(|(cases, _)| cases).sum()
    }
}

/// The cases that one guest ran: `first`, and every `stride`th after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// Number of the first.
    pub first: u64,
    /// From one to the next.
    pub stride: u64,
    /// How many.
    pub cases: u64,
}

impl Ran {
    fn indices(&self) -> impl Iterator<Item = u64> + use<> {
        let Ran {
            first,
            stride,
            cases,
        } = *self;
        (0..cases).map(move |it| first + it * stride)
    }
}

/// What a campaign tells while it runs.
#[derive(Debug)]
pub enum News<'a> {
    /// A kernel, by its place in the plan, has run so many scenarios.
    Progress(usize, u64),
    /// A violation, before or after it was made smaller: to be saved at once.
    Finding(usize, &'a Finding),
}

/// What a kernel is expected to do with many cases: `None`: hold. A stock kernel
/// breaks stable-on-return, for that is the race; and so does the one that runs already,
/// unless it has the series, and that is switched on.
pub fn expected(kernel: &KernelName, contract: Contract) -> Option<Property> {
    let races = match kernel {
        KernelName::Host => !is_stable(fs::read_to_string(STABLE).ok().as_deref()),
        _ => kernel.flavour() == Some(Flavour::Stock),
    };
    (races && contract == Contract::Stable).then_some(Property::StableOnReturn)
}

/// The switch of the series.
const STABLE: &str = "/proc/sys/fs/splice_stable";

/// The kernel of the catalog that the one which runs already is most like: the newest that
/// is no newer, and its flavour by the switch of the series.
pub fn like_host() -> String {
    let read = |path| fs::read_to_string(path).ok();
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    like(&release, read(STABLE).as_deref())
}

fn like(release: &str, switch: Option<&str>) -> String {
    let mut numbers = release.split(|it: char| !it.is_ascii_digit());
    let mut number = || numbers.next().and_then(|it| it.parse::<u32>().ok());
    let version = (number().unwrap_or(0), number().unwrap_or(0));
    let version = match version {
        _ if version >= (7, 3) => "7.3",
        _ if version >= (6, 12) => "6.12",
        _ => "6.1",
    };
    let flavour = match switch.map(str::trim) {
        None | Some("0") => Flavour::Stock,
        Some("2") => Flavour::Detach,
        Some(_) => Flavour::Patched,
    };
    format!("{version}-{flavour}")
}

/// Whether a kernel keeps its promise, by what its switch says, if it has one.
fn is_stable(switch: Option<&str>) -> bool {
    switch.is_some_and(|it| it.trim() != "0")
}

/// What the cases that were run on any of the kernels of one campaign exercised, each
/// counted once.
pub fn coverage<'a>(seed: u64, outcomes: impl IntoIterator<Item = &'a Outcome>) -> Coverage {
    let ran = |outcome: &'a Outcome| {
        let cases = outcome.ran.iter().flat_map(Ran::indices);
        cases.filter(|case| !outcome.skipped_cases.contains(case))
    };
    let cases: BTreeSet<u64> = outcomes.into_iter().flat_map(ran).collect();
    let mut coverage = Coverage::default();
    for case in cases {
        coverage.add(&strategy::case(seed, case));
    }
    coverage
}

/// Runs `plan`.
///
/// # Errors
/// When a guest cannot be booted at all. Everything else is in the outcomes.
pub fn run(plan: &Plan, tell: impl FnMut(News<'_>)) -> Result<Vec<Outcome>, engine::Error> {
    run_until(plan, &|| false, tell)
}

/// The same until `interrupted`: then the kernels that are not through have failed.
///
/// # Errors
/// As [`run`]'s.
pub fn run_until(
    plan: &Plan,
    interrupted: &dyn Fn() -> bool,
    mut tell: impl FnMut(News<'_>),
) -> Result<Vec<Outcome>, engine::Error> {
    let mut campaign = Campaign::new(plan);
    campaign.start_what_fits()?;
    while !campaign.fleet.is_empty() {
        let patience = campaign.remaining().min(Duration::from_millis(500));
        let since = Instant::now();
        let report = campaign.fleet.next(patience);
        // What guests do from now on may be somebody's who ends them, too.
        if interrupted() {
            campaign.drop_all();
            break;
        }
        if since.elapsed() > patience + STOOD_STILL {
            campaign.forgive_silence();
        }
        if let Some(report) = report {
            campaign.note(report, &mut tell);
        }
        if campaign.remaining().is_zero() {
            campaign.stop_all(&mut tell);
        }
        campaign.start_what_fits()?;
    }
    campaign.shrink_crashes(interrupted, &mut tell);
    Ok(campaign.outcomes)
}

/// Who sleeps for so much longer than it wanted was stopped, and has heard nobody meanwhile.
const STOOD_STILL: Duration = Duration::from_secs(2);

/// A guest in virtual time that says nothing for so long hangs: a scenario takes
/// milliseconds, and the longest some seconds.
const SILENT: Duration = Duration::from_secs(30);

struct Campaign<'a> {
    plan: &'a Plan,
    deadline: Option<Instant>,
    fleet: Fleet,
    waiting: VecDeque<Shard>,
    running: HashMap<Id, Shard>,
    outcomes: Vec<Outcome>,
    /// Whether the finding of a kernel took it down.
    crashed: Vec<bool>,
}

/// The part of a kernel's cases that one guest runs.
#[derive(Debug, Clone, Copy)]
struct Shard {
    kernel: usize,
    first: u64,
    stride: u64,
    /// When its first case began.
    begun: Option<Instant>,
    /// When it last told something.
    heard: Option<Instant>,
    /// When it came upon a violation; what follows is shrinking.
    caught: Option<Instant>,
    /// The case that it is at.
    at: u64,
    /// The last one that ran for the first time.
    highest: Option<u64>,
    /// Cases begun.
    cases: u64,
    /// Those of them that did not run after all.
    skipped: u64,
    virtual_ns: u64,
    done: bool,
}

impl Shard {
    fn begin(&mut self, index: u64) {
        self.at = index;
        // A case that is run again, to see whether it leaks each time, is none more.
        if self.highest.is_none_or(|it| index > it) {
            self.highest = Some(index);
            self.cases += 1;
        }
    }
}

impl<'a> Campaign<'a> {
    fn new(plan: &'a Plan) -> Campaign<'a> {
        let mut waiting = VecDeque::new();
        for (kernel, entry) in plan.kernels.iter().enumerate() {
            // Where the first few cases settle it, more guests are only heat.
            let guests = match expected(&entry.name, plan.contract) {
                Some(_) => 1,
                None => (plan.jobs as u64).min(plan.cases).max(1),
            };
            for guest in 0..guests {
                let first = plan.first + guest * plan.stride;
                waiting.push_back(Shard {
                    kernel,
                    first,
                    stride: guests * plan.stride,
                    begun: None,
                    heard: None,
                    caught: None,
                    at: first,
                    highest: None,
                    cases: 0,
                    skipped: 0,
                    virtual_ns: 0,
                    done: false,
                });
            }
        }
        let outcome = |kernel: &Kernel| Outcome {
            kernel: kernel.name.clone(),
            scenarios: 0,
            finding: None,
            busy: Duration::ZERO,
            virtual_ns: 0,
            failures: Vec::new(),
            ran: Vec::new(),
            excused: BTreeMap::new(),
            skipped: BTreeMap::new(),
            skipped_cases: BTreeSet::new(),
        };
        Campaign {
            plan,
            // A limit beyond all time is none.
            deadline: plan.time.and_then(|time| Instant::now().checked_add(time)),
            fleet: Fleet::new(),
            waiting,
            running: HashMap::new(),
            outcomes: plan.kernels.iter().map(outcome).collect(),
            crashed: vec![false; plan.kernels.len()],
        }
    }

    fn remaining(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    }

    fn start_what_fits(&mut self) -> Result<(), engine::Error> {
        while self.fleet.len() < self.plan.jobs {
            let Some(shard) = self.waiting.pop_front() else {
                break;
            };
            if self.is_settled_before(shard.kernel, shard.first) {
                continue;
            }
            let job = Job::Check {
                seed: self.plan.seed,
                first: shard.first,
                stride: shard.stride,
                end: self.plan.cases,
                contract: self.plan.contract,
                shrink_runs: self.plan.shrink_runs,
            };
            let id = self.fleet.start(&self.plan.kernels[shard.kernel], &job)?;
            self.running.insert(id, shard);
        }
        Ok(())
    }

    /// Nobody was heard, as nobody listened.
    fn forgive_silence(&mut self) {
        let now = Instant::now();
        for shard in self.running.values_mut() {
            shard.heard = shard.heard.map(|_| now);
        }
    }

    fn drop_all(&mut self) {
        let left = self.waiting.drain(..).map(|it| it.kernel);
        let left: BTreeSet<usize> = left
            .chain(self.running.values().map(|it| it.kernel))
            .collect();
        for kernel in left {
            self.outcomes[kernel].failures.push(INTERRUPTED.into());
        }
        for id in self.all_running() {
            self.stop(id);
        }
    }

    fn all_running(&self) -> Vec<Id> {
        self.running.keys().copied().collect()
    }

    fn stop_all(&mut self, tell: &mut impl FnMut(News<'_>)) {
        self.waiting.clear();
        for id in self.all_running() {
            self.note_silence(id, tell);
            self.stop(id);
        }
    }

    // Who waits longer is told by the engine that the kernel hangs. Here nobody waits: the
    // time is over, and it may be what has used it up.
    fn note_silence(&mut self, id: Id, tell: &mut impl FnMut(News<'_>)) {
        let Some(shard) = self.running.get(&id) else {
            return;
        };
        let is_virtual = self.plan.kernels[shard.kernel].machine == Machine::Uml;
        let silent = shard
            .heard
            .map(|it| it.elapsed())
            .filter(|it| *it >= SILENT);
        if let (Some(silent), true, None) = (silent, is_virtual, shard.caught) {
            let seconds = silent.as_secs();
            let message = format!(
                "the kernel hangs: it had said nothing for {seconds} s when the time was over"
            );
            let scenario = strategy::case(self.plan.seed, shard.at);
            let finding = Finding::suspect(shard.at, Property::Liveness, message, &scenario);
            let kernel = shard.kernel;
            self.note_finding(kernel, finding, tell);
        }
    }

    fn stop(&mut self, id: Id) {
        self.fleet.stop(id);
        if let Some(shard) = self.running.remove(&id) {
            self.account(&shard, Instant::now());
        }
    }

    // Whether an earlier case of this kernel has already broken something.
    fn is_settled_before(&self, kernel: usize, index: u64) -> bool {
        let finding = self.outcomes[kernel].finding.as_ref();
        finding.is_some_and(|finding| finding.index < index)
    }

    fn note(&mut self, report: Report, tell: &mut impl FnMut(News<'_>)) {
        match report {
            Report::Told(id, at, event) => self.note_event(id, at, event, tell),
            Report::Ended(id, at, end) => {
                let Some(shard) = self.running.remove(&id) else {
                    return;
                };
                self.account(&shard, at);
                self.note_end(&shard, end, tell);
            }
        }
    }

    fn note_event(&mut self, id: Id, at: Instant, event: Event, tell: &mut impl FnMut(News<'_>)) {
        let Some(shard) = self.running.get_mut(&id) else {
            return;
        };
        let kernel = shard.kernel;
        shard.heard = Some(at);
        match event {
            Event::About { index, virtual_ns } => {
                shard.begun.get_or_insert(at);
                shard.begin(index);
                shard.virtual_ns = virtual_ns;
                // A line for every scenario would only slow the host down.
                if shard.cases.is_multiple_of(64) {
                    let cases = self.running.values().filter(|it| it.kernel == kernel);
                    let begun: u64 = cases.map(|it| it.cases).sum();
                    let ran = self.outcomes[kernel].ran.iter();
                    let over: u64 = ran.map(|it| it.cases).sum();
                    tell(News::Progress(kernel, over + begun));
                }
                if self.is_settled_before(kernel, index) {
                    self.stop(id);
                }
            }
            Event::Skipped(lack) => {
                shard.skipped += 1;
                let outcome = &mut self.outcomes[kernel];
                outcome.skipped_cases.insert(shard.at);
                let skipped = outcome.skipped.entry(lack.what);
                skipped.or_insert((0, lack)).0 += 1;
            }
            Event::Excused(bug) => {
                *self.outcomes[kernel].excused.entry(bug).or_default() += 1;
            }
            Event::Suspect(finding) | Event::Smaller(finding) | Event::Found(finding) => {
                shard.caught.get_or_insert(at);
                self.note_finding(kernel, finding, tell);
            }
            Event::Done { virtual_ns, .. } => {
                shard.virtual_ns = virtual_ns;
                shard.done = true;
            }
            Event::Failed(why) => {
                shard.done = true;
                // It may have failed before the first.
                let failure = match shard.cases {
                    0 => why,
                    _ => {
                        let case = shard.at;
                        let scenario = strategy::case(self.plan.seed, case);
                        format!("case {case}: {why}\n{scenario}")
                    }
                };
                self.outcomes[kernel].failures.push(failure);
            }
            Event::Replayed(_)
            | Event::Explained
            | Event::Covered
            | Event::Transferred(_)
            | Event::Lacks(_) => {}
        }
    }

    fn note_finding(&mut self, kernel: usize, finding: Finding, tell: &mut impl FnMut(News<'_>)) {
        let known = &mut self.outcomes[kernel].finding;
        if known
            .as_ref()
            .is_none_or(|known| finding.index <= known.index)
        {
            tell(News::Finding(kernel, &finding));
            *known = Some(finding);
        }
    }

    fn note_end(&mut self, shard: &Shard, end: End, tell: &mut impl FnMut(News<'_>)) {
        let failures = &mut self.outcomes[shard.kernel].failures;
        let outcome = match end.outcome {
            Ok(outcome) => outcome,
            Err(error) => return failures.push(error.to_string()),
        };
        let ended_well = shard.done && outcome.exit == Exit::Status(0);
        let (property, message) = match Crash::of(&outcome.exit) {
            Some(crash) => {
                let when = match (shard.cases, shard.caught) {
                    (0, _) => "before the first case",
                    (_, None) => "while it ran",
                    (_, Some(_)) => "while it ran again or was made smaller",
                };
                (crash.property, crash.message(when))
            }
            // What was reported is in the finding already.
            None if ended_well && shard.caught.is_some() => return,
            // Its trial reads the kernel's log after each case: what it has not told
            // of was reported before the first one or after the last.
            None if ended_well => match oracle::splats(&outcome.kernel_log) {
                Some(splat) => (
                    Property::Splat,
                    format!("before the first case or after this one, {}", splat.message),
                ),
                None => return,
            },
            None => {
                let (exit, stray) = (outcome.exit, end.stray.trim());
                return failures.push(format!("the worker ended: {exit:?}: {stray}"));
            }
        };
        // A guest that never came to its first case says nothing about any.
        if shard.cases == 0 {
            return failures.push(message);
        }
        let scenario = strategy::case(self.plan.seed, shard.at);
        let finding = Finding::suspect(shard.at, property, message, &scenario);
        self.note_finding(shard.kernel, finding, tell);
        self.crashed[shard.kernel] = !ended_well && shard.caught.is_none();
    }

    // Done last, because the guests of other kernels have no use for the CPUs then.
    fn shrink_crashes(&mut self, interrupted: &dyn Fn() -> bool, tell: &mut impl FnMut(News<'_>)) {
        let Plan {
            kernels,
            contract,
            shrink_runs,
            jobs,
            ..
        } = self.plan;
        for (index, kernel) in kernels.iter().enumerate() {
            let outcome = &mut self.outcomes[index];
            if let (true, Some(finding)) = (self.crashed[index], &mut outcome.finding) {
                let budget = Budget {
                    runs: *shrink_runs,
                    time: crash::SHRINK_TIME,
                };
                let shrunk = crash::shrink(kernel, *contract, finding, budget, *jobs, interrupted);
                let failures = &mut outcome.failures;
                // What it has come to is not all that it would have.
                if interrupted() {
                    failures.push(INTERRUPTED.into());
                    continue;
                }
                failures.extend(shrunk.err().map(|it| it.to_string()));
                tell(News::Finding(index, finding));
            }
        }
    }

    fn account(&mut self, shard: &Shard, until: Instant) {
        let outcome = &mut self.outcomes[shard.kernel];
        outcome.scenarios += shard.cases - shard.skipped;
        outcome.virtual_ns += shard.virtual_ns;
        outcome.ran.push(Ran {
            first: shard.first,
            stride: shard.stride,
            cases: shard.cases,
        });
        if let Some(begun) = shard.begun {
            let until = shard.caught.unwrap_or(until);
            outcome.busy += until.saturating_duration_since(begun);
        }
    }
}

#[cfg(test)]
mod tests;
