//! The operations, as statements.

use std::fmt::Write;

use super::connections;
use super::ends;
use super::hold;
use super::lend;
use super::limits;
use super::own::Own;
use super::place::sent_file;
use super::shape::{Reader, Shape};
use crate::scenario::{Actor, Borrowing, Copying, Filling, Op, Scenario, Step};

/// The threads besides the main one, each a function.
pub fn actors(scenario: &Scenario, shape: &Shape) -> String {
    let mut functions = Vec::new();
    for actor in shape.threads(scenario) {
        let mut text = format!("static void *{actor}_does(void *unused)\n{{\n");
        if let Some(own) = shape.own.take(scenario, actor) {
            let _ = writeln!(text, "\t{own}");
        }
        text += &steps_of(scenario, shape, actor);
        if actor == Actor::Link {
            text += &watch(scenario);
        }
        if actor == Actor::Reader && !ends::may_leave(scenario) {
            text += "\n\t/* The rest. */\n";
            text += &read_rest(scenario, Actor::A);
        }
        for line in lend::settle(scenario, actor) {
            text += &indented(&line);
        }
        text += "\treturn unused;\n}\n";
        functions.push(text.replacen("{\n\n", "{\n", 1));
    }
    functions.extend(connections::readers(scenario, shape));
    functions.join("\n")
}

/// Who reads by no word of others reads what is left, when they have done all there is,
/// or hang.
pub fn read_rest(scenario: &Scenario, owner: Actor) -> String {
    let mut text = String::new();
    for (other, last) in lasts(scenario, scenario.steps.len(), Actor::Reader) {
        let who = name(other);
        let mut steps = scenario.steps.iter().enumerate();
        let reads = |it: &Step| it.actor == other && matches!(it.op, Op::Read { .. });
        let read = steps.rfind(|(_, it)| reads(it)).map(|(at, _)| at + 1);
        let beside = scenario.connection_of(other) == owner;
        if let Some(read) = read.filter(|_| beside) {
            let _ = writeln!(text, "\twhile ({who}.done < {read})\n\t\tusleep(100);");
        }
        if read == Some(last) && beside {
            continue;
        }
        let wait = match sleeps(scenario, other) {
            true => "await_blocked",
            false => "after",
        };
        let _ = writeln!(text, "\t{wait}(&{who}, {last});");
    }
    text + "\treceive(sizeof(received));\n"
}

fn sleeps(scenario: &Scenario, actor: Actor) -> bool {
    let sleeps = |it: &Step| it.actor == actor && matches!(it.op, Op::Wait { .. });
    scenario.steps.iter().any(sleeps)
}

/// What the program does: it is actor `a`.
pub fn main(scenario: &Scenario, shape: &Shape) -> String {
    let tries = limits::is_left_to_chance(scenario);
    let name = if tries { "static int once" } else { "int main" };
    let mut text = format!("{name}(void)\n{{\n");
    let threads = threads(scenario, shape);
    if !threads.is_empty() {
        let handles: Vec<&str> = threads.iter().map(|it| it.handle.as_str()).collect();
        let _ = writeln!(text, "\tpthread_t {};", handles.join(", "));
    }
    if shape.own == Own::Connection {
        text += "\tint wrong = 0;\n";
    }
    if text.ends_with(";\n") {
        text += "\n";
    }
    text += &prepare(scenario, shape);
    for Thread {
        handle,
        function,
        argument,
        ..
    } in &threads
    {
        let _ = writeln!(
            text,
            "\tpthread_create(&{handle}, NULL, {function}, {argument});"
        );
    }
    text += &steps_of(scenario, shape, Actor::A);
    text += "\n";
    for thread in threads.iter().filter(|it| !it.reads) {
        let _ = writeln!(text, "\tpthread_join({}, NULL);", thread.handle);
    }
    for line in hold::rest(scenario) {
        let _ = writeln!(text, "\t{line}");
    }
    text += &finish(scenario, shape);
    if shape.reader == Reader::Inline && !ends::may_leave(scenario) {
        text += "\treceive(sizeof(received));\n";
    }
    for thread in threads.iter().filter(|it| it.reads) {
        let _ = writeln!(text, "\tpthread_join({}, NULL);", thread.handle);
    }
    for line in lend::wait(scenario, Actor::A) {
        let _ = writeln!(text, "\t{line}");
    }
    text += &match shape.own {
        Own::Connection => connections::verdicts(scenario),
        _ => format!("\treturn verdict(){};\n", lend::verdicts(scenario)),
    };
    text += "}\n";
    text + if tries { TRIES } else { "" }
}

