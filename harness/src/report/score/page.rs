//! The page.

use std::time::Duration;

use maud::{Markup, html};

use super::{Setting, caught, name, scenarios, seconds, seeds, sum, word};
use crate::campaign::score::{Run, Score, Verdict};
use crate::report::document::Document;

/// The page, as HTML, with a bar a mutant: how long it took until the median seed caught it,
/// and a mark for each seed. What comes from patches is escaped.
pub fn page(scores: &[&Score], setting: &Setting) -> String {
    let lead = html! {
        p { (sum(scores, setting)) "." }
        p class="note" {
            "Each mutant is the patched kernel with one bug put in. It was looked for by "
            code { (setting.mode) } " from " (setting.seeds) " seeds, each for "
            (setting.time.as_secs()) " s on one CPU, "
            @match setting.corpora {
                0 => "from nothing",
                _ => "from a corpus",
            }
            ". A bar ends where the "
            "median seed caught it; each mark is a seed. The scale is logarithmic."
        }
        p class="note" { code { (setting.command) } }
    };
    let body = html! {
        main {
            (axis(setting.time))
            @for score in scores { (row(score, setting.time)) }
        }
    };
    let document = Document {
        kind: "inflight score",
        title: "How many bugs are found",
        style: include_str!("style.css"),
        script: "",
        refresh_s: None,
    };
    document.page(&lead, &body)
}

fn axis(limit: Duration) -> Markup {
    let ticks = [0.01, 0.1, 1.0, 10.0, 60.0, 600.0];
    let last = limit.as_secs_f64();
    html! {
        div class="row axis" {
            span {}
            div class="track" {
                @for at in ticks.into_iter().filter(|it| *it <= last) {
                    span class="tick" style={ "left:" (place(at, limit)) "%" } { (at) " s" }
                }
            }
        }
    }
}

fn row(score: &Score, limit: Duration) -> Markup {
    let verdict = score.verdict();
    let class = match verdict {
        Verdict::Good => "row good",
        _ => "row bad",
    };
    let took = score.subject.mutant.as_ref().and(score.took());
    let bar = took.map(|it| place(it.as_secs_f64(), limit));
    html! {
        details class=(class) {
            summary {
                span class="name" { (name(score)) small { (score.subject.kernel) } }
                div class="track" {
                    @if let Some(bar) = bar { span class="bar" style={ "width:" (bar) "%" } {} }
                    @for mark in score.runs.iter().filter_map(|it| mark(it, limit)) { (mark) }
                }
                span class="said" {
                    (caught(score)) ", " (seeds(score))
                    @if verdict != Verdict::Good { " " strong { (word(verdict)) } }
                }
            }
            dl {
                @if let Some(mutant) = &score.subject.mutant {
                    dt { "what" } dd { (mutant.subject) }
                    @if !mutant.symptom.is_empty() { dt { "symptom" } dd { (mutant.symptom) } }
                    dt { "right" }
                    dd {
                        (score.subject.right.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
                    }
                }
                dt { "scenarios" } dd { (scenarios(score)) }
                dt { "seconds" } dd { (seconds(score)) }
                dt { "smallest" }
                dd { (score.minimized_ops().map_or("-".into(), |it| format!("{it} ops"))) }
                @for run in &score.runs {
                    @for failure in &run.failures { dt { "failed" } dd { (failure) } }
                }
            }
        }
    }
}

/// Nothing for a seed that caught nothing.
fn mark(run: &Run, limit: Duration) -> Option<Markup> {
    let property = run.caught?;
    let seconds = run.took.as_secs_f64();
    let says = format!(
        "seed {}: {property} in {} scenarios, {seconds:.2} s",
        run.seed, run.scenarios
    );
    Some(html! {
        span class="mark" title=(says) style={ "left:" (place(seconds, limit)) "%" } {}
    })
}

/// Where a time stands between a hundredth of a second and the limit, in percent, by its
/// logarithm.
fn place(seconds: f64, limit: Duration) -> f64 {
    let first = 0.01_f64;
    let last = limit.as_secs_f64().max(1.0);
    let share = (seconds.max(first) / first).ln() / (last / first).ln();
    (share.clamp(0.0, 1.0) * 1000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_goes_from_a_hundredth_to_the_limit() {
        let minute = Duration::from_secs(60);
        assert_eq!(place(0.0, minute), 0.0);
        assert_eq!(place(0.01, minute), 0.0);
        assert_eq!(place(60.0, minute), 100.0);
        assert_eq!(place(90.0, minute), 100.0);
        // As far from the one as from the other.
        assert_eq!(place(0.6_f64.sqrt(), minute), 50.0);
    }
}
