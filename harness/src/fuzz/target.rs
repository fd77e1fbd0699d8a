//! The guest's side: one input run and judged.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use nix::sys::signal::{SigHandler, Signal, signal};

use super::enter::{CONTRACT_VARIABLE, KERNEL_VARIABLE, NOTE_VARIABLE};
use super::trace::Trace;
use super::{FEATURES, Input, state};
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
        Ok(Target {
            trial,
            known: Known::here(),
            note,
            batch: Vec::new(),
            marks_state: guide.marks_state,
            counters: counters::read()?,
            machine: counting,
            trace,
        })
    }

    /// Runs an input, marks in `features` what happened besides the code that ran, and
    /// judges it.
    ///
    /// # Errors
    /// The scenario cannot be run.
    pub fn run(
        &mut self,
        input: &Input,
        features: &mut [u8; FEATURES],
    ) -> io::Result<Option<Complaint>> {
        if self.batch.len() >= INPUTS_A_LOOK {
            // Before this input is noted: what is left was left by others.
            if let Some(text) = self.look()? {
                return Ok(Some(Complaint {
                    text,
                    of_another: true,
                }));
            }
        }
        let Input(scenario) = input;
        if self.marks_state {
            // What ran again in between is none of this one's.
            observed::take();
            self.counted()?;
        }
        let verdict = self.run_noted(scenario)?;
        self.batch.push(scenario.clone());
        if let (Some(trace), Some(machine)) = (&mut self.trace, self.machine) {
            trace.ran(machine)?;
        }
        if self.marks_state {
            let counted = self.counted()?;
            let observed = observed::take();
            state::mark(scenario, &verdict.history, &observed, counted, features);
        }
        let text = self.say(scenario, self.complaint(scenario, &verdict));
        Ok(text.map(|text| Complaint {
            text,
            of_another: false,
        }))
    }

    /// What is wrong, unless a known bug of this kernel is.
    fn complaint<'a>(&self, scenario: &Scenario, verdict: &'a Verdict) -> Option<&'a Violation> {
        let violation = verdict.violations.first()?;
        let bug: Option<Bug> = self
            .known
            .explain(scenario, &verdict.history, &verdict.violations);
        bug.is_none().then_some(violation)
    }

    /// Looks at what the last inputs have left behind, and for the one that did it.
    fn look(&mut self) -> io::Result<Option<String>> {
        let batch = std::mem::take(&mut self.batch);
        if self.trial.leak()?.is_none() {
            return Ok(None);
        }
        // What the kernel or libFuzzer makes once and keeps is no leak; a leak is there
        // each time. One look at all of them again is cheaper than a look after each.
        for scenario in &batch {
            let verdict = self.run_noted(scenario)?;
            if self.trial.is_wedged() {
                return Ok(self.say(scenario, verdict.violations.first()));
            }
        }
        if self.trial.leak()?.is_none() {
            return Ok(None);
        }
        self.trial.look_for_leaks(true);
        for scenario in &batch {
            let verdict = self.run_noted(scenario)?;
            let leak = |it: &&Violation| it.property == Property::Leaks;
            let leak = verdict.violations.iter().find(leak);
            if self.trial.is_wedged() || leak.is_none() {
                continue;
            }
            let again = self.trial.run(scenario)?;
            if again.breaks(Property::Leaks) && self.complaint(scenario, &verdict).is_some() {
                return Ok(self.say(scenario, leak));
            }
        }
        self.trial.look_for_leaks(false);
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

    fn say(&mut self, scenario: &Scenario, violation: Option<&Violation>) -> Option<String> {
        let violation = violation?;
        Some(self.describe(scenario, violation.property, &violation.message))
    }

    /// Runs it again, and says what is wrong with it and how to go on.
    fn describe(&mut self, scenario: &Scenario, property: Property, message: &str) -> String {
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
