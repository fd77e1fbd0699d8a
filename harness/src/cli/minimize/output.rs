//! Where results go. That they can is known before the search, which may take minutes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, anyhow};
use nix::unistd::{AccessFlags, access};

use super::causes;
use crate::report::finding::HISTORY_SUFFIX;
use crate::report::whole;

/// What the folder for several results is called, unless it is named.
pub(super) const FOLDER: &str = "minimized";

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Standard output.
    Printed,
    /// A file, whole or not at all.
    File(PathBuf),
    /// A pipe or a device, which is only written to.
    Stream(PathBuf),
    /// A folder, made when there is something to write.
    Folder(PathBuf),
}

impl Output {
    /// Looks whether results can be written there, and makes nothing.
    ///
    /// # Errors
    /// They cannot.
    pub fn open(files: &[PathBuf], named: Option<&Path>) -> Result<Output, Error> {
        let alone = matches!(files, [file] if !file.is_dir());
        match (alone, named) {
            (true, None) => Ok(Output::Printed),
            (true, Some(path)) => {
                let output = file(path);
                output.with_context(|| format!("cannot write --output {}", path.display()))
            }
            (false, Some(path)) => folder(path.to_owned()),
            (false, None) => {
                let first = files.iter().find(|path| path.is_dir());
                folder(first.map_or_else(|| FOLDER.into(), |first| first.join(FOLDER)))
            }
        }
    }

    /// The folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Output::Folder(path) => Some(path),
            _ => None,
        }
    }
}

fn file(path: &Path) -> Result<Output, Error> {
    let meta = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        meta => Some(meta?),
    };
    let ends_as_a_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if ends_as_a_folder || meta.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(anyhow!(
            "it is a folder, and of one file there is one result"
        ));
    }
    let Some(meta) = meta else {
        if path.is_symlink() {
            return Err(anyhow!("it is a link that leads nowhere"));
        }
        return to_be(path.to_owned());
    };
    access(path, AccessFlags::W_OK)?;
    match meta.is_file() && !is_descriptor(path) {
        // What a link leads to is replaced, not the link.
        true => to_be(path.canonicalize()?),
        false => Ok(Output::Stream(path.to_owned())),
    }
}

/// Looks whether a file can be put there.
fn to_be(path: PathBuf) -> Result<Output, Error> {
    let (folder, name) = split(&path)?;
    // Nobody makes that folder.
    fs::metadata(folder)?;
    whole::try_out(folder, &[name, &beside(name)])?;
    Ok(Output::File(path))
}

fn split(path: &Path) -> Result<(&Path, &OsStr), Error> {
    let name = path.file_name().context("that names no file")?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => Ok((folder, name)),
        _ => Ok((Path::new("."), name)),
    }
}

/// The name of the file with what only one run has shown.
fn beside(name: &OsStr) -> OsString {
    let mut beside = name.to_owned();
    beside.push(HISTORY_SUFFIX);
    beside
}

/// Whether it is another name of an open file (/dev/stdout): others may write to that, too,
/// and a file in its place would not have their part.
fn is_descriptor(path: &Path) -> bool {
    let folder = path.parent().and_then(|it| it.canonicalize().ok());
    folder.is_some_and(|it| it == Path::new("/dev") || it.starts_with("/proc"))
}

fn folder(path: PathBuf) -> Result<Output, Error> {
    let shown = path.display();
    if path.exists() && !path.is_dir() {
        let why = "of several files the results are files in a folder";
        return Err(anyhow!("--output {shown} must be a folder: {why}"));
    }
    let written = whole::try_out(&path, &[OsStr::new(causes::FILE)]);
    written.with_context(|| format!("cannot write to --output {shown}"))?;
    Ok(Output::Folder(path))
}

/// Writes a result, and beside it what only one run has shown. Returns its path.
pub(super) fn write(path: &Path, text: &str, history: Option<&str>) -> Result<PathBuf, Error> {
    let (folder, name) = split(path)?;
    if let Some(history) = history {
        whole::write(folder, beside(name), history.as_bytes())?;
    }
    whole::write(folder, name, text.as_bytes())?;
    Ok(path.to_owned())
}

/// Writes a result where it cannot be taken back.
pub(super) fn write_stream(path: &Path, text: &str) -> Result<PathBuf, Error> {
    let mut stream = fs::File::options().append(true).open(path)?;
    stream.write_all(text.as_bytes())?;
    Ok(path.to_owned())
}

/// Writes a result as [`write`] does, into a folder, which is made, and in the place of
/// nothing: under the name of the file that it was made from, with a number where that is
/// taken. Returns its path. If an earlier run has left the same, and none of this run's
/// results is meant by `taken`, that is it.
pub(super) fn write_new(
    folder: &Path,
    from: &Path,
    taken: &[PathBuf],
    text: &str,
    history: Option<&str>,
) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let mut number = 1;
    loop {
        let name = result_name(from, number);
        number += 1;
        let path = folder.join(&name);
        if taken.contains(&path) {
            continue;
        }
        match write_both(folder, &name, text, history) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            written => return written,
        }
        let same = || fs::read(&path).is_ok_and(|it| it == text.as_bytes());
        if history.is_none() && same() {
            return Ok(path);
        }
    }
}

