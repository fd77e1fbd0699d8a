//! What a test prints, read: the Test Anything Protocol in the kernel's dialect
//! (Documentation/dev-tools/ktap.rst).

/// How one case of a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// `ok`, and a failure that the test expects.
    Pass,
    /// `not ok`
    Fail,
    /// `ok # SKIP`
    Skip,
}

/// A case and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its name; a second one of the same name has a number after it.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Why it was skipped, or what is wrong; may be empty.
    pub reason: String,
}

/// All cases of a test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In their order.
    pub cases: Vec<Case>,
}

impl Report {
    /// How many cases ended so.
    pub fn count(&self, verdict: Verdict) -> usize {
        let counted = |case: &&Case| case.verdict == verdict;
        self.cases.iter().filter(counted).count()
    }

    /// How this case ended, if there is one of that name.
    pub fn verdict(&self, name: &str) -> Option<Verdict> {
        let found = self.cases.iter().find(|case| case.name == name);
        found.map(|case| case.verdict)
    }

    /// Adds a case that is no line of the test's: `what` went wrong.
    pub fn add_failure(&mut self, name: &str, what: impl Into<String>) {
        self.add(name, Verdict::Fail, what);
    }

    fn add(&mut self, name: &str, verdict: Verdict, reason: impl Into<String>) {
        let same = |case: &&Case| {
            let rest = case.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" #"))
        };
        let earlier = self.cases.iter().filter(same).count();
        self.cases.push(Case {
            name: match earlier {
                0 => name.to_owned(),
                _ => format!("{name} #{}", earlier + 1),
            },
            verdict,
            reason: reason.into(),
        });
    }
}

/// The exit status by which a test says that it was skipped (`KSFT_SKIP`).
const SKIP_STATUS: u8 = 4;

/// Reads what a test printed. `status` is its exit status, `None` if it had none;
/// `name` stands for the one case of a test that prints no TAP. A test that ended
/// before it had done what it planned, or with a status that its lines do not
/// explain, gets a failure of its own.
pub fn read(name: &str, text: &str, status: Option<u8>) -> Report {
    let mut report = Report::default();
    let mut planned = None;
    for line in text.lines() {
        if let Some(plan) = line.strip_prefix("1..") {
            planned = plan.split_whitespace().next().and_then(|n| n.parse().ok());
        } else if let Some(reason) = line.strip_prefix("Bail out!") {
            report.add_failure("bail out", reason.trim());
        } else if let Some((name, verdict, reason)) = case(line) {
            report.add(name, verdict, reason);
        }
    }
    if report.cases.is_empty() {
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        let last = last.unwrap_or_default().trim_start_matches("# ");
        match (planned, status) {
            (None | Some(0), Some(0)) => report.add(name, Verdict::Pass, ""),
            (_, Some(SKIP_STATUS)) => report.add(name, Verdict::Skip, last),
            (_, Some(status)) => report.add_failure(name, format!("exit status {status}: {last}")),
            (_, None) => {}
        }
        return report;
    }
    if let Some(planned) = planned
        && report.cases.len() < planned
    {
        let what = format!("{} of {planned} cases", report.cases.len());
        report.add_failure("ended early", what);
    }
    let failed = report.count(Verdict::Fail) > 0;
    match status {
        Some(0 | SKIP_STATUS) | None => {}
        Some(_) if failed => {}
        Some(status) => report.add_failure("exit status", status.to_string()),
    }
    report
}

