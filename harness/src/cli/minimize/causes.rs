//! Findings grouped by cause, for people and for programs.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;

use super::Row;
use crate::minimize::Stopped;
use crate::minimize::cause::{self, Case, Group};
use crate::report::table::Table;
use crate::scenario::{Scenario, text};

/// What the table is called, beside the scenarios.
pub(super) const FILE: &str = "causes.txt";

/// Findings with one cause.
pub(super) struct Cause {
    group: Group,
    /// The smallest scenario.
    smallest: PathBuf,
    /// The files that the scenarios were made from, in the same order.
    files: Vec<PathBuf>,
}

/// The causes of what was found.
pub(super) fn of(rows: &[Row<'_>]) -> Vec<Cause> {
    let mut found: Vec<(&Row<'_>, Scenario)> = Vec::new();
    for row in rows {
        if let Some(finding) = row.finding()
            && let Ok(scenario) = text::parse("finding", &finding.minimized)
        {
            found.push((row, scenario));
        }
    }
    let cases: Vec<Case<'_>> = found
        .iter()
        .filter_map(|(row, scenario)| {
            Some(Case {
                property: row.finding()?.property,
                scenario,
                kernel: row.kernel.name.to_string(),
            })
        })
        .collect();
    let groups = cause::group(&cases).into_iter();
    groups
        .map(|group| {
            let rows = group.cases.iter().map(|case| found[*case].0);
            Cause {
                smallest: rows
                    .clone()
                    .find_map(|row| row.output.clone())
                    .unwrap_or_default(),
                files: rows.map(|row| row.input.file.clone()).collect(),
                group,
            }
        })
        .collect()
}

/// A table of them, and below it the shape of each with the files that have it.
pub(super) fn human(causes: &[Cause]) -> String {
    let headings = ["cause", "violates", "findings", "kernels", "smallest"];
    let mut table = Table::new(headings, &[0, 2]);
    for (cause, number) in causes.iter().zip(1..) {
        table.row([
            number.to_string(),
            cause.group.property.to_string(),
            cause.files.len().to_string(),
            cause.kernels().join(", "),
            cause.smallest.display().to_string(),
        ]);
    }
    let mut text = table.to_string();
    for (cause, number) in causes.iter().zip(1..) {
        let _ = writeln!(
            text,
            "\ncause {number}, violates {}:\n",
            cause.group.property
        );
        for line in cause.group.shape.lines() {
            let _ = writeln!(text, "{}", format!("    {line}").trim_end());
        }
        text.push('\n');
        for file in &cause.files {
            let _ = writeln!(text, "  {}", file.display());
        }
    }
    text
}

impl Cause {
    fn kernels(&self) -> Vec<&str> {
        self.group.kernels.iter().map(String::as_str).collect()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "cause": self.group.shape,
            "violated": self.group.property,
            "findings": self.files.len(),
            "kernels": self.group.kernels,
            "smallest": self.smallest,
            "files": self.files,
        })
    }
}

/// Says that a result may not be the smallest, and why.
pub(super) fn stopped(stopped: Option<Stopped>) -> &'static str {
    match stopped {
        Some(Stopped::Minimal) => "",
        Some(Stopped::Budget) => ", the budget is spent",
        Some(Stopped::Interrupted) | None => ", interrupted",
    }
}
