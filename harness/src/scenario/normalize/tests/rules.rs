//! What becomes of one scenario or another, rule by rule.

use super::*;

#[test]
fn pipes_are_given_to_a_and_sends_to_no_reader() {
    check(
        &[
            step(Actor::B, Op::Sendfile(range(0, 1))),
            step(Actor::Reader, Op::Sendfile(range(0, 1))),
            step(
                Actor::Reader,
                Op::SpliceIn {
                    range: range(0, 2),
                    by: Filling::Splice,
                },
            ),
            step(
                Actor::C,
                Op::SpliceOut {
                    len: 2,
                    more: true,
                    nonblock: false,
                    tee: false,
                    move_pages: false,
                },
            ),
        ],
        "b: sendfile 0+1\nsendfile 0+1\npipe capacity=65536\nsplice-in 0+2\nsplice-out 2 more\n",
    );
}

#[test]
fn the_reader_reads_and_leaves_and_does_nothing_else() {
    check(
        &[
            step(Actor::B, Op::Read { len: 1 }),
            step(Actor::Reader, Op::Pwrite(range(0, 1))),
            step(Actor::Reader, Op::Wait { us: 1 }),
            step(Actor::B, Op::Reset),
        ],
        "reader paused\nb: read 1\na: pwrite 0+1\na: wait 1us\nreader: reset\n",
    );
}

#[test]
fn sends_may_go_past_the_end_and_writes_may_not() {
    check(
        &[
            step(Actor::A, Op::Sendfile(range(4000, 5000))),
            step(Actor::A, Op::Sendfile(range(9000, 1))),
            step(Actor::A, Op::Sendfile(range(u64::MAX, u64::MAX))),
            step(Actor::A, Op::Pwrite(range(4000, 5000))),
            step(Actor::B, Op::MmapWrite(range(9000, 1))),
        ],
        "sendfile 4000+5000\nsendfile 9000+1\nsendfile 2M+4294967296\npwrite 4000+96\nb: mmap-write 4095+1\n",
    );
}

#[test]
fn writes_may_go_as_far_as_the_file_ever_went() {
    let truncate = |size_bytes| step(Actor::A, Op::Truncate { size_bytes });
    check(
        &[
            step(Actor::A, Op::Pwrite(range(5000, 10))),
            truncate(5000),
            truncate(0),
            step(Actor::A, Op::Pwrite(range(4990, 100))),
            step(Actor::B, Op::Punch(range(4999, 2))),
            truncate(u64::MAX),
            step(Actor::A, Op::Pwrite(range(4990, 100))),
        ],
        "pwrite 4095+1\ntruncate 5000\ntruncate 0\npwrite 4990+10\nb: punch 4999+1\n\
         truncate 1M\npwrite 4990+100\n",
    );
}

#[test]
fn a_collapse_is_whole_blocks_and_not_the_end() {
    let collapse = |offset, len| step(Actor::A, Op::Collapse(range(offset, len)));
    let on = |size_bytes, steps: &[Step]| {
        let mut scenario = Scenario {
            steps: steps.to_vec(),
            ..Scenario::default()
        };
        scenario.setup.file.kind = FileKind::Ext4;
        scenario.setup.file.size_bytes = size_bytes;
        let normal = normalize(scenario);
        let lines: Vec<String> = normal.steps.iter().map(|step| step.to_string()).collect();
        lines.join(" ")
    };
    for (size_bytes, offset, len, becomes) in [
        (8193, 5000, 5000, "collapse 4096+4096"),
        (8192, 5000, 5000, "collapse 0+4096"),
        (65536, 4095, 2, "collapse 0+8192"),
        (65536, 0, u64::MAX, "collapse 0+61440"),
        // There is no block that is not the last.
        (4096, 0, 4096, "sendfile 0+4096"),
        (65536, 0, 0, "sendfile 0+65536"),
    ] {
        assert_eq!(on(size_bytes, &[collapse(offset, len)]), becomes);
    }
    let twice = [collapse(0, 4096), collapse(0, 4096)];
    assert_eq!(on(65536, &twice), "collapse 0+4096");
    let truncate = step(Actor::A, Op::Truncate { size_bytes: 5 });
    assert_eq!(on(65536, &[collapse(0, 4096), truncate]), "truncate 5");
}

