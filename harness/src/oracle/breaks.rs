//! What can end the connection early, and from when on: the reader leaves, the
//! sender's half is shut down, a user timeout passes, too many packets are lost. And
//! what can cut a call short: a signal, a timeout of the socket.
//!
//! Everything is allowed from its cause on, and not before.

use super::liveness::lossy;
use crate::history::{Call, End, History, Outcome};
use crate::scenario::{Actor, Op, Scenario};

/// Timers fire at a tick of the kernel's clock, and the two ends of a span are
/// rounded each: two ticks at CONFIG_HZ=100.
const TICKS_NS: u64 = 20_000_000;

/// The causes in one history.
pub(super) struct Breaks<'a> {
    scenario: &'a Scenario,
    history: &'a History,
}

impl<'a> Breaks<'a> {
    pub fn new(scenario: &'a Scenario, history: &'a History) -> Self {
        Breaks { scenario, history }
    }

    /// Whether the connection may be found broken by a call, with this errno.
    pub fn explains(&self, call: &Call, errno: i32) -> bool {
        let left = || self.happened(|actor, op| actor == Actor::Reader && op.leaves(), call);
        let shut = || self.is_shut(call);
        let late = || self.user_timeout_by(call.exit.time_ns);
        // A loss of the reset that tells of it leaves only silence.
        let silence = lossy(self.scenario);
        match errno {
            libc::EPIPE | libc::ECONNRESET => {
                left() || shut() || late() || silence && self.history.end != End::Eof
            }
            libc::ETIMEDOUT => late() || silence && self.history.end != End::Eof,
            _ => false,
        }
    }

    /// Whether the sender's half was shut down before the call returned. The reader
    /// then reads to the end and closes, by a reset.
    fn is_shut(&self, call: &Call) -> bool {
        self.happened(
            |actor, op| actor != Actor::Reader && op == Op::Shutdown,
            call,
        )
    }

    /// Whether shutdown(2) may find no connection: it has ended already.
    pub fn explains_no_connection(&self, call: &Call) -> bool {
        // Both halves, or one by a reader that has read to the end and is gone.
        let over = |_, op: Op| op == Op::Shutdown || op.leaves();
        self.happened(over, call) || self.user_timeout_by(call.exit.time_ns) || lossy(self.scenario)
    }

    /// Whether the reader was told to close its end.
    pub fn reader_left(&self) -> bool {
        self.history
            .calls
            .iter()
            .any(|call| self.op(call).is_some_and(|(_, op)| op.leaves()))
    }

    /// Whether a user timeout can have passed by that time: data that nobody
    /// acknowledges is no older than the first send.
    pub fn user_timeout_by(&self, time_ns: u64) -> bool {
        let timeout_ns = self.scenario.setup.socket.user_timeout_us * 1_000;
        let mut sends = self.history.calls.iter().filter(|call| {
            let sends = self.op(call).is_some_and(|(_, op)| op.sends());
            sends && call.outcome != Outcome::Skipped
        });
        timeout_ns > 0
            && sends.next().is_some_and(|first| {
                first.entry.time_ns + timeout_ns <= time_ns.saturating_add(TICKS_NS)
            })
    }

    /// Whether a signal went to the thread of this call while it ran.
    pub fn signalled(&self, call: &Call) -> bool {
        let Some((receiver, _)) = self.op(call) else {
            return false;
        };
        self.history.calls.iter().any(|other| {
            let to = match self.op(other) {
                Some((_, Op::Signal { to })) => to,
                _ => return false,
            };
            let meets = other.entry.order < call.exit.order && call.entry.order < other.exit.order;
            to == receiver && meets
        })
    }

    /// Whether the socket's own timeout can have ended this call.
    pub fn send_timeout_in(&self, call: &Call) -> bool {
        let timeout_ns = self.scenario.setup.socket.send_timeout_us * 1_000;
        let took_ns = call.exit.time_ns.saturating_sub(call.entry.time_ns);
        timeout_ns > 0 && took_ns.saturating_add(TICKS_NS) >= timeout_ns
    }

    /// Whether an operation of that kind was entered before the call returned.
    fn happened(&self, kind: impl Fn(Actor, Op) -> bool, call: &Call) -> bool {
        self.history.calls.iter().any(|other| {
            let is_kind = self.op(other).is_some_and(|(actor, op)| kind(actor, op));
            is_kind && other.step != call.step && other.entry.order < call.exit.order
        })
    }

    fn op(&self, call: &Call) -> Option<(Actor, Op)> {
        let step = self.scenario.steps.get(call.step)?;
        Some((step.actor, step.op))
    }
}
