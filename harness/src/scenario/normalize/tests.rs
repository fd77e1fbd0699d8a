//! Normalization of arbitrary values: nothing is assumed about its input.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::scenario::limits::*;
use crate::scenario::*;

/// Numbers of every size, the small ones and the limits more often.
fn wild() -> BoxedStrategy<u64> {
    prop_oneof![
        0..4_u64,
        0..10_000_u64,
        4_000..5_000_000_u64,
        any::<u64>(),
        Just(u64::MAX),
    ]
    .boxed()
}

fn wild32() -> impl Strategy<Value = u32> {
    wild().prop_map(|number| number as u32)
}

fn wild_netem() -> impl Strategy<Value = Netem> {
    let times = (wild(), wild(), wild());
    let shares = prop::collection::vec(wild32(), 6);
    let numbers = prop::collection::vec(wild32(), 7);
    let rest = (
        wild(),
        any::<u64>(),
        0..Distribution::NAMED.len(),
        any::<bool>(),
    );
    (times, shares, numbers, rest).prop_map(|(times, shares, numbers, rest)| Netem {
        delay_us: times.0,
        jitter_us: times.1,
        slot_us: times.2,
        loss_ppm: shares[0],
        duplicate_ppm: shares[1],
        reorder_ppm: shares[2],
        corrupt_ppm: shares[3],
        correlation_ppm: shares[4],
        recover_ppm: shares[5],
        limit_packets: numbers[0],
        gap_packets: numbers[1],
        overhead_bytes: numbers[2],
        rate_bps: rest.0,
        seed: rest.1,
        distribution: Distribution::NAMED[rest.2].1,
        mark: rest.3,
        nth: Nth {
            drop: numbers[3],
            twice: numbers[4],
            swap: numbers[5],
            flip: numbers[6],
        },
    })
}

fn wild_tcp() -> impl Strategy<Value = TcpSpec> {
    let congestion = prop::sample::select(Congestion::NAMED.map(|(_, it)| it).to_vec());
    (
        wild32(),
        prop::option::of(congestion),
        any::<Option<bool>>(),
    )
        .prop_map(|(notsent_lowat_bytes, congestion, quickack)| TcpSpec {
            notsent_lowat_bytes,
            congestion,
            quickack,
        })
}

fn wild_way() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![Way::Data, Way::Ack])
}

fn wild_op() -> impl Strategy<Value = Op> {
    let range = || (wild(), wild()).prop_map(|(offset, len)| Range { offset, len });
    prop_oneof![
        range().prop_map(Op::Sendfile),
        wild32().prop_map(|capacity_bytes| Op::Pipe { capacity_bytes }),
        (range(), any::<bool>()).prop_map(|(range, move_pages)| Op::SpliceIn { range, move_pages }),
        range().prop_map(Op::PipeWrite),
        wild().prop_map(|len| Op::SendfileOn { len }),
        (range(), 0..Copying::NAMED.len()).prop_map(|(range, by)| {
            let (_, by) = Copying::NAMED[by];
            Op::Copy { by, range }
        }),
        (range(), 0..Borrowing::NAMED.len()).prop_map(|(range, by)| {
            let (_, by) = Borrowing::NAMED[by];
            Op::Borrow { by, range }
        }),
        Just(Op::AwaitCompletions),
        (wild(), any::<[bool; 4]>()).prop_map(|(len, [more, nonblock, tee, move_pages])| {
            Op::SpliceOut {
                len,
                more,
                nonblock,
                tee,
                move_pages,
            }
        }),
        wild().prop_map(|len| Op::Tee { len }),
        (range(), any::<bool>()).prop_map(|(range, gift)| Op::Vmsplice { range, gift }),
        prop::sample::select(vec![
            Op::Msync,
            Op::DropCaches,
            Op::Shutdown,
            Op::Reset,
            Op::Close,
            Op::Signal { to: Actor::A },
            Op::Kill { to: Actor::A },
            Op::Kill { to: Actor::B },
            Op::Kill { to: Actor::Reader },
            Op::Signal { to: Actor::C },
            Op::Signal { to: Actor::Reader },
            Op::Signal { to: Actor::Link },
            Op::Await { who: Actor::A },
            Op::Await { who: Actor::C },
            Op::Await { who: Actor::Reader },
            Op::Cork { on: true },
            Op::Cork { on: false },
        ]),
        range().prop_map(Op::MmapWrite),
        range().prop_map(Op::Pwrite),
        range().prop_map(Op::ForkWrite),
        range().prop_map(Op::Punch),
        range().prop_map(Op::DirectWrite),
        range().prop_map(Op::ZeroRange),
        range().prop_map(Op::Collapse),
        range().prop_map(Op::SecondWrite),
        wild().prop_map(|size_bytes| Op::Truncate { size_bytes }),
        wild().prop_map(|len| Op::Read { len }),
        wild().prop_map(|us| Op::Wait { us }),
        (wild_way(), wild32()).prop_map(|(way, after_packets)| Op::Hold { way, after_packets }),
        (wild_way(), proptest::option::of(wild32()))
            .prop_map(|(way, packets)| Op::Release { way, packets }),
    ]
}

