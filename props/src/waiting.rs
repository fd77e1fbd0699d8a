//! What a program can do to itself while a call of it waits for its pages: kill,
//! fork, close, or be the reader that it waits for. Scenarios have threads only; these
//! tests have processes and descriptors of their own. Virtual time makes each sleep
//! exact: whoever can run has run when it is over.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;
use std::time::{Duration, Instant};

use inflight::guest::link::Link;
use inflight::scenario::{Family, Setup};
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};

use crate::properties::Result;

const PAGE: usize = 4096;
const MS: Duration = Duration::from_millis(1);
/// When a receiver that has kept away begins to read.
const AWAY: Duration = Duration::from_secs(60);

/// A thread that sends to itself: what fits the receive buffer is acknowledged
/// whether anybody reads or not, so the call ends like any other.
pub fn the_own_reader_gets_what_fits() -> Result {
    let mut pair = Pair::connect(None)?;
    let file = file_of(PAGE)?;
    let (sent, took) = timed(|| pair.send(&file, PAGE));
    expect("bytes sent", sent, PAGE)?;
    ends_in_time(took)?;
    overwrite(&file, PAGE)?;
    is_stable(&pair.receive(PAGE)?)
}

/// What does not fit must end all the same.
pub fn the_own_reader_is_not_waited_for_for_ever() -> Result {
    const LEN: usize = 4 * PAGE;
    let pair = Pair::connect(Some(2304))?;
    let file = file_of(LEN)?;
    let Pair {
        link: _link,
        sender,
        mut receiver,
    } = pair;
    let (sent, took) = timed(|| sendfile(sender.as_raw_fd(), file.as_raw_fd(), LEN));
    overwrite(&file, LEN)?;
    expect("bytes sent", sent, LEN)?;
    ends_in_bound(took)?;
    is_stable(&receive(&mut receiver, LEN)?)
}

/// A fork while the call waits, and a close in the child.
pub fn a_fork_changes_nothing() -> Result {
    let mut pair = Pair::connect(None)?;
    let file = file_of(PAGE)?;
    let call = pair.send_elsewhere(&file, PAGE);
    thread::sleep(10 * MS);
    let socket = pair.sender.as_raw_fd();
    let child = fork(|| {
        close(socket);
        0
    })?;
    expect("the child's status", reap(child)?, 0)?;
    let (sent, took) = call.join().map_err(|_| "the call panicked")?;
    expect("bytes sent", sent, PAGE)?;
    ends_in_time(took)?;
    overwrite(&file, PAGE)?;
    is_stable(&pair.receive(PAGE)?)
}

/// A fork while the call waits, and a close in the parent: the child's descriptor
/// keeps the connection.
pub fn a_child_inherits_the_connection() -> Result {
    let pair = Pair::connect(None)?;
    let file = file_of(PAGE)?;
    let call = pair.send_elsewhere(&file, PAGE);
    thread::sleep(10 * MS);
    let child = fork(|| {
        // SAFETY: waits for the signal that ends it, and returns nothing.
        unsafe { libc::pause() }
    })?;
    close(pair.sender.into_raw_fd());
    let (sent, took) = call.join().map_err(|_| "the call panicked")?;
    expect("bytes sent", sent, PAGE)?;
    ends_in_time(took)?;
    overwrite(&file, PAGE)?;
    let mut receiver = pair.receiver;
    is_stable(&receive(&mut receiver, PAGE)?)?;
    let timeout = Some(100 * MS);
    receiver
        .set_read_timeout(timeout)
        .map_err(|it| it.to_string())?;
    let open = receiver.read(&mut [0]).map_err(|it| it.kind());
    expect("reading", open, Err(io::ErrorKind::WouldBlock))?;
    kill(child)?;
    expect("the child's end", reap(child)?, 128 + libc::SIGKILL)?;
    let ended = receiver.read(&mut [0]).map_err(|it| it.kind());
    expect("the end of the stream", ended, Ok(0))
}

