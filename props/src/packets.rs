//! That the packets of a scenario are seen as they were, and that looking at them changes
//! nothing.

use etherparse::{LaxSlicedPacket, TransportSlice};
use inflight::capture::{Capture, Packet, Point};
use inflight::guest::tap;
use inflight::history::generation_of;
use inflight::oracle::Contract;
use inflight::scenario::{Scenario, normalize, text};
use inflight::trial::{Trial, Verdict};

use crate::properties::{CORPUS, Result};

/// On Linux 6.1 what ran before has a say in who goes first when two threads wake at the
/// same instant: a run of a scenario can then differ from one before it, watched or not.
const ATTEMPTS: usize = 4;

/// What a scenario does, it does as well when its packets are watched.
pub fn a_watched_scenario_does_the_same() -> Result {
    let mut trial = trial()?;
    let mut packets = 0;
    for (file, text) in CORPUS {
        let scenario = text::parse(file, text).map_err(|error| error.to_string())?;
        let scenario = normalize::normalize(scenario);
        let mut known = Vec::new();
        for attempt in 1.. {
            let alone = trial.run_again(&scenario).map_err(|it| it.to_string())?;
            known.push(alone.history.digest(&scenario));
            let (watched, capture) = watch(&mut trial, &scenario)?;
            packets += capture.map_or(0, |it| it.packets.len());
            if known.contains(&watched.history.digest(&scenario)) {
                break;
            }
            if attempt == ATTEMPTS {
                return Err(format!("{file}: {}", difference(&alone, &watched)));
            }
        }
    }
    match packets {
        1000.. => Ok(()),
        few => Err(format!("only {few} packets were seen")),
    }
}

/// The first lines of two histories that differ, the clock aside.
fn difference(one: &Verdict, other: &Verdict) -> String {
    let [one, other] = [one, other].map(|it| format!("{:#?}", it.history));
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains("_ns: "));
        lines.map(str::to_owned).collect()
    };
    let (one, other) = (lines(&one), lines(&other));
    let first = one.iter().zip(&other).position(|(one, other)| one != other);
    let from = first.unwrap_or(one.len().min(other.len()));
    let part = |lines: &[String]| lines[from..lines.len().min(from + 12)].join("\n");
    format!("alone:\n{}\nwatched:\n{}", part(&one), part(&other))
}

const MS: i64 = 1_000_000;

/// Scenarios that take 10 ms to the receiver, but for the last, which takes none.
const LINKS: [&str; 6] = [
    "link data delay=10ms\nsocket tcp4\n",
    "link data delay=10ms\nsocket tcp6\n",
    "link data delay=10ms\nlink veth no-tso\nsocket tcp4\n",
    "link data delay=10ms\nsocket udp4\n",
    "link tun\nlink data delay=10ms\nsocket tcp4\n",
    "link loopback\nsocket tcp4\n",
];

/// What arrives in packets is what the receiver reads, each packet is whole, and takes as
/// long as the link says.
pub fn packets_carry_what_is_received() -> Result {
    let mut trial = trial()?;
    for link in LINKS {
        // A datagram of one packet each.
        let len = if link.contains("udp") { 1_400 } else { 20_000 };
        let ops = format!("file tmpfs size=65536\n\nsendfile 0+999\nsendfile 9+{len}\nsend 5+1\n");
        let scenario = scenario(&format!("{link}{ops}"))?;
        let (verdict, capture) = watch(&mut trial, &scenario)?;
        let (received, capture) = (verdict.history.received, capture.unwrap_or_default());
        let delay = (!link.contains("loopback")).then_some(10 * MS);
        let check = |capture: &Capture| fits(&received, capture, delay);
        check(&capture).map_err(|why| format!("{link}{why}\n{:#?}", outline(&capture)))?;
        for (what, doctored) in doctored(&capture) {
            if check(&doctored).is_ok() {
                return Err(format!("{link}not noticed: {what}"));
            }
        }
    }
    Ok(())
}

