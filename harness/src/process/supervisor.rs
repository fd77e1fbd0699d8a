//! The process between us and the program.
//!
//! Everything here runs in a fork of a process that may have had other threads.
//! Those are gone, and whatever they had locked stays locked, so this file keeps
//! to system calls and to memory on its own stack: it allocates nothing, takes no
//! lock, and cannot panic into the unwinder (no indexing that is not bounded
//! right there, no arithmetic on foreign numbers).

use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::RawFd;
use std::ptr;

/// How deep [`remove_tree`] follows directories. Run directories are two deep.
const MAX_DEPTH: u32 = 64;

/// Forks again, in the child that std has forked. The younger process returns to
/// std, which executes the program in it; the elder one, whose process id std
/// knows, never returns: it becomes the supervisor.
pub(super) fn enter(lifeline: RawFd, directory: Option<&CStr>) -> io::Result<()> {
    // SAFETY: plain system calls. `fork` of glibc also runs its atfork handlers,
    // which put malloc in order; this process has one thread.
    unsafe {
        // No signal may end the supervisor, and none may arrive between the fork
        // and the moment the program has its own mask back.
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        // A new session: terminal signals go to the foreground group of ours.
        libc::setsid();
        // Before the fork, or an early orphan would go to the system's init.
        // Children do not inherit it.
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
        // Also before the fork, lest the end of a short program go unnoticed. The
        // program does not keep it: execve(2) resets handlers.
        let mut on_child: libc::sigaction = mem::zeroed();
        on_child.sa_sigaction = child_ended as extern "C" fn(c_int) as usize;
        on_child.sa_flags = libc::SA_NOCLDSTOP;
        libc::sigaction(libc::SIGCHLD, &on_child, ptr::null_mut());
        let supervisor = libc::getpid();
        // Who is to be the first of a PID namespace does not see its parent from there.
        let own = libc::syscall(libc::SYS_pidfd_open, supervisor, 0);
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // Its own group: a program that signals its group (User Mode
                // Linux does when it panics) is not to reach the supervisor.
                libc::setpgid(0, 0);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                let parent = libc::getppid();
                if parent != supervisor && (parent != 0 || has_ended(own)) {
                    libc::_exit(1);
                }
                libc::sigprocmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
                Ok(())
            }
            program => supervise(program, lifeline, directory),
        }
    }
}

/// Whether a process has ended of which this should be a pidfd; true if it is none.
unsafe fn has_ended(pidfd: libc::c_long) -> bool {
    let Ok(fd) = RawFd::try_from(pidfd) else {
        return true;
    };
    let mut asked = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one struct, which outlives the call. A negative descriptor is passed over, so
    // it has to be looked at.
    fd < 0 || unsafe { libc::poll(&mut asked, 1, 0) } != 0
}

/// Its arrival is all that counts: it ends ppoll(2).
extern "C" fn child_ended(_signal: c_int) {}

/// Waits for the end of the program or of our parent, kills what is left, and
/// ends the way the program has ended.
fn supervise(program: libc::pid_t, lifeline: RawFd, directory: Option<&CStr>) -> ! {
    // SAFETY: plain system calls on descriptors and stack memory of this process.
    unsafe {
        // Among the rest: std's pipe for exec errors, the program's standard
        // streams, and our own copy of the lifeline's write end. Each of them
        // would keep an end of file from somebody.
        close_all_but(lifeline);
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, c"inflight-guard".as_ptr());

        // Only within ppoll(2) can SIGCHLD arrive, so none is missed.
        let mut waiting = MaybeUninit::uninit();
        libc::sigfillset(waiting.as_mut_ptr());
        libc::sigdelset(waiting.as_mut_ptr(), libc::SIGCHLD);
        let mut ended: Option<c_int> = None;
        while ended.is_none() {
            let mut fds = [libc::pollfd {
                fd: lifeline,
                events: libc::POLLIN,
                revents: 0,
            }];
            let ready = libc::ppoll(fds.as_mut_ptr(), 1, ptr::null(), waiting.as_ptr());
            if ready > 0 && fds[0].revents != 0 {
                break;
            }
            // The program, or orphans of it that end while it runs.
            let mut status = 0;
            loop {
                let pid = libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL);
                if pid <= 0 {
                    break;
                }
                if pid == program {
                    ended = Some(status);
                }
            }
        }
        let status = kill_all(program, ended);
        if let Some(directory) = directory {
            remove_tree(libc::AT_FDCWD, directory.as_ptr(), 0);
        }
        end_like(status)
    }
}

