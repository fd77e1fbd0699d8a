//! What keeps programs from the rest of the machine where its kernel is not theirs alone.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::init::c_path;
use super::{Failure, attach, cut};

/// Of the host's devices these are there: none of them is anybody's.
pub(super) const DEVICES: [&str; 8] = [
    "/dev/full",
    "/dev/net/tun",
    "/dev/null",
    "/dev/random",
    "/dev/tty",
    "/dev/urandom",
    "/dev/vsock",
    "/dev/zero",
];
/// The settings of the network namespace, which is ours.
const OWN_SETTINGS: &str = "/proc/sys/net";

/// linux/fcntl.h
pub(super) const AT_RECURSIVE: libc::c_int = 0x8000;

/// struct mount_attr of linux/mount.h
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Makes a mount read-only, and all that is mounted in it.
pub(super) fn read_only(path: &Path) -> io::Result<()> {
    set_read_only(libc::AT_FDCWD, path, 0)
}

fn tree_read_only(tree: &OwnedFd) -> io::Result<()> {
    set_read_only(tree.as_raw_fd(), Path::new(""), libc::AT_EMPTY_PATH)
}

/// mount_setattr(2), Linux 5.12.
fn set_read_only(at: RawFd, path: &Path, flags: libc::c_int) -> io::Result<()> {
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let path = c_path(path)?;
    let attributes = MountAttr {
        set: MOUNT_ATTR_RDONLY,
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    // SAFETY: a NUL-terminated path, and a struct of the size given; the result is checked.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at,
            path.as_ptr(),
            flags | AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Why a new /proc was refused, most likely.
pub(super) fn explain_proc(error: &io::Error) -> io::Error {
    let message = format!(
        "{error}: the kernel allows it only where nothing hides a part of the old one, as \
         containers do; remedy: run outside of the container, or with --engine uml"
    );
    io::Error::new(error.kind(), message)
}

/// Makes read-only what /proc has beside processes: root may write there, in whatever
/// namespaces, and it is about the whole machine. Settings of the own network stay.
pub(super) fn guard_proc() -> Result<(), Failure> {
    let own = Path::new(OWN_SETTINGS);
    let settings = cut(own, true).map_err(failed(own))?;
    let proc = Path::new("/proc");
    for entry in fs::read_dir(proc).map_err(failed(proc))?.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        // `self` and its like are links.
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        let Ok(data) = fs::symlink_metadata(&path) else {
            continue;
        };
        let writable = data.is_dir() || data.permissions().mode() & 0o222 != 0;
        if is_process || data.is_symlink() || !writable {
            continue;
        }
        cut(&path, true)
            .and_then(|tree| {
                tree_read_only(&tree)?;
                attach(&path, &tree)
            })
            .map_err(failed(&path))?;
    }
    attach(own, &settings).map_err(failed(own))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let what = format!("guard {}", path.display());
    move |error| (what, error)
}
