//! The guest's side: one input run and judged.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

use nix::sys::signal::{SigHandler, Signal, signal};

use super::enter::{CONTRACT_VARIABLE, KERNEL_VARIABLE, NOTE_VARIABLE};
use super::record;
use super::spool::{Counted, Spool};
use super::trace::Trace;
use super::{FEATURES, Input, state};
use crate::campaign::job::Finding;
use crate::campaign::known::{Bug, Known};
use crate::engine;
use crate::guest::{counters, observed};
use crate::history::Counters;
use crate::kcov::{self, Contexts, Machine};
use crate::oracle::{Contract, Property, Violation};
use crate::scenario::Scenario;
use crate::trial::{Trial, Verdict};

/// Inputs from one look at what is left behind to the next: it costs as much as several
/// inputs.
const INPUTS_A_LOOK: usize = 512;
/// Once something left behind was found, of the looks that find more one in so many goes
/// on to find what left it: that runs all inputs again.
const LEAKS_A_SEARCH: u32 = 16;
/// How often a violation is run again.
const REPETITIONS: u32 = 10;
/// Names what guides, for who wants to know what each is good for; all unless told.
const COUNT_VARIABLE: &str = "INFLIGHT_FUZZ_COUNT";

/// What guides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guide {
    contexts: Contexts,
    marks_state: bool,
}

impl Guide {
    /// By name, the usual one first.
    const NAMED: [(&str, Contexts, bool); 5] = [
        ("all", Contexts::ALL, true),
        ("kernel", Contexts::ALL, false),
        ("tasks", Contexts::TASKS, false),
        ("state", Contexts::NONE, true),
        ("none", Contexts::NONE, false),
    ];

    /// What the environment says.
    ///
    /// # Errors
    /// It says something else.
    pub fn chosen() -> io::Result<Guide> {
        let name = std::env::var(COUNT_VARIABLE).unwrap_or_default();
        let mut named = Guide::NAMED.into_iter();
        let found = named.find(|(known, ..)| name.is_empty() || *known == name);
        let (_, contexts, marks_state) = found.ok_or_else(|| {
            let known = Guide::NAMED.map(|(known, ..)| known).join(", ");
            io::Error::other(format!("{COUNT_VARIABLE}={name}: must be one of {known}"))
        })?;
        Ok(Guide {
            contexts,
            marks_state,
        })
    }
}

/// The contract that the environment names, or the default one.
///
/// # Errors
/// It names something else.
pub(super) fn chosen_contract() -> io::Result<Contract> {
    let name = std::env::var(CONTRACT_VARIABLE).unwrap_or_default();
    if name.is_empty() {
        return Ok(Contract::Stable);
    }
    name.parse()
        .map_err(|error| io::Error::other(format!("{CONTRACT_VARIABLE}={name}: {error}")))
}

/// The kernel that this runs in, for a fuzz target.
#[derive(Debug)]
pub struct Target {
    trial: Trial,
    known: Known,
    note: Option<Note>,
    /// What has run since the last look at what is left behind.
    batch: Vec<Scenario>,
    marks_state: bool,
    /// What the series had counted when it was last asked.
    counters: Option<Counters>,
    /// What counts the kernel's code, if something does.
    machine: Option<&'static Machine>,
    trace: Option<Trace>,
    /// Where violations are left, in a campaign: they end nothing there.
    spool: Option<Spool>,
    /// What has come to the inputs since the campaign was last told.
    untold: Counted,
    /// How often it was told.
    told: u32,
    /// Looks that have found something left behind.
    leaks: u32,
    /// Whether something ran that is no input.
    has_rerun: bool,
}

/// What was wrong with an input.
#[derive(Debug)]
pub struct Complaint {
    /// It, and how to go on, for people.
    pub text: String,
    /// Whether it is another input's fault: that which the host was told of last.
    pub of_another: bool,
}