/// Kills and reaps every descendant. Returns the program's status.
///
/// Each child that dies hands its own children to us, so killing the direct
/// children until none is left gets everybody.
unsafe fn kill_all(program: libc::pid_t, mut ended: Option<c_int>) -> c_int {
    // SAFETY: plain system calls; the pids are those of unreaped children of ours,
    // so none can have been given to another process.
    unsafe {
        loop {
            let mut status = 0;
            let pid = libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL);
            if pid == program {
                ended = Some(status);
            }
            if pid > 0 {
                continue;
            }
            if pid < 0 {
                // No child is left.
                return ended.unwrap_or(libc::SIGKILL);
            }
            if ended.is_none() {
                libc::kill(program, libc::SIGKILL);
            }
            let Some(found) = kill_children() else {
                // Without /proc nobody can be found; the program itself is
                // dead or dying.
                if let Some(status) = ended {
                    return status;
                }
                sleep_ms(1);
                continue;
            };
            if found == 0 {
                // The list is only exact while nobody forks or dies: look again.
                sleep_ms(1);
                continue;
            }
            // At least one child is dying, so this does not block for long.
            let mut info: libc::siginfo_t = mem::zeroed();
            let flags = libc::WEXITED | libc::WNOWAIT | libc::__WALL;
            libc::waitid(libc::P_ALL, 0, &mut info, flags);
        }
    }
}

/// Sends SIGKILL to the direct children; how many there were, `None` if /proc
/// does not tell.
unsafe fn kill_children() -> Option<u32> {
    // SAFETY: constant path, stack buffer of the length given to read.
    unsafe {
        // This process has one thread, so its id is the thread's (proc(5)).
        let fd = libc::open(
            c"/proc/thread-self/children".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        );
        if fd < 0 {
            return kill_children_by_scan();
        }
        let mut count = 0;
        let mut pid: libc::pid_t = 0;
        let mut buffer = [0u8; 1024];
        loop {
            let len = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
            if len <= 0 {
                break;
            }
            for &byte in buffer.iter().take(len as usize) {
                if byte.is_ascii_digit() {
                    pid = pid.wrapping_mul(10).wrapping_add((byte - b'0').into());
                } else if pid > 0 {
                    libc::kill(pid, libc::SIGKILL);
                    count += 1;
                    pid = 0;
                }
            }
        }
        libc::close(fd);
        Some(count)
    }
}

/// The same for a kernel without CONFIG_PROC_CHILDREN: asks every process for its
/// parent.
unsafe fn kill_children_by_scan() -> Option<u32> {
    // SAFETY: as in `kill_children`; `each_entry` passes NUL-terminated names.
    unsafe {
        let proc_fd = open_directory(libc::AT_FDCWD, c"/proc".as_ptr());
        if proc_fd < 0 {
            return None;
        }
        let me = libc::getpid();
        let mut count = 0;
        each_entry(proc_fd, |name| {
            let Some(pid) = decimal(CStr::from_ptr(name).to_bytes()) else {
                return;
            };
            if parent_of(proc_fd, name) == Some(me) {
                libc::kill(pid, libc::SIGKILL);
                count += 1;
            }
        });
        libc::close(proc_fd);
        Some(count)
    }
}

