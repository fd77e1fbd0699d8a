//! **wire**: the received stream is the concatenation of the ranges reported
//! sent, in order: no gap, no repeat, nothing from elsewhere. A byte counts as
//! right here if it has *some* value that stood at its offset between the call that
//! sent it (for what came through the user pipe: the call that filled it) and its
//! receipt; whether it stood there before the return is the business of
//! [`super::stable`]. What was overwritten before the call is stale on every kernel. What
//! a call copies is another matter: it has its values when that call returns, on every
//! kernel, too.

use super::ledger::Ledger;
use super::runs::generation_at;
use super::stream::{Place, Sent, WireFault};
use super::{Property, Violation, name_step};
use crate::history::{End, History};
use crate::scenario::{Range, Scenario};

/// Too few bytes are right anywhere by chance.
const TELLING_BYTES: usize = 8;

/// A search over more of the file would take longer than it is worth.
const LONGEST_SEARCH_BYTES: u64 = 64 << 20;

/// Enough to be sure.
const WINDOW_BYTES: usize = 32;

/// Puts a fault of the stream into words.
pub(super) fn violation(
    scenario: &Scenario,
    history: &History,
    ledger: &Ledger,
    runs: &[Sent],
    fault: WireFault,
) -> Violation {
    let search = Search {
        received: &history.received,
        newest: ledger.newest(),
        size: scenario.extent_bytes().min(LONGEST_SEARCH_BYTES),
        runs,
    };
    let place = |at: Place| {
        let sender = name_step(scenario, runs[at.run].step);
        let (stream, file) = (at.stream, at.file);
        format!("stream byte {stream} (file byte {file}, sent by {sender})")
    };
    let blame = |at: Place, len: u64, message: String| Violation {
        property: Property::Wire,
        step: Some(runs[at.run].step),
        stream_offset: Some(at.stream as u64),
        file_range: Some(Range {
            offset: at.file,
            len,
        }),
        torn_by: None,
        after_return_ns: None,
        message,
    };
    match fault {
        WireFault::Byte { at, possible } => {
            let byte = history.received[at.stream];
            let wrong = wrong_run(history, ledger, &runs[at.run], at);
            let known: Vec<String> = possible.iter().map(|g| g.to_string()).collect();
            let stale = runs[at.run].is_stale(ledger, at.file, byte);
            let cause = match stale {
                true => format!("a run of {wrong} stale bytes"),
                false => search.cause(at, wrong),
            };
            let when = match runs[at.run].copied {
                true => "did not stand there while it was copied",
                false if stale => "was overwritten before it was sent",
                false => "never stood there before it was received",
            };
            let message = format!(
                "{} is {byte:#04x}, which {when} (generation {} there; known: {}); {cause}",
                place(at),
                generation_at(at.file, byte),
                known.join(", "),
            );
            blame(at, wrong as u64, message)
        }
        WireFault::Early { at } => {
            let message = format!("{} was received before that call was made", place(at));
            blame(at, 1, message)
        }
        WireFault::Missing { at, reported } => {
            let arrived = history.received.len();
            let missing = reported.saturating_sub(arrived as u64);
            let message = format!(
                "the stream ended cleanly after {arrived} of {reported} bytes reported sent: \
                 {missing} missing from {} on",
                place(at),
            );
            blame(at, missing, message)
        }
        WireFault::Extra { stream } => {
            let extra = history.received.len() - stream;
            let cause = match search.origin(stream, None) {
                Some(offset) => search.name_origin(stream, offset),
                None => "they match nothing in the file".to_string(),
            };
            let ending = match history.end {
                End::Eof => "cleanly",
                End::Failed(_) => "with an error",
                End::Closed => "where the receiver closed its end",
                End::GivenUp => "unfinished",
            };
            Violation {
                stream_offset: Some(stream as u64),
                ..Violation::new(
                    Property::Wire,
                    runs.last().map(|run| run.step),
                    format!(
                        "{extra} bytes more than the {stream} reported sent arrived, \
                     and the stream ended {ending}; {cause}"
                    ),
                )
            }
        }
    }
}

