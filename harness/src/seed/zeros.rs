//! The file that is sent: zeros, mapped shared, so that its first byte can be changed
//! behind the back of whoever sends it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// What is written over the first byte once a round has been sent.
pub const STAIN: u8 = 0xab;

/// A file of zeros and the shared mapping of its first byte. Dropped, it leaves the
/// file all zeros.
#[derive(Debug)]
pub struct Zeros {
    file: File,
    start: NonNull<libc::c_void>,
}

/// What is wrong with the file. Each text begins with the option that names it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("--file {path} does not exist; `truncate -s {count} {path}` makes one")]
    Missing {
        /// The file.
        path: PathBuf,
        /// As many bytes are wanted.
        count: u64,
    },
    /// It is something else.
    #[error("--file {path} is a {is}, not a regular file")]
    NotRegular {
        /// The file.
        path: PathBuf,
        /// What it is.
        is: &'static str,
    },
    /// It ends too early.
    #[error(
        "--file {path} {}, fewer than --count {count}; `truncate -s {count} {path}` makes it longer",
        has(*.size)
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// As many bytes are wanted.
        count: u64,
        /// As many it has.
        size: u64,
    },
    /// It has content, which may be worth something to somebody.
    #[error(
        "--file {path} is not all zeros in its first {count} bytes (byte {at} is {byte:#04x}); \
         make one with `truncate -s {count} FILE`"
    )]
    NotZeros {
        /// The file.
        path: PathBuf,
        /// As many bytes are wanted.
        count: u64,
        /// Where the first byte is that is not zero.
        at: u64,
        /// That byte.
        byte: u8,
    },
    /// The system said no.
    #[error("--file {path} cannot be {what}: {error}{}", why(.error))]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it cannot be.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

fn has(size: u64) -> String {
    match size {
        0 => "is empty".into(),
        _ => format!("has {size} bytes"),
    }
}

/// Why it has to be writable is not plain to see: it is only sent.
fn why(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; it is mapped shared, and its first byte changes after each round"
        }
        _ => "",
    }
}

impl Zeros {
    /// Opens and maps a file whose first `count` bytes are zeros. Its first byte may be
    /// what a killed run has left there.
    ///
    /// # Errors
    /// The file is not fit for this: see [`Error`].
    pub fn open(path: &Path, count: u64) -> Result<Zeros, Error> {
        let refused = |what| {
            move |error| Error::Refused {
                path: path.into(),
                what,
                error,
            }
        };
        // Before it is opened: that alone does something to a FIFO or a device.
        let about = fs::metadata(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::Missing {
                path: path.into(),
                count,
            },
            _ => refused("found")(error),
        })?;
        if let Some(is) = other_than_regular(&about.file_type()) {
            let path = path.into();
            return Err(Error::NotRegular { path, is });
        }
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(refused("opened for reading and writing"))?;
        if about.len() < count {
            return Err(Error::Short {
                path: path.into(),
                count,
                size: about.len(),
            });
        }
        if let Some((at, byte)) = first_content(&file, count).map_err(refused("read"))? {
            return Err(Error::NotZeros {
                path: path.into(),
                count,
                at,
                byte,
            });
        }
        // A write fails where a store to the mapping would kill us: no space is left for
        // the hole that `truncate` makes.
        file.write_all_at(&[0], 0).map_err(refused("written"))?;
        let start = map(&file).map_err(refused("mapped"))?;
        Ok(Zeros { file, start })
    }

    /// The file, to send from.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Changes the first byte through the mapping: a store and nothing else, since it
    /// comes right after a send has returned.
    pub fn stain(&mut self) {
        self.store(STAIN);
    }

    /// Makes it zero again.
    pub fn clean(&mut self) {
        // Somebody may have made the file shorter: a store would be a SIGBUS.
        if self.file.metadata().is_ok_and(|it| it.len() > 0) {
            self.store(0);
        }
    }

    fn store(&mut self, byte: u8) {
        // SAFETY: the mapping has this byte; volatile, because somebody else looks at
        // it: the network card.
        unsafe { self.start.as_ptr().cast::<u8>().write_volatile(byte) };
    }
}

