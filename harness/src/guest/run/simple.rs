//! Which scenarios need less than others.

use crate::scenario::{Actor, DeviceKind, Op, ReaderMode, Scenario, Stack};

/// One connection of TCP is what most scenarios are about: its listeners are kept, its
/// readers sleep in accept(2). The others are connected by [`streams`](super::streams).
pub(super) fn shares_listener(scenario: &Scenario) -> bool {
    is_plain_tcp(scenario) && !scenario.setup.socket.each
}

fn is_plain_tcp(scenario: &Scenario) -> bool {
    scenario.setup.socket.family.is_plain_tcp()
}

/// One sender that nobody can overtake, a reader that needs no orders, a listener
/// like every other, a link on which nothing is lost or overtakes, and a connection
/// that ends only at the end.
pub(super) fn is_simple(scenario: &Scenario) -> bool {
    let setup = &scenario.setup;
    is_plain_tcp(scenario)
        && setup.reader == ReaderMode::Drain
        && !setup.relay
        && setup.socket.user_timeout_us == 0
        && setup.socket.tcp.quickack.is_none()
        && setup.socket.rcvbuf_bytes.is_none()
        && setup.stack == Stack::default()
        && setup.device.kind == DeviceKind::Veth
        && setup.data.is_steady()
        && setup.ack.is_steady()
        && scenario.steps.iter().all(|step| {
            let other = matches!(
                step.op,
                Op::Signal { .. }
                    | Op::Await { .. }
                    | Op::Meet { .. }
                    | Op::Borrow { .. }
                    | Op::Shutdown
                    | Op::Close
            ) || step.op.way().is_some();
            step.actor == Actor::A && !other
        })
}
