use super::*;
use crate::history::Stamp;
use crate::scenario::text;

fn explained(release: &str, stable: &str, scenario: &str, property: Property) -> Option<Bug> {
    let scenario = text::parse("known.scn", scenario).unwrap();
    let violation = Violation {
        property,
        ..of_completion(Some(0), None)
    };
    let known = Known::of(release, stable);
    assert_eq!(known.explain(&scenario, &history(&[]), &[]), None);
    known.explain(&scenario, &history(&[]), &[violation])
}

#[test]
fn the_stall_of_ktls_is_one_of_kernels_with_sendpage_and_nothing_else_is() {
    const STALL: &str = include_str!("../../../../corpus/socket/ktls-small-sndbuf.scn");
    let hangs = Property::Liveness;
    for (release, stable) in [
        ("6.1.192\n", ""),
        ("6.1.192-inflight", "0\n"),
        ("5.10.1", ""),
    ] {
        let bug = explained(release, stable, STALL, hangs);
        assert_eq!(bug, Some(Bug::KtlsStall), "{release} {stable}");
    }
    // The patch sends by other means, and so does everything newer.
    for (release, stable) in [
        ("6.1.192", "1\n"),
        ("6.1.192", "2\n"),
        ("6.5.0", ""),
        ("6.12.117", ""),
        ("7.3.4", ""),
        ("", ""),
    ] {
        let bug = explained(release, stable, STALL, hangs);
        assert_eq!(bug, None, "{release} {stable}");
    }
    assert_eq!(explained("6.1.192", "", STALL, Property::Wire), None);
    for (from, to) in [("ktls4", "tcp4"), ("size=32768", "size=16384")] {
        let other = STALL.replace(from, to);
        assert_ne!(other, STALL);
        assert_eq!(explained("6.1.192", "", &other, hangs), None, "{from}");
    }
    let piped = |first: u64, len: u64| {
        let text = format!(
            "socket ktls4 sndbuf=4096\nfile tmpfs size=16384\n\n\
             pipe-write 0+{first} tee\npipe-write 0+1 tee\nsplice-out {len} tee\n"
        );
        explained("6.1.192", "", &text, hangs)
    };
    assert_eq!(piped(16_384, 16_385), Some(Bug::KtlsStall));
    assert_eq!(piped(16_384, 16_384), None);
    // Whatever it asks for, there is no more.
    assert_eq!(piped(16_383, 4_194_304), None);
}

#[test]
fn a_datagram_for_each_page_is_a_bug_of_ipv6_in_old_kernels_without_the_series() {
    const PAGES: &str = include_str!("../../../../corpus/udp/udp6-pages.scn");
    let (splits, torn) = (Property::Datagrams, Property::StableOnReturn);
    let bug = Some(Bug::PageADatagram);
    assert_eq!(explained("6.1.192", "", PAGES, splits), bug);
    assert_eq!(explained("6.1.192", "", PAGES, torn), bug);
    for stable in ["0\n", "1\n", "2\n"] {
        assert_eq!(
            explained("6.1.192", stable, PAGES, splits),
            None,
            "{stable}"
        );
    }
    assert_eq!(explained("6.5.0", "", PAGES, splits), None);
    assert_eq!(explained("6.1.192", "", PAGES, Property::Wire), None);
    for (from, to) in [("udp6", "udp4"), ("4095+2", "4095+1"), ("4095+2", "0+4096")] {
        let other = PAGES.replace(from, to);
        assert_ne!(other, PAGES);
        assert_eq!(explained("6.1.192", "", &other, splits), None, "{from}");
    }
}

#[test]
fn what_was_lent_is_lost_with_the_datagram_that_it_joined() {
    let of = |property, stream_offset, torn_by| Violation {
        property,
        step: Some(1),
        stream_offset,
        file_range: None,
        torn_by,
        after_return_ns: None,
        message: String::new(),
    };
    assert!(lost_with_another(&of(Property::Completion, None, Some(2))));
    // A number is, or a byte that was received.
    for other in [
        of(Property::Completion, None, None),
        of(Property::Completion, Some(0), Some(2)),
        of(Property::Wire, None, Some(2)),
    ] {
        assert!(!lost_with_another(&other), "{other:?}");
    }
    // Another datagram of its length has arrived.
    let torn = of(Property::Completion, Some(0), Some(3));
    assert!(taken_for_another(&torn, 0));
    assert!(!taken_for_another(&torn, 1));
    assert!(!taken_for_another(
        &of(Property::Completion, Some(0), None),
        0
    ));
    let text = "socket udp6\n\nsendfile 0+4097\nuring-send-zerocopy 0+1\nsendfile 0+1\n\
                mmap-write 0+1\n";
    let explained = |text: &str| {
        let scenario = text::parse("known.scn", text).unwrap();
        Known::of("7.3.4", "").explain(&scenario, &history(&[]), std::slice::from_ref(&torn))
    };
    assert_eq!(explained(text), Some(Bug::ForgottenEnd));
    assert_eq!(explained(&text.replace("4097", "4096")), None);
    assert_eq!(explained(&text.replace("udp6", "udp4")), None);
}

