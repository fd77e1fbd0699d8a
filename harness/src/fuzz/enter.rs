//! The host's side: boots the kernel with this very program, and keeps the input of a
//! kernel that dies.

use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::arguments::Arguments;
use super::spool::Spool;
use super::target::{Guide, chosen_contract};
use super::{clock, record, trace};
use crate::campaign::crash::Crash;
use crate::campaign::job::Finding;
use crate::engine::run_dir::RunDir;
use crate::engine::{self, Boot, DIED_STATUS, HUNG_STATUS, Outcome};
use crate::guest;
use crate::kernel::progress::Lines;
use crate::kernel::{self, Extras, Flavour, Kernel, KernelName, Machine};
use crate::oracle::{self, Contract, Property};
use crate::scenario::text;

/// Names the kernel.
pub const KERNEL_VARIABLE: &str = "INFLIGHT_KERNEL";
/// Names the contract: `stable` or `documented`.
pub const CONTRACT_VARIABLE: &str = "INFLIGHT_CONTRACT";
/// Names the content key of the kernel: it is that one in the cache, and nothing is built.
pub const KEY_VARIABLE: &str = "INFLIGHT_KERNEL_KEY";
/// Tells the guest where to note what is about to run.
pub(super) const NOTE_VARIABLE: &str = "INFLIGHT_NOTE";
/// What the guest ends with when it is not the last input that is at fault, but the one
/// that is noted.
pub const LEAKED_STATUS: u8 = 178;
/// What the guest ends with when a call still hangs, so that it can run no other input:
/// it has said what is to be said of that.
pub const SPENT_STATUS: u8 = 179;
/// Memory of a guest in MiB: the corpus and what libFuzzer knows of it are in there.
const MEMORY_MIB: u32 = 256;
/// How long a guest may be silent, unless `-timeout` says otherwise.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// Goes on inside the kernel that the environment names (`INFLIGHT_KERNEL`; the patched
/// one that counts, unless told), which is built first if need be. `INFLIGHT_CONTRACT` is
/// what it is held to: `stable`, or `documented` for a stock kernel.
///
/// On the host this does not return, except in a process that only starts others of its
/// kind. If the kernel dies or hangs, the input that it had is written where libFuzzer
/// writes what crashes, with the kernel's last words beside it, and the exit status is the
/// one that libFuzzer has for a crash.
pub fn enter() {
    guest::init::main_if_pid1();
    let arguments = Arguments::new(std::env::args_os().skip(1));
    if engine::in_guest() {
        return;
    }
    if arguments.starts_others() {
        // What libFuzzer tells its children by files lies in /tmp else, and a guest may
        // not write to all of that.
        if let Some(Ok(home)) = engine::run_dir::cache_root().map(|it| RunDir::create(&it)) {
            // SAFETY: libFuzzer has started no thread yet, and neither have we.
            unsafe { std::env::set_var("TMPDIR", home.path()) };
            // Until this process ends, however it does; the next run sweeps it away.
            std::mem::forget(home);
        }
        return;
    }
    let status = match run(&arguments) {
        Ok(status) => status,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            2
        }
    };
    // SAFETY: ends the process; what libFuzzer does at exit belongs to the guest's run.
    unsafe { libc::_exit(status.into()) }
}

type Error = Box<dyn std::error::Error>;

