//! A TCP connection: zeros until the sender closes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, recv};
use socket2::Socket;

use super::outcome::Outcome;
use super::{Args, Kept, canonical};
use crate::cli::format::note;
use crate::cli::{Failure, Status};
use crate::seed::judge::Judge;
use crate::seed::meter::Meter;
use crate::seed::socket::{notice_silence, wait};
use crate::seed::{signals, unless_zero};

/// What is read at a time, at most.
const BUFFER_MAX_BYTES: u64 = 1 << 20;

/// After corruption the sender is still sending. To close then would reset the
/// connection, and might take the answer from it: so long it may read that first. It
/// looks once a second.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// One connection; who comes later is refused.
pub(super) fn serve_one(args: &Args, listener: Socket) -> Result<Status, Failure> {
    let Some((socket, peer)) = accept(&listener)? else {
        return Ok(Status::Interrupted);
    };
    drop(listener);
    let (outcome, meter) = serve(args, &socket, peer)?;
    outcome.status(&meter, peer)
}

/// One connection after another; who comes meanwhile waits.
pub(super) fn serve_all(args: &Args, listener: &Socket) -> Result<Status, Failure> {
    let mut kept = Kept::default();
    while let Some((socket, peer)) = accept(listener)? {
        let (outcome, meter) = serve(args, &socket, peer)?;
        kept.add(&outcome);
        if let Err(lost) = outcome.status(&meter, peer) {
            note(format_args!("{lost}"));
        }
    }
    Ok(kept.end())
}

/// The next connection; `None` after Ctrl-C.
fn accept(listener: &Socket) -> Result<Option<(Socket, SocketAddr)>, Failure> {
    while signals::stops() == 0 {
        match listener.accept() {
            Ok((socket, peer)) => {
                let peer = peer.as_socket().map(canonical);
                let peer = peer.unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
                return Ok(Some((socket, peer)));
            }
            // Of the connection, not of the listener: accept(2).
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let error = anyhow::Error::new(error).context("cannot take a connection");
                return Err(Failure::new(Status::Missing, error));
            }
        }
    }
    Ok(None)
}

fn serve(args: &Args, socket: &Socket, peer: SocketAddr) -> Result<(Outcome, Meter), Failure> {
    // A socket that refuses that will say why when it is read from.
    let _ = notice_silence(socket, unless_zero(args.timeout));
    let mut meter = args.meter();
    let outcome = receive(socket, args.count, &mut meter);
    meter.stop();
    outcome.tell(&meter, peer)?;
    if matches!(outcome, Outcome::Clean) {
        tell_rest(&meter);
    }
    answer(socket, &outcome, &meter);
    Ok((outcome, meter))
}

fn receive(mut socket: &Socket, count: u64, meter: &mut Meter) -> Outcome {
    let mut buffer = vec![0; count.min(BUFFER_MAX_BYTES) as usize];
    let mut judge = Judge::default();
    while signals::stops() == 0 {
        if let Some(line) = meter.progress() {
            note(line);
        }
        let len = match socket.read(&mut buffer) {
            Ok(0) => return Outcome::Clean,
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Outcome::Lost(error),
        };
        let before = judge.bytes();
        let verdict = judge.take(&buffer[..len]);
        meter.add(judge.bytes() - before);
        if let Err(corruption) = verdict {
            return Outcome::Corrupted(corruption);
        }
    }
    Outcome::Stopped
}

fn tell_rest(meter: &Meter) {
    let (rest, count) = (meter.bytes() % meter.count(), meter.count());
    if rest != 0 {
        note(format_args!(
            "the last round has {rest} bytes of {count}: the sender uses another --count, or was \
             stopped in the middle of a round"
        ));
    }
}

/// Tells the sender, and lets it read that. Whether it does is its own affair.
fn answer(mut socket: &Socket, outcome: &Outcome, meter: &Meter) {
    let line = outcome.answer(meter).to_string();
    let told = socket
        .write_all(line.as_bytes())
        .and_then(|()| socket.shutdown(Shutdown::Write));
    if told.is_ok() && matches!(outcome, Outcome::Corrupted(_) | Outcome::Stopped) {
        let _ = drain(socket, Instant::now() + ANSWER_TIME);
    }
}

fn drain(socket: &Socket, end: Instant) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let stops = signals::stops();
    while Instant::now() < end && signals::stops() == stops {
        wait(socket, PollFlags::POLLIN, Some(end))?;
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
