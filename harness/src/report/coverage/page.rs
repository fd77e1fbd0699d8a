//! The page: one file that needs no network.

use maud::{Markup, PreEscaped, html};

use super::Report;
use super::groups::{self, Tallies};
use super::source;
use super::summary::percent;
use crate::coverage::tally::{File, Function};
use crate::coverage::{Tally, path};
use crate::report::document::Document;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A file on the page.
struct Shown<'a> {
    /// The target of links.
    id: String,
    file: &'a File,
    /// What stands in it, if that is to be had.
    text: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn new(report: &'a Report, file: &'a File, number: usize) -> Shown<'a> {
        let text = report.sources.get(&file.path);
        Shown {
            id: format!("f{number}"),
            file,
            text: text.map(String::as_str),
        }
    }

    /// The target of links to a function.
    fn target(&self, function: &Function) -> String {
        match self.text {
            Some(_) => format!("#{}-{}", self.id, function.line),
            None => format!("#{}", self.id),
        }
    }
}

/// The page, as HTML. What comes from the kernel is escaped.
pub fn page(report: &Report) -> String {
    let title = format!("What is reached of {}", report.kernel);
    let files: Vec<Shown<'_>> = report
        .coverage
        .files
        .iter()
        .zip(0..)
        .map(|(file, number)| Shown::new(report, file, number))
        .collect();
    let lead = html! {
        (introduction(report))
        label class="search" {
            "Show only what has in its name "
            input id="search" type="search" placeholder="tcp_, fs/splice.c, …";
        }
    };
    let body = html! {
        main {
            (folders(report))
            (file_table(&files))
            (missed(&files))
            (partly(&files))
            h2 { "Source" }
            p class="note" {
                "Marked are the lines at which a block begins: "
                span class="sample r" { "reached" } ", "
                span class="sample n" { "never reached" }
                ". In a lighter shade, lines with code of a block that begins elsewhere; "
                "the compiler moves code about, so they are not counted. Of other lines "
                "nothing is known, or they have no code."
            }
            @for it in &files { (section(it)) }
        }
    };
    let document = Document {
        kind: "inflight coverage",
        title: &title,
        style: STYLE,
        script: SCRIPT,
        refresh_s: None,
    };
    document.page(&lead, &body)
}

fn introduction(report: &Report) -> Markup {
    let all = Tallies::all(&report.coverage);
    html! {
        p {
            (report.runs()) " reached " (all.functions.reached) " of "
            (all.functions.total) " functions, " (all.lines.reached) " of " (all.lines.total)
            " lines and " (all.blocks.reached) " of " (all.blocks.total)
            " blocks of the code that is instrumented. Counted are tasks and softirqs, from a "
            "scenario’s connection to the end of its streams."
        }
    }
}

fn folders(report: &Report) -> Markup {
    html! {
        h2 { "By folder" }
        table {
            thead { tr { th { "folder" } (tally_headings()) } }
            tbody {
                @for (name, it) in groups::folders(&report.coverage) {
                    tr { td { code { (name) } } (tallies(it)) }
                }
            }
        }
    }
}

