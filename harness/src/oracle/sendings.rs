//! What the sends of a scenario put into datagrams: where one can begin and end, and
//! which can be lost before the link has a say.

use std::ops;

use super::ledger::{Ledger, Window, Write};
use super::liveness;
use super::pipe::Pipes;
use super::position::Position;
use super::sizes::Sizes;
use super::stream::{Promise, Sent};
use crate::history::{Call, History, Outcome};
use crate::scenario::{Op, Scenario, Way};

/// What a history is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rigour {
    /// A write after the return may show.
    Documented,
    /// It may not show in what was sent under this promise.
    Keeps(Promise),
}

/// Whether a send ends the datagram that it is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closes {
    /// More is to join it.
    No,
    /// It depends on how full the pipe was, and on the kernel.
    Maybe,
    /// The datagram leaves.
    Yes,
}

/// A send that took something.
#[derive(Debug)]
struct Sending {
    step: usize,
    /// Its stretches, as indices into the list of [`Sent`].
    runs: ops::Range<usize>,
    closes: Closes,
}

/// The sends that took something, in order.
#[derive(Debug)]
pub(super) struct Sendings<'a> {
    ledger: &'a Ledger,
    runs: &'a [Sent],
    all: Vec<Sending>,
    /// Before which of them (and after the last) everything that waited may have been
    /// thrown away: net/ipv4/udp.c:udp_sendmsg does that when a send fails.
    vanishes: Vec<bool>,
    link_loses: bool,
}

impl<'a> Sendings<'a> {
    /// Reads them out of a history.
    pub fn new(
        scenario: &Scenario,
        history: &History,
        ledger: &'a Ledger,
        sizes: &Sizes,
        runs: &'a [Sent],
    ) -> Self {
        let mut all: Vec<Sending> = Vec::new();
        let mut vanishes = vec![false];
        let mut next_run = 0;
        let mut position = Position::default();
        let mut pipes = Pipes::new(scenario);
        for call in &history.calls {
            let Some(op) = scenario.steps.get(call.step).map(|step| step.op) else {
                continue;
            };
            let op = position.resolve(op, call);
            let fills_a_round = pipes.may_fill_a_round(op.pipes()[1]);
            pipes.note(op, call);
            if !op.sends() {
                continue;
            }
            let begin = next_run;
            while runs.get(next_run).is_some_and(|run| run.step == call.step) {
                next_run += 1;
            }
            if next_run > begin {
                all.push(Sending {
                    step: call.step,
                    runs: begin..next_run,
                    closes: closes(scenario, sizes, op, call, fills_a_round),
                });
                vanishes.push(false);
            }
            let last = vanishes.len() - 1;
            vanishes[last] |= was_cut_short(sizes, op, call);
        }
        // The cork is pulled at the end.
        if let Some(last) = all.last_mut() {
            last.closes = Closes::Yes;
        }
        Sendings {
            ledger,
            runs,
            all,
            vanishes,
            link_loses: loses(scenario, history),
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The step of one.
    pub fn step(&self, index: usize) -> usize {
        self.all[index].step
    }

    /// The stretches of those from `first` to before `end`.
    pub fn runs(&self, first: usize, end: usize) -> ops::Range<usize> {
        self.all[first].runs.start..self.all[end - 1].runs.end
    }

    /// Where a datagram can begin.
    pub fn starts(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.count())
            .filter(|&at| at == 0 || self.vanishes[at] || self.all[at - 1].closes != Closes::No)
    }

    /// Where a datagram that begins at `first` can end: one past its last send.
    pub fn ends(&self, first: usize) -> impl Iterator<Item = usize> + '_ {
        self.joined(first)
            .filter(|&end| self.all[end - 1].closes != Closes::No)
    }

    /// One past each of those that can still join a datagram that begins at `first`.
    fn joined(&self, first: usize) -> impl Iterator<Item = usize> + '_ {
        let certain = (first..self.count()).find(|&at| self.all[at].closes == Closes::Yes);
        let last = certain.map_or(self.count(), |at| at + 1);
        first + 1..last + 1
    }

    /// What may be over when `reached` is, if some datagrams never arrive. Ascending.
    pub fn skip(&self, reached: &[usize], rigour: Rigour) -> Vec<usize> {
        let mut over = vec![false; self.count() + 1];
        for &at in reached {
            over[at] = true;
        }
        for first in 0..self.count() {
            if !over[first] {
                continue;
            }
            for end in self.joined(first) {
                over[end] |= self.vanishes[end];
            }
            for end in self.ends(first) {
                over[end] |= self.link_loses || self.torn((first, end), rigour).is_some();
            }
        }
        (0..over.len()).filter(|&at| over[at]).collect()
    }

    /// A write that may have spoiled a checksum of a datagram, and what it met: the
    /// receiver drops it then.
    pub fn torn(&self, (first, end): (usize, usize), rigour: Rigour) -> Option<(&Write, &Sent)> {
        if first >= end {
            return None;
        }
        self.runs[self.runs(first, end)].iter().find_map(|run| {
            let window = Window {
                to: match run.copied || rigour == Rigour::Keeps(run.promise) {
                    false => u64::MAX,
                    true => run.window.to,
                },
                ..run.window
            };
            let write = self.ledger.meeting(run.range, window)?;
            Some((write, run))
        })
    }
}

