//! `inflight doctor`: what this machine can do, and what it lacks.

mod engines;
mod probe;

use std::path::Path;

use serde_json::json;

use super::format::{Format, print};
use super::{Failure, Status};
use crate::engine;
use crate::kernel::space::{free_bytes, human_bytes};
use crate::kernel::{self, KernelName, Machine, tools};
use crate::report::table::Table;

/// Say what this machine can do, what is missing, and the command that helps.
///
/// The exit status is 0 when `inflight check` can run, 3 when something is missing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print for people, or as json with one object a line
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Memory of one guest and of what runs around it.
const GUEST_BYTES: u64 = 128 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// It works, or will have been seen to when it is needed.
    Warn,
    /// The main job cannot run.
    Missing,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    what: &'static str,
    state: State,
    found: String,
    remedy: Option<String>,
}

impl Check {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            state: State::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn not_ok(
        what: &'static str,
        state: State,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            what,
            state,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// # Errors
/// Only standard output can fail: what is wrong with the machine is a result.
pub fn run(args: Args) -> Result<Status, Failure> {
    let mut checks = checks();
    checks.extend(engines::host());
    print(&match args.format {
        Format::Human => human(&checks),
        Format::Json => checks.iter().map(|check| json_line(check) + "\n").collect(),
    })?;
    Ok(status(&checks))
}

fn status(checks: &[Check]) -> Status {
    if checks.iter().any(|check| check.state == State::Missing) {
        Status::Missing
    } else {
        Status::Held
    }
}

fn human(checks: &[Check]) -> String {
    let mut rows = Vec::new();
    for check in checks {
        let cell = str::to_owned;
        rows.push(vec![
            cell(check.state.name()),
            cell(check.what),
            check.found.clone(),
        ]);
        if let Some(remedy) = &check.remedy {
            rows.push(vec![String::new(), String::new(), format!("-> {remedy}")]);
        }
    }
    Table::of(rows).to_string()
}

fn json_line(check: &Check) -> String {
    json!({
        "check": check.what,
        "state": check.state.name(),
        "found": check.found,
        "remedy": check.remedy,
    })
    .to_string()
}

fn checks() -> Vec<Check> {
    let mut checks = vec![platform(), cpus(), memory(), guest_memory(), tracing()];
    let need = kernel::need(&KernelName::usual(), Machine::Uml);
    // What cannot be told needs the most.
    let assumed = need.as_ref().ok().cloned().unwrap_or_else(|| kernel::Need {
        fetch: true,
        build: KernelName::usual(),
        free_bytes: kernel::space::FETCH_BYTES,
    });
    if let Ok(root) = kernel::cache::root() {
        checks.push(cache(&root));
        checks.push(disk(&root, assumed.free_bytes, free_bytes(&root)));
    }
    checks.push(build_tools(
        &tools::missing(),
        !assumed.build.is_empty(),
        tools::can_install(),
    ));
    let apt = ["apt-get", "dpkg-deb"].map(|program| tools::find(program).is_some());
    checks.push(source(assumed.fetch, apt == [true, true]));
    checks.push(kernels(need));
    checks
}

fn platform() -> Check {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let found = format!(
        "{} {} on {}",
        std::env::consts::OS,
        release.trim(),
        std::env::consts::ARCH
    );
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        Check::ok("platform", found)
    } else {
        let remedy = "User Mode Linux exists for x86_64 Linux: run there";
        Check::not_ok("platform", State::Missing, found, remedy)
    }
}

fn cpus() -> Check {
    match std::thread::available_parallelism() {
        Ok(count) => Check::ok("cpus", format!("{count}, one guest each")),
        Err(error) => Check::not_ok(
            "cpus",
            State::Warn,
            format!("unknown: {error}"),
            "give --jobs",
        ),
    }
}

fn memory() -> Check {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let guests = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    judge_memory(available_bytes(&text), guests)
}

/// Reads /proc/meminfo.
fn available_bytes(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn judge_memory(available: Option<u64>, guests: u64) -> Check {
    let Some(bytes) = available else {
        return Check::not_ok("memory", State::Warn, "unknown", "mount /proc");
    };
    let found = format!("{} available", human_bytes(bytes));
    // As much again for the host's side of a guest and for compilers.
    if bytes < 2 * GUEST_BYTES {
        Check::not_ok(
            "memory",
            State::Missing,
            found,
            "a guest needs 128 MiB, and a compiler as much",
        )
    } else if bytes < 2 * GUEST_BYTES * guests {
        Check::not_ok(
            "memory",
            State::Warn,
            found,
            "give --jobs, with fewer guests at once",
        )
    } else {
        Check::ok("memory", found)
    }
}

/// Where the engine will put it: /dev/shm, else beside the run in the cache.
fn guest_memory() -> Check {
    let cache = kernel::cache::root().unwrap_or_default();
    // It need not be there yet.
    let existing = cache.ancestors().find(|path| path.is_dir());
    let otherwise = existing.unwrap_or(Path::new("/"));
    let memory_mib = (GUEST_BYTES >> 20) as u32;
    judge_guest_memory(&engine::memory_directory(memory_mib, otherwise))
}

fn judge_guest_memory(folder: &Path) -> Check {
    const WHAT: &str = "guest memory";
    const REMEDY: &str = "mount a tmpfs with some 200 MB a guest on /dev/shm, without noexec";
    let shown = folder.display();
    if let Err(error) = probe::map_executable(folder) {
        let found = format!("no executable mapping in {shown}: {error}");
        return Check::not_ok(WHAT, State::Missing, found, REMEDY);
    }
    let free = free_bytes(folder).unwrap_or(0);
    let found = format!("{shown}, {} free", human_bytes(free));
    if free < GUEST_BYTES {
        Check::not_ok(WHAT, State::Missing, found, REMEDY)
    } else if !probe::is_tmpfs(folder) {
        let found = format!("{found}, but not on tmpfs: slower");
        Check::not_ok(WHAT, State::Warn, found, REMEDY)
    } else {
        Check::ok(WHAT, found)
    }
}

fn tracing() -> Check {
    match probe::trace_child() {
        Ok(()) => Check::ok("ptrace", "a child's system calls can be stopped"),
        Err(why) => Check::not_ok(
            "ptrace",
            State::Missing,
            why,
            "allow ptrace: in a container --cap-add=SYS_PTRACE, elsewhere sysctl kernel.yama.ptrace_scope=1",
        ),
    }
}

fn cache(root: &Path) -> Check {
    let existing = root.ancestors().find(|path| path.exists()).unwrap_or(root);
    // Permission bits do not tell about read-only mounts, nor root about permission.
    match tempfile::tempfile_in(existing) {
        Ok(_) => Check::ok("cache", root.display().to_string()),
        Err(error) => Check::not_ok(
            "cache",
            State::Missing,
            format!("{} cannot be written: {error}", existing.display()),
            "set INFLIGHT_CACHE to a folder of yours",
        ),
    }
}

fn disk(root: &Path, need_bytes: u64, free: std::io::Result<u64>) -> Check {
    match free {
        Ok(bytes) if bytes >= need_bytes => Check::ok(
            "disk",
            format!(
                "{} free, {} needed",
                human_bytes(bytes),
                human_bytes(need_bytes)
            ),
        ),
        Ok(bytes) => Check::not_ok(
            "disk",
            State::Missing,
            format!(
                "{} free in {}, {} needed",
                human_bytes(bytes),
                root.display(),
                human_bytes(need_bytes)
            ),
            "free some, or set INFLIGHT_CACHE to a folder on a larger disk",
        ),
        Err(error) => Check::not_ok(
            "disk",
            State::Warn,
            format!("free space of {} is unknown: {error}", root.display()),
            "set INFLIGHT_CACHE to another folder",
        ),
    }
}

fn build_tools(missing: &[tools::Tool], needed: bool, can_install: bool) -> Check {
    const WHAT: &str = "build tools";
    if missing.is_empty() {
        return Check::ok(WHAT, "all there");
    }
    let names: Vec<_> = missing.iter().map(|tool| tool.name).collect();
    let names = names.join(", ");
    let command = tools::install_command(missing);
    match (needed, can_install) {
        (true, false) => Check::not_ok(WHAT, State::Missing, format!("no {names}"), command),
        (true, true) => {
            let found = format!("no {names}; installed when a kernel is built");
            Check::not_ok(WHAT, State::Warn, found, command)
        }
        (false, _) => {
            let found = format!("no {names}; needed for the next kernel only");
            Check::not_ok(WHAT, State::Warn, found, command)
        }
    }
}

fn source(needed: bool, has_apt: bool) -> Check {
    match (needed, has_apt) {
        (false, _) => Check::ok("source", "nothing to fetch"),
        (true, true) => Check::ok("source", "fetched by apt when a kernel is built"),
        (true, false) => Check::not_ok(
            "source",
            State::Missing,
            "no apt-get and dpkg-deb to fetch it",
            "unpack a kernel and name its folder: --kernel tree:PATH",
        ),
    }
}

fn kernels(need: Result<kernel::Need, kernel::Error>) -> Check {
    const WHAT: &str = "kernels";
    let names = |names: &[KernelName]| {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        names.join(" ")
    };
    match need {
        Ok(need) if need.build.is_empty() => {
            Check::ok(WHAT, format!("built: {}", names(&KernelName::usual())))
        }
        Ok(need) => {
            let names = names(&need.build);
            Check::not_ok(
                WHAT,
                State::Warn,
                format!("not built yet: {names}; built when needed, in some minutes"),
                format!("inflight kernel build {names}"),
            )
        }
        Err(error) => {
            let text = error.to_string();
            Check {
                what: WHAT,
                state: State::Missing,
                found: text.lines().next().unwrap_or_default().to_owned(),
                // A name or variable that makes no sense says so itself.
                remedy: error.remedy().map(str::to_owned),
            }
        }
    }
}

#[cfg(test)]
mod tests;
