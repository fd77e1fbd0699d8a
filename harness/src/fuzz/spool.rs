//! Where a campaign's guests leave what they find, and go on.
//!
//! The folder is one for all guests of a campaign, and for those that come after them.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::{self, EXTENSION, Record, State};
use crate::campaign::job::Finding;
use crate::campaign::known::Bug;
use crate::oracle::{Contract, Property};
use crate::report::whole;

/// Names the folder. While it is set a violation ends nothing.
pub const FINDINGS_VARIABLE: &str = "INFLIGHT_FINDINGS";
/// So many are kept that look the same; the next ones are only counted.
const MOST_ALIKE: usize = 3;
/// So many that break the same property, whatever they look like.
const MOST_OF_A_PROPERTY: usize = 64;
/// The file with what no kernel has lived through, one hash a line.
const DEADLY: &str = "deadly";
/// Ends the name of what shows that somebody is about to keep a violation; a dot begins it.
const CLAIM: &str = "claim";
/// What has come to inputs is told at once so often, ...
const TOLD_AT_ONCE: u32 = 8;
/// ... and then after so many inputs at the earliest.
const INPUTS_A_TELL: u64 = 64;
/// What a line with counts begins with, among what libFuzzer prints.
pub const COUNTED: &str = "inflight-counted ";

/// The folder, as one process sees it.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    kernel: String,
    contract: Contract,
    /// Looks of which there are enough.
    full: HashSet<String>,
    /// Hashes of scenarios that are not to run again.
    deadly: HashSet<String>,
}

/// What a guest tells every so many inputs: what has come to it since it last did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Inputs that ran.
    pub inputs: u64,
    /// Those that met a known bug.
    pub excused: BTreeMap<Bug, u64>,
    /// Those that broke something else.
    pub violations: BTreeMap<Property, u64>,
}

impl Counted {
    /// Whether it is to be told now, by who has told so often already: a kernel that dies
    /// takes along what was not.
    pub fn is_due(&self, told: u32) -> bool {
        let has_any = !(self.excused.is_empty() && self.violations.is_empty());
        has_any && (told < TOLD_AT_ONCE || self.inputs >= INPUTS_A_TELL)
    }

    /// Whether nothing has come to any input, nor any ran.
    pub fn is_empty(&self) -> bool {
        *self == Counted::default()
    }

    /// As one line.
    pub fn line(&self) -> String {
        let counts = serde_json::to_string(self).unwrap_or_default();
        format!("{COUNTED}{counts}")
    }
}

