//! A violation as a file that can be replayed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::campaign::job::Finding;
use crate::kernel::{KernelName, Machine};
use crate::report::whole;
use crate::scenario::{Expect, Expected, text};

/// Where a finding comes from.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    /// The kernel that showed it.
    pub kernel: &'a KernelName,
    /// What ran it.
    pub machine: Machine,
    /// Seed of the campaign, if it comes from one.
    pub seed: Option<u64>,
}

/// The finding as a scenario file: what was seen as its header, what a replay
/// must see as its `expect` line, then the smallest scenario.
pub fn render(finding: &Finding, origin: &Origin<'_>) -> String {
    let Ok(mut scenario) = text::parse("finding", &finding.minimized) else {
        // Ours, so it parses; if ever not, the text itself is what must be kept.
        return finding.minimized.clone();
    };
    let kernel = origin.kernel;
    let made = match finding.shrink_runs {
        0 => "not made smaller".to_string(),
        _ => format!(
            "made smaller from {} to {} ops",
            finding.steps_before, finding.steps_after
        ),
    };
    let case = match origin.seed {
        Some(seed) => format!("Case {} of seed {seed}, {made}.", finding.index),
        None => made[..1].to_uppercase() + &made[1..] + ".",
    };
    let only = match &finding.history {
        Some(_) => format!(
            " What that run has shown is in the file beside this one, with {HISTORY_SUFFIX} behind its name."
        ),
        None => String::new(),
    };
    let message: Vec<String> = finding.message.trim_end().lines().map(wrap).collect();
    scenario.header = format!(
        "{kernel} violates {}.\n\n{}\n\n{}",
        finding.property,
        message.join("\n"),
        wrap(&format!(
            "Seen in {} of {} runs. {case}{only}",
            finding.seen, finding.of,
        )),
    );
    scenario.expects = vec![Expect {
        kernel: match origin.machine {
            Machine::Uml | Machine::Host => kernel.to_string(),
            // Another engine may not show it.
            Machine::Qemu(_) => format!("{kernel}@{}", origin.machine.plain()),
        },
        verdict: Expected::Violates(finding.property.to_string()),
    }];
    scenario.to_string()
}

/// Behind the name of a finding: the history of the only run that showed it, as JSON.
pub const HISTORY_SUFFIX: &str = ".history.json";

/// Writes the finding into `directory` and returns the file's path. Writing it
/// again, smaller, replaces the file; there is never half a file. Where no other run
/// has shown it, what was seen in that one goes into a file beside it.
pub fn save(finding: &Finding, origin: &Origin<'_>, directory: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let engine = match origin.machine {
        Machine::Uml | Machine::Host => "",
        Machine::Qemu(_) => "-qemu",
    };
    let name = format!(
        "{}{engine}-{}-{}-{}.scn",
        file_name(&origin.kernel.to_string()),
        finding.property,
        origin.seed.unwrap_or(0),
        finding.index
    );
    // What cannot be had again: before the file that says that it cannot.
    if let Some(history) = &finding.history {
        let name = format!("{name}{HISTORY_SUFFIX}");
        whole::write(directory, &name, &serde_json::to_vec(history)?)?;
    }
    whole::write(directory, &name, render(finding, origin).as_bytes())
}

/// One line as several of at most 76 characters, where words allow.
fn wrap(line: &str) -> String {
    let mut wrapped = String::new();
    let mut width = 0;
    for word in line.split(' ') {
        let len = word.chars().count();
        if width > 0 && width + 1 + len > 76 {
            wrapped.push('\n');
            width = 0;
        } else if width > 0 {
            wrapped.push(' ');
            width += 1;
        }
        wrapped.push_str(word);
        width += len;
    }
    wrapped
}

/// The name of a kernel as a part of a file's name: what cannot stand there is left out, and
/// no two kernels have the same.
pub fn file_name(kernel: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => c,
        _ => '-',
    };
    let name: String = kernel.chars().map(plain).collect();
    if name == kernel {
        return name;
    }
    // Of a path the end says most, and all of it may be longer than a name can be.
    let end = &name[name.len().saturating_sub(MOST_OF_A_PATH)..];
    let hash = blake3::hash(kernel.as_bytes()).to_hex();
    format!("{}-{}", end.trim_start_matches('-'), &hash[..8])
}

