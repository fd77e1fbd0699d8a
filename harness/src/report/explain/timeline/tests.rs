//! Pages of histories written by hand.

use super::page;
use crate::capture::{Capture, Packet, Point};
use crate::history::{End, Stamp, Stream};
use crate::oracle::doctor::{Plan, range, stamp};
use crate::oracle::{Contract, judge};
use crate::report::explain::doctored::{run, torn};
use crate::scenario::{Actor, Family, Op, Range};

fn html(plan: &Plan, capture: Option<Capture>) -> String {
    page(&plan.scenario, &[run(plan, capture)])
}

fn count(page: &str, what: &str) -> usize {
    page.matches(what).count()
}

/// A TCP packet over IPv4.
fn tcp(way_data: bool, seq: u32, ack: u32, syn: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    let len = (40 + payload.len()) as u16;
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[8] = 64;
    packet[9] = 6;
    let (one, two): ([u8; 4], [u8; 4]) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let (from, to) = if way_data { (one, two) } else { (two, one) };
    packet[12..16].copy_from_slice(&from);
    packet[16..20].copy_from_slice(&to);
    let ports: [u16; 2] = if way_data { [1000, 2000] } else { [2000, 1000] };
    packet[20..22].copy_from_slice(&ports[0].to_be_bytes());
    packet[22..24].copy_from_slice(&ports[1].to_be_bytes());
    packet[24..28].copy_from_slice(&seq.to_be_bytes());
    packet[28..32].copy_from_slice(&ack.to_be_bytes());
    packet[32] = 0x50;
    packet[33] = if syn { 0x02 } else { 0x10 };
    packet.extend(payload);
    packet
}

fn capture(packets: Vec<(i64, Point, Vec<u8>)>) -> Capture {
    let one = |(at_ns, point, bytes)| Packet {
        at_ns,
        point,
        bytes,
    };
    Capture {
        packets: packets.into_iter().map(one).collect(),
        lost: 0,
    }
}

/// The same bytes queued as they were sent, and leaving as they were torn.
fn torn_capture(plan: &Plan, isn: u32) -> Capture {
    let mut sent = vec![0; 4096];
    crate::history::fill(&mut sent, 0, 0);
    let seq = isn.wrapping_add(1);
    let data = |bytes: &[u8]| tcp(true, seq, 1, false, bytes);
    let answer = tcp(false, 1, seq.wrapping_add(4096), false, &[]);
    capture(vec![
        (0, Point::SenderQueued, tcp(true, isn, 0, true, &[])),
        (0, Point::SenderLeft, tcp(true, isn, 0, true, &[])),
        (0, Point::ReceiverArrived, tcp(true, isn, 0, true, &[])),
        (1_500, Point::SenderQueued, data(&sent)),
        (19_000, Point::SenderLeft, data(&plan.history.received)),
        (19_000, Point::ReceiverArrived, data(&plan.history.received)),
        (21_000, Point::ReceiverQueued, answer.clone()),
        (40_000, Point::SenderArrived, answer),
    ])
}

#[test]
fn torn_bytes_are_marked_with_the_write_that_tore_them() {
    let page = html(&torn(), None);
    assert_eq!(count(&page, "class=\"tear-line\""), 1);
    assert_eq!(count(&page, "class=\"torn-bytes\""), 1);
    assert_eq!(
        count(&page, ">T1<"),
        3,
        "at the write, at the bytes, in the legend"
    );
    assert!(page.contains("tears bytes of a send that had returned 5.0 µs before"));
    assert!(page.contains("torn: stream 1000+500 shows what operation 2 wrote"));
    assert!(page.contains("violates stable-on-return"));
    assert!(page.contains("no packets captured"));
}

#[test]
fn a_clean_history_has_no_such_marks() {
    let mut plan = Plan::new(4096);
    plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
    plan.receive(20, range(0, 4096), 0);
    let page = html(&plan, None);
    assert!(page.contains("Every property held."));
    for mark in ["tear-line", "torn-bytes", ">T1<"] {
        assert_eq!(count(&page, &format!("class=\"{mark}\"")), 0, "{mark}");
    }
    assert!(page.contains("file 0+4096 (page 0)"));
}

#[test]
fn a_packet_says_what_it_carried_at_each_place() {
    let plan = torn();
    // Sequence numbers may wrap around.
    for isn in [1, u32::MAX - 100] {
        let page = html(&plan, Some(torn_capture(&plan, isn)));
        let says = "shows queued: generation 0; leaving: generations 0 and 1; arriving: generations 0 and 1";
        assert!(page.contains(says), "{page}");
        assert!(page.contains("packet to the receiver: 0+4096"));
        assert!(page.contains("packet to the sender: ack 4096"));
        assert!(page.contains("carries torn bytes"));
        assert!(page.contains("left the queue at 19.0 µs, 17.5 µs later"));
        // The answer was not seen to leave its queue, which nobody watched.
        assert!(!page.contains("not seen"));
    }
}

