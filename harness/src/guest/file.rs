//! The file that is sent.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};

use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap};
use nix::unistd::ftruncate;

use super::ext4;
use crate::history;
use crate::scenario::limits::FILE_BYTES;
use crate::scenario::{Copying, FileKind, FileSpec, Op, Range, Step};

/// Where unlinked tmpfs files are made; the guest's init mounts a tmpfs there.
const TMPFS: &str = "/dev/shm";
const MEMFD_NAME: &CStr = c"inflight";

/// The file that is sent, filled with generation 0 of the pattern.
#[derive(Debug)]
pub struct SentFile {
    file: File,
    size_bytes: u64,
    /// What is sent from, if that is another descriptor.
    read_only: Option<File>,
    pristine: Pristine,
    sparse: bool,
    on_disk: bool,
    /// The same with O_DIRECT.
    direct: Option<File>,
    mapping: Option<Mapping>,
    second: Option<Mapping>,
    /// Held by who makes the file shorter, against those who store through the mapping.
    size: RwLock<()>,
}

/// While it lives the file does not become shorter.
#[derive(Debug)]
pub struct SizeGuard<'a> {
    _guard: RwLockReadGuard<'a, ()>,
    size_bytes: u64,
}

impl SizeGuard<'_> {
    /// What of a range lies inside the file.
    pub fn inside(&self, range: Range) -> Range {
        Range {
            len: range.len.min(self.size_bytes.saturating_sub(range.offset)),
            ..range
        }
    }
}

impl SentFile {
    /// Makes and fills it.
    pub fn create(spec: &FileSpec) -> io::Result<SentFile> {
        let file = match spec.kind {
            FileKind::Tmpfs => File::options()
                .read(true)
                .write(true)
                .custom_flags(libc::O_TMPFILE)
                .mode(0o600)
                .open(Path::new(TMPFS))?,
            FileKind::Ext4 => ext4::file()?,
            FileKind::Memfd => File::from(memfd_create(MEMFD_NAME, MFdFlags::MFD_CLOEXEC)?),
        };
        let pristine = Pristine::table();
        match spec.sparse {
            true => file.set_len(spec.size_bytes)?,
            false => file.write_all_at(pristine.file(spec.size_bytes), 0)?,
        }
        let on_disk = spec.kind == FileKind::Ext4;
        if on_disk {
            ext4::settle(&file)?;
        }
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let read_only = spec.read_only.then(|| File::open(path)).transpose()?;
        Ok(SentFile {
            file,
            size_bytes: spec.size_bytes,
            read_only,
            pristine,
            sparse: spec.sparse,
            on_disk,
            direct: None,
            mapping: None,
            second: None,
            size: RwLock::new(()),
        })
    }

    /// Maps so much of it, shared and writable, if that is not mapped yet. The file may
    /// be shorter.
    pub fn map(&mut self, len: u64) -> io::Result<()> {
        map(&mut self.mapping, &self.file, len)
    }

    /// Maps so much of it a second time.
    pub fn map_again(&mut self, len: u64) -> io::Result<()> {
        map(&mut self.second, &self.file, len)
    }

