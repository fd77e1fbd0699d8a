//! Finds the receiver.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use nix::poll::PollFlags;
use socket2::Socket;

use super::Args;
use crate::cli::format::note;
use crate::cli::{Failure, usage};
use crate::seed::inbox::Inbox;
use crate::seed::message::Notice;
use crate::seed::socket::{self, Found, Tries, Woken, wait};
use crate::seed::unless_zero;

/// Between one hello and the next: one may be lost.
pub(super) const RESEND_INTERVAL: Duration = Duration::from_millis(200);

/// The socket to the first address of the host that works.
pub(super) fn connect(args: &Args) -> Result<(Socket, Inbox), Failure> {
    let peer = args.peer();
    let addresses = args
        .host
        .resolve(args.port)
        .with_context(|| format!("cannot find the host of --address {}", args.host))
        .map_err(usage)?;
    let found = match args.udp {
        false => stream(args, &addresses),
        true => datagrams(args, &addresses),
    };
    let found = found
        .map_err(|tries| anyhow!("cannot connect to {peer}: {tries}; is `recv` running there?"))
        .map_err(usage)?;
    for (address, error) in &found.skipped.0 {
        note(format_args!("not {}: {error}", address.ip()));
    }
    if !args.host.is_number() {
        note(format_args!("{} is {}", args.host, found.address.ip()));
    }
    let (socket, inbox) = found.it;
    if !args.udp {
        socket::notice_silence(&socket, unless_zero(args.timeout))
            .with_context(|| format!("--timeout {}", args.timeout.as_secs_f64()))
            .map_err(usage)?;
    }
    Ok((socket, inbox))
}

fn stream(args: &Args, addresses: &[SocketAddr]) -> Result<Found<(Socket, Inbox)>, Tries> {
    let timeout = unless_zero(args.connect_timeout);
    socket::first(addresses, |address| {
        let socket = socket::connect(address, timeout)?;
        Ok((socket, Inbox::new(args.kind())))
    })
}

/// Who answers comes first. Who is silent may listen all the same, and not know our words.
fn datagrams(args: &Args, addresses: &[SocketAddr]) -> Result<Found<(Socket, Inbox)>, Tries> {
    let tries = match socket::first(addresses, |address| greet(address, args)) {
        Err(tries) => tries,
        found => return found,
    };
    let silent = |(_, error): &&(SocketAddr, io::Error)| error.kind() == ErrorKind::TimedOut;
    let Some(&(address, _)) = tries.0.iter().find(silent) else {
        return Err(tries);
    };
    note("no answer to the hello: sending all the same");
    socket::first(&[address], |address| {
        let socket = socket::datagrams_to(address)?;
        Ok((socket, Inbox::new(args.kind())))
    })
}

/// Says hello until there is an answer or the time is over.
///
/// # Errors
/// Nobody is there: the other machine, or one on the way, has said so, or nobody has said
/// anything.
fn greet(address: SocketAddr, args: &Args) -> io::Result<(Socket, Inbox)> {
    let socket = socket::datagrams_to(address)?;
    let hello = Notice::Hello { count: args.count }.to_string();
    let mut inbox = Inbox::new(args.kind());
    let start = Instant::now();
    let patience = unless_zero(args.connect_timeout);
    while patience.is_none_or(|patience| start.elapsed() < patience) {
        socket.send(hello.as_bytes())?;
        let mut again = RESEND_INTERVAL;
        if let Some(patience) = patience {
            again = again.min(patience.saturating_sub(start.elapsed()));
        }
        await_word(&socket, &mut inbox, again)?;
        if inbox.answer().is_some() {
            return Ok((socket, inbox));
        }
    }
    Err(ErrorKind::TimedOut.into())
}

/// Reads what comes within this time, up to an answer.
pub(super) fn await_word(socket: &Socket, inbox: &mut Inbox, time: Duration) -> io::Result<()> {
    let before = inbox.answer();
    let end = Instant::now() + time;
    loop {
        inbox.look(socket)?;
        if inbox.answer() != before {
            return Ok(());
        }
        match wait(socket, PollFlags::POLLIN, Some(end))? {
            Woken::Ready => {}
            Woken::Late => return Ok(()),
            Woken::Signal => return Err(ErrorKind::Interrupted.into()),
        }
    }
}