/// What there must be before the threads.
fn prepare(scenario: &Scenario, shape: &Shape) -> String {
    let mut text = format!("\talarm({});\n", patience_s(scenario));
    if ends::may_fail(scenario) {
        text += "\tsignal(SIGPIPE, SIG_IGN);\n";
    }
    let signals = |it: &Step| matches!(it.op, Op::Signal { .. });
    if scenario.steps.iter().any(signals) {
        text += "\t/* Without SA_RESTART. */\n";
        text += "\tsigaction(SIGUSR1, &(struct sigaction){ .sa_handler = nothing }, NULL);\n";
        text += "\ta_thread = pthread_self();\n";
    }
    if scenario.setup.socket.family.passes_link() {
        text += "\tmake_link();\n";
    }
    text += "\tmake_file();\n";
    match shape.own {
        Own::Connection => text += &connections::connect(scenario),
        own => {
            text += "\tconnect_ends();\n";
            if let Some(own) = own.take(scenario, Actor::A) {
                let _ = writeln!(text, "\t{own}");
            }
        }
    }
    text
}

/// What ends the stream, or every one of them.
fn finish(scenario: &Scenario, shape: &Shape) -> String {
    let lines: String = ends::finish(scenario)
        .iter()
        .map(|line| format!("\t{line}\n"))
        .collect();
    match shape.own {
        Own::Connection => connections::for_each(scenario, &lines),
        _ => lines,
    }
}

/// A thread besides the main one.
pub struct Thread {
    /// The variable that it is joined by.
    pub handle: String,
    /// What it does.
    pub function: String,
    /// What that is given.
    pub argument: String,
    /// It ends with what it reads.
    pub reads: bool,
}

fn threads(scenario: &Scenario, shape: &Shape) -> Vec<Thread> {
    let mut threads = Vec::new();
    for actor in shape.threads(scenario) {
        threads.push(Thread {
            handle: format!("{actor}_thread"),
            function: format!("{actor}_does"),
            argument: "NULL".into(),
            reads: actor == Actor::Reader,
        });
    }
    if shape.own == Own::Connection {
        threads.extend(connections::reading(scenario, shape));
    } else if shape.reader == Reader::Drains {
        threads.push(Thread {
            handle: "draining".into(),
            function: "drain".into(),
            argument: "NULL".into(),
            reads: true,
        });
    }
    if scenario.setup.relay {
        threads.push(Thread {
            handle: "relaying".into(),
            function: "relay".into(),
            argument: "NULL".into(),
            reads: true,
        });
    }
    threads
}

