//! The threads: one an actor, and a reader for each. They live as long as the process,
//! because starting threads for every scenario would cost more than running it.

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nix::sys::pthread::Pthread;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::connection::Listener;
use super::mailbox::Mailbox;
use super::places::{Place, Places};
use super::reader::{Buffer, Read, Received, Reception};
use super::receiver::Receiver;
use super::rest::Watch;
use super::stage::Stage;
use crate::history::Call;
use crate::scenario::Actor;

/// What `signal` sends.
pub const SIGNAL: Signal = Signal::SIGUSR1;

/// What a thread tells the scheduler.
#[derive(Debug)]
pub enum Event {
    /// An actor has performed a step.
    Performed {
        /// Index into the scenario's steps.
        step: usize,
        /// What it called for that.
        calls: Vec<Call>,
    },
    /// An actor has waited for what its ring has to tell.
    Collected,
    /// The reader has performed a `read` step.
    Read(usize),
    /// The reader of this actor's connection is through.
    Received(Actor, io::Result<Received>),
}

/// The threads and the way back from them.
#[derive(Debug)]
pub struct Crew {
    actors: [Tasks; 3],
    /// Whom a signal goes to.
    pub threads: Threads,
    /// To see who of them rests.
    watches: [Watch; 3],
    /// One a connection.
    readers: [Errands; 3],
    /// What they tell.
    pub events: Arc<Mailbox<Event>>,
}

/// The actors' threads; they live as long as the process.
pub type Threads = [Pthread; 3];

/// Where the reader finds what it is to read.
#[derive(Debug)]
pub enum Door {
    /// It accepts the next connection.
    Closed(Arc<Listener>),
    /// The connection is there.
    Open(Receiver),
}

/// Where a reader is sent, and how it is seen to rest.
type Errands = (Arc<Mailbox<Errand>>, Watch);

/// What an actor is to do, and on which stage.
type Tasks = Arc<Mailbox<(Arc<Stage>, Task)>>;

#[derive(Debug, Clone, Copy)]
enum Task {
    /// A step.
    Step(usize),
    /// To wait so long at most for what its ring has to tell of it.
    Collect(Actor, Duration),
}

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
        catch_signals()?;
        let events = Arc::new(Mailbox::new());
        let places = Places::here()?;
        let (a, b, c) = (
            actor("a", &events, places.of(0))?,
            actor("b", &events, places.of(1))?,
            actor("c", &events, places.of(2))?,
        );
        Ok(Crew {
            actors: [a.0, b.0, c.0],
            threads: [a.1, b.1, c.1],
            watches: [a.2, b.2, c.2],
            readers: [
                reader(Actor::A, &events, places.of(3))?,
                reader(Actor::B, &events, places.of(4))?,
                reader(Actor::C, &events, places.of(5))?,
            ],
            events,
        })
    }

    /// Hands a step to its actor, behind the steps that it already has.
    pub fn perform(&self, actor: Actor, stage: &Arc<Stage>, step: usize) {
        self.actors[actor.index()].put((Arc::clone(stage), Task::Step(step)));
    }

    /// Whether an actor sleeps, and is not about to wake for a step.
    pub fn actor_rests(&self, actor: Actor) -> bool {
        let index = actor.index();
        !self.actors[index].wakes() && self.watches[index].sleeps()
    }

    /// Whether the reader of this actor's connection sleeps, and is not about to wake for
    /// that.
    pub fn reader_rests(&self, of: Actor) -> bool {
        let (errands, watch) = &self.readers[of.index()];
        !errands.wakes() && watch.sleeps()
    }

    /// Has an actor wait, for so long at most, for what its ring has to tell.
    pub fn collect(&self, actor: Actor, stage: &Arc<Stage>, patience: Duration) {
        let task = Task::Collect(actor, patience);
        self.actors[actor.index()].put((Arc::clone(stage), task));
    }

    /// Lets the reader of this actor's connection in; it then waits for orders.
    pub fn receive(&self, of: Actor, door: Door, reception: Reception) -> Arc<Mailbox<Read>> {
        let orders = Arc::new(Mailbox::new());
        self.readers[of.index()].0.put(Errand {
            door,
            reception,
            orders: Arc::clone(&orders),
        });
        orders
    }
}

fn actor(
    name: &str,
    events: &Arc<Mailbox<Event>>,
    place: Place,
) -> io::Result<(Tasks, Pthread, Watch)> {
    let mailbox = Tasks::new(Mailbox::new());
    let (tasks, events) = (Arc::clone(&mailbox), Arc::clone(events));
    let (tell, watch) = mpsc::channel();
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        place.take();
        // Whoever started it waits for that.
        let _ = tell.send(Watch::here());
        loop {
            let (stage, task) = tasks.take();
            let event = match task {
                Task::Step(step) => {
                    let mut calls = Vec::with_capacity(1);
                    stage.perform(step, &mut calls);
                    Event::Performed { step, calls }
                }
                Task::Collect(actor, patience) => {
                    stage
                        .borrowed_of(actor)
                        .await_ring(actor, &stage.clock, patience);
                    Event::Collected
                }
            };
            // The scheduler owns the file and the socket again once it has heard
            // of the last step.
            drop(stage);
            events.put(event);
        }
    })?;
    let watch = watch.recv().map_err(io::Error::other)??;
    Ok((mailbox, thread.as_pthread_t(), watch))
}

/// Gives the signal that actors send a handler that does nothing, and that does not
/// make the kernel start a call again.
fn catch_signals() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(
        SigHandler::Handler(nothing),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: a handler that does nothing is safe at any time, and nobody else in
    // this process uses the signal.
    unsafe { sigaction(SIGNAL, &action) }?;
    Ok(())
}

fn reader(of: Actor, events: &Arc<Mailbox<Event>>, place: Place) -> io::Result<Errands> {
    let mailbox: Arc<Mailbox<Errand>> = Arc::new(Mailbox::new());
    let (errands, events) = (Arc::clone(&mailbox), Arc::clone(events));
    let (tell, watch) = mpsc::channel();
    thread::Builder::new()
        .name("reader".into())
        .spawn(move || {
            place.take();
            // As above.
            let _ = tell.send(Watch::here());
            let mut buffer = Buffer::new();
            loop {
                let result = errands.take().run(&mut buffer, &events);
                events.put(Event::Received(of, result));
            }
        })?;
    Ok((mailbox, watch.recv().map_err(io::Error::other)??))
}

impl Errand {
    // The connection is closed when this returns.
    fn run(self, buffer: &mut Buffer, events: &Mailbox<Event>) -> io::Result<Received> {
        let socket = match self.door {
            Door::Closed(listener) => self.reception.accept(&listener)?,
            Door::Open(receiver) => receiver,
        };
        let on_read = |step| events.put(Event::Read(step));
        let mut read =
            |socket, reception: &Reception| reception.obey(socket, &self.orders, buffer, on_read);
        match &self.reception.relay {
            None => Ok(read(socket, &self.reception)),
            Some(relay) => relay.pass_on(&socket, &self.reception, read),
        }
    }
}
