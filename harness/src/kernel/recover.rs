//! Making an interrupted build safe to continue.
//!
//! Kbuild writes an object `x.o`, then the command and the dependencies to
//! `.x.o.cmd`. When it is killed over an object that was there before, half an
//! object may stand beside the old, valid-looking `.x.o.cmd`, and the next make
//! takes it for finished. What a kill can leave half written is found again by
//! time (a product newer than its `.cmd`) and by form (a `.cmd` that breaks off),
//! and removed; make then builds it again. A marker file tells that the last build
//! did not come to its end.

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;
use super::error::Context as _;
use super::files;

/// There while make runs, and after it was killed or failed.
fn marker(source: &Path) -> PathBuf {
    source.join(".inflight-building")
}

/// To be called before make.
///
/// Returns how many half products an earlier, killed build had left.
pub(super) fn begin(source: &Path) -> Result<usize, Error> {
    let marker = marker(source);
    let removed = if marker.exists() { sweep(source)? } else { 0 };
    files::write(&marker, b"", 0o644)?;
    Ok(removed)
}

/// To be called when make has built everything.
pub(super) fn end(source: &Path) -> Result<(), Error> {
    files::remove(&marker(source))
}

fn sweep(folder: &Path) -> Result<usize, Error> {
    let mut removed = 0;
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        let path = entry.path();
        if entry.file_type().at("read", &path)?.is_dir() {
            removed += sweep(&path)?;
            continue;
        }
        let name = entry.file_name();
        let Some(product) = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.strip_suffix(".cmd"))
        else {
            continue;
        };
        let product = folder.join(product);
        if !is_whole(&path, &product)? {
            files::remove(&product)?;
            files::remove(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether `command`, a `.x.cmd`, was written to its end, and after `product`.
fn is_whole(command: &Path, product: &Path) -> Result<bool, Error> {
    let text = files::read(command)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    if !text.ends_with('\n') {
        return Ok(false);
    }
    // What scripts/basic/fixdep writes ends with an empty rule for `$(deps_x.o)`.
    let has_dependencies = text.contains("\nsource_") || text.contains("\ndeps_");
    if has_dependencies && !text.trim_end().ends_with("):") {
        return Ok(false);
    }
    let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    Ok(match (time(product), time(command)) {
        (Ok(product), Ok(command)) => product <= command,
        // No product: make builds it anyway.
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    const FIXDEP: &str = "savedcmd_a.o := gcc -c a.c\n\nsource_a.o := a.c\n\ndeps_a.o := \\\n  \
                          a.h \\\n\na.o: $(deps_a.o)\n\n$(deps_a.o):\n";

    /// A product and its `.cmd`, written `cmd_after_s` seconds later.
    fn product(folder: &Path, name: &str, command: &str, cmd_after_s: i64) {
        let object = folder.join(name);
        let cmd = folder.join(format!(".{name}.cmd"));
        files::write(&object, b"object", 0o644).unwrap();
        files::write(&cmd, command.as_bytes(), 0o644).unwrap();
        let base = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let set = |path: &Path, time| {
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        set(&object, base);
        set(&cmd, base.checked_add_signed(cmd_after_s));
    }

    trait Signed {
        fn checked_add_signed(self, seconds: i64) -> SystemTime;
    }
    impl Signed for SystemTime {
        fn checked_add_signed(self, seconds: i64) -> SystemTime {
            let by = Duration::from_secs(seconds.unsigned_abs());
            if seconds < 0 { self - by } else { self + by }
        }
    }

    #[test]
    fn half_products_go_and_whole_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path();
        let sub = source.join("fs");
        product(&sub, "whole.o", FIXDEP, 1);
        product(&sub, "same-tick.o", FIXDEP, 0);
        product(&sub, "built-in.a", "savedcmd_fs/built-in.a := ar\n", 0);
        product(&sub, "newer-than-cmd.o", FIXDEP, -5);
        product(&sub, "archive.a", "savedcmd_fs/archive.a := ar\n", -5);
        product(&sub, "cut-line.o", &FIXDEP[..30], 1);
        product(
            &sub,
            "cut-dependencies.o",
            &FIXDEP[..FIXDEP.find("  a.h").unwrap()],
            1,
        );
        product(&sub, "empty-cmd.o", "", 1);
        // Without a marker nobody was killed, and nothing is read.
        assert_eq!(begin(source).unwrap(), 0);
        assert!(sub.join("cut-line.o").exists());
        // The marker is there now: as after a kill.
        assert_eq!(begin(source).unwrap(), 5);
        for name in ["whole.o", "same-tick.o", "built-in.a"] {
            assert!(sub.join(name).exists(), "{name}");
        }
        for name in [
            "newer-than-cmd.o",
            "archive.a",
            "cut-line.o",
            "cut-dependencies.o",
            "empty-cmd.o",
        ] {
            assert!(!sub.join(name).exists(), "{name}");
            assert!(!sub.join(format!(".{name}.cmd")).exists(), "{name}");
        }
        end(source).unwrap();
        product(&sub, "newer-than-cmd.o", FIXDEP, -5);
        assert_eq!(begin(source).unwrap(), 0);
    }
}
