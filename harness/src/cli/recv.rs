//! `inflight recv`: the receiver of 2008.

use std::io::{self, Read};
use std::net::{IpAddr, TcpListener};

use anyhow::Context;

use super::format::{note, print};
use super::{Failure, Status, usage};

/// Receive from `inflight send` and check that every byte is zero.
///
/// One connection is taken. The exit status is 1 at the first byte that is not zero, 0
/// when the sender closes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Listen on this address
    #[arg(short = 'a', long, value_name = "ADDR")]
    address: IpAddr,
    /// Listen on this port
    #[arg(short, long, value_name = "PORT")]
    port: u16,
    /// Receive so many bytes a round, as given to `send`
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=(1 << 30)))]
    count: u64,
}

/// Runs the receiver.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let (address, port) = (args.address, args.port);
    let listener = TcpListener::bind((address, port))
        .with_context(|| format!("cannot listen on {address} port {port}"))
        .map_err(usage)?;
    let (socket, peer) = listener.accept().context("accept").map_err(usage)?;
    match receive(&socket, args.count) {
        Ok(End::Clean { bytes }) => {
            let rounds = bytes / args.count;
            note(format_args!(
                "{bytes} bytes from {peer}: {rounds} rounds of {}, all zero",
                args.count
            ));
            if bytes % args.count != 0 {
                note(format_args!(
                    "the last round is not whole: does the sender use another COUNT?"
                ));
            }
            Ok(Status::Held)
        }
        Ok(End::Corrupted { byte, at }) => {
            print(&format!("Data was corrupted: {byte:02x}.\n"))?;
            note(format_args!(
                "byte {} of round {}",
                at % args.count,
                at / args.count + 1
            ));
            Ok(Status::Violated)
        }
        Err(error) => {
            let error = anyhow::Error::new(error).context(format!("receive from {peer}"));
            Err(Failure::new(Status::Internal, error))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Clean { bytes: u64 },
    Corrupted { byte: u8, at: u64 },
}

fn receive(mut socket: impl Read, count: u64) -> io::Result<End> {
    let mut buffer = vec![0; usize::try_from(count).unwrap_or(usize::MAX).min(1 << 20)];
    let mut bytes = 0;
    loop {
        let len = match socket.read(&mut buffer) {
            Ok(0) => return Ok(End::Clean { bytes }),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if let Some(at) = buffer[..len].iter().position(|&byte| byte != 0) {
            return Ok(End::Corrupted {
                byte: buffer[at],
                at: bytes + at as u64,
            });
        }
        bytes += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_clean_and_anything_else_is_not() {
        let zeros = vec![0; 10_000];
        assert_eq!(
            receive(&zeros[..], 4096).unwrap(),
            End::Clean { bytes: 10_000 }
        );
        let mut torn = zeros;
        torn[9_999] = 0xab;
        let end = receive(&torn[..], 4096).unwrap();
        assert_eq!(
            end,
            End::Corrupted {
                byte: 0xab,
                at: 9_999
            }
        );
    }
}