/// How many bytes from `at` on, within its run, never stood where they should.
fn wrong_run(history: &History, ledger: &Ledger, run: &Sent, at: Place) -> usize {
    let end = run.range.end();
    history.received[at.stream..]
        .iter()
        .zip(at.file..end)
        .take_while(|(byte, file)| {
            let possible = run.possible(ledger, *file, u64::MAX);
            !ledger.allows(&possible, *file, **byte)
        })
        .count()
        .max(1)
}

/// Looks for the place that wrong bytes came from.
struct Search<'a> {
    received: &'a [u8],
    newest: u8,
    size: u64,
    runs: &'a [Sent],
}

impl Search<'_> {
    fn cause(&self, at: Place, wrong: usize) -> String {
        let bytes = &self.received[at.stream..];
        if let Some(offset) = self.origin(at.stream, Some(at.file)) {
            return self.name_origin(at.stream, offset);
        }
        if bytes[..wrong].iter().all(|byte| *byte == 0) {
            return format!("a run of {wrong} zero bytes");
        }
        let then_right = bytes
            .get(wrong..)
            .is_some_and(|rest| self.stands_at(rest, at.file + wrong as u64, TELLING_BYTES));
        if then_right {
            format!("{wrong} bytes match nothing, then the stream is right again")
        } else {
            "the bytes match nothing in the file".to_string()
        }
    }

    /// Whether `bytes` begin like the file does at `offset`, in any generations.
    fn stands_at(&self, bytes: &[u8], offset: u64, len: usize) -> bool {
        let fits = offset.saturating_add(len as u64) <= self.size;
        fits && bytes.len() >= len
            && bytes[..len]
                .iter()
                .zip(offset..)
                .all(|(byte, at)| generation_at(at, *byte) <= self.newest)
    }

    /// The place in the file that the stream shows at `stream`.
    fn origin(&self, stream: usize, except: Option<u64>) -> Option<u64> {
        let bytes = &self.received[stream..];
        // Fewer bytes, if a long look fails: the run may be short.
        let windows = [WINDOW_BYTES, WINDOW_BYTES / 2, TELLING_BYTES];
        windows.into_iter().find_map(|len| {
            (0..self.size)
                .find(|&offset| Some(offset) != except && self.stands_at(bytes, offset, len))
        })
    }

    /// What it means that the stream shows file byte `offset` at `stream`.
    fn name_origin(&self, stream: usize, offset: u64) -> String {
        let mut start: u64 = 0;
        let mut nearest: Option<u64> = None;
        for run in self.runs {
            if run.range.offset <= offset && offset < run.range.end() {
                let there = start + (offset - run.range.offset);
                let distance = |at: u64| at.abs_diff(stream as u64);
                if nearest.is_none_or(|best| distance(there) < distance(best)) {
                    nearest = Some(there);
                }
            }
            start = start.saturating_add(run.range.len);
        }
        let here = stream as u64;
        match nearest {
            Some(there) if there < here => {
                let back = here - there;
                format!(
                    "repeat: it is stream byte {there} (file byte {offset}) again, {back} bytes back"
                )
            }
            Some(there) if there > here => {
                let ahead = there - here;
                let kind = if self.comes_later(stream) {
                    "reorder"
                } else {
                    "gap"
                };
                format!(
                    "{kind}: it is stream byte {there} (file byte {offset}), {ahead} bytes ahead"
                )
            }
            _ => format!("it is file byte {offset}, which was not sent"),
        }
    }

    /// Whether what should stand at `stream` arrives further on.
    fn comes_later(&self, stream: usize) -> bool {
        let mut start: u64 = 0;
        let expected = self.runs.iter().find_map(|run| {
            let into = (stream as u64).checked_sub(start)?;
            start = start.saturating_add(run.range.len);
            (into < run.range.len).then(|| run.range.offset + into)
        });
        expected.is_some_and(|file| {
            (stream + 1..self.received.len())
                .any(|at| self.stands_at(&self.received[at..], file, TELLING_BYTES))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::history::{End, pattern};
    use crate::oracle::doctor::{Plan, range};
    use crate::oracle::{Contract, Property, judge};
    use crate::scenario::{Copying, Filling, Op};

    /// `sendfile 0+4096`, received as the given parts of the file.
    fn received(parts: &[(u64, u64)]) -> Plan {
        let mut plan = Plan::new(8192);
        plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
        for (at, &(offset, len)) in parts.iter().enumerate() {
            plan.receive(10 + at as u64, range(offset, len), 0);
        }
        plan
    }

    /// The message and the stream offset of the violation of `wire`.
    #[track_caller]
    fn wire(plan: &Plan) -> (String, Option<u64>) {
        let all = plan.violations();
        assert_eq!(all[0].property, Property::Wire, "{all:#?}");
        (all[0].message.clone(), all[0].stream_offset)
    }

    #[track_caller]
    fn says(plan: &Plan, words: &str) -> Option<u64> {
        let (message, at) = wire(plan);
        assert!(message.contains(words), "{message}");
        at
    }

    #[test]
    fn the_whole_stream_in_any_chunks_is_right() {
        assert!(received(&[(0, 4096)]).violations().is_empty());
        assert!(
            received(&[(0, 1), (1, 1448), (1449, 2647)])
                .violations()
                .is_empty()
        );
    }

    #[test]
    fn two_bits_of_a_packet_can_flip_unnoticed() {
        let flipped = |corrupt_ppm, flip, with: u8| {
            let mut plan = received(&[(0, 4096)]);
            let data = &mut plan.scenario.setup.data;
            (data.corrupt_ppm, data.nth.flip) = (corrupt_ppm, flip);
            plan.history.received[700] ^= with;
            plan.violations()
        };
        assert_eq!(flipped(100_000, 3, 2), []);
        // More than a bit of a byte, or one bit of a packet.
        for (corrupt_ppm, flip, with) in [(100_000, 3, 3), (0, 3, 2), (100_000, 0, 2)] {
            assert_eq!(flipped(corrupt_ppm, flip, with)[0].property, Property::Wire);
        }
    }

    #[test]
    fn a_repeat_is_named() {
        let plan = received(&[(0, 1448), (0, 1448), (1448, 1200)]);
        let at = says(
            &plan,
            "repeat: it is stream byte 0 (file byte 0) again, 1448 bytes back",
        );
        assert_eq!(at, Some(1448));
    }

    #[test]
    fn a_gap_is_named() {
        let plan = received(&[(0, 1448), (2896, 1200)]);
        let at = says(
            &plan,
            "gap: it is stream byte 2896 (file byte 2896), 1448 bytes ahead",
        );
        assert_eq!(at, Some(1448));
    }

    #[test]
    fn a_reorder_is_named() {
        let plan = received(&[(0, 1000), (2000, 1000), (1000, 1000), (3000, 1096)]);
        assert_eq!(says(&plan, "reorder: it is stream byte 2000"), Some(1000));
    }

    #[test]
    fn bytes_from_an_unsent_place_are_named() {
        let plan = received(&[(0, 100), (5000, 3996 - 1000), (3096, 1000)]);
        assert_eq!(
            says(&plan, "it is file byte 5000, which was not sent"),
            Some(100)
        );
    }

    #[test]
    fn zeroes_and_noise_are_named() {
        let mut plan = received(&[(0, 4096)]);
        plan.history.received[700..1000].fill(0);
        // The pattern has zeroes of its own.
        let at = says(&plan, "zero bytes").unwrap();
        assert!((700..704).contains(&at), "{at}");
        let mut plan = received(&[(0, 4096)]);
        plan.history.received[700] ^= 1;
        assert_eq!(
            says(
                &plan,
                "1 bytes match nothing, then the stream is right again"
            ),
            Some(700)
        );
        let mut plan = received(&[(0, 4096)]);
        plan.history.received[4000..].fill(0x55);
        says(&plan, "the bytes match nothing in the file");
    }

    #[test]
    fn bytes_that_are_missing_at_a_clean_end_are_flagged() {
        let plan = received(&[(0, 4000)]);
        let at = says(&plan, "after 4000 of 4096 bytes reported sent: 96 missing");
        assert_eq!(at, Some(4000));
    }

    #[test]
    fn a_prefix_is_enough_where_the_stream_broke() {
        for end in [End::Failed(libc::ECONNRESET), End::GivenUp] {
            let mut plan = received(&[(0, 4000)]);
            plan.history.end = end;
            assert!(!plan.verdict().contains(&"wire".to_string()), "{end:?}");
        }
    }

    #[test]
    fn bytes_that_nobody_reported_are_flagged() {
        let plan = received(&[(0, 4096), (4096, 50)]);
        let at = says(&plan, "50 bytes more than the 4096 reported sent arrived");
        assert_eq!(at, Some(4096));
        says(&plan, "it is file byte 4096, which was not sent");
    }

    #[test]
    fn a_value_counts_only_once_its_write_has_begun() {
        let mut plan = received(&[(0, 4096)]);
        plan.call(Op::Pwrite(range(0, 4096)), 20, 21);
        plan.history.received[5] = pattern(5, 1);
        assert_eq!(
            says(&plan, "never stood there before it was received"),
            Some(5)
        );
        plan.history.chunks[0].at.order = 22;
        assert_eq!(plan.verdict(), ["stable-on-return"]);
    }

    /// Two writes before the send, and what arrives shows the generation.
    fn overwritten(setup: impl Fn(&mut Plan), generation: u8) -> Vec<super::Violation> {
        let mut plan = Plan::new(4096);
        plan.call(Op::MmapWrite(range(1000, 500)), 1, 2);
        plan.call(Op::Pwrite(range(1000, 500)), 5, 6);
        setup(&mut plan);
        plan.receive(20, range(0, 1000), 0);
        plan.receive(21, range(1000, 500), generation);
        plan.receive(22, range(1500, 2596), 0);
        judge(Contract::Documented, &plan.scenario, &plan.history)
    }

    fn spliced(plan: &mut Plan, filled: u64) {
        let (range, move_pages) = (range(0, 4096), false);
        let by = Filling::Splice;
        plan.call(Op::SpliceIn { range, by }, filled, filled + 1);
        let out = Op::SpliceOut {
            len: 4096,
            more: false,
            nonblock: false,
            tee: false,
            move_pages,
        };
        plan.call(out, 10, 11);
        plan.history.calls.sort_by_key(|call| call.entry.order);
    }

    #[test]
    fn what_was_overwritten_before_the_call_is_stale_by_any_contract() {
        let sendfile = |plan: &mut Plan| {
            plan.call(Op::Sendfile(range(0, 4096)), 7, 8);
        };
        let both = |plan: &mut Plan| {
            sendfile(plan);
            plan.call(Op::Sendfile(range(0, 0)), 7, 9);
            plan.scenario.steps[3].actor = crate::scenario::Actor::B;
        };
        for generation in [0, 1] {
            for found in [
                overwritten(sendfile, generation),
                overwritten(both, generation),
                overwritten(|plan| spliced(plan, 7), generation),
            ] {
                assert_eq!(found.len(), 1, "{found:#?}");
                assert_eq!(found[0].property, Property::Wire);
                assert_eq!(found[0].stream_offset, Some(1000));
                let message = &found[0].message;
                assert!(
                    message.contains("overwritten before it was sent"),
                    "{message}"
                );
                assert!(message.contains("500 stale bytes"), "{message}");
            }
        }
        assert_eq!(overwritten(sendfile, 2), []);
        assert_eq!(overwritten(both, 2), []);
    }

    #[test]
    fn what_was_overwritten_in_the_user_pipe_is_either() {
        // The pipe was filled between the writes, and before them.
        for (filled, right) in [(3, &[1, 2][..]), (0, &[0, 1, 2])] {
            for generation in 0..=2 {
                let found = overwritten(|plan| spliced(plan, filled), generation);
                let names: Vec<Property> = found.iter().map(|it| it.property).collect();
                let expected: &[Property] = match right.contains(&generation) {
                    true => &[],
                    false => &[Property::Wire],
                };
                assert_eq!(names, expected, "{filled} {generation}");
            }
        }
    }

    #[test]
    fn what_is_copied_has_its_values_when_the_call_returns() {
        for by in [Copying::Write, Copying::Send, Copying::Writev] {
            let copied = |written: u64, generation: u8| {
                let mut plan = Plan::new(4096);
                let range = range(0, 4096);
                plan.call(Op::Copy { by, range }, 3, 6);
                plan.call(Op::Pwrite(range), written, written + 1);
                plan.history.calls.sort_by_key(|call| call.entry.order);
                plan.receive(20, range, generation);
                plan
            };
            // During the call it is either, before it the new one.
            assert_eq!(copied(4, 0).violations(), []);
            assert_eq!(copied(4, 1).violations(), []);
            assert_eq!(copied(1, 1).violations(), []);
            assert_eq!(copied(7, 0).violations(), []);
            for plan in [copied(7, 1), copied(1, 0)] {
                says(&plan, "which did not stand there while it was copied");
                // By no contract.
                let found = judge(Contract::Documented, &plan.scenario, &plan.history);
                assert_eq!(found[0].property, Property::Wire);
            }
        }
    }

    #[test]
    fn what_was_written_to_the_pipe_is_the_pipes_own() {
        let piped = |written: u64, generation: u8| {
            let mut plan = Plan::new(8192);
            plan.call(
                Op::SpliceIn {
                    range: range(0, 100),
                    by: Filling::Splice,
                },
                1,
                2,
            );
            plan.call(
                Op::PipeWrite {
                    range: range(4096, 100),
                    tee: false,
                },
                3,
                4,
            );
            plan.call(Op::Pwrite(range(0, 8192)), written, written + 1);
            let out = Op::SpliceOut {
                len: 200,
                more: false,
                nonblock: false,
                tee: false,
                move_pages: false,
            };
            plan.call(out, 7, 8);
            plan.history.calls.sort_by_key(|call| call.entry.order);
            plan.receive(20, range(0, 100), 1);
            plan.receive(21, range(4096, 100), generation);
            plan
        };
        // The page of the file is the file's until it is sent, and longer on stock.
        assert_eq!(piped(5, 0).violations(), []);
        assert_eq!(piped(9, 0).verdict(), ["stable-on-return"]);
        for late in [5, 9] {
            says(
                &piped(late, 1),
                "which did not stand there while it was copied",
            );
        }
        // What is written behind a page does not change the page, here or in the file.
        let mut plan = piped(5, 0);
        plan.history.received[99] = pattern(4096, 0);
        assert_eq!(says(&plan, "match nothing"), Some(99));
        let mut plan = piped(5, 0);
        plan.history.file_pread[100] = pattern(4096, 0);
        assert_eq!(plan.verdict(), ["source"]);
    }

    #[test]
    fn bytes_cannot_arrive_before_the_call() {
        let mut plan = Plan::new(4096);
        plan.receive(1, range(0, 10), 0);
        plan.call(Op::Sendfile(range(0, 10)), 2, 3);
        assert_eq!(
            says(&plan, "was received before that call was made"),
            Some(0)
        );
    }

    #[test]
    fn splices_send_what_the_pipe_held_in_its_order() {
        let mut plan = Plan::new(8192);
        plan.call(
            Op::SpliceIn {
                range: range(4096, 100),
                by: Filling::Splice,
            },
            1,
            2,
        );
        plan.call(
            Op::SpliceIn {
                range: range(0, 100),
                by: Filling::Splice,
            },
            3,
            4,
        );
        let out = |len| Op::SpliceOut {
            len,
            more: false,
            nonblock: false,
            tee: false,
            move_pages: false,
        };
        plan.call(out(150), 5, 6);
        plan.call(out(50), 7, 8);
        plan.receive(9, range(4096, 100), 0);
        plan.receive(10, range(0, 100), 0);
        assert!(plan.violations().is_empty());
        plan.history.received.rotate_left(100);
        says(&plan, "reorder");
    }
}
