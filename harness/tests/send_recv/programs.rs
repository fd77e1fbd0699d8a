//! A program that runs, with what it says.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

/// Nothing here takes longer on a machine that is not hopelessly busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when the test fails.
pub struct Program {
    child: Child,
    lines: Receiver<String>,
    stdout: Option<JoinHandle<String>>,
    stderr: String,
}

/// How it has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    pub fn start(command: &mut Command) -> Program {
        // Who runs the tests in the background of a shell ignores SIGINT, and by nohup(1)
        // SIGHUP; and so would it.
        // SAFETY: signal(2) is allowed between fork and exec (signal-safety(7)).
        unsafe {
            command.pre_exec(|| {
                for ignored in [Signal::SIGINT, Signal::SIGHUP] {
                    signal(ignored, SigHandler::SigDfl)?;
                }
                Ok(())
            });
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        Program {
            child,
            lines,
            stdout: Some(stdout),
            stderr: String::new(),
        }
    }

    /// The first line on standard error from now on that contains `word`.
    #[track_caller]
    pub fn says(&mut self, word: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.next_line(end) {
                Ok(line) if line.contains(word) => return line,
                Ok(_) => {}
                Err(why) => panic!("{why:?}, no `{word}`: {}", self.stderr),
            }
        }
    }

    fn next_line(&mut self, end: Instant) -> Result<String, RecvTimeoutError> {
        let left = end.saturating_duration_since(Instant::now());
        let line = self.lines.recv_timeout(left)?;
        self.stderr += &line;
        self.stderr += "\n";
        Ok(line)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.next_line(end) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("does not end: {}", self.stderr),
            }
        }
        // It has closed standard error: nothing but the end follows.
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), None, "{}", self.stderr);
        Ended {
            status: status.code(),
            stdout: self.stdout.take().unwrap().join().unwrap(),
            stderr: std::mem::take(&mut self.stderr),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// This exit status, and every word on standard error.
    #[track_caller]
    pub fn is(&self, status: i32, words: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in {self:?}");
        }
    }
}

/// `recv` on a port of its own.
pub fn recv(args: &[&str]) -> (Program, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recv"));
    command.args(["-a", "127.0.0.1", "-p", "0"]).args(args);
    let mut program = Program::start(&mut command);
    let line = program.says("Listening on 127.0.0.1 port ");
    let port = line.trim_end_matches('.').rsplit(' ').next().unwrap();
    let address = ([127, 0, 0, 1], port.parse().unwrap()).into();
    (program, address)
}

/// A `send` of this file to this peer, not started.
pub fn send_command(file: &Path, peer: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_send"));
    let (host, port) = (peer.ip().to_string(), peer.port().to_string());
    command.args(["-a", &host, "-p", &port]).args(args);
    command.arg("-f").arg(file);
    command
}

pub fn send(file: &Zeros, peer: SocketAddr, args: &[&str]) -> Program {
    Program::start(&mut send_command(&file.path, peer, args))
}

/// A file of zeros.
pub struct Zeros {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

impl Zeros {
    pub fn new(bytes: usize) -> Zeros {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zeros");
        std::fs::write(&path, vec![0; bytes]).unwrap();
        Zeros {
            _folder: folder,
            path,
        }
    }

    #[track_caller]
    pub fn are_zeros(&self) {
        let content = std::fs::read(&self.path).unwrap();
        assert_eq!(content.iter().position(|&byte| byte != 0), None);
    }

    /// Waits until the first byte is what `send` makes of it.
    #[track_caller]
    pub fn await_stain(&self) {
        let start = Instant::now();
        while std::fs::read(&self.path).unwrap()[0] != 0xab {
            assert!(start.elapsed() < PATIENCE, "the first byte does not change");
            thread::yield_now();
        }
    }
}
