//! Functions that programs have in common, as C, and what they need.

use super::assemble::mentions;
use super::own::Own;
use super::place;
use crate::scenario::{FileKind, Netem, Op, Scenario};

/// A function or two, with the name that it is called by.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Who has this in its text needs the part.
    pub name: &'static str,
    /// The functions.
    pub text: &'static str,
}

/// A part in a file of its own, called like the function.
macro_rules! part {
    ($name:literal) => {
        part!($name, $name)
    };
    ($name:literal, $file:literal) => {
        Part {
            name: $name,
            text: include_str!(concat!("parts/", $file, ".c")),
        }
    };
}

/// All that a program could need, each above those who call it.
pub fn of(scenario: &Scenario, own: Own) -> Vec<Part> {
    let datagrams = scenario.setup.socket.family.has_datagrams();
    let pick = |plain, other| if datagrams { other } else { plain };
    vec![
        part!("must"),
        part!("run"),
        part!("set"),
        part!("offload"),
        part!("pattern"),
        part!("store"),
        part!("overwrite"),
        part!("open_again"),
        part!("copy_of"),
        part!("begin", "actors"),
        part!("hangs"),
        part!("after"),
        part!("await_blocked"),
        part!("nothing"),
        part!("entering"),
        part!("sent"),
        part!("lend"),
        part!("await_queue"),
        part!("send_by_ring", "ring"),
        part!("await_ring"),
        part!("end_datagram"),
        part!("put", "pipe"),
        part!("sent_from"),
        part!("put_again", "tee"),
        part!("pour"),
        pick(part!("receive"), part!("receive", "receive_datagrams")),
        match own {
            Own::Connection => part!("drain", "drain_own"),
            _ => part!("drain"),
        },
        part!("add_relay", "relay"),
        part!("close_notify"),
        match own {
            Own::Sent => part!("verdict", "verdict_shared"),
            _ => pick(part!("verdict"), part!("verdict", "verdict_datagrams")),
        },
    ]
}

/// What stands above the functions, as far as they mention it.
pub fn globals(scenario: &Scenario, own: Own, code: &str) -> String {
    const GLOBALS: [(&str, &str); 19] = [
        (
            "far",
            "static int far, near;\t/* the namespaces of the receiver and the sender */\n",
        ),
        (
            "port",
            "static int port = 2008;\t/* of the next connection */\n",
        ),
        ("sender", "static int sender, receiver;\t/* sockets */\n"),
        ("file", "static int file;\n"),
        (
            "read_only",
            "static int read_only;\t/* the file, for reading */\n",
        ),
        (
            "direct",
            "static int direct;\t/* the file, past the page cache */\n",
        ),
        (
            "mapping",
            "static unsigned char *mapping;\t/* of the file */\n",
        ),
        (
            "second",
            "static unsigned char *second;\t/* another mapping */\n",
        ),
        (
            "a_thread",
            "static pthread_t a_thread;\t/* the main one */\n",
        ),
        ("pipe_ends", "static int pipe_ends[2];\n"),
        ("tee_ends", "static int tee_ends[2];\n"),
        (
            "expected",
            "static unsigned char expected[MOST_BYTES];\t/* of the stream */\n",
        ),
        (
            "earlier",
            "static unsigned char earlier[MOST_BYTES];\t/* the same when the call began */\n",
        ),
        (
            "offset_of",
            "static long offset_of[MOST_BYTES];\t/* in the file, of a byte of the stream */\n",
        ),
        ("sent_bytes", "static size_t sent_bytes;\n"),
        ("received", "static unsigned char received[MOST_BYTES];\n"),
        ("received_bytes", "static size_t received_bytes;\n"),
        (
            "end_of",
            "static size_t end_of[64], datagrams;\t/* of each datagram, in `expected` */\n",
        ),
        (
            "arrived",
            "static size_t arrived_end[1000], arrived;\t/* the same, in `received` */\n",
        ),
    ];
    let needed = GLOBALS.iter().filter(|(name, _)| mentions(code, name));
    let (owned, shared): (Vec<_>, Vec<_>) = needed.partition(|(name, _)| own.has(name));
    let text = |of: Vec<&(&str, &str)>| -> String { of.iter().map(|it| it.1).collect() };
    text(shared) + &own.declare(scenario, &text(owned))
}

