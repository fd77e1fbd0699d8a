//! One scenario, run and judged, inside the kernel under test.

use std::io;

use crate::capture::Capture;
use crate::engine;
#[cfg(doc)]
use crate::guest::lacks::Lack;
use crate::guest::{Guest, KernelLog, RunError};
use crate::history::History;
use crate::minimize::{self, Budget, Judge, Memory, Minimized, Plan};
use crate::oracle::{self, Contract, Property, Violation};
use crate::scenario::Scenario;

/// A guest that judges what it runs.
#[derive(Debug)]
pub struct Trial {
    guest: Guest,
    /// `None`: others log there, too.
    log: Option<KernelLog>,
    contract: Contract,
    virtual_ns: u64,
    wedged: bool,
    /// Whether each run is followed by a look at what is left.
    looks: bool,
}

/// What one run showed.
#[derive(Debug)]
pub struct Verdict {
    /// What was seen.
    pub history: History,
    /// What it breaks; empty: everything held.
    pub violations: Vec<Violation>,
}

impl Trial {
    /// Sets the guest up.
    pub fn set_up(contract: Contract) -> io::Result<Trial> {
        Ok(Trial {
            // It is kept open, and so it comes before the guest counts open files.
            log: match engine::shares_kernel() {
                true => None,
                false => Some(KernelLog::open()?),
            },
            guest: Guest::set_up()?,
            contract,
            virtual_ns: 0,
            wedged: false,
            looks: false,
        })
    }

    /// Whether from now on each run is judged by what it leaves behind, too
    /// ([`Property::Leaks`]). Looking costs as much as several scenarios.
    pub fn look_for_leaks(&mut self, looks: bool) {
        self.looks = looks;
    }

