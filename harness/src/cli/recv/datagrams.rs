//! Datagrams: zeros until the sender says that it has ended, or is silent.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;
use socket2::Socket;

use super::outcome::Outcome;
use super::{Args, Kept, canonical};
use crate::cli::format::note;
use crate::cli::{Failure, Status};
use crate::seed::judge::Judge;
use crate::seed::loss::{Amount, sentence};
use crate::seed::message::{Answer, Notice, Verdict};
use crate::seed::meter::Meter;
use crate::seed::socket::{Woken, wait};
use crate::seed::{signals, unless_zero};

/// No datagram is longer.
const DATAGRAM_MAX_BYTES: usize = 1 << 16;

/// After the sender's end, so long for datagrams that it has overtaken.
const STRAGGLER_TIME: Duration = Duration::from_millis(500);

/// The answer is said so often: any may be lost, and nobody asks again once we are gone.
const ANSWERS: usize = 3;

/// One sender, or with `--keep` one after the other.
pub(super) fn serve(args: &Args, socket: Socket) -> Result<Status, Failure> {
    let missing = |error: io::Error| Failure::new(Status::Missing, error);
    let socket = UdpSocket::from(socket);
    socket.set_nonblocking(true).map_err(missing)?;
    let mut receiver = Receiver {
        args,
        socket,
        last: None,
    };
    let mut kept = Kept::default();
    while let Some((outcome, flow)) = receiver.receive().map_err(missing)? {
        outcome.tell(&flow.meter, flow.peer)?;
        if matches!(outcome, Outcome::Clean) {
            flow.tell_end(args);
        }
        receiver.answer(&outcome, &flow);
        if !args.keep {
            return outcome.status(&flow.meter, flow.peer);
        }
        kept.add(&outcome);
    }
    match args.keep {
        true => Ok(kept.end()),
        false => Ok(Status::Interrupted),
    }
}

struct Receiver<'a> {
    args: &'a Args,
    socket: UdpSocket,
    /// Whom we are through with, and what it was told.
    last: Option<(SocketAddr, String)>,
}

/// What comes from one sender.
struct Flow {
    /// As the socket has it.
    address: SocketAddr,
    /// As people write it.
    peer: SocketAddr,
    judge: Judge,
    meter: Meter,
    /// When something new came.
    heard: Instant,
    /// The sender's `--count`, if it was said.
    count: Option<u64>,
    end: Option<End>,
}

/// How the sender has ended.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It has sent so much.
    Said(Amount),
    /// An empty datagram: somebody else's way to say it.
    Empty,
}

