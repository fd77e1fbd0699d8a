//! What was seen while a scenario ran: every call with its entry and return,
//! every byte that arrived, and the file as it was left.

use serde::{Deserialize, Serialize};

use crate::scenario::{Actor, Scenario};

/// A point in the run. `order` is a counter shared by all threads of the guest,
/// so two stamps always compare, even where virtual time stood still between
/// them; `time_ns` is CLOCK_MONOTONIC relative to the start of the scenario.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Stamp {
    /// Position in the total order of events; taken *before* a call enters and
    /// *after* it has returned.
    pub order: u64,
    /// Nanoseconds since the scenario began.
    pub time_ns: u64,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Its return value: bytes for sends, writes and reads.
    Returned(u64),
    /// The errno.
    Failed(i32),
    /// Not performed: `splice-out` of an empty pipe, for instance.
    Skipped,
    /// Ended by SIGKILL: it may have moved any part of what it was asked to.
    Killed,
    /// Still running when the scenario was given up.
    Pending,
}

impl Outcome {
    /// Bytes moved; 0 unless it returned.
    pub fn bytes(self) -> u64 {
        match self {
            Outcome::Returned(bytes) => bytes,
            _ => 0,
        }
    }
}

/// One step as it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Call {
    /// Index into [`Scenario::steps`].
    pub step: usize,
    /// Just before the call.
    pub entry: Stamp,
    /// Just after it; for [`Outcome::Pending`] the moment of giving up.
    pub exit: Stamp,
    /// How it ended.
    pub outcome: Outcome,
    /// The offset variable after a call that was given one (sendfile, splice-in, sendfile-in).
    pub offset_after: Option<u64>,
    /// The file position (lseek SEEK_CUR) after a call that was given an offset.
    pub f_pos_after: Option<u64>,
}

/// One successful recv(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// Just after it returned.
    pub at: Stamp,
    /// Where in [`History::received`] its bytes start.
    pub start: usize,
    /// How many bytes it returned.
    pub len: usize,
}

/// What the kernel has told about sends by reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Completion {
    /// Just after it was read.
    pub at: Stamp,
    /// What.
    pub of: Completed,
}

/// What a [`Completion`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Completed {
    /// The kernel is done with the pages of these calls with MSG_ZEROCOPY, by number
    /// from 0, of those that have sent something: from the error queue.
    Sends {
        /// The first.
        first: u32,
        /// The last.
        last: u32,
        /// Whether it had copied them, at least in part.
        copied: bool,
    },
    /// The ring is to tell when the pages of this call are done with
    /// (IORING_CQE_F_MORE).
    Promised {
        /// [`Stamp::order`] of its entry: a step can have several.
        call: u64,
    },
    /// They are (IORING_CQE_F_NOTIF).
    Notified {
        /// [`Stamp::order`] of its entry.
        call: u64,
    },
}

/// How the stream ended at the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum End {
    /// recv(2) returned 0 after the sender's shutdown.
    Eof,
    /// recv(2) failed with this errno; or ETIMEDOUT, where the sender's TCP gave up,
    /// of which the receiver hears nothing.
    Failed(i32),
    /// An operation of the receiver closed its end.
    Closed,
    /// The bound of the scenario passed first.
    GivenUp,
}

/// What another connection than that of `a` has brought.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stream {
    /// Whose it is.
    pub actor: Actor,
    /// Every recv(2), in order.
    pub chunks: Vec<Chunk>,
    /// The received stream.
    #[serde(with = "crate::hex")]
    pub received: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// When it ended, nanoseconds since the scenario began.
    pub end_ns: u64,
    /// What was told about sends by reference, in order.
    pub completions: Vec<Completion>,
}

/// What was seen while a scenario ran.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct History {
    /// Every step that was started, in order of entry.
    pub calls: Vec<Call>,
    /// What was told about sends by reference, in order; of the connection of `a`,
    /// where there are several, as all that follows but the file.
    pub completions: Vec<Completion>,
    /// Every recv(2), in order.
    pub chunks: Vec<Chunk>,
    /// The received stream.
    #[serde(with = "crate::hex")]
    pub received: Vec<u8>,
    /// The file at the end, by pread(2).
    #[serde(with = "crate::hex")]
    pub file_pread: Vec<u8>,
    /// The file at the end, through the shared mapping; empty when the scenario
    /// has none.
    #[serde(with = "crate::hex")]
    pub file_mmap: Vec<u8>,
    /// How the stream ended.
    pub end: End,
    /// When it ended, nanoseconds since the scenario began.
    pub end_ns: u64,
    /// The other connections, where each actor has its own.
    pub beside: Vec<Stream>,
    /// What the kernel counted meanwhile; only where the scenario asks for it and
    /// the kernel counts.
    pub counters: Option<Counters>,
    /// What was left when everything was closed; `None`: nobody looked.
    pub leftovers: Option<Leftovers>,
    /// Whether time passed by the clock, whoever else the machine was busy with.
    #[serde(default)]
    pub by_the_clock: bool,
}

