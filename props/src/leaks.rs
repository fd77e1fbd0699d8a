//! That what is left behind is seen. Nothing leaks in a kernel that is in order, so
//! these keep something on purpose while a scenario runs.

use std::any::Any;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use inflight::oracle::{Contract, Property};
use inflight::scenario::{normalize, text};
use inflight::trial::Trial;
use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::pipe;

use crate::properties::Result;

/// Long enough for somebody else to keep something meanwhile.
const SCENARIO: &str = "sendfile 0+4096\nwait 1s\n";
const MEANWHILE: Duration = Duration::from_millis(500);

/// What is kept, for as long as it lives.
type Kept = Box<dyn Any + Send>;
type Keep = fn() -> io::Result<Kept>;

/// Each thing with the words for it.
const THINGS: &[(Keep, &str)] = &[
    (sockets, "2 sockets, 2 open files"),
    (page_in_pipe, "2 open files, 1 page of no file"),
    (pinned_page, "1 open file, 1 pinned page"),
];

/// It is blamed on the scenario, once, and not on the one after it.
pub fn what_is_kept_is_counted() -> Result {
    let mut trial = Trial::set_up(Contract::Documented).map_err(|error| error.to_string())?;
    trial.look_for_leaks(true);
    for &(keep, words) in THINGS {
        clean(&mut trial)?;
        let keeper = thread::spawn(move || {
            thread::sleep(MEANWHILE);
            keep()
        });
        let seen = seen(&mut trial)?;
        let kept = keeper.join().map_err(|_| "the keeper died")?;
        let kept = kept.map_err(|error| format!("{words}: {error}"))?;
        let wanted = format!("left when everything was closed: {words}");
        if seen.as_ref() != Some(&wanted) {
            return Err(format!("wanted `{wanted}`, seen {seen:?}"));
        }
        clean(&mut trial)?;
        drop(kept);
    }
    clean(&mut trial)
}

fn clean(trial: &mut Trial) -> Result {
    match seen(trial)? {
        None => Ok(()),
        Some(message) => Err(format!("nothing was kept, but {message}")),
    }
}

/// What a run is blamed for.
fn seen(trial: &mut Trial) -> Result<Option<String>> {
    let scenario = text::parse("leaks", SCENARIO).map_err(|error| error.to_string())?;
    let verdict = trial.run(&normalize::normalize(scenario));
    let violations = verdict.map_err(|error| error.to_string())?.violations;
    if let Some(other) = violations.iter().find(|it| it.property != Property::Leaks) {
        return Err(other.message.clone());
    }
    Ok(violations.first().map(|leak| leak.message.clone()))
}

fn sockets() -> io::Result<Kept> {
    Ok(Box::new(UnixStream::pair()?))
}

/// The page of a file that is gone, in a pipe: as in a packet.
fn page_in_pipe() -> io::Result<Kept> {
    let mut file = File::from(memfd_create(c"leak", MFdFlags::empty())?);
    file.write_all(&[1; 4096])?;
    let ends = pipe()?;
    let flags = SpliceFFlags::empty();
    splice(file.as_fd(), Some(&mut 0), &ends.1, None, 4096, flags)?;
    Ok(Box::new(ends))
}

/// A buffer that an io_uring was told of (io_uring_register(2)).
fn pinned_page() -> io::Result<Kept> {
    const IORING_REGISTER_BUFFERS: libc::c_uint = 0;
    /// struct io_uring_params, in which zeros ask for nothing special.
    const PARAMS_BYTES: usize = 120;
    let mut params = [0_u64; PARAMS_BYTES / 8];
    // SAFETY: the parameters are as long as the kernel thinks.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    let ring = Errno::result(ring)?;
    // SAFETY: a new descriptor, nobody else's.
    let ring = unsafe { OwnedFd::from_raw_fd(ring as libc::c_int) };
    let buffer = Box::new(Page([1; 4096]));
    let iovec = libc::iovec {
        iov_base: buffer.0.as_ptr().cast_mut().cast(),
        iov_len: buffer.0.len(),
    };
    // SAFETY: one buffer, which lives as long as the ring.
    let registered = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring.as_raw_fd(),
            IORING_REGISTER_BUFFERS,
            &raw const iovec,
            1,
        )
    };
    Errno::result(registered)?;
    Ok(Box::new((ring, buffer)))
}

/// One page, and not parts of two.
#[repr(align(4096))]
struct Page([u8; 4096]);
