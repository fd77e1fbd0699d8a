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
            }),
        }
    }

    /// Puts something in, behind what is there.
    pub fn put(&self, item: T) {
        let mut inner = self.lock();
        inner.queue.push_back(item);
        let waiting = inner.waiting.take();
        drop(inner);
        if let Some(reader) = waiting {
            reader.unpark();
        }
    }

    /// How many things are in it.
    pub fn len(&self) -> usize {
        self.lock().queue.len()
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
            inner.waiting = None;
            inner.queue.pop_front()
        })
    }

    fn take_or_announce(&self) -> Option<T> {
        let mut inner = self.lock();
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
