//! The two sockets.

use std::fmt::Write;

use super::place::{addresses, has_two_ends};
use crate::oracle::arrival_ns;
use crate::scenario::{Borrowing, Family, Op, Scenario};

/// On a clock that goes by itself whoever waits must allow for a machine that is busy.
const SLACK_US: u64 = 100_000;

/// The function that connects them.
pub fn connect(scenario: &Scenario) -> String {
    let spec = &scenario.setup.socket;
    let mut text = String::from("static void connect_ends(void)\n{\n");
    text += &match spec.family {
        Family::Unix => pair("SOCK_STREAM"),
        Family::UnixSeqpacket => pair("SOCK_SEQPACKET"),
        _ => String::new(),
    };
    if spec.family.passes_link() || spec.family == Family::Vsock {
        text += &over_link(scenario);
    } else if let Some(bytes) = spec.sndbuf_bytes {
        let _ = writeln!(text, "\tset(sender, SOL_SOCKET, SO_SNDBUF, {bytes});");
    }
    text += &options(scenario);
    if scenario.setup.relay {
        text += "\tadd_relay();\n";
    }
    text + "}\n"
}

fn pair(kind: &str) -> String {
    format!(
        "\tint ends[2];\n\n\
         \tmust(socketpair(AF_UNIX, {kind}, 0, ends), \"socketpair\");\n\
         \tsender = ends[0];\n\treceiver = ends[1];\n"
    )
}

fn over_link(scenario: &Scenario) -> String {
    let spec = &scenario.setup.socket;
    let mut text = String::new();
    let address = addresses(scenario)[1];
    let port = if spec.each { "port++" } else { "2008" };
    text += &match spec.family {
        Family::Vsock => format!(
            "\tstruct sockaddr_vm address = {{\n\
            \t\t.svm_family = AF_VSOCK,\n\t\t.svm_port = {port},\n\
            \t\t.svm_cid = VMADDR_CID_LOCAL,\n\t}};\n"
        ),
        family if family.over_ipv6() => format!(
            "\tstruct sockaddr_in6 address = {{\n\
            \t\t.sin6_family = AF_INET6,\n\t\t.sin6_port = htons({port}),\n\t}};\n"
        ),
        _ => format!(
            "\tstruct sockaddr_in address = {{\n\
            \t\t.sin_family = AF_INET,\n\t\t.sin_port = htons({port}),\n\
            \t\t.sin_addr.s_addr = inet_addr(\"{address}\"),\n\t}};\n"
        ),
    };
    let datagrams = spec.family.has_datagrams();
    if datagrams {
        text += &format!(
            "\tstruct timeval patience = {{ .tv_usec = {} }}, for_ever = {{ 0 }};\n\
             \tsocklen_t len = sizeof(address);\n",
            arrival_us(scenario).min(999_999)
        );
    } else {
        text += "\tint listener;\n";
    }
    text += "\n";
    if spec.family.over_ipv6() {
        let _ = writeln!(
            text,
            "\tinet_pton(AF_INET6, \"{address}\", &address.sin6_addr);"
        );
    }
    let two = has_two_ends(scenario);
    if two {
        text += "\tmust(setns(far, CLONE_NEWNET), \"setns\");\n";
    }
    let socket = format!(
        "must(socket({}, {}), \"socket\")",
        domain(spec.family),
        kind(spec.family)
    );
    let bound = if datagrams { "receiver" } else { "listener" };
    let _ = writeln!(text, "\t{bound} = {socket};");
    if let Some(bytes) = spec.rcvbuf_bytes {
        let _ = writeln!(text, "\tset({bound}, SOL_SOCKET, SO_RCVBUF, {bytes});");
    }
    let to = "(struct sockaddr *)&address, sizeof(address)";
    let _ = writeln!(text, "\tmust(bind({bound}, {to}), \"bind\");");
    if !datagrams {
        text += "\tmust(listen(listener, 1), \"listen\");\n";
    }
    if two {
        text += "\tmust(setns(near, CLONE_NEWNET), \"setns\");\n";
    }
    let _ = writeln!(text, "\n\tsender = {socket};");
    if let Some(bytes) = spec.sndbuf_bytes {
        let _ = writeln!(text, "\tset(sender, SOL_SOCKET, SO_SNDBUF, {bytes});");
    }
    let _ = writeln!(text, "\tmust(connect(sender, {to}), \"connect\");");
    if datagrams {
        text +=
            "\tmust(getsockname(sender, (struct sockaddr *)&address, &len), \"getsockname\");\n";
        let _ = writeln!(text, "\tmust(connect(receiver, {to}), \"connect\");");
        text += READY;
    } else {
        text += "\treceiver = must(accept(listener, NULL, NULL), \"accept\");\n";
        text += "\tclose(listener);\n";
    }
    text
}

