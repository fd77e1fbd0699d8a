//! **liveness**: every call returns and the stream ends within a bound that is
//! computed from the scenario. The bound is no measure of speed: it is past
//! everything that the protocol explains, so that what passes it is stuck; but for a
//! few calls of which more is known, see `prompt`.

mod load;
mod prompt;

use self::load::Load;
pub(crate) use self::prompt::DOES_NOT_BLOCK;
use super::{Property, Violation, name_step};
use crate::history::{Call, End, History, Outcome};
use crate::scenario::limits::MAX_WAIT_US;
use crate::scenario::{DeviceKind, Netem, Nth, Op, ReaderMode, Scenario, Setup, Sysctl};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// TCP_DELACK_MAX and TCP_RTO_MIN (include/net/tcp.h): the longest that an
/// acknowledgement, a corked tail or a Nagle remainder waits for a timer.
const TIMER_NS: u64 = 200 * MS;

/// TCP_TIMEOUT_INIT: the first retransmission of a SYN.
const SYN_TIMEOUT_NS: u64 = SECOND;

/// tcp_retries2 of 15 gives up a connection after 924.6 s (Documentation/
/// networking/ip-sysctl.rst); one stall cannot last longer.
const LONGEST_STALL_NS: u64 = 925 * SECOND;

/// What one lost round costs, with room: most are repaired in a round trip or a
/// timeout of 200 ms, few back off for seconds. The rare long one is in
/// [`LONGEST_STALL_NS`].
const LOST_ROUND_NS: u64 = 10 * SECOND;

/// Queue length where the scenario says nothing, as tc-netem(8) has it.
const DEFAULT_LIMIT_PACKETS: u64 = 1000;

/// What a TUN interface keeps for who reads it (drivers/net/tun.c: TUN_READQ_SIZE).
const TUN_PACKETS: u64 = 500;

/// Who is its own reader can wait for itself, if its own buffers cannot hold what it
/// sends. After so long, longer than any kernel needs to notice, the receiver reads
/// without being told.
pub const RESCUE_NS: u64 = 5 * SECOND;

/// Who is to release what is held can wait for just that. After so long without
/// anything happening, longer than a `wait`, all is released.
pub const HELD_NS: u64 = SECOND + MAX_WAIT_US * 1_000;

/// What was sent by reference can stay open for as long as the receiver or the link
/// likes, or until a cork is pulled. After so long who waits for it gives up.
pub const AWAIT_NS: u64 = 5 * SECOND;

/// Nothing that waits for the network outlives SIGKILL; a tick of the clock, with room.
const KILL_NS: u64 = 20 * MS;

/// The same where others keep the machine busy, and time passes meanwhile.
const KILL_BY_THE_CLOCK_NS: u64 = 2 * SECOND;

