//! What the model's kernel decides when a call is made.

use super::{Kernel, Piped, Takes, Work, send};
use crate::history::{Call, Outcome};
use crate::scenario::{Op, Range};

impl Kernel<'_> {
    /// Decides what a call will return, and what it does until then.
    pub(super) fn enter(&mut self, op: Op, call: &mut Call) -> Work {
        let from = call.entry.order;
        let size = self.size;
        let refuses = self.rng.chance(15);
        match op {
            Op::Sendfile(range) if refuses && self.scenario.setup.socket.nonblock => {
                call.outcome = Outcome::Failed(libc::EAGAIN);
                call.offset_after = Some(range.offset);
                Work::Return
            }
            Op::Sendfile(range) => {
                let most = range.len.min(size.saturating_sub(range.offset));
                let len = self.short(most);
                call.outcome = Outcome::Returned(len);
                call.offset_after = Some(range.offset + len);
                send(Range { len, ..range }, from, false)
            }
            Op::SendfileOn { .. } if refuses && self.scenario.setup.socket.nonblock => {
                call.outcome = Outcome::Failed(libc::EAGAIN);
                call.f_pos_after = Some(self.position);
                Work::Return
            }
            Op::SendfileOn { len } => {
                let offset = self.position;
                let len = self.short(len.min(size.saturating_sub(offset)));
                self.position += len;
                call.outcome = Outcome::Returned(len);
                call.f_pos_after = Some(self.position);
                send(Range { offset, len }, from, false)
            }
            Op::Copy { .. } if refuses && self.scenario.setup.socket.nonblock => {
                call.outcome = Outcome::Failed(libc::EAGAIN);
                Work::Return
            }
            Op::Copy { range, .. } => {
                let mapped = self.size.next_multiple_of(4096);
                let most = range.len.min(mapped.saturating_sub(range.offset));
                let len = self.short(most);
                call.outcome = match len {
                    0 => Outcome::Failed(libc::EFAULT),
                    len => Outcome::Returned(len),
                };
                send(Range { len, ..range }, from, true)
            }
            Op::Borrow { by, range } => self.lend(by, range, call, refuses),
            Op::AwaitCompletions => {
                call.outcome = Outcome::Returned(0);
                Work::Await
            }
            Op::Pipe { capacity_bytes } => {
                call.outcome = if self.slots[0].fits(capacity_bytes) {
                    self.slots[0].resize(capacity_bytes);
                    Outcome::Returned(capacity_bytes.into())
                } else {
                    Outcome::Failed(libc::EBUSY)
                };
                Work::Return
            }
            Op::SpliceIn { range, .. } => {
                self.fill(0, range, call, self.style.takes == Takes::WhenFilled);
                Work::Return
            }
            Op::PipeWrite { range, tee } => {
                self.fill(usize::from(tee), range, call, true);
                if call.outcome == Outcome::Returned(0) {
                    call.outcome = Outcome::Skipped;
                }
                (call.offset_after, call.f_pos_after) = (None, None);
                Work::Return
            }
            Op::Vmsplice { range, .. } => {
                let copies = self.style.takes == Takes::WhenFilled;
                self.fill(0, range, call, copies);
                if call.outcome == Outcome::Returned(0) {
                    call.outcome = Outcome::Failed(libc::EFAULT);
                }
                (call.offset_after, call.f_pos_after) = (None, None);
                Work::Return
            }
            Op::Tee { .. } | Op::Pour { .. } if self.pipes[0].is_empty() => {
                call.outcome = Outcome::Skipped;
                Work::Return
            }
            Op::Tee { .. } | Op::Pour { .. } if self.slots[1].may_be_full() => {
                call.outcome = Outcome::Failed(libc::EAGAIN);
                Work::Return
            }
            Op::Tee { len } => {
                let len = self.short(len.min(self.pipes[0].len() as u64));
                call.outcome = Outcome::Returned(len);
                let [first, second] = &mut self.slots;
                first.copy_to(second, len);
                let [first, second] = &mut self.pipes;
                second.extend(first.range(..len as usize));
                Work::Return
            }
            Op::Pour { len } => {
                let len = self.short(len.min(self.pipes[0].len() as u64));
                call.outcome = Outcome::Returned(len);
                let [first, second] = &mut self.slots;
                first.move_to(second, len);
                let [first, second] = &mut self.pipes;
                second.extend(first.drain(..len as usize));
                Work::Return
            }
            Op::SpliceOut { tee, .. } if self.pipes[usize::from(tee)].is_empty() => {
                call.outcome = Outcome::Skipped;
                Work::Return
            }
            Op::SpliceOut { nonblock, .. }
                if refuses && (nonblock || self.scenario.setup.socket.nonblock) =>
            {
                call.outcome = Outcome::Failed(libc::EAGAIN);
                Work::Return
            }
            Op::SpliceOut { len, tee, .. } => {
                let pipe = usize::from(tee);
                let len = self.short(len.min(self.pipes[pipe].len() as u64));
                call.outcome = Outcome::Returned(len);
                self.slots[pipe].drain(len);
                Work::Send(self.pipes[pipe].drain(..len as usize).collect())
            }
            Op::MmapWrite(range)
            | Op::Pwrite(range)
            | Op::DirectWrite(range)
            | Op::ForkWrite(range)
            | Op::SecondWrite(range) => {
                let len = match op {
                    Op::Pwrite(_) | Op::DirectWrite(_) => self.short(range.len),
                    _ => range.len.min(size.saturating_sub(range.offset)),
                };
                call.outcome = match len {
                    0 => Outcome::Skipped,
                    len => Outcome::Returned(len),
                };
                let generation = self.scenario.generation(call.step).unwrap();
                let left = (range.offset..range.offset + len).collect();
                let grows = matches!(op, Op::Pwrite(_) | Op::DirectWrite(_));
                Work::Write {
                    left,
                    generation,
                    grows,
                }
            }
            Op::Truncate { size_bytes } => {
                call.outcome = Outcome::Returned(0);
                let (zeros, size) = (op.writes().unwrap(), size_bytes);
                Work::Cut { zeros, size }
            }
            Op::Punch(zeros) | Op::ZeroRange(zeros) => {
                call.outcome = Outcome::Returned(0);
                Work::Cut { zeros, size }
            }
            Op::Read { len } => {
                call.outcome = Outcome::Returned(0);
                Work::Read { left: len }
            }
            Op::Wait { us } => {
                self.now.time_ns += us * 1_000;
                call.outcome = Outcome::Returned(0);
                Work::Return
            }
            Op::Signal { .. } | Op::Cork { .. } | Op::Msync | Op::DropCaches => {
                call.outcome = Outcome::Returned(0);
                Work::Return
            }
            Op::Shutdown | Op::Reset | Op::Close | Op::Kill { .. } => unreachable!("not drawn"),
            Op::Await { .. } | Op::Meet { .. } | Op::Collapse(_) => unreachable!("not drawn"),
            Op::Hold { .. } | Op::Release { .. } => unreachable!("not drawn"),
        }
    }

    /// All of `most`, or less.
    pub(super) fn short(&mut self, most: u64) -> u64 {
        match most {
            2.. if self.rng.chance(20) => 1 + self.rng.below(most - 1),
            _ => most,
        }
    }

    fn fill(&mut self, pipe: usize, range: Range, call: &mut Call, copies: bool) {
        // A mapping goes on to the end of the page.
        let size = match self.scenario.steps[call.step].op {
            Op::Vmsplice { .. } => self.size.next_multiple_of(4096),
            _ => self.size,
        };
        let end = range.end().min(size);
        let mut at = range.offset;
        // A write fills pages of the pipe's own.
        let from = match self.scenario.steps[call.step].op {
            Op::PipeWrite { .. } => range.offset,
            _ => 0,
        };
        if self.slots[pipe].may_be_full() {
            call.outcome = Outcome::Failed(libc::EAGAIN);
            call.offset_after = Some(at);
            return;
        }
        while at < end && !self.slots[pipe].may_be_full() {
            let part = (4096 - (at - from) % 4096).min(end - at);
            self.slots[pipe].fill(at - from, part);
            for offset in at..at + part {
                self.pipes[pipe].push_back(Piped {
                    offset,
                    value: copies.then(|| self.file[offset as usize]),
                    from: call.entry.order,
                    copied: false,
                    late: false,
                });
            }
            at += part;
        }
        call.outcome = Outcome::Returned(at - range.offset);
        call.offset_after = Some(at);
    }
}