prop_compose! {
    fn wild_device()(
        mtu_bytes in prop::option::of(wild32()),
        switches in any::<[bool; 5]>(),
        kind in 0..DeviceKind::NAMED.len(),
    ) -> Device {
        let (_, kind) = DeviceKind::NAMED[kind];
        let [gro, no_tso, no_gso, no_sg, no_checksum] = switches;
        Device { kind, mtu_bytes, gro, no_tso, no_gso, no_sg, no_checksum }
    }
}

fn wild_stack() -> impl Strategy<Value = Stack> {
    let values = prop::collection::vec(prop::option::of(wild32()), Sysctl::COUNT);
    values.prop_map(|values| {
        let mut stack = Stack::default();
        for (sysctl, value) in Sysctl::all().zip(values) {
            stack.set(sysctl, value);
        }
        stack
    })
}

prop_compose! {
    fn wild_setup()(
        data in wild_netem(),
        ack in wild_netem(),
        device in wild_device(),
        stack in wild_stack(),
        family in prop::sample::select(Family::NAMED.map(|(_, family)| family).to_vec()),
        buffers in (prop::option::of(wild32()), prop::option::of(wild32())),
        flags in any::<[bool; 5]>(),
        timeouts in (wild(), wild()),
        tcp in wild_tcp(),
        kind in prop::sample::select(FileKind::NAMED.map(|(_, kind)| kind).to_vec()),
        source in any::<[bool; 2]>(),
        size_bytes in wild(),
        reader in any::<[bool; 2]>(),
    ) -> Setup {
        Setup {
            data,
            ack,
            device,
            stack,
            socket: SocketSpec {
                family,
                sndbuf_bytes: buffers.0,
                rcvbuf_bytes: buffers.1,
                nodelay: flags[0],
                cork: flags[1],
                nonblock: flags[2],
                user_timeout_us: timeouts.0,
                send_timeout_us: timeouts.1,
                poll: flags[3],
                tcp,
                each: flags[4],
            },
            file: FileSpec {
                kind,
                size_bytes,
                sparse: source[0],
                read_only: source[1],
            },
            reader: if reader[0] { ReaderMode::Paused } else { ReaderMode::Drain },
            relay: reader[1],
        }
    }
}

fn wild_scenario() -> impl Strategy<Value = Scenario> {
    let actors = vec![Actor::A, Actor::B, Actor::C, Actor::Reader, Actor::Link];
    let step = (prop::sample::select(actors), wild_op()).prop_map(|(actor, op)| Step { actor, op });
    let expect =
        ("[a-c .#\n]{0,2}", prop::option::of("wire|splat|x")).prop_map(|(kernel, violated)| {
            Expect {
                kernel,
                verdict: match violated {
                    Some(property) => Expected::Violates(property),
                    None => Expected::Holds(Some(Means::Copied)),
                },
            }
        });
    (
        "[ -~é\n#\t\r\u{0}\u{85}\u{a0}]{0,20}",
        prop::collection::vec(expect, 0..6),
        wild_setup(),
        prop::collection::vec(step, 0..90),
    )
        .prop_map(|(header, expects, setup, steps)| Scenario {
            header,
            expects,
            setup,
            steps,
        })
}

fn config() -> Config {
    Config {
        cases: 1000,
        failure_persistence: None,
        ..Config::default()
    }
}

