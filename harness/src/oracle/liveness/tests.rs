//! What takes too long, and what the scenario explains.

use super::*;
use crate::oracle::doctor::{Plan, range, stamp};
use crate::scenario::{Actor, Distribution, Scenario, Step, Way, text};

fn race() -> Plan {
    let mut plan = Plan::new(4096);
    plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
    plan.receive(3, range(0, 4096), 0);
    plan
}

fn bound_s(change: impl Fn(&mut Scenario)) -> u64 {
    let mut scenario = race().scenario;
    change(&mut scenario);
    bound_ns(&scenario) / SECOND
}

#[test]
fn a_call_that_does_not_return_is_flagged() {
    let mut plan = race();
    plan.history.calls[0].outcome = Outcome::Pending;
    plan.history.end = End::GivenUp;
    let violation = plan.violation();
    assert_eq!(violation.property, Property::Liveness);
    assert_eq!(violation.step, Some(0));
    assert!(
        violation.message.contains("had not returned after"),
        "{}",
        violation.message
    );
}

/// A call that went on for so long after it was killed.
fn killed(survived_ns: u64) -> Plan {
    let mut plan = race();
    plan.history.calls[0].exit = stamp(9);
    plan.history.calls[0].exit.time_ns += survived_ns;
    plan.history.calls[0].outcome = Outcome::Killed;
    plan.history.calls[0].offset_after = None;
    plan.call(Op::Kill { to: Actor::A }, 8, 9);
    plan.scenario.steps[1].actor = Actor::B;
    plan.history.end_ns += survived_ns;
    plan
}

#[test]
fn a_call_that_outlives_its_kill_is_flagged() {
    assert_eq!(killed(0).violations(), []);
    assert_eq!(killed(KILL_NS / 2).violations(), []);
    let violation = killed(KILL_NS).violation();
    assert_eq!(violation.property, Property::Liveness);
    assert!(
        violation.message.contains("was killed and went on"),
        "{}",
        violation.message
    );
}

/// A first send that took so much longer.
fn slow(took_ns: u64, change: impl Fn(&mut Scenario)) -> Plan {
    let mut plan = race();
    change(&mut plan.scenario);
    plan.history.calls[0].exit.time_ns += took_ns;
    plan.history.end_ns += took_ns;
    plan
}

#[test]
fn what_nothing_holds_up_is_done_soon() {
    let alone = |_: &mut Scenario| {};
    assert_eq!(slow(50 * MS, alone).violations(), []);
    let violation = slow(200 * MS, alone).violation();
    assert_eq!(violation.property, Property::Liveness);
    assert!(
        violation.message.contains("nothing to hold it up"),
        "{}",
        violation.message
    );
    let far = |it: &mut Scenario| it.setup.ack.delay_us = 100_000;
    assert_eq!(slow(200 * MS, far).violations(), []);
    let lossy = |it: &mut Scenario| it.setup.ack.loss_ppm = 10_000;
    assert_eq!(slow(SECOND, lossy).violations(), []);
}

#[test]
fn who_must_not_sleep_does_not() {
    let nonblock = |it: &mut Scenario| {
        it.setup.socket.nonblock = true;
        it.setup.data.delay_us = 1_000_000;
    };
    assert_eq!(slow(TICKS / 2, nonblock).violations(), []);
    let violation = slow(2 * TICKS, nonblock).violation();
    assert_eq!(violation.property, Property::Liveness);
    let by_the_clock = |took_ns| {
        let mut plan = slow(took_ns, nonblock);
        plan.history.by_the_clock = true;
        plan
    };
    assert_eq!(by_the_clock(2 * TICKS).violations(), []);
}

