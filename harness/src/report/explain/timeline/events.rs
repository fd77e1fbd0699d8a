//! What happened in one run, as events: the marks of the chart and the rows of the table.

use super::bytes::{self, Shown};
use super::head::Head;
use super::order;
use super::packets::{Journey, Packets};
use super::scale::{At, instant, ns, time};
use crate::history::{Call, Chunk, Completed, Completion, End, Outcome};
use crate::oracle::{self, Violation};
use crate::report::explain::Run;
use crate::scenario::{Actor, Op, Range, Scenario, Way};

/// So many packets are drawn by themselves; of more some are gathered.
const MOST_PACKETS: usize = 300;

/// One thing that happened.
#[derive(Debug)]
pub struct Event {
    /// When it began.
    pub at: At,
    /// When it ended, if it took time.
    pub until: Option<At>,
    /// Who: `a`, `link`, `reader`.
    pub who: String,
    /// What, in a few words.
    pub what: String,
    /// Everything else, a line each.
    pub details: Vec<String>,
    /// Whether it tore bytes, or they are in it.
    pub torn: bool,
    /// What it is.
    pub of: Of,
}

/// What an event is.
#[derive(Debug)]
pub enum Of {
    /// A call; index into the history's.
    Call(Call),
    /// What a receiver read.
    Chunk {
        /// Whose connection.
        owner: Actor,
        /// Where in its stream.
        chunk: Chunk,
        /// What it shows; empty: not known.
        shown: Vec<Shown>,
    },
    /// A packet.
    Packet {
        /// Its journey.
        journey: Box<Journey>,
        /// The few words.
        label: String,
        /// What it shows at each stage, where that is one generation.
        shown: [Option<u8>; 3],
    },
    /// A send by reference is done with.
    Completion,
    /// The stream of that connection ended.
    End(Actor),
}

/// Bytes that a write tore.
#[derive(Debug)]
pub struct Tear {
    /// Whose connection.
    pub owner: Actor,
    /// The write.
    pub write: usize,
    /// Where in the stream the torn bytes are, if they arrived.
    pub stream: Option<Range>,
    /// Where in the file.
    pub file: Option<Range>,
    /// How long after the return of the send.
    pub after_return_ns: Option<u64>,
}

/// One run, ready to be drawn.
#[derive(Debug)]
pub struct Story<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// What is told.
    pub run: &'a Run,
    /// All that happened, in order.
    pub events: Vec<Event>,
    /// What was torn.
    pub tears: Vec<Tear>,
    /// Which stages of the link were watched.
    pub watched: [[bool; 3]; 2],
    /// What stands where in the stream of each connection, where that is known.
    layouts: Vec<(Actor, Option<Layout>)>,
}

/// The sends of a stream and the parts of the file.
type Layout = Vec<(usize, Range)>;

