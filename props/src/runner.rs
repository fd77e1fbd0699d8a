//! The host's side: which kernels, one guest a test.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use inflight::engine::{self, Boot, Exit};
use inflight::kernel::{self, Flavour, Kernel, KernelName, Machine};
use inflight::report::shell;
use inflight::scenario::{Expect, Expected, Scenario, text};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::properties::Result;

/// Passed to the guest: which test to run.
const TEST: &str = "INFLIGHT_TEST";
/// A guest that says nothing for so long is stuck; no test takes half of it.
const IDLE_LIMIT: Duration = Duration::from_secs(300);
const MEMORY_MIB: u32 = 256;
/// Begins each line of a scenario that breaks what a test is about.
const FOUND: &str = "found: ";
/// Begins a line in which a test tells the host what the kernel will complain about.
const EXPECTED: &str = "the kernel is to complain: ";

/// On which kernels a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// All of them.
    Every,
    /// Those without the cure.
    Stock,
    /// Those with it, in whichever mode.
    Patched,
    /// Those with it that wait.
    Waiting,
    /// Those with it that copy what is left in the queues instead.
    Detaching,
    /// Those with it that watch themselves.
    Watchful,
    /// Of these, those that wait.
    WatchfulWaiting,
    /// Those that watch themselves, where that includes sleeping in atomic context.
    WatchfulSleeping,
    /// Those that count which of their code runs.
    Counting,
}

/// Kernels that some tests need. Each takes minutes to build, so these tests are left out
/// until somebody has done that.
struct Special {
    /// The usual one of them.
    name: &'static str,
    /// What it does.
    does: &'static str,
    /// The tests that need such a one; the first is for all of them.
    tests: &'static [On],
}

const SPECIAL: [Special; 2] = [
    Special {
        name: "6.12-patched-debug",
        does: "watches itself",
        tests: &[On::Watchful, On::WatchfulWaiting, On::WatchfulSleeping],
    },
    Special {
        name: "6.12-patched-kcov",
        does: "counts its code",
        tests: &[On::Counting],
    },
];

/// A test that runs in a guest.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// Its name.
    pub name: &'static str,
    /// Where it runs.
    pub on: On,
    /// What it does there.
    pub run: fn() -> Result,
}

/// The main function of a test program: lists on the host, runs in guests.
pub fn main(tests: &'static [Test]) -> ! {
    if engine::in_guest() {
        std::process::exit(in_guest(tests));
    }
    let arguments = Arguments::from_args();
    let kernels = match kernels() {
        Ok(kernels) => kernels,
        Err(error) => {
            eprintln!("INFLIGHT_KERNELS: {error}");
            std::process::exit(2);
        }
    };
    // Listing must be quick and must not build anything.
    let mut trials = Vec::new();
    for kernel in &kernels {
        for test in tests.iter().filter(|test| test.on.includes(kernel)) {
            let lack = test.on.lack(kernel);
            if let (Some(lack), false) = (lack, arguments.list) {
                let name = test.name;
                eprintln!("SKIPPED (\"ignored\" below): {name} on {kernel}: {lack}");
            }
            trials.push(trial(*test, kernel.clone()).with_ignored_flag(lack.is_some()));
        }
    }
    for special in &SPECIAL {
        trials.extend(elsewhere(special, tests, &kernels, arguments.list));
    }
    libtest_mimic::run(&arguments, trials).exit()
}

/// The tests that need a special kernel, where none was named: on the usual one if it is
/// built, else left out, and said so.
fn elsewhere(
    special: &Special,
    tests: &[Test],
    kernels: &[KernelName],
    listing: bool,
) -> Vec<Trial> {
    let Special {
        name,
        does,
        tests: on,
    } = *special;
    let needs = |test: &&Test| on.contains(&test.on);
    let count = tests.iter().filter(needs).count();
    let named = kernels.iter().any(|kernel| on[0].includes(kernel));
    let Ok(kernel) = name.parse::<KernelName>() else {
        return Vec::new();
    };
    if count == 0 || named {
        return Vec::new();
    }
    let built = matches!(kernel::find(&kernel, Machine::Uml), Ok(Some(_)));
    if !built && !listing {
        eprintln!(
            "SKIPPED (\"ignored\" below): {count} tests need a kernel that {does}\n  \
             remedy: inflight kernel build {name}"
        );
    }
    tests
        .iter()
        .filter(needs)
        .map(|test| trial(*test, kernel.clone()).with_ignored_flag(!built))
        .collect()
}

/// Tells the host, from within a guest, that the kernel is about to report a bug,
/// in a line with `text`. The test fails unless it does, and unless that is all.
pub fn expect_complaint(text: &str) {
    println!("{EXPECTED}{text}");
    // The kernel may be gone with the next step.
    let _ = std::io::stdout().flush();
}

