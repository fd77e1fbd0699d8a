//! From what was drawn to a scenario.

mod plumbing;
mod ranges;
mod setup;
mod stack;
mod throng;

use super::genes::{
    Company, Counts, Crowd, Genes, KINDS, Kind, OpGenes, PIPE_KINDS, Source, Swarm, Throng,
};
use super::tables::{self, Weighted, pick, pick_scaled, total};
use crate::scenario::limits::{MAX_COUNT_BYTES, MAX_OPS};
use crate::scenario::normalize::normalize;
use crate::scenario::{
    Actor, Borrowing, Copying, FileKind, FileSpec, Op, Range, ReaderMode, Scenario, Setup, Step,
    Way,
};

/// The scenario that `genes` describe, normalized.
pub fn build(genes: &Genes) -> Scenario {
    let genes = match genes.throng.crowd {
        Crowd::None => genes,
        Crowd::Cramped => &throng::cramp(genes),
        Crowd::Probed => &throng::probe(genes),
        Crowd::Overflows => &throng::overflow(genes),
        Crowd::Gathered => &throng::gathered(genes),
        Crowd::Sacked => &throng::sack(genes),
    };
    build_as_drawn(genes)
}

fn build_as_drawn(genes: &Genes) -> Scenario {
    let (mut data, mut ack) = setup::link(&genes.link);
    (data.nth, ack.nth) = stack::nth(&genes.tun);
    // A reader that is to leave must be one that takes orders.
    let leaves = |op: &OpGenes| pick(KINDS, op.kind) == Kind::Leave;
    let family = option(genes.family.0, tables::FAMILIES, genes.family.1);
    // Where there is no link nothing waits but for the reader.
    let waits = genes.throng.sips && family.is_some_and(|it| !it.passes_link());
    let leaves = genes.swarm.trouble && genes.ops.iter().any(leaves);
    let paused = genes.socket.paused || leaves || waits;
    let has_holes = genes.plumbing && genes.holes;
    let file_draw = match has_holes {
        // A hole goes on in the next page.
        true => genes.file.max(tables::LARGER_FILE),
        false => genes.file,
    };
    let file = FileSpec {
        kind: match (genes.source.ext4, genes.swarm.memfd) {
            (true, _) => FileKind::Ext4,
            (false, true) => FileKind::Memfd,
            (false, false) => FileKind::Tmpfs,
        },
        size_bytes: pick(tables::FILE_BYTES, file_draw),
        sparse: genes.source.sparse || has_holes,
        read_only: genes.source.read_only,
    };
    let mut socket = setup::socket(&genes.socket, &genes.tcp);
    if let Some(other) = family {
        socket.family = other;
    }
    let joins = genes.throng.joins || genes.throng.rows.0 || genes.throng.pieces;
    socket.cork |= joins && socket.family.has_datagrams();
    let mut setup = Setup {
        data,
        ack,
        device: stack::device(&genes.device, genes.tun.on, genes.loopback),
        stack: stack::stack(&genes.stack, data.mark),
        socket,
        file,
        reader: match paused {
            true => ReaderMode::Paused,
            false => ReaderMode::Drain,
        },
        relay: genes.relay,
    };
    let swarm = Swarm {
        splice: genes.swarm.splice || genes.plumbing,
        pipes: genes.swarm.pipes || genes.plumbing,
        ..genes.swarm.clone()
    };
    let mut builder = Builder {
        round_trip_us: data.delay_us + ack.delay_us,
        way_us: data.delay_us,
        swarm: &swarm,
        plumbing: genes.plumbing,
        source: &genes.source,
        company: &genes.company,
        borrows: genes.borrows,
        moves: genes.moves,
        fills_by_sendfile: genes.fills_by_sendfile,
        counts: &genes.counts,
        meets: genes.meets,
        paused,
        size_bytes: file.size_bytes,
        sends: Vec::with_capacity(genes.ops.len()),
        steps: Vec::with_capacity(genes.ops.len() + 4),
        has_pipe: false,
        has_many: false,
        position: 0,
        held: None,
        throng: &genes.throng,
        fragments: setup.socket.cork && setup.socket.family.has_datagrams(),
    };
    let rounds = match (genes.again, genes.plumbing) {
        (false, _) => 1,
        (true, false) => pick(&[(1, 90), (2, 6), (4, 3), (7, 1)], genes.rounds),
        // What was in a slot before matters once the ring has gone around.
        (true, true) => pick(&[(1, 20), (2, 55), (4, 25)], genes.rounds),
    };
    let sends = |op| {
        let kind = builder.kind(op);
        let sending = [
            Kind::Sendfile,
            Kind::Splice,
            Kind::Gather,
            Kind::Copy,
            Kind::SendfileOn,
            Kind::Borrow,
            Kind::HandOver,
        ];
        kind.is_some_and(|kind| sending.contains(&kind))
    };
    let crowds = matches!(
        genes.throng.crowd,
        Crowd::Cramped | Crowd::Gathered | Crowd::Sacked
    );
    if !crowds && !genes.ops.iter().any(sends) {
        // Nothing would be in flight; this way the writes have something to meet.
        let range = builder.send(&genes.ops[0]);
        builder.push(Actor::A, Op::Sendfile(range));
    }
    match genes.throng.crowd {
        Crowd::Cramped => builder.crowd(&genes.ops[0]),
        Crowd::Gathered => builder.gather(&genes.ops[0]),
        Crowd::Sacked => builder.copy_on(&genes.ops[0]),
        Crowd::None | Crowd::Probed | Crowd::Overflows => {}
    }
    for _ in 0..rounds {
        for op in &genes.ops {
            builder.op(op);
        }
    }
    builder.steps.truncate(MAX_OPS);
    let beside = |step: &Step| step.actor != Actor::A && step.op.sends();
    setup.socket.each = genes.company.each && builder.steps.iter().any(beside);
    normalize(Scenario {
        setup,
        steps: builder.steps,
        ..Scenario::default()
    })
}

