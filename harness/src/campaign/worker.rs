//! The guest's side of a campaign: does one job and tells about it.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::coverage::Record;
use super::explain::Explained;
use super::job::{Event, Finding, Job, Replayed};
use super::known::{Bug, Known};
use crate::engine;
use crate::guest::lacks::{Lack, Lacks};
use crate::guest::{Bare, clock};
use crate::history::Counters;
use crate::kcov::{self, Contexts, Machine};
use crate::minimize::{Budget, Memory, Plan, Reliability, Stopped};
use crate::oracle::{Contract, Property, Violation, means};
use crate::scenario::{Scenario, normalize, strategy, text};
use crate::trial::{Trial, Verdict};

/// How often a violation is run again before it is made smaller.
const REPETITIONS: u32 = 10;
/// Cases from one look at what is left behind to the next: it costs as much as several
/// cases.
const CASES_A_LOOK: usize = 512;
/// How long a violation is made smaller where time passes by the clock.
const SHRINK_TIME: Duration = Duration::from_secs(60);
/// When virtual time begins to be counted, from the boot. How long the boot takes follows
/// what the program's path is: the kernel walks it, and sees the clock move where it is
/// read a hundred times at one instant (kernel-patch/uml/).
const BOOTED: Duration = Duration::from_secs(1);
/// Rounds without the harness from one sign of life to the next.
const BARE_ROUNDS_A_BEAT: u32 = 1000;

/// Does `job`, telling on `out`; ends with [`Event::Done`] or [`Event::Failed`].
pub fn work(job: &Job, out: impl Write) -> io::Result<()> {
    let is_virtual = clock::is_virtual()?;
    if is_virtual {
        clock::await_uptime(BOOTED)?;
    }
    let mut worker = Worker {
        out,
        start: Instant::now(),
        scenarios: 0,
        shrink_time: match is_virtual {
            true => Duration::MAX,
            false => SHRINK_TIME,
        },
    };
    let event = match worker.perform(job) {
        Ok(()) => Event::Done {
            scenarios: worker.scenarios,
            virtual_ns: u64::try_from(worker.start.elapsed().as_nanos()).unwrap_or(u64::MAX),
        },
        Err(error) => Event::Failed(error.to_string()),
    };
    worker.tell(&event)
}

struct Worker<W> {
    out: W,
    start: Instant,
    scenarios: u64,
    shrink_time: Duration,
}

/// What counts of what a scenario breaks.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    /// Rather this than another, where it breaks several.
    property: Option<Property>,
    /// Bugs of the kernel that are passed over.
    known: Option<&'a Known>,
    /// Whether somebody asked for this scenario: then it may be about one of them.
    given: bool,
}

impl<'a> Wanted<'a> {
    fn new(known: &'a Known) -> Self {
        Wanted {
            property: None,
            known: Some(known),
            given: false,
        }
    }

    fn excuse(self, scenario: &Scenario, verdict: &Verdict) -> Option<Bug> {
        let known = self.known?;
        known.explain(scenario, &verdict.history, &verdict.violations)
    }
}

