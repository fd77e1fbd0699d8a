//! Runs scenarios, one after the other, after one boot.
//!
//! The scheduler hands the steps out in list order. It goes on to the next when
//! a step is done or known to be blocked; virtual time makes "blocked" exact,
//! because it only moves when nobody can run. A step whose actor is still busy
//! waits behind it, while other actors go on.
//!
//! Where there is only one actor and a reader that needs no orders, nobody can
//! be overtaken, and the same happens without handing anything to a thread: see
//! [`Guest::run_alone`].

mod first;
mod simple;
mod standby;
mod streams;
mod together;
mod watched;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::simple::{is_simple, shares_listener};
use self::streams::Incoming;
use self::together::Run;
use super::borrowed::Borrowed;
use super::clock::{self, Clock};
use super::connection::{Listener, Sender, reset_on_close, retry};
use super::counters;
use super::crew::{Crew, Door, Threads};
use super::doorman::Doorman;
use super::entropy::Entropy;
use super::ext4;
use super::file::SentFile;
use super::lacks::{Feature, Lack, Lacks};
use super::leftovers::{Gauge, Reading};
use super::link::{Link, Queues};
use super::mailbox::Mailbox;
use super::reader::{Read, Received, Reception};
use super::relay::Relay;
use super::settle::settle;
use super::stage::{Beside, Stage, context};
use crate::history::{Call, End, History, Leftovers, Stream};
use crate::kcov;
use crate::oracle::{RESCUE_NS, bound_ns};
use crate::scenario::{
    Actor, DeviceKind, Family, FileKind, FileSpec, Op, Scenario, Setup, Stack, Step,
};

/// See [`RESCUE_NS`].
pub const RESCUE: Duration = Duration::from_nanos(RESCUE_NS);
/// For how long the reader waits for the end where time passes by the clock. Some wait
/// for half an hour of virtual time.
const PATIENCE: Duration = Duration::from_secs(30);
/// See [`grace`].
const GRACE: Duration = Duration::from_secs(300);
/// Files kept for the next scenario of the same setup.
const MOST_FILES: usize = 16;
/// Listeners kept for the next scenario of the same kind.
const MOST_LISTENERS: usize = 64;

