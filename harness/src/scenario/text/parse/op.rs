//! The operations.

use super::{ACTORS, BARE, OPS, Reader, SETUP};
use crate::scenario::normalize::Line;
use crate::scenario::text::lex::{Trouble, Word, Words};
use crate::scenario::text::nearest::unknown;
use crate::scenario::text::options::{Key, Options, choose, only_option};
use crate::scenario::text::units;
use crate::scenario::{Actor, Borrowing, Copying, Filling, Op, Range, Way};

impl<'a> Reader<'a> {
    /// One operation. `bare`: no actor stands before it, so a setup line may
    /// have been meant as well.
    pub fn op(
        &mut self,
        line: Line,
        name: Word<'a>,
        bare: bool,
        words: &mut Words<'a>,
    ) -> Result<Op, Trouble> {
        if !OPS.contains(&name.text) {
            let setup = if bare { SETUP } else { &[] };
            let known = [OPS, setup].concat();
            let message = unknown("operation", &name.quoted(), name.text, &known);
            return Err(name.trouble(message));
        }
        const RANGE: &str = "a range OFFSET+LENGTH such as 0+4096";
        const LENGTH: &str = "a length in bytes such as 4096";
        if name.text == "pipe" {
            let value = only_option(words, Key::with_value("capacity", "SIZE"))?;
            self.places.push((line, "capacity", value));
            let capacity_bytes = units::narrow(value, units::bytes(value)?)?;
            return Ok(Op::Pipe { capacity_bytes });
        }
        if let Some(&(_, op)) = BARE.iter().find(|(bare, _)| *bare == name.text) {
            self.places.push((line, "", name));
            return Ok(op);
        }
        let argument = words.need(match name.text {
            "splice-out" | "tee" | "read" => LENGTH,
            "truncate" => "a size in bytes such as 4096",
            "sendfile" => "a range OFFSET+LENGTH such as 0+4096, or a length",
            "wait" => "a time such as 20ms",
            "signal" | "kill" | "await" | "meet" => "an actor such as `a`",
            "hold" | "release" => "`data` or `ack`",
            _ => RANGE,
        })?;
        self.places.push((line, "", argument));
        if let Some(&(_, by)) = Copying::NAMED.iter().find(|(call, _)| *call == name.text) {
            let range = range(argument)?;
            return Ok(Op::Copy { by, range });
        }
        if let Some(&(_, by)) = Borrowing::NAMED.iter().find(|(call, _)| *call == name.text) {
            let range = range(argument)?;
            return Ok(Op::Borrow { by, range });
        }
        Ok(match name.text {
            "sendfile" if argument.split('+').is_some() => Op::Sendfile(range(argument)?),
            "sendfile" => Op::SendfileOn {
                len: units::bytes(argument)?,
            },
            "splice-in" => Op::SpliceIn {
                range: range(argument)?,
                by: match Options::new(&[Key::flag("move")]).next(words)? {
                    Some(_) => Filling::Move,
                    None => Filling::Splice,
                },
            },
            "sendfile-in" => Op::SpliceIn {
                range: range(argument)?,
                by: Filling::Sendfile,
            },
            "pipe-write" => Op::PipeWrite {
                range: range(argument)?,
                tee: Options::new(&[Key::flag("tee")]).next(words)?.is_some(),
            },
            "mmap-write" => {
                let second = Options::new(&[Key::flag("second")]).next(words)?;
                match second {
                    None => Op::MmapWrite(range(argument)?),
                    Some(_) => Op::SecondWrite(range(argument)?),
                }
            }
            "pwrite" => Op::Pwrite(range(argument)?),
            "fork-write" => Op::ForkWrite(range(argument)?),
            "truncate" => Op::Truncate {
                size_bytes: units::bytes(argument)?,
            },
            "punch" => Op::Punch(range(argument)?),
            "dwrite" => Op::DirectWrite(range(argument)?),
            "zero" => Op::ZeroRange(range(argument)?),
            "collapse" => Op::Collapse(range(argument)?),
            "vmsplice" => Op::Vmsplice {
                range: range(argument)?,
                gift: Options::new(&[Key::flag("gift")]).next(words)?.is_some(),
            },
            "tee" => Op::Tee {
                len: units::bytes(argument)?,
            },
            "pour" => Op::Pour {
                len: units::bytes(argument)?,
            },
            "signal" => Op::Signal {
                to: read_actor(argument)?,
            },
            "kill" => Op::Kill {
                to: read_actor(argument)?,
            },
            "await" => Op::Await {
                who: read_actor(argument)?,
            },
            "meet" => {
                let who = read_actor(argument)?;
                let keys = [Key::with_value("after", "PHASE")];
                let after_ns = match Options::new(&keys).next(words)? {
                    None => 0,
                    Some((key, value)) => {
                        self.places.push((line, key, value));
                        units::phase_ns(value)?
                    }
                };
                Op::Meet { who, after_ns }
            }
            "hold" => Op::Hold {
                way: choose(argument, "direction", &Way::NAMED)?,
                after_packets: self.packets(line, "after", words)?.unwrap_or(0),
            },
            "release" => Op::Release {
                way: choose(argument, "direction", &Way::NAMED)?,
                packets: self.packets(line, "packets", words)?,
            },
            "read" => Op::Read {
                len: units::bytes(argument)?,
            },
            "wait" => Op::Wait {
                us: units::time_us(argument)?,
            },
            _ => splice_out(argument, words)?,
        })
    }

    /// `KEY=NUMBER`, or nothing.
    fn packets(
        &mut self,
        line: Line,
        key: &'static str,
        words: &mut Words<'a>,
    ) -> Result<Option<u32>, Trouble> {
        let keys = [Key::with_value(key, "PACKETS")];
        let Some((_, value)) = Options::new(&keys).next(words)? else {
            return Ok(None);
        };
        self.places.push((line, key, value));
        units::narrow(value, units::number(value)?).map(Some)
    }
}

pub fn read_actor(word: Word<'_>) -> Result<Actor, Trouble> {
    choose(word, "actor", &ACTORS)
}

/// `OFFSET+LENGTH`.
fn range(word: Word<'_>) -> Result<Range, Trouble> {
    let Some((offset, len)) = word.split('+') else {
        let found = word.quoted();
        return Err(word.trouble(if word.text.starts_with('-') {
            format!("found the negative offset {found}, expected OFFSET+LENGTH such as 0+4096")
        } else {
            format!("found {found}, expected OFFSET+LENGTH such as 0+4096: the length is missing")
        }));
    };
    let range = Range {
        offset: units::bytes(offset)?,
        len: units::bytes(len)?,
    };
    match range.offset.checked_add(range.len) {
        Some(_) => Ok(range),
        None => Err(word.trouble(format!(
            "the end of the range {} is too large",
            word.quoted()
        ))),
    }
}

fn splice_out(len: Word<'_>, words: &mut Words<'_>) -> Result<Op, Trouble> {
    const KEYS: [Key; 4] = [
        Key::flag("more"),
        Key::flag("nonblock"),
        Key::flag("tee"),
        Key::flag("move"),
    ];
    let len = units::bytes(len)?;
    let (mut more, mut nonblock, mut tee, mut move_pages) = (false, false, false, false);
    let mut options = Options::new(&KEYS);
    while let Some((key, _)) = options.next(words)? {
        match key {
            "more" => more = true,
            "tee" => tee = true,
            "move" => move_pages = true,
            _ => nonblock = true,
        }
    }
    Ok(Op::SpliceOut {
        len,
        more,
        nonblock,
        tee,
        move_pages,
    })
}
