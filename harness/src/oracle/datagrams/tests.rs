//! Histories of datagrams, legal and doctored.

mod flips;

use crate::history::{Outcome, pattern};
use crate::oracle::doctor::{Plan, TICK_NS, range};
use crate::oracle::draw::Rng;
use crate::oracle::{Contract, Property, judge};
use crate::scenario::{Family, Filling, Nth, Op, Range};

fn udp(file_bytes: u64) -> Plan {
    let mut plan = Plan::new(file_bytes);
    plan.scenario.setup.socket.family = Family::Udp4;
    plan
}

/// `sendfile 0+1000`, `sendfile 1000+500`, not yet received.
fn two_sends() -> Plan {
    let mut plan = udp(8192);
    plan.call(Op::Sendfile(range(0, 1000)), 1, 2);
    plan.call(Op::Sendfile(range(1000, 500)), 3, 4);
    plan
}

fn out(len: u64, more: bool) -> Op {
    Op::SpliceOut {
        len,
        more,
        nonblock: false,
        tee: false,
        move_pages: false,
    }
}

#[track_caller]
fn says(plan: &Plan, property: Property, words: &str) {
    let violation = plan.violation();
    assert_eq!(violation.property, property, "{}", violation.message);
    assert!(violation.message.contains(words), "{}", violation.message);
}

#[track_caller]
fn holds(plan: &Plan) {
    assert_eq!(plan.violations(), []);
}

#[test]
fn a_send_is_a_datagram() {
    let mut plan = two_sends();
    plan.receive(10, range(0, 1000), 0);
    plan.receive(11, range(1000, 500), 0);
    holds(&plan);
}

#[test]
fn boundaries_are_kept() {
    // The same bytes, in one datagram, and cut elsewhere.
    let mut plan = two_sends();
    plan.receive(10, range(0, 1500), 0);
    says(
        &plan,
        Property::Datagrams,
        "datagram 1 that was received, of 1500 bytes, is none that was sent: next was the \
         datagram of 1000 bytes sent by operation 1 (sendfile 0+1000)",
    );
    let mut plan = two_sends();
    plan.receive(10, range(0, 999), 0);
    plan.receive(11, range(999, 501), 0);
    says(
        &plan,
        Property::Datagrams,
        "of 999 bytes, is none that was sent",
    );
}

#[test]
fn bytes_from_elsewhere_are_flagged() {
    let mut plan = two_sends();
    plan.receive(10, range(0, 1000), 0);
    plan.receive(11, range(2000, 500), 0);
    says(&plan, Property::Datagrams, "datagram 2 that was received");
    let mut plan = two_sends();
    plan.receive(10, range(0, 1000), 0);
    plan.receive(11, range(1000, 500), 0);
    plan.receive(12, range(1500, 1), 0);
    says(&plan, Property::Datagrams, "no other was to come");
}

#[test]
fn a_datagram_cannot_arrive_before_its_call() {
    let mut plan = udp(8192);
    plan.call(Op::Sendfile(range(0, 1000)), 5, 6);
    plan.receive(3, range(0, 1000), 0);
    says(&plan, Property::Datagrams, "is none that was sent");
}

#[test]
fn losses_need_a_link_that_loses() {
    for (received, named) in [
        (range(0, 1000), "operation 2"),
        (range(1000, 500), "operation 1"),
    ] {
        let mut plan = two_sends();
        plan.receive(10, received, 0);
        says(&plan, Property::Datagrams, "");
        assert!(plan.violation().message.contains(named), "{named}");
        plan.scenario.setup.data.loss_ppm = 1;
        holds(&plan);
        plan.scenario.setup.data.loss_ppm = 0;
        plan.scenario.setup.data.corrupt_ppm = 1;
        holds(&plan);
        plan.scenario.setup.data.corrupt_ppm = 0;
        plan.scenario.setup.data.limit_packets = 2;
        holds(&plan);
        plan.scenario.setup.data.limit_packets = 0;
        plan.scenario.setup.socket.rcvbuf_bytes = Some(2304);
        holds(&plan);
    }
    let mut plan = two_sends();
    plan.receive(10, range(0, 1000), 0);
    says(
        &plan,
        Property::Datagrams,
        "the datagram of 500 bytes sent by operation 2 (sendfile 1000+500) was never received: \
         nothing on the link loses it",
    );
}

