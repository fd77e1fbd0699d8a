//! Ctrl-C, where something is worth keeping.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The exit status of a program that was interrupted and kept what it had, as a shell
/// gives it to one that died of SIGINT.
pub const INTERRUPTED_STATUS: u8 = 130;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT and SIGTERM do not end this process, but are told by
/// [`interrupted`]. The second one ends it at once.
///
/// # Errors
/// As sigaction(2).
pub fn watch_for_interrupts() -> io::Result<()> {
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only touches an atomic and calls _exit(2), both of which
        // are allowed in one (signal-safety(7)).
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// Whether one has arrived.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

extern "C" fn on_signal(_signal: c_int) {
    if INTERRUPTED.swap(true, Ordering::Relaxed) {
        // SAFETY: ends the process, and runs nothing of ours.
        unsafe { libc::_exit(INTERRUPTED_STATUS.into()) }
    }
}
