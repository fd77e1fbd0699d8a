//! Running the programs that build a kernel.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::Context as _;
use super::lock::Lock;
use super::{Error, ErrorKind, files};
use crate::process;

/// How many lines of a log an error shows.
const TAIL_LINES: usize = 20;

/// A program with a clean environment, in which only what builds need is passed
/// on: a `CC`, `ARCH` or `MAKEFLAGS` of the caller would change the result behind
/// the back of the cache's key.
pub(super) fn clean(program: impl AsRef<OsStr>) -> Command {
    const KEEP: [&str; 10] = [
        "PATH",
        "HOME",
        "TMPDIR",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "CCACHE_DIR",
    ];
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    for name in KEEP {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Where everything goes that the programs of one build print.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

/// What [`Log::run`] reports meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// A line was printed.
    Line(&'a str),
    /// Nothing was, for a second.
    Idle,
}

impl Log {
    /// Starts the log anew.
    pub(super) fn create(path: PathBuf) -> Result<Self, Error> {
        if let Some(parent) = path.parent() {
            files::create_folder(parent)?;
        }
        let file = File::create(&path).at("create", &path)?;
        Ok(Self { path, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line of our own.
    pub(super) fn line(&mut self, line: &str) {
        let _ = writeln!(self.file, "{line}");
    }

    /// Runs `command` to its end under supervision; standard output and error go
    /// to the log and, line by line, to `watch`. Shares `lock` with it.
    ///
    /// # Errors
    /// It cannot be started, or its output not be written. Its own failure is
    /// the `Ok` status.
    pub(super) fn run(
        &mut self,
        mut command: Command,
        lock: &Lock,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<ExitStatus, Error> {
        let program = command.get_program().to_string_lossy().into_owned();
        self.line(&format!("$ {}", shown(&command)));
        let (mut output, input) = io::pipe().context(|| "cannot create a pipe")?;
        let error_input = input.try_clone().context(|| "cannot copy a pipe")?;
        command.stdout(input).stderr(error_input);
        lock.share(&mut command);
        let mut child = process::spawn(&mut command).context(|| format!("cannot run {program}"))?;
        // The command holds the ends for writing; without this the pipe never ends.
        drop(command);

        let mut buffer = [0; 16 << 10];
        let mut line = Vec::new();
        loop {
            let mut ready = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::from(1000u16)) {
                Ok(0) => {
                    watch(Event::Idle);
                    continue;
                }
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(errno).context(|| "cannot wait for output"),
                Ok(_) => {}
            }
            let count = output
                .read(&mut buffer)
                .context(|| format!("cannot read the output of {program}"))?;
            if count == 0 {
                break;
            }
            self.file
                .write_all(&buffer[..count])
                .at("write", &self.path)?;
            for &byte in &buffer[..count] {
                if byte == b'\n' {
                    watch(Event::Line(&String::from_utf8_lossy(&line)));
                    line.clear();
                } else {
                    line.push(byte);
                }
            }
        }
        if !line.is_empty() {
            watch(Event::Line(&String::from_utf8_lossy(&line)));
        }
        child
            .wait()
            .context(|| format!("cannot wait for {program}"))
    }

    /// The error for a program that failed, with the last lines of the log. A full
    /// disk is recognised by them, because make(1) only knows that a child failed.
    pub(super) fn failure(&self, what: &str) -> Error {
        let text = std::fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let disk_is_full = |line: &&str| {
            line.contains("No space left on device") || line.contains("Disk quota exceeded")
        };
        // With many jobs the culprit stands some lines before the end.
        if lines.iter().rev().take(200).any(disk_is_full) {
            return Error::full(format!("{what} (log: {})", self.path.display()));
        }
        let first = lines.len().saturating_sub(TAIL_LINES);
        Error::Failed {
            what: what.to_owned(),
            log: Some(self.path.clone()),
            tail: lines[first..].iter().map(ToString::to_string).collect(),
            kind: ErrorKind::Failed,
        }
    }
}

/// The command as one would type it.
pub(super) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| {
            let word = word.to_string_lossy();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%~".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                word.into_owned()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::progress::Silent;

    fn shell(script: &str) -> Command {
        let mut command = clean("sh");
        command.args(["-c", script]);
        command
    }

    fn fixture() -> (tempfile::TempDir, Log, Lock) {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(folder.path().join("logs/x.log")).unwrap();
        let lock = Lock::acquire(&folder.path().join("x.lock"), "", &Silent).unwrap();
        (folder, log, lock)
    }

    #[test]
    fn lines_of_both_streams_reach_the_log_and_the_watcher() {
        let (_folder, mut log, lock) = fixture();
        let mut seen = Vec::new();
        let status = log
            .run(
                shell("echo one; echo two >&2; printf three; exit 7"),
                &lock,
                &mut |event| {
                    if let Event::Line(line) = event {
                        seen.push(line.to_owned());
                    }
                },
            )
            .unwrap();
        assert_eq!(status.code(), Some(7));
        assert_eq!(seen, ["one", "two", "three"]);
        let text = std::fs::read_to_string(log.path()).unwrap();
        assert_eq!(
            text,
            "$ sh -c 'echo one; echo two >&2; printf three; exit 7'\none\ntwo\nthree"
        );
    }

    #[test]
    fn a_failure_carries_the_end_of_the_log() {
        let (_folder, mut log, lock) = fixture();
        log.run(
            shell("seq 100; echo 'x.c:1: error: boo'"),
            &lock,
            &mut |_| {},
        )
        .unwrap();
        let error = log.failure("compiling failed");
        assert_eq!(error.kind(), ErrorKind::Failed);
        let Error::Failed { tail, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(tail.len(), TAIL_LINES);
        assert_eq!(tail.last().unwrap(), "x.c:1: error: boo");
    }

    #[test]
    fn a_full_disk_is_recognised_in_the_log() {
        let (_folder, mut log, lock) = fixture();
        let script = "echo 'fatal error: error writing to /tmp/x.s: No space left on device'; \
                      echo 'make: *** [fs/splice.o] Error 1'; exit 2";
        log.run(shell(script), &lock, &mut |_| {}).unwrap();
        let error = log.failure("compiling 6.12-stock failed");
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert!(
            error.to_string().contains("no space left on the device"),
            "{error}"
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let (_folder, mut log, lock) = fixture();
        let error = log
            .run(clean("inflight-no-such-program"), &lock, &mut |_| {})
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("cannot run inflight-no-such-program"),
            "{error}"
        );
    }

    #[test]
    fn the_environment_of_the_caller_stays_outside() {
        // `cargo test` sets CARGO_MANIFEST_DIR, so there is something to leave out.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let output = shell("env").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("LC_ALL=C"), "{text}");
        assert!(!text.contains("CARGO"), "{text}");
    }
}