impl<'a> Story<'a> {
    /// Tells a run.
    pub fn new(scenario: &'a Scenario, run: &'a Run) -> Story<'a> {
        let tears: Vec<Tear> = run
            .violations
            .iter()
            .filter_map(|it| tear(scenario, it))
            .collect();
        let mut story = Story {
            scenario,
            run,
            events: Vec::new(),
            tears,
            watched: Default::default(),
            layouts: (scenario.connections())
                .map(|it| (it, oracle::layout(scenario, &run.history, it)))
                .collect(),
        };
        for call in &run.history.calls {
            story.call(call);
        }
        for actor in scenario.connections() {
            story.stream(actor);
        }
        story.make_monotone();
        if let Some(capture) = &run.capture {
            let mut packets = Packets::new(&scenario.setup, capture);
            order::set(&mut packets, |packets, journey, stage| {
                story.sent_by(packets, &packets.journeys[journey], stage)
            });
            let packets = packets.gather(MOST_PACKETS);
            story.watched = packets.watched;
            for journey in &packets.journeys {
                story.packet(&packets, journey);
            }
        }
        story.events.sort_by_key(|event| event.at);
        story
    }

    /// The clock of one thread may lag behind that of another; the order is right.
    fn make_monotone(&mut self) {
        let stamped = |it: &&Event| !matches!(it.of, Of::End(_));
        let mut orders: Vec<At> = self
            .events
            .iter()
            .filter(stamped)
            .flat_map(|it| [Some(it.at), it.until])
            .flatten()
            .collect();
        orders.sort_by_key(|at| at.order);
        let mut latest_ns = i64::MIN;
        for at in &mut orders {
            latest_ns = latest_ns.max(at.time_ns);
            at.time_ns = latest_ns;
        }
        let placed = |at: &mut At| {
            if let Ok(place) = orders.binary_search_by_key(&at.order, |it| it.order) {
                *at = orders[place];
            }
        };
        for event in &mut self.events {
            placed(&mut event.at);
            if let Some(until) = &mut event.until {
                placed(until);
            }
        }
    }

    fn call(&mut self, call: &Call) {
        let Some(step) = self.scenario.steps.get(call.step) else {
            return;
        };
        let number = call.step + 1;
        let took_ns = call.exit.time_ns.saturating_sub(call.entry.time_ns);
        let mut details = vec![match call.outcome {
            Outcome::Pending => format!("still running {} later", time(took_ns)),
            _ => format!(
                "returned after {}, at {}",
                time(took_ns),
                instant(ns(call.exit.time_ns))
            ),
        }];
        details.push(outcome(step.op, call.outcome));
        if let Some(offset) = call.offset_after {
            details.push(format!("offset afterwards {offset}"));
        }
        if let Some(position) = call.f_pos_after {
            details.push(format!("file position afterwards {position}"));
        }
        if let (Some(range), Some(generation)) =
            (self.written(step.op), self.scenario.generation(call.step))
        {
            let zeros = if step.op.zeroes() { ", zeros" } else { "" };
            details.push(format!(
                "writes generation {generation}{zeros}: {}",
                in_file(range)
            ));
        } else if let Some(range) = step.op.range() {
            details.push(in_file(range));
        }
        if step.op.way().is_some() && took_ns > 0 {
            // Netlink waits, and a clock that nobody else moves moves in steps.
            details.push("the time that it takes to tell a queue".to_string());
        }
        let mut torn = false;
        for tear in self.tears.iter().filter(|it| it.write == call.step) {
            torn = true;
            details.push(match tear.after_return_ns {
                Some(0) => "tears bytes of a send that had just returned".to_string(),
                Some(after_ns) => format!(
                    "tears bytes of a send that had returned {} before",
                    time(after_ns)
                ),
                None => "tears bytes that were sent before".to_string(),
            });
        }
        self.events.push(Event {
            at: at(call.entry),
            until: Some(at(call.exit)),
            who: step.actor.to_string(),
            what: format!("{number}: {}", step.op),
            details,
            torn,
            of: Of::Call(*call),
        });
    }

    /// What an operation writes, as far as the file goes.
    pub fn written(&self, op: Op) -> Option<Range> {
        let range = op.writes()?;
        let end = range
            .end()
            .min(self.scenario.extent_bytes().max(range.offset));
        Some(Range {
            offset: range.offset,
            len: end - range.offset,
        })
    }

    /// The chunks of a connection, what was received, and how it ended.
    pub fn received(&self, owner: Actor) -> (&'a [Chunk], &'a [u8], End, u64, &'a [Completion]) {
        let history = &self.run.history;
        let beside = history.beside.iter().find(|it| it.actor == owner);
        match beside {
            Some(it) => (&it.chunks, &it.received, it.end, it.end_ns, &it.completions),
            None => (
                &history.chunks,
                &history.received,
                history.end,
                history.end_ns,
                &history.completions,
            ),
        }
    }

    fn stream(&mut self, owner: Actor) {
        let layout = self.layout(owner).cloned();
        let (chunks, received, end, end_ns, completions) = self.received(owner);
        let who = match self.scenario.setup.socket.each {
            true => format!("reader of {owner}"),
            false => "reader".to_string(),
        };
        for chunk in chunks {
            let Some(got) = received.get(chunk.start..chunk.start + chunk.len) else {
                continue;
            };
            let (start, len) = (chunk.start as u64, chunk.len as u64);
            let mut details = vec![format!("stream {start}+{len}")];
            let shown = match &layout {
                Some(layout) => {
                    let from = bytes::file_ranges(layout, start, len);
                    details.extend(from.iter().take(4).map(|it| in_file(*it)));
                    bytes::shown(self.scenario, layout, start, got)
                }
                None => Vec::new(),
            };
            let words = bytes::words(&shown);
            if !words.is_empty() {
                details.push(format!("shows {words}"));
            }
            let mut torn = false;
            for tear in self.tears.iter().filter(|it| it.owner == owner) {
                if let Some(part) = tear.stream.and_then(|it| meet(it, start, len)) {
                    torn = true;
                    details.push(format!(
                        "torn: stream {part} shows what operation {} wrote",
                        tear.write + 1
                    ));
                }
            }
            self.events.push(Event {
                at: at(chunk.at),
                until: None,
                who: who.clone(),
                what: format!("received {} bytes", chunk.len),
                details,
                torn,
                of: Of::Chunk {
                    owner,
                    chunk: *chunk,
                    shown,
                },
            });
        }
        for told in completions {
            self.events.push(Event {
                at: at(told.at),
                until: None,
                who: owner.to_string(),
                what: completion(told.of),
                details: Vec::new(),
                torn: false,
                of: Of::Completion,
            });
        }
        let (what, details) = ended(end);
        self.events.push(Event {
            at: At {
                time_ns: ns(end_ns),
                order: order::LAST + owner as u64,
            },
            until: None,
            who,
            what: what.to_string(),
            details,
            torn: false,
            of: Of::End(owner),
        });
    }

    fn packet(&mut self, packets: &Packets, journey: &Journey) {
        let Some(first) = journey.first() else {
            return;
        };
        let stamp = |sight: &super::packets::Sight| At {
            time_ns: sight.time_ns,
            order: sight.order,
        };
        let label = packets.label(journey);
        let way = journey.way as usize;
        let mut details = Vec::new();
        let mut before: Option<i64> = None;
        let verbs = [
            ("queued", "not seen in the queue"),
            ("left the queue", "not seen to leave the queue"),
            ("arrived", "not seen to arrive"),
        ];
        for (stage, (seen, unseen)) in verbs.iter().enumerate() {
            match &journey.sights[stage] {
                Some(sight) => {
                    let after = before.map(|it| time(sight.time_ns.abs_diff(it)));
                    let after = after.map_or(String::new(), |it| format!(", {it} later"));
                    details.push(format!("{seen} at {}{after}", instant(sight.time_ns)));
                    before = Some(sight.time_ns);
                }
                None if packets.watched[way][stage] => details.push((*unseen).to_string()),
                None => {}
            }
        }
        if let Head::Udp {
            fragment: Some(fragment),
            ..
        } = journey.head
        {
            details.insert(0, fragment.words());
        }
        let mut shown = [None; 3];
        let mut torn = false;
        let stream = packets.stream(journey);
        if let Some((from, len)) = stream {
            details.insert(0, format!("stream {from}+{len}"));
            let owner = self.owner(journey.flow);
            let plain = self.scenario.setup.socket.family.is_plain_tcp();
            if let Some(layout) = self.layout(owner).filter(|_| plain) {
                let mut said = Vec::new();
                for (stage, sight) in journey.sights.iter().enumerate() {
                    let Some(sight) = sight else { continue };
                    let runs = bytes::shown(self.scenario, layout, from, &sight.payload);
                    shown[stage] = bytes::only(&runs);
                    let words = bytes::words(&runs);
                    if !words.is_empty() {
                        let when = ["queued", "leaving", "arriving"][stage];
                        said.push(format!("{when}: {words}"));
                    }
                }
                if !said.is_empty() {
                    details.push(format!("shows {}", said.join("; ")));
                }
            }
            if plain {
                let tears = self.tears.iter().filter(|it| it.owner == owner);
                let (_, received, ..) = self.received(owner);
                torn = tears.into_iter().any(|tear| {
                    let part = tear.stream.and_then(|it| meet(it, from, len));
                    part.is_some_and(|part| carried(journey, from, part, received))
                });
                if torn {
                    details.push("carries torn bytes".to_string());
                }
            }
        }
        if journey.again {
            details.push("sent again".to_string());
        }
        let resets = matches!(journey.head, Head::Tcp(tcp) if tcp.flags[2]);
        if resets && !self.scenario.steps.iter().any(|it| it.op == Op::Reset) {
            details.push(
                "the end of the scenario: closed so, no socket stays in TIME_WAIT".to_string(),
            );
        }
        let way_word = match journey.way {
            Way::Data => "to the receiver",
            Way::Ack => "to the sender",
        };
        let what = match journey.packets {
            1 => format!("packet {way_word}: {label}"),
            many => format!("{many} packets {way_word}: {label}"),
        };
        let last = journey.sights.iter().flatten().next_back();
        self.events.push(Event {
            at: stamp(first),
            until: last.map(stamp),
            who: "link".to_string(),
            what,
            details,
            torn,
            of: Of::Packet {
                journey: Box::new(journey.clone()),
                label,
                shown,
            },
        });
    }

    pub(super) fn layout(&self, owner: Actor) -> Option<&Layout> {
        let mut all = self.layouts.iter();
        all.find(|(it, _)| *it == owner)?.1.as_ref()
    }

    /// Connections are made one after the other, `a`'s first.
    pub(super) fn owner(&self, flow: usize) -> Actor {
        self.scenario.connections().nth(flow).unwrap_or_default()
    }
}

