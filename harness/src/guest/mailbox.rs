//! Hands things from thread to thread with as few system calls as can be: in a
//! guest each costs as much as a thousand lines of code.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// A queue with one reader.
#[derive(Debug)]
pub struct Mailbox<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    queue: VecDeque<T>,
    /// The reader, while it waits. A condition variable would make a system call
    /// for every item, whether anybody waits or not.
    waiting: Option<Thread>,
    /// Whether it was woken, and has yet to look.
    woken: bool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Mailbox::new()
    }
}

impl<T> Mailbox<T> {
    /// An empty one.
    pub fn new() -> Mailbox<T> {
        Mailbox {
            inner: Mutex::new(Inner {
                queue: VecDeque::new(),
                waiting: None,
                woken: false,
            }),
        }
    }

    /// Puts something in, behind what is there.
    pub fn put(&self, item: T) {
        let mut inner = self.lock();
        inner.queue.push_back(item);
        let waiting = inner.waiting.take();
        inner.woken |= waiting.is_some();
        drop(inner);
        if let Some(reader) = waiting {
            reader.unpark();
        }
    }

    /// Whether the reader was woken by something that it has yet to take out: it seems to
    /// sleep, and does not.
    pub fn wakes(&self) -> bool {
        self.lock().woken
    }

    /// Takes the first thing out; waits for it as long as it takes.
    pub fn take(&self) -> T {
        loop {
            match self.take_or_announce() {
                Some(item) => return item,
                None => thread::park(),
            }
        }
    }

    /// Takes the first thing out; `None` when nothing came within `patience`, or
    /// when the wait ended early for no reason.
    pub fn take_within(&self, patience: Duration) -> Option<T> {
        self.take_or_announce().or_else(|| {
            thread::park_timeout(patience);
            let mut inner = self.lock();
            (inner.waiting, inner.woken) = (None, false);
            inner.queue.pop_front()
        })
    }

    fn take_or_announce(&self) -> Option<T> {
        let mut inner = self.lock();
        inner.woken = false;
        let item = inner.queue.pop_front();
        if item.is_none() {
            inner.waiting = Some(thread::current());
        }
        item
    }

    // A thread that panicked has left the queue whole: nothing in here panics.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn who_was_woken_wakes_until_it_looks() {
        let mailbox = Mailbox::new();
        assert!(!mailbox.wakes());
        assert_eq!(mailbox.take_or_announce(), None::<u8>);
        mailbox.put(1);
        assert!(mailbox.wakes());
        assert_eq!(mailbox.take(), 1);
        // Nobody waits now, so nobody is woken.
        mailbox.put(2);
        assert!(!mailbox.wakes());
    }

    #[test]
    fn things_come_out_in_order() {
        let mailbox = Arc::new(Mailbox::new());
        let other = Arc::clone(&mailbox);
        let thread = std::thread::spawn(move || (0..1000).for_each(|item| other.put(item)));
        assert!((0..1000).all(|item| mailbox.take() == item));
        thread.join().unwrap();
        assert_eq!(mailbox.take_within(Duration::from_millis(1)), None);
        mailbox.put(7);
        assert_eq!(mailbox.take_within(Duration::ZERO), Some(7));
    }
}
