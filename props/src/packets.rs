//! That the packets of a scenario are seen as they were, and that looking at them changes
//! nothing.

use inflight::capture::Capture;
use inflight::oracle::Contract;
use inflight::scenario::{Scenario, normalize, text};
use inflight::trial::{Trial, Verdict};

use crate::properties::{CORPUS, Result};

/// On Linux 6.1 what ran before has a say in who goes first when two threads wake at the
/// same instant: a run of a scenario can then differ from one before it, watched or not.
const ATTEMPTS: usize = 4;

/// What a scenario does, it does as well when its packets are watched.
pub fn a_watched_scenario_does_the_same() -> Result {
    let mut trial = trial()?;
    let mut packets = 0;
    for (file, text) in CORPUS {
        let scenario = text::parse(file, text).map_err(|error| error.to_string())?;
        let scenario = normalize::normalize(scenario);
        let mut known = Vec::new();
        for attempt in 1.. {
            let alone = trial.run_again(&scenario).map_err(|it| it.to_string())?;
            known.push(alone.history.digest(&scenario));
            let (watched, capture) = watch(&mut trial, &scenario)?;
            packets += capture.map_or(0, |it| it.packets.len());
            if known.contains(&watched.history.digest(&scenario)) {
                break;
            }
            if attempt == ATTEMPTS {
                return Err(format!("{file}: {}", difference(&alone, &watched)));
            }
        }
    }
    match packets {
        1000.. => Ok(()),
        few => Err(format!("only {few} packets were seen")),
    }
}

/// The first lines of two histories that differ, the clock aside.
fn difference(one: &Verdict, other: &Verdict) -> String {
    let [one, other] = [one, other].map(|it| format!("{:#?}", it.history));
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains("_ns: "));
        lines.map(str::to_owned).collect()
    };
    let (one, other) = (lines(&one), lines(&other));
    let first = one.iter().zip(&other).position(|(one, other)| one != other);
    let from = first.unwrap_or(one.len().min(other.len()));
    let part = |lines: &[String]| lines[from..lines.len().min(from + 12)].join("\n");
    format!("alone:\n{}\nwatched:\n{}", part(&one), part(&other))
}

fn trial() -> Result<Trial> {
    Trial::set_up(Contract::Documented).map_err(|error| error.to_string())
}

fn watch(trial: &mut Trial, scenario: &Scenario) -> Result<(Verdict, Option<Capture>)> {
    trial
        .run_watched(scenario)
        .map_err(|error| format!("{error}\n\n{scenario}"))
}
