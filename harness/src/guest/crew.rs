//! The threads: one an actor, and the reader. They live as long as the process,
//! because starting threads for every scenario would cost more than running it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::connection::Listener;
use super::reader::{Buffer, Read, Received, Reception};
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

/// What the reader is sent for.
#[derive(Debug)]
struct Errand {
    listener: Arc<Listener>,
    reception: Reception,
    orders: Receiver<Read>,
}

/// The threads and the way back from them.
#[derive(Debug)]
pub struct Crew {
    actors: [Sender<(Arc<Stage>, usize)>; 3],
    reader: Sender<Errand>,
    /// What they tell.
    pub events: Receiver<Event>,
}

impl Crew {
    /// Starts the threads. They inherit the caller's network namespace.
    pub fn start() -> io::Result<Crew> {
        let (tell, events) = channel();
        Ok(Crew {
            actors: [
                actor("a", tell.clone())?,
                actor("b", tell.clone())?,
                actor("c", tell.clone())?,
            ],
            reader: reader(tell)?,
            events,
        })
    }

    /// Hands a step to its actor, behind the steps that it already has.
    pub fn perform(&self, actor: Actor, stage: &Arc<Stage>, step: usize) {
        self.actors[actor.index()]
            .send((Arc::clone(stage), step))
            .expect("an actor lives as long as its crew");
    }

    /// Lets the reader accept; it then waits for orders.
    pub fn receive(&self, listener: Arc<Listener>, reception: Reception) -> Sender<Read> {
        let (send, orders) = channel();
        self.reader
            .send(Errand {
                listener,
                reception,
                orders,
            })
            .expect("the reader lives as long as its crew");
        send
    }
}

fn actor(name: &str, tell: Sender<Event>) -> io::Result<Sender<(Arc<Stage>, usize)>> {
    let (sender, steps) = channel::<(Arc<Stage>, usize)>();
    thread::Builder::new().name(name.into()).spawn(move || {
        for (stage, step) in steps {
            let call = stage.perform(step);
            // The scheduler owns the file and the sockets again once it has
            // heard of the last step.
            drop(stage);
            if tell.send(Event::Performed(call)).is_err() {
                return;
            }
        }
    })?;
    Ok(sender)
}

fn reader(tell: Sender<Event>) -> io::Result<Sender<Errand>> {
    let (sender, errands) = channel::<Errand>();
    thread::Builder::new()
        .name("reader".into())
        .spawn(move || {
            let mut buffer = Buffer::new();
            for errand in errands {
                let result = errand.run(&mut buffer, &tell);
                if tell.send(Event::Received(result)).is_err() {
                    return;
                }
            }
        })?;
    Ok(sender)
}

impl Errand {
    // The connection is closed when this returns.
    fn run(&self, buffer: &mut Buffer, tell: &Sender<Event>) -> io::Result<Received> {
        let socket = self.reception.accept(&self.listener)?;
        let on_read = |step| {
            // Nobody listens only when the crew is being dropped.
            let _ = tell.send(Event::Read(step));
        };
        Ok(self.reception.obey(&socket, &self.orders, buffer, on_read))
    }
}
