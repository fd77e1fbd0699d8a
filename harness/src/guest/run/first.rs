//! What happens only once after a boot.

use super::{Guest, RunError};
use crate::scenario::{Actor, Op, Range, Scenario, Setup, SocketSpec, Step, normalize};

impl Guest {
    /// Has the kernel do what it does when a kind of connection is made for the first
    /// time, unless it has: it draws the keys of its hash tables then. Those are random
    /// numbers that a second run of `scenario` would find still to be drawn.
    ///
    /// # Errors
    /// As [`Guest::run`].
    pub fn break_in(&mut self, scenario: &Scenario) -> Result<(), RunError> {
        let device = scenario.setup.device;
        let family = scenario.setup.socket.family;
        if self.virtual_time && self.broken_in.insert((device.kind, family)) {
            let setup = Setup {
                device,
                socket: SocketSpec {
                    family,
                    ..SocketSpec::default()
                },
                ..Setup::default()
            };
            let send = Op::Sendfile(Range { offset: 0, len: 1 });
            self.run(&normalize::normalize(Scenario {
                setup,
                steps: vec![Step {
                    actor: Actor::A,
                    op: send,
                }],
                ..Scenario::default()
            }))?;
        }
        Ok(())
    }
}
