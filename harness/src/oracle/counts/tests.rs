use super::*;
use crate::oracle::doctor::{Plan, range};
use crate::scenario::{Actor, Copying, Family, Filling};

fn sent(returned: u64) -> Plan {
    let mut plan = Plan::new(4096);
    let call = plan.call(Op::Sendfile(range(1000, 4000)), 1, 2);
    call.outcome = Outcome::Returned(returned);
    call.offset_after = Some(1000 + returned);
    plan.receive(3, range(1000, returned.min(3096)), 0);
    plan
}

fn failed_with(errno: i32) -> Plan {
    let mut plan = Plan::new(4096);
    let call = plan.call(Op::Sendfile(range(1000, 4000)), 1, 2);
    call.outcome = Outcome::Failed(errno);
    call.offset_after = Some(1000);
    plan
}

fn found(plan: &Plan) -> Option<Violation> {
    let sizes = Sizes::new(&plan.scenario, &plan.history);
    judge(&plan.scenario, &plan.history, &plan.history, &sizes)
}

#[track_caller]
fn says(plan: &Plan, words: &str) {
    let found = found(plan).expect("a violation");
    assert!(found.message.contains(words), "{}", found.message);
}

#[track_caller]
fn holds(plan: &Plan) {
    assert_eq!(found(plan), None);
}

#[test]
fn short_sends_and_the_end_of_the_file_are_fine() {
    holds(&sent(3096));
    holds(&sent(1));
    let mut plan = sent(3096);
    plan.call(Op::Sendfile(range(4096, 10)), 4, 5).outcome = Outcome::Returned(0);
    plan.history.calls[1].offset_after = Some(4096);
    plan.call(Op::Sendfile(range(0, 0)), 6, 7);
    plan.call(Op::Pwrite(range(0, 100)), 8, 9).outcome = Outcome::Returned(10);
    holds(&plan);
}

/// Of more than 2 GiB less a page a kernel moves that much.
#[test]
fn a_count_beyond_what_one_call_moves_is_fine() {
    for (returned, fine) in [(3096, true), (1000, true), (3097, false), (0, false)] {
        let mut plan = sent(returned);
        plan.scenario.steps[0].op = Op::Sendfile(range(1000, 4 << 30));
        assert_eq!(found(&plan).is_none(), fine, "{returned}");
    }
}

#[test]
fn too_much_and_nothing_are_flagged() {
    says(&sent(4001), "returned 4001, but was asked for 4000");
    says(
        &sent(3097),
        "returned 3097, but the file had only 3096 bytes",
    );
    says(
        &sent(0),
        "returned 0, 3096 bytes before the end of the file",
    );
    let mut plan = sent(3096);
    plan.call(Op::Pwrite(range(0, 100)), 8, 9).outcome = Outcome::Returned(0);
    says(&plan, "wrote nothing of 100 bytes");
}

#[test]
fn a_copying_send_returns_at_most_what_it_was_asked_for() {
    let copied = |outcome| {
        let mut plan = Plan::new(4096);
        let by = Copying::Writev;
        let range = range(1000, 2000);
        plan.call(Op::Copy { by, range }, 1, 2).outcome = outcome;
        plan.receive(
            3,
            Range {
                len: outcome.bytes(),
                ..range
            },
            0,
        );
        plan
    };
    holds(&copied(Outcome::Returned(2000)));
    holds(&copied(Outcome::Returned(1)));
    says(&copied(Outcome::Returned(2001)), "returned 2001, but was");
    says(&copied(Outcome::Returned(0)), "returned 0");
    says(&copied(Outcome::Failed(libc::EAGAIN)), "failed with EAGAIN");
    says(&copied(Outcome::Failed(libc::EFAULT)), "failed with EFAULT");
    let mut plan = copied(Outcome::Returned(2000));
    plan.history.received.pop();
    says(&plan, "returned 2000 bytes in all, but 1999 were received");
}