    /// Opens it once more, past the page cache.
    pub fn open_direct(&mut self) -> io::Result<()> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let direct = File::options()
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(path)?;
        self.direct = Some(direct);
        Ok(())
    }

    /// Puts generation 0 back over what `steps` wrote, the way they wrote it.
    /// Returns whether the file then is as new; `content` is what was read back. What
    /// gave pages away, or filled a hole, is not undone.
    pub fn restore(&self, content: &[u8], steps: &[Step]) -> bool {
        let spoils = |op: Op| match self.sparse {
            true => op.writes().is_some() || op.maps(),
            false => op.zeroes(),
        };
        // What is on its way to a disk, and where it lies there, is not put back either.
        if self.on_disk || steps.iter().any(|step| spoils(step.op)) {
            return false;
        }
        if self.sparse {
            return content.len() as u64 == self.size_bytes && content.iter().all(|it| *it == 0);
        }
        let mut content = content.to_vec();
        for step in steps {
            let Some(Range { offset, len }) = step.op.writes() else {
                continue;
            };
            let range = offset as usize..(offset + len) as usize;
            let Some(bytes) = content.get_mut(range) else {
                return false;
            };
            bytes.copy_from_slice(self.pristine.range(Range { offset, len }));
            let restored = match step.op {
                Op::MmapWrite(range) | Op::ForkWrite(range) | Op::SecondWrite(range) => {
                    self.store(range, 0);
                    true
                }
                _ => self.pwrite(Range { offset, len }, 0) == Ok(len as usize),
            };
            if !restored {
                return false;
            }
        }
        content == self.pristine.file(self.size_bytes)
    }

    /// The descriptor that is sent from.
    pub fn file(&self) -> &File {
        self.read_only.as_ref().unwrap_or(&self.file)
    }

    /// Stores `generation` of the pattern through the mapping.
    ///
    /// # Panics
    /// When the file is not mapped or `range` leaves it: the scenario was not
    /// normalized.
    pub fn store(&self, range: Range, generation: u8) {
        let mapping = self
            .mapping
            .as_ref()
            .expect("a scenario that stores maps its file");
        mapping.store(range, self.pristine, generation);
    }

    /// The same through the second mapping.
    ///
    /// # Panics
    /// As [`SentFile::store`].
    pub fn store_beside(&self, range: Range, generation: u8) {
        let mapping = self.second.as_ref();
        let mapping = mapping.expect("a scenario that stores beside maps its file twice");
        mapping.store(range, self.pristine, generation);
    }

    /// msync(2) of the mapping.
    ///
    /// # Panics
    /// As [`SentFile::store`].
    pub fn sync(&self) -> nix::Result<()> {
        let mapping = self.mapping.as_ref();
        let mapping = mapping.expect("a scenario that syncs maps its file");
        // SAFETY: the mapping is whole, and its bytes stay as they are.
        unsafe { msync(mapping.start, mapping.len.get(), MsFlags::MS_SYNC) }
    }

    /// Has the kernel give back what of it is in the page cache, and of no other file.
    pub fn drop_cache(&self) -> io::Result<()> {
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        Ok(posix_fadvise(&self.file, 0, 0, advice)?)
    }

    /// pwrite(2) of `generation` of the pattern.
    pub fn pwrite(&self, range: Range, generation: u8) -> nix::Result<usize> {
        let mut bytes = self.pristine.range(range).to_vec();
        advance(&mut bytes, generation);
        nix::sys::uio::pwrite(self.file.as_fd(), &bytes, range.offset as libc::off_t)
    }

    /// pwrite(2) of `generation` of the pattern, past the page cache.
    ///
    /// # Panics
    /// When the file was not opened for that.
    pub fn write_direct(&self, range: Range, generation: u8) -> nix::Result<usize> {
        /// What every device is content with.
        const ALIGNED_BYTES: usize = 4096;
        let direct = self.direct.as_ref();
        let direct = direct.expect("a scenario that writes past the page cache opens its file so");
        let len = range.len as usize;
        let mut room = vec![0; len + ALIGNED_BYTES];
        let start = room.as_ptr().align_offset(ALIGNED_BYTES);
        let bytes = &mut room[start..start + len];
        bytes.copy_from_slice(self.pristine.range(range));
        advance(bytes, generation);
        nix::sys::uio::pwrite(direct, bytes, range.offset as libc::off_t)
    }

    /// Keeps the file from becoming shorter.
    pub fn hold_size(&self) -> SizeGuard<'_> {
        let guard = self.size.read().unwrap_or_else(PoisonError::into_inner);
        let size = nix::sys::stat::fstat(&self.file).map(|it| it.st_size);
        SizeGuard {
            _guard: guard,
            // A file without a size has nothing to store to.
            size_bytes: size.map_or(0, |bytes| u64::try_from(bytes).unwrap_or(0)),
        }
    }

    /// ftruncate(2).
    pub fn truncate(&self, size_bytes: u64) -> nix::Result<()> {
        let _guard = self.size.write().unwrap_or_else(PoisonError::into_inner);
        ftruncate(&self.file, size_bytes as libc::off_t)
    }

    /// fallocate(2): the pages of the range are given back.
    pub fn punch(&self, range: Range) -> nix::Result<()> {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (offset, len) = (range.offset as libc::off_t, range.len as libc::off_t);
        fallocate(&self.file, flags, offset, len)
    }

    /// fallocate(2): the range is zeros, which nobody has written.
    pub fn zero(&self, range: Range) -> nix::Result<()> {
        let flags = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let (offset, len) = (range.offset as libc::off_t, range.len as libc::off_t);
        fallocate(&self.file, flags, offset, len)
    }

    /// fallocate(2): the range is taken out, and the file is shorter by it.
    pub fn collapse(&self, range: Range) -> nix::Result<()> {
        let _guard = self.size.write().unwrap_or_else(PoisonError::into_inner);
        let flags = FallocateFlags::FALLOC_FL_COLLAPSE_RANGE;
        let (offset, len) = (range.offset as libc::off_t, range.len as libc::off_t);
        fallocate(&self.file, flags, offset, len)
    }

    /// vmsplice(2) of the mapping into a pipe, without waiting for room.
    ///
    /// # Panics
    /// As [`SentFile::store`].
    pub fn vmsplice(&self, pipe: &impl AsFd, range: Range, gift: bool) -> nix::Result<usize> {
        let mapping = self
            .mapping
            .as_ref()
            .expect("a scenario that splices its mapping maps its file");
        let part = mapping.part(range);
        let gift = if gift { libc::SPLICE_F_GIFT } else { 0 };
        // SAFETY: `part` lies inside the mapping, which outlives the call; the kernel
        // only takes references to its pages.
        let bytes = unsafe {
            libc::vmsplice(
                pipe.as_fd().as_raw_fd(),
                &raw const part,
                1,
                libc::SPLICE_F_NONBLOCK | gift,
            )
        };
        nix::errno::Errno::result(bytes).map(|bytes| bytes as usize)
    }

    /// Sends a part of the mapping by copy, to a socket or (write only) to a pipe.
    ///
    /// # Panics
    /// As [`SentFile::store`].
    pub fn copy_to(&self, to: &impl AsFd, by: Copying, range: Range) -> nix::Result<usize> {
        let mapping = self
            .mapping
            .as_ref()
            .expect("a scenario that copies from its mapping maps its file");
        let to = to.as_fd().as_raw_fd();
        let part = mapping.part(range);
        // SAFETY: `part` and the two halves lie inside the mapping, which outlives the
        // call; the kernel reads what other threads may be changing, which is the very
        // thing that is tested.
        let bytes = unsafe {
            match by {
                Copying::Write => libc::write(to, part.iov_base, part.iov_len),
                Copying::Send => libc::send(to, part.iov_base, part.iov_len, 0),
                Copying::Writev => {
                    let half = range.len / 2;
                    let halves = [
                        mapping.part(Range { len: half, ..range }),
                        mapping.part(Range {
                            offset: range.offset + half,
                            len: range.len - half,
                        }),
                    ];
                    libc::writev(to, halves.as_ptr(), halves.len() as libc::c_int)
                }
            }
        };
        nix::errno::Errno::result(bytes).map(|bytes| bytes as usize)
    }

    /// A part of the mapping, for a send by reference.
    ///
    /// # Panics
    /// As [`SentFile::store`].
    pub fn part(&self, range: Range) -> libc::iovec {
        let mapping = self.mapping.as_ref();
        let mapping = mapping.expect("a scenario that sends from its mapping maps its file");
        mapping.part(range)
    }

    /// send(2) of a part of the mapping with MSG_ZEROCOPY.
    ///
    /// # Panics
    /// As [`SentFile::store`].
    pub fn lend_to(&self, to: &impl AsFd, range: Range) -> nix::Result<usize> {
        let part = self.part(range);
        let to = to.as_fd().as_raw_fd();
        // SAFETY: `part` lies inside the mapping, which outlives the call; from then on
        // the kernel holds the pages themselves.
        let bytes = unsafe { libc::send(to, part.iov_base, part.iov_len, libc::MSG_ZEROCOPY) };
        nix::errno::Errno::result(bytes).map(|bytes| bytes as usize)
    }

    /// The content by pread(2), to the end of the file.
    pub fn read_back(&self, most_bytes: u64) -> io::Result<Vec<u8>> {
        // One byte more than it should hold, so that a file that grew is seen.
        // A regular file reads short only at its end.
        let mut bytes = vec![0; most_bytes as usize + 1];
        let len = self.file.read_at(&mut bytes, 0)?;
        bytes.truncate(len);
        Ok(bytes)
    }

    /// The content through the mapping, as far as the file goes; empty without one. One
    /// that an earlier scenario has left may be too short for it.
    pub fn mapped_bytes(&self, size_bytes: usize) -> Vec<u8> {
        let mapping = self.mapping.as_ref();
        let whole = mapping.filter(|it| it.len.get() >= size_bytes);
        whole.map(|it| it.copy(size_bytes)).unwrap_or_default()
    }
}