/// Whether the packet, where it was seen last, had those bytes as they were received.
fn carried(journey: &Journey, from: u64, part: Range, received: &[u8]) -> bool {
    let Some(sight) = journey.sights.iter().flatten().next_back() else {
        return false;
    };
    let (start, len) = ((part.offset - from) as usize, part.len as usize);
    let had = sight.payload.get(start..start + len);
    let got = usize::try_from(part.offset)
        .ok()
        .and_then(|at| received.get(at..at + len));
    had.is_some() && had == got
}

fn tear(scenario: &Scenario, violation: &Violation) -> Option<Tear> {
    let write = violation.torn_by?;
    let sender = violation.step.and_then(|step| scenario.steps.get(step));
    let file = violation.file_range;
    let stream = violation.stream_offset.map(|offset| Range {
        offset,
        len: file.map_or(1, |it| it.len),
    });
    Some(Tear {
        owner: scenario.connection_of(sender.map_or(Actor::A, |step| step.actor)),
        write,
        stream,
        file,
        after_return_ns: violation.after_return_ns,
    })
}

/// What of a range of the stream lies in another.
pub fn meet(range: Range, start: u64, len: u64) -> Option<Range> {
    let from = range.offset.max(start);
    let to = range.end().min(start + len);
    (from < to).then(|| Range {
        offset: from,
        len: to - from,
    })
}