/// A TUN link does to one packet what it is told to, and that is enough to lose one.
#[test]
fn what_happens_to_single_packets_is_known() {
    let change: [fn(&mut Nth); 3] = [|it| it.drop = 5, |it| it.swap = 5, |it| it.flip = 5];
    for change in change {
        let mut plan = two_sends();
        plan.receive(10, range(0, 1000), 0);
        says(&plan, Property::Datagrams, "");
        change(&mut plan.scenario.setup.data.nth);
        holds(&plan);
    }
    let mut plan = two_sends();
    for _ in 0..2 {
        plan.receive(10, range(0, 1000), 0);
    }
    plan.receive(11, range(1000, 500), 0);
    says(&plan, Property::Datagrams, "");
    plan.scenario.setup.data.nth.twice = 1;
    holds(&plan);
}

/// A datagram of many fragments takes more of the receive buffer than its bytes.
#[test]
fn short_packets_fill_the_receive_buffer() {
    let mut plan = udp(65_536);
    plan.call(Op::Sendfile(range(0, 50_000)), 1, 2);
    let lost = |plan: &Plan| plan.violations().is_empty();
    assert!(!lost(&plan));
    plan.scenario.setup.device.mtu_bytes = Some(1280);
    assert!(!lost(&plan));
    plan.scenario.setup.device.mtu_bytes = Some(576);
    assert!(lost(&plan));
}

/// What is copied takes a buffer of twice its length, at the worst.
#[test]
fn long_packets_fill_the_receive_buffer() {
    let mut plan = udp(8192);
    for (at, len) in [(0, 8192), (1, 4095), (2, 4095)] {
        plan.call(Op::Sendfile(range(0, len)), 1 + 2 * at, 2 + 2 * at);
    }
    plan.receive(10, range(0, 8192), 0);
    plan.receive(11, range(0, 4095), 0);
    plan.scenario.setup.device.mtu_bytes = Some(65_535);
    for (rcvbuf_bytes, lost) in [(16_384, true), (32_768, false)] {
        plan.scenario.setup.socket.rcvbuf_bytes = Some(rcvbuf_bytes);
        assert_eq!(plan.violations().is_empty(), lost);
    }
}

#[test]
fn order_and_repetition_need_a_link_that_shuffles() {
    let mut swapped = two_sends();
    swapped.receive(10, range(1000, 500), 0);
    swapped.receive(11, range(0, 1000), 0);
    let mut doubled = two_sends();
    doubled.receive(10, range(0, 1000), 0);
    doubled.receive(11, range(0, 1000), 0);
    doubled.receive(12, range(1000, 500), 0);
    for mut plan in [swapped, doubled] {
        says(&plan, Property::Datagrams, "is none that was sent");
        // Losing is not shuffling.
        plan.scenario.setup.data.loss_ppm = 1;
        says(&plan, Property::Datagrams, "is none that was sent");
        plan.scenario.setup.data.loss_ppm = 0;
        plan.scenario.setup.data.duplicate_ppm = 1;
        holds(&plan);
        // But what never was a datagram is none in any order.
        plan.history.chunks[0].len -= 1;
        says(
            &plan,
            Property::Datagrams,
            "is none that was sent: in whatever order",
        );
    }
}

#[test]
fn what_waits_for_more_is_one_datagram() {
    let corked = || {
        let mut plan = two_sends();
        plan.scenario.setup.socket.cork = true;
        plan
    };
    let mut plan = corked();
    plan.receive(10, range(0, 1500), 0);
    holds(&plan);
    let mut plan = corked();
    plan.receive(10, range(0, 1000), 0);
    plan.receive(11, range(1000, 500), 0);
    says(
        &plan,
        Property::Datagrams,
        "next was the datagram of 1500 bytes that operation 1 (sendfile 0+1000) began, of 2 sends",
    );

    let more = |first_more: bool| {
        let mut plan = udp(8192);
        plan.call(
            Op::SpliceIn {
                range: range(0, 1500),
                by: Filling::Splice,
            },
            1,
            2,
        );
        plan.call(out(1000, first_more), 3, 4);
        plan.call(out(500, true), 5, 6);
        plan
    };
    for (first_more, parts) in [
        (true, vec![range(0, 1500)]),
        (false, vec![range(0, 1000), range(1000, 500)]),
    ] {
        let mut plan = more(first_more);
        for part in &parts {
            plan.receive(10, *part, 0);
        }
        holds(&plan);
        let mut plan = more(!first_more);
        for part in &parts {
            plan.receive(10, *part, 0);
        }
        says(&plan, Property::Datagrams, "is none that was sent");
    }
}

