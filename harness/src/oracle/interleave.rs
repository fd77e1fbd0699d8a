//! Walks the received stream where several threads sent at the same time.
//!
//! Calls that overlap in time may take turns on the socket, byte by byte; a call that
//! returned before another was made stands before it. Which call a byte came from is
//! not known then, but what was sent is: so all that can be at each place of the
//! stream is how far each thread has got, and that set is small, for hardly any byte
//! is right for two of them. The stream is right if the set is not empty at its end.
//! Of zeros every one is right, so that the set can grow beyond what can be followed;
//! nothing is said about a stream from there on.

use super::ledger::{Generations, Ledger};
use super::stream::{Faults, Place, Promise, Sent, StableFault, WireFault, reported};
use crate::history::{End, History};
use crate::scenario::{Actor, Scenario};

/// Threads that can send.
const LANES: usize = Actor::SENDING_SIDE.len();

/// Most states that a pass looks at in all, which takes part of a second. Where the
/// bytes of the threads differ there are a few for each byte of the stream.
const MOST_STATES: usize = 1_000_000;

/// Whether two threads sent at the same time.
pub(super) fn overlaps(scenario: &Scenario, runs: &[Sent]) -> bool {
    // A single thread is by far the most frequent, and quick to tell.
    let mut lanes = runs.iter().map(|run| lane(scenario, run));
    let Some(first) = lanes.next() else {
        return false;
    };
    let alone = lanes.all(|lane| lane == first);
    !alone
        && runs.iter().enumerate().any(|(at, later)| {
            let mut earlier = runs[..at].iter();
            earlier
                .any(|run| lane(scenario, run) != lane(scenario, later) && !is_before(run, later))
        })
}

fn lane(scenario: &Scenario, run: &Sent) -> usize {
    match scenario.steps.get(run.step).map(|step| step.actor) {
        Some(Actor::Reader | Actor::Link) | None => 0,
        Some(actor) => actor.index(),
    }
}

fn is_before(run: &Sent, later: &Sent) -> bool {
    run.certain && run.exit.order < later.entry.order
}

/// Walks the stream, once for each property.
pub(super) fn walk(
    scenario: &Scenario,
    history: &History,
    ledger: &Ledger,
    runs: &[Sent],
) -> Faults {
    let walk = Walk::new(scenario, history, ledger, runs);
    let mut faults = Faults::default();
    let completes = runs.iter().any(|run| run.promise == Promise::Completion);
    for promise in [Promise::Return, Promise::Completion] {
        if promise == Promise::Completion && !completes {
            continue;
        }
        let Err(torn) = walk.pass(Some(promise), usize::MAX) else {
            continue;
        };
        // Where it was stuck, and not for a byte, the other pass is as well.
        match walk.pass(None, torn.stream) {
            Err(stuck) => {
                return Faults {
                    wire: Some(walk.wire_fault(&stuck)),
                    ..Faults::default()
                };
            }
            Ok(there) => {
                let states = [torn.states, there].concat();
                let fault = walk.torn(promise, torn.stream, &states);
                match promise {
                    Promise::Return => faults.stable = fault,
                    Promise::Completion => faults.completion = fault,
                }
            }
        }
    }
    faults
}

/// How many bytes of each thread are in the stream so far.
type State = [u64; LANES];

/// Which values a byte may have: of what was sent under this promise those that it had
/// until then, of all else any that it had from then on until it was received.
type Strictness = Option<Promise>;

/// Where a pass could not go on, and how far the threads can have been by then.
struct Stuck {
    stream: usize,
    states: Vec<State>,
}

/// One stretch in the order of its thread.
struct Stretch {
    /// Index into the list of [`Sent`].
    run: usize,
    /// Bytes that its thread sent before it.
    start: u64,
    /// Bytes that each thread must have sent before it begins.
    needs: State,
}

/// What the bytes of a stretch of the file may be, if they were received then.
struct Known {
    run: usize,
    file: std::ops::Range<u64>,
    received: u64,
    /// Whether that was before they were sent.
    early: bool,
    possible: Generations,
    during: Generations,
}

impl Known {
    fn allows(&self, walk: &Walk<'_>, strictness: Strictness, at: Place, byte: u8) -> bool {
        let (ledger, file) = (walk.ledger, at.file);
        !self.early
            && ledger.allows(&self.possible, file, byte)
            && (strictness != Some(walk.runs[at.run].promise)
                || ledger.allows(&self.during, file, byte))
    }
}

struct Walk<'a> {
    history: &'a History,
    ledger: &'a Ledger,
    runs: &'a [Sent],
    lanes: [Vec<Stretch>; LANES],
    /// Bytes that each thread has sent for certain in the end.
    certain: State,
}

