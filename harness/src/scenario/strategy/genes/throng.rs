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
    /// Several sends are one datagram.
    pub pieces: bool,
    /// What they crowd for.
    pub crowd: Crowd,
    /// What a queue drops leaves a copy with a time.
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

/// What sends crowd for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    None,
    /// Several send, and there is room for few of them.
    Cramped,
    /// What they send waits until it is looked whether longer packets pass, and is put
    /// together for that.
    Probed,
    /// The queue of the link has room for few packets, and drops what is sent at once.
    Overflows,
    /// Much is copied, and of packets of many segments single ones are lost, so that parts of them
    /// are acknowledged. Only parts of copies are put together then.
    Sacked,
    /// Buffers in a pipe, for one call to send before anything else is on its way, with nothing
    /// to hold it up.
    Gathered,
}

const CROWDS: &[Weighted<Crowd>] = &[
    (Crowd::None, 71),
    (Crowd::Cramped, 13),
    (Crowd::Probed, 5),
    (Crowd::Overflows, 5),
    (Crowd::Gathered, 4),
    (Crowd::Sacked, 2),
];

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
        from(CROWDS),
        weighted(0.5),
        from(IMPATIENCES),
        [weighted(1.0); 5],
        weighted(0.4),
        weighted(0.3),
        weighted(0.3),
    )
        .prop_map(
            |(rows, joins, crowd, stamped, impatience, members, sips, late, pieces)| Throng {
                rows,
                joins,
                pieces,
                crowd: pick(CROWDS, crowd),
                stamped,
                impatience: pick(IMPATIENCES, impatience),
                members,
                sips,
                late,
            },
        )
}
