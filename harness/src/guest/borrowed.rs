//! Sends by reference: who has sent what, and what the kernel has told of it.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::clock::Clock;
use super::connection::Sender;
use super::error_queue;
use super::ring::{Ring, Told};
use crate::history::{Completed, Completion, Stamp};
use crate::scenario::{Actor, Borrowing, Scenario};

/// The longest pause between two looks at the error queue. A socket that has an error is
/// always ready, so that poll(2) cannot be slept in.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
const SHORTEST_PAUSE: Duration = Duration::from_micros(10);

/// The sends by reference of one scenario.
#[derive(Debug)]
pub struct Borrowed {
    /// Whether the socket takes MSG_ZEROCOPY.
    allowed: nix::Result<()>,
    /// What is yet to be completed on the error queue, and what has been told.
    told: Mutex<Account>,
    /// The ring of each actor that has used one.
    rings: [Mutex<Option<Ring>>; 3],
}

#[derive(Debug, Default)]
struct Account {
    outstanding: i64,
    completions: Vec<Completion>,
}

impl Borrowed {
    /// Prepares the socket, if the scenario asks for it.
    pub fn new(scenario: &Scenario, sender: &Sender) -> Borrowed {
        Borrowed {
            allowed: match scenario.borrows(Borrowing::Send) {
                true => error_queue::allow(sender),
                false => Ok(()),
            },
            told: Mutex::default(),
            rings: Default::default(),
        }
    }

    /// Whether MSG_ZEROCOPY means something to the socket; where it does not the kernel
    /// would copy and say nothing.
    pub fn allowed(&self) -> nix::Result<()> {
        self.allowed
    }

    /// A call with MSG_ZEROCOPY has sent something.
    pub fn note_sent(&self) {
        lock(&self.told).outstanding += 1;
    }

    /// IORING_OP_SEND_ZC by the thread of `actor`, which is the calling one, entered at
    /// `entry`. What it returned.
    ///
    /// # Safety
    /// As [`Ring::send`].
    pub unsafe fn send_by_ring(
        &self,
        actor: Actor,
        socket: &impl AsFd,
        part: libc::iovec,
        entry: Stamp,
        clock: &Clock,
    ) -> io::Result<u64> {
        let mut slot = lock(&self.rings[actor.index()]);
        let ring = match slot.as_mut() {
            Some(ring) => ring,
            None => slot.insert(Ring::open()?),
        };
        let mut returned = 0;
        // SAFETY: the caller's promise.
        unsafe {
            ring.send(socket, part, entry.order, |told| {
                if let Told::Returned { result, .. } = told {
                    returned = result;
                }
                self.note(told, entry.order, clock);
            })
        }?;
        u64::try_from(returned).map_err(|_| io::Error::from_raw_os_error(-returned))
    }

    /// Waits until the error queue has told everything, or until so much time has passed.
    /// A socket that was closed tells nothing any more. How many calls are still open.
    pub fn await_queue(&self, sender: &Sender, clock: &Clock, patience: Duration) -> u64 {
        let left = countdown(clock, patience);
        let mut pause = SHORTEST_PAUSE;
        while self.read_queue(sender, clock) > 0 && !sender.is_closed() && !left().is_zero() {
            let mut ready = [PollFd::new(sender.as_fd(), PollFlags::empty())];
            let most = PollTimeout::try_from(left()).unwrap_or(PollTimeout::MAX);
            let before = clock.elapsed_ns();
            // What it fails with, a signal for one, costs a pause.
            let _ = poll(&mut ready, most);
            if clock.elapsed_ns().saturating_sub(before) < 1_000 {
                std::thread::sleep(pause.min(left()));
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        }
        u64::try_from(lock(&self.told).outstanding).unwrap_or(0)
    }

    /// Whether `actor` has a ring.
    pub fn has_ring(&self, actor: Actor) -> bool {
        lock(&self.rings[actor.index()]).is_some()
    }

    /// Waits until the ring of `actor` has told everything, or until so much time has
    /// passed; only its own thread can. How many sends are still open.
    pub fn await_ring(&self, actor: Actor, clock: &Clock, patience: Duration) -> u64 {
        let left = countdown(clock, patience);
        let mut slot = lock(&self.rings[actor.index()]);
        let Some(ring) = slot.as_mut() else {
            return 0;
        };
        while ring.owed() > 0 && !left().is_zero() {
            // It does not fail; if it did, what is missing would be seen.
            if ring
                .wait(left(), |told| self.note(told, u64::MAX, clock))
                .is_err()
            {
                break;
            }
        }
        ring.owed() as u64
    }

    /// Reads the error queue until it is empty. How many calls are still open.
    fn read_queue(&self, sender: &Sender, clock: &Clock) -> i64 {
        let mut told = lock(&self.told);
        // A socket that was closed has no queue.
        while let Ok(Some(done)) = error_queue::next(sender) {
            let (first, last) = (done.first, done.last);
            told.outstanding -= i64::from(last) - i64::from(first) + 1;
            told.completions.push(Completion {
                at: clock.stamp(),
                of: Completed::Sends {
                    first,
                    last,
                    copied: done.copied,
                },
            });
        }
        told.outstanding
    }

    fn note(&self, told: Told, call: u64, clock: &Clock) {
        let of = match told {
            Told::Returned { more: false, .. } => return,
            Told::Returned { .. } => Completed::Promised { call },
            Told::Done(call) => Completed::Notified { call },
        };
        let at = clock.stamp();
        lock(&self.told).completions.push(Completion { at, of });
    }

    /// Takes what there is off the error queue; false: nothing.
    pub fn look(&self, sender: &Sender, clock: &Clock) -> bool {
        let before = lock(&self.told).completions.len();
        self.read_queue(sender, clock);
        lock(&self.told).completions.len() > before
    }

    /// What was told so far.
    pub fn completions(&self) -> Vec<Completion> {
        let mut completions = lock(&self.told).completions.clone();
        completions.sort_by_key(|completion| completion.at.order);
        completions
    }
}

/// How much of `patience` is left.
fn countdown(clock: &Clock, patience: Duration) -> impl Fn() -> Duration {
    let patience_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
    let deadline_ns = clock.elapsed_ns().saturating_add(patience_ns);
    move || Duration::from_nanos(deadline_ns.saturating_sub(clock.elapsed_ns()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
