//! What the guests have left so far, what is to be made smaller next, and the causes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::folder::Folder;
use super::status::Cause;
use crate::campaign::minimize::Outcome;
use crate::fuzz::record::{EXTENSION, Record, State, short_hash};
use crate::minimize::{Size, Stopped, cause};
use crate::oracle::Property;
use crate::report::finding::HISTORY_SUFFIX;
use crate::report::whole;
use crate::scenario::text;

/// A violation that cannot be looked at so often is left as it is.
const MOST_ATTEMPTS: u32 = 2;
/// One that is not seen on so many kernels just booted is not looked for any more: what is
/// seen in one run of ten is rather found than not.
const MOST_MISSES: u32 = 8;

/// The records of a campaign, by the names of their files.
#[derive(Debug, Default)]
pub(super) struct Records {
    all: BTreeMap<String, Record>,
    /// Which record a file in the folder of findings was last written from.
    published: HashMap<String, String>,
    /// Those whose kernel's log is gone.
    without_log: HashSet<String>,
    /// What could not be read when it was last tried.
    unreadable: BTreeSet<PathBuf>,
    /// What went wrong and nobody was told yet.
    complaints: Vec<String>,
}

/// Records with one cause, the smallest first.
#[derive(Debug)]
struct Group<'a> {
    name: String,
    smallest: (&'a str, &'a Record),
    findings: u64,
}

impl Records {
    /// Reads those that have come since. Returns whether there are any.
    pub fn scan(&mut self, folder: &Path) -> bool {
        let before = self.all.len();
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        match &entries {
            Ok(_) => drop(self.unreadable.remove(folder)),
            Err(error) => self.note_unreadable(folder, error),
        }
        for entry in entries.into_iter().flatten() {
            let path = entry.path();
            let stem = path.file_stem().and_then(|it| it.to_str());
            let is_record = path.extension().is_some_and(|it| it == EXTENSION);
            let Some(stem) = stem.filter(|it| is_record && !it.starts_with('.')) else {
                continue;
            };
            if self.all.contains_key(stem) {
                continue;
            }
            match Record::read(folder, stem) {
                Ok(record) => {
                    self.unreadable.remove(&path);
                    let log = folder.join(format!("{stem}.log"));
                    if record.has_log && !log.exists() {
                        self.note_lost_log(stem, &io::ErrorKind::NotFound.into());
                    }
                    self.all.insert(stem.to_owned(), record);
                }
                Err(error) => self.note_unreadable(&path, &error),
            }
        }
        self.all.len() > before
    }

    /// It is said once, and tried again all the same.
    fn note_unreadable(&mut self, path: &Path, error: &io::Error) {
        if self.unreadable.insert(path.to_owned()) {
            let path = path.display();
            self.complaints.push(format!("cannot read {path}: {error}"));
        }
    }

    fn note_lost_log(&mut self, stem: &str, error: &io::Error) {
        if self.without_log.insert(stem.to_owned()) {
            self.complaints
                .push(format!("cannot read seen/{stem}.log: {error}"));
        }
    }