/// Makes a mapping of so many bytes, if `mapping` is none.
fn map(mapping: &mut Option<Mapping>, file: &File, len: u64) -> io::Result<()> {
    let fits = |mapping: &Mapping| mapping.len.get() as u64 == len;
    if !mapping.as_ref().is_some_and(fits) {
        *mapping = Some(Mapping::of(file, len)?);
    }
    Ok(())
}

/// A shared, writable mapping. The kernel and other threads change the bytes
/// behind it, so they are never lent out as a slice, only copied.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<libc::c_void>,
    len: NonZeroUsize,
}

// SAFETY: the mapping is plain memory that any thread may access; racing stores
// are the very thing that is tested, and are made with raw copies only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn of(file: &File, size_bytes: u64) -> io::Result<Mapping> {
        let len = NonZeroUsize::new(size_bytes as usize)
            .ok_or_else(|| io::Error::other("an empty file cannot be mapped"))?;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe {
            mmap(
                None,
                len,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                file,
                0,
            )?
        };
        Ok(Mapping { start, len })
    }

    fn store(&self, range: Range, pristine: Pristine, generation: u8) {
        assert!(
            range.end() <= self.len.get() as u64,
            "store past the mapping"
        );
        let mut bytes = pristine.range(range).to_vec();
        advance(&mut bytes, generation);
        // SAFETY: the range lies inside the mapping, as just asserted, and the
        // source is a buffer of our own.
        unsafe {
            let target = self.start.as_ptr().cast::<u8>().add(range.offset as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
    }

    /// A part of it, for the kernel.
    pub(super) fn part(&self, range: Range) -> libc::iovec {
        assert!(
            range.end() <= self.len.get() as u64,
            "a part past the mapping"
        );
        libc::iovec {
            iov_base: self.start.as_ptr().wrapping_byte_add(range.offset as usize),
            iov_len: range.len as usize,
        }
    }

    /// The first bytes.
    fn copy(&self, len: usize) -> Vec<u8> {
        assert!(len <= self.len.get(), "a copy past the mapping");
        let mut bytes = vec![0; len];
        // SAFETY: both are that long, at least.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.start.as_ptr().cast::<u8>(),
                bytes.as_mut_ptr(),
                bytes.len(),
            );
        }
        bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: ours, whole, and not used after this.
        let result = unsafe { munmap(self.start, self.len.get()) };
        debug_assert!(result.is_ok());
    }
}