/// Another thread closes the descriptor while the call waits: the call has the file,
/// and the connection ends when it is through.
pub fn a_close_by_another_thread_changes_nothing() -> Result {
    let mut pair = Pair::connect(None)?;
    let file = file_of(PAGE)?;
    let call = pair.send_elsewhere(&file, PAGE);
    thread::sleep(10 * MS);
    close(pair.sender.into_raw_fd());
    let (sent, took) = call.join().map_err(|_| "the call panicked")?;
    expect("bytes sent", sent, PAGE)?;
    ends_in_time(took)?;
    overwrite(&file, PAGE)?;
    let mut bytes = Vec::new();
    let received = pair.receiver.read_to_end(&mut bytes);
    expect(
        "bytes to the end",
        received.map_err(|it| it.kind()),
        Ok(PAGE),
    )?;
    is_stable(&bytes)
}

/// A closed window: the call waits as long as the reader keeps away, and no longer.
pub fn a_closed_window_is_waited_for() -> Result {
    const LEN: usize = 4 * PAGE;
    let pair = Pair::connect(Some(2304))?;
    let file = file_of(LEN)?;
    let call = pair.send_elsewhere(&file, LEN);
    let mut receiver = pair.receiver;
    let (away, rest) = (200 * MS, 700 * MS);
    thread::sleep(away);
    let waited = !call.is_finished();
    expect("still waiting", waited, waits())?;
    if !waited {
        overwrite(&file, LEN)?;
    }
    let bytes = receive(&mut receiver, LEN)?;
    let (sent, took) = call.join().map_err(|_| "the call panicked")?;
    expect("bytes sent", sent, LEN)?;
    if waited && !(away..away + rest).contains(&took) {
        return Err(format!(
            "sendfile took {took:?}, the reader came after {away:?}"
        ));
    }
    is_stable(&bytes)
}

/// A window that stays closed: the call gives up waiting and takes copies of what is
/// still queued. What is written then does not show, however late the reader comes.
pub fn a_closed_window_is_not_waited_for_for_long() -> Result {
    const LEN: usize = 4 * PAGE;
    let pair = Pair::connect(Some(2304))?;
    let file = file_of(LEN)?;
    let (sent, took) = timed(|| pair.send(&file, LEN));
    overwrite(&file, LEN)?;
    expect("bytes sent", sent, LEN)?;
    ends_in_bound(took)?;
    thread::sleep(AWAY);
    let mut receiver = pair.receiver;
    is_stable(&receive(&mut receiver, LEN)?)
}

/// A kill while the call waits behind a closed window ends the process at once. Its
/// data stays in flight and arrives when the reader reads, and nothing is left over.
pub fn a_kill_ends_the_wait_and_leaves_nothing() -> Result {
    const LEN: usize = 1 << 20;
    const ROUNDS: usize = 8;
    // The first connection makes what the kernel keeps for ever.
    drop(Pair::connect(None)?);
    settle();
    let before = Left::now()?;
    for round in 0..ROUNDS {
        let pair = Pair::connect(Some(2304))?;
        let file = file_of(LEN)?;
        let (from, to) = (file.as_raw_fd(), pair.sender.as_raw_fd());
        let receiver = pair.receiver.as_raw_fd();
        let child = fork(|| {
            close(receiver);
            i32::from(sendfile(to, from, LEN) != LEN)
        })?;
        drop(pair.sender);
        thread::sleep(200 * MS);
        kill(child)?;
        let (status, took) = timed(|| reap(child));
        expect("the child's end", status?, 128 + libc::SIGKILL)?;
        if took > MS {
            return Err(format!("round {round}: reaped {took:?} after the kill"));
        }
        let mut bytes = Vec::new();
        let mut receiver = pair.receiver;
        receiver
            .read_to_end(&mut bytes)
            .map_err(|it| it.to_string())?;
        let wrong = bytes.iter().position(|&byte| byte != OLD);
        expect("the first wrong byte", wrong, None)?;
        if bytes.is_empty() {
            return Err("nothing was in flight".into());
        }
    }
    settle();
    let after = Left::now()?;
    // TCP keeps up to 1 MiB of its allowance a CPU (SK_MEMORY_PCPU_RESERVE).
    let kept = after.tcp_pages.saturating_sub(before.tcp_pages);
    let same = (after.sockets, after.orphans, after.shmem_kib)
        == (before.sockets, before.orphans, before.shmem_kib);
    match same && kept <= 256 {
        true => Ok(()),
        false => Err(format!("before: {before:?}\nafter:  {after:?}")),
    }
}