/// The inside of a booted kernel, ready to run scenarios.
#[derive(Debug)]
pub struct Guest {
    lacks: Lacks,
    link: Link,
    /// For scenarios of one actor.
    doormen: Vec<(Family, Doorman)>,
    /// For the others, by SO_RCVBUF, which cannot be taken back, and by the stack that
    /// they were made in.
    listeners: HashMap<(DeviceKind, Family, Option<u32>, Stack), Arc<Listener>>,
    crew: Crew,
    relay: Arc<Relay>,
    entropy: Entropy,
    /// As new, all of them.
    files: HashMap<FileSpec, SentFile>,
    virtual_time: bool,
    /// The kinds of connection that were made since the boot.
    broken_in: HashSet<(DeviceKind, Family)>,
    /// `None`: time passes by the clock, and what is left is not waited for.
    gauge: Option<Gauge>,
    /// What the gauge showed when it was last read.
    at_rest: Option<Reading>,
    /// Whether nothing has run since.
    rests: bool,
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
        let lacks = Lacks::here()?;
        let link = Link::create_of(&lacks)?;
        let doorman = |family| -> io::Result<(Family, Doorman)> {
            let listener = Listener::open(link.receiver(), (DeviceKind::Veth, family), None)?;
            Ok((family, Doorman::start(listener)?))
        };
        let doormen = match lacks.of(Feature::Veth) {
            None => vec![doorman(Family::Tcp4)?, doorman(Family::Tcp6)?],
            Some(_) => Vec::new(),
        };
        let relay = Arc::new(Relay::set_up()?);
        let virtual_time = clock::is_virtual()?;
        let namespaces = [link.receiver(), relay.namespace()];
        let gauge = virtual_time.then(|| Gauge::open(namespaces)).transpose()?;
        let mut guest = Guest {
            lacks,
            doormen,
            crew: Crew::start()?,
            relay,
            entropy: Entropy::open()?,
            link,
            files: HashMap::new(),
            listeners: HashMap::new(),
            virtual_time,
            broken_in: HashSet::new(),
            gauge,
            at_rest: None,
            rests: false,
        };
        guest.leftovers()?;
        Ok(guest)
    }

    /// What has been left since this was last asked, or since the beginning. Takes as
    /// long as the kernel needs to let go, and costs more than a scenario does.
    /// `None`: time passes by the clock here, and waiting could take half an hour.
    pub fn leftovers(&mut self) -> io::Result<Option<Leftovers>> {
        let Some(gauge) = &mut self.gauge else {
            return Ok(None);
        };
        let before = match self.at_rest {
            Some(_) if self.rests => return Ok(Some(Leftovers::default())),
            Some(before) => before,
            None => gauge.read()?,
        };
        // What is kept for the next scenario is not left over.
        self.files.clear();
        self.listeners.clear();
        let now = gauge.read_settled(before)?;
        (self.at_rest, self.rests) = (Some(now), true);
        Ok(Some(now.since(before)))
    }

    /// `scenario` as it can be run here.
    ///
    /// # Errors
    /// What it needs, and this kernel lacks.
    pub fn fit<'a>(&self, scenario: &'a Scenario) -> Result<Cow<'a, Scenario>, Lack> {
        self.lacks.fit(scenario)
    }

    /// Waits until the kernel's timers stand as they did for other runs that began so:
    /// what a timer does before or after the step next to it is then the same. Costs
    /// a system call and no time where time is virtual, and is nothing elsewhere.
    pub fn await_tick(&self) -> io::Result<()> {
        match self.virtual_time {
            true => clock::await_tick(),
            false => Ok(()),
        }
    }

    /// Mounts ext4 where a scenario is the first to need it. It stays, with the files that
    /// it has open, and so it is nothing that the scenario leaves.
    fn ready_disk(&mut self, spec: &FileSpec) -> io::Result<()> {
        if spec.kind != FileKind::Ext4 || ext4::is_mounted() {
            return Ok(());
        }
        let (Some(at_rest), Some(gauge)) = (self.at_rest, &mut self.gauge) else {
            return ext4::mount();
        };
        let before = gauge.read()?;
        ext4::mount()?;
        self.at_rest = Some(at_rest.with(before, gauge.read()?));
        Ok(())
    }

    /// When the reader gives up. In virtual time, when no protocol explains any more why
    /// there is no end; else when nobody wants to wait any longer.
    fn deadline_ns(&self, scenario: &Scenario) -> u64 {
        match self.virtual_time {
            true => bound_ns(scenario),
            false => bound_ns(scenario).min(PATIENCE.as_nanos() as u64),
        }
    }

    /// Runs one normalized scenario.
    pub fn run(&mut self, scenario: &Scenario) -> Result<History, RunError> {
        let clock = Arc::new(Clock::new(self.virtual_time));
        self.run_by(scenario, &clock)
    }

    /// Runs it by a clock that nobody has read yet.
    fn run_by(&mut self, scenario: &Scenario, clock: &Arc<Clock>) -> Result<History, RunError> {
        self.rests = false;
        let spec = &scenario.setup.file;
        self.ready_disk(spec).map_err(context("disk"))?;
        let mut file = self.file(spec).map_err(context("file"))?;
        if scenario.steps.iter().any(|step| step.op.maps()) {
            file.map(scenario.extent_bytes())
                .map_err(context("map the file"))?;
        }
        let direct = |step: &Step| matches!(step.op, Op::DirectWrite(_));
        if scenario.steps.iter().any(direct) {
            file.open_direct()
                .map_err(context("open the file with O_DIRECT"))?;
        }
        let beside = |step: &Step| matches!(step.op, Op::SecondWrite(_));
        if scenario.steps.iter().any(beside) {
            file.map_again(scenario.extent_bytes())
                .map_err(context("map the file again"))?;
        }
        self.link
            .set_stack(&scenario.setup.stack)
            .map_err(context("stack"))?;
        if shares_listener(scenario) && !is_simple(scenario) {
            self.listener(scenario).map_err(context("listener"))?;
        }
        let before = counters::asked(scenario).map_err(context("counters"))?;
        self.begin_anew(scenario)?;
        let window = kcov::Window::open();
        let (stage, mut history) = match is_simple(scenario) {
            true => self.run_alone(scenario, file, clock)?,
            false => self.run_together(scenario, file, clock)?,
        };
        drop(window);
        if history.end == End::GivenUp && history.end_ns < bound_ns(scenario) {
            // By virtual time it might have been seen to the end.
            self.listeners.clear();
            return Err(RunError::SetUp(Lack::of_patience(PATIENCE).into()));
        }
        if let Some(before) = before {
            let after = counters::asked(scenario).map_err(context("counters"))?;
            history.counters = after.map(|after| after.since(before));
        }
        let moved = |call: &Call| call.f_pos_after.is_some_and(|position| position != 0);
        // A stage that a thread still holds keeps its file.
        if let Some(stage) = Arc::into_inner(stage)
            && !history.calls.iter().any(moved)
            && stage.file.restore(&history.file_pread, &scenario.steps)
        {
            self.files.insert(scenario.setup.file, stage.file);
        }
        Ok(history)
    }

    /// From here on the random numbers are those that the scenario had before. What is
    /// kept between scenarios has been made by now, as it is not made again.
    fn begin_anew(&mut self, scenario: &Scenario) -> Result<(), RunError> {
        self.entropy
            .begin(&scenario.setup)
            .map_err(context("random numbers"))?;
        self.link
            .configure(&scenario.setup, |way| scenario.holds(way))
            .map_err(context("link"))?;
        Ok(())
    }

    /// One actor, here on this thread, and a reader that sleeps at its door. The
    /// closing of the connection says that the reader is through; the link keeps
    /// packets in order, so that nothing of the scenario is on its way then.
    fn run_alone(
        &self,
        scenario: &Scenario,
        file: SentFile,
        clock: &Arc<Clock>,
    ) -> Result<(Arc<Stage>, History), RunError> {
        let family = scenario.setup.socket.family;
        let (_, doorman) = self
            .doormen
            .iter()
            .find(|(it, _)| *it == family)
            .expect("every family has its door");
        doorman.expect(Reception {
            clock: Arc::clone(clock),
            deadline_ns: self.deadline_ns(scenario),
            quickack: None,
            relay: None,
        });
        let sender = connect(scenario, &doorman.listener).map_err(context("connect"))?;
        let queues = self.link.queues();
        let threads = self.crew.threads;
        let stage = stage(
            scenario,
            Arc::clone(clock),
            file,
            sender,
            threads,
            queues,
            (None, Vec::new()),
        );
        let steps = 0..scenario.steps.len();
        let mut calls = Vec::with_capacity(steps.len());
        steps.for_each(|step| stage.perform(step, &mut calls));
        // It fails when the connection is gone, and then there is nothing to end.
        let _ = stage.sender.finish();
        stage.sender.await_close();
        let patience = grace(&stage.clock) + longest(&stage);
        let received = doorman
            .collect_within(patience)
            .ok_or_else(|| io::Error::other("the reader does not answer"))?;
        let history = history(calls, received, Vec::new(), &stage)?;
        Ok((stage, history))
    }

    fn run_together(
        &mut self,
        scenario: &Scenario,
        file: SentFile,
        clock: &Arc<Clock>,
    ) -> Result<(Arc<Stage>, History), RunError> {
        let reception = Reception {
            clock: Arc::clone(clock),
            deadline_ns: self.deadline_ns(scenario),
            quickack: scenario.setup.socket.tcp.quickack,
            relay: (scenario.setup.relay).then(|| Arc::clone(&self.relay)),
        };
        let (sender, orders, beside) = match shares_listener(scenario) {
            true => {
                let (sender, orders) = self.connect_to_reader(scenario, reception)?;
                (sender, orders, Vec::new())
            }
            false => {
                let ends = streams::connect(&self.link, scenario).map_err(context("connect"))?;
                let mut ends = ends.into_iter();
                let (actor, sender, receiver) = ends.next().expect("`a` has a connection");
                let door = Door::Open(receiver);
                let orders = self.crew.receive(actor, door, reception.clone());
                let beside = streams::receive(&self.crew, scenario, ends, &reception);
                (sender, orders, beside)
            }
        };
        let mut incoming = vec![Incoming::new(Actor::A, Arc::clone(&orders))];
        let others = beside.iter();
        incoming.extend(others.map(|it| Incoming::new(it.actor, Arc::clone(&it.orders))));
        let told = (Some(Arc::clone(&orders)), beside);
        let queues = self.link.queues();
        let threads = self.crew.threads;
        let clock = Arc::clone(clock);
        let stage = stage(scenario, clock, file, sender, threads, queues, told);
        let mut run = Run {
            crew: &self.crew,
            stage,
            calls: Vec::with_capacity(scenario.steps.len()),
            handed_out: 0,
            has_awaits: scenario.steps.iter().any(standby::awaits),
            outstanding: [0; 3],
            incoming,
        };
        run.interleave(&orders);
        let (stage, history) = run.finish()?;
        if !matches!(history.end, End::Eof | End::Closed) {
            // It may have a connection in its queue that nobody waits for.
            self.listeners.clear();
        }
        for sender in stage.senders() {
            reset_on_close(sender);
        }
        settle(scenario, self.virtual_time);
        Ok((stage, history))
    }

    /// The reader accepts while the sender connects.
    fn connect_to_reader(
        &mut self,
        scenario: &Scenario,
        reception: Reception,
    ) -> io::Result<(Sender, Arc<Mailbox<Read>>)> {
        let listener = self.listener(scenario).map_err(context("listener"))?;
        let door = Door::Closed(Arc::clone(&listener));
        let orders = self.crew.receive(Actor::A, door, reception);
        match connect(scenario, &listener).map_err(context("connect")) {
            Ok(sender) => Ok((sender, orders)),
            Err(error) => {
                // The reader still waits for this connection, and would answer the
                // next scenario in its place.
                self.crew = Crew::start()?;
                self.listeners.clear();
                Err(error)
            }
        }
    }

    fn listener(&mut self, scenario: &Scenario) -> io::Result<Arc<Listener>> {
        let socket = &scenario.setup.socket;
        let Setup { device, stack, .. } = &scenario.setup;
        let kind = (device.kind, socket.family, socket.rcvbuf_bytes, *stack);
        if let Some(listener) = self.listeners.get(&kind) {
            return Ok(Arc::clone(listener));
        }
        let listener = Listener::open(self.link.receiver(), (kind.0, kind.1), kind.2)?;
        let listener = Arc::new(listener);
        if self.listeners.len() >= MOST_LISTENERS {
            self.listeners.clear();
        }
        self.listeners.insert(kind, Arc::clone(&listener));
        Ok(listener)
    }

    fn file(&mut self, spec: &FileSpec) -> io::Result<SentFile> {
        if self.files.len() > MOST_FILES {
            self.files.clear();
        }
        match self.files.remove(spec) {
            Some(file) => Ok(file),
            None => SentFile::create(spec),
        }
    }
}