#[test]
fn sends_from_the_file_position_go_on_where_the_last_one_ended() {
    let two = |first: u64| {
        let mut plan = Plan::new(4096);
        plan.call(Op::SendfileOn { len: 3000 }, 1, 2).outcome = Outcome::Returned(first);
        plan.history.calls[0].f_pos_after = Some(first);
        plan.receive(3, range(0, first), 0);
        let call = plan.call(Op::SendfileOn { len: 3000 }, 4, 5);
        call.outcome = Outcome::Returned(1096);
        call.f_pos_after = Some(first + 1096);
        plan.receive(6, range(first, 1096), 0);
        plan
    };
    assert_eq!(two(3000).violations(), []);
    assert_eq!(two(1000).violations(), []);
    let mut plan = two(3000);
    plan.history.calls[1].f_pos_after = Some(1096);
    says(
        &plan,
        "moved 1096 bytes and left the file position at 1096, not 4096",
    );
    let mut plan = two(3000);
    plan.history.calls[1].outcome = Outcome::Returned(1097);
    says(&plan, "returned 1097, but the file had only 1096 bytes");
    let mut plan = two(1000);
    plan.history.calls[1].outcome = Outcome::Returned(0);
    says(&plan, "returned 0, 3096 bytes before the end of the file");
    // The second one sent what the first had sent already.
    let mut plan = two(1000);
    plan.history.received.truncate(1000);
    plan.history.chunks.pop();
    plan.receive(6, range(0, 1096), 0);
    assert_eq!(plan.verdict(), ["wire"]);
    // One that is given an offset leaves it alone.
    let mut plan = two(1000);
    plan.call(Op::Sendfile(range(0, 10)), 7, 8);
    plan.receive(9, range(0, 10), 0);
    assert_eq!(plan.violations(), []);
    plan.history.calls[2].f_pos_after = Some(10);
    says(&plan, "yet moved the file position to 10");
}

#[test]
fn offsets_must_advance_by_the_return() {
    let mut plan = sent(3096);
    plan.history.calls[0].offset_after = Some(1000);
    says(
        &plan,
        "moved 3096 bytes and left its offset at 1000, not 4096",
    );
    plan.history.calls[0].offset_after = Some(4096);
    plan.history.calls[0].f_pos_after = Some(3096);
    says(&plan, "moved the file position to 3096");
    let mut plan = failed_with(libc::EAGAIN);
    plan.scenario.setup.socket.nonblock = true;
    holds(&plan);
    plan.history.calls[0].offset_after = Some(1001);
    says(&plan, "moved 0 bytes and left its offset at 1001");
}

#[test]
fn the_total_must_arrive_at_a_clean_end() {
    let mut plan = sent(3096);
    plan.history.received.pop();
    says(&plan, "returned 3096 bytes in all, but 3095 were received");
    plan.history.end = End::GivenUp;
    holds(&plan);
}

#[test]
fn eagain_needs_something_that_does_not_block() {
    let mut plan = failed_with(libc::EAGAIN);
    says(
        &plan,
        "failed with EAGAIN, and nothing about it is non-blocking",
    );
    plan.scenario.setup.socket.nonblock = true;
    holds(&plan);
    for (nonblock, fine) in [(false, false), (true, true)] {
        let mut plan = Plan::new(4096);
        plan.call(
            Op::SpliceIn {
                range: range(0, 10),
                by: Filling::Splice,
            },
            1,
            2,
        );
        let out = Op::SpliceOut {
            len: 10,
            more: false,
            nonblock,
            tee: false,
            move_pages: false,
        };
        plan.call(out, 3, 4).outcome = Outcome::Failed(libc::EAGAIN);
        assert_eq!(found(&plan).is_none(), fine);
    }
}

#[test]
fn a_broken_connection_does_not_end_cleanly() {
    for errno in [libc::EPIPE, libc::ECONNRESET, libc::ETIMEDOUT] {
        says(&failed_with(errno), "yet the receiver saw a clean end");
    }
    let mut plan = failed_with(libc::EPIPE);
    plan.history.end = End::Failed(libc::ECONNRESET);
    says(&plan, "receiving failed with ECONNRESET after 0 bytes");
    plan.history.end = End::Failed(libc::ETIMEDOUT);
    plan.scenario.setup.data.loss_ppm = 1;
    holds(&plan);
}

#[test]
fn an_errno_that_nothing_explains_is_named() {
    says(&failed_with(libc::EINVAL), "failed with EINVAL");
    // ERESTARTSYS must never reach the user.
    says(&failed_with(512), "failed with errno 512");
}

/// ICMPv6 says so of a header in which a bit was flipped; IPv4 checks its headers.
#[test]
fn a_protocol_error_needs_a_corrupt_header_of_ipv6() {
    let mut plan = failed_with(libc::EPROTO);
    plan.scenario.setup.socket.family = Family::Tcp6;
    says(&plan, "EPROTO");
    plan.scenario.setup.data.corrupt_ppm = 1;
    holds(&plan);
    plan.scenario.setup.socket.family = Family::Tcp4;
    says(&plan, "EPROTO");
}

#[test]
fn a_full_pipe_refuses_and_an_empty_one_does_not() {
    let mut plan = Plan::new(8192);
    plan.call(
        Op::Pipe {
            capacity_bytes: 4096,
        },
        1,
        2,
    );
    plan.call(
        Op::SpliceIn {
            range: range(0, 1),
            by: Filling::Splice,
        },
        3,
        4,
    );
    let call = plan.call(
        Op::SpliceIn {
            range: range(0, 1),
            by: Filling::Splice,
        },
        5,
        6,
    );
    (call.outcome, call.offset_after) = (Outcome::Failed(libc::EAGAIN), Some(0));
    holds(&plan);
    plan.history.calls[1].outcome = Outcome::Returned(0);
    plan.history.calls[1].offset_after = Some(0);
    plan.scenario.steps[1].op = Op::SpliceIn {
        range: range(0, 0),
        by: Filling::Splice,
    };
    says(
        &plan,
        "failed with EAGAIN, but the pipe held only 0 bytes in 0 of 1 slots",
    );
}