#[test]
fn a_direct_write_is_whole_sectors_of_a_file_on_ext4() {
    let write = |offset, len| step(Actor::A, Op::DirectWrite(range(offset, len)));
    let steps = vec![
        write(0, 1),
        write(700, 1),
        write(513, 512),
        write(1500, 5),
        write(0, 9999),
        write(512, 512),
        write(5, 0),
    ];
    let on = |kind, size_bytes| {
        let file = FileSpec {
            kind,
            size_bytes,
            ..FileSpec::default()
        };
        let normal = normalize(Scenario {
            setup: Setup {
                file,
                ..Setup::default()
            },
            steps: steps.clone(),
            ..Scenario::default()
        });
        let lines: Vec<String> = normal.steps.iter().map(|step| step.to_string()).collect();
        lines.join(" ")
    };
    assert_eq!(
        on(FileKind::Ext4, 1600),
        "dwrite 0+512 dwrite 512+512 dwrite 512+1024 dwrite 1024+512 dwrite 0+1536 dwrite 512+512"
    );
    // There is no whole one.
    assert_eq!(on(FileKind::Ext4, 511), "sendfile 0+511");
    assert_eq!(on(FileKind::Tmpfs, 4096), "sendfile 0+4096");
}

#[test]
fn a_relay_is_for_streams() {
    for (_, family) in Family::NAMED {
        let mut scenario = Scenario::default();
        (scenario.setup.socket.family, scenario.setup.relay) = (family, true);
        scenario
            .steps
            .push(step(Actor::A, Op::Sendfile(range(0, 1))));
        let relayed = normalize(scenario).setup.relay;
        let bounded = ["udp4", "udp6", "unix-seqpacket"].contains(&family.to_string().as_str());
        assert_eq!(relayed, !bounded, "{family}");
    }
}

/// Whoever reads behind a relay has nothing to do with the sender's connection.
#[test]
fn behind_a_relay_the_reader_only_reads() {
    check(
        &[
            step(Actor::Reader, Op::Shutdown),
            step(Actor::A, Op::Sendfile(range(0, 1))),
            step(Actor::Reader, Op::Read { len: 1 }),
            step(Actor::A, Op::Read { len: 2 }),
            step(Actor::Reader, Op::Close),
            step(Actor::Reader, Op::Reset),
            step(Actor::A, Op::Shutdown),
            step(Actor::Reader, Op::Read { len: 3 }),
        ],
        "reader paused relay\nsendfile 0+1\nread 1\na: read 2\nshutdown\nread 3\n",
    );
    // Nobody waits there for the sender to close its end.
    let close = [
        step(Actor::A, Op::Sendfile(range(0, 1))),
        step(Actor::A, Op::Close),
    ];
    check(&close, "reader relay\nsendfile 0+1\na: close\n");
    check(&close, "reader paused relay\nsendfile 0+1\n");
}

/// A thread can be late, so that a send meets what stands below it.
#[test]
fn the_longest_file_counts_for_what_is_sent() {
    let mut steps = vec![step(Actor::A, Op::Sendfile(range(0, 1_000_000))); 5];
    steps.push(step(
        Actor::B,
        Op::Truncate {
            size_bytes: 1 << 20,
        },
    ));
    let text = "sendfile 0+1000000\n".repeat(4) + "sendfile 0+194304\nb: truncate 1M\n";
    check(&steps, &text);
}

#[test]
fn who_is_killed_is_the_only_one_who_sends() {
    check(
        &[
            step(Actor::B, Op::Sendfile(range(0, 1))),
            step(Actor::Reader, Op::Sendfile(range(0, 1))),
            step(Actor::C, Op::Kill { to: Actor::B }),
        ],
        "b: sendfile 0+1\nsendfile 0+1\n",
    );
}

