//! The canonical text: what equals the default is left out.

use std::fmt;

use super::units::{Percent, Phase, Rate, Time};
use crate::scenario::{
    Actor, Borrowing, Copying, Device, DeviceKind, Distribution, Expect, Expected, FileKind,
    FileSpec, Filling, Means, Netem, Op, QUICKACK_NAMED, Range, ReaderMode, Scenario, Setup,
    SocketSpec, Stack, Step, TcpSpec, Way,
};

impl fmt::Display for Scenario {
    /// The canonical text. Ends with a line feed unless it is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before_ops = !self.header.is_empty();
        for line in self.header.split('\n').filter(|_| before_ops) {
            let blank = if line.is_empty() { "" } else { " " };
            writeln!(f, "#{blank}{line}")?;
        }
        before_ops |= self.setup != Setup::default() || !self.expects.is_empty();
        write!(f, "{}", self.setup)?;
        for expect in &self.expects {
            writeln!(f, "{expect}")?;
        }
        if before_ops && !self.steps.is_empty() {
            writeln!(f)?;
        }
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Setup {
    /// The lines that differ from the default, each with a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (direction, netem) in [("data", &self.data), ("ack", &self.ack)] {
            if *netem != Netem::default() {
                writeln!(f, "link {direction}{netem}")?;
            }
        }
        if self.device != Device::default() {
            writeln!(f, "link {}{}", self.device.kind, self.device)?;
        }
        if self.stack != Stack::default() {
            writeln!(f, "stack{}", self.stack)?;
        }
        if self.socket != SocketSpec::default() {
            writeln!(f, "socket {}", self.socket)?;
        }
        if self.file != FileSpec::default() {
            writeln!(f, "file {}", self.file)?;
        }
        match (self.reader, self.relay) {
            (ReaderMode::Drain, false) => {}
            (ReaderMode::Drain, true) => writeln!(f, "reader relay")?,
            (ReaderMode::Paused, false) => writeln!(f, "reader paused")?,
            (ReaderMode::Paused, true) => writeln!(f, "reader paused relay")?,
        }
        Ok(())
    }
}

impl fmt::Display for Netem {
    /// What differs from the default, each as ` KEY=VALUE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Netem {
            delay_us,
            jitter_us,
            loss_ppm,
            duplicate_ppm,
            reorder_ppm,
            rate_bps,
            limit_packets,
            seed,
            corrupt_ppm,
            correlation_ppm,
            gap_packets,
            recover_ppm,
            slot_us,
            overhead_bytes,
            distribution,
            mark,
            mut nth,
        } = *self;
        for (key, us) in [
            ("delay", delay_us),
            ("jitter", jitter_us),
            ("slot", slot_us),
        ] {
            if us != 0 {
                write!(f, " {key}={}", Time(us))?;
            }
        }
        for (key, ppm) in [
            ("loss", loss_ppm),
            ("duplicate", duplicate_ppm),
            ("reorder", reorder_ppm),
            ("corrupt", corrupt_ppm),
            ("correlation", correlation_ppm),
            ("recover", recover_ppm),
        ] {
            if ppm != 0 {
                write!(f, " {key}={}", Percent(ppm))?;
            }
        }
        if rate_bps != 0 {
            write!(f, " rate={}", Rate(rate_bps))?;
        }
        for (key, number) in [
            ("overhead", overhead_bytes),
            ("limit", limit_packets),
            ("gap", gap_packets),
        ] {
            if number != 0 {
                write!(f, " {key}={number}")?;
            }
        }
        if distribution != Distribution::default() {
            write!(f, " distribution={distribution}")?;
        }
        if mark {
            write!(f, " mark")?;
        }
        for (key, number) in nth.named() {
            if *number != 0 {
                write!(f, " {key}={number}")?;
            }
        }
        if seed != 0 {
            write!(f, " seed={seed}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = Distribution::NAMED[*self as usize];
        f.pad(name)
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = DeviceKind::NAMED[*self as usize];
        f.pad(name)
    }
}

impl fmt::Display for Device {
    /// What differs from the default, each as ` KEY=VALUE` or ` FLAG`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(bytes) = self.mtu_bytes {
            write!(f, " mtu={bytes}")?;
        }
        for (flag, set) in self.switches() {
            if set {
                write!(f, " {flag}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Stack {
    /// What it changes, each as ` KEY=VALUE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sysctl, value) in self.changes() {
            write!(f, " {}={value}", sysctl.name())?;
        }
        Ok(())
    }
}

