//! The scenarios in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::ReadError;

/// How the name of a file with a scenario ends.
const EXTENSION: &str = "scn";

/// The scenario files that `path` names: itself, or all `.scn` files in the folder and
/// in those below it, by name. A link to a folder is not followed, as it may lead in a
/// circle.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    // Of what cannot be read, the reading will say why.
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    search(path, &mut found)?;
    if found.is_empty() {
        return Err(ReadError::NoScenarios(path.to_owned()));
    }
    found.sort();
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), ReadError> {
    let io = |source| ReadError::Io {
        path: folder.to_owned(),
        source,
    };
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let path = entry.path();
        if entry.file_type().map_err(io)?.is_dir() {
            search(&path, found)?;
        } else if path.extension().is_some_and(|it| it == EXTENSION) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_scenarios_and_those_below() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("below")).unwrap();
        for name in ["b.scn", "a.scn", "a.txt", "below/c.scn"] {
            fs::write(at(name), "").unwrap();
        }
        // Else a circle would be searched for ever.
        std::os::unix::fs::symlink(dir.path(), at("below/above")).unwrap();
        let found = files(dir.path()).unwrap();
        assert_eq!(found, ["a.scn", "b.scn", "below/c.scn"].map(at));
    }

    #[test]
    fn a_file_is_itself_whatever_it_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("finding.txt");
        fs::write(&file, "").unwrap();
        assert_eq!(files(&file).unwrap(), [file]);
        let missing = dir.path().join("missing");
        assert_eq!(files(&missing).unwrap(), [missing]);
    }

    #[test]
    fn a_folder_without_scenarios_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.txt"), "").unwrap();
        let error = files(dir.path()).unwrap_err().to_string();
        let expected = format!("{}: no scenarios (.scn files)", dir.path().display());
        assert_eq!(error, expected);
    }
}
