//! The grammar: one statement a line.

use super::lex::{Place, Trouble, Word, Words};
use super::nearest::unknown;
use super::options::{Key, Options, choose, only_option};
use super::units;
use crate::scenario::normalize::{
    Line, Note, PROPERTIES, Rule, explain, is_kernel_name, tidy_header,
};
use crate::scenario::{
    Actor, Copying, Expect, Expected, Family, FileKind, FileSpec, Means, Netem, Op, Range,
    ReaderMode, Scenario, SocketSpec, Step, Way,
};

const SETUP: [&str; 5] = ["link", "socket", "file", "reader", "expect"];
const OPS: [&str; 28] = [
    "sendfile",
    "write",
    "send",
    "writev",
    "pipe",
    "splice-in",
    "splice-out",
    "tee",
    "pipe-write",
    "vmsplice",
    "mmap-write",
    "pwrite",
    "fork-write",
    "msync",
    "drop-caches",
    "truncate",
    "punch",
    "read",
    "wait",
    "shutdown",
    "reset",
    "close",
    "signal",
    "kill",
    "cork",
    "uncork",
    "hold",
    "release",
];
/// Operations that are one word.
const BARE: [(&str, Op); 7] = [
    ("msync", Op::Msync),
    ("drop-caches", Op::DropCaches),
    ("shutdown", Op::Shutdown),
    ("reset", Op::Reset),
    ("close", Op::Close),
    ("cork", Op::Cork { on: true }),
    ("uncork", Op::Cork { on: false }),
];
const ACTORS: [(&str, Actor); 5] = [
    ("a", Actor::A),
    ("b", Actor::B),
    ("c", Actor::C),
    ("reader", Actor::Reader),
    ("link", Actor::Link),
];

/// Reads a text that is plain already.
pub fn scenario(text: &str) -> Result<Scenario, Trouble> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        let mut words = Words::new(line, index + 1);
        reader.end = Place {
            line: index + 1,
            column: 1,
        };
        match words.next() {
            Some(first) => reader.statement(first, words)?,
            None => reader.comment(line),
        }
    }
    reader.finish()
}

/// What was read so far, and where.
#[derive(Default)]
struct Reader<'a> {
    scenario: Scenario,
    header: String,
    in_body: bool,
    /// The setup lines seen, in words, with their places.
    setup_lines: Vec<(String, Place)>,
    /// Where the values stand that normalization may object to.
    places: Vec<(Line, &'static str, Word<'a>)>,
    end: Place,
}

impl Default for Place {
    fn default() -> Self {
        Place { line: 1, column: 1 }
    }
}

impl<'a> Reader<'a> {
    /// A line without a statement: blank, or a comment. All comments above the
    /// first statement are the header; a blank line between them is kept.
    fn comment(&mut self, line: &str) {
        if self.in_body {
            return;
        }
        let text = line.trim_start().strip_prefix('#').unwrap_or("");
        self.header.push_str(text.strip_prefix(' ').unwrap_or(text));
        self.header.push('\n');
    }

    fn statement(&mut self, first: Word<'a>, mut words: Words<'a>) -> Result<(), Trouble> {
        self.in_body = true;
        if SETUP.contains(&first.text) {
            return self.setup(first, words);
        }
        let (actor, name) = match first.split(':') {
            None => (None, first),
            Some((actor, op)) if op.text.is_empty() => (Some(actor), words.need("an operation")?),
            Some((actor, op)) => (Some(actor), op),
        };
        let actor = actor.map(read_actor).transpose()?;
        let line = Line::Step(self.scenario.steps.len());
        self.places.push((line, "actor", first));
        let op = self.op(line, name, actor.is_none(), &mut words)?;
        words.finish()?;
        self.scenario.steps.push(Step {
            actor: actor.unwrap_or(op.usual_actor()),
            op,
        });
        Ok(())
    }

    fn setup(&mut self, first: Word<'a>, mut words: Words<'a>) -> Result<(), Trouble> {
        if !self.scenario.steps.is_empty() {
            return Err(first.trouble(format!(
                "found the setup line {} after an operation, expected all setup lines before the first operation",
                first.quoted()
            )));
        }
        match first.text {
            "link" => {
                let direction = choose(
                    words.need("`data` or `ack`")?,
                    "direction",
                    &[("data", Line::Data), ("ack", Line::Ack)],
                )?;
                let name = match direction {
                    Line::Data => "link data",
                    _ => "link ack",
                };
                self.once(name, first)?;
                self.places.push((direction, "", first));
                let netem = self.netem(direction, &mut words)?;
                match direction {
                    Line::Data => self.scenario.setup.data = netem,
                    _ => self.scenario.setup.ack = netem,
                }
            }
            "socket" => {
                self.once("socket", first)?;
                self.scenario.setup.socket = self.socket(&mut words)?;
            }
            "file" => {
                self.once("file", first)?;
                self.scenario.setup.file = self.file(&mut words)?;
            }
            "reader" => {
                self.once("reader", first)?;
                self.scenario.setup.reader = choose(
                    words.need("`drain` or `paused`")?,
                    "reader mode",
                    &[("drain", ReaderMode::Drain), ("paused", ReaderMode::Paused)],
                )?;
            }
            _ => self.expect(first, &mut words)?,
        }
        words.finish()
    }