/// What a scenario left behind, beyond what was there before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Leftovers {
    /// Sockets of all namespaces, also those that only a packet refers to.
    pub sockets: u64,
    /// Open files.
    pub files: u64,
    /// Pages that belong to no file any more, and are not free.
    pub pages: u64,
    /// Pages pinned (Documentation/core-api/pin_user_pages.rst).
    pub pins: u64,
}

/// What a patched kernel counts, in fs.splice_stable_state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Calls that slept until their pages were released.
    pub waits: u64,
    /// Microseconds that they slept, in all.
    pub wait_us: u64,
    /// Bytes given to a socket by reference, under the promise.
    pub referenced_bytes: u64,
    /// Bytes sent as copies, because the call could not wait.
    pub copied_bytes: u64,
    /// Bytes of pages that were replaced by private copies.
    pub detached_bytes: u64,
}

impl Counters {
    /// What was counted since `before`.
    pub fn since(self, before: Counters) -> Counters {
        Counters {
            waits: self.waits.saturating_sub(before.waits),
            wait_us: self.wait_us.saturating_sub(before.wait_us),
            referenced_bytes: self
                .referenced_bytes
                .saturating_sub(before.referenced_bytes),
            copied_bytes: self.copied_bytes.saturating_sub(before.copied_bytes),
            detached_bytes: self.detached_bytes.saturating_sub(before.detached_bytes),
        }
    }
}

impl History {
    /// The call of a step, if it was started.
    pub fn call(&self, step: usize) -> Option<&Call> {
        self.calls.iter().find(|call| call.step == step)
    }

    /// A digest of everything in the history but the clock: two runs with the
    /// same digest did the same.
    pub fn digest(&self, scenario: &Scenario) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(scenario.to_string().as_bytes());
        let mut add = |event: std::fmt::Arguments<'_>| {
            hasher.update(event.to_string().as_bytes());
        };
        // Virtual time is not the same to the nanosecond: each reading of the clock
        // moves it a little (arch/um/kernel/time.c:timer_read).
        let timeless = |stamp: Stamp| Stamp {
            time_ns: 0,
            ..stamp
        };
        for call in &self.calls {
            let (entry, exit) = (timeless(call.entry), timeless(call.exit));
            add(format_args!(
                "{:?}",
                Call {
                    entry,
                    exit,
                    ..*call
                }
            ));
        }
        for told in &self.completions {
            let at = timeless(told.at);
            add(format_args!("{:?}", Completion { at, ..*told }));
        }
        for chunk in &self.chunks {
            let at = timeless(chunk.at);
            add(format_args!("{:?}", Chunk { at, ..*chunk }));
        }
        add(format_args!("{:?}", self.end));
        for stream in &self.beside {
            for chunk in &stream.chunks {
                let at = timeless(chunk.at);
                add(format_args!("{:?}", Chunk { at, ..*chunk }));
            }
            for told in &stream.completions {
                let at = timeless(told.at);
                add(format_args!("{:?}", Completion { at, ..*told }));
            }
            add(format_args!("{:?} {:?}", stream.end, stream.received));
        }
        hasher.update(&self.received);
        hasher.update(&self.file_pread);
        hasher.finalize().to_hex()[..16].to_string()
    }
}

/// The byte that generation `generation` puts at `offset` of the file.
///
/// For one offset all 256 generations differ, so a byte that is known to stand
/// at an offset names its generation. Over offsets the values look random, so a
/// shifted, repeated or dropped run does not go unnoticed.
pub fn pattern(offset: u64, generation: u8) -> u8 {
    base(offset).wrapping_add(generation)
}

/// The generation that puts `byte` at `offset`: the inverse of [`pattern`].
pub fn generation_of(offset: u64, byte: u8) -> u8 {
    byte.wrapping_sub(base(offset))
}

/// Fills `bytes` with the pattern from `offset` on.
pub fn fill(bytes: &mut [u8], offset: u64, generation: u8) {
    for (at, byte) in (offset..).zip(bytes) {
        *byte = pattern(at, generation);
    }
}

// The high byte of a multiplication by an odd constant near 2^64/phi: cheap
// enough for the fill loop, and without a period that a page, an MSS or a
// buffer size could hide behind.
fn base(offset: u64) -> u8 {
    let mixed = (offset ^ (offset >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_names_its_generation() {
        for offset in [0, 1, 4095, 4096, 1 << 40] {
            for generation in 0..=255 {
                let byte = pattern(offset, generation);
                assert_eq!(generation_of(offset, byte), generation);
            }
        }
    }

    #[test]
    fn a_shift_by_any_usual_size_is_seen() {
        for shift in [1, 2, 536, 1448, 1460, 4096, 8192, 16384, 32768, 65536] {
            let same = (0..4096)
                .filter(|&at| pattern(at, 0) == pattern(at + shift, 0))
                .count();
            assert!(
                same < 256,
                "shift {shift}: {same} of 4096 bytes look unmoved"
            );
        }
    }
}
