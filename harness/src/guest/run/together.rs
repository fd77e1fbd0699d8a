//! A scenario of several threads, from the first step that is handed out to the last
//! byte that is received.

use std::sync::Arc;
use std::time::Duration;

use super::super::crew::{Crew, Event};
use super::super::mailbox::Mailbox;
use super::super::reader::Read;
use super::super::settle;
use super::super::stage::Stage;
use super::streams::Incoming;
use super::{RESCUE, RunError, grace, history, longest};
use crate::engine;
use crate::guest::rest;
use crate::history::{Call, History, Outcome};
use crate::oracle::HELD_NS;
use crate::scenario::{Actor, Op, ReaderMode, Step};

/// How long a step may run before its actor counts as blocked.
pub(super) const BLOCKED_AFTER: Duration = Duration::from_micros(1);

/// After so long without an event the host hears that somebody waits.
const BETWEEN_BEATS: Duration = Duration::from_secs(5);

/// What the reader is told to do for a step of its own.
fn order(step: usize, op: Op) -> Read {
    match op {
        Op::Read { len } => Read::Some {
            step,
            len,
            tell: None,
        },
        Op::Shutdown => Read::HalfClose { step },
        op if op.leaves() => Read::Leave {
            step,
            reset: op == Op::Reset,
        },
        _ => unreachable!("the reader does not do that"),
    }
}

/// One scenario of several threads while it runs.
pub(super) struct Run<'a> {
    pub crew: &'a Crew,
    pub stage: Arc<Stage>,
    pub calls: Vec<Call>,
    /// So many steps.
    pub handed_out: usize,
    /// Whether any of them waits for another actor to be blocked.
    pub has_awaits: bool,
    pub outstanding: [usize; 3],
    /// That of `a` first.
    pub incoming: Vec<Incoming>,
}