#[test]
fn the_end_of_the_file_is_forgotten_over_ipv6_by_every_kernel_without_the_series() {
    const END: &str = include_str!("../../../../corpus/udp/udp6-past-end.scn");
    let late = Property::Datagrams;
    for release in ["6.12.117", "7.3.4"] {
        assert_eq!(explained(release, "", END, late), Some(Bug::ForgottenEnd));
        for stable in ["0\n", "1\n", "2\n"] {
            assert_eq!(explained(release, stable, END, late), None, "{stable}");
        }
        assert_eq!(explained(release, "", END, Property::Counts), None);
    }
    // What follows joins it, until no more fits.
    let scenario = text::parse("known.scn", END).unwrap();
    let too_long = |message: &str| Violation {
        property: Property::Counts,
        step: Some(1),
        stream_offset: None,
        file_range: None,
        torn_by: None,
        after_return_ns: None,
        message: message.into(),
    };
    for (message, bug) in [
        (
            "operation 2 failed with EMSGSIZE, but",
            Some(Bug::ForgottenEnd),
        ),
        ("operation 2 failed with EINVAL", None),
    ] {
        let known = Known::of("6.12.117", "");
        assert_eq!(
            known.explain(&scenario, &history(&[]), &[too_long(message)]),
            bug,
            "{message}"
        );
    }
    for (from, to) in [("udp6", "udp4"), ("0+4097", "0+4096")] {
        let other = END.replace(from, to);
        assert_ne!(other, END);
        assert_eq!(explained("6.12.117", "", &other, late), None, "{from}");
    }
    // The end comes nearer.
    let shorter = "socket udp6\nfile ext4 size=32768\n\ncollapse 0+4096\nsendfile 8192+20481\n";
    let bug = Some(Bug::ForgottenEnd);
    assert_eq!(explained("6.12.117", "", shorter, late), bug);
    for (from, to) in [("20481", "20480"), ("collapse", "zero")] {
        let other = shorter.replace(from, to);
        assert_eq!(explained("6.12.117", "", &other, late), None, "{to}");
    }
}

/// In which only calls are of interest: step, entry, return, and how it ended.
fn history(calls: &[(usize, u64, u64, Outcome)]) -> History {
    let stamp = |order| Stamp { order, time_ns: 0 };
    let call = |&(step, entry, exit, outcome): &_| Call {
        step,
        entry: stamp(entry),
        exit: stamp(exit),
        outcome,
        offset_after: None,
        f_pos_after: None,
    };
    History {
        calls: calls.iter().map(call).collect(),
        completions: Vec::new(),
        chunks: Vec::new(),
        received: Vec::new(),
        file_pread: Vec::new(),
        file_mmap: Vec::new(),
        end: End::Eof,
        end_ns: 0,
        beside: Vec::new(),
        counters: None,
        leftovers: None,
        by_the_clock: false,
    }
}

fn of_completion(step: Option<usize>, stream_offset: Option<u64>) -> Violation {
    Violation {
        property: Property::Completion,
        step,
        stream_offset,
        file_range: None,
        torn_by: None,
        after_return_ns: None,
        message: String::new(),
    }
}

#[test]
fn a_probe_forgets_its_owner_since_probes_refer_to_pages() {
    const PROBE: &str = include_str!("../../../../corpus/zerocopy/mtu-probe.scn");
    let sent = |bytes| {
        let at = |step, bytes| (step, step as u64, step as u64, Outcome::Returned(bytes));
        history(&[at(0, 5000), at(1, 512), at(2, 512), at(3, bytes)])
    };
    let found = |text: &str, release, stable, sent_bytes, violation| {
        let scenario = text::parse("known.scn", text).unwrap();
        let known = Known::of(release, stable);
        known.explain(&scenario, &sent(sent_bytes), &[violation])
    };
    let torn = || of_completion(Some(2), Some(500));
    let bug = Some(Bug::ForgottenOwner);
    for release in ["6.5.0", "6.12.117", "7.3.4"] {
        assert_eq!(found(PROBE, release, "", 4096, torn()), bug);
        let mended = found(PROBE, release, "0\n", 4096, torn());
        assert_eq!(mended, None, "the series mends it");
    }
    assert_eq!(found(PROBE, "6.1.192", "", 4096, torn()), None);
    let calm = PROBE.replace("stack mtu-probing=2 base-mss=512\n", "");
    assert_eq!(found(&calm, "7.3.4", "", 4096, torn()), None);
    for (step, at, sent_bytes, bug) in [
        (Some(2), None, 4096, None),
        (None, Some(500), 4096, None),
        // In the first segment; with too little behind it; the last that can be.
        (Some(2), Some(47), 4096, None),
        (Some(2), Some(6024), 191, None),
        (Some(2), Some(6024), 192, bug),
        // A plain write has no owner.
        (Some(0), Some(500), 4096, None),
    ] {
        let found = found(PROBE, "7.3.4", "", sent_bytes, of_completion(step, at));
        assert_eq!(found, bug, "{step:?} {at:?} {sent_bytes}");
    }
}

