//! What is still there when nobody uses anything any more: sockets, open files, pages
//! and pins. All of it is counted by the kernel, exactly, as long as it has one CPU.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::time::Duration;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};

use super::netns::NetNs;
use crate::history::Leftovers;
use crate::scenario::PAGE_BYTES;

/// include/uapi/linux/kernel-page-flags.h
const KPF_LRU: u64 = 1 << 5;
const KPF_ANON: u64 = 1 << 12;
const KPF_NOPAGE: u64 = 1 << 20;
const FLAGS_BYTES: u64 = size_of::<u64>() as u64;

/// For how long what is left is waited for. A connection that nobody holds goes by
/// itself, at the latest when TCP gives it up: 924.6 s by tcp_retries2.
const PATIENCE: Duration = Duration::from_secs(2000);
const FIRST_WAIT: Duration = Duration::from_millis(1);
/// In virtual time: until all that can run has run, and waits where it always waits. A
/// thread that waits in accept(2) has a file for what will come.
const MOMENT: Duration = Duration::from_micros(1);

/// Reads the counters.
#[derive(Debug)]
pub struct Gauge {
    /// Each of a namespace.
    sockets: [File; 3],
    files: File,
    memory: File,
    page_flags: File,
    /// Where the flags of the first page stand; `None`: not all are there. In User Mode
    /// Linux 6.1 as it is the file ends too early, since the last number of a page, where it
    /// is to end, is their count (arch/um/kernel/mem.c:mem_init, max_pfn); ours is patched.
    first_page: Option<u64>,
    buffer: Vec<u8>,
    /// What madvise(2) is called on.
    page: NonNull<libc::c_void>,
}

// SAFETY: the page is nobody else's, and nobody looks into it.
unsafe impl Send for Gauge {}

/// The counters at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    sockets: i64,
    files: i64,
    /// Pages of files beyond those in the page cache.
    pages: i64,
    pins: i64,
}

impl Reading {
    /// What it would be if what came between two others had been there already.
    pub fn with(self, before: Reading, after: Reading) -> Reading {
        Reading {
            sockets: self.sockets + after.sockets - before.sockets,
            files: self.files + after.files - before.files,
            pages: self.pages + after.pages - before.pages,
            pins: self.pins + after.pins - before.pins,
        }
    }

    /// What came since an earlier one.
    pub fn since(self, before: Reading) -> Leftovers {
        let came = |now: i64, before: i64| u64::try_from(now - before).unwrap_or(0);
        Leftovers {
            sockets: came(self.sockets, before.sockets),
            files: came(self.files, before.files),
            pages: came(self.pages, before.pages),
            pins: came(self.pins, before.pins),
        }
    }
}

impl Gauge {
    /// For the sockets of the caller's namespace and of `others`, and for all the rest
    /// of this kernel.
    pub fn open([one, other]: [&NetNs; 2]) -> io::Result<Gauge> {
        // Which namespace it tells of is settled when it is opened.
        let sockets = || File::open("/proc/thread-self/net/sockstat");
        // SAFETY: a new mapping, nobody else's.
        let page = unsafe {
            mmap_anonymous(
                None,
                NonZeroUsize::new(PAGE_BYTES as usize).expect("a page has bytes"),
                ProtFlags::PROT_READ,
                MapFlags::MAP_PRIVATE,
            )
        }?;
        let mut gauge = Gauge {
            sockets: [sockets()?, one.with(sockets)?, other.with(sockets)?],
            files: File::open("/proc/sys/fs/file-nr")?,
            memory: File::open("/proc/vmstat")?,
            page_flags: File::open("/proc/kpageflags")?,
            first_page: None,
            buffer: vec![0; 64 * 1024],
            page,
        };
        if let Some(first) = gauge.find_first_page()? {
            let cached = gauge.cached_pages()?;
            gauge.first_page = (gauge.pages_of_files(first)? >= cached).then_some(first);
        }
        Ok(gauge)
    }

    /// The counters of now, when nothing else runs.
    pub fn read(&mut self) -> io::Result<Reading> {
        std::thread::sleep(MOMENT);
        let mut sockets = 0;
        for at in 0..self.sockets.len() {
            // A socket counts until its last packet is gone, wherever that is: what
            // waits to be sent holds it by sk_wmem_alloc (net/core/sock.c:sk_free).
            let text = text(&self.sockets[at], &mut self.buffer)?;
            sockets += number(text, "sockets: used ")?;
        }
        let files = number(text(&self.files, &mut self.buffer)?, "")?;
        let vmstat = text(&self.memory, &mut self.buffer)?;
        let pinned = number(vmstat, "nr_foll_pin_acquired ")?;
        let unpinned = number(vmstat, "nr_foll_pin_released ")?;
        let pages = match self.first_page {
            Some(first) => {
                let cached = self.cached_pages()?;
                self.pages_of_files(first)? - cached
            }
            None => 0,
        };
        Ok(Reading {
            sockets,
            files,
            pages,
            pins: pinned - unpinned,
        })
    }

