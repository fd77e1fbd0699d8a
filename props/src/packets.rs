//! That the packets of a scenario are seen as they were, and that looking at them changes
//! nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use etherparse::{LaxSlicedPacket, TransportSlice};
use inflight::capture::{Capture, Packet, Point};
use inflight::guest::link::Link;
use inflight::guest::tap::{self, Tap};
use inflight::history::generation_of;
use inflight::oracle::Contract;
use inflight::scenario::{DeviceKind, Scenario, normalize, text};
use inflight::trial::{Trial, Verdict};
use nix::errno::Errno;

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

/// What happened is told also where the packets are lost on us.
pub fn a_history_outlives_its_packets() -> Result {
    let mut trial = trial()?;
    let scenario = scenario("link data delay=10ms\n\nsendfile 0+4096\nwait 1s\nsendfile 0+9\n")?;
    let blind = thread::spawn(blind_both_ends);
    let run = trial.run_watched(&scenario);
    blind.join().map_err(|_| "who blinds has panicked")??;
    let (verdict, capture) = run.map_err(|error| error.to_string())?;
    match (verdict.history.received.len(), capture) {
        (4105, Some(Err(_))) => Ok(()),
        (len, capture) => Err(format!("{len} bytes received, and {capture:?}")),
    }
}

/// Waits until packets are watched at both ends, and puts something else in place of what they
/// are watched with.
fn blind_both_ends() -> Result {
    const ATTEMPTS: usize = 10_000;
    let null = File::open("/dev/null").map_err(|error| error.to_string())?;
    for _ in 0..ATTEMPTS {
        let watching = packet_sockets().map_err(|error| error.to_string())?;
        if watching.len() == 2 {
            for socket in watching {
                // SAFETY: it stays an open file of whoever has it.
                if unsafe { libc::dup2(null.as_raw_fd(), socket) } < 0 {
                    return Err(io::Error::last_os_error().to_string());
                }
            }
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err("nobody watches".into())
}

/// Those of this process that see packets.
fn packet_sockets() -> io::Result<Vec<i32>> {
    let mut sockets = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(fd) = name.to_str().and_then(|it| it.parse::<i32>().ok()) else {
            continue;
        };
        let (mut domain, mut len) = (0_i32, size_of::<i32>() as libc::socklen_t);
        // SAFETY: what is no socket is an error, and of one that is a number is written.
        let known = unsafe {
            let domain = (&raw mut domain).cast();
            libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, domain, &mut len)
        };
        if known == 0 && domain == libc::AF_PACKET {
            sockets.push(fd);
        }
    }
    Ok(sockets)
}

/// Whoever cannot watch leaves nothing that was made for it.
pub fn a_watch_that_fails_leaves_nothing() -> Result {
    let failed = |error: io::Error| error.to_string();
    let link = Link::create().map_err(failed)?;
    let before = interfaces().map_err(failed)?;
    let tap = Tap::open(&link, DeviceKind::Veth).map_err(failed)?;
    let all = interfaces().map_err(failed)?;
    let made: Vec<&String> = all.difference(&before).collect();
    let [mirror] = made.as_slice() else {
        return Err(format!("watching has made {made:?}"));
    };
    // The name is free again, so that a second one comes as far as the queue, which is taken.
    rename(mirror, "other").map_err(failed)?;
    let before = interfaces().map_err(failed)?;
    // What the first one made is not the second one's to remove: a third fails as well.
    for _ in 0..2 {
        if Tap::open(&link, DeviceKind::Veth).is_ok() {
            return Err("a queue has two mirrors".into());
        }
        let after = interfaces().map_err(failed)?;
        if after != before {
            return Err(format!("{after:?} where there were {before:?}"));
        }
    }
    rename("other", mirror).map_err(failed)?;
    drop(tap);
    Tap::open(&link, DeviceKind::Veth).map(drop).map_err(failed)
}

/// The network interfaces of this namespace.
fn interfaces() -> io::Result<BTreeSet<String>> {
    let text = fs::read_to_string("/proc/self/net/dev")?;
    let names = text.lines().filter_map(|line| line.split_once(':'));
    Ok(names.map(|(name, _)| name.trim().to_owned()).collect())
}

/// Takes an interface down and gives it another name.
fn rename(from: &str, to: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    let name = |name: &str| {
        let mut chars = [0; libc::IFNAMSIZ];
        for (place, byte) in chars.iter_mut().zip(name.bytes()) {
            *place = byte as libc::c_char;
        }
        chars
    };
    // SAFETY: `ifreq` is plain data, and both ioctls only read one.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name = name(from);
        Errno::result(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &request,
        ))?;
        request.ifr_ifru.ifru_newname = name(to);
        Errno::result(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFNAME, &request))?;
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
    let why = |error: io::Error| format!("{error}\n\n{scenario}");
    let (verdict, capture) = trial.run_watched(scenario).map_err(why)?;
    Ok((verdict, capture.transpose().map_err(why)?))
}