/// Generation 0 of the largest file, from a table that is made once, before a scenario
/// begins: where time passes by the clock that takes longer than a link holds a packet, and
/// the first write of a guest would come too late to show.
#[derive(Clone, Copy)]
struct Pristine(&'static [u8]);

impl fmt::Debug for Pristine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pristine")
    }
}

impl Pristine {
    fn table() -> Pristine {
        static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
        Pristine(TABLE.get_or_init(|| {
            let mut bytes = vec![0; *FILE_BYTES.end() as usize];
            history::fill(&mut bytes, 0, 0);
            bytes
        }))
    }

    fn range(self, Range { offset, len }: Range) -> &'static [u8] {
        &self.0[offset as usize..(offset + len) as usize]
    }

    /// A file of so many bytes.
    fn file(self, size_bytes: u64) -> &'static [u8] {
        self.range(Range {
            offset: 0,
            len: size_bytes,
        })
    }
}

// What `history::pattern` does to a generation, on a whole buffer.
fn advance(bytes: &mut [u8], generation: u8) {
    for byte in bytes {
        *byte = byte.wrapping_add(generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_pattern() {
        let range = Range {
            offset: 4090,
            len: 12,
        };
        let mut bytes = Pristine::table().range(range).to_vec();
        advance(&mut bytes, 7);
        let expected: Vec<u8> = (4090..4102).map(|at| history::pattern(at, 7)).collect();
        assert_eq!(bytes, expected);
    }

    /// Two pages of a memfd.
    fn mapped() -> SentFile {
        let spec = FileSpec {
            kind: FileKind::Memfd,
            size_bytes: 8192,
            ..FileSpec::default()
        };
        let mut file = SentFile::create(&spec).unwrap();
        file.map(8192).unwrap();
        file
    }

    #[test]
    fn stores_and_writes_land_where_they_should() {
        let file = mapped();
        file.store(
            Range {
                offset: 4000,
                len: 200,
            },
            1,
        );
        file.pwrite(Range { offset: 0, len: 1 }, 2).unwrap();
        let bytes = file.read_back(8192).unwrap();
        assert_eq!(bytes, file.mapped_bytes(8192));
        assert_eq!(bytes.len(), 8192);
        for (at, &byte) in (0..).zip(&bytes) {
            let generation = match at {
                0 => 2,
                4000..4200 => 1,
                _ => 0,
            };
            assert_eq!(byte, history::pattern(at, generation), "offset {at}");
        }
    }

    #[test]
    fn a_restored_file_is_as_new_and_a_spoilt_one_is_not() {
        let file = mapped();
        let range = Range {
            offset: 4000,
            len: 200,
        };
        let write = Range { offset: 0, len: 1 };
        let steps = [Op::MmapWrite(range), Op::Pwrite(write)].map(|op| Step {
            actor: Default::default(),
            op,
        });
        file.store(range, 1);
        file.pwrite(write, 2).unwrap();
        assert!(file.restore(&file.read_back(8192).unwrap(), &steps));
        assert_eq!(file.read_back(8192).unwrap(), Pristine::table().file(8192));

        let beside = Range {
            offset: 8000,
            len: 1,
        };
        file.pwrite(beside, 3).unwrap();
        assert!(!file.restore(&file.read_back(8192).unwrap(), &steps));
    }
}
