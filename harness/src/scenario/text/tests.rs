//! What is read and written; the errors have a file of their own.

mod errors;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::oracle::Property;
use crate::scenario::limits::*;
use crate::scenario::normalize::{PROPERTIES, normalize};
use crate::scenario::*;

const RACE: &str = "\
# The 2008 race: the page is rewritten while its packet waits in the delay queue.
link data delay=20ms
link ack delay=40ms
socket tcp4
file tmpfs size=4096

sendfile 0+4096
mmap-write 0+4096
";

fn read(text: &str) -> Scenario {
    parse("t.scn", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn a(op: Op) -> Step {
    Step {
        actor: Actor::A,
        op,
    }
}

fn range(offset: u64, len: u64) -> Range {
    Range { offset, len }
}

#[test]
fn the_example_of_the_design() {
    let race = read(RACE);
    let mut expected = Scenario {
        header: "The 2008 race: the page is rewritten while its packet waits in the delay queue."
            .into(),
        steps: vec![
            a(Op::Sendfile(range(0, 4096))),
            a(Op::MmapWrite(range(0, 4096))),
        ],
        ..Scenario::default()
    };
    expected.setup.data.delay_us = 20_000;
    expected.setup.ack.delay_us = 40_000;
    assert_eq!(race, expected);
    assert_eq!(
        race.to_string(),
        RACE.replace("socket tcp4\nfile tmpfs size=4096\n", "")
    );
}

#[test]
fn each_way_to_read() {
    for (line, mode, relay, canonical) in [
        ("", ReaderMode::Drain, false, ""),
        ("reader drain\n", ReaderMode::Drain, false, ""),
        (
            "reader paused\n",
            ReaderMode::Paused,
            false,
            "reader paused\n",
        ),
        ("reader relay\n", ReaderMode::Drain, true, "reader relay\n"),
        (
            "reader drain relay\n",
            ReaderMode::Drain,
            true,
            "reader relay\n",
        ),
        (
            "reader paused relay\n",
            ReaderMode::Paused,
            true,
            "reader paused relay\n",
        ),
    ] {
        let scenario = read(&format!("{line}\nsendfile 0+1\n"));
        let Setup {
            reader, relay: is, ..
        } = scenario.setup;
        assert_eq!((reader, is), (mode, relay), "{line}");
        assert_eq!(scenario.setup.to_string(), canonical);
    }
}

#[test]
fn every_line_and_key() {
    let text = "\
# A header
#
#   indented, after a blank line
link data delay=20ms jitter=5ms loss=1% duplicate=0.5% reorder=2% rate=100mbit limit=1000 seed=7
link ack delay=1500us jitter=1ms slot=5ms loss=0.0001% reorder=1% corrupt=3% correlation=25% recover=50% \
rate=1234567bit overhead=24 gap=5 distribution=pareto seed=18446744073709551615
link veth mtu=9000 gro no-tso no-gso no-sg no-checksum
stack mtu-probing=1 base-mss=512 sack=0 dsack=0 recovery=6 early-retrans=0 frto=0 reordering=10 \
retrans-collapse=0 autocorking=0 min-tso-segs=1 tso-win-divisor=0 limit-output=16384 \
window-scaling=0 timestamps=0 ecn=1 slow-start-after-idle=0 moderate-rcvbuf=0 wmem=4096 rmem=4096
socket tcp6 sndbuf=4096 rcvbuf=2304 user-timeout=100ms send-timeout=1s notsent-lowat=16384 congestion=bbr quickack=off nodelay cork nonblock poll each
file ext4 size=65536 sparse read-only
reader paused
expect 6.12-stock violates stable-on-return
expect patched holds
expect 6.12-patched holds waited
expect 7.3-patched holds copied
expect detach holds detached

sendfile 0+4096
write 0+4096
b: send 1+1
writev 0+100
send-zerocopy 0+4096
b: uring-send-zerocopy 1+1
await-completions
sendfile 5000
pipe capacity=65536
splice-in 4095+2 move
splice-out 4096 more nonblock
vmsplice 0+4096 gift
pipe-write 0+100
tee 100
splice-out 100 tee move
mmap-write 0+4096
b: pwrite 100+1
c: wait 20ms
read 4096
wait 10s
b: sendfile 1+1
b: signal a
await a
a: await c
c: cork
uncork
mmap-write 1+1 second
msync
b: drop-caches
truncate 100000
b: truncate 0
punch 99999+1
dwrite 512+1024
b: zero 5+7
b: shutdown
reader: shutdown
reset
";
    let all = read(text);
    assert_eq!(all.to_string(), text);
    assert_eq!(all.header, "A header\n\n  indented, after a blank line");
    let data = Netem {
        delay_us: 20_000,
        jitter_us: 5_000,
        loss_ppm: 10_000,
        duplicate_ppm: 5_000,
        reorder_ppm: 20_000,
        rate_bps: 100_000_000,
        limit_packets: 1000,
        seed: 7,
        ..Netem::default()
    };
    assert_eq!(all.setup.data, data);
    assert_eq!(all.setup.ack.loss_ppm, 1);
    assert_eq!(all.setup.ack.seed, u64::MAX);
    assert_eq!(all.setup.device.mtu_bytes, Some(9000));
    assert_eq!(all.setup.stack.get(Sysctl::Recovery), Some(6));
    assert_eq!(all.setup.stack.changes().count(), Sysctl::COUNT);
    let verdict = Expected::Violates("stable-on-return".into());
    assert_eq!(all.expects[0].verdict, verdict);
    let verdicts = all.expects[1..].iter().map(|expect| &expect.verdict);
    assert_eq!(
        verdicts.collect::<Vec<_>>(),
        [
            &Expected::Holds(None),
            &Expected::Holds(Some(Means::Waited)),
            &Expected::Holds(Some(Means::Copied)),
            &Expected::Holds(Some(Means::Detached)),
        ]
    );
    assert_eq!(all.steps[18].actor, Actor::Reader);
    assert_eq!(all.steps[16].actor, Actor::B);
}

#[test]
fn a_link_of_tun_and_its_packets() {
    let text =
        "link data drop=3 twice=1\nlink ack swap=2 flip=7\nlink tun mtu=1400\n\nsendfile 0+1\n";
    let all = read(text);
    assert_eq!(all.to_string(), text);
    assert_eq!(all.setup.device.kind, DeviceKind::Tun);
    assert_eq!((all.setup.data.nth.drop, all.setup.ack.nth.flip), (3, 7));
    let plain = read("link tun\nsendfile 0+1\n");
    assert_eq!(plain.to_string(), "link tun\n\nsendfile 0+1\n");
}

#[test]
fn a_link_of_loopback() {
    let text = "link loopback mtu=9000\n\nsendfile 0+1\n";
    let all = read(text);
    assert_eq!(all.to_string(), text);
    assert_eq!(all.setup.device.kind, DeviceKind::Loopback);
    let plain = read("link loopback\nsendfile 0+1\n");
    assert_eq!(plain.to_string(), "link loopback\n\nsendfile 0+1\n");
    assert_eq!(plain.setup.device.mtu_bytes(), 65_536);
}

#[test]
fn what_may_be_written_differently() {
    let canonical = read("link data delay=1ms\nreader paused\n\nsendfile 0+65536\nread 1024\n");
    for text in [
        "link data delay=1000us\r\nreader paused\r\n\r\nsendfile 0+65536\r\nread 1024\r\n",
        "\u{feff}link data delay=1.000ms # why\nreader\tpaused\nsendfile 0k+64KiB\n  reader: read 1k",
        "reader paused\nlink data delay=0.001s\na: sendfile 0+0.0625M#tight\nreader:read 0.5k\n"
            .replace("0.5k", "1k")
            .as_str(),
        "socket tcp4\nlink ack\nfile tmpfs size=4096\nreader paused\nlink data delay=1ms\n\n\nsendfile 0+65536\n\n# in between\nread 1KiB\n",
    ] {
        assert_eq!(read(text), canonical, "{text}");
    }
}

#[test]
fn all_comments_above_the_first_line_are_the_header() {
    let scenario = read("\n#one\n\n#  two  \n##\n\nsendfile 0+1\n# not this\n");
    assert_eq!(scenario.header, "one\n\n two\n#");
    assert_eq!(
        scenario.to_string(),
        "# one\n#\n#  two\n# #\n\nsendfile 0+1\n"
    );
}

#[test]
fn an_expect_line_may_be_about_one_engine() {
    let text = "expect stock@qemu either\nexpect stock violates wire\n\nsendfile 0+1\n";
    let scenario = read(text);
    assert_eq!(scenario.to_string(), text);
    let of = |kernel, engine| {
        let mut lines = scenario.expects.iter();
        let found = lines.find(|it| it.is_about_on(kernel, engine));
        found.map(|it| it.verdict.clone())
    };
    let wire = Some(Expected::Violates("wire".into()));
    assert_eq!(of("6.12-stock", "qemu"), Some(Expected::Either));
    assert_eq!(of("6.12-stock", "uml"), wire);
    assert_eq!(of("6.12-stock", "qemu:icount"), wire);
    assert_eq!(of("6.12-patched", "qemu"), None);
    assert!(!scenario.expects[0].is_about("6.12-stock"));
}

#[test]
fn an_expect_line_knows_the_kernels_it_is_about() {
    let about = |line: &str, kernels: &[&str]| {
        let text = format!("expect {line} holds\nsendfile 0+1\n");
        let expect = &read(&text).expects[0];
        let all = [
            "6.12-stock",
            "6.12-stock-debug",
            "6.12-patched",
            "6.12-patched-debug",
            "6.12-detach",
            "6.12-detach-debug",
            "7.3-detach",
            "7.3-detach-kcov",
            "tree:/home/linux-patched",
        ];
        let matched: Vec<_> = all.into_iter().filter(|it| expect.is_about(it)).collect();
        assert_eq!(matched, kernels, "{line}");
    };
    about("stock", &["6.12-stock", "6.12-stock-debug"]);
    about(
        "patched",
        &[
            "6.12-patched",
            "6.12-patched-debug",
            "6.12-detach",
            "6.12-detach-debug",
            "7.3-detach",
            "7.3-detach-kcov",
        ],
    );
    about(
        "detach",
        &[
            "6.12-detach",
            "6.12-detach-debug",
            "7.3-detach",
            "7.3-detach-kcov",
        ],
    );
    about("6.12-patched", &["6.12-patched"]);
    about("detach-debug", &["6.12-detach-debug"]);
    about("tree:/home/linux-patched", &["tree:/home/linux-patched"]);
    about("6.12", &[]);
}

#[test]
fn property_names_are_the_oracles() {
    let all = Property::ALL;
    assert_eq!(all.map(|property| property.to_string()), PROPERTIES);
}

fn message(bytes: &[u8]) -> String {
    parse_bytes("t.scn", bytes).unwrap_err().to_string()
}

#[test]
fn too_many_operations() {
    let text = "pwrite 0+1\n".repeat(256);
    assert!(message(text.as_bytes()).starts_with("t.scn:65:8: found `0+1`: at most 64 operations"));
    assert!(parse("t.scn", &text[..64 * "pwrite 0+1\n".len()]).is_ok());
}

#[test]
fn too_many_bytes_sent() {
    let text = format!("file tmpfs size=1M\n{}", "sendfile 0+1M\n".repeat(5));
    assert_eq!(
        message(text.as_bytes()),
        "t.scn:6:10: found `0+1M`: all sends together move at most 4194304 bytes of the file"
    );
}

#[test]
fn too_many_expectations() {
    let mut text: String = (0..=MAX_EXPECTS)
        .map(|n| format!("expect k{n} holds\n"))
        .collect();
    text.push_str("sendfile 0+1\n");
    assert_eq!(
        message(text.as_bytes()),
        "t.scn:33:1: found `expect`: at most 32 `expect` lines"
    );
}

#[test]
fn texts_and_headers_that_are_too_large() {
    let text = format!("#{}\nsendfile 0+1\n", "x".repeat(MAX_HEADER_BYTES + 1));
    assert!(message(text.as_bytes()).contains("a header is plain text of at most 16384 bytes"));
    let text = "#\n".repeat(MAX_TEXT_BYTES / 2 + 1);
    assert_eq!(
        message(text.as_bytes()),
        "t.scn:1:1: too large: a scenario has at most 262144 bytes"
    );
    let mut latin1 = text.into_bytes();
    latin1.push(0xe9);
    assert!(message(&latin1).contains("too large"));
}

#[test]
fn bytes_that_are_no_text() {
    assert_eq!(
        message(b"sendfile 0+1\n# \xc3\xa9caf\xe9\n"),
        "t.scn:2:7: found the byte 0xe9, which is not UTF-8; a scenario is plain text"
    );
    assert_eq!(
        message(b"\x7fELF\x02\x01\x01\0\xff"),
        "t.scn:1:8: found a NUL byte: this is a binary file; a scenario is plain text"
    );
}

#[test]
fn files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("race.scn");
    let missing = read_file(&path).unwrap_err();
    assert!(matches!(missing, ReadError::Io { .. }), "{missing}");
    assert_eq!(
        missing.to_string(),
        format!("cannot read {}", path.display())
    );

    std::fs::write(&path, RACE).unwrap();
    assert_eq!(read_file(&path).unwrap(), read(RACE));

    std::fs::write(&path, "wait 1").unwrap();
    let error = read_file(&path).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}:1:6: the time", path.display())),
        "{error}"
    );

    assert!(matches!(read_file(dir.path()), Err(ReadError::Io { .. })));
    // Endless, and read to the limit only.
    assert!(matches!(
        read_file("/dev/zero".as_ref()),
        Err(ReadError::Parse(_))
    ));
}

fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    }
}

/// Must not panic; and what is accepted runs as it is written and can be
/// written and read again.
fn accepts_only_what_runs(bytes: &[u8]) {
    if let Ok(scenario) = parse_bytes("t.scn", bytes) {
        assert_eq!(scenario, normalize(scenario.clone()));
        assert_eq!(scenario, read(&scenario.to_string()));
    }
}

#[test]
fn parse_print_round_trip() {
    proptest!(config(512), |(
        scenario in strategy::scenario(),
        header in "([ -~é\\n#\t\r\u{0}]{0,60})",
        expects in prop::collection::vec(("[a-z0-9.:-]{0,9}", 0..10_usize), 0..4),
    )| {
        let scenario = normalize(Scenario {
            header,
            expects: expects
                .into_iter()
                .map(|(kernel, index)| Expect {
                    kernel,
                    verdict: match (PROPERTIES.get(index), Means::NAMED.get(index.wrapping_sub(6))) {
                        (Some(name), _) => Expected::Violates((*name).to_owned()),
                        (None, means) => Expected::Holds(means.map(|(_, means)| *means)),
                    },
                })
                .collect(),
            ..scenario
        });
        prop_assert_eq!(read(&scenario.to_string()), scenario);
    });
}

#[test]
fn the_link_is_who_holds_where_nobody_is_named() {
    let text = "hold data\nb: release data packets=2\nrelease data\nc: hold ack after=1\n";
    let all = read(text);
    assert_eq!(all.to_string(), text);
    let actors: Vec<Actor> = all.steps.iter().map(|step| step.actor).collect();
    assert_eq!(actors, [Actor::Link, Actor::B, Actor::Link, Actor::C]);
    let again = "link: hold data after=0\nlink: release data\n";
    assert_eq!(read(again).to_string(), "hold data\nrelease data\n");
}