#[test]
fn a_reader_that_has_left_does_nothing_more() {
    let reader = |op| step(Actor::Reader, op);
    check(
        &[
            step(Actor::A, Op::Reset),
            reader(Op::Read { len: 1 }),
            reader(Op::Close),
            reader(Op::Shutdown),
            step(Actor::B, Op::Shutdown),
        ],
        "reader paused\nreset\nb: shutdown\n",
    );
    check(
        &[
            reader(Op::Shutdown),
            step(Actor::A, Op::Cork { on: true }),
            reader(Op::Close),
        ],
        "socket tcp6\ncork\n",
    );
}

#[test]
fn a_signal_goes_to_another() {
    check(
        &[
            step(Actor::A, Op::Signal { to: Actor::A }),
            step(Actor::B, Op::Signal { to: Actor::Reader }),
            step(Actor::Reader, Op::Signal { to: Actor::B }),
            step(Actor::Reader, Op::Signal { to: Actor::A }),
        ],
        "signal b\n",
    );
}

/// What the reader or the link cannot send, `a` sends.
#[test]
fn who_kills_knows_who_sends() {
    for actor in [Actor::Reader, Actor::Link] {
        check(
            &[
                step(actor, Op::Sendfile(range(0, 1))),
                step(Actor::C, Op::Kill { to: Actor::B }),
                step(Actor::C, Op::Kill { to: Actor::A }),
            ],
            "sendfile 0+1\nc: kill a\n",
        );
    }
}

#[test]
fn what_is_held_is_held_once_and_released_afterwards() {
    let hold = |way, after_packets| Op::Hold { way, after_packets };
    let release = |way, packets| Op::Release { way, packets };
    check(
        &[
            step(Actor::Link, release(Way::Ack, None)),
            step(Actor::Reader, hold(Way::Ack, 5000)),
            step(Actor::Link, hold(Way::Ack, 0)),
            step(Actor::B, release(Way::Ack, Some(0))),
            step(Actor::B, release(Way::Ack, Some(2))),
            step(Actor::Link, hold(Way::Ack, 0)),
            step(Actor::Link, release(Way::Ack, None)),
            step(Actor::Link, hold(Way::Ack, 0)),
            step(Actor::Link, Op::Wait { us: 1 }),
            step(Actor::A, Op::Close),
        ],
        "hold ack after=1000\nb: release ack packets=2\nrelease ack\nhold ack\nwait 1us\n",
    );
}

#[test]
fn a_second_pipe_is_filled_by_a_tee_and_a_mapping_has_an_end() {
    let out = |tee| Op::SpliceOut {
        len: 5,
        more: false,
        nonblock: false,
        tee,
        move_pages: false,
    };
    let map = |range| Op::Vmsplice { range, gift: true };
    check(
        &[
            step(Actor::A, Op::Tee { len: 5 }),
            step(Actor::B, map(range(4000, 5000))),
            step(Actor::A, out(true)),
            step(Actor::C, Op::Tee { len: 5 }),
            step(Actor::A, out(true)),
            step(Actor::A, map(range(9000, 0))),
        ],
        "pipe capacity=65536\nvmsplice 4000+96 gift\ntee 5\nsplice-out 5 tee\n",
    );
}

#[test]
fn timeouts_are_whole_milliseconds() {
    let mut scenario =
        text::parse("t.scn", "socket tcp4 user-timeout=7ms\nsendfile 0+1\n").unwrap();
    scenario.setup.socket.user_timeout_us = 6_001;
    scenario.setup.socket.send_timeout_us = u64::MAX;
    let normal = normalize(scenario).to_string();
    let expected = "socket tcp4 user-timeout=7ms send-timeout=60s\n\nsendfile 0+1\n";
    assert_eq!(normal, expected);
}

