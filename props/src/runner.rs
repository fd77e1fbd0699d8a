//! The host's side: which kernels, one guest a test.

use std::io::Read;
use std::thread;
use std::time::Duration;

use inflight::engine::{self, Boot, Exit};
use inflight::kernel::{self, Flavour, Kernel, KernelName};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::properties::Result;

/// Passed to the guest: which test to run.
const TEST: &str = "INFLIGHT_TEST";
/// A guest that says nothing for so long is stuck; no test takes half of it.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// On which kernels a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// All of them.
    Every,
    /// Those without the cure.
    Stock,
    /// Those with it.
    Patched,
}

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
    let trials = kernels
        .iter()
        .flat_map(|kernel| {
            let here = tests.iter().filter(|test| test.on.includes(kernel));
            here.map(|test| trial(*test, kernel.clone()))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit()
}

impl On {
    fn includes(self, kernel: &KernelName) -> bool {
        let flavour = match kernel {
            KernelName::Release { flavour, .. } => Some(*flavour),
            _ => None,
        };
        match self {
            On::Every => true,
            On::Stock => flavour == Some(Flavour::Stock),
            On::Patched => flavour == Some(Flavour::Patched),
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
        let kernel = kernel::ensure(&kernel, &*progress)?;
        boot(test, &kernel)
    })
}

fn boot(test: Test, kernel: &Kernel) -> std::result::Result<(), Failed> {
    let mut boot = Boot::new(&kernel.image, std::env::current_exe()?);
    boot.kernel_args = kernel.boot_args();
    boot.env = std::env::vars_os()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("PROPTEST_") || name == "RUST_BACKTRACE" || name == "PATH"
        })
        .collect();
    boot.env.push((TEST.into(), test.name.into()));
    boot.memory_mib = 256;
    boot.idle_limit = Some(IDLE_LIMIT);
    let mut guest = engine::spawn(boot)?;
    let stderr = guest.take_stderr();
    let stderr = thread::spawn(move || text(stderr));
    let stdout = text(guest.take_stdout());
    let outcome = guest.wait()?;
    let said = format!("{stdout}{}", stderr.join().unwrap_or_default());
    let splats = outcome.splats();
    match outcome.exit {
        Exit::Status(0) if splats.is_empty() => Ok(()),
        Exit::Status(0) => Err(format!("the kernel complains:\n{}", splats.join("\n")).into()),
        Exit::Status(_) => Err(said.into()),
        exit => Err(format!("{exit:?}\n{said}").into()),
    }
}

fn text(mut stream: impl Read) -> String {
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
