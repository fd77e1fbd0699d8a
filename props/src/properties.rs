//! The properties, as proptest sees them. All of them run in a guest.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use inflight::campaign::known::Known;
use inflight::minimize::Budget;
use inflight::oracle::{Contract, Property, Violation};
use inflight::reference::{self, Opinion};
use inflight::scenario::{Scenario, normalize, strategy, text};
use inflight::trial::{Trial, Verdict};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::runner;

// The scenarios on record, by file. A guest need not be able to read the files.
include!(concat!(env!("OUT_DIR"), "/corpus.rs"));

/// One scenario of so many may have more equal bytes of several senders than the
/// specification follows (7 of 1000 have), and two where they are few.
const MOST_OPEN: u32 = 100;

/// What a property returns: `Err` says for people what broke.
pub type Result<T = ()> = std::result::Result<T, String>;

/// The stream is the concatenation of the ranges reported sent.
pub fn wire_is_the_file() -> Result {
    holds(Contract::Documented, Property::Wire)
}

/// Each received datagram is one that was sent.
pub fn datagrams_are_whole() -> Result {
    holds(Contract::Documented, Property::Datagrams)
}

/// The file changes only where the scenario wrote.
pub fn source_is_untouched() -> Result {
    holds(Contract::Documented, Property::Source)
}

/// Return values, offsets and the received total agree.
pub fn counts_add_up() -> Result {
    holds(Contract::Documented, Property::Counts)
}

/// Every call and every stream ends within its bound.
pub fn everything_ends() -> Result {
    holds(Contract::Documented, Property::Liveness)
}

/// The kernel has nothing to complain about.
pub fn the_log_is_clean() -> Result {
    holds(Contract::Documented, Property::Splat)
}

/// Sockets, files and pages are gone when everything is closed.
pub fn nothing_leaks() -> Result {
    holds(Contract::Documented, Property::Leaks)
}

/// A write after the return never shows.
pub fn stable_on_return() -> Result {
    holds(Contract::Stable, Property::StableOnReturn)
}

/// What is sent by reference is told done with once; when it is, no later write shows.
pub fn completion_means_released() -> Result {
    holds(Contract::Documented, Property::Completion)
}

/// The check of the check: on a stock kernel the same search must find the race,
/// and must shrink it to a send and a write.
pub fn stable_on_return_is_broken() -> Result {
    let (scenario, _) = search(Contract::Stable, Property::StableOnReturn)?
        .ok_or("no scenario broke stable-on-return: the search or the oracle is blind")?;
    let sends = scenario.steps.iter().filter(|step| step.op.sends()).count();
    let writes = scenario
        .steps
        .iter()
        .filter_map(|step| step.op.writes())
        .count();
    match (scenario.steps.len(), sends, writes) {
        (2, 1, 1) => Ok(()),
        // A send by way of a pipe needs the pipe and its filling.
        (4, 1, 1) => Ok(()),
        _ => Err(format!(
            "shrunk to more than a send and a write:\n\n{scenario}"
        )),
    }
}

/// What the manual pages say in executable form, and the oracle, think the same of
/// whatever this kernel does.
pub fn model_and_kernel_agree() -> Result {
    agree(Contract::Documented)
}

/// The same, of a kernel that settles what a send has sent.
pub fn model_and_cured_kernel_agree() -> Result {
    agree(Contract::Stable)
}

/// The same of each scenario of the corpus.
pub fn model_agrees_on_the_corpus() -> Result {
    let mut trial =
        Trial::set_up(Contract::Documented).map_err(|error| format!("set-up: {error}"))?;
    for (file, text) in CORPUS {
        let scenario = text::parse(file, text).map_err(|error| error.to_string())?;
        let scenario = normalize::normalize(scenario);
        let verdict = trial.run(&scenario).map_err(|error| error.to_string())?;
        if let Some(why) = disagreement(Contract::Documented, &scenario, &verdict) {
            return Err(format!("{file}: {why}"));
        }
    }
    match CORPUS.len() {
        0..50 => Err(format!("only {} scenarios", CORPUS.len())),
        _ => Ok(()),
    }
}

