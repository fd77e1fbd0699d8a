//! How a campaign stands, for people: one file, which a browser reads again by itself.

use maud::{Markup, html};

use super::status::{Cause, Point, Status};
use crate::report::chart::{chart, link};
pub(crate) use crate::report::chart::{number, time};
use crate::report::document::Document;

/// What it is called.
pub const FILE: &str = "status.html";
/// From one reading to the next.
const REFRESH_S: u32 = 10;

/// The page.
pub(super) fn of(status: &Status) -> String {
    let body = html! {
        (figures(status))
        (charts(&status.series.points))
        (causes(&status.causes))
        (known(status))
        (workers(status))
        footer {
            "Session " (status.sessions) ", --seed " (status.seed) ". The same figures for \
             programs: " a href="status.json" { "status.json" } "."
            @if status.is_running { " This page reads itself again every 10 s." }
        }
    };
    let document = Document {
        kind: "inflight fuzz",
        title: &format!("{} held to the contract {}", status.kernel, status.contract),
        style: include_str!("../../report/standing.css"),
        script: "",
        refresh_s: status.is_running.then_some(REFRESH_S),
    };
    document.page(&verdict(status), &body)
}

fn verdict(status: &Status) -> Markup {
    let surprises = status.surprises().count();
    let state = match (status.is_running, status.remaining_s) {
        (false, _) => "not running".to_owned(),
        (true, Some(left)) => format!("running, {} left", time(left)),
        (true, None) => "running".to_owned(),
    };
    html! {
        p.verdict.bad[surprises > 0] {
            @match surprises {
                0 => { "Nothing found that is not expected or known" }
                1 => { "1 cause found that is not expected" }
                more => { (more) " causes found that are not expected" }
            }
            "; " (state)
        }
    }
}

fn figures(status: &Status) -> Markup {
    let figures = [
        ("elapsed", time(status.elapsed_s)),
        ("executions", number(status.executions)),
        (
            "executions a second",
            format!("{:.0}", status.executions_per_s),
        ),
        ("features", number(status.features)),
        ("corpus files", number(status.corpus_files)),
        (
            "corpus",
            format!("{} KiB", number(status.corpus_bytes >> 10)),
        ),
        ("restarts", number(status.restarts)),
        ("kernels that died or hung", number(status.deaths)),
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
        points.iter().map(|it| (it.at_s, of(it) as f64)).collect()
    };
    html! {
        div.charts {
            (chart("executions a second", &rates(points)))
            (chart("features", &value(|it| it.features)))
            (chart("corpus files", &value(|it| it.corpus_files)))
            (chart("causes", &value(|it| it.causes)))
        }
    }
}

/// From each point to the next.
fn rates(points: &[Point]) -> Vec<(f64, f64)> {
    let pairs = points.windows(2).filter(|it| it[1].at_s > it[0].at_s);
    pairs
        .map(|it| {
            let inputs = it[1].executions.saturating_sub(it[0].executions);
            (it[1].at_s, inputs as f64 / (it[1].at_s - it[0].at_s))
        })
        .collect()
}

fn causes(causes: &[Cause]) -> Markup {
    html! {
        h2 { "Found" }
        @if causes.is_empty() {
            p.more { "Nothing yet." }
        } @else {
            div.wide {
                table {
                    thead {
                        tr {
                            th { "violates" } th.what { "what" } th.number { "seen" }
                            th.number { "ops" } th.number { "findings" } th { "files" }
                        }
                    }
                    tbody { @for cause in causes { (row(cause)) } }
                }
            }
        }
    }
}