#[test]
fn garbage_never_panics() {
    proptest!(config(512), |(bytes in prop::collection::vec(any::<u8>(), 0..200))| {
        accepts_only_what_runs(&bytes);
    });
    // Of the words of the language, so that it gets further.
    let word = prop::sample::select(
        "link data ack veth mtu= gro no-sg stack sack= mtu-probing= base-mss= delay= jitter= loss= corrupt= recover= slot= mark distribution=normal rate= seed= 1ms 5% socket tcp6 sndbuf= 4096 cork \
         file memfd size= reader paused expect stock holds violates wire sendfile 0+4096 pipe \
         tee vmsplice gift signal truncate punch second msync sparse read-only shutdown reset close cork uncork user-timeout= waited \
         hold release after= packets= link: \
         capacity= splice-in splice-out mmap-write b: pwrite 1+1 read wait # - + = . % 0 é"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    let gap = prop::sample::select(vec![" ", "", "\n", "\r\n", " \t"]);
    let text = prop::collection::vec((word, gap), 0..40);
    proptest!(config(512), |(text in text)| {
        let text: String = text.iter().flat_map(|(word, gap)| [*word, *gap]).collect();
        accepts_only_what_runs(text.as_bytes());
    });
}

#[test]
fn mutated_texts_never_panic() {
    let edit = (
        any::<prop::sample::Index>(),
        0..3_usize,
        prop::collection::vec(any::<u8>(), 0..3),
    );
    proptest!(config(512), |(
        scenario in strategy::scenario(),
        edits in prop::collection::vec(edit, 1..4),
    )| {
        let mut bytes = scenario.to_string().into_bytes();
        for (at, removed, inserted) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, inserted);
        }
        accepts_only_what_runs(&bytes);
    });
}