#[test]
fn who_waits_for_the_peer_loses_patience() {
    let held = |it: &mut Scenario| {
        it.setup.reader = ReaderMode::Paused;
        it.setup.data.delay_us = 1_000_000;
    };
    assert_eq!(slow(2 * SECOND, held).violations(), []);
    let violation = slow(3 * SECOND, held).violation();
    assert!(
        violation.message.contains("have long left"),
        "{}",
        violation.message
    );
    let small = |it: &mut Scenario| {
        held(it);
        it.setup.socket.sndbuf_bytes = Some(4096);
    };
    assert_eq!(slow(3 * SECOND, small).violations(), []);
    // Of a small window a segment is half, and each is charged as a whole packet.
    let cramped = |it: &mut Scenario| {
        held(it);
        it.setup.socket.rcvbuf_bytes = Some(2304);
    };
    assert_eq!(slow(3 * SECOND, cramped).violations(), []);
}

#[test]
fn what_is_held_and_what_overflows_back_off_each() {
    let bound = |setup: &str, steps: &str| {
        let text = format!("link ack delay=1ms\n{setup}\nsend-zerocopy 0+3488\n{steps}");
        bound_ns(&text::parse("t", &text).unwrap())
    };
    let holds = "a: hold data\nhold ack\n";
    let cramped = "stack wmem=16384 rmem=4096\n";
    // As it was seen: 56.078 s.
    assert!(bound(cramped, holds) > 60 * SECOND);
    assert!(bound(cramped, "") < bound(cramped, holds));
    assert!(bound("", holds) < bound(cramped, holds));
}

/// A window takes few segments, however short: each is charged as a whole packet.
#[test]
fn short_segments_take_more_rounds() {
    let bound = |mtu_probing: &str| {
        let text = format!(
            "link data loss=10%\nstack {mtu_probing}rmem=4096\nfile tmpfs size=131072\n\nsendfile 0+108994\n"
        );
        bound_ns(&text::parse("t", &text).unwrap())
    };
    assert!(bound("mtu-probing=2 ") > 2 * bound(""));
}

/// However full a small buffer was, what has arrived is not in it.
#[test]
fn what_was_received_has_left() {
    let told = |received_after_ns: Option<u64>, took_ns: u64| {
        let mut plan = slow(took_ns, |it| it.setup.socket.sndbuf_bytes = Some(4608));
        let sent = plan.history.calls[0].entry;
        match received_after_ns {
            Some(after_ns) => {
                for chunk in &mut plan.history.chunks {
                    chunk.at.order = sent.order;
                    chunk.at.time_ns = sent.time_ns + after_ns;
                }
            }
            None => plan.history.chunks[0].at.order = u64::MAX,
        }
        let violations = plan.violations();
        let mut messages = violations.iter().map(|it| &it.message);
        messages.any(|it| it.contains("have long left"))
    };
    assert!(told(Some(MS), 3 * SECOND));
    // Cut short, it may have waited for room until then.
    let mut short = slow(3 * SECOND, |it| it.setup.socket.sndbuf_bytes = Some(4608));
    short.history.chunks[0].at.order = short.history.calls[0].entry.order;
    short.scenario.steps[0].op = Op::Sendfile(range(0, 65_536));
    let violations = short.violations();
    assert!(!violations.iter().any(|it| it.message.contains("long left")));
    assert!(!told(Some(MS), SECOND));
    assert!(!told(Some(2 * SECOND), 3 * SECOND));
    assert!(!told(None, 3 * SECOND));
}

/// One that is killed may have waited for room: what it was asked to send is more than what
/// it is known to have sent.
#[test]
fn who_was_killed_may_have_waited_for_room() {
    for took_ns in [400 * MS, 3 * SECOND] {
        let mut plan = killed(0);
        plan.scenario.setup.reader = ReaderMode::Paused;
        plan.history.calls[0].exit.time_ns += took_ns;
        plan.history.calls[1].entry.time_ns += took_ns;
        plan.history.calls[1].exit.time_ns += took_ns;
        plan.history.end_ns += took_ns;
        assert_eq!(plan.violations(), []);
    }
}

