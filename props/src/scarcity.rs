//! Out of memory, at each allocation of a send in turn: the call may fail or send
//! less, but what it says it has sent arrives, and stays as it was.
//!
//! The kernel's own fault injection fails the N-th allocation of one thread
//! (Documentation/fault-injection). N goes up until a call makes fewer than that.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::thread;

use inflight::guest::link::Link;
use inflight::scenario::{Family, Setup};

use crate::properties::Result;

const DELAY_US: u64 = 20_000;
/// One page, and what takes several rounds and several packets.
const SIZES: [usize; 2] = [4096, 150_000];
/// Far more allocations than one call makes.
const MOST: u32 = 2000;
/// Fewer than this, and nothing was failed at all: a send allocates at least the
/// packet's head and what the wait is counted in.
const LEAST: u32 = 2;

#[derive(Debug, Clone, Copy)]
enum Way {
    Sendfile,
    Splice,
}

/// sendfile(2), by the page and by the pipe-full.
pub fn sendfile_survives_it() -> Result {
    survives(Way::Sendfile)
}

/// splice(2) from a pipe of the user's.
pub fn splice_survives_it() -> Result {
    survives(Way::Splice)
}

fn survives(way: Way) -> Result {
    let mut bench = Bench::set_up().map_err(|error| format!("set-up: {error}"))?;
    for size in SIZES {
        let mut failed = 0;
        loop {
            let nth = failed + 1;
            let attempt = bench.attempt(way, size, nth);
            let attempt = attempt.map_err(|error| format!("allocation {nth}: {error}"))?;
            let place = format!("{way:?} of {size} bytes, allocation {nth}");
            attempt
                .judge(size)
                .map_err(|why| format!("{place}: {why}"))?;
            if !attempt.injected {
                break;
            }
            failed = nth;
            if failed == MOST {
                return Err(format!("{place}: there is no end of them"));
            }
        }
        if failed < LEAST {
            return Err(format!(
                "only {failed} allocations were failed: the test is blind"
            ));
        }
        println!("{way:?} of {size} bytes: {failed} allocations failed one by one");
    }
    Ok(())
}

/// A listener behind a delayed link, and a file.
struct Bench {
    _link: Link,
    listener: TcpListener,
    file: File,
    /// Of this thread.
    fail_nth: File,
}

/// One call, and what came of it.
struct Attempt {
    /// Whether the allocation was reached.
    injected: bool,
    outcome: io::Result<usize>,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Bench {
    fn set_up() -> io::Result<Bench> {
        for (file, value) in [
            // Also what may sleep, and what may take high memory.
            ("failslab/ignore-gfp-wait", "N"),
            ("failslab/cache-filter", "N"),
            ("failslab/verbose", "0"),
            ("fail_page_alloc/ignore-gfp-wait", "N"),
            ("fail_page_alloc/ignore-gfp-highmem", "N"),
            ("fail_page_alloc/min-order", "0"),
            ("fail_page_alloc/verbose", "0"),
        ] {
            let path = format!("/sys/kernel/debug/{file}");
            fs::write(&path, value)
                .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        }
        let mut link = Link::create()?;
        let mut setup = Setup::default();
        setup.data.delay_us = DELAY_US;
        setup.ack.delay_us = DELAY_US;
        link.configure(&setup, |_| false)?;
        let address = Link::receiver_address(Family::Tcp4);
        let listener = link
            .receiver()
            .with(|| TcpListener::bind((address, 2008)))?;
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(std::env::temp_dir().join("scarcity"))?;
        let fail_nth = File::options()
            .read(true)
            .write(true)
            .open("/proc/thread-self/fail-nth")?;
        Ok(Bench {
            _link: link,
            listener,
            file,
            fail_nth,
        })
    }

    /// Sends `size` bytes with the `nth` allocation failing, and changes the file as
    /// soon as the call has returned.
    fn attempt(&mut self, way: Way, size: usize, nth: u32) -> io::Result<Attempt> {
        let byte = |at: usize| ((at / 7 + nth as usize) % 251) as u8;
        let sent: Vec<u8> = (0..size).map(byte).collect();
        self.file.write_all_at(&sent, 0)?;
        let socket = TcpStream::connect(self.listener.local_addr()?)?;
        let (mut accepted, _) = self.listener.accept()?;
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            accepted.read_to_end(&mut received).map(|_| received)
        });
        let (out, file) = (socket.as_raw_fd(), self.file.as_raw_fd());
        let (injected, outcome) = match way {
            Way::Sendfile => {
                let mut offset = 0;
                // SAFETY: descriptors that stay open, and an offset of our own.
                self.failing(nth, || unsafe {
                    libc::sendfile(out, file, &mut offset, size)
                })?
            }
            Way::Splice => {
                let (drain, fill) = io::pipe()?;
                fill_pipe(fill.as_raw_fd(), file, size)?;
                let none = std::ptr::null_mut();
                // SAFETY: descriptors that stay open.
                self.failing(nth, || unsafe {
                    libc::splice(drain.as_raw_fd(), none, out, none, size, 0)
                })?
            }
        };
        self.file.write_all_at(&vec![0xff; size], 0)?;
        socket.shutdown(Shutdown::Write)?;
        let received = reader
            .join()
            .map_err(|_| io::Error::other("the reader"))??;
        Ok(Attempt {
            injected,
            outcome,
            sent,
            received,
        })
    }

    /// Makes a call with this thread's `nth` allocation failing; tells whether it
    /// came so far.
    fn failing(
        &self,
        nth: u32,
        call: impl FnOnce() -> isize,
    ) -> io::Result<(bool, io::Result<usize>)> {
        self.fail_nth.write_all_at(nth.to_string().as_bytes(), 0)?;
        let returned = call();
        let error = io::Error::last_os_error();
        let mut left = [0; 16];
        let len = self.fail_nth.read_at(&mut left, 0)?;
        self.fail_nth.write_all_at(b"0", 0)?;
        let injected = String::from_utf8_lossy(&left[..len]).trim() == "0";
        Ok((injected, usize::try_from(returned).map_err(|_| error)))
    }
}

/// Fills a pipe that has room for it with references to the file's pages.
fn fill_pipe(fill: RawFd, file: RawFd, size: usize) -> io::Result<()> {
    let mut offset = 0;
    // SAFETY: descriptors that stay open, and an offset of our own.
    let filled = unsafe {
        libc::fcntl(fill, libc::F_SETPIPE_SZ, 1 << 20);
        libc::splice(file, &mut offset, fill, std::ptr::null_mut(), size, 0)
    };
    match usize::try_from(filled) {
        Ok(filled) if filled == size => Ok(()),
        Ok(filled) => Err(io::Error::other(format!("the pipe took {filled} bytes"))),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

impl Attempt {
    fn judge(&self, size: usize) -> Result {
        let count = match &self.outcome {
            Ok(count) => *count,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOMEM | libc::ENOBUFS | libc::EAGAIN) => 0,
                _ => return Err(error.to_string()),
            },
        };
        if !self.injected && count != size {
            return Err(format!("nothing was failed, and {:?}", self.outcome));
        }
        if self.received.len() != count {
            let came = self.received.len();
            return Err(format!("{:?}, and {came} bytes came", self.outcome));
        }
        let same = |(a, b): (&u8, &u8)| a == b;
        match self
            .received
            .iter()
            .zip(&self.sent)
            .position(|it| !same(it))
        {
            None => Ok(()),
            Some(at) => Err(format!(
                "{:?}, and byte {at} came as {:#04x} instead of {:#04x}",
                self.outcome, self.received[at], self.sent[at]
            )),
        }
    }
}