    /// Refuses a second setup line of the same name.
    fn once(&mut self, name: &str, word: Word<'a>) -> Result<(), Trouble> {
        if let Some((_, place)) = self.setup_lines.iter().find(|(seen, _)| seen == name) {
            return Err(word.trouble(format!(
                "found a second `{name}` line, expected only the one in line {}",
                place.line
            )));
        }
        self.setup_lines.push((name.to_owned(), word.place));
        Ok(())
    }

    fn netem(&mut self, line: Line, words: &mut Words<'a>) -> Result<Netem, Trouble> {
        const KEYS: [Key; 8] = [
            Key::with_value("delay", "TIME"),
            Key::with_value("jitter", "TIME"),
            Key::with_value("loss", "SHARE"),
            Key::with_value("duplicate", "SHARE"),
            Key::with_value("reorder", "SHARE"),
            Key::with_value("rate", "RATE"),
            Key::with_value("limit", "PACKETS"),
            Key::with_value("seed", "NUMBER"),
        ];
        let mut netem = Netem::default();
        let mut options = Options::new(&KEYS);
        while let Some((key, value)) = options.next(words)? {
            self.places.push((line, key, value));
            match key {
                "delay" => netem.delay_us = units::time_us(value)?,
                "jitter" => netem.jitter_us = units::time_us(value)?,
                "loss" => netem.loss_ppm = units::share_ppm(value)?,
                "duplicate" => netem.duplicate_ppm = units::share_ppm(value)?,
                "reorder" => netem.reorder_ppm = units::share_ppm(value)?,
                "rate" => netem.rate_bps = units::rate_bps(value)?,
                "limit" => netem.limit_packets = units::narrow(value, units::number(value)?)?,
                _ => netem.seed = units::number(value)?,
            }
        }
        Ok(netem)
    }

    fn socket(&mut self, words: &mut Words<'a>) -> Result<SocketSpec, Trouble> {
        const KEYS: [Key; 7] = [
            Key::with_value("sndbuf", "SIZE"),
            Key::with_value("rcvbuf", "SIZE"),
            Key::with_value("user-timeout", "TIME"),
            Key::with_value("send-timeout", "TIME"),
            Key::flag("nodelay"),
            Key::flag("cork"),
            Key::flag("nonblock"),
        ];
        let mut socket = SocketSpec {
            family: choose(
                words.need("a socket family such as `tcp4`")?,
                "socket family",
                &Family::NAMED,
            )?,
            ..SocketSpec::default()
        };
        let mut options = Options::new(&KEYS);
        while let Some((key, value)) = options.next(words)? {
            self.places.push((Line::Socket, key, value));
            let size = || units::narrow(value, units::bytes(value)?).map(Some);
            match key {
                "sndbuf" => socket.sndbuf_bytes = size()?,
                "rcvbuf" => socket.rcvbuf_bytes = size()?,
                "user-timeout" => socket.user_timeout_us = units::time_us(value)?,
                "send-timeout" => socket.send_timeout_us = units::time_us(value)?,
                "nodelay" => socket.nodelay = true,
                "cork" => socket.cork = true,
                _ => socket.nonblock = true,
            }
        }
        Ok(socket)
    }

    fn file(&mut self, words: &mut Words<'a>) -> Result<FileSpec, Trouble> {
        let kind = choose(
            words.need("`tmpfs` or `memfd`")?,
            "kind of file",
            &[("tmpfs", FileKind::Tmpfs), ("memfd", FileKind::Memfd)],
        )?;
        const SIZE: Key = Key::with_value("size", "SIZE");
        const KEYS: [Key; 3] = [SIZE, Key::flag("sparse"), Key::flag("read-only")];
        let mut size_bytes = None;
        let (mut sparse, mut read_only) = (false, false);
        let mut options = Options::new(&KEYS);
        while let Some((key, value)) = options.next(words)? {
            self.places.push((Line::File, key, value));
            match key {
                "size" => size_bytes = Some(units::bytes(value)?),
                "sparse" => sparse = true,
                _ => read_only = true,
            }
        }
        let Some(size_bytes) = size_bytes else {
            // There is no word left, and this says which one is missing.
            return Err(words.need(&SIZE.form()).expect_err("the end of the line"));
        };
        Ok(FileSpec {
            kind,
            size_bytes,
            sparse,
            read_only,
        })
    }

