//! How long a message may be. send(2), EMSGSIZE: "The socket type requires that message be
//! sent atomically, and the size of the message to be sent made this impossible".

use crate::scenario::{Op, PAGE_BYTES, Scenario};

/// socket(7), wmem_default and wmem_max.
const SEND_BUFFER_BYTES: u64 = 212_992;

/// What of a send buffer is not for data, at least.
const HEAD_BYTES: u64 = 32;

/// So many pages are a packet of any size; with more it depends on where it is cut.
const SURE_PAGES: u64 = 16;

/// From here on there may not be memory in one piece.
const SURE_BYTES: u64 = 25 * PAGE_BYTES;

/// What of a pipe goes in one message: as much as one of the usual size holds.
const ROUND_BYTES: u64 = 16 * PAGE_BYTES;

/// What a send asks to be one message, or part of one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    pub bytes: u64,
    /// Pages that it lies in.
    pub pages: u64,
    /// Whether it may be made into several messages.
    pub in_rounds: bool,
}

/// The longest message of this socket, in bytes; `None`: there are none.
pub fn longest(scenario: &Scenario) -> Option<u64> {
    let socket = &scenario.setup.socket;
    if socket.family.has_datagrams() {
        // RFC 768 and 791: the length of the packet, which is counted in 16 bits, has two
        // headers in it; RFC 8200: only one.
        let headers = if socket.family.over_ipv6() { 8 } else { 28 };
        return Some(u64::from(u16::MAX) - headers);
    }
    // socket(7), SO_SNDBUF: "The kernel doubles this value"; unix(7): "The SO_SNDBUF
    // socket option does have an effect".
    let buffer = match socket.sndbuf_bytes {
        Some(bytes) => 2 * u64::from(bytes).min(SEND_BUFFER_BYTES),
        None => SEND_BUFFER_BYTES,
    };
    socket.family.has_records().then(|| buffer - HEAD_BYTES)
}

/// Whether a send may be too long, behind so much that waits for more.
pub fn may_be_too_long(scenario: &Scenario, waiting: Asked, asked: Asked) -> bool {
    let Some(longest) = longest(scenario) else {
        return false;
    };
    if scenario.setup.socket.family.has_datagrams() {
        let pages = waiting.pages.saturating_add(asked.pages);
        return waiting.bytes.saturating_add(asked.bytes) > longest || pages > SURE_PAGES;
    }
    first_message(asked) > longest
}

/// Whether a call cannot have sent so much, as it would have been one message.
pub fn is_too_long(scenario: &Scenario, op: Op, bytes: u64) -> bool {
    let one = scenario.setup.socket.family.has_datagrams() || matches!(op, Op::Copy { .. });
    one && longest(scenario).is_some_and(|longest| bytes > longest)
}

/// Whether there may be no memory for it: send(2), ENOBUFS.
pub fn may_lack_memory(scenario: &Scenario, asked: Asked) -> bool {
    match scenario.setup.socket.family.has_datagrams() {
        // "The output queue for a network interface was full": not for who is allowed the
        // usual amount.
        true => scenario.setup.socket.sndbuf_bytes.is_some(),
        false => first_message(asked) > SURE_BYTES,
    }
}

fn first_message(asked: Asked) -> u64 {
    match asked.in_rounds {
        true => asked.bytes.min(ROUND_BYTES),
        false => asked.bytes,
    }
}
