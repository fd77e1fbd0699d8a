//! The receiver: reads, and notes when each byte arrived.

use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::connection::Listener;
use super::mailbox::Mailbox;
use super::receiver::Receiver;
use super::relay::Relay;
use crate::history::{Call, Chunk, End, Outcome};

/// Most that one recv(2) asks for.
const CHUNK_BYTES: usize = 256 * 1024;
/// Room for one recv(2): for the longest packet of AF_UNIX, which is less than twice
/// net.core.wmem_max, and so longer than any datagram.
const ROOM_BYTES: usize = 512 * 1024;

/// One stream to be received.
#[derive(Debug, Clone)]
pub struct Reception {
    /// Stamps for everybody.
    pub clock: Arc<Clock>,
    /// Nanoseconds on that clock after which the reader gives up. It then closes
    /// the connection, and the reset ends whatever call still waits for it.
    pub deadline_ns: u64,
    /// TCP_QUICKACK, where it is asked for: before the first read and after each.
    pub quickack: Option<bool>,
    /// What passes on what is received, where it is not read at once.
    pub relay: Option<Arc<Relay>>,
}

/// What the reader is told to do next.
#[derive(Debug)]
pub enum Read {
    /// Read this many bytes, or to the end: step `step`.
    Some {
        /// Index into the scenario's steps.
        step: usize,
        /// Number of bytes.
        len: u64,
        /// Who is told how many it were, if that is not the scheduler.
        tell: Option<Arc<Mailbox<u64>>>,
    },
    /// Shut the writing half of its end down: step `step`.
    HalfClose {
        /// Index into the scenario's steps.
        step: usize,
    },
    /// Close its end, and report: step `step`.
    Leave {
        /// Index into the scenario's steps.
        step: usize,
        /// By a reset, whatever is left to be read.
        reset: bool,
    },
    /// Read to the end, and report.
    Rest,
}

/// What was received.
#[derive(Debug)]
pub struct Received {
    /// The reader's steps.
    pub calls: Vec<Call>,
    /// Every recv(2).
    pub chunks: Vec<Chunk>,
    /// The stream.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// When.
    pub end_ns: u64,
}

impl Received {
    fn nothing() -> Received {
        Received {
            calls: Vec::new(),
            chunks: Vec::new(),
            bytes: Vec::new(),
            end: End::GivenUp,
            end_ns: 0,
        }
    }
}

impl Reception {
    /// Accepts one connection. Fails with `TimedOut` when there is none in time.
    pub fn accept(&self, listener: &Listener) -> io::Result<Receiver> {
        loop {
            match listener.accept() {
                Err(error) if is_timeout(&error) && !self.is_late() => {}
                Err(error) if is_timeout(&error) => return Err(io::ErrorKind::TimedOut.into()),
                result => return result,
            }
        }
    }

    /// Performs orders to the end of the stream. `on_read` is told of every step as it
    /// is done.
    pub fn obey(
        &self,
        socket: Receiver,
        orders: &Mailbox<Read>,
        buffer: &mut Buffer,
        mut on_read: impl FnMut(usize),
    ) -> Received {
        let mut received = Received::nothing();
        let mut ended = None;
        self.ask_for_acks(&socket);
        loop {
            let order = self.next(orders);
            let entry = self.clock.stamp_at_entry();
            let done = |step, outcome| Call {
                step,
                entry,
                exit: self.clock.stamp(),
                outcome,
                offset_after: None,
                f_pos_after: None,
            };
            let (step, len, tell) = match order {
                Some(Read::Some { step, len, tell }) => (step, len as usize, tell),
                Some(Read::HalfClose { step }) => {
                    let outcome = outcome(socket.socket().shutdown(Shutdown::Write));
                    received.calls.push(done(step, outcome));
                    on_read(step);
                    continue;
                }
                Some(Read::Leave { step, reset }) => {
                    let linger = reset.then_some(Duration::ZERO);
                    let outcome = outcome(socket.socket().set_linger(linger));
                    drop(socket);
                    received.calls.push(done(step, outcome));
                    on_read(step);
                    received.end = ended.unwrap_or(End::Closed);
                    received.end_ns = self.clock.elapsed_ns();
                    return received;
                }
                Some(Read::Rest) => break,
                None => {
                    ended = Some(End::GivenUp);
                    break;
                }
            };
            let mut got = 0;
            while got < len && ended.is_none() {
                match self.receive(&socket, (len - got).min(CHUNK_BYTES), buffer, &mut received) {
                    // The last datagram may bring more.
                    Ok(bytes) => got += bytes,
                    Err(end) => ended = Some(end),
                }
            }
            if let Some(tell) = tell {
                tell.put(got as u64);
                continue;
            }
            let outcome = Outcome::Returned(got as u64);
            received.calls.push(done(step, outcome));
            on_read(step);
        }
        self.rest(&socket, buffer, received, ended)
    }

    /// Reads whatever arrives, to the end of the stream.
    pub fn drain(&self, socket: &Receiver, buffer: &mut Buffer) -> Received {
        self.rest(socket, buffer, Received::nothing(), None)
    }

    fn rest(
        &self,
        socket: &Receiver,
        buffer: &mut Buffer,
        mut received: Received,
        ended: Option<End>,
    ) -> Received {
        received.end = match ended {
            Some(end) => end,
            None => loop {
                if let Err(end) = self.receive(socket, CHUNK_BYTES, buffer, &mut received) {
                    break end;
                }
            },
        };
        received.end_ns = self.clock.elapsed_ns();
        received
    }

    fn receive(
        &self,
        socket: &Receiver,
        most: usize,
        buffer: &mut Buffer,
        into: &mut Received,
    ) -> Result<usize, End> {
        match socket.receive(&mut buffer.0, most) {
            Ok(0) => Err(End::Eof),
            Ok(len) => {
                let at = self.clock.stamp();
                let start = into.bytes.len();
                into.bytes.extend_from_slice(&buffer.0[..len]);
                into.chunks.push(Chunk { at, start, len });
                self.ask_for_acks(socket);
                Ok(len)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) if is_timeout(&error) => match self.is_late() {
                true => Err(End::GivenUp),
                false => Ok(0),
            },
            Err(error) => Err(End::Failed(error.raw_os_error().unwrap_or(0))),
        }
    }

    /// What it says about acknowledgements does not last (tcp(7)).
    pub fn ask_for_acks(&self, socket: &Receiver) {
        if let Some(on) = self.quickack {
            // It fails on a connection that is gone, and then nothing comes.
            let _ = socket.socket().set_tcp_quickack(on);
        }
    }

    // `None`: the deadline passed.
    fn next(&self, orders: &Mailbox<Read>) -> Option<Read> {
        loop {
            let patience = self.deadline_ns.saturating_sub(self.clock.latest_ns());
            let order = orders.take_within(Duration::from_nanos(patience));
            if order.is_some() || self.is_late() {
                return order;
            }
        }
    }

    /// Whether the deadline has passed.
    pub fn is_late(&self) -> bool {
        self.clock.elapsed_ns() >= self.deadline_ns
    }
}

/// Room for one recv(2), used again and again: fresh memory costs page faults,
/// and those are what is slow in a guest.
#[derive(Debug)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// Makes it.
    pub fn new() -> Buffer {
        Buffer(vec![0; ROOM_BYTES])
    }
}

fn outcome(result: io::Result<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Returned(0),
        Err(error) => Outcome::Failed(error.raw_os_error().unwrap_or(0)),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
