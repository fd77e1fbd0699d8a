//! That a kernel which watches itself is heard. Its reports are the only sign of
//! bugs that change no byte, and a monitor that overlooked them would call every
//! kernel clean. LKDTM (drivers/misc/lkdtm) provokes them, one a guest: lockdep,
//! for one, looks no further after its first.

use std::fs;

use inflight::guest::KernelLog;
use inflight::oracle;

use crate::properties::Result;
use crate::runner::expect_complaint;

/// KASAN. (6.1 does not say yet that it was of a slab.)
pub fn a_use_after_free_is_reported() -> Result {
    provoke("READ_AFTER_FREE", "KASAN", "use-after-free in ")
}

/// CONFIG_DEBUG_ATOMIC_SLEEP
pub fn sleeping_in_atomic_context_is_reported() -> Result {
    let report = "BUG: sleeping function called from invalid context";
    provoke("SLEEP_IN_ATOMIC", "sleep in atomic", report)
}

/// CONFIG_PROVE_LOCKING
pub fn a_lock_inversion_is_reported() -> Result {
    let report = "WARNING: possible circular locking dependency";
    provoke("LOCK_INVERSION", "lockdep", report)
}

/// CONFIG_DEBUG_KMEMLEAK: it is asked by PID 1 when this program has ended, and so
/// only the host can hear it.
pub fn a_leak_is_reported() -> Result {
    expect_complaint("new suspected memory leaks");
    expect_complaint("unreferenced object 0x");
    crash("LEAK")
}

/// Both who listen must hear it: the guest, which blames the scenario under way,
/// and the host, which reads the console.
fn provoke(crash_type: &str, kind: &str, report: &str) -> Result {
    let mut log = KernelLog::open().map_err(|error| error.to_string())?;
    expect_complaint(report);
    crash(crash_type)?;
    let news = log.news().map_err(|error| error.to_string())?;
    let heard = oracle::splats(&news).ok_or(format!("nothing was heard in:\n{news}"))?;
    let named = heard.message.contains(&format!("({kind})")) && heard.message.contains(report);
    match named {
        true => Ok(()),
        false => Err(heard.message),
    }
}

fn crash(crash_type: &str) -> Result {
    let file = "/sys/kernel/debug/provoke-crash/DIRECT";
    fs::write(file, crash_type).map_err(|error| format!("{crash_type} > {file}: {error}"))
}
