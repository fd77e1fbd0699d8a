//! What a campaign keeps of each violation, as one file that programs read and one that
//! people do.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::campaign::job::Finding;
use crate::kernel::KernelName;
use crate::minimize::cause;
use crate::oracle::{Contract, Property};
use crate::report::finding::{self, Origin};
use crate::report::whole;
use crate::scenario::{Scenario, text};

/// How the files that programs read are called.
pub const EXTENSION: &str = "json";

/// A violation, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was seen; made smaller, once it is.
    pub finding: Finding,
    /// The kernel that showed it.
    pub kernel: String,
    /// What it was held to.
    pub contract: Contract,
    /// What has been done about it.
    pub state: State,
    /// Whether the kernel's log is in a file beside it.
    #[serde(default)]
    pub has_log: bool,
    /// How often it could not be looked at.
    #[serde(default)]
    pub attempts: u32,
    /// How often it was run on a kernel just booted, and not seen.
    #[serde(default)]
    pub misses: u32,
}

/// What has been done about a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing yet.
    New,
    /// It was seen again and made smaller.
    Smaller,
    /// It could not be seen again.
    Lost,
}

/// What violations have in common that are probably the same, before any of them was
/// made smaller: the property, the kind of socket, and the message but for its numbers.
/// Of a message with a kernel's log, the first line.
pub fn look(scenario: &Scenario, property: Property, message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let family = scenario.setup.socket.family;
    let what = format!("{family:?} {}", cause::without_numbers(line));
    format!("{property}-{}", short_hash(&what))
}

/// The name of a record's files, but for the extension: what it looks like, and which
/// scenario it is.
pub fn stem(look: &str, scenario: &str) -> String {
    format!("{look}-{}", short_hash(scenario))
}

/// Enough of a hash for a file's name.
pub fn short_hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..8].to_owned()
}

impl Record {
    /// It ran once more, and was not seen; after `most` of these it is not looked for any
    /// more.
    pub fn miss(&mut self, most: u32) {
        self.finding.of += 1;
        self.misses += 1;
        if self.misses >= most {
            self.state = State::Lost;
        }
    }

    /// As a scenario that can be replayed, with what is known of it in front. `log` is
    /// the name of the file with the kernel's log.
    pub fn render(&self, log: Option<&str>) -> String {
        let Ok(kernel) = self.kernel.parse::<KernelName>() else {
            return self.finding.minimized.clone();
        };
        let origin = Origin {
            machine: crate::kernel::Machine::Uml,
            kernel: &kernel,
            seed: None,
        };
        let rendered = finding::render(&self.finding, &origin);
        let Ok(mut scenario) = text::parse("finding", &rendered) else {
            return rendered;
        };
        let mut more = format!("Found by the fuzzer, under the contract {}.", self.contract);
        if self.state == State::Lost {
            // Nobody can expect it.
            scenario.expects.clear();
            more += match self.misses {
                0 => "\nIt could not be run again on a kernel just booted.",
                _ => {
                    "\nOn a kernel just booted it is not seen again: what ran before it had a\n\
                     part in it."
                }
            };
        }
        if let Some(log) = log {
            more += &format!("\nThe kernel's log is in {log}.");
        }
        scenario.header = format!("{}\n\n{more}", scenario.header);
        scenario.to_string()
    }

    /// Writes it for programs, in place of what had that name.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path, stem: &str) -> io::Result<()> {
        let name = format!("{stem}.{EXTENSION}");
        whole::write(folder, name, &serde_json::to_vec(self)?)?;
        Ok(())
    }

    /// Reads it back.
    ///
    /// # Errors
    /// What the file system says, or it is none.
    pub fn read(folder: &Path, stem: &str) -> io::Result<Record> {
        let bytes = fs::read(folder.join(format!("{stem}.{EXTENSION}")))?;
        Ok(serde_json::from_slice(&bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: State) -> Record {
        let scenario = text::parse("t", "sendfile 0+4096\nmmap-write 0+4096\n").unwrap();
        Record {
            finding: Finding::suspect(
                0,
                Property::StableOnReturn,
                "1 byte is torn".into(),
                &scenario,
            ),
            kernel: "6.12-stock-kcov".into(),
            contract: Contract::Stable,
            state,
            has_log: false,
            attempts: 0,
            misses: 0,
        }
    }

    #[test]
    fn it_survives_a_file_and_is_a_scenario_for_people() {
        let dir = tempfile::tempdir().unwrap();
        let record = record(State::New);
        record.write(dir.path(), "a").unwrap();
        assert_eq!(Record::read(dir.path(), "a").unwrap(), record);
        assert!(Record::read(dir.path(), "b").is_err());

        let text = record.render(Some("a.log"));
        let scenario = text::parse("a.scn", &text).unwrap();
        assert_eq!(scenario.steps.len(), 2);
        assert_eq!(scenario.expects.len(), 1, "{text}");
        for words in ["1 byte is torn", "contract stable", "a.log", "1 of 1 runs"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn what_is_not_seen_again_is_not_expected() {
        let mut record = record(State::Lost);
        for (misses, words) in [(0, "could not be run again"), (1, "not seen again")] {
            record.misses = misses;
            let text = record.render(None);
            let scenario = text::parse("a.scn", &text).unwrap();
            assert!(scenario.expects.is_empty(), "{text}");
            let said = ["could not be run again", "not seen again"].map(|it| text.contains(it));
            assert_eq!(said.iter().filter(|it| **it).count(), 1, "{text}");
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn numbers_make_no_new_look_and_other_words_do() {
        let scenario = |text: &str| text::parse("t", text).unwrap();
        let tcp = scenario("sendfile 0+1\n");
        let ipv6 = scenario("socket tcp6\n\nsendfile 0+1\n");
        let first = look(&tcp, Property::Wire, "byte 7 (0x1f) is 3\nsecond line");
        assert_eq!(first, look(&tcp, Property::Wire, "byte 70 (0x2f) is 4"));
        for other in [
            look(&tcp, Property::Counts, "byte 7 (0x1f) is 3"),
            look(&tcp, Property::Wire, "byte 7 (0x1f) was 3"),
            look(&ipv6, Property::Wire, "byte 7 (0x1f) is 3"),
        ] {
            assert_ne!(first, other);
        }
        assert!(first.starts_with("wire-"), "{first}");
    }
}