fn run(arguments: &Arguments) -> Result<u8, Error> {
    let cache = engine::run_dir::cache_root().ok_or("no cache directory: set HOME")?;
    if let Some(file) = arguments.misplaced() {
        let file = file.display();
        return Err(
            format!("{file}: put it into a folder of its own, which the guest sees").into(),
        );
    }
    Guide::chosen()?;
    chosen_contract()?;
    // It may have to be built: after all that can be wrong.
    let kernel = kernel()?;
    // Should we be killed, it is swept away by the next run.
    let home = RunDir::create(&cache)?;
    let note = home.path().join("input");
    fs::write(&note, "")?;

    let mut boot = Boot::of(&kernel, std::env::current_exe()?);
    boot.args = arguments.for_guest(seed());
    boot.cwd = std::env::current_dir()?;
    boot.memory_mib = kernel.memory_mib(MEMORY_MIB);
    boot.idle_limit = Some(idle_limit(arguments));
    boot.env = environment(&kernel, &note);
    let mut spool = Spool::open(&kernel.name.to_string(), held_to(&kernel.name)?)?;
    boot.out_dirs = folders(arguments, home.path(), spool.as_ref().map(Spool::folder));
    let (status, outcome) = engine::run_to_end(boot)?;
    if ![DIED_STATUS, HUNG_STATUS, LEAKED_STATUS, SPENT_STATUS].contains(&status) {
        return Ok(status);
    }
    let bytes = fs::read(&note)?;
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        // It had none.
        return Ok(status);
    }
    // A log can be large, and a kernel can die often.
    let mut is_one_more = false;
    if let Some(spool) = &mut spool {
        let scenario = String::from_utf8_lossy(text);
        spool.note_deadly(&scenario)?;
        if let Some(outcome) = &outcome {
            is_one_more = !keep_crash(spool, &scenario, outcome)?;
        }
    }
    if status == SPENT_STATUS {
        // Nothing died.
        if spool.is_none() {
            let _ = writeln!(
                io::stderr(),
                "a known bug has left a call hanging: start again"
            );
        }
        return Ok(status);
    }
    let name = format!("crash-{}", &blake3::hash(text).to_hex()[..40]);
    let artifact = arguments.artifact(&name);
    fs::write(&artifact, text).map_err(|error| {
        let text = String::from_utf8_lossy(text);
        format!(
            "cannot write {}: {error}; the input:\n{text}",
            artifact.display()
        )
    })?;
    let mut words = format!("Test unit written to {}\n", artifact.display());
    if let Some(outcome) = outcome.filter(|_| !is_one_more) {
        let mut log = artifact.into_os_string();
        log.push(".log");
        fs::write(&log, outcome.kernel_log)?;
        words += &format!("Its kernel's log: {}\n", Path::new(&log).display());
    }
    let property = match status {
        HUNG_STATUS => Property::Liveness,
        LEAKED_STATUS => Property::Leaks,
        _ => Property::Splat,
    };
    let _ = write!(io::stderr(), "{}\n{words}", end_of_guest(property));
    // A campaign wants to know which it was.
    Ok(match spool {
        Some(_) => status,
        None => arguments.error_status(),
    })
}

/// What is said of the end of a guest that broke this.
pub(crate) fn end_of_guest(property: Property) -> &'static str {
    match property {
        Property::Liveness => "ERROR: the kernel hung with this input",
        Property::Leaks => "ERROR: an earlier input has left something behind",
        _ => "ERROR: the kernel died with this input",
    }
}

/// Leaves it where the campaign looks for what it has found, unless there are enough like
/// it. Returns whether it did.
fn keep_crash(spool: &mut Spool, scenario: &str, outcome: &Outcome) -> Result<bool, Error> {
    let Some(crash) = Crash::of(&outcome.exit) else {
        return Ok(false);
    };
    let scenario = text::parse("input", scenario)?;
    let message = crash.message("with this input");
    // What the kernel says of it tells one death from another.
    let splat = oracle::splats(&outcome.kernel_log);
    let line = splat.as_ref().map_or(&*message, |it| &it.message);
    let look = record::look(&scenario, crash.property, line);
    if !spool.wants(&look, crash.property) {
        return Ok(false);
    }
    let finding = Finding::suspect(0, crash.property, message, &scenario);
    Ok(spool.keep(&look, finding, Some(&outcome.kernel_log))?)
}

