//! The sender's ear: what comes back while it sends.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Socket, Type};

use super::message::{Answer, LINE_MAX_BYTES};

/// Reads answers, and is deaf to anything else.
#[derive(Debug)]
pub struct Inbox {
    datagrams: bool,
    /// Of a stream: the line that has begun.
    line: Vec<u8>,
    open: bool,
    answer: Option<Answer>,
}

impl Inbox {
    /// For a socket of this type.
    #[must_use]
    pub fn new(kind: Type) -> Inbox {
        Inbox {
            datagrams: kind == Type::DGRAM,
            line: Vec::new(),
            open: true,
            answer: None,
        }
    }

    /// Whether something may still come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// What the receiver has said last.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        self.answer
    }

    /// The last word, if it was said.
    #[must_use]
    pub fn last_word(&self) -> Option<Answer> {
        self.answer.filter(Answer::is_final)
    }

    /// Reads what is there, without waiting.
    ///
    /// # Errors
    /// As recv(2): the connection is no more.
    pub fn look(&mut self, socket: &Socket) -> io::Result<()> {
        let mut bytes = [0; 2 * LINE_MAX_BYTES];
        while self.open {
            let arrived = recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT);
            match arrived.map_err(Errno::into) {
                Ok(0) if !self.datagrams => self.open = false,
                Ok(len) => self.hear(&bytes[..len]),
                Err::<_, io::Error>(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted => {}
                    _ => {
                        self.open = self.datagrams;
                        return Err(error);
                    }
                },
            }
        }
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8]) {
        if self.datagrams {
            self.read(bytes);
            return;
        }
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.read(&line);
            } else if self.line.len() <= LINE_MAX_BYTES {
                self.line.push(byte);
            }
        }
    }

    fn read(&mut self, line: &[u8]) {
        if self.last_word().is_none()
            && let Some(answer) = Answer::parse(line)
        {
            self.answer = Some(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &[u8] = b"inflight-recv 1 clean bytes=8192 rounds=2 count=4096\n";

    #[test]
    fn an_answer_is_found_in_pieces_and_between_other_lines() {
        let mut inbox = Inbox::new(Type::STREAM);
        inbox.hear(b"hello there\n");
        for byte in CLEAN {
            assert_eq!(inbox.answer(), None);
            inbox.hear(&[*byte]);
        }
        assert_eq!(inbox.last_word().unwrap().bytes, 8192);
        // The first last word counts.
        inbox.hear(b"inflight-recv 1 stopped bytes=1 rounds=1 count=1\n");
        assert_eq!(inbox.last_word().unwrap().bytes, 8192);
    }

    #[test]
    fn a_line_without_an_end_takes_no_memory_and_hides_nothing() {
        let mut inbox = Inbox::new(Type::STREAM);
        inbox.hear(&[b'x'; 100_000]);
        assert!(inbox.line.len() <= LINE_MAX_BYTES + 1);
        inbox.hear(b"\n");
        assert_eq!(inbox.answer(), None);
        inbox.hear(CLEAN);
        assert!(inbox.answer().is_some());
    }

    #[test]
    fn of_datagrams_each_is_a_line() {
        let mut inbox = Inbox::new(Type::DGRAM);
        inbox.hear(b"inflight-recv 1 ready bytes=0 rounds=0 count=7 datagrams=0\n");
        assert_eq!(inbox.answer().unwrap().count, 7);
        assert_eq!(inbox.last_word(), None);
        inbox.hear(&CLEAN[..10]);
        inbox.hear(&CLEAN[10..]);
        assert_eq!(inbox.last_word(), None);
        inbox.hear(CLEAN);
        assert!(inbox.last_word().is_some());
    }
}