impl<'a> Walk<'a> {
    fn new(
        scenario: &Scenario,
        history: &'a History,
        ledger: &'a Ledger,
        runs: &'a [Sent],
    ) -> Walk<'a> {
        let mut lanes: [Vec<Stretch>; LANES] = Default::default();
        let mut certain = State::default();
        let mut sent = State::default();
        for (index, run) in runs.iter().enumerate() {
            let mut needs = State::default();
            for earlier in &runs[..index] {
                if is_before(earlier, run) {
                    needs[lane(scenario, earlier)] += earlier.range.len;
                }
            }
            let lane = lane(scenario, run);
            lanes[lane].push(Stretch {
                run: index,
                start: sent[lane],
                needs,
            });
            sent[lane] = sent[lane].saturating_add(run.range.len);
            if run.certain {
                certain[lane] = sent[lane];
            }
        }
        Walk {
            history,
            ledger,
            runs,
            lanes,
            certain,
        }
    }

    /// All states that the stream can end in; else where it cannot go on. Where it
    /// can, the states at `watch` are returned instead, if the stream gets there. None
    /// at all: there are too many to say.
    fn pass(&self, strictness: Strictness, watch: usize) -> Result<Vec<State>, Stuck> {
        let mut states = vec![State::default()];
        let mut watched = None;
        let mut next = Vec::new();
        let mut by_lane: [Vec<State>; LANES] = Default::default();
        let mut chunk = 0;
        let mut looked_at = 0;
        let mut known: [Option<Known>; LANES] = Default::default();
        for (stream, &byte) in self.history.received.iter().enumerate() {
            if stream == watch {
                watched = Some(states.clone());
            }
            let received = self.received_at(stream, &mut chunk);
            by_lane.iter_mut().for_each(Vec::clear);
            for &state in &states {
                for (lane, place) in self.candidates(state, stream) {
                    if !self.ledger.is_known(place.file, byte) {
                        continue;
                    }
                    let known = self.known(&mut known[lane], place, received);
                    if known.allows(self, strictness, place, byte) {
                        let mut after = state;
                        after[lane] += 1;
                        by_lane[lane].push(after);
                    }
                }
            }
            merge(&by_lane, &mut next);
            if next.is_empty() {
                return Err(Stuck { stream, states });
            }
            looked_at += next.len();
            if looked_at > MOST_STATES {
                return Ok(watched.unwrap_or_default());
            }
            std::mem::swap(&mut states, &mut next);
        }
        let whole = |state: &State| (0..LANES).all(|lane| state[lane] >= self.certain[lane]);
        if self.history.end == End::Eof && !states.iter().any(whole) {
            let stream = self.history.received.len();
            return Err(Stuck { stream, states });
        }
        Ok(watched.unwrap_or(states))
    }

    /// The bytes that can stand next.
    fn candidates(&self, state: State, stream: usize) -> impl Iterator<Item = (usize, Place)> {
        (0..LANES).filter_map(move |lane| {
            let stretches = &self.lanes[lane];
            let after = stretches.partition_point(|it| it.start <= state[lane]);
            let stretch = &stretches[after.checked_sub(1)?];
            let range = self.runs[stretch.run].range;
            let into = state[lane] - stretch.start;
            let free = (0..LANES).all(|other| state[other] >= stretch.needs[other]);
            let place = Place {
                run: stretch.run,
                stream,
                file: range.offset + into,
            };
            (into < range.len && free).then_some((lane, place))
        })
    }

    fn allows(&self, strictness: Strictness, at: Place, byte: u8, received: u64) -> bool {
        let mut known = None;
        let known = self.known(&mut known, at, received);
        known.allows(self, strictness, at, byte)
    }

    /// What `at` may show, from `last` where that is about the same stretch of the file.
    fn known<'k>(&self, last: &'k mut Option<Known>, at: Place, received: u64) -> &'k Known {
        let same =
            |it: &Known| it.run == at.run && it.received == received && it.file.contains(&at.file);
        if !last.as_ref().is_some_and(same) {
            *last = None;
        }
        last.get_or_insert_with(|| {
            let run = &self.runs[at.run];
            Known {
                run: at.run,
                file: at.file..self.ledger.segment_end(at.file, u64::MAX),
                received,
                early: run.entry.order >= received,
                possible: run.possible(self.ledger, at.file, received),
                during: self.ledger.during(at.file, run.window),
            }
        })
    }

    /// When the byte was received; `chunk` is where the walk has got to.
    fn received_at(&self, stream: usize, chunk: &mut usize) -> u64 {
        while let Some(it) = self.history.chunks.get(*chunk) {
            if stream < it.start.saturating_add(it.len) {
                return it.at.order;
            }
            *chunk += 1;
        }
        u64::MAX
    }

    fn wire_fault(&self, stuck: &Stuck) -> WireFault {
        let stream = stuck.stream;
        let places: Vec<Place> = stuck
            .states
            .iter()
            .flat_map(|state| self.candidates(*state, stream))
            .map(|(_, place)| place)
            .collect();
        let received = self.received_at(stream, &mut 0);
        let Some(&first) = places.first() else {
            return WireFault::Extra { stream };
        };
        let Some(&byte) = self.history.received.get(stream) else {
            return WireFault::Missing {
                at: first,
                reported: reported(self.runs),
            };
        };
        // Right but for the time is more likely than wrong.
        let early = places.iter().find(|place| {
            let possible = self.possible(place, received);
            self.ledger.allows(&possible, place.file, byte)
        });
        match early {
            Some(&at) => WireFault::Early { at },
            None => WireFault::Byte {
                at: first,
                possible: self.possible(&first, received),
            },
        }
    }

    fn possible(&self, at: &Place, received: u64) -> Generations {
        self.runs[at.run].possible(self.ledger, at.file, received)
    }

    /// The first byte that no way through the stream explains but by a value from
    /// another time.
    fn torn(&self, promise: Promise, stream: usize, states: &[State]) -> Option<StableFault> {
        let byte = *self.history.received.get(stream)?;
        let received = self.received_at(stream, &mut 0);
        let at = states
            .iter()
            .flat_map(|state| self.candidates(*state, stream))
            .map(|(_, place)| place)
            .filter(|place| self.runs[place.run].promise == promise)
            .find(|place| self.allows(None, *place, byte, received))?;
        Some(StableFault {
            at,
            len: 1,
            generation: {
                let possible = self.possible(&at, received);
                self.ledger.shown(&possible, at.file, byte)
            },
            allowed: self.ledger.during(at.file, self.runs[at.run].window),
        })
    }
}

