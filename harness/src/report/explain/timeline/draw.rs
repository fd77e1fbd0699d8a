//! One chart: time goes down, the lanes are side by side. Widths are shares of the
//! whole, so that a chart fits a phone as well as half of a wide screen.

use std::collections::HashSet;

use maud::{Markup, html};

use super::events::{Event, Of, Story, meet};
use super::lanes::{Lanes, Span};
use super::scale::{At, Place, Scale, Truth, instant, time};
use crate::history::{Call, Chunk, Outcome};
use crate::scenario::{Actor, Range, Way};

/// Height of what takes no time.
const INSTANT_PX: f64 = 9.0;
/// The heads of the lanes.
pub const HEAD_PX: f64 = 38.0;

/// Tracks of the scale: what must not lie on top of each other.
const ORDER: u32 = 0;
const CALLS: u32 = 1;
const READS: u32 = 11;
const STAGES: u32 = 21;
const WIRE: u32 = 31;

/// The room that a story needs.
pub fn places(chart: usize, story: &Story<'_>) -> Vec<Place> {
    let mut places = Vec::new();
    let packet_px = match packets(story) {
        0..=24 => 13.0,
        25..=80 => 7.0,
        _ => 3.0,
    };
    for event in &story.events {
        let mut add = |at: At, track: u32, gap_px: f64| {
            places.push(Place {
                at,
                track: (chart, track),
                gap_px,
            });
        };
        match &event.of {
            Of::Call(call) => {
                let actor = story.scenario.steps[call.step].actor as u32;
                add(event.at, ORDER, 4.0);
                add(event.at, CALLS + actor, 3.0);
                if let Some(until) = event.until {
                    add(until, ORDER, 4.0);
                    add(until, CALLS + actor, 17.0);
                }
            }
            Of::Chunk { owner, .. } => {
                add(event.at, READS + *owner as u32, 13.0);
                add(event.at, ORDER, 2.0);
            }
            Of::Completion | Of::End(_) => add(event.at, READS, 14.0),
            Of::Packet { journey, .. } => {
                for (stage, sight) in journey.sights.iter().enumerate() {
                    if let Some(sight) = sight {
                        let way = journey.way as u32 * 3;
                        add(packet_at(sight), STAGES + way + stage as u32, packet_px);
                        // Arrows of both directions start at different heights.
                        if stage == 1 {
                            add(packet_at(sight), WIRE, packet_px);
                        }
                    }
                }
            }
        }
    }
    places
}

fn packets(story: &Story<'_>) -> usize {
    let is_packet = |event: &&Event| matches!(event.of, Of::Packet { .. });
    story.events.iter().filter(is_packet).count()
}

pub(super) fn packet_at(sight: &super::packets::Sight) -> At {
    At {
        time_ns: sight.time_ns,
        order: sight.order,
    }
}

/// What is drawn with.
pub(super) struct Chart<'a> {
    pub(super) number: usize,
    pub(super) story: &'a Story<'a>,
    pub(super) lanes: &'a Lanes,
    scale: &'a Scale,
    /// How many packets there are.
    pub(super) packets: usize,
    /// Where the packets of each direction wait.
    pub(super) slots: [Vec<(usize, f64)>; 2],
    /// Which packets have words beside them.
    pub(super) labelled: HashSet<usize>,
}