impl<W: Write> Worker<W> {
    fn perform(&mut self, job: &Job) -> io::Result<()> {
        match job {
            Job::Check {
                seed,
                first,
                stride,
                end,
                contract,
                shrink_runs,
            } => {
                let mut trial = Trial::set_up(*contract)?;
                let known = Known::here();
                let stride = usize::try_from(*stride).unwrap_or(1).max(1);
                let mut cases = (*first..*end).step_by(stride);
                loop {
                    let mut batch = Vec::new();
                    for index in cases.by_ref().take(CASES_A_LOOK) {
                        if self.case(&mut trial, *seed, index, *shrink_runs, &known)? {
                            return Ok(());
                        }
                        batch.push(index);
                    }
                    let over = batch.is_empty();
                    if over || self.leak(&mut trial, *seed, &batch, *shrink_runs, &known)? {
                        return Ok(());
                    }
                }
            }
            Job::Replay {
                texts,
                times,
                contract,
            } => self.replay(texts, *times, *contract),
            Job::Minimize {
                text,
                property,
                contract,
                shrink_runs,
            } => {
                let mut trial = Trial::set_up(*contract)?;
                trial.look_for_leaks(true);
                let scenario = read(text)?;
                let known = Known::here();
                let wanted = Wanted {
                    property: *property,
                    given: true,
                    ..Wanted::new(&known)
                };
                self.examine(&mut trial, 0, &scenario, *shrink_runs, wanted)?;
                Ok(())
            }
            Job::Explain {
                text,
                contract,
                file,
            } => {
                let mut trial = Trial::set_up(*contract)?;
                trial.look_for_leaks(true);
                self.about(0, &trial)?;
                let (verdict, capture) = trial.run_watched(&read(text)?)?;
                self.scenarios += 1;
                let explained = Explained {
                    history: verdict.history,
                    violations: verdict.violations,
                    packets: capture.map(|it| it.map_err(|error| error.to_string())),
                };
                explained.write(file)?;
                self.tell(&Event::Explained)
            }
            Job::Cover { texts, file } => self.cover(texts, file),
            Job::Bench { text, times } => {
                let mut trial = Trial::set_up(Contract::Documented)?;
                let scenario = read(text)?;
                for run in 0..*times {
                    self.about(run.into(), &trial)?;
                    let verdict = trial.run(&scenario)?;
                    self.scenarios += 1;
                    if let Some(violation) = verdict.violations.first() {
                        // The speed of what goes wrong is no figure.
                        return Err(io::Error::other(format!(
                            "violates {}: {}",
                            violation.property, violation.message
                        )));
                    }
                }
                Ok(())
            }
            Job::Bare { text, times } => {
                let bare = Bare::set_up(&read(text)?)?;
                // Not told one by one: telling is part of the harness.
                self.tell(&Event::About {
                    index: 0,
                    virtual_ns: 0,
                })?;
                for round in 0..*times {
                    if round.is_multiple_of(BARE_ROUNDS_A_BEAT) {
                        engine::heartbeat();
                    }
                    bare.round()?;
                    self.scenarios += 1;
                }
                Ok(())
            }
            Job::Probe => {
                let lacks = Lacks::find()?;
                self.tell(&Event::Lacks(lacks.iter().cloned().collect()))
            }
            Job::Transfer { text, transfer } => {
                let setup = read(text)?.setup;
                let took = transfer.run(&setup, || {
                    self.tell(&Event::About {
                        index: 0,
                        virtual_ns: 0,
                    })
                })?;
                self.scenarios = transfer.calls.into();
                self.tell(&Event::Transferred(took))
            }
        }
    }

    // Returns whether the job is over.
    fn case(
        &mut self,
        trial: &mut Trial,
        seed: u64,
        index: u64,
        shrink_runs: u64,
        known: &Known,
    ) -> io::Result<bool> {
        let scenario = strategy::case(seed, index);
        self.examine(trial, index, &scenario, shrink_runs, Wanted::new(known))
    }

    // Runs one scenario; on a violation confirms it, makes it smaller and tells.
    // Returns whether there was one that is not known.
    fn examine(
        &mut self,
        trial: &mut Trial,
        index: u64,
        scenario: &Scenario,
        shrink_runs: u64,
        wanted: Wanted<'_>,
    ) -> io::Result<bool> {
        self.about(index, trial)?;
        let verdict = match trial.run(scenario) {
            Ok(verdict) => verdict,
            Err(error) => {
                let lack = Lack::of(&error).cloned().ok_or(error)?;
                self.tell(&Event::Skipped(lack))?;
                return Ok(false);
            }
        };
        self.scenarios += 1;
        self.examined(trial, index, scenario, verdict, shrink_runs, wanted)
    }

