//! What the host lets a User Mode Linux kernel do.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

/// Whether a folder is in memory; a guest's memory on a disk is written back to it.
#[must_use]
pub fn is_tmpfs(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC)
}

/// Tries to map a file of `folder` executable, as
/// arch/um/os-Linux/mem.c:check_tmpexec does.
///
/// # Errors
/// The file cannot be made, or not be mapped: EPERM where the file system is
/// mounted noexec.
pub fn map_executable(folder: &Path) -> io::Result<()> {
    const LENGTH: usize = 4096;
    let file: File = tempfile::tempfile_in(folder)?;
    file.set_len(LENGTH as u64)?;
    // SAFETY: a new mapping at an address that the kernel chooses, of a file that
    // nobody else has; it is unmapped below and not touched meanwhile.
    unsafe {
        let address = libc::mmap(
            std::ptr::null_mut(),
            LENGTH,
            libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        );
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        libc::munmap(address, LENGTH);
    }
    Ok(())
}

/// Not in the libc crate for this target; `include/uapi/asm/ptrace-abi.h`.
const PTRACE_SYSEMU: libc::c_uint = 31;

/// Traces a child as the kernel traces its processes: stops at its system call
/// without running it (ptrace(2), `PTRACE_SYSEMU`).
///
/// # Errors
/// Which step the host refused, e.g. by a seccomp filter or Yama's `ptrace_scope`.
pub fn trace_child() -> Result<(), String> {
    let errno = |step: &str| format!("{step}: {}", io::Error::last_os_error());
    // SAFETY: the child makes system calls only, and leaves by _exit.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(errno("fork")),
        0 => {
            // SAFETY: system calls without pointers into memory that could be gone.
            unsafe {
                if libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) != 0 {
                    libc::_exit(1);
                }
                libc::raise(libc::SIGSTOP);
                libc::syscall(libc::SYS_getppid);
                libc::_exit(2);
            }
        }
        child => child,
    };
    let guard = Child(child);
    let stopped = guard.wait()?;
    if !libc::WIFSTOPPED(stopped) || libc::WSTOPSIG(stopped) != libc::SIGSTOP {
        return Err("PTRACE_TRACEME is refused".to_owned());
    }
    // SAFETY: requests about our own child, which is stopped; numbers only.
    unsafe {
        let options = libc::PTRACE_O_TRACESYSGOOD;
        if libc::ptrace(libc::PTRACE_SETOPTIONS, child, 0, options) != 0 {
            return Err(errno("PTRACE_SETOPTIONS"));
        }
        if libc::ptrace(PTRACE_SYSEMU, child, 0, 0) != 0 {
            return Err(errno("PTRACE_SYSEMU"));
        }
    }
    let stopped = guard.wait()?;
    if !libc::WIFSTOPPED(stopped) || libc::WSTOPSIG(stopped) != libc::SIGTRAP | 0x80 {
        return Err(format!(
            "PTRACE_SYSEMU does not stop at a system call (status {stopped:#x})"
        ));
    }
    Ok(())
}

/// Killed and reaped when dropped.
struct Child(libc::pid_t);

impl Child {
    fn wait(&self) -> Result<c_int, String> {
        let mut status = 0;
        loop {
            // SAFETY: `status` is ours.
            let waited = unsafe { libc::waitpid(self.0, &mut status, libc::WUNTRACED) };
            if waited == self.0 {
                return Ok(status);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(format!("waitpid: {error}"));
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: our own child, not reaped yet; if it is, both calls fail without
        // effect, because nothing else of this process can have got the number.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_can_be_traced_here() {
        // The suite cannot run where this fails, so neither can its tests.
        trace_child().unwrap();
    }

    #[test]
    fn a_refused_trace_is_told() {
        // A filter that lets ptrace(2) fail, in a thread of its own: it dies with it.
        let told = std::thread::spawn(|| {
            refuse_ptrace();
            trace_child()
        })
        .join()
        .unwrap();
        assert_eq!(told, Err("PTRACE_TRACEME is refused".to_owned()));
    }

    /// seccomp(2): ptrace returns EPERM in this thread and its children.
    fn refuse_ptrace() {
        let statement = |code: u32, jt, jf, k| libc::sock_filter {
            code: u16::try_from(code).unwrap(),
            jt,
            jf,
            k,
        };
        let number = u32::try_from(libc::SYS_ptrace).unwrap();
        let refuse = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::EPERM).unwrap();
        let mut filter = [
            statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
            statement(libc::BPF_RET | libc::BPF_K, 0, 0, refuse),
            statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog {
            len: 4,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: `program` and `filter` live until the call returns.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            let mode = libc::SECCOMP_MODE_FILTER;
            assert_eq!(
                libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program),
                0
            );
        }
    }

    #[test]
    fn a_folder_that_cannot_be_mapped_is_told() {
        map_executable(tempfile::tempdir().unwrap().path()).unwrap();
        assert!(map_executable(Path::new("/proc")).is_err());
    }
}