impl Drop for Zeros {
    fn drop(&mut self) {
        self.clean();
        // SAFETY: ours, whole, and not used after this.
        let _ = unsafe { munmap(self.start, NonZeroUsize::MIN.get()) };
    }
}

fn map(file: &File) -> io::Result<NonNull<libc::c_void>> {
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let len = NonZeroUsize::MIN;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, file, 0) };
    start.map_err(Errno::into)
}

fn other_than_regular(is: &fs::FileType) -> Option<&'static str> {
    match () {
        () if is.is_file() => None,
        () if is.is_dir() => Some("directory"),
        () if is.is_fifo() => Some("FIFO"),
        () if is.is_socket() => Some("socket"),
        () => Some("device"),
    }
}

/// Where in the first `count` bytes something is that neither `truncate` nor a run of
/// ours has put there, and what.
fn first_content(file: &File, count: u64) -> io::Result<Option<(u64, u8)>> {
    let mut start = file.take(count);
    let mut bytes = vec![0; 1 << 16];
    let mut at = 0;
    loop {
        let len = start.read(&mut bytes)?;
        if len == 0 {
            return Ok(None);
        }
        if at == 0 && bytes[0] == STAIN {
            bytes[0] = 0;
        }
        if let Some(found) = super::judge::first_non_zero(&bytes[..len]) {
            return Ok(Some((at + found as u64, bytes[found])));
        }
        at += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_folder(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn the_first_byte_changes_and_is_put_right_again() {
        let (_folder, path) = in_folder(&[0; 10]);
        let mut zeros = Zeros::open(&path, 10).unwrap();
        zeros.stain();
        assert_eq!(fs::read(&path).unwrap()[..2], [STAIN, 0]);
        drop(zeros);
        assert_eq!(fs::read(&path).unwrap(), [0; 10]);
    }

    #[test]
    fn what_a_killed_run_has_left_is_no_content_and_anything_else_is() {
        let (_folder, path) = in_folder(&[STAIN, 0, 0, 7]);
        drop(Zeros::open(&path, 3).unwrap());
        let error = Zeros::open(&path, 4).unwrap_err().to_string();
        assert!(error.contains("byte 3 is 0x07"), "{error}");
        let (_folder, path) = in_folder(&[7, 0]);
        let error = Zeros::open(&path, 2).unwrap_err().to_string();
        assert!(error.contains("not all zeros"), "{error}");
        // A file that is refused is left alone.
        assert_eq!(fs::read(&path).unwrap(), [7, 0]);
    }

    #[test]
    fn a_file_that_somebody_empties_kills_nobody() {
        let (_folder, path) = in_folder(&[0; 10]);
        let mut zeros = Zeros::open(&path, 10).unwrap();
        File::options()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        zeros.clean();
        drop(zeros);
        assert!(fs::read(&path).unwrap().is_empty());
    }

    #[test]
    fn a_disk_without_space_is_an_error_and_no_signal() {
        // The kernel has no such file system at hand for everybody: a sealed memory file
        // refuses writes all the same.
        use nix::sys::memfd::{MFdFlags, memfd_create};
        let memory = File::from(memfd_create(c"sealed", MFdFlags::MFD_ALLOW_SEALING).unwrap());
        memory.set_len(10).unwrap();
        let seal = nix::fcntl::SealFlag::F_SEAL_WRITE;
        nix::fcntl::fcntl(&memory, nix::fcntl::FcntlArg::F_ADD_SEALS(seal)).unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&memory));
        let error = Zeros::open(Path::new(&path), 10).unwrap_err().to_string();
        assert!(error.contains("cannot be written"), "{error}");
    }
}
