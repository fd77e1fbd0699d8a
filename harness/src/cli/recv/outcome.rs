//! How a connection has ended, said to the user and to the sender.

use std::io;
use std::net::SocketAddr;

use anyhow::anyhow;

use crate::cli::format::{note, print};
use crate::cli::{Failure, Status};
use crate::seed::judge::Corruption;
use crate::seed::message::{Answer, Verdict};
use crate::seed::meter::Meter;

/// How a connection has ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The sender has closed, and all was zero.
    Clean,
    /// A byte was not zero.
    Corrupted(Corruption),
    /// Ctrl-C.
    Stopped,
    /// The sender is no more.
    Lost(io::Error),
}

impl Outcome {
    /// Says it.
    pub fn tell(&self, meter: &Meter, peer: SocketAddr) -> Result<(), Failure> {
        let rounds = meter.rounds();
        if let Outcome::Corrupted(Corruption { byte, .. }) = self {
            print(&format!("Data was corrupted: {byte:02x}.\n"))?;
        }
        note(meter.summary());
        match self {
            Outcome::Clean if meter.bytes() == 0 => {
                note(format_args!("nothing came from {peer}"));
            }
            Outcome::Clean => note(format_args!("all zero, from {peer}")),
            Outcome::Corrupted(Corruption { at, .. }) => {
                let (byte, round) = (at % meter.count(), at / meter.count() + 1);
                note(format_args!("byte {byte} of round {round}, from {peer}"));
            }
            Outcome::Stopped => {
                note(format_args!(
                    "stopped after {rounds} rounds from {peer}, all zero"
                ));
            }
            // The exit status says it, too: see `failure`.
            Outcome::Lost(_) => {}
        }
        Ok(())
    }

    /// What the sender is told.
    pub fn answer(&self, meter: &Meter) -> Answer {
        Answer {
            verdict: match self {
                Outcome::Clean => Verdict::Clean,
                Outcome::Corrupted(Corruption { byte, .. }) => Verdict::Corrupted { byte: *byte },
                Outcome::Stopped | Outcome::Lost(_) => Verdict::Stopped,
            },
            bytes: meter.bytes(),
            datagrams: meter.datagrams(),
            count: meter.count(),
        }
    }

    /// The exit status of a receiver of one connection.
    pub fn status(&self, meter: &Meter, peer: SocketAddr) -> Result<Status, Failure> {
        match self {
            Outcome::Clean if meter.bytes() == 0 => Ok(Status::NothingRan),
            Outcome::Clean => Ok(Status::Held),
            Outcome::Corrupted(_) => Ok(Status::Violated),
            Outcome::Stopped => Ok(Status::Interrupted),
            Outcome::Lost(error) => {
                let amount = meter.amount();
                let error = anyhow!("lost {peer} after {amount}, all zero: {error}");
                Err(Failure::new(Status::Missing, error))
            }
        }
    }
}
