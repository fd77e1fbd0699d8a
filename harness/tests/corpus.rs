//! The scenarios in corpus/ are a record: each says what it is about and what a
//! replay must see, and stands in its canonical form.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use inflight::scenario::text::{files, read_file};
use inflight::scenario::{Expect, Expected, Scenario};

fn corpus() -> Vec<(PathBuf, Scenario)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    files(&dir)
        .unwrap()
        .into_iter()
        .map(|path| match read_file(&path) {
            Ok(scenario) => (path, scenario),
            Err(error) => panic!("{error}"),
        })
        .collect()
}

#[test]
fn each_is_in_canonical_form() {
    for (path, scenario) in corpus() {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, scenario.to_string(), "{}", path.display());
    }
}

#[test]
fn each_says_why_it_is_there_and_what_must_be_seen() {
    let mut seen = HashMap::new();
    for (path, scenario) in corpus() {
        let name = path.display();
        let (title, why) = scenario.header.split_once("\n\n").unwrap_or_default();
        assert!(title.ends_with('.'), "{name}: no title");
        assert!(why.len() > 50, "{name}: no reason");
        let verdict = |flavour: &str| {
            let kernel = format!("6.12-{flavour}");
            let expect = scenario.expects.iter().find(|it| it.is_about(&kernel));
            let expect = expect.unwrap_or_else(|| panic!("{name}: nothing expected of {flavour}"));
            expect.verdict.clone()
        };
        verdict("stock");
        // The series keeps its own promise, and does not mend what is not about sends.
        let mended = matches!(verdict("patched"), Expected::Holds(_));
        let foreign = title.starts_with("A bug of every kernel");
        assert_ne!(
            mended, foreign,
            "{name}: a patched kernel keeps its promise"
        );
        // What holds everywhere must hold for the reason that its title gives.
        // What is chance is about other engines.
        let holds = |it: &Expect| !matches!(it.verdict, Expected::Violates(_));
        let harmless = scenario.expects.iter().all(holds);
        assert_eq!(title.starts_with("Not to be flagged: "), harmless, "{name}");

        let body = (scenario.setup, scenario.steps);
        if let Some(other) = seen.insert(body, name.to_string()) {
            panic!("{name} is the same as {other}");
        }
    }
    assert!(seen.len() >= 12, "only {} scenarios", seen.len());
}