/// A line `ok 1 name # SKIP reason`; cases of cases are indented and not read.
fn case(line: &str) -> Option<(&str, Verdict, &str)> {
    let (rest, ok) = match line.strip_prefix("not ok ") {
        Some(rest) => (rest, false),
        None => (line.strip_prefix("ok ")?, true),
    };
    let (name, directive) = match rest.split_once(" # ") {
        Some((name, directive)) => (name, directive.trim()),
        None => (rest, ""),
    };
    let digits = name.chars().take_while(char::is_ascii_digit).count();
    let name = name[digits..].trim_start().trim_start_matches("- ").trim();
    let name = if name.is_empty() { rest.trim() } else { name };
    let (word, reason) = directive.split_once(' ').unwrap_or((directive, ""));
    let verdict = match (word.to_ascii_uppercase().as_str(), ok) {
        ("SKIP", _) => Verdict::Skip,
        ("XFAIL" | "TODO", _) | (_, true) => Verdict::Pass,
        (_, false) => Verdict::Fail,
    };
    let reason = match word.to_ascii_uppercase().as_str() {
        "SKIP" | "XFAIL" | "TODO" => reason,
        _ => directive,
    };
    Some((name, verdict, reason.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARNESS: &str = "\
TAP version 13
1..4
# Starting 4 tests from 2 test cases.
#  RUN           a.tcp4 ...
#            OK  a.tcp4
ok 1 a.tcp4
# x.c:1:a:Expected 0 (0) == 1 (1)
not ok 2 a.tcp6
ok 3 a.tls # SKIP no kernel TLS
ok 4 b # XFAIL known
# FAILED: 3 / 4 tests passed.
";

    #[test]
    fn lines_of_the_harness() {
        let report = read("x", HARNESS, Some(1));
        assert_eq!(report.cases.len(), 4);
        assert_eq!(report.verdict("a.tcp4"), Some(Verdict::Pass));
        assert_eq!(report.verdict("a.tcp6"), Some(Verdict::Fail));
        assert_eq!(report.verdict("b"), Some(Verdict::Pass));
        assert_eq!(report.verdict("c"), None);
        let skipped = &report.cases[2];
        assert_eq!(
            (
                skipped.name.as_str(),
                skipped.verdict,
                skipped.reason.as_str()
            ),
            ("a.tls", Verdict::Skip, "no kernel TLS")
        );
        assert_eq!(report.count(Verdict::Pass), 2);
    }

    #[test]
    fn what_the_lines_do_not_explain_is_a_failure() {
        let names = |text: &str, status| -> Vec<String> {
            let report = read("x", text, status);
            let failed = report.cases.into_iter();
            let failed = failed.filter(|case| case.verdict == Verdict::Fail);
            failed
                .map(|case| format!("{}: {}", case.name, case.reason))
                .collect()
        };
        assert_eq!(
            names("1..2\nok 1 a\n", Some(0)),
            ["ended early: 1 of 2 cases"]
        );
        assert_eq!(names("1..1\nok 1 a\n", Some(9)), ["exit status: 9"]);
        assert_eq!(
            names("ok 1 a\nBail out! no disk\n", Some(1)),
            ["bail out: no disk"]
        );
        // A plan at the end, and a status that a failure explains.
        assert_eq!(names("not ok 1 a\nok 2 b\n1..2\n", Some(1)), ["a: "]);
        assert_eq!(names("ok 1 a\n1..1\n", Some(0)), Vec::<String>::new());
    }

    #[test]
    fn without_lines_the_exit_status_counts() {
        let only = |text: &str, status| {
            let report = read("x", text, Some(status));
            assert_eq!(report.cases.len(), 1);
            let case = report.cases[0].clone();
            assert_eq!(case.name, "x");
            (case.verdict, case.reason)
        };
        assert_eq!(only("PASSED\n", 0), (Verdict::Pass, String::new()));
        assert_eq!(only("# no ip\n\n", 4), (Verdict::Skip, "no ip".into()));
        assert_eq!(
            only("broken\n", 1),
            (Verdict::Fail, "exit status 1: broken".into())
        );
        assert_eq!(read("x", "", None).cases, []);
        // Planned, and did nothing of it.
        assert_eq!(only("1..3\n", 0).0, Verdict::Fail);
    }

    #[test]
    fn names_stay_apart_and_dialects_are_understood() {
        let report = read(
            "x",
            "ok 1 - a\nok 2 a\nok 3\n    ok 1 inner\nokay 7\n",
            Some(0),
        );
        let names: Vec<_> = report.cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["a", "a #2", "3"]);
        let report = read(
            "x",
            "not ok 1 a # TODO later\nnot ok 2 b # exit=1\n",
            Some(1),
        );
        assert_eq!(report.verdict("a"), Some(Verdict::Pass));
        assert_eq!(report.cases[1].reason, "exit=1");
    }
}
