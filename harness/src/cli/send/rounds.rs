//! The loop: send, change the file, again.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use socket2::Socket;

use super::Args;
use crate::cli::format::note;
use crate::seed::inbox::Inbox;
use crate::seed::meter::Meter;
use crate::seed::signals;
use crate::seed::socket::{Woken, wait};
use crate::seed::unless_zero;
use crate::seed::way::Way;
use crate::seed::zeros::Zeros;

/// A sender with all that it has to do with.
pub(super) struct Session<'a> {
    pub args: &'a Args,
    pub socket: Socket,
    pub inbox: Inbox,
    pub zeros: Zeros,
    pub way: Way,
    pub meter: Meter,
}

/// Why no round follows.
#[derive(Debug)]
pub(super) enum Stop {
    /// As many as were asked for.
    Done,
    /// Ctrl-C.
    Asked,
    /// The receiver has said its last word.
    Answered,
    /// The connection is no more.
    Lost(io::Error),
    /// The file has become shorter.
    FileEnded,
}

impl Session<'_> {
    /// Sends round after round.
    pub fn send_rounds(&mut self) -> Stop {
        let mut round = 0;
        let stop = loop {
            if self.args.rounds.is_some_and(|rounds| round == rounds) {
                break Stop::Done;
            }
            self.zeros.clean();
            if let Err(stop) = self.round() {
                break stop;
            }
            self.zeros.stain();
            round += 1;
            if let Err(stop) = self.pause() {
                break stop;
            }
        };
        self.meter.stop();
        match stop {
            // Ctrl-C in the last pause changes nothing any more.
            Stop::Asked if self.args.rounds == Some(round) => Stop::Done,
            stop => stop,
        }
    }

    /// Sends COUNT bytes, however many calls that takes.
    fn round(&mut self) -> Result<(), Stop> {
        let mut offset = 0;
        let mut looked = signals::ticks();
        let mut moved = looked;
        while offset < self.args.count {
            let left = self.args.count - offset;
            let ask = match self.args.udp {
                true => left.min(self.args.datagram.into()),
                false => left,
            };
            match self.way.send(&self.socket, self.zeros.file(), offset, ask) {
                Ok(0) => return Err(Stop::FileEnded),
                Ok(bytes) => {
                    offset += bytes;
                    self.meter.add(bytes);
                    moved = signals::ticks();
                }
                Err(error) => self.hindered(error, moved)?,
            }
            if offset < self.args.count {
                self.look_up(&mut looked)?;
            }
        }
        Ok(())
    }

    /// A call has sent nothing: whether there is a reason to try again. `moved` is the
    /// tick at which something was sent last.
    fn hindered(&self, error: io::Error, moved: u32) -> Result<(), Stop> {
        match error.kind() {
            ErrorKind::Interrupted => {}
            ErrorKind::WouldBlock => {
                let second = Instant::now() + Duration::from_secs(1);
                wait(&self.socket, PollFlags::POLLOUT, Some(second)).map_err(Stop::Lost)?;
            }
            _ => return Err(Stop::Lost(error)),
        }
        // TCP notices that by itself (TCP_USER_TIMEOUT), UDP does not.
        let silent = Duration::from_secs((signals::ticks() - moved).into());
        match unless_zero(self.args.timeout) {
            Some(timeout) if silent > timeout => Err(Stop::Lost(ErrorKind::TimedOut.into())),
            _ => Ok(()),
        }
    }

    /// Between two calls of a round: Ctrl-C, and once a second everything else.
    fn look_up(&mut self, looked: &mut u32) -> Result<(), Stop> {
        if signals::stops() > 0 {
            return Err(Stop::Asked);
        }
        if *looked == signals::ticks() {
            return Ok(());
        }
        *looked = signals::ticks();
        self.listen()?;
        self.tell_progress();
        Ok(())
    }

    /// Between two rounds: waits out the interval, or less if there is news.
    fn pause(&mut self) -> Result<(), Stop> {
        let interval = Duration::from_millis(self.args.interval);
        let end = Instant::now().checked_add(interval);
        loop {
            self.listen()?;
            if signals::stops() > 0 {
                return Err(Stop::Asked);
            }
            self.tell_progress();
            if interval.is_zero() {
                return Ok(());
            }
            // What has ended is always ready, and says nothing new.
            let events = match self.inbox.is_open() {
                true => PollFlags::POLLIN,
                false => PollFlags::empty(),
            };
            match wait(&self.socket, events, end) {
                Ok(Woken::Late) => return Ok(()),
                Ok(Woken::Ready | Woken::Signal) => {}
                Err(error) => return Err(Stop::Lost(error)),
            }
        }
    }

    fn listen(&mut self) -> Result<(), Stop> {
        self.inbox.look(&self.socket).map_err(Stop::Lost)?;
        match self.inbox.last_word() {
            Some(_) => Err(Stop::Answered),
            None => Ok(()),
        }
    }

    fn tell_progress(&mut self) {
        if let Some(line) = self.meter.progress() {
            note(line);
        }
    }
}