#[test]
fn what_was_not_seen_further_on_is_said_where_somebody_looked() {
    let data = |at: u32| tcp(true, 1 + at, 1, false, &[7; 100]);
    let page = html(
        &torn(),
        Some(capture(vec![
            (1_000, Point::SenderQueued, data(0)),
            (1_000, Point::SenderQueued, data(100)),
            (9_000, Point::SenderLeft, data(100)),
            (12_000, Point::SenderQueued, data(0)),
            (15_000, Point::SenderLeft, data(0)),
        ])),
    );
    // The first of two that are the same is taken for the one that left.
    assert_eq!(
        count(&page, "not seen to leave the queue"),
        2,
        "mark and row"
    );
    assert_eq!(count(&page, "sent again"), 2);
    assert!(!page.contains("not seen to arrive"));
}

#[test]
fn segments_and_what_they_are_put_together_from_are_one_journey_each() {
    let data = |at: u32, len: usize| tcp(true, 1 + at, 1, false, &vec![7; len]);
    let page = html(
        &torn(),
        Some(capture(vec![
            (1_000, Point::SenderQueued, data(0, 300)),
            (2_000, Point::SenderLeft, data(0, 100)),
            (2_000, Point::SenderLeft, data(100, 100)),
            (2_000, Point::SenderLeft, data(200, 100)),
            (3_000, Point::ReceiverArrived, data(0, 200)),
            (3_000, Point::ReceiverArrived, data(200, 100)),
        ])),
    );
    assert_eq!(count(&page, "class=\"mark packet"), 3);
    assert_eq!(
        count(
            &page,
            "queued at 1.0 µs; left the queue at 2.0 µs, 1.0 µs later; arrived at 3.0 µs"
        ),
        3
    );
}

#[test]
fn hundreds_of_packets_are_gathered_and_none_is_forgotten() {
    let data = |at: u32| tcp(true, 1 + at * 100, 1, false, &[7; 100]);
    let mut packets = Vec::new();
    for at in 0..2_000 {
        packets.push((1_000 + i64::from(at), Point::SenderQueued, data(at)));
    }
    for at in 0..2_000 {
        packets.push((
            20_000_000 + i64::from(at) * 2_000,
            Point::SenderLeft,
            data(at),
        ));
    }
    let few = html(&torn(), Some(capture(packets[..300].to_vec())));
    assert_eq!(count(&few, "class=\"mark packet"), 300);
    let page = html(&torn(), Some(capture(packets)));
    let marks = count(&page, "class=\"mark packet");
    assert!((1..=300).contains(&marks), "{marks}");
    let stands_for = page.split("</title>").filter_map(|it| {
        let (_, title) = it.rsplit_once("<title>link · ")?;
        title
            .split(" packets to the receiver")
            .next()?
            .parse::<usize>()
            .ok()
    });
    assert_eq!(stands_for.sum::<usize>(), 2_000);
    assert!(page.len() < 1 << 20);
}

#[test]
fn broken_packets_are_shown_as_what_they_are() {
    let bytes = [
        vec![],
        vec![0x45],
        vec![0x60; 10],
        vec![0xff; 60],
        tcp(true, 1, 1, false, &[1])[..30].to_vec(),
    ];
    let packets = bytes.map(|bytes| (1_000, Point::SenderQueued, bytes));
    let page = html(&torn(), Some(capture(packets.to_vec())));
    assert_eq!(count(&page, "class=\"mark packet"), 5);
}

#[test]
fn each_actor_and_each_connection_has_a_lane() {
    let mut plan = torn();
    plan.scenario.setup.socket.each = true;
    plan.call(Op::Sendfile(range(0, 100)), 9, 10);
    plan.scenario.steps[2].actor = Actor::B;
    let mut received = vec![0; 100];
    crate::history::fill(&mut received, 0, 0);
    plan.history.beside.push(Stream {
        actor: Actor::B,
        chunks: vec![crate::history::Chunk {
            at: stamp(22),
            start: 0,
            len: 100,
        }],
        received,
        end: End::Eof,
        end_ns: 30_000,
        completions: Vec::new(),
    });
    let page = html(&plan, None);
    assert_eq!(count(&page, "class=\"lane lane-actor\""), 2);
    assert_eq!(count(&page, "class=\"lane lane-reader\""), 2);
    assert!(page.contains("reader of b"));
}

#[test]
fn datagrams_and_sockets_without_packets_have_pages_too() {
    for (family, says) in [
        (Family::Udp4, "no packets captured"),
        (Family::Unix, "no packets"),
    ] {
        let mut plan = torn();
        plan.scenario.setup.socket.family = family;
        let page = html(&plan, None);
        assert!(page.contains(says));
    }
}

