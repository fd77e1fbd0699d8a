//! What is to be made smaller: files of several kinds, and folders of them.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::output::FOLDER;
use crate::kernel::KernelName;
use crate::oracle::Property;
use crate::scenario::text::{self, ReadError};
use crate::scenario::{Expected, Scenario, normalize};

/// How scenario files are called.
const EXTENSION: &str = "scn";
/// What a property test prints before each line of a scenario that breaks it.
const FOUND: &str = "found: ";
/// As much of a test's output is searched.
const MAX_OUTPUT_BYTES: u64 = 64 << 20;

/// A failing scenario.
#[derive(Debug, Clone)]
pub(super) struct Input {
    /// Where it was read.
    pub file: PathBuf,
    /// Normalized.
    pub scenario: Scenario,
    /// Operations that stand in the file; normalization gives every scenario one.
    ops: usize,
}

/// What was read, and how many files of the folders were no scenarios.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub inputs: Vec<Input>,
    pub others: usize,
}

/// Reads files, and folders with all that is below them but `except`, which gets the results,
/// and what has the name of such folders: that is of earlier runs.
///
/// A file that is named, and one called `.scn`, must be a scenario. Any other file in a
/// folder is taken if it happens to be one: what libFuzzer keeps has names of its own.
pub(super) fn read(paths: &[PathBuf], except: Option<&Path>) -> Result<Inputs, ReadError> {
    let mut all = Inputs::default();
    // However it is written. One that is not there yet is none of them.
    let except = except.and_then(|it| it.canonicalize().ok());
    for path in paths {
        if path.is_dir() {
            let before = all.inputs.len();
            folder(path, except.as_deref(), &mut all)?;
            if all.inputs.len() == before {
                return Err(ReadError::NoScenarios(path.clone()));
            }
        } else {
            all.inputs.push(file(path)?);
        }
    }
    Ok(all)
}

fn folder(path: &Path, except: Option<&Path>, all: &mut Inputs) -> Result<(), ReadError> {
    let io = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .map_err(io)?
        .map(|entry| entry.map(|it| it.path()))
        .collect::<Result<_, _>>()
        .map_err(io)?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default();
        // What begins with a dot is half written, or somebody else's.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // A link to a folder may lead back to where we come from, and who reads a pipe waits
        // for somebody who writes.
        let meta = fs::metadata(&entry);
        let (is_folder, is_other) = meta.map_or((false, false), |it| {
            (it.is_dir(), !it.is_dir() && !it.is_file())
        });
        if is_folder && !entry.is_symlink() {
            let real = entry.canonicalize().ok();
            if name == FOLDER || real.is_some_and(|it| Some(it.as_path()) == except) {
                continue;
            }
            folder(&entry, except, all)?;
        } else if is_folder || is_other {
            all.others += 1;
        } else if entry.extension().is_some_and(|it| it == EXTENSION) {
            all.inputs.push(file(&entry)?);
        } else {
            match file(&entry) {
                Ok(input) if input.ops > 0 => all.inputs.push(input),
                _ => all.others += 1,
            }
        }
    }
    Ok(())
}

fn file(path: &Path) -> Result<Input, ReadError> {
    let scenario = text::read_file(path).or_else(|error| said(path).ok_or(error))?;
    Ok(Input {
        file: path.to_owned(),
        ops: scenario.steps.len(),
        scenario: normalize::normalize(scenario),
    })
}

/// The scenario in what a failing property test has printed.
fn said(path: &Path) -> Option<Scenario> {
    let mut output = Vec::new();
    // A device has no end.
    let file = File::open(path).ok()?;
    file.take(MAX_OUTPUT_BYTES).read_to_end(&mut output).ok()?;
    let output = String::from_utf8_lossy(&output);
    let lines = output.lines().map(str::trim_start);
    // A test that failed on two kernels has found two; the first is as good.
    let lines = lines
        .skip_while(|line| !line.starts_with(FOUND))
        .map_while(|line| line.strip_prefix(FOUND).or_else(|| empty(line)));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let scenario = text::parse("found", &text).ok()?;
    (!scenario.steps.is_empty()).then_some(scenario)
}

/// `found: ` of an empty line, the blank of which was lost on the way.
fn empty(line: &str) -> Option<&str> {
    (line == FOUND.trim_end()).then_some("")
}

impl Input {
    /// The kernel that breaks something, as far as the file says; rather the usual one.
    pub fn kernel(&self, usual: &KernelName) -> Option<KernelName> {
        if self.property(usual).is_some() {
            return Some(usual.clone());
        }
        let expects = self.scenario.expects.iter();
        let mut broken = expects.clone().filter_map(|it| match it.verdict {
            Expected::Violates(_) => it.kernel.split('@').next()?.parse().ok(),
            Expected::Holds(_) | Expected::Either => None,
        });
        // What a property test keeps says that a kernel is to hold, which it does not.
        let mut all = expects.filter_map(|it| it.kernel.parse().ok());
        broken.next().or_else(|| all.next())
    }

