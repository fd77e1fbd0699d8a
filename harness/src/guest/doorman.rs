//! A receiver that needs no orders: it sleeps in accept(2), drains the connection
//! that comes, puts what it got on the desk and closes. Nobody has to wake it or
//! to be woken by it, because the connection itself does both; a thread that is
//! handed each job would cost as much as the scenario.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::connection::Listener;
use super::reader::{Buffer, Received, Reception};

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

    /// What came, once the connection was closed from the receiver's end.
    pub fn collect(&self) -> Option<Received> {
        with(&self.desk, |desk| desk.received.take())
    }
}

fn with<T>(desk: &Mutex<Desk>, work: impl FnOnce(&mut Desk) -> T) -> T {
    work(&mut desk.lock().unwrap_or_else(PoisonError::into_inner))
}
