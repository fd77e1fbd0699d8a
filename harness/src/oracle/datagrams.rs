//! **datagrams**: each received datagram is one that was sent, whole and on its own;
//! and none is lost, doubled or overtaken where the link does none of that.
//!
//! One send is one datagram, however many rounds the kernel needs for it. What is
//! sent with MORE or through a cork waits, and what follows joins it. A datagram can
//! be lost on the way in other ways than by the link's: [`super::sendings`] knows
//! them. One that is lost because a write after the return spoiled its checksum is
//! not a matter of datagrams but breaks **stable-on-return**.
//!
//! Not flagged: losses by chance, by a queue or a receive buffer that is too short,
//! by a send that failed or was cut short in the middle of a datagram, by a write
//! during the send; any order and any repetition where the link shuffles; flipped bits
//! on a link that corrupts, where the checksum stays the same ([`super::checksum`]).

use super::checksum::Difference;
use super::ledger::{Generations, Ledger};
use super::sendings::{Rigour, Sendings};
use super::sizes::Sizes;
use super::stream::{Place, Promise, Sent, StableFault};
use super::{Found, Property, Violation, completion, name_step, stable};
use crate::history::{End, History};
use crate::scenario::Scenario;

/// Judges what was received, which is datagrams.
pub(super) fn judge(
    scenario: &Scenario,
    history: &History,
    ledger: &Ledger,
    sizes: &Sizes,
    runs: &[Sent],
) -> Found {
    // What a call that never returned has sent is anybody's guess, and it has broken
    // liveness already.
    if runs.iter().any(|run| !run.certain) {
        return Found::default();
    }
    let judge = Judge {
        scenario,
        history,
        ledger,
        runs,
        sendings: Sendings::new(scenario, history, ledger, sizes, runs),
    };
    let data = &scenario.setup.data;
    let shuffles = data.jitter_us > 0 || data.reorder_ppm > 0 || data.duplicate_ppm > 0;
    let shuffles = shuffles || data.nth.swap > 0 || data.nth.twice > 0;
    let found = |promise| match shuffles {
        true => judge.in_any_order(promise),
        false => judge.in_order(promise),
    };
    let (wire, stable) = found(Promise::Return);
    let completes = runs.iter().any(|run| run.promise == Promise::Completion);
    let completion = completes.then(|| found(Promise::Completion).1).flatten();
    Found {
        wire,
        stable,
        completion,
    }
}

struct Judge<'a> {
    scenario: &'a Scenario,
    history: &'a History,
    ledger: &'a Ledger,
    runs: &'a [Sent],
    sendings: Sendings<'a>,
}

/// How far the received datagrams could be followed.
struct Trail {
    /// Before each received datagram, and after the last one: how many sendings may
    /// be over.
    reached: Vec<Vec<usize>>,
    whole: bool,
}

