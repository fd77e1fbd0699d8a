//! Runs a program inside a kernel.
//!
//! There is no agent and no protocol to speak of: **any binary that links this
//! library can run inside the kernel under test**. On the host it asks the engine
//! to boot the kernel with itself as the program; in the guest it goes on.
//! [`enter`] is that, and [`spawn`] runs any other program:
//!
//! ```text
//! host                                 guest (User Mode Linux, or QEMU)
//! spawn ─ job file in a run directory ─> PID 1: this same binary (guest::init)
//!    <──── stdout, stderr pipes ──────── the program, on two terminals
//!    <──── control pipe ──────────────── a third one: how the program ended
//!    <──── kernel log pipe ───────────── the kernel's console
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cpu`] | which CPU a guest gets, agreed between all processes of the user |
//! | [`log`] | what the kernel log says: panics and splats |
//! | [`run_dir`] | the private directory of a run |
//! | `launch` | what every engine does to start a guest |
//! | `uml` | boots User Mode Linux |
//! | `qemu` | boots a PC |
//! | [`wire`] | what joins the cards of two PCs |
//! | [`host`] | runs programs in namespaces of the host's own kernel |
//! | [`kvm`] | whether the CPU itself can run a PC's kernel |
//! | `monitor` | the thread that watches a guest to its end |
//! | `outside` | whether it was somebody of the host who ended a guest |
//! | `relay` | [`enter`] and [`run_to_exit`]: our streams and exit status are the guest's |

pub mod cpu;
pub mod host;
pub mod kvm;
mod launch;
pub mod log;
mod monitor;
mod outside;
mod qemu;
mod relay;
pub mod run_dir;
mod uml;
pub mod wire;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::guest::{self, job};
use crate::kernel::{Kernel, Machine};

pub use monitor::{Guest, Output};
pub use relay::{
    BROKEN_PIPE_STATUS, DIED_STATUS, HUNG_STATUS, Options, enter, run_to_end, run_to_exit,
};
pub use uml::memory_directory;

/// A kernel to boot and the program to run in it. Create it with [`Boot::new`]
/// and set what differs.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The UML executable, or the ELF file of a PC's kernel.
    pub image: PathBuf,
    /// What it is run on.
    pub machine: Machine,
    /// More words for the kernel command line, e.g. `seccomp=on`. Each is one
    /// word: no blanks, no quotes.
    pub kernel_args: Vec<String>,
    /// The program: an absolute path on the host.
    pub program: PathBuf,
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
    /// Its environment, all of it; `INFLIGHT_GUEST=1` and `TMPDIR=/tmp` are added.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory: an absolute path on the host.
    pub cwd: PathBuf,
    /// The host directories that the guest can write to, at the same paths.
    pub out_dirs: Vec<PathBuf>,
    /// The guest's memory in MiB. It is taken from the host as it is touched.
    pub memory_mib: u32,
    /// Wall-clock limit of the whole run.
    pub wall_limit: Option<Duration>,
    /// Wall-clock limit of silence: no output, no kernel message, no [`heartbeat`].
    /// Output that nobody reads does not count as silence.
    pub idle_limit: Option<Duration>,
    /// A network card, and what it is plugged into. Only a PC has one.
    pub card: Option<Card>,
    /// Where run directories and CPU slots live; [`run_dir::cache_root`] unless set.
    pub cache: Option<PathBuf>,
}

impl Boot {
    /// `program` without arguments and environment, in `/`, with 128 MiB of memory
    /// and no limits.
    pub fn new(image: impl Into<PathBuf>, program: impl Into<PathBuf>) -> Self {
        Boot {
            image: image.into(),
            machine: Machine::Uml,
            kernel_args: Vec::new(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            out_dirs: Vec::new(),
            memory_mib: 128,
            wall_limit: None,
            idle_limit: None,
            card: None,
            cache: None,
        }
    }

    /// The same in a kernel, on what that is run on and as it wants to be booted.
    pub fn of(kernel: &Kernel, program: impl Into<PathBuf>) -> Self {
        Boot {
            machine: kernel.machine,
            kernel_args: kernel.boot_args(),
            ..Boot::new(&kernel.image, program)
        }
    }
}

/// A network card of a PC.
#[derive(Debug, Clone)]
pub struct Card {
    /// Its address.
    pub mac: [u8; 6],
    /// How long what is to be sent waits in the card's ring before the card reads it from
    /// memory, as where a card is busy or gathers work; 0: it begins at once.
    pub ring_delay_us: u32,
    /// A port of a switch: see [`wire::ports`].
    pub port: Arc<OwnedFd>,
}

/// Boots the kernel and starts the program in it. The guest runs until its
/// program ends, a limit is exceeded, or the [`Guest`] is dropped.
///
/// PID 1 of the guest is the calling binary (see [`crate::guest::init`]), which
/// therefore must still be at its place.
///
/// # Errors
/// What is wrong with `boot`, or what the host lacks. Whatever goes wrong after
/// the kernel has started is reported by [`Guest::wait`].
pub fn spawn(boot: Boot) -> Result<Guest, Error> {
    guest::init::ensure_linked();
    launch::check(&boot)?;
    match boot.machine {
        Machine::Uml => uml::spawn(boot),
        Machine::Qemu(pc) => qemu::spawn(boot, pc),
        Machine::Host => host::spawn(boot),
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The program ended with this status.
    Status(u8),
    /// The program died by this signal, inside the guest.
    Signalled(i32),
    /// The kernel panicked.
    Panic {
        /// The kernel's last lines.
        log: Vec<String>,
    },
    /// A limit was exceeded, and the guest was killed.
    Hung {
        /// Which limit.
        why: Limit,
        /// The kernel's last lines.
        log: Vec<String>,
    },
    /// The guest ended and did not say how its program did.
    Died {
        /// The end of the host process.
        status: ExitStatus,
        /// The kernel's last lines.
        log: Vec<String>,
    },
}

/// A limit of [`Boot`], in wall-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// [`Boot::wall_limit`].
    #[error("not done after {} s", .0.as_secs_f64())]
    Wall(Duration),
    /// [`Boot::idle_limit`].
    #[error("no sign of life for {} s", .0.as_secs_f64())]
    Idle(Duration),
}

/// What [`Guest::wait`] returns.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How the run ended.
    pub exit: Exit,
    /// All that the kernel, and PID 1, said. Beyond 8 MiB the middle is left out.
    pub kernel_log: String,
}

impl Outcome {
    /// The lines of the kernel log that report a bug of the kernel: see
    /// [`log::splats`].
    pub fn splats(&self) -> Vec<String> {
        log::splats(&self.kernel_log)
    }
}

/// Why a program could not be run in a guest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel image is not there or cannot be executed.
    #[error("cannot start kernel image {}", path.display())]
    Image {
        /// [`Boot::image`].
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// The program is not there or cannot be executed; or a path is not absolute.
    #[error("cannot run {}: {why}", path.display())]
    Program {
        /// The path at fault.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A word of [`Boot::kernel_args`] or a path that the kernel command line
    /// cannot carry.
    #[error("the kernel command line cannot carry `{word}`: {why}")]
    CommandLine {
        /// The word.
        word: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// A system call failed on the host.
    #[error("cannot {what}")]
    Host {
        /// What was being done.
        what: String,
        /// What the host said.
        source: io::Error,
    },
    /// The host did not let the kernel start: it ended before its first message.
    /// The reason is among its last lines, e.g. that ptrace(2) is not permitted.
    #[error("the kernel did not start ({status}):\n  {}", log.join("\n  "))]
    NoStart {
        /// The end of the host process.
        status: ExitStatus,
        /// What it said.
        log: Vec<String>,
    },
    /// Somebody outside killed the guest, or one of its processes: a scheduler, the host when
    /// it lacked memory, a person. That says nothing of the kernel.
    #[error(
        "the guest was killed from outside ({status}): a scheduler that wanted its machine, or a \
         host that had no memory left (see its kernel log), which is no verdict on the kernel\n  \
         remedy: run it again, with fewer --jobs if memory was short"
    )]
    Killed {
        /// The end of the host process.
        status: ExitStatus,
        /// The kernel's last lines.
        log: Vec<String>,
    },
    /// The host's CPU has more registers than this kernel keeps for a process (AMX, and
    /// Linux before 6.13), so no program can run in it. Our own kernels are patched.
    #[error(
        "the kernel cannot run a program on this CPU, which has more registers (AMX) than its \
         User Mode Linux keeps:\n  {}\n  remedy: apply \
         kernel-patch/uml/6.12/0003-um-let-hosts-have-more-registers-than-we-keep.patch to the \
         tree, or build a newer Linux",
        log.join("\n  ")
    )]
    Registers {
        /// The kernel's last lines.
        log: Vec<String>,
    },
    /// The host's kernel does not let us have namespaces of our own.
    #[error("no namespaces to run in: {why}\n  remedy: {remedy}")]
    Namespaces {
        /// What is in the way.
        why: String,
        /// What may help.
        remedy: String,
    },
    /// PID 1 could not set up the guest or start the program.
    #[error("the guest cannot {what}")]
    Guest {
        /// What was being done, and what the guest's kernel said.
        what: String,
    },
}

impl Error {
    /// For `map_err`: `what` completes "cannot".
    pub(crate) fn host(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Host { what, source }
    }
}

/// Whether this process runs inside a guest.
pub fn in_guest() -> bool {
    std::env::var_os(job::GUEST_VARIABLE).is_some_and(|value| value == "1")
}

/// Whether the kernel has others to serve: programs of the engine `host` leave alone what
/// is not theirs.
pub fn shares_kernel() -> bool {
    std::env::var_os(job::SHARED_VARIABLE).is_some_and(|value| value == "1")
}

/// A sign of life for [`Boot::idle_limit`], for programs that work for long
/// without output. Costs one write; does nothing on the host.
pub fn heartbeat() {
    static CONTROL: OnceLock<Option<std::fs::File>> = OnceLock::new();
    let control = CONTROL.get_or_init(|| {
        let mut options = std::fs::OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options.write(true), libc::O_NOCTTY);
        in_guest()
            .then(|| options.open(std::env::var_os(job::CONTROL_VARIABLE)?).ok())
            .flatten()
    });
    if let Some(mut control) = control.as_ref() {
        // A guest whose host has gone is about to end anyway.
        let _ = control.write_all(b"beat\n");
    }
}

/// Copies until the end of `from`, unbuffered.
///
/// # Errors
/// Only those of `to`: a guest's output ends, it does not fail.
fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) => to.write_all(&buffer[..len])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(()),
        }
    }
}