impl fmt::Display for SocketSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.family)?;
        for (key, bytes) in [("sndbuf", self.sndbuf_bytes), ("rcvbuf", self.rcvbuf_bytes)] {
            if let Some(bytes) = bytes {
                write!(f, " {key}={bytes}")?;
            }
        }
        for (key, us) in [
            ("user-timeout", self.user_timeout_us),
            ("send-timeout", self.send_timeout_us),
        ] {
            if us != 0 {
                write!(f, " {key}={}", Time(us))?;
            }
        }
        write!(f, "{}", self.tcp)?;
        for (flag, set) in [
            ("nodelay", self.nodelay),
            ("cork", self.cork),
            ("nonblock", self.nonblock),
            ("poll", self.poll),
            ("timestamping", self.timestamping),
            ("each", self.each),
        ] {
            if set {
                write!(f, " {flag}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for TcpSpec {
    /// What differs from the default, each as ` KEY=VALUE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TcpSpec {
            notsent_lowat_bytes,
            congestion,
            quickack,
        } = self;
        if *notsent_lowat_bytes != 0 {
            write!(f, " notsent-lowat={notsent_lowat_bytes}")?;
        }
        if let Some(congestion) = congestion {
            write!(f, " congestion={}", congestion.name())?;
        }
        let named = QUICKACK_NAMED.iter().find(|(_, on)| *quickack == Some(*on));
        if let Some((name, _)) = named {
            write!(f, " quickack={name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FileSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = FileKind::NAMED[self.kind as usize].0;
        write!(f, "{kind} size={}", self.size_bytes)?;
        for (flag, set) in [("sparse", self.sparse), ("read-only", self.read_only)] {
            if set {
                write!(f, " {flag}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expect {} ", self.kernel)?;
        match &self.verdict {
            Expected::Holds(None) => write!(f, "holds"),
            Expected::Holds(Some(means)) => write!(f, "holds {means}"),
            Expected::Violates(property) => write!(f, "violates {property}"),
            Expected::Either => write!(f, "either"),
        }
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Means::NAMED.iter().find(|(_, means)| means == self);
        f.pad(named.map_or("", |(name, _)| name))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actor != self.op.usual_actor() {
            write!(f, "{}: ", self.actor)?;
        }
        write!(f, "{}", self.op)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Actor::A => "a",
            Actor::B => "b",
            Actor::C => "c",
            Actor::Reader => "reader",
            Actor::Link => "link",
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Way::Data => "data",
            Way::Ack => "ack",
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.offset, self.len)
    }
}

impl fmt::Display for Copying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Copying::NAMED.iter().find(|(_, by)| by == self);
        f.pad(named.map_or("", |(name, _)| name))
    }
}

impl fmt::Display for Borrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Borrowing::NAMED.iter().find(|(_, by)| by == self);
        f.pad(named.map_or("", |(name, _)| name))
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Sendfile(range) => write!(f, "sendfile {range}"),
            Op::SendfileOn { len } => write!(f, "sendfile {len}"),
            Op::Copy { by, range } => write!(f, "{by} {range}"),
            Op::Borrow { by, range } => write!(f, "{by} {range}"),
            Op::AwaitCompletions => write!(f, "await-completions"),
            Op::Pipe { capacity_bytes } => write!(f, "pipe capacity={capacity_bytes}"),
            Op::SpliceIn { range, by } => match by {
                Filling::Splice => write!(f, "splice-in {range}"),
                Filling::Move => write!(f, "splice-in {range} move"),
                Filling::Sendfile => write!(f, "sendfile-in {range}"),
            },
            Op::SpliceOut {
                len,
                more,
                nonblock,
                tee,
                move_pages,
            } => {
                write!(f, "splice-out {len}")?;
                for (flag, set) in [
                    ("more", more),
                    ("nonblock", nonblock),
                    ("tee", tee),
                    ("move", move_pages),
                ] {
                    if *set {
                        write!(f, " {flag}")?;
                    }
                }
                Ok(())
            }
            Op::Tee { len } => write!(f, "tee {len}"),
            Op::Pour { len } => write!(f, "pour {len}"),
            Op::Vmsplice { range, gift } => {
                write!(f, "vmsplice {range}{}", if *gift { " gift" } else { "" })
            }
            Op::PipeWrite { range, tee } => {
                write!(f, "pipe-write {range}{}", if *tee { " tee" } else { "" })
            }
            Op::MmapWrite(range) => write!(f, "mmap-write {range}"),
            Op::Pwrite(range) => write!(f, "pwrite {range}"),
            Op::ForkWrite(range) => write!(f, "fork-write {range}"),
            Op::SecondWrite(range) => write!(f, "mmap-write {range} second"),
            Op::Msync => write!(f, "msync"),
            Op::DropCaches => write!(f, "drop-caches"),
            Op::Truncate { size_bytes } => write!(f, "truncate {size_bytes}"),
            Op::Punch(range) => write!(f, "punch {range}"),
            Op::DirectWrite(range) => write!(f, "dwrite {range}"),
            Op::ZeroRange(range) => write!(f, "zero {range}"),
            Op::Collapse(range) => write!(f, "collapse {range}"),
            Op::Read { len } => write!(f, "read {len}"),
            Op::Wait { us } => write!(f, "wait {}", Time(*us)),
            Op::Await { who } => write!(f, "await {who}"),
            Op::Meet { who, after_ns: 0 } => write!(f, "meet {who}"),
            Op::Meet { who, after_ns } => write!(f, "meet {who} after={}", Phase(*after_ns)),
            Op::Shutdown => write!(f, "shutdown"),
            Op::Reset => write!(f, "reset"),
            Op::Close => write!(f, "close"),
            Op::Signal { to } => write!(f, "signal {to}"),
            Op::Kill { to } => write!(f, "kill {to}"),
            Op::Cork { on: true } => write!(f, "cork"),
            Op::Cork { on: false } => write!(f, "uncork"),
            Op::Hold { way, after_packets } => {
                write!(f, "hold {way}")?;
                match after_packets {
                    0 => Ok(()),
                    packets => write!(f, " after={packets}"),
                }
            }
            Op::Release { way, packets } => {
                write!(f, "release {way}")?;
                match packets {
                    None => Ok(()),
                    Some(packets) => write!(f, " packets={packets}"),
                }
            }
        }
    }
}
