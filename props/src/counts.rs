//! How much one call moves. No scenario sends as much, so this one has sockets of its own:
//! a file that is all hole takes no memory, and a receiver that throws away what it gets
//! copies nothing.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::thread;

use inflight::guest::link::Link;
use inflight::scenario::{Family, Setup};

use crate::properties::Result;

/// 2 GiB less a page (include/linux/fs.h: MAX_RW_COUNT).
const MOST_BYTES: usize = 0x7fff_f000;
/// What the file has beyond that.
const REST_BYTES: usize = 5000;
/// What each call is asked for: what an unsigned int does not hold.
const ASKED_BYTES: usize = 4 << 30;

/// Of 4 GiB that are asked for a call sends what calls move, the next one the rest of
/// the file, and the one after that nothing. All of it arrives.
pub fn a_call_moves_so_much_and_no_more() -> Result {
    let setup = |it: io::Error| format!("set-up: {it}");
    let mut link = Link::create().map_err(setup)?;
    link.configure(&Setup::default(), |_| false)
        .map_err(setup)?;
    let address = SocketAddr::new(Link::receiver_address(Family::Tcp4), 0);
    let listener = link.receiver().with(|| TcpListener::bind(address));
    let listener = listener.map_err(setup)?;
    let to = listener.local_addr().and_then(TcpStream::connect);
    let to = to.map_err(setup)?;
    let (from, _) = listener.accept().map_err(setup)?;
    let file = hole(MOST_BYTES + REST_BYTES).map_err(setup)?;

    let reader = thread::spawn(move || discard(&from));
    let mut offset = 0;
    for expected in [MOST_BYTES, REST_BYTES, 0] {
        let begin = offset;
        // SAFETY: one system call on open descriptors; `offset` outlives it.
        let sent =
            unsafe { libc::sendfile(to.as_raw_fd(), file.as_raw_fd(), &mut offset, ASKED_BYTES) };
        if sent != expected as isize || offset != begin + expected as i64 {
            return Err(format!(
                "from {begin} on {sent} bytes were sent, not {expected}; the offset is {offset}"
            ));
        }
    }
    drop(to);
    let received = reader.join().map_err(|_| "the reader panicked")?;
    match received.map_err(|it| format!("recv: {it}"))? {
        bytes if bytes == MOST_BYTES + REST_BYTES => Ok(()),
        bytes => Err(format!("{bytes} bytes arrived")),
    }
}

/// A file of which no byte was ever written.
fn hole(len: usize) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open("/dev/shm")?;
    file.set_len(len as u64)?;
    Ok(file)
}

/// Receives to the end; how much that was. tcp(7), MSG_TRUNC: "the received bytes of data
/// to be discarded, rather than passed back in a caller-supplied buffer".
fn discard(from: &TcpStream) -> io::Result<usize> {
    const AT_ONCE: usize = 1 << 20;
    let mut all = 0;
    loop {
        let nowhere = std::ptr::null_mut();
        // SAFETY: with MSG_TRUNC nothing is stored.
        let got = unsafe { libc::recv(from.as_raw_fd(), nowhere, AT_ONCE, libc::MSG_TRUNC) };
        match usize::try_from(got) {
            Ok(0) => return Ok(all),
            Ok(bytes) => all += bytes,
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
}