    /// What the runs left behind since this was last asked, as a violation.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn leak(&mut self) -> io::Result<Option<Violation>> {
        match self.wedged {
            // What is left is in use.
            true => Ok(None),
            false => Ok(self.guest.leftovers()?.and_then(oracle::leak)),
        }
    }

    /// Runs `scenario`, normalized, and judges it.
    ///
    /// # Errors
    /// When the set-up fails or an earlier run has wedged this kernel: nothing
    /// was tested then. [`Lack::of`] tells what a kernel lacks that others serve.
    pub fn run(&mut self, scenario: &Scenario) -> io::Result<Verdict> {
        self.judge(scenario, Guest::run)
    }

    /// Runs `scenario` as [`Trial::run_again`] does, and keeps all of its packets, or the
    /// reason why they cannot be seen; `None`: it has none.
    ///
    /// # Errors
    /// As [`Trial::run`].
    pub fn run_watched(
        &mut self,
        scenario: &Scenario,
    ) -> io::Result<(Verdict, Option<io::Result<Capture>>)> {
        if let Some(verdict) = self.break_in(scenario)? {
            return Ok((verdict, None));
        }
        let mut packets = None;
        let verdict = self.judge(scenario, |guest, scenario| {
            let (result, capture) = guest.run_watched(scenario)?;
            packets = capture;
            result
        })?;
        Ok((verdict, packets))
    }

    fn judge(
        &mut self,
        scenario: &Scenario,
        run: impl FnOnce(&mut Guest, &Scenario) -> Result<History, RunError>,
    ) -> io::Result<Verdict> {
        let scenario = self.guest.fit(scenario)?;
        let scenario = &*scenario;
        if self.wedged {
            return Err(io::Error::other(
                "a call of an earlier scenario still hangs; boot again",
            ));
        }
        if self.looks {
            // What came before is not this one's.
            self.guest.leftovers()?;
        }
        let history = match run(&mut self.guest, scenario) {
            Ok(mut history) => {
                if self.looks {
                    history.leftovers = self.guest.leftovers()?;
                }
                history
            }
            Err(RunError::Wedged(history)) => {
                self.wedged = true;
                *history
            }
            Err(RunError::SetUp(error)) => return Err(error),
        };
        let ends_ns = history.beside.iter().map(|stream| stream.end_ns);
        self.virtual_ns += ends_ns.fold(history.end_ns, u64::max);
        let mut violations = oracle::judge(self.contract, scenario, &history);
        if let Some(log) = &mut self.log {
            let splat = oracle::splats(&log.news()?);
            if splat.is_some() {
                log.rearm();
            }
            violations.extend(splat);
        }
        Ok(Verdict {
            history,
            violations,
        })
    }

    /// Runs `scenario` as [`Trial::run`] does, and as it ran before: for runs that are
    /// compared with each other.
    ///
    /// # Errors
    /// As [`Trial::run`].
    pub fn run_again(&mut self, scenario: &Scenario) -> io::Result<Verdict> {
        // First, since what it leaves is not this one's either.
        if let Some(verdict) = self.break_in(scenario)? {
            return Ok(verdict);
        }
        if self.looks {
            self.guest.leftovers()?;
        }
        self.guest.await_tick()?;
        self.run(scenario)
    }

    /// Makes the first connection of a kind, if this would be it. A verdict: the kernel
    /// does not survive even that, or complains of it, and there is no more to be seen.
    fn break_in(&mut self, scenario: &Scenario) -> io::Result<Option<Verdict>> {
        let first = match self.wedged {
            true => None,
            false => self.guest.first_of_its_kind(scenario),
        };
        let Some(first) = first else {
            return Ok(None);
        };
        let usually = std::mem::replace(&mut self.looks, false);
        let verdict = self.judge(&first, Guest::run);
        self.looks = usually;
        let verdict = verdict?;
        let heard = verdict.breaks(Property::Splat);
        Ok((self.wedged || heard).then_some(verdict))
    }

    /// Virtual time of the scenarios so far, from connection to end of stream.
    pub fn virtual_ns(&self) -> u64 {
        self.virtual_ns
    }

    /// Whether this kernel can run no further scenario.
    pub fn is_wedged(&self) -> bool {
        self.wedged
    }

    /// Makes `scenario` smaller as long as it breaks `property`.
    pub fn minimize(
        &mut self,
        scenario: &Scenario,
        property: Property,
        budget: Budget,
    ) -> Minimized {
        let plan = Plan {
            property,
            budget,
            tries: 1,
            memory: &mut Memory::new(),
        };
        self.minimize_by(scenario, plan, &|_, _| false, &mut |_| {})
    }

    /// Makes `scenario` smaller; what is `excused` does not count, and `hear` is told
    /// of each smaller one. A run that cannot be made counts as one that holds. Each
    /// run is a sign of life to the host, which may hear nothing else until the end.
    pub fn minimize_by(
        &mut self,
        scenario: &Scenario,
        plan: Plan<'_>,
        excused: &dyn Fn(&Scenario, &Verdict) -> bool,
        hear: &mut dyn FnMut(&Minimized),
    ) -> Minimized {
        let usually = self.looks;
        self.looks |= plan.property == Property::Leaks;
        let mut judge = InGuest {
            trial: self,
            excused,
            hear,
        };
        let minimized = minimize::minimize(scenario, plan, &mut judge);
        self.looks = usually;
        minimized
    }
}

/// Judges candidates by running them here, one after the other.
struct InGuest<'a> {
    trial: &'a mut Trial,
    excused: &'a dyn Fn(&Scenario, &Verdict) -> bool,
    hear: &'a mut dyn FnMut(&Minimized),
}

impl Judge for InGuest<'_> {
    fn judge(&mut self, candidates: &[Scenario]) -> Vec<minimize::Verdict> {
        let mut verdicts = Vec::new();
        for candidate in candidates {
            engine::heartbeat();
            verdicts.push(if self.trial.is_wedged() {
                minimize::Verdict::Interrupted
            } else {
                let verdict = self.trial.run_again(candidate).ok();
                let verdict = verdict.filter(|it| !(self.excused)(candidate, it));
                minimize::Verdict::Breaks(verdict.map_or_else(Vec::new, |it| it.broken()))
            });
        }
        verdicts
    }

    fn smaller(&mut self, best: &Minimized) {
        (self.hear)(best);
    }
}

impl Verdict {
    /// Whether `property` is among the violations.
    pub fn breaks(&self, property: Property) -> bool {
        self.violations
            .iter()
            .any(|violation| violation.property == property)
    }

    /// The properties among the violations.
    pub fn broken(&self) -> Vec<Property> {
        self.violations.iter().map(|it| it.property).collect()
    }
}
