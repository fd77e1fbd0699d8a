//! What nothing holds up is done soon. The bound of the whole scenario is past all that
//! could explain it; of a few calls more is known, as far as time is virtual:
//!
//! * a socket with O_NONBLOCK does not let its caller sleep;
//! * the first send of a calm connection takes no more than two round trips: the tail of
//!   it may wait for what is before it to be acknowledged, and no timer is needed;
//! * a send that the send buffer has taken waits for the peer for a second at most, and then
//!   for its packets to leave this machine: what was received has left.

use super::{MS, SECOND, one_way_ns, shuffles};
use crate::history::{Call, History, Outcome};
use crate::scenario::{
    Borrowing, Congestion, DeviceKind, Family, FileKind, Op, ReaderMode, Scenario, Sysctl, Way,
};

/// Timers of the kernel are late by a tick or two.
const TICKS_NS: u64 = 20 * MS;

/// What an acknowledgement may be late, less than the first retransmission (TCP_RTO_MIN).
const LATE_NS: u64 = 100 * MS;

/// SPLICE_WAIT_MAX of the series, and the timers around it.
const PATIENCE_NS: u64 = SECOND + 200 * MS;

/// So much any send buffer takes at once, and any window to begin with.
const LITTLE_BYTES: u64 = 8192;

/// Packets in ten of which there is as much.
const LEAST_MTU_BYTES: u32 = 1280;

/// So many sends any send buffer takes at once: a byte is charged as a whole skb
/// (include/linux/skbuff.h: SKB_TRUESIZE).
const FEW_SENDS: usize = 8;

/// What is said of who waits although the socket is not to.
pub(crate) const DOES_NOT_BLOCK: &str = "on a socket that does not block";

/// Why `call` should have returned sooner, if it should have.
pub(super) fn overdue(scenario: &Scenario, history: &History, call: &Call) -> Option<String> {
    let op = scenario.steps.get(call.step)?.op;
    // A disk is waited for, and time that is real passes anyway. Who has slept in poll(2)
    // enters the next call at the time before that.
    let waits = scenario.setup.file.kind == FileKind::Ext4 || scenario.setup.socket.poll;
    // How far one came that was killed is not known; nor, then, what it waited for.
    if !op.sends() || waits || history.by_the_clock || !has_ended_by_itself(call) {
        return None;
    }
    let took_ns = call.exit.time_ns.saturating_sub(call.entry.time_ns);
    // No bound is less, and most calls take no time at all.
    if took_ns <= TICKS_NS {
        return None;
    }
    let bounds = [
        at_once(scenario, op).map(|ns| (ns, DOES_NOT_BLOCK)),
        unhindered(scenario, history, call).map(|ns| (ns, "with nothing to hold it up")),
        detached(scenario, history, op, call).map(|ns| (ns, "though its packets have long left")),
    ];
    let (bound_ns, why) = bounds.into_iter().flatten().find(|(ns, _)| took_ns > *ns)?;
    let (took, bound) = (super::secs(took_ns), super::secs(bound_ns));
    Some(format!("took {took} {why} (bound: {bound})"))
}

fn at_once(scenario: &Scenario, op: Op) -> Option<u64> {
    let by_ring = matches!(
        op,
        Op::Borrow {
            by: Borrowing::Uring,
            ..
        }
    );
    (scenario.setup.socket.nonblock && !by_ring).then_some(TICKS_NS)
}

fn unhindered(scenario: &Scenario, history: &History, call: &Call) -> Option<u64> {
    let setup = &scenario.setup;
    let calm = is_plain(scenario)
        && !shuffles(&setup.data)
        && !shuffles(&setup.ack)
        && setup.data.duplicate_ppm + setup.ack.duplicate_ppm == 0
        && setup.data.limit_packets + setup.ack.limit_packets == 0
        && setup.ack.rate_bps == 0
        // Ten segments are a window to begin with.
        && setup.device.mtu_bytes() >= LEAST_MTU_BYTES
        && !setup.stack.probes()
        && setup.stack.get(Sysctl::Rmem).is_none()
        // A packet more than that waits until one before it has left the link.
        && setup.stack.get(Sysctl::LimitOutput).is_none()
        // BBR sends at a pace.
        && setup.socket.tcp.congestion != Some(Congestion::Bbr)
        && setup.socket.rcvbuf_bytes.is_none()
        && setup.reader == ReaderMode::Drain
        && !setup.relay
        && !scenario.holds_any();
    let alone = sends(scenario, history)
        .all(|other| other.step == call.step || other.entry.order > call.exit.order);
    let rtt_ns = one_way_ns(&setup.data).saturating_add(one_way_ns(&setup.ack));
    let little = call.outcome.bytes() <= LITTLE_BYTES;
    (calm && alone && little).then_some(rtt_ns.saturating_mul(2).saturating_add(LATE_NS))
}