/// A byte takes the room of a packet.
#[test]
fn many_small_sends_may_fill_the_buffer() {
    let held = |it: &mut Scenario| {
        it.setup.reader = ReaderMode::Paused;
        it.setup.data.delay_us = 1_000_000;
    };
    let told_of = |more_sends: usize| {
        let mut plan = slow(3 * SECOND, held);
        for _ in 0..more_sends {
            plan.call(Op::Sendfile(range(0, 0)), 8, 9);
        }
        let violations = plan.violations();
        let mut messages = violations.iter().map(|it| &it.message);
        messages.any(|it| it.contains("have long left"))
    };
    assert!(told_of(1));
    assert!(!told_of(8));
}

/// Two small sends that took so much longer.
fn two_slow(took_ns: [u64; 2]) -> Plan {
    let mut plan = Plan::new(4096);
    plan.call(Op::Sendfile(range(0, 100)), 1, 2);
    plan.call(Op::Sendfile(range(100, 100)), 3, 4);
    plan.receive(5, range(0, 200), 0);
    for (call, took_ns) in plan.history.calls.iter_mut().zip(took_ns) {
        call.exit.time_ns += took_ns;
        plan.history.end_ns += took_ns;
    }
    plan
}

#[test]
fn who_waits_behind_another_send_is_not_late() {
    // By Nagle for its acknowledgement, which may be late, and for its own then.
    assert_eq!(two_slow([0, 200 * MS]).violations(), []);
    // Nothing is before the first one.
    let violation = two_slow([200 * MS, 0]).violation();
    assert_eq!(violation.property, Property::Liveness);
    assert_eq!(violation.step, Some(0));
}

#[test]
fn a_cork_keeps_the_data_and_not_the_call() {
    let cork = |it: &mut Scenario| it.setup.socket.cork = true;
    let mut plan = slow(0, cork);
    plan.history.chunks[0].at.time_ns += 200 * MS;
    plan.history.end_ns += 200 * MS;
    assert_eq!(plan.violations(), []);
    assert_eq!(slow(200 * MS, cork).verdict(), ["liveness"]);
}

const TICKS: u64 = 20 * MS;

#[test]
fn who_counts_by_the_clock_waits_longer_for_the_killed() {
    let killed = |survived_ns: u64| {
        let mut plan = killed(survived_ns);
        plan.history.by_the_clock = true;
        plan
    };
    assert_eq!(killed(KILL_NS).violations(), []);
    let violation = killed(KILL_BY_THE_CLOCK_NS).violation();
    assert_eq!(violation.property, Property::Liveness);
}

#[test]
fn a_call_that_takes_longer_than_the_bound_is_flagged() {
    let mut plan = race();
    plan.history.calls[0].exit = stamp(2);
    plan.history.calls[0].exit.time_ns = bound_ns(&plan.scenario) + 2_000;
    assert_eq!(plan.violation().step, Some(0));
}

#[test]
fn a_stream_that_does_not_end_is_flagged() {
    let mut plan = race();
    plan.history.end = End::GivenUp;
    assert_eq!(plan.verdict(), ["liveness"]);
    let mut plan = race();
    plan.history.end_ns = bound_ns(&plan.scenario);
    assert!(plan.violations().is_empty());
    plan.history.end_ns += 1;
    assert_eq!(plan.verdict(), ["liveness"]);
}

#[test]
fn a_sender_that_timed_out_over_a_bad_link_explains_the_end() {
    let mut plan = race();
    plan.call(Op::Sendfile(range(0, 4096)), 4, 5).outcome = Outcome::Failed(libc::ETIMEDOUT);
    plan.history.calls[1].offset_after = Some(0);
    plan.history.end = End::GivenUp;
    assert_eq!(plan.verdict(), ["liveness"]);
    plan.scenario.setup.data.loss_ppm = 200_000;
    assert!(plan.violations().is_empty());
}

#[test]
fn a_receiver_that_was_never_told_of_a_timeout_has_waited_in_vain() {
    let mut plan = race();
    plan.history.end = End::Failed(libc::ETIMEDOUT);
    plan.history.end_ns = bound_ns(&plan.scenario) + SECOND;
    assert_eq!(plan.verdict(), ["counts", "liveness"]);
    plan.scenario.setup.socket.user_timeout_us = 1_000;
    assert!(plan.violations().is_empty());
    // So has a read that was under way.
    plan.call(Op::Read { len: 1 }, 4, 5).outcome = Outcome::Returned(0);
    plan.history.calls[1].exit.time_ns = bound_ns(&plan.scenario) + SECOND;
    assert!(plan.violations().is_empty());
    // A reset tells it.
    plan.history.end = End::Failed(libc::ECONNRESET);
    assert_eq!(plan.verdict(), ["liveness"]);
}