/// Hands the host, from within a guest, a scenario that breaks what the test is about, to
/// be kept.
pub fn found(scenario: &Scenario) {
    for line in scenario.to_string().lines() {
        println!("{FOUND}{line}");
    }
}

/// The scenario that a test has found, as it is kept: it must hold on the kernel in
/// question, and does not yet.
fn record(test: &str, kernel: &KernelName, stdout: &str) -> Option<Scenario> {
    let lines = stdout.lines().filter_map(|line| line.strip_prefix(FOUND));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let mut scenario = text::parse(test, &text).ok()?;
    scenario.header = format!(
        "Found by the property {test}.\n\nIt fails on {kernel}. What the scenario shows, and why, \
         is to be said here, and\nwhat is expected of other kernels below."
    );
    scenario.expects = vec![Expect {
        kernel: kernel.to_string(),
        verdict: Expected::Holds(None),
    }];
    Some(scenario)
}

/// Writes what a test has found into the corpus, all of which is replayed by a test.
fn keep(test: &str, kernel: &KernelName, stdout: &str) -> std::io::Result<Option<PathBuf>> {
    let Some(scenario) = record(test, kernel, stdout) else {
        return Ok(None);
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/found");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{test}-{kernel}.scn"));
    std::fs::write(&file, scenario.to_string())?;
    Ok(Some(file))
}

/// Where the scenario is, and what to do with it.
fn commands(file: &Path, kernel: &KernelName) -> String {
    let path = shell::quote(&file.display().to_string());
    let kernel = shell::quote(&kernel.to_string());
    let run = "cargo run --release --";
    format!(
        "kept as {}\nreplay it:  {run} replay {path} --kernel {kernel}\n\
         explain it: {run} explain {path} --kernel {kernel}\n",
        file.display()
    )
}

/// Holds what the kernel complained about against what it was to complain about.
fn judge(complaints: &[String], stdout: &str) -> Result {
    let expected: Vec<&str> = (stdout.lines())
        .filter_map(|line| line.strip_prefix(EXPECTED))
        .collect();
    let missed = |text: &&&str| !complaints.iter().any(|line| line.contains(**text));
    if let Some(text) = expected.iter().find(missed) {
        return Err(format!("the kernel's log reports no `{text}`"));
    }
    let other: Vec<&String> = (complaints.iter())
        .filter(|line| !expected.iter().any(|text| line.contains(text)))
        .collect();
    match other.is_empty() {
        true => Ok(()),
        false => Err(format!("the kernel complains: {other:#?}")),
    }
}

impl On {
    fn includes(self, kernel: &KernelName) -> bool {
        let flavour = kernel.flavour();
        let waits = flavour == Some(Flavour::Patched);
        let detaches = flavour == Some(Flavour::Detach);
        match self {
            On::Every => true,
            On::Stock => flavour == Some(Flavour::Stock),
            On::Patched => waits || detaches,
            On::Waiting => waits,
            On::Detaching => detaches,
            On::Watchful | On::WatchfulSleeping => kernel.is_debug() && (waits || detaches),
            On::WatchfulWaiting => kernel.is_debug() && waits,
            On::Counting => kernel.extras().counts(),
        }
    }

    /// What a kernel lacks for a test that is for its like.
    fn lack(self, kernel: &KernelName) -> Option<&'static str> {
        match (self, kernel) {
            (On::WatchfulSleeping, KernelName::Release { version, .. }) if version == "6.1" => {
                Some("its User Mode Linux has no CONFIG_DEBUG_ATOMIC_SLEEP (ARCH_NO_PREEMPT)")
            }
            _ => None,
        }
    }
}

fn kernels() -> std::result::Result<Vec<KernelName>, kernel::NameError> {
    let names = std::env::var("INFLIGHT_KERNELS");
    let names = names.as_deref().unwrap_or("6.12-stock,6.12-patched");
    names.split(',').map(|name| name.trim().parse()).collect()
}

fn trial(test: Test, kernel: KernelName) -> Trial {
    Trial::test(format!("{}::{kernel}", test.name), move || {
        let progress = kernel::progress::stderr();
        let kernel = kernel::ensure(&kernel, Machine::Uml, &*progress)?;
        boot(test, &kernel)
    })
}

