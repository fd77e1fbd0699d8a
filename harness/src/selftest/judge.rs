//! Whether a cure changed anything but what it is to change.
//!
//! Our own test must fail on a stock kernel and pass on a patched one. Every other
//! must end on a patched kernel as it does on the stock one of its version, case by
//! case, whether that is a success or not.

use super::run::Outcome;
use super::suite::OURS;
use super::tap::{Report, Verdict};
use crate::kernel::{Flavour, KernelName};

/// What is thought of one test on one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// Our test ended as it must.
    AsExpected,
    /// Every case ended as on the stock kernel.
    Same,
    /// It is what others are compared with, or there is nothing to compare.
    Reference,
    /// It was not run.
    NotRun,
    /// It did not end as it must: why, a line each.
    Wrong(Vec<String>),
}

impl Mark {
    /// For a table.
    pub fn word(&self) -> &'static str {
        match self {
            Mark::AsExpected => "as expected",
            Mark::Same => "same",
            Mark::Reference => "reference",
            Mark::NotRun => "not run",
            Mark::Wrong(_) => "WRONG",
        }
    }
}

/// The kernel that `name` is compared with, if it is among `all`.
pub fn reference_of<'a>(name: &KernelName, all: &'a [KernelName]) -> Option<&'a KernelName> {
    if name.flavour() == Some(Flavour::Stock) {
        return None;
    }
    all.iter()
        .find(|other| other.flavour() == Some(Flavour::Stock) && other.version() == name.version())
}

/// Judges `outcome` of `test` on `name`; `reference` is that of the same test on
/// the kernel that [`reference_of`] names.
pub fn judge(
    test: &str,
    name: &KernelName,
    outcome: &Outcome,
    reference: Option<&Outcome>,
) -> Mark {
    let is_stock = name.flavour() == Some(Flavour::Stock);
    let report = match outcome {
        Outcome::Ran(report) => report,
        Outcome::NotBuilt(why) if test == OURS => return Mark::Wrong(vec![why.clone()]),
        Outcome::Absent if test == OURS && !is_stock && name.flavour().is_some() => {
            return Mark::Wrong(vec!["the series has no such test".to_owned()]);
        }
        Outcome::Absent | Outcome::NotBuilt(_) => return Mark::NotRun,
    };
    if test == OURS {
        return ours(report, is_stock);
    }
    match reference {
        Some(Outcome::Ran(reference)) => compare(reference, report),
        // A test that fails in a tree of the user's may fail for want of anything.
        _ if name.flavour().is_none() || is_stock => Mark::Reference,
        _ => match failed(report).as_slice() {
            [] => Mark::Reference,
            failed => Mark::Wrong(vec![format!(
                "{}, and there is no stock kernel of the version to compare with",
                list("fails", failed)
            )]),
        },
    }
}

fn ours(report: &Report, is_stock: bool) -> Mark {
    let failed = failed(report);
    let passed = report.count(Verdict::Pass);
    match (is_stock, failed.is_empty()) {
        (true, false) => Mark::AsExpected,
        (false, true) if passed > 0 => Mark::AsExpected,
        (true, true) => Mark::Wrong(vec!["does not fail here".to_owned()]),
        (false, true) => Mark::Wrong(vec!["no case was run".to_owned()]),
        (false, false) => Mark::Wrong(vec![list("fails", &failed)]),
    }
}

fn compare(reference: &Report, report: &Report) -> Mark {
    let word = |verdict: Option<Verdict>| match verdict {
        Some(Verdict::Pass) => "passes",
        Some(Verdict::Fail) => "fails",
        Some(Verdict::Skip) => "is skipped",
        None => "is not run",
    };
    let mut differences = Vec::new();
    let mut difference = |name: &str, reason: &str| {
        let (before, after) = (reference.verdict(name), report.verdict(name));
        if before != after {
            let colon = if reason.is_empty() { "" } else { ": " };
            differences.push(format!(
                "{name} {} on stock and {} here{colon}{reason}",
                word(before),
                word(after)
            ));
        }
    };
    for case in &report.cases {
        difference(&case.name, &case.reason);
    }
    for case in &reference.cases {
        if report.verdict(&case.name).is_none() {
            difference(&case.name, "");
        }
    }
    match differences.is_empty() {
        true => Mark::Same,
        false => Mark::Wrong(differences),
    }
}