/// What the first writer put into the file, and the second.
const OLD: u8 = b'a';
const NEW: u8 = b'b';

/// A connection over the link.
struct Pair {
    link: Link,
    sender: TcpStream,
    receiver: TcpStream,
}

impl Pair {
    fn connect(rcvbuf_bytes: Option<usize>) -> std::result::Result<Pair, String> {
        Pair::try_connect(rcvbuf_bytes).map_err(|error| format!("connect: {error}"))
    }

    fn try_connect(rcvbuf_bytes: Option<usize>) -> io::Result<Pair> {
        let mut link = Link::create()?;
        let mut setup = Setup::default();
        (setup.data.delay_us, setup.ack.delay_us) = (20_000, 20_000);
        link.configure(&setup, |_| false)?;
        let address = SocketAddr::new(Link::receiver_address(Family::Tcp4), 0);
        let listener = link.receiver().with(|| TcpListener::bind(address))?;
        if let Some(bytes) = rcvbuf_bytes {
            setsockopt(&listener, RcvBuf, &bytes)?;
        }
        let sender = TcpStream::connect(listener.local_addr()?)?;
        let (receiver, _) = listener.accept()?;
        Ok(Pair {
            link,
            sender,
            receiver,
        })
    }

    fn send(&self, file: &File, len: usize) -> usize {
        sendfile(self.sender.as_raw_fd(), file.as_raw_fd(), len)
    }

    /// By another thread; what it sent, and how long that took.
    fn send_elsewhere(&self, file: &File, len: usize) -> thread::JoinHandle<(usize, Duration)> {
        let (to, from) = (self.sender.as_raw_fd(), file.as_raw_fd());
        thread::spawn(move || timed(|| sendfile(to, from, len)))
    }

    fn receive(&mut self, len: usize) -> std::result::Result<Vec<u8>, String> {
        receive(&mut self.receiver, len)
    }
}

/// Reads so many bytes.
pub fn receive(from: &mut TcpStream, len: usize) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = vec![0; len];
    let result = from.read_exact(&mut bytes);
    result.map(|()| bytes).map_err(|it| it.to_string())
}

/// What the kernel has in use.
#[derive(Debug)]
struct Left {
    sockets: u64,
    orphans: u64,
    tcp_pages: u64,
    shmem_kib: u64,
}

impl Left {
    fn now() -> std::result::Result<Left, String> {
        let read = |path| fs::read_to_string(path).map_err(|it| format!("{path}: {it}"));
        let (sockets, memory) = (read("/proc/net/sockstat")?, read("/proc/meminfo")?);
        let number = |text: &str, line: &str, word: &str| {
            let line = text.lines().find(|it| it.starts_with(line));
            let mut words = line.unwrap_or("").split_whitespace();
            words.find(|it| *it == word);
            let number = words.next().and_then(|it| it.parse().ok());
            number.ok_or_else(|| format!("no {word} in\n{text}"))
        };
        Ok(Left {
            sockets: number(&sockets, "TCP:", "alloc")?,
            orphans: number(&sockets, "TCP:", "orphan")?,
            tcp_pages: number(&sockets, "TCP:", "mem")?,
            shmem_kib: number(&memory, "Shmem:", "Shmem:")?,
        })
    }
}

/// Lets connections that have ended go, TIME_WAIT and all.
fn settle() {
    thread::sleep(Duration::from_secs(150));
}

/// fs.splice_stable; `None`: a kernel without the cure.
fn mode() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/fs/splice_stable").ok()?;
    text.trim().parse().ok()
}

