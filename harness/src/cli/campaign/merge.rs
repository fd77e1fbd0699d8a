//! `inflight campaign merge`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;

use crate::campaign::merge::{Cause, Merged};
use crate::campaign::unit::Work;
use crate::campaign::unit::store::Store;
use crate::cli::format::{Format, note, print};
use crate::cli::{Failure, Status, usage};
use crate::report::campaign as report;
use crate::report::finding::HISTORY_SUFFIX;
use crate::report::score::{self, Setting};
use crate::report::whole;

/// The page.
pub(super) const PAGE: &str = "index.html";

pub(super) fn run(dirs: &[PathBuf], out: &Path, format: Format) -> Result<Status, Failure> {
    let mut merged = Merged::default();
    let store = Store::open(out)?;
    for dir in dirs {
        if !dir.is_dir() {
            return Err(usage(anyhow!("{}: there is no such folder", dir.display())));
        }
        merged.merge(Merged::read(&Store::at(dir))?);
    }
    // What was merged there before is not lost.
    merged.merge(Merged::read(&store)?);
    merged.write(&store)?;
    publish(&merged, out).map_err(|error| {
        Failure::new(
            Status::Missing,
            anyhow!("cannot write to --out {}: {error}", out.display()),
        )
    })?;
    print(&match format {
        Format::Human => report::human(&merged),
        Format::Json => report::lines_of_json(&merged),
    })?;
    note(format_args!("the page: {}", out.join(PAGE).display()));
    Ok(if merged.causes().iter().any(|it| !it.is_expected) {
        Status::Violated
    } else if merged.units().len() == 0 {
        Status::NothingRan
    } else {
        Status::Held
    })
}

/// Writes what is for people: the page, and each cause as a scenario.
pub(in crate::cli) fn publish(merged: &Merged, out: &Path) -> std::io::Result<()> {
    let findings = out.join(report::FINDINGS);
    std::fs::create_dir_all(&findings)?;
    let causes = merged.causes();
    sweep(&findings, &causes)?;
    for cause in causes {
        let found = cause.smallest;
        let name = format!("{}.scn", cause.name);
        whole::write(&findings, &name, report::render(found).as_bytes())?;
        if let Some(log) = &found.log {
            whole::write(&findings, format!("{name}.log"), log.as_bytes())?;
        }
        if let Some(history) = &found.finding.history {
            let name = format!("{name}{HISTORY_SUFFIX}");
            whole::write(&findings, name, &serde_json::to_vec(history)?)?;
        }
    }
    let scores = report::scores(merged);
    if !scores.is_empty() {
        let scores: Vec<_> = scores.iter().collect();
        let setting = setting(merged);
        let page = score::page(&scores, &setting);
        whole::write(out, "score.html", page.as_bytes())?;
        let line = |it: &&_| format!("{}\n", score::json(it, &setting));
        let lines: String = scores.iter().map(line).collect();
        whole::write(out, "score.jsonl", lines.as_bytes())?;
    }
    whole::write(
        out,
        PAGE,
        report::page(merged, &|it| out.join(it).is_file()).as_bytes(),
    )?;
    Ok(())
}

/// Removes what an earlier merge has written of causes that are others by now.
fn sweep(findings: &Path, causes: &[Cause<'_>]) -> std::io::Result<()> {
    for entry in std::fs::read_dir(findings)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some((stem, _)) = name.split_once(".scn") else {
            continue;
        };
        if !name.starts_with('.') && !causes.iter().any(|it| it.name == stem) {
            match std::fs::remove_file(entry.path()) {
                // Somebody else has.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// As of the units of a score, which have it in common.
fn setting(merged: &Merged) -> Setting {
    let mut setting = Setting {
        mode: "check",
        time: Duration::ZERO,
        seeds: 0,
        mutants: 0,
        corpora: 0,
        command: "inflight campaign merge".into(),
    };
    for done in merged.units() {
        if let Work::Score {
            mutants,
            seeds,
            time_ms,
            by,
            ..
        } = &done.unit.work
        {
            setting.seeds = *seeds;
            setting.mutants = mutants.len();
            setting.time = Duration::from_millis(*time_ms);
            setting.mode = match &**by {
                "check" => "check",
                _ => "fuzz",
            };
        }
    }
    setting
}