#[test]
fn what_does_nothing_is_dropped() {
    check(
        &[
            step(Actor::A, Op::Sendfile(range(5, 0))),
            step(
                Actor::A,
                Op::SpliceOut {
                    len: 5,
                    more: false,
                    nonblock: false,
                    tee: false,
                    move_pages: false,
                },
            ),
            step(Actor::A, Op::Pwrite(range(5, 0))),
            step(Actor::A, Op::Wait { us: 0 }),
            step(Actor::Reader, Op::Read { len: 5 }),
        ],
        // Nothing is left, so the whole file is sent.
        "file memfd size=100\nsendfile 0+100\n",
    );
}

#[test]
fn the_bytes_sent_are_bounded() {
    let send = step(Actor::A, Op::Sendfile(range(0, 1_000_000)));
    let past_the_end = step(Actor::A, Op::Sendfile(range(1 << 20, 5)));
    let mut steps = vec![send; 6];
    steps.push(past_the_end);
    let mut text = "file tmpfs size=1M\n".to_string();
    text += &"sendfile 0+1000000\n".repeat(4);
    text += "sendfile 0+194304\nsendfile 1M+5\n";
    check(&steps, &text);
}

/// A pipe that has to be made counts: the splice goes if only one of both fits.
#[test]
fn a_pipe_that_does_not_fit() {
    let wait = step(Actor::A, Op::Wait { us: 1 });
    let mut steps = vec![wait; MAX_OPS - 1];
    steps.push(step(
        Actor::A,
        Op::SpliceIn {
            range: range(0, 1),
            by: Filling::Splice,
        },
    ));
    steps.push(step(Actor::A, Op::Pwrite(range(0, 1))));
    let text = "wait 1us\n".repeat(MAX_OPS - 1) + "pwrite 0+1\n";
    check(&steps, &text);
}

/// What would do nothing goes; what a family has stays.
#[test]
fn a_family_keeps_what_means_something_to_it() {
    let netem = Netem {
        delay_us: 1000,
        ..Netem::default()
    };
    let all = |family| {
        let socket = SocketSpec {
            family,
            sndbuf_bytes: Some(5000),
            rcvbuf_bytes: Some(6000),
            nodelay: true,
            cork: true,
            nonblock: true,
            user_timeout_us: 1_000,
            send_timeout_us: 1_000,
            poll: true,
            tcp: TcpSpec {
                notsent_lowat_bytes: 7,
                congestion: Some(Congestion::Bbr),
                quickack: Some(false),
            },
            timestamping: true,
            each: false,
        };
        let normal = normalize(Scenario {
            setup: Setup {
                data: netem,
                ack: netem,
                socket,
                ..Setup::default()
            },
            steps: vec![step(Actor::A, Op::Sendfile(range(0, 1)))],
            ..Scenario::default()
        });
        normal.setup.to_string()
    };
    const LINK: &str = "link data delay=1ms\nlink ack delay=1ms\n";
    for name in ["tcp4", "tcp6", "ktls4", "mptcp4", "mptcp6"] {
        let family = Family::NAMED
            .iter()
            .find(|named| named.0 == name)
            .unwrap()
            .1;
        let timeouts = match name {
            "tcp4" | "tcp6" => " user-timeout=1ms send-timeout=1ms",
            _ => "",
        };
        let tcp = match name {
            "mptcp4" | "mptcp6" => "",
            _ => " notsent-lowat=7 congestion=bbr quickack=off",
        };
        let socket = format!(
            "socket {name} sndbuf=5000 rcvbuf=6000{timeouts}{tcp} nodelay cork nonblock poll\n"
        );
        assert_eq!(all(family), LINK.to_owned() + &socket);
    }
    assert_eq!(
        all(Family::Udp4),
        "link data delay=1ms\nsocket udp4 sndbuf=5000 rcvbuf=6000 cork nonblock timestamping\n"
    );
    assert_eq!(all(Family::Unix), "socket unix sndbuf=5000 nonblock poll\n");
    assert_eq!(
        all(Family::UnixSeqpacket),
        "socket unix-seqpacket sndbuf=5000 nonblock poll\n"
    );
    assert_eq!(all(Family::Vsock), "socket vsock nonblock poll\n");
}