#[test]
fn normalize_is_idempotent() {
    proptest!(config(), |(wild in wild_scenario())| {
        let (once, notes) = explain(wild.clone());
        prop_assert_eq!(notes.is_empty(), once == wild, "{:?}", notes);
        let (twice, notes) = explain(once.clone());
        prop_assert_eq!(&twice, &once);
        prop_assert!(notes.is_empty(), "{:?}", notes);
    });
}

#[test]
fn what_was_normalized_can_be_written_and_read() {
    proptest!(config(), |(wild in wild_scenario())| {
        let normal = normalize(wild);
        let text = normal.to_string();
        prop_assert!(text.len() <= MAX_TEXT_BYTES);
        prop_assert_eq!(text::parse("t.scn", &text), Ok(normal));
    });
}

/// The largest header and the most of everything still fit.
#[test]
fn the_longest_text_can_be_read() {
    let expects = (0..2 * MAX_EXPECTS).map(|n| Expect {
        kernel: format!("{n:-^MAX_KERNEL_NAME_BYTES$}"),
        verdict: Expected::Violates("stable-on-return".into()),
    });
    let normal = normalize(Scenario {
        header: "\nx".repeat(MAX_HEADER_BYTES),
        expects: expects.collect(),
        steps: vec![step(Actor::B, Op::Wait { us: 9_999_999 }); 2 * MAX_OPS],
        ..Scenario::default()
    });
    assert_eq!(normal.expects.len(), MAX_EXPECTS);
    assert_eq!(normal.steps.len(), MAX_OPS);
    let text = normal.to_string();
    assert!(text.len() <= MAX_TEXT_BYTES, "{}", text.len());
    assert_eq!(text::parse("t.scn", &text), Ok(normal));
}

