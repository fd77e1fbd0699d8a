//! How a connection may end, and what that explains.

use super::network;
use crate::history::{Call, Outcome};
use crate::scenario::{Actor, Op, Scenario};

/// Timers are late by a tick of the kernel's clock, at either end of a span.
pub const TICKS_NS: u64 = 20_000_000;

/// What has happened to it.
#[derive(Debug, Default)]
pub struct Connection {
    /// shutdown(2) by the sender.
    shut: bool,
    /// shutdown(2) by the receiver, who has nothing to say.
    half_closed: bool,
    closed: bool,
    left: bool,
    killed: bool,
    first_send_ns: Option<u64>,
}

impl Connection {
    /// An operation that is about this one is made.
    pub fn enter(&mut self, scenario: &Scenario, call: &Call) {
        let step = scenario.steps[call.step];
        let far = step.actor == Actor::Reader;
        match step.op {
            Op::Shutdown if far => self.half_closed = true,
            Op::Shutdown => self.shut = true,
            op if op.leaves() && far => self.left = true,
            Op::Close => self.closed = true,
            Op::Kill { .. } => self.killed = true,
            op if op.sends() && call.outcome != Outcome::Skipped => {
                self.first_send_ns.get_or_insert(call.entry.time_ns);
            }
            _ => {}
        }
    }

    /// Whether the sender's end is closed.
    pub fn closed(&self) -> bool {
        self.closed
    }

    pub fn reader_left(&self) -> bool {
        self.left
    }

    /// Whether who sends by it was killed.
    pub fn killed(&self) -> bool {
        self.killed
    }

    /// Whether there may be none to shut down any more.
    pub fn may_be_gone(&self, scenario: &Scenario, by_ns: u64) -> bool {
        self.shut || self.half_closed || self.may_break(scenario, by_ns)
    }

    /// Whether it may have ended by then, without either end having been told to.
    pub fn may_break(&self, scenario: &Scenario, by_ns: u64) -> bool {
        let setup = &scenario.setup;
        // tcp(7), TCP_USER_TIMEOUT
        let timeout_ns = setup.socket.user_timeout_us * 1_000;
        let late = timeout_ns > 0
            && (self.first_send_ns).is_some_and(|first| first + timeout_ns <= by_ns + TICKS_NS);
        // tcp(7), tcp_retries2: of a network that keeps what it is given there is no end.
        let data = network::loses_segments(&setup.data);
        late || self.left || data || network::loses_segments(&setup.ack)
    }

    /// Whether a send may fail so.
    pub fn may_fail(&self, scenario: &Scenario, call: &Call, errno: i32) -> bool {
        let broken = self.may_break(scenario, call.exit.time_ns);
        match errno {
            // send(2): "The local end has been shut down"; write(2)
            libc::EPIPE => self.shut || broken,
            libc::ECONNRESET => self.shut || broken,
            libc::ETIMEDOUT => broken && !self.left,
            libc::EBADF => self.closed,
            _ => false,
        }
    }
}
