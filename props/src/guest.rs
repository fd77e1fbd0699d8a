//! The guest does what a scenario says: the check of what everything else rests on.
//! An option that is not set, or a log that is not read, breaks no property; it
//! only leaves them untested.

use std::fs::File;
use std::io::Write;

use inflight::history::{End, History, Outcome, pattern};
use inflight::oracle::{Contract, Property};
use inflight::scenario::{normalize, text};
use inflight::trial::Trial;

use crate::properties::Result;
use crate::runner::expect_complaint;

const MS: u64 = 1_000_000;

/// What a history must show, in words and as code.
type Shows = (&'static str, fn(&History) -> bool);

/// Scenarios of which each option leaves a mark on its history.
const MARKS: &[(&str, Shows)] = &[
    (
        "sendfile 100+50",
        ("the offset advances, the file position does not", |it| {
            let call = &it.calls[0];
            (call.offset_after, call.f_pos_after) == (Some(150), Some(0))
        }),
    ),
    (
        "pipe capacity=65536\nsplice-in 100+50\nsplice-out 50",
        ("the offset advances, the file position does not", |it| {
            let call = &it.calls[1];
            (call.offset_after, call.f_pos_after) == (Some(150), Some(0))
        }),
    ),
    (
        "file tmpfs size=8192\nlink data delay=20ms\nwrite 100+50\nsend 4000+200\nwritev 0+101\n\
         mmap-write 0+8192",
        ("what is copied does not change", |it| {
            let sent = (100..150).chain(4000..4200).chain(0..101);
            it.received.len() == 351
                && (sent.zip(&it.received)).all(|(at, byte)| *byte == pattern(at, 0))
                && it.calls[..3].iter().all(|call| call.offset_after.is_none())
        }),
    ),
    (
        "sendfile 100\nsendfile 0+10\nsendfile 50",
        (
            "the file position goes on, and an offset does not move it",
            |it| {
                let sent = (0..100).chain(0..10).chain(100..150);
                (sent.zip(&it.received)).all(|(at, byte)| *byte == pattern(at, 0))
                    && it.calls[0].f_pos_after == Some(100)
                    && it.calls[2].f_pos_after == Some(150)
                    && it.received.len() == 160
            },
        ),
    ),
    (
        "pipe capacity=4096\npipe-write 0+100\npipe-write 100+100\npwrite 0+200\nsplice-out 200",
        (
            "two writes merge into one slot, and are the pipe's own",
            |it| {
                it.calls[2].outcome == Outcome::Returned(100)
                    && it.received.len() == 200
                    && (0..)
                        .zip(&it.received)
                        .all(|(at, byte)| *byte == pattern(at, 0))
            },
        ),
    ),
    (
        "file tmpfs size=8192\npipe capacity=4096\npipe-write 0+4096\npipe-write 0+100",
        ("a write to a full pipe does not wait", |it| {
            it.calls[2].outcome == Outcome::Failed(libc::EAGAIN)
        }),
    ),
    (
        "file tmpfs size=20000\nsocket tcp4 nonblock\nsendfile 0+20000",
        ("all of it fits the send buffer", |it| {
            it.calls[0].outcome == Outcome::Returned(20_000)
        }),
    ),
    (
        "file tmpfs size=500000\nlink data delay=20ms\nsocket tcp4 nonblock sndbuf=4608\n\
         sendfile 0+500000\nsendfile 0+500000",
        ("a small send buffer fills, and then EAGAIN", |it| {
            it.calls[0].outcome.bytes() < 500_000
                && it.calls[1].outcome == Outcome::Failed(libc::EAGAIN)
        }),
    ),
    (
        "pipe capacity=65536\nsplice-in 100+50 move\nsplice-out 50 move",
        (
            "a hint to move pages is taken, and the file keeps its own",
            |it| {
                let bytes = it.calls[1..].iter().map(|call| call.outcome.bytes());
                let kept = it.file_pread[100..150] == it.received;
                bytes.eq([50, 50]) && kept
            },
        ),
    ),
    (
        "link data delay=20ms\npipe capacity=65536\nsplice-in 0+4096\nsplice-out 4096 nonblock",
        ("a splice that must not wait does not", |it| {
            it.calls[2].exit.time_ns - it.calls[2].entry.time_ns < MS
        }),
    ),
    (
        "sendfile 0+100\nwait 50ms",
        ("nothing holds it back", |it| {
            it.chunks[0].at.time_ns < 50 * MS
        }),
    ),
    (
        "socket tcp4 cork\nsendfile 0+100\nwait 50ms",
        ("the cork holds it back", |it| {
            it.chunks[0].at.time_ns >= 50 * MS
        }),
    ),
    (
        "pipe capacity=65536\nsplice-in 0+100\nsplice-out 100 more\nwait 50ms",
        ("the flag holds it back", |it| {
            it.chunks[0].at.time_ns >= 50 * MS
        }),
    ),
    (
        "link data delay=20ms\nsendfile 0+100",
        ("the delay, and a few readings of the clock", |it| {
            let took_ns = it.chunks[0].at.time_ns - it.calls[0].entry.time_ns;
            (20 * MS..20 * MS + MS / 10).contains(&took_ns)
        }),
    ),
    (
        "link data delay=20ms jitter=10ms seed=7\nsendfile 0+100",
        ("a delay that varies", |it| {
            let took_ns = it.chunks[0].at.time_ns - it.calls[0].entry.time_ns;
            (10 * MS..=31 * MS).contains(&took_ns) && took_ns.abs_diff(20 * MS) > MS / 10
        }),
    ),
    (
        "file tmpfs size=500000\nlink data delay=2s\nsocket tcp4 sndbuf=4608 send-timeout=100ms\n\
         sendfile 0+500000\nsendfile 0+500000",
        ("the timeout of the socket ends its calls", |it| {
            let took_ns = |at: usize| it.calls[at].exit.time_ns - it.calls[at].entry.time_ns;
            it.calls[0].outcome.bytes() < 500_000
                && it.calls[1].outcome == Outcome::Failed(libc::EAGAIN)
                && (100 * MS..150 * MS).contains(&took_ns(1))
        }),
    ),
    (
        "pipe capacity=65536\nsplice-in 0+100\ntee 60\nsplice-out 100 tee\nsplice-out 100",
        ("what was teed is sent twice", |it| {
            it.calls[3].outcome == Outcome::Returned(60)
                && it.calls[4].outcome == Outcome::Returned(100)
                && it.received.len() == 160
        }),
    ),
    (
        "pipe capacity=65536\nvmsplice 100+50 gift\npwrite 100+50\nsplice-out 50",
        ("the pipe shows the file's own page", |it| {
            (100..150)
                .zip(&it.received)
                .all(|(at, byte)| *byte == pattern(at, 1))
        }),
    ),
    (
        "reader paused\nsendfile 0+4096\nread 96\nreset\nwait 10ms\nsendfile 0+1",
        ("the reader's reset is felt", |it| {
            it.received.len() == 96
                && it.end == End::Closed
                && it.calls[4].outcome == Outcome::Failed(libc::ECONNRESET)
        }),
    ),
    (
        "reader paused\nsendfile 0+4096\nread 4096\nclose\nwait 10ms\nsendfile 0+1\n\
         wait 10ms\nsendfile 0+1",
        ("close(2) with nothing unread is no reset", |it| {
            it.end == End::Closed
                && it.calls[4].outcome == Outcome::Returned(1)
                && it.calls[6].outcome == Outcome::Failed(libc::EPIPE)
        }),
    ),
    (
        "reader paused\nreader: shutdown\nwait 10ms\nsendfile 0+100",
        ("a half-closed connection takes bytes", |it| {
            it.end == End::Eof && it.received.len() == 100
        }),
    ),
    (
        "b: shutdown\nsendfile 0+100",
        ("nothing is sent after a shutdown", |it| {
            matches!(it.calls[1].outcome, Outcome::Failed(_)) && it.received.is_empty()
        }),
    ),
    (
        "file tmpfs size=500000\nsocket tcp4 sndbuf=4608 rcvbuf=2304\nreader paused\n\
         sendfile 0+500000\nb: signal a",
        ("a signal cuts a call that waits for room", |it| {
            (1..500_000).contains(&it.calls[0].outcome.bytes())
        }),
    ),
    (
        "cork\nsendfile 0+100\nwait 50ms\nuncork\nwait 50ms",
        ("the cork holds it back until it is gone", |it| {
            (50 * MS..100 * MS).contains(&it.chunks[0].at.time_ns)
        }),
    ),
    (
        "file tmpfs size=300000\nsocket tcp4 sndbuf=4608\nlink data delay=20ms\n\
         sendfile 0+200000\nb: sendfile 200000+100000",
        ("two senders take turns", |it| {
            let both = it.calls[1].entry.order < it.calls[0].exit.order;
            let first = pattern(200_000, 0) == it.received[200_000];
            both && it.received.len() == 300_000 && !first
        }),
    ),
    (
        "file tmpfs size=12500\nlink data rate=1mbit\nsendfile 0+12500",
        ("100 ms at 1 Mbit/s", |it| it.end_ns >= 100 * MS),
    ),
];

/// Every mark is there.
pub fn does_what_it_is_told() -> Result {
    let mut trial = trial()?;
    for (scenario, (what, shows)) in MARKS {
        let history = run(&mut trial, scenario)?;
        if !shows(&history) {
            return Err(format!("not seen: {what}\n\n{scenario}\n\n{history:#?}"));
        }
    }
    Ok(())
}

/// What the kernel logs during a scenario counts against it, and only against it.
pub fn hears_the_kernel() -> Result {
    let mut trial = trial()?;
    let mut splat = || {
        let scenario = text::parse("test", "sendfile 0+1\n").map_err(|it| it.to_string())?;
        let verdict = trial.run(&normalize::normalize(scenario));
        let verdict = verdict.map_err(|error| error.to_string())?;
        Ok::<_, String>(verdict.breaks(Property::Splat))
    };
    let before = splat()?;
    expect_complaint("Memory failure: made up");
    File::options()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut log| log.write_all(b"<6>Memory failure: made up\n"))
        .map_err(|error| error.to_string())?;
    match (before, splat()?, splat()?) {
        (false, true, false) => Ok(()),
        seen => Err(format!("before, during, after: {seen:?}")),
    }
}

fn trial() -> std::result::Result<Trial, String> {
    Trial::set_up(Contract::Documented).map_err(|error| error.to_string())
}

fn run(trial: &mut Trial, scenario: &str) -> std::result::Result<History, String> {
    let scenario = text::parse("test", &format!("{scenario}\n")).map_err(|it| it.to_string())?;
    let scenario = normalize::normalize(scenario);
    let verdict = trial.run(&scenario).map_err(|error| error.to_string())?;
    match verdict.violations.first() {
        None => Ok(verdict.history),
        Some(violation) => Err(format!("{}\n\n{scenario}", violation.message)),
    }
}
