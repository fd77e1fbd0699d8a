//! The connections of one run: one, as a rule, or one for each actor.

use std::io;
use std::sync::Arc;

use super::{Run, grace, longest};
use crate::guest::borrowed::Borrowed;
use crate::guest::connection::Sender;
use crate::guest::crew::{Crew, Door};
use crate::guest::link::Link;
use crate::guest::mailbox::Mailbox;
use crate::guest::pair;
use crate::guest::reader::{Read, Received, Reception};
use crate::guest::receiver::Receiver;
use crate::guest::stage::{Beside, context};
use crate::history::{End, Stream};
use crate::scenario::{Actor, Scenario};

/// The receiver's side of a connection.
pub(super) struct Incoming {
    pub actor: Actor,
    pub orders: Arc<Mailbox<Read>>,
    pub received: Option<io::Result<Received>>,
}

impl Incoming {
    pub fn new(actor: Actor, orders: Arc<Mailbox<Read>>) -> Incoming {
        Incoming {
            actor,
            orders,
            received: None,
        }
    }
}

/// Both ends of each connection that [`Scenario::connections`] names, before anybody
/// waits for anything.
pub(super) fn connect(
    link: &Link,
    scenario: &Scenario,
) -> io::Result<Vec<(Actor, Sender, Receiver)>> {
    let one = |actor| {
        let (sender, receiver) = super::retry(|| pair::connect(link, scenario))?;
        Ok((actor, sender, receiver))
    };
    scenario.connections().map(one).collect()
}

/// Lets the readers of the other connections than that of `a` in.
pub(super) fn receive(
    crew: &Crew,
    scenario: &Scenario,
    ends: impl Iterator<Item = (Actor, Sender, Receiver)>,
    reception: &Reception,
) -> Vec<Beside> {
    let one = |(actor, sender, receiver)| Beside {
        actor,
        borrowed: Borrowed::new(scenario, &sender),
        sender,
        orders: crew.receive(actor, Door::Open(receiver), reception.clone()),
    };
    ends.map(one).collect()
}

impl Run<'_> {
    /// All readers read to the end.
    pub(super) fn read_the_rest(&self) {
        for incoming in &self.incoming {
            incoming.orders.put(Read::Rest);
        }
    }

    /// Whether no reader has anything to do any more.
    pub(super) fn all_received(&self) -> bool {
        self.incoming.iter().all(|it| it.received.is_some())
    }

    /// Whether one of them still reads, or was told to leave.
    pub(super) fn may_be_told(&self) -> bool {
        let over = |it: &Option<io::Result<Received>>| match it {
            Some(Ok(received)) => received.end != End::Closed,
            Some(Err(_)) => true,
            None => false,
        };
        !self.incoming.iter().all(|it| over(&it.received))
    }

    /// Ends every connection, and waits for what its reader has got.
    pub(super) fn end_all(&mut self) -> io::Result<(Received, Vec<Stream>)> {
        let stage = Arc::clone(&self.stage);
        // It fails when the connection is gone, and then there is nothing to end.
        let finished = Sender::finish_all(&stage.senders());
        let gone = |it: &io::Result<()>| {
            let error = it.as_ref().err();
            error.is_some_and(|it| it.raw_os_error() == Some(libc::ENOTCONN))
        };
        let gave_up: Vec<bool> = (self.incoming.iter().zip(&finished))
            .map(|(incoming, finished)| incoming.received.is_none() && gone(finished))
            .collect();
        let bound = longest(&stage) + grace(&stage.clock);
        while !self.all_received() && self.next_event(bound).is_some() {}
        let mut all = Vec::with_capacity(self.incoming.len());
        let incoming = self.incoming.drain(..);
        for ((incoming, gave_up), sender) in incoming.zip(gave_up).zip(stage.senders()) {
            let mut received = incoming
                .received
                .ok_or_else(|| io::Error::other("the reader does not answer"))?
                .map_err(context("accept"))?;
            if received.end == End::GivenUp && (gave_up || sender.timed_out()) {
                received.end = End::Failed(libc::ETIMEDOUT);
            }
            all.push((incoming.actor, received));
        }
        let mut all = all.into_iter();
        let (_, first) = all.next().expect("`a` has a connection");
        Ok((first, all.map(beside).collect()))
    }
}

fn beside((actor, received): (Actor, Received)) -> Stream {
    Stream {
        actor,
        chunks: received.chunks,
        received: received.bytes,
        end: received.end,
        end_ns: received.end_ns,
        // Some may be told yet.
        completions: Vec::new(),
    }
}
