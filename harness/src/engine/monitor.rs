//! The thread that watches a guest to its end.
//!
//! It reads the kernel log and the control channel, and ends the guest when a
//! limit is exceeded or its [`Guest`] is gone. The program's output is not its
//! business: that flows straight from the guest to whoever reads [`Output`].

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::launch::pending_bytes;
use super::run_dir::RunDir;
use super::{Boot, Error, Exit, Limit, Outcome, copy, cpu, log, outside};
use crate::guest::job::Report;
use crate::kernel::Machine;
use crate::process::Supervised;

/// How long a kernel that has panicked, or whose program has ended, may take to
/// go: writing back a few files is all that is left to do.
const LAST_BREATH: Duration = Duration::from_secs(10);
/// The monitor looks at the clock so often. If it could not, it has heard nothing of the guest
/// either, whether that ran (Ctrl-Z stops us alone) or was stopped, too (by a scheduler): no
/// limit counts meanwhile.
const LONGEST_NAP: Duration = Duration::from_secs(1);
/// The kernel log is kept whole up to twice this size.
const LOG_HALF: usize = 4 << 20;

/// The read ends of a guest's pipes.
pub(super) struct Streams {
    pub log: PipeReader,
    pub stdout: PipeReader,
    pub stderr: PipeReader,
    pub control: PipeReader,
}

/// A kernel with a program running in it. Dropping it kills the guest.
#[derive(Debug)]
#[must_use = "dropping it kills the guest"]
pub struct Guest {
    stdout: Option<Output>,
    stderr: Option<Output>,
    /// Closing it tells the monitor to kill.
    cancel: Option<PipeWriter>,
    monitor: Option<JoinHandle<Result<Outcome, Error>>>,
    /// Given back when the guest has gone.
    _held: (Option<cpu::Slot>, RunDir),
}

/// A stream of the program, byte for byte. It ends when the guest ends. The guest
/// stands still while the pipe is full: read it, or drop it.
#[derive(Debug)]
pub struct Output {
    pipe: Arc<PipeReader>,
    life: Arc<Life>,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = (&*self.pipe).read(buffer)?;
        self.life.sign();
        Ok(len)
    }
}

/// When the guest gave its last sign of life.
#[derive(Debug)]
struct Life {
    start: Instant,
    last_ms: AtomicU64,
}

impl Life {
    fn sign(&self) {
        let now = self.start.elapsed().as_millis() as u64;
        self.last_ms.fetch_max(now, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }
}

pub(super) fn start(
    boot: &Boot,
    kernel: Supervised,
    streams: Streams,
    held: (Option<cpu::Slot>, RunDir),
) -> Result<Guest, Error> {
    let life = Arc::new(Life {
        start: Instant::now(),
        last_ms: AtomicU64::new(0),
    });
    let output = |pipe: PipeReader| Output {
        pipe: Arc::new(pipe),
        life: Arc::clone(&life),
    };
    let (stdout, stderr) = (output(streams.stdout), output(streams.stderr));
    let (cancelled, cancel) = io::pipe().map_err(Error::host("make a pipe"))?;
    let monitor = Monitor {
        kernel,
        log: Some(streams.log),
        control: Some(streams.control),
        cancelled: Some(cancelled),
        outputs: [Arc::downgrade(&stdout.pipe), Arc::downgrade(&stderr.pipe)],
        life,
        stood_still: Duration::ZERO,
        wall_limit: boot.wall_limit,
        idle_limit: boot.idle_limit,
        log_text: Vec::new(),
        log_dropped: 0,
        control_text: Vec::new(),
        report: None,
        machine: boot.machine,
        leaving: None,
        killed: None,
    };
    let monitor = std::thread::Builder::new()
        .name("guest-monitor".into())
        .spawn(move || monitor.run())
        .map_err(Error::host("start a thread"))?;
    Ok(Guest {
        stdout: Some(stdout),
        stderr: Some(stderr),
        cancel: Some(cancel),
        monitor: Some(monitor),
        _held: held,
    })
}

impl Guest {
    /// The program's standard output.
    ///
    /// # Panics
    /// When taken twice.
    pub fn take_stdout(&mut self) -> Output {
        self.stdout.take().expect("standard output is taken once")
    }

    /// The program's standard error.
    ///
    /// # Panics
    /// When taken twice.
    pub fn take_stderr(&mut self) -> Output {
        self.stderr.take().expect("standard error is taken once")
    }

