//! The page.

use maud::{Markup, html};

use super::{COVERAGE, excused, file_of, remark, scores};
use crate::campaign::merge::progress::{self, Point, Series};
use crate::campaign::merge::{Cause, Merged};
use crate::campaign::score::Verdict;
use crate::campaign::unit::Work;
use crate::report::chart::{chart, link, number, time};
use crate::report::document::Document;
use crate::report::features;
use crate::report::score::word;

/// The page, as HTML; `is_there` tells whether a file is, by its name from the page's folder.
/// What comes from kernels is escaped.
pub fn page(merged: &Merged, is_there: &dyn Fn(&str) -> bool) -> String {
    let series = progress::series(merged);
    let (smaller, series): (Vec<_>, Vec<_>) = series
        .into_iter()
        .partition(|it| matches!(it.unit.work, Work::Smaller { .. }));
    let causes = merged.causes();
    let body = html! {
        (figures(&series, smaller.len()))
        (charts(&progress::over_time(merged)))
        (units(&series, is_there))
        (found(&causes))
        (bugs(merged))
        (known(merged))
        (exercised(&series))
    };
    let document = Document {
        kind: "inflight campaign",
        title: &title(&series),
        style: include_str!("../standing.css"),
        script: "",
        refresh_s: None,
    };
    document.page(&verdict(&series, &causes), &body)
}