#[test]
fn what_a_scenario_says_is_escaped() {
    let mut plan = torn();
    plan.scenario.header = "</title><script>alert(1)</script>\n\n\"quoted\" & <b>bold</b>".into();
    let mut run = run(&plan, None);
    run.kernel = "tree:/<img src=x>\" onload=\"x".into();
    let page = page(&plan.scenario, &[run]);
    assert_eq!(count(&page, "<script>"), 1, "ours");
    assert!(!page.contains("<img") && !page.contains("<b>bold"));
    assert!(!page.contains("\" onload=\""));
    assert!(page.contains("&lt;script&gt;alert(1)"));
}

#[test]
fn a_page_needs_no_network() {
    let page = html(&torn(), None);
    for word in ["http:", "https:", "src=", "@import", "url(\""] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn a_page_without_runs_and_odd_histories_do_no_harm() {
    assert!(page(&torn().scenario, &[]).contains("sendfile 0+4096"));
    let mut plan = torn();
    plan.history.calls[0].step = 99;
    plan.history.calls[1].entry = Stamp {
        order: 7,
        time_ns: u64::MAX,
    };
    plan.history.chunks[0].len = 1 << 40;
    let mut run = run(&plan, None);
    run.violations = run_violations(&torn());
    for violation in &mut run.violations {
        violation.stream_offset = Some(1 << 50);
        violation.file_range = Some(Range {
            offset: 1 << 60,
            len: 0,
        });
        violation.torn_by = Some(77);
    }
    assert!(page(&plan.scenario, &[run]).contains("</html>"));
}

fn run_violations(plan: &Plan) -> Vec<crate::oracle::Violation> {
    judge(Contract::Stable, &plan.scenario, &plan.history)
}

/// The journeys of the events of a story, by what was queued when.
fn waits(plan: &Plan, capture: Capture) -> Vec<(String, i64, Option<i64>)> {
    let run = run(plan, Some(capture));
    let story = super::Story::new(&plan.scenario, &run);
    let one = |event: &super::events::Event| match &event.of {
        super::events::Of::Packet { journey, label, .. } => {
            let [queued, left, _] = journey.sights.each_ref().map(|it| it.as_ref());
            Some((label.clone(), queued?.time_ns, left.map(|it| it.time_ns)))
        }
        _ => None,
    };
    story.events.iter().filter_map(one).collect()
}

#[test]
fn of_copies_the_one_leaves_that_has_waited_as_long_as_it_should() {
    let mut plan = Plan::new(4096);
    plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
    plan.receive(20, range(0, 4096), 0);
    let mut bytes = vec![0; 4096];
    crate::history::fill(&mut bytes, 0, 0);
    let data = || tcp(true, 8, 1, false, &bytes);
    let seen = || {
        capture(vec![
            (0, Point::SenderQueued, tcp(true, 7, 0, true, &[])),
            (1_000, Point::SenderQueued, data()),
            (200_000_000, Point::SenderQueued, data()),
            (210_000_000, Point::SenderLeft, data()),
            (210_000_000, Point::ReceiverArrived, data()),
        ])
    };
    let left = |plan: &Plan| -> Vec<Option<i64>> {
        let packets = waits(plan, seen()).into_iter();
        packets
            .filter(|it| it.0.starts_with("0+"))
            .map(|it| it.2)
            .collect()
    };
    // The first may have been lost.
    plan.scenario.setup.data.delay_us = 10_000;
    plan.scenario.setup.data.loss_ppm = 1;
    assert_eq!(left(&plan), [None, Some(210_000_000)]);
    // It cannot: it is the second that is still there.
    plan.scenario.setup.data.loss_ppm = 0;
    assert_eq!(left(&plan), [Some(210_000_000), None]);
}

#[test]
fn at_one_instant_a_packet_comes_after_its_call_and_a_torn_one_after_the_write() {
    let mut plan = torn();
    for call in &mut plan.history.calls {
        (call.entry.time_ns, call.exit.time_ns) = (0, 0);
    }
    let mut packets = torn_capture(&plan, 7);
    for packet in &mut packets.packets {
        packet.at_ns = packet.at_ns.min(0);
    }
    let run = run(&plan, Some(packets));
    let story = super::Story::new(&plan.scenario, &run);
    let at = |what: &str| {
        let event = story.events.iter().find(|it| it.what.contains(what));
        event.unwrap_or_else(|| panic!("{what}"))
    };
    let [syn, send, data, write] = ["SYN", "1: sendfile", ": 0+4096", "2: mmap-write"].map(at);
    assert!(syn.at < send.at && send.at < data.at && data.at < write.at);
    assert!(
        data.until > Some(write.at),
        "it leaves with what was written"
    );
    let read = at("received 1000 bytes");
    assert!(data.until < Some(read.at));
}