impl Spool {
    /// The folder that the environment names; `None`: this is no campaign.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(kernel: &str, contract: Contract) -> io::Result<Option<Spool>> {
        match std::env::var_os(FINDINGS_VARIABLE).filter(|it| !it.is_empty()) {
            Some(folder) => Spool::at(folder.into(), kernel, contract).map(Some),
            None => Ok(None),
        }
    }

    fn at(folder: PathBuf, kernel: &str, contract: Contract) -> io::Result<Spool> {
        let folder = folder.canonicalize()?;
        let deadly = match fs::read_to_string(folder.join(DEADLY)) {
            Ok(text) => text.lines().map(str::to_owned).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => HashSet::new(),
            Err(error) => return Err(error),
        };
        Ok(Spool {
            folder,
            kernel: kernel.to_owned(),
            contract,
            full: HashSet::new(),
            deadly,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether one more of this look is of use.
    pub fn wants(&mut self, look: &str, property: Property) -> bool {
        if self.full.contains(look) {
            return false;
        }
        let names = self.names();
        let begin = |prefix: String| names.iter().filter(|it| it.starts_with(&prefix)).count();
        let wants = begin(format!("{look}-")) < MOST_ALIKE
            && begin(format!("{property}-")) < MOST_OF_A_PROPERTY;
        if !wants {
            self.full.insert(look.to_owned());
        }
        wants
    }

    /// The records that are there.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|it| it.file_name().into_string().ok());
        let suffix = format!(".{EXTENSION}");
        let is_record = |it: &String| it.ends_with(&suffix) && !it.starts_with('.');
        names.filter(is_record).collect()
    }

    /// Whether it is kept already that a scenario, by its text, does what looks so.
    pub fn has(&self, look: &str, scenario: &str) -> bool {
        self.has_record(&record::stem(look, scenario))
    }

    fn has_record(&self, stem: &str) -> bool {
        self.folder.join(format!("{stem}.{EXTENSION}")).exists()
    }

    /// Leaves a violation there: first for people, then for the campaign, which then
    /// finds it whole. What is there already, or is being left by another guest, stays as
    /// it is: the campaign may have come further with it. Returns whether it was left.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&self, look: &str, finding: Finding, log: Option<&str>) -> io::Result<bool> {
        let stem = record::stem(look, &finding.original);
        // Guests have the same process ids, and so the same names for unfinished files:
        // of one violation only one may write.
        let Some(_claim) = Claim::take(&self.folder, &stem)? else {
            return Ok(false);
        };
        // Only now: it may have been kept until just now.
        if self.has_record(&stem) {
            return Ok(false);
        }
        self.write(&stem, finding, log)?;
        Ok(true)
    }

    fn write(&self, stem: &str, finding: Finding, log: Option<&str>) -> io::Result<()> {
        let record = Record {
            finding,
            kernel: self.kernel.clone(),
            contract: self.contract,
            state: State::New,
            has_log: log.is_some(),
            attempts: 0,
            misses: 0,
        };
        let log_name = format!("{stem}.log");
        if let Some(log) = log {
            whole::write(&self.folder, &log_name, log.as_bytes())?;
        }
        let text = record.render(log.map(|_| &*log_name));
        whole::write(&self.folder, format!("{stem}.scn"), text.as_bytes())?;
        record.write(&self.folder, stem)
    }

    /// Remembers a scenario that a kernel has not lived through: no guest of this
    /// campaign runs it again.
    ///
    /// # Errors
    /// What the file system says.
    pub fn note_deadly(&self, scenario: &str) -> io::Result<()> {
        let path = self.folder.join(DEADLY);
        let mut file = fs::File::options().create(true).append(true).open(path)?;
        // One write: others may write theirs at the same time.
        file.write_all(format!("{}\n", record::short_hash(scenario)).as_bytes())
    }

    /// Whether a scenario is one of those.
    pub fn is_deadly(&self, scenario: &dyn std::fmt::Display) -> bool {
        // Nearly always there is none, and its text is not needed.
        !self.deadly.is_empty()
            && self
                .deadly
                .contains(&record::short_hash(&scenario.to_string()))
    }
}

/// The right to write the files of one violation.
struct Claim(PathBuf);

