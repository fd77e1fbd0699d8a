//! Packets on their way: what was seen of each of them at the places of the link, put
//! together to journeys.

use super::head::{Ends, Fragment, Head, parse};
use crate::capture::{Capture, Point};
use crate::scenario::{Netem, Setup, Way};

/// Stages of a journey: queued, left, arrived.
pub const STAGES: usize = 3;

/// A packet at one of them.
#[derive(Debug, Clone)]
pub struct Sight {
    /// When, in nanoseconds since the scenario began.
    pub time_ns: i64,
    /// Its place in the capture.
    pub index: usize,
    /// Its place among all that happened at that time.
    pub order: u64,
    /// What it carried then.
    pub payload: Vec<u8>,
}

/// A packet from queue to arrival, as far as it was seen.
#[derive(Debug, Clone)]
pub struct Journey {
    /// In which direction.
    pub way: Way,
    /// Which connection, in the order in which they were seen first.
    pub flow: usize,
    /// What its headers say.
    pub head: Head,
    /// Where it was seen.
    pub sights: [Option<Sight>; STAGES],
    /// Its bytes were sent before.
    pub again: bool,
    /// How many like it, one after the other, it stands for.
    pub packets: usize,
    split: bool,
}

/// Everything that was seen, as journeys in order of their first sight.
#[derive(Debug, Default)]
pub struct Packets {
    /// The journeys.
    pub journeys: Vec<Journey>,
    /// By way and stage: whether any packet was seen there.
    pub watched: [[bool; STAGES]; 2],
    /// By flow: the sequence number of the first byte of the sender's stream, and that
    /// behind its end.
    streams: Vec<(Option<u32>, Option<u32>)>,
    /// By way: how long its queue delays, where it may lose packets.
    delays_ns: [Option<i64>; 2],
}

impl Packets {
    /// Puts a capture together, of a link like that.
    pub fn new(setup: &Setup, capture: &Capture) -> Packets {
        // Where nothing is lost, what was queued first leaves first.
        let delay_ns = |netem: &Netem| (!netem.is_steady()).then(|| netem.delay_us as i64 * 1_000);
        let mut packets = Packets {
            delays_ns: [&setup.data, &setup.ack].map(delay_ns),
            ..Packets::default()
        };
        let mut flows: Vec<Ends> = Vec::new();
        for (index, seen) in capture.packets.iter().enumerate() {
            let (way, stage) = place(seen.point);
            let (ends, head, payload) = parse(&seen.bytes, way);
            let flow = match ends {
                None => 0,
                Some(ends) => flows.iter().position(|it| *it == ends).unwrap_or_else(|| {
                    flows.push(ends);
                    flows.len() - 1
                }),
            };
            if packets.streams.len() <= flow {
                packets.streams.resize(flow + 1, (None, None));
            }
            packets.watched[way as usize][stage] = true;
            packets.note_stream(way, flow, head);
            let sight = Sight {
                time_ns: seen.at_ns,
                index,
                order: 0,
                payload: payload.to_vec(),
            };
            packets.add(way, flow, head, stage, sight);
        }
        packets.journeys.retain(|it| !it.split);
        packets.mark_again();
        packets
    }

    /// Where the first byte of the stream has its sequence number: behind the SYN, or
    /// where the first data was seen.
    fn note_stream(&mut self, way: Way, flow: usize, head: Head) {
        let (Way::Data, Head::Tcp(tcp)) = (way, head) else {
            return;
        };
        let [syn, fin, _] = tcp.flags;
        let (begin, end) = &mut self.streams[flow];
        if syn {
            *begin = Some(tcp.seq.wrapping_add(1));
        } else if tcp.len > 0 && begin.is_none() {
            *begin = Some(tcp.seq);
        }
        if fin {
            *end = Some(tcp.seq.wrapping_add(tcp.len as u32));
        }
    }

    fn add(&mut self, way: Way, flow: usize, head: Head, stage: usize, sight: Sight) {
        let on_the_way = |it: &&mut Journey| {
            (it.way, it.flow) == (way, flow) && it.sights[stage..].iter().all(Option::is_none)
        };
        if stage > 0 {
            let same = self.journeys.iter_mut().filter(on_the_way);
            let same = same.filter(|it| it.head.is(head));
            // Of several that are the same, since all but one were lost before, it is the
            // one that took as long as it should.
            let late = |it: &&mut Journey| match (&it.sights[stage - 1], stage) {
                (Some(before), 1) => self.delays_ns[way as usize].map_or(0, |delay_ns| {
                    (sight.time_ns - before.time_ns).abs_diff(delay_ns)
                }),
                (Some(before), _) => sight.time_ns.abs_diff(before.time_ns),
                (None, _) => u64::MAX,
            };
            if let Some(journey) = same.min_by_key(late) {
                journey.sights[stage] = Some(sight);
                return;
            }
            // Put together on the way: all that it contains has come.
            let mut parts = self.journeys.iter_mut().filter(on_the_way);
            let mut found = false;
            for part in parts.by_ref().filter(|it| head.contains(it.head)) {
                part.sights[stage] = Some(sight.clone());
                found = true;
            }
            if found {
                return;
            }
        }
        let mut journey = Journey {
            way,
            flow,
            head,
            sights: [const { None }; STAGES],
            again: false,
            packets: 1,
            split: false,
        };
        if stage > 0 {
            // Cut into segments on the way.
            let mut wholes = self.journeys.iter_mut().filter(|it| {
                (it.way, it.flow) == (way, flow) && it.sights[stage..].iter().all(Option::is_none)
            });
            if let Some(whole) = wholes.find(|it| it.head.contains(head)) {
                whole.split = true;
                journey.sights = whole.sights.clone();
            }
        }
        journey.sights[stage] = Some(sight);
        self.journeys.push(journey);
    }

