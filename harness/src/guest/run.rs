//! Runs scenarios, one after the other, after one boot.
//!
//! The scheduler hands the steps out in list order. It goes on to the next when
//! a step is done or known to be blocked; virtual time makes "blocked" exact,
//! because it only moves when nobody can run. A step whose actor is still busy
//! waits behind it, while other actors go on.

use std::io;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::clock::Clock;
use super::connection::{Listener, Sender, reset_on_close};
use super::crew::{Crew, Event};
use super::file::SentFile;
use super::link::Link;
use super::reader::{Read, Received, Reception};
use super::stage::{Stage, context};
use crate::history::{Call, History, Outcome};
use crate::oracle::liveness;
use crate::scenario::{Actor, Family, Op, ReaderMode, Scenario};

/// How long a step may run before its actor counts as blocked.
const BLOCKED_AFTER: Duration = Duration::from_micros(1);
/// How long a call may go on after the reader has reset the connection.
const GRACE: Duration = Duration::from_secs(300);
/// With packets lost both ways a handshake can fail; that is not what is tested.
const CONNECT_ATTEMPTS: usize = 20;

/// The inside of a booted kernel, ready to run scenarios.
#[derive(Debug)]
pub struct Guest {
    link: Link,
    listeners: [(Family, Arc<Listener>); 2],
    crew: Crew,
}

/// Why a scenario could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The set-up failed; nothing was tested.
    #[error("cannot set the scenario up: {0}")]
    SetUp(#[from] io::Error),
    /// A call did not end even after the connection was reset. The history is
    /// what was seen; this kernel cannot run further scenarios.
    #[error("a call does not end, not even by a reset of its connection")]
    Wedged(Box<History>),
}

impl Guest {
    /// Makes the namespaces, the link and the threads.
    pub fn set_up() -> io::Result<Guest> {
        let link = Link::create()?;
        let listen = |family| -> io::Result<(Family, Arc<Listener>)> {
            let listener = Listener::open(link.receiver(), family, None)?;
            Ok((family, Arc::new(listener)))
        };
        Ok(Guest {
            listeners: [listen(Family::Tcp4)?, listen(Family::Tcp6)?],
            crew: Crew::start()?,
            link,
        })
    }

    /// Runs one normalized scenario.
    pub fn run(&mut self, scenario: &Scenario) -> Result<History, RunError> {
        let setup = &scenario.setup;
        self.link.configure(setup).map_err(context("link"))?;
        let mapped = scenario
            .steps
            .iter()
            .any(|step| matches!(step.op, Op::MmapWrite(_)));
        let file = SentFile::create(&setup.file, mapped).map_err(context("file"))?;
        let listener = self.listener(scenario).map_err(context("listener"))?;
        let clock = Arc::new(Clock::start());
        let orders = self.crew.receive(Reception {
            listener: Arc::clone(&listener),
            clock: Arc::clone(&clock),
            deadline_ns: liveness::bound_ns(scenario),
        });
        let sender = connect(scenario, &listener).map_err(context("connect"))?;
        let stage = Arc::new(Stage {
            scenario: scenario.clone(),
            clock,
            file,
            sender,
            pipe: Mutex::new(None),
            entered: Default::default(),
        });
        let mut run = Run {
            crew: &self.crew,
            stage,
            calls: Vec::with_capacity(scenario.steps.len()),
            outstanding: [0; 3],
            received: None,
        };
        if is_simple(scenario) {
            let _ = orders.send(Read::Rest);
            run.inline();
        } else {
            run.interleave(&orders);
        }
        let history = run.finish()?;
        // What is still on its way belongs to nobody; let it arrive before the
        // next scenario, which shares the link.
        let settle_us = [setup.data, setup.ack]
            .iter()
            .map(|netem| netem.delay_us + netem.jitter_us)
            .sum();
        std::thread::sleep(Duration::from_micros(settle_us));
        Ok(history)
    }

    fn listener(&self, scenario: &Scenario) -> io::Result<Arc<Listener>> {
        let socket = &scenario.setup.socket;
        match socket.rcvbuf_bytes {
            // SO_RCVBUF cannot be taken back, so such a listener is not shared.
            Some(_) => {
                let receiver = self.link.receiver();
                let listener = Listener::open(receiver, socket.family, socket.rcvbuf_bytes)?;
                Ok(Arc::new(listener))
            }
            None => {
                let (_, listener) = self
                    .listeners
                    .iter()
                    .find(|(family, _)| *family == socket.family)
                    .expect("every family has a listener");
                Ok(Arc::clone(listener))
            }
        }
    }
}