/// The chart of a story, the `number`th of the page.
pub fn chart(number: usize, story: &Story<'_>, lanes: &Lanes, scale: &Scale) -> Markup {
    let mut chart = Chart {
        number,
        story,
        lanes,
        scale,
        packets: packets(story),
        slots: Default::default(),
        labelled: Default::default(),
    };
    chart.slots = [Way::Data, Way::Ack].map(|way| chart.slots(way));
    chart.labelled = chart.labelled();
    let height = scale.height_px() + HEAD_PX;
    let kernel = &story.run.kernel;
    html! {
        svg class="chart" width="100%" height=(px(height)) role="group"
            aria-labelledby={ "t" (number) " d" (number) }
            style={ "min-width:" (px(lanes.least_px)) "px" } {
            title id={ "t" (number) } { "Timeline on " (kernel) }
            desc id={ "d" (number) } {
                "Time goes down. From left to right: times, the threads of the sender, the pages of \
                 the file, the link, the receiver. The table below says the same in words."
            }
            defs {
                pattern id={ "hatch" (number) } width="6" height="6" patternUnits="userSpaceOnUse"
                    patternTransform="rotate(45)" {
                    rect class="hatch-ground" width="6" height="6" {}
                    rect class="hatch-line" width="2.5" height="6" {}
                }
                marker id={ "head" (number) } viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"
                    markerHeight="7" orient="auto-start-reverse" {
                    path class="arrow" d="M0 0.8 L8 4 L0 7.2 z" {}
                }
                marker id={ "torn" (number) } viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"
                    markerHeight="8" orient="auto-start-reverse" {
                    path class="arrow-torn" d="M0 0.5 L8 4 L0 7.5 z" {}
                }
            }
            (chart.grounds(height))
            svg y=(HEAD_PX) overflow="visible" {
                (chart.axis())
                (chart.file())
                @for (row, event) in story.events.iter().enumerate() {
                    (chart.event(row, event))
                }
                @for (index, tear) in story.tears.iter().enumerate() {
                    (chart.tear(index, tear))
                }
            }
        }
    }
}

