//! `inflight node`: what a guest of `demo` runs. Not for people.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, anyhow};

use super::format::note;
use super::{Failure, Status, recv, send, usage};
use crate::{engine, guest};

/// Give this machine's card an address, and run one of the two programs
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Give the card this address; without one, loopback is all there is
    #[arg(long, value_name = "ADDR")]
    address: Option<IpAddr>,
    /// Hold what is sent for so many microseconds
    #[arg(long, value_name = "US", default_value_t = 0)]
    delay_us: u64,
    /// Make this file of zeros first
    #[arg(long, value_name = "FILE", requires = "bytes")]
    zeros: Option<PathBuf>,
    /// Make it so long
    #[arg(long, value_name = "BYTES")]
    bytes: Option<u64>,
    /// Begin a receiver here, too, with these arguments of `recv`, split at blanks
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    beside: Option<String>,
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, clap::Subcommand)]
enum Program {
    Send(send::Args),
    Recv(recv::Args),
}

/// The network's prefix.
const PREFIX_LEN: u8 = 24;

/// Runs the program. With a receiver beside it the status is the receiver's.
pub fn run(args: &Args) -> Result<Status, Failure> {
    if !engine::in_guest() {
        return Err(usage(anyhow!(
            "this is what a guest runs; it would change the network of this machine"
        )));
    }
    let internal = |error| Failure::new(Status::Internal, error);
    if let Some(address) = args.address {
        guest::node::set_up(address, PREFIX_LEN, args.delay_us)
            .context("cannot set the network card up")
            .map_err(internal)?;
    }
    if let (Some(zeros), Some(bytes)) = (&args.zeros, args.bytes) {
        File::create(zeros)
            .and_then(|file| file.set_len(bytes))
            .with_context(|| format!("cannot make {}", zeros.display()))
            .map_err(internal)?;
    }
    let Some(beside) = &args.beside else {
        return run_one(&args.program);
    };
    let mut receiver = listening(beside).map_err(internal)?;
    let sent = run_one(&args.program);
    let status = receiver.wait().context("wait for the receiver");
    match (status.map_err(internal)?.code(), sent) {
        (Some(1), _) => Ok(Status::Violated),
        (Some(0), sent) => sent,
        (status, _) => Err(internal(anyhow!("the receiver ended with {status:?}"))),
    }
}

fn run_one(program: &Program) -> Result<Status, Failure> {
    match program {
        Program::Send(args) => send::run(args),
        Program::Recv(args) => recv::run(args),
    }
}

/// A receiver that listens already.
fn listening(arguments: &str) -> anyhow::Result<Child> {
    let mut receiver = Command::new(std::env::current_exe()?)
        .arg("recv")
        .args(arguments.split_whitespace())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the receiver")?;
    let stderr = receiver.stderr.take().context("it has a standard error")?;
    let mut lines = BufReader::new(stderr).lines();
    for line in lines.by_ref() {
        let line = line?;
        note(&line);
        if line.starts_with("Listening on ") {
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(note));
            return Ok(receiver);
        }
    }
    Err(anyhow!(
        "the receiver does not listen: {}",
        receiver.wait()?
    ))
}
