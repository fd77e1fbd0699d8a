//! **liveness**: every call returns and the stream ends within a bound that is
//! computed from the scenario. The bound is no measure of speed: it is past
//! everything that the protocol explains, so that what passes it is stuck.

use super::{Property, Violation, name_step};
use crate::history::{Call, End, History, Outcome};
use crate::scenario::limits::{DEFAULT_PIPE_BYTES, MAX_WAIT_US};
use crate::scenario::{
    Actor, Device, DeviceKind, Netem, Nth, Op, ReaderMode, Scenario, Setup, Sysctl,
};

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

/// TCP_INIT_CWND.
const INITIAL_WINDOW_SEGMENTS: u64 = 10;

/// Headers of IPv6 and TCP with timestamps, and what Multipath TCP adds: so much less
/// than a packet a segment carries, at most.
const SEGMENT_OVERHEAD_BYTES: u64 = 40 + 32 + 28;

/// The smallest segment to expect on a usual link: TCP_MSS_DEFAULT, and what a tiny
/// receive buffer makes of it.
const SMALL_SEGMENT_BYTES: u64 = 536;

/// Ethernet, IPv6 and TCP headers with timestamps.
const HEADER_BYTES: u64 = 14 + 40 + 32;

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
    // It has done so, too, while packets were held.
    let backs_off = cramped || scenario.holds_any();
    let calm_ns = calm_ns.saturating_mul(if backs_off { 3 } else { 1 });
    // What waits behind a relay closes the window of its own connection first, and then
    // that of the sender's: each backs off by as much again as the other has.
    let calm_ns = calm_ns.saturating_mul(if setup.relay { 3 } else { 1 });
    if !lossy(scenario) {
        return calm_ns;
    }
    // A window update that is lost while the reader pauses is found by a probe,
    // whose interval grows with the pause.
    let probes_ns = load.waits_ns.saturating_mul(2);
    calm_ns
        .saturating_mul(2)
        .saturating_add(probes_ns)
        .saturating_add(LOST_ROUND_NS.saturating_mul(load.rounds))
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

/// What a full segment carries, at least: packets may be short, and where TCP probes for
/// their length it begins with shorter ones.
fn segment_bytes(scenario: &Scenario) -> u64 {
    /// tcp_base_mss.
    const BASE_MSS_BYTES: u32 = 1024;
    /// tcp_mtu_probe_floor: what takes several time-outs looks like a black hole, and
    /// the segments then are halved (net/ipv4/tcp_timer.c:tcp_mtu_probing).
    const PROBE_FLOOR_BYTES: u64 = 48;
    let Setup { stack, device, .. } = &scenario.setup;
    let fits = u64::from(device.mtu_bytes()).saturating_sub(SEGMENT_OVERHEAD_BYTES);
    match stack.probes() {
        false => fits,
        true if times_out(scenario) => PROBE_FLOOR_BYTES,
        // Less what the timestamps take.
        true => {
            let base = stack.get(Sysctl::BaseMss).unwrap_or(BASE_MSS_BYTES);
            fits.min(u64::from(base) / 2)
        }
    }
}

