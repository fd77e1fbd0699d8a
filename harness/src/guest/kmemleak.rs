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

/// Looks for leaks; returns what the kernel reports: empty where it finds none or
/// is no kernel that looks.
pub(super) fn scan() -> io::Result<String> {
    if !Path::new(FILE).exists() {
        return Ok(String::new());
    }
    thread::sleep(OLD_ENOUGH);
    // What has changed since the last scan is only reported by the next.
    for _ in 0..2 {
        fs::write(FILE, "scan")?;
    }
    fs::read_to_string(FILE)
}