    /// How many files there are that could not be read: what they tell is not known.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.len() as u64
    }

    /// What went wrong since this was last asked.
    pub fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// What is to be made smaller next: what looks like nothing that has been, first, and
    /// what nobody expects before what everybody does.
    pub fn next(
        &self,
        busy: impl Fn(&str) -> bool,
        expected: Option<Property>,
    ) -> Option<(&str, &Record)> {
        let waits = |stem: &str, record: &Record| {
            record.state == State::New && record.attempts < MOST_ATTEMPTS && !busy(stem)
        };
        let known = |stem: &str| {
            let look = look_of(stem);
            let settled = self.all.iter().filter(|(other, record)| {
                look_of(other) == look && (record.state != State::New || busy(other))
            });
            settled.count()
        };
        let waiting = self.all.iter().filter(|(stem, record)| waits(stem, record));
        let next = waiting
            .min_by_key(|(stem, record)| (known(stem), expected == Some(record.finding.property)));
        next.map(|(stem, record)| (&**stem, record))
    }

    /// Takes over what became of one, and writes it. One that was `interrupted` waits on.
    ///
    /// # Errors
    /// What the file system says.
    pub fn settle(
        &mut self,
        folder: &Path,
        stem: &str,
        outcome: Outcome,
        interrupted: bool,
    ) -> io::Result<()> {
        let Some(record) = self.all.get_mut(stem) else {
            return Ok(());
        };
        match outcome.finding {
            Some(found) if interrupted && found.stopped != Some(Stopped::Minimal) => return Ok(()),
            // It dies when it runs alone, or does not.
            Some(found) if record.has_log && found.seen < 2 => match found.of {
                // Each try may take minutes: one is enough.
                2 => record.miss(1),
                _ => record.attempts += 1,
            },
            Some(found) => {
                record.finding = found;
                record.state = State::Smaller;
            }
            None if interrupted => return Ok(()),
            None if outcome.ran && outcome.failure.is_none() => record.miss(MOST_MISSES),
            None => record.attempts += 1,
        }
        if record.attempts >= MOST_ATTEMPTS {
            record.state = State::Lost;
        }
        record.write(folder, stem)
    }

    /// The causes; the largest first, and what nobody expects before the others.
    pub fn causes(&self, expected: Option<Property>) -> Vec<Cause> {
        let mut causes: Vec<Cause> = self
            .groups()
            .iter()
            .map(|group| {
                let (stem, record) = group.smallest;
                let (folder, name) = match record.state {
                    State::New => ("seen", stem),
                    State::Smaller | State::Lost => ("findings", &*group.name),
                };
                let path = |extension| PathBuf::from(format!("{folder}/{name}.{extension}"));
                let finding = &record.finding;
                Cause {
                    property: finding.property,
                    is_expected: expected == Some(finding.property),
                    state: record.state,
                    findings: group.findings,
                    seen: finding.seen,
                    of: finding.of,
                    ops: finding.steps_after,
                    message: finding.message.clone(),
                    file: path("scn"),
                    log: self.has_log(stem, record).then(|| path("log")),
                    misses: record.misses,
                }
            })
            .collect();
        causes.sort_by_key(|it| (it.is_expected, std::cmp::Reverse(it.findings)));
        causes
    }

    /// Writes what has been made smaller, or was lost, one file a cause, where that has
    /// changed.
    ///
    /// # Errors
    /// What the file system says.
    pub fn publish(&mut self, folder: &Folder) -> io::Result<()> {
        let mut published = Vec::new();
        let mut lost = Vec::new();
        for group in self.groups() {
            let (stem, record) = group.smallest;
            let is_new = record.state == State::New;
            if is_new || self.published.get(&group.name).is_some_and(|it| it == stem) {
                continue;
            }
            let name = &group.name;
            let mut log = None;
            if self.has_log(stem, record) {
                // A finding without it is better than none.
                match fs::read(folder.seen().join(format!("{stem}.log"))) {
                    Ok(bytes) => {
                        let name = log.insert(format!("{name}.log"));
                        whole::write(&folder.findings(), name, &bytes)?;
                    }
                    Err(error) => lost.push((stem.to_owned(), error)),
                }
            }
            let file = format!("{name}.scn");
            if let Some(history) = &record.finding.history {
                let history = json!(history).to_string();
                let file = format!("{file}{HISTORY_SUFFIX}");
                whole::write(&folder.findings(), file, history.as_bytes())?;
            }
            let text = record.render(log.as_deref());
            whole::write(&folder.findings(), file, text.as_bytes())?;
            published.push((group.name.clone(), stem.to_owned()));
        }
        self.published.extend(published);
        for (stem, error) in lost {
            self.note_lost_log(&stem, &error);
        }
        Ok(())
    }

    fn has_log(&self, stem: &str, record: &Record) -> bool {
        record.has_log && !self.without_log.contains(stem)
    }

    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
        for (stem, record) in &self.all {
            let name = name_of(stem, record);
            let group = groups.entry(name.clone()).or_insert(Group {
                name,
                smallest: (stem, record),
                findings: 0,
            });
            group.findings += 1;
            if size(record) < size(group.smallest.1) {
                group.smallest = (stem, record);
            }
        }
        groups.into_values().collect()
    }
}

/// What the findings of one cause have in common: the shape of the smallest scenario.
/// Before there is one, what they look like.
fn name_of(stem: &str, record: &Record) -> String {
    let finding = &record.finding;
    let scenario = text::parse("finding", &finding.minimized).ok();
    match (record.state, scenario) {
        (State::Smaller | State::Lost, Some(scenario)) => {
            let shape = cause::shape(&scenario);
            let lost = match record.state {
                State::Lost => "-lost",
                _ => "",
            };
            format!("{}-{}{lost}", finding.property, short_hash(&shape))
        }
        _ => look_of(stem).to_owned(),
    }
}

/// The part of a record's name that those have in common that look the same.
fn look_of(stem: &str) -> &str {
    stem.rsplit_once('-').map_or(stem, |(look, _)| look)
}

