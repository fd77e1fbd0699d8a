//! The end: the receiver's answer, and what becomes of it.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::time::Instant;

use anyhow::anyhow;
use nix::poll::PollFlags;

use super::connect::{RESEND_INTERVAL, await_word};
use super::rounds::{Session, Stop};
use crate::cli::format::note;
use crate::cli::{Failure, Status};
use crate::seed::judge::Corruption;
use crate::seed::loss::{Amount, sentence};
use crate::seed::message::{Answer, Notice, Verdict};
use crate::seed::signals;
use crate::seed::socket::{Woken, unacknowledged, wait};
use crate::seed::unless_zero;

/// The end is said so often to somebody who does not answer.
const BLIND_ENDS: usize = 3;

impl Session<'_> {
    /// Says that this was all, and waits for the receiver's last word, or for the end of
    /// the connection. A connection that turns out to be lost is the new reason to stop.
    pub fn finish(&mut self, stop: Stop) -> Stop {
        if let Stop::Lost(_) = stop {
            // What the receiver said before it left is still there. An error that was
            // not told yet comes first.
            let _ = self.inbox.look(&self.socket);
            let _ = self.inbox.look(&self.socket);
            return stop;
        }
        let ended = match self.args.udp {
            false => self.end_stream(),
            true => self.end_datagrams(),
        };
        match ended {
            _ if self.inbox.last_word().is_some() => stop,
            Err(error) => Stop::Lost(error),
            // The wait was cut short.
            Ok(()) if signals::stops() > 0 => Stop::Asked,
            Ok(()) => stop,
        }
    }

    /// Until the other side closes, too; as long as its kernel acknowledges more and
    /// more, it is busy. One more Ctrl-C ends the wait.
    fn end_stream(&mut self) -> io::Result<()> {
        let stops = signals::stops();
        self.socket.shutdown(Shutdown::Write)?;
        let patience = unless_zero(self.args.timeout);
        let mut unseen = unacknowledged(&self.socket);
        let mut end = patience.map(|time| Instant::now() + time);
        loop {
            self.inbox.look(&self.socket)?;
            if self.inbox.last_word().is_some() || !self.inbox.is_open() {
                return Ok(());
            }
            if signals::stops() > stops {
                return Ok(());
            }
            if wait(&self.socket, PollFlags::POLLIN, end)? != Woken::Late {
                continue;
            }
            let now = unacknowledged(&self.socket);
            if now == unseen {
                return match now {
                    Some(1..) => Err(ErrorKind::TimedOut.into()),
                    _ => Ok(()),
                };
            }
            unseen = now;
            end = patience.map(|time| Instant::now() + time);
        }
    }

    /// Says it until there is an answer. The receiver may be gone after it: its machine
    /// then says that nobody is there, maybe before we have read the answer.
    fn end_datagrams(&mut self) -> io::Result<()> {
        let end = Notice::End {
            count: self.args.count,
            bytes: self.meter.bytes(),
            datagrams: self.meter.datagrams().unwrap_or_default(),
        }
        .to_string();
        let stops = signals::stops();
        let start = Instant::now();
        let patience = unless_zero(self.args.timeout);
        let talks = self.inbox.answer().is_some();
        let mut said = 0;
        while self.inbox.last_word().is_none() && signals::stops() == stops {
            match talks {
                true if patience.is_some_and(|patience| start.elapsed() > patience) => {
                    return Err(ErrorKind::TimedOut.into());
                }
                false if said == BLIND_ENDS => break,
                _ => {}
            }
            let heard = self
                .socket
                .send(end.as_bytes())
                .and_then(|_| await_word(&self.socket, &mut self.inbox, RESEND_INTERVAL));
            match heard {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return self.inbox.look(&self.socket).and(Err(error));
                }
                _ => said += 1,
            }
        }
        Ok(())
    }

    /// Says how it went, and decides the exit status.
    pub fn report(&self, stop: Stop) -> Result<Status, Failure> {
        let answer = self.inbox.last_word();
        if let Some(answer) = self.inbox.answer() {
            self.compare_counts(&answer);
        }
        if let Some(corruption) = answer.and_then(|it| it.corruption()) {
            note(self.corrupted(corruption));
            return Ok(Status::Violated);
        }
        match stop {
            Stop::Lost(error) => return Err(self.lost(&error)),
            Stop::FileEnded => return Err(self.file_ended()),
            Stop::Done | Stop::Asked | Stop::Answered => {}
        }
        let asked = matches!(stop, Stop::Asked);
        match answer {
            Some(answer) if answer.verdict == Verdict::Stopped && !asked => {
                return Err(self.receiver_stopped(&answer));
            }
            Some(answer) if answer.verdict == Verdict::Clean => {
                if let Some(missing) = self.compare_bytes(&answer) {
                    note(missing);
                    return Ok(Status::Violated);
                }
            }
            Some(_) => {}
            None => note("the receiver has not said what it saw"),
        }
        match asked {
            true => Ok(Status::Interrupted),
            false => Ok(Status::Held),
        }
    }

    fn compare_counts(&self, answer: &Answer) {
        let (theirs, ours) = (answer.count, self.args.count);
        if theirs != ours {
            note(format_args!(
                "the receiver used --count {theirs}, this side {ours}"
            ));
        }
    }

    /// Whether bytes are missing that must not: TCP loses none.
    fn compare_bytes(&self, answer: &Answer) -> Option<String> {
        if let (Some(sent), Some(arrived)) = (self.meter.datagrams(), answer.datagrams) {
            let amount = |bytes, datagrams| Amount { bytes, datagrams };
            let sent = amount(self.meter.bytes(), sent);
            let lost = sentence(sent, amount(answer.bytes, arrived));
            note(format_args!("the receiver saw only zeros; {lost}"));
            return None;
        }
        let (sent, arrived) = (self.meter.bytes(), answer.bytes);
        if sent != arrived {
            return Some(format!(
                "{sent} bytes were sent, and the receiver saw {arrived}, all zero"
            ));
        }
        note("the receiver saw only zeros, and all of them");
        None
    }

    fn corrupted(&self, Corruption { byte, at }: Corruption) -> String {
        let count = self.inbox.answer().map_or(self.args.count, |it| it.count);
        format!(
            "the receiver saw corruption: {byte:#04x}, byte {} of its round {}",
            at % count,
            at / count + 1
        )
    }

    fn lost(&self, error: &io::Error) -> Failure {
        let (peer, amount) = (self.args.peer(), self.meter.amount());
        if error.raw_os_error() == Some(libc::EMSGSIZE) {
            let datagram = self.args.datagram;
            let error = anyhow!("--datagram {datagram}: too large for the way to {peer}");
            return Failure::new(Status::Usage, error);
        }
        let hint = match error.kind() {
            ErrorKind::TimedOut => {
                "; the other side has acknowledged, read or said nothing for --timeout"
            }
            ErrorKind::ConnectionReset => {
                "; a receiver that does not say what it saw ends so after corruption, too: \
                 see its output"
            }
            // A call that has sent a part swallows the reason.
            ErrorKind::BrokenPipe => {
                "; the other side has ended it, maybe after corruption (see its output), or \
                 has acknowledged or read nothing for --timeout"
            }
            _ => "",
        };
        let error = anyhow!("lost {peer} after {amount}: {error}{hint}");
        Failure::new(Status::Missing, error)
    }

    fn file_ended(&self) -> Failure {
        let (file, rounds) = (self.args.file.display(), self.meter.rounds());
        let error =
            anyhow!("--file {file} became shorter while it was sent, after {rounds} rounds");
        Failure::new(Status::Usage, error)
    }

    fn receiver_stopped(&self, answer: &Answer) -> Failure {
        let (peer, bytes, rounds) = (self.args.peer(), answer.bytes, answer.bytes / answer.count);
        let error = anyhow!(
            "the receiver at {peer} was stopped after {bytes} bytes, {rounds} of its rounds, \
             all zero"
        );
        Failure::new(Status::Missing, error)
    }
}