/// The parent of the process whose directory in /proc is `name`: field 4 of
/// `stat`, after the name in parentheses, which may contain anything.
unsafe fn parent_of(proc_fd: RawFd, name: *const c_char) -> Option<libc::pid_t> {
    // SAFETY: `name` is NUL-terminated; the buffer has the length given to read.
    unsafe {
        let process = open_directory(proc_fd, name);
        if process < 0 {
            return None;
        }
        let fd = libc::openat(process, c"stat".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        libc::close(process);
        if fd < 0 {
            return None;
        }
        let mut buffer = [0u8; 512];
        let len = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
        libc::close(fd);
        let stat = buffer.get(..usize::try_from(len).ok()?)?;
        let name_end = stat.iter().rposition(|&byte| byte == b')')?;
        let mut fields = stat.get(name_end + 1..)?.split(|&byte| byte == b' ');
        // An empty field before the first blank, the state, the parent.
        decimal(fields.nth(2)?)
    }
}

fn decimal(text: &[u8]) -> Option<libc::pid_t> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0, |number: libc::pid_t, &byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Removes the directory `name` in `parent` and what it contains; whether it is
/// gone. Symbolic links are removed, not followed. After an error the rest stays
/// in place.
unsafe fn remove_tree(parent: RawFd, name: *const c_char, depth: u32) -> bool {
    // SAFETY: names are NUL-terminated: the caller's, or an entry's.
    unsafe {
        let fd = open_directory(parent, name);
        if fd < 0 {
            return false;
        }
        // Removing while reading may skip entries: read until a round finds none
        // that can be removed.
        loop {
            let mut removed = false;
            libc::lseek(fd, 0, libc::SEEK_SET);
            each_entry(fd, |entry| {
                removed |= libc::unlinkat(fd, entry, 0) == 0
                    || (depth < MAX_DEPTH && remove_tree(fd, entry, depth + 1));
            });
            if !removed {
                break;
            }
        }
        libc::close(fd);
        libc::unlinkat(parent, name, libc::AT_REMOVEDIR) == 0
    }
}

unsafe fn open_directory(parent: RawFd, name: *const c_char) -> RawFd {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the caller passes a NUL-terminated name.
    unsafe { libc::openat(parent, name, flags) }
}

/// Calls `each` with the name of every entry but `.` and `..`, by getdents64(2):
/// readdir(3) allocates.
unsafe fn each_entry(directory: RawFd, mut each: impl FnMut(*const c_char)) {
    /// Where the record's length and the name stand in `struct linux_dirent64`.
    const LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;
    let mut buffer = [0u8; 2048];
    loop {
        // SAFETY: the kernel writes at most the given number of bytes.
        let filled = unsafe {
            libc::syscall(
                libc::SYS_getdents64,
                directory,
                buffer.as_mut_ptr(),
                buffer.len(),
            )
        };
        let Some(mut records) = usize::try_from(filled)
            .ok()
            .and_then(|len| buffer.get(..len))
        else {
            return;
        };
        if records.is_empty() {
            return;
        }
        while let Some(&[low, high]) = records.get(LENGTH_AT..LENGTH_AT + 2) {
            let length = u16::from_ne_bytes([low, high]).into();
            let Some((record, rest)) = records.split_at_checked(length) else {
                return;
            };
            let Some(name) = record
                .get(NAME_AT..)
                .and_then(|name| CStr::from_bytes_until_nul(name).ok())
            else {
                return;
            };
            if name != c"." && name != c".." {
                each(name.as_ptr());
            }
            records = rest;
        }
    }
}

unsafe fn close_all_but(keep: RawFd) {
    // SAFETY: descriptors of this process; nothing here uses any but `keep`.
    unsafe {
        let low = keep == 0 || libc::syscall(libc::SYS_close_range, 0, keep - 1, 0) == 0;
        let high = libc::syscall(libc::SYS_close_range, keep + 1, libc::c_uint::MAX, 0) == 0;
        if low && high {
            return;
        }
        // Before Linux 5.9.
        let mut limit: libc::rlimit = mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        for fd in (0..limit.rlim_cur.min(1 << 20) as RawFd).filter(|fd| *fd != keep) {
            libc::close(fd);
        }
    }
}

unsafe fn sleep_ms(milliseconds: i64) {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: milliseconds * 1_000_000,
    };
    // SAFETY: reads `time`, writes nothing.
    unsafe { libc::nanosleep(&time, ptr::null_mut()) };
}

/// Ends this process with the status of another (wait(2)): by the same exit code
/// or the same signal.
unsafe fn end_like(status: c_int) -> ! {
    // SAFETY: plain system calls on stack memory.
    unsafe {
        if libc::WIFEXITED(status) {
            libc::_exit(libc::WEXITSTATUS(status));
        }
        let signal = libc::WTERMSIG(status);
        // The core, if any, was the program's to dump.
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &none);
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        libc::signal(signal, libc::SIG_DFL);
        let mut empty = MaybeUninit::uninit();
        libc::sigemptyset(empty.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, empty.as_ptr(), ptr::null_mut());
        libc::kill(libc::getpid(), signal);
        libc::_exit(128 + signal)
    }
}
