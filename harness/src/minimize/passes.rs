//! The passes: what is tried, in which order. Those that take the most away come
//! first, so that the later ones have little left to work on.

use super::knobs::{FIELDS, KNOBS, Knob, rank, read, rounder, turn, turn_all};
use super::search::Propose;
use super::size::place;
use crate::scenario::limits::MAX_MOVED_BYTES;
use crate::scenario::{Actor, Borrowing, Copying, Filling, Op, PAGE_BYTES, Range, Scenario, Setup};

/// What one segment carries over IPv4 on a link of 1500 bytes, with timestamps.
const MSS_BYTES: u64 = 1448;
/// Above this many steps all pairs are too many.
const PAIRS_UP_TO_STEPS: usize = 12;

/// A pass over the best scenario so far.
type Pass<S> = fn(&mut S);

/// Every pass once.
pub(super) fn all<S: Propose>() -> [Pass<S>; 13] {
    [
        drop_tail,
        drop_unrelated,
        drop_actors,
        drop_chunks,
        drop_pairs,
        fuse_splices,
        reset_setup,
        delay_instead,
        merge_actors,
        clear_flags,
        shrink_steps,
        shrink_setup,
        reorder,
    ]
}

/// Half of the steps off the end, then a quarter, and so on.
fn drop_tail(search: &mut impl Propose) {
    let mut cut = search.best().steps.len().div_ceil(2);
    while cut > 0 && !search.is_over() {
        let keep = search.best().steps.len().saturating_sub(cut);
        if !search.change(|s| s.steps.truncate(keep)) {
            cut /= 2;
        }
    }
}

/// What has nothing to do with each other: the operations on bytes of the file that
/// do not meet, part by part. Each part alone, then with what is on no bytes of its
/// own (the pipe, the link, waits), then all but that part.
fn drop_unrelated(search: &mut impl Propose) {
    let mut alone = true;
    while !search.is_over() {
        let parts = related(search.best());
        let Some(most) = parts.iter().flatten().max().filter(|most| **most > 0) else {
            return;
        };
        let mut keep = |wanted: &dyn Fn(Option<usize>) -> bool| {
            search.change(|s| {
                let mut parts = parts.iter();
                s.steps
                    .retain(|_| parts.next().is_some_and(|it| wanted(*it)));
            })
        };
        let only = |part| move |it: Option<usize>| it == Some(part);
        let with = |part| move |it: Option<usize>| it.is_none_or(|it| it == part);
        let but = |part| move |it: Option<usize>| it != Some(part);
        if alone && (0..=*most).any(|part| keep(&only(part)) || keep(&with(part))) {
            return;
        }
        // What none of the parts does alone, it does not do with fewer others.
        alone = false;
        if !(0..=*most).any(|part| keep(&but(part))) {
            return;
        }
    }
}

/// For each step the number of its part; `None`: it is on no bytes of its own. Two
/// steps whose ranges share a page are of the same part.
fn related(scenario: &Scenario) -> Vec<Option<usize>> {
    let pages = |range: Range| (range.offset / PAGE_BYTES, range.end().div_ceil(PAGE_BYTES));
    let ranges = scenario.steps.iter().map(|step| step.op.range().map(pages));
    let ranges: Vec<Option<(u64, u64)>> = ranges.collect();
    let mut sorted: Vec<(u64, u64)> = ranges.iter().copied().flatten().collect();
    sorted.sort();
    // The parts from the front of the file on: where each begins and ends.
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for (first, end) in sorted {
        match parts.last_mut() {
            Some(part) if first < part.1 => part.1 = part.1.max(end),
            _ => parts.push((first, end)),
        }
    }
    let part_of = |(first, _): (u64, u64)| parts.iter().rposition(|part| part.0 <= first);
    ranges.into_iter().map(|it| part_of(it?)).collect()
}

/// All that one actor does.
fn drop_actors(search: &mut impl Propose) {
    for actor in [Actor::C, Actor::B, Actor::Reader, Actor::Link, Actor::A] {
        let others = |s: &Scenario| s.steps.iter().any(|step| step.actor != actor);
        if others(search.best()) {
            search.change(|s| s.steps.retain(|step| step.actor != actor));
        }
    }
}

/// Runs of steps, from half of them down to single ones, from the end on: what
/// comes late is less likely to be needed by the rest.
fn drop_chunks(search: &mut impl Propose) {
    let mut size = (search.best().steps.len() / 2).max(1);
    loop {
        let mut end = search.best().steps.len();
        while end > 0 && !search.is_over() {
            let start = end.saturating_sub(size);
            search.change(|s| drop(s.steps.drain(start..end)));
            end = start.min(search.best().steps.len());
        }
        if size == 1 {
            return;
        }
        size /= 2;
    }
}