#[test]
fn a_splice_that_found_less_may_or_may_not_end_its_datagram() {
    // So many buffers each time, and one splice of more than all of them.
    let spliced = |fills: &[u64], parts: &[Range]| {
        let mut plan = udp(8192);
        let (mut at, mut time) = (0, 1);
        for &count in fills {
            let begin = at;
            let end = begin + 1000 / fills.len() as u64;
            for left in (1..=count).rev() {
                let len = (end - at) / left;
                let op = Op::SpliceIn {
                    range: range(at, len),
                    by: Filling::Splice,
                };
                plan.call(op, time, time + 1);
                (at, time) = (at + len, time + 2);
            }
            plan.call(out(4096, false), time, time + 1).outcome = Outcome::Returned(end - begin);
            time += 2;
        }
        plan.call(Op::Sendfile(range(1000, 500)), time, time + 1);
        for part in parts {
            plan.receive(time + 10, *part, 0);
        }
        plan
    };
    let one = [range(0, 1500)];
    let two = [range(0, 1000), range(1000, 500)];
    holds(&spliced(&[16], &one));
    holds(&spliced(&[16], &two));
    // Sixteen buffers are more than these.
    for few in [1, 8] {
        holds(&spliced(&[few], &two));
        assert_eq!(spliced(&[few], &one).verdict(), ["datagrams"]);
    }
    // And more than are there at once.
    let three = [range(0, 500), range(500, 500), range(1000, 500)];
    holds(&spliced(&[8, 8], &three));
    assert_eq!(spliced(&[8, 8], &one).verdict(), ["datagrams"]);
}

#[test]
fn the_end_of_the_file_ends_the_datagram() {
    let joined = |family| {
        let mut plan = udp(1000);
        plan.scenario.setup.socket.family = family;
        let call = plan.call(Op::Sendfile(range(0, 1001)), 1, 2);
        call.outcome = Outcome::Returned(1000);
        call.offset_after = Some(1000);
        plan.call(Op::Sendfile(range(0, 1)), 3, 4);
        plan.receive(10, range(0, 1000), 0);
        plan.history.received.push(pattern(0, 0));
        plan.history.chunks[0].len = 1001;
        plan
    };
    for family in [Family::Udp4, Family::Udp6] {
        says(&joined(family), Property::Datagrams, "of 1001 bytes");
    }
    // Without more to wait for it makes no difference.
    let mut plan = joined(Family::Udp6);
    plan.scenario.steps[0].op = Op::Sendfile(range(0, 1000));
    says(&plan, Property::Datagrams, "of 1001 bytes");
}

#[test]
fn a_send_that_fails_may_take_with_it_what_waited() {
    let corked = |errno| {
        let mut plan = two_sends();
        plan.scenario.setup.socket.cork = true;
        plan.scenario.setup.socket.sndbuf_bytes = Some(4608);
        let call = &mut plan.history.calls[1];
        call.outcome = errno;
        call.offset_after = Some(1000);
        plan
    };
    let failed = Outcome::Failed(libc::ENOBUFS);
    holds(&corked(failed));
    let mut plan = corked(failed);
    plan.receive(10, range(0, 1000), 0);
    holds(&plan);
    let mut plan = corked(failed);
    plan.receive(10, range(0, 1500), 0);
    says(&plan, Property::Datagrams, "is none that was sent");
    // A send that was skipped takes nothing.
    says(
        &corked(Outcome::Skipped),
        Property::Datagrams,
        "was never received",
    );
}

#[test]
fn a_datagram_that_got_too_long_is_cut_short() {
    let mut plan = udp(1 << 17);
    let call = plan.call(Op::Sendfile(range(100, 1 << 16)), 1, 2);
    call.outcome = Outcome::Returned(65_436);
    call.offset_after = Some(65_536);
    holds(&plan);
    plan.receive(10, range(100, 65_436), 0);
    holds(&plan);
    plan.history.chunks[0].len -= 1;
    says(&plan, Property::Datagrams, "is none that was sent");
}

#[test]
fn a_write_after_the_return_must_not_show() {
    let mut plan = udp(8192);
    plan.call(Op::Sendfile(range(0, 1000)), 1, 2);
    plan.call(Op::MmapWrite(range(200, 10)), 5, 6);
    plan.receive(10, range(0, 1000), 0);
    holds(&plan);
    for at in 200..210 {
        plan.history.received[at] = pattern(at as u64, 1);
    }
    let violation = plan.violation();
    assert_eq!(violation.property, Property::StableOnReturn);
    assert_eq!((violation.step, violation.torn_by), (Some(0), Some(1)));
    assert_eq!(violation.file_range, Some(range(200, 10)));
    assert_eq!(violation.after_return_ns, Some(3 * TICK_NS));
    assert!(judge(Contract::Documented, &plan.scenario, &plan.history).is_empty());
    // Nor where the link shuffles.
    plan.scenario.setup.data.duplicate_ppm = 1;
    assert_eq!(plan.violation().property, Property::StableOnReturn);
}