/// What a datagram would meet that nothing has passed yet.
const READY: &str = "
	/* An interface that has just come up loses what it gets: until one has arrived. */
	setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	do
		send(sender, \"\", 1, 0);
	while (recv(receiver, received, 1, 0) < 0);
	while (recv(receiver, received, 1, 0) >= 0)
		;
	setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof(for_ever));
";

fn domain(family: Family) -> &'static str {
    match family {
        Family::Vsock => "AF_VSOCK",
        family if family.over_ipv6() => "AF_INET6",
        _ => "AF_INET",
    }
}

fn kind(family: Family) -> &'static str {
    match family {
        Family::Mptcp4 | Family::Mptcp6 => "SOCK_STREAM, IPPROTO_MPTCP",
        family if family.has_datagrams() => "SOCK_DGRAM, 0",
        _ => "SOCK_STREAM, 0",
    }
}

const TIMES: &str = "SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_SOFTWARE |\n\
                     \t    SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE";

/// What is set once they are connected.
fn options(scenario: &Scenario) -> String {
    let spec = &scenario.setup.socket;
    let mut text = String::new();
    let mut set = |option: &str, value: u64| {
        let level = match option {
            "UDP_CORK" => "IPPROTO_UDP",
            _ => "IPPROTO_TCP",
        };
        let _ = writeln!(text, "\tset(sender, {level}, {option}, {value});");
    };
    if spec.nodelay {
        set("TCP_NODELAY", 1);
    }
    if spec.cork {
        let datagrams = spec.family.has_datagrams();
        set(if datagrams { "UDP_CORK" } else { "TCP_CORK" }, 1);
    }
    if spec.user_timeout_us > 0 {
        set("TCP_USER_TIMEOUT", spec.user_timeout_us / 1000);
    }
    if spec.tcp.notsent_lowat_bytes > 0 {
        set("TCP_NOTSENT_LOWAT", spec.tcp.notsent_lowat_bytes.into());
    }
    if spec.timestamping {
        let _ = writeln!(text, "\tset(sender, SOL_SOCKET, SO_TIMESTAMPING, {TIMES});");
    }
    if let Some(congestion) = spec.tcp.congestion {
        let name = congestion.name();
        let _ = writeln!(
            text,
            "\tmust(setsockopt(sender, IPPROTO_TCP, TCP_CONGESTION, \"{name}\", {}), \"{name}\");",
            name.len()
        );
    }
    if let Some(on) = spec.tcp.quickack {
        let on = u8::from(on);
        let _ = writeln!(text, "\tset(receiver, IPPROTO_TCP, TCP_QUICKACK, {on});");
    }
    if spec.send_timeout_us > 0 {
        let (s, us) = (
            spec.send_timeout_us / 1_000_000,
            spec.send_timeout_us % 1_000_000,
        );
        let _ = writeln!(
            text,
            "\tmust(setsockopt(sender, SOL_SOCKET, SO_SNDTIMEO,\n\
             \t\t\t&(struct timeval){{ {s}, {us} }}, sizeof(struct timeval)), \"SO_SNDTIMEO\");"
        );
    }
    if scenario.borrows(Borrowing::Send) {
        text += "\tset(sender, SOL_SOCKET, SO_ZEROCOPY, 1);\n";
    }
    if spec.family == Family::Ktls4 {
        text += TLS;
    }
    if spec.nonblock {
        text += "\tmust(fcntl(sender, F_SETFL, O_NONBLOCK), \"O_NONBLOCK\");\n";
    }
    text
}

