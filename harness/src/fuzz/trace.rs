//! When a block of the kernel ran for the first time, in executions: to see what
//! guidance is good for.

use std::fs::File;
use std::io::{self, Write as _};

use crate::kcov::Machine;

/// Names the file that is written, a line a block: the number of the execution, from 1
/// on, and the address in hex. Nothing is written unless it is set.
pub(super) const VARIABLE: &str = "INFLIGHT_FUZZ_TRACE";

/// Writes down which blocks are new.
#[derive(Debug)]
pub(super) struct Trace {
    file: File,
    executions: u64,
    known: usize,
}

impl Trace {
    /// To the file that the environment names; `None`: it names none.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn chosen() -> io::Result<Option<Trace>> {
        let path = std::env::var_os(VARIABLE).filter(|it| !it.is_empty());
        let Some(path) = path else {
            return Ok(None);
        };
        let file = File::create(&path)
            .map_err(|error| io::Error::other(format!("{VARIABLE}={}: {error}", path.display())))?;
        Ok(Some(Trace {
            file,
            executions: 0,
            known: 0,
        }))
    }

    /// One more has run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn ran(&mut self, machine: &Machine) -> io::Result<()> {
        self.executions += 1;
        let new = machine.seen(self.known);
        self.known += new.len();
        let mut lines = String::new();
        for address in new {
            lines += &format!("{} {address:x}\n", self.executions);
        }
        self.file.write_all(lines.as_bytes())
    }
}