const TRIES: &str = "
/* What the link loses is left to chance, so it may show at the second time only. */
int main(void)
{
	int status = 0;

	for (int tries = 0; tries < 5 && status == 0; tries++) {
		if (fork() == 0)
			exit(once());
		wait(&status);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
";

/// After which time something hangs, in seconds.
fn patience_s(scenario: &Scenario) -> u64 {
    (crate::oracle::bound_ns(scenario) / 1_000_000_000).clamp(30, 300)
}

/// All steps of an actor, each below its text.
fn steps_of(scenario: &Scenario, shape: &Shape, actor: Actor) -> String {
    let mut text = String::new();
    let mut awaited = Vec::new();
    let mut seen = Vec::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        // What the reader does in the main thread is no thread's.
        let inline = shape.reader == Reader::Inline && step.actor == Actor::Reader;
        let who = if inline { Actor::A } else { step.actor };
        if who != actor {
            continue;
        }
        let _ = writeln!(text, "\n\t/* {step} */");
        let lines = statements(scenario, shape, index, &seen);
        let read = shape.reader == Reader::Drains && arrives_before(scenario, index);
        let read = match read {
            true => "\tusleep(100);\t/* What has arrived is read. */\n",
            false => "",
        };
        seen.push(step.op);
        if !shape.takes_turns {
            text += read;
            lines.iter().for_each(|line| text += &indented(line));
            continue;
        }
        for last in lasts(scenario, index, actor) {
            if !awaited.contains(&last) {
                let _ = writeln!(text, "\tafter(&{}, {});", name(last.0), last.1);
                awaited.push(last);
            }
        }
        text += read;
        // A program that is run takes its time, and is not blocked by that.
        if !matches!(step.op, Op::Hold { .. } | Op::Release { .. }) {
            let _ = writeln!(text, "\tbegin(&{actor});");
        }
        lines.iter().for_each(|line| text += &indented(line));
        let _ = writeln!(text, "\tend(&{}, {});", name(actor), index + 1);
    }
    text
}

/// Whether a write is the first one behind a send that can have arrived by then.
fn arrives_before(scenario: &Scenario, index: usize) -> bool {
    let steps = &scenario.steps;
    let before = steps[..index].iter().rev();
    let gives_time = |it: &Step| it.op.writes().is_some() || matches!(it.op, Op::Wait { .. });
    let mut since = before.take_while(|it| !gives_time(it));
    let writes = steps[index].op.writes().is_some();
    let family = scenario.setup.socket.family;
    let data = &scenario.setup.data;
    let late = data.delay_us > 0 || data.slot_us > 0 || data.rate_bps > 0;
    let at_once = !family.passes_link() || !late;
    let copies = |it: &Step| matches!(it.op, Op::Copy { .. });
    writes && at_once && since.any(|it| it.op.sends() && !copies(it))
}

fn indented(line: &str) -> String {
    line.lines().map(|it| format!("\t{it}\n")).collect()
}

/// What an actor is called in C, where link(2) is something else.
pub fn name(actor: Actor) -> &'static str {
    match actor {
        Actor::A => "a",
        Actor::B => "b",
        Actor::C => "c",
        Actor::Reader => "reader",
        Actor::Link => "the_link",
    }
}

/// What the link does of itself, so that nobody waits for ever for what is held.
fn watch(scenario: &Scenario) -> String {
    let mut text = String::new();
    for (way, actor, last) in hold::deadlocks(scenario) {
        let release = Op::Release { way, packets: None };
        let who = name(actor);
        let lines = hold::statements(scenario, release);
        let (begin, end) = if lines.len() > 1 {
            (" {", "\t}\n")
        } else {
            ("", "")
        };
        let _ = writeln!(
            text,
            "\n\t/* A call may wait for just what it holds up: after 11 s that goes. */\n\
             \twhile ({who}.done < {last} && !hangs(&{who}, 11000000))\n\t\tusleep(100000);\n\
             \tif ({who}.done < {last}){begin}"
        );
        for line in lines {
            let _ = writeln!(text, "\t\t{line}");
        }
        text += end;
    }
    text
}

/// The last steps that the other actors have before the one at `index`, counted from 1.
fn lasts(scenario: &Scenario, index: usize, actor: Actor) -> Vec<(Actor, usize)> {
    let mut lasts: Vec<(Actor, usize)> = Vec::new();
    for (at, step) in scenario.steps[..index].iter().enumerate() {
        if step.actor != actor {
            lasts.retain(|(it, _)| *it != step.actor);
            lasts.push((step.actor, at + 1));
        }
    }
    lasts
}