#[test]
fn what_stands_in_the_log_is_explained_by_none() {
    const STALL: &str = include_str!("../../../../corpus/socket/ktls-small-sndbuf.scn");
    let scenario = text::parse("known.scn", STALL).unwrap();
    let of = |property| Violation {
        property,
        ..of_completion(None, None)
    };
    let explain = |violations: &[Violation]| {
        let known = Known::of("6.1.192", "");
        known.explain(&scenario, &history(&[]), violations)
    };
    let hangs = of(Property::Liveness);
    assert_eq!(explain(std::slice::from_ref(&hangs)), Some(Bug::KtlsStall));
    assert_eq!(explain(&[hangs, of(Property::Splat)]), None);
}

#[test]
fn a_late_syn_leaves_a_receiver_of_mptcp_in_silence() {
    const SYN: &str = include_str!("../../../../corpus/end/late-syn-mptcp.scn");
    let found = |text: &str, change: &dyn Fn(&mut History), property| {
        let scenario = text::parse("known.scn", text).unwrap();
        let mut history = history(&[]);
        history.end = End::GivenUp;
        change(&mut history);
        let mut violation = of_completion(None, None);
        violation.property = property;
        Known::of("7.3.4", "1\n").explain(&scenario, &history, &[violation])
    };
    let (bug, hangs) = (Some(Bug::LateSyn), Property::Liveness);
    assert_eq!(found(SYN, &|_| (), hangs), bug);
    assert_eq!(found(SYN, &|_| (), Property::Wire), None);
    assert_eq!(found(SYN, &|it| it.end = End::Eof, hangs), None);
    assert_eq!(found(SYN, &|it| it.received.push(1), hangs), None);
    // A byte that came with the third packet is no other case; of two, one is.
    let data = SYN.replace("signal b", "sendfile 0+1");
    let came = |sent| {
        move |it: &mut History| {
            let calls = history(&[(0, 1, 2, Outcome::Returned(sent))]);
            it.calls = calls.calls;
            it.received.push(1);
        }
    };
    assert_eq!(found(&data, &came(1), hangs), bug);
    assert_eq!(found(&data, &came(2), hangs), None);
    for (from, to, bug) in [
        ("swap=1", "delay=600ms jitter=400ms", bug),
        ("swap=1", "delay=600ms jitter=399ms", None),
        ("swap=1", "delay=2s", None),
        ("swap=1", "swap=2", None),
        ("swap=1", "swap=3", None),
        ("mptcp4", "mptcp6", bug),
        ("mptcp4", "tcp4", None),
        ("mptcp4", "tcp6", None),
        ("link tun", "link tun\nstack timestamps=0", None),
    ] {
        let mut other = SYN.replace(from, to);
        if to.contains("delay") {
            other = other.replace("link tun\n", "");
        }
        assert_eq!(found(&other, &|_| (), hangs), bug, "{to}");
    }
    // The second of two connections begins with the third packet.
    let two = data.replace("mptcp4", "mptcp4 each") + "c: sendfile 0+1\n";
    assert_ne!(two, data);
    for (number, bug) in [(1, bug), (2, None), (3, bug), (5, None)] {
        let two = two.replace("swap=1", &format!("swap={number}"));
        assert_eq!(found(&two, &|_| (), hangs), bug, "{number}");
    }
}

