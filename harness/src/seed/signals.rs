//! Ctrl-C, and a timer: both make a call that sleeps in the kernel return.
//!
//! The sender's socket has to block: a kernel that waits for its pages does not do so on
//! one that must not. So what is to be looked at now and then (has somebody pressed
//! Ctrl-C, is the other side still there, is a second over) is looked at when a signal
//! ends the call with EINTR. A signal that comes just before the call would not: the
//! next tick of the timer then does.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// So many signals in all end the process there and then.
const ENOUGH: u32 = 3;

static STOPS: AtomicU32 = AtomicU32::new(0);
static TICKS: AtomicU32 = AtomicU32::new(0);

/// From now on SIGINT, SIGTERM and SIGHUP are told by [`stops`], and a second is told by
/// [`ticks`]. Signals that are ignored stay so, as `nohup` and shells have it.
///
/// # Errors
/// As sigaction(2), setitimer(2).
pub fn watch() -> io::Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let before = handle(signal, on_stop)?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: it was so before.
            unsafe { sigaction(signal, &before) }?;
        }
    }
    handle(Signal::SIGALRM, on_tick)?;
    let second = libc::timeval {
        tv_sec: 1,
        tv_usec: 0,
    };
    let timer = libc::itimerval {
        it_interval: second,
        it_value: second,
    };
    // SAFETY: `timer` outlives the call, and the old one is not asked for.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    nix::errno::Errno::result(set)?;
    Ok(())
}

fn handle(signal: Signal, handler: extern "C" fn(c_int)) -> io::Result<SigAction> {
    // Without SA_RESTART: that calls end is what they are for.
    let action = SigAction::new(
        SigHandler::Handler(handler),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handlers only touch atomics and call _exit(2), which is allowed in
    // one (signal-safety(7)).
    Ok(unsafe { sigaction(signal, &action) }?)
}

/// How often somebody has asked us to end.
#[must_use]
pub fn stops() -> u32 {
    STOPS.load(Ordering::Relaxed)
}

/// How many seconds have gone since [`watch`].
#[must_use]
pub fn ticks() -> u32 {
    TICKS.load(Ordering::Relaxed)
}

extern "C" fn on_stop(_signal: c_int) {
    if STOPS.fetch_add(1, Ordering::Relaxed) + 1 >= ENOUGH {
        // SAFETY: ends the process, and runs nothing of ours.
        unsafe { libc::_exit(crate::process::INTERRUPTED_STATUS.into()) }
    }
}

extern "C" fn on_tick(_signal: c_int) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}
