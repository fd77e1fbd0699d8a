//! Files that are there whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Writes `name` in `folder`, in place of what had that name, and returns its path. Until
/// all of it is on the disk it has another name, which begins with a dot.
pub fn write(folder: &Path, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<PathBuf> {
    finish(folder, name.as_ref(), bytes, |from, to| {
        fs::rename(from, to)
    })
}

/// Writes it as [`write`] does, but in place of nothing.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where something has that name.
pub fn write_new(folder: &Path, name: impl AsRef<OsStr>, bytes: &[u8]) -> io::Result<PathBuf> {
    finish(folder, name.as_ref(), bytes, rename_new)
}

/// Looks whether files of these names can be written in `folder`, or in what is to become
/// it, and leaves nothing there.
pub fn try_out(folder: &Path, names: &[&OsStr]) -> io::Result<()> {
    // The folder, or the one that it is to be made in.
    let there = folder.ancestors().find(|it| it.symlink_metadata().is_ok());
    let there = there.unwrap_or(Path::new("."));
    // Rights do not say it all: such a file has no name, and ends with us.
    tempfile::tempfile_in(there)?;
    // Nor do they say what is too long.
    let odd = names
        .iter()
        .filter_map(|name| there.join(unfinished(name)).symlink_metadata().err())
        .find(|error| error.kind() != io::ErrorKind::NotFound);
    odd.map_or(Ok(()), Err)
}

fn finish(
    folder: &Path,
    name: &OsStr,
    bytes: &[u8],
    rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let path = folder.join(name);
    let unfinished = folder.join(unfinished(name));
    let write = || {
        let mut out = File::create(&unfinished)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        rename(&unfinished, &path)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written.map(|()| path)
}

fn unfinished(name: &OsStr) -> OsString {
    let mut unfinished = OsString::from(".");
    unfinished.push(name);
    unfinished.push(format!(".{}-{:08x}", std::process::id(), machine()));
    unfinished
}

/// Another machine that writes to the same folder may have a process of our number.
fn machine() -> u32 {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let hash = blake3::hash(name.as_encoded_bytes());
    hash.as_bytes()[..4]
        .iter()
        .fold(0, |all, byte| all << 8 | u32::from(*byte))
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let flags = RenameFlags::RENAME_NOREPLACE;
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, flags) {
        // A file system that cannot say it in one: somebody may come in between.
        Err(Errno::EINVAL | Errno::ENOSYS) => match to.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn what_is_there_is_replaced_or_left_alone_as_told() {
        let dir = tempfile::tempdir().unwrap();
        write_new(dir.path(), "a", b"one").unwrap();
        let refused = write_new(dir.path(), "a", b"two").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"one");
        write(dir.path(), "a", b"three").unwrap();
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"three");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn who_reads_the_old_file_reads_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "a", b"old").unwrap();
        // Another name of the same file sees what is written into it.
        let other = dir.path().join("other");
        fs::hard_link(&path, &other).unwrap();
        write(dir.path(), "a", b"new").unwrap();
        assert_eq!(fs::read(other).unwrap(), b"old");
    }

    #[test]
    fn trying_out_finds_what_writing_would_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // As long as a name may be; the unfinished file's is longer, whatever our number.
        let long = "x".repeat(255);
        fs::write(dir.path().join("file"), "").unwrap();
        for (folder, name) in [
            ("file", "a"),
            ("file/below", "a"),
            // Where even root may not write.
            ("/proc", "a"),
            ("/proc/none", "a"),
            ("", &long),
            ("to/be/made", &long),
        ] {
            let folder = dir.path().join(folder);
            assert!(
                try_out(&folder, &[name.as_ref()]).is_err(),
                "{folder:?} {name}"
            );
            assert!(write(&folder, name, b"").is_err(), "{folder:?} {name}");
        }
        for folder in ["", "to/be/made"] {
            try_out(&dir.path().join(folder), &["a".as_ref()]).unwrap();
        }
        assert_eq!(names(dir.path()), ["file"]);
    }
}
