//! What the two say to each other besides the zeros: lines of text, readable in a packet
//! dump and by `nc`.
//!
//! ```text
//! recv to send   inflight-recv 1 corrupted bytes=4096 rounds=1 count=4096 byte=0xab
//! send to recv   inflight-send 1 end count=4096 bytes=8192 datagrams=6    (UDP only)
//! ```
//!
//! After the version comes what it is, then any number of `NAME=VALUE`; names that are not
//! known are no matter. Who does not answer, like the programs of 2008, is no error.

use std::fmt;

use super::judge::Corruption;

const RECEIVER: &str = "inflight-recv 1 ";
const SENDER: &str = "inflight-send 1 ";

/// No line is longer; what is, is none.
pub const LINE_MAX_BYTES: usize = 512;

/// What the receiver has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The verdict.
    pub verdict: Verdict,
    /// So many zeros arrived.
    pub bytes: u64,
    /// In so many datagrams, of a transport that has some.
    pub datagrams: Option<u64>,
    /// The receiver's `--count`.
    pub count: u64,
}

/// What the receiver makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet: it listens (UDP only).
    Ready,
    /// All was zero up to the end.
    Clean,
    /// This byte was not, after the zeros.
    Corrupted {
        /// The byte.
        byte: u8,
    },
    /// It was stopped before the end; all was zero up to then.
    Stopped,
}

impl Answer {
    /// Whether nothing else will follow.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.verdict != Verdict::Ready
    }

    /// Where it was corrupted, if it was.
    #[must_use]
    pub fn corruption(&self) -> Option<Corruption> {
        match self.verdict {
            Verdict::Corrupted { byte } => Some(Corruption {
                byte,
                at: self.bytes,
            }),
            _ => None,
        }
    }

    /// Reads a line; `None` if it is something else.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Answer> {
        let rest = text_after(line, RECEIVER)?;
        let verdict = match rest.split(' ').next()? {
            "ready" => Verdict::Ready,
            "clean" => Verdict::Clean,
            "stopped" => Verdict::Stopped,
            "corrupted" => {
                let byte = field(rest, "byte")?.strip_prefix("0x")?;
                let byte = u8::from_str_radix(byte, 16).ok()?;
                Verdict::Corrupted { byte }
            }
            _ => return None,
        };
        Some(Answer {
            verdict,
            bytes: number(rest, "bytes")?,
            datagrams: number(rest, "datagrams"),
            count: number(rest, "count").filter(|&count| count > 0)?,
        })
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ready => "ready",
            Verdict::Clean => "clean",
            Verdict::Corrupted { .. } => "corrupted",
            Verdict::Stopped => "stopped",
        };
        let (bytes, count) = (self.bytes, self.count);
        let rounds = bytes / count;
        write!(
            f,
            "{RECEIVER}{verdict} bytes={bytes} rounds={rounds} count={count}"
        )?;
        if let Some(datagrams) = self.datagrams {
            write!(f, " datagrams={datagrams}")?;
        }
        if let Verdict::Corrupted { byte } = self.verdict {
            write!(f, " byte={byte:#04x}")?;
        }
        writeln!(f)
    }
}

/// What the sender of datagrams says: with UDP nothing else tells the beginning and the
/// end. It cannot be taken for a part of the file: that is zero from its second byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Is somebody there? Zeros follow.
    Hello {
        /// The sender's `--count`.
        count: u64,
    },
    /// That was all.
    End {
        /// The sender's `--count`.
        count: u64,
        /// So many bytes were sent.
        bytes: u64,
        /// In so many datagrams.
        datagrams: u64,
    },
}

impl Notice {
    /// Reads a datagram; `None` if it is something else.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Notice> {
        let rest = text_after(datagram, SENDER)?;
        let count = number(rest, "count")?;
        match rest.split(' ').next()? {
            "hello" => Some(Notice::Hello { count }),
            "end" => Some(Notice::End {
                count,
                bytes: number(rest, "bytes")?,
                datagrams: number(rest, "datagrams")?,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::Hello { count } => writeln!(f, "{SENDER}hello count={count}"),
            Notice::End {
                count,
                bytes,
                datagrams,
            } => writeln!(
                f,
                "{SENDER}end count={count} bytes={bytes} datagrams={datagrams}"
            ),
        }
    }
}

/// The text of a line after `prefix`, without its end.
fn text_after<'a>(line: &'a [u8], prefix: &str) -> Option<&'a str> {
    if line.len() > LINE_MAX_BYTES {
        return None;
    }
    let text = str::from_utf8(line).ok()?;
    text.strip_prefix(prefix).map(str::trim_ascii_end)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut words = text.split(' ').filter_map(|word| word.split_once('='));
    words.find(|(it, _)| *it == name).map(|(_, value)| value)
}

fn number(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_were_written() {
        for verdict in [
            Verdict::Ready,
            Verdict::Clean,
            Verdict::Corrupted { byte: 0x0b },
            Verdict::Stopped,
        ] {
            for datagrams in [None, Some(3)] {
                let answer = Answer {
                    verdict,
                    bytes: 8200,
                    datagrams,
                    count: 4096,
                };
                let line = answer.to_string();
                assert!(
                    line.ends_with('\n') && line.contains(" rounds=2 "),
                    "{line}"
                );
                assert_eq!(Answer::parse(line.as_bytes()), Some(answer), "{line}");
            }
        }
    }

    #[test]
    fn notices_are_read_as_they_were_written() {
        let (count, bytes, datagrams) = (4096, 8192, 6);
        let end = Notice::End {
            count,
            bytes,
            datagrams,
        };
        for notice in [Notice::Hello { count }, end] {
            let line = notice.to_string();
            assert_eq!(Notice::parse(line.as_bytes()), Some(notice), "{line}");
        }
    }

    #[test]
    fn the_lines_are_as_documented_and_may_grow() {
        let line = "inflight-recv 1 corrupted bytes=4096 rounds=1 count=4096 byte=0xab\n";
        let answer = Answer::parse(line.as_bytes()).unwrap();
        assert_eq!(answer.to_string(), line);
        let (byte, at) = (0xab, 4096);
        assert_eq!(answer.corruption(), Some(Corruption { byte, at }));
        let longer = "inflight-recv 1 clean colour=blue count=1 bytes=2\r\n";
        assert_eq!(Answer::parse(longer.as_bytes()).unwrap().bytes, 2);
    }

    #[test]
    fn what_others_say_is_no_answer() {
        for line in [
            "",
            "HTTP/1.1 400 Bad Request",
            "inflight-recv 2 clean bytes=1 count=1",
            "inflight-recv 1 torn bytes=1 count=1",
            "inflight-recv 1 clean bytes=1",
            // Nobody receives so: it would be a division by zero.
            "inflight-recv 1 clean bytes=1 count=0",
            "inflight-recv 1 corrupted bytes=1 count=1",
            "inflight-recv 1 clean bytes=-1 count=1",
        ] {
            assert_eq!(Answer::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Answer::parse(&[0xff; 40]), None);
        assert_eq!(Notice::parse(&[0; 40]), None);
        let long = format!(
            "inflight-send 1 hello count=1 {}",
            "x".repeat(LINE_MAX_BYTES)
        );
        assert_eq!(Notice::parse(long.as_bytes()), None);
    }
}
