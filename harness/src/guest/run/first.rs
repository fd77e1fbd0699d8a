//! What happens only once after a boot.

use super::Guest;
use crate::scenario::{Actor, Op, Range, Scenario, Setup, SocketSpec, Step, normalize};

impl Guest {
    /// What has to run before runs of `scenario` are compared, if its kind of connection
    /// is to be made for the first time: the kernel draws the keys of its hash tables
    /// then. Those are random numbers that a second run would find drawn already.
    pub fn first_of_its_kind(&mut self, scenario: &Scenario) -> Option<Scenario> {
        let device = scenario.setup.device;
        let family = scenario.setup.socket.family;
        if !self.virtual_time || !self.broken_in.insert((device.kind, family)) {
            return None;
        }
        let setup = Setup {
            device,
            socket: SocketSpec {
                family,
                ..SocketSpec::default()
            },
            ..Setup::default()
        };
        let send = Op::Sendfile(Range { offset: 0, len: 1 });
        let steps = vec![Step {
            actor: Actor::A,
            op: send,
        }];
        let first = Scenario {
            setup,
            steps,
            ..Scenario::default()
        };
        Some(normalize::normalize(first))
    }
}