/// Nanoseconds of virtual time from the start of a scenario, before the
/// handshake, by which its last call has returned and its stream has ended.
///
/// Without losses: the waits, the handshake, a round trip and a TCP timer for
/// every round that the windows force, and the serialization at the link's rate
/// several times over. Where packets can be lost (loss, or a queue shorter than
/// what can be in flight): much more, since retransmission backs off.
pub fn bound_ns(scenario: &Scenario) -> u64 {
    let setup = &scenario.setup;
    let load = Load::of(scenario);
    let rtt_ns = one_way_ns(&setup.data).saturating_add(one_way_ns(&setup.ack));
    // Spurious retransmissions travel too: each direction carries a few times
    // what it must.
    let serialize_ns = load
        .serialize_ns(&setup.data)
        .saturating_add(load.serialize_ns(&setup.ack))
        .saturating_mul(4);
    let round_ns = rtt_ns.saturating_add(TIMER_NS);
    // SYN, data, FIN; a SYN whose answer takes more than a second is sent again,
    // which costs a timeout but does not lose anything.
    let fixed_ns = (3 * SYN_TIMEOUT_NS).saturating_add(rtt_ns.saturating_mul(4));
    let calm_ns = load
        .waits_ns
        .saturating_add(fixed_ns)
        .saturating_add(serialize_ns)
        .saturating_add(round_ns.saturating_mul(load.rounds))
        .saturating_add(load.relayed_ns());
    // A receive buffer that overflows drops segments on a perfect link (skb
    // overhead counts against it, tcp_try_rmem_schedule), and the retransmission
    // timer has backed off by as much again as the reader kept away.
    let cramped = setup.reader == ReaderMode::Paused || receives_little(setup);
    // It has done so, too, while packets were held, and begins with that when they are not
    // any more.
    let holds = scenario.holds_any();
    let calm_ns = calm_ns.saturating_mul(1 + 2 * u64::from(cramped) + 2 * u64::from(holds));
    // What waits behind a relay closes the window of its own connection first, and then
    // that of the sender's: each backs off by as much again as the other has.
    let calm_ns = calm_ns.saturating_mul(if setup.relay { 3 } else { 1 });
    if !lossy(scenario) {
        return calm_ns;
    }
    // A window update that is lost while the reader pauses is found by a probe,
    // whose interval grows with the pause.
    let probes_ns = load.waits_ns.saturating_mul(2);
    // Without SACK a second hole in the same window is found once the first one is filled,
    // by a time-out of its own if there is nothing more to send.
    let holes = match setup.stack.get(Sysctl::Sack) {
        Some(0) => 2,
        _ => 1,
    };
    calm_ns
        .saturating_mul(2)
        .saturating_add(probes_ns)
        .saturating_add(
            LOST_ROUND_NS
                .saturating_mul(load.rounds)
                .saturating_mul(holes),
        )
        .saturating_add(serialize_ns.saturating_mul(4))
        .saturating_add(4 * LONGEST_STALL_NS)
}

/// Nanoseconds after the last send by which all of it has arrived, if it ever does:
/// for those who send without being answered.
pub fn arrival_ns(scenario: &Scenario) -> u64 {
    let data = &scenario.setup.data;
    // netem duplicates, and each copy takes its turn.
    let serialize_ns = Load::of(scenario).serialize_ns(data);
    one_way_ns(data)
        .saturating_add(serialize_ns.saturating_mul(2))
        .saturating_add(MS)
}

/// Whether packets can be lost: by chance, by a queue that is too short for what
/// can be in flight, or, as TCP sees it for a while, by reordering.
pub(super) fn lossy(scenario: &Scenario) -> bool {
    let setup = &scenario.setup;
    // Nobody waits for a datagram, and nothing is lost where there is no link.
    setup.socket.family.is_acknowledged()
        && (shuffles(&setup.data) || shuffles(&setup.ack) || overflows(scenario))
}

/// Whether a queue may be too short for what can be in flight.
pub fn overflows(scenario: &Scenario) -> bool {
    let load = Load::of(scenario);
    [scenario.setup.data, scenario.setup.ack]
        .iter()
        .any(|link| {
            let limit = match link.limit_packets {
                0 => DEFAULT_LIMIT_PACKETS,
                packets => u64::from(packets),
            };
            let limit = match scenario.setup.device.kind {
                // Without a queue, but what is received waits in a backlog of as many
                // (net.core.netdev_max_backlog).
                DeviceKind::Veth | DeviceKind::Loopback => limit,
                DeviceKind::Tun => limit.min(TUN_PACKETS),
            };
            // What is held is sent again and again: twice in the first second, then ever
            // more rarely.
            let again = if scenario.holds_any() { 16 } else { 0 };
            load.packets.saturating_mul(2).saturating_add(again) > limit
        })
}

/// Whether the receive buffer is smaller than the kernel would make it.
fn receives_little(setup: &Setup) -> bool {
    setup.socket.rcvbuf_bytes.is_some() || setup.stack.get(Sysctl::Rmem).is_some()
}

