//! What was seen in two namespaces, as one list: which place each packet was at, and which
//! came first.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::end::Seen;
use super::sum;
use crate::capture::{Packet, Point};
use crate::scenario::Way;

/// What is seen, and where.
#[derive(Debug, Clone)]
pub struct Places {
    /// The addresses of both ends: what is not between two of them is none of a scenario's.
    pub addresses: Vec<IpAddr>,
    /// Whether both ends are in the sender's namespace.
    pub loopback: bool,
    /// What CLOCK_REALTIME showed when the scenario began.
    pub begun_ns: i64,
}

/// The packets that the sender's namespace and the receiver's have seen, in order.
///
/// Each namespace knows the order of its own. Between the two the clock decides; where it
/// has stood still, a packet leaves one end before it arrives at the other.
pub fn sort(places: &Places, seen: [Seen; 2]) -> Vec<Packet> {
    let [sender, receiver] = seen;
    let mut flows = Flows::default();
    let mut one = |seen: Seen, way_out: Way| -> VecDeque<Packet> {
        let placed = seen.frames.into_iter().filter_map(|mut frame| {
            let head = Head::of(&frame.bytes)?;
            let known = |it: &IpAddr| places.addresses.contains(it);
            if !(known(&head.from) && known(&head.to)) {
                return None;
            }
            let way = match (places.loopback, frame.outgoing) {
                (true, _) => flows.way(&head),
                (false, true) => way_out,
                (false, false) => back(way_out),
            };
            if frame.unsummed {
                sum::complete(&mut frame.bytes);
            }
            Some(Packet {
                at_ns: frame.real_ns - places.begun_ns,
                point: match seen.mirror == Some(frame.interface) {
                    true => queued(way),
                    false => point(way, frame.outgoing),
                },
                bytes: frame.bytes,
            })
        });
        placed.collect()
    };
    let ends = [one(sender, Way::Data), one(receiver, Way::Ack)];
    merge(ends)
}

fn back(way: Way) -> Way {
    match way {
        Way::Data => Way::Ack,
        Way::Ack => Way::Data,
    }
}

fn queued(way: Way) -> Point {
    match way {
        Way::Data => Point::SenderQueued,
        Way::Ack => Point::ReceiverQueued,
    }
}

fn point(way: Way, outgoing: bool) -> Point {
    match (way, outgoing) {
        (Way::Data, true) => Point::SenderLeft,
        (Way::Data, false) => Point::ReceiverArrived,
        (Way::Ack, true) => Point::ReceiverLeft,
        (Way::Ack, false) => Point::SenderArrived,
    }
}

fn merge(mut ends: [VecDeque<Packet>; 2]) -> Vec<Packet> {
    let mut merged: Vec<Packet> = Vec::with_capacity(ends[0].len() + ends[1].len());
    // What has left one end and has not arrived at the other, in each direction.
    let mut travels: HashMap<(bool, Vec<u8>), usize> = HashMap::new();
    loop {
        let next = match [ends[0].front(), ends[1].front()] {
            [None, None] => return merged,
            [Some(_), None] => 0,
            [None, Some(_)] => 1,
            [Some(one), Some(other)] if one.at_ns != other.at_ns => {
                usize::from(other.at_ns < one.at_ns)
            }
            [Some(one), Some(other)] => {
                let may_come = |it: &Packet| match arrives(it.point) {
                    Some(at_sender) => travels
                        .get(&(at_sender, it.bytes.clone()))
                        .is_some_and(|packets| *packets > 0),
                    None => true,
                };
                usize::from(!may_come(one) && may_come(other))
            }
        };
        let Some(packet) = ends[next].pop_front() else {
            return merged;
        };
        let key = |at_sender| (at_sender, packet.bytes.clone());
        match packet.point {
            Point::SenderQueued | Point::ReceiverQueued => {}
            Point::SenderLeft => *travels.entry(key(false)).or_default() += 1,
            Point::ReceiverLeft => *travels.entry(key(true)).or_default() += 1,
            Point::ReceiverArrived | Point::SenderArrived => {
                let at_sender = packet.point == Point::SenderArrived;
                if let Some(packets) = travels.get_mut(&key(at_sender)) {
                    *packets = packets.saturating_sub(1);
                }
            }
        }
        merged.push(packet);
    }
}

/// Whether a packet has come there from the other end: to the sender's (true) or to the
/// receiver's.
fn arrives(point: Point) -> Option<bool> {
    match point {
        Point::SenderArrived => Some(true),
        Point::ReceiverArrived => Some(false),
        _ => None,
    }
}

/// The ports of connections of which both ends are seen at the same interface.
#[derive(Debug, Default)]
struct Flows(Vec<(u16, u16)>);

impl Flows {
    /// In which direction a packet goes: the first one of a connection is the sender's.
    fn way(&mut self, head: &Head) -> Way {
        // A fragment of a datagram, which nothing answers.
        let Some((from, to)) = head.ports else {
            return Way::Data;
        };
        if self.0.contains(&(to, from)) {
            return Way::Ack;
        }
        if !self.0.contains(&(from, to)) {
            self.0.push((from, to));
        }
        Way::Data
    }
}

