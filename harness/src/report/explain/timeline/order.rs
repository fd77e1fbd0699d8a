//! What came first at one instant. The clock stands still while anybody runs, so that calls
//! and packets of one instant have the same time: calls have an order among themselves, and
//! so have packets. Between the two there is what follows from what: a packet is sent by a
//! call, and by then that call was entered. Whatever has nothing to wait for comes first,
//! since at an instant that is not the first of all somebody was woken by it.

use super::bytes;
use super::events::{Of, Story};
use super::head::Head;
use super::packets::{Journey, Packets};
use super::scale::At;
use crate::scenario::{Op, Way};

/// How many packets have room between two calls.
const ROOM: u64 = 1 << 24;
/// Behind everything else of its instant.
pub const LAST: u64 = u64::MAX - 8;

/// The order of an event of a history among the events of its instant.
pub fn of_stamp(order: u64) -> u64 {
    order.saturating_add(1).saturating_mul(ROOM).min(LAST - 1)
}

/// Gives every packet its order. `after` says of a journey, a stage and a time the event of
/// the history that comes before it at that time, by its stamp; `None`: nothing does.
pub fn set(packets: &mut Packets, after: impl Fn(&Packets, usize, usize) -> Option<u64>) {
    let mut places: Vec<(usize, usize, usize)> = Vec::new();
    for (journey, it) in packets.journeys.iter().enumerate() {
        for (stage, sight) in it.sights.iter().enumerate() {
            places.extend(sight.as_ref().map(|sight| (sight.index, journey, stage)));
        }
    }
    places.sort_unstable();
    let (mut time_ns, mut base) = (i64::MIN, 0);
    for (index, journey, stage) in places {
        let bound = after(packets, journey, stage).map_or(0, of_stamp);
        let Some(sight) = &mut packets.journeys[journey].sights[stage] else {
            continue;
        };
        // What was seen later came later.
        base = if sight.time_ns == time_ns {
            base.max(bound)
        } else {
            bound
        };
        time_ns = sight.time_ns;
        sight.order = (base + 1).saturating_add(index as u64).min(base + ROOM - 1);
    }
}