/// Whether a send that returned something ends its datagram. `fills_a_round`: before it there may
/// have been as many buffers in its pipe as one round of a splice to a socket takes.
pub(super) fn closes(
    scenario: &Scenario,
    sizes: &Sizes,
    op: Op,
    call: &Call,
    fills_a_round: bool,
) -> Closes {
    let sent = call.outcome.bytes();
    if scenario.setup.socket.cork {
        return Closes::No;
    }
    match op {
        // The end of the file flushes, too (fs/splice.c:do_splice_eof).
        Op::Sendfile(range) => {
            let left = sizes.in_call(call).from(range.offset);
            let all = sent == range.len || left.certain() == Some(sent);
            match all {
                true => Closes::Yes,
                false => Closes::Maybe,
            }
        }
        Op::SpliceOut { more: true, .. } => Closes::No,
        // Where the pipe runs dry just as sixteen of its buffers are taken, the kernel
        // says MORE for what is not there.
        Op::SpliceOut { len, .. } if sent < len && fills_a_round => Closes::Maybe,
        _ => Closes::Yes,
    }
}

/// Whether a send met an error, at once or in a later round.
fn was_cut_short(sizes: &Sizes, op: Op, call: &Call) -> bool {
    match (op, call.outcome) {
        (_, Outcome::Failed(_)) => true,
        (Op::Sendfile(range), Outcome::Returned(sent)) => {
            let left = sizes.in_call(call).from(range.offset);
            sent < range.len.min(left.most)
        }
        (Op::Copy { range, .. } | Op::Borrow { range, .. }, Outcome::Returned(sent)) => {
            sent < range.len
        }
        (Op::SpliceOut { len, .. }, Outcome::Returned(sent)) => sent < len,
        _ => false,
    }
}

/// Whether datagrams can get lost by what the scenario says.
fn loses(scenario: &Scenario, history: &History) -> bool {
    /// A first segment that is copied takes a buffer of 2 KiB and its head.
    const PACKET_OVERHEAD_BYTES: u64 = 3072;
    /// Headers of a fragment, and what it must be a multiple of.
    const FRAGMENT_OVERHEAD_BYTES: u64 = 40 + 8 + 8;
    /// How long the first fragments of a datagram wait for the others, at least
    /// (include/net/ip.h: IP_FRAG_TIME is 30 s).
    const FRAGMENTS_KEPT_NS: u64 = 29_000_000_000;
    /// net.core.rmem_max, and rmem_default.
    const MOST_RCVBUF_BYTES: u64 = 212_992;
    let sends = scenario.steps.iter().filter(|step| step.op.sends()).count() as u64;
    let sent: u64 = (history.calls.iter())
        .filter(|call| {
            scenario
                .steps
                .get(call.step)
                .is_some_and(|it| it.op.sends())
        })
        .map(|call| call.outcome.bytes())
        .fold(0, u64::saturating_add);
    let mtu_bytes = u64::from(scenario.setup.device.mtu_bytes());
    let fragment_bytes = mtu_bytes.saturating_sub(FRAGMENT_OVERHEAD_BYTES).max(1);
    let packets = sends.saturating_add(sent / fragment_bytes);
    // What is copied into a longer one takes the next power of two of that
    // (net/core/skbuff.c:kmalloc_reserve).
    let longer = fragment_bytes > PACKET_OVERHEAD_BYTES / 2;
    let rounded = sent.saturating_mul(if longer { 2 } else { 1 });
    let used = packets
        .saturating_mul(PACKET_OVERHEAD_BYTES)
        .saturating_add(rounded);
    let room = match scenario.setup.socket.rcvbuf_bytes {
        Some(bytes) => 2 * u64::from(bytes).min(MOST_RCVBUF_BYTES),
        None => MOST_RCVBUF_BYTES,
    };
    let held = scenario.holds(Way::Data) && liveness::waits_ns(scenario) >= FRAGMENTS_KEPT_NS;
    let data = &scenario.setup.data;
    // A checksum of 16 bits always finds the one bit that was flipped.
    let unlucky = data.loss_ppm > 0 || data.corrupt_ppm > 0 || data.nth.loses();
    let lost = unlucky || liveness::overflows(scenario);
    lost || held || used > room
}
