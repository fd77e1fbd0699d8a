//! The folder that an explanation is written to. What it holds beside that is nobody's to
//! touch: a list in it says which files are ours.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::report::whole;

/// The list: a name a line.
const LIST: &str = ".inflight-explain";

/// A folder for an explanation.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// What is there of an earlier explanation.
    ours: BTreeSet<String>,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file would be overwritten that is somebody else's.
    #[error("{} is there already, and is not of an earlier explanation", .0.display())]
    Foreign(PathBuf),
    /// It cannot be made, read or written.
    #[error("cannot write to {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Folder {
    /// Looks whether files of these `names` may be written into the folder. It is made when
    /// they are: who is ended before that leaves nothing.
    ///
    /// # Errors
    /// [`Error::Foreign`] if one of them is there and is not ours.
    pub fn open(path: &Path, names: &[String]) -> Result<Folder, Error> {
        let files: Vec<&OsStr> = names.iter().map(OsStr::new).collect();
        whole::try_out(path, &files).map_err(at(path))?;
        let list = path.join(LIST);
        let ours = match fs::read_to_string(&list) {
            Ok(text) => text.lines().filter(is_name).map(str::to_owned).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(at(&list)(error)),
        };
        let foreign = names.iter().filter(|name| !ours.contains(*name));
        for file in foreign.map(|name| path.join(name)) {
            // A link that leads nowhere is somebody's, too.
            if file.symlink_metadata().is_ok() {
                return Err(Error::Foreign(file));
            }
        }
        Ok(Folder {
            path: path.to_owned(),
            ours,
        })
    }

    /// Writes the files, each at once or not at all, and removes those of an earlier
    /// explanation that this one has not.
    pub fn fill(&self, files: &[(String, Vec<u8>)]) -> Result<(), Error> {
        fs::create_dir_all(&self.path).map_err(at(&self.path))?;
        let names: BTreeSet<String> = files.iter().map(|(name, _)| name.clone()).collect();
        // First what is to be ours: whoever is ended in between has not left anything that
        // the next one refuses to replace.
        let list: BTreeSet<String> = self.ours.union(&names).cloned().collect();
        self.write_list(&list)?;
        for (name, bytes) in files {
            self.write(name, bytes)?;
        }
        for name in self.ours.difference(&names) {
            let file = self.path.join(name);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at(&file)(error));
                }
                _ => {}
            }
        }
        self.write_list(&names)
    }

    fn write_list(&self, names: &BTreeSet<String>) -> Result<(), Error> {
        let text: String = names.iter().flat_map(|name| [name, "\n"]).collect();
        self.write(LIST, text.as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let written = whole::write(&self.path, name, bytes).map(drop);
        written.map_err(at(&self.path.join(name)))
    }
}

/// Whether it is a file right there, whatever somebody made of the list.
fn is_name(line: &&str) -> bool {
    let path = Path::new(line);
    path.file_name() == Some(path.as_os_str())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != LIST)
            .collect();
        names.sort();
        names
    }

    fn fill(dir: &Path, files: &[(&str, &str)]) -> Result<(), Error> {
        let files: Vec<(String, Vec<u8>)> = files
            .iter()
            .map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()))
            .collect();
        let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
        Folder::open(dir, &names)?.fill(&files)
    }

    #[test]
    fn what_was_ours_is_replaced_and_what_was_not_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/folder");
        fill(&path, &[("report.md", "one"), ("stock.pcap", "x")]).unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        fill(&path, &[("report.md", "two"), ("patched.pcap", "y")]).unwrap();
        assert_eq!(names(&path), ["notes.txt", "patched.pcap", "report.md"]);
        assert_eq!(fs::read_to_string(path.join("report.md")).unwrap(), "two");
        let refused = fill(&path, &[("notes.txt", "three")]).unwrap_err();
        assert!(matches!(refused, Error::Foreign(_)), "{refused}");
        assert!(refused.to_string().contains("notes.txt"), "{refused}");
        assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
    }

    #[test]
    fn a_file_of_somebody_else_is_found_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("report.md")).unwrap();
        let refused = fill(dir.path(), &[("a.pcap", ""), ("report.md", "")]);
        assert!(matches!(refused, Err(Error::Foreign(_))), "{refused:?}");
        assert_eq!(names(dir.path()), ["report.md"]);
    }

    #[test]
    fn the_list_names_no_other_folder() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fill(&inner, &[("a", "")]).unwrap();
        fs::write(dir.path().join("b"), "mine").unwrap();
        fs::write(inner.join(LIST), "../b\na\n..\n/etc\n").unwrap();
        fill(&inner, &[("c", "")]).unwrap();
        assert_eq!(names(&inner), ["c"]);
        assert!(dir.path().join("b").exists());
    }

    #[test]
    fn a_folder_that_is_a_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = fill(&file, &[]).unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
        // The reason is for who prints the chain, and not twice.
        assert!(!error.contains("os error"), "{error}");
    }

    #[test]
    fn nothing_is_made_before_there_is_something_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/folder");
        Folder::open(&path, &["a".into()]).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        // Where even root may not write.
        for place in ["/proc/inflight/out", "/proc"] {
            let refused = Folder::open(place.as_ref(), &[]);
            assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
        }
    }
}