#[test]
fn a_quiet_link_has_a_bound_of_seconds() {
    assert!((2..10).contains(&bound_s(|_| ())));
    assert!((2..20).contains(&bound_s(|s| s.setup.data.delay_us = 200_000)));
}

#[test]
fn what_the_scenario_asks_for_is_in_the_bound() {
    let wait = |s: &mut Scenario| s.steps[0].op = Op::Wait { us: 60_000_000 };
    assert!(bound_s(wait) >= 60);
    // The reader keeps away for a minute: the sender's timer backs off as long.
    let paused = |s: &mut Scenario| {
        wait(s);
        s.setup.reader = ReaderMode::Paused;
    };
    assert!(bound_s(paused) >= 2 * 60 + 60);
    // 4096 bytes at 1 kbit/s take 33 s.
    assert!(bound_s(|s| s.setup.data.rate_bps = 1_000) >= 4 * 33);
    // The same, of bytes that only the wire has.
    let long = |s: &mut Scenario| {
        (s.setup.data.rate_bps, s.setup.data.overhead_bytes) = (1_000, 9_000);
    };
    assert!(bound_s(long) >= 4 * 9 * 72);
    // Slots, and delays far from their mean.
    assert!(bound_s(|s| s.setup.data.slot_us = 2_000_000) >= 3 * 2);
    let late = |s: &mut Scenario| {
        (s.setup.data.delay_us, s.setup.data.jitter_us) = (1_000_000, 1_000_000);
    };
    let later = |s: &mut Scenario| {
        late(s);
        s.setup.data.distribution = Distribution::Normal;
    };
    assert!(bound_s(later) >= bound_s(late) + 3 * 3);
    // A satellite's round trips.
    assert!(bound_s(|s| s.setup.ack.delay_us = 2_000_000) >= 3 * 2);
    // Windows of one small segment.
    let tiny = |s: &mut Scenario| {
        s.setup.file.size_bytes = 1 << 16;
        s.steps[0].op = Op::Sendfile(range(0, 1 << 16));
        s.setup.socket.rcvbuf_bytes = Some(1);
        s.setup.ack.delay_us = 100_000;
    };
    assert!(bound_s(tiny) >= (1 << 16) / 1152 / 10);
}

#[test]
fn a_relay_passes_on_late() {
    let wait = |s: &mut Scenario| {
        s.steps[0].op = Op::Wait { us: 60_000_000 };
        s.setup.reader = ReaderMode::Paused;
    };
    // One connection backs off for as long as the reader keeps away, and the other for
    // as long as both.
    let behind = |s: &mut Scenario| {
        wait(s);
        s.setup.relay = true;
    };
    assert!(bound_s(behind) >= bound_s(wait) + 2 * 3 * 60);
    // A delayed acknowledgement for each segment of 536 bytes, while the sender has
    // sent all of it at once.
    let long = |s: &mut Scenario| {
        s.setup.file.size_bytes = 1 << 16;
        s.steps[0].op = Op::Sendfile(range(0, 1 << 16));
    };
    let relayed = |s: &mut Scenario| {
        long(s);
        s.setup.relay = true;
    };
    assert!(bound_s(relayed) >= bound_s(long) + (1 << 16) / 536 / 5);
}

#[test]
fn holes_are_filled_one_by_one_without_sack() {
    let lossy = |s: &mut Scenario| {
        s.setup.file.size_bytes = 1 << 16;
        s.steps[0].op = Op::Sendfile(range(0, 1 << 16));
        (s.setup.data.loss_ppm, s.setup.data.seed) = (100_000, 1);
    };
    let without = |s: &mut Scenario| {
        lossy(s);
        s.setup.stack.set(Sysctl::Sack, Some(0));
    };
    let calm = |s: &mut Scenario| {
        without(s);
        s.setup.data.loss_ppm = 0;
    };
    assert!(bound_s(without) > bound_s(lossy));
    assert!(bound_s(calm) < bound_s(lossy));
}

