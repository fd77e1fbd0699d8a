//! Lines of source, with what was reached of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::coverage::tally::File;

/// So many lines around one that can be reached are shown.
const AROUND: u32 = 10;

/// What is known of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Reached,
    Missed,
    /// It has code of a block that begins elsewhere.
    Through,
    MissedThrough,
    /// It is one of several that are left out.
    LeftOut,
}

impl Known {
    fn class(self) -> &'static str {
        match self {
            Known::Nothing => "",
            Known::Reached => " class=r",
            Known::Missed => " class=n",
            Known::Through => " class=s",
            Known::MissedThrough => " class=m",
            Known::LeftOut => " class=o",
        }
    }
}

/// The lines as HTML: an element for each run of lines of which the same is known, and an
/// anchor where a function begins, called `ID-LINE`.
pub(super) fn lines(file: &File, id: &str, text: &str) -> String {
    let anchors: BTreeSet<u32> = file.functions.iter().map(|it| it.line).collect();
    let marked: BTreeSet<u32> = file
        .lines
        .keys()
        .chain(file.through.keys())
        .copied()
        .collect();
    let shown = shown(&marked);
    let mut out = String::new();
    let mut open: Option<Known> = None;
    let mut left_out = 0_u32;
    for (line, number) in text.lines().zip(1_u32..) {
        let known = match (file.lines.get(&number), file.through.get(&number)) {
            (Some(true), _) => Known::Reached,
            (Some(false), _) => Known::Missed,
            (None, Some(true)) => Known::Through,
            (None, Some(false)) => Known::MissedThrough,
            (None, None) if !is_shown(&shown, number) => Known::LeftOut,
            (None, None) => Known::Nothing,
        };
        if open != Some(known) {
            end(&mut out, open, left_out);
            let _ = write!(out, "<i{}>", known.class());
            (open, left_out) = (Some(known), 0);
        }
        if known == Known::LeftOut {
            left_out += 1;
            continue;
        }
        if anchors.contains(&number) {
            let _ = write!(out, "<a id={id}-{number}></a>");
        }
        let _ = write!(out, "{number:>5} ");
        escape(&mut out, line);
        out.push('\n');
    }
    end(&mut out, open, left_out);
    out
}

fn end(out: &mut String, open: Option<Known>, left_out: u32) {
    match open {
        None => {}
        Some(Known::LeftOut) => {
            let _ = write!(out, "{left_out} lines</i>");
        }
        Some(_) => out.push_str("</i>"),
    }
}

/// The ranges of lines that are shown: from, to.
fn shown(lines: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &line in lines {
        let (from, to) = (line.saturating_sub(AROUND), line + AROUND);
        // A line that stands for three is no gain.
        let ended = ranges.last_mut().map(|it| &mut it.1);
        match ended {
            Some(end) if from <= *end + 4 => *end = to,
            None if from <= 4 => ranges.push((1, to)),
            _ => ranges.push((from, to)),
        }
    }
    ranges
}

fn is_shown(ranges: &[(u32, u32)], line: u32) -> bool {
    let after = ranges.partition_point(|it| it.0 <= line);
    after > 0 && ranges[after - 1].1 >= line
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;
    use expect_test::expect;

    #[test]
    fn text_is_no_markup() {
        let mut out = String::new();
        escape(&mut out, "if (a < b && *p->q) /* </pre><script> */");
        assert_eq!(
            out,
            "if (a &lt; b &amp;&amp; *p-&gt;q) /* &lt;/pre&gt;&lt;script&gt; */"
        );
    }

    #[test]
    fn runs_of_lines_are_marked_and_what_is_far_from_code_is_left_out() {
        let report = report();
        let file = &report.coverage.files[1];
        let text: String = (1..=60).map(|it| format!("<{it}>\n")).collect();
        expect![[r#"
            <i class=o>9 lines</i><i>   10 &lt;10&gt;
               11 &lt;11&gt;
               12 &lt;12&gt;
               13 &lt;13&gt;
               14 &lt;14&gt;
               15 &lt;15&gt;
               16 &lt;16&gt;
               17 &lt;17&gt;
               18 &lt;18&gt;
               19 &lt;19&gt;
            </i><i class=n><a id=f1-20></a>   20 &lt;20&gt;
            </i><i class=m>   21 &lt;21&gt;
            </i><i class=n>   22 &lt;22&gt;
            </i><i class=m>   23 &lt;23&gt;
            </i><i>   24 &lt;24&gt;
               25 &lt;25&gt;
               26 &lt;26&gt;
               27 &lt;27&gt;
               28 &lt;28&gt;
               29 &lt;29&gt;
               30 &lt;30&gt;
               31 &lt;31&gt;
               32 &lt;32&gt;
               33 &lt;33&gt;
            </i><i class=o>4 lines</i><i>   38 &lt;38&gt;
               39 &lt;39&gt;
               40 &lt;40&gt;
               41 &lt;41&gt;
               42 &lt;42&gt;
               43 &lt;43&gt;
               44 &lt;44&gt;
               45 &lt;45&gt;
               46 &lt;46&gt;
               47 &lt;47&gt;
            </i><i class=n>   48 &lt;48&gt;
            </i><i class=m>   49 &lt;49&gt;
            </i><i>   50 &lt;50&gt;
               51 &lt;51&gt;
               52 &lt;52&gt;
               53 &lt;53&gt;
               54 &lt;54&gt;
               55 &lt;55&gt;
               56 &lt;56&gt;
               57 &lt;57&gt;
               58 &lt;58&gt;
               59 &lt;59&gt;
            </i><i class=o>1 lines</i>"#]]
        .assert_eq(&lines(file, "f1", &text));
    }
}
