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
    /// Bytes in each page in use, at the most pages that it can be.
    used: VecDeque<u64>,
    pages: u64,
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

/// The bytes of a range of the file page by page.
pub fn pages(range: Option<Range>) -> Vec<u64> {
    let mut pages = Vec::new();
    let range = range.unwrap_or(Range { offset: 0, len: 0 });
    let mut at = range.offset;
    while at < range.end() {
        let end = (at / PAGE_BYTES + 1) * PAGE_BYTES;
        pages.push(end.min(range.end()) - at);
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
        self.used.len() as u64 >= self.pages
    }

    /// fcntl(2): "an attempt to set the capacity below the amount of buffer space
    /// currently used to store data".
    pub fn fits(&self, capacity_bytes: u32) -> bool {
        self.used.len() as u64 <= capacity_pages(capacity_bytes)
    }

    pub fn resize(&mut self, capacity_bytes: u32) {
        self.pages = capacity_pages(capacity_bytes);
    }

    pub fn put(&mut self, pages: &[u64], bytes: Vec<Stretch>) {
        self.used.extend(pages);
        self.bytes.0.extend(bytes);
    }

    /// The first so many bytes, and the pages that they are in.
    pub fn first(&self, len: u64) -> (Vec<u64>, Vec<Stretch>) {
        let mut rest = len;
        let mut pages = Vec::new();
        for &used in &self.used {
            let part = rest.min(used);
            if part == 0 {
                break;
            }
            pages.push(part);
            rest -= part;
        }
        (pages, self.bytes.first(len))
    }

    pub fn take(&mut self, len: u64) -> Vec<Stretch> {
        let mut rest = len;
        while let Some(used) = self.used.front_mut() {
            let part = rest.min(*used);
            *used -= part;
            rest -= part;
            if *used > 0 {
                break;
            }
            self.used.pop_front();
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

/// fcntl(2): "Attempts to set the pipe capacity [...] the kernel may round up": to a
/// power of two of pages.
fn capacity_pages(capacity_bytes: u32) -> u64 {
    let pages = u64::from(capacity_bytes).div_ceil(PAGE_BYTES).max(1);
    pages.next_power_of_two()
}