    // The same of a verdict that there is already.
    fn examined(
        &mut self,
        trial: &mut Trial,
        index: u64,
        scenario: &Scenario,
        verdict: Verdict,
        shrink_runs: u64,
        mut wanted: Wanted<'_>,
    ) -> io::Result<bool> {
        let Some(first) = verdict.violations.first() else {
            return Ok(false);
        };
        let mut violations = verdict.violations.iter();
        let violation = violations.find(|it| wanted.property == Some(it.property));
        let violation = violation.unwrap_or(first);
        if let Some(bug) = wanted.excuse(scenario, &verdict) {
            if !wanted.given {
                self.tell(&Event::Excused(bug))?;
                return Ok(trial.is_wedged());
            }
            wanted.known = None;
        }
        let (property, message) = (violation.property, violation.message.clone());
        let mut finding = Finding::suspect(index, property, message, scenario);
        self.tell(&Event::Suspect(finding.clone()))?;
        if trial.is_wedged() {
            return Ok(true);
        }
        self.shrink(trial, scenario, &mut finding, shrink_runs, wanted)?;
        if finding.seen == 0 {
            finding.history = Some(Box::new(verdict.history));
        }
        self.tell(&Event::Found(finding))?;
        Ok(true)
    }

    // Looks at what a batch of cases has left behind, and for the case that did it, by
    // running each again. Returns whether there is one.
    fn leak(
        &mut self,
        trial: &mut Trial,
        seed: u64,
        batch: &[u64],
        shrink_runs: u64,
        known: &Known,
    ) -> io::Result<bool> {
        if trial.leak()?.is_none() {
            return Ok(false);
        }
        // What the kernel or this program makes once and keeps is no leak; a leak is
        // there each time. To look once is cheaper than to look after each.
        for &index in batch {
            let scenario = strategy::case(seed, index);
            engine::heartbeat();
            let verdict = trial.run(&scenario)?;
            if trial.is_wedged() {
                self.about(index, trial)?;
                let wanted = Wanted::new(known);
                return self.examined(trial, index, &scenario, verdict, shrink_runs, wanted);
            }
        }
        if trial.leak()?.is_none() {
            return Ok(false);
        }
        trial.look_for_leaks(true);
        for &index in batch {
            let scenario = strategy::case(seed, index);
            engine::heartbeat();
            if !trial.run(&scenario)?.breaks(Property::Leaks) {
                continue;
            }
            if self.examine(trial, index, &scenario, shrink_runs, Wanted::new(known))? {
                return Ok(true);
            }
        }
        trial.look_for_leaks(false);
        Ok(false)
    }

    // Fills in the reliability and the smallest scenario. Trouble on the way
    // leaves the finding as good as it was by then.
    fn shrink(
        &mut self,
        trial: &mut Trial,
        scenario: &Scenario,
        finding: &mut Finding,
        shrink_runs: u64,
        wanted: Wanted<'_>,
    ) -> io::Result<()> {
        let property = finding.property;
        trial.look_for_leaks(property == Property::Leaks);
        let before = self.repeat(trial, scenario, finding);
        let plan = Plan {
            property,
            // Where the guest's clock is virtual only runs can bound this.
            budget: Budget {
                runs: shrink_runs,
                time: self.shrink_time,
            },
            tries: before.tries(),
            memory: &mut Memory::new(),
        };
        let mut told = Ok(());
        let mut best = finding.clone();
        let minimized = trial.minimize_by(
            scenario,
            plan,
            &|candidate, verdict| wanted.excuse(candidate, verdict).is_some(),
            &mut |smaller| {
                best.take(smaller);
                // It has failed once so far.
                (best.seen, best.of) = (1, 1);
                if told.is_ok() {
                    told = self.tell(&Event::Smaller(best.clone()));
                }
            },
        );
        told?;
        finding.take(&minimized);
        finding.stopped = Some(match trial.is_wedged() {
            true => Stopped::Interrupted,
            false => minimized.stopped,
        });
        if minimized.after < minimized.before && !trial.is_wedged() {
            self.repeat(trial, &minimized.scenario, finding);
        }
        Ok(())
    }

