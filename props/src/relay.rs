//! From socket to pipe to socket. What a socket gives to a pipe are pieces of socket
//! buffers, which are longer than a page: nothing else fills a pipe so.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;

use inflight::guest::counters;
use inflight::guest::link::Link;
use inflight::history::{fill, pattern};
use inflight::scenario::{Family, Setup};
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use crate::properties::Result;
use crate::waiting::receive;

const PAGE: usize = 4096;
/// Slots of the pipe: with buffers of a page it would hold two pages.
const SLOTS: usize = 2;
const LEN: usize = 1 << 20;

/// A megabyte comes from one socket and goes to another by way of a pipe, over the
/// link, and arrives as it was.
pub fn a_pipe_buffer_may_be_larger_than_a_page() -> Result {
    let setup = |it: std::io::Error| format!("set-up: {it}");
    // This one is local, so that long buffers come as they were made: before the link
    // takes us to a namespace without a loopback interface.
    let near = TcpListener::bind("127.0.0.1:0").map_err(setup)?;
    let (mut source, from) = connect(&near).map_err(setup)?;
    let mut link = Link::create().map_err(setup)?;
    let mut delayed = Setup::default();
    (delayed.data.delay_us, delayed.ack.delay_us) = (20_000, 20_000);
    link.configure(&delayed, |_| false).map_err(setup)?;
    let address = SocketAddr::new(Link::receiver_address(Family::Tcp4), 0);
    let far = link.receiver().with(|| TcpListener::bind(address));
    let (to, mut sink) = far.and_then(|far| connect(&far)).map_err(setup)?;
    let mut bytes = vec![0; LEN];
    fill(&mut bytes, 0, 0);
    let writer = thread::spawn(move || source.write_all(&bytes));
    let reader = thread::spawn(move || receive(&mut sink, LEN));

    let before = counters::read().map_err(|it| it.to_string())?;
    let most = relay(&from, &to)?;
    if most <= SLOTS * PAGE {
        return Err(format!(
            "{SLOTS} slots of the pipe held {most} bytes at most: no buffer was longer than a page"
        ));
    }
    let written = writer.join().map_err(|_| "the writer panicked")?;
    written.map_err(|it| format!("write: {it}"))?;
    let received = reader.join().map_err(|_| "the reader panicked")??;
    if let Some(at) = (0..LEN).find(|&at| received[at] != pattern(at as u64, 0)) {
        return Err(format!("byte {at} is {:#04x}", received[at]));
    }
    let after = counters::read().map_err(|it| it.to_string())?;
    match (before, after) {
        (Some(before), Some(after)) => {
            let counted = after.since(before);
            let all = LEN as u64;
            match counted.referenced_bytes == all && counted.copied_bytes == 0 {
                true => Ok(()),
                false => Err(format!("not all by reference: {counted:?}")),
            }
        }
        // A kernel without the cure counts nothing.
        _ => Ok(()),
    }
}

/// Moves all; the most bytes that were in the pipe.
fn relay(from: &TcpStream, to: &TcpStream) -> std::result::Result<usize, String> {
    let pipe = |it: nix::Error| format!("pipe: {it}");
    let (out, into) = pipe2(OFlag::O_CLOEXEC).map_err(pipe)?;
    fcntl(&into, FcntlArg::F_SETPIPE_SZ((SLOTS * PAGE) as i32)).map_err(pipe)?;
    let (mut moved, mut most) = (0, 0);
    while moved < LEN {
        // A call takes a page for each free slot at most, so a long buffer leaves slots
        // to the next call.
        let mut held = fill_some(from, &into, LEN - moved, SpliceFFlags::empty())?;
        while held > 0 && moved + held < LEN {
            match fill_some(
                from,
                &into,
                LEN - moved - held,
                SpliceFFlags::SPLICE_F_NONBLOCK,
            )? {
                0 => break,
                more => held += more,
            }
        }
        most = most.max(held);
        moved += held;
        let mut left = held;
        while left > 0 {
            left -= splice(&out, None, to, None, left, SpliceFFlags::empty())
                .map_err(|it| format!("splice to the socket: {it}"))?;
        }
    }
    Ok(most)
}

/// Bytes that went into the pipe; 0: it is full, or nothing is there.
fn fill_some(
    from: &TcpStream,
    into: &OwnedFd,
    len: usize,
    flags: SpliceFFlags,
) -> std::result::Result<usize, String> {
    match splice(from, None, into, None, len, flags) {
        Err(nix::Error::EAGAIN) => Ok(0),
        result => result.map_err(|it| format!("splice to the pipe: {it}")),
    }
}

fn connect(listener: &TcpListener) -> std::io::Result<(TcpStream, TcpStream)> {
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    Ok((near, far))
}
