//! Messages: datagrams, which arrive whole or not at all, and packets that are never lost.

use super::*;
use crate::scenario::{Copying, Family, Filling};

fn of(family: Family) -> Plan {
    let mut plan = Plan::new(262_144);
    plan.scenario.setup.socket.family = family;
    plan
}

const PARTS: [Range; 3] = [
    Range {
        offset: 0,
        len: 1000,
    },
    Range {
        offset: 5000,
        len: 700,
    },
    Range {
        offset: 9000,
        len: 1000,
    },
];

/// Three sends, and what arrives: each a list of the parts in one datagram.
fn datagrams(arrive: &[&[usize]]) -> Plan {
    let mut plan = of(Family::Udp4);
    for (at, part) in (0..).zip(PARTS) {
        plan.call(Op::Sendfile(part), 1 + 2 * at, 2 + 2 * at);
    }
    for parts in arrive {
        one(&mut plan, parts.iter().map(|it| PARTS[*it]));
    }
    plan
}

/// These ranges arrive as one.
fn one(plan: &mut Plan, ranges: impl Iterator<Item = Range>) {
    let before = plan.history.chunks.len();
    for range in ranges {
        plan.receive(20 + before as u64, range, 0);
    }
    let joined = plan.history.chunks.split_off(before);
    let len = joined.iter().map(|it| it.len).sum();
    plan.history
        .chunks
        .push(crate::history::Chunk { len, ..joined[0] });
}

#[test]
fn each_datagram_arrives_once_in_order_and_whole() {
    assert!(both(&datagrams(&[&[0], &[1], &[2]])));
    for wrong in [
        &[&[0][..], &[2], &[1]][..],
        &[&[0], &[1]],
        &[&[1], &[2]],
        &[&[0], &[1], &[1], &[2]],
        &[&[0, 1], &[2]],
        &[&[0], &[1], &[2], &[2]],
    ] {
        assert!(!both(&datagrams(wrong)), "{wrong:?}");
    }
    let mut short = datagrams(&[&[0], &[1], &[2]]);
    short.history.chunks[2].len -= 1;
    short.history.received.pop();
    assert!(!both(&short));
    let mut other = datagrams(&[&[0], &[1], &[2]]);
    other.history.received[1500] ^= 1;
    assert!(!both(&other));
}

#[test]
fn a_network_may_do_what_it_is_told_to_and_no_more() {
    type Told = fn(&mut Plan);
    let loses: Told = |plan| plan.scenario.setup.data.loss_ppm = 10;
    let doubles: Told = |plan| plan.scenario.setup.data.duplicate_ppm = 10;
    let narrow: Told = |plan| plan.scenario.setup.socket.rcvbuf_bytes = Some(2304);
    let (missing, doubled, swapped) = (
        &[&[0][..], &[2]][..],
        &[&[0][..], &[1], &[0], &[2]][..],
        &[&[1][..], &[0], &[2]][..],
    );
    for (told, arrive, fine) in [
        (loses, missing, true),
        (loses, doubled, false),
        (loses, swapped, false),
        (narrow, missing, true),
        (narrow, swapped, false),
        (doubles, doubled, true),
        (doubles, swapped, true),
    ] {
        let mut plan = datagrams(arrive);
        told(&mut plan);
        assert_eq!(both(&plan), fine, "{arrive:?}");
        plan.history.received[10] ^= 1;
        assert!(!both(&plan), "{arrive:?}");
    }
}

/// The checksum was made before, and the bytes are sent after it.
#[test]
fn a_write_may_cost_the_datagram_that_it_meets() {
    for (entry, exit, lost) in [(4, 7, true), (8, 9, false), (1, 2, false)] {
        let mut plan = of(Family::Udp4);
        plan.call(Op::Pwrite(range(5000, 10)), entry, exit);
        plan.call(Op::Sendfile(PARTS[1]), 5, 6);
        assert_eq!(both(&plan), lost, "{entry} {exit}");
        // Where a return promises nothing any later one does, too.
        let documented = says(&plan, Contract::Documented).is_none();
        assert_eq!(documented, lost || entry > 6);
    }
}

#[test]
fn what_waits_for_more_is_joined_by_it() {
    let corked = |arrive: &[&[usize]]| {
        let mut plan = datagrams(arrive);
        plan.scenario.setup.socket.cork = true;
        plan
    };
    assert!(both(&corked(&[&[0, 1, 2]])));
    assert!(!both(&corked(&[&[0], &[1], &[2]])));
    assert!(!both(&corked(&[&[0, 1], &[2]])));
    // A pipe, of which one part goes with MORE.
    let piped = |more, arrive: &[&[usize]]| {
        let mut plan = of(Family::Udp4);
        let capacity_bytes = 65_536;
        plan.call(Op::Pipe { capacity_bytes }, 1, 2);
        for (at, range) in (0..).zip(PARTS) {
            let move_pages = false;
            let by = Filling::Splice;
            plan.call(Op::SpliceIn { range, by }, 3 + 4 * at, 4 + 4 * at);
            let splice = Op::SpliceOut {
                len: range.len,
                more: more && at == 0,
                nonblock: false,
                tee: false,
                move_pages,
            };
            plan.call(splice, 5 + 4 * at, 6 + 4 * at);
        }
        for parts in arrive {
            one(&mut plan, parts.iter().map(|it| PARTS[*it]));
        }
        plan
    };
    assert!(both(&piped(false, &[&[0], &[1], &[2]])));
    assert!(!both(&piped(false, &[&[0, 1], &[2]])));
    assert!(both(&piped(true, &[&[0, 1], &[2]])));
    assert!(!both(&piped(true, &[&[0], &[1], &[2]])));
}

