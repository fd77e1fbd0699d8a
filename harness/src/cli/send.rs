//! `inflight send`: the sender of 2008. Shows the race with no harness around it.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::format::print;
use super::{Failure, Status, usage};

/// What is written over the first byte once sendfile(2) has returned.
const STAIN: u8 = 0xab;

/// Send the start of a file of zeros again and again, and change it after each return.
///
/// FILE is mapped shared. Each round clears its first byte, sends COUNT bytes by
/// sendfile(2), and writes a non-zero byte as soon as the call has returned.
/// `inflight recv` at the other end must never see that byte.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Connect to this host
    #[arg(short = 'a', long = "address", value_name = "HOST")]
    host: String,
    /// Connect to this port
    #[arg(short, long, value_name = "PORT")]
    port: u16,
    /// Send this file; its first COUNT bytes must be zero
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Send so many bytes a round
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=(1 << 30)))]
    count: u64,
    /// Stop after so many rounds; without it, never
    #[arg(short = 'n', long, value_name = "N")]
    rounds: Option<u64>,
    /// Let the change stand for so many milliseconds before the next round clears it
    #[arg(short, long, value_name = "MS", default_value_t = 0)]
    interval: u64,
}

/// Runs the sender.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let mut page = SharedFile::open(&args.file, args.count).map_err(usage)?;
    let (host, port) = (&args.host, args.port);
    let socket = TcpStream::connect((host.as_str(), port))
        .with_context(|| format!("cannot connect to {host}:{port}"))
        .map_err(usage)?;
    print(&format!(
        "Connected to {host}:{port}.\n{}/{} -> {host}:{port}\n",
        args.file.display(),
        args.count
    ))?;
    let mut round = 0;
    while args.rounds.is_none_or(|rounds| round < rounds) {
        page.store(0);
        page.send(&socket, args.count)
            .with_context(|| format!("round {}: sendfile to {host}:{port}", round + 1))
            .map_err(|error| Failure::new(Status::Violated, error))?;
        page.store(STAIN);
        std::thread::sleep(Duration::from_millis(args.interval));
        round += 1;
    }
    // Bytes may still be on their way, and must see the change rather than a
    // file that was put right again: wait for the receiver to be through.
    await_close(&socket);
    page.store(0);
    Ok(Status::Held)
}

// Whatever ends the connection will do, so errors are no matter.
fn await_close(mut socket: &TcpStream) {
    if socket.shutdown(Shutdown::Write).is_ok() {
        let _ = io::copy(&mut socket, &mut io::sink());
    }
}

/// A file and the shared mapping of its first byte's page.
struct SharedFile {
    file: File,
    start: NonNull<libc::c_void>,
    len: std::num::NonZeroUsize,
}

impl SharedFile {
    fn open(path: &Path, count: u64) -> anyhow::Result<SharedFile> {
        let shown = path.display();
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open --file {shown} for reading and writing"))?;
        let size = file.metadata()?.len();
        if size < count {
            return Err(anyhow!(
                "--file {shown} has {size} bytes, fewer than --count {count}"
            ));
        }
        let mut start = (&file).take(count);
        let mut bytes = vec![0; 1 << 16];
        // The first byte is ours: a run that was stopped leaves it changed.
        start.read_exact(&mut bytes[..1])?;
        loop {
            let len = start
                .read(&mut bytes)
                .with_context(|| format!("cannot read --file {shown}"))?;
            if len == 0 {
                break;
            }
            if bytes[..len].iter().any(|&byte| byte != 0) {
                return Err(anyhow!(
                    "--file {shown} is not all zeros in its first {count} bytes; \
                     make one with `truncate -s {count} FILE`"
                ));
            }
        }
        let len = std::num::NonZeroUsize::MIN;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, &file, 0) }
            .with_context(|| format!("cannot map --file {shown}"))?;
        Ok(SharedFile { file, start, len })
    }

    fn store(&mut self, byte: u8) {
        // SAFETY: the mapping has this byte; volatile, because somebody else
        // looks at it: the network card.
        unsafe { self.start.as_ptr().cast::<u8>().write_volatile(byte) };
    }

    fn send(&self, socket: &TcpStream, count: u64) -> io::Result<()> {
        let mut offset: libc::off_t = 0;
        while (offset as u64) < count {
            let left = (count - offset as u64) as usize;
            // SAFETY: both descriptors are open and `offset` outlives the call.
            let sent = unsafe {
                libc::sendfile(socket.as_raw_fd(), self.file.as_raw_fd(), &mut offset, left)
            };
            match sent {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                1.. => {}
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Drop for SharedFile {
    fn drop(&mut self) {
        // SAFETY: ours, whole, and not used after this.
        let _ = unsafe { munmap(self.start, self.len.get()) };
    }
}