/// Two steps that need each other, wherever they stand.
fn drop_pairs(search: &mut impl Propose) {
    if search.best().steps.len() > PAIRS_UP_TO_STEPS {
        return;
    }
    let mut second = search.best().steps.len();
    while second > 1 {
        second -= 1;
        let dropped = (0..second).rev().any(|first| {
            search.change(|s| {
                s.steps.remove(second);
                s.steps.remove(first);
            })
        });
        if dropped {
            second = search.best().steps.len();
        }
    }
}

/// A sendfile in place of a splice into and one out of the pipe.
fn fuse_splices(search: &mut impl Propose) {
    let mut out = search.best().steps.len();
    while out > 0 {
        out = out.min(search.best().steps.len());
        let Some(at) = out.checked_sub(1) else { return };
        out = at;
        if !matches!(search.best().steps[at].op, Op::SpliceOut { .. }) {
            continue;
        }
        let fills: Vec<(usize, Range)> = fills_before(search.best(), at);
        for (fill, range) in fills.into_iter().rev() {
            let fused = search.change(|s| {
                s.steps[at].op = Op::Sendfile(range);
                s.steps.remove(fill);
            });
            if fused {
                break;
            }
        }
    }
}

fn fills_before(scenario: &Scenario, at: usize) -> Vec<(usize, Range)> {
    let steps = scenario.steps[..at].iter().enumerate();
    steps
        .filter_map(|(index, step)| Some((index, step.op.fills()?.0)))
        .collect()
}

/// The whole setup, its parts, then every field to its default.
fn reset_setup(search: &mut impl Propose) {
    let parts: [fn(&mut Setup); 7] = [
        |setup| *setup = Setup::default(),
        |setup| (setup.data, setup.ack) = Default::default(),
        |setup| setup.data = Default::default(),
        |setup| setup.ack = Default::default(),
        |setup| setup.socket = Default::default(),
        |setup| setup.device = Default::default(),
        |setup| setup.stack = Default::default(),
    ];
    for reset in parts {
        search.change(|s| reset(&mut s.setup));
    }
    for field in FIELDS {
        search.change(|s| field.reset(&mut s.setup));
    }
}

/// An operation less, and a short delay of the data in its place. Without any delay
/// it is chance who runs first, the writer or the reader, and what comes between the
/// two only turns that chance.
fn delay_instead(search: &mut impl Propose) {
    const DELAY_US: u64 = 1000;
    for at in (0..search.best().steps.len()).rev() {
        search.change(|s| {
            if at < s.steps.len() && s.setup.data.delay_us == 0 {
                s.steps.remove(at);
                s.setup.data.delay_us = DELAY_US;
            }
        });
    }
}

/// Everything by the first actor, then step by step.
fn merge_actors(search: &mut impl Propose) {
    search.change(|s| {
        for step in &mut s.steps {
            if rank(step.actor) > 0 {
                step.actor = Actor::A;
            }
        }
    });
    // What the link does by itself nobody needs to do.
    for at in 0..search.best().steps.len() {
        search.change(|s| {
            if let Some(step) = s.steps.get_mut(at)
                && step.op.way().is_some()
            {
                step.actor = Actor::Link;
            }
        });
    }
    for actor in [Actor::A, Actor::B] {
        for at in 0..search.best().steps.len() {
            let there = search.best().steps.get(at).map(|step| rank(step.actor));
            if there.is_some_and(|there| there > rank(actor)) {
                search.change(|s| s.steps[at].actor = actor);
            }
        }
    }
}

/// A write to the same place, done otherwise.
fn plainer_write(op: &mut Op, plainer: fn(Range) -> Op) {
    if let Some(Range { offset, len }) = op.writes() {
        // What moves or cuts off all that follows need not write so much.
        let len = len.min(PAGE_BYTES);
        let range = op.range().unwrap_or(Range { offset, len });
        *op = plainer(range);
    }
}

