//! What is drawn of how sends crowd.

use proptest::bool::weighted;
use proptest::strategy::Strategy;

use super::{Draw, from};
use crate::scenario::strategy::tables::{self, Weighted, pick};

/// Sends that share what one alone has for itself: an skb, a datagram, a record, a
/// notification, room in the send buffer.
#[derive(Debug, Clone)]
pub struct Throng {
    /// Each send is a row of so many; it counts only if its flag is set.
    pub rows: (bool, Draw),
    /// Several sends are one datagram, as those of a row always are, and splices say that
    /// more follows.
    pub joins: bool,
    /// Several send, and there is room for few of them.
    pub cramped: bool,
    /// What they send waits until it is looked whether longer packets pass, and is put
    /// together for that.
    pub probed: bool,
    /// The queue of the link has room for few packets, and drops what is sent at once.
    pub overflows: bool,
    /// What it drops leaves a copy with a time.
    pub stamped: bool,
    /// What ends their waits.
    pub impatience: Impatience,
    /// Always set, until they shrink: what the crowd does. What fills the buffer, three who
    /// send then, and a write to what the first of these has sent.
    pub members: [bool; 5],
    /// A reader who takes orders takes a little behind each send.
    pub sips: bool,
    /// What is held on the link is let go late.
    pub late: bool,
}

/// What ends the wait of one who finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impatience {
    /// Nothing but the room that there is then.
    None,
    TimeLimit,
    Signal,
}

const IMPATIENCES: &[Weighted<Impatience>] = &[
    (Impatience::None, 1),
    (Impatience::TimeLimit, 1),
    (Impatience::Signal, 2),
];

pub fn throng() -> impl Strategy<Value = Throng> {
    (
        (weighted(0.14), from(tables::ROWS)),
        weighted(0.2),
        weighted(0.13),
        weighted(0.06),
        from(IMPATIENCES),
        [weighted(1.0); 5],
        weighted(0.4),
        weighted(0.3),
        weighted(0.04),
        weighted(0.5),
    )
        .prop_map(
            |(
                rows,
                joins,
                cramped,
                probed,
                impatience,
                members,
                sips,
                late,
                overflows,
                stamped,
            )| Throng {
                rows,
                joins,
                cramped,
                probed,
                overflows,
                stamped,
                impatience: pick(IMPATIENCES, impatience),
                members,
                sips,
                late,
            },
        )
}