    /// Waits for the end of the guest: when this returns, no process and no file
    /// of it is left. Output that was not taken is read and thrown away; output
    /// that was taken has to be read by another thread, or before.
    ///
    /// # Errors
    /// PID 1 could not start the program, or the host failed.
    pub fn wait(mut self) -> Result<Outcome, Error> {
        for output in [self.stdout.take(), self.stderr.take()]
            .into_iter()
            .flatten()
        {
            // It ends with the guest, so nobody has to wait for it.
            std::thread::spawn(move || copy(output, io::sink()));
        }
        let monitor = self.monitor.take().expect("`wait` consumes the guest");
        monitor
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.cancel = None;
        if let Some(monitor) = self.monitor.take() {
            // Wait, so that nothing is left when we return; its outcome, even its
            // panic, interests nobody any more.
            let _ = monitor.join();
        }
    }
}

struct Monitor {
    kernel: Supervised,
    /// Pipes become `None` at their end of file.
    log: Option<PipeReader>,
    control: Option<PipeReader>,
    cancelled: Option<PipeReader>,
    /// To see whether silence is the guest's or its reader's.
    outputs: [Weak<PipeReader>; 2],
    life: Arc<Life>,
    /// For so long we could not run.
    stood_still: Duration,
    wall_limit: Option<Duration>,
    idle_limit: Option<Duration>,
    log_text: Vec<u8>,
    /// Bytes left out after the first [`LOG_HALF`].
    log_dropped: usize,
    control_text: Vec<u8>,
    report: Option<Report>,
    machine: Machine,
    /// Since when the kernel should be on its way out.
    leaving: Option<Instant>,
    killed: Option<Killed>,
}

/// Why the monitor ended the guest.
enum Killed {
    Limit(Limit),
    /// It had said its last word, but stayed.
    Lingering,
    Cancelled,
}

impl Monitor {
    fn run(mut self) -> Result<Outcome, Error> {
        while self.log.is_some() || self.control.is_some() {
            self.wait_for_input()
                .map_err(Error::host("poll the guest"))?;
            let due = self.due();
            if self.killed.is_none()
                && let Some(reason) = due
            {
                self.killed = Some(reason);
                // What it wrote before is still in the pipes: go on reading.
                self.kernel.kill().map_err(Error::host("kill the guest"))?;
            }
        }
        let status = self
            .kernel
            .wait()
            .map_err(Error::host("wait for the guest"))?;
        self.conclude(status)
    }

    /// Why the guest must end now.
    fn due(&self) -> Option<Killed> {
        let now = Instant::now();
        if self.cancelled.is_none() {
            return Some(Killed::Cancelled);
        }
        if self.leaving.is_some_and(|since| now >= since + LAST_BREATH) {
            return Some(Killed::Lingering);
        }
        let expired = |limit: Option<Duration>, since: Instant| {
            limit.filter(|limit| now.saturating_duration_since(since) >= *limit)
        };
        if let Some(limit) = expired(self.wall_limit, self.life.start + self.stood_still) {
            return Some(Killed::Limit(Limit::Wall(limit)));
        }
        if let Some(limit) = expired(self.idle_limit, self.life.last()) {
            if self.reader_is_slow() {
                self.life.sign();
            } else {
                return Some(Killed::Limit(Limit::Idle(limit)));
            }
        }
        None
    }

    /// Whether output waits for whoever took it: the guest may then stand still
    /// through no fault of its own.
    fn reader_is_slow(&self) -> bool {
        self.outputs
            .iter()
            .filter_map(Weak::upgrade)
            .any(|pipe| pending_bytes(&pipe) > 0)
    }

