//! What the targets share: the kernel's counters where libFuzzer looks for them, the
//! host's clock, and mutations of scenarios.

use std::io::Write as _;
use std::sync::{LazyLock, Mutex};

use inflight::fuzz::{self, FEATURES, Input, LEAKED_STATUS, SPENT_STATUS, Target};
use inflight::kcov::COUNTERS;

/// What libFuzzer reads and clears as it does its own counters.
#[repr(C, align(4096))]
struct Extra {
    kernel: [u8; COUNTERS],
    state: [u8; FEATURES],
}

#[unsafe(link_section = "__libfuzzer_extra_counters")]
static mut EXTRA: Extra = Extra {
    kernel: [0; COUNTERS],
    state: [0; FEATURES],
};

static TARGET: LazyLock<Mutex<Target>> = LazyLock::new(|| {
    let extra = &raw mut EXTRA;
    // SAFETY: only here, and only once; from now on the kernel and libFuzzer write there.
    let counters = unsafe { &mut (*extra).kernel };
    match Target::set_up(counters) {
        Ok(target) => {
            // SAFETY: it may be called whenever libFuzzer calls exit(3).
            unsafe { at_exit(tell) };
            Mutex::new(target)
        }
        Err(error) => panic!("cannot set the kernel under test up: {error}"),
    }
});

unsafe extern "C" {
    /// _exit(2): nothing that is registered for the end of the process is done.
    #[link_name = "_exit"]
    fn exit_at_once(status: i32) -> !;
    #[link_name = "atexit"]
    fn at_exit(call: extern "C" fn()) -> i32;
}

/// libFuzzer is done, and a campaign wants to know of the last inputs, too.
extern "C" fn tell() {
    if let Ok(mut target) = TARGET.try_lock() {
        target.tell();
    }
}

/// Runs a scenario and ends this process, as libFuzzer wants it, if something is wrong.
pub fn run(input: &Input) {
    let mut target = TARGET.lock().expect("nobody panics with it");
    let extra = &raw mut EXTRA;
    // SAFETY: libFuzzer reads them between two inputs, on this same thread.
    let features = unsafe { &mut (*extra).state };
    match target.run(input, features) {
        Ok(None) if target.is_spent() => {
            // The next input could not run. Nothing is wrong with it, nor with this one
            // that has not been said, so libFuzzer is not to write either.
            // SAFETY: ends the process.
            unsafe { exit_at_once(SPENT_STATUS.into()) }
        }
        Ok(None) => {}
        Ok(Some(complaint)) => {
            let _ = std::io::stderr().write_all(complaint.text.as_bytes());
            if complaint.of_another {
                // libFuzzer would write the wrong one; the host knows the right one.
                // SAFETY: ends the process.
                unsafe { exit_at_once(LEAKED_STATUS.into()) }
            }
            std::process::abort();
        }
        Err(error) => panic!("cannot run this scenario: {error}"),
    }
}

/// The scenario as bytes that fit into `data`; its length, or `None` if it is longer than
/// `max`.
pub fn put(scenario: &Input, data: &mut [u8], max: usize) -> Option<usize> {
    let text = scenario.0.to_string();
    let room = data.get_mut(..text.len()).filter(|it| it.len() <= max)?;
    room.copy_from_slice(text.as_bytes());
    Some(text.len())
}

/// `std::chrono::system_clock::now()` of the C++ library, by which libFuzzer measures: in
/// the guest it is the host's time, in nanoseconds. Nothing else here is C++.
#[unsafe(no_mangle)]
pub extern "C" fn _ZNSt6chrono3_V212system_clock3nowEv() -> i64 {
    i64::try_from(fuzz::now_ns()).unwrap_or(i64::MAX)
}