fn write_both(folder: &Path, name: &str, text: &str, history: Option<&str>) -> io::Result<PathBuf> {
    let beside = beside(name.as_ref());
    let Some(history) = history else {
        if folder.join(beside).symlink_metadata().is_ok() {
            // It would be taken for this one's.
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        return whole::write_new(folder, name, text.as_bytes());
    };
    let beside = whole::write_new(folder, beside, history.as_bytes())?;
    let written = whole::write_new(folder, name, text.as_bytes());
    if written.is_err() {
        let _ = fs::remove_file(beside);
    }
    written
}

fn result_name(from: &Path, number: u32) -> String {
    // The name of an artifact has no extension that means anything.
    let name = match from.extension().is_some_and(|it| it == "scn") {
        true => from.file_stem(),
        false => from.file_name(),
    };
    let name = name.unwrap_or_default().to_string_lossy();
    match number {
        1 => format!("{name}.scn"),
        number => format!("{name}-{number}.scn"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;
    use std::os::fd::AsRawFd;

    fn open(files: &[&str], named: &Path) -> Result<Output, String> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        Output::open(&files, Some(named)).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_is_replaced_is_a_file_and_what_is_not_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        let at = |name: &str| real.join(name);
        fs::write(at("old"), "old").unwrap();
        std::os::unix::fs::symlink("old", at("link")).unwrap();
        mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        let stream = |path: &str| Output::Stream(path.into());
        // A file, too, if that is what is open there.
        let opened = fs::File::open(at("old")).unwrap();
        let descriptor = format!("/proc/self/fd/{}", opened.as_raw_fd());
        let table = [
            (at("new"), Output::File(at("new"))),
            (at("old"), Output::File(at("old"))),
            (at("link"), Output::File(at("old"))),
            (at("pipe"), Output::Stream(at("pipe"))),
            ("/dev/null".into(), stream("/dev/null")),
            (descriptor.clone().into(), stream(&descriptor)),
        ];
        let before = fs::read_dir(&real).unwrap().count();
        for (path, output) in table {
            assert_eq!(open(&["a.scn"], &path), Ok(output), "{path:?}");
        }
        assert_eq!(fs::read_dir(&real).unwrap().count(), before);
    }

    #[test]
    fn a_pipe_gets_it_and_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        write_stream(&pipe, "text").unwrap();
        assert_eq!(reader.join().unwrap(), "text");
        assert!(!fs::metadata(&pipe).unwrap().is_file());
        assert!(write_stream("/dev/full".as_ref(), "text").is_err());
        // Nothing is made where a pipe was.
        fs::remove_file(&pipe).unwrap();
        assert!(write_stream(&pipe, "text").is_err());
        assert!(!pipe.exists());
    }

    #[test]
    fn a_result_replaces_the_file_and_does_not_write_into_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a.scn"), "old").unwrap();
        fs::hard_link(at("a.scn"), at("same")).unwrap();
        write(&at("a.scn"), "new", Some("history")).unwrap();
        let read = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert_eq!((read("a.scn"), read("same")), ("new".into(), "old".into()));
        assert_eq!(read("a.scn.history.json"), "history");
    }

    #[test]
    fn no_result_takes_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let mut taken = Vec::new();
        for (file, name) in [
            ("a/race.scn", "race.scn"),
            ("b/race.scn", "race-2.scn"),
            ("c/race.scn", "race-3.scn"),
            ("crash-1", "crash-1.scn"),
            ("crash.5", "crash.5.scn"),
        ] {
            let path = write_new(dir.path(), file.as_ref(), &taken, "text", None).unwrap();
            assert_eq!(path, dir.path().join(name));
            taken.push(path);
        }
    }

    #[test]
    fn nor_does_a_later_run_with_another_result() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("out");
        let run = |text: &str, history: Option<&str>| {
            let path = write_new(&folder, "race.scn".as_ref(), &[], text, history).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            path.file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(run("one", None), "race.scn");
        assert_eq!(run("two", None), "race-2.scn");
        // The same again is there already.
        assert_eq!(run("one", None), "race.scn");
        assert_eq!(run("two", None), "race-2.scn");
        // But what only one run has shown is never the same.
        assert_eq!(run("one", Some("first")), "race-3.scn");
        assert_eq!(run("one", Some("second")), "race-4.scn");
        fs::remove_file(folder.join("race-3.scn")).unwrap();
        assert_eq!(run("three", None), "race-5.scn");
        let history = fs::read_to_string(folder.join("race-3.scn.history.json"));
        assert_eq!(history.unwrap(), "first");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 6);
    }
}
