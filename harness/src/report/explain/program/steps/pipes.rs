//! The two pipes, and what goes into them.

use super::super::place::sent_file;
use super::statement::flags;
use crate::scenario::{Filling, Op, Range, Scenario, Step};

/// Makes the first one, or changes its size. `seen`: the operations of the same actor
/// before it.
pub(super) fn pipe(scenario: &Scenario, capacity_bytes: u32, seen: &[Op]) -> Vec<String> {
    let size = format!("fcntl(pipe_ends[1], F_SETPIPE_SZ, {capacity_bytes})");
    match seen.iter().any(|it| matches!(it, Op::Pipe { .. })) {
        // It fails where the pipe holds more than that.
        true => vec![format!("{size};")],
        false => {
            let mut lines = vec!["must(pipe(pipe_ends), \"pipe\");".to_owned()];
            // What takes no flag.
            let may_wait = |it: &Step| {
                matches!(it.op, Op::PipeWrite { tee: false, .. }) || it.op.is_sendfile_in()
            };
            if scenario.steps.iter().any(may_wait) {
                lines.push(
                    "must(fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK), \"O_NONBLOCK\");".to_owned(),
                );
            }
            lines.push(format!("must({size}, \"F_SETPIPE_SZ\");"));
            lines
        }
    }
}

pub(super) fn sendfile_in(scenario: &Scenario, range: Range) -> Vec<String> {
    let file = sent_file(scenario);
    vec![format!(
        "put(&piped, {0}, sendfile(pipe_ends[1], {file}, (off_t[]){{ {0} }}, {1}), NULL);",
        range.offset, range.len
    )]
}

pub(super) fn splice_in(scenario: &Scenario, range: Range, by: Filling) -> Vec<String> {
    let file = sent_file(scenario);
    let moves = by == Filling::Move;
    let flags = flags(&[(moves, "SPLICE_F_MOVE"), (true, "SPLICE_F_NONBLOCK")]);
    vec![format!(
        "put(&piped, {0}, splice({file}, (off_t[]){{ {0} }}, pipe_ends[1], NULL, {1}, {flags}), NULL);",
        range.offset, range.len
    )]
}

pub(super) fn write(scenario: &Scenario, range: Range, tee: bool, seen: &[Op]) -> Vec<String> {
    let (end, parts) = match tee {
        true => ("tee_ends[1]", "teed"),
        false => ("pipe_ends[1]", "piped"),
    };
    let mut lines = match tee {
        true => second_pipe(scenario, seen),
        false => Vec::new(),
    };
    lines.push(format!(
        "put(&{parts}, {0}, write({end}, mapping + {0}, {1}), copy_of({0}, {1}));",
        range.offset, range.len
    ));
    lines
}

pub(super) fn vmsplice(range: Range, gift: bool) -> Vec<String> {
    let flags = flags(&[(gift, "SPLICE_F_GIFT"), (true, "SPLICE_F_NONBLOCK")]);
    vec![format!(
        "put(&piped, {0}, vmsplice(pipe_ends[1], &(struct iovec){{ mapping + {0}, {1} }}, 1, {flags}), NULL);",
        range.offset, range.len
    )]
}

pub(super) fn tee(scenario: &Scenario, len: u64, seen: &[Op]) -> Vec<String> {
    let mut lines = second_pipe(scenario, seen);
    lines.push(format!(
        "put_again(&teed, &piped, tee(pipe_ends[0], tee_ends[1], {len}, SPLICE_F_NONBLOCK));"
    ));
    lines
}

pub(super) fn pour(scenario: &Scenario, len: u64, seen: &[Op]) -> Vec<String> {
    let mut lines = second_pipe(scenario, seen);
    lines.push(format!(
        "pour(&teed, &piped, splice(pipe_ends[0], NULL, tee_ends[1], NULL, {len}, SPLICE_F_NONBLOCK));"
    ));
    lines
}

/// Makes the second pipe, if nothing above has.
fn second_pipe(scenario: &Scenario, seen: &[Op]) -> Vec<String> {
    if seen.iter().any(|it| it.pipes()[1]) {
        return Vec::new();
    }
    let mut lines = vec!["must(pipe(tee_ends), \"pipe\");".to_owned()];
    let writes = |it: &Step| matches!(it.op, Op::PipeWrite { tee: true, .. });
    if scenario.steps.iter().any(writes) {
        lines.push("must(fcntl(tee_ends[1], F_SETFL, O_NONBLOCK), \"O_NONBLOCK\");".to_owned());
    }
    lines
}