fn option<T: Copy>(on: bool, table: &[Weighted<T>], draw: u32) -> Option<T> {
    on.then(|| pick(table, draw))
}

struct Builder<'a> {
    /// How long a round trip takes, at least.
    round_trip_us: u64,
    /// How long the way to the receiver takes, at least.
    way_us: u64,
    swarm: &'a Swarm,
    plumbing: bool,
    source: &'a Source,
    company: &'a Company,
    borrows: bool,
    moves: [bool; 2],
    fills_by_sendfile: bool,
    counts: &'a Counts,
    meets: bool,
    paused: bool,
    size_bytes: u64,
    /// The parts of the file that were sent, in order: what writes aim at.
    sends: Vec<Range>,
    steps: Vec<Step>,
    has_pipe: bool,
    /// One is enough, as each of many operations takes its time.
    has_many: bool,
    /// Where the file position is, if all that goes by it was sent.
    position: u64,
    /// The direction that was held last.
    held: Option<Way>,
    throng: &'a Throng,
    /// What is sent fills fragments of datagrams.
    fragments: bool,
}

impl Builder<'_> {
    fn op(&mut self, genes: &OpGenes) {
        match self.kind(genes) {
            Some(Kind::Sendfile) => {
                let range = self.send(genes);
                let len = self.count_beyond(genes).unwrap_or(range.len);
                self.push(self.sender(genes), Op::Sendfile(Range { len, ..range }));
                self.in_a_row(genes);
                self.sip(genes);
            }
            Some(Kind::Copy) => {
                let range = self.send(genes);
                let (_, by) = Copying::NAMED[genes.aim as usize % Copying::NAMED.len()];
                self.push(self.sender(genes), Op::Copy { by, range });
                self.in_a_row(genes);
                self.sip(genes);
            }
            Some(Kind::Borrow) => {
                let range = self.send(genes);
                let (_, by) = Borrowing::NAMED[genes.aim as usize % Borrowing::NAMED.len()];
                self.push(self.sender(genes), Op::Borrow { by, range });
                self.in_a_row(genes);
                // Who is told when the pages are free writes to them then.
                if genes.back == 3 || self.is_probed() {
                    self.push(Actor::A, Op::AwaitCompletions);
                    let back = genes.offset as usize % self.sends.len();
                    let range = self.sends[self.sends.len() - 1 - back];
                    self.push(Actor::A, Op::MmapWrite(range));
                }
                if self.is_probed() {
                    self.write_in_flight(genes);
                }
            }
            Some(Kind::AwaitCompletions) => {
                self.push(self.actor_beside(genes), Op::AwaitCompletions);
            }
            Some(Kind::SendfileOn) => {
                let len = self.send_on(genes);
                self.push(Actor::A, Op::SendfileOn { len });
            }
            Some(Kind::PipeWrite) => {
                let tee = self.plumbing && genes.back >= 2;
                if !self.has_pipe && !tee {
                    self.pipe(genes);
                }
                let range = self.send(genes);
                self.push(Actor::A, Op::PipeWrite { range, tee });
                // Else it waits in the pipe for what comes next.
                if genes.aim.is_multiple_of(2) && !self.plumbing {
                    self.splice_out(genes, MAX_COUNT_BYTES, false);
                }
            }
            Some(Kind::Splice) => {
                let range = self.splice_in(genes);
                self.splice_out(genes, range.len, false);
                self.splice_in_a_row(genes);
                self.sip(genes);
            }
            // What is sent goes away, and with it what could go wrong later.
            Some(Kind::Tee) if self.plumbing => {
                let len = self.len(genes);
                self.push(Actor::A, Op::Tee { len });
            }
            Some(Kind::Tee) => {
                let Range { len, .. } = self.splice_in(genes);
                self.push(Actor::A, Op::Tee { len });
                self.splice_out(genes, len, true);
                self.splice_out(genes, len, false);
            }
            Some(Kind::Gather) => self.gather(genes),
            Some(Kind::HandOver) => self.hand_over(genes),
            Some(Kind::Pour) => {
                let len = self.len(genes);
                self.push(Actor::A, Op::Pour { len });
            }
            Some(Kind::Signal) => {
                // Most are for the one who sends most.
                let (actor, to) = match genes.actor {
                    0..=2 => (Actor::B, Actor::A),
                    _ => (Actor::C, Actor::B),
                };
                // Half of them cut short what waits.
                if genes.back >= 2 {
                    self.push(actor, Op::Await { who: to });
                }
                self.push(actor, Op::Signal { to });
            }
            Some(Kind::Cork) => {
                let on = genes.back.is_multiple_of(2);
                self.push(self.actor_beside(genes), Op::Cork { on });
            }
            Some(Kind::Shutdown) => self.push(self.actor_beside(genes), Op::Shutdown),
            Some(Kind::Leave) => {
                let op = [Op::Close, Op::Reset, Op::Shutdown][genes.back as usize % 3];
                self.push(Actor::Reader, op);
            }
            Some(Kind::SpliceIn) => {
                self.splice_in(genes);
            }
            Some(Kind::SpliceOut) => {
                let len = self.len(genes);
                self.splice_out(genes, len, self.swarm.pipes && genes.aim % 2 == 1);
            }
            Some(Kind::Pipe) => self.pipe(genes),
            Some(Kind::MmapWrite) => {
                let range = self.write(genes);
                self.push(self.actor(genes), Op::MmapWrite(range));
            }
            Some(Kind::Pwrite) => {
                let range = self.write(genes);
                self.push(self.actor(genes), Op::Pwrite(range));
            }
            Some(Kind::Read) => {
                let len = pick(tables::LENGTHS, genes.len);
                self.push(Actor::Reader, Op::Read { len });
            }
            Some(Kind::OwnRead) => {
                let len = pick(tables::LENGTHS, genes.len);
                self.push(self.actor(genes), Op::Read { len });
            }
            Some(Kind::Close) => self.push(self.actor_beside(genes), Op::Close),
            Some(Kind::Kill) => self.push(Actor::B, Op::Kill { to: Actor::A }),
            Some(Kind::ForkWrite) => {
                let range = self.write(genes);
                self.push(self.actor(genes), Op::ForkWrite(range));
            }
            Some(Kind::SecondWrite) => {
                let range = self.write(genes);
                self.push(self.actor(genes), Op::SecondWrite(range));
            }
            Some(Kind::Msync) => self.push(self.actor(genes), Op::Msync),
            Some(Kind::DropCaches) => self.push(self.actor(genes), Op::DropCaches),
            Some(Kind::Truncate) => {
                let size_bytes = self.cut(genes);
                self.push(self.actor(genes), Op::Truncate { size_bytes });
            }
            Some(Kind::Punch) => {
                let range = self.write(genes);
                self.push(self.actor(genes), Op::Punch(range));
            }
            Some(Kind::Collapse) => {
                let range = self.write(genes);
                self.push(self.actor(genes), Op::Collapse(range));
            }
            Some(Kind::DirectWrite) => {
                let range = self.write(genes);
                self.push(self.actor(genes), Op::DirectWrite(range));
            }
            Some(Kind::ZeroRange) => {
                let range = self.write(genes);
                self.push(self.actor(genes), Op::ZeroRange(range));
            }
            Some(Kind::Hold) => {
                let (way, packets) = self.passing(genes);
                let after_packets = packets.unwrap_or(0);
                self.push(self.at_link(genes), Op::Hold { way, after_packets });
                self.held = Some(way);
                if self.throng.late {
                    self.release_late(genes, way);
                    // So that something is held. It is written to as soon as the call returns.
                    let range = self.send(genes);
                    self.push(Actor::A, Op::Sendfile(range));
                    let sent = self.sends[self.sends.len() - 1];
                    self.push(Actor::A, Op::MmapWrite(sent));
                }
            }
            // Somebody is to do it later.
            Some(Kind::Release) if self.throng.late => {}
            Some(Kind::Release) => {
                let (way, packets) = self.passing(genes);
                let way = self.held.unwrap_or(way);
                self.push(self.at_link(genes), Op::Release { way, packets });
            }
            Some(Kind::Await) => {
                // For the one who sends most, most often.
                let (actor, who) = match genes.actor {
                    0 | 1 => (Actor::B, Actor::A),
                    2 => (Actor::C, Actor::A),
                    _ => (Actor::A, Actor::B),
                };
                let range = self.write(genes);
                match self.meets {
                    false => self.push(actor, Op::Await { who }),
                    true => {
                        let draw = genes.offset % total(tables::PHASES_NS);
                        let after_ns = pick(tables::PHASES_NS, draw);
                        self.push(actor, Op::Meet { who, after_ns });
                    }
                }
                self.push(actor, Op::MmapWrite(range));
                // For whom it waits.
                if self.meets && who == Actor::A {
                    self.push(who, Op::Sendfile(range));
                }
            }
            Some(Kind::Wait) => {
                let us = pick(tables::WAITS_US, genes.offset % total(tables::WAITS_US));
                self.push(self.actor(genes), Op::Wait { us });
            }
            None => {}
        }
    }

    /// The kind drawn, or what stands in for one that is off.
    fn kind(&self, genes: &OpGenes) -> Option<Kind> {
        let kind = match self.plumbing {
            false => pick(KINDS, genes.kind),
            // In the same order: a smaller draw is a simpler operation.
            true => pick_scaled(PIPE_KINDS, genes.kind, total(KINDS)),
        };
        let kind = match kind {
            // Nobody waits for these, so that more than one is there to be put together.
            Kind::Sendfile if self.is_probed() && genes.aim % 2 == 1 => Kind::Borrow,
            Kind::Sendfile
                if self.throng.crowd == Crowd::Sacked && !genes.aim.is_multiple_of(4) =>
            {
                Kind::Copy
            }
            kind => kind,
        };
        let (on, instead) = match kind {
            Kind::Sendfile | Kind::MmapWrite => (true, None),
            Kind::Pwrite => (self.swarm.pwrite, Some(Kind::MmapWrite)),
            Kind::Splice | Kind::SpliceIn | Kind::Gather => {
                (self.swarm.splice, Some(Kind::Sendfile))
            }
            Kind::SpliceOut | Kind::Pipe => (self.swarm.splice, None),
            Kind::Wait => (self.swarm.wait, None),
            Kind::Read | Kind::OwnRead => (self.paused, None),
            Kind::Tee | Kind::Pour | Kind::HandOver => {
                (self.swarm.splice && self.swarm.pipes, None)
            }
            Kind::Signal | Kind::Cork | Kind::Shutdown => (self.swarm.trouble, None),
            Kind::Leave | Kind::Close => (self.swarm.trouble, None),
            Kind::Kill => (self.swarm.trouble, Some(Kind::MmapWrite)),
            Kind::ForkWrite => (self.swarm.trouble, Some(Kind::MmapWrite)),
            Kind::SecondWrite => (self.source.pages, Some(Kind::MmapWrite)),
            Kind::Msync | Kind::DropCaches => (self.source.pages, None),
            Kind::Truncate | Kind::Punch => (self.source.cuts, Some(Kind::MmapWrite)),
            Kind::DirectWrite | Kind::ZeroRange | Kind::Collapse => {
                (self.source.ext4, Some(Kind::MmapWrite))
            }
            Kind::Copy => (self.swarm.copies, Some(Kind::Sendfile)),
            Kind::SendfileOn => (self.swarm.onward, Some(Kind::Sendfile)),
            Kind::PipeWrite => (self.swarm.splice && self.swarm.pipes, Some(Kind::MmapWrite)),
            Kind::Await => (self.company.awaits || self.meets, Some(Kind::MmapWrite)),
            Kind::Hold => (self.swarm.hold, Some(Kind::Sendfile)),
            Kind::Release => (self.swarm.hold, Some(Kind::MmapWrite)),
            Kind::Borrow => (self.borrows, Some(Kind::Sendfile)),
            Kind::AwaitCompletions => (self.borrows, Some(Kind::MmapWrite)),
        };
        if on { Some(kind) } else { instead }
    }

    fn push(&mut self, actor: Actor, op: Op) {
        self.steps.push(Step { actor, op });
    }

    fn actor(&self, genes: &OpGenes) -> Actor {
        match (self.swarm.actors, genes.actor) {
            (false, _) | (true, 0 | 1) => Actor::A,
            (true, 2) => Actor::B,
            (true, _) => Actor::C,
        }
    }

    /// Who sends what needs no pipe.
    fn sender(&self, genes: &OpGenes) -> Actor {
        match (self.swarm.senders || self.company.each, genes.back) {
            (true, 2) => Actor::B,
            (true, 3) => Actor::C,
            _ => Actor::A,
        }
    }

    /// `b`, or the one who sends.
    fn actor_beside(&self, genes: &OpGenes) -> Actor {
        if genes.actor == 0 { Actor::A } else { Actor::B }
    }

    /// A direction, and half of the time a number of packets.
    fn passing(&self, genes: &OpGenes) -> (Way, Option<u32>) {
        let way = if genes.back < 2 { Way::Ack } else { Way::Data };
        let draw = genes.len % total(tables::PASSING_PACKETS);
        let packets = pick(tables::PASSING_PACKETS, draw);
        (way, (genes.back % 2 == 1).then_some(packets))
    }

    /// The link itself, most often.
    fn at_link(&self, genes: &OpGenes) -> Actor {
        match (self.swarm.actors, genes.actor) {
            (true, 2) => Actor::B,
            (true, 3) => Actor::A,
            _ => Actor::Link,
        }
    }

    /// What is held is held until those who wait for it have given up.
    fn release_late(&mut self, genes: &OpGenes, way: Way) {
        let us = pick(tables::LATE_US, genes.aim % total(tables::LATE_US));
        // Who else has least to do, as all that it is to do later waits for this.
        self.push(Actor::C, Op::Wait { us });
        self.push(Actor::C, Op::Release { way, packets: None });
    }

    /// Somebody writes to the whole file, when packets are halfway to the receiver.
    fn write_in_flight(&mut self, genes: &OpGenes) {
        let trips_us = self.round_trip_us * u64::from(1 + genes.offset % 4);
        let us = trips_us + self.way_us / 2;
        let all = Range {
            offset: 0,
            len: self.size_bytes,
        };
        self.push(Actor::B, Op::Wait { us });
        self.push(Actor::B, Op::MmapWrite(all));
    }
}
