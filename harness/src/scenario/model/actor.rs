//! Who performs the operations, and on which direction of the link.

use serde::{Deserialize, Serialize};

use super::Op;

/// One operation and who performs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step {
    /// The thread that performs it.
    pub actor: Actor,
    /// What it does.
    pub op: Op,
}

/// A thread that performs operations.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub enum Actor {
    /// The sender, and who acts where nothing else is said.
    #[default]
    A,
    /// A second thread of the sending process.
    B,
    /// A third thread of the sending process.
    C,
    /// The receiver; reads and leaves.
    Reader,
    /// The link itself: no thread, so nothing that blocks holds it up.
    Link,
}

impl Actor {
    /// The actors that act on the sender's side.
    pub const SENDING_SIDE: [Actor; 3] = [Actor::A, Actor::B, Actor::C];

    /// Its place in [`Actor::SENDING_SIDE`].
    ///
    /// # Panics
    /// For the reader and the link, which have none.
    pub fn index(self) -> usize {
        Actor::SENDING_SIDE
            .iter()
            .position(|&actor| actor == self)
            .expect("neither the reader nor the link acts on the sender's side")
    }
}

/// One direction of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the sender to the receiver.
    Data,
    /// Back.
    Ack,
}

impl Way {
    /// Both, with the words that the text has for them.
    pub const NAMED: [(&str, Way); 2] = [("data", Way::Data), ("ack", Way::Ack)];
}
