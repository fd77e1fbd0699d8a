//! The file systems of a guest.
//!
//! The root is the *host's* root, through hostfs or 9P, and read-only. Over it go the
//! kernel's own file systems, and tmpfs where programs expect to write. Only the
//! output directories are writable and the host's.
//!
//! Where the kernel is the host's the root is what it was, and read-only from here on, as
//! is what /proc and /sys say of more than these namespaces.
//!
//! This keeps accidents away, not malice: the program is root in the guest, and may
//! mount hostfs again, writable, with the rights of the user who booted it.

mod shared;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

use super::init::c_path;
use super::job::{Files, Job, hidden_part, out_tag};

/// What failed, completing "cannot", and why.
pub(super) type Failure = (String, io::Error);

/// Mounts all of it.
pub(super) fn set_up(job: &Job) -> Result<(), Failure> {
    let own = job.ways.files == Files::Own;
    // As they are now, and not as the rest will be.
    let out_trees = match own {
        true => cut_out(job)?,
        false => Vec::new(),
    };
    if own {
        shared::read_only(Path::new("/"))
            .map_err(|error| ("make the host's files read-only".to_owned(), error))?;
    }
    let carried = carry(job)?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    required("proc", "/proc", quiet, None).map_err(|(what, error)| match own {
        true => (what, shared::explain_proc(&error)),
        false => (what, error),
    })?;
    match own {
        true => required("tmpfs", "/dev", MsFlags::MS_NOSUID, Some("mode=755"))?,
        false => required("devtmpfs", "/dev", MsFlags::MS_NOSUID, None)?,
    }
    required("tmpfs", "/tmp", quiet, Some("mode=1777"))?;
    for directory in ["/dev/shm", "/dev/pts"] {
        make_directory(Path::new(directory))?;
    }
    required("tmpfs", "/dev/shm", quiet, Some("mode=1777"))?;
    // A host may lack the directory, a kernel the file system.
    for (kind, target, options) in [
        ("tmpfs", "/run", Some("mode=755")),
        ("devpts", "/dev/pts", Some("mode=620,ptmxmode=666")),
        ("sysfs", "/sys", None),
        ("debugfs", "/sys/kernel/debug", None),
        ("tracefs", "/sys/kernel/tracing", None),
    ] {
        // What is below it changes the machine.
        let flags = match own && target.starts_with("/sys") {
            true => quiet | MsFlags::MS_RDONLY,
            false => quiet,
        };
        let _ = mount(Some(kind), target, Some(kind), flags, options);
    }
    if own {
        shared::guard_proc()?;
        let _ = std::os::unix::fs::symlink("pts/ptmx", "/dev/ptmx");
    }
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
    ] {
        let _ = std::os::unix::fs::symlink(target, link);
    }
    for (path, tree) in carried {
        uncover(&path, &tree)
            .map_err(|error| (format!("make {} visible", path.display()), error))?;
    }
    for (path, tree) in out_trees {
        attach(&path, &tree).map_err(|error| (format!("open {}", path.display()), error))?;
    }
    for (number, out_dir) in job.out_dirs.iter().enumerate() {
        let path = out_dir.path();
        match job.ways.files {
            Files::Hostfs => mount(
                Some("none"),
                path,
                Some("hostfs"),
                MsFlags::empty(),
                Some(path),
            ),
            // What is written is with the host when write(2) returns.
            Files::NineP => mount(
                Some(&*out_tag(number)),
                path,
                Some("9p"),
                MsFlags::empty(),
                Some("trans=virtio,version=9p2000.L,cache=none"),
            ),
            Files::Own => Ok(()),
        }
        .map_err(|errno| {
            let what = format!("mount the output directory {}", path.display());
            (what, errno.into())
        })?;
    }
    Ok(())
}

fn required(
    kind: &str,
    target: &str,
    flags: MsFlags,
    options: Option<&str>,
) -> Result<(), Failure> {
    mount(Some(kind), target, Some(kind), flags, options)
        .map_err(|errno| (format!("mount {kind} on {target}"), errno.into()))
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| (format!("make {}", path.display()), error))
}

/// Takes hold of what the job needs and the guest is about to hide: trees cut off
/// the read-only root, each with the path where it belongs.
fn carry(job: &Job) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    let mut paths: Vec<PathBuf> = job
        .visible
        .iter()
        .filter_map(|path| hidden_part(path.path()))
        .collect();
    let own = job.ways.files == Files::Own;
    if own {
        let devices = shared::DEVICES.iter().map(PathBuf::from);
        paths.extend(devices.filter(|it| it.exists()));
    }
    paths.sort_unstable();
    // What lies in another one comes with it.
    paths.dedup_by(|later, earlier| later.starts_with(earlier));
    paths.into_iter().map(|path| hold(path, own)).collect()
}

/// The same of the output directories.
fn cut_out(job: &Job) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    let paths = job.out_dirs.iter().map(|it| it.path().to_owned());
    paths.map(|path| hold(path, true)).collect()
}

fn hold(path: PathBuf, deep: bool) -> Result<(PathBuf, OwnedFd), Failure> {
    match cut(&path, deep) {
        Ok(tree) => Ok((path, tree)),
        Err(error) => Err((format!("take hold of {}", path.display()), error)),
    }
}

/// open_tree(2) with OPEN_TREE_CLONE: a detached bind mount of `path`, and of what is
/// mounted in it if it is `deep`.
fn cut(path: &Path, deep: bool) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_int = 1;
    let path = c_path(path)?;
    let recursive = if deep { shared::AT_RECURSIVE } else { 0 };
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | recursive;
    // SAFETY: a NUL-terminated path and integers; the result is checked.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Puts a tree back where it was.
fn uncover(path: &Path, tree: &OwnedFd) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // A mount point is of the kind of what is mounted there.
    if nix::sys::stat::fstat(tree)?.st_mode & libc::S_IFMT == libc::S_IFDIR {
        fs::create_dir(path)?;
    } else {
        File::create(path)?;
    }
    attach(path, tree)
}

/// Mounts a tree.
fn attach(path: &Path, tree: &OwnedFd) -> io::Result<()> {
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_int = 4;
    let path = c_path(path)?;
    // SAFETY: NUL-terminated paths and integers; the result is checked.
    let moved = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    if moved < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
