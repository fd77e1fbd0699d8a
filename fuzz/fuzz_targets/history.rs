//! The oracle and its second opinion on histories, as they were and doctored:
//! `cargo fuzz run -s none history`. Needs no kernel.
#![no_main]

use inflight::reference::fuzz::Case;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| Case::of(bytes).judge());
