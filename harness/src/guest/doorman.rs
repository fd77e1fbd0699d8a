//! A receiver that needs no orders: it sleeps in accept(2), drains the connection
//! that comes, puts what it got on the desk and closes. Nobody has to wake it or
//! to be woken by it, because the connection itself does both; a thread that is
//! handed each job would cost as much as the scenario.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Listener;
use super::reader::{Buffer, Received, Reception};

/// How often the desk is looked at where the reader was not the one to close.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(100);

/// Receives one stream after the other at one listener.
#[derive(Debug)]
pub struct Doorman {
    /// Where the streams arrive.
    pub listener: Arc<Listener>,
    desk: Arc<Mutex<Desk>>,
}

#[derive(Debug, Default)]
struct Desk {
    expected: Option<Reception>,
    received: Option<Received>,
}

impl Doorman {
    /// Starts the thread.
    pub fn start(listener: Listener) -> io::Result<Doorman> {
        let listener = Arc::new(listener);
        let desk = Arc::new(Mutex::new(Desk::default()));
        let (at, door) = (Arc::clone(&desk), Arc::clone(&listener));
        thread::Builder::new()
            .name("doorman".into())
            .spawn(move || {
                let mut buffer = Buffer::new();
                loop {
                    // A time-out, or a connection that died in the queue.
                    let Ok(socket) = door.accept() else {
                        continue;
                    };
                    // A connection that nobody announced is closed.
                    let Some(reception) = with(&at, |desk| desk.expected.take()) else {
                        continue;
                    };
                    let received = reception.drain(&socket, &mut buffer);
                    with(&at, |desk| desk.received = Some(received));
                    // Only now is the other end told.
                    drop(socket);
                }
            })?;
        Ok(Doorman { listener, desk })
    }

    /// Announces a stream; it must be connected next.
    pub fn expect(&self, reception: Reception) {
        with(&self.desk, |desk| {
            *desk = Desk {
                expected: Some(reception),
                received: None,
            };
        });
    }

    /// What came. It is there once the reader has closed the connection; where the
    /// connection ended in another way, which is for the oracle to judge, the
    /// reader has yet to notice, and is given until `patience` has passed.
    pub fn collect_within(&self, patience: Duration) -> Option<Received> {
        let mut since = None;
        loop {
            let received = with(&self.desk, |desk| desk.received.take());
            // The clock costs a system call, and is hardly ever needed.
            if received.is_some() || since.get_or_insert_with(Instant::now).elapsed() >= patience {
                return received;
            }
            thread::sleep(LOOK_UP_INTERVAL);
        }
    }
}

fn with<T>(desk: &Mutex<Desk>, work: impl FnOnce(&mut Desk) -> T) -> T {
    work(&mut desk.lock().unwrap_or_else(PoisonError::into_inner))
}
