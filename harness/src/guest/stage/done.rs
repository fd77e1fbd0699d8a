//! What a system call did, as a history has it.

use std::io;

use crate::history::Outcome;

/// What one system call did.
pub(super) struct Done {
    pub outcome: Outcome,
    pub offset_after: Option<u64>,
}

pub(super) fn outcome(result: nix::Result<isize>) -> Outcome {
    match result {
        Ok(bytes) => Outcome::Returned(u64::try_from(bytes).unwrap_or(0)),
        Err(errno) => Outcome::Failed(errno as i32),
    }
}

pub(super) fn status(result: io::Result<()>) -> Done {
    match result {
        Ok(()) => returned(0),
        Err(error) => done(Outcome::Failed(error.raw_os_error().unwrap_or(0))),
    }
}

pub(super) fn change(result: nix::Result<()>) -> Done {
    match result {
        Ok(()) => returned(0),
        Err(errno) => failed(errno),
    }
}

/// What holds packets was turned, or was so already.
pub(super) fn turned(result: io::Result<bool>) -> Done {
    match result {
        Ok(false) => skipped(),
        result => status(result.map(|_| ())),
    }
}

pub(super) fn returned(bytes: u64) -> Done {
    done(Outcome::Returned(bytes))
}

pub(super) fn failed(errno: nix::Error) -> Done {
    done(Outcome::Failed(errno as i32))
}

pub(super) fn skipped() -> Done {
    done(Outcome::Skipped)
}

pub(super) fn done(outcome: Outcome) -> Done {
    Done {
        outcome,
        offset_after: None,
    }
}
