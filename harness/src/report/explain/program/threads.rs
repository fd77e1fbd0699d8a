//! The main function, and the threads besides the main one.

use std::fmt::Write;

use super::connections;
use super::ends;
use super::hold;
use super::lend;
use super::limits;
use super::own::Own;
use super::shape::{Reader, Shape};
use super::steps::{indented, lasts, name, steps_of};
use crate::scenario::{Actor, Op, Scenario, Step};

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