impl Receiver<'_> {
    /// The next sender, from its first datagram to its end; `None` after Ctrl-C.
    fn receive(&mut self) -> io::Result<Option<(Outcome, Flow)>> {
        let mut buffer = vec![0; DATAGRAM_MAX_BYTES];
        let mut flow = None;
        loop {
            if signals::stops() > 0 {
                return Ok(flow.map(|flow| (Outcome::Stopped, flow)));
            }
            let (len, from) = match self.socket.recv_from(&mut buffer) {
                Ok(arrived) => arrived,
                Err(error) => {
                    if self.is_over(error, &mut flow)? {
                        return Ok(flow.map(|flow| (Outcome::Clean, flow)));
                    }
                    continue;
                }
            };
            let datagram = &buffer[..len];
            if flow.is_none() && self.begins(from, datagram) {
                flow = Some(Flow::begin(self.args, from));
            }
            let Some(known) = flow.as_mut().filter(|known| known.address == from) else {
                continue;
            };
            if let Some(outcome) = self.take(known, datagram) {
                return Ok(flow.map(|flow| (outcome, flow)));
            }
        }
    }

    /// Nothing is there: waits for more, but not too long.
    fn is_over(&self, error: io::Error, flow: &mut Option<Flow>) -> io::Result<bool> {
        match error.kind() {
            ErrorKind::Interrupted => return Ok(false),
            ErrorKind::WouldBlock => {}
            _ => return Err(error),
        }
        if let Some(line) = flow.as_mut().and_then(|flow| flow.meter.progress()) {
            note(line);
        }
        let deadline = flow.as_ref().and_then(|flow| flow.deadline(self.args));
        Ok(wait(&self.socket, PollFlags::POLLIN, deadline)? == Woken::Late)
    }

    /// Whether somebody new begins with this. Whom we are through with may still be
    /// sending: it has not heard that, and is told once more.
    fn begins(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let notice = Notice::parse(datagram);
        match &self.last {
            Some((last, answer)) if *last == from => {
                if matches!(notice, Some(Notice::End { .. })) {
                    let _ = self.socket.send_to(answer.as_bytes(), from);
                }
                matches!(notice, Some(Notice::Hello { .. }))
            }
            _ => !datagram.is_empty(),
        }
    }

    /// One datagram of this sender; an outcome if it is the last one.
    fn take(&self, flow: &mut Flow, datagram: &[u8]) -> Option<Outcome> {
        match Notice::parse(datagram) {
            Some(Notice::Hello { count }) => {
                flow.count = Some(count);
                let ready = flow.ready(self.args).to_string();
                let _ = self.socket.send_to(ready.as_bytes(), flow.address);
            }
            Some(Notice::End {
                count,
                bytes,
                datagrams,
            }) => {
                flow.count = Some(count);
                // The first time only: it is said again and again.
                if flow.end.is_none() {
                    flow.end = Some(End::Said(Amount { bytes, datagrams }));
                    flow.heard = Instant::now();
                }
            }
            None if datagram.is_empty() => flow.end = Some(End::Empty),
            None => {
                if let Err(corruption) = flow.zeros(datagram) {
                    return Some(Outcome::Corrupted(corruption));
                }
            }
        }
        flow.is_complete().then_some(Outcome::Clean)
    }

    fn answer(&mut self, outcome: &Outcome, flow: &Flow) {
        let line = outcome.answer(&flow.meter).to_string();
        for _ in 0..ANSWERS {
            let _ = self.socket.send_to(line.as_bytes(), flow.address);
        }
        self.last = Some((flow.address, line));
    }
}

impl Flow {
    fn begin(args: &Args, from: SocketAddr) -> Flow {
        Flow {
            address: from,
            peer: canonical(from),
            judge: Judge::default(),
            meter: args.meter(),
            heard: Instant::now(),
            count: None,
            end: None,
        }
    }

    fn zeros(&mut self, datagram: &[u8]) -> Result<(), crate::seed::judge::Corruption> {
        let before = self.judge.bytes();
        let verdict = self.judge.take(datagram);
        self.meter.add(self.judge.bytes() - before);
        self.meter.stop();
        self.heard = Instant::now();
        verdict
    }

    /// Whether there is nothing to wait for.
    fn is_complete(&self) -> bool {
        match self.end {
            Some(End::Said(sent)) => self.meter.bytes() >= sent.bytes,
            Some(End::Empty) => true,
            None => false,
        }
    }

    fn deadline(&self, args: &Args) -> Option<Instant> {
        let idle = unless_zero(args.idle);
        let patience = match self.end {
            None => idle?,
            Some(_) => idle.map_or(STRAGGLER_TIME, |idle| idle.min(STRAGGLER_TIME)),
        };
        self.heard.checked_add(patience)
    }

    fn ready(&self, args: &Args) -> Answer {
        Answer {
            verdict: Verdict::Ready,
            bytes: self.meter.bytes(),
            datagrams: self.meter.datagrams(),
            count: args.count,
        }
    }

    fn tell_end(&self, args: &Args) {
        let arrived = Amount {
            bytes: self.meter.bytes(),
            datagrams: self.meter.datagrams().unwrap_or_default(),
        };
        match self.end {
            Some(End::Said(sent)) => note(sentence(sent, arrived)),
            Some(End::Empty) => note("the sender has not said how many datagrams it sent"),
            None => note(format_args!(
                "no datagram for {} s, and no end was said: some may be lost",
                args.idle.as_secs_f64()
            )),
        }
        if let Some(theirs) = self.count.filter(|&theirs| theirs != args.count) {
            let ours = args.count;
            note(format_args!(
                "the sender used --count {theirs}, this side {ours}"
            ));
        }
    }
}