fn kernel() -> Result<Kernel, Error> {
    let name = match std::env::var(KERNEL_VARIABLE) {
        Ok(name) if !name.is_empty() => name.parse()?,
        _ => usual(),
    };
    if let Some(key) = std::env::var(KEY_VARIABLE).ok().filter(|it| !it.is_empty()) {
        return match kernel::of_key(&name, Machine::Uml, &key)? {
            Some(kernel) => Ok(kernel),
            None => Err(
                format!("{name} with the key {key} ({KEY_VARIABLE}) is not in the cache").into(),
            ),
        };
    }
    Ok(kernel::ensure(
        &name,
        Machine::Uml,
        &Lines::new(io::stderr()),
    )?)
}

/// The patched one of the usual version, counting.
pub fn usual() -> KernelName {
    let names = KernelName::usual();
    let patched = names
        .into_iter()
        .find(|it| it.flavour() == Some(Flavour::Patched));
    patched
        .expect("one of the usual kernels is patched")
        .with(Extras::Kcov)
}

/// What a kernel is held to unless told: a stock one not to what no manual page says.
pub fn usual_contract(name: &KernelName) -> Contract {
    match name.flavour() {
        Some(Flavour::Stock) => Contract::Documented,
        _ => Contract::Stable,
    }
}

/// What the environment says of that, or the usual.
fn held_to(name: &KernelName) -> io::Result<Contract> {
    match std::env::var_os(CONTRACT_VARIABLE).is_some_and(|it| !it.is_empty()) {
        true => chosen_contract(),
        false => Ok(usual_contract(name)),
    }
}

fn environment(kernel: &Kernel, note: &Path) -> Vec<(OsString, OsString)> {
    let ours = [KERNEL_VARIABLE, NOTE_VARIABLE, clock::VARIABLE];
    let mut all: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| !ours.iter().any(|it| name == it))
        .collect();
    let given =
        |(name, value): &(OsString, OsString)| name == CONTRACT_VARIABLE && !value.is_empty();
    if !all.iter().any(given) {
        all.retain(|(name, _)| name != CONTRACT_VARIABLE);
        all.push((
            CONTRACT_VARIABLE.into(),
            usual_contract(&kernel.name).to_string().into(),
        ));
    }
    all.push((KERNEL_VARIABLE.into(), kernel.name.to_string().into()));
    all.push((NOTE_VARIABLE.into(), note.into()));
    if let Some(relation) = clock::Relation::measure() {
        all.push((clock::VARIABLE.into(), relation.to_string().into()));
    }
    all
}

/// What has to be writable, besides what the arguments name: where a build for coverage
/// puts its profile, where cargo-fuzz wants to read how an input looks, where a trace goes,
/// and a campaign's findings.
fn folders(arguments: &Arguments, home: &Path, spool: Option<&Path>) -> Vec<PathBuf> {
    let mut folders = arguments.folders();
    folders.push(home.to_owned());
    folders.extend(spool.map(Path::to_owned));
    for variable in [
        "LLVM_PROFILE_FILE",
        "RUST_LIBFUZZER_DEBUG_PATH",
        trace::VARIABLE,
    ] {
        let path = std::env::var_os(variable).map(PathBuf::from);
        let absolute = path.and_then(|it| std::path::absolute(it).ok());
        let parent = absolute.as_deref().and_then(Path::parent);
        folders.extend(parent.and_then(|it| it.canonicalize().ok()));
    }
    // libFuzzer's usual place for artifacts.
    if arguments.flag("artifact_prefix").is_none() {
        folders.extend(
            std::env::current_dir()
                .and_then(|it| it.canonicalize())
                .ok(),
        );
    }
    super::arguments::outermost(folders)
}

fn idle_limit(arguments: &Arguments) -> Duration {
    let given = arguments.flag("timeout").and_then(|it| it.to_str());
    let seconds = given.and_then(|it| it.parse().ok()).filter(|it| *it > 0);
    seconds.map_or(IDLE_LIMIT, Duration::from_secs)
}

/// A number that is another one each time.
fn seed() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    (random as u32).max(1)
}