fn failed(report: &Report) -> Vec<&str> {
    let failed = report.cases.iter();
    let failed = failed.filter(|case| case.verdict == Verdict::Fail);
    failed.map(|case| case.name.as_str()).collect()
}

/// `fails 7: a, b, c, ...`
fn list(what: &str, names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let dots = if names.len() > SHOWN { ", ..." } else { "" };
    format!("{what} {}: {shown}{dots}", names.len())
}

#[cfg(test)]
mod tests {
    use super::super::tap;
    use super::*;

    fn ran(text: &str) -> Outcome {
        Outcome::Ran(tap::read("x", text, None))
    }

    fn name(name: &str) -> KernelName {
        name.parse().unwrap()
    }

    fn mark(test: &str, on: &str, outcome: &Outcome, reference: Option<&Outcome>) -> &'static str {
        judge(test, &name(on), outcome, reference).word()
    }

    #[test]
    fn ours_fails_on_stock_and_passes_on_patched() {
        let (good, bad) = (
            ran("ok 1 a\nok 2 b # SKIP no\n"),
            ran("ok 1 a\nnot ok 2 b\n"),
        );
        let idle = ran("ok 1 a # SKIP off\n");
        for (on, good_word, bad_word) in [
            ("6.12-stock", "WRONG", "as expected"),
            ("6.12-patched", "as expected", "WRONG"),
            ("tree:/x", "as expected", "WRONG"),
        ] {
            assert_eq!(mark(OURS, on, &good, None), good_word, "{on}");
            // What the stock kernel does is no excuse.
            assert_eq!(mark(OURS, on, &bad, Some(&bad)), bad_word, "{on}");
            assert_eq!(mark(OURS, on, &idle, None), "WRONG", "{on}");
        }
        assert_eq!(mark(OURS, "6.12-patched", &Outcome::Absent, None), "WRONG");
        assert_eq!(mark(OURS, "6.1-stock", &Outcome::Absent, None), "not run");
        assert_eq!(mark(OURS, "tree:/x", &Outcome::Absent, None), "not run");
        let broken = Outcome::NotBuilt("x.c:1: error".into());
        assert_eq!(mark(OURS, "6.12-stock", &broken, None), "WRONG");
    }

    #[test]
    fn others_end_as_on_stock() {
        let stock = ran("ok 1 a\nnot ok 2 b\nok 3 c\n");
        let on = |text: &str| judge("tls", &name("6.12-patched"), &ran(text), Some(&stock));
        assert_eq!(on("ok 1 a\nnot ok 2 b\nok 3 c\n"), Mark::Same);
        assert_eq!(
            on("not ok 1 a\nok 2 b\nok 3 c # SKIP no\nok 4 d\n"),
            Mark::Wrong(vec![
                "a passes on stock and fails here".into(),
                "b fails on stock and passes here".into(),
                "c passes on stock and is skipped here: no".into(),
                "d is not run on stock and passes here".into(),
            ])
        );
        assert_eq!(
            on("ok 1 a\nnot ok 2 b\n"),
            Mark::Wrong(vec!["c passes on stock and is not run here".into()])
        );
    }

    #[test]
    fn without_a_reference_only_a_failure_counts() {
        let (good, bad) = (ran("ok 1 a\n"), ran("not ok 1 a\n"));
        assert_eq!(mark("tls", "6.12-patched", &good, None), "reference");
        assert_eq!(mark("tls", "6.12-patched", &bad, None), "WRONG");
        assert_eq!(
            mark("tls", "6.12-patched", &bad, Some(&Outcome::Absent)),
            "WRONG"
        );
        assert_eq!(mark("tls", "6.12-stock", &bad, None), "reference");
        assert_eq!(mark("tls", "tree:/x", &bad, None), "reference");
        assert_eq!(
            mark("tls", "6.12-patched", &Outcome::Absent, None),
            "not run"
        );
    }

    #[test]
    fn the_reference_is_the_stock_kernel_of_the_version() {
        let all = ["7.3-stock", "6.12-patched", "6.12-stock", "tree:/x"].map(name);
        let reference = |of: &str| reference_of(&name(of), &all).map(ToString::to_string);
        assert_eq!(reference("6.12-patched").as_deref(), Some("6.12-stock"));
        assert_eq!(reference("7.3-patched").as_deref(), Some("7.3-stock"));
        assert_eq!(reference("6.12-stock"), None);
        assert_eq!(reference("tree:/x"), None);
        assert_eq!(reference_of(&name("7.3-patched"), &all[1..]), None);
    }
}
