//! Normalization of arbitrary values: nothing is assumed about its input.

mod rules;
mod wild;

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::*;
use crate::scenario::limits::*;
use crate::scenario::*;
use wild::wild_scenario;

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
        for (index, Step { actor, op }) in steps.iter().copied().enumerate() {
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
                Op::PipeWrite { range, tee: true } => {
                    prop_assert_eq!(actor, Actor::A);
                    prop_assert!(range.len > 0 && range.end() <= extent, "{op}");
                    sent += range.len;
                    teed = true;
                }
                Op::SpliceIn { range, .. }
                | Op::PipeWrite { range, .. }
                | Op::Vmsplice { range, .. } => {
                    prop_assert_eq!(actor, Actor::A);
                    prop_assert!(range.len > 0 && pipe);
                    let inside = range.end() <= extent;
                    prop_assert!(inside || matches!(op, Op::SpliceIn { .. }), "{op}");
                    sent += range.end().min(last_extent).saturating_sub(range.offset);
                    filled = true;
                }
                Op::Tee { len } | Op::Pour { len } => {
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
                    prop_assert!((filled || tee) && len > 0 && (teed || !tee));
                }
                Op::Await { who } | Op::Meet { who, .. } => {
                    let mut before = steps[..index].iter().rev();
                    let last = before.find(|step| step.actor == actor);
                    let meets = |op| matches!(op, Op::Meet { .. });
                    prop_assert!(!meets(op) || !last.is_some_and(|step| meets(step.op)));
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