/// Whether packets are lost by chance, or look as if they were.
fn shuffles(link: &Netem) -> bool {
    let named = link.nth != Nth::default();
    named || link.loss_ppm > 0 || link.corrupt_ppm > 0 || link.reorder_ppm > 0 || link.jitter_us > 0
}

fn one_way_ns(link: &Netem) -> u64 {
    link.longest_us().saturating_mul(1_000)
}

/// For how long a scenario waits of its own accord.
pub(super) fn waits_ns(scenario: &Scenario) -> u64 {
    Load::of(scenario).waits_ns
}

/// Judges every call and the end against the bound.
pub(super) fn judge(scenario: &Scenario, history: &History) -> Option<Violation> {
    let bound_ns = bound_ns(scenario);
    let blame = |step: Option<usize>, message: String| {
        Some(Violation::new(Property::Liveness, step, message))
    };
    let may_time_out = lossy(scenario) || scenario.setup.socket.user_timeout_us > 0;
    let timed_out = may_time_out
        && history
            .calls
            .iter()
            .any(|call| call.outcome == Outcome::Failed(libc::ETIMEDOUT));
    // A sender that gave up tells nobody, and a receiver waits for it in vain.
    let in_vain = match history.end {
        End::GivenUp => timed_out,
        End::Failed(libc::ETIMEDOUT) => may_time_out,
        _ => false,
    };
    let kill_ns = match history.by_the_clock {
        true => KILL_BY_THE_CLOCK_NS,
        false => KILL_NS,
    };
    for call in &history.calls {
        let took_ns = call.exit.time_ns.saturating_sub(call.entry.time_ns);
        if let Some(survived_ns) = survived_ns(scenario, history, call)
            && survived_ns > kill_ns
        {
            let name = name_step(scenario, call.step);
            let message = format!("{name} was killed and went on for {}", secs(survived_ns));
            return blame(Some(call.step), message);
        }
        if call.outcome != Outcome::Pending
            && let Some(why) = prompt::overdue(scenario, history, call)
        {
            let name = name_step(scenario, call.step);
            return blame(Some(call.step), format!("{name} {why}"));
        }
        let fault = match call.outcome {
            Outcome::Pending => "had not returned after",
            _ if in_vain && reads(scenario, call) => continue,
            _ if took_ns > bound_ns => "took",
            _ => continue,
        };
        let name = name_step(scenario, call.step);
        let message = format!(
            "{name} {fault} {} (bound: {})",
            secs(took_ns),
            secs(bound_ns)
        );
        return blame(Some(call.step), message);
    }
    let end_ns = history.end_ns;
    match history.end {
        _ if in_vain => None,
        End::GivenUp => blame(
            None,
            format!(
                "all calls returned, but the stream of {} bytes had not ended after {} (bound: {})",
                history.received.len(),
                secs(end_ns),
                secs(bound_ns)
            ),
        ),
        _ if end_ns > bound_ns => blame(
            None,
            format!(
                "the stream ended after {} (bound: {})",
                secs(end_ns),
                secs(bound_ns)
            ),
        ),
        End::Eof | End::Closed | End::Failed(_) => None,
    }
}

/// For how long a call that was killed went on afterwards.
fn survived_ns(scenario: &Scenario, history: &History, call: &Call) -> Option<u64> {
    if call.outcome != Outcome::Killed {
        return None;
    }
    let kills = |it: &&Call| {
        let op = scenario.steps.get(it.step).map(|step| step.op);
        matches!(op, Some(Op::Kill { .. })) && it.outcome == Outcome::Returned(0)
    };
    let kill = history.calls.iter().find(kills)?;
    Some(call.exit.time_ns.saturating_sub(kill.entry.time_ns))
}

fn reads(scenario: &Scenario, call: &Call) -> bool {
    let step = scenario.steps.get(call.step);
    step.is_some_and(|step| matches!(step.op, Op::Read { .. }))
}

fn secs(ns: u64) -> String {
    format!("{}.{:03} s", ns / SECOND, ns / MS % 1_000)
}

#[cfg(test)]
mod tests;
