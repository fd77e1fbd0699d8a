//! A scenario as a page to look at: what happened on each kernel, as a chart in which
//! time goes down. One file that needs no network.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `events` | what happened, from a history and a capture: marks of the chart, rows of the table |
//! | `order` | what came first at one instant |
//! | `packets` | packets, put together to journeys through the link |
//! | `head` | what the headers of a packet say |
//! | `bytes` | which generations bytes show |
//! | `scale` | time as height, the same for all kernels |
//! | `lanes` | what stands beside what |
//! | `draw` | the chart |
//! | `wire` | its lane of the link |
//! | `table`, `text` | the same in words |

mod bytes;
mod draw;
mod events;
mod head;
mod lanes;
mod order;
mod packets;
mod scale;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod wire;

use maud::{Markup, html};

pub use self::scale::time;
pub use self::text::text;

use self::events::Story;
use self::lanes::Lanes;
use self::scale::Scale;
use super::Run;
use crate::report::document::Document;
use crate::scenario::{Expected, Scenario};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page, as HTML. What comes from the scenario and the kernels is escaped.
pub fn page(scenario: &Scenario, runs: &[Run]) -> String {
    let stories: Vec<Story<'_>> = runs.iter().map(|run| Story::new(scenario, run)).collect();
    let (title, prose) = words(scenario);
    let lead = html! {
        @for paragraph in &prose {
            p { (paragraph) }
        }
    };
    let body = html! {
        main {
            section class="runs verdicts" aria-label="Verdicts" {
                @for run in runs {
                    (verdict(scenario, run))
                }
            }
            details class="scenario" open[true] {
                summary { "The scenario" }
                pre { code { (without_header(scenario)) } }
            }
            @if !stories.is_empty() {
                (legend(scenario, &stories))
                (charts(&stories))
                section class="runs tables" aria-label="Events in words" {
                    @for (number, story) in stories.iter().enumerate() {
                        (table::table(number, story))
                    }
                }
            }
        }
        div id="tip" role="tooltip" hidden[true] {}
    };
    let document = Document {
        kind: "inflight timeline",
        title: &title,
        style: STYLE,
        script: SCRIPT,
        refresh_s: None,
    };
    document.page(&lead, &body)
}

/// The first sentence of the header as a title, and its other paragraphs.
fn words(scenario: &Scenario) -> (String, Vec<String>) {
    let paragraphs = scenario
        .header
        .split("\n\n")
        .map(|it| it.replace('\n', " "));
    let mut paragraphs = paragraphs.filter(|it| !it.trim().is_empty());
    match paragraphs.next() {
        Some(title) => (title, paragraphs.collect()),
        None => {
            let ops: Vec<String> = scenario
                .steps
                .iter()
                .take(4)
                .map(|it| it.to_string())
                .collect();
            (ops.join(", "), Vec::new())
        }
    }
}

fn without_header(scenario: &Scenario) -> String {
    let mut bare = scenario.clone();
    bare.header.clear();
    bare.to_string()
}

fn verdict(scenario: &Scenario, run: &Run) -> Markup {
    let expect = scenario.expects.iter().find(|it| it.is_about(&run.kernel));
    let seen = |name: &String| {
        run.violations
            .iter()
            .any(|it| it.property.to_string() == *name)
    };
    let as_expected = expect.map(|expect| match &expect.verdict {
        Expected::Either => true,
        Expected::Holds(_) => run.violations.is_empty(),
        Expected::Violates(name) => seen(name),
    });
    let note = match as_expected {
        Some(true) => ", as expected",
        Some(false) => ", which was not expected",
        None => "",
    };
    let holds = run.violations.is_empty();
    html! {
        article class={ "verdict " (if holds { "holds" } else { "violates" }) } {
            h2 { (run.kernel) }
            @if holds {
                p class="outcome" { span aria-hidden="true" { "✓ " } "holds" (note) }
                p { "Every property held." }
            }
            @for violation in &run.violations {
                p class="outcome" { span aria-hidden="true" { "✗ " } "violates " (violation.property) (note) }
                p { (violation.message) }
            }
            @if let Some(counters) = &run.history.counters {
                p class="counters" {
                    "The kernel counted: " (counters.waits) " waits, " (time(counters.wait_us.saturating_mul(1000)))
                    " in all; bytes sent by reference " (counters.referenced_bytes) ", as copies "
                    (counters.copied_bytes) ", detached " (counters.detached_bytes) "."
                }
            }
        }
    }
}

fn charts(stories: &[Story<'_>]) -> Markup {
    let lanes = Lanes::new(stories);
    let charts = stories.iter().enumerate();
    let scale = Scale::new(
        charts
            .clone()
            .flat_map(|(number, it)| draw::places(number, it))
            .collect(),
    );
    html! {
        section class="runs charts" aria-label="Charts" {
            @for (number, story) in charts {
                figure {
                    figcaption { (story.run.kernel) }
                    div class="scroll" { (draw::chart(number, story, &lanes, &scale)) }
                    @if let Some(lost) = story.run.capture.as_ref().map(|it| it.lost).filter(|it| *it > 0) {
                        p class="note" { (lost) " packets were not kept: there was no room for them." }
                    }
                }
            }
        }
    }
}

fn legend(scenario: &Scenario, stories: &[Story<'_>]) -> Markup {
    let sample = |class: &str| html! { i class={ "sample " (class) } aria-hidden="true" {} };
    let writes = scenario
        .steps
        .iter()
        .filter(|step| step.op.writes().is_some())
        .count();
    let torn = stories.iter().any(|it| !it.tears.is_empty());
    html! {
        section class="legend" aria-label="Legend" {
            p {
                "Time goes down, in virtual time and on the same scale for every kernel. Point at a mark, tap \
                 it, or walk with Tab and the arrow keys, to read its times and bytes."
            }
            ul {
                li { (sample("send")) "a call that sends, from entry to return" }
                @if writes > 0 {
                    li { (sample("write")) "a write to the file" }
                    li {
                        @for generation in 0..=writes.min(6) {
                            (sample(&format!("g{generation}")))
                        }
                        "generation of the bytes: 0 as the file was made"
                        @if writes == 1 { ", 1 the write" } @else { ", 1 the first write, and so on" }
                    }
                }
                li { (sample("waits")) "a packet waits in the queue" }
                li { (sample("bare")) "one without data: connection, acknowledgement, end" }
                @if torn {
                    li { b class="badge" { "T1" } "the write that tore bytes, and these bytes" }
                }
                li { (sample("rail")) "time to scale" }
                li { (sample("stretched")) "time stretched: nearly at once" }
                li { (sample("cut")) "time cut short" }
            }
        }
    }
}