/// Whether a retransmission may have to be repeated.
fn times_out(scenario: &Scenario) -> bool {
    let setup = &scenario.setup;
    let loses = |link: &Netem| shuffles(link) || link.limit_packets > 0;
    loses(&setup.data) || loses(&setup.ack) || scenario.holds_any() || receives_little(setup)
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

/// What a scenario asks of the link at most.
struct Load {
    waits_ns: u64,
    bytes: u64,
    /// Segments in each direction, retransmissions aside.
    packets: u64,
    /// Times that the sender may have to wait for the receiver.
    rounds: u64,
    /// Times that a relay passes something on.
    hops: u64,
}

impl Load {
    fn of(scenario: &Scenario) -> Load {
        let setup = &scenario.setup;
        let mut waits_ns: u64 = 0;
        let mut bytes: u64 = 0;
        let mut calls: u64 = 0;
        for step in &scenario.steps {
            if step.op.way().is_some() && step.actor != Actor::Link {
                waits_ns = waits_ns.saturating_add(HELD_NS);
            }
            if scenario.reads_itself() {
                waits_ns = waits_ns.saturating_add(RESCUE_NS);
            }
            match step.op {
                Op::Sendfile(range)
                | Op::Copy { range, .. }
                | Op::Borrow { range, .. }
                | Op::SpliceIn { range, .. }
                | Op::PipeWrite(range)
                | Op::Vmsplice { range, .. } => {
                    let left = scenario.extent_bytes().saturating_sub(range.offset);
                    bytes = bytes.saturating_add(range.len.min(left));
                    calls += 1;
                }
                Op::SendfileOn { len } => {
                    bytes = bytes.saturating_add(len.min(setup.file.size_bytes));
                    calls += 1;
                }
                Op::SpliceOut { .. } | Op::Read { .. } => calls += 1,
                Op::Wait { us } => waits_ns = waits_ns.saturating_add(us.saturating_mul(1_000)),
                // The second pipe has its default size.
                Op::Tee { len } => {
                    bytes = bytes.saturating_add(len.min(DEFAULT_PIPE_BYTES.into()));
                }
                // By the ring, and by the error queue.
                Op::AwaitCompletions => waits_ns = waits_ns.saturating_add(2 * AWAIT_NS),
                Op::Cork { .. } | Op::Hold { .. } | Op::Release { .. } => calls += 1,
                Op::Pipe { .. } | Op::MmapWrite(_) | Op::Pwrite(_) | Op::ForkWrite(_) => {}
                Op::Truncate { .. } | Op::Punch(_) | Op::SecondWrite(_) => {}
                Op::DirectWrite(_) | Op::ZeroRange(_) | Op::Collapse(_) => {}
                Op::Msync | Op::DropCaches => {}
                // For what is in the bound already.
                Op::Await { .. } => {}
                Op::Shutdown | Op::Reset | Op::Close => {}
                Op::Signal { .. } | Op::Kill { .. } => {}
            }
        }
        // SO_SNDBUF and SO_RCVBUF count overhead as well as data, and the window
        // is a share of the latter: an eighth of what the kernel makes of them is less
        // than either gives.
        let buffers = [
            setup.socket.sndbuf_bytes.map(|bytes| 2 * u64::from(bytes)),
            setup.socket.rcvbuf_bytes.map(|bytes| 2 * u64::from(bytes)),
            setup.stack.get(Sysctl::Wmem).map(u64::from),
            setup.stack.get(Sysctl::Rmem).map(u64::from),
        ];
        let lowat = setup.socket.tcp.notsent_lowat_bytes;
        let lowat = (lowat > 0).then_some(u64::from(lowat));
        let shares = buffers.into_iter().flatten().map(|bytes| bytes / 8);
        // So it is where the sender takes no more than a little ahead.
        let small = shares.chain(lowat).min();
        let full = segment_bytes(scenario);
        let least = full.min(SMALL_SEGMENT_BYTES);
        let initial = INITIAL_WINDOW_SEGMENTS * full.min(Device::USUAL_MTU_BYTES.into());
        let window = small.unwrap_or(u64::MAX).clamp(least, initial);
        // Every call can leave a small segment that waits for an acknowledgement
        // and a page that begins a new one.
        let packets = (bytes / least).saturating_add(2 * calls + 8);
        Load {
            waits_ns,
            bytes,
            packets,
            // A spurious timeout collapses the window: some more to grow again.
            rounds: (bytes / window).saturating_add(2 * calls + 8),
            // No more often than something arrives.
            hops: if setup.relay { packets } else { 0 },
        }
    }

    /// What a relay waits for its own reader's acknowledgements, which may be delayed.
    fn relayed_ns(&self) -> u64 {
        TIMER_NS.saturating_mul(self.hops)
    }

    fn serialize_ns(&self, link: &Netem) -> u64 {
        let rate_bps = link.rate_bps;
        let extra_bytes = HEADER_BYTES.saturating_add(link.overhead_bytes.into());
        if rate_bps == 0 {
            return 0;
        }
        let wire_bytes = self
            .bytes
            .saturating_add(self.packets.saturating_mul(extra_bytes));
        let bits = u128::from(wire_bytes) * 8;
        u64::try_from(bits * u128::from(SECOND) / u128::from(rate_bps)).unwrap_or(u64::MAX)
    }
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
    for call in &history.calls {
        let took_ns = call.exit.time_ns.saturating_sub(call.entry.time_ns);
        if let Some(survived_ns) = survived_ns(scenario, history, call)
            && survived_ns > KILL_NS
        {
            let name = name_step(scenario, call.step);
            let message = format!("{name} was killed and went on for {}", secs(survived_ns));
            return blame(Some(call.step), message);
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
mod tests {
    use super::*;
    use crate::oracle::doctor::{Plan, range, stamp};
    use crate::scenario::{Actor, Distribution, Scenario, Step, Way};

    fn race() -> Plan {
        let mut plan = Plan::new(4096);
        plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
        plan.receive(3, range(0, 4096), 0);
        plan
    }

    fn bound_s(change: impl Fn(&mut Scenario)) -> u64 {
        let mut scenario = race().scenario;
        change(&mut scenario);
        bound_ns(&scenario) / SECOND
    }

    #[test]
    fn a_call_that_does_not_return_is_flagged() {
        let mut plan = race();
        plan.history.calls[0].outcome = Outcome::Pending;
        plan.history.end = End::GivenUp;
        let violation = plan.violation();
        assert_eq!(violation.property, Property::Liveness);
        assert_eq!(violation.step, Some(0));
        assert!(
            violation.message.contains("had not returned after"),
            "{}",
            violation.message
        );
    }

    #[test]
    fn a_call_that_outlives_its_kill_is_flagged() {
        let killed = |survived_ns: u64| {
            let mut plan = race();
            plan.history.calls[0].exit = stamp(9);
            plan.history.calls[0].exit.time_ns += survived_ns;
            plan.history.calls[0].outcome = Outcome::Killed;
            plan.history.calls[0].offset_after = None;
            plan.call(Op::Kill { to: Actor::A }, 8, 9);
            plan.scenario.steps[1].actor = Actor::B;
            plan.history.end_ns += survived_ns;
            plan
        };
        assert_eq!(killed(0).violations(), []);
        assert_eq!(killed(KILL_NS / 2).violations(), []);
        let violation = killed(KILL_NS).violation();
        assert_eq!(violation.property, Property::Liveness);
        assert!(
            violation.message.contains("was killed and went on"),
            "{}",
            violation.message
        );
    }

    #[test]
    fn a_call_that_takes_longer_than_the_bound_is_flagged() {
        let mut plan = race();
        plan.history.calls[0].exit = stamp(2);
        plan.history.calls[0].exit.time_ns = bound_ns(&plan.scenario) + 2_000;
        assert_eq!(plan.violation().step, Some(0));
    }

    #[test]
    fn a_stream_that_does_not_end_is_flagged() {
        let mut plan = race();
        plan.history.end = End::GivenUp;
        assert_eq!(plan.verdict(), ["liveness"]);
        let mut plan = race();
        plan.history.end_ns = bound_ns(&plan.scenario);
        assert!(plan.violations().is_empty());
        plan.history.end_ns += 1;
        assert_eq!(plan.verdict(), ["liveness"]);
    }

    #[test]
    fn a_sender_that_timed_out_over_a_bad_link_explains_the_end() {
        let mut plan = race();
        plan.call(Op::Sendfile(range(0, 4096)), 4, 5).outcome = Outcome::Failed(libc::ETIMEDOUT);
        plan.history.calls[1].offset_after = Some(0);
        plan.history.end = End::GivenUp;
        assert_eq!(plan.verdict(), ["liveness"]);
        plan.scenario.setup.data.loss_ppm = 200_000;
        assert!(plan.violations().is_empty());
    }

    #[test]
    fn a_receiver_that_was_never_told_of_a_timeout_has_waited_in_vain() {
        let mut plan = race();
        plan.history.end = End::Failed(libc::ETIMEDOUT);
        plan.history.end_ns = bound_ns(&plan.scenario) + SECOND;
        assert_eq!(plan.verdict(), ["counts", "liveness"]);
        plan.scenario.setup.socket.user_timeout_us = 1_000;
        assert!(plan.violations().is_empty());
        // So has a read that was under way.
        plan.call(Op::Read { len: 1 }, 4, 5).outcome = Outcome::Returned(0);
        plan.history.calls[1].exit.time_ns = bound_ns(&plan.scenario) + SECOND;
        assert!(plan.violations().is_empty());
        // A reset tells it.
        plan.history.end = End::Failed(libc::ECONNRESET);
        assert_eq!(plan.verdict(), ["liveness"]);
    }

    #[test]
    fn a_quiet_link_has_a_bound_of_seconds() {
        assert!((2..10).contains(&bound_s(|_| ())));
        assert!((2..20).contains(&bound_s(|s| s.setup.data.delay_us = 200_000)));
    }

    #[test]
    fn what_the_scenario_asks_for_is_in_the_bound() {
        let wait = |s: &mut Scenario| s.steps[0].op = Op::Wait { us: 60_000_000 };
        assert!(bound_s(wait) >= 60);
        // The reader keeps away for a minute: the sender's timer backs off as long.
        let paused = |s: &mut Scenario| {
            wait(s);
            s.setup.reader = ReaderMode::Paused;
        };
        assert!(bound_s(paused) >= 2 * 60 + 60);
        // 4096 bytes at 1 kbit/s take 33 s.
        assert!(bound_s(|s| s.setup.data.rate_bps = 1_000) >= 4 * 33);
        // The same, of bytes that only the wire has.
        let long = |s: &mut Scenario| {
            (s.setup.data.rate_bps, s.setup.data.overhead_bytes) = (1_000, 9_000);
        };
        assert!(bound_s(long) >= 4 * 9 * 72);
        // Slots, and delays far from their mean.
        assert!(bound_s(|s| s.setup.data.slot_us = 2_000_000) >= 3 * 2);
        let late = |s: &mut Scenario| {
            (s.setup.data.delay_us, s.setup.data.jitter_us) = (1_000_000, 1_000_000);
        };
        let later = |s: &mut Scenario| {
            late(s);
            s.setup.data.distribution = Distribution::Normal;
        };
        assert!(bound_s(later) >= bound_s(late) + 3 * 3);
        // A satellite's round trips.
        assert!(bound_s(|s| s.setup.ack.delay_us = 2_000_000) >= 3 * 2);
        // Windows of one small segment.
        let tiny = |s: &mut Scenario| {
            s.setup.file.size_bytes = 1 << 16;
            s.steps[0].op = Op::Sendfile(range(0, 1 << 16));
            s.setup.socket.rcvbuf_bytes = Some(1);
            s.setup.ack.delay_us = 100_000;
        };
        assert!(bound_s(tiny) >= (1 << 16) / 1152 / 10);
    }

    #[test]
    fn a_relay_passes_on_late() {
        let wait = |s: &mut Scenario| {
            s.steps[0].op = Op::Wait { us: 60_000_000 };
            s.setup.reader = ReaderMode::Paused;
        };
        // One connection backs off for as long as the reader keeps away, and the other for
        // as long as both.
        let behind = |s: &mut Scenario| {
            wait(s);
            s.setup.relay = true;
        };
        assert!(bound_s(behind) >= bound_s(wait) + 2 * 3 * 60);
        // A delayed acknowledgement for each segment of 536 bytes, while the sender has
        // sent all of it at once.
        let long = |s: &mut Scenario| {
            s.setup.file.size_bytes = 1 << 16;
            s.steps[0].op = Op::Sendfile(range(0, 1 << 16));
        };
        let relayed = |s: &mut Scenario| {
            long(s);
            s.setup.relay = true;
        };
        assert!(bound_s(relayed) >= bound_s(long) + (1 << 16) / 536 / 5);
    }

    #[test]
    fn short_packets_and_small_buffers_of_the_stack_cost_round_trips() {
        let long = |s: &mut Scenario| {
            s.setup.file.size_bytes = 1 << 16;
            s.steps[0].op = Op::Sendfile(range(0, 1 << 16));
            s.setup.ack.delay_us = 1_000_000;
        };
        // Ten segments a round trip of a second, each of 476 bytes or more.
        let short = |s: &mut Scenario| {
            long(s);
            s.setup.device.mtu_bytes = Some(576);
        };
        assert!(bound_s(short) >= bound_s(long) + (1 << 16) / 5240 - (1 << 16) / 14_000);
        let probing = |s: &mut Scenario| {
            long(s);
            s.setup.stack.set(Sysctl::MtuProbing, Some(2));
            s.setup.stack.set(Sysctl::BaseMss, Some(256));
        };
        assert!(bound_s(probing) >= bound_s(long) + (1 << 16) / 2560 - (1 << 16) / 14_000);
        // Where time-outs look like a black hole, segments get shorter than that.
        let holding = |s: &mut Scenario| {
            probing(s);
            let (actor, op) = (
                Actor::Link,
                Op::Release {
                    way: Way::Ack,
                    packets: None,
                },
            );
            s.steps.push(Step { actor, op });
            let op = Op::Hold {
                way: Way::Ack,
                after_packets: 0,
            };
            s.steps.insert(0, Step { actor, op });
        };
        assert!(bound_s(holding) >= bound_s(probing) + (1 << 16) / 480 - (1 << 16) / 1280);
        for sysctl in [Sysctl::Wmem, Sysctl::Rmem] {
            let small = |s: &mut Scenario| {
                long(s);
                s.setup.stack.set(sysctl, Some(4096));
            };
            assert!(bound_s(small) >= bound_s(long) + (1 << 16) / 2048 - (1 << 16) / 14_000);
        }
    }

    #[test]
    fn a_hold_leaves_room_for_timers_that_backed_off() {
        let hold = |way| Op::Hold {
            way,
            after_packets: 0,
        };
        for way in [Way::Data, Way::Ack] {
            let held = |s: &mut Scenario| {
                s.steps[0].op = Op::Wait { us: 10_000_000 };
                let (actor, op) = (Actor::Link, hold(way));
                s.steps.insert(0, Step { actor, op });
            };
            assert!((30..100).contains(&bound_s(held)));
            // Who holds by hand may release by hand, and be late.
            let by_hand = |s: &mut Scenario| {
                held(s);
                s.steps[0].actor = Actor::B;
            };
            assert!(bound_s(by_hand) >= bound_s(held) + 11);
        }
    }

    #[test]
    fn losses_leave_room_for_a_connection_that_nearly_dies() {
        let changes: [fn(&mut Scenario); 6] = [
            |s| s.setup.data.loss_ppm = 1,
            |s| s.setup.ack.loss_ppm = 200_000,
            |s| s.setup.data.limit_packets = 1,
            |s| s.setup.ack.corrupt_ppm = 1,
            |s| s.setup.data.nth.drop = 3,
            |s| (s.setup.ack.delay_us, s.setup.ack.jitter_us) = (1_000, 500),
        ];
        for change in changes {
            assert!(bound_s(change) >= 925);
        }
        // Extremes neither panic nor wrap.
        let extreme = |s: &mut Scenario| {
            s.setup.data.delay_us = u64::MAX;
            s.setup.ack.rate_bps = 1;
            s.setup.data.loss_ppm = u32::MAX;
            s.steps[0].op = Op::Wait { us: u64::MAX };
        };
        assert_eq!(bound_s(extreme), u64::MAX / SECOND);
    }
}
