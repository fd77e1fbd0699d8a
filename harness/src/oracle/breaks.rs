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
            libc::EBADF => self.is_closed(call),
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

    /// Whether the sender's end was closed before the call returned.
    fn is_closed(&self, call: &Call) -> bool {
        self.happened(|actor, op| actor != Actor::Reader && op == Op::Close, call)
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
            .filter_map(|call| self.op(call))
            .any(|(actor, op)| actor == Actor::Reader && op.leaves())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::pattern;
    use crate::oracle::doctor::{Plan, TICK_NS, range};

    /// A page that arrives, and what comes of a second send from order 5 to 6.
    fn second(outcome: Outcome) -> Plan {
        let mut plan = Plan::new(4096);
        plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
        plan.call(Op::Sendfile(range(0, 4096)), 5, 6).outcome = outcome;
        plan.history.calls[1].offset_after = Some(outcome.bytes());
        plan.receive(7, range(0, 4096), 0);
        plan
    }

    fn failed(errno: i32) -> Plan {
        second(Outcome::Failed(errno))
    }

    /// Adds a step of its own.
    fn with(mut plan: Plan, actor: Actor, op: Op, entry: u64, exit: u64) -> Plan {
        let step = plan.scenario.steps.len();
        plan.call(op, entry, exit);
        plan.scenario.steps[step].actor = actor;
        plan.history.calls.sort_by_key(|call| call.entry.order);
        plan
    }

    #[track_caller]
    fn says(plan: &Plan, words: &str) {
        let violation = plan.violation();
        assert!(violation.message.contains(words), "{}", violation.message);
    }

    #[track_caller]
    fn holds(plan: &Plan) {
        assert_eq!(plan.violations(), []);
    }

    #[test]
    fn a_shutdown_explains_a_broken_pipe_from_then_on_and_no_lost_byte() {
        let shut = |from, to| with(failed(libc::EPIPE), Actor::B, Op::Shutdown, from, to);
        holds(&shut(3, 4));
        // Both run at the same time.
        holds(&shut(4, 9));
        says(&shut(8, 9), "failed with EPIPE, yet the receiver saw");
        // The reader's own half has nothing to do with it.
        let other = with(failed(libc::EPIPE), Actor::Reader, Op::Shutdown, 3, 4);
        says(&other, "failed with EPIPE");
        let late = with(failed(libc::ETIMEDOUT), Actor::B, Op::Shutdown, 3, 4);
        says(&late, "failed with ETIMEDOUT");
        // What was reported sent must arrive all the same.
        let mut short = shut(3, 4);
        short.history.received.pop();
        assert_eq!(short.verdict(), ["wire", "counts"]);
        let sent = with(
            second(Outcome::Returned(4096)),
            Actor::B,
            Op::Shutdown,
            3,
            4,
        );
        assert_eq!(sent.verdict(), ["wire", "counts"]);
    }

    #[test]
    fn a_reader_that_leaves_explains_errors_and_what_is_missing_but_no_wrong_byte() {
        for op in [Op::Reset, Op::Close] {
            let left = |plan: Plan, from, to| {
                let mut plan = with(plan, Actor::Reader, op, from, to);
                plan.history.end = End::Closed;
                plan
            };
            for errno in [libc::EPIPE, libc::ECONNRESET] {
                holds(&left(failed(errno), 3, 4));
                let before = left(failed(errno), 8, 9);
                says(&before, "before the receiver closed its end");
            }
            let late = left(failed(libc::ETIMEDOUT), 3, 4);
            says(&late, "failed with ETIMEDOUT");
            // Sent, and never received.
            let mut plan = left(second(Outcome::Returned(4096)), 8, 9);
            holds(&plan);
            plan.history.received[100] = pattern(100, 7);
            assert_eq!(plan.verdict(), ["wire"]);
            plan.history.received[100] = pattern(100, 0);
            plan.receive(8, range(0, 4096), 0);
            plan.receive(8, range(0, 1), 0);
            assert_eq!(plan.verdict(), ["wire"], "more than was sent");
        }
        let mut plan = second(Outcome::Returned(4096));
        plan.history.end = End::Closed;
        says(&plan, "no operation told it to");
    }

    #[test]
    fn a_close_by_the_sender_explains_a_bad_descriptor_from_then_on() {
        let closed = |actor, from, to| with(failed(libc::EBADF), actor, Op::Close, from, to);
        holds(&closed(Actor::B, 3, 4));
        says(&closed(Actor::B, 8, 9), "failed with EBADF");
        says(&failed(libc::EBADF), "failed with EBADF");
        let mut readers = closed(Actor::Reader, 3, 4);
        readers.history.end = End::Closed;
        says(&readers, "failed with EBADF");
        // Another errno it does not explain, nor what is missing.
        says(
            &with(failed(libc::EPIPE), Actor::B, Op::Close, 3, 4),
            "failed with EPIPE",
        );
        let lost = with(second(Outcome::Returned(4096)), Actor::B, Op::Close, 3, 4);
        assert_eq!(lost.verdict(), ["wire", "counts"]);
        // A second close, a shutdown and a cork find it gone, too.
        for op in [Op::Close, Op::Shutdown, Op::Cork { on: true }] {
            let twice = |first| {
                let mut plan = with(second(Outcome::Returned(0)), Actor::C, op, 10, 11);
                plan.history.calls[1].outcome = Outcome::Failed(libc::EBADF);
                let last = plan.history.calls.len() - 1;
                plan.history.calls[last].outcome = Outcome::Failed(libc::EBADF);
                with(plan, Actor::B, first, 3, 4)
            };
            holds(&twice(Op::Close));
            let other = twice(Op::Wait { us: 1 });
            assert!(!other.violations().is_empty(), "{op} without a close");
        }
    }

    #[test]
    fn a_user_timeout_explains_nothing_before_it_can_have_passed() {
        const TIMEOUT_US: u64 = 50_000;
        let timed = |errno, at_ns: u64| {
            let mut plan = failed(errno);
            plan.scenario.setup.socket.user_timeout_us = TIMEOUT_US;
            plan.history.calls[1].exit.time_ns = at_ns;
            plan.history.end = End::Failed(libc::ECONNRESET);
            plan.history.end_ns = at_ns;
            plan
        };
        let late_ns = TICK_NS + TIMEOUT_US * 1_000;
        for errno in [libc::ETIMEDOUT, libc::EPIPE, libc::ECONNRESET] {
            holds(&timed(errno, late_ns));
            says(
                &timed(errno, late_ns / 4),
                "receiving failed with ECONNRESET",
            );
        }
        let mut plan = timed(libc::ETIMEDOUT, late_ns / 4);
        plan.history.end = End::Eof;
        says(&plan, "failed with ETIMEDOUT, yet the receiver saw");
        // A clean end is one, however late.
        let mut plan = timed(libc::ETIMEDOUT, late_ns);
        plan.history.end = End::Eof;
        holds(&plan);
        plan.history.received.pop();
        assert_eq!(plan.verdict(), ["wire", "counts"]);
    }

    #[test]
    fn a_signal_explains_eintr_of_the_thread_it_went_to_while_it_ran() {
        let to_a = Op::Signal { to: Actor::A };
        let interrupted = || failed(libc::EINTR);
        says(&interrupted(), "failed with EINTR, and no signal went to");
        holds(&with(interrupted(), Actor::B, to_a, 4, 7));
        says(
            &with(interrupted(), Actor::B, to_a, 3, 4),
            "failed with EINTR",
        );
        says(
            &with(interrupted(), Actor::B, to_a, 7, 8),
            "failed with EINTR",
        );
        let to_c = Op::Signal { to: Actor::C };
        says(
            &with(interrupted(), Actor::B, to_c, 4, 7),
            "failed with EINTR",
        );
        // A call that has sent bytes must say so.
        let mut plan = with(interrupted(), Actor::B, to_a, 4, 7);
        plan.receive(8, range(0, 100), 0);
        assert_eq!(plan.verdict(), ["wire", "counts"]);
        // A short count is fine, and another errno is not.
        let mut plan = with(second(Outcome::Returned(100)), Actor::B, to_a, 4, 7);
        plan.receive(8, range(0, 100), 0);
        holds(&plan);
        says(
            &with(failed(512), Actor::B, to_a, 4, 7),
            "failed with errno 512",
        );
    }

    #[test]
    fn a_send_timeout_explains_eagain_after_it_has_passed() {
        let mut plan = failed(libc::EAGAIN);
        plan.scenario.setup.socket.send_timeout_us = 100_000;
        says(&plan, "failed with EAGAIN");
        plan.history.calls[1].exit.time_ns += 100_000_000;
        plan.history.end_ns += 100_000_000;
        holds(&plan);
        plan.scenario.setup.socket.send_timeout_us = 0;
        says(&plan, "failed with EAGAIN");
    }

    #[test]
    fn a_shutdown_without_a_connection_needs_an_end_before() {
        let mut plan = with(second(Outcome::Returned(0)), Actor::B, Op::Shutdown, 8, 9);
        plan.history.calls[1].outcome = Outcome::Failed(libc::EPIPE);
        let step = plan.history.calls.len() - 1;
        plan.history.calls[step].outcome = Outcome::Failed(libc::ENOTCONN);
        assert!(plan.verdict().contains(&"counts".to_string()));
        let plan = with(plan, Actor::C, Op::Shutdown, 3, 4);
        holds(&plan);
    }
}