fn file_table(files: &[Shown<'_>]) -> Markup {
    html! {
        details {
            summary { "By file (" (files.len()) ")" }
            table class="searched" {
                thead { tr { th { "file" } (tally_headings()) } }
                tbody {
                    @for it in files {
                        tr {
                            td { a href={ "#" (it.id) } { code { (it.file.path) } } }
                            (tallies(Tallies::of(it.file)))
                        }
                    }
                }
            }
        }
    }
}

fn tally_headings() -> Markup {
    html! {
        @for heading in ["functions", "lines", "blocks"] {
            th class="number" { (heading) }
            th class="number" { "%" }
        }
    }
}

fn tallies(it: Tallies) -> Markup {
    html! {
        @for tally in [it.functions, it.lines, it.blocks] {
            (count(tally))
            td class="number" data-sort=(tally.share()) {
                (bar(tally)) span class="percent" { (percent(tally)) }
            }
        }
    }
}

fn count(tally: Tally) -> Markup {
    html! {
        td class="number" data-sort=(tally.total) { (tally.reached) " of " (tally.total) }
    }
}

fn bar(tally: Tally) -> Markup {
    let width = format!("{:.0}%", tally.share() * 100.0);
    html! { span class="bar" aria-hidden="true" { span style={ "width:" (width) } {} } }
}

/// All functions with the files that they stand in.
fn functions<'a>(files: &'a [Shown<'a>]) -> impl Iterator<Item = (&'a Shown<'a>, &'a Function)> {
    let of = |shown: &'a Shown<'a>| shown.file.functions.iter().map(move |it| (shown, it));
    files.iter().flat_map(of)
}

fn missed(files: &[Shown<'_>]) -> Markup {
    let missed: Vec<_> = functions(files).filter(|(_, it)| !it.reached).collect();
    let (mut way, mut others): (Vec<_>, Vec<_>) = missed
        .into_iter()
        .partition(|(shown, it)| path::is_on(&shown.file.path, &it.name));
    for list in [&mut way, &mut others] {
        list.sort_by_key(|(_, it)| std::cmp::Reverse(it.blocks.total));
    }
    html! {
        (missed_table("Functions of the send path that were never reached", &way, true))
        (missed_table("Other functions that were never reached", &others, false))
    }
}

fn missed_table(title: &str, list: &[(&Shown<'_>, &Function)], open: bool) -> Markup {
    html! {
        details open[open] {
            summary { (title) " (" (list.len()) ")" }
            div class="scroll" {
                table class="searched" {
                    thead {
                        tr { th { "function" } th { "file" } th class="number" { "blocks" } }
                    }
                    tbody {
                        @for (shown, function) in list {
                            tr {
                                (named(shown, function))
                                td class="number" { (function.blocks.total) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn partly(files: &[Shown<'_>]) -> Markup {
    let is_partly = |it: &Function| it.reached && it.blocks.reached < it.blocks.total;
    let mut list: Vec<_> = functions(files).filter(|(_, it)| is_partly(it)).collect();
    let missed = |it: &Function| it.lines.total - it.lines.reached;
    list.sort_by_key(|(_, it)| std::cmp::Reverse(missed(it)));
    html! {
        details {
            summary { "Functions that were partly reached (" (list.len()) ")" }
            div class="scroll" {
                table class="searched" {
                    thead {
                        tr {
                            th { "function" } th { "file" }
                            th class="number" { "lines" } th class="number" { "%" }
                            th class="number" { "blocks" } th class="number" { "%" }
                        }
                    }
                    tbody {
                        @for (shown, function) in &list {
                            tr {
                                (named(shown, function))
                                @for tally in [function.lines, function.blocks] {
                                    (count(tally))
                                    td class="number" data-sort=(tally.share()) {
                                        (percent(tally))
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

fn named(shown: &Shown<'_>, function: &Function) -> Markup {
    html! {
        td { a href=(shown.target(function)) { code { (function.name) } } }
        td { code { (shown.file.path) ":" (function.line) } }
    }
}

fn section(shown: &Shown<'_>) -> Markup {
    let Shown { id, file, text } = shown;
    let lines = file.line_tally();
    html! {
        details class="source searched" id=(id) {
            summary {
                code { (file.path) } " "
                span class="note" { (bar(lines)) " " (lines.reached) " of " (lines.total) " lines" }
            }
            @match text {
                Some(text) => pre { (PreEscaped(source::lines(file, id, text))) },
                None => p class="note" { "The source is not there." },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;

    #[test]
    fn what_comes_from_the_kernel_is_text() {
        let mut report = report();
        report.kernel = "<b>".into();
        report.coverage.files[0].path = "net/<i>.c".into();
        report.coverage.files[0].functions[0].name = "a<script>".into();
        let page = page(&report);
        for bad in ["<b>", "<i>.c", "a<script>"] {
            assert!(!page.contains(bad), "{bad}");
        }
        for good in ["&lt;b&gt;", "net/&lt;i&gt;.c", "a&lt;script&gt;"] {
            assert!(page.contains(good), "{good}");
        }
    }

    #[test]
    fn it_needs_nothing_from_elsewhere_and_its_links_lead_somewhere() {
        // Of one file there is the text.
        let mut report = report();
        let text: String = (1..=60).map(|it| format!("line {it}\n")).collect();
        report.sources.insert("fs/splice.c".into(), text);
        let page = page(&report);
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("href=\"#f0-10\"") && page.contains("href=\"#f1\""));
        for link in page.split("href=\"#").skip(1) {
            let target = link.split('"').next().unwrap_or_default();
            let [quoted, bare] = [format!("id=\"{target}\""), format!("id={target}>")];
            assert!(page.contains(&quoted) || page.contains(&bare), "{target}");
        }
    }
}
