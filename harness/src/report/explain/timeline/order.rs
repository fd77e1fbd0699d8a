//! What came first at one instant. The clock stands still while anybody runs, so that calls
//! and packets of one instant have the same time: calls have an order among themselves, and
//! so have packets. Between the two there is what follows from what: a packet is sent by a
//! call, and by then that call was entered. Whatever has nothing to wait for comes first,
//! since at an instant that is not the first of all somebody was woken by it.

use super::events::{Of, Story};
use super::packets::{Head, Journey, Packets};
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
    /// The stamp of the call behind which a packet comes at one of its places, where the
    /// two are of the same time.
    pub(super) fn sent_by(
        &self,
        packets: &Packets,
        journey: &Journey,
        stage: usize,
    ) -> Option<u64> {
        let sight = journey.sights[stage].as_ref()?;
        let calls = self.events.iter().filter_map(|event| match &event.of {
            Of::Call(call) => Some((event, call, self.scenario.steps[call.step])),
            _ => None,
        });
        let then = |at: At| at.time_ns == sight.time_ns;
        let queued = journey.sights[0].as_ref().filter(|_| stage > 0);
        // With other bytes than it was queued with it must have been there when they were
        // written, even if that took no time.
        let waited =
            queued.is_some_and(|it| it.time_ns < sight.time_ns || it.payload != sight.payload);
        if waited {
            // It is let go by a call, or by a timer before all of them.
            let mut lets_go = calls.filter(|(event, _, step)| {
                then(event.at) && matches!(step.op, Op::Release { way, .. } if way == journey.way)
            });
            return lets_go.next().map(|(_, call, _)| call.entry.order);
        }
        let (Way::Data, Head::Tcp(tcp)) = (journey.way, journey.head) else {
            let mut sends = calls.filter(|(event, _, step)| then(event.at) && step.op.sends());
            let datagram = journey.way == Way::Data;
            return sends
                .next()
                .filter(|_| datagram)
                .map(|(_, call, _)| call.entry.order);
        };
        let [syn, fin, _] = tcp.flags;
        if fin {
            let ends = calls.filter(|(event, ..)| event.until.is_some_and(then));
            return ends.map(|(_, call, _)| call.exit.order).max();
        }
        let (from, len) = packets.stream(journey).filter(|_| !syn)?;
        let mut end = 0;
        let layout = self.layout(self.owner(journey.flow)).into_iter().flatten();
        let send = layout.map(|(step, range)| {
            end += range.len;
            (*step, end)
        });
        let step = send
            .skip_while(|(_, end)| *end < from + len)
            .map(|it| it.0)
            .next();
        let mut sends = calls.filter(|(event, call, it)| match step {
            Some(step) => then(event.at) && call.step == step,
            None => then(event.at) && it.op.sends(),
        });
        sends.next().map(|(_, call, _)| call.entry.order)
    }
}

#[cfg(test)]
mod tests {
    use super::super::packets::Packets;
    use super::*;
    use crate::capture::{Capture, Packet, Point};

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
        let mut packets = Packets::new(&capture);
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
