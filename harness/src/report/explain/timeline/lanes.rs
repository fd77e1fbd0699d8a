//! The lanes of a chart, side by side, and where each of them lies.

use super::events::Story;
use crate::scenario::{Actor, Op, PAGE_BYTES, Range};

/// The part of the width that a lane takes, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Where it begins.
    pub from: f64,
    /// How wide it is.
    pub width: f64,
}

impl Span {
    /// A place in it: 0 is its left edge, 1 its right edge.
    pub fn at(self, share: f64) -> f64 {
        self.from + self.width * share
    }

    /// A part of it.
    pub fn part(self, from: f64, to: f64) -> Span {
        Span {
            from: self.at(from),
            width: self.width * (to - from),
        }
    }
}

/// Where the lanes are.
#[derive(Debug)]
pub struct Lanes {
    /// The times.
    pub axis: Span,
    /// Who acts on the sender's side.
    pub actors: Vec<(Actor, Span)>,
    /// The file.
    pub file: Span,
    /// What of the file is drawn, from left to right, in equal shares.
    pub pages: Vec<Range>,
    /// The link.
    pub link: Span,
    /// The receivers, by whose connection it is.
    pub readers: Vec<(Actor, Span)>,
    /// Narrower than this nothing can be read.
    pub least_px: f64,
}

const AXIS: f64 = 17.5;
const ACTOR: f64 = 18.5;
const FILE: f64 = 16.0;
const LINK: f64 = 32.0;
const READER: f64 = 18.0;
/// Room between lanes.
const GUTTER: f64 = 1.2;
/// A unit of the weights above may not be narrower.
const LEAST_UNIT_PX: f64 = 3.2;
/// More runs of pages than this are not told apart.
const MOST_RUNS: usize = 16;

impl Lanes {
    /// Of all stories of a page together, so that they compare.
    pub fn new(stories: &[Story<'_>]) -> Lanes {
        let scenario = stories[0].scenario;
        let mut actors: Vec<Actor> = scenario.steps.iter().map(|step| step.actor).collect();
        actors.retain(|actor| Actor::SENDING_SIDE.contains(actor));
        actors.sort_unstable();
        actors.dedup();
        let readers: Vec<Actor> = scenario.connections().collect();
        let link = if scenario.setup.socket.family.passes_link() {
            LINK
        } else {
            ACTOR
        };
        let total =
            AXIS + ACTOR * actors.len() as f64 + FILE + link + READER * readers.len() as f64;
        let mut begin = 0.0;
        let mut next = |weight: f64| {
            let from = begin;
            begin += weight;
            Span {
                from: (from + GUTTER / 2.0) * 100.0 / total,
                width: (weight - GUTTER) * 100.0 / total,
            }
        };
        Lanes {
            axis: next(AXIS),
            actors: actors.iter().map(|actor| (*actor, next(ACTOR))).collect(),
            file: next(FILE),
            pages: pages(&stories[0]),
            link: next(link),
            readers: readers.iter().map(|actor| (*actor, next(READER))).collect(),
            least_px: total * LEAST_UNIT_PX,
        }
    }

    /// The parts of the lane of the file that show a range.
    pub fn in_file(&self, range: Range) -> Vec<Span> {
        let share = 1.0 / self.pages.len() as f64;
        let mut spans: Vec<Span> = Vec::new();
        for (index, page) in self.pages.iter().enumerate() {
            let from = range.offset.max(page.offset);
            let to = range.end().min(page.end());
            if from >= to {
                continue;
            }
            let place =
                |at: u64| (index as f64 + (at - page.offset) as f64 / page.len as f64) * share;
            let span = self.file.part(place(from), place(to));
            match spans.last_mut() {
                Some(last) if (last.at(1.0) - span.from).abs() < 1e-6 => last.width += span.width,
                _ => spans.push(span),
            }
        }
        spans
    }
}

/// The pages that operations touch, neighbours that always go together as one.
fn pages(story: &Story<'_>) -> Vec<Range> {
    let scenario = story.scenario;
    let end = scenario.extent_bytes();
    let steps = scenario.steps.iter();
    let touched: Vec<Range> = steps
        .filter_map(|step| story.written(step.op).or_else(|| sent(step.op)))
        .map(|range| {
            let from = (range.offset / PAGE_BYTES * PAGE_BYTES).min(end);
            let to = range
                .end()
                .div_ceil(PAGE_BYTES)
                .saturating_mul(PAGE_BYTES)
                .min(end);
            Range {
                offset: from,
                len: to.saturating_sub(from),
            }
        })
        .filter(|range| range.len > 0)
        .collect();
    let mut edges: Vec<u64> = touched
        .iter()
        .flat_map(|it| [it.offset, it.end()])
        .collect();
    edges.sort_unstable();
    edges.dedup();
    let runs = edges.windows(2).map(|edge| Range {
        offset: edge[0],
        len: edge[1] - edge[0],
    });
    let is_touched = |run: &Range| {
        touched
            .iter()
            .any(|it| it.offset <= run.offset && run.end() <= it.end())
    };
    let runs: Vec<Range> = runs.filter(is_touched).collect();
    match runs.len() {
        1..=MOST_RUNS => runs,
        _ => vec![Range {
            offset: 0,
            len: end.max(1),
        }],
    }
}

fn sent(op: Op) -> Option<Range> {
    match op {
        Op::SendfileOn { len } => Some(Range { offset: 0, len }),
        _ => op.range(),
    }
}
