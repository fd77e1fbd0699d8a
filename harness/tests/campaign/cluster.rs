//! A real Slurm with two nodes on this machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{self, repository};
use crate::support::{inflight, text};

/// Two nodes on this machine; ends with this value.
pub struct Cluster {
    dir: PathBuf,
    script: PathBuf,
}

impl Cluster {
    /// `None`: there is no Slurm here, which is said.
    pub fn up(dir: &Path) -> Option<Cluster> {
        let cluster = Cluster {
            dir: dir.join("slurm"),
            script: repository().join("harness/tests/slurm/cluster"),
        };
        let output = Command::new(&cluster.script)
            .args(["up", text(&cluster.dir)])
            .output()
            .unwrap();
        match output.status.code() {
            Some(0) => Some(cluster),
            Some(3) => {
                let why = String::from_utf8_lossy(&output.stderr);
                common::say(&format!("skipped: {}\n", why.trim()));
                None
            }
            _ => panic!("{output:?}"),
        }
    }

    pub fn does(&self, command: &str, node: &str) {
        let mut args = vec![command, text(&self.dir)];
        args.extend(Some(node).filter(|it| !it.is_empty()));
        let output = Command::new(&self.script).args(args).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }

    /// A command with this cluster's configuration.
    fn sees(&self, command: &mut Command) -> Output {
        let conf = self.dir.join("slurm.conf");
        command.env("SLURM_CONF", conf).output().unwrap()
    }

    pub fn campaign(&self, args: &[&str]) -> Output {
        self.sees(&mut inflight(&[&["campaign"], args].concat()))
    }

    /// What is in the queue.
    pub fn queue(&self) -> String {
        let mut command = Command::new("squeue");
        command.args(["--noheader", "--array", "--format=%F_%K %T %r %N"]);
        let output = self.sees(&mut command);
        // While there is no controller nothing is known.
        match output.status.success() {
            true => String::from_utf8(output.stdout).unwrap(),
            false => "no controller".into(),
        }
    }

    pub fn scontrol(&self, args: &[&str]) {
        // A node that was not drained cannot be resumed: no failure.
        self.sees(Command::new("scontrol").args(args));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let down = Command::new(&self.script)
            .args(["down", text(&self.dir)])
            .status();
        if !thread::panicking() {
            assert!(down.unwrap().success());
        }
    }
}

/// Waits until `is` says so, up to five minutes.
pub fn wait_until(cluster: &Cluster, what: &str, mut is: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is() {
        let queue = cluster.queue();
        assert!(
            since.elapsed() < Duration::from_secs(300),
            "{what}: {queue}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}
