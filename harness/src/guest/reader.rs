//! The receiver: accepts, reads, and notes when each byte arrived.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use socket2::Socket;

use super::clock::Clock;
use super::connection::{Listener, reset_on_close};
use crate::history::{Call, Chunk, End, Outcome};

/// Room for one recv(2).
const CHUNK_BYTES: usize = 256 * 1024;

/// One connection to be received.
#[derive(Debug, Clone)]
pub struct Reception {
    /// Where it arrives.
    pub listener: Arc<Listener>,
    /// Stamps for everybody.
    pub clock: Arc<Clock>,
    /// Nanoseconds on that clock after which the reader gives up. It then closes
    /// the connection, and the reset ends whatever call still waits for it.
    pub deadline_ns: u64,
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
    },
    /// Read to the end, and report.
    Rest,
}

/// What was received.
#[derive(Debug)]
pub struct Received {
    /// The `read` steps.
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

impl Reception {
    /// Accepts, then performs orders to the end of the stream. `on_read` is told
    /// of every `read` step as it is done. Fails only when nothing was accepted.
    pub fn serve(
        &self,
        orders: &Receiver<Read>,
        mut on_read: impl FnMut(usize),
    ) -> io::Result<Received> {
        let socket = self.accept()?;
        reset_on_close(&socket);
        let mut received = Received {
            calls: Vec::new(),
            chunks: Vec::new(),
            bytes: Vec::new(),
            end: End::GivenUp,
            end_ns: 0,
        };
        let end = self.obey(&socket, orders, &mut received, &mut on_read);
        received.end = match end {
            Some(end) => end,
            None => loop {
                if let Err(end) = self.receive(&socket, CHUNK_BYTES, &mut received) {
                    break end;
                }
            },
        };
        received.end_ns = self.clock.elapsed_ns();
        Ok(received)
    }

    fn accept(&self) -> io::Result<Socket> {
        loop {
            match self.listener.accept() {
                Err(error) if is_timeout(&error) && !self.is_late() => {}
                result => return result,
            }
        }
    }

    // Performs `read` steps until it is told to drain. Returns how the stream
    // ended, if it did.
    fn obey(
        &self,
        socket: &Socket,
        orders: &Receiver<Read>,
        received: &mut Received,
        on_read: &mut impl FnMut(usize),
    ) -> Option<End> {
        let mut ended = None;
        loop {
            let (step, len) = match orders.recv_timeout(self.remaining()) {
                Ok(Read::Some { step, len }) => (step, len as usize),
                Err(RecvTimeoutError::Timeout) => return Some(End::GivenUp),
                // A closed channel means that the scheduler is gone: drain too.
                Ok(Read::Rest) | Err(RecvTimeoutError::Disconnected) => return ended,
            };
            let entry = self.clock.stamp();
            let mut left = len;
            while left > 0 && ended.is_none() {
                match self.receive(socket, left, received) {
                    Ok(bytes) => left -= bytes,
                    Err(end) => ended = Some(end),
                }
            }
            received.calls.push(Call {
                step,
                entry,
                exit: self.clock.stamp(),
                outcome: Outcome::Returned((len - left) as u64),
                offset_after: None,
                f_pos_after: None,
            });
            on_read(step);
        }
    }

    fn receive(&self, socket: &Socket, most: usize, into: &mut Received) -> Result<usize, End> {
        let most = most.min(CHUNK_BYTES);
        let start = into.bytes.len();
        into.bytes.reserve(most);
        let room = &mut into.bytes.spare_capacity_mut()[..most];
        match socket.recv(room) {
            Ok(0) => Err(End::Eof),
            Ok(len) => {
                // SAFETY: recv(2) has written `len` bytes of the spare room.
                unsafe { into.bytes.set_len(start + len) };
                into.chunks.push(Chunk {
                    at: self.clock.stamp(),
                    start,
                    len,
                });
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

    fn remaining(&self) -> Duration {
        Duration::from_nanos(self.deadline_ns.saturating_sub(self.clock.elapsed_ns()))
    }

    fn is_late(&self) -> bool {
        self.clock.elapsed_ns() >= self.deadline_ns
    }
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
