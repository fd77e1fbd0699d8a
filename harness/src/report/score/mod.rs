//! How many of the bugs that were put in are found: for a terminal, for programs, and as a
//! page.

mod page;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use crate::campaign::score::{Score, Verdict};
use crate::report::table::Table;
pub use page::page;

/// What a reader has to know besides the scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `check` or `fuzz`.
    pub mode: &'static str,
    /// For so long each seed looked.
    pub time: Duration,
    /// So many seeds.
    pub seeds: u64,
    /// So many mutants there are to look for.
    pub mutants: usize,
    /// Folders of scenarios to begin with.
    pub corpora: usize,
    /// The command, to be run again.
    pub command: String,
}

/// In one word.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Seldom => "SELDOM",
        Verdict::Missed => "MISSED",
        Verdict::Wrong => "WRONG PROPERTY",
        Verdict::FalseAlarm => "FALSE ALARM",
        Verdict::Failed => "FAILED",
    }
}

/// The table.
pub fn human(scores: &[&Score], setting: &Setting) -> String {
    let headings = [
        "mutant",
        "kernel",
        "caught by",
        "seeds",
        "scenarios",
        "seconds",
        "ops",
        "",
    ];
    let mut table = Table::new(headings, &[3, 4, 5, 6]);
    for score in scores {
        table.row([
            name(score),
            score.subject.kernel.to_string(),
            caught(score),
            seeds(score),
            scenarios(score),
            seconds(score),
            score
                .minimized_ops()
                .map_or("-".into(), |it| it.to_string()),
            word(score.verdict()).into(),
        ]);
    }
    let mut text = table.to_string();
    for score in scores {
        for run in &score.runs {
            for failure in &run.failures {
                let kernel = &score.subject.kernel;
                let _ = writeln!(text, "{kernel}, seed {}: FAILED: {failure}", run.seed);
            }
        }
    }
    text + &sum(scores, setting) + "\n"
}

/// All of it in a line.
pub fn sum(scores: &[&Score], setting: &Setting) -> String {
    let (mutants, clean): (Vec<_>, Vec<_>) =
        scores.iter().partition(|it| it.subject.mutant.is_some());
    let good = |all: &[&Score]| {
        let good = all.iter().filter(|it| it.verdict() == Verdict::Good);
        good.count()
    };
    let mut text = format!("{} of {} mutants caught", good(&mutants), setting.mutants);
    if mutants.len() < setting.mutants {
        let _ = write!(text, ", {} not looked at", setting.mutants - mutants.len());
    }
    if !clean.is_empty() {
        let ran: u64 = clean.iter().map(|it| it.all_scenarios()).sum();
        let _ = write!(
            text,
            "; nothing raised by {} of {} kernels without one, in {ran} scenarios",
            good(&clean),
            clean.len()
        );
    }
    text
}

/// One object.
pub fn json(score: &Score, setting: &Setting) -> serde_json::Value {
    json!({
        "mutant": score.subject.mutant.as_ref().map(|it| &it.name),
        "kernel": score.subject.kernel.to_string(),
        "mode": setting.mode,
        "time_per_mutant_s": setting.time.as_secs(),
        "corpora": setting.corpora,
        "expected": score.subject.right,
        "caught": score.caught(),
        "scenarios": score.scenarios(),
        "seconds": score.took().map(|it| it.as_secs_f64()),
        "minimized_ops": score.minimized_ops(),
        "seeds_caught": score.seeds_caught(),
        "seeds_right": score.seeds_right(),
        "seeds": score.runs.len(),
        "good": score.verdict() == Verdict::Good,
        "runs": score.runs.iter().map(|run| json!({
            "seed": run.seed,
            "caught": run.caught,
            "scenarios": run.scenarios,
            "seconds": run.took.as_secs_f64(),
            "minimized_ops": run.minimized_ops,
            "failures": run.failures,
        })).collect::<Vec<_>>(),
    })
}

fn name(score: &Score) -> String {
    match &score.subject.mutant {
        Some(mutant) => mutant.name.clone(),
        None => "(none)".into(),
    }
}

/// What caught it, and what should have, where that is another.
fn caught(score: &Score) -> String {
    let right: Vec<String> = score
        .subject
        .right
        .iter()
        .map(ToString::to_string)
        .collect();
    match score.caught() {
        None => "nothing".into(),
        Some(it) if right.is_empty() || score.subject.right.contains(&it) => it.to_string(),
        Some(it) => format!("{it}, not {}", right.join(" or ")),
    }
}

fn seeds(score: &Score) -> String {
    format!("{} of {}", score.seeds_caught(), score.runs.len())
}

/// Up to the catch; of a kernel that has no bug all that ran.
fn scenarios(score: &Score) -> String {
    match score.subject.mutant {
        None => score.all_scenarios().to_string(),
        Some(_) => score.scenarios().map_or("-".into(), |it| it.to_string()),
    }
}

fn seconds(score: &Score) -> String {
    score
        .took()
        .map_or("-".into(), |it| format!("{:.1}", it.as_secs_f64()))
}