const TLS: &str = "
	/* TLS in the kernel: the sender encrypts, the receiver decrypts. */
	struct tls12_crypto_info_aes_gcm_128 keys = {
		.info = { TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128 },
	};

	must(setsockopt(sender, IPPROTO_TCP, TCP_ULP, \"tls\", 3), \"kernel TLS\");
	must(setsockopt(receiver, IPPROTO_TCP, TCP_ULP, \"tls\", 3), \"kernel TLS\");
	must(setsockopt(sender, SOL_TLS, TLS_TX, &keys, sizeof(keys)), \"TLS_TX\");
	must(setsockopt(receiver, SOL_TLS, TLS_RX, &keys, sizeof(keys)), \"TLS_RX\");
";

/// What tells the receiver that nothing more will come.
pub fn finish(scenario: &Scenario) -> Vec<String> {
    let spec = &scenario.setup.socket;
    match spec.family {
        Family::Ktls4 => {
            let mut lines = Vec::new();
            if spec.nonblock {
                lines.push("must(fcntl(sender, F_SETFL, 0), \"O_NONBLOCK\");".into());
            }
            lines.push("close_notify();".into());
            lines.push("shutdown(sender, SHUT_WR);".into());
            lines
        }
        family if family.has_datagrams() => {
            let waits = |op: Op| matches!(op, Op::SpliceOut { more: true, .. });
            let mut lines = Vec::new();
            if spec.cork || scenario.steps.iter().any(|it| waits(it.op)) {
                lines.push("set(sender, IPPROTO_UDP, UDP_CORK, 0);".into());
                lines.push("end_datagram();".into());
            }
            lines.push("/* Nothing tells the receiver that this was the last one. */".into());
            lines.push(format!("usleep({});", arrival_us(scenario)));
            lines.push("shutdown(receiver, SHUT_RD);".into());
            lines
        }
        _ => vec!["shutdown(sender, SHUT_WR);".into()],
    }
}

/// By when a datagram has arrived.
fn arrival_us(scenario: &Scenario) -> u64 {
    arrival_ns(scenario) / 1000 + SLACK_US
}

/// Whether a send may fail, or send a part, and that is right.
pub fn may_fail(scenario: &Scenario) -> bool {
    let spec = &scenario.setup.socket;
    let ends = |op: Op| matches!(op, Op::Shutdown | Op::Reset | Op::Close | Op::Signal { .. });
    spec.nonblock
        || spec.user_timeout_us > 0
        || spec.send_timeout_us > 0
        || spec.family.has_records()
        || nonblocking(scenario)
        || may_refuse(scenario)
        || scenario.steps.iter().any(|it| ends(it.op))
}

/// Whether a send by reference may be refused: by kernel TLS, and by the data of a ring
/// that stands at the end of the queue.
fn may_refuse(scenario: &Scenario) -> bool {
    let both = Borrowing::NAMED.iter().all(|&(_, by)| scenario.borrows(by));
    both || scenario.setup.socket.family == Family::Ktls4 && scenario.borrows_any()
}

fn nonblocking(scenario: &Scenario) -> bool {
    let mut ops = scenario.steps.iter().map(|it| it.op);
    ops.any(|op| matches!(op, Op::SpliceOut { nonblock: true, .. }))
}

/// Whether what was sent need not arrive.
pub fn may_end_early(scenario: &Scenario) -> bool {
    scenario.setup.socket.user_timeout_us > 0 || may_leave(scenario)
}

/// Whether the receiver closes its end before all has arrived.
pub fn may_leave(scenario: &Scenario) -> bool {
    let leaves = |op: Op| matches!(op, Op::Reset | Op::Close);
    scenario.steps.iter().any(|it| leaves(it.op))
}
