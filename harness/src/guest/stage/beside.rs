//! What the actors send on, where each has a connection of its own.

use std::sync::Arc;

use super::Stage;
use crate::guest::borrowed::Borrowed;
use crate::guest::connection::Sender;
use crate::guest::mailbox::Mailbox;
use crate::guest::reader::Read;
use crate::scenario::Actor;

/// A connection of another actor than `a`.
#[derive(Debug)]
pub struct Beside {
    /// Whose.
    pub actor: Actor,
    /// The sending socket.
    pub sender: Sender,
    /// What was sent on it by reference.
    pub borrowed: Borrowed,
    /// What its reader is told to do.
    pub orders: Arc<Mailbox<Read>>,
}

impl Stage {
    /// All sending sockets, that of `a` first.
    pub fn senders(&self) -> Vec<&Sender> {
        let beside = self.beside.iter().map(|it| &it.sender);
        std::iter::once(&self.sender).chain(beside).collect()
    }

    /// What an actor sends on: its own, or that of `a`.
    pub fn sender_of(&self, actor: Actor) -> &Sender {
        self.own(actor).map_or(&self.sender, |it| &it.sender)
    }

    /// What was sent by reference on the connection of an actor.
    pub fn borrowed_of(&self, actor: Actor) -> &Borrowed {
        self.own(actor).map_or(&self.borrowed, |it| &it.borrowed)
    }

    fn own(&self, actor: Actor) -> Option<&Beside> {
        self.beside.iter().find(|it| it.actor == actor)
    }
}