impl Claim {
    /// `None`: another has it.
    fn take(folder: &Path, stem: &str) -> io::Result<Option<Claim>> {
        let path = folder.join(format!(".{stem}.{CLAIM}"));
        match fs::File::create_new(&path) {
            Ok(_) => Ok(Some(Claim(path))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes what guests have not finished, as they were ended: none may be at work.
///
/// # Errors
/// What the file system says.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_unfinished = entry.file_name().as_encoded_bytes().starts_with(b".");
        if is_unfinished && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::text;

    fn spool(folder: &Path) -> Spool {
        Spool::at(folder.to_owned(), "6.12-stock-kcov", Contract::Stable).unwrap()
    }

    fn finding(number: usize) -> Finding {
        let scenario = text::parse("t", &format!("sendfile 0+{}\n", number + 1)).unwrap();
        Finding::suspect(0, Property::Wire, "torn".into(), &scenario)
    }

    #[test]
    fn of_what_looks_the_same_a_few_are_kept_by_all_guests_together() {
        let dir = tempfile::tempdir().unwrap();
        let mut guests = [spool(dir.path()), spool(dir.path())];
        let mut kept = 0;
        for number in 0..10 {
            let guest = &mut guests[number % 2];
            if guest.wants("wire-1", Property::Wire) {
                guest.keep("wire-1", finding(number), None).unwrap();
                kept += 1;
            }
        }
        assert_eq!(kept, MOST_ALIKE);
        assert!(guests[0].wants("wire-2", Property::Wire));
        // Nor does anything else fill the disk.
        for number in 0..MOST_OF_A_PROPERTY {
            let look = format!("wire-x{number}");
            if guests[0].wants(&look, Property::Wire) {
                guests[0].keep(&look, finding(number), None).unwrap();
            }
        }
        assert_eq!(guests[0].names().len(), MOST_OF_A_PROPERTY);
        assert!(!guests[1].wants("wire-new", Property::Wire));
        assert!(guests[1].wants("counts-new", Property::Counts));
    }

    #[test]
    fn what_is_known_is_left_as_far_as_it_has_come() {
        let dir = tempfile::tempdir().unwrap();
        let first = spool(dir.path());
        let text = finding(0).original;
        assert!(!first.has("wire-1", &text));
        assert!(first.keep("wire-1", finding(0), None).unwrap());
        let stem = record::stem("wire-1", &text);
        let mut record = Record::read(dir.path(), &stem).unwrap();
        record.state = State::Smaller;
        record.write(dir.path(), &stem).unwrap();
        // Another guest meets it, or one of the next session.
        let next = spool(dir.path());
        assert!(next.has("wire-1", &text) && !next.has("wire-2", &text));
        assert!(!next.keep("wire-1", finding(0), Some("BUG")).unwrap());
        assert_eq!(Record::read(dir.path(), &stem).unwrap(), record);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn of_guests_that_keep_the_same_at_once_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let log = "x".repeat(1 << 16);
        for number in 0..20 {
            // One process id, as guests have.
            let keep = || spool(dir.path()).keep("wire-1", finding(number), Some(&log));
            let kept: Vec<bool> = std::thread::scope(|scope| {
                let guests: Vec<_> = (0..4).map(|_| scope.spawn(keep)).collect();
                guests
                    .into_iter()
                    .map(|it| it.join().unwrap().unwrap())
                    .collect()
            });
            assert_eq!(kept.iter().filter(|it| **it).count(), 1, "{number}");
        }
        let names = spool(dir.path()).names();
        assert_eq!(names.len(), 20);
        for name in names {
            Record::read(dir.path(), name.strip_suffix(".json").unwrap()).unwrap();
        }
    }

    #[test]
    fn who_is_ended_while_it_writes_blocks_nobody_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let guest = spool(dir.path());
        let stem = record::stem("wire-1", &finding(0).original);
        std::mem::forget(Claim::take(dir.path(), &stem).unwrap().unwrap());
        fs::write(dir.path().join(format!(".{stem}.json.7")), "{").unwrap();
        assert!(!guest.keep("wire-1", finding(0), None).unwrap());
        sweep(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(guest.keep("wire-1", finding(0), None).unwrap());
    }

    #[test]
    fn what_comes_to_inputs_is_told_soon_but_not_with_each() {
        let mut counted = Counted {
            inputs: 500,
            ..Counted::default()
        };
        assert!(!counted.is_due(0));
        counted.excused.insert(Bug::LateSyn, 1);
        assert!(counted.is_due(TOLD_AT_ONCE));
        counted.inputs = 1;
        assert!(counted.is_due(0) && !counted.is_due(TOLD_AT_ONCE));
    }

    #[test]
    fn what_is_kept_has_a_text_a_record_and_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool(dir.path());
        spool.keep("wire-1", finding(0), Some("BUG: x")).unwrap();
        let names = spool.names();
        let stem = names[0].strip_suffix(".json").unwrap();
        let record = Record::read(dir.path(), stem).unwrap();
        assert_eq!((record.state, record.has_log), (State::New, true));
        let log = fs::read_to_string(dir.path().join(format!("{stem}.log"))).unwrap();
        assert_eq!(log, "BUG: x");
        let text = fs::read_to_string(dir.path().join(format!("{stem}.scn"))).unwrap();
        assert!(text.contains(&format!("{stem}.log")), "{text}");
    }

    #[test]
    fn what_is_deadly_is_known_to_the_guests_that_come_after() {
        let dir = tempfile::tempdir().unwrap();
        let first = spool(dir.path());
        assert!(!first.is_deadly(&"sendfile 0+1\n"));
        first.note_deadly("sendfile 0+1\n").unwrap();
        first.note_deadly("sendfile 0+2\n").unwrap();
        let next = spool(dir.path());
        assert!(next.is_deadly(&"sendfile 0+1\n") && next.is_deadly(&"sendfile 0+2\n"));
        assert!(!next.is_deadly(&"sendfile 0+3\n"));
    }
}