/// So many characters of the name of a kernel with a path stand in a file's name.
const MOST_OF_A_PATH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::job::Event;
    use crate::history::History;
    use crate::oracle::Property;

    fn finding() -> Finding {
        Finding {
            index: 3,
            property: Property::StableOnReturn,
            message: "word ".repeat(40) + "\nlast line",
            seen: 9,
            of: 10,
            original: "sendfile 0+4096\nmmap-write 0+4096\npwrite 0+1\n".into(),
            minimized: "sendfile 0+4096\nmmap-write 0+4096\n".into(),
            steps_before: 3,
            steps_after: 2,
            bytes_before: 8193,
            bytes_after: 8192,
            shrink_runs: 5,
            history: None,
            stopped: None,
        }
    }

    #[test]
    fn a_finding_is_a_scenario_that_says_what_to_expect() {
        let kernel = "6.12-stock".parse().unwrap();
        let origin = Origin {
            machine: Machine::Uml,
            kernel: &kernel,
            seed: Some(7),
        };
        let rendered = render(&finding(), &origin);
        assert!(rendered.lines().all(|line| line.len() <= 78), "{rendered}");
        let scenario = text::parse("finding", &rendered).unwrap();
        assert_eq!(scenario.steps.len(), 2);
        assert_eq!(scenario.expects.len(), 1);
        assert_eq!(scenario.expects[0].kernel, "6.12-stock");
        let violates = Expected::Violates("stable-on-return".into());
        assert_eq!(scenario.expects[0].verdict, violates);
        for words in [
            "last line",
            "9 of 10 runs",
            "Case 3 of seed 7",
            "from 3 to 2 ops",
        ] {
            assert!(scenario.header.contains(words), "{words}: {rendered}");
        }
    }

    #[test]
    fn saving_again_replaces_the_file_and_leaves_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = "tree:/my linux".parse().unwrap();
        let origin = Origin {
            machine: Machine::Uml,
            kernel: &kernel,
            seed: None,
        };
        let mut finding = finding();
        let first = save(&finding, &origin, dir.path()).unwrap();
        finding.seen = 1;
        let second = save(&finding, &origin, dir.path()).unwrap();
        assert_eq!(first, second);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let text = fs::read_to_string(&second).unwrap();
        assert!(text.contains("1 of 10 runs"), "{text}");
        let name = second.file_name().unwrap().to_str().unwrap();
        assert!(!name.contains(['/', ' ', ':']), "{name}");
    }

    #[test]
    fn no_two_kernels_have_one_file_name() {
        assert_eq!(file_name("6.12-stock-debug"), "6.12-stock-debug");
        let long = format!("tree:/{}", "x/".repeat(500));
        let kernels = [
            "tree:/a/b",
            "tree:/a-b",
            "tree:/a b",
            "tree--a-b",
            "tree:/\u{e9}",
        ];
        let mut names: Vec<String> = kernels.map(file_name).to_vec();
        names.extend([file_name(&long), file_name(&format!("{long}y"))]);
        for name in &names {
            assert!(
                name.len() < 120 && !name.contains(['/', ' ', ':']),
                "{name}"
            );
            assert_eq!(names.iter().filter(|it| *it == name).count(), 1, "{name}");
        }
        assert!(names[0].starts_with("tree--a-b-"), "{names:?}");
    }

    #[test]
    fn what_only_one_run_has_shown_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = "6.12-stock".parse().unwrap();
        let origin = Origin {
            machine: Machine::Uml,
            kernel: &kernel,
            seed: Some(7),
        };
        let plan = crate::oracle::doctor::Plan::new(4096);
        let seen = Finding {
            seen: 0,
            history: Some(Box::new(plan.history.clone())),
            ..finding()
        };
        // By way of the guest's console.
        let told = Event::Found(seen).to_string();
        let Ok(Event::Found(seen)) = told.parse() else {
            panic!("{told}");
        };
        let path = save(&seen, &origin, dir.path()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(HISTORY_SUFFIX), "{text}");
        assert!(text.lines().all(|line| line.len() <= 78), "{text}");
        let beside = format!("{}{HISTORY_SUFFIX}", path.display());
        let kept: History = serde_json::from_slice(&fs::read(beside).unwrap()).unwrap();
        assert_eq!(kept, plan.history);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let kernel = "6.12-stock".parse().unwrap();
        let origin = Origin {
            machine: Machine::Uml,
            kernel: &kernel,
            seed: None,
        };
        assert!(save(&finding(), &origin, &file).is_err());
    }
}
