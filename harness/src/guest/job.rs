//! What the guest's PID 1 is told to do.
//!
//! The kernel command line is short and splits at blanks, so the host writes a
//! file, and the command line only names it, as the variable [`VARIABLE`] of
//! PID 1's environment. Host and guest are the same binary: the format needs no
//! version.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The variable that marks the environment of every program in a guest.
pub(crate) const GUEST_VARIABLE: &str = "INFLIGHT_GUEST";
/// The variable that names the job file to PID 1.
pub const VARIABLE: &str = "INFLIGHT_JOB";
/// The variable that tells every program in a guest where signs of life go
/// ([`crate::engine::heartbeat`]).
pub const CONTROL_VARIABLE: &str = "INFLIGHT_CONTROL";
/// The variable that tells programs that the kernel is not theirs alone.
pub const SHARED_VARIABLE: &str = "INFLIGHT_SHARED_KERNEL";

/// The ways between a guest and its host, which differ from engine to engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ways {
    /// The program's standard output: a terminal, or a pipe.
    pub stdout: String,
    /// The program's standard error: another.
    pub stderr: String,
    /// The one where PID 1 writes [`Report`] lines, and programs signs of life.
    pub control: String,
    /// How the host's files are reached.
    pub files: Files,
    /// How the machine is switched off.
    pub off: Off,
}

/// How the host's files are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Files {
    /// By hostfs, whose option is a path of the host.
    Hostfs,
    /// By 9P over virtio; the output directories have the tags of [`out_tag`].
    NineP,
    /// They are there.
    Own,
}

/// How the machine is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Off {
    /// It has a switch.
    Power,
    /// It has none, and ends where another would boot again.
    Reset,
    /// It is not ours: PID 1 just ends.
    Stay,
}

/// What the output directory of this number is called on a PC.
pub fn out_tag(number: usize) -> String {
    format!("out{number}")
}

impl Ways {
    /// Those of User Mode Linux.
    pub fn uml() -> Ways {
        Ways {
            stdout: "/dev/tty1".into(),
            stderr: "/dev/tty2".into(),
            control: "/dev/tty3".into(),
            files: Files::Hostfs,
            off: Off::Power,
        }
    }

    /// Those of a PC, whose terminals are consoles of virtio.
    pub fn pc() -> Ways {
        Ways {
            stdout: "/dev/hvc0".into(),
            stderr: "/dev/hvc1".into(),
            control: "/dev/hvc2".into(),
            files: Files::NineP,
            off: Off::Reset,
        }
    }

    /// Those of the kernel that runs already: pipes, open as these descriptors in PID 1
    /// and in all that it starts.
    pub fn host([stdout, stderr, control]: [RawFd; 3]) -> Ways {
        let path = |fd: RawFd| format!("/proc/self/fd/{fd}");
        Ways {
            stdout: path(stdout),
            stderr: path(stderr),
            control: path(control),
            files: Files::Own,
            off: Off::Stay,
        }
    }

    /// Whether the kernel has others to serve.
    pub fn shares_kernel(&self) -> bool {
        self.off == Off::Stay
    }
}

/// A string of the system: text where it is UTF-8, a list of bytes where not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsText(pub OsString);

impl Serialize for OsText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => serializer.serialize_str(text),
            None => self.0.as_bytes().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OsText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(OsText(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into(),
            Form::Bytes(bytes) => OsString::from_vec(bytes),
        }))
    }
}

impl<T: AsRef<OsStr>> From<T> for OsText {
    fn from(text: T) -> Self {
        OsText(text.as_ref().to_owned())
    }
}