impl Judge<'_> {
    /// Each received datagram by itself.
    fn in_any_order(&self, promise: Promise) -> (Option<Violation>, Option<Violation>) {
        let strict = Rigour::Keeps(promise);
        let starts: Vec<usize> = self.sendings.starts().collect();
        let (mut unknown, mut unstable) = (None, None);
        for received in 0..self.history.chunks.len() {
            if self.fitting(received, &starts, strict).is_some() {
                continue;
            }
            match self.fitting(received, &starts, Rigour::Documented) {
                Some(sent) => {
                    unstable = unstable.or_else(|| self.unstable(promise, received, sent))
                }
                None => unknown = unknown.or_else(|| Some(self.unknown(received, &[]))),
            }
        }
        (unknown, unstable)
    }

    /// The received datagrams one after the other.
    fn in_order(&self, promise: Promise) -> (Option<Violation>, Option<Violation>) {
        let strict = self.follow(Rigour::Keeps(promise));
        if strict.whole {
            return (None, None);
        }
        let loose = self.follow(Rigour::Documented);
        let stuck = loose.reached.len() - 1;
        let unknown = (!loose.whole).then(|| match stuck < self.history.chunks.len() {
            true => self.unknown(stuck, &loose.reached[stuck]),
            false => self.missing(&loose.reached[stuck]),
        });
        // As far as it can be followed, it needs a write after a return to have changed
        // a datagram, or to have destroyed one.
        let further = loose.whole || strict.reached.len() < loose.reached.len();
        let unstable = further
            .then(|| self.first_unstable(promise, &loose))
            .flatten();
        (unknown, unstable)
    }

    /// What is not stable about a way to explain all that can be explained.
    fn first_unstable(&self, promise: Promise, loose: &Trail) -> Option<Violation> {
        let explained = loose.reached.len() - 1;
        let mut next = loose.reached[explained].iter().copied().max()?;
        if loose.whole && loose.reached[explained].contains(&self.sendings.count()) {
            next = self.sendings.count();
        }
        // Backwards, since each set of what may be over has all ways in it.
        let mut way = Vec::with_capacity(explained);
        for received in (0..explained).rev() {
            let sent = (loose.reached[received].iter())
                .flat_map(|&first| self.sendings.ends(first).map(move |end| (first, end)))
                .filter(|(_, end)| {
                    self.sendings
                        .skip(&[*end], Rigour::Documented)
                        .contains(&next)
                })
                .find(|&sent| self.fits(received, sent, Rigour::Documented).is_ok())?;
            way.push((received, sent, next));
            next = sent.0;
        }
        let stable = |from: usize, to: usize| {
            self.sendings
                .skip(&[from], Rigour::Keeps(promise))
                .contains(&to)
        };
        if !stable(0, next) {
            return Some(self.destroyed(promise, 0, next));
        }
        way.into_iter().rev().find_map(|(received, sent, next)| {
            let torn = self.unstable(promise, received, sent);
            torn.or_else(|| (!stable(sent.1, next)).then(|| self.destroyed(promise, sent.1, next)))
        })
    }

    fn follow(&self, rigour: Rigour) -> Trail {
        let mut trail = Trail {
            reached: vec![self.sendings.skip(&[0], rigour)],
            whole: false,
        };
        for received in 0..self.history.chunks.len() {
            let mut next: Vec<usize> = trail.reached[received]
                .iter()
                .flat_map(|&first| self.sendings.ends(first).map(move |end| (first, end)))
                .filter(|&sent| self.fits(received, sent, rigour).is_ok())
                .map(|(_, end)| end)
                .collect();
            if next.is_empty() {
                return trail;
            }
            next.sort_unstable();
            next.dedup();
            trail.reached.push(self.sendings.skip(&next, rigour));
        }
        let all = self.sendings.count();
        let last = &trail.reached[self.history.chunks.len()];
        trail.whole = last.contains(&all) || self.history.end != End::Eof;
        trail
    }

    /// The sendings that a received datagram can be made of.
    fn fitting(&self, received: usize, starts: &[usize], rigour: Rigour) -> Option<(usize, usize)> {
        starts
            .iter()
            .flat_map(|&first| self.sendings.ends(first).map(move |end| (first, end)))
            .find(|&sent| self.fits(received, sent, rigour).is_ok())
    }

    /// Whether a received datagram can be those sendings, or what the link has made of
    /// them. If not by one byte, then which, and what it could have been.
    fn fits(
        &self,
        received: usize,
        sent: (usize, usize),
        rigour: Rigour,
    ) -> Result<(), Option<(Place, Generations)>> {
        match self.compare(received, sent, rigour) {
            Err(Some(_)) if self.goes_unnoticed(received, sent, rigour) => Ok(()),
            other => other,
        }
    }

    /// Whether the link has changed bits of a datagram, of the right length, and no
    /// checksum tells.
    fn goes_unnoticed(
        &self,
        received: usize,
        (first, end): (usize, usize),
        rigour: Rigour,
    ) -> bool {
        let most = self.most_flips(self.history.chunks[received].len as u64);
        if most == 0 {
            return false;
        }
        let start = self.history.chunks[received].start;
        let mut stream = start;
        let mut difference = Difference::default();
        for run in &self.runs[self.sendings.runs(first, end)] {
            let (mut file, run_end) = (run.range.offset, run.range.end());
            while file < run_end {
                let segment_end = self.ledger.segment_end(file, run_end);
                let values = match rigour {
                    Rigour::Keeps(promise) if promise == run.promise => {
                        self.ledger.during(file, run.window)
                    }
                    _ => run.possible(self.ledger, file, u64::MAX),
                };
                while file < segment_end {
                    let len = (segment_end - file) as usize;
                    let bytes = &self.history.received[stream..stream + len];
                    // Most are right, and could have been nothing else.
                    let right = match values.single() {
                        Some(generation) => self.ledger.matching(bytes, file, generation),
                        None => 0,
                    };
                    (file, stream) = (file + right as u64, stream + right);
                    if right == len {
                        break;
                    }
                    let byte = bytes[right];
                    // One more that is right says nothing new.
                    if !difference.is_open() || !self.ledger.allows(&values, file, byte) {
                        let possible = self.ledger.values(&values, file);
                        difference.add(stream - start, byte, possible);
                    }
                    if difference.is_beyond(most) {
                        return false;
                    }
                    (file, stream) = (file + 1, stream + 1);
                }
            }
        }
        difference.goes_unnoticed(most)
    }

    /// How many bits of a datagram of `bytes` the link may flip: one a packet by chance,
    /// and one by number.
    fn most_flips(&self, bytes: u64) -> u64 {
        /// Of IPv6, with that of a fragment.
        const LONGEST_HEADER_BYTES: u64 = 48;
        const UDP_HEADER_BYTES: u64 = 8;
        let setup = &self.scenario.setup;
        let mtu_bytes = u64::from(setup.device.mtu_bytes());
        // A fragment is a multiple of eight bytes long.
        let fragment_bytes = mtu_bytes.saturating_sub(LONGEST_HEADER_BYTES + 7).max(8);
        let packets = (bytes + UDP_HEADER_BYTES).div_ceil(fragment_bytes);
        let kinds = u64::from(setup.data.corrupt_ppm > 0) + u64::from(setup.data.nth.flip > 0);
        packets * kinds
    }

    /// [`Judge::fits`], where the link changes nothing.
    fn compare(
        &self,
        received: usize,
        (first, end): (usize, usize),
        rigour: Rigour,
    ) -> Result<(), Option<(Place, Generations)>> {
        let chunk = self.history.chunks[received];
        let runs = self.sendings.runs(first, end);
        let sent: u64 = self.runs[runs.clone()]
            .iter()
            .map(|run| run.range.len)
            .sum();
        let early = |run: &Sent| chunk.at.order < run.entry.order;
        if sent != chunk.len as u64 || self.runs[runs.clone()].iter().any(early) {
            return Err(None);
        }
        let mut stream = chunk.start;
        for (index, run) in runs.clone().zip(&self.runs[runs]) {
            let end = run.range.end();
            let mut file = run.range.offset;
            while file < end {
                let segment_end = self.ledger.segment_end(file, end);
                let possible = run.possible(self.ledger, file, chunk.at.order);
                let during = self.ledger.during(file, run.window);
                for at in file..segment_end {
                    let byte = self.history.received[stream];
                    let wrong = match rigour {
                        _ if !self.ledger.allows(&possible, at, byte) => Some(possible),
                        Rigour::Keeps(promise)
                            if promise == run.promise && !self.ledger.allows(&during, at, byte) =>
                        {
                            Some(during)
                        }
                        _ => None,
                    };
                    if let Some(allowed) = wrong {
                        let place = Place {
                            run: index,
                            stream,
                            file: at,
                        };
                        return Err(Some((place, allowed)));
                    }
                    stream += 1;
                }
                file = segment_end;
            }
        }
        Ok(())
    }

    /// What is torn in a datagram that holds bytes of another time than its send's.
    fn unstable(
        &self,
        promise: Promise,
        received: usize,
        sent: (usize, usize),
    ) -> Option<Violation> {
        let Err(Some((at, allowed))) = self.fits(received, sent, Rigour::Keeps(promise)) else {
            return None;
        };
        let shown = |file: u64, byte: u8| {
            let possible = self.runs[at.run].possible(self.ledger, file, u64::MAX);
            self.ledger.shown(&possible, file, byte)
        };
        let generation = shown(at.file, self.history.received[at.stream]);
        let rest = self.runs[at.run].range.end() - at.file;
        let len = (0..rest)
            .take_while(|&more| {
                let file = at.file + more;
                let byte = self.history.received[at.stream + more as usize];
                let window = self.runs[at.run].window;
                let during = self.ledger.during(file, window);
                shown(file, byte) == generation && !self.ledger.allows(&during, file, byte)
            })
            .count();
        let fault = StableFault {
            at,
            len,
            generation,
            allowed,
        };
        let words = match promise {
            Promise::Return => stable::violation,
            Promise::Completion => completion::violation,
        };
        Some(words(
            self.scenario,
            self.history,
            self.ledger,
            self.runs,
            fault,
        ))
    }

    fn unknown(&self, received: usize, reached: &[usize]) -> Violation {
        let chunk = self.history.chunks[received];
        let number = received + 1;
        let next = reached
            .last()
            .and_then(|&first| Some((first, self.sendings.ends(first).next()?)));
        let expected = match next {
            Some(sent) => format!("next was {}", self.name(sent)),
            None if reached.is_empty() => "in whatever order".to_string(),
            None => "no other was to come".to_string(),
        };
        Violation {
            stream_offset: Some(chunk.start as u64),
            ..Violation::new(
                Property::Datagrams,
                next.map(|(first, _)| self.sendings.step(first)),
                format!(
                    "datagram {number} that was received, of {} bytes, is none that was sent: {expected}",
                    chunk.len
                ),
            )
        }
    }

    /// A datagram that never came, though all those before it did.
    fn missing(&self, reached: &[usize]) -> Violation {
        let all = self.sendings.count();
        let left = reached.iter().copied().filter(|&first| first < all);
        let first = left.max().unwrap_or(0);
        let end = self.sendings.ends(first).next();
        let sent = (first, end.unwrap_or(self.sendings.count()));
        let name = self.name(sent);
        Violation {
            property: Property::Datagrams,
            message: format!("{name} was never received: nothing on the link loses it"),
            ..self.lost(sent)
        }
    }

    /// A datagram that never came, which a write after the return explains: the first
    /// such between two that came.
    fn destroyed(&self, promise: Promise, from: usize, next: usize) -> Violation {
        let over = self.sendings.skip(&[from], Rigour::Documented);
        let mut ways = (over.iter())
            .flat_map(|&first| self.sendings.ends(first).map(move |end| (first, end)))
            .filter(|(_, end)| *end <= next);
        let found = ways.find_map(|sent| {
            let strict = self.sendings.torn(sent, Rigour::Keeps(promise));
            let torn = self.sendings.torn(sent, Rigour::Documented)?;
            strict.is_none().then_some((sent, torn))
        });
        let Some((sent, (write, run))) = found else {
            return self.missing(&[from]);
        };
        let after_ns = write.entry.time_ns.saturating_sub(run.exit.time_ns);
        let (property, what) = match promise {
            Promise::Return => (Property::StableOnReturn, "the send had returned"),
            Promise::Completion => (Property::Completion, "its completion"),
        };
        Violation {
            property,
            torn_by: Some(write.step),
            after_return_ns: Some(after_ns),
            message: format!(
                "{} was never received: {} wrote to its bytes after {what}, \
                 and a checksum that was made before no longer fits",
                self.name(sent),
                name_step(self.scenario, write.step),
            ),
            ..self.lost(sent)
        }
    }

    fn lost(&self, (first, end): (usize, usize)) -> Violation {
        let run = &self.runs[self.sendings.runs(first, end).start];
        Violation {
            file_range: Some(run.range),
            ..Violation::new(Property::Datagrams, Some(run.step), String::new())
        }
    }

    /// A datagram as prose names it.
    fn name(&self, (first, end): (usize, usize)) -> String {
        let runs = &self.runs[self.sendings.runs(first, end)];
        let bytes: u64 = runs.iter().map(|run| run.range.len).sum();
        let by = name_step(self.scenario, self.sendings.step(first));
        match end - first {
            1 => format!("the datagram of {bytes} bytes sent by {by}"),
            parts => format!("the datagram of {bytes} bytes that {by} began, of {parts} sends"),
        }
    }
}

/// The longest datagram, in bytes of data.
pub(super) fn longest_bytes(over_ipv6: bool) -> u64 {
    const LONGEST_PACKET: u64 = 65_535;
    const UDP_HEADER: u64 = 8;
    const IPV4_HEADER: u64 = 20;
    // An IPv6 header is not part of what its length field counts.
    let ip_header = if over_ipv6 { 0 } else { IPV4_HEADER };
    LONGEST_PACKET - UDP_HEADER - ip_header
}

#[cfg(test)]
mod tests;
