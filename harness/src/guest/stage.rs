//! What the actors act on, and how one step is performed.

mod beside;
mod done;
mod flags;
mod meeting;
mod pipes;

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::pthread::pthread_kill;
use nix::unistd::{Whence, lseek};

use super::borrowed::Borrowed;
use super::child::{Child, Ended};
use super::clock::Clock;
use super::connection::Sender;
use super::crew::{SIGNAL, Threads};
use super::file::{SentFile, SizeGuard};
use super::link::Queues;
use super::mailbox::Mailbox;
use super::observed;
use super::reader::Read;
use super::run::RESCUE;
use crate::engine;
use crate::history::{Call, Outcome, Stamp};
use crate::oracle::AWAIT_NS;
use crate::scenario::{Actor, Borrowing, Copying, FileKind, Op, Range, Scenario};
pub use beside::Beside;
use done::{Done, change, done, failed, outcome, returned, skipped, status, turned};
pub use meeting::Meeting;
use pipes::{UserPipe, second};

/// What is written there is what the kernel gives back: 1 is the page cache.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Where poll(2) says that there is room, so many calls in a row may find none.
const MOST_IN_VAIN: u32 = 100;

/// Everything on the sender's side of one scenario.
#[derive(Debug)]
pub struct Stage {
    /// The scenario, normalized.
    pub scenario: Scenario,
    /// Stamps for everybody.
    pub clock: std::sync::Arc<Clock>,
    /// The file that is sent.
    pub file: SentFile,
    /// The sending socket.
    pub sender: Sender,
    /// The connections of the others, where they have their own.
    pub beside: Vec<Beside>,
    /// The user pipe and what is in it. Only actor A uses it; the lock is there
    /// to say so to the compiler.
    pub pipe: Mutex<Option<UserPipe>>,
    /// The second pipe, which `tee` fills.
    pub second_pipe: Mutex<Option<UserPipe>>,
    /// Whom a signal goes to.
    pub threads: Threads,
    /// The step that each actor has entered last, and when.
    pub entered: [Mutex<Option<(usize, Stamp)>>; 3],
    /// Where each actor that awaits another one is told, for which step, whether that
    /// one is blocked.
    pub awaited: [Mailbox<(usize, bool)>; 3],
    /// Where each actor meets another one.
    pub meetings: [Meeting; 3],
    /// Who sends for an actor that is to be killed.
    pub child: Child,
    /// Whether it was.
    pub killed: AtomicBool,
    /// What was sent by reference.
    pub borrowed: Borrowed,
    /// What holds packets.
    pub queues: Option<Arc<Queues>>,
    /// What the reader is told to do; `None`: it needs no telling.
    pub orders: Option<Arc<Mailbox<Read>>>,
}

impl Stage {
    /// False where nothing holds packets.
    fn with_queues(&self, act: impl FnOnce(&Queues) -> io::Result<bool>) -> io::Result<bool> {
        self.queues.as_deref().map_or(Ok(false), act)
    }

    /// Performs one step and adds what happened to `calls`. Blocks as long as the system
    /// call does.
    pub fn perform(&self, step: usize, calls: &mut Vec<Call>) {
        let op = self.scenario.steps[step].op;
        match self.scenario.setup.socket.poll && op.sends() {
            true => self.perform_all(step, op, calls),
            false => calls.push(self.call(step, op)),
        }
    }

    /// A send and, as long as it leaves something, another one for the rest when
    /// poll(2) says that there is room.
    fn perform_all(&self, step: usize, op: Op, calls: &mut Vec<Call>) {
        let mut rest = op;
        // For a socket that always has room and never takes anything.
        let mut patience = MOST_IN_VAIN;
        while patience > 0 {
            let call = self.call(step, rest);
            calls.push(call);
            match call.outcome {
                Outcome::Failed(libc::EAGAIN) => patience -= 1,
                Outcome::Returned(bytes @ 1..) => {
                    let Some(left) = rest.after(bytes) else {
                        return;
                    };
                    (rest, patience) = (left, MOST_IN_VAIN);
                }
                _ => return,
            }
            let entered = &self.entered[self.scenario.steps[step].actor.index()];
            *lock(entered) = Some((step, self.clock.stamp_at_entry()));
            let actor = self.scenario.steps[step].actor;
            let sender = self.sender_of(actor);
            sender.await_room();
            // A completion to be read wakes poll(2) as well, and not in vain.
            while self.scenario.borrows(Borrowing::Send)
                && self.borrowed_of(actor).look(sender, &self.clock)
            {
                sender.await_room();
            }
            *lock(entered) = None;
        }
    }