/// Orders records; what is no scenario is the largest.
fn size(record: &Record) -> (bool, Option<Size>) {
    let scenario = text::parse("finding", &record.finding.minimized);
    let size = scenario.ok().map(|it| Size::of(&it));
    (size.is_none(), size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::job::Finding;
    use crate::oracle::Contract;

    struct Fixture {
        _dir: tempfile::TempDir,
        folder: Folder,
        records: Records,
    }

    impl Fixture {
        fn new() -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::open(dir.path()).unwrap();
            Fixture {
                _dir: dir,
                folder,
                records: Records::default(),
            }
        }

        fn add(&mut self, stem: &str, property: Property, scenario: &str, has_log: bool) {
            let record = Record {
                finding: finding(property, scenario),
                kernel: "6.12-stock-kcov".into(),
                contract: Contract::Stable,
                state: State::New,
                has_log,
                attempts: 0,
                misses: 0,
            };
            record.write(&self.folder.seen(), stem).unwrap();
            if has_log {
                fs::write(self.folder.seen().join(format!("{stem}.log")), "BUG").unwrap();
            }
        }

        fn scan(&mut self) -> bool {
            self.records.scan(&self.folder.seen())
        }

        fn settle(&mut self, stem: &str, outcome: Outcome, interrupted: bool) {
            let folder = self.folder.seen();
            self.records
                .settle(&folder, stem, outcome, interrupted)
                .unwrap();
            self.records.publish(&self.folder).unwrap();
        }

        fn next(&self) -> Option<&str> {
            let expected = Some(Property::StableOnReturn);
            self.records.next(|_| false, expected).map(|it| it.0)
        }

        fn findings(&self) -> Vec<String> {
            let entries = fs::read_dir(self.folder.findings()).unwrap();
            let mut names: Vec<String> = entries
                .map(|it| it.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    fn finding(property: Property, scenario: &str) -> Finding {
        let scenario = text::parse("t", scenario).unwrap();
        Finding::suspect(0, property, "torn".into(), &scenario)
    }

    fn smaller(scenario: &str, seen: (u32, u32)) -> Outcome {
        let mut finding = finding(Property::Wire, scenario);
        (finding.seen, finding.of) = seen;
        finding.stopped = Some(Stopped::Minimal);
        Outcome {
            finding: Some(finding),
            ran: true,
            failure: None,
        }
    }

    const LARGE: &str = "sendfile 0+4096\npwrite 0+1\nwait 1ms\n";

    #[test]
    fn two_with_one_cause_are_one_finding_the_smallest() {
        let mut it = Fixture::new();
        it.add("wire-1-a", Property::Wire, LARGE, false);
        it.add("wire-2-b", Property::Wire, LARGE, false);
        assert!(it.scan() && !it.scan());
        it.settle("wire-1-a", smaller("sendfile 0+9\n", (10, 10)), false);
        let first = it.findings();
        assert_eq!(first.len(), 1);
        it.settle("wire-2-b", smaller("sendfile 0+1\n", (10, 10)), false);
        assert_eq!(it.findings(), first);
        let text = fs::read_to_string(it.folder.findings().join(&first[0])).unwrap();
        assert!(text.ends_with("sendfile 0+1\n"), "{text}");
        let causes = it.records.causes(None);
        assert_eq!((causes.len(), causes[0].findings), (1, 2));
        assert!(it.folder.root().join(&causes[0].file).is_file());
        // Who goes on knows all of it.
        let mut again = Records::default();
        again.scan(&it.folder.seen());
        assert_eq!(again.causes(None), causes);
        assert!(again.next(|_| false, None).is_none());
    }

    #[test]
    fn what_nobody_has_seen_yet_and_nobody_expects_comes_first() {
        let mut it = Fixture::new();
        it.add("stable-1-a", Property::StableOnReturn, LARGE, false);
        it.add("wire-1-b", Property::Wire, LARGE, false);
        it.add("wire-1-c", Property::Wire, LARGE, false);
        it.scan();
        let mut order = Vec::new();
        while let Some(stem) = it.next().map(str::to_owned) {
            it.settle(&stem, smaller("sendfile 0+1\n", (10, 10)), false);
            order.push(stem);
        }
        assert_eq!(order, ["wire-1-b", "stable-1-a", "wire-1-c"]);
    }

    #[test]
    fn what_is_not_seen_again_is_kept_and_marked() {
        let mut it = Fixture::new();
        it.add("wire-1-a", Property::Wire, LARGE, false);
        it.scan();
        let holds = Outcome {
            ran: true,
            ..Outcome::default()
        };
        for _ in 0..MOST_MISSES {
            assert_eq!(it.next(), Some("wire-1-a"));
            it.settle("wire-1-a", holds.clone(), false);
        }
        assert_eq!(it.next(), None);
        let [name] = &it.findings()[..] else {
            panic!("{:?}", it.findings());
        };
        assert!(name.contains("lost"), "{name}");
        let text = fs::read_to_string(it.folder.findings().join(name)).unwrap();
        for words in ["not seen again", "1 of 9 runs", "wait 1ms"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn a_death_needs_another_one_and_its_log_stands_beside_it() {
        let mut it = Fixture::new();
        it.add("splat-1-a", Property::Splat, LARGE, true);
        it.add(
            "splat-2-b",
            Property::Splat,
            "sendfile 0+7\npwrite 0+1\n",
            true,
        );
        it.scan();
        it.settle("splat-1-a", smaller("sendfile 0+1\n", (2, 2)), false);
        it.settle("splat-2-b", smaller("sendfile 0+1\n", (1, 2)), false);
        let names = it.findings();
        let count = |what: &str| names.iter().filter(|it| it.ends_with(what)).count();
        assert_eq!(
            (count(".scn"), count(".log"), count("-lost.scn")),
            (2, 2, 1)
        );
        let states = it.records.causes(None);
        assert!(states.iter().all(|it| it.log.is_some()), "{states:?}");
    }

    #[test]
    fn who_is_interrupted_waits_and_who_always_fails_does_not_for_ever() {
        let mut it = Fixture::new();
        it.add("wire-1-a", Property::Wire, LARGE, false);
        it.scan();
        let mut part = smaller("sendfile 0+1\n", (1, 1));
        part.finding.as_mut().unwrap().stopped = Some(Stopped::Interrupted);
        it.settle("wire-1-a", part, true);
        it.settle("wire-1-a", Outcome::default(), true);
        assert_eq!(it.next(), Some("wire-1-a"));
        assert!(it.findings().is_empty());
        assert!(it.records.causes(None)[0].file.starts_with("seen"));
        let fails = Outcome {
            failure: Some("it did not boot".into()),
            ..Outcome::default()
        };
        for _ in 0..MOST_ATTEMPTS {
            assert_eq!(it.next(), Some("wire-1-a"));
            it.settle("wire-1-a", fails.clone(), false);
        }
        assert_eq!(it.next(), None);
        let [name] = &it.findings()[..] else {
            panic!("{:?}", it.findings());
        };
        // It never ran: nobody can say that it was not seen.
        let text = fs::read_to_string(it.folder.findings().join(name)).unwrap();
        assert!(text.contains("could not be run again"), "{text}");
        assert_eq!(
            it.records.causes(None)[0].remark(),
            Some("could not be run again")
        );
    }

    #[test]
    fn what_is_no_record_is_passed_over_and_what_is_damaged_named() {
        let mut it = Fixture::new();
        for name in [".b.json.1", "c.scn", "deadly"] {
            fs::write(it.folder.seen().join(name), "{").unwrap();
        }
        assert!(!it.scan());
        assert!(it.records.causes(None).is_empty());
        assert_eq!(
            (it.records.unreadable(), it.records.take_complaints().len()),
            (0, 0)
        );
        fs::write(it.folder.seen().join("a.json"), "{").unwrap();
        assert!(!it.scan() && !it.scan());
        let said = it.records.take_complaints();
        assert!(
            said.len() == 1 && said[0].contains("seen/a.json"),
            "{said:?}"
        );
        assert_eq!(it.records.unreadable(), 1);
        // Somebody has put it right.
        it.add("a", Property::Wire, LARGE, false);
        assert!(it.scan());
        assert_eq!(it.records.unreadable(), 0);
        fs::remove_dir_all(it.folder.seen()).unwrap();
        it.scan();
        assert_eq!(
            (it.records.unreadable(), it.records.take_complaints().len()),
            (1, 1)
        );
    }

    #[test]
    fn a_finding_whose_log_is_gone_is_published_without_it() {
        for is_gone_before in [true, false] {
            let mut it = Fixture::new();
            it.add("splat-1-a", Property::Splat, LARGE, true);
            let log = it.folder.seen().join("splat-1-a.log");
            if is_gone_before {
                fs::remove_file(&log).unwrap();
            }
            it.scan();
            if !is_gone_before {
                fs::remove_file(&log).unwrap();
            }
            it.settle("splat-1-a", smaller("sendfile 0+1\n", (2, 2)), false);
            let names = it.findings();
            assert!(names.len() == 1 && names[0].ends_with(".scn"), "{names:?}");
            assert_eq!(it.records.causes(None)[0].log, None);
            let said = it.records.take_complaints();
            assert!(
                said.len() == 1 && said[0].contains("splat-1-a.log"),
                "{said:?}"
            );
        }
    }
}