fn title(series: &[Series<'_>]) -> String {
    let mut kernels: Vec<&str> = series.iter().map(|it| &*it.unit.kernel).collect();
    kernels.dedup();
    match kernels.is_empty() {
        true => "Nothing has run yet".into(),
        false => format!("Campaign on {}", kernels.join(", ")),
    }
}

fn verdict(series: &[Series<'_>], causes: &[Cause<'_>]) -> Markup {
    let surprises = causes.iter().filter(|it| !it.is_expected).count();
    let (done, of) = units_of(series);
    html! {
        p.verdict.bad[surprises > 0] {
            @match surprises {
                0 => { "Nothing found that is not expected or known" }
                1 => { "1 cause found that is not expected" }
                more => { (more) " causes found that are not expected" }
            }
            "; " (number(done)) " of " (number(of)) " units through"
        }
    }
}

fn units_of(series: &[Series<'_>]) -> (u64, u64) {
    let sum = |of: fn(&Series<'_>) -> u64| series.iter().map(of).sum();
    (sum(|it| it.done), sum(|it| it.of))
}

fn figures(series: &[Series<'_>], smaller: usize) -> Markup {
    let begun = series.iter().map(|it| it.begun_unix_ms).min().unwrap_or(0);
    let ended = series.iter().map(|it| it.ended_unix_ms).max().unwrap_or(0);
    let wall_s = ended.saturating_sub(begun) as f64 / 1000.0;
    let busy_s = series.iter().map(|it| it.busy_ms).sum::<u64>() as f64 / 1000.0;
    let scenarios: u64 = series.iter().map(|it| it.scenarios).sum();
    let per_second = |seconds: f64| match seconds > 0.0 {
        true => format!("{:.0}", scenarios as f64 / seconds),
        false => "-".into(),
    };
    let mut nodes: Vec<&str> = series
        .iter()
        .flat_map(|it| it.nodes.iter().copied())
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    let (done, of) = units_of(series);
    let figures = [
        ("units", format!("{} of {}", number(done), number(of))),
        ("scenarios", number(scenarios)),
        ("from the first to the last", time(wall_s)),
        ("scenarios a second", per_second(wall_s)),
        ("scenarios a second on one CPU", per_second(busy_s)),
        ("CPU time", time(busy_s)),
        ("machines", number(nodes.len() as u64)),
        ("findings made smaller", number(smaller as u64)),
    ];
    html! {
        dl {
            @for (name, value) in figures {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}

fn charts(points: &[Point]) -> Markup {
    let value = |of: fn(&Point) -> u64| -> Vec<(f64, f64)> {
        let first = std::iter::once((0.0, 0.0));
        let all = points.iter().map(|it| (it.at_s, of(it) as f64));
        first.chain(all).collect()
    };
    html! {
        @if !points.is_empty() {
            div.charts {
                (chart("units through", &value(|it| it.units)))
                (chart("scenarios", &value(|it| it.scenarios)))
                @if points.iter().any(|it| it.pairs > 0) {
                    (chart("pairs of features that met", &value(|it| it.pairs)))
                }
            }
        }
    }
}

fn units(series: &[Series<'_>], is_there: &dyn Fn(&str) -> bool) -> Markup {
    html! {
        h2 { "Units" }
        div.wide {
            table {
                thead {
                    tr {
                        th { "kernel" } th { "mode" } th { "contract" } th.number { "seed" }
                        th.number { "units" } th.number { "scenarios" }
                        th.number { "a second" } th.number { "virtual" } th { "machines" }
                    }
                }
                tbody {
                    @for it in series {
                        tr {
                            td {
                                (it.unit.kernel) div.more { (it.unit.key) }
                            }
                            td {
                                (it.unit.work.mode())
                                @if it.fuzz_features > 0 {
                                    div.more {
                                        (number(it.fuzz_features)) " features"
                                        @if is_there(&code(it)) {
                                            ", " a href=(link(code(it).as_ref())) { "code" }
                                        }
                                    }
                                }
                            }
                            td { (it.unit.contract) }
                            td.number { (it.unit.seed) }
                            td.number {
                                (number(it.done)) " of " (number(it.of))
                                @if !it.is_whole() {
                                    div.more { "missing: " (missing(&it.missing)) }
                                }
                            }
                            td.number {
                                (number(it.scenarios))
                                @if it.left_out > 0 {
                                    div.more { (number(it.left_out)) " left: too much was found" }
                                }
                            }
                            td.number { (format!("{:.0}", it.rate())) }
                            td.number { (time(it.virtual_ns as f64 / 1e9)) }
                            td { (it.nodes.iter().copied().collect::<Vec<_>>().join(" ")) }
                        }
                    }
                }
            }
        }
    }
}

/// What `inflight coverage` writes of a kernel, where the merge of a fuzzing campaign puts it.
fn code(series: &Series<'_>) -> String {
    format!("{COVERAGE}/{}.html", series.unit.kernel)
}

/// So many ranges are named.
const MOST_RANGES: usize = 8;

fn missing(ranges: &[(u32, u32)]) -> String {
    let named = &ranges[..ranges.len().min(MOST_RANGES)];
    let more = match ranges.len() > MOST_RANGES {
        true => ", ...",
        false => "",
    };
    progress::written(named, ", ") + more
}

fn found(causes: &[Cause<'_>]) -> Markup {
    html! {
        h2 { "Found" }
        @if causes.is_empty() {
            p.more { "Nothing." }
        } @else {
            div.wide {
                table {
                    thead {
                        tr {
                            th { "violates" } th.what { "what" } th { "kernels" }
                            th.number { "seen" } th.number { "ops" } th.number { "findings" }
                            th.number { "units" } th { "files" }
                        }
                    }
                    tbody { @for cause in causes { (row(cause)) } }
                }
            }
        }
    }
}

fn row(cause: &Cause<'_>) -> Markup {
    let finding = &cause.smallest.finding;
    let mut lines = finding.message.lines();
    let first = lines.next().unwrap_or_default();
    let more: Vec<&str> = lines.collect();
    html! {
        tr {
            td {
                (cause.property)
                @if cause.is_expected { div.more { "expected of these kernels" } }
            }
            td.what {
                (first)
                @if !more.is_empty() {
                    details { summary { "more" } div.message { (more.join("\n")) } }
                }
                @if let Some(remark) = remark(cause.smallest) { div.more { (remark) } }
                details { summary { "scenario" } div.message { (finding.minimized) } }
            }
            td { (cause.kernels.iter().copied().collect::<Vec<_>>().join(", ")) }
            td.number { (finding.seen) " of " (finding.of) }
            td.number { (finding.steps_after) }
            td.number { (number(cause.findings)) }
            td.number { (number(cause.units)) }
            td {
                a href=(link(file_of(cause).as_ref())) { "scenario" }
                @if cause.smallest.log.is_some() {
                    " " a href=(link(format!("{}.log", file_of(cause)).as_ref())) { "log" }
                }
            }
        }
    }
}

fn bugs(merged: &Merged) -> Markup {
    let scores = scores(merged);
    html! {
        @if !scores.is_empty() {
            h2 { "Bugs that were put in" }
            div.wide {
                table {
                    thead {
                        tr {
                            th { "kernel" } th { "caught by" } th.number { "seeds" }
                            th.number { "scenarios" } th.number { "seconds" } th { "" }
                        }
                    }
                    tbody {
                        @for it in &scores {
                            tr {
                                td { (it.subject.kernel) }
                                td { (it.caught().map_or("nothing".into(), |it| it.to_string())) }
                                td.number { (it.seeds_caught()) " of " (it.runs.len()) }
                                td.number { (it.scenarios().map_or("-".into(), number)) }
                                td.number {
                                    (it.took().map_or("-".into(), |it| format!("{:.1}", it.as_secs_f64())))
                                }
                                td.bad[it.verdict() != Verdict::Good] { (word(it.verdict())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn known(merged: &Merged) -> Markup {
    let excused = excused(merged);
    html! {
        @if !excused.is_empty() {
            h2 { "Known bugs" }
            ul {
                @for (bug, times) in &excused {
                    li { (number(*times)) " scenarios met the one of " (bug.corpus()) }
                }
            }
        }
    }
}

fn exercised(series: &[Series<'_>]) -> Markup {
    let mut all = crate::scenario::features::Exercised::default();
    let mut is_whole = true;
    for it in series {
        is_whole &= it.exercised.cases == 0 || all.add(&it.exercised);
    }
    let counts = features::counts(&all);
    html! {
        @if all.cases > 0 {
            h2 { "What the scenarios exercised" }
            @if counts.is_empty() || !is_whole {
                p.more { "Some units were run by an inflight that generates other scenarios; they are not counted here." }
            }
            details {
                summary { (number(all.pairs())) " pairs of features met; how often each feature was there" }
                div.wide {
                    table {
                        tbody {
                            @for (group, features) in counts {
                                tr {
                                    td { (group) }
                                    td {
                                        @for (name, times) in features {
                                            (name) " " (number(times)) "; "
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
