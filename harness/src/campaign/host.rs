//! The host's side of a campaign: boots guests and gathers what they tell.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::job::{Event, Job};
use crate::engine::{self, Boot, Guest, Outcome};
use crate::kernel::{Extras, Kernel, Machine};

/// The hidden subcommand under which a guest does its job.
pub const WORKER: &str = "worker";
/// A guest that says nothing for so long is spinning: a scenario takes
/// milliseconds, and a virtual wait takes none.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
const MEMORY_MIB: u32 = 256;

/// A kernel that watches itself, and whose instructions are translated, needs minutes for
/// what takes others a second.
const SLOW_IDLE_LIMIT: Duration = Duration::from_secs(600);

fn idle_limit(kernel: &Kernel) -> Duration {
    let watches = kernel.name.extras() != Extras::None;
    match kernel.machine {
        Machine::Qemu(_) if watches => SLOW_IDLE_LIMIT,
        _ => IDLE_LIMIT,
    }
}

/// Names one guest of a fleet.
pub type Id = usize;

/// What a fleet reports.
#[derive(Debug)]
pub enum Report {
    /// A guest told something.
    Told(Id, Instant, Event),
    /// A guest has ended.
    Ended(Id, Instant, End),
}

/// How a guest ended.
#[derive(Debug)]
pub struct End {
    /// How, and the kernel's log.
    pub outcome: Result<Outcome, engine::Error>,
    /// What it wrote on standard error, and lines that were no event.
    pub stray: String,
}

/// Guests at work. Dropping it ends them all.
#[derive(Debug)]
pub struct Fleet {
    guests: HashMap<Id, Guest>,
    next: Id,
    tell: Sender<Line>,
    lines: Receiver<Line>,
}

#[derive(Debug)]
enum Line {
    Told(Id, Instant, Event),
    Closed(Id, Instant, String),
}

impl Fleet {
    /// No guest yet.
    pub fn new() -> Fleet {
        let (tell, lines) = mpsc::channel();
        Fleet {
            guests: HashMap::new(),
            next: 0,
            tell,
            lines,
        }
    }

    /// How many guests are at work.
    pub fn len(&self) -> usize {
        self.guests.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Boots `kernel` with this very program doing `job`.
    pub fn start(&mut self, kernel: &Kernel, job: &Job) -> Result<Id, engine::Error> {
        let host = |what: &str| {
            let what = what.to_string();
            move |source| engine::Error::Host { what, source }
        };
        let program = std::env::current_exe().map_err(host("find this program's own file"))?;
        let out_dirs = job.out_dir().map(Path::to_owned);
        let job = serde_json::to_string(job)
            .map_err(io::Error::other)
            .map_err(host("write a job"))?;
        let mut boot = Boot::of(kernel, program);
        boot.args = vec![OsString::from(WORKER), OsString::from(job)];
        boot.env = std::env::vars_os()
            .filter(|(name, _)| name == "RUST_BACKTRACE")
            .collect();
        boot.memory_mib = kernel.memory_mib(MEMORY_MIB);
        boot.out_dirs = out_dirs.into_iter().collect();
        boot.idle_limit = Some(idle_limit(kernel));
        let mut guest = engine::spawn(boot)?;
        let id = self.next;
        self.next += 1;
        let (stdout, stderr) = (guest.take_stdout(), guest.take_stderr());
        let tell = self.tell.clone();
        thread::Builder::new()
            .name(format!("guest {id}"))
            .spawn(move || listen(id, stdout, stderr, &tell))
            .map_err(host("start a thread"))?;
        self.guests.insert(id, guest);
        Ok(id)
    }

    /// Ends a guest. It reports nothing any more, except what it has already told.
    pub fn stop(&mut self, id: Id) {
        self.guests.remove(&id);
    }

    /// The next report; `None` when there is none within `patience`.
    pub fn next(&mut self, patience: Duration) -> Option<Report> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(Line::Told(id, at, event)) => return Some(Report::Told(id, at, event)),
                Ok(Line::Closed(id, at, stray)) => {
                    // One that was stopped has nobody to report to.
                    if let Some(guest) = self.guests.remove(&id) {
                        let outcome = guest.wait();
                        return Some(Report::Ended(id, at, End { outcome, stray }));
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

impl Default for Fleet {
    fn default() -> Self {
        Fleet::new()
    }
}

/// Boots one guest for `job`, passes on what it tells and when, and returns how it
/// ended.
pub fn alone(
    kernel: &Kernel,
    job: &Job,
    mut hear: impl FnMut(Instant, Event),
) -> Result<End, engine::Error> {
    let mut fleet = Fleet::new();
    fleet.start(kernel, job)?;
    loop {
        match fleet.next(IDLE_LIMIT) {
            Some(Report::Told(_, at, event)) => hear(at, event),
            Some(Report::Ended(_, _, end)) => return Ok(end),
            // The engine's own limit ends a guest that says nothing.
            None => {}
        }
    }
}

fn listen(id: Id, stdout: impl Read, mut stderr: impl Read + Send + 'static, tell: &Sender<Line>) {
    // Both pipes are read at once: a guest that waits for one of them to be
    // emptied would never get to close the other.
    let errors = thread::spawn(move || {
        let mut text = Vec::new();
        // A broken pipe ends the text where it is.
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut stray = String::new();
    let mut lines = BufReader::new(stdout);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
        let text = String::from_utf8_lossy(&line);
        match text.trim_end().parse() {
            Ok(event) => {
                if tell.send(Line::Told(id, Instant::now(), event)).is_err() {
                    return;
                }
            }
            Err(_) => stray.push_str(&text),
        }
        line.clear();
    }
    let at = Instant::now();
    stray.push_str(&errors.join().unwrap_or_default());
    let _ = tell.send(Line::Closed(id, at, stray));
}
