//! Where a stream that keeps boundaries is cut. unix(7), SOCK_SEQPACKET: it "preserves
//! message boundaries". A call that copies makes one message. How many pages of a splice
//! go into one is left open, but a page is cut nowhere.

use super::bytes::Stretch;
use super::file::Content;
use crate::scenario::PAGE_BYTES;

/// What one call has put into the stream.
#[derive(Debug)]
struct Sent {
    /// Where in the stream.
    begin: u64,
    end: u64,
    /// Where it may be cut; `None`: nowhere.
    pages: Option<Vec<Run>>,
}

/// Bytes of a splice that have the same past.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// One past the last byte, in the stream and in the file.
    end: u64,
    file_end: u64,
    len: u64,
    /// It may be cut anywhere: it lies in pages that are not the file's.
    anywhere: bool,
    /// Another page follows.
    is_whole: bool,
}

#[derive(Debug, Default)]
pub struct Packets {
    calls: Vec<Sent>,
    end: u64,
    /// A call never returned: nobody knows what it has sent.
    open: bool,
}

impl Packets {
    /// A call puts bytes into the socket, as `one` message or page by page. They are as
    /// they were put into a pipe, if they were.
    pub fn send(&mut self, bytes: &[Stretch], one: bool, content: &Content) {
        let begin = self.end;
        let mut runs = Vec::new();
        for (at, stretch) in bytes.iter().enumerate() {
            self.end += stretch.len;
            let file_end = stretch.offset + stretch.len;
            let follows = bytes.get(at + 1);
            let zeros = |it: u8| content.is_zero(it, file_end.saturating_sub(1));
            runs.push(Run {
                end: self.end,
                file_end,
                len: stretch.len,
                // What was never written has no page to refer to.
                anywhere: stretch.loose || stretch.seen.iter().any(zeros),
                is_whole: follows.is_none_or(|it| it.offset != file_end || it.call != stretch.call),
            });
        }
        self.calls.push(Sent {
            begin,
            end: self.end,
            pages: (!one).then_some(runs),
        });
    }

    pub fn give_up(&mut self) {
        self.open = true;
    }

    /// Whether this part of the stream can be one message.
    pub fn may_be_one(&self, begin: u64, end: u64) -> bool {
        let Some(call) = self.calls.iter().find(|it| it.end > begin) else {
            return true;
        };
        let inside = end <= call.end;
        self.open || inside && call.may_be_cut(begin) && call.may_be_cut(end)
    }
}

impl Sent {
    fn may_be_cut(&self, at: u64) -> bool {
        if at == self.begin || at == self.end {
            return true;
        }
        let mut runs = self.pages.iter().flatten();
        runs.any(|run| {
            let before_end = run.end.saturating_sub(at);
            match at > run.end - run.len && at <= run.end {
                true if before_end == 0 && run.is_whole => true,
                true => run.anywhere || (run.file_end - before_end).is_multiple_of(PAGE_BYTES),
                false => false,
            }
        })
    }
}