    fn mark_again(&mut self) {
        let mut reached: Vec<Option<u64>> = vec![None; self.streams.len()];
        for at in 0..self.journeys.len() {
            let journey = &self.journeys[at];
            let Some((from, len)) = self.stream(journey) else {
                continue;
            };
            let to = &mut reached[journey.flow];
            let again = len > 0 && to.is_some_and(|to| from + len <= to);
            *to = Some(to.unwrap_or(0).max(from + len));
            self.journeys[at].again = again;
        }
    }

    /// The part of the sender's stream that a packet with data carries: where it begins
    /// and how long it is.
    pub fn stream(&self, journey: &Journey) -> Option<(u64, u64)> {
        let (Way::Data, Head::Tcp(tcp)) = (journey.way, journey.head) else {
            return None;
        };
        let begin = self.streams.get(journey.flow)?.0?;
        let from = tcp.seq.wrapping_sub(begin) as i32;
        (tcp.len > 0).then_some((u64::try_from(from).ok()?, tcp.len))
    }

    /// A few words for a packet: `0+1448`, `ack 4096`, `SYN`.
    pub fn label(&self, journey: &Journey) -> String {
        let tcp = match journey.head {
            Head::Tcp(tcp) => tcp,
            Head::Udp {
                fragment: Some(Fragment { from, .. }),
                len,
                ..
            } => return format!("fragment {from}+{len}"),
            Head::Udp { len, .. } => return format!("{len} bytes"),
            Head::Other { len } => return format!("{len} bytes"),
        };
        let mut words = Vec::new();
        for (flag, name) in tcp.flags.iter().zip(["SYN", "FIN", "RST"]) {
            if *flag {
                words.push(name.to_string());
            }
        }
        if let Some((from, len)) = self.stream(journey) {
            words.insert(0, format!("{from}+{len}"));
        } else if journey.way == Way::Ack && !tcp.flags[2] {
            let (begin, end) = self.streams.get(journey.flow).copied().unwrap_or_default();
            words.push(match (begin, end) {
                _ if tcp.flags[0] => "ACK".to_string(),
                (_, Some(end)) if tcp.ack == end.wrapping_add(1) => "ack FIN".to_string(),
                (Some(begin), _) => format!("ack {}", tcp.ack.wrapping_sub(begin)),
                (None, _) => "ack".to_string(),
            });
        } else if words.is_empty() {
            words.push("ACK".to_string());
        }
        words.join(" ")
    }

    /// At most so many journeys: what follows on another without a gap, in time and in
    /// the stream, becomes one with it.
    pub fn gather(mut self, most: usize) -> Packets {
        for apart_ns in [1_000, 10_000, 100_000, 1_000_000, 10_000_000, u64::MAX] {
            if self.journeys.len() <= most {
                break;
            }
            let mut kept: Vec<Journey> = Vec::new();
            // The latest of each way and flow.
            let mut latest: Vec<(Way, usize, usize)> = Vec::new();
            for journey in self.journeys {
                let key = (journey.way, journey.flow);
                let place = latest.iter().position(|it| (it.0, it.1) == key);
                if let Some(place) = place {
                    let before = &mut kept[latest[place].2];
                    if before.takes(&journey, apart_ns) {
                        continue;
                    }
                    latest[place].2 = kept.len();
                } else {
                    latest.push((key.0, key.1, kept.len()));
                }
                kept.push(journey);
            }
            self.journeys = kept;
        }
        self
    }
}

impl Journey {
    /// The first sight of it.
    pub fn first(&self) -> Option<&Sight> {
        self.sights.iter().flatten().next()
    }

    /// Becomes one with what follows, if that follows closely.
    fn takes(&mut self, next: &Journey, apart_ns: u64) -> bool {
        let (Head::Tcp(tcp), Head::Tcp(other)) = (&mut self.head, next.head) else {
            return false;
        };
        let follows = match self.way {
            Way::Data => {
                let end = tcp.seq.wrapping_add(tcp.len as u32);
                tcp.len > 0 && other.len > 0 && end == other.seq
            }
            Way::Ack => tcp.len == 0 && other.len == 0,
        };
        let plain = tcp.flags == [false; 3] && other.flags == [false; 3];
        let close = self.sights.iter().zip(&next.sights).all(|it| match it {
            (Some(one), Some(other)) => other.time_ns.abs_diff(one.time_ns) <= apart_ns,
            (None, None) => true,
            _ => false,
        });
        if !(follows && plain && close && self.again == next.again) {
            return false;
        }
        tcp.len += other.len;
        tcp.ack = other.ack;
        for (one, other) in self.sights.iter_mut().zip(&next.sights) {
            if let (Some(one), Some(other)) = (one, other) {
                one.payload.extend(&other.payload);
            }
        }
        self.packets += next.packets;
        true
    }
}

fn place(point: Point) -> (Way, usize) {
    match point {
        Point::SenderQueued => (Way::Data, 0),
        Point::SenderLeft => (Way::Data, 1),
        Point::ReceiverArrived => (Way::Data, 2),
        Point::ReceiverQueued => (Way::Ack, 0),
        Point::ReceiverLeft => (Way::Ack, 1),
        Point::SenderArrived => (Way::Ack, 2),
    }
}