fn clear_flags(search: &mut impl Propose) {
    for at in 0..search.best().steps.len() {
        for clear in [
            |op: &mut Op| {
                if let Op::SpliceOut { more, .. } = op {
                    *more = false;
                }
            },
            |op: &mut Op| {
                if let Op::SpliceOut { nonblock, .. } = op {
                    *nonblock = false;
                }
            },
            |op: &mut Op| {
                if let Op::SpliceOut { tee, .. } = op {
                    *tee = false;
                }
            },
            |op: &mut Op| {
                if let Op::SpliceOut { move_pages, .. } = op {
                    *move_pages = false;
                }
            },
            |op: &mut Op| {
                if let Op::SpliceIn { by, .. } = op {
                    *by = Filling::Splice;
                }
            },
            |op: &mut Op| {
                if let Op::Vmsplice { gift, .. } = op {
                    *gift = false;
                }
            },
            |op: &mut Op| plainer_write(op, Op::MmapWrite),
            |op: &mut Op| plainer_write(op, Op::Pwrite),
            |op: &mut Op| {
                if let Op::Release { packets, .. } = op {
                    *packets = None;
                }
            },
            |op: &mut Op| {
                if let Op::PipeWrite { tee, .. } = op {
                    *tee = false;
                }
            },
            |op: &mut Op| {
                if let Op::Pour { len } = *op {
                    *op = Op::Tee { len };
                }
            },
            |op: &mut Op| {
                if let Op::Vmsplice { range, .. } | Op::PipeWrite { range, .. } = *op {
                    *op = Op::SpliceIn {
                        range,
                        by: Filling::Splice,
                    };
                }
            },
            |op: &mut Op| {
                if let Op::Copy { range, .. } = *op {
                    *op = Op::Sendfile(range);
                }
            },
            |op: &mut Op| {
                if let Op::Borrow { range, .. } = *op {
                    *op = Op::Sendfile(range);
                }
            },
            |op: &mut Op| {
                if let Op::Borrow { by, .. } = op {
                    *by = Borrowing::Send;
                }
            },
            |op: &mut Op| {
                if let Op::SendfileOn { len } = *op {
                    *op = Op::Sendfile(Range { offset: 0, len });
                }
            },
            |op: &mut Op| {
                if let Op::Copy { by, .. } = op {
                    *by = Copying::Write;
                }
            },
        ] {
            search.change(|s| {
                if let Some(step) = s.steps.get_mut(at) {
                    clear(&mut step.op);
                }
            });
        }
    }
}

/// The numbers in the steps: all together first, since a send and the write that
/// tears it must keep meeting, then one by one.
fn shrink_steps(search: &mut impl Propose) {
    for most in [PAGE_BYTES, 1] {
        search.change(|s| {
            turn_all(s, Knob::Offset, |_| 0);
            turn_all(s, Knob::Len, |len| len.min(most));
        });
        search.change(|s| turn_all(s, Knob::Len, |len| len.min(most)));
    }
    search.change(|s| turn_all(s, Knob::Offset, |_| 0));
    search.change(|s| turn_all(s, Knob::Offset, |offset| offset % PAGE_BYTES));
    search.change(|s| turn_all(s, Knob::Offset, |offset| offset - offset % PAGE_BYTES));
    while search.change(|s| turn_all(s, Knob::Len, |len| len.div_ceil(2))) {}
    let lowest = search
        .best()
        .steps
        .iter()
        .filter_map(|s| read(s.op, Knob::Offset))
        .min();
    search.change(|s| turn_all(s, Knob::Offset, |offset| offset - lowest.unwrap_or(0)));
    for knob in KNOBS {
        for at in 0..search.best().steps.len() {
            shrink_knob(search, at, knob);
        }
    }
}

/// The smallest value of one number that is found to fail.
fn shrink_knob(search: &mut impl Propose, at: usize, knob: Knob) {
    let value = |search: &_| -> Option<u64> {
        let scenario: &Scenario = Propose::best(search);
        read(scenario.steps.get(at)?.op, knob)
    };
    let Some(present) = value(search) else { return };
    let boundaries = match knob {
        // Past what one call moves, and where an int ends.
        Knob::Len => vec![0, 1, MSS_BYTES, PAGE_BYTES, MAX_MOVED_BYTES + 1, 2 << 30],
        Knob::Offset => vec![0, 1, MSS_BYTES, PAGE_BYTES],
        Knob::Capacity | Knob::Wait | Knob::Phase | Knob::Packets => rounder(knob, present),
    };
    for candidate in boundaries {
        if candidate < present && search.change(|s| turn(&mut s.steps[at].op, knob, candidate)) {
            break;
        }
    }
    if !matches!(knob, Knob::Len | Knob::Offset) {
        return;
    }
    // Bisection finds the boundary if there is one, and something smaller if not.
    let Some(mut high) = value(search) else {
        return;
    };
    let mut low = 0;
    while low < high && !search.is_over() {
        let middle = low + (high - low) / 2;
        if search.change(|s| turn(&mut s.steps[at].op, knob, middle)) {
            // Normalization may have changed it, or dropped the step.
            let Some(now) = value(search) else { return };
            high = now.min(middle);
        } else {
            low = middle + 1;
        }
    }
}

/// The numbers of the setup: the first that fails of a ladder of round ones.
fn shrink_setup(search: &mut impl Propose) {
    for field in FIELDS {
        if field.is_default(&search.best().setup) {
            continue;
        }
        let present = (field.get)(&search.best().setup);
        for candidate in (field.smaller)(present) {
            if search.change(|s| (field.set)(&mut s.setup, candidate)) {
                break;
            }
        }
    }
}

/// Neighbours in the usual order, until no swap is taken.
fn reorder(search: &mut impl Propose) {
    loop {
        let pairs = 1..search.best().steps.len();
        let swapped = pairs.into_iter().any(|second| {
            let steps = &search.best().steps;
            let first = second - 1;
            let inverted = place(steps[first].op) > place(steps[second].op);
            inverted && search.change(|s| s.steps.swap(first, second))
        });
        if !swapped {
            return;
        }
    }
}