    /// Sleeps until a pipe has something or the next limit may be exceeded, and
    /// reads what there is.
    fn wait_for_input(&mut self) -> io::Result<()> {
        let deadlines = [
            // A limit beyond all time is none.
            self.wall_limit
                .and_then(|limit| self.life.start.checked_add(limit + self.stood_still)),
            self.idle_limit
                .and_then(|limit| self.life.last().checked_add(limit)),
            self.leaving.map(|since| since + LAST_BREATH),
        ];
        let timeout = match deadlines.into_iter().flatten().min() {
            _ if self.killed.is_some() => PollTimeout::NONE,
            None => PollTimeout::NONE,
            // Rounded up: to wake a moment early would be to spin.
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let left = (left + Duration::from_millis(1)).min(LONGEST_NAP);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            }
        };
        let since = Instant::now();
        let pipes = [&self.log, &self.control, &self.cancelled];
        let mut fds: Vec<PollFd> = pipes
            .iter()
            .filter_map(|pipe| Some(PollFd::new(pipe.as_ref()?.as_fd(), PollFlags::POLLIN)))
            .collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let elapsed = since.elapsed();
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        let [log, control, cancelled] =
            pipes.map(|pipe| pipe.is_some() && ready.next() == Some(true));
        drop(fds);
        if elapsed > 2 * LONGEST_NAP && timeout != PollTimeout::NONE {
            self.stood_still += elapsed;
            self.life.sign();
            self.leaving = self.leaving.map(|since| since + elapsed);
        }
        if log {
            self.read_log();
        }
        if control {
            self.read_control();
        }
        if cancelled {
            // Nobody ever writes to it: this is its end.
            self.cancelled = None;
        }
        Ok(())
    }

    fn read_log(&mut self) {
        let old = self.log_text.len();
        if !append(&mut self.log, &mut self.log_text) {
            return;
        }
        self.life.sign();
        // A panic ends the kernel, unless it hangs on the way.
        if self.leaving.is_none() {
            let line = self.log_text[..old]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .unwrap_or(0);
            if log::panicked(&String::from_utf8_lossy(&self.log_text[line..])) {
                self.leaving = Some(Instant::now());
            }
        }
        if self.log_text.len() > 2 * LOG_HALF {
            let excess = self.log_text.len() - 2 * LOG_HALF;
            // In steps, so that a flood does not move the second half each time.
            if excess > LOG_HALF / 4 {
                self.log_text.drain(LOG_HALF..LOG_HALF + excess);
                self.log_dropped += excess;
            }
        }
    }

    fn read_control(&mut self) {
        if !append(&mut self.control, &mut self.control_text) {
            return;
        }
        self.life.sign();
        while let Some(end) = self.control_text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.control_text.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]);
            if let Some(report) = Report::parse(&line) {
                self.report = Some(report);
                self.leaving.get_or_insert_with(Instant::now);
            }
        }
    }

    fn conclude(mut self, status: ExitStatus) -> Result<Outcome, Error> {
        if self.log_dropped > 0 {
            let note = format!("\n[{} bytes left out]\n", self.log_dropped);
            self.log_text.splice(LOG_HALF..LOG_HALF, note.into_bytes());
        }
        let kernel_log = String::from_utf8_lossy(&self.log_text).replace("\r\n", "\n");
        let lost = || {
            let log = log::tail(&kernel_log);
            Err(Error::Killed { status, log })
        };
        // Of all that it says after that nothing is the kernel's doing.
        if outside::lost_process(&kernel_log) {
            return lost();
        }
        let exit = match (self.killed, self.report) {
            (None, None) if outside::killed(self.machine, status, &kernel_log) => return lost(),
            (_, None) if log::lacks_registers(&kernel_log) => {
                return Err(Error::Registers {
                    log: log::tail(&kernel_log),
                });
            }
            _ if log::panicked(&kernel_log) => Exit::Panic {
                log: log::tail(&kernel_log),
            },
            (_, Some(Report::Failed(what))) => return Err(Error::Guest { what }),
            (_, Some(Report::Exit(status))) => Exit::Status(status),
            (_, Some(Report::Signal(signal))) => Exit::Signalled(signal),
            (Some(Killed::Limit(why)), None) => Exit::Hung {
                why,
                log: log::tail(&kernel_log),
            },
            (None, None) if !log::started(&kernel_log) => {
                return Err(Error::NoStart {
                    status,
                    log: log::tail(&kernel_log),
                });
            }
            (None | Some(Killed::Lingering | Killed::Cancelled), None) => Exit::Died {
                status,
                log: log::tail(&kernel_log),
            },
        };
        Ok(Outcome { exit, kernel_log })
    }
}

/// Reads once; whether something came. At the end of file the pipe becomes `None`.
fn append(pipe: &mut Option<PipeReader>, to: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 << 10];
    match pipe.as_ref().map(|mut pipe| pipe.read(&mut buffer)) {
        Some(Ok(len)) if len > 0 => {
            to.extend_from_slice(&buffer[..len]);
            true
        }
        Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => false,
        _ => {
            *pipe = None;
            false
        }
    }
}