fn boot(test: Test, kernel: &Kernel) -> std::result::Result<(), Failed> {
    let mut boot = Boot::of(kernel, std::env::current_exe()?);
    boot.env = std::env::vars_os()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("PROPTEST_") || name == "RUST_BACKTRACE" || name == "PATH"
        })
        .collect();
    boot.env.push((TEST.into(), test.name.into()));
    boot.memory_mib = kernel.memory_mib(MEMORY_MIB);
    boot.idle_limit = Some(IDLE_LIMIT);
    let mut guest = engine::spawn(boot)?;
    let stderr = guest.take_stderr();
    let stderr = thread::spawn(move || read(stderr));
    let stdout = read(guest.take_stdout());
    let outcome = guest.wait()?;
    let said = format!("{stdout}{}", stderr.join().unwrap_or_default());
    match outcome.exit {
        Exit::Status(0) => Ok(judge(&outcome.splats(), &stdout)?),
        Exit::Status(_) => match keep(test.name, &kernel.name, &stdout)? {
            Some(file) => Err(format!("{said}\n{}", commands(&file, &kernel.name)).into()),
            None => Err(said.into()),
        },
        exit => Err(format!("{exit:?}\n{said}").into()),
    }
}

fn read(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // A broken pipe ends the text where it is.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn in_guest(tests: &[Test]) -> i32 {
    let name = std::env::var(TEST).unwrap_or_default();
    let Some(test) = tests.iter().find(|test| test.name == name) else {
        println!("no test is called `{name}`");
        return 2;
    };
    match (test.run)() {
        Ok(()) => 0,
        Err(message) => {
            println!("{message}");
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_must_hear_what_it_expects_and_nothing_else() {
        let lines = |lines: &[&str]| -> Vec<String> {
            lines.iter().map(|line| (*line).to_owned()).collect()
        };
        let said = format!("noise\n{EXPECTED}KASAN: x\nmore\n");
        let kasan = "BUG: KASAN: x in y";
        assert_eq!(judge(&[], ""), Ok(()));
        assert_eq!(judge(&lines(&[kasan, kasan]), &said), Ok(()));
        assert!(judge(&lines(&[kasan]), "").is_err());
        assert!(judge(&[], &said).is_err());
        assert!(judge(&lines(&[kasan, "WARNING: z"]), &said).is_err());
    }

    #[test]
    fn what_was_found_is_kept_as_a_scenario_to_be_replayed() {
        let kernel: KernelName = "6.12-patched".parse().unwrap();
        let said = format!("noise\n{FOUND}file tmpfs size=1\n{FOUND}\n{FOUND}sendfile 0+1\nmore\n");
        let scenario = record("a_test", &kernel, &said).unwrap();
        let again = text::parse("kept", &scenario.to_string()).unwrap();
        assert_eq!(again, scenario);
        assert!(
            scenario
                .header
                .starts_with("Found by the property a_test.\n\n")
        );
        assert_eq!(scenario.expects[0].kernel, "6.12-patched");
        assert_eq!(scenario.steps.len(), 1);
        assert_eq!(record("a_test", &kernel, "sendfile 0+1\n"), None);
        let said = commands(Path::new("/my folder/a.scn"), &kernel);
        for line in [
            "kept as /my folder/a.scn\n",
            "-- replay '/my folder/a.scn' --kernel 6.12-patched\n",
            "-- explain '/my folder/a.scn' --kernel 6.12-patched\n",
        ] {
            assert!(said.contains(line), "{said}");
        }
    }

    #[test]
    fn a_kernel_gets_the_tests_that_concern_it() {
        let old: KernelName = "6.1-patched-debug".parse().unwrap();
        assert!(On::WatchfulSleeping.lack(&old).is_some());
        assert_eq!(On::Watchful.lack(&old), None);
        for (name, on) in [
            ("6.12-stock", &[On::Stock][..]),
            ("6.12-patched", &[On::Patched, On::Waiting]),
            ("7.3-detach", &[On::Patched, On::Detaching]),
            ("6.12-stock-debug", &[On::Stock]),
            (
                "6.12-patched-debug",
                &[
                    On::Patched,
                    On::Waiting,
                    On::Watchful,
                    On::WatchfulWaiting,
                    On::WatchfulSleeping,
                ],
            ),
            (
                "6.12-detach-debug",
                &[
                    On::Patched,
                    On::Detaching,
                    On::Watchful,
                    On::WatchfulSleeping,
                ],
            ),
            (
                "6.1-detach-kcov",
                &[On::Patched, On::Detaching, On::Counting],
            ),
            ("tree:/x", &[]),
        ] {
            let kernel: KernelName = name.parse().unwrap();
            for all in [
                On::Stock,
                On::Patched,
                On::Waiting,
                On::Detaching,
                On::Watchful,
                On::WatchfulWaiting,
                On::WatchfulSleeping,
                On::Counting,
            ] {
                assert_eq!(all.includes(&kernel), on.contains(&all), "{name} {all:?}");
            }
            assert!(On::Every.includes(&kernel));
            let old = name.starts_with("6.1-");
            assert_eq!(On::WatchfulSleeping.lack(&kernel).is_some(), old, "{name}");
        }
    }
}
