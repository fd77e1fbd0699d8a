//! The operations.

use super::rule::{Line, Notes, Rule};
use crate::scenario::limits::*;
use crate::scenario::{
    Actor, DeviceKind, FileKind, Filling, Op, PAGE_BYTES, Range, ReaderMode, Setup, Step, Way,
};

/// Makes `steps` runnable under `setup`, which is normalized already.
pub fn steps(steps: &[Step], setup: &Setup, notes: &mut Notes) -> Vec<Step> {
    let size_bytes = setup.file.size_bytes;
    let mut pass = Pass {
        setup,
        extent_bytes: size_bytes,
        last_extent_bytes: steps.iter().fold(size_bytes, |extent, step| match step.op {
            Op::Truncate { size_bytes } => extent.max(size_bytes.min(MAX_TRUNCATE_BYTES)),
            _ => extent,
        }),
        notes,
        kept: Vec::with_capacity(steps.len().clamp(1, MAX_OPS)),
        budget_bytes: MAX_SENT_BYTES,
        has_pipe: false,
        has_spliced_in: false,
        has_borrowed: false,
        has_teed: false,
        reader_gone: false,
        has_killed: false,
        cuts: (steps.iter()).any(|step| matches!(step.op, Op::Truncate { .. })),
        has_collapsed: false,
        holds: steps.iter().any(
            |step| matches!(step.op, Op::Hold { way, .. } if cannot_hold(way, setup).is_none()),
        ),
        held: [false; 2],
        senders: Actor::SENDING_SIDE.map(|actor| {
            let by = |step: &Step| match (step.actor, step.op) {
                (_, Op::SendfileOn { .. }) => Actor::A,
                (actor @ (Actor::B | Actor::C), op) if !op.uses_pipe() => actor,
                _ => Actor::A,
            };
            let sends = |step: &Step| by(step) == actor && step.op.sends();
            steps.iter().any(sends)
        }),
    };
    for (index, step) in steps.iter().enumerate() {
        pass.step(index, *step);
    }
    let mut kept = pass.kept;
    if kept.is_empty() {
        notes.push(Line::Whole, "", Rule::NoOps);
        let whole_file = Range {
            offset: 0,
            len: setup.file.size_bytes,
        };
        kept.push(Step {
            actor: Actor::A,
            op: Op::Sendfile(whole_file),
        });
    }
    kept
}

/// Why nothing of a direction can be held.
fn cannot_hold(way: Way, setup: &Setup) -> Option<Rule> {
    let family = setup.socket.family;
    let netem = match way {
        Way::Data => &setup.data,
        Way::Ack => &setup.ack,
    };
    match way {
        _ if !family.passes_link() => Some(Rule::LinkNotPassed),
        _ if setup.device.kind == DeviceKind::Loopback => Some(Rule::LoopbackHasNoQueue),
        Way::Ack if !family.is_acknowledged() => Some(Rule::NothingComesBack),
        _ if netem.duplicate_ppm > 0 || netem.reorder_ppm > 0 => Some(Rule::HoldShuffled),
        _ => None,
    }
}

/// One pass over the operations, in list order.
struct Pass<'a> {
    setup: &'a Setup,
    notes: &'a mut Notes,
    /// The largest size that the file has had in list order so far.
    extent_bytes: u64,
    /// The largest that it gets. Other threads can be late with what stands above, so
    /// a send can meet it.
    last_extent_bytes: u64,
    kept: Vec<Step>,
    budget_bytes: u64,
    has_pipe: bool,
    has_spliced_in: bool,
    /// Whether something was sent by reference.
    has_borrowed: bool,
    has_teed: bool,
    reader_gone: bool,
    has_killed: bool,
    /// Whether any of the operations truncates.
    cuts: bool,
    has_collapsed: bool,
    /// Whether any of the operations holds packets.
    holds: bool,
    /// Which directions are held so far.
    held: [bool; 2],
    /// Which of the actors send.
    senders: [bool; 3],
}