fn agree(contract: Contract) -> Result {
    let trial = Trial::set_up(contract).map_err(|error| format!("set-up: {error}"))?;
    let trial = RefCell::new(trial);
    let known = Known::here();
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let (seen, open) = (Cell::new(0), Cell::new(0));
    TestRunner::new(config)
        .run(&strategy::scenario(), |scenario| {
            let verdict = trial
                .borrow_mut()
                .run(&scenario)
                .map_err(|error| TestCaseError::reject(error.to_string()))?;
            let opinion = reference::opinion(contract, &scenario, &verdict.history);
            seen.set(seen.get() + 1);
            open.set(open.get() + u32::from(opinion == Opinion::Unknown));
            if known
                .explain(&scenario, &verdict.history, &verdict.violations)
                .is_some()
            {
                return Ok(());
            }
            disagreement(contract, &scenario, &verdict).map_or(Ok(()), |why| {
                Err(TestCaseError::fail(format!("{why}\n\n{scenario}")))
            })
        })
        .map_err(|error| error.to_string())?;
    // Who knows nothing agrees with everybody.
    let (seen, open) = (seen.get(), open.get());
    println!("compared: {} of {seen}", seen - open);
    match open <= 2 + seen / MOST_OPEN {
        true => Ok(()),
        false => Err(format!("the specification left open {open} of {seen}")),
    }
}

/// Where the specification and the oracle differ over a run; what only one of them
/// looks at is left out.
pub fn disagreement(contract: Contract, scenario: &Scenario, verdict: &Verdict) -> Option<String> {
    let only_the_oracle = |it: &&Violation| {
        let property = it.property;
        !matches!(
            property,
            Property::Liveness | Property::Splat | Property::Leaks
        )
    };
    let violation = verdict.violations.iter().find(only_the_oracle);
    match (
        reference::opinion(contract, scenario, &verdict.history),
        violation,
    ) {
        (Opinion::Unknown, _) | (Opinion::Agrees, None) | (Opinion::Differs { .. }, Some(_)) => {
            None
        }
        (Opinion::Agrees, Some(violation)) => Some(format!(
            "only the oracle objects: {}: {}",
            violation.property, violation.message
        )),
        (Opinion::Differs { step, what }, None) => {
            let step = step.map_or_else(String::new, |step| format!("operation {}: ", step + 1));
            Some(format!("only the specification objects: {step}{what}"))
        }
    }
}

fn holds(contract: Contract, property: Property) -> Result {
    match search(contract, property)? {
        None => Ok(()),
        Some((scenario, message)) => {
            runner::found(&scenario);
            Err(format!("{message}\n\n{scenario}"))
        }
    }
}

/// Searches for a scenario that breaks `property`, and shrinks it.
fn search(
    contract: Contract,
    property: Property,
) -> std::result::Result<Option<(Scenario, String)>, String> {
    let config = Config {
        failure_persistence: None,
        // The default is four times the cases, which ends a shrink too early.
        max_shrink_iters: 10_000,
        ..Config::default()
    };
    let mut trial = Trial::set_up(contract).map_err(|error| format!("set-up: {error}"))?;
    trial.look_for_leaks(property == Property::Leaks);
    let trial = RefCell::new(trial);
    let known = Known::here();
    let result = TestRunner::new(config).run(&strategy::scenario(), |scenario| {
        let verdict = trial
            .borrow_mut()
            .run(&scenario)
            .map_err(|error| TestCaseError::reject(error.to_string()))?;
        let broken = |it: &&inflight::oracle::Violation| it.property == property;
        match verdict.violations.iter().find(broken) {
            // It is in the corpus, with its explanation.
            Some(_)
                if known
                    .explain(&scenario, &verdict.history, &verdict.violations)
                    .is_some() =>
            {
                Ok(())
            }
            None => Ok(()),
            Some(violation) => Err(TestCaseError::fail(violation.message.clone())),
        }
    });
    match result {
        Ok(()) => Ok(None),
        // proptest shrinks what it drew; the minimizer knows what a scenario is,
        // and takes it from there.
        Err(TestError::Fail(reason, scenario)) => {
            let budget = Budget {
                runs: 2000,
                time: Duration::MAX,
            };
            let minimized = trial.into_inner().minimize(&scenario, property, budget);
            Ok(Some((minimized.scenario, reason.to_string())))
        }
        Err(TestError::Abort(reason)) => Err(format!("gave up: {reason}")),
    }
}
