//! What was reached, in short.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Report;
use super::groups::{Tallies, folders, missed_on_the_way};
use crate::coverage::{Tally, path};
use crate::report::table::Table;

/// So many functions that nothing reached are listed on a terminal.
const MOST_MISSED: usize = 40;

/// For people.
pub fn human(report: &Report) -> String {
    let coverage = &report.coverage;
    let all = Tallies::all(coverage);
    let mut text = format!(
        "{}: {} reached {} of {} blocks\n\n",
        report.kernel,
        report.runs(),
        all.blocks.reached,
        all.blocks.total
    );
    let mut rows = folders(coverage);
    rows.push(("all".to_owned(), all));
    text += &table(
        "instrumented",
        rows.iter().map(|(name, it)| (name.as_str(), *it)),
    );
    let on_the_way = coverage.files.iter().filter(|it| path::has_way(&it.path));
    let on_the_way = on_the_way.map(|it| (it.path.as_str(), Tallies::of(it)));
    let _ = writeln!(text, "\n{}", table("the send path", on_the_way));
    let missed = missed_on_the_way(coverage);
    let _ = writeln!(
        text,
        "{} functions of the send path were never reached",
        missed.len()
    );
    let mut list = Table::new(["blocks", "function", "file"], &[0]);
    for it in missed.iter().take(MOST_MISSED) {
        let place = format!("{}:{}", it.file, it.line);
        list.row([it.blocks.to_string(), it.function.to_owned(), place]);
    }
    text += &list.to_string();
    if missed.len() > MOST_MISSED {
        let _ = writeln!(text, "and {} more, on the page", missed.len() - MOST_MISSED);
    }
    text
}

fn table<'a>(title: &str, rows: impl Iterator<Item = (&'a str, Tallies)>) -> String {
    let headings = [title, "functions", "", "lines", "", "blocks", ""];
    let mut table = Table::new(headings, &[1, 2, 3, 4, 5, 6]);
    for (name, it) in rows {
        table.row([
            name.to_owned(),
            count(it.functions),
            percent(it.functions),
            count(it.lines),
            percent(it.lines),
            count(it.blocks),
            percent(it.blocks),
        ]);
    }
    table.to_string()
}

fn count(tally: Tally) -> String {
    format!("{} of {}", tally.reached, tally.total)
}

/// Rounded down: all of it is reached only where nothing is missed.
pub(super) fn percent(tally: Tally) -> String {
    format!("{} %", (tally.share() * 100.0).floor())
}

/// For programs.
pub fn json(report: &Report) -> Value {
    let entry = |path: &str, it: Tallies| json!({"path": path, "functions": it.functions, "lines": it.lines, "blocks": it.blocks});
    let coverage = &report.coverage;
    let files = coverage.files.iter();
    let folders = folders(coverage);
    json!({
        "kernel": report.kernel,
        "text": report.identity,
        "scenarios": report.scenarios,
        "all": Tallies::all(coverage),
        "folders": folders.iter().map(|(name, it)| entry(name, *it)).collect::<Vec<_>>(),
        "files": files.map(|it| entry(&it.path, Tallies::of(it))).collect::<Vec<_>>(),
        "never_reached": missed_on_the_way(coverage),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;
    use super::*;
    use expect_test::expect;

    #[test]
    fn people_see_what_was_missed() {
        expect![[r#"
            6.12-patched-kcov: 2 scenarios reached 3 of 8 blocks

            instrumented         functions          lines         blocks
            fs/splice.c             1 of 2   50 %  2 of 4   50 %  2 of 5   40 %
            net/ipv4/fib_trie.c     0 of 1    0 %  0 of 3    0 %  0 of 2    0 %
            headers                 1 of 1  100 %  1 of 1  100 %  1 of 1  100 %
            all                     2 of 4   50 %  3 of 8   37 %  3 of 8   37 %

            the send path  functions         lines        blocks
            fs/splice.c       1 of 2  50 %  2 of 4  50 %  2 of 5  40 %

            1 functions of the send path were never reached
            blocks  function      file
                 2  iter_to_pipe  fs/splice.c:30
        "#]]
        .assert_eq(&human(&report()));
    }

    #[test]
    fn programs_see_the_same() {
        expect![[r#"
            {
              "all": {
                "blocks": {
                  "reached": 3,
                  "total": 8
                },
                "functions": {
                  "reached": 2,
                  "total": 4
                },
                "lines": {
                  "reached": 3,
                  "total": 8
                }
              },
              "files": [
                {
                  "blocks": {
                    "reached": 2,
                    "total": 5
                  },
                  "functions": {
                    "reached": 1,
                    "total": 2
                  },
                  "lines": {
                    "reached": 2,
                    "total": 4
                  },
                  "path": "fs/splice.c"
                },
                {
                  "blocks": {
                    "reached": 0,
                    "total": 2
                  },
                  "functions": {
                    "reached": 0,
                    "total": 1
                  },
                  "lines": {
                    "reached": 0,
                    "total": 3
                  },
                  "path": "net/ipv4/fib_trie.c"
                },
                {
                  "blocks": {
                    "reached": 1,
                    "total": 1
                  },
                  "functions": {
                    "reached": 1,
                    "total": 1
                  },
                  "lines": {
                    "reached": 1,
                    "total": 1
                  },
                  "path": "include/linux/skbuff.h"
                }
              ],
              "folders": [
                {
                  "blocks": {
                    "reached": 2,
                    "total": 5
                  },
                  "functions": {
                    "reached": 1,
                    "total": 2
                  },
                  "lines": {
                    "reached": 2,
                    "total": 4
                  },
                  "path": "fs/splice.c"
                },
                {
                  "blocks": {
                    "reached": 0,
                    "total": 2
                  },
                  "functions": {
                    "reached": 0,
                    "total": 1
                  },
                  "lines": {
                    "reached": 0,
                    "total": 3
                  },
                  "path": "net/ipv4/fib_trie.c"
                },
                {
                  "blocks": {
                    "reached": 1,
                    "total": 1
                  },
                  "functions": {
                    "reached": 1,
                    "total": 1
                  },
                  "lines": {
                    "reached": 1,
                    "total": 1
                  },
                  "path": "headers"
                }
              ],
              "kernel": "6.12-patched-kcov",
              "never_reached": [
                {
                  "blocks": 2,
                  "file": "fs/splice.c",
                  "function": "iter_to_pipe",
                  "line": 30
                }
              ],
              "scenarios": 2,
              "text": "0123456789abcdef"
            }
        "#]]
        .assert_eq(&format!("{:#}\n", json(&report())));
    }

    #[test]
    fn nothing_is_whole_by_rounding() {
        let of = |reached, total| percent(Tally { reached, total });
        assert_eq!(of(999, 1000), "99 %");
        assert_eq!(of(1000, 1000), "100 %");
        assert_eq!(of(0, 0), "0 %");
    }
}