/// Without the cure: what is queued is what was sent, what leaves is what was written later.
pub fn a_packet_is_torn_in_the_queue() -> Result {
    generations(&[0], &[1])
}

/// With it, both are what was sent.
pub fn a_packet_is_whole_in_the_queue() -> Result {
    generations(&[0], &[0])
}

fn generations(when_queued: &[u8], when_left: &[u8]) -> Result {
    let mut trial = trial()?;
    let race = "link data delay=10ms\n\nsendfile 0+4096\nmmap-write 0+4096\n";
    let (_, capture) = watch(&mut trial, &scenario(race)?)?;
    let capture = capture.unwrap_or_default();
    let shown = |point: Point| {
        let stream = stream(&capture, point)?;
        let mut all: Vec<u8> = (0..)
            .zip(&stream)
            .map(|(at, byte)| generation_of(at, *byte))
            .collect();
        all.dedup();
        Ok::<_, String>((stream.len(), all))
    };
    for (point, wanted) in [
        (Point::SenderQueued, when_queued),
        (Point::SenderLeft, when_left),
        (Point::ReceiverArrived, when_left),
    ] {
        let seen = shown(point)?;
        if seen != (4096, wanted.to_vec()) {
            return Err(format!("{point:?}: {seen:?}, not {wanted:?}"));
        }
    }
    Ok(())
}

/// Holds a capture against what was received.
fn fits(received: &[u8], capture: &Capture, delay: Option<i64>) -> Result {
    if !capture.packets.is_sorted_by_key(|it| it.at_ns) {
        return Err("the packets are not in the order of time".into());
    }
    if let Some(packet) =
        (capture.packets.iter()).find(|it| tap::is_right(&it.bytes) == Some(false))
    {
        return Err(format!("a wrong checksum at {} ns", packet.at_ns));
    }
    let arrived = stream(capture, Point::ReceiverArrived)?;
    if arrived != received {
        let (arrived, received) = (arrived.len(), received.len());
        return Err(format!(
            "{arrived} bytes in packets are not the {received} received"
        ));
    }
    let mut ways = vec![
        (Point::SenderLeft, Point::ReceiverArrived, 0),
        (Point::ReceiverLeft, Point::SenderArrived, 0),
    ];
    if let Some(delay) = delay {
        ways.push((Point::SenderQueued, Point::SenderLeft, delay));
        ways.push((Point::ReceiverQueued, Point::ReceiverLeft, 0));
    }
    for (from, to, takes) in ways {
        let (began, ended) = (seen(capture, from), seen(capture, to));
        // Datagrams are not answered.
        let answers = matches!(from, Point::ReceiverQueued | Point::ReceiverLeft);
        let same = began.bytes == ended.bytes && (answers || !began.at_ns.is_empty());
        if !same || !began.took(&ended, takes) {
            return Err(format!(
                "{from:?} {began:?}\nto {to:?} {ended:?}: not {takes} ns"
            ));
        }
    }
    Ok(())
}

/// All packets at one place.
#[derive(Debug)]
struct Seen {
    at_ns: Vec<i64>,
    /// What they carry, all together.
    bytes: usize,
}

impl Seen {
    /// Whether so much time has passed until they were there. netem counts it in steps that
    /// are shorter than a microsecond.
    fn took(&self, later: &Seen, takes_ns: i64) -> bool {
        let step_ns = if takes_ns == 0 { 1 } else { 1_000 };
        let fits = |began: &i64, ended: &i64| (0..step_ns).contains(&(ended - began - takes_ns));
        let ends = |it: &Seen| {
            it.at_ns
                .first()
                .copied()
                .into_iter()
                .chain(it.at_ns.last().copied())
        };
        match self.at_ns.len() == later.at_ns.len() {
            true => self
                .at_ns
                .iter()
                .zip(&later.at_ns)
                .all(|(one, other)| fits(one, other)),
            // They were cut into segments.
            false => ends(self)
                .zip(ends(later))
                .all(|(one, other)| fits(&one, &other)),
        }
    }
}

