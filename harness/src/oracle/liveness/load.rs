//! What a scenario asks of the link, as far as its bound depends on it.

use super::{AWAIT_NS, HELD_NS, RESCUE_NS, SECOND, TIMER_NS, receives_little, shuffles};
use crate::scenario::limits::DEFAULT_PIPE_BYTES;
use crate::scenario::{Actor, Device, Netem, Op, Scenario, Setup, Sysctl};

/// TCP_INIT_CWND.
const INITIAL_WINDOW_SEGMENTS: u64 = 10;

/// Headers of IPv6 and TCP with timestamps, and what Multipath TCP adds: so much less
/// than a packet a segment carries, at most.
const SEGMENT_OVERHEAD_BYTES: u64 = 40 + 32 + 28;

/// The smallest segment to expect on a usual link: TCP_MSS_DEFAULT, and what a tiny
/// receive buffer makes of it.
const SMALL_SEGMENT_BYTES: u64 = 536;

/// What a buffer is charged for a segment besides its data, at most (SKB_TRUESIZE).
const SKB_BYTES: u64 = 1280;

/// Ethernet, IPv6 and TCP headers with timestamps.
const HEADER_BYTES: u64 = 14 + 40 + 32;

/// What a scenario asks of the link at most.
pub(super) struct Load {
    pub waits_ns: u64,
    bytes: u64,
    /// Segments in each direction, retransmissions aside.
    pub packets: u64,
    /// Times that the sender may have to wait for the receiver.
    pub rounds: u64,
    /// Times that a relay passes something on.
    hops: u64,
}

impl Load {
    pub fn of(scenario: &Scenario) -> Load {
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
                | Op::PipeWrite { range, .. }
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
                Op::Pipe { .. }
                | Op::Pour { .. }
                | Op::MmapWrite(_)
                | Op::Pwrite(_)
                | Op::ForkWrite(_) => {}
                Op::Truncate { .. } | Op::Punch(_) | Op::SecondWrite(_) => {}
                Op::DirectWrite(_) | Op::ZeroRange(_) | Op::Collapse(_) => {}
                Op::Msync | Op::DropCaches => {}
                // For what is in the bound already.
                Op::Await { .. } => {}
                Op::Meet { after_ns, .. } => waits_ns = waits_ns.saturating_add(after_ns.into()),
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
        let full = segment_bytes(scenario);
        let least = full.min(SMALL_SEGMENT_BYTES);
        // Of segments that are shorter still it takes fewer than such a share has bytes.
        let share = |bytes: u64| (bytes / 8).min(bytes / (SKB_BYTES + least) * least);
        let shares = buffers.into_iter().flatten().map(share);
        // So it is where the sender takes no more than a little ahead.
        let small = shares.chain(lowat).min();
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
    pub fn relayed_ns(&self) -> u64 {
        TIMER_NS.saturating_mul(self.hops)
    }

    pub fn serialize_ns(&self, link: &Netem) -> u64 {
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
