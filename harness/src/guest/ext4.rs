//! An ext4 file system of a guest's own, on a loop device whose image is a file on
//! tmpfs: made when the first scenario asks for it.

mod image;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::mount::MsFlags;

/// Where the image is.
const TMPFS: &str = "/dev/shm";

/// include/uapi/linux/loop.h
const LOOP_CTL_GET_FREE: u64 = 0x4c82;
const LOOP_CONFIGURE: u64 = 0x4c0a;

/// struct loop_config with the struct loop_info64 in it.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    names_and_key: [u8; 64 + 64 + 32],
    init: [u64; 2],
    reserved: [u64; 8],
}
const _: () = assert!(size_of::<LoopConfig>() == 304);

/// Where it is mounted, by this process.
static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

/// Whether it is mounted.
pub fn is_mounted() -> bool {
    DIRECTORY.get().is_some()
}

/// Makes it and mounts it, once.
pub fn mount() -> io::Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_mounted() {
        let made = make().map_err(what("ext4"))?;
        let _ = DIRECTORY.set(made);
    }
    Ok(())
}

/// An unlinked, empty file on it.
pub fn file() -> io::Result<File> {
    mount()?;
    let directory = DIRECTORY.get().ok_or(io::ErrorKind::NotFound)?;
    File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o600)
        .open(directory)
}

/// Writes all that waits to be written there: what one scenario has left must not be
/// written back in the next.
pub fn settle(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    Errno::result(unsafe { libc::syncfs(file.as_raw_fd()) })?;
    Ok(())
}

fn make() -> io::Result<PathBuf> {
    let image = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o600)
        .open(TMPFS)?;
    image::write(&image)?;
    let device = attach(&image).map_err(what("a loop device"))?;
    // Always the guest's own, while /tmp may be the host's.
    let path = Path::new("/dev/shm").join(format!("ext4-{}", std::process::id()));
    std::fs::create_dir(&path)?;
    // Who only reads changes nothing.
    nix::mount::mount(
        Some(&device),
        &path,
        Some("ext4"),
        MsFlags::MS_NOATIME,
        None::<&Path>,
    )
    .map_err(|errno| what("mount ext4")(errno.into()))?;
    Ok(path)
}

/// A loop device of that image, which it keeps until the guest is switched off. Nobody
/// has it open: what is open for writing cannot be mounted (CONFIG_BLK_DEV_WRITE_MOUNTED).
fn attach(image: &File) -> io::Result<PathBuf> {
    let control = File::options()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    // SAFETY: takes no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
    let number = Errno::result(number)?;
    let path = PathBuf::from(format!("/dev/loop{number}"));
    let device = File::options().read(true).write(true).open(&path)?;
    // SAFETY: all zero is a configuration without anything.
    let mut config: LoopConfig = unsafe { std::mem::zeroed() };
    config.fd = image.as_raw_fd() as u32;
    // SAFETY: reads one configuration.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &config) })?;
    Ok(path)
}

fn what(what: &'static str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}
