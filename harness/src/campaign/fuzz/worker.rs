//! One target at work: a process that boots a guest of its own.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

use super::lines::{self, Line};
use crate::process::{self, Supervised};

/// A log that has become so long is put aside, in place of the one before.
const MOST_LOG_BYTES: u64 = 8 << 20;
/// As many of the last lines are kept for when it fails.
const TAIL_LINES: usize = 12;

/// Names one process; no two of a session have the same.
pub(super) type Id = usize;

/// What a process does.
#[derive(Debug)]
pub(super) enum News {
    /// It has told something.
    Told(Id, Line),
    /// It prints no more, and these were its last lines.
    Closed(Id, Vec<String>),
}

/// How to start one.
#[derive(Debug)]
pub(super) struct Order {
    pub id: Id,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub env: Vec<(&'static str, OsString)>,
    pub log: PathBuf,
}

/// One process. Dropping it ends it and its guest.
#[derive(Debug)]
pub(super) struct Process(Supervised);

impl Process {
    /// Starts it; `tell` hears of it from a thread of its own.
    pub fn start(order: Order, tell: Sender<News>) -> io::Result<Process> {
        let (output, end) = io::pipe()?;
        let mut command = Command::new(&order.program);
        command
            .args(&order.arguments)
            .envs(order.env)
            .stdin(Stdio::null())
            .stdout(end.try_clone()?)
            .stderr(end);
        let mut log = Log::open(order.log)?;
        let process = process::spawn(&mut command)?;
        // It has the only ends to write to: so its end is the end of what it says.
        drop(command);
        let id = order.id;
        thread::Builder::new()
            .name(format!("fuzz target {id}"))
            .spawn(move || listen(id, output, &mut log, &tell))?;
        Ok(Process(process))
    }

    /// Waits for its end, which is near once it prints no more.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

fn listen(id: Id, output: impl Read, log: &mut Log, tell: &Sender<News>) {
    let mut output = BufReader::new(output);
    let mut tail = VecDeque::new();
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|it| it > 0) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if let Some(told) = lines::read(text) {
            // What is only for us is not for people.
            if !matches!(told, Line::Counted(_)) {
                log.line(text);
            }
            if tell.send(News::Told(id, told)).is_err() {
                return;
            }
        } else {
            log.line(text);
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(text.to_owned());
        }
        line.clear();
    }
    let _ = tell.send(News::Closed(id, tail.into()));
}

/// What a target prints, kept for people. A full disk ends it and nothing else.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    fn open(path: PathBuf) -> io::Result<Log> {
        let file = File::options().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Log { path, file, bytes })
    }

    fn line(&mut self, line: &str) {
        if self.bytes > MOST_LOG_BYTES && self.put_aside().is_err() {
            return;
        }
        let line = format!("{line}\n");
        self.bytes += line.len() as u64;
        let _ = self.file.write_all(line.as_bytes());
    }

    fn put_aside(&mut self) -> io::Result<()> {
        fs::rename(&self.path, before(&self.path))?;
        self.file = File::create(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

/// The name of what was put aside.
fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn order(dir: &Path, script: &str) -> Order {
        Order {
            id: 7,
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            env: vec![("SAID", "by the environment".into())],
            log: dir.join("worker.log"),
        }
    }

    #[test]
    fn what_it_says_is_heard_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let script = "printf '#5\\tNEW    ft: 3 corp: 1/1b exec/s: 0\\n' >&2; \
                      echo 'inflight-counted {\"inputs\":9,\"excused\":{},\"violations\":{}}'; \
                      echo \"$SAID\"; exit 3";
        let (tell, news) = mpsc::channel();
        let mut process = Process::start(order(dir.path(), script), tell).unwrap();
        let mut executions = Vec::new();
        let tail = loop {
            match news.recv().unwrap() {
                News::Told(7, Line::Progress(it)) => executions.push(it.executions),
                News::Told(7, Line::Counted(it)) => executions.push(it.inputs),
                News::Closed(7, tail) => break tail,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            (executions, tail),
            (vec![5, 9], vec!["by the environment".into()])
        );
        assert_eq!(process.wait().unwrap().code(), Some(3));
        let log = fs::read_to_string(dir.path().join("worker.log")).unwrap();
        assert_eq!(
            log,
            "#5\tNEW    ft: 3 corp: 1/1b exec/s: 0\nby the environment\n"
        );
    }

    #[test]
    fn a_log_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("worker.log");
        let mut log = Log::open(path.clone()).unwrap();
        let line = "x".repeat(1 << 20);
        for _ in 0..20 {
            log.line(&line);
        }
        let sizes = [&path, &before(&path)].map(|it| fs::metadata(it).unwrap().len());
        assert!(
            sizes.iter().all(|it| *it <= MOST_LOG_BYTES + (2 << 20)),
            "{sizes:?}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