/// Where C has the names that a program may use.
pub const HEADERS: &[(&str, &[&str])] = &[
    ("linux/net_tstamp.h", &["SO_TIMESTAMPING"]),
    ("arpa/inet.h", &["inet_addr", "inet_pton", "htons"]),
    ("errno.h", &["errno"]),
    (
        "fcntl.h",
        &["open", "fcntl", "splice", "vmsplice", "tee", "fallocate"],
    ),
    ("linux/errqueue.h", &["sock_extended_err"]),
    ("linux/ethtool.h", &["ethtool_value"]),
    ("linux/io_uring.h", &["io_uring_params"]),
    ("linux/sockios.h", &["SIOCETHTOOL"]),
    ("linux/tls.h", &["TLS_TX"]),
    ("linux/vm_sockets.h", &["sockaddr_vm"]),
    ("net/if.h", &["ifreq"]),
    (
        "netinet/in.h",
        &["sockaddr_in", "sockaddr_in6", "IPPROTO_TCP", "IPPROTO_UDP"],
    ),
    ("netinet/tcp.h", &["IPPROTO_TCP"]),
    ("netinet/udp.h", &["IPPROTO_UDP"]),
    ("poll.h", &["poll"]),
    ("pthread.h", &["pthread_t"]),
    ("sched.h", &["unshare", "setns"]),
    ("signal.h", &["SIGPIPE", "SIGUSR1"]),
    ("stdatomic.h", &["atomic_int"]),
    ("stdio.h", &["printf", "fprintf", "snprintf"]),
    ("stdlib.h", &["exit", "system", "malloc", "aligned_alloc"]),
    ("string.h", &["memcpy", "strerror", "strcpy"]),
    ("sys/ioctl.h", &["ioctl"]),
    ("sys/mman.h", &["mmap", "memfd_create", "msync"]),
    ("sys/mount.h", &["mount", "umount2"]),
    ("sys/sendfile.h", &["sendfile"]),
    ("sys/socket.h", &["socket", "socketpair", "recv"]),
    ("sys/syscall.h", &["syscall"]),
    ("sys/time.h", &["timeval"]),
    ("sys/uio.h", &["iovec"]),
    ("sys/wait.h", &["wait", "WIFEXITED"]),
    ("time.h", &["clock_gettime", "sock_extended_err"]),
    (
        "unistd.h",
        &["close", "alarm", "usleep", "write", "pread", "syscall"],
    ),
];

/// Whether it can be run by root only.
pub fn takes_root(scenario: &Scenario) -> bool {
    scenario.setup.socket.family.passes_link()
        || scenario.setup.relay
        || scenario.setup.file.kind == FileKind::Ext4
        || scenario.steps.iter().any(|it| it.op == Op::DropCaches)
}

/// What of the machine it needs, as sentences.
pub fn needs(scenario: &Scenario) -> String {
    let setup = &scenario.setup;
    let mut kernel = Vec::new();
    let mut tools = Vec::new();
    if setup.socket.family.passes_link() || setup.relay {
        tools.push("ip(8)");
        if place::has_two_ends(scenario) {
            kernel.push("veth");
        }
    }
    let delays = |it: &Netem| *it != Netem::default();
    if delays(&setup.data) || delays(&setup.ack) || scenario.holds_any() {
        kernel.push("netem");
        tools.push("tc(8)");
    }
    if scenario.holds_any() {
        kernel.push("sch_plug");
    }
    if setup.file.kind == FileKind::Ext4 {
        kernel.push("ext4");
        kernel.push("loop devices");
        tools.push("mkfs.ext4(8)");
    }
    let kernel = match kernel.is_empty() {
        true => String::new(),
        false => format!("a kernel with {}, and ", kernel.join(" and ")),
    };
    match tools.is_empty() {
        true => String::new(),
        false => format!("It needs {kernel}the programs {}.\n", tools.join(" and ")),
    }
}