fn detached(scenario: &Scenario, history: &History, op: Op, call: &Call) -> Option<u64> {
    let by_reference = !matches!(op, Op::Copy { .. } | Op::Borrow { .. });
    let leaves = by_reference && is_direct(scenario) && !scenario.holds(Way::Data);
    let known = sends(scenario, history).all(has_ended_by_itself);
    if !leaves || !known {
        return None;
    }
    let bytes: u64 = sends(scenario, history).map(|it| it.outcome.bytes()).sum();
    let few = sends(scenario, history).count() <= FEW_SENDS;
    // From when on it has only waited for the peer.
    let little = bytes <= LITTLE_BYTES && few && !in_small_packets(scenario);
    let taken_ns = match is_plain(scenario) && little {
        true => 0,
        // One that was cut short may have waited for room, or for its time to be over.
        false if !is_whole(op, call) => return None,
        false => received_ns(scenario, history, call)?.saturating_sub(call.entry.time_ns),
    };
    let out_ns = one_way_ns(&scenario.setup.data);
    Some(taken_ns.saturating_add(PATIENCE_NS).saturating_add(out_ns))
}

/// Whether a call has sent all that it was asked to.
fn is_whole(op: Op, call: &Call) -> bool {
    matches!(call.outcome, Outcome::Returned(bytes) if op.after(bytes).is_none())
}

/// When all that was sent before `call` returned had been received, if that was so then.
fn received_ns(scenario: &Scenario, history: &History, call: &Call) -> Option<u64> {
    if scenario.setup.socket.each {
        return None;
    }
    let begun = |other: &&Call| other.entry.order < call.exit.order;
    let bytes = sends(scenario, history).filter(begun);
    let bytes: u64 = bytes.map(|it| it.outcome.bytes()).sum();
    let mut chunks = history.chunks.iter();
    let last = chunks.find(|it| it.start.saturating_add(it.len) as u64 >= bytes)?;
    let before = last.at.order < call.exit.order;
    before.then_some(last.at.time_ns)
}

fn has_ended_by_itself(call: &Call) -> bool {
    !matches!(call.outcome, Outcome::Killed | Outcome::Pending)
}

/// TCP over a link that no packet waits for longer than it takes.
fn is_direct(scenario: &Scenario) -> bool {
    let setup = &scenario.setup;
    matches!(setup.socket.family, Family::Tcp4 | Family::Tcp6)
        && setup.data.rate_bps == 0
        && setup.device.kind != DeviceKind::Tun
}

/// The same with the buffers that TCP has by itself, out of which all goes at once.
fn is_plain(scenario: &Scenario) -> bool {
    let setup = &scenario.setup;
    is_direct(scenario)
        && setup.socket.sndbuf_bytes.is_none()
        && setup.stack.get(Sysctl::Wmem).is_none()
        && setup.socket.tcp.notsent_lowat_bytes == 0
}

/// Whether a send is cut into many packets, each of which is charged as a whole skb: by the MTU
/// or a probe for it, or by a window of which a segment is half at most
/// (include/net/tcp.h:tcp_bound_to_half_wnd).
fn in_small_packets(scenario: &Scenario) -> bool {
    let setup = &scenario.setup;
    setup.device.mtu_bytes() < LEAST_MTU_BYTES
        || setup.stack.probes()
        || setup.socket.rcvbuf_bytes.is_some()
        || setup.stack.get(Sysctl::Rmem).is_some()
}

fn sends<'a>(scenario: &'a Scenario, history: &'a History) -> impl Iterator<Item = &'a Call> {
    let calls = history.calls.iter();
    calls.filter(|call| {
        scenario
            .steps
            .get(call.step)
            .is_some_and(|it| it.op.sends())
    })
}