/// What the headers of a packet say of where it goes.
struct Head {
    from: IpAddr,
    to: IpAddr,
    ports: Option<(u16, u16)>,
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Head> {
        let packet = LaxSlicedPacket::from_ip(bytes).ok()?;
        let (from, to): (IpAddr, IpAddr) = match &packet.net {
            Some(LaxNetSlice::Ipv4(ip)) => {
                let ip = ip.header();
                (ip.source_addr().into(), ip.destination_addr().into())
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let ip = ip.header();
                (ip.source_addr().into(), ip.destination_addr().into())
            }
            _ => return None,
        };
        let ports = match &packet.transport {
            Some(TransportSlice::Tcp(tcp)) => Some((tcp.source_port(), tcp.destination_port())),
            Some(TransportSlice::Udp(udp)) => Some((udp.source_port(), udp.destination_port())),
            _ => None,
        };
        Some(Head { from, to, ports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::tap::ring::Frame;
    use etherparse::PacketBuilder;

    const BEGUN_NS: i64 = 1_000_000;

    fn places(loopback: bool) -> Places {
        let addresses = match loopback {
            true => vec![[127, 0, 0, 1].into()],
            false => vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()],
        };
        Places {
            addresses,
            loopback,
            begun_ns: BEGUN_NS,
        }
    }

    /// From host to host, by ports that tell packets apart.
    fn frame(at_ns: i64, outgoing: bool, [from, to]: [[u8; 4]; 2], ports: [u16; 2]) -> Frame {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4(from, to, 64)
            .tcp(ports[0], ports[1], 0, 0)
            .write(&mut bytes, &[])
            .unwrap();
        Frame {
            real_ns: BEGUN_NS + at_ns,
            interface: 1,
            outgoing,
            unsummed: false,
            bytes,
        }
    }

    const ONE: [u8; 4] = [192, 0, 2, 1];
    const TWO: [u8; 4] = [192, 0, 2, 2];

    fn seen(frames: Vec<Frame>) -> Seen {
        Seen {
            frames,
            mirror: Some(7),
            lost: 0,
        }
    }

    fn story(packets: &[Packet]) -> Vec<(i64, Point)> {
        packets.iter().map(|it| (it.at_ns, it.point)).collect()
    }

    #[test]
    fn what_leaves_comes_before_what_arrives() {
        let (data, ack) = ([ONE, TWO], [TWO, ONE]);
        let sender = vec![
            Frame {
                interface: 7,
                ..frame(-8, true, data, [1, 9])
            },
            frame(-5, true, data, [1, 9]),
            // The clock stands still while an answer comes and the next packet goes.
            frame(0, false, ack, [9, 1]),
            frame(0, true, data, [2, 9]),
        ];
        let receiver = vec![
            frame(-5, false, data, [1, 9]),
            frame(0, true, ack, [9, 1]),
            frame(0, false, data, [2, 9]),
        ];
        let sorted = sort(&places(false), [sender, receiver].map(seen));
        assert_eq!(
            story(&sorted),
            [
                (-8, Point::SenderQueued),
                (-5, Point::SenderLeft),
                (-5, Point::ReceiverArrived),
                (0, Point::ReceiverLeft),
                (0, Point::SenderArrived),
                (0, Point::SenderLeft),
                (0, Point::ReceiverArrived),
            ]
        );
    }

    #[test]
    fn what_the_link_changed_or_lost_holds_nothing_up() {
        let data = [ONE, TWO];
        // Two that were put together on their way, and one that was lost.
        let sender = vec![
            frame(0, true, data, [1, 9]),
            frame(0, true, data, [2, 9]),
            frame(0, true, data, [3, 9]),
        ];
        let receiver = vec![frame(0, false, data, [4, 9]), frame(7, true, data, [5, 9])];
        let sorted = sort(&places(false), [sender, receiver].map(seen));
        let points: Vec<Point> = sorted.iter().map(|it| it.point).collect();
        let left = Point::SenderLeft;
        let arrived = Point::ReceiverArrived;
        assert_eq!(points, [left, left, left, arrived, Point::ReceiverLeft]);
    }

    #[test]
    fn what_is_not_between_the_ends_is_left_out() {
        let other = [203, 0, 113, 1];
        let mut arp = frame(0, true, [ONE, TWO], [1, 9]);
        arp.bytes = vec![0, 1, 8, 0];
        let frames = vec![
            frame(0, true, [ONE, other], [1, 9]),
            frame(0, false, [other, ONE], [1, 9]),
            arp,
        ];
        assert_eq!(sort(&places(false), [seen(frames), Seen::default()]), []);
    }

    #[test]
    fn over_loopback_who_speaks_first_is_the_sender() {
        let same = [[127, 0, 0, 1]; 2];
        let frames = vec![
            frame(0, true, same, [5, 9]),
            frame(0, false, same, [5, 9]),
            frame(0, true, same, [9, 5]),
            frame(0, false, same, [9, 5]),
            // Another connection.
            frame(0, true, same, [6, 9]),
        ];
        let sorted = sort(&places(true), [seen(frames), Seen::default()]);
        let points: Vec<Point> = sorted.iter().map(|it| it.point).collect();
        assert_eq!(
            points,
            [
                Point::SenderLeft,
                Point::ReceiverArrived,
                Point::ReceiverLeft,
                Point::SenderArrived,
                Point::SenderLeft,
            ]
        );
    }

    #[test]
    fn a_checksum_that_was_left_out_is_put_in() {
        let mut frame = frame(0, true, [ONE, TWO], [1, 9]);
        let whole = frame.bytes.clone();
        frame.bytes[36..38].fill(0);
        let only = |frame: &Frame| [seen(vec![frame.clone()]), Seen::default()];
        let as_it_is = sort(&places(false), only(&frame));
        assert_eq!(sum::is_right(&as_it_is[0].bytes), Some(false));
        frame.unsummed = true;
        let completed = sort(&places(false), only(&frame));
        assert_eq!(completed[0].bytes, whole);
    }
}
