//! Operations that send, and what is noted of them.

use super::super::lend;
use super::super::place::sent_file;
use super::super::shape::Shape;
use super::indented;
use crate::scenario::{Copying, Op, Range, Scenario};

pub(super) fn sendfile(scenario: &Scenario, shape: &Shape, range: Range) -> Vec<String> {
    let file = sent_file(scenario);
    let (offset, len) = (range.offset.to_string(), range.len);
    noted(scenario, shape, (&offset, len), &|offset, len| {
        format!("sendfile(sender, {file}, (off_t[]){{ {offset} }}, {len})")
    })
}

/// From where the file stands. `seen`: the operations of the same actor before it.
pub(super) fn sendfile_on(
    scenario: &Scenario,
    shape: &Shape,
    len: u64,
    seen: &[Op],
) -> Vec<String> {
    let file = sent_file(scenario);
    let mut lines = Vec::new();
    let declare = !seen.iter().any(|it| matches!(it, Op::SendfileOn { .. }));
    let kind = if declare { "off_t " } else { "" };
    lines.push(format!("{kind}position = lseek({file}, 0, SEEK_CUR);"));
    lines.extend(noted(scenario, shape, ("position", len), &|_, len| {
        format!("sendfile(sender, {file}, NULL, {len})")
    }));
    lines
}

pub(super) fn copy(scenario: &Scenario, shape: &Shape, by: Copying, range: Range) -> Vec<String> {
    let (offset, len) = (range.offset.to_string(), range.len);
    noted(scenario, shape, (&offset, len), &|offset, len| match by {
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
    })
}

/// By MSG_ZEROCOPY.
pub(super) fn lent(scenario: &Scenario, shape: &Shape, range: Range) -> Vec<String> {
    let call =
        |offset: &str, len: &str| format!("send(sender, mapping + {offset}, {len}, MSG_ZEROCOPY)");
    let sent = |offset: &str, call: String| format!("lend(&lent, {offset}, {call});");
    let part = (range.offset.to_string(), range.len);
    sending(scenario, shape, (&part.0, part.1), &call, &sent)
}

pub(super) fn lent_by_ring(
    scenario: &Scenario,
    shape: &Shape,
    range: Range,
    seen: &[Op],
) -> Vec<String> {
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

/// From a pipe: the second one, if by `tee`.
pub(super) fn splice_out(
    scenario: &Scenario,
    shape: &Shape,
    len: u64,
    tee: bool,
    flags: &str,
    seen: &[Op],
) -> Vec<String> {
    let (end, parts) = match tee {
        true => ("tee_ends[0]", "teed"),
        false => ("pipe_ends[0]", "piped"),
    };
    let call = |_: &str, len: &str| format!("splice({end}, NULL, sender, NULL, {len}, {flags})");
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
            1 => vec![format!(
                "if ({parts}.first < {parts}.end)\n{}",
                body.trim_end()
            )],
            _ => vec![format!("if ({parts}.first < {parts}.end) {{\n{body}}}")],
        };
    }
    lines
}

/// A call that sends from an offset of the file.
fn noted(
    scenario: &Scenario,
    shape: &Shape,
    part: (&str, u64),
    call: &dyn Fn(&str, &str) -> String,
) -> Vec<String> {
    let sent = |offset: &str, call: String| format!("sent({offset}, {call});");
    sending(scenario, shape, part, call, &sent)
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

/// Whether a send is a datagram of its own.
fn ends_datagram(scenario: &Scenario) -> bool {
    let spec = &scenario.setup.socket;
    spec.family.has_datagrams() && !spec.cork
}
