//! What the engine's tests need: a kernel, a place, and eyes for processes.

pub mod tasks;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use inflight::engine::Boot;
use inflight::kernel;

/// A test's own directory, with a kernel image and a cache that no other has: what
/// a run leaves behind can so be told from the runs of other tests.
pub struct Lab {
    root: tempfile::TempDir,
}

// Only what a machine lacks is a reason to skip; a build that fails is a failure.
fn stock() -> Result<PathBuf, kernel::Error> {
    let name = "6.12-stock".parse().expect("the catalog has it");
    match kernel::ensure(&name, kernel::Machine::Uml, &*kernel::progress::stderr()) {
        Ok(kernel) => Ok(kernel.image),
        Err(error) if error.kind() == kernel::ErrorKind::Missing => Err(error),
        Err(error) => panic!("{error}"),
    }
}

impl Lab {
    /// With the kernel in INFLIGHT_TEST_IMAGE, or the stock one, built if need be.
    /// `None`, and a line on standard error, when this machine cannot build it.
    pub fn new() -> Option<Lab> {
        let image = std::env::var_os("INFLIGHT_TEST_IMAGE").map(PathBuf::from);
        let image = match image.map_or_else(stock, Ok) {
            Ok(image) => image,
            Err(error) => {
                // Past the capture of a test's output: a skip is to be seen.
                let mut stderr = fs::File::options().append(true).open("/dev/stderr").ok();
                let name = std::thread::current().name().unwrap_or("test").to_owned();
                if let Some(stderr) = &mut stderr {
                    let _ = writeln!(stderr, "skipped {name}: no kernel: {error}");
                }
                return None;
            }
        };
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("linux");
        fs::hard_link(&image, &own)
            .or_else(|_| fs::copy(&image, &own).map(drop))
            .expect("INFLIGHT_TEST_IMAGE names a file");
        Some(Lab { root })
    }

    fn image(&self) -> PathBuf {
        self.root.path().join("linux")
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    /// A directory in the lab.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.root.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// `/bin/sh -c script`
    pub fn shell(&self, script: &str) -> Boot {
        Boot {
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())],
            cache: Some(self.cache()),
            // A test that hangs is to fail, with the kernel's last lines.
            wall_limit: Some(Duration::from_secs(120)),
            ..Boot::new(self.image(), "/bin/sh")
        }
    }

    /// This binary as the program, with a task of [`tasks`].
    pub fn task(&self, name: &str) -> Boot {
        Boot {
            program: std::env::current_exe().unwrap(),
            args: vec![],
            env: vec![(tasks::VARIABLE.into(), name.into())],
            ..self.shell("")
        }
    }

    /// This binary as a process of the host, with a task of [`tasks`].
    pub fn host_task(&self, name: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .env(tasks::VARIABLE, name)
            .env("INFLIGHT_TEST_IMAGE", self.image())
            .env("INFLIGHT_CACHE", self.cache())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// The host processes that execute this lab's image: kernels, and what of
    /// their user processes has the same executable.
    fn image_processes(&self) -> Vec<i32> {
        let image = self.image();
        processes()
            .filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == image))
            .collect()
    }

    /// The kernels themselves: the supervisors' children.
    pub fn kernel_processes(&self) -> Vec<i32> {
        let all = self.image_processes();
        let is_kernel = |pid: &i32| parent(*pid).is_some_and(|parent| !all.contains(&parent));
        all.iter().copied().filter(is_kernel).collect()
    }

    /// The one kernel that runs now.
    pub fn kernel_process(&self) -> i32 {
        until("a kernel runs", || match self.kernel_processes()[..] {
            [pid] => Some(pid),
            _ => None,
        })
    }

    /// Processes and files that a run has left behind.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> = self
            .image_processes()
            .iter()
            .map(|pid| format!("process {pid}"))
            .collect();
        if let Ok(runs) = fs::read_dir(self.cache().join("run")) {
            let paths = runs.flatten().map(|entry| entry.path());
            left.extend(
                paths
                    .filter(|path| !path.ends_with(".lock"))
                    .map(|path| path.display().to_string()),
            );
        }
        left
    }

    /// Fails if a run has left something behind.
    #[track_caller]
    pub fn is_clean(&self) {
        assert_eq!(self.leftovers(), [""; 0]);
    }
}

/// Waits until `condition` gives something; fails after 20 s.
#[track_caller]
pub fn until<T>(what: &str, condition: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Field `number` of /proc/PID/stat, counted as in proc(5) from 3.
fn stat_field(pid: i32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(number - 3).map(str::to_owned)
}

fn parent(pid: i32) -> Option<i32> {
    stat_field(pid, 4)?.parse().ok()
}

/// All processes below `pid`.
pub fn descendants(pid: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = processes()
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        let children = parents.iter().filter(|(_, parent)| *parent == pid);
        found.extend(children.map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

/// SIGSTOP, wait for it to take effect, SIGCONT.
pub fn stop_and_continue(pid: i32) {
    // SAFETY: signals to a process of the test's own.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    let deadline = Instant::now() + Duration::from_millis(200);
    while stat_field(pid, 3).is_some_and(|state| state != "T") && Instant::now() < deadline {
        std::thread::yield_now();
    }
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
}

/// Bytes that look random, the same for the same seed (xorshift64*).
pub fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}