fn out(len: u64) -> Op {
    Op::SpliceOut {
        len,
        more: false,
        nonblock: false,
        tee: false,
        move_pages: false,
    }
}

#[test]
fn a_write_fills_pages_of_the_pipe_wherever_its_bytes_come_from() {
    // 4096 and 1: one byte less is still two pages, though in the file it is a page.
    let mut plan = Plan::new(16384);
    let capacity_bytes = 8192;
    plan.call(Op::Pipe { capacity_bytes }, 1, 2).outcome = Outcome::Returned(8192);
    let range_in = range(4095, 4097);
    let write = Op::PipeWrite {
        range: range_in,
        tee: false,
    };
    plan.call(write, 3, 4).outcome = Outcome::Returned(4097);
    plan.call(out(1), 5, 6).outcome = Outcome::Returned(1);
    plan.receive(7, range(4095, 1), 0);
    let again = Op::SpliceIn {
        range: range(0, 1),
        by: Filling::Splice,
    };
    let call = plan.call(again, 8, 9);
    (call.outcome, call.offset_after) = (Outcome::Failed(libc::EAGAIN), Some(0));
    holds(&plan);
    // A splice that is as long has its pages from the file.
    plan.scenario.steps[1].op = Op::SpliceIn {
        range: range_in,
        by: Filling::Splice,
    };
    plan.history.calls[1].offset_after = Some(8192);
    says(&plan, "in 1 of 2 slots");
}

#[test]
fn a_splice_cannot_move_more_than_the_pipe_held() {
    let mut plan = Plan::new(4096);
    plan.call(
        Op::SpliceIn {
            range: range(0, 10),
            by: Filling::Splice,
        },
        1,
        2,
    );
    plan.call(out(100), 3, 4).outcome = Outcome::Returned(10);
    plan.receive(5, range(0, 10), 0);
    holds(&plan);
    plan.history.calls[1].outcome = Outcome::Returned(11);
    says(&plan, "returned 11, but the pipe held only 10 bytes");
    plan.history.calls[1].outcome = Outcome::Returned(0);
    says(&plan, "returned 0, but the pipe held 10 bytes");
    // A thread that fills the pipe meanwhile may explain it.
    plan.call(
        Op::SpliceIn {
            range: range(10, 1),
            by: Filling::Splice,
        },
        2,
        6,
    );
    plan.history.calls[1].outcome = Outcome::Returned(11);
    plan.receive(7, range(10, 1), 0);
    plan.history.calls.swap(1, 2);
    assert!(plan.violations().is_empty());
}

#[test]
fn a_pipe_that_holds_more_refuses_to_shrink() {
    let mut plan = Plan::new(8192);
    plan.call(
        Op::SpliceIn {
            range: range(0, 8192),
            by: Filling::Splice,
        },
        1,
        2,
    );
    let busy = Outcome::Failed(libc::EBUSY);
    plan.call(
        Op::Pipe {
            capacity_bytes: 4096,
        },
        3,
        4,
    )
    .outcome = busy;
    holds(&plan);
    plan.call(
        Op::Pipe {
            capacity_bytes: 8192,
        },
        5,
        6,
    )
    .outcome = busy;
    says(&plan, "operation 3 (pipe capacity=8192) failed with EBUSY");
}

#[test]
fn a_killed_call_may_have_sent_any_part_and_no_more() {
    let killed = |received| {
        let mut plan = Plan::new(4096);
        let call = plan.call(Op::Sendfile(range(1000, 3096)), 1, 2);
        (call.outcome, call.offset_after) = (Outcome::Killed, None);
        plan.receive(3, range(1000, received), 0);
        plan
    };
    for received in [0, 1, 3096] {
        assert_eq!(killed(received).violations(), []);
    }
    let mut more = killed(3096);
    more.receive(4, range(0, 1), 0);
    assert_eq!(more.verdict(), ["wire"]);
    // It says nothing about what others have reported sent.
    let mut plan = killed(0);
    plan.scenario.steps[0].op = Op::Sendfile(range(1000, 0));
    plan.call(Op::Sendfile(range(0, 10)), 4, 5);
    plan.receive(6, range(0, 9), 0);
    assert_eq!(plan.verdict(), ["wire", "counts"]);
}

