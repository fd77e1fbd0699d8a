//! Where a campaign's guests leave what they find, and go on.
//!
//! The folder is one for all guests of a campaign, and for those that come after them.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

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
    pub fn folder(&self) -> &std::path::Path {
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

    /// Leaves a violation there: first for people, then for the campaign, which then
    /// finds it whole.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&self, look: &str, finding: Finding, log: Option<&str>) -> io::Result<()> {
        let record = Record {
            finding,
            kernel: self.kernel.clone(),
            contract: self.contract,
            state: State::New,
            has_log: log.is_some(),
            attempts: 0,
            misses: 0,
        };
        let stem = record.stem(look);
        let log_name = format!("{stem}.log");
        if let Some(log) = log {
            whole::write(&self.folder, &log_name, log.as_bytes())?;
        }
        let text = record.render(log.map(|_| &*log_name));
        whole::write(&self.folder, format!("{stem}.scn"), text.as_bytes())?;
        record.write(&self.folder, &stem)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::text;

    fn spool(folder: &std::path::Path) -> Spool {
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
