//! Two actors who begin at the same instant, or one so many nanoseconds after the other:
//! who waits for that stands ready on a CPU of its own when the other one enters.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::done::Done;
use super::{Stage, lock};
use crate::history::{Outcome, Stamp};
use crate::scenario::Actor;

/// Who has nothing to do once it has met does not keep the other one for longer.
const PATIENCE_NS: u64 = 5_000_000;
/// The other one has begun by then where time is virtual: it passes when nobody can run.
const LEAST_VIRTUAL_NS: u64 = 1_000;

/// Where one actor meets another one.
#[derive(Debug, Default)]
pub struct Meeting {
    /// Whom its actor waits for, in which step, and how much later it begins.
    awaited: Mutex<Option<(Actor, usize, u32)>>,
    /// Whether its actor has met, and is yet to begin.
    met: AtomicBool,
    /// Whether it stands there.
    ready: AtomicBool,
    /// When it is to begin, in nanoseconds from 1; 0: that is yet to be known.
    begin_ns: AtomicU64,
}

impl Stage {
    /// Waits for another one to enter an operation. What comes next waits for the instant.
    pub(super) fn meet(&self, step: usize, who: Actor, after_ns: u32) -> Done {
        let actor = self.scenario.steps[step].actor;
        let meeting = &self.meetings[actor.index()];
        meeting.ready.store(false, Ordering::SeqCst);
        meeting.begin_ns.store(0, Ordering::SeqCst);
        *lock(&meeting.awaited) = Some((who, step, after_ns));
        let done = self.stand_by(step, actor);
        *lock(&meeting.awaited) = None;
        let met = done.outcome != Outcome::Skipped;
        meeting.met.store(met, Ordering::SeqCst);
        done
    }

    /// The stamp of an entry. Who has met another one enters when it is to, and who is
    /// waited for together with those who wait.
    pub(super) fn enter(&self, actor: Actor) -> Stamp {
        // Nobody meets the link, nor does the link meet anybody.
        if !Actor::SENDING_SIDE.contains(&actor) {
            return self.clock.stamp_at_entry();
        }
        if self.meetings[actor.index()]
            .met
            .swap(false, Ordering::SeqCst)
        {
            self.await_begin(&self.meetings[actor.index()]);
        }
        let guests = self.guests(actor);
        if guests.is_empty() {
            return self.clock.stamp_at_entry();
        }
        match self.clock.is_virtual() {
            true => {
                let entry = self.clock.stamp_at_entry();
                self.begin(&guests, entry);
                self.call_in(&guests);
                entry
            }
            false => {
                self.call_in(&guests);
                self.await_ready(&guests);
                let entry = self.clock.stamp_at_entry();
                self.begin(&guests, entry);
                entry
            }
        }
    }

    /// Those who wait for this one; they do so no more.
    fn guests(&self, who: Actor) -> Vec<(Actor, usize, u32)> {
        let all = Actor::SENDING_SIDE.into_iter();
        let guests = all.filter_map(|actor| {
            let mut awaited = lock(&self.meetings[actor.index()].awaited);
            let (_, step, after_ns) = awaited.take_if(|(it, ..)| *it == who)?;
            Some((actor, step, after_ns))
        });
        guests.collect()
    }

    fn call_in(&self, guests: &[(Actor, usize, u32)]) {
        for &(actor, step, _) in guests {
            self.awaited[actor.index()].put((step, true));
        }
    }

    fn await_ready(&self, guests: &[(Actor, usize, u32)]) {
        let begun_ns = self.clock.elapsed_ns();
        let stands = |actor: Actor| self.meetings[actor.index()].ready.load(Ordering::SeqCst);
        while !guests.iter().all(|&(actor, ..)| stands(actor))
            && self.clock.elapsed_ns() - begun_ns < PATIENCE_NS
        {
            // There may be one CPU for both.
            thread::yield_now();
        }
    }

    fn begin(&self, guests: &[(Actor, usize, u32)], entry: Stamp) {
        for &(actor, _, after_ns) in guests {
            let begin_ns = entry.time_ns + u64::from(after_ns) + 1;
            let meeting = &self.meetings[actor.index()];
            meeting.begin_ns.store(begin_ns, Ordering::SeqCst);
        }
    }

    fn await_begin(&self, meeting: &Meeting) {
        if self.clock.is_virtual() {
            let begin_ns = meeting.begin_ns.load(Ordering::SeqCst).saturating_sub(1);
            let left_ns = begin_ns.saturating_sub(self.clock.latest_ns());
            thread::sleep(Duration::from_nanos(left_ns.max(LEAST_VIRTUAL_NS)));
            self.clock.elapsed_ns();
            return;
        }
        meeting.ready.store(true, Ordering::SeqCst);
        let begin_ns = loop {
            match meeting.begin_ns.load(Ordering::SeqCst) {
                0 => thread::yield_now(),
                ns => break ns - 1,
            }
        };
        while self.clock.elapsed_ns() < begin_ns {
            std::hint::spin_loop();
        }
    }
}