impl Target {
    /// Sets this kernel up. From now on its counters are in `counters`, if it counts.
    ///
    /// # Errors
    /// This is no guest, or what its kernel says.
    ///
    /// # Panics
    /// As [`Machine::replace`].
    pub fn set_up(counters: &'static mut [u8]) -> io::Result<Target> {
        if !engine::in_guest() {
            return Err(io::Error::other("this runs in no kernel under test"));
        }
        // As in every Rust program that has a `main`: libFuzzer's is C++. A send to a
        // connection that was reset fails with EPIPE, and ends nobody.
        // SAFETY: to ignore a signal is to install no handler.
        unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn)? };
        let contract = chosen_contract()?;
        let guide = Guide::chosen()?;
        let note = match std::env::var_os(NOTE_VARIABLE) {
            Some(path) => Some(Note(File::options().write(true).open(path)?)),
            None => None,
        };
        // What is open for as long as this lives comes before open files are counted.
        let machine = Machine::open()?;
        let trial = Trial::set_up(contract)?;
        let trace = Trace::chosen()?;
        let mut counting = None;
        match machine {
            Some(machine) => {
                let guides = guide.contexts != Contexts::NONE;
                if guides {
                    machine.replace(counters)?;
                }
                // Who is not guided by the kernel's code can still be asked what ran.
                let contexts = match (guides, &trace) {
                    (false, Some(_)) => Contexts::ALL,
                    _ => guide.contexts,
                };
                counting = Some(kcov::count_scenarios(machine, contexts));
            }
            None => eprintln!(
                "inflight: {} counts none of its code, and guides nobody: use one with -kcov",
                std::env::var(KERNEL_VARIABLE).unwrap_or_default()
            ),
        }
        if guide.marks_state {
            observed::start();
        }
        let kernel = std::env::var(KERNEL_VARIABLE).unwrap_or_default();
        Ok(Target {
            trial,
            known: Known::here(),
            note,
            batch: Vec::new(),
            marks_state: guide.marks_state,
            counters: counters::read()?,
            machine: counting,
            trace,
            spool: Spool::open(&kernel, contract)?,
            untold: Counted::default(),
            told: 0,
            leaks: 0,
            has_rerun: false,
        })
    }

    /// Runs an input, marks in `features` what happened besides the code that ran, and
    /// judges it. In a campaign what is wrong is left where the environment says.
    ///
    /// # Errors
    /// The scenario cannot be run, or what is wrong not be kept.
    pub fn run(
        &mut self,
        input: &Input,
        features: &mut [u8; FEATURES],
    ) -> io::Result<Option<Complaint>> {
        let Input(scenario) = input;
        if self.spool.as_ref().is_some_and(|it| it.is_deadly(scenario)) {
            return Ok(None);
        }
        if self.batch.len() >= INPUTS_A_LOOK {
            self.tell();
            // Before this input is noted: what is left was left by others.
            if let Some(text) = self.look()? {
                return Ok(Some(Complaint {
                    text,
                    of_another: true,
                }));
            }
        }
        if self.is_spent() {
            // It has been said of which one.
            self.tell();
            return Ok(None);
        }
        if std::mem::take(&mut self.has_rerun) && self.marks_state {
            // What ran again since the last input says nothing of this one.
            self.counted()?;
            observed::take();
        }
        let verdict = self.run_noted(scenario)?;
        self.untold.inputs += 1;
        self.batch.push(scenario.clone());
        if let (Some(trace), Some(machine)) = (&mut self.trace, self.machine) {
            trace.ran(machine)?;
        }
        if self.marks_state {
            let counted = self.counted()?;
            let observed = observed::take();
            state::mark(scenario, &verdict.history, &observed, counted, features);
        }
        let text = self.say_unless_known(scenario, &verdict)?;
        if self.is_spent() || self.untold.is_due(self.told) {
            self.tell();
        }
        Ok(text.map(|text| Complaint {
            text,
            of_another: false,
        }))
    }

    /// Whether this kernel can run no further input: a call still hangs.
    pub fn is_spent(&self) -> bool {
        self.trial.is_wedged()
    }

    /// Tells the campaign, if this is part of one, what has come to the inputs since it
    /// was last told.
    pub fn tell(&mut self) {
        if self.spool.is_some() && !self.untold.is_empty() {
            self.told += 1;
            // Nobody panics for it: this may be the end of the process.
            let _ = writeln!(io::stderr(), "{}", std::mem::take(&mut self.untold).line());
        }
    }

    /// What is wrong, unless a known bug of this kernel is.
    fn complaint<'a>(
        &mut self,
        scenario: &Scenario,
        verdict: &'a Verdict,
    ) -> Option<&'a Violation> {
        let violation = verdict.violations.first()?;
        let bug: Option<Bug> = self
            .known
            .explain(scenario, &verdict.history, &verdict.violations);
        if let Some(bug) = bug {
            *self.untold.excused.entry(bug).or_default() += 1;
            return None;
        }
        Some(violation)
    }

    /// Looks at what the last inputs have left behind, and for the one that did it.
    fn look(&mut self) -> io::Result<Option<String>> {
        let batch = std::mem::take(&mut self.batch);
        if self.trial.leak()?.is_none() {
            return Ok(None);
        }
        let _pause = kcov::Pause::begin();
        self.has_rerun = true;
        // What the kernel or libFuzzer makes once and keeps is no leak; a leak is there
        // each time. One look at all of them again is cheaper than a look after each.
        for scenario in &batch {
            let verdict = self.run_noted(scenario)?;
            if self.trial.is_wedged() {
                return self.say_unless_known(scenario, &verdict);
            }
        }
        if self.trial.leak()?.is_none() {
            return Ok(None);
        }
        self.leaks += 1;
        if self.spool.is_some() && self.leaks % LEAKS_A_SEARCH != 1 {
            return Ok(None);
        }
        self.trial.look_for_leaks(true);
        let said = self.search(&batch);
        self.trial.look_for_leaks(false);
        said
    }

    /// Runs them again, and looks after each for what it left behind.
    fn search(&mut self, batch: &[Scenario]) -> io::Result<Option<String>> {
        for scenario in batch {
            let verdict = self.run_noted(scenario)?;
            if self.trial.is_wedged() {
                return self.say_unless_known(scenario, &verdict);
            }
            let leak = |it: &&Violation| it.property == Property::Leaks;
            let Some(leak) = verdict.violations.iter().find(leak) else {
                continue;
            };
            let again = self.trial.run(scenario)?;
            if again.breaks(Property::Leaks) && self.complaint(scenario, &verdict).is_some() {
                return self.say(scenario, Some(leak));
            }
        }
        Ok(None)
    }

    /// What the series has counted since this was last asked; `None`: there is none.
    fn counted(&mut self) -> io::Result<Option<Counters>> {
        let now = counters::read()?;
        let before = std::mem::replace(&mut self.counters, now);
        Ok(now.zip(before).map(|(now, before)| now.since(before)))
    }

    fn run_noted(&mut self, scenario: &Scenario) -> io::Result<Verdict> {
        self.note(scenario)?;
        engine::heartbeat();
        self.trial.run(scenario)
    }

    /// What to say of a run, unless a known bug of this kernel is all that it shows.
    fn say_unless_known(
        &mut self,
        scenario: &Scenario,
        verdict: &Verdict,
    ) -> io::Result<Option<String>> {
        let violation = self.complaint(scenario, verdict);
        self.say(scenario, violation)
    }

    /// What to say of it, which ends this process. In a campaign it is kept, if there are
    /// not enough like it, and nothing is said.
    fn say(
        &mut self,
        scenario: &Scenario,
        violation: Option<&Violation>,
    ) -> io::Result<Option<String>> {
        let Some(violation) = violation else {
            return Ok(None);
        };
        let _pause = kcov::Pause::begin();
        let (property, message) = (violation.property, &violation.message);
        let Some(spool) = &mut self.spool else {
            return Ok(Some(self.describe(scenario, property, message)));
        };
        *self.untold.violations.entry(property).or_default() += 1;
        let look = record::look(scenario, property, message);
        // What is known need not run ten times more.
        if !spool.wants(&look, property) || spool.has(&look, &scenario.to_string()) {
            return Ok(None);
        }
        let mut finding = Finding::suspect(0, property, message.clone(), scenario);
        (finding.seen, finding.of) = self.repeat(scenario, property);
        if let Some(spool) = &self.spool {
            spool.keep(&look, finding, None)?;
        }
        Ok(None)
    }

    /// Runs it again several times: in how many runs it was seen, and of how many.
    fn repeat(&mut self, scenario: &Scenario, property: Property) -> (u32, u32) {
        self.has_rerun = true;
        let (mut seen, mut of) = (1, 1);
        for _ in 0..REPETITIONS {
            engine::heartbeat();
            // One that hangs has said enough.
            let Ok(verdict) = self.trial.run_again(scenario) else {
                break;
            };
            of += 1;
            seen += u32::from(verdict.breaks(property));
        }
        (seen, of)
    }

    /// Runs it again, and says what is wrong with it and how to go on.
    fn describe(&mut self, scenario: &Scenario, property: Property, message: &str) -> String {
        let (seen, of) = self.repeat(scenario, property);
        let kernel = std::env::var(KERNEL_VARIABLE).unwrap_or_default();
        format!(
            "{kernel} violates {property}, in {seen} of {of} runs:\n{message}\n\n{scenario}\n\
             make it smaller: inflight minimize ARTIFACT --kernel {kernel}\n\
             explain it:      inflight explain ARTIFACT --kernel {kernel}\n"
        )
    }

    /// Tells the host what is about to run, should this kernel not live to tell it.
    fn note(&self, scenario: &Scenario) -> io::Result<()> {
        match &self.note {
            Some(note) => note.write(&scenario.to_string()),
            None => Ok(()),
        }
    }
}

/// A file of the host: hostfs writes through.
#[derive(Debug)]
struct Note(File);

impl Note {
    fn write(&self, text: &str) -> io::Result<()> {
        // One write: the end is where the last byte of the longest was, and so a zero
        // says where this one ends.
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.0.write_all_at(&bytes, 0)
    }
}