#[test]
fn short_packets_and_small_buffers_of_the_stack_cost_round_trips() {
    let long = |s: &mut Scenario| {
        s.setup.file.size_bytes = 1 << 16;
        s.steps[0].op = Op::Sendfile(range(0, 1 << 16));
        s.setup.ack.delay_us = 1_000_000;
    };
    // Ten segments a round trip of a second, each of 476 bytes or more.
    let short = |s: &mut Scenario| {
        long(s);
        s.setup.device.mtu_bytes = Some(576);
    };
    assert!(bound_s(short) >= bound_s(long) + (1 << 16) / 5240 - (1 << 16) / 14_000);
    let probing = |s: &mut Scenario| {
        long(s);
        s.setup.stack.set(Sysctl::MtuProbing, Some(2));
        s.setup.stack.set(Sysctl::BaseMss, Some(256));
    };
    assert!(bound_s(probing) >= bound_s(long) + (1 << 16) / 2560 - (1 << 16) / 14_000);
    // Where time-outs look like a black hole, segments get shorter than that.
    let holding = |s: &mut Scenario| {
        probing(s);
        let (actor, op) = (
            Actor::Link,
            Op::Release {
                way: Way::Ack,
                packets: None,
            },
        );
        s.steps.push(Step { actor, op });
        let op = Op::Hold {
            way: Way::Ack,
            after_packets: 0,
        };
        s.steps.insert(0, Step { actor, op });
    };
    assert!(bound_s(holding) >= bound_s(probing) + (1 << 16) / 480 - (1 << 16) / 1280);
    for sysctl in [Sysctl::Wmem, Sysctl::Rmem] {
        let small = |s: &mut Scenario| {
            long(s);
            s.setup.stack.set(sysctl, Some(4096));
        };
        assert!(bound_s(small) >= bound_s(long) + (1 << 16) / 2048 - (1 << 16) / 14_000);
    }
}

#[test]
fn a_hold_leaves_room_for_timers_that_backed_off() {
    let hold = |way| Op::Hold {
        way,
        after_packets: 0,
    };
    for way in [Way::Data, Way::Ack] {
        let held = |s: &mut Scenario| {
            s.steps[0].op = Op::Wait { us: 10_000_000 };
            let (actor, op) = (Actor::Link, hold(way));
            s.steps.insert(0, Step { actor, op });
        };
        assert!((30..100).contains(&bound_s(held)));
        // Who holds by hand may release by hand, and be late.
        let by_hand = |s: &mut Scenario| {
            held(s);
            s.steps[0].actor = Actor::B;
        };
        assert!(bound_s(by_hand) >= bound_s(held) + 11);
    }
}

#[test]
fn losses_leave_room_for_a_connection_that_nearly_dies() {
    let changes: [fn(&mut Scenario); 6] = [
        |s| s.setup.data.loss_ppm = 1,
        |s| s.setup.ack.loss_ppm = 200_000,
        |s| s.setup.data.limit_packets = 1,
        |s| s.setup.ack.corrupt_ppm = 1,
        |s| s.setup.data.nth.drop = 3,
        |s| (s.setup.ack.delay_us, s.setup.ack.jitter_us) = (1_000, 500),
    ];
    for change in changes {
        assert!(bound_s(change) >= 925);
    }
    // Extremes neither panic nor wrap.
    let extreme = |s: &mut Scenario| {
        s.setup.data.delay_us = u64::MAX;
        s.setup.ack.rate_bps = 1;
        s.setup.data.loss_ppm = u32::MAX;
        s.steps[0].op = Op::Wait { us: u64::MAX };
    };
    assert_eq!(bound_s(extreme), u64::MAX / SECOND);
}
