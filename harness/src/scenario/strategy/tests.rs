//! What is generated, and what it shrinks to.

use std::time::Instant;

use proptest::test_runner::TestError;

use super::*;
use crate::scenario::normalize::normalize;
use crate::scenario::{
    Actor, Borrowing, Congestion, Copying, Family, Filling, Netem, Op, Range, ReaderMode, Setup,
    Step, Sysctl,
};

const CASES: u64 = 4000;

fn cases() -> impl Iterator<Item = Scenario> {
    (0..CASES).map(|index| case(2008, index))
}

fn meet(one: Range, other: Range) -> bool {
    one.offset < other.end() && other.offset < one.end()
}

/// The race: what `a` sends, `a` rewrites later.
fn has_race(scenario: &Scenario) -> bool {
    scenario.steps.iter().enumerate().any(|(index, send)| {
        let Op::Sendfile(sent) = send.op else {
            return false;
        };
        scenario.steps[index..].iter().any(|step| {
            // What passes the page cache leaves the pages in flight alone.
            let misses =
                step.op.zeroes() || matches!(step.op, Op::DirectWrite(_) | Op::Collapse(_));
            let writes = step.op.writes().filter(|_| !misses);
            step.actor == Actor::A && writes.is_some_and(|written| meet(sent, written))
        })
    })
}

/// The same by way of the pipe, which a stock kernel shows as well.
fn has_piped_race(scenario: &Scenario) -> bool {
    let steps = scenario.steps.iter().enumerate();
    let fills = steps.filter_map(|(index, step)| match step.op {
        Op::SpliceIn { range, .. } => Some((index, range)),
        _ => None,
    });
    fills.into_iter().any(|(index, sent)| {
        let sends = |step: &crate::scenario::Step| matches!(step.op, Op::SpliceOut { .. });
        let Some(after) = scenario.steps[index..].iter().position(sends) else {
            return false;
        };
        scenario.steps[index + after..].iter().any(|step| {
            let stores = matches!(step.op, Op::MmapWrite(_) | Op::Pwrite(_));
            let written = step.op.writes().filter(|_| stores);
            step.actor == Actor::A && written.is_some_and(|written| meet(sent, written))
        })
    })
}

/// What a draw means is a matter of the order in its table.
#[test]
fn the_draw_of_a_small_buffer_gives_one() {
    let bytes = tables::pick(tables::SOCKET_BUFFER_BYTES, tables::SMALL_BUFFER);
    assert_eq!(bytes, 4096);
}

#[test]
fn cases_are_normalized() {
    for case in cases() {
        assert_eq!(case, normalize(case.clone()));
    }
}

#[test]
fn a_case_depends_on_its_seed_and_index_only() {
    let forth: Vec<_> = (0..50).map(|index| case(1, index)).collect();
    let mut back: Vec<_> = (0..50).rev().map(|index| case(1, index)).collect();
    back.reverse();
    assert_eq!(forth, back);
    let elsewhere = std::thread::spawn(|| case(1, 7)).join().unwrap();
    assert_eq!(elsewhere, forth[7]);
    assert_ne!(case(2, 7), forth[7]);
    assert_ne!(case(1, 8), forth[7]);
}