impl Run<'_> {
    pub fn interleave(&mut self, orders: &Mailbox<Read>) {
        if self.stage.scenario.setup.reader == ReaderMode::Drain {
            self.read_the_rest();
        }
        let stage = Arc::clone(&self.stage);
        for (index, step) in stage.scenario.steps.iter().enumerate() {
            self.handed_out = index + 1;
            match (step.actor, step.op) {
                (Actor::Reader, op) => orders.put(order(index, op)),
                (Actor::Link, _) => stage.perform(index, &mut self.calls),
                (actor, _) => {
                    self.outstanding[actor.index()] += 1;
                    self.crew.perform(actor, &stage, index);
                }
            }
            while self
                .next_event_or_rest()
                .is_some_and(|done| done != Some(index))
            {}
        }
        // Who is yet to release what is held may, unless that is what it waits for. Later
        // nobody holds anything, who waits behind a send of its own would otherwise.
        let held = Duration::from_nanos(HELD_NS);
        while self.awaits_hold() && self.next_event_or_answer(held).is_some() {}
        // It fails only where the kernel cannot hold, and that was said when it was to.
        if let Some(queues) = &stage.queues {
            let _ = queues.end_holds();
        }
        // Who is its own reader has the first word.
        while self.awaits_own_read() && self.next_event_or_answer(2 * RESCUE).is_some() {}
        self.read_the_rest();
        while self.outstanding.iter().any(|&steps| steps > 0) {
            // Only a wedged call outlives its connection; where an operation of the
            // reader has ended it, the sender may have yet to hear of that.
            let patience = match self.may_be_told() {
                false => grace(&stage.clock),
                true => grace(&stage.clock) + longest(&stage),
            };
            if self.next_event_or_answer(patience).is_none() {
                return;
            }
        }
    }

    /// Whether a sending actor has yet to read.
    fn awaits_own_read(&self) -> bool {
        let own = |step: &Step| matches!(step.op, Op::Read { .. }) && step.actor != Actor::Reader;
        !self.all_received() && self.awaits(own)
    }

    /// Whether an actor has yet to hold packets or to let them go.
    fn awaits_hold(&self) -> bool {
        self.awaits(|step| step.op.way().is_some())
    }

    /// Whether such a step has yet to be performed.
    fn awaits(&self, what: impl Fn(&Step) -> bool) -> bool {
        let mut steps = self.stage.scenario.steps.iter().enumerate();
        steps.any(|(index, step)| what(step) && !self.calls.iter().any(|call| call.step == index))
    }

    fn event(&self, patience: Duration) -> Option<Event> {
        let clock = &self.stage.clock;
        let since_ns = clock.latest_ns();
        loop {
            // Where time passes by the clock, a long wait is no hang of the kernel. In virtual
            // time it is over before anybody could ask.
            let beats = !clock.is_virtual() && patience > BETWEEN_BEATS;
            let within = if beats { BETWEEN_BEATS } else { patience };
            let event = self.crew.events.take_within(within);
            if event.is_some() {
                return event;
            }
            if beats {
                engine::heartbeat();
            }
            // Stamps go by the latest reading, so it is read whenever time passes;
            // that also tells a wait that ended early.
            if clock.elapsed_ns().saturating_sub(since_ns) >= patience.as_nanos() as u64 {
                return None;
            }
        }
    }

    /// Waits for one event. `None`: there was none in time; else the step that is
    /// done, if it was about a step.
    pub fn next_event(&mut self, patience: Duration) -> Option<Option<usize>> {
        let event = self.event(patience)?;
        match event {
            Event::Performed { step, calls } => {
                let actor = self.stage.scenario.steps[step].actor;
                self.outstanding[actor.index()] -= 1;
                self.calls.extend(calls);
                Some(Some(step))
            }
            Event::Read(step) => Some(Some(step)),
            Event::Collected => Some(None),
            Event::Received(of, received) => {
                let mut incoming = self.incoming.iter_mut();
                if let Some(it) = incoming.find(|it| it.actor == of) {
                    it.received = Some(received);
                }
                Some(None)
            }
        }
    }

    /// Waits for one event; `None`: everybody is blocked who has something to do, and is
    /// told so who waits for that.
    fn next_event_or_rest(&mut self) -> Option<Option<usize>> {
        loop {
            let event = self.event_or_rest();
            if event.is_some() || !(self.has_awaits && self.answer()) {
                return event;
            }
        }
    }

    /// The same, and nobody is told. In virtual time the clock says it: it moves when
    /// nobody can run. Where it always moves, everybody who has something to do is looked
    /// at, twice: who sleeps both times is blocked.
    pub fn event_or_rest(&mut self) -> Option<Option<usize>> {
        if self.stage.clock.is_virtual() {
            return self.next_event(BLOCKED_AFTER);
        }
        let mut looks = 0;
        loop {
            let event = self.next_event(rest::BETWEEN);
            if event.is_some() {
                return event;
            }
            looks = if self.all_rest() { looks + 1 } else { 0 };
            if looks == 2 {
                return None;
            }
        }
    }

    fn all_rest(&self) -> bool {
        let actors = Actor::SENDING_SIDE.into_iter();
        let mut busy = actors.filter(|it| self.outstanding[it.index()] > 0);
        let rests = |it: &Incoming| !it.orders.wakes() && self.crew.reader_rests(it.actor);
        let mut incoming = self.incoming.iter();
        busy.all(|it| self.crew.actor_rests(it))
            && incoming.all(|it| it.received.is_some() || rests(it))
    }

    pub fn finish(mut self) -> Result<(Arc<Stage>, History), RunError> {
        let wedged = self.outstanding.iter().any(|&steps| steps > 0);
        if wedged {
            self.note_pending();
        }
        let (received, mut beside) = self.end_all()?;
        if !wedged && self.stage.scenario.borrows_any() {
            self.collect(longest(&self.stage));
        }
        for stream in &mut beside {
            stream.completions = self.stage.borrowed_of(stream.actor).completions();
        }
        let history = history(self.calls, received, beside, &self.stage)?;
        match wedged {
            true => Err(RunError::Wedged(Box::new(history))),
            false => Ok((self.stage, history)),
        }
    }

    /// Waits for what is yet to be told of sends by reference. The receiver has closed its
    /// end by now, so that nothing is sent again for ever; but half a datagram may wait for
    /// its other half.
    fn collect(&self, bound: Duration) {
        let stage = &self.stage;
        let bound = bound + settle::longest_half(stage.clock.is_virtual());
        for actor in Actor::SENDING_SIDE {
            if stage.borrowed_of(actor).has_ring(actor) {
                self.crew.collect(actor, stage, bound);
                while !matches!(
                    self.event(bound + grace(&stage.clock)),
                    Some(Event::Collected) | None
                ) {}
            }
        }
        for actor in stage.scenario.connections() {
            let sender = stage.sender_of(actor);
            stage
                .borrowed_of(actor)
                .await_queue(sender, &stage.clock, bound);
        }
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