    /// What it breaks on that kernel, as far as the file says.
    pub fn property(&self, kernel: &KernelName) -> Option<Property> {
        let name = kernel.to_string();
        let mut lines = self.scenario.expects.iter();
        match &lines.find(|it| it.is_about(&name))?.verdict {
            Expected::Violates(property) => property.parse().ok(),
            Expected::Holds(_) | Expected::Either => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RACE: &str = "sendfile 0+4096\nmmap-write 0+4096\n";

    #[test]
    fn a_folder_is_its_scenarios_whatever_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["out", "below/minimized", "minimized"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let printed =
            format!("noise\n  {FOUND}link data delay=1ms\n  found:\n  {FOUND}sendfile 0+1\nmore\n");
        for (name, text) in [
            ("a.scn", RACE),
            ("crash-0123", RACE),
            ("below/minimized-from-9", RACE),
            ("z.log", &printed),
            ("out/a.scn", RACE),
            // Of earlier runs, which wrote to where nobody said.
            ("minimized/a.scn", RACE),
            ("below/minimized/a.scn", RACE),
            (".half.scn.7", RACE),
            ("causes.txt", "no scenario\n"),
            ("empty", ""),
        ] {
            fs::write(at(name), text).unwrap();
        }
        let all = read(&[dir.path().to_owned()], Some(&at("below/../out"))).unwrap();
        let files: Vec<PathBuf> = all.inputs.iter().map(|it| it.file.clone()).collect();
        let expected = ["a.scn", "below/minimized-from-9", "crash-0123", "z.log"];
        assert_eq!(files, expected.map(at));
        assert_eq!(all.others, 2);
        assert_eq!(all.inputs[3].scenario.setup.data.delay_us, 1000);
        // Such a folder is one like any other to who names it.
        let all = read(&[at("minimized")], Some(&at("out"))).unwrap();
        assert_eq!(all.inputs.len(), 1);
        // What is named has to be a scenario.
        assert!(read(&[at("causes.txt")], Some(&at("out"))).is_err());
        assert!(read(&[at("missing")], Some(&at("out"))).is_err());
        fs::write(at("bad.scn"), "no scenario\n").unwrap();
        let error = read(&[dir.path().to_owned()], Some(&at("out"))).unwrap_err();
        assert!(error.to_string().contains("bad.scn:1:1"), "{error}");
    }

    #[test]
    fn what_has_no_end_in_a_folder_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a.scn"), RACE).unwrap();
        std::os::unix::fs::symlink(".", at("back")).unwrap();
        for pipe in ["pipe", "pipe.scn"] {
            nix::unistd::mkfifo(&at(pipe), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        let all = read(&[dir.path().to_owned()], Some(&at("out"))).unwrap();
        let files: Vec<PathBuf> = all.inputs.iter().map(|it| it.file.clone()).collect();
        assert_eq!(files, [at("a.scn")]);
        assert_eq!(all.others, 3);
        // Nor has a device that is named.
        let error = read(&["/dev/zero".into()], Some(&at("out"))).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }

    #[test]
    fn a_file_says_what_breaks_on_which_kernel() {
        let input = |text: &str| Input {
            file: "t.scn".into(),
            scenario: text::parse("t.scn", text).unwrap(),
            ops: 2,
        };
        let usual: KernelName = "6.12-stock".parse().unwrap();
        let table = [
            ("", None, None),
            (
                "expect 6.1-stock holds\nexpect stock violates wire\n",
                Some("6.12-stock"),
                Some(Property::Wire),
            ),
            ("expect tree violates wire\n", None, None),
            (
                "expect 7.3-stock violates wire\n",
                Some("7.3-stock"),
                Some(Property::Wire),
            ),
            ("expect 6.12-patched holds\n", Some("6.12-patched"), None),
            (
                "expect 6.12-patched holds\nexpect 7.3-detach violates counts\n",
                Some("7.3-detach"),
                Some(Property::Counts),
            ),
        ];
        for (expects, kernel, property) in table {
            let input = input(&format!("{expects}\n{RACE}"));
            let found = input.kernel(&usual);
            assert_eq!(
                found.as_ref().map(ToString::to_string).as_deref(),
                kernel,
                "{expects}"
            );
            if let Some(found) = found {
                assert_eq!(input.property(&found), property, "{expects}");
            }
        }
    }
}
