//! Whether the CPU itself can run a guest. That /dev/kvm opens says little: in a virtual
//! machine whose host does not nest them, a guest never gets past its first instructions.
//! So one is booted.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{log, qemu};
use crate::kernel::machine::Accelerator;
use crate::process;

/// A guest that gets anywhere does so in a second.
const PATIENCE: Duration = Duration::from_secs(10);
const DEVICE: &str = "/dev/kvm";
/// Changes with each boot of the host, and so may what it can do.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Boots `image` on the CPU itself as far as it gets without files, unless that was done
/// since the host has booted: what came of it is kept in the cache directory.
///
/// # Errors
/// Why it does not work.
pub fn probe(image: &Path, cache: &Path) -> Result<(), String> {
    static KNOWN: Mutex<Option<Result<(), String>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(|it| it.into_inner());
    if let Some(known) = &*known {
        return known.clone();
    }
    // Somebody may be given the device meanwhile: that is looked at each time.
    let verdict = access().and_then(|()| try_once(image, &cache.join("kvm")));
    *known = Some(verdict.clone());
    verdict
}

fn try_once(image: &Path, kept: &Path) -> Result<(), String> {
    let boot = fs::read_to_string(BOOT_ID).unwrap_or_default();
    match fs::read_to_string(kept) {
        Ok(text) if !boot.is_empty() && text.starts_with(&boot) => parse(&text[boot.len()..]),
        _ => {
            let verdict = try_it(image);
            let text = format!("{boot}{}", verdict.as_ref().err().map_or("", |it| it));
            // To be found out again costs seconds, and no more.
            let _ = fs::write(kept, text);
            verdict
        }
    }
}

/// What is known without a boot.
///
/// # Errors
/// There is no such device, or it is not ours to use.
pub fn access() -> Result<(), String> {
    let opened = fs::File::options().read(true).write(true).open(DEVICE);
    opened.map(drop).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {DEVICE}"),
        _ => format!("{DEVICE}: {error}"),
    })
}

fn parse(kept: &str) -> Result<(), String> {
    match kept {
        "" => Ok(()),
        why => Err(why.to_owned()),
    }
}

fn try_it(image: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot run {}: {error}", qemu::PROGRAM);
    let (mut said, end) = io::pipe().map_err(failed)?;
    let mut command = Command::new(qemu::PROGRAM);
    command
        .args(qemu::machine(Accelerator::Kvm, 1, 128))
        .arg("-kernel")
        .arg(image)
        // It finds no root, panics, and is reset.
        .args(["-append", "console=ttyS0 panic=-1 reboot=t"])
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stderr(end.try_clone().map_err(failed)?)
        .stdout(end);
    let mut guest = process::spawn(&mut command).map_err(failed)?;
    drop(command);
    let begun = Instant::now();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = said.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    while !reader.is_finished() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    let in_time = reader.is_finished();
    guest.kill().map_err(failed)?;
    guest.wait().map_err(failed)?;
    let text = reader.join().unwrap_or_default();
    match (in_time, log::started(&text)) {
        (true, true) => Ok(()),
        (true, false) => Err(format!(
            "{DEVICE} opens, but QEMU cannot use it: {}",
            text.lines().next().unwrap_or("it says nothing")
        )),
        (false, _) => Err(format!(
            "{DEVICE} opens, but a guest does not boot in {} s",
            PATIENCE.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_out_is_kept_as_text() {
        assert_eq!(parse(""), Ok(()));
        assert_eq!(parse("no"), Err("no".to_owned()));
    }

    /// It is no kernel, so QEMU says something else than a kernel would.
    #[test]
    fn what_does_not_boot_is_no_success() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "no kernel").unwrap();
        let why = try_it(file.path()).unwrap_err();
        assert!(
            why.contains("QEMU cannot use it") || why.contains("cannot run"),
            "{why}"
        );
    }
}
