//! Which code of the kernel runs, as a `-kcov` kernel counts it.
//!
//! Such a kernel counts for the whole machine: what its tasks run and, if that is asked
//! for, what is run in softirqs on nobody's behalf, where packets are received and
//! acknowledged. User space maps the counters and needs no system call to read, clear,
//! start or stop them (kernel-patch/kcov).

use std::fs::File;
use std::io;
use std::num::NonZero;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// How many counters there are; a block has one by a hash of its address.
pub const COUNTERS: usize = 1 << 16;
/// The file that is mapped.
const FILE: &str = "/sys/kernel/debug/kcov_machine";
/// What stands before the counters.
const HEAD_BYTES: usize = 4096;
/// How many blocks can be named.
const BLOCKS: usize = 1 << 16;

/// Whose code is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contexts(u32);

impl Contexts {
    /// Nobody's.
    pub const NONE: Contexts = Contexts(0);
    /// That of tasks: system calls and kernel threads.
    pub const TASKS: Contexts = Contexts(1);
    /// That of softirqs: packets that come in, timers.
    pub const SOFTIRQS: Contexts = Contexts(2);
    /// All of it.
    pub const ALL: Contexts = Contexts(3);
}

/// `struct kcov_machine`.
#[repr(C)]
struct Layout {
    contexts: AtomicU32,
    seen_len: AtomicU32,
    unused: [u8; HEAD_BYTES - 8],
    counters: [AtomicU8; COUNTERS],
    seen: [AtomicU64; BLOCKS],
}

/// The counters of the kernel that runs this.
#[derive(Debug)]
pub struct Machine {
    map: NonNull<Layout>,
    file: File,
}

// SAFETY: all of what it points to are atomics, and it stays mapped.
unsafe impl Send for Machine {}
// SAFETY: the same.
unsafe impl Sync for Machine {}

impl Machine {
    /// Those of this kernel; `None`: it does not count.
    ///
    /// # Errors
    /// The counters are there and cannot be had.
    pub fn open() -> io::Result<Option<Machine>> {
        let file = match File::options().read(true).write(true).open(FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = NonZero::new(size_of::<Layout>()).expect("it has fields");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let map = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(Some(Machine {
            map: map.cast(),
            file,
        }))
    }

    fn layout(&self) -> &Layout {
        // SAFETY: mapped until `self` is dropped; a `Layout` is valid whatever is in it.
        unsafe { self.map.as_ref() }
    }

    /// From now on counts what runs in `contexts`.
    pub fn count(&self, contexts: Contexts) {
        self.layout().contexts.store(contexts.0, Ordering::SeqCst);
    }

    /// Lets the kernel's counters take the place of `memory`, whose content is lost: what
    /// is read there is what has been counted, and what is cleared there is cleared.
    ///
    /// # Errors
    /// What mmap(2) says.
    ///
    /// # Panics
    /// `memory` does not begin with a page, or is not as large as all counters.
    pub fn replace(&self, memory: &'static mut [u8]) -> io::Result<()> {
        assert_eq!(memory.len(), COUNTERS);
        assert!(memory.as_ptr().addr().is_multiple_of(HEAD_BYTES));
        let at = NonZero::new(memory.as_ptr().addr());
        let bytes = NonZero::new(memory.len()).expect("there are counters");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        let offset = HEAD_BYTES as libc::off_t;
        // SAFETY: whole pages that nobody else can have a reference to are replaced by
        // others of the same size, which stay.
        unsafe { mmap(at, bytes, access, flags, &self.file, offset)? };
        Ok(())
    }

    /// How often blocks ran, by the hash of their address, at most 255 times.
    pub fn counters(&self) -> impl Iterator<Item = u8> {
        let counters = &self.layout().counters;
        counters.iter().map(|it| it.load(Ordering::Relaxed))
    }

    /// Sets all counters to nothing.
    pub fn clear(&self) {
        for counter in &self.layout().counters {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// The addresses of the blocks that ever ran while they were counted, in the order of
    /// the first time; without the first `known` ones.
    pub fn seen(&self, known: usize) -> Vec<u64> {
        let layout = self.layout();
        let len = (layout.seen_len.load(Ordering::SeqCst) as usize).min(BLOCKS);
        let new = layout.seen.get(known..len).unwrap_or_default();
        new.iter().map(|it| it.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.count(Contexts::NONE);
        // SAFETY: mapped by `open`, and nobody has a reference into it any more.
        let _ = unsafe { munmap(self.map.cast(), size_of::<Layout>()) };
    }
}

/// What is counted while scenarios run in this process, if anything is.
static WINDOW: OnceLock<(Machine, Contexts)> = OnceLock::new();

/// From now on `contexts` are counted while a scenario runs, from its connection to the
/// end of its streams, and at no other time. Only the first call has an effect.
pub fn count_scenarios(machine: Machine, contexts: Contexts) -> &'static Machine {
    &WINDOW.get_or_init(|| (machine, contexts)).0
}

/// How many want that nothing is counted, though scenarios run.
static PAUSES: AtomicU32 = AtomicU32::new(0);

/// While it lives nothing is counted: what runs again says nothing new.
#[derive(Debug)]
pub(crate) struct Pause(());

impl Pause {
    /// From now on.
    pub(crate) fn begin() -> Pause {
        PAUSES.fetch_add(1, Ordering::Relaxed);
        Pause(())
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        PAUSES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a scenario runs that is counted.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// While it lives a scenario runs.
#[derive(Debug)]
pub(crate) struct Window(());

impl Window {
    /// The scenario begins.
    pub(crate) fn open() -> Window {
        if let Some((machine, contexts)) = WINDOW.get()
            && PAUSES.load(Ordering::Relaxed) == 0
        {
            IS_OPEN.store(true, Ordering::Relaxed);
            machine.count(*contexts);
        }
        Window(())
    }
}

/// Runs what is no part of the scenario, whose window is open or not. Several may at
/// once: the last one to be done opens it again.
pub(crate) fn uncounted<T>(what: impl FnOnce() -> T) -> T {
    let Some((machine, contexts)) = WINDOW.get() else {
        return what();
    };
    let pause = Pause::begin();
    machine.count(Contexts::NONE);
    let result = what();
    drop(pause);
    if IS_OPEN.load(Ordering::Relaxed) && PAUSES.load(Ordering::Relaxed) == 0 {
        machine.count(*contexts);
    }
    result
}

impl Drop for Window {
    fn drop(&mut self) {
        IS_OPEN.store(false, Ordering::Relaxed);
        if let Some((machine, _)) = WINDOW.get() {
            machine.count(Contexts::NONE);
        }
    }
}