/// Whether a call waits until its data is acknowledged.
fn waits() -> bool {
    mode() == Some(1)
}

/// A call whose data nobody acknowledges ends when it has waited for
/// SPLICE_WAIT_MAX (fs/splice.c of the series), and for what is in a queue of the link.
fn ends_in_bound(took: Duration) -> Result {
    let expected = match mode() {
        Some(1) => 1000 * MS..1100 * MS,
        Some(2) => Duration::ZERO..100 * MS,
        _ => Duration::ZERO..MS,
    };
    match expected.contains(&took) {
        true => Ok(()),
        false => Err(format!("sendfile took {took:?}, expected {expected:?}")),
    }
}

/// A call that waits ends after a round trip, or as late as a delayed acknowledgement;
/// one that does not wait, at once. Detach waits for what is in a queue of the link.
fn ends_in_time(took: Duration) -> Result {
    let expected = match mode() {
        Some(1) => 40 * MS..100 * MS,
        Some(2) => Duration::ZERO..100 * MS,
        _ => Duration::ZERO..MS,
    };
    match expected.contains(&took) {
        true => Ok(()),
        false => Err(format!("sendfile took {took:?}, expected {expected:?}")),
    }
}

/// What arrived is what was sent; without the cure it may be what was written later.
fn is_stable(bytes: &[u8]) -> Result {
    let cured = mode().is_some_and(|mode| mode > 0);
    let right = |byte: &u8| *byte == OLD || !cured && *byte == NEW;
    match bytes.iter().position(|byte| !right(byte)) {
        None => Ok(()),
        Some(at) => Err(format!("byte {at} of the stream is {:#04x}", bytes[at])),
    }
}

fn file_of(len: usize) -> std::result::Result<File, String> {
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open("/dev/shm")
        .map_err(|error| format!("/dev/shm: {error}"))?;
    let filled = file.write_all_at(&vec![OLD; len], 0);
    filled.map(|()| file).map_err(|it| it.to_string())
}

fn overwrite(file: &File, len: usize) -> Result {
    let written = file.write_all_at(&vec![NEW; len], 0);
    written.map_err(|error| error.to_string())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed())
}

/// Bytes sent; 0 where it failed.
fn sendfile(to: RawFd, from: RawFd, len: usize) -> usize {
    let mut offset = 0;
    // SAFETY: one system call; `offset` outlives it, and a descriptor that is not
    // open makes it fail.
    let sent = unsafe { libc::sendfile(to, from, &mut offset, len) };
    usize::try_from(sent).unwrap_or(0)
}

fn close(fd: RawFd) {
    // SAFETY: whoever owns the descriptor has forgotten it, or is another process.
    unsafe { libc::close(fd) };
}

/// A child that does `work`, which may only make system calls, and exits with what it
/// returns.
fn fork(work: impl FnOnce() -> i32) -> std::result::Result<libc::pid_t, String> {
    // SAFETY: the child makes system calls only, and takes no lock.
    match unsafe { libc::fork() } {
        0 => {
            let status = work();
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(status) }
        }
        child => check(child).map_err(|error| format!("fork: {error}")),
    }
}

fn kill(child: libc::pid_t) -> Result {
    // SAFETY: one system call; the child was not reaped yet, so the number is its.
    let result = unsafe { libc::kill(child, libc::SIGKILL) };
    check(result).map(drop).map_err(|it| format!("kill: {it}"))
}

/// Waits for a child; its exit status, or 128 and the signal.
fn reap(child: libc::pid_t) -> std::result::Result<i32, String> {
    let mut status = 0;
    // SAFETY: one system call; `status` outlives it.
    let result = unsafe { libc::waitpid(child, &mut status, 0) };
    check(result).map_err(|error| format!("waitpid: {error}"))?;
    Ok(match libc::WIFEXITED(status) {
        true => libc::WEXITSTATUS(status),
        false => 128 + libc::WTERMSIG(status),
    })
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: found {found:?}, expected {expected:?}")),
    }
}