fn row(cause: &Cause) -> Markup {
    let mut lines = cause.message.lines();
    let first = lines.next().unwrap_or_default();
    let more: Vec<&str> = lines.collect();
    html! {
        tr {
            td {
                (cause.property)
                @if cause.is_expected { div.more { "expected of this kernel" } }
            }
            td.what {
                (first)
                @if !more.is_empty() {
                    details { summary { "more" } div.message { (more.join("\n")) } }
                }
                @if let Some(remark) = cause.remark() { div.more { (remark) } }
            }
            td.number { (cause.seen) " of " (cause.of) }
            td.number { (cause.ops) }
            td.number { (cause.findings) }
            td {
                a href=(link(&cause.file)) { "scenario" }
                @if let Some(log) = &cause.log { " " a href=(link(log)) { "log" } }
            }
        }
    }
}

fn known(status: &Status) -> Markup {
    html! {
        @if !status.violations.is_empty() || !status.excused.is_empty() {
            h2 { "How often" }
            ul {
                @for (property, times) in &status.violations {
                    li { (number(*times)) " inputs broke " (property) }
                }
                @for (bug, times) in &status.excused {
                    li { (number(*times)) " inputs met a known bug, see " (bug.corpus()) }
                }
            }
        }
    }
}

fn workers(status: &Status) -> Markup {
    html! {
        h2 { "Workers" }
        div.wide {
            table {
                thead {
                    tr {
                        th { "worker" } th { "state" } th.number { "executions" }
                        th.number { "features" } th.number { "restarts" } th { "prints" }
                    }
                }
                tbody {
                    @for it in &status.workers {
                        tr {
                            td { (it.number) }
                            td { (it.doing) }
                            td.number { (number(it.executions)) }
                            td.number { (number(it.features)) }
                            td.number { (number(it.restarts)) }
                            td { a href=(link(&it.log)) { "log" } }
                        }
                    }
                }
            }
        }
        @if !status.failures.is_empty() {
            h2 { "Went wrong apart from the kernel" }
            ul { @for failure in &status.failures { li { (failure) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz::record::State;
    use crate::oracle::{Contract, Property};

    fn status() -> Status {
        let mut status = Status::new("6.12-stock-kcov", Contract::Stable);
        for second in [0_u32, 10, 20] {
            status.elapsed_s = second.into();
            status.executions = u64::from(second) * 150;
            status.features = 60_000 + u64::from(second);
            status.note_point();
        }
        status
    }

    fn cause(message: &str) -> Cause {
        Cause {
            property: Property::Wire,
            is_expected: false,
            state: State::Smaller,
            findings: 2,
            seen: 10,
            of: 10,
            ops: 2,
            message: message.into(),
            file: "findings/wire-1#2.scn".into(),
            log: Some("findings/wire-1#2.log".into()),
            misses: 0,
        }
    }

    #[test]
    fn what_a_kernel_says_is_text_and_nothing_else() {
        let mut status = status();
        status.causes = vec![cause("<script>alert(1)</script> & \"so on\"\n<b>more</b>")];
        status.failures = vec!["<img src=x>".into()];
        let page = of(&status);
        for word in ["<script", "<b>", "<img"] {
            assert!(!page.contains(word), "{word}: {page}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp;"));
        assert!(page.contains("href=\"findings/wire-1%232.scn\""), "{page}");
    }

    #[test]
    fn the_page_stands_alone_and_refreshes_only_while_somebody_works() {
        let mut status = status();
        status.is_running = true;
        let page = of(&status);
        assert!(page.contains("http-equiv=\"refresh\""));
        for outside in ["http://", "https://", "<link", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
        status.is_running = false;
        assert!(!of(&status).contains("http-equiv"));
    }

    #[test]
    fn the_verdict_tells_surprises_from_what_is_expected() {
        let mut status = status();
        assert!(of(&status).contains("Nothing found"));
        status.causes = vec![cause("torn")];
        assert!(of(&status).contains("1 cause found"));
        status.causes[0].is_expected = true;
        let page = of(&status);
        assert!(page.contains("Nothing found") && page.contains("expected of this kernel"));
    }

    #[test]
    fn a_rate_is_that_from_one_point_to_the_next() {
        let rates = rates(&status().series.points);
        assert_eq!(rates, [(10.0, 150.0), (20.0, 150.0)]);
    }
}
