//! `inflight send`: the sender of 2008. Shows the race with no harness around it.

mod connect;
mod ending;
mod rounds;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use socket2::Type;

use super::format::{note, print};
use super::{Failure, Status, usage};
use crate::seed::address::Host;
use crate::seed::meter::Meter;
use crate::seed::way::{Pipe, Way};
use crate::seed::zeros::Zeros;
use crate::seed::{seconds, signals};

const AFTER_HELP: &str = "\
Exit status:
  0    all was sent, and the receiver saw nothing wrong or does not say what it saw
  1    the receiver says that it saw corruption, or that bytes are missing (TCP)
  2    usage, a file that is not fit, or nobody to connect to
  3    the connection was lost, or the receiver stopped before the end
  130  Ctrl-C; the file is left all zeros";

/// Send the start of a file of zeros again and again, and change it after each return.
///
/// FILE is mapped shared. Each round clears its first byte, sends COUNT bytes by
/// sendfile(2), and writes a non-zero byte as soon as the call has returned. `recv` at
/// the other end must never see that byte.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Connect to this host: a name, an IPv4 or an IPv6 address, with its %scope
    #[arg(short = 'a', long = "address", value_name = "HOST")]
    host: Host,
    /// Connect to this port
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Send this file; its first COUNT bytes must be zero, and it must be writable
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Send so many bytes a round
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=(1 << 30)))]
    count: u64,
    /// Stop after so many rounds; without it, never
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// Let the change stand for so many milliseconds before the next round clears it
    #[arg(short, long, value_name = "MS", default_value_t = 0)]
    interval: u64,
    /// Send by splice(2), from the file into a pipe and from there to the socket
    #[arg(long)]
    splice: bool,
    /// Give the pipe of --splice so many bytes [default: as the kernel makes pipes]
    #[arg(long, value_name = "BYTES", requires = "splice",
          value_parser = clap::value_parser!(u32).range(1..))]
    pipe_size: Option<u32>,
    /// Send datagrams (UDP) instead of a stream (TCP)
    #[arg(long)]
    udp: bool,
    /// Send at most so many bytes in one datagram
    #[arg(long, value_name = "BYTES", requires = "udp", default_value_t = 1400,
          value_parser = clap::value_parser!(u16).range(1..=65507))]
    datagram: u16,
    /// Give up an address that has not answered for so long; 0: never
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    connect_timeout: Duration,
    /// Give up when the receiver acknowledges or reads nothing for so long; 0: never
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
    /// Say once a second how much was sent, though standard error is no terminal
    #[arg(long)]
    progress: bool,
}

impl Args {
    fn peer(&self) -> String {
        self.host.with_port(self.port)
    }

    fn kind(&self) -> Type {
        match self.udp {
            true => Type::DGRAM,
            false => Type::STREAM,
        }
    }

    fn way(&self) -> Result<Way, Failure> {
        if !self.splice {
            return Ok(Way::Sendfile);
        }
        let pipe = Pipe::new(self.pipe_size).map_err(usage)?;
        if let Some(asked) = self.pipe_size {
            let holds = pipe.capacity_bytes();
            note(format_args!(
                "--pipe-size {asked}: the pipe holds {holds} bytes"
            ));
        }
        Ok(Way::Splice(pipe))
    }
}

/// Runs the sender.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let zeros = Zeros::open(&args.file, args.count).map_err(usage)?;
    let way = args.way()?;
    let (socket, inbox) = connect::connect(args)?;
    let peer = args.peer();
    print(&format!(
        "Connected to {peer}.\n{}/{} -> {peer}\n",
        args.file.display(),
        args.count
    ))?;
    signals::watch().map_err(|error| Failure::new(Status::Internal, error))?;
    let show = args.progress || std::io::stderr().is_terminal();
    let mut session = rounds::Session {
        args,
        socket,
        inbox,
        zeros,
        way,
        meter: Meter::start(args.count, args.udp, show),
    };
    let stop = session.send_rounds();
    if matches!(stop, rounds::Stop::Asked) {
        note("stopped; waiting for the receiver to be through (not after one more Ctrl-C)");
    }
    // Bytes may still be on their way, and must see the change rather than a file that
    // was put right again: the receiver has to be through first.
    let stop = session.finish(stop);
    session.zeros.clean();
    note(session.meter.summary());
    session.report(stop)
}
