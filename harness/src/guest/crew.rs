//! The threads: one an actor, and the reader. They live as long as the process,
//! because starting threads for every scenario would cost more than running it.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::reader::{Read, Received, Reception};
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
    actors: [Sender<(Arc<Stage>, usize)>; 3],
    reader: Sender<(Reception, Receiver<Read>)>,
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
    pub fn receive(&self, reception: Reception) -> Sender<Read> {
        let (orders, from) = channel();
        self.reader
            .send((reception, from))
            .expect("the reader lives as long as its crew");
        orders
    }
}

fn actor(name: &str, tell: Sender<Event>) -> io::Result<Sender<(Arc<Stage>, usize)>> {
    let (sender, steps) = channel::<(Arc<Stage>, usize)>();
    thread::Builder::new()
        .name(name.into())
        .spawn(move || {
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

fn reader(tell: Sender<Event>) -> io::Result<Sender<(Reception, Receiver<Read>)>> {
    let (sender, receptions) = channel::<(Reception, Receiver<Read>)>();
    thread::Builder::new()
        .name("reader".into())
        .spawn(move || {
            for (reception, orders) in receptions {
                let result = reception.serve(&orders, |step| {
                    // Nobody listens only when the crew is being dropped.
                    let _ = tell.send(Event::Read(step));
                });
                drop(reception);
                if tell.send(Event::Received(result)).is_err() {
                    return;
                }
            }
        })?;
    Ok(sender)
}