    fn expect(&mut self, first: Word<'a>, words: &mut Words<'a>) -> Result<(), Trouble> {
        let kernel = words.need("a kernel such as `6.12-stock`, or a flavour such as `stock`")?;
        if !is_kernel_name(kernel.text) {
            return Err(kernel.trouble(format!(
                "found {}: {}",
                kernel.quoted(),
                Rule::ExpectKernel
            )));
        }
        self.once(&format!("expect {}", kernel.text), first)?;
        let verdict = words.need("`holds` or `violates PROPERTY`")?;
        let verdict = match choose(verdict, "verdict", &[("holds", false), ("violates", true)])? {
            false => {
                let means = words.next();
                let chosen = means.map(|word| choose(word, "means", &Means::NAMED));
                Expected::Holds(chosen.transpose()?)
            }
            true => {
                let named = PROPERTIES.map(|name| (name, name));
                let property = choose(words.need("a property")?, "property", &named)?;
                Expected::Violates(property.to_owned())
            }
        };
        let line = Line::Expect(self.scenario.expects.len());
        self.places.push((line, "", first));
        self.scenario.expects.push(Expect {
            kernel: kernel.text.to_owned(),
            verdict,
        });
        Ok(())
    }

    /// One operation. `bare`: no actor stands before it, so a setup line may
    /// have been meant as well.
    fn op(
        &mut self,
        line: Line,
        name: Word<'a>,
        bare: bool,
        words: &mut Words<'a>,
    ) -> Result<Op, Trouble> {
        if !OPS.contains(&name.text) {
            let setup = if bare { &SETUP[..] } else { &[] };
            let known = [&OPS[..], setup].concat();
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
            "signal" | "kill" => "an actor such as `a`",
            "hold" | "release" => "`data` or `ack`",
            _ => RANGE,
        })?;
        self.places.push((line, "", argument));
        if let Some(&(_, by)) = Copying::NAMED.iter().find(|(call, _)| *call == name.text) {
            let range = range(argument)?;
            return Ok(Op::Copy { by, range });
        }
        Ok(match name.text {
            "sendfile" if argument.split('+').is_some() => Op::Sendfile(range(argument)?),
            "sendfile" => Op::SendfileOn {
                len: units::bytes(argument)?,
            },
            "splice-in" => Op::SpliceIn(range(argument)?),
            "pipe-write" => Op::PipeWrite(range(argument)?),
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
            "vmsplice" => Op::Vmsplice {
                range: range(argument)?,
                gift: Options::new(&[Key::flag("gift")]).next(words)?.is_some(),
            },
            "tee" => Op::Tee {
                len: units::bytes(argument)?,
            },
            "signal" => Op::Signal {
                to: read_actor(argument)?,
            },
            "kill" => Op::Kill {
                to: read_actor(argument)?,
            },
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

    /// The scenario, if it runs as it is written.
    fn finish(mut self) -> Result<Scenario, Trouble> {
        // Blanks at line ends are no reason to refuse prose.
        self.scenario.header = tidy_header(&self.header);
        let (normal, notes) = explain(self.scenario);
        match notes.first() {
            None => Ok(normal),
            Some(Note { line, key, rule }) => {
                let at = |key: &str| {
                    self.places
                        .iter()
                        .find(|(l, k, _)| l == line && *k == key)
                        .map(|&(.., word)| word)
                };
                Err(match at(key).or_else(|| at("")) {
                    Some(word) => word.trouble(format!("found {}: {rule}", word.quoted())),
                    None => Trouble::new(self.end, rule.to_string()),
                })
            }
        }
    }
}

fn read_actor(word: Word<'_>) -> Result<Actor, Trouble> {
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
    const KEYS: [Key; 3] = [Key::flag("more"), Key::flag("nonblock"), Key::flag("tee")];
    let len = units::bytes(len)?;
    let (mut more, mut nonblock, mut tee) = (false, false, false);
    let mut options = Options::new(&KEYS);
    while let Some((key, _)) = options.next(words)? {
        match key {
            "more" => more = true,
            "tee" => tee = true,
            _ => nonblock = true,
        }
    }
    Ok(Op::SpliceOut {
        len,
        more,
        nonblock,
        tee,
    })
}
