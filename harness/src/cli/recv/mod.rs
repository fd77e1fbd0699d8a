//! `inflight recv`: the receiver of 2008.

mod datagrams;
mod outcome;
mod stream;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use socket2::{Socket, Type};

use super::format::note;
use super::{Failure, Status, usage};
use crate::seed::address::{Host, and_port};
use crate::seed::meter::Meter;
use crate::seed::socket::{first, listen};
use crate::seed::{seconds, signals};
use outcome::Outcome;

const AFTER_HELP: &str = "\
Exit status:
  0    every byte was zero up to the sender's end
  1    a byte was not zero; with --keep, in any of the connections
  2    usage, or an address that cannot be listened on
  3    the connection was lost; all was zero up to there
  4    the sender has sent nothing
  130  Ctrl-C; all was zero up to there";

/// Receive from `send` and check that every byte is zero.
///
/// One connection is taken. It ends at the first byte that is not zero, or when the
/// sender closes. The sender is told what was seen, on the same connection.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Listen on this address: a name, an IPv4 or an IPv6 address, with its %scope
    #[arg(short = 'a', long, value_name = "ADDR")]
    address: Host,
    /// Listen on this port; 0 is one of the kernel's choice
    #[arg(short, long, value_name = "PORT")]
    port: u16,
    /// Receive so many bytes a round, as given to `send`
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=(1 << 30)))]
    count: u64,
    /// Receive one connection after another, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Receive datagrams (UDP) instead of a stream (TCP)
    #[arg(long)]
    udp: bool,
    /// Stop when no datagram has come for so long after the first; 0: never
    #[arg(long, value_name = "SECONDS", requires = "udp", default_value = "10", value_parser = seconds)]
    idle: Duration,
    /// Give up a TCP sender whose machine has not been heard of for so long; 0: never
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
    /// Say once a second how much has come, though standard error is no terminal
    #[arg(long)]
    progress: bool,
}

impl Args {
    fn meter(&self) -> Meter {
        let show = self.progress || std::io::stderr().is_terminal();
        Meter::start(self.count, self.udp, show)
    }
}

/// Runs the receiver.
pub fn run(args: &Args) -> Result<Status, Failure> {
    // Before anybody is told that it listens, and may have it stopped.
    signals::watch().map_err(|error| Failure::new(Status::Internal, error))?;
    let socket = open(args)?;
    match (args.udp, args.keep) {
        (true, _) => datagrams::serve(args, socket),
        (false, true) => stream::serve_all(args, &socket),
        (false, false) => stream::serve_one(args, socket),
    }
}

/// The socket on the first address that works; says which that is.
fn open(args: &Args) -> Result<Socket, Failure> {
    let Args { address, port, .. } = args;
    let kind = match args.udp {
        true => Type::DGRAM,
        false => Type::STREAM,
    };
    let addresses = address
        .resolve(*port)
        .with_context(|| format!("cannot find the address of --address {address}"))
        .map_err(usage)?;
    let found = first(&addresses, |it| listen(it, kind))
        .map_err(|tries| anyhow!("cannot listen on {address} port {port}: {tries}"))
        .map_err(usage)?;
    for (skipped, error) in &found.skipped.0 {
        note(format_args!("not {}: {error}", skipped.ip()));
    }
    let local = found.it.local_addr().ok().and_then(|it| it.as_socket());
    note(format_args!(
        "Listening on {}.",
        and_port(local.unwrap_or(found.address))
    ));
    Ok(found.it)
}

/// A peer's address as people write it: an IPv4 one that came to an IPv6 socket is one.
fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer.ip().to_canonical() {
        ip @ std::net::IpAddr::V4(_) => SocketAddr::new(ip, peer.port()),
        _ => peer,
    }
}

/// What `--keep` has come to: it ends by Ctrl-C.
#[derive(Debug, Default)]
struct Kept {
    connections: u64,
    corrupted: u64,
}

impl Kept {
    fn add(&mut self, outcome: &Outcome) {
        self.connections += 1;
        self.corrupted += u64::from(matches!(outcome, Outcome::Corrupted(_)));
    }

    fn end(&self) -> Status {
        note(format_args!(
            "{} connections, {} corrupted",
            self.connections, self.corrupted
        ));
        match self.corrupted {
            0 => Status::Interrupted,
            _ => Status::Violated,
        }
    }
}
