//! Whether a thread of this process rests: where time passes by the clock, who is blocked
//! is not told by time that passes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Between two looks. Who waits for the host's disk or for a lock does so for less; who
/// waits for the network, as a rule, for more.
pub const BETWEEN: Duration = Duration::from_micros(500);

/// Looks at one thread.
#[derive(Debug)]
pub struct Watch {
    stat: File,
}

impl Watch {
    /// For the calling thread.
    pub fn here() -> io::Result<Watch> {
        let stat = File::open(format!("/proc/self/task/{}/stat", nix::unistd::gettid()))?;
        Ok(Watch { stat })
    }

    /// Whether the thread sleeps now, in an interruptible wait or not. A thread that has
    /// ended rests.
    pub fn sleeps(&self) -> bool {
        let mut text = [0; 256];
        match self.stat.read_at(&mut text, 0) {
            Ok(len) => sleeps(&text[..len]),
            Err(_) => true,
        }
    }
}

/// Reads proc_pid_stat(5): the state stands behind the name, which may contain anything
/// and is in parentheses.
fn sleeps(stat: &[u8]) -> bool {
    let end = stat.iter().rposition(|byte| *byte == b')');
    let state = end.and_then(|end| stat.get(end + 2));
    state.is_none_or(|state| !matches!(state, b'R'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    #[test]
    fn the_state_stands_behind_the_name() {
        assert!(sleeps(b"7 (a) S 1"));
        assert!(sleeps(b"7 (a) D 1"));
        assert!(!sleeps(b"7 (a) R 1"));
        assert!(!sleeps(b"7 (S) S) R 1"));
        assert!(sleeps(b""));
    }

    #[test]
    fn who_waits_rests_and_who_works_does_not() {
        let (tell, told) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        static DONE: AtomicBool = AtomicBool::new(false);
        let thread = std::thread::spawn(move || {
            tell.send(Watch::here().unwrap()).unwrap();
            let _ = woken.recv();
            while !DONE.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let watch = told.recv().unwrap();
        // It is on its way there, and gets there.
        while !watch.sleeps() {}
        wake.send(()).unwrap();
        while watch.sleeps() {}
        DONE.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        assert!(watch.sleeps());
    }
}
