//! What is to be run: scenario files, folders of them, corpora of libFuzzer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::fuzz;
use crate::scenario::text::{self, ReadError};
use crate::scenario::{Scenario, normalize};

/// How scenario files are called.
const EXTENSION: &str = "scn";

/// A scenario, and where it was read.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub file: PathBuf,
    pub scenario: Scenario,
}

/// Reads files, and folders with all that is below them.
///
/// A file that is called `.scn` must be a scenario. One without such an end is an input of
/// libFuzzer, to which any bytes mean a scenario. In a folder, what has another end is taken
/// if it happens to be a scenario: logs and notes lie there, too.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Input>, ReadError> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = all.len();
            folder(path, &mut all)?;
            if all.len() == before {
                return Err(ReadError::NoScenarios(path.clone()));
            }
        } else {
            all.push(file(path)?);
        }
    }
    Ok(all)
}

fn folder(path: &Path, all: &mut Vec<Input>) -> Result<(), ReadError> {
    let io = |source| ReadError::Io {
        path: path.to_owned(),
        source,
    };
    let entries = fs::read_dir(path).map_err(io)?;
    let entries: io::Result<Vec<PathBuf>> = entries.map(|it| Ok(it?.path())).collect();
    let mut entries = entries.map_err(io)?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default();
        // What begins with a dot is half written, or somebody else's.
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // A link to a folder may lead back to where we come from, and who reads a pipe
        // waits for somebody who writes.
        if entry.is_dir() && !entry.is_symlink() {
            folder(&entry, all)?;
        } else if entry.is_file() {
            match entry.extension() {
                None => all.push(file(&entry)?),
                Some(end) if end == EXTENSION => all.push(file(&entry)?),
                Some(_) => all.extend(text::read_file(&entry).ok().map(|it| input(&entry, it))),
            }
        }
    }
    Ok(())
}

fn file(path: &Path) -> Result<Input, ReadError> {
    match text::read_file(path) {
        Ok(scenario) => Ok(input(path, scenario)),
        // It is libFuzzer's: no text, and no more than that.
        Err(ReadError::Parse(_)) if path.extension().is_none() && path.is_file() => {
            let bytes = fs::read(path).map_err(|source| ReadError::Io {
                path: path.to_owned(),
                source,
            })?;
            let fuzz::Input(scenario) = fuzz::Input::of(&bytes);
            Ok(input(path, scenario))
        }
        Err(error) => Err(error),
    }
}

fn input(path: &Path, scenario: Scenario) -> Input {
    Input {
        file: path.to_owned(),
        scenario: normalize::normalize(scenario),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RACE: &str = "sendfile 0+4096\nmmap-write 0+4096\n";

    #[test]
    fn a_folder_is_its_scenarios_and_what_libfuzzer_keeps() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("below")).unwrap();
        for (name, bytes) in [
            ("a.scn", RACE.as_bytes()),
            ("below/0123abcd", RACE.as_bytes()),
            ("below/4567abcd", b"\xff\x00"),
            ("crash-89.log", b"Kernel panic\n"),
            ("README.md", b"# notes\n"),
            ("finding.txt", RACE.as_bytes()),
            (".half.scn.7", RACE.as_bytes()),
        ] {
            fs::write(at(name), bytes).unwrap();
        }
        std::os::unix::fs::symlink(".", at("back")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let all = read(&[dir.path().to_owned()]).unwrap();
        let files: Vec<&PathBuf> = all.iter().map(|it| &it.file).collect();
        let expected = ["a.scn", "below/0123abcd", "below/4567abcd", "finding.txt"].map(at);
        assert_eq!(files, expected.iter().collect::<Vec<_>>());
        assert_eq!(all[0].scenario, all[1].scenario);
        assert_eq!(all[2].scenario, fuzz::Input::of(b"\xff\x00").0);
    }

    #[test]
    fn what_is_named_has_to_be_there_and_a_scenario() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("bad.scn"), "no scenario\n").unwrap();
        fs::write(at("notes.txt"), "no scenario\n").unwrap();
        for name in ["bad.scn", "notes.txt", "missing"] {
            assert!(read(&[at(name)]).is_err(), "{name}");
        }
        fs::create_dir(at("empty")).unwrap();
        let error = read(&[at("empty")]).unwrap_err().to_string();
        assert!(error.contains("no scenarios"), "{error}");
    }
}
