//! Generated cases on several kernels at once.
//!
//! The cases of a kernel are split over as many guests as may run at a time;
//! worker `w` of `n` takes the cases `w`, `w + n`, `w + 2n`, ... A worker stops
//! at its first violation; the others go on until they have passed that case, so
//! the first violation of a seed is the same on every machine.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::host::{End, Fleet, Id, Report};
use super::job::{Event, Finding, Job};
use crate::engine::{self, Exit};
use crate::kernel::{Flavour, Kernel, KernelName};
use crate::oracle::{Contract, Property};
use crate::scenario::strategy;

/// What to run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// On which kernels.
    pub kernels: Vec<Kernel>,
    /// What they are held to.
    pub contract: Contract,
    /// Seed of the generator.
    pub seed: u64,
    /// Cases a kernel.
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
/// breaks stable-on-return, for that is the race.
pub fn expected(kernel: &KernelName, contract: Contract) -> Option<Property> {
    match (kernel, contract) {
        (
            KernelName::Release {
                flavour: Flavour::Stock,
                ..
            },
            Contract::Stable,
        ) => Some(Property::StableOnReturn),
        _ => None,
    }
}

/// Runs `plan`.
///
/// # Errors
/// When a guest cannot be booted at all. Everything else is in the outcomes.
pub fn run(plan: &Plan, mut tell: impl FnMut(News<'_>)) -> Result<Vec<Outcome>, engine::Error> {
    let mut campaign = Campaign::new(plan);
    campaign.start_what_fits()?;
    while !campaign.fleet.is_empty() {
        let patience = campaign.remaining().min(Duration::from_millis(500));
        if let Some(report) = campaign.fleet.next(patience) {
            campaign.note(report, &mut tell);
        }
        if campaign.remaining().is_zero() {
            campaign.stop_all();
        }
        campaign.start_what_fits()?;
    }
    Ok(campaign.outcomes)
}

struct Campaign<'a> {
    plan: &'a Plan,
    deadline: Option<Instant>,
    fleet: Fleet,
    waiting: VecDeque<Shard>,
    running: HashMap<Id, Shard>,
    outcomes: Vec<Outcome>,
}

/// The part of a kernel's cases that one guest runs.
#[derive(Debug, Clone, Copy)]
struct Shard {
    kernel: usize,
    first: u64,
    stride: u64,
    /// When its first case began.
    begun: Option<Instant>,
    /// When it came upon a violation; what follows is shrinking.
    caught: Option<Instant>,
    /// The case that it is at.
    at: u64,
    /// Cases begun.
    cases: u64,
    virtual_ns: u64,
    done: bool,
}

impl<'a> Campaign<'a> {
    fn new(plan: &'a Plan) -> Campaign<'a> {
        let mut waiting = VecDeque::new();
        for (kernel, entry) in plan.kernels.iter().enumerate() {
            // Where the first few cases settle it, more guests are only heat.
            let stride = match expected(&entry.name, plan.contract) {
                Some(_) => 1,
                None => (plan.jobs as u64).min(plan.cases).max(1),
            };
            for first in 0..stride {
                waiting.push_back(Shard {
                    kernel,
                    first,
                    stride,
                    begun: None,
                    caught: None,
                    at: first,
                    cases: 0,
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
        };
        Campaign {
            plan,
            // A limit beyond all time is none.
            deadline: plan.time.and_then(|time| Instant::now().checked_add(time)),
            fleet: Fleet::new(),
            waiting,
            running: HashMap::new(),
            outcomes: plan.kernels.iter().map(outcome).collect(),
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

    fn stop_all(&mut self) {
        self.waiting.clear();
        let running: Vec<Id> = self.running.keys().copied().collect();
        for id in running {
            self.stop(id);
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
        match event {
            Event::About { index, virtual_ns } => {
                shard.begun.get_or_insert(at);
                shard.at = index;
                shard.cases += 1;
                shard.virtual_ns = virtual_ns;
                // A line for every scenario would only slow the host down.
                if shard.cases.is_multiple_of(64) {
                    let cases = self.running.values().filter(|it| it.kernel == kernel);
                    let begun: u64 = cases.map(|it| it.cases).sum();
                    tell(News::Progress(
                        kernel,
                        self.outcomes[kernel].scenarios + begun,
                    ));
                }
                if self.is_settled_before(kernel, index) {
                    self.stop(id);
                }
            }
            Event::Suspect(finding) | Event::Found(finding) => {
                shard.caught.get_or_insert(at);
                self.note_finding(kernel, finding, tell);
            }
            Event::Done { virtual_ns, .. } => {
                shard.virtual_ns = virtual_ns;
                shard.done = true;
            }
            Event::Failed(why) => {
                shard.done = true;
                let case = shard.at;
                self.outcomes[kernel]
                    .failures
                    .push(format!("case {case}: {why}"));
            }
            Event::Replayed(_) => {}
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
        let crash = match end.outcome {
            Ok(outcome) => match outcome.exit {
                Exit::Status(0) if shard.done => None,
                Exit::Panic { log } => Some((Property::Splat, "the kernel panicked", log)),
                Exit::Died { log, .. } => Some((Property::Splat, "the kernel ended", log)),
                Exit::Hung { log, .. } => Some((Property::Liveness, "the kernel hangs", log)),
                exit => {
                    failures.push(format!("the worker ended: {exit:?}: {}", end.stray.trim()));
                    None
                }
            },
            Err(error) => {
                failures.push(error.to_string());
                None
            }
        };
        // A guest that never came to its first case says nothing about any.
        match crash {
            Some((property, what, log)) if shard.cases > 0 => {
                let scenario = strategy::case(self.plan.seed, shard.at);
                let text = scenario.to_string();
                let steps = scenario.steps.len();
                let finding = Finding {
                    index: shard.at,
                    property,
                    message: format!("{what} while it ran\n{}", log.join("\n")),
                    seen: 1,
                    of: 1,
                    original: text.clone(),
                    minimized: text,
                    steps_before: steps,
                    steps_after: steps,
                    shrink_runs: 0,
                };
                self.note_finding(shard.kernel, finding, tell);
            }
            Some((_, what, log)) => {
                let failures = &mut self.outcomes[shard.kernel].failures;
                failures.push(format!("{what} before the first case\n{}", log.join("\n")));
            }
            None => {}
        }
    }

    fn account(&mut self, shard: &Shard, until: Instant) {
        let outcome = &mut self.outcomes[shard.kernel];
        outcome.scenarios += shard.cases;
        outcome.virtual_ns += shard.virtual_ns;
        if let Some(begun) = shard.begun {
            let until = shard.caught.unwrap_or(until);
            outcome.busy += until.saturating_duration_since(begun);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_beyond_all_time_is_none() {
        let plan = |time| Plan {
            kernels: Vec::new(),
            contract: Contract::Stable,
            seed: 1,
            cases: 1,
            jobs: 1,
            time: Some(time),
            shrink_runs: 0,
        };
        let remaining = |time| Campaign::new(&plan(time)).remaining();
        assert_eq!(remaining(Duration::from_secs(u64::MAX)), Duration::MAX);
        let hour = Duration::from_secs(3600);
        assert!(remaining(hour) <= hour);
    }
}