/// Written without the code under test: what a guest relies on.
#[test]
fn what_was_normalized_can_run() {
    proptest!(config(), |(wild in wild_scenario())| {
        let normal = normalize(wild);
        let last_extent = normal.extent_bytes();
        let Scenario { setup, steps, .. } = normal;
        for netem in [setup.data, setup.ack] {
            prop_assert!(netem.delay_us <= 2_000_000 && netem.jitter_us <= netem.delay_us);
            prop_assert!(netem.loss_ppm <= 200_000);
            prop_assert!(netem.reorder_ppm == 0 || netem.delay_us > 0);
            prop_assert!(netem.rate_bps == 0 || netem.rate_bps >= 1_000_000);
            prop_assert!(netem.slot_us <= 2_000_000 && netem.corrupt_ppm <= 100_000);
            prop_assert!(netem.recover_ppm == 0 || netem.recover_ppm >= 4 * netem.loss_ppm);
            prop_assert!(netem.recover_ppm <= 1_000_000 && netem.correlation_ppm <= 500_000);
            prop_assert!(netem.gap_packets == 0 || netem.reorder_ppm > 0);
            let mut nth = netem.nth;
            let tun = setup.device.kind == DeviceKind::Tun;
            prop_assert!(nth.named().iter().all(|(_, it)| **it == 0 || tun && **it <= 1000));
            let bare = setup.device.kind == DeviceKind::Loopback;
            prop_assert!(!bare || netem == Netem::default());
            prop_assert!(!netem.mark || setup.stack.get(Sysctl::Ecn) == Some(1));
        }
        let (family, mtu) = (setup.socket.family, setup.device.mtu_bytes());
        let loopback = setup.device.kind == DeviceKind::Loopback;
        let least = if family.over_ipv6() || loopback { 1280 } else { 576 };
        let unsaid = loopback && setup.device.mtu_bytes.is_none() && mtu == 65_536;
        prop_assert!(unsaid || (least..=65_535).contains(&mtu));
        let switched = setup.device.switches().iter().any(|(_, set)| *set);
        prop_assert!(!switched || setup.device.kind == DeviceKind::Veth);
        prop_assert!(family.passes_link() || setup.device == Device::default());
        for (sysctl, value) in setup.stack.changes() {
            prop_assert!(sysctl.bounds().contains(&value) && family.is_acknowledged());
        }
        let bounded = matches!(family, Family::Udp4 | Family::Udp6 | Family::UnixSeqpacket);
        prop_assert!(!setup.relay || !bounded);
        let size_bytes = setup.file.size_bytes;
        prop_assert!((1..=1 << 20).contains(&size_bytes));
        prop_assert!((1..=64).contains(&steps.len()));
        let (mut pipe, mut filled, mut teed, mut left, mut sent) = (false, false, false, false, 0);
        let (mut kills, mut extent) = (0, size_bytes);
        let (mut held, mut closes, mut borrowed) = ([false; 2], false, false);
        let tcp = matches!(setup.socket.family, Family::Tcp4 | Family::Tcp6);
        for us in [setup.socket.user_timeout_us, setup.socket.send_timeout_us] {
            prop_assert!(us <= 60_000_000 && us.is_multiple_of(1_000) && (tcp || us == 0));
        }
        for Step { actor, op } in steps.iter().copied() {
            let links = matches!(op, Op::Hold { .. } | Op::Release { .. });
            prop_assert!(actor != Actor::Link || links);
            prop_assert!(actor != Actor::Reader || !links);
            match op {
                Op::Hold { way, after_packets } => {
                    let netem = [setup.data, setup.ack][way as usize];
                    prop_assert!(netem.duplicate_ppm == 0 && netem.reorder_ppm == 0);
                    prop_assert!(setup.socket.family.passes_link());
                    prop_assert!(way == Way::Data || setup.socket.family.is_acknowledged());
                    prop_assert!(!held[way as usize] && after_packets <= 1000);
                    held[way as usize] = true;
                }
                Op::Release { way, packets } => {
                    prop_assert!(held[way as usize]);
                    prop_assert!(packets.is_none_or(|it| (1..=1000).contains(&it)));
                    held[way as usize] = packets.is_some();
                }
                Op::Sendfile(range) => {
                    prop_assert_ne!(actor, Actor::Reader);
                    prop_assert!(range.len > 0);
                    prop_assert!(actor == Actor::A || tcp || setup.socket.each);
                    sent += range.end().min(last_extent).saturating_sub(range.offset);
                }
                Op::SendfileOn { len } => {
                    prop_assert_eq!(actor, Actor::A);
                    prop_assert!(len > 0);
                    sent += len.min(size_bytes);
                }
                Op::Copy { range, .. } => {
                    prop_assert_ne!(actor, Actor::Reader);
                    prop_assert!(actor == Actor::A || tcp || setup.socket.each);
                    prop_assert!(range.len > 0 && range.end() <= extent);
                    sent += range.len;
                }
                Op::Borrow { range, .. } => {
                    prop_assert_ne!(actor, Actor::Reader);
                    prop_assert!(actor == Actor::A || tcp || setup.socket.each);
                    prop_assert!(range.len > 0 && range.end() <= extent);
                    sent += range.len;
                    borrowed = true;
                }
                Op::AwaitCompletions => prop_assert!(actor != Actor::Reader && borrowed),
                Op::SpliceIn { range, .. } | Op::PipeWrite(range) | Op::Vmsplice { range, .. } => {
                    prop_assert_eq!(actor, Actor::A);
                    prop_assert!(range.len > 0 && pipe);
                    let inside = range.end() <= extent;
                    prop_assert!(inside || matches!(op, Op::SpliceIn { .. }), "{op}");
                    sent += range.end().min(last_extent).saturating_sub(range.offset);
                    filled = true;
                }
                Op::Tee { len } => {
                    prop_assert_eq!(actor, Actor::A);
                    prop_assert!(len > 0 && filled);
                    teed = true;
                }
                Op::Shutdown | Op::Reset | Op::Close => {
                    let reads = actor == Actor::Reader;
                    prop_assert!(tcp && (reads || op != Op::Reset));
                    prop_assert!(!reads || setup.reader == ReaderMode::Paused && !left);
                    prop_assert!(!reads || !setup.relay);
                    let drains = setup.reader == ReaderMode::Drain;
                    prop_assert!(reads || op != Op::Close || drains);
                    left |= reads && op.leaves();
                    closes |= !reads && op == Op::Close;
                }
                Op::Signal { to } => {
                    prop_assert!(to != actor);
                    prop_assert!(Actor::SENDING_SIDE.contains(&to) && actor != Actor::Reader);
                }
                Op::Kill { to } => {
                    prop_assert!(tcp && to != actor);
                    prop_assert!(to != Actor::Reader && actor != Actor::Reader);
                    let mut sends = steps.iter().filter(|step| step.op.sends());
                    prop_assert!(sends.all(|step| step.actor == to));
                    kills += 1;
                }
                Op::Cork { .. } => prop_assert!(tcp && actor != Actor::Reader),
                Op::Pipe { capacity_bytes } => {
                    prop_assert_eq!(actor, Actor::A);
                    prop_assert!((4096..=1 << 20).contains(&capacity_bytes));
                    pipe = true;
                }
                Op::SpliceOut { len, tee, .. } => {
                    prop_assert_eq!(actor, Actor::A);
                    prop_assert!(filled && len > 0 && (teed || !tee));
                }
                Op::Await { who } => {
                    prop_assert!(who != actor && Actor::SENDING_SIDE.contains(&who));
                    prop_assert!(Actor::SENDING_SIDE.contains(&actor));
                }
                Op::Msync | Op::DropCaches => prop_assert_ne!(actor, Actor::Reader),
                Op::Truncate { size_bytes } => {
                    prop_assert_ne!(actor, Actor::Reader);
                    prop_assert!(size_bytes <= 1 << 20);
                    extent = extent.max(size_bytes);
                }
                Op::Collapse(range) => {
                    prop_assert_ne!(actor, Actor::Reader);
                    let whole = (range.offset | range.len).is_multiple_of(4096);
                    prop_assert!(whole && range.len > 0 && range.end() < size_bytes);
                    let resizes = |step: &&Step| {
                        matches!(step.op, Op::Truncate { .. } | Op::Collapse(_))
                    };
                    prop_assert_eq!(steps.iter().filter(resizes).count(), 1);
                    prop_assert_eq!(setup.file.kind, FileKind::Ext4);
                }
                Op::MmapWrite(range)
                | Op::Pwrite(range)
                | Op::ForkWrite(range)
                | Op::SecondWrite(range)
                | Op::DirectWrite(range)
                | Op::ZeroRange(range)
                | Op::Punch(range) => {
                    let direct = matches!(op, Op::DirectWrite(_));
                    let whole = (range.offset | range.len).is_multiple_of(512);
                    prop_assert!(whole || !direct);
                    prop_assert!(!op.needs_ext4() || setup.file.kind == FileKind::Ext4);
                    prop_assert_ne!(actor, Actor::Reader);
                    prop_assert!(range.len > 0 && range.end() <= extent);
                }
                Op::Read { len } => {
                    prop_assert!(len > 0 && setup.reader == ReaderMode::Paused && !left);
                }
                Op::Wait { us } => {
                    prop_assert_ne!(actor, Actor::Reader);
                    prop_assert!((1..=10_000_000).contains(&us));
                }
            }
        }
        prop_assert!(sent <= 4 << 20 && kills <= 1);
        let holds = steps.iter().any(|step| matches!(step.op, Op::Hold { .. }));
        prop_assert!(!(holds && closes));
    });
}

fn step(actor: Actor, op: Op) -> Step {
    Step { actor, op }
}

/// What stands in `text`, after `steps` were normalized in the setup that `text`
/// begins with.
fn check(steps: &[Step], text: &str) {
    let expected = text::parse("expected.scn", text).unwrap();
    let normal = normalize(Scenario {
        steps: steps.to_vec(),
        ..expected.clone()
    });
    assert_eq!(normal.to_string(), expected.to_string());
}

const fn range(offset: u64, len: u64) -> Range {
    Range { offset, len }
}

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
                    move_pages: false,
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
            move_pages: false,
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
        "link data delay=1ms\nsocket udp4 sndbuf=5000 rcvbuf=6000 cork nonblock\n"
    );
    assert_eq!(all(Family::Unix), "socket unix sndbuf=5000 nonblock poll\n");
    assert_eq!(
        all(Family::UnixSeqpacket),
        "socket unix-seqpacket sndbuf=5000 nonblock poll\n"
    );
    assert_eq!(all(Family::Vsock), "socket vsock nonblock poll\n");
}