    /// One system call of a step.
    fn call(&self, step: usize, op: Op) -> Call {
        let actor = self.scenario.steps[step].actor;
        let entry = self.enter(actor);
        // What the link does never blocks.
        let entered = (actor != Actor::Link).then(|| &self.entered[actor.index()]);
        if let Some(entered) = entered {
            *lock(entered) = Some((step, entry));
        }
        let done = match op {
            Op::Sendfile(range) if self.scenario.kills(actor) => self.send_by_child(|| {
                let (result, offset) = self.call_sendfile(self.sender_of(actor), range);
                (result, Some(offset))
            }),
            Op::SendfileOn { len } if self.scenario.kills(actor) => {
                self.send_by_child(|| (self.call_sendfile_on(len), None))
            }
            Op::Copy { by, range } if self.scenario.kills(actor) => {
                self.send_by_child(|| (self.call_copy(self.sender_of(actor), by, range), None))
            }
            Op::SpliceOut { .. } if self.killed.load(Ordering::SeqCst) => skipped(),
            Op::Sendfile(range) => self.sendfile(self.sender_of(actor), range),
            Op::SendfileOn { len } => done(outcome(self.call_sendfile_on(len))),
            Op::Copy { by, range } => {
                done(outcome(self.call_copy(self.sender_of(actor), by, range)))
            }
            Op::Borrow { by, range } => self.lend(actor, by, range, entry),
            Op::AwaitCompletions => returned(self.await_completions(actor)),
            Op::Pipe { capacity_bytes } => self.set_pipe(capacity_bytes),
            Op::SpliceIn { range, by } => self.fill(range, by, flags::of(op)),
            Op::SpliceOut { len, tee, .. } => {
                let from = if tee { &self.second_pipe } else { &self.pipe };
                self.splice_out(&mut lock(from), len, flags::of(op))
            }
            Op::Tee { len } => self.tee(len),
            Op::Pour { len } => self.pour(len),
            Op::PipeWrite { range, tee: false } => {
                self.write_to_pipe(lock(&self.pipe).as_mut(), range)
            }
            Op::PipeWrite { range, tee: true } => match second(&mut lock(&self.second_pipe)) {
                Ok(pipe) => self.write_to_pipe(Some(pipe), range),
                Err(errno) => failed(errno),
            },
            Op::Vmsplice { range, gift } => self.vmsplice(range, gift),
            Op::MmapWrite(range) | Op::SecondWrite(range) => self.store(range, step),
            Op::Msync => change(self.file.sync()),
            Op::DropCaches => status(match engine::shares_kernel() {
                // That is everybody's.
                true => self.file.drop_cache(),
                false => std::fs::write(DROP_CACHES, "1"),
            }),
            Op::Pwrite(range) => match self.file.pwrite(range, self.generation(step)) {
                Ok(bytes) => returned(bytes as u64),
                Err(errno) => failed(errno),
            },
            Op::ForkWrite(range) => self.store_by_child(range, step),
            Op::Truncate { size_bytes } => change(self.file.truncate(size_bytes)),
            Op::Punch(range) => change(self.file.punch(range)),
            Op::ZeroRange(range) => change(self.file.zero(range)),
            Op::Collapse(range) => change(self.file.collapse(range)),
            Op::DirectWrite(range) => match self.file.write_direct(range, self.generation(step)) {
                Ok(bytes) => returned(bytes as u64),
                Err(errno) => failed(errno),
            },
            Op::Wait { us } => {
                std::thread::sleep(Duration::from_micros(us));
                returned(0)
            }
            Op::Await { .. } => self.stand_by(step, actor),
            Op::Meet { who, after_ns } => self.meet(step, who, after_ns),
            Op::Shutdown => status(self.sender_of(actor).finish()),
            Op::Cork { on } => status(self.sender_of(actor).cork(on)),
            Op::Signal { to } => match pthread_kill(self.threads[to.index()], SIGNAL) {
                Ok(()) => returned(0),
                Err(errno) => failed(errno),
            },
            Op::Kill { .. } => self.kill(),
            Op::Close => status(self.sender_of(actor).close()),
            Op::Read { len } => self.read(step, actor, len),
            Op::Hold { way, after_packets } => {
                turned(self.with_queues(|it| it.hold(way, after_packets)))
            }
            Op::Release { way, packets } => turned(self.with_queues(|it| it.release(way, packets))),
            Op::Reset => unreachable!("the reader does that"),
        };
        let exit = match op {
            // These may wait, for the peer or for nothing.
            Op::Sendfile(_)
            | Op::SendfileOn { .. }
            | Op::Copy { .. }
            | Op::Borrow { .. }
            | Op::AwaitCompletions
            | Op::SpliceOut { .. }
            | Op::Wait { .. }
            | Op::Await { .. }
            | Op::Meet { .. }
            | Op::Read { .. }
            | Op::Hold { .. }
            | Op::Release { .. }
            | Op::DirectWrite(_)
            | Op::ZeroRange(_)
            | Op::Collapse(_)
            | Op::ForkWrite(_) => self.clock.stamp(),
            // So may everything that meets a disk.
            _ if self.scenario.setup.file.kind == FileKind::Ext4 => self.clock.stamp(),
            _ => self.clock.stamp_at_entry(),
        };
        if actor != Actor::Link {
            observed::look(step, self.sender_of(actor));
        }
        if let Some(entered) = entered {
            *lock(entered) = None;
        }
        let moves = matches!(op, Op::SendfileOn { .. });
        Call {
            step,
            entry,
            exit,
            outcome: done.outcome,
            offset_after: done.offset_after,
            f_pos_after: moves.then(|| self.position()).flatten(),
        }
    }

