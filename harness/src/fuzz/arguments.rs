//! What libFuzzer's arguments say of files and children.
//!
//! Flags are `-name=value`, everything else is an input: a file or a folder
//! (libFuzzer, FuzzerFlags.def and FuzzerDriver.cpp).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Flags that concern time. In the guest time stands still while it computes, and a
/// scenario can take an hour of it: a limit of seconds would mean nothing.
const OF_TIME: [&str; 2] = ["timeout", "report_slow_units"];
/// So many seconds that no scenario is slow.
const NEVER_SLOW: &str = "-report_slow_units=1000000000";

/// Up to how many inputs a feature can have and still be rare. libFuzzer keeps a list of
/// rare ones for each input, 255 unless told, which is for some hundred features an input;
/// a kernel has thousands, and half of the time goes into these lists.
const RARE: (&str, &str) = ("entropic_feature_frequency_threshold", "16");

/// Flags whose values are files that are made, wherever that is.
const WRITTEN: [&[u8]; 5] = [
    b"artifact_prefix",
    b"exact_artifact_path",
    b"merge_control_file",
    b"stop_file",
    b"mutation_graph_file",
];
/// The flag whose value is a list of files.
const LIST: &[u8] = b"seed_inputs";
/// What belongs to everybody, or is the guest's own: never given to it to write to.
const SHARED: [&str; 11] = [
    "/", "/dev", "/dev/shm", "/etc", "/home", "/proc", "/root", "/run", "/sys", "/tmp", "/var/tmp",
];

/// libFuzzer's arguments, without the program's name.
#[derive(Debug, Clone)]
pub(super) struct Arguments(Vec<OsString>);

impl Arguments {
    pub fn new(arguments: impl Iterator<Item = OsString>) -> Arguments {
        Arguments(arguments.collect())
    }

    /// The value of a flag, the last one that is given.
    pub fn flag(&self, name: &str) -> Option<&OsStr> {
        let mut values = self.0.iter().filter_map(|it| value(it, name));
        values.next_back()
    }

    fn is_set(&self, name: &str) -> bool {
        let value = self.flag(name).map(OsStr::as_bytes);
        value.is_some_and(|it| !it.is_empty() && it != b"0")
    }

    /// Whether this process only starts others, or prints a help text: it runs no input.
    pub fn starts_others(&self) -> bool {
        let merges = self.is_set("merge") || self.is_set("set_cover_merge");
        let outer_merge = merges && !self.is_set("merge_inner");
        let outer_minimize =
            self.is_set("minimize_crash") && !self.is_set("minimize_crash_internal_step");
        let starts = ["fork", "jobs", "cleanse_crash", "help"];
        outer_merge || outer_minimize || starts.iter().any(|it| self.is_set(it))
    }

    /// The folders that have to be writable: those that are named, and those of files
    /// that are named, whether they exist already or not.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for argument in &self.0 {
            let bytes = argument.as_bytes();
            let (flag, value) = match bytes.strip_prefix(b"-") {
                None => (b"".as_slice(), bytes),
                Some(flag) => match flag.iter().position(|it| *it == b'=') {
                    Some(at) => (&flag[..at], &flag[at + 1..]),
                    None => continue,
                },
            };
            let names: Vec<&[u8]> = match flag == LIST {
                // Separated by commas; or a file with such a list.
                true => value.split(|it| *it == b',').collect(),
                false => vec![value],
            };
            for name in names {
                let list = name.strip_prefix(b"@").filter(|_| flag == LIST);
                let name = Path::new(OsStr::from_bytes(list.unwrap_or(name)));
                folders.extend(folder_of(name, WRITTEN.contains(&flag)));
            }
        }
        outermost(folders)
    }

    /// Where artifacts go: what `-artifact_prefix` says, in front of a name.
    pub fn artifact(&self, name: &str) -> PathBuf {
        if let Some(exact) = self.flag("exact_artifact_path") {
            return exact.into();
        }
        let mut path = self.flag("artifact_prefix").unwrap_or_default().to_owned();
        path.push(name);
        path.into()
    }

    /// The exit status for a crash.
    pub fn error_status(&self) -> u8 {
        let status = self.flag("error_exitcode").and_then(OsStr::to_str);
        status.and_then(|it| it.parse().ok()).unwrap_or(77)
    }

    /// A file that is named and lies right in a folder that is everybody's: a guest does
    /// not see it, or must not write beside it.
    pub fn misplaced(&self) -> Option<PathBuf> {
        let inputs = self.0.iter().filter(|it| !it.as_bytes().starts_with(b"-"));
        let mut files = inputs.map(PathBuf::from).filter(|it| it.is_file());
        files.find(|it| folder_of(it, true).is_none())
    }

    /// What the guest's libFuzzer is to be given: no limits in seconds of the guest, and
    /// a seed that is not the same in each guest, as its clock is.
    pub fn for_guest(&self, seed: u32) -> Vec<OsString> {
        let of_time = |it: &&OsString| OF_TIME.iter().any(|name| value(it, name).is_some());
        let mut all: Vec<OsString> = self.0.iter().filter(|it| !of_time(it)).cloned().collect();
        all.push("-timeout=0".into());
        all.push(NEVER_SLOW.into());
        if self.flag(RARE.0).is_none() {
            all.push(format!("-{}={}", RARE.0, RARE.1).into());
        }
        let seeded = self.flag("seed").is_some_and(|it| it != "0");
        if !seeded {
            all.push(format!("-seed={seed}").into());
        }
        all
    }
}

/// The value, if the argument is that flag.
fn value<'a>(argument: &'a OsStr, name: &str) -> Option<&'a OsStr> {
    let rest = argument.as_bytes().strip_prefix(b"-")?;
    let value = rest.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    Some(OsStr::from_bytes(value))
}

/// The folder that a name leads to, or that of the file of this name; `None` if there is
/// none, or it is that of everything.
fn folder_of(name: &Path, is_file: bool) -> Option<PathBuf> {
    if name.as_os_str().is_empty() {
        return None;
    }
    let has_folder = || name.as_os_str().as_bytes().contains(&b'/');
    let is_file_like = || is_file || has_folder() || name.exists();
    let folder = match name.is_dir() {
        true => name.to_owned(),
        false if is_file_like() => match name.parent()? {
            empty if empty.as_os_str().is_empty() => PathBuf::from("."),
            parent => parent.to_owned(),
        },
        false => return None,
    };
    let folder = folder.canonicalize().ok()?;
    let shared = SHARED.iter().any(|it| folder == Path::new(it));
    (folder.is_dir() && !shared).then_some(folder)
}

/// Without those inside of others.
pub(super) fn outermost(mut folders: Vec<PathBuf>) -> Vec<PathBuf> {
    folders.sort();
    folders.dedup_by(|later, earlier| later.starts_with(earlier));
    folders
}

#[cfg(test)]
mod tests;
