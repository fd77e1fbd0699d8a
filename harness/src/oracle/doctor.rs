//! Test support: histories written by hand, call by call, so that each test says
//! when everything happened and what is wrong with it.

use crate::history::{
    Call, Chunk, Completed, Completion, End, History, Outcome, Stamp, Stream, fill,
};
use crate::scenario::{Actor, Op, Range, Scenario, Step};

/// Virtual nanoseconds between two orders.
pub const TICK_NS: u64 = 1_000;

pub fn stamp(order: u64) -> Stamp {
    Stamp {
        order,
        time_ns: order * TICK_NS,
    }
}

pub fn range(offset: u64, len: u64) -> Range {
    Range { offset, len }
}

/// A scenario and what happened in it. The file is pristine but for the writes
/// that are applied in the order of the calls.
pub struct Plan {
    pub scenario: Scenario,
    pub history: History,
}

impl Plan {
    /// `a` sends the first page from 1 to 4, `b` the second one from 2 to 5; each arrives
    /// on its own connection, whole.
    pub fn of_two_connections() -> Plan {
        let mut plan = Plan::new(8192);
        plan.scenario.setup.socket.each = true;
        plan.call(Op::Sendfile(range(0, 4096)), 1, 4);
        plan.call(Op::Sendfile(range(4096, 4096)), 2, 5);
        plan.scenario.steps[1].actor = Actor::B;
        plan.receive(6, range(4096, 4096), 0);
        plan.arrived_beside(Actor::B);
        plan.receive(7, range(0, 4096), 0);
        plan
    }

    pub fn new(file_bytes: u64) -> Plan {
        let mut scenario = Scenario::default();
        scenario.setup.file.size_bytes = file_bytes;
        let mut file_pread = vec![0; file_bytes as usize];
        fill(&mut file_pread, 0, 0);
        Plan {
            scenario,
            history: History {
                calls: Vec::new(),
                completions: Vec::new(),
                chunks: Vec::new(),
                received: Vec::new(),
                file_mmap: Vec::new(),
                file_pread,
                end: End::Eof,
                end_ns: 0,
                beside: Vec::new(),
                counters: None,
                leftovers: None,
                by_the_clock: false,
            },
        }
    }

    /// A step that is called at one order, returns at another, and does all that
    /// it is asked. The result is there to be doctored.
    pub fn call(&mut self, op: Op, entry: u64, exit: u64) -> &mut Call {
        let step = self.scenario.steps.len();
        let actor = Actor::A;
        self.scenario.steps.push(Step { actor, op });
        let (moved, offset) = match op {
            Op::Sendfile(range) | Op::SpliceIn { range, .. } => (range.len, Some(range.end())),
            Op::MmapWrite(range)
            | Op::Pwrite(range)
            | Op::DirectWrite(range)
            | Op::ForkWrite(range)
            | Op::SecondWrite(range) => (range.len, None),
            Op::SpliceOut { len, .. } | Op::Read { len } => (len, None),
            Op::Tee { len } | Op::Pour { len } => (len, None),
            Op::Borrow { range, .. } => (range.len, None),
            Op::Copy { range, .. } | Op::Vmsplice { range, .. } | Op::PipeWrite { range, .. } => {
                (range.len, None)
            }
            Op::SendfileOn { len } => (len, None),
            Op::Pipe { capacity_bytes } => (capacity_bytes.into(), None),
            _ => (0, None),
        };
        if let (Some(range), Some(generation)) = (op.writes(), self.scenario.generation(step)) {
            let file = &mut self.history.file_pread;
            if let Op::Collapse(range) = op {
                file.drain(range.offset as usize..range.end() as usize);
            }
            let end = match op {
                Op::Truncate { size_bytes } => size_bytes,
                Op::Pwrite(range) | Op::DirectWrite(range) => range.end().max(file.len() as u64),
                _ => file.len() as u64,
            };
            file.resize(end as usize, 0);
            let bytes = range.offset.min(end) as usize..range.end().min(end) as usize;
            match op {
                Op::Collapse(_) => {}
                _ if op.zeroes() => file[bytes].fill(0),
                _ => fill(&mut file[bytes], range.offset, generation),
            }
        }
        let position = super::position::last(&self.scenario, &self.history).unwrap_or(0);
        self.history.calls.push(Call {
            step,
            entry: stamp(entry),
            exit: stamp(exit),
            outcome: Outcome::Returned(moved),
            offset_after: offset,
            f_pos_after: match op {
                Op::SendfileOn { len } => Some(position + len),
                _ => offset.map(|_| position),
            },
        });
        self.history.end_ns = self.history.end_ns.max((exit + 1) * TICK_NS);
        self.history.calls.last_mut().unwrap()
    }

    /// The receiver gets a range of the file as a generation left it.
    pub fn receive(&mut self, order: u64, from: Range, generation: u8) {
        let mut bytes = vec![0; from.len as usize];
        fill(&mut bytes, from.offset, generation);
        self.history.chunks.push(Chunk {
            at: stamp(order),
            start: self.history.received.len(),
            len: bytes.len(),
        });
        self.history.received.extend(bytes);
        self.history.end_ns = self.history.end_ns.max((order + 1) * TICK_NS);
    }

    /// What was received so far came by the connection of `actor`.
    pub fn arrived_beside(&mut self, actor: Actor) {
        self.history.beside.push(Stream {
            actor,
            chunks: std::mem::take(&mut self.history.chunks),
            received: std::mem::take(&mut self.history.received),
            end: End::Eof,
            end_ns: self.history.end_ns,
            completions: std::mem::take(&mut self.history.completions),
        });
    }

    /// The kernel is done with the pages of these calls with MSG_ZEROCOPY.
    pub fn complete(&mut self, order: u64, first: u32, last: u32) {
        let copied = false;
        self.tell(
            order,
            Completed::Sends {
                first,
                last,
                copied,
            },
        );
    }

    /// The kernel tells something about a send by reference.
    pub fn tell(&mut self, order: u64, of: Completed) {
        let at = stamp(order);
        self.history.completions.push(Completion { at, of });
    }

    pub fn scenario(&self) -> Scenario {
        self.scenario.clone()
    }

    pub fn history(&self) -> History {
        self.history.clone()
    }

    /// What `judge` says under the stable contract: the properties' names.
    pub fn verdict(&self) -> Vec<String> {
        self.violations()
            .iter()
            .map(|v| v.property.to_string())
            .collect()
    }

    pub fn violations(&self) -> Vec<super::Violation> {
        super::judge(super::Contract::Stable, &self.scenario, &self.history)
    }

    /// The only violation.
    #[track_caller]
    pub fn violation(&self) -> super::Violation {
        let mut all = self.violations();
        assert_eq!(all.len(), 1, "{all:#?}");
        all.remove(0)
    }
}