    /// Notes the file position in the last call that was given an offset: none of them
    /// may have moved it.
    pub fn note_position(&self, calls: &mut [Call]) {
        let given_one = |call: &&mut Call| call.offset_after.is_some();
        if let Some(call) = calls.iter_mut().rev().find(given_one) {
            call.f_pos_after = self.position();
        }
    }

    fn position(&self) -> Option<u64> {
        let position = lseek(self.file.file(), 0, Whence::SeekCur);
        position.ok().and_then(|it| u64::try_from(it).ok())
    }

    /// The steps that were entered and have not returned.
    pub fn running(&self) -> Vec<(usize, Stamp)> {
        self.entered.iter().filter_map(|slot| *lock(slot)).collect()
    }

    fn generation(&self, step: usize) -> u8 {
        self.scenario
            .generation(step)
            .expect("a step that writes has a generation")
    }

    /// A send in a process of its own: what it returned, and its offset afterwards.
    fn send_by_child(&self, call: impl FnOnce() -> (nix::Result<isize>, Option<i64>)) -> Done {
        if self.killed.load(Ordering::SeqCst) {
            return skipped();
        }
        let ended = self.child.run(|| {
            let (result, offset) = call();
            let result = match result {
                Ok(bytes) => bytes as i64,
                Err(errno) => -(errno as i64),
            };
            [result, offset.unwrap_or(-1)]
        });
        match ended {
            Ok(Ended::Told([result, offset])) => Done {
                outcome: match u64::try_from(result) {
                    Ok(bytes) => Outcome::Returned(bytes),
                    Err(_) => Outcome::Failed(result.unsigned_abs() as i32),
                },
                offset_after: u64::try_from(offset).ok(),
            },
            Ok(Ended::Killed) => done(Outcome::Killed),
            Err(error) => status(Err(error)),
        }
    }

    /// What of a range can be stored to: all of it, unless the file gets shorter; until
    /// the guard is dropped, that has to wait. Behind the end of the file a mapping
    /// is a trap (SIGBUS).
    fn mapped(&self, range: Range) -> (Option<SizeGuard<'_>>, Range) {
        match self.scenario.resizes() {
            false => (None, range),
            true => {
                let guard = self.file.hold_size();
                let inside = guard.inside(range);
                (Some(guard), inside)
            }
        }
    }

    fn store(&self, range: Range, step: usize) -> Done {
        let (_guard, range) = self.mapped(range);
        if range.len == 0 {
            return skipped();
        }
        let generation = self.generation(step);
        match self.scenario.steps[step].op {
            Op::SecondWrite(_) => self.file.store_beside(range, generation),
            _ => self.file.store(range, generation),
        }
        returned(range.len)
    }

    fn store_by_child(&self, range: Range, step: usize) -> Done {
        let generation = self.generation(step);
        let (_guard, range) = self.mapped(range);
        if range.len == 0 {
            return skipped();
        }
        let ended = Child::default().run(|| {
            self.file.store(range, generation);
            [0, 0]
        });
        match ended {
            Ok(Ended::Told(_)) => returned(range.len),
            Ok(Ended::Killed) => done(Outcome::Killed),
            Err(error) => status(Err(error)),
        }
    }

