//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Error;
use super::error::Context as _;

/// The name under which a file is written before it gets its own. In the same
/// folder, so that rename(2) works.
fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".inflight-new-");
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Writes `path` so that no reader, and nobody after a crash, sees half of it.
/// Creates the folders above it. Two writers of one path need a lock.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let temporary = temporary(path);
    let attempt = || -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        fs::rename(&temporary, path)
    };
    attempt()
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
        .at("write", path)
}

/// Whether `path` is a file that [`write`] left behind when it was interrupted.
pub(super) fn is_temporary(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b".inflight-new-"))
}

/// The content, or `None` where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// The names in a folder, sorted; none where there is no such folder. A name that is no
/// text is left out.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if absent(&error) => return Ok(Vec::new()),
        entries => entries.at("read", folder)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.at("read", folder)?.file_name();
        names.extend(name.into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file, which may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if !absent(&error) => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

/// Removes a folder and all it contains, which may be gone already.
pub(super) fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if !absent(&error) => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

/// `fs::create_dir_all` with its path in the error.
pub(super) fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).at("create", path)
}

/// The bytes that a folder takes on disk; what vanishes meanwhile counts nothing.
pub(super) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir()
        && let Ok(entries) = fs::read_dir(path)
    {
        bytes += entries
            .flatten()
            .map(|entry| disk_bytes(&entry.path()))
            .sum::<u64>();
    }
    bytes
}

fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn write_replaces_and_keeps_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        write(&path, b"one", 0o644).unwrap();
        write(&path, b"two", 0o755).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o755
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(disk_bytes(folder.path()) >= 3);
    }

    #[test]
    fn what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        assert_eq!(read(&path).unwrap(), None);
        remove(&path).unwrap();
        remove_tree(&path).unwrap();
        assert_eq!(disk_bytes(&path), 0);
    }
}
