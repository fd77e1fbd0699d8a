//! How large a scenario is.

use super::knobs::{FIELDS, Knob, rank, read};
use crate::scenario::{Actor, Filling, Op, Scenario, Step};

/// How large a scenario is, for a reader: what stands further up weighs more
/// than all that stands below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Operations.
    pub steps: usize,
    /// Fields of the setup that are not what they are by default.
    pub fields: usize,
    /// Actors other than the first, one for each step, more for later ones.
    pub actors: u64,
    /// Flags of operations.
    pub flags: usize,
    /// The lengths of all operations.
    pub bytes: u128,
    /// Their offsets.
    pub offsets: u128,
    /// Pipe capacities, waits and packets, and the fields of the setup.
    pub numbers: u128,
    /// Pairs of operations that do not stand in the usual order: pipe, fill,
    /// send, write, what disturbs, wait, read; a hold first, a release late.
    pub inversions: usize,
}

impl Size {
    /// Measures a scenario.
    pub fn of(scenario: &Scenario) -> Size {
        let steps = &scenario.steps;
        let sum = |knob: Knob| -> u128 {
            let values = steps.iter().filter_map(|step| read(step.op, knob));
            values.map(u128::from).sum()
        };
        let changed: Vec<u128> = FIELDS
            .iter()
            .filter(|field| !field.is_default(&scenario.setup))
            .map(|field| (field.get)(&scenario.setup).into())
            .collect();
        let flags = |op: Op| match op {
            Op::SpliceOut {
                more,
                nonblock,
                tee,
                move_pages,
                ..
            } => [more, nonblock, tee, move_pages]
                .map(usize::from)
                .iter()
                .sum(),
            Op::SpliceIn { by, .. } => usize::from(by != Filling::Splice),
            // A store is the plainest write; others do the same and something else.
            Op::Pwrite(_) => 1,
            Op::ForkWrite(_) | Op::SecondWrite(_) | Op::DirectWrite(_) => 2,
            Op::ZeroRange(_) | Op::Collapse(_) | Op::Punch(_) | Op::Truncate { .. } => 2,
            // More to understand than a splice.
            Op::Vmsplice { gift, .. } => 1 + usize::from(gift),
            // So is what a plain sendfile or splice does as well.
            Op::Copy { by, .. } => 1 + by as usize,
            Op::Borrow { by, .. } => 1 + by as usize,
            Op::PipeWrite { tee, .. } => 1 + usize::from(tee),
            // A tee leaves what it takes.
            Op::SendfileOn { .. } | Op::Pour { .. } => 1,
            Op::Release { packets, .. } => usize::from(packets.is_some()),
            _ => 0,
        };
        let inversions = (0..steps.len())
            .flat_map(|first| (first + 1..steps.len()).map(move |second| (first, second)))
            .filter(|&(first, second)| place(steps[first].op) > place(steps[second].op))
            .count();
        Size {
            steps: steps.len(),
            fields: changed.len(),
            actors: steps.iter().map(rank_of).sum(),
            flags: steps.iter().map(|step| flags(step.op)).sum(),
            bytes: sum(Knob::Len),
            offsets: sum(Knob::Offset),
            numbers: sum(Knob::Capacity)
                + sum(Knob::Wait)
                + sum(Knob::Phase)
                + sum(Knob::Packets)
                + changed.iter().sum::<u128>(),
            inversions,
        }
    }
}

/// How far who performs a step is from who does so where nothing else is said.
fn rank_of(step: &Step) -> u64 {
    let by_hand = step.op.way().is_some() && step.actor != Actor::Link;
    rank(step.actor) + u64::from(by_hand)
}

/// Where an operation stands in the usual order.
pub(super) fn place(op: Op) -> u8 {
    match op {
        Op::Pipe { .. } | Op::Hold { .. } => 0,
        Op::SpliceIn { .. } | Op::PipeWrite { .. } | Op::Vmsplice { .. } => 1,
        Op::Tee { .. } | Op::Pour { .. } => 1,
        Op::Sendfile(_) | Op::SendfileOn { .. } | Op::Copy { .. } | Op::SpliceOut { .. } => 2,
        Op::Borrow { .. } | Op::AwaitCompletions => 2,
        Op::MmapWrite(_) | Op::Pwrite(_) | Op::ForkWrite(_) => 3,
        Op::Truncate { .. } | Op::Punch(_) | Op::SecondWrite(_) => 3,
        Op::DirectWrite(_) | Op::ZeroRange(_) | Op::Collapse(_) => 3,
        Op::Msync | Op::DropCaches => 4,
        // Before the write that it holds back.
        Op::Await { .. } | Op::Meet { .. } => 2,
        Op::Signal { .. } | Op::Kill { .. } | Op::Cork { .. } | Op::Shutdown => 4,
        Op::Wait { .. } | Op::Release { .. } => 5,
        Op::Read { .. } | Op::Reset | Op::Close => 6,
    }
}