#[test]
fn a_write_during_the_send_may_show() {
    let mut plan = udp(8192);
    plan.call(Op::Sendfile(range(0, 1000)), 1, 4);
    plan.call(Op::MmapWrite(range(200, 10)), 2, 3);
    // It may as well have spoiled the checksum.
    holds(&plan);
    plan.receive(10, range(0, 1000), 0);
    holds(&plan);
    plan.history.received[205] = pattern(205, 1);
    holds(&plan);
    let mut plan = udp(8192);
    plan.call(Op::Sendfile(range(0, 1000)), 1, 4);
    plan.call(Op::MmapWrite(range(1000, 10)), 2, 3);
    says(&plan, Property::Datagrams, "was never received");
}

#[test]
fn a_datagram_lost_to_a_later_write_is_not_stable() {
    let mut plan = two_sends();
    plan.call(Op::Pwrite(range(999, 1)), 7, 8);
    plan.receive(10, range(1000, 500), 0);
    says(
        &plan,
        Property::StableOnReturn,
        "the datagram of 1000 bytes sent by operation 1 (sendfile 0+1000) was never received: \
         operation 3 (pwrite 999+1) wrote to its bytes after the send had returned",
    );
    assert_eq!(plan.violation().torn_by, Some(2));
    assert_eq!(plan.violation().after_return_ns, Some(5 * TICK_NS));
    assert!(judge(Contract::Documented, &plan.scenario, &plan.history).is_empty());
    // At the end of all, too.
    let mut plan = two_sends();
    plan.call(Op::Pwrite(range(1499, 1)), 7, 8);
    plan.receive(10, range(0, 1000), 0);
    says(
        &plan,
        Property::StableOnReturn,
        "operation 2 (sendfile 1000+500)",
    );
}

#[test]
fn a_fault_does_not_hide_one_of_the_other_kind() {
    let mut plan = two_sends();
    plan.call(Op::Pwrite(range(0, 1000)), 7, 8);
    plan.receive(10, range(0, 1000), 1);
    plan.receive(11, range(4000, 500), 0);
    assert_eq!(plan.verdict(), ["datagrams", "stable-on-return"]);
    let documented = judge(Contract::Documented, &plan.scenario, &plan.history);
    assert_eq!(documented.len(), 1);
    assert_eq!(documented[0].property, Property::Datagrams);
    plan.scenario.setup.data.duplicate_ppm = 1;
    assert_eq!(plan.verdict(), ["datagrams", "stable-on-return"]);
}

#[test]
fn the_torn_one_is_blamed_even_where_the_next_could_be_meant() {
    // The link may lose: both received may look like the second send, but there is
    // only one of that.
    let mut plan = udp(8192);
    plan.scenario.setup.data.loss_ppm = 1;
    plan.call(Op::Sendfile(range(0, 1000)), 1, 2);
    plan.call(Op::Pwrite(range(0, 1000)), 3, 4);
    plan.call(Op::Sendfile(range(0, 1000)), 5, 6);
    plan.receive(10, range(0, 1000), 1);
    holds(&plan);
    plan.receive(11, range(0, 1000), 1);
    let violation = plan.violation();
    assert_eq!(violation.property, Property::StableOnReturn);
    assert_eq!((violation.step, violation.torn_by), (Some(0), Some(1)));
}

#[test]
fn a_part_that_a_later_write_met_destroys_all_of_its_datagram() {
    // A splice that found less than it was asked for may have failed after that.
    let mut plan = udp(8192);
    plan.scenario.setup.socket.cork = true;
    plan.call(
        Op::SpliceIn {
            range: range(0, 1),
            by: Filling::Splice,
        },
        1,
        2,
    );
    plan.call(out(2, false), 3, 4).outcome = Outcome::Returned(1);
    plan.call(Op::MmapWrite(range(0, 1)), 5, 6);
    plan.call(Op::Sendfile(range(0, 1)), 7, 8);
    says(
        &plan,
        Property::StableOnReturn,
        "the datagram of 2 bytes that operation 2 (splice-out 2) began, of 2 sends was never \
         received: operation 3 (mmap-write 0+1) wrote",
    );
}

