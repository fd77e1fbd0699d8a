//! Namespaces of the host's kernel, as the engine `host` uses them: who is in them has
//! all rights, and none over what is outside.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// What is written to /proc of a process that has entered a user namespace, so that it is
/// root there and its user everywhere else.
#[derive(Debug, Clone)]
pub struct Identity {
    user: CString,
    group: CString,
}

impl Identity {
    /// Of the calling process.
    pub fn own() -> Identity {
        let map = |id: u32| CString::new(format!("0 {id} 1")).expect("a number has no NUL");
        Identity {
            user: map(nix::unistd::geteuid().as_raw()),
            group: map(nix::unistd::getegid().as_raw()),
        }
    }

    /// Moves the calling process into a new user namespace, and into new ones of the kinds
    /// in `beside`; with CLONE_NEWPID, the children that it will have.
    ///
    /// Makes system calls and nothing else, and so is fit for the time between fork and
    /// exec.
    ///
    /// # Errors
    /// What the kernel says, which does not allow it everywhere.
    pub fn enter(&self, beside: CloneFlags) -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWUSER | beside)?;
        // Who is in the namespace might leave a group otherwise that is to have fewer
        // rights than others (user_namespaces(7)). It is so already where it is not there.
        match write(c"/proc/self/setgroups", c"deny") {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        write(c"/proc/self/uid_map", &self.user)?;
        write(c"/proc/self/gid_map", &self.group)?;
        Ok(())
    }
}

fn write(path: &std::ffi::CStr, text: &std::ffi::CStr) -> nix::Result<()> {
    let bytes = text.to_bytes();
    // SAFETY: a NUL-terminated path, and as many bytes as are said to be there.
    unsafe {
        let fd = Errno::result(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let written = Errno::result(libc::write(fd, bytes.as_ptr().cast(), bytes.len()));
        libc::close(fd);
        written.map(drop)
    }
}

/// Moves the calling process, which is root in a user namespace, into new namespaces of
/// every other kind. Nothing that it mounts is seen outside, and the other way round.
pub fn leave() -> io::Result<()> {
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP,
    )?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    Ok(())
}

/// Tries all of it, in a process that does nothing else.
///
/// # Errors
/// What the kernel said.
pub fn attempt() -> io::Result<()> {
    let identity = Identity::own();
    // SAFETY: the child makes system calls and leaves by _exit(2); it allocates nothing.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            let tried = identity
                .enter(CloneFlags::CLONE_NEWPID)
                .and_then(|()| leave());
            let errno = tried
                .err()
                .map_or(0, |it| it.raw_os_error().unwrap_or(libc::EPERM));
            // SAFETY: ends the child.
            unsafe { libc::_exit(errno) }
        }
        pid => pid,
    };
    let mut status = 0;
    loop {
        // SAFETY: reaps a child of ours; writes one int.
        match Errno::result(unsafe { libc::waitpid(child, &mut status, 0) }) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    match libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::other("the process that tried was killed")),
    }
}

const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// Whether a user namespace may be given that gives no rights: that shows only later.
pub fn may_be_empty() -> bool {
    holds(APPARMOR, "1")
}

fn holds(path: &str, value: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.trim() == value)
}

/// What is in the way of namespaces that were refused, and what may help.
pub fn why_refused(error: &io::Error) -> (String, String) {
    for (path, value, why) in [
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "user namespaces are switched off",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "user namespaces are for root alone here",
        ),
        (
            APPARMOR,
            "1",
            "AppArmor takes the rights away that a user namespace gives",
        ),
    ] {
        if holds(path, value) {
            let name = path.trim_start_matches("/proc/sys/").replace('/', ".");
            let wanted = match name.as_str() {
                "user.max_user_namespaces" => "10000",
                _ if value == "0" => "1",
                _ => "0",
            };
            return (
                format!("{why} ({name} is {value}): {error}"),
                format!("sudo sysctl -w {name}={wanted}, or use --engine uml"),
            );
        }
    }
    if !std::path::Path::new("/proc/self/ns/user").exists() {
        return (
            "this kernel has no user namespaces (CONFIG_USER_NS)".to_owned(),
            "use --engine uml".to_owned(),
        );
    }
    (
        format!("{error}; a container's seccomp filter, or a chroot, is the usual reason"),
        "run it outside of the container, or give that CAP_SYS_ADMIN; or use --engine uml"
            .to_owned(),
    )
}