/// The file is cut to 2000 bytes from order 3 to 6, and what a call from 4 to 5 does.
fn while_cut(op: Op, outcome: Outcome) -> Plan {
    let mut plan = Plan::new(4096);
    plan.call(Op::Truncate { size_bytes: 2000 }, 3, 6);
    plan.scenario.steps[0].actor = crate::scenario::Actor::B;
    let call = plan.call(op, 4, 5);
    call.outcome = outcome;
    if call.offset_after.is_some() {
        call.offset_after = Some(1000 + outcome.bytes());
    }
    plan.receive(7, range(1000, outcome.bytes()), 0);
    if !op.sends() {
        plan.history.received.clear();
    }
    plan
}

fn after_the_cut(mut plan: Plan) -> Plan {
    plan.history.calls[0].exit.order = 3;
    plan
}

#[test]
fn a_file_that_is_cut_during_a_send_has_either_length() {
    let sends = |bytes| while_cut(Op::Sendfile(range(1000, 4000)), Outcome::Returned(bytes));
    for bytes in [1, 1000, 1001, 3096] {
        holds(&sends(bytes));
    }
    says(&sends(3097), "the file had only 3096 bytes");
    says(
        &sends(0),
        "returned 0, 1000 bytes before the end of the file",
    );
    holds(&after_the_cut(sends(1000)));
    says(
        &after_the_cut(sends(1001)),
        "returned 1001, but the file had only 1000 bytes",
    );
    let mut gone = after_the_cut(sends(0));
    gone.scenario.steps[0].op = Op::Truncate { size_bytes: 1000 };
    holds(&gone);
}

#[test]
fn stores_end_where_the_file_ends() {
    for op in [
        Op::MmapWrite(range(1000, 3000)),
        Op::ForkWrite(range(1000, 3000)),
    ] {
        let stores = |bytes| while_cut(op, Outcome::Returned(bytes));
        for bytes in [1000, 2000, 3000] {
            holds(&stores(bytes));
        }
        says(&stores(999), "stored 999 bytes, and 1000 were there");
        holds(&after_the_cut(stores(1000)));
        says(
            &after_the_cut(stores(1001)),
            "stored 1001 bytes, and only 1000 were there",
        );
    }
    let beyond = |offset| while_cut(Op::MmapWrite(range(offset, 10)), Outcome::Skipped);
    holds(&beyond(2000));
    says(&beyond(1995), "stored 0 bytes, and 5 were there");
    let mut uncut = beyond(2000);
    uncut.history.calls[0].outcome = Outcome::Failed(libc::EIO);
    uncut.history.calls.remove(0);
    says(&uncut, "stored 0 bytes, and 10 were there");
}

#[test]
fn a_mapping_ends_with_the_last_page_of_the_file() {
    let maps = |offset| {
        let op = Op::Vmsplice {
            range: range(offset, 10),
            gift: false,
        };
        let mut plan = while_cut(op, Outcome::Failed(libc::EFAULT));
        plan.scenario.setup.file.size_bytes = 8192;
        plan
    };
    holds(&maps(4096));
    says(&maps(4000), "failed with EFAULT");
    let mut uncut = maps(4096);
    uncut.history.calls.remove(0);
    says(&uncut, "failed with EFAULT");
}

#[test]
fn what_has_no_page_is_no_memory_to_vsock() {
    let send = |family, size_bytes| {
        let (by, range) = (Copying::Send, range(0, 4097));
        let mut plan = while_cut(Op::Copy { by, range }, Outcome::Failed(libc::ENOMEM));
        plan.scenario.setup.file.size_bytes = size_bytes;
        plan.scenario.setup.socket.family = family;
        plan
    };
    holds(&send(Family::Vsock, 8192));
    says(&send(Family::Tcp4, 8192), "failed with ENOMEM");
    let mut uncut = send(Family::Vsock, 8192);
    uncut.history.calls.remove(0);
    says(&uncut, "failed with ENOMEM");
}

#[test]
fn a_cut_does_not_fail() {
    let zeroed = range(0, 5);
    for op in [
        Op::Truncate { size_bytes: 5 },
        Op::Punch(zeroed),
        Op::ZeroRange(zeroed),
        Op::Collapse(range(0, 4096)),
    ] {
        let mut plan = Plan::new(4096);
        plan.call(op, 1, 2);
        holds(&plan);
        plan.history.calls[0].outcome = Outcome::Failed(libc::EFBIG);
        says(&plan, "failed with EFBIG");
    }
}

#[test]
fn an_await_ends_or_is_skipped_and_does_not_fail() {
    let awaited = |outcome: Outcome| {
        let mut plan = sent(3096);
        plan.call(Op::Await { who: Actor::B }, 3, 4).outcome = outcome;
        plan
    };
    for fine in [Outcome::Returned(0), Outcome::Skipped] {
        holds(&awaited(fine));
    }
    says(&awaited(Outcome::Failed(libc::EINTR)), "EINTR");
}