impl Chart<'_> {
    pub(super) fn y(&self, at: At) -> f64 {
        self.scale.y(at)
    }

    fn grounds(&self, height: f64) -> Markup {
        let lanes = self.lanes;
        let ground = |span: Span, name: &str, below: &str, class: &str| {
            html! {
                g class={ "lane " (class) } {
                    rect class="ground" x=(pc(span.from)) width=(pc(span.width)) y="0" height=(px(height)) rx="3" {}
                    text class="lane-name" x=(pc(span.at(0.5))) y="16" { (name) }
                    text class="lane-note" x=(pc(span.at(0.5))) y="30" { (below) }
                }
            }
        };
        let each = self.story.scenario.setup.socket.each;
        let family = self.story.scenario.setup.socket.family;
        html! {
            @for (actor, span) in &lanes.actors {
                (ground(*span, &actor.to_string(), "calls", "lane-actor"))
            }
            (ground(lanes.file, "file", &self.page_names(), "lane-file"))
            (ground(lanes.link, "link", if family.passes_link() { "queue → wire ← queue" } else { "none" }, "lane-link"))
            @for (actor, span) in &lanes.readers {
                (ground(*span, &if each { format!("reader {actor}") } else { "reader".to_string() }, "stream", "lane-reader"))
            }
            @if self.story.run.capture.is_none() {
                text class="no-capture" x=(pc(lanes.link.at(0.5))) y=(HEAD_PX + 22.0) {
                    @if family.passes_link() { "no packets captured" } @else { "no packets" }
                }
            } @else if self.story.run.capture.as_ref().is_some_and(|it| it.packets.is_empty()) {
                text class="no-capture" x=(pc(lanes.link.at(0.5))) y=(HEAD_PX + 22.0) { "no packet was seen" }
            }
        }
    }

    fn page_names(&self) -> String {
        use crate::scenario::PAGE_BYTES;
        let first = self
            .lanes
            .pages
            .first()
            .map_or(0, |it| it.offset / PAGE_BYTES);
        let last = self
            .lanes
            .pages
            .last()
            .map_or(0, |it| it.end().saturating_sub(1) / PAGE_BYTES);
        match first == last {
            true => format!("page {first}"),
            false => format!("pages {first}–{last}"),
        }
    }

    fn axis(&self) -> Markup {
        let right = self.lanes.axis.at(1.0);
        let mut ats: Vec<At> = Vec::new();
        for event in &self.story.events {
            ats.push(event.at);
            ats.extend(event.until);
        }
        ats.sort_unstable();
        let mut last = f64::MIN;
        let mut said_ns = None;
        let mut ticks = Vec::new();
        for at in ats {
            let y = self.y(at);
            if y - last >= 13.0 && said_ns != Some(at.time_ns) {
                ticks.push((y, instant(at.time_ns)));
                last = y;
                said_ns = Some(at.time_ns);
            }
        }
        html! {
            g class="axis" aria-hidden="true" {
                @for stretch in &self.scale.stretches {
                    @let (from, to) = stretch.y_px;
                    @match stretch.truth {
                        Truth::Scale => line class="rail" x1=(pc(right)) x2=(pc(right)) y1=(px(from)) y2=(px(to)) {},
                        Truth::Stretched => line class="rail stretched" x1=(pc(right)) x2=(pc(right)) y1=(px(from)) y2=(px(to)) {},
                        Truth::Cut => {
                            @let middle = (from + to) / 2.0;
                            line class="rail" x1=(pc(right)) x2=(pc(right)) y1=(px(from)) y2=(px(middle - 6.0)) {}
                            line class="rail" x1=(pc(right)) x2=(pc(right)) y1=(px(middle + 6.0)) y2=(px(to)) {}
                            rect class="cut" x="0" width="100%" y=(px(middle - 4.0)) height="8" {}
                            line class="cut-edge" x1="0" x2="100%" y1=(px(middle - 4.0)) y2=(px(middle - 4.0)) {}
                            line class="cut-edge" x1="0" x2="100%" y1=(px(middle + 4.0)) y2=(px(middle + 4.0)) {}
                            text class="cut-text" x="99%" y=(px(middle - 8.0)) { (time(stretch.ns)) " not to scale" }
                        }
                    }
                }
                @for (y, label) in &ticks {
                    line class="grid" x1=(pc(right)) x2="100%" y1=(px(*y)) y2=(px(*y)) {}
                    text class="tick" x=(pc(self.lanes.axis.at(0.94))) y=(px(y + 3.5)) { (label) }
                }
            }
        }
    }

    /// The pages of the file: what each write changes, from then on.
    fn file(&self) -> Markup {
        let bottom = self.scale.height_px();
        let whole = Range {
            offset: 0,
            len: u64::MAX,
        };
        let mut writes: Vec<(&Event, &Call, Range, u8)> = Vec::new();
        for event in &self.story.events {
            let Of::Call(call) = &event.of else { continue };
            let op = self.story.scenario.steps[call.step].op;
            let generation = self.story.scenario.generation(call.step);
            let done = !matches!(call.outcome, Outcome::Failed(_) | Outcome::Skipped);
            if let (Some(range), Some(generation), true) =
                (self.story.written(op), generation, done)
            {
                writes.push((event, call, range, generation));
            }
        }
        html! {
            g class="file" aria-hidden="true" {
                @for span in self.lanes.in_file(whole) {
                    rect class="gen g0" x=(pc(span.from)) width=(pc(span.width)) y="4" height=(px(bottom - 4.0)) {}
                    text class="gen-name" x=(pc(span.at(0.5))) y="16" { "g0" }
                }
                @for (event, call, range, generation) in &writes {
                    @let from = self.y(event.at);
                    @let to = event.until.map_or(bottom, |it| self.y(it));
                    @for span in self.lanes.in_file(*range) {
                        rect class={ "gen " (class(*generation)) } x=(pc(span.from)) width=(pc(span.width))
                            y=(px(from)) height=(px(bottom - from)) {}
                        rect class="writing" fill={ "url(#hatch" (self.number) ")" } x=(pc(span.from))
                            width=(pc(span.width)) y=(px(from)) height=(px(to - from)) {}
                        @if span.width > 3.0 {
                            text class="gen-name" x=(pc(span.at(0.5))) y=(px(to + 12.0)) { "g" (generation) }
                        }
                        (self.reach(call, span, from))
                    }
                }
                @for page in 1..self.lanes.pages.len() {
                    @let x = self.lanes.file.at(page as f64 / self.lanes.pages.len() as f64);
                    line class="page-edge" x1=(pc(x)) x2=(pc(x)) y1="0" y2=(px(bottom)) {}
                }
            }
        }
    }

    /// From the bar of a write to what it writes.
    fn reach(&self, call: &Call, span: Span, y: f64) -> Markup {
        let actor = self.story.scenario.steps[call.step].actor;
        let lane = self.lanes.actors.iter().find(|(it, _)| *it == actor);
        let from = lane.map_or(self.lanes.file.from, |(_, lane)| lane.at(0.22));
        html! {
            line class="reach" x1=(pc(from)) x2=(pc(span.from)) y1=(px(y + 2.0)) y2=(px(y + 2.0)) {}
        }
    }

    fn event(&self, row: usize, event: &Event) -> Markup {
        let (class, shapes) = match &event.of {
            Of::Call(call) => ("call", self.call(event, call)),
            Of::Chunk {
                owner,
                chunk,
                shown,
            } => ("chunk", self.chunk(event, *owner, chunk, shown)),
            Of::Packet {
                journey,
                label,
                shown,
            } => ("packet", self.packet(journey, label, *shown)),
            Of::Completion => ("completion", self.completion(event)),
            Of::End(owner) => ("end", self.end(event, *owner)),
        };
        let again = matches!(&event.of, Of::Packet { journey, .. } if journey.again);
        html! {
            g class={ "mark " (class) @if event.torn { " torn" } @if again { " again" } }
                tabindex=(if row == 0 { "0" } else { "-1" }) role="img" data-row={ "r" (self.number) "-" (row) } {
                title { (tip(event)) }
                (shapes)
            }
        }
    }

    fn call(&self, event: &Event, call: &Call) -> Markup {
        let step = self.story.scenario.steps[call.step];
        let from = self.y(event.at);
        let to = event.until.map_or(from, |it| self.y(it)).max(from + 4.0);
        let readers = self.lanes.readers.iter();
        let span = match step.actor {
            Actor::Link => self.lanes.link.part(0.36, 0.64),
            Actor::Reader => readers
                .clone()
                .next()
                .map_or(self.lanes.link, |it| it.1.part(0.0, 1.0)),
            actor => {
                let mut lanes = self.lanes.actors.iter();
                lanes
                    .find(|(it, _)| *it == actor)
                    .map_or(self.lanes.axis, |it| it.1)
            }
        };
        let failed = matches!(
            call.outcome,
            Outcome::Failed(_) | Outcome::Killed | Outcome::Pending
        );
        let kind = match step.op {
            op if op.writes().is_some() => "write",
            op if op.sends() => "send",
            _ => "other",
        };
        let number = call.step + 1;
        html! {
            rect class="reached" x=(pc(span.from)) width=(pc(span.width)) y=(px(from)) height=(px(to - from)) {}
            rect class={ "bar " (kind) @if failed { " failed" } } x=(pc(span.from))
                width=(pc(span.width * 0.22)) y=(px(from)) height=(px(to - from)) rx="2" {}
            text class="bar-number" x=(pc(span.at(0.11))) y=(px(from + 12.0)) { (number) }
            text class="bar-text" x=(pc(span.at(0.27))) y=(px(from + 12.0)) { (step.op) }
            @if failed {
                text class="bar-text bad" x=(pc(span.at(0.27))) y=(px((to - 3.0).max(from + 24.0))) { "✕" }
            }
        }
    }

    fn chunk(
        &self,
        event: &Event,
        owner: Actor,
        chunk: &Chunk,
        shown: &[super::bytes::Shown],
    ) -> Markup {
        let (_, received, ..) = self.story.received(owner);
        let total = received.len().max(1) as f64;
        let readers = self.lanes.readers.iter();
        let lane = readers
            .clone()
            .find(|(it, _)| *it == owner)
            .map_or(self.lanes.link, |it| it.1);
        let y = self.y(event.at) - 1.0;
        let part =
            |start: u64, len: u64| lane.part(start as f64 / total, (start + len) as f64 / total);
        let whole = part(chunk.start as u64, chunk.len as u64);
        let torn: Vec<Range> = (self.story.tears.iter())
            .filter(|it| it.owner == owner)
            .filter_map(|it| meet(it.stream?, chunk.start as u64, chunk.len as u64))
            .collect();
        html! {
            rect class="got gx" x=(pc(whole.from)) width=(pc(whole.width)) y=(px(y)) height=(INSTANT_PX) {}
            @if shown.len() <= 40 {
                @for run in shown {
                    @if let Some(generation) = run.generation {
                        @let span = part((chunk.start + run.start) as u64, run.len as u64);
                        rect class={ "got " (class(generation)) } x=(pc(span.from)) width=(pc(span.width)) y=(px(y)) height=(INSTANT_PX) {}
                    }
                }
            }
            @for range in &torn {
                @let span = part(range.offset, range.len);
                rect class="torn-bytes" fill={ "url(#hatch" (self.number) ")" } x=(pc(span.from)) width=(pc(span.width))
                    y=(px(y - 1.5)) height=(INSTANT_PX + 3.0) {}
            }
        }
    }

    fn completion(&self, event: &Event) -> Markup {
        let lanes = self.lanes.actors.iter();
        let lane = lanes
            .clone()
            .find(|(actor, _)| actor.to_string() == event.who);
        let span = lane.map_or(self.lanes.axis, |it| it.1);
        let y = self.y(event.at);
        html! {
            rect class="told" x=(pc(span.from)) width=(pc(span.width)) y=(px(y - 1.5)) height="3" rx="1.5" {}
            text class="bar-text" x=(pc(span.at(0.27))) y=(px(y + 11.0)) { "completed" }
        }
    }

    fn end(&self, event: &Event, owner: Actor) -> Markup {
        let readers = self.lanes.readers.iter();
        let span = readers
            .clone()
            .find(|(it, _)| *it == owner)
            .map_or(self.lanes.link, |it| it.1);
        let y = self.y(event.at);
        html! {
            line class="end-line" x1=(pc(span.from)) x2=(pc(span.at(1.0))) y1=(px(y)) y2=(px(y)) {}
            line class="end-line" x1=(pc(span.from)) x2=(pc(span.at(1.0))) y1=(px(y + 3.0)) y2=(px(y + 3.0)) {}
            text class="end-text" x=(pc(span.at(0.5))) y=(px(y + 15.0)) { "end" }
        }
    }

    /// From the write that tore bytes to these bytes.
    fn tear(&self, index: usize, tear: &super::events::Tear) -> Markup {
        let write = self
            .story
            .events
            .iter()
            .find(|it| matches!(&it.of, Of::Call(call) if call.step == tear.write));
        let Some(write) = write else {
            return html! {};
        };
        let (_, received, ..) = self.story.received(tear.owner);
        let total = received.len().max(1) as f64;
        let lane = self.lanes.readers.iter().find(|(it, _)| *it == tear.owner);
        let lane = lane.map_or(self.lanes.link, |it| it.1);
        let from_y = self.y(write.at) + 7.0;
        let range = self
            .lanes
            .in_file(tear.file.unwrap_or(Range { offset: 0, len: 1 }));
        let from_x = range
            .first()
            .map_or(self.lanes.file.at(0.5), |span| span.at(1.0));
        let arrival = self.story.events.iter().find_map(|event| match &event.of {
            Of::Chunk { owner, chunk, .. } if *owner == tear.owner => {
                let part = meet(tear.stream?, chunk.start as u64, chunk.len as u64)?;
                let x = lane.at((part.offset as f64 + part.len as f64 / 2.0) / total);
                Some((x, self.y(event.at)))
            }
            _ => None,
        });
        let name = index + 1;
        html! {
            g class="tear" aria-hidden="true" {
                @if let Some((x, y)) = arrival {
                    line class="tear-ground" x1=(pc(from_x)) x2=(pc(x)) y1=(px(from_y)) y2=(px(y - 3.0)) {}
                    line class="tear-line" x1=(pc(from_x)) x2=(pc(x)) y1=(px(from_y)) y2=(px(y - 3.0))
                        marker-end={ "url(#torn" (self.number) ")" } {}
                    (spot(x, y + 20.0, name))
                    text class="tear-text" x=(pc(lane.at(1.0))) y=(px(y + 38.0)) { "torn bytes" }
                }
                (spot(from_x, from_y, name))
            }
        }
    }
}

/// A numbered spot: the same at the write and at the bytes.
fn spot(x: f64, y: f64, name: usize) -> Markup {
    html! {
        circle class="spot" cx=(pc(x)) cy=(px(y)) r="8" {}
        text class="spot-name" x=(pc(x)) y=(px(y + 4.0)) { "T" (name) }
    }
}

/// What a mark says when it is pointed at.
pub fn tip(event: &Event) -> String {
    let when = match event.until {
        Some(until) if until.time_ns != event.at.time_ns => {
            format!(
                "{} to {}",
                instant(event.at.time_ns),
                instant(until.time_ns)
            )
        }
        _ => instant(event.at.time_ns),
    };
    let mut lines = vec![format!("{} · {}", event.who, event.what), when];
    lines.extend(event.details.iter().cloned());
    lines.join("\n")
}

/// The colour of a generation; its name stands beside it.
pub(super) fn class(generation: u8) -> String {
    match generation {
        0 => "g0".to_string(),
        _ => format!("g{}", 1 + (generation - 1) % 6),
    }
}

pub(super) fn pc(share: f64) -> String {
    format!("{share:.2}%")
}

pub(super) fn px(length: f64) -> String {
    format!("{length:.1}")
}
