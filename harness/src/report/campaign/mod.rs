//! What many units came to: for a terminal, for programs, and as a page.

mod page;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::campaign::merge::{Cause, Merged, progress};
use crate::campaign::score::Score;
use crate::campaign::unit::score::Looked;
use crate::campaign::unit::{Found, Work};
use crate::fuzz::record::State;
use crate::kernel::Machine;
use crate::report::chart::{number, time};
use crate::report::finding::{self, Origin};
use crate::report::table::Table;
use crate::scenario::text;
pub use page::page;

/// The folder of the findings, one a cause, from that of the campaign.
pub const FINDINGS: &str = "findings";

/// The folder of what a fuzzer's corpus reaches of the kernel's code, likewise.
pub const COVERAGE: &str = "coverage";

/// The file of a cause, from the campaign's folder.
pub fn file_of(cause: &Cause<'_>) -> String {
    format!("{FINDINGS}/{}.scn", cause.name)
}

/// The smallest scenario of a cause, as a file that can be replayed.
pub fn render(found: &Found) -> String {
    let rendered = match found.kernel.parse() {
        Ok(kernel) => finding::render(
            &found.finding,
            &Origin {
                kernel: &kernel,
                machine: Machine::Uml,
                seed: Some(found.seed),
            },
        ),
        // Of an inflight that knows other kernels.
        Err(_) => found.finding.minimized.clone(),
    };
    match (found.state, text::parse("finding", &rendered)) {
        (State::Lost, Ok(mut scenario)) => {
            // Nobody can expect it.
            scenario.expects.clear();
            scenario.to_string()
        }
        _ => rendered,
    }
}

/// What there is to be known of how far a finding has come.
fn remark(found: &Found) -> Option<&'static str> {
    match found.state {
        State::New => Some("not made smaller"),
        State::Lost => Some("not seen again"),
        State::Smaller => None,
    }
}

/// A score a kernel, of what units of a score came to; those of another campaign, time or
/// program are others.
pub fn scores(merged: &Merged) -> Vec<Score> {
    let mut all: BTreeMap<(String, &str), Vec<&Looked>> = BTreeMap::new();
    for done in merged.units() {
        for looked in &done.runs {
            let series = all.entry((done.unit.series(), &looked.kernel));
            series.or_default().push(looked);
        }
    }
    let score = |runs: Vec<&Looked>| {
        let subject = runs.first()?.subject()?;
        let runs = runs.iter().map(|it| it.run.clone()).collect();
        Some(Score::new(subject, runs))
    };
    all.into_values().filter_map(score).collect()
}

/// The tables.
pub fn human(merged: &Merged) -> String {
    let headings = [
        "kernel",
        "mode",
        "contract",
        "seed",
        "units",
        "scenarios",
        "per second",
        "took",
    ];
    let mut table = Table::new(headings, &[3, 4, 5, 6, 7]);
    for it in progress::series(merged) {
        if let Work::Smaller { .. } = it.unit.work {
            continue;
        }
        let wall_s = it.ended_unix_ms.saturating_sub(it.begun_unix_ms) as f64 / 1000.0;
        table.row([
            it.unit.kernel.clone(),
            it.unit.work.mode().into(),
            it.unit.contract.to_string(),
            it.unit.seed.to_string(),
            format!("{} of {}", it.done, it.of),
            number(it.scenarios),
            format!("{:.0}", it.rate()),
            time(wall_s),
        ]);
    }
    let mut text = table.to_string();
    let causes = merged.causes();
    if !causes.is_empty() {
        let headings = [
            "violates", "kernels", "seen", "ops", "findings", "units", "scenario",
        ];
        let mut table = Table::new(headings, &[2, 3, 4, 5]);
        for cause in &causes {
            let finding = &cause.smallest.finding;
            let expected = match cause.is_expected {
                true => " (as expected)",
                false => " (NOT EXPECTED)",
            };
            let kernels: Vec<&str> = cause.kernels.iter().copied().collect();
            let remark = remark(cause.smallest).map(|it| format!(", {it}"));
            table.row([
                format!("{}{expected}", cause.property),
                kernels.join(", "),
                format!(
                    "{} of {}{}",
                    finding.seen,
                    finding.of,
                    remark.unwrap_or_default()
                ),
                finding.steps_after.to_string(),
                cause.findings.to_string(),
                cause.units.to_string(),
                file_of(cause),
            ]);
        }
        let _ = write!(text, "\n{table}");
    }
    for (bug, times) in excused(merged) {
        let _ = writeln!(
            text,
            "{} scenarios met a known bug, see {}",
            number(times),
            bug.corpus()
        );
    }
    text
}

fn excused(merged: &Merged) -> BTreeMap<crate::campaign::known::Bug, u64> {
    let mut all = BTreeMap::new();
    for (bug, times) in merged.units().flat_map(|it| &it.excused) {
        *all.entry(*bug).or_default() += times;
    }
    all
}

/// One object a cause, then one a kernel.
pub fn lines_of_json(merged: &Merged) -> String {
    let mut text = String::new();
    for cause in merged.causes() {
        let finding = &cause.smallest.finding;
        let line = json!({
            "cause": cause.name,
            "violated": cause.property,
            "as_expected": cause.is_expected,
            "kernels": cause.kernels,
            "findings": cause.findings,
            "units": cause.units,
            "state": cause.smallest.state,
            "seen": finding.seen,
            "of": finding.of,
            "minimized_ops": finding.steps_after,
            "message": finding.message,
            "file": file_of(&cause),
        });
        let _ = writeln!(text, "{line}");
    }
    for it in progress::series(merged) {
        let line = json!({
            "series": it.unit.series(),
            "mode": it.unit.work.mode(),
            "kernel": it.unit.kernel,
            "key": it.unit.key,
            "contract": it.unit.contract,
            "seed": it.unit.seed,
            "units": it.done,
            "of": it.of,
            "scenarios": it.scenarios,
            "left_out": it.left_out,
            "scenarios_per_second": it.rate(),
            "virtual_seconds": it.virtual_ns as f64 / 1e9,
            "nodes": it.nodes,
            "pairs": it.exercised.pairs(),
            "fuzz_features": it.fuzz_features,
        });
        let _ = writeln!(text, "{line}");
    }
    text
}
