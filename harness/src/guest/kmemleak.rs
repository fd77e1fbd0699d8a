//! Memory that nobody points to any more: asks a kernel that keeps account of its
//! allocations (CONFIG_DEBUG_KMEMLEAK).

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

const FILE: &str = "/sys/kernel/debug/kmemleak";
/// What is younger is not reported (MSECS_MIN_AGE of mm/kmemleak.c). Virtual time
/// costs nothing.
const OLD_ENOUGH: Duration = Duration::from_secs(6);

/// So many scans in a row must find nobody who points to it, from 7.3 on.
const SCANS_FILE: &str = "/sys/module/kmemleak/parameters/min_unref_scans";

/// Looks for leaks; returns what the kernel reports: empty where it finds none or
/// is no kernel that looks.
pub(super) fn scan() -> io::Result<String> {
    if !Path::new(FILE).exists() {
        return Ok(String::new());
    }
    thread::sleep(OLD_ENOUGH);
    let scans = fs::read_to_string(SCANS_FILE).unwrap_or_default();
    let scans: u32 = scans.trim().parse().unwrap_or(1);
    // What has changed since the last scan is only looked at by the next.
    for _ in 0..=scans.max(1) {
        fs::write(FILE, "scan")?;
    }
    fs::read_to_string(FILE)
}
