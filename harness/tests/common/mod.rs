//! What tests share that run the program on real kernels.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Once;

use inflight::kernel::{self, ErrorKind, Machine};

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

// Not every test needs two of them.
#[allow(dead_code)]
/// Builds both kernels once. `false`: this machine cannot, and says so.
pub fn kernels() -> bool {
    static SAY: Once = Once::new();
    for name in ["6.12-stock", "6.12-patched"] {
        let progress = kernel::progress::stderr();
        match kernel::ensure(&name.parse().unwrap(), Machine::Uml, &*progress) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Missing => {
                SAY.call_once(|| say(&format!("skipped: {error}\n")));
                return false;
            }
            Err(error) => panic!("{error}"),
        }
    }
    true
}

/// Straight to the descriptor, so that it shows past the capture of output.
pub fn say(text: &str) {
    let mut stderr = fs::File::options().append(true).open("/dev/stderr").ok();
    if let Some(stderr) = &mut stderr {
        let _ = stderr.write_all(text.as_bytes());
    }
}
