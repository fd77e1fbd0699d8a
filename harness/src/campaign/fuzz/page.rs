//! How a campaign stands, for people: one file, which a browser reads again by itself.

use std::time::Duration;

use maud::{Markup, html};

use super::status::{Cause, Point, Status};
use crate::report::document::Document;

/// What it is called.
pub const FILE: &str = "status.html";
/// From one reading to the next.
const REFRESH_S: u32 = 10;
/// How wide and high a chart is, in units of its own: it is stretched to its place.
const CHART: (f64, f64) = (1000.0, 100.0);

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
        style: include_str!("page.css"),
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

/// One curve, from nothing up to its largest value.
fn chart(name: &str, points: &[(f64, f64)]) -> Markup {
    let (width, height) = CHART;
    let most = points.iter().fold(1.0, |most: f64, it| most.max(it.1));
    let end = points.last().map_or(1.0, |it| it.0).max(1.0);
    let place = |(at, value): &(f64, f64)| {
        let (x, y) = (at / end * width, height - value / most * height);
        format!("{x:.1},{y:.1}")
    };
    let curve = points.iter().map(place).collect::<Vec<_>>().join(" ");
    let first = points.first().map_or(0.0, |it| it.0 / end * width);
    let last = points.last().map_or(0.0, |it| it.1);
    let said = format!("{name} over time, {} in the end", number(last as u64));
    html! {
        figure {
            figcaption { (name) span { (number(last as u64)) } }
            svg viewBox={ "0 0 " (width) " " (height) } preserveAspectRatio="none" role="img"
                aria-label=(said) {
                @for part in [0.0, 0.5, 1.0] {
                    line.grid x1="0" x2=(width) y1=(part * height) y2=(part * height) {}
                }
                @if !points.is_empty() {
                    polygon.area points={ (format!("{first:.1}")) "," (height) " " (curve) " "
                        (width) "," (height) } {}
                    polyline.curve points=(curve) {}
                }
            }
            div.axis {
                span { "0 to " (number(most as u64)) }
                span { (time(end)) }
            }
        }
    }
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

/// Our own names need no escapes but for what a browser takes for a part of an address.
fn link(path: &std::path::Path) -> String {
    let text = path.to_string_lossy();
    text.replace('%', "%25")
        .replace('#', "%23")
        .replace('?', "%3F")
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

/// With a comma every three digits.
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The two largest units.
pub(crate) fn time(seconds: f64) -> String {
    let whole = Duration::try_from_secs_f64(seconds).map_or(0, |it| it.as_secs());
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, seconds) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
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
    fn a_curve_runs_from_corner_to_corner() {
        let points = [(0.0, 0.0), (5.0, 10.0), (10.0, 20.0)];
        let chart = chart("features", &points).into_string();
        assert!(
            chart.contains("points=\"0.0,100.0 500.0,50.0 1000.0,0.0\""),
            "{chart}"
        );
        // Of nothing there is no curve, and no division by it.
        let none = super::chart("features", &[]).into_string();
        assert!(
            !none.contains("NaN") && !none.contains("polyline"),
            "{none}"
        );
        let rates = rates(&status().series.points);
        assert_eq!(rates, [(10.0, 150.0), (20.0, 150.0)]);
    }

    #[test]
    fn numbers_and_times_are_for_people() {
        let numbers = [0, 999, 1000, 65_987, 1_234_567].map(number);
        assert_eq!(numbers, ["0", "999", "1,000", "65,987", "1,234,567"]);
        let times = [0.4, 59.0, 61.0, 3_725.0, 90_000.0, f64::NAN].map(time);
        let expected = ["0 s", "59 s", "1 min 1 s", "1 h 2 min", "1 d 1 h", "0 s"];
        assert_eq!(times, expected);
    }
}
