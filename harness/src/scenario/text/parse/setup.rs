//! The lines of the setup.

use super::Reader;
use crate::scenario::normalize::{Line, PROPERTIES, Rule, is_kernel_name};
use crate::scenario::text::lex::{Trouble, Word, Words};
use crate::scenario::text::options::{Key, Options, choose};
use crate::scenario::text::units;
use crate::scenario::{
    Congestion, DeviceKind, Distribution, Expect, Expected, Family, FileKind, FileSpec, Means,
    Netem, QUICKACK_NAMED, ReaderMode, SocketSpec,
};

impl<'a> Reader<'a> {
    pub fn setup(&mut self, first: Word<'a>, mut words: Words<'a>) -> Result<(), Trouble> {
        if !self.scenario.steps.is_empty() {
            return Err(first.trouble(format!(
                "found the setup line {} after an operation, expected all setup lines before the first operation",
                first.quoted()
            )));
        }
        match first.text {
            "link" => {
                let (part, kind) = choose(
                    words.need("`data`, `ack`, `veth`, `tun` or `loopback`")?,
                    "part of the link",
                    &[
                        ("data", (Line::Data, DeviceKind::Veth)),
                        ("ack", (Line::Ack, DeviceKind::Veth)),
                        ("veth", (Line::Device, DeviceKind::Veth)),
                        ("tun", (Line::Device, DeviceKind::Tun)),
                        ("loopback", (Line::Device, DeviceKind::Loopback)),
                    ],
                )?;
                let name = match part {
                    Line::Data => "link data",
                    Line::Ack => "link ack",
                    _ => "link veth`, `link tun` or `link loopback",
                };
                self.once(name, first)?;
                self.places.push((part, "", first));
                match part {
                    Line::Data => self.scenario.setup.data = self.netem(part, &mut words)?,
                    Line::Ack => self.scenario.setup.ack = self.netem(part, &mut words)?,
                    _ => self.scenario.setup.device = self.device(kind, &mut words)?,
                }
            }
            "stack" => {
                self.once("stack", first)?;
                self.places.push((Line::Stack, "", first));
                self.scenario.setup.stack = self.stack(&mut words)?;
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
                self.reader(&mut words)?;
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
        const KEYS: [Key; 20] = [
            Key::with_value("delay", "TIME"),
            Key::with_value("jitter", "TIME"),
            Key::with_value("loss", "SHARE"),
            Key::with_value("duplicate", "SHARE"),
            Key::with_value("reorder", "SHARE"),
            Key::with_value("rate", "RATE"),
            Key::with_value("limit", "PACKETS"),
            Key::with_value("seed", "NUMBER"),
            Key::with_value("corrupt", "SHARE"),
            Key::with_value("correlation", "SHARE"),
            Key::with_value("gap", "PACKETS"),
            Key::with_value("recover", "SHARE"),
            Key::with_value("slot", "TIME"),
            Key::with_value("overhead", "SIZE"),
            Key::with_value("distribution", "NAME"),
            Key::flag("mark"),
            Key::with_value("drop", "NUMBER"),
            Key::with_value("twice", "NUMBER"),
            Key::with_value("swap", "NUMBER"),
            Key::with_value("flip", "NUMBER"),
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
                "seed" => netem.seed = units::number(value)?,
                "corrupt" => netem.corrupt_ppm = units::share_ppm(value)?,
                "correlation" => netem.correlation_ppm = units::share_ppm(value)?,
                "gap" => netem.gap_packets = units::narrow(value, units::number(value)?)?,
                "recover" => netem.recover_ppm = units::share_ppm(value)?,
                "slot" => netem.slot_us = units::time_us(value)?,
                "overhead" => netem.overhead_bytes = units::narrow(value, units::bytes(value)?)?,
                "distribution" => {
                    netem.distribution = choose(value, "distribution", &Distribution::NAMED)?;
                }
                "mark" => netem.mark = true,
                _ => {
                    let number = units::narrow(value, units::number(value)?)?;
                    let mut named = netem.nth.named().into_iter();
                    if let Some((_, nth)) = named.find(|(name, _)| *name == key) {
                        *nth = number;
                    }
                }
            }
        }
        Ok(netem)
    }

    fn socket(&mut self, words: &mut Words<'a>) -> Result<SocketSpec, Trouble> {
        const KEYS: [Key; 13] = [
            Key::with_value("sndbuf", "SIZE"),
            Key::with_value("rcvbuf", "SIZE"),
            Key::with_value("user-timeout", "TIME"),
            Key::with_value("send-timeout", "TIME"),
            Key::flag("nodelay"),
            Key::flag("cork"),
            Key::flag("nonblock"),
            Key::flag("poll"),
            Key::flag("timestamping"),
            Key::with_value("notsent-lowat", "SIZE"),
            Key::with_value("congestion", "NAME"),
            Key::with_value("quickack", "on|off"),
            Key::flag("each"),
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
                "poll" => socket.poll = true,
                "timestamping" => socket.timestamping = true,
                "notsent-lowat" => {
                    let bytes = units::bytes(value)?;
                    socket.tcp.notsent_lowat_bytes = units::narrow(value, bytes)?;
                }
                "congestion" => {
                    let chosen = choose(value, "congestion control", &Congestion::NAMED)?;
                    socket.tcp.congestion = Some(chosen);
                }
                "quickack" => {
                    let chosen = choose(value, "value", &QUICKACK_NAMED)?;
                    socket.tcp.quickack = Some(chosen);
                }
                "each" => socket.each = true,
                _ => socket.nonblock = true,
            }
        }
        Ok(socket)
    }

    fn file(&mut self, words: &mut Words<'a>) -> Result<FileSpec, Trouble> {
        let kind = choose(
            words.need("`tmpfs`, `memfd` or `ext4`")?,
            "kind of file",
            &FileKind::NAMED,
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

    /// `relay` may stand alone: whoever reads there drains, as any other reader does.
    fn reader(&mut self, words: &mut Words<'a>) -> Result<(), Trouble> {
        let first = words.need("`drain`, `paused` or `relay`")?;
        let mode = choose(
            first,
            "reader mode",
            &[
                ("drain", Some(ReaderMode::Drain)),
                ("paused", Some(ReaderMode::Paused)),
                ("relay", None),
            ],
        )?;
        let relay = match mode {
            Some(_) => words.next(),
            None => Some(first),
        };
        if let Some(word) = relay {
            self.scenario.setup.relay = choose(word, "way to the reader", &[("relay", true)])?;
            self.places.push((Line::Reader, "", word));
        }
        self.scenario.setup.reader = mode.unwrap_or_default();
        Ok(())
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
        let verdict = words.need("`holds`, `violates PROPERTY` or `either`")?;
        let verdicts = [
            ("holds", Some(false)),
            ("violates", Some(true)),
            ("either", None),
        ];
        let verdict = match choose(verdict, "verdict", &verdicts)? {
            None => Expected::Either,
            Some(false) => {
                let means = words.next();
                let chosen = means.map(|word| choose(word, "means", &Means::NAMED));
                Expected::Holds(chosen.transpose()?)
            }
            Some(true) => {
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
}