/// One sender that nobody can overtake, and a reader that needs no orders: the
/// steps can be performed right here, without handing each to a thread.
fn is_simple(scenario: &Scenario) -> bool {
    scenario.setup.reader == ReaderMode::Drain
        && scenario.steps.iter().all(|step| step.actor == Actor::A)
}

fn connect(scenario: &Scenario, listener: &Listener) -> io::Result<Sender> {
    let mut attempt = 1;
    loop {
        match Sender::connect(&scenario.setup.socket, listener) {
            Err(error)
                if error.kind() == io::ErrorKind::TimedOut && attempt < CONNECT_ATTEMPTS =>
            {
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// One scenario while it runs.
struct Run<'a> {
    crew: &'a Crew,
    stage: Arc<Stage>,
    calls: Vec<Call>,
    outstanding: [usize; 3],
    received: Option<io::Result<Received>>,
}

impl Run<'_> {
    fn inline(&mut self) {
        for step in 0..self.stage.scenario.steps.len() {
            let call = self.stage.perform(step);
            self.calls.push(call);
        }
    }

    fn interleave(&mut self, orders: &std::sync::mpsc::Sender<Read>) {
        if self.stage.scenario.setup.reader == ReaderMode::Drain {
            let _ = orders.send(Read::Rest);
        }
        let stage = Arc::clone(&self.stage);
        for (index, step) in stage.scenario.steps.iter().enumerate() {
            match (step.actor, step.op) {
                // A reader that has given up takes no orders.
                (Actor::Reader, Op::Read { len }) => {
                    let _ = orders.send(Read::Some { step: index, len });
                }
                (actor, _) => {
                    self.outstanding[actor.index()] += 1;
                    self.crew.perform(actor, &stage, index);
                }
            }
            while self.next_event(BLOCKED_AFTER).is_some_and(|done| done != Some(index)) {}
        }
        let _ = orders.send(Read::Rest);
        while self.outstanding.iter().any(|&steps| steps > 0) {
            let patience = match self.received {
                // Only a wedged call outlives its connection.
                Some(_) => GRACE,
                None => GRACE + Duration::from_nanos(liveness::bound_ns(&stage.scenario)),
            };
            if self.next_event(patience).is_none() {
                return;
            }
        }
    }

    // Waits for one event. `None`: there was none in time; else the step that is
    // done, if it was about a step.
    fn next_event(&mut self, patience: Duration) -> Option<Option<usize>> {
        match self.crew.events.recv_timeout(patience) {
            Ok(Event::Performed(call)) => {
                let actor = self.stage.scenario.steps[call.step].actor;
                self.outstanding[actor.index()] -= 1;
                self.calls.push(call);
                Some(Some(call.step))
            }
            Ok(Event::Read(step)) => Some(Some(step)),
            Ok(Event::Received(received)) => {
                self.received = Some(received);
                Some(None)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    fn finish(mut self) -> Result<History, RunError> {
        let wedged = self.outstanding.iter().any(|&steps| steps > 0);
        if wedged {
            self.note_pending();
        }
        // It fails when the connection is gone, and then there is nothing to end.
        let _ = self.stage.sender.finish();
        let bound = Duration::from_nanos(liveness::bound_ns(&self.stage.scenario));
        while self.received.is_none() && self.next_event(bound + GRACE).is_some() {}
        let received = self
            .received
            .ok_or_else(|| io::Error::other("the reader does not answer"))?
            .map_err(context("accept"))?;
        let file = &self.stage.file;
        let mut history = History {
            calls: self.calls,
            chunks: received.chunks,
            received: received.bytes,
            file_pread: file.read_back().map_err(context("read the file back"))?,
            file_mmap: file.mapped_bytes(),
            end: received.end,
            end_ns: received.end_ns,
        };
        history.calls.extend(received.calls);
        history.calls.sort_by_key(|call| call.entry.order);
        if wedged {
            return Err(RunError::Wedged(Box::new(history)));
        }
        reset_on_close(&self.stage.sender);
        Ok(history)
    }

    fn note_pending(&mut self) {
        let now = self.stage.clock.stamp();
        for (step, entry) in self.stage.running() {
            self.calls.push(Call {
                step,
                entry,
                exit: now,
                outcome: Outcome::Pending,
                offset_after: None,
                f_pos_after: None,
            });
        }
    }
}