    // Runs what breaks the property again, several times, and notes how often it does.
    fn repeat(
        &mut self,
        trial: &mut Trial,
        scenario: &Scenario,
        finding: &mut Finding,
    ) -> Reliability {
        let mut found = Reliability::default();
        for _ in 0..REPETITIONS {
            engine::heartbeat();
            let Ok(verdict) = trial.run_again(scenario) else {
                break;
            };
            found.of += 1;
            let same = |it: &&Violation| it.property == finding.property;
            if let Some(violation) = verdict.violations.iter().find(same) {
                found.seen += 1;
                finding.message.clone_from(&violation.message);
            }
        }
        (finding.seen, finding.of) = (found.seen, found.of);
        found
    }

    fn replay(&mut self, texts: &[String], times: u32, contract: Contract) -> io::Result<()> {
        let mut trial = Trial::set_up(contract)?;
        trial.look_for_leaks(true);
        for (file, text) in texts.iter().enumerate() {
            let scenario = read(text)?;
            let mut replayed = Replayed {
                file,
                runs: 0,
                skipped: None,
                violated: Vec::new(),
                message: None,
                digests: 0,
                counters: Vec::new(),
            };
            let mut digests = HashSet::new();
            for _ in 0..times {
                self.about(file as u64, &trial)?;
                let verdict = match trial.run_again(&scenario) {
                    Ok(verdict) => verdict,
                    Err(error) => {
                        let lack = Lack::of(&error).cloned().ok_or(error)?;
                        // What other runs have shown by the clock stays shown.
                        if replayed.runs == 0 {
                            replayed.skipped = Some(lack);
                        }
                        break;
                    }
                };
                self.scenarios += 1;
                replayed.runs += 1;
                digests.insert(verdict.history.digest(&scenario));
                if let Some(counters) = verdict.history.counters {
                    let known = |it: &Counters| means(it) == means(&counters);
                    if !replayed.counters.iter().any(known) {
                        replayed.counters.push(counters);
                    }
                }
                for violation in &verdict.violations {
                    count(&mut replayed.violated, violation.property);
                    let message = || violation.message.clone();
                    replayed.message.get_or_insert_with(message);
                }
                if trial.is_wedged() {
                    break;
                }
            }
            replayed.digests = digests.len();
            self.tell(&Event::Replayed(replayed))?;
            if trial.is_wedged() {
                break;
            }
        }
        Ok(())
    }

    fn cover(&mut self, texts: &[String], file: &Path) -> io::Result<()> {
        let machine = Machine::open()?
            .ok_or_else(|| io::Error::other("this kernel counts none of its code"))?;
        let machine = kcov::count_scenarios(machine, Contexts::ALL);
        let mut record = Record::create(file)?;
        // Nobody asks here whether a promise was kept, and so for which.
        let mut trial = Trial::set_up(Contract::Documented)?;
        for (index, text) in texts.iter().enumerate() {
            self.about(index as u64, &trial)?;
            trial.run(&read(text)?)?;
            self.scenarios += 1;
            record.add(machine)?;
            self.tell(&Event::Covered)?;
            if trial.is_wedged() {
                break;
            }
        }
        Ok(())
    }

    fn about(&mut self, index: u64, trial: &Trial) -> io::Result<()> {
        let virtual_ns = trial.virtual_ns();
        self.tell(&Event::About { index, virtual_ns })
    }

    fn tell(&mut self, event: &Event) -> io::Result<()> {
        // One write a line: what was told before a crash is told whole.
        let mut line = event.to_string();
        line.push('\n');
        self.out.write_all(line.as_bytes())
    }
}

fn read(scenario: &str) -> io::Result<Scenario> {
    let scenario = text::parse("job", scenario).map_err(io::Error::other)?;
    Ok(normalize::normalize(scenario))
}

fn count(counts: &mut Vec<(Property, u32)>, property: Property) {
    match counts.iter_mut().find(|(known, _)| *known == property) {
        Some((_, times)) => *times += 1,
        None => counts.push((property, 1)),
    }
}