#[test]
fn the_same_bytes_twice_are_told_apart_by_their_order() {
    // Sent, overwritten, sent again: the first of them shows the write.
    let mut plan = udp(8192);
    plan.call(Op::Sendfile(range(0, 1000)), 1, 2);
    plan.call(Op::Pwrite(range(0, 1000)), 3, 4);
    plan.call(Op::Sendfile(range(0, 1000)), 5, 6);
    plan.receive(10, range(0, 1000), 1);
    plan.receive(11, range(0, 1000), 1);
    let violation = plan.violation();
    assert_eq!(violation.property, Property::StableOnReturn);
    assert_eq!(
        (violation.step, violation.stream_offset),
        (Some(0), Some(0))
    );
    // If the first was lost, and the second doubled, then nothing is wrong.
    plan.scenario.setup.data.duplicate_ppm = 1;
    holds(&plan);
}

#[test]
fn a_read_takes_whole_datagrams() {
    let mut plan = two_sends();
    plan.call(Op::Read { len: 1100 }, 10, 11).outcome = Outcome::Returned(1500);
    plan.receive(10, range(0, 1000), 0);
    plan.receive(10, range(1000, 500), 0);
    holds(&plan);
}

#[test]
fn a_datagram_has_its_own_errnos() {
    let failed = |errno, bytes| {
        let mut plan = udp(1 << 17);
        let call = plan.call(Op::Sendfile(range(0, bytes)), 1, 2);
        call.outcome = Outcome::Failed(errno);
        call.offset_after = Some(0);
        plan
    };
    holds(&failed(libc::EMSGSIZE, 65_508));
    says(
        &failed(libc::EMSGSIZE, 65_507),
        Property::Counts,
        "failed with EMSGSIZE, but the datagram would have had only 65507 bytes in 1 parts",
    );
    let mut plan = failed(libc::EMSGSIZE, 65_508);
    plan.scenario.setup.socket.family = Family::Udp6;
    says(&plan, Property::Counts, "failed with EMSGSIZE");
    plan.scenario.setup.socket.family = Family::Tcp4;
    says(&plan, Property::Counts, "failed with EMSGSIZE");
    let mut plan = failed(libc::ENOBUFS, 1000);
    says(
        &plan,
        Property::Counts,
        "failed with ENOBUFS, and its send buffer",
    );
    plan.scenario.setup.socket.sndbuf_bytes = Some(2304);
    holds(&plan);
    // What waits counts.
    let mut plan = udp(1 << 17);
    plan.scenario.setup.socket.cork = true;
    plan.call(Op::Sendfile(range(0, 60_000)), 1, 2);
    let call = plan.call(Op::Sendfile(range(0, 6_000)), 3, 4);
    call.outcome = Outcome::Failed(libc::EMSGSIZE);
    call.offset_after = Some(0);
    holds(&plan);
    plan.scenario.setup.socket.cork = false;
    plan.receive(10, range(0, 60_000), 0);
    says(&plan, Property::Counts, "only 6000 bytes");
}

/// Whatever a history claims, it is judged without a panic.
#[test]
fn random_receptions_are_judged() {
    let mut rng = Rng::new(7);
    let mut found = [0; 3];
    for _ in 0..20_000 {
        let mut plan = udp(64);
        plan.scenario.setup.socket.cork = rng.chance(20);
        plan.scenario.setup.data.loss_ppm = rng.below(2) as u32;
        plan.scenario.setup.data.duplicate_ppm = u32::from(rng.chance(20));
        plan.call(
            Op::SpliceIn {
                range: range(0, 40),
                by: Filling::Splice,
            },
            1,
            2,
        );
        for at in 0..rng.below(6) {
            let any = range(rng.below(30), 1 + rng.below(3));
            let op = match rng.below(5) {
                0 | 1 => Op::Pwrite(any),
                2 => out(1 + rng.below(3), rng.chance(50)),
                _ => Op::Sendfile(any),
            };
            let call = plan.call(op, 10 * at + 10, 10 * at + 15 + rng.below(8));
            if op.sends() && rng.chance(20) {
                call.outcome = Outcome::Failed(libc::EAGAIN);
            }
        }
        plan.scenario.setup.socket.nonblock = true;
        for _ in 0..rng.below(4) {
            let generation = rng.below(3) as u8;
            plan.receive(100, range(rng.below(30), 1 + rng.below(3)), generation);
        }
        let violations = plan.violations();
        let has = |property| violations.iter().any(|found| found.property == property);
        found[0] += u32::from(!has(Property::Datagrams) && !has(Property::StableOnReturn));
        found[1] += u32::from(has(Property::Datagrams));
        found[2] += u32::from(has(Property::StableOnReturn));
    }
    assert!(found.iter().all(|&count| count > 40), "{found:?}");
}