impl OsText {
    /// The text as a path.
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

/// The job: [`crate::engine::Boot`], as far as it concerns the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// [`crate::engine::Boot::program`]
    pub program: OsText,
    /// [`crate::engine::Boot::args`]
    pub args: Vec<OsText>,
    /// [`crate::engine::Boot::env`]
    pub env: Vec<(OsText, OsText)>,
    /// [`crate::engine::Boot::cwd`]
    pub cwd: OsText,
    /// [`crate::engine::Boot::out_dirs`]
    pub out_dirs: Vec<OsText>,
    /// Host paths that must be visible although they lie where the guest has file
    /// systems of its own.
    pub visible: Vec<OsText>,
    /// `NAME=VALUE` that the kernel was booted with, and that must hold.
    pub sysctls: Vec<String>,
    /// The ways to the host.
    pub ways: Ways,
}

/// A line of the control channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The program ended with this status.
    Exit(u8),
    /// The program died by this signal.
    Signal(i32),
    /// The program was not started: what the guest cannot do.
    Failed(String),
}

impl Report {
    /// The line, with its end.
    pub fn to_line(&self) -> String {
        match self {
            Report::Exit(status) => format!("exit {status}\n"),
            Report::Signal(signal) => format!("signal {signal}\n"),
            Report::Failed(what) => format!("failed {}\n", what.replace('\n', " ")),
        }
    }

    /// Reads a line; `None` for signs of life.
    pub fn parse(line: &str) -> Option<Report> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "exit" => rest.parse().ok().map(Report::Exit),
            "signal" => rest.parse().ok().map(Report::Signal),
            "failed" => Some(Report::Failed(rest.to_owned())),
            _ => None,
        }
    }
}

/// Directories where the guest mounts file systems of its own over the host's.
pub const OWN_DIRECTORIES: [&str; 3] = ["/tmp", "/run", "/dev"];

/// The part of `path` to carry over when the guest hides the host's directories:
/// one component below such a directory. `None` if the path is not hidden.
pub fn hidden_part(path: &Path) -> Option<PathBuf> {
    OWN_DIRECTORIES.iter().find_map(|own| {
        let mut below = path.strip_prefix(own).ok()?.components();
        let first = below.next()?;
        // /dev is hidden twice: by devtmpfs, and within it by /dev/shm.
        let shm = *own == "/dev" && first.as_os_str() == "shm";
        Some(match below.next() {
            Some(second) if shm => Path::new(own).join(first).join(second),
            None if shm => return None,
            _ => Path::new(own).join(first),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_the_file() {
        let odd = OsString::from_vec(vec![b'a', 0xff, b' ', b'"', b'\n']);
        let job = Job {
            program: OsText(odd.clone()),
            args: vec!["".into(), "ü \\ \u{1F4A5}".into(), OsText(odd.clone())],
            env: vec![("A".into(), OsText(odd))],
            cwd: "/a b".into(),
            out_dirs: vec!["/var/x".into()],
            visible: vec!["/tmp/x".into()],
            sysctls: vec!["fs.splice_stable=2".into()],
            ways: Ways::pc(),
        };
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
    }

    #[test]
    fn reports_survive_the_line() {
        for report in [
            Report::Exit(255),
            Report::Signal(11),
            Report::Failed("enter /x: not found".into()),
        ] {
            let line = report.to_line();
            assert_eq!(
                Report::parse(line.strip_suffix('\n').unwrap()),
                Some(report)
            );
        }
        for line in ["", "beat", "exit", "exit x", "exit 256", "noise 1"] {
            assert_eq!(Report::parse(line), None, "{line}");
        }
    }

    #[test]
    fn hidden_parts() {
        for (path, part) in [
            ("/tmp/a/b/c", Some("/tmp/a")),
            ("/tmp/a", Some("/tmp/a")),
            ("/tmp", None),
            ("/run/user/0/x", Some("/run/user")),
            ("/dev/shm/a/b", Some("/dev/shm/a")),
            ("/dev/shm", None),
            ("/home/tmp/a", None),
            ("/tmpx/a", None),
        ] {
            assert_eq!(
                hidden_part(Path::new(path)),
                part.map(PathBuf::from),
                "{path}"
            );
        }
    }
}
