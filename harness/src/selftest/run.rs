//! The tests inside kernels, several at a time.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::suite::Test;
use super::tap::{self, Report};
use crate::engine::{self, Boot, Exit};
use crate::kernel::{self, Built, Kernel, Progress};

/// Most tests take a second, tls with its thousand cases half a minute; their own
/// limits are in virtual time, and cost none. Only what spins or makes no progress
/// for so long is ended: it may be on a busy machine, and a kernel that watches
/// itself is some ten times slower.
const WALL_LIMIT: Duration = Duration::from_secs(1800);
const IDLE_LIMIT: Duration = Duration::from_secs(180);
const MEMORY_MIB: u32 = 256;

/// What became of a test on a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It ran.
    Ran(Report),
    /// The kernel's source has no such test.
    Absent,
    /// It does not compile: why.
    NotBuilt(String),
}

/// Runs every test on every kernel, `jobs` at a time; what is missing is built
/// first. The outcomes come in the order of the kernels, for each in that of the
/// tests.
///
/// # Errors
/// Building failed, or no guest was to be had.
pub fn run<E: From<kernel::Error> + From<engine::Error>>(
    kernels: &[Kernel],
    tests: &[&Test],
    jobs: usize,
    progress: &dyn Progress,
) -> Result<Vec<Vec<Outcome>>, E> {
    let mut work = Vec::new();
    for kernel in kernels {
        for (test, ready) in tests.iter().zip(build(kernel, tests, progress)?) {
            work.push((kernel, *test, ready));
        }
    }
    progress.step("running the tests");
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<Option<Result<Outcome, engine::Error>>>> =
        Mutex::new(work.iter().map(|_| None).collect());
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, work.len().max(1)) {
            scope.spawn(|| {
                while let Some((index, (kernel, test, ready))) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    work.get(index).map(|work| (index, work))
                } {
                    let outcome = match ready {
                        Ready::Not(outcome) => Ok(outcome.clone()),
                        Ready::Files(files) => one(kernel, test, files).map(Outcome::Ran),
                    };
                    if outcome.is_err() {
                        // Whatever the machine lacks, the next would lack as well.
                        next.store(work.len(), Ordering::Relaxed);
                    }
                    let mut outcomes = outcomes.lock().unwrap_or_else(|it| it.into_inner());
                    outcomes[index] = Some(outcome);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    progress.tick(done as u64, Some(work.len() as u64), "tests");
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(|it| it.into_inner());
    // An error leaves those after it without an outcome, and comes before them.
    let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect::<Result<_, _>>()?;
    Ok(outcomes
        .chunks(tests.len().max(1))
        .map(<[Outcome]>::to_vec)
        .collect())
}

enum Ready {
    Files(Vec<PathBuf>),
    Not(Outcome),
}

fn build(
    kernel: &Kernel,
    tests: &[&Test],
    progress: &dyn Progress,
) -> Result<Vec<Ready>, kernel::Error> {
    let files: Vec<_> = tests.iter().flat_map(|test| test.files).copied().collect();
    let mut built = kernel::selftests(&kernel.name, &files, progress)?.into_iter();
    let ready = |test: &&Test| {
        let built: Vec<Built> = built.by_ref().take(test.files.len()).collect();
        let mut paths = Vec::new();
        for one in built {
            match one {
                Built::At(path) => paths.push(path),
                Built::Absent => return Ready::Not(Outcome::Absent),
                Built::Failed(why) => return Ready::Not(Outcome::NotBuilt(why)),
            }
        }
        Ready::Files(paths)
    };
    Ok(tests.iter().map(ready).collect())
}

/// Runs one test, in a folder of the guest's memory that it may write to.
fn one(kernel: &Kernel, test: &Test, files: &[PathBuf]) -> Result<Report, engine::Error> {
    let script = format!(
        "mkdir /tmp/selftest && cp -- \"$@\" /tmp/selftest && cd /tmp/selftest || exit 99\n{}",
        test.script
    );
    let mut boot = Boot::of(kernel, "/bin/sh");
    boot.args = vec!["-c".into(), script.into(), "sh".into()];
    let names = files.iter().filter_map(|file| file.file_name());
    boot.args.extend(names.map(OsString::from));
    // It stays visible in the guest wherever it is.
    if let Some(folder) = files.first().and_then(|file| file.parent()) {
        boot.cwd = folder.to_owned();
    }
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    boot.env = vec![("PATH".into(), path.into()), ("LC_ALL".into(), "C".into())];
    boot.memory_mib = kernel.memory_mib(MEMORY_MIB);
    boot.wall_limit = Some(WALL_LIMIT);
    boot.idle_limit = Some(IDLE_LIMIT);
    let mut guest = engine::spawn(boot)?;
    let (stdout, stderr) = (guest.take_stdout(), guest.take_stderr());
    // Both at once: a guest stands still while one of them is full.
    let errors = thread::spawn(move || text_of(stderr));
    let mut text = text_of(stdout);
    let outcome = guest.wait()?;
    text.push('\n');
    text.push_str(&errors.join().unwrap_or_default());

    let status = match outcome.exit {
        Exit::Status(status) => Some(status),
        _ => None,
    };
    let mut report = tap::read(test.name, &text, status);
    match &outcome.exit {
        Exit::Status(_) => {}
        Exit::Signalled(signal) => report.add_failure("signal", signal.to_string()),
        Exit::Panic { log } => report.add_failure("kernel panic", end_of(log)),
        Exit::Hung { why, .. } => report.add_failure("hang", why.to_string()),
        Exit::Died { status, log } => {
            report.add_failure("kernel", format!("{status}: {}", end_of(log)));
        }
    }
    if let Some(splat) = outcome.splats().first() {
        report.add_failure("kernel log", splat.clone());
    }
    Ok(report)
}

fn text_of(mut from: impl Read) -> String {
    let mut text = Vec::new();
    // What was read before an error counts; the guest's exit tells the rest.
    let _ = from.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn end_of(log: &[String]) -> String {
    log.last().cloned().unwrap_or_default()
}