/// A record of one case: if it changes, so does the meaning of every seed that
/// was ever printed, and that deserves a line in the commit.
#[test]
fn a_seed_keeps_its_meaning() {
    expect_test::expect![[r#"
        link data delay=50ms
        link ack delay=28ms
        socket tcp4 cork
        file tmpfs size=4095

        sendfile 0+2896
        mmap-write 0+2896
        sendfile 25+1449
        mmap-write 0+4095
        sendfile 218+3877
        mmap-write 0+4095
        sendfile 73+1
        sendfile 187+3908
    "#]]
    .assert_eq(&case(2008, 4).to_string());
}

#[test]
fn races_are_frequent() {
    // A stock kernel shows them if the data is delayed and the call can return:
    // one of four cases makes the median of the first one 3.
    let likely = cases()
        .filter(|case| {
            case.setup.data.delay_us > 0
                && case.setup.reader == ReaderMode::Drain
                && (has_race(case) || has_piped_race(case))
        })
        .count();
    assert!(likely * 4 > CASES as usize, "{likely} of {CASES}");
}

#[test]
fn scenarios_are_small() {
    let sent: u64 = cases()
        .flat_map(|case| {
            let size = case.setup.file.size_bytes;
            case.steps.into_iter().map(move |step| match step.op {
                Op::Sendfile(range)
                | Op::Copy { range, .. }
                | Op::Borrow { range, .. }
                | Op::SpliceIn { range, .. }
                | Op::PipeWrite { range, .. }
                | Op::Vmsplice { range, .. } => range.end().min(size).saturating_sub(range.offset),
                _ => 0,
            })
        })
        .sum();
    let mean = sent / CASES;
    assert!((15_000..55_000).contains(&mean), "{mean} bytes sent");
    println!("{mean} bytes sent");
    let ops = cases().map(|case| case.steps.len()).sum::<usize>() as f64 / CASES as f64;
    assert!((3.0..15.0).contains(&ops), "{ops} operations");
}

/// How many copies of more than two pages these make.
fn long_copies<const N: usize>(case: &Scenario, by: [Actor; N]) -> usize {
    let is_long = |op| matches!(op, Op::Copy { range, .. } if range.len > 8192);
    let steps = case.steps.iter();
    steps
        .filter(|it| by.contains(&it.actor) && is_long(it.op))
        .count()
}

/// A link that only delays and spoils, much, and buffers as the kernel tunes them.
fn is_plain_but_spoils(setup: &Setup) -> bool {
    let Netem {
        delay_us,
        jitter_us,
        loss_ppm,
        rate_bps,
        corrupt_ppm,
        ..
    } = setup.data;
    delay_us > 0
        && (jitter_us, loss_ppm, rate_bps) == (0, 0, 0)
        && corrupt_ppm == 100_000
        && setup.socket.sndbuf_bytes.is_none()
        && setup.reader == ReaderMode::Drain
}

/// Every feature is there, in at least this share of the cases, in percent.
#[test]
fn every_feature_is_generated() {
    type Feature = (&'static str, f64, fn(&Scenario) -> bool);
    fn some(case: &Scenario, what: fn(&Op) -> bool) -> bool {
        case.steps.iter().any(|step| what(&step.op))
    }
    fn is_copy(op: &Op, copying: Copying) -> bool {
        matches!(op, Op::Copy { by, .. } if *by == copying)
    }
    fn either(setup: &Setup, what: fn(&Netem) -> bool) -> bool {
        what(&setup.data) || what(&setup.ack)
    }
    let features: &[Feature] = &[
        ("data delay", 67.0, |c| c.setup.data.delay_us > 0),
        ("ack delay", 37.0, |c| c.setup.ack.delay_us > 0),
        ("no delay", 3.0, |c| {
            c.setup.data.delay_us + c.setup.ack.delay_us == 0
        }),
        ("jitter", 5.0, |c| either(&c.setup, |n| n.jitter_us > 0)),
        ("loss", 5.0, |c| either(&c.setup, |n| n.loss_ppm > 0)),
        ("duplicate", 3.0, |c| {
            either(&c.setup, |n| n.duplicate_ppm > 0)
        }),
        ("reorder", 3.0, |c| either(&c.setup, |n| n.reorder_ppm > 0)),
        ("rate", 5.0, |c| either(&c.setup, |n| n.rate_bps > 0)),
        ("limit", 2.0, |c| either(&c.setup, |n| n.limit_packets > 0)),
        (
            "a send by reference behind a copy, and a short queue",
            1.5,
            |c| {
                let mut pairs = c.steps.windows(2);
                let by_reference = |op| matches!(op, Op::Sendfile(_) | Op::Borrow { .. });
                (1..=3).contains(&c.setup.data.limit_packets)
                    && pairs.any(|it| matches!(it[0].op, Op::Copy { .. }) && by_reference(it[1].op))
            },
        ),
        (
            "a slot is filled, emptied, filled otherwise, and written behind",
            0.4,
            |c| {
                c.steps.windows(4).any(|it| {
                    let ops = [it[0].op, it[1].op, it[2].op, it[3].op];
                    let [
                        Op::PipeWrite { tee: false, .. },
                        Op::SpliceOut { .. },
                        Op::SpliceIn { range, .. },
                        Op::PipeWrite { tee: false, .. },
                    ] = ops
                    else {
                        return false;
                    };
                    range.len < 4096
                })
            },
        ),
        ("a hole goes on in the next page", 1.2, |c| {
            let crosses = |range: Range| range.offset / 4096 != (range.end() - 1) / 4096;
            let parts = |range: Range| !range.offset.is_multiple_of(4096) && crosses(range);
            let fills = |step: &Step| matches!(step.op, Op::SpliceIn { range, .. } if parts(range));
            c.setup.file.sparse && c.steps.iter().any(fills)
        }),
        ("many buffers go out before anything else", 1.5, |c| {
            let fills = |step: &Step| step.op.fills().is_some_and(|(_, second)| !second);
            let first = c.steps.iter().position(|step| step.op.sends());
            let out = |at: &usize| matches!(c.steps[*at].op, Op::SpliceOut { .. });
            first
                .filter(out)
                .is_some_and(|at| c.steps[..at].iter().filter(|step| fills(step)).count() >= 15)
        }),
        (
            "something is put behind what others have a part of",
            2.0,
            |c| {
                c.steps.windows(2).any(|it| {
                    matches!(it[0].op, Op::Tee { .. } | Op::Pour { .. })
                        && matches!(it[1].op, Op::PipeWrite { tee: true, .. })
                })
            },
        ),
        (
            "what is held for long was sent, and is written to",
            0.5,
            |c| {
                c.steps.windows(3).any(|it| {
                    let ops = [it[0].op, it[1].op, it[2].op];
                    matches!(
                        ops,
                        [
                            Op::Release { packets: None, .. },
                            Op::Sendfile(_),
                            Op::MmapWrite(_)
                        ]
                    )
                })
            },
        ),
        (
            "long copies in packets of many segments, of which single ones are lost",
            1.2,
            |c| {
                long_copies(c, Actor::SENDING_SIDE) >= 4
                    && c.setup.stack.get(Sysctl::MinTsoSegs) == Some(20)
                    && is_plain_but_spoils(&c.setup)
            },
        ),
        ("the same by two threads in turn", 0.4, |c| {
            let by = |actor| long_copies(c, [actor]) >= 2;
            by(Actor::A) && by(Actor::B) && is_plain_but_spoils(&c.setup)
        }),
        ("tcp4", 45.0, |c| c.setup.socket.family == Family::Tcp4),
        ("tcp6", 10.0, |c| c.setup.socket.family == Family::Tcp6),
        ("ktls4", 5.0, |c| c.setup.socket.family == Family::Ktls4),
        ("mptcp4", 1.5, |c| c.setup.socket.family == Family::Mptcp4),
        ("mptcp6", 0.4, |c| c.setup.socket.family == Family::Mptcp6),
        ("unix", 1.5, |c| c.setup.socket.family == Family::Unix),
        ("unix-seqpacket", 0.7, |c| {
            c.setup.socket.family == Family::UnixSeqpacket
        }),
        ("vsock", 2.5, |c| c.setup.socket.family == Family::Vsock),
        ("udp4", 3.8, |c| c.setup.socket.family == Family::Udp4),
        ("udp6", 1.5, |c| c.setup.socket.family == Family::Udp6),
        ("sndbuf", 5.0, |c| c.setup.socket.sndbuf_bytes.is_some()),
        ("rcvbuf", 5.0, |c| c.setup.socket.rcvbuf_bytes.is_some()),
        ("nodelay", 5.0, |c| c.setup.socket.nodelay),
        ("cork", 5.0, |c| c.setup.socket.cork),
        ("nonblock", 5.0, |c| c.setup.socket.nonblock),
        ("timestamping", 4.0, |c| c.setup.socket.timestamping),
        ("memfd", 5.0, |c| {
            c.setup.file.kind == crate::scenario::FileKind::Memfd
        }),
        ("paused", 5.0, |c| c.setup.reader == ReaderMode::Paused),
        ("relay", 3.0, |c| c.setup.relay),
        ("read", 3.0, |c| some(c, |op| matches!(op, Op::Read { .. }))),
        ("wait", 5.0, |c| some(c, |op| matches!(op, Op::Wait { .. }))),
        ("pwrite", 6.2, |c| some(c, |op| matches!(op, Op::Pwrite(_)))),
        ("mmap-write", 50.0, |c| {
            some(c, |op| matches!(op, Op::MmapWrite(_)))
        }),
        ("splice-out", 8.0, |c| {
            some(c, |op| matches!(op, Op::SpliceOut { .. }))
        }),
        ("more", 2.0, |c| {
            some(c, |op| matches!(op, Op::SpliceOut { more: true, .. }))
        }),
        ("nonblock splice", 2.0, |c| {
            some(c, |op| matches!(op, Op::SpliceOut { nonblock: true, .. }))
        }),
        ("splice-in move", 0.5, |c| {
            some(c, |op| {
                matches!(
                    op,
                    Op::SpliceIn {
                        by: Filling::Move,
                        ..
                    }
                )
            })
        }),
        ("sendfile-in", 1.0, |c| some(c, |op| op.is_sendfile_in())),
        ("splice-out move", 0.5, |c| {
            some(c, |op| {
                matches!(
                    op,
                    Op::SpliceOut {
                        move_pages: true,
                        ..
                    }
                )
            })
        }),
        ("vmsplice", 1.5, |c| {
            some(c, |op| matches!(op, Op::Vmsplice { .. }))
        }),
        ("gift", 0.8, |c| {
            some(c, |op| matches!(op, Op::Vmsplice { gift: true, .. }))
        }),
        ("tee", 0.8, |c| some(c, |op| matches!(op, Op::Tee { .. }))),
        ("splice-out tee", 0.2, |c| {
            some(c, |op| matches!(op, Op::SpliceOut { tee: true, .. }))
        }),
        ("write", 0.5, |c| some(c, |op| is_copy(op, Copying::Write))),
        ("send", 0.5, |c| some(c, |op| is_copy(op, Copying::Send))),
        ("writev", 0.5, |c| {
            some(c, |op| is_copy(op, Copying::Writev))
        }),
        ("send-zerocopy", 2.0, |c| c.borrows(Borrowing::Send)),
        ("uring-send-zerocopy", 2.0, |c| c.borrows(Borrowing::Uring)),
        ("await-completions", 1.0, |c| {
            some(c, |op| *op == Op::AwaitCompletions)
        }),
        ("sendfile without offset", 1.5, |c| {
            some(c, |op| matches!(op, Op::SendfileOn { .. }))
        }),
        ("pipe-write", 1.0, |c| {
            some(c, |op| matches!(op, Op::PipeWrite { .. }))
        }),
        ("pipe-write tee", 0.5, |c| {
            some(c, |op| matches!(op, Op::PipeWrite { tee: true, .. }))
        }),
        ("pour", 0.5, |c| some(c, |op| matches!(op, Op::Pour { .. }))),
        ("signal", 1.0, |c| {
            some(c, |op| matches!(op, Op::Signal { .. }))
        }),
        ("cork in between", 0.7, |c| {
            some(c, |op| matches!(op, Op::Cork { .. }))
        }),
        ("shutdown", 0.2, |c| {
            some(c, |op| matches!(op, Op::Shutdown))
        }),
        ("reset or close", 0.08, |c| some(c, |op| op.leaves())),
        ("own read", 0.08, Scenario::reads_itself),
        ("kill", 0.05, |c| {
            some(c, |op| matches!(op, Op::Kill { .. }))
        }),
        ("fork-write", 0.2, |c| {
            some(c, |op| matches!(op, Op::ForkWrite(_)))
        }),
        ("second mapping", 1.0, |c| {
            some(c, |op| matches!(op, Op::SecondWrite(_)))
        }),
        ("msync", 0.2, |c| some(c, |op| *op == Op::Msync)),
        ("drop-caches", 0.2, |c| some(c, |op| *op == Op::DropCaches)),
        ("await", 1.0, |c| {
            some(c, |op| matches!(op, Op::Await { .. }))
        }),
        ("meet", 0.5, |c| some(c, |op| matches!(op, Op::Meet { .. }))),
        ("each", 2.0, |c| c.setup.socket.each),
        ("sparse", 4.0, |c| c.setup.file.sparse),
        ("read-only", 8.0, |c| c.setup.file.read_only),
        ("truncate", 1.5, |c| {
            some(c, |op| matches!(op, Op::Truncate { .. }))
        }),
        ("punch", 1.0, |c| some(c, |op| matches!(op, Op::Punch(_)))),
        ("ext4", 4.0, |c| {
            c.setup.file.kind == crate::scenario::FileKind::Ext4
        }),
        ("dwrite", 0.8, |c| {
            some(c, |op| matches!(op, Op::DirectWrite(_)))
        }),
        ("collapse", 0.2, |c| {
            some(c, |op| matches!(op, Op::Collapse(_)))
        }),
        ("zero", 0.3, |c| {
            some(c, |op| matches!(op, Op::ZeroRange(_)))
        }),
        ("hold", 4.0, Scenario::holds_any),
        ("release", 1.2, |c| {
            some(c, |op| matches!(op, Op::Release { .. }))
        }),
        ("user timeout", 2.0, |c| c.setup.socket.user_timeout_us > 0),
        ("send timeout", 2.0, |c| c.setup.socket.send_timeout_us > 0),
        ("poll", 3.0, |c| c.setup.socket.poll),
        ("notsent-lowat", 2.0, |c| {
            c.setup.socket.tcp.notsent_lowat_bytes > 0
        }),
        ("reno", 0.6, |c| {
            c.setup.socket.tcp.congestion == Some(Congestion::Reno)
        }),
        ("cubic", 0.3, |c| {
            c.setup.socket.tcp.congestion == Some(Congestion::Cubic)
        }),
        ("bbr", 1.5, |c| {
            c.setup.socket.tcp.congestion == Some(Congestion::Bbr)
        }),
        ("quickack on", 1.0, |c| {
            c.setup.socket.tcp.quickack == Some(true)
        }),
        ("quickack off", 1.5, |c| {
            c.setup.socket.tcp.quickack == Some(false)
        }),
        ("other senders", 3.0, |c| {
            c.steps
                .iter()
                .any(|step| step.actor != Actor::A && step.op.sends())
        }),
        ("other writers", 5.0, |c| {
            c.steps
                .iter()
                .any(|step| step.actor == Actor::B && step.op.writes().is_some())
        }),
        ("past the end", 5.0, |c| {
            let size = c.setup.file.size_bytes;
            c.steps
                .iter()
                .any(|step| matches!(step.op, Op::Sendfile(range) if range.end() > size))
        }),
        ("more than one call moves", 1.0, |c| {
            some(
                c,
                |op| matches!(op, Op::Sendfile(range) if range.len > 0x7fff_f000),
            )
        }),
        ("17 pages", 5.0, |c| {
            some(
                c,
                |op| matches!(op, Op::Sendfile(range) if range.len > 65536),
            )
        }),
    ];
    let mut rare = String::new();
    for (name, least, has) in features {
        let share = cases().filter(has).count() as f64 * 100.0 / CASES as f64;
        if share < *least {
            rare += &format!("{name}: {share}%, expected {least}%\n");
        }
    }
    assert!(rare.is_empty(), "\n{rare}");
}

/// What is left of a case without wishes, and without a crowd: what only these brought about
/// stays as they have it.
fn shrunk(seed: u8, fails: impl Fn(&Scenario) -> bool) -> Scenario {
    let drawn = genes::genes().prop_map(|mut genes| {
        genes.throng.crowd = genes::Crowd::None;
        build::build(&genes)
    });
    shrunk_from(drawn.boxed(), seed, fails)
}

fn shrunk_from(
    strategy: BoxedStrategy<Scenario>,
    seed: u8,
    fails: impl Fn(&Scenario) -> bool,
) -> Scenario {
    let config = Config {
        // A wish among thousands may have to come true.
        cases: 100_000,
        failure_persistence: None,
        max_shrink_iters: 100_000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let result = TestRunner::new_with_rng(config, rng).run(&strategy, |scenario| {
        proptest::prop_assert!(!fails(&scenario));
        Ok(())
    });
    match result {
        Err(TestError::Fail(_, scenario)) => scenario,
        other => panic!("expected a failure, found {other:?}"),
    }
}

#[test]
fn the_race_shrinks_to_two_operations() {
    const SEEDS: u8 = 30;
    let mut simplest = 0;
    for seed in 0..SEEDS {
        let found = shrunk(seed, has_race);
        let Op::Sendfile(sent) = found.steps[0].op else {
            panic!("seed {seed}: {found}");
        };
        // Two operations and no setup, which meet.
        let Op::MmapWrite(written) = found.steps[1].op else {
            panic!("seed {seed}: {found}");
        };
        assert_eq!(
            found.to_string(),
            format!("sendfile {sent}\nmmap-write {written}\n"),
            "seed {seed}"
        );
        let page = Range {
            offset: 0,
            len: 4096,
        };
        simplest += u8::from((sent, written) == (page, page));
    }
    // Before a page come shorter lengths. While the write still lies beyond those, they
    // are no race, and proptest does not look past what it found to be none.
    assert!(simplest >= SEEDS - 3, "{simplest} of {SEEDS} sent a page");
}

#[test]
fn what_matters_stays_and_the_rest_goes() {
    const SEEDS: u8 = 20;
    let (mut simplest, mut races) = (0, 0);
    for seed in 0..SEEDS {
        let delayed = |s: &Scenario| has_race(s) && s.setup.data.delay_us >= 10_000;
        let found = shrunk(seed, delayed);
        assert_eq!(
            (found.steps.len(), found.setup.to_string().as_str()),
            (2, "link data delay=10ms\n"),
            "seed {seed}:\n{found}"
        );
        let race = "link data delay=10ms\n\nsendfile 0+4096\nmmap-write 0+4096\n";
        races += u8::from(found.to_string() == race);
        let splice = |s: &Scenario| {
            let out = |op| matches!(op, Op::SpliceOut { .. });
            s.steps.iter().any(|step| out(step.op))
        };
        let found = shrunk(seed, splice);
        // One that only filled or emptied a pipe may stay: operations are taken out first,
        // and made simpler then.
        assert!(found.steps.len() <= 7, "seed {seed}: {found}");
        // Two where buffers were gathered.
        let alone = "pipe capacity=65536\nsplice-in 0+4096\nsplice-out 4096\n";
        let gathered = "pipe capacity=65536\nsplice-in 0+4096\nsplice-in 0+4096\nsplice-out 8192\n";
        simplest += u8::from([alone, gathered].contains(&found.to_string().as_str()));
    }
    assert!(races >= SEEDS - 3, "{races} of {SEEDS}");
    // What only a wish brought about stays as the wish has it.
    assert!(simplest >= SEEDS * 2 / 3, "{simplest} of {SEEDS}");
}

#[test]
fn a_wish_goes_unless_it_matters() {
    for seed in 0..10 {
        let delayed = |s: &Scenario| s.setup.data.delay_us >= 10_000;
        assert_eq!(
            shrunk_from(scenario(), seed, delayed).to_string(),
            "link data delay=10ms\n\nsendfile 0+4096\n",
            "seed {seed}"
        );
        // This one hardly anything else brings about.
        let tidied = |s: &Scenario| {
            s.setup.socket.family == Family::Vsock && s.steps.iter().any(|it| it.op == Op::Msync)
        };
        let found = shrunk_from(scenario(), seed, tidied);
        assert!(found.steps.len() <= 3, "seed {seed}:\n{found}");
    }
}

/// Prints how long a case takes: `cargo test --release -- --ignored --nocapture
/// a_case_is_cheap`. Ignored because a time says nothing on a busy machine.
#[test]
#[ignore = "measures"]
fn a_case_is_cheap() {
    const ROUNDS: u64 = 100_000;
    case(0, 0);
    let start = Instant::now();
    let ops: usize = (0..ROUNDS).map(|index| case(1, index).steps.len()).sum();
    let each = start.elapsed() / ROUNDS as u32;
    println!(
        "{each:?} a case, {:.1} operations",
        ops as f64 / ROUNDS as f64
    );
    assert!(each.as_micros() < 15, "{each:?}");
}
