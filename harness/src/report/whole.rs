//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `name` in `folder`, in place of what had that name, and returns its path. Until
/// all of it is on the disk it has another name, which begins with a dot.
pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let path = folder.join(name);
    let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
    let write = || {
        let mut out = File::create(&unfinished)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written.map(|()| path)
}