#[test]
fn a_number_is_given_back_where_a_call_fails_beside_one_of_another_thread() {
    const NUMBER: &str = include_str!("../../../../corpus/zerocopy/number-given-back.scn");
    const FAILED: Outcome = Outcome::Failed(libc::EAGAIN);
    const SENT: Outcome = Outcome::Returned(100);
    let found = |text: &str, stable, calls: &[_], violation| {
        let scenario = text::parse("known.scn", text).unwrap();
        let known = Known::of("6.12.117", stable);
        known.explain(&scenario, &history(calls), &[violation])
    };
    let bug = Some(Bug::NumberGivenBack);
    let number = || of_completion(None, None);
    let at_once = [(3, 1, 3, FAILED), (5, 2, 4, SENT)];
    for (calls, bug) in [
        (at_once, bug),
        ([(3, 1, 3, Outcome::Killed), (5, 2, 4, SENT)], bug),
        // Both have sent something; one after the other; not with MSG_ZEROCOPY.
        ([(3, 1, 3, SENT), (5, 2, 4, SENT)], None),
        ([(3, 1, 2, FAILED), (5, 3, 4, SENT)], None),
        ([(3, 3, 4, FAILED), (5, 1, 2, SENT)], None),
        ([(0, 1, 3, FAILED), (5, 2, 4, SENT)], None),
    ] {
        assert_eq!(found(NUMBER, "", &calls, number()), bug, "{calls:?}");
    }
    for stable in ["0\n", "1\n", "2\n"] {
        let mended = found(NUMBER, stable, &at_once, number());
        assert_eq!(mended, None, "the series mends it");
    }
    let torn = of_completion(Some(5), Some(8000));
    assert_eq!(found(NUMBER, "", &at_once, torn), None);
    let by_ring = NUMBER.replace("c: send-zerocopy", "c: uring-send-zerocopy");
    let owed = of_completion(Some(5), None);
    assert_eq!(found(&by_ring, "", &at_once, owed), None);
    let alone = NUMBER.replace("c: ", "b: ");
    assert_eq!(found(&alone, "", &at_once, number()), None);
}

#[test]
fn a_time_holds_what_is_sent_by_a_ring_up_to_the_series() {
    const HELD: &str = include_str!("../../../../corpus/zerocopy/held-by-a-time.scn");
    let scenario = text::parse("known.scn", HELD).unwrap();
    let mut steps = 0..scenario.steps.len();
    let ring = steps.find(|it| borrows(&scenario, *it) == Some(Borrowing::Uring));
    let sent = |bytes| (ring.unwrap() - 1, 0, 1, Outcome::Returned(bytes));
    let on = |stable: &str, text: &str, calls: &[_], violation: Violation| {
        let scenario = text::parse("known.scn", text).unwrap();
        let known = Known::of("6.12.117", stable);
        known.explain(&scenario, &history(calls), &[violation])
    };
    let owed = || of_completion(ring, None);
    let calls = [sent(4095)];
    assert_eq!(on("", HELD, &calls, owed()), Some(Bug::HeldByATime));
    for stable in ["0\n", "1\n", "2\n"] {
        let mended = on(stable, HELD, &calls, owed());
        assert_eq!(mended, None, "the series mends it");
    }
    // Nothing was there that it could be added to.
    assert_eq!(on("", HELD, &[], owed()), None);
    assert_eq!(on("", HELD, &[sent(0)], owed()), None);
    let torn = of_completion(ring, Some(4096));
    assert_eq!(on("", HELD, &calls, torn), None);
    for (from, to) in [
        (" timestamping", ""),
        ("link ack delay=49ms\nsocket tcp4", "socket udp4"),
        ("uring-send-zerocopy", "send-zerocopy"),
    ] {
        let other = HELD.replace(from, to);
        assert_ne!(other, HELD);
        assert_eq!(on("", &other, &calls, owed()), None, "{from}");
    }
}

#[test]
fn ktls_waits_at_the_end_of_the_file_since_it_holds_back() {
    const END: &str = include_str!("../../../../corpus/socket/ktls-nonblock-past-end.scn");
    let of = |property, message: &str| Violation {
        property,
        message: message.into(),
        ..of_completion(Some(0), None)
    };
    let on = |release: &str, stable: &str, text: &str, violation: Violation| {
        let scenario = text::parse("known.scn", text).unwrap();
        Known::of(release, stable).explain(&scenario, &history(&[]), &[violation])
    };
    let explained = |release: &str, text: &str, violation| on(release, "", text, violation);
    let waits = || {
        of(
            Property::Liveness,
            "took 0.030 s on a socket that does not block",
        )
    };
    for release in ["6.5.0", "6.12.117", "7.3.4"] {
        assert_eq!(explained(release, END, waits()), Some(Bug::WaitingEnd));
    }
    assert_eq!(explained("6.1.192", END, waits()), None);
    assert_eq!(on("6.1.192", "1\n", END, waits()), Some(Bug::WaitingEnd));
    assert_eq!(on("6.1.192", "0\n", END, waits()), None);
    // The one before the end is no matter of it.
    let later = END.replace("sendfile 0+8193", "sendfile 0+100\nsendfile 0+8193");
    assert_eq!(explained("7.3.4", &later, waits()), None);
    for (from, to) in [("ktls4", "tcp4"), ("8193", "8192")] {
        let other = END.replace(from, to);
        assert_ne!(other, END);
        assert_eq!(explained("7.3.4", &other, waits()), None, "{from}");
    }
    for other in [
        of(Property::Liveness, "it never returned"),
        of(Property::Counts, "on a socket that does not block"),
    ] {
        assert_eq!(explained("7.3.4", END, other), None);
    }
}