fn at(stamp: crate::history::Stamp) -> At {
    At {
        time_ns: ns(stamp.time_ns),
        order: order::of_stamp(stamp.order),
    }
}

/// A range of the file with its pages.
fn in_file(range: Range) -> String {
    use crate::scenario::PAGE_BYTES;
    let (first, last) = (
        range.offset / PAGE_BYTES,
        range.end().saturating_sub(1).max(range.offset) / PAGE_BYTES,
    );
    match first == last {
        true => format!("file {range} (page {first})"),
        false => format!("file {range} (pages {first} to {last})"),
    }
}

fn outcome(op: Op, outcome: Outcome) -> String {
    match outcome {
        Outcome::Returned(bytes) if op.sends() || op.range().is_some() => {
            format!("returned {bytes} bytes")
        }
        Outcome::Returned(value) => format!("returned {value}"),
        Outcome::Failed(errno) => format!("failed: {}", oracle::name_errno(errno)),
        Outcome::Skipped => "skipped: there was nothing to do".to_string(),
        Outcome::Killed => "killed".to_string(),
        Outcome::Pending => "never returned".to_string(),
    }
}

fn completion(of: Completed) -> String {
    match of {
        Completed::Sends {
            first,
            last,
            copied,
        } => {
            let copied = if copied { ", copied" } else { "" };
            format!("zero-copy sends {first} to {last} are completed{copied}")
        }
        Completed::Promised { .. } => "the ring will tell when the pages are done with".to_string(),
        Completed::Notified { .. } => "the ring tells that the pages are done with".to_string(),
    }
}

fn ended(end: End) -> (&'static str, Vec<String>) {
    match end {
        End::Eof => ("end of the stream", Vec::new()),
        End::Failed(errno) => ("the stream failed", vec![oracle::name_errno(errno)]),
        End::Closed => ("the receiver closed its end", Vec::new()),
        End::GivenUp => ("given up: nothing came any more", Vec::new()),
    }
}
