//! A pipe. pipe(7): "A pipe has a limited capacity"; it is one of pages, of each of
//! which any part can be in use (fcntl(2), F_SETPIPE_SZ and EBUSY).

use std::collections::VecDeque;

use super::bytes::{Bytes, CallId, Stretch};
use crate::scenario::{PAGE_BYTES, Range};

/// pipe(7): "Since Linux 2.6.11, the pipe capacity is 16 pages".
const DEFAULT_PAGES: u64 = 16;

#[derive(Debug)]
pub struct Pipe {
    bytes: Bytes,
    /// Each page in use, at the most pages that it can be.
    used: VecDeque<Page>,
    pages: u64,
}

/// A page in use.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    bytes: u64,
    /// A file on tmpfs may have had a hole there. Its zeros can come in pages of the pipe's own,
    /// where they lie otherwise than in the file: if the first of what one call has put in are
    /// taken, the others may be in a page more.
    hole: Option<Hole>,
}

#[derive(Debug, Clone, Copy)]
struct Hole {
    /// When it was put in.
    order: u64,
    /// Bytes before it, put in by the same call, are gone.
    is_rest: bool,
}

impl Default for Pipe {
    fn default() -> Self {
        Pipe {
            bytes: Bytes::default(),
            used: VecDeque::new(),
            pages: DEFAULT_PAGES,
        }
    }
}

/// The bytes of a range of the file page by page; `hole`: when they were put in, if some of them
/// may be of a hole.
pub fn pages(range: Option<Range>, hole: Option<u64>) -> Vec<Page> {
    let hole = hole.map(|order| Hole {
        order,
        is_rest: false,
    });
    let mut pages = Vec::new();
    let range = range.unwrap_or(Range { offset: 0, len: 0 });
    let mut at = range.offset;
    while at < range.end() {
        let end = (at / PAGE_BYTES + 1) * PAGE_BYTES;
        let bytes = end.min(range.end()) - at;
        pages.push(Page { bytes, hole });
        at = end;
    }
    pages
}

impl Pipe {
    /// How many bytes are in it, in how many pages at the most.
    pub fn fill(&self) -> (u64, u64) {
        (self.bytes.len(), self.used.len() as u64)
    }

    pub fn may_be_full(&self) -> bool {
        self.most_pages() >= self.pages
    }

    fn most_pages(&self) -> u64 {
        let rests = self.used.iter().filter(|page| page.is_rest()).count();
        (self.used.len() + rests) as u64
    }

    /// fcntl(2): "an attempt to set the capacity below the amount of buffer space
    /// currently used to store data".
    pub fn fits(&self, capacity_bytes: u32) -> bool {
        self.most_pages() <= capacity_pages(capacity_bytes)
    }

    pub fn resize(&mut self, capacity_bytes: u32) {
        self.pages = capacity_pages(capacity_bytes);
    }

    pub fn put(&mut self, pages: &[Page], bytes: Vec<Stretch>) {
        self.used.extend(pages);
        self.bytes.0.extend(bytes);
    }

    /// The first so many bytes, and the pages that they are in.
    pub fn first(&self, len: u64) -> (Vec<Page>, Vec<Stretch>) {
        let mut rest = len;
        let mut pages = Vec::new();
        for &page in &self.used {
            let bytes = rest.min(page.bytes);
            if bytes == 0 {
                break;
            }
            pages.push(Page { bytes, ..page });
            rest -= bytes;
        }
        (pages, self.bytes.first(len))
    }

    pub fn take(&mut self, len: u64) -> Vec<Stretch> {
        let mut rest = len;
        while let Some(page) = self.used.front_mut() {
            let part = rest.min(page.bytes);
            page.bytes -= part;
            rest -= part;
            let taken = page.hole.filter(|_| part > 0);
            if page.bytes == 0 {
                self.used.pop_front();
            }
            if let (Some(taken), Some(page)) = (taken, self.used.front_mut())
                && let Some(hole) = &mut page.hole
            {
                hole.is_rest |= hole.order == taken.order;
            }
            if rest == 0 {
                break;
            }
        }
        self.bytes.take(len)
    }

    pub fn show(&mut self, generation: u8, written: Range) {
        self.bytes.show(generation, written);
    }

    pub fn settle(&mut self, call: CallId) {
        self.bytes.settle(call);
    }
}

impl Page {
    fn is_rest(&self) -> bool {
        self.hole.is_some_and(|hole| hole.is_rest)
    }
}

/// fcntl(2): "Attempts to set the pipe capacity [...] the kernel may round up": to a
/// power of two of pages.
fn capacity_pages(capacity_bytes: u32) -> u64 {
    let pages = u64::from(capacity_bytes).div_ceil(PAGE_BYTES).max(1);
    pages.next_power_of_two()
}