    /// The counters as soon as they stand where they stood `before`, or when it is
    /// certain that they never will.
    pub fn read_settled(&mut self, before: Reading) -> io::Result<Reading> {
        let (mut waited, mut wait) = (Duration::ZERO, FIRST_WAIT);
        loop {
            let reading = self.read()?;
            if reading.since(before) == Leftovers::default() || waited >= PATIENCE {
                return Ok(reading);
            }
            std::thread::sleep(wait);
            waited += wait;
            wait *= 2;
        }
    }

    fn cached_pages(&mut self) -> io::Result<i64> {
        number(text(&self.memory, &mut self.buffer)?, "nr_file_pages ")
    }

    /// The pages of files, in the page cache or no longer. One that was cut off a file
    /// stays in the kernel's lists of pages to be reclaimed until nobody refers to it,
    /// so those that are there and not in the cache are in somebody's hands.
    fn pages_of_files(&mut self, first: u64) -> io::Result<i64> {
        // New pages come into those lists in batches; this ends the current one.
        // SAFETY: the page is mapped, and nothing is in it.
        unsafe { madvise(self.page, PAGE_BYTES as usize, MmapAdvise::MADV_COLD) }?;
        let (mut pages, mut at) = (0, first);
        while let Some(flags) = self.page_flags_at(at)? {
            at += flags.len() as u64 * FLAGS_BYTES;
            let of_file = |flags: &u64| flags & (KPF_LRU | KPF_ANON) == KPF_LRU;
            pages += flags.filter(of_file).count() as i64;
        }
        Ok(pages)
    }

    fn find_first_page(&mut self) -> io::Result<Option<u64>> {
        let mut at = 0;
        while let Some(mut flags) = self.page_flags_at(at)? {
            let len = flags.len() as u64;
            if let Some(page) = flags.position(|flags| flags & KPF_NOPAGE == 0) {
                return Ok(Some(at + page as u64 * FLAGS_BYTES));
            }
            at += len * FLAGS_BYTES;
        }
        Ok(None)
    }

    /// The flags of some pages; `None`: there are no more.
    fn page_flags_at(&mut self, at: u64) -> io::Result<Option<impl ExactSizeIterator<Item = u64>>> {
        let len = self.page_flags.read_at(&mut self.buffer, at)?;
        let flags = self.buffer[..len].chunks_exact(FLAGS_BYTES as usize);
        let flags = flags.map(|it| u64::from_ne_bytes(it.try_into().expect("8 bytes")));
        Ok((len > 0).then_some(flags))
    }
}

fn text<'a>(file: &File, buffer: &'a mut [u8]) -> io::Result<&'a str> {
    // A file of /proc is made anew when it is read from its begin.
    let len = file.read_at(buffer, 0)?;
    str::from_utf8(&buffer[..len]).map_err(io::Error::other)
}

/// The decimal number behind `name` at the begin of a line.
fn number(text: &str, name: &str) -> io::Result<i64> {
    let found = text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.split_whitespace().next()?.parse().ok()
    });
    found.ok_or_else(|| io::Error::other(format!("no number behind `{name}` in: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_behind_their_names() {
        let text = "nr_free_pages 1\nnr_file_pages 23\nsockets: used 7\nTCP: inuse 4 orphan 0\n";
        assert_eq!(number(text, "nr_file_pages ").unwrap(), 23);
        assert_eq!(number(text, "sockets: used ").unwrap(), 7);
        assert_eq!(number("96\t0\t1024\n", "").unwrap(), 96);
        for name in ["TCP: ", "nr_file", "used "] {
            let error = number(text, name).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn what_came_counts_and_what_went_does_not() {
        let before = Reading {
            sockets: 4,
            files: 30,
            pages: -2,
            pins: 8,
        };
        assert_eq!(before.since(before), Leftovers::default());
        let now = Reading {
            sockets: 5,
            files: 29,
            pages: 1,
            pins: 9,
        };
        let came = Leftovers {
            sockets: 1,
            files: 0,
            pages: 3,
            pins: 1,
        };
        assert_eq!(now.since(before), came);
        // What is there to stay.
        assert_eq!(now.since(before.with(before, now)), Leftovers::default());
    }
}
