//! Values of the model that nobody has made sense of.

use proptest::prelude::*;

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

fn filling() -> impl Strategy<Value = Filling> {
    prop::sample::select(vec![Filling::Splice, Filling::Move, Filling::Sendfile])
}

fn wild_op() -> impl Strategy<Value = Op> {
    let range = || (wild(), wild()).prop_map(|(offset, len)| Range { offset, len });
    prop_oneof![
        range().prop_map(Op::Sendfile),
        wild32().prop_map(|capacity_bytes| Op::Pipe { capacity_bytes }),
        (range(), filling()).prop_map(|(range, by)| Op::SpliceIn { range, by }),
        (range(), any::<bool>()).prop_map(|(range, tee)| Op::PipeWrite { range, tee }),
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
        wild().prop_map(|len| Op::Pour { len }),
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
        wild32().prop_map(|after_ns| Op::Meet {
            who: Actor::A,
            after_ns,
        }),
        wild32().prop_map(|after_ns| Op::Meet {
            who: Actor::B,
            after_ns,
        }),
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
        flags in any::<[bool; 6]>(),
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
                timestamping: flags[5],
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

pub fn wild_scenario() -> impl Strategy<Value = Scenario> {
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