impl Pass<'_> {
    fn step(&mut self, index: usize, step: Step) {
        let line = Line::Step(index);
        if self.kept.len() == MAX_OPS {
            self.notes.push(line, "", Rule::OpCount);
            return;
        }
        let actor = self.actor(line, step);
        // What is done at the receiver's end.
        let is_readers = actor == Actor::Reader || matches!(step.op, Op::Read { .. });
        let op = match step.op {
            Op::Shutdown | Op::Reset | Op::Close | Op::Cork { .. } | Op::Kill { .. }
                if !self.is_plain_tcp() =>
            {
                self.drop(line, Rule::PlainTcp)
            }
            Op::Sendfile(range) => {
                let (most, rule) = (MAX_SENDFILE_COUNT_BYTES, Rule::SendfileCount);
                match self.at_most(line, range.len, most, rule) {
                    0 => self.drop(line, Rule::Nothing),
                    len => self.within_budget(line, Range { len, ..range }),
                }
                .map(Op::Sendfile)
            }
            Op::SendfileOn { len } => {
                // It ends where the file ends, wherever it begins.
                let most = Range { offset: 0, len };
                let sent = self.send(line, most);
                sent.map(|range| Op::SendfileOn { len: range.len })
            }
            Op::Copy { by, range } => {
                let inside = self.inside(line, range, Rule::MapInside);
                let range = self.send(line, inside);
                range.map(|range| Op::Copy { by, range })
            }
            Op::Borrow { by, range } => {
                let inside = self.inside(line, range, Rule::MapInside);
                let range = self.send(line, inside);
                self.has_borrowed |= range.is_some();
                range.map(|range| Op::Borrow { by, range })
            }
            Op::AwaitCompletions if !self.has_borrowed => self.drop(line, Rule::NothingToAwait),
            Op::SpliceIn { range, by } => self.splice_in(line, range, by),
            Op::Vmsplice { range, gift } => {
                let filled = self.fill_mapped(line, range);
                filled.map(|range| Op::Vmsplice { range, gift })
            }
            Op::PipeWrite { range, tee: true } => {
                let inside = self.inside(line, range, Rule::MapInside);
                let range = self.send(line, inside);
                self.has_teed |= range.is_some();
                range.map(|range| Op::PipeWrite { range, tee: true })
            }
            Op::PipeWrite { range, tee } => {
                let filled = self.fill_mapped(line, range);
                filled.map(|range| Op::PipeWrite { range, tee })
            }
            Op::Tee { .. } | Op::Pour { .. } | Op::SpliceOut { tee: false, .. }
                if !self.has_spliced_in =>
            {
                self.drop(line, Rule::NothingToSplice)
            }
            Op::SpliceOut { tee: true, .. } if !self.has_teed => self.drop(line, Rule::NothingTeed),
            Op::SpliceOut {
                len,
                more,
                nonblock,
                tee,
                move_pages,
            } => self.count(line, len).map(|len| Op::SpliceOut {
                len,
                more,
                nonblock,
                tee,
                move_pages,
            }),
            Op::Tee { len } => {
                let len = self.count(line, len);
                self.has_teed |= len.is_some();
                len.map(|len| Op::Tee { len })
            }
            Op::Pour { len } => {
                let len = self.count(line, len);
                self.has_teed |= len.is_some();
                len.map(|len| Op::Pour { len })
            }
            Op::Pipe { capacity_bytes } => Some(self.pipe(line, capacity_bytes)),
            Op::MmapWrite(range) => self.write(line, range).map(Op::MmapWrite),
            Op::Pwrite(range) => self.write(line, range).map(Op::Pwrite),
            Op::ForkWrite(range) => self.write(line, range).map(Op::ForkWrite),
            Op::SecondWrite(range) => self.write(line, range).map(Op::SecondWrite),
            op if op.needs_ext4() && self.setup.file.kind != FileKind::Ext4 => {
                self.drop(line, Rule::NeedsExt4)
            }
            Op::Punch(range) => self.write(line, range).map(Op::Punch),
            Op::ZeroRange(range) => self.write(line, range).map(Op::ZeroRange),
            Op::Collapse(range) => self.collapse(line, range).map(Op::Collapse),
            Op::DirectWrite(range) => self.direct_write(line, range).map(Op::DirectWrite),
            Op::Truncate { size_bytes } => Some(self.truncate(line, size_bytes)),
            Op::Close if actor != Actor::Reader => match self.setup.reader {
                ReaderMode::Drain if self.holds => self.drop(line, Rule::CloseNeedsNoHold),
                ReaderMode::Drain => Some(step.op),
                ReaderMode::Paused => self.drop(line, Rule::CloseNeedsDrain),
            },
            Op::Hold { way, after_packets } => self.hold(line, way, after_packets),
            Op::Release { way, packets } => self.release(line, way, packets),
            _ if is_readers && self.setup.reader != ReaderMode::Paused => {
                self.drop(line, Rule::ReadNeedsPause)
            }
            _ if is_readers && self.reader_gone => self.drop(line, Rule::ReaderGone),
            Op::Reset | Op::Close | Op::Shutdown if is_readers && self.setup.relay => {
                self.drop(line, Rule::RelayStays)
            }
            Op::Reset | Op::Close => {
                self.reader_gone = true;
                Some(step.op)
            }
            Op::Signal { to } | Op::Kill { to }
                if to == actor || !Actor::SENDING_SIDE.contains(&to) =>
            {
                self.drop(line, Rule::SignalOther)
            }
            Op::Await { who } if who == actor || !Actor::SENDING_SIDE.contains(&who) => {
                self.drop(line, Rule::AwaitOther)
            }
            Op::Meet { who, .. } if who == actor || !Actor::SENDING_SIDE.contains(&who) => {
                self.drop(line, Rule::AwaitOther)
            }
            Op::Meet { .. } if self.has_just_met(actor) => self.drop(line, Rule::MeetOnce),
            Op::Meet { who, after_ns } => {
                if after_ns > MAX_PHASE_NS {
                    self.notes.push(line, "after", Rule::Phase);
                }
                let after_ns = after_ns.min(MAX_PHASE_NS);
                Some(Op::Meet { who, after_ns })
            }
            Op::Kill { .. } if self.has_killed => self.drop(line, Rule::KillOnce),
            Op::Kill { to } if self.others_send(to) => self.drop(line, Rule::KillOnlySender),
            Op::Kill { .. } => {
                self.has_killed = true;
                Some(step.op)
            }
            Op::Shutdown | Op::Signal { .. } | Op::Cork { .. } => Some(step.op),
            Op::Msync | Op::DropCaches | Op::Await { .. } | Op::AwaitCompletions => Some(step.op),
            Op::Read { len } => self.count(line, len).map(|len| Op::Read { len }),
            Op::Wait { us: 0 } => self.drop(line, Rule::Nothing),
            Op::Wait { us } => Some(Op::Wait {
                us: self.at_most(line, us, MAX_WAIT_US, Rule::Wait),
            }),
        };
        if let Some(op) = op {
            self.kept.push(Step { actor, op });
        }
    }

    /// Whether an actor has met another one and is yet to begin what it met it for.
    fn has_just_met(&self, actor: Actor) -> bool {
        let mut before = self.kept.iter().rev();
        let last = before.find(|step| step.actor == actor);
        last.is_some_and(|step| matches!(step.op, Op::Meet { .. }))
    }

    /// Who performs it. What is in the pipes must be known, so they are `a`'s; the
    /// reader's end is the reader's alone.
    fn actor(&mut self, line: Line, Step { actor, op }: Step) -> Actor {
        let (right, rule) = match op {
            _ if op.uses_pipe() => (Actor::A, Rule::OnlyAPipes),
            Op::SendfileOn { .. } => (Actor::A, Rule::OnlyAGoesOn),
            Op::Reset => (Actor::Reader, Rule::OnlyReaderResets),
            _ if op.way().is_some() => match actor {
                Actor::Reader => (Actor::Link, Rule::ReaderOnlyReads),
                other => return other,
            },
            _ if actor == Actor::Link => (op.usual_actor(), Rule::OnlyLinkHolds),
            Op::Shutdown | Op::Close | Op::Read { .. } => return actor,
            Op::Sendfile(_) | Op::Copy { .. } | Op::Borrow { .. }
                if !self.is_plain_tcp() && !self.setup.socket.each =>
            {
                (Actor::A, Rule::PlainTcp)
            }
            _ => match actor {
                Actor::Reader => (Actor::A, Rule::ReaderOnlyReads),
                other => return other,
            },
        };
        if actor != right {
            self.notes.push(line, "actor", rule);
        }
        right
    }

    fn hold(&mut self, line: Line, way: Way, after_packets: u32) -> Option<Op> {
        if let Some(rule) = cannot_hold(way, self.setup) {
            return self.drop(line, rule);
        }
        if std::mem::replace(&mut self.held[way as usize], true) {
            return self.drop(line, Rule::HeldAlready);
        }
        let after_packets = self.packets(line, "after", after_packets);
        Some(Op::Hold { way, after_packets })
    }

    fn release(&mut self, line: Line, way: Way, packets: Option<u32>) -> Option<Op> {
        if !self.held[way as usize] {
            return self.drop(line, Rule::NotHeld);
        }
        if packets == Some(0) {
            return self.drop(line, Rule::Nothing);
        }
        self.held[way as usize] = packets.is_some();
        let packets = packets.map(|packets| self.packets(line, "packets", packets));
        Some(Op::Release { way, packets })
    }

    fn packets(&mut self, line: Line, key: &'static str, packets: u32) -> u32 {
        if packets > MAX_PASSING_PACKETS {
            self.notes.push(line, key, Rule::Passing);
        }
        packets.min(MAX_PASSING_PACKETS)
    }

    fn others_send(&self, to: Actor) -> bool {
        let mut senders = Actor::SENDING_SIDE.iter().zip(self.senders);
        senders.any(|(&actor, sends)| sends && actor != to)
    }

    fn is_plain_tcp(&self) -> bool {
        self.setup.socket.family.is_plain_tcp()
    }

    fn drop<T>(&mut self, line: Line, rule: Rule) -> Option<T> {
        self.notes.push(line, "", rule);
        None
    }

    fn at_most(&mut self, line: Line, value: u64, most: u64, rule: Rule) -> u64 {
        if value > most {
            self.notes.push(line, "", rule);
        }
        value.min(most)
    }

    fn count(&mut self, line: Line, len: u64) -> Option<u64> {
        if len == 0 {
            return self.drop(line, Rule::Nothing);
        }
        Some(self.at_most(line, len, MAX_COUNT_BYTES, Rule::Count))
    }

    /// A range that is sent. It may begin or end past the end of the file, which
    /// is how a count past the end is asked for; only what lies inside is paid
    /// for.
    fn send(&mut self, line: Line, range: Range) -> Option<Range> {
        let len = self.count(line, range.len)?;
        self.within_budget(line, Range { len, ..range })
    }

    fn within_budget(&mut self, line: Line, range: Range) -> Option<Range> {
        let offset = self.at_most(line, range.offset, MAX_OFFSET_BYTES, Rule::Offset);
        let mut len = range.len;
        let inside = len.min(self.last_extent_bytes.saturating_sub(offset));
        if inside > self.budget_bytes {
            self.notes.push(line, "", Rule::Budget);
            len = self.budget_bytes;
        }
        self.budget_bytes -= inside.min(self.budget_bytes);
        (len > 0).then_some(Range { offset, len })
    }

    /// A write may make the file as long as it was at its longest, and no longer: how
    /// long it is says what a send past the end means.
    fn write(&mut self, line: Line, range: Range) -> Option<Range> {
        if range.len == 0 {
            return self.drop(line, Rule::Nothing);
        }
        Some(self.inside(line, range, Rule::WriteInside))
    }

    /// How long the file is stays known where it is the only one that changes that. What
    /// it takes out are whole blocks, of which none is the last.
    fn collapse(&mut self, line: Line, range: Range) -> Option<Range> {
        if self.cuts || self.has_collapsed {
            return self.drop(line, Rule::CollapseAlone);
        }
        if range.len == 0 {
            return self.drop(line, Rule::Nothing);
        }
        let blocks = (self.setup.file.size_bytes - 1) / PAGE_BYTES;
        if blocks == 0 {
            return self.drop(line, Rule::WholeBlocks);
        }
        let first = (range.offset / PAGE_BYTES).min(blocks - 1);
        let end = range.end().div_ceil(PAGE_BYTES).clamp(first + 1, blocks);
        let whole = Range {
            offset: first * PAGE_BYTES,
            len: (end - first) * PAGE_BYTES,
        };
        if whole != range {
            self.notes.push(line, "", Rule::WholeBlocks);
        }
        self.has_collapsed = true;
        Some(whole)
    }

    /// What passes the page cache is in whole sectors.
    fn direct_write(&mut self, line: Line, range: Range) -> Option<Range> {
        let Range { offset, len } = self.write(line, range)?;
        let sectors = |bytes: u64| bytes / SECTOR_BYTES * SECTOR_BYTES;
        let end = sectors(self.extent_bytes).min((offset + len).next_multiple_of(SECTOR_BYTES));
        let offset = sectors(offset).min(end.saturating_sub(SECTOR_BYTES));
        let whole = Range {
            offset,
            len: end - offset,
        };
        if whole.len == 0 {
            return self.drop(line, Rule::WholeSectors);
        }
        if whole != range {
            self.notes.push(line, "", Rule::WholeSectors);
        }
        Some(whole)
    }

    fn truncate(&mut self, line: Line, size_bytes: u64) -> Op {
        let size_bytes = self.at_most(line, size_bytes, MAX_TRUNCATE_BYTES, Rule::Truncate);
        self.extent_bytes = self.extent_bytes.max(size_bytes);
        Op::Truncate { size_bytes }
    }

    /// What of a range lies inside the file, by `rule`.
    fn inside(&mut self, line: Line, range: Range, rule: Rule) -> Range {
        let size_bytes = self.extent_bytes;
        let offset = range.offset.min(size_bytes - 1);
        let inside = Range {
            offset,
            len: range.len.min(size_bytes - offset),
        };
        if inside != range {
            self.notes.push(line, "", rule);
        }
        inside
    }

    fn pipe(&mut self, line: Line, capacity_bytes: u32) -> Op {
        let clamped = capacity_bytes.clamp(*PIPE_BYTES.start(), *PIPE_BYTES.end());
        if clamped != capacity_bytes {
            self.notes.push(line, "capacity", Rule::PipeCapacity);
        }
        self.has_pipe = true;
        Op::Pipe {
            capacity_bytes: clamped,
        }
    }

    fn splice_in(&mut self, line: Line, range: Range, by: Filling) -> Option<Op> {
        let range = self.send(line, range)?;
        self.fill(line).then_some(Op::SpliceIn { range, by })
    }

    /// Unlike a send, a mapping cannot reach past the end of the file.
    fn fill_mapped(&mut self, line: Line, range: Range) -> Option<Range> {
        let inside = self.inside(line, range, Rule::MapInside);
        let range = self.send(line, inside)?;
        self.fill(line).then_some(range)
    }

    /// Makes sure that there is a pipe to fill; false: there is no room for it.
    fn fill(&mut self, line: Line) -> bool {
        if !self.has_pipe {
            self.notes.push(line, "", Rule::NeedsPipe);
            if self.kept.len() + 2 > MAX_OPS {
                return false;
            }
            self.kept.push(Step {
                actor: Actor::A,
                op: Op::Pipe {
                    capacity_bytes: DEFAULT_PIPE_BYTES,
                },
            });
            self.has_pipe = true;
        }
        self.has_spliced_in = true;
        true
    }
}
