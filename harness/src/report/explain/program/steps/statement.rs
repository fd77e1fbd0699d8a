//! One step, as statements.

use super::super::hold;
use super::super::lend;
use super::super::shape::Shape;
use super::{notes_sleep, pipes, sends};
use crate::scenario::{Actor, Borrowing, Filling, Op, Range, Scenario, Step};

/// One step. `seen`: those of the same actor before it.
pub(super) fn statements(
    scenario: &Scenario,
    shape: &Shape,
    index: usize,
    seen: &[Op],
) -> Vec<String> {
    let Step { op, actor } = scenario.steps[index];
    let number = scenario.generation(index).unwrap_or_default();
    let extent = "FILE_BYTES";
    match op {
        Op::Sendfile(range) => sends::sendfile(scenario, shape, range),
        Op::SendfileOn { len } => sends::sendfile_on(scenario, shape, len, seen),
        Op::Copy { by, range } => sends::copy(scenario, shape, by, range),
        Op::Borrow { by: Borrowing::Send, range } => sends::lent(scenario, shape, range),
        Op::Borrow { by: Borrowing::Uring, range } => {
            sends::lent_by_ring(scenario, shape, range, seen)
        }
        Op::SpliceOut {
            len,
            more,
            nonblock,
            tee,
            move_pages,
        } => {
            let flags = flags(&[
                (move_pages, "SPLICE_F_MOVE"),
                (nonblock, "SPLICE_F_NONBLOCK"),
                (more, "SPLICE_F_MORE"),
            ]);
            sends::splice_out(scenario, shape, len, tee, &flags, seen)
        }
        Op::Pipe { capacity_bytes } => pipes::pipe(scenario, capacity_bytes, seen),
        Op::SpliceIn {
            range,
            by: Filling::Sendfile,
        } => pipes::sendfile_in(scenario, range),
        Op::SpliceIn { range, by } => pipes::splice_in(scenario, range, by),
        Op::PipeWrite { range, tee } => pipes::write(scenario, range, tee, seen),
        Op::Vmsplice { range, gift } => pipes::vmsplice(range, gift),
        Op::Tee { len } => pipes::tee(scenario, len, seen),
        Op::Pour { len } => pipes::pour(scenario, len, seen),
        Op::MmapWrite(range) => vec![format!(
            "store(mapping, {}, {}, {number});",
            range.offset, range.len
        )],
        Op::SecondWrite(range) => vec![format!(
            "store(second, {}, {}, {number});",
            range.offset, range.len
        )],
        Op::ForkWrite(range) => vec![format!(
            "if (fork() == 0) {{\n\tstore(mapping, {}, {}, {number});\n\t_exit(0);\n}}\nwait(NULL);",
            range.offset, range.len
        )],
        Op::Pwrite(range) => vec![format!(
            "overwrite(file, {}, {}, {number});",
            range.offset, range.len
        )],
        Op::DirectWrite(range) => vec![format!(
            "overwrite(direct, {}, {}, {number});",
            range.offset, range.len
        )],
        Op::Msync => vec![format!("must(msync(mapping, {extent}, MS_SYNC), \"msync\");")],
        Op::DropCaches => vec!["run(\"echo 1 > /proc/sys/vm/drop_caches\");".into()],
        Op::Truncate { size_bytes } => {
            vec![format!("must(ftruncate(file, {size_bytes}), \"ftruncate\");")]
        }
        Op::Punch(range) => allocate("FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE", range),
        Op::ZeroRange(range) => allocate("FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE", range),
        Op::Collapse(range) => allocate("FALLOC_FL_COLLAPSE_RANGE", range),
        Op::Read { len } => vec![format!("receive({len});")],
        // Who sleeps is not blocked, as far as an `await` is concerned.
        Op::Wait { us } if notes_sleep(scenario, shape) => vec![
            format!("{actor}.sleeps = 1;"),
            format!("usleep({us});"),
            format!("{actor}.sleeps = 0;"),
        ],
        Op::Wait { us } => vec![format!("usleep({us});")],
        Op::Shutdown if actor == Actor::Reader => vec!["shutdown(receiver, SHUT_WR);".into()],
        Op::Shutdown => vec!["shutdown(sender, SHUT_WR);".into()],
        Op::Reset => vec![
            "setsockopt(receiver, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));".into(),
            "close(receiver);".into(),
        ],
        Op::Close => vec!["close(receiver);".into()],
        Op::Cork { on } => vec![format!(
            "set(sender, IPPROTO_TCP, TCP_CORK, {});",
            u8::from(on)
        )],
        Op::Signal { .. } => vec!["pthread_kill(a_thread, SIGUSR1);".into()],
        Op::Await { who } => {
            let last = |it: &Step| it.actor == who;
            match scenario.steps.iter().rposition(last) {
                Some(at) => vec![format!("await_blocked(&{who}, {});", at + 1)],
                None => Vec::new(),
            }
        }
        Op::Hold { .. } | Op::Release { .. } => hold::statements(scenario, op),
        Op::AwaitCompletions => lend::wait(scenario, actor),
        Op::Kill { .. } | Op::Meet { .. } => unreachable!("it is not in C"),
    }
}

fn allocate(mode: &str, range: Range) -> Vec<String> {
    vec![format!(
        "must(fallocate(file, {mode}, {}, {}), \"fallocate\");",
        range.offset, range.len
    )]
}

pub(super) fn flags(named: &[(bool, &str)]) -> String {
    let set: Vec<&str> = named.iter().filter(|it| it.0).map(|it| it.1).collect();
    match set.is_empty() {
        true => "0".into(),
        false => set.join(" | "),
    }
}