/// One step. `seen`: those of the same actor before it.
fn statements(scenario: &Scenario, shape: &Shape, index: usize, seen: &[Op]) -> Vec<String> {
    let Step { op, actor } = scenario.steps[index];
    let number = scenario.generation(index).unwrap_or_default();
    let extent = "FILE_BYTES";
    let file = sent_file(scenario);
    let send = |offset: &str, len: u64, call: &dyn Fn(&str, &str) -> String| {
        let sent = |offset: &str, call: String| format!("sent({offset}, {call});");
        sending(scenario, shape, (offset, len), call, &sent)
    };
    match op {
        Op::Sendfile(range) => send(&range.offset.to_string(), range.len, &|offset, len| {
            format!("sendfile(sender, {file}, (off_t[]){{ {offset} }}, {len})")
        }),
        Op::SendfileOn { len } => {
            let mut lines = Vec::new();
            let declare = !seen.iter().any(|it| matches!(it, Op::SendfileOn { .. }));
            let kind = if declare { "off_t " } else { "" };
            lines.push(format!("{kind}position = lseek({file}, 0, SEEK_CUR);"));
            lines.extend(send("position", len, &|_, len| {
                format!("sendfile(sender, {file}, NULL, {len})")
            }));
            lines
        }
        Op::Copy { by, range } => send(&range.offset.to_string(), range.len, &|offset, len| {
            match by {
                Copying::Write => format!("write(sender, mapping + {offset}, {len})"),
                Copying::Send => format!("send(sender, mapping + {offset}, {len}, 0)"),
                Copying::Writev => {
                    let half = range.len / 2;
                    format!(
                        "writev(sender, (struct iovec[]){{\n\
                         \t\t{{ mapping + {offset}, {half} }},\n\
                         \t\t{{ mapping + {offset} + {half}, {len} - {half} }},\n\t}}, 2)"
                    )
                }
            }
        }),
        Op::Borrow { by: Borrowing::Send, range } => {
            let call = |offset: &str, len: &str| {
                format!("send(sender, mapping + {offset}, {len}, MSG_ZEROCOPY)")
            };
            let sent = |offset: &str, call: String| format!("lend(&lent, {offset}, {call});");
            let part = (range.offset.to_string(), range.len);
            sending(scenario, shape, (&part.0, part.1), &call, &sent)
        }
        Op::Borrow { by: Borrowing::Uring, range } => {
            let mut lines = Vec::new();
            if !seen.iter().any(|it| lend::is_by_ring(*it)) {
                lines.push("open_ring();".to_owned());
            }
            if shape.changes_during {
                lines.push(format!("entering({}, {});", range.offset, range.len));
            }
            lines.push(format!("send_by_ring({}, {});", range.offset, range.len));
            if ends_datagram(scenario) {
                lines.push("end_datagram();".into());
            }
            lines
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
            let (end, parts) = match tee {
                true => ("tee_ends[0]", "teed"),
                false => ("pipe_ends[0]", "piped"),
            };
            let call = |_: &str, len: &str| {
                format!("splice({end}, NULL, sender, NULL, {len}, {flags})")
            };
            let sent = |_: &str, call: String| format!("sent_from(&{parts}, {call});");
            let mut lines = sending(scenario, shape, ("0", len), &call, &sent);
            for line in &mut lines {
                let rest = format!("done < {len} && {parts}.first < {parts}.end;");
                *line = line.replace(&format!("done < {len};"), &rest);
            }
            // Of an empty pipe it would wait for somebody to fill it.
            let again = |it: &Op| match it {
                Op::SpliceOut { tee: other, .. } => *other == tee,
                Op::Pour { .. } => !tee,
                _ => false,
            };
            let size_bytes = scenario.setup.file.size_bytes;
            let fills = |it: &Op| {
                // What is in the second one may have come by way of the other.
                let into = it.fills().filter(|(_, second)| tee || !second);
                into.is_some_and(|(range, _)| range.offset < size_bytes)
            };
            let is_full = seen.iter().any(fills) && !scenario.resizes() && !seen.iter().any(again);
            if !is_full && !scenario.setup.socket.poll {
                let body: Vec<String> = lines.iter().map(|it| indented(it)).collect();
                let body = body.concat();
                lines = match lines.len() {
                    1 => vec![format!("if ({parts}.first < {parts}.end)\n{}", body.trim_end())],
                    _ => vec![format!("if ({parts}.first < {parts}.end) {{\n{body}}}")],
                };
            }
            lines
        }
        Op::Pipe { capacity_bytes } => {
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
                            "must(fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK), \"O_NONBLOCK\");"
                                .to_owned(),
                        );
                    }
                    lines.push(format!("must({size}, \"F_SETPIPE_SZ\");"));
                    lines
                }
            }
        }
        Op::SpliceIn {
            range,
            by: Filling::Sendfile,
        } => vec![format!(
            "put(&piped, {0}, sendfile(pipe_ends[1], {file}, (off_t[]){{ {0} }}, {1}), NULL);",
            range.offset, range.len
        )],
        Op::SpliceIn { range, by } => {
            let moves = by == Filling::Move;
            let flags = flags(&[(moves, "SPLICE_F_MOVE"), (true, "SPLICE_F_NONBLOCK")]);
            vec![format!(
                "put(&piped, {0}, splice({file}, (off_t[]){{ {0} }}, pipe_ends[1], NULL, {1}, {flags}), NULL);",
                range.offset, range.len
            )]
        }
        Op::PipeWrite { range, tee } => {
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
        Op::Vmsplice { range, gift } => {
            let flags = flags(&[(gift, "SPLICE_F_GIFT"), (true, "SPLICE_F_NONBLOCK")]);
            vec![format!(
                "put(&piped, {0}, vmsplice(pipe_ends[1], &(struct iovec){{ mapping + {0}, {1} }}, 1, {flags}), NULL);",
                range.offset, range.len
            )]
        }
        Op::Tee { len } => {
            let mut lines = second_pipe(scenario, seen);
            lines.push(format!(
                "put_again(&teed, &piped, tee(pipe_ends[0], tee_ends[1], {len}, SPLICE_F_NONBLOCK));"
            ));
            lines
        }
        Op::Pour { len } => {
            let mut lines = second_pipe(scenario, seen);
            lines.push(format!(
                "pour(&teed, &piped, splice(pipe_ends[0], NULL, tee_ends[1], NULL, {len}, SPLICE_F_NONBLOCK));"
            ));
            lines
        }
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

/// Whether it is to be known who sleeps: somebody awaits that another one is blocked, or
/// reads what is left when the others are.
pub fn notes_sleep(scenario: &Scenario, shape: &Shape) -> bool {
    let awaits = |it: &Step| matches!(it.op, Op::Await { .. });
    let sleeps = |it: &Step| matches!(it.op, Op::Wait { .. }) && it.actor != Actor::Reader;
    let steps = &scenario.steps;
    let waits_for_all = shape.reader == Reader::Actor && !ends::may_leave(scenario);
    // Who is alone awaits one who does nothing, and so nobody.
    shape.takes_turns && (steps.iter().any(awaits) || waits_for_all && steps.iter().any(sleeps))
}

fn allocate(mode: &str, range: crate::scenario::Range) -> Vec<String> {
    vec![format!(
        "must(fallocate(file, {mode}, {}, {}), \"fallocate\");",
        range.offset, range.len
    )]
}

fn flags(named: &[(bool, &str)]) -> String {
    let set: Vec<&str> = named.iter().filter(|it| it.0).map(|it| it.1).collect();
    match set.is_empty() {
        true => "0".into(),
        false => set.join(" | "),
    }
}

/// Whether a send is a datagram of its own.
fn ends_datagram(scenario: &Scenario) -> bool {
    let spec = &scenario.setup.socket;
    spec.family.has_datagrams() && !spec.cork
}

/// A call that sends, with what is noted of it. `call` makes it of an offset and a length,
/// `sent` what notes it.
fn sending(
    scenario: &Scenario,
    shape: &Shape,
    (offset, len): (&str, u64),
    call: &dyn Fn(&str, &str) -> String,
    sent: &dyn Fn(&str, String) -> String,
) -> Vec<String> {
    let spec = &scenario.setup.socket;
    let text = len.to_string();
    let mut lines = Vec::new();
    if shape.changes_during {
        let has = len.min(scenario.extent_bytes());
        lines.push(format!("entering({offset}, {has});"));
    }
    if !spec.poll {
        lines.push(sent(offset, call(offset, &text)));
    } else {
        let rest = format!("{text} - done");
        let from = match offset {
            "0" => "done".to_owned(),
            offset => format!("{offset} + done"),
        };
        lines.push(format!(
            "for (ssize_t done = 0, len; done < {text};) {{\n\
             \tlen = {};\n\t{}\n\
             \tif (len == 0 || (len < 0 && errno != EAGAIN))\n\t\tbreak;\n\
             \tdone += len < 0 ? 0 : len;\n\
             \tpoll(&(struct pollfd){{ sender, POLLOUT, 0 }}, 1, -1);\n}}",
            call(&from, &rest),
            sent(&from, "len".into()),
        ));
    }
    let more = call("0", "0").contains("SPLICE_F_MORE");
    if ends_datagram(scenario) && !more {
        lines.push("end_datagram();".into());
    }
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