#[test]
fn who_fails_may_throw_away_what_waited() {
    for (errno, fine) in [(libc::EMSGSIZE, true), (libc::EIO, false)] {
        let mut plan = of(Family::Udp4);
        plan.scenario.setup.socket.cork = true;
        plan.call(Op::Sendfile(PARTS[0]), 1, 2);
        let call = plan.call(Op::Sendfile(range(0, 65_000)), 3, 4);
        call.outcome = Outcome::Failed(errno);
        call.offset_after = Some(0);
        assert_eq!(both(&plan), fine);
        plan.call(Op::Sendfile(PARTS[1]), 5, 6);
        one(&mut plan, [PARTS[1]].into_iter());
        assert_eq!(both(&plan), fine);
    }
}

#[test]
fn only_what_is_too_long_for_one_message_is_refused() {
    let by = Copying::Write;
    for (family, sndbuf, len, errno, fine) in [
        (Family::Udp4, None, 65_507, libc::EMSGSIZE, false),
        (Family::Udp4, None, 65_508, libc::EMSGSIZE, true),
        (Family::Udp6, None, 65_527, libc::EMSGSIZE, false),
        (Family::Udp6, None, 65_528, libc::EMSGSIZE, true),
        (Family::Udp4, None, 9_000, libc::ENOBUFS, false),
        (Family::Udp4, Some(4_608), 9_000, libc::ENOBUFS, true),
        (Family::UnixSeqpacket, None, 212_960, libc::EMSGSIZE, false),
        (Family::UnixSeqpacket, None, 212_961, libc::EMSGSIZE, true),
        (
            Family::UnixSeqpacket,
            Some(4_608),
            9_184,
            libc::EMSGSIZE,
            false,
        ),
        (
            Family::UnixSeqpacket,
            Some(4_608),
            9_185,
            libc::EMSGSIZE,
            true,
        ),
        (Family::UnixSeqpacket, None, 90_000, libc::ENOBUFS, false),
        (Family::UnixSeqpacket, None, 200_000, libc::ENOBUFS, true),
    ] {
        let mut plan = of(family);
        plan.scenario.setup.socket.sndbuf_bytes = sndbuf;
        let range = range(0, len);
        plan.call(Op::Copy { by, range }, 1, 2).outcome = Outcome::Failed(errno);
        assert_eq!(both(&plan), fine, "{family:?} {len} {errno}");
    }
}

#[test]
fn what_is_too_long_cannot_have_been_sent() {
    for (family, len, fine) in [
        (Family::Udp4, 65_507, true),
        (Family::Udp4, 65_508, false),
        (Family::UnixSeqpacket, 212_960, true),
        (Family::UnixSeqpacket, 212_961, false),
    ] {
        let mut plan = of(family);
        // It may get lost, if it is one.
        plan.scenario.setup.data.loss_ppm = 10;
        let (by, range) = (Copying::Write, range(0, len));
        plan.call(Op::Copy { by, range }, 1, 2);
        if family == Family::UnixSeqpacket {
            plan.receive(3, range, 0);
        }
        assert_eq!(says(&plan, Contract::Stable).is_none(), fine, "{len}");
    }
}

/// A write of 5000 bytes and a sendfile of 9000 from byte 100 on.
fn packets(parts: &[u64]) -> Plan {
    let mut plan = of(Family::UnixSeqpacket);
    let by = Copying::Write;
    plan.call(
        Op::Copy {
            by,
            range: range(0, 5000),
        },
        1,
        2,
    );
    plan.call(Op::Sendfile(range(100, 9000)), 3, 4);
    plan.receive(5, range(0, 5000), 0);
    plan.receive(6, range(100, 9000), 0);
    let whole = plan.history.chunks.pop().unwrap();
    plan.history.chunks.clear();
    let mut start = 0;
    for part in parts {
        let len = *part as usize;
        plan.history.chunks.push(crate::history::Chunk {
            start,
            len,
            ..whole
        });
        start += len;
    }
    plan
}

#[test]
fn a_call_that_copies_is_one_packet_and_a_splice_is_cut_between_pages() {
    for fine in [
        &[5000, 9000][..],
        &[5000, 3996, 4096, 908],
        &[5000, 8092, 908],
    ] {
        assert!(both(&packets(fine)), "{fine:?}");
    }
    for wrong in [
        &[5001, 8999][..],
        &[14_000],
        &[4096, 904, 9000],
        &[5000, 4096, 4904],
        &[5000, 8999, 1],
    ] {
        assert!(!both(&packets(wrong)), "{wrong:?}");
    }
}