/// All members of the lists, which ascend, once each and in order.
fn merge(lists: &[Vec<State>; LANES], into: &mut Vec<State>) {
    into.clear();
    let mut rest = lists.each_ref().map(|list| list.iter().peekable());
    while let Some(least) = rest.iter_mut().filter_map(|it| it.peek().copied()).min() {
        into.push(*least);
        for list in &mut rest {
            list.next_if_eq(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LANES, merge};
    use crate::history::{End, Outcome, pattern};
    use crate::oracle::doctor::{Plan, range};
    use crate::scenario::{Actor, Op};

    /// Two threads send a page each, at the same time; `b` is called later and
    /// returns earlier.
    fn both() -> Plan {
        let mut plan = Plan::new(16384);
        plan.call(Op::Sendfile(range(0, 4096)), 1, 8);
        plan.call(Op::Sendfile(range(8192, 4096)), 2, 4);
        plan.scenario.steps[1].actor = Actor::B;
        plan
    }

    #[test]
    fn lists_are_merged_in_order_and_without_repeats() {
        let (a, b, c) = ([0, 0, 1], [0, 1, 0], [1, 0, 0]);
        let mut merged = vec![[9; LANES]];
        merge(&[vec![a, c], vec![a, b], vec![]], &mut merged);
        assert_eq!(merged, [a, b, c]);
    }

    #[test]
    fn calls_that_overlap_may_take_turns() {
        for parts in [
            &[range(0, 4096), range(8192, 4096)][..],
            &[range(8192, 4096), range(0, 4096)],
            &[range(0, 100), range(8192, 4096), range(100, 3996)],
            &[
                range(8192, 1),
                range(0, 1),
                range(8193, 4095),
                range(1, 4095),
            ],
        ] {
            let mut plan = both();
            for part in parts {
                plan.receive(9, *part, 0);
            }
            assert_eq!(plan.violations(), [], "{parts:?}");
        }
    }

    #[test]
    fn the_order_within_a_call_is_kept() {
        let mut plan = both();
        for part in [range(100, 3996), range(8192, 4096), range(0, 100)] {
            plan.receive(9, part, 0);
        }
        assert_eq!(plan.violation().stream_offset, Some(0));
        assert_eq!(plan.verdict(), ["wire"]);
    }

    #[test]
    fn calls_that_do_not_overlap_keep_their_order() {
        let mut plan = both();
        plan.call(Op::Sendfile(range(4096, 100)), 5, 6);
        plan.scenario.steps[2].actor = Actor::C;
        let mut torn = plan.history();
        for part in [range(8192, 4096), range(4096, 100), range(0, 4096)] {
            plan.receive(9, part, 0);
        }
        assert_eq!(plan.violations(), []);
        std::mem::swap(&mut plan.history, &mut torn);
        // What `c` sent after `b` had returned comes before it.
        for part in [range(4096, 100), range(8192, 4096), range(0, 4096)] {
            plan.receive(9, part, 0);
        }
        assert_eq!(plan.verdict(), ["wire"]);
    }

    #[test]
    fn what_is_missing_or_too_much_is_flagged() {
        let mut plan = both();
        plan.receive(9, range(8192, 4096), 0);
        plan.receive(10, range(0, 4095), 0);
        assert_eq!(plan.verdict(), ["wire", "counts"]);
        plan.history.end = End::Failed(libc::ECONNRESET);
        assert_eq!(plan.verdict(), ["counts"]);
        plan.history.end = End::Eof;
        plan.receive(11, range(4095, 2), 0);
        assert_eq!(plan.verdict(), ["wire", "counts"]);
        plan.history.received.pop();
        assert_eq!(plan.violations(), []);
    }

    #[test]
    fn a_byte_before_its_call_is_flagged() {
        let mut plan = both();
        plan.history.calls[1].entry.order = 3;
        plan.receive(2, range(8192, 1), 0);
        plan.receive(9, range(0, 4096), 0);
        plan.receive(10, range(8193, 4095), 0);
        let violation = plan.violation();
        let words = "was received before that call was made";
        assert!(violation.message.contains(words), "{}", violation.message);
    }

    #[test]
    fn a_write_after_the_return_of_one_of_them_is_torn() {
        for (order, shown, fine) in [(5, 1, false), (5, 0, true), (3, 1, true)] {
            let mut plan = both();
            plan.call(Op::Pwrite(range(8192, 10)), order, 7);
            plan.scenario.steps[2].actor = Actor::C;
            plan.history.calls.sort_by_key(|call| call.entry.order);
            plan.receive(9, range(0, 4096), 0);
            plan.receive(10, range(8192, 4096), 0);
            for at in 0..10 {
                plan.history.received[4096 + at] = pattern(8192 + at as u64, shown);
            }
            let expected: &[&str] = if fine { &[] } else { &["stable-on-return"] };
            assert_eq!(plan.verdict(), expected, "{order} {shown}");
            if !fine {
                let violation = plan.violation();
                assert_eq!((violation.step, violation.torn_by), (Some(1), Some(2)));
                assert_eq!(violation.stream_offset, Some(4096));
            }
        }
    }

    #[test]
    fn the_same_range_by_both_is_either_ones() {
        let mut plan = Plan::new(4096);
        plan.call(Op::Sendfile(range(0, 4096)), 1, 8);
        plan.call(Op::Sendfile(range(0, 4096)), 2, 4);
        plan.scenario.steps[1].actor = Actor::B;
        plan.call(Op::Pwrite(range(0, 4096)), 6, 7);
        // The new bytes can only be of the call that had not returned.
        plan.receive(9, range(0, 4096), 1);
        plan.receive(10, range(0, 4096), 0);
        assert_eq!(plan.violations(), []);
        plan.history.received = [&plan.history.received[..4096]; 2].concat();
        assert_eq!(plan.verdict(), ["stable-on-return"]);
    }

    /// Both send zeros, which can stand anywhere: too many ways to follow, none wrong.
    #[test]
    fn zeros_by_both_are_nobodys_in_particular() {
        let mut plan = Plan::new(16384);
        plan.call(Op::Truncate { size_bytes: 0 }, 1, 2);
        plan.call(Op::Truncate { size_bytes: 16384 }, 3, 4);
        plan.call(Op::Sendfile(range(0, 16384)), 5, 8);
        plan.call(Op::Sendfile(range(0, 8192)), 6, 7);
        plan.scenario.steps[3].actor = Actor::B;
        plan.receive(9, range(0, 16384 + 8192), 0);
        plan.history.received.fill(0);
        assert_eq!(plan.violations(), []);
        // A few can be followed, and a byte that is none of them is seen.
        plan.history.received[50] = 1;
        assert_eq!(plan.verdict(), ["wire"]);
    }

    #[test]
    fn a_call_that_did_not_return_may_have_sent_any_part() {
        for sent in [0, 1, 4096] {
            let mut plan = both();
            plan.history.calls[0].outcome = Outcome::Pending;
            plan.history.calls[0].offset_after = None;
            plan.receive(9, range(0, sent), 0);
            plan.receive(10, range(8192, 4096), 0);
            plan.history.end = End::GivenUp;
            assert_eq!(plan.verdict(), ["liveness"], "{sent}");
        }
    }
}