fn seen(capture: &Capture, point: Point) -> Seen {
    let there = || capture.packets.iter().filter(|it| it.point == point);
    Seen {
        at_ns: there().map(|it| it.at_ns).collect(),
        bytes: (there().filter_map(carried))
            .map(|(_, payload)| payload.len())
            .sum(),
    }
}

/// What TCP has carried there, by its sequence numbers; or UDP, in order.
fn stream(capture: &Capture, point: Point) -> Result<Vec<u8>> {
    let mut stream = Vec::new();
    let mut begin = None;
    for packet in capture.packets.iter().filter(|it| it.point == point) {
        let (tcp, payload) = carried(packet).ok_or("a packet is neither TCP nor UDP")?;
        let Some((number, syn)) = tcp else {
            stream.extend(payload);
            continue;
        };
        if syn {
            begin = Some(number.wrapping_add(1));
        } else if !payload.is_empty() {
            let begin = begin.ok_or("data without a handshake")?;
            let from = number.wrapping_sub(begin) as usize;
            if from != stream.len() {
                return Err(format!("{from} comes after {}", stream.len()));
            }
            stream.extend(payload);
        }
    }
    Ok(stream)
}

/// The sequence number of TCP, and whether it is the first.
type Number = (u32, bool);

/// What TCP says of a packet, and its payload.
fn carried(packet: &Packet) -> Option<(Option<Number>, &[u8])> {
    match LaxSlicedPacket::from_ip(&packet.bytes).ok()?.transport? {
        TransportSlice::Tcp(tcp) => Some((Some((tcp.sequence_number(), tcp.syn())), tcp.payload())),
        TransportSlice::Udp(udp) => Some((None, udp.payload())),
        _ => None,
    }
}

/// Captures that are wrong in one way each.
fn doctored(capture: &Capture) -> Vec<(&'static str, Capture)> {
    let has_data = |it: &Packet| carried(it).is_some_and(|(_, payload)| !payload.is_empty());
    let arrives = |it: &Packet| it.point == Point::ReceiverArrived && has_data(it);
    let Some(at) = capture.packets.iter().position(arrives) else {
        return Vec::new();
    };
    let change = |change: fn(&mut Packet)| {
        let mut doctored = capture.clone();
        change(&mut doctored.packets[at]);
        doctored
    };
    let mut lost = capture.clone();
    lost.packets.remove(at);
    let mut twice = capture.clone();
    twice.packets.insert(at, capture.packets[at].clone());
    let mut shuffled = capture.clone();
    shuffled.packets.swap(0, at);
    vec![
        ("a lost packet", lost),
        ("a packet twice", twice),
        ("another order", shuffled),
        ("another time", change(|it| it.at_ns += 1)),
        (
            "another byte",
            change(|it| {
                let last = it.bytes.len() - 1;
                it.bytes[last] ^= 1;
            }),
        ),
    ]
}

/// A line a packet.
fn outline(capture: &Capture) -> Vec<String> {
    let line = |it: &Packet| {
        let bytes = carried(it).map(|(tcp, payload)| (tcp, payload.len()));
        format!("{} {:?} {bytes:?}", it.at_ns, it.point)
    };
    capture.packets.iter().map(line).collect()
}

fn scenario(text: &str) -> Result<Scenario> {
    let scenario = text::parse("test", text).map_err(|error| error.to_string())?;
    Ok(normalize::normalize(scenario))
}

fn trial() -> Result<Trial> {
    Trial::set_up(Contract::Documented).map_err(|error| error.to_string())
}

fn watch(trial: &mut Trial, scenario: &Scenario) -> Result<(Verdict, Option<Capture>)> {
    trial
        .run_watched(scenario)
        .map_err(|error| format!("{error}\n\n{scenario}"))
}