    fn kill(&self) -> Done {
        // Who has waited for it goes on at once, and is not to send by another one.
        let killed = || self.killed.store(true, Ordering::SeqCst);
        match self.child.kill(killed) {
            Ok(true) => returned(0),
            Ok(false) => skipped(),
            Err(errno) => failed(errno),
        }
    }

    /// The scheduler says when; it knows who is blocked.
    fn stand_by(&self, step: usize, actor: Actor) -> Done {
        loop {
            match self.awaited[actor.index()].take() {
                (about, true) if about == step => return returned(0),
                (about, false) if about == step => return skipped(),
                _ => {}
            }
        }
    }

    /// The receiver reads at this actor's word.
    fn read(&self, step: usize, actor: Actor, len: u64) -> Done {
        let own = self.beside.iter().find(|it| it.actor == actor);
        let Some(orders) = own.map(|it| &it.orders).or(self.orders.as_ref()) else {
            return skipped();
        };
        let told = Arc::new(Mailbox::new());
        orders.put(Read::Some {
            step,
            len,
            tell: Some(Arc::clone(&told)),
        });
        match told.take_within(RESCUE) {
            Some(bytes) => returned(bytes),
            // There is not so much, or it reads everything by now.
            None => skipped(),
        }
    }

    fn sendfile(&self, sender: &Sender, range: Range) -> Done {
        let (result, offset) = self.call_sendfile(sender, range);
        Done {
            outcome: outcome(result),
            offset_after: u64::try_from(offset).ok(),
        }
    }

    /// What sendfile(2) returned, and its offset afterwards.
    fn call_sendfile(&self, sender: &Sender, range: Range) -> (nix::Result<isize>, i64) {
        let mut offset = range.offset as libc::off_t;
        // nix's wrapper takes the offset too, but its type hides a short cast;
        // the call is three lines either way.
        // SAFETY: both descriptors are open and `offset` outlives the call.
        let bytes = unsafe {
            libc::sendfile(
                sender.as_fd().as_raw_fd(),
                self.file.file().as_raw_fd(),
                &mut offset,
                range.len as usize,
            )
        };
        (nix::errno::Errno::result(bytes), offset)
    }

    /// sendfile(2) without an offset.
    fn call_sendfile_on(&self, len: u64) -> nix::Result<isize> {
        // SAFETY: both descriptors are open; without an offset nothing is written.
        let bytes = unsafe {
            libc::sendfile(
                self.sender.as_fd().as_raw_fd(),
                self.file.file().as_raw_fd(),
                std::ptr::null_mut(),
                len as usize,
            )
        };
        nix::errno::Errno::result(bytes)
    }

    fn call_copy(&self, sender: &Sender, by: Copying, range: Range) -> nix::Result<isize> {
        let bytes = self.file.copy_to(sender, by, range);
        bytes.map(|bytes| bytes as isize)
    }

    fn lend(&self, actor: Actor, by: Borrowing, range: Range, entry: Stamp) -> Done {
        let sender = self.sender_of(actor);
        let lent = match by {
            Borrowing::Send => match self.borrowed_of(actor).allowed() {
                Ok(()) if self.scenario.kills(actor) => {
                    self.send_by_child(|| (self.call_lend(sender, range), None))
                }
                Ok(()) => done(outcome(self.call_lend(sender, range))),
                Err(errno) => failed(errno),
            },
            // As with a pipe: what could be killed has no part in it.
            Borrowing::Uring if self.killed.load(Ordering::SeqCst) => skipped(),
            Borrowing::Uring => {
                let part = self.file.part(range);
                // SAFETY: the mapping is the file's, which outlives the call.
                let sent = unsafe {
                    self.borrowed_of(actor)
                        .send_by_ring(actor, sender, part, entry, &self.clock)
                };
                match sent {
                    Ok(bytes) => returned(bytes),
                    Err(error) => status(Err(error)),
                }
            }
        };
        if by == Borrowing::Send && lent.outcome.bytes() > 0 {
            self.borrowed_of(actor).note_sent();
        }
        lent
    }

    fn call_lend(&self, sender: &Sender, range: Range) -> nix::Result<isize> {
        let bytes = self.file.lend_to(sender, range);
        bytes.map(|bytes| bytes as isize)
    }

    /// How many sends are still open after a while.
    fn await_completions(&self, actor: Actor) -> u64 {
        let patience = Duration::from_nanos(AWAIT_NS);
        let borrowed = self.borrowed_of(actor);
        let by_ring = borrowed.await_ring(actor, &self.clock, patience);
        by_ring + borrowed.await_queue(self.sender_of(actor), &self.clock, patience)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of the set-up, with what was being done.
pub fn context(what: &'static str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}
