//! The race of 2008 as a stock and a patched kernel show it, with its packets.

use inflight::capture::{Capture, Packet, Point};
use inflight::history::{Call, Chunk, End, History, Outcome, Stamp, fill};
use inflight::oracle::{Contract, judge};
use inflight::report::explain::Run;
use inflight::scenario::{Scenario, text};

const BYTES: usize = 4096;

pub fn scenario() -> Scenario {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/race/race-2008.scn");
    let text = std::fs::read_to_string(file).unwrap();
    text::parse(file, &text).unwrap()
}

pub fn stock() -> Run {
    run(
        "6.12-stock",
        [(1, 18_400), (2, 31_200), (3, 36_000), (4, 39_800)],
        1,
    )
}

pub fn patched() -> Run {
    run(
        "6.12-patched",
        [
            (1, 18_400),
            (3, 60_071_000),
            (4, 60_075_900),
            (5, 60_079_000),
        ],
        0,
    )
}

/// Entry and return of the send, then of the write; and what arrives.
fn run(kernel: &str, [sends, sent, writes, wrote]: [(u64, u64); 4], arrives: u8) -> Run {
    let stamp = |(order, time_ns)| Stamp { order, time_ns };
    let bytes = |generation| {
        let mut bytes = vec![0; BYTES];
        fill(&mut bytes, 0, generation);
        bytes
    };
    let returned = |step, entry, exit| Call {
        step,
        entry: stamp(entry),
        exit: stamp(exit),
        outcome: Outcome::Returned(BYTES as u64),
        offset_after: (step == 0).then_some(BYTES as u64),
        f_pos_after: (step == 0).then_some(0),
    };
    let read = if arrives == 0 { 2 } else { 5 };
    let history = History {
        calls: vec![returned(0, sends, sent), returned(1, writes, wrote)],
        completions: Vec::new(),
        chunks: vec![Chunk {
            at: stamp((read, 20_041_000)),
            start: 0,
            len: BYTES,
        }],
        received: bytes(arrives),
        file_pread: bytes(1),
        file_mmap: bytes(1),
        end: End::Eof,
        end_ns: if arrives == 0 { 80_110_000 } else { 40_092_000 },
        beside: Vec::new(),
        counters: None,
        leftovers: None,
        by_the_clock: false,
    };
    let scenario = scenario();
    Run {
        kernel: kernel.to_string(),
        violations: judge(Contract::Stable, &scenario, &history),
        history,
        capture: Some(capture(bytes(0), bytes(arrives), arrives == 0)),
    }
}

fn capture(sent: Vec<u8>, arrives: Vec<u8>, waits: bool) -> Capture {
    let end = 1 + BYTES as u32;
    let mut packets = Vec::new();
    let mut data = |queued_ns: i64, seq, flags, as_queued: &[u8], as_left: &[u8]| {
        let left_ns = queued_ns + 20_003_000;
        packets.push(packet(
            queued_ns,
            Point::SenderQueued,
            tcp(true, seq, 1, flags, as_queued),
        ));
        packets.push(packet(
            left_ns,
            Point::SenderLeft,
            tcp(true, seq, 1, flags, as_left),
        ));
        packets.push(packet(
            left_ns + 800,
            Point::ReceiverArrived,
            tcp(true, seq, 1, flags, as_left),
        ));
    };
    data(27_000, 1, PSH | ACK, &sent, &arrives);
    let finish_ns = if waits { 60_090_000 } else { 47_000 };
    data(finish_ns, end, FIN | ACK, &[], &[]);
    for (queued_ns, ack) in [(20_036_000, end), (finish_ns + 20_010_000, end + 1)] {
        let bytes = tcp(false, 1, ack, ACK, &[]);
        for (at_ns, point) in [
            (queued_ns, Point::ReceiverQueued),
            (queued_ns + 40_004_000, Point::ReceiverLeft),
            (queued_ns + 40_005_000, Point::SenderArrived),
        ] {
            packets.push(packet(at_ns, point, bytes.clone()));
        }
    }
    packets.sort_by_key(|packet| packet.at_ns);
    Capture { packets, lost: 0 }
}

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

fn packet(at_ns: i64, point: Point, bytes: Vec<u8>) -> Packet {
    Packet {
        at_ns,
        point,
        bytes,
    }
}

/// TCP over IPv4, from the sender's 10.0.0.1 or from the receiver's 10.0.0.2.
fn tcp(of_sender: bool, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    let (mut ends, mut ports) = ([[10, 0, 0, 1], [10, 0, 0, 2]], [40_000_u16, 5_000]);
    if !of_sender {
        ends.reverse();
        ports.reverse();
    }
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&((40 + payload.len()) as u16).to_be_bytes());
    (bytes[8], bytes[9]) = (64, 6);
    bytes[12..20].copy_from_slice(&ends.concat());
    bytes[20..22].copy_from_slice(&ports[0].to_be_bytes());
    bytes[22..24].copy_from_slice(&ports[1].to_be_bytes());
    bytes[24..28].copy_from_slice(&seq.to_be_bytes());
    bytes[28..32].copy_from_slice(&ack.to_be_bytes());
    (bytes[32], bytes[33]) = (0x50, flags);
    bytes.extend(payload);
    bytes
}