impl Story<'_> {
    /// The stamp of the last call behind which a packet comes at one of its places, of those
    /// that are of the same time.
    pub(super) fn sent_by(
        &self,
        packets: &Packets,
        journey: &Journey,
        stage: usize,
    ) -> Option<u64> {
        let sight = journey.sights[stage].as_ref()?;
        let then = |at: At| at.time_ns == sight.time_ns;
        let calls = self.events.iter().filter_map(|event| match &event.of {
            Of::Call(call) => Some((event, call, self.scenario.steps[call.step])),
            _ => None,
        });
        let entered = calls.clone().filter(|(event, ..)| then(event.at));
        let queued = journey.sights[0].as_ref().filter(|_| stage > 0);
        let waited = queued.is_some_and(|it| it.time_ns < sight.time_ns);
        // With other bytes than it was queued with it has waited, even if that took no time.
        let changed = queued.is_some_and(|it| it.payload != sight.payload);
        let mut let_go = entered.clone().filter(|(_, _, step)| {
            let turns = matches!(step.op, Op::Release { way, .. } if way == journey.way);
            turns && (waited || changed || stage > 0 && self.was_held(packets, journey))
        });
        let let_go = let_go.next().map(|(_, call, _)| call.entry.order);
        let tcp = match journey.head {
            Head::Tcp(tcp) => Some(tcp),
            _ => None,
        };
        let fin = tcp.is_some_and(|tcp| tcp.flags[1]);
        let stream = packets.stream(journey);
        let layout = self.layout(self.owner(journey.flow));
        let sent = match journey.way {
            // A timer has let it go, before all calls.
            _ if waited => None,
            Way::Ack => None,
            Way::Data if fin => {
                let ended = calls.filter(|(event, ..)| event.until.is_some_and(then));
                ended.map(|(_, call, _)| call.exit.order).max()
            }
            Way::Data if tcp.is_some() && stream.is_none() => None,
            Way::Data => {
                let mut end = 0;
                let sends = layout.into_iter().flatten().map(|(step, range)| {
                    end += range.len;
                    (*step, end)
                });
                let last = stream.map(|(from, len)| from + len);
                let mut sends = sends.skip_while(|(_, end)| last.is_none_or(|last| *end < last));
                let step = sends.next().map(|it| it.0);
                let mut sent = entered.clone().filter(|(_, call, it)| match step {
                    Some(step) => call.step == step,
                    None => it.op.sends(),
                });
                sent.next().map(|(_, call, _)| call.entry.order)
            }
        };
        // What it shows had been written by then.
        let plain = self.scenario.setup.socket.family.is_plain_tcp();
        let shown = layout.zip(stream).filter(|_| plain);
        let latest = shown.and_then(|(layout, (from, _))| {
            let shown = bytes::shown(self.scenario, layout, from, &sight.payload);
            shown.iter().filter_map(|run| run.generation).max()
        });
        let written = entered.filter(|(_, call, _)| {
            let generation = self.scenario.generation(call.step);
            generation.is_some() && generation <= latest
        });
        let written = written.map(|(_, call, _)| call.entry.order).max();
        [let_go, sent, written].into_iter().flatten().max()
    }

    /// Whether a packet was queued while the link held those of its direction back.
    fn was_held(&self, packets: &Packets, journey: &Journey) -> bool {
        let Some(queued) = &journey.sights[0] else {
            return false;
        };
        let calls = self.events.iter().filter_map(|event| match &event.of {
            Of::Call(call) => Some((event, self.scenario.steps[call.step].op)),
            _ => None,
        });
        let mut held = false;
        for (event, op) in calls {
            match op {
                Op::Hold { way, after_packets } if way == journey.way => {
                    let from = event.until.unwrap_or(event.at).time_ns;
                    let first = packets.journeys.iter().filter(|it| it.way == way);
                    let sights = first.filter_map(|it| it.sights[0].as_ref());
                    let before = sights.filter(|it| it.time_ns >= from && it.index < queued.index);
                    held = queued.time_ns >= from && before.count() >= after_packets as usize;
                }
                Op::Release { way, .. } if way == journey.way => {
                    // One that it let go at once was queued by then.
                    held &= queued.time_ns <= event.at.time_ns;
                }
                _ => {}
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::super::packets::Packets;
    use super::*;
    use crate::capture::{Capture, Packet, Point};
    use crate::scenario::Setup;

    #[test]
    fn packets_keep_their_order_and_come_after_their_call() {
        let packet = |at_ns, point, byte| Packet {
            at_ns,
            point,
            // As short as this it is told apart by its length only.
            bytes: vec![byte; usize::from(byte)],
        };
        let capture = Capture {
            packets: vec![
                packet(0, Point::SenderQueued, 1),
                packet(0, Point::SenderQueued, 2),
                packet(0, Point::SenderQueued, 3),
                packet(9, Point::SenderLeft, 1),
            ],
            lost: 0,
        };
        let mut packets = Packets::new(&Setup::default(), &capture);
        // The second was sent by the call that was entered as number 4.
        set(&mut packets, |packets, journey, stage| {
            let sight = packets.journeys[journey].sights[stage].as_ref()?;
            (sight.index == 1).then_some(4)
        });
        let order = |journey: usize, stage: usize| {
            let sight = packets.journeys[journey].sights[stage].as_ref();
            sight.map_or(0, |it| it.order)
        };
        let orders = [
            order(0, 0),
            of_stamp(0),
            of_stamp(4),
            order(1, 0),
            order(2, 0),
            of_stamp(5),
        ];
        assert!(orders.is_sorted_by(|one, other| one < other), "{orders:?}");
        // At another time nothing of that matters.
        assert!(order(0, 1) < of_stamp(0));
        assert!(of_stamp(u64::MAX) < LAST);
    }
}
