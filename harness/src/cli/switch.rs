//! `inflight switch`: makes what joins two machines. Not for people.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use super::{Failure, Status};
use crate::guest::switch;

/// Make a network between two machines, and hand its ends to standard input, a socket
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The machines' addresses
    #[arg(num_args = 2, required = true)]
    machines: Vec<IpAddr>,
}

/// Makes it.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let machines = [args.machines[0], args.machines[1]];
    switch::hand_over(io::stdin().as_fd(), machines)
        .map_err(|error| Failure::new(Status::Missing, error))?;
    Ok(Status::Held)
}
