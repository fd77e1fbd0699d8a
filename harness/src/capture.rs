//! The packets of a run, as they were seen on their way.

use serde::{Deserialize, Serialize};

/// A place on the way of a packet, named after the end that it lies at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Point {
    /// Data is handed to the sender's queue (netem, plug).
    SenderQueued,
    /// It has left that queue, and is on the wire.
    SenderLeft,
    /// It has arrived at the receiver.
    ReceiverArrived,
    /// What the receiver answers (ACKs, mostly) is handed to its queue.
    ReceiverQueued,
    /// It has left that queue.
    ReceiverLeft,
    /// It has arrived at the sender.
    SenderArrived,
}

/// A packet at one place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Packet {
    /// When, in nanoseconds since the scenario began. The connection is made before that.
    pub at_ns: i64,
    /// Where.
    pub point: Point,
    /// The packet from its IP header on, as it was there and then.
    #[serde(with = "crate::hex")]
    pub bytes: Vec<u8>,
}

/// What was seen of a link while a scenario ran.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Capture {
    /// In the order in which they were seen.
    pub packets: Vec<Packet>,
    /// Packets that were not kept, since there was no room.
    pub lost: u64,
}
