//! What the network may do to what it is given. Of one that keeps it, and its order,
//! nothing is asked but that.

use crate::scenario::{Netem, Scenario, Way};

/// socket(7), rmem_default and rmem_max: what may wait for a receiver that has not been
/// told another size, and half of what one may ask for at most.
const RECEIVE_BUFFER_BYTES: u64 = 212_992;

/// So much of it each datagram takes besides its bytes, and each part that the network
/// cuts it into; that is not documented, and not less than this.
const BESIDE_BYTES: u64 = 3_072;

/// A part has so many bytes less than the network takes in one, at most.
const HEADERS_BYTES: u64 = 64;

/// Whether segments may get lost until a connection is given up (tcp(7), tcp_retries2).
pub fn loses_segments(link: &Netem) -> bool {
    link.loss_ppm > 0 || link.reorder_ppm > 0 || link.jitter_us > 0 || link.limit_packets > 0
}

/// Whether datagrams may change places, or come more than once: udp(7), "packets may
/// arrive out of order"; tc-netem(8).
pub fn shuffles(scenario: &Scenario) -> bool {
    let data = &scenario.setup.data;
    let random = data.jitter_us > 0 || data.reorder_ppm > 0 || data.duplicate_ppm > 0;
    random || data.nth.swap > 0 || data.nth.twice > 0
}

/// Whether it flips bits, of which a checksum need not find two.
pub fn alters(scenario: &Scenario) -> bool {
    let data = &scenario.setup.data;
    data.corrupt_ppm > 0 || data.nth.flip > 0
}

/// Whether datagrams may get lost of which `calls` have put `bytes` into it: udp(7) allows
/// that, and where it happens is the network, or a receiver who has no room.
pub fn loses_datagrams(scenario: &Scenario, calls: u64, bytes: u64) -> bool {
    let setup = &scenario.setup;
    let data = &setup.data;
    let random = data.loss_ppm > 0 || data.corrupt_ppm > 0 || data.nth.loses();
    let queue = data.limit_packets > 0 || data.rate_bps > 0 || scenario.holds(Way::Data);
    let part = u64::from(setup.device.mtu_bytes()).saturating_sub(HEADERS_BYTES);
    let parts = calls + bytes / part.max(1);
    // Memory comes in powers of two, so that a longer one can take twice as much.
    let taken = if part > BESIDE_BYTES / 2 {
        2 * bytes
    } else {
        bytes
    };
    // socket(7), SO_RCVBUF: "The kernel doubles this value".
    let room = match setup.socket.rcvbuf_bytes {
        Some(bytes) => 2 * u64::from(bytes).min(RECEIVE_BUFFER_BYTES),
        None => RECEIVE_BUFFER_BYTES,
    };
    random || queue || taken + parts * BESIDE_BYTES > room
}
