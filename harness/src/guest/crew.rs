//! The threads: one an actor, and the reader. They live as long as the process,
//! because starting threads for every scenario would cost more than running it.

use std::io;
use std::sync::Arc;
use std::thread;

use super::connection::Listener;
use super::mailbox::Mailbox;
use super::reader::{Buffer, Read, Received, Reception};
use super::receiver::Receiver;
use super::stage::Stage;
use crate::history::Call;
use crate::scenario::Actor;

/// What a thread tells the scheduler.
#[derive(Debug)]
pub enum Event {
    /// An actor has performed a step.
    Performed(Call),
    /// The reader has performed a `read` step.
    Read(usize),
    /// The reader is through.
    Received(io::Result<Received>),
}

/// The threads and the way back from them.
#[derive(Debug)]
pub struct Crew {
    actors: [Steps; 3],
    reader: Arc<Mailbox<Errand>>,
    /// What they tell.
    pub events: Arc<Mailbox<Event>>,
}

/// Where the reader finds what it is to read.
#[derive(Debug)]
pub enum Door {
    /// It accepts the next connection.
    Closed(Arc<Listener>),
    /// The connection is there.
    Open(Receiver),
}

/// Steps for one actor: on which stage, and which.
type Steps = Arc<Mailbox<(Arc<Stage>, usize)>>;

/// What the reader is sent for.
#[derive(Debug)]
struct Errand {
    door: Door,
    reception: Reception,
    orders: Arc<Mailbox<Read>>,
}

impl Crew {
    /// Starts the threads. They inherit the caller's network namespace.
    pub fn start() -> io::Result<Crew> {
        let events = Arc::new(Mailbox::new());
        Ok(Crew {
            actors: [
                actor("a", &events)?,
                actor("b", &events)?,
                actor("c", &events)?,
            ],
            reader: reader(&events)?,
            events,
        })
    }

    /// Hands a step to its actor, behind the steps that it already has.
    pub fn perform(&self, actor: Actor, stage: &Arc<Stage>, step: usize) {
        self.actors[actor.index()].put((Arc::clone(stage), step));
    }

    /// Lets the reader in; it then waits for orders.
    pub fn receive(&self, door: Door, reception: Reception) -> Arc<Mailbox<Read>> {
        let orders = Arc::new(Mailbox::new());
        self.reader.put(Errand {
            door,
            reception,
            orders: Arc::clone(&orders),
        });
        orders
    }
}

fn actor(name: &str, events: &Arc<Mailbox<Event>>) -> io::Result<Steps> {
    let mailbox = Steps::new(Mailbox::new());
    let (steps, events) = (Arc::clone(&mailbox), Arc::clone(events));
    thread::Builder::new().name(name.into()).spawn(move || {
        loop {
            let (stage, step) = steps.take();
            let call = stage.perform(step);
            // The scheduler owns the file and the socket again once it has heard
            // of the last step.
            drop(stage);
            events.put(Event::Performed(call));
        }
    })?;
    Ok(mailbox)
}

fn reader(events: &Arc<Mailbox<Event>>) -> io::Result<Arc<Mailbox<Errand>>> {
    let mailbox: Arc<Mailbox<Errand>> = Arc::new(Mailbox::new());
    let (errands, events) = (Arc::clone(&mailbox), Arc::clone(events));
    thread::Builder::new()
        .name("reader".into())
        .spawn(move || {
            let mut buffer = Buffer::new();
            loop {
                let result = errands.take().run(&mut buffer, &events);
                events.put(Event::Received(result));
            }
        })?;
    Ok(mailbox)
}

impl Errand {
    // The connection is closed when this returns.
    fn run(self, buffer: &mut Buffer, events: &Mailbox<Event>) -> io::Result<Received> {
        let socket = match self.door {
            Door::Closed(listener) => self.reception.accept(&listener)?,
            Door::Open(receiver) => receiver,
        };
        let on_read = |step| events.put(Event::Read(step));
        Ok(self.reception.obey(&socket, &self.orders, buffer, on_read))
    }
}
