//! Is there room?

use std::io;
use std::path::Path;

use super::Error;
use super::error::Context as _;

/// A build's need once the source is there. Measured: objects and image of the
/// slim configuration take 230 MB.
pub const BUILD_BYTES: u64 = 512 << 20;

/// The need before a source is fetched. Measured for 6.12: 1.6 GB unpacked, 153
/// MB package, 90 MB package lists, and the build; an update has the old source
/// beside the new one.
pub const FETCH_BYTES: u64 = 4 << 30;

/// Bytes that we may still write where `path` is or, if it does not exist yet,
/// will be.
///
/// # Errors
/// As statvfs(3).
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let existing = path
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"));
    let vfs = nix::sys::statvfs::statvfs(existing)?;
    Ok(vfs.blocks_available() * vfs.fragment_size())
}

/// Refuses when `path` has less than `need_bytes` left, as `free` tells.
pub(super) fn check(
    path: &Path,
    need_bytes: u64,
    what: &str,
    free: impl Fn(&Path) -> io::Result<u64>,
) -> Result<(), Error> {
    let free_bytes = free(path).at("ask for the free space of", path)?;
    if free_bytes >= need_bytes {
        return Ok(());
    }
    Err(Error::missing(
        format!(
            "{what} needs {} in {}, and {} are free",
            human_bytes(need_bytes),
            path.display(),
            human_bytes(free_bytes)
        ),
        "free some, or set INFLIGHT_CACHE to a folder on a larger disk",
    ))
}

/// `1.6 GB`, `153 MB`, `12 B`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[allow(clippy::cast_precision_loss)] // two digits are shown
    let mut value = bytes as f64;
    let mut unit = 0;
    // 999.5 would print as 1000.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 9.95 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ErrorKind;

    #[test]
    fn too_little_space_is_named() {
        let path = Path::new("/somewhere/cache");
        let error = check(path, FETCH_BYTES, "the source of 6.12", |_| {
            Ok(1_234_567_890)
        })
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert_eq!(
            error.to_string(),
            "the source of 6.12 needs 4.3 GB in /somewhere/cache, and 1.2 GB are free\n  \
             remedy: free some, or set INFLIGHT_CACHE to a folder on a larger disk"
        );
        check(path, FETCH_BYTES, "the source", |_| Ok(FETCH_BYTES)).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_its_parents_space() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("not/there/yet");
        assert!(free_bytes(&deep).unwrap() > 0);
    }

    #[test]
    fn sizes_for_humans() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_141_512, "9.1 MB"),
            (9_999_999, "10 MB"),
            (153_476_148, "153 MB"),
            (1_600_000_000, "1.6 GB"),
            (999_999_999, "1.0 GB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