/// How long a call may go on after the reader has reset the connection.
fn grace(clock: &Clock) -> Duration {
    match clock.is_virtual() {
        true => GRACE,
        false => PATIENCE,
    }
}

/// How long the scenario may take: as long as the reader waits.
fn longest(stage: &Stage) -> Duration {
    let bound = Duration::from_nanos(bound_ns(&stage.scenario));
    match stage.clock.is_virtual() {
        true => bound,
        false => bound.min(PATIENCE),
    }
}

fn stage(
    scenario: &Scenario,
    clock: Arc<Clock>,
    file: SentFile,
    sender: Sender,
    threads: Threads,
    queues: Option<Arc<Queues>>,
    (orders, beside): (Option<Arc<Mailbox<Read>>>, Vec<Beside>),
) -> Arc<Stage> {
    // Time begins now, or has begun when the other end accepted.
    clock.elapsed_ns();
    Arc::new(Stage {
        borrowed: Borrowed::new(scenario, &sender),
        scenario: scenario.clone(),
        clock,
        file,
        sender,
        pipe: Mutex::new(None),
        second_pipe: Mutex::new(None),
        threads,
        queues,
        entered: Default::default(),
        awaited: Default::default(),
        meetings: Default::default(),
        child: Default::default(),
        killed: Default::default(),
        orders,
        beside,
    })
}

fn connect(scenario: &Scenario, listener: &Listener) -> io::Result<Sender> {
    retry(|| Sender::connect(&scenario.setup.socket, listener))
}

fn history(
    mut calls: Vec<Call>,
    received: Received,
    beside: Vec<Stream>,
    stage: &Stage,
) -> Result<History, RunError> {
    calls.sort_by_key(|call| call.entry.order);
    stage.note_position(&mut calls);
    let file = &stage.file;
    let file_pread = file
        .read_back(stage.scenario.extent_bytes())
        .map_err(context("read the file back"))?;
    let mut history = History {
        calls,
        completions: stage.borrowed.completions(),
        chunks: received.chunks,
        received: received.bytes,
        file_mmap: file.mapped_bytes(file_pread.len()),
        file_pread,
        end: received.end,
        end_ns: received.end_ns,
        beside,
        counters: None,
        leftovers: None,
        by_the_clock: !stage.clock.is_virtual(),
    };
    history.calls.extend(received.calls);
    history.calls.sort_by_key(|call| call.entry.order);
    Ok(history)
}
