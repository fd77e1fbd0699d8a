//! Every kind of error has a row here.

mod rules;

use crate::scenario::text::parse;

/// Text, then place and message.
const ERRORS: &[(&str, &str)] = &[
    // Words.
    (
        "sendfle 0+1",
        "1:1: unknown operation `sendfle`, did you mean `sendfile`? (expected one of `sendfile`, `write`, `send`, `writev`, `send-zerocopy`, `uring-send-zerocopy`, `await-completions`, `pipe`, `splice-in`, `sendfile-in`, `splice-out`, `tee`, `pour`, `pipe-write`, `vmsplice`, `mmap-write`, `pwrite`, `fork-write`, `msync`, `drop-caches`, `truncate`, `punch`, `dwrite`, `zero`, `collapse`, `read`, `wait`, `await`, `meet`, `shutdown`, `reset`, `close`, `signal`, `kill`, `cork`, `uncork`, `hold`, `release`, `link`, `stack`, `socket`, `file`, `reader`, `expect`)",
    ),
    (
        "sokcet tcp4",
        "1:1: unknown operation `sokcet`, did you mean `socket`?",
    ),
    (
        "b: sokcet tcp4",
        "1:4: unknown operation `sokcet`, expected one of `sendfile`, ",
    ),
    (
        "execute",
        "1:1: unknown operation `execute`, expected one of `sendfile`, ",
    ),
    ("d: pwrite 0+1", "1:1: unknown actor `d`, did you mean `a`?"),
    (
        "writer: pwrite 0+1",
        "1:1: unknown actor `writer`, expected one of `a`, `b`, `c`, `reader`, `link`",
    ),
    (
        "b:",
        "1:3: found the end of the line, expected an operation",
    ),
    (
        "sendfile 0+1 now",
        "1:14: found `now`, expected the end of the line",
    ),
    (
        "hold",
        "1:5: found the end of the line, expected `data` or `ack`",
    ),
    (
        "hold dta",
        "1:6: unknown direction `dta`, did you mean `data`? (expected one of `data`, `ack`)",
    ),
    (
        "hold ack aftr=1",
        "1:10: unknown key `aftr`, did you mean `after`? (expected one of `after`)",
    ),
    (
        "hold ack\nrelease ack packets=0",
        "2:9: found `ack`: an operation of length 0 does nothing",
    ),
    (
        "hold ack after=1001",
        "1:16: found `1001`: at most 1000 packets",
    ),
    (
        "release ack",
        "1:9: found `ack`: nothing is held: a `hold` of this direction must come first",
    ),
    (
        "hold ack\nrelease ack packets=1\nhold ack",
        "3:6: found `ack`: this direction is held already: a `release` of all must come first",
    ),
    (
        "link data delay=1ms reorder=1%\nhold data",
        "2:6: found `data`: a direction that duplicates or reorders cannot be held: ",
    ),
    (
        "socket udp4\nhold ack",
        "2:6: found `ack`: a receiver of datagrams sends nothing back, so this line would do nothing",
    ),
    (
        "hold ack\na: close",
        "2:4: found `close`: a sender closes where nothing is held: ",
    ),
    (
        "link: pwrite 0+1",
        "1:1: found `link:`: the link can only `hold` and `release`",
    ),
    (
        "reader: hold ack",
        "1:1: found `reader:`: the reader can only `read`, ",
    ),
    (
        "sendfile",
        "1:9: found the end of the line, expected a range OFFSET+LENGTH such as 0+4096, or a length",
    ),
    (
        "read  # all",
        "1:5: found the end of the line, expected a length in bytes such as 4096",
    ),
    (
        "wait",
        "1:5: found the end of the line, expected a time such as 20ms",
    ),
    (
        "link dta",
        "1:6: unknown part of the link `dta`, did you mean `data`? (expected one of `data`, `ack`, `veth`, `tun`, `loopback`)",
    ),
    (
        "link",
        "1:5: found the end of the line, expected `data`, `ack`, `veth`, `tun` or `loopback`",
    ),
    (
        "link data corrupt=11%",
        "1:19: found `11%`: at most 10%, since what is corrupt is lost",
    ),
    (
        "link data gap=3",
        "1:15: found `3`: the same line must have `reorder`",
    ),
    (
        "link data recover=50%",
        "1:19: found `50%`: the same line must have `loss`",
    ),
    (
        "link data loss=20% recover=50%",
        "1:28: found `50%`: at least 4 times the loss of the same line, and at most 100%",
    ),
    (
        "link data overhead=20",
        "1:20: found `20`: how long a packet is matters to its rate",
    ),
    (
        "link data distribution=normal",
        "1:24: found `normal`: jitter is what is distributed",
    ),
    (
        "link data distribution=norml",
        "1:24: unknown distribution `norml`, did you mean `normal`?",
    ),
    (
        "link data delay=1ms correlation=5%",
        "1:33: found `5%`: nothing of this line is left to chance",
    ),
    (
        "link data loss=1% correlation=51%",
        "1:31: found `51%`: at most 50%",
    ),
    (
        "link data loss=1% mark",
        "1:19: found `mark`: what is marked is data that would be lost",
    ),
    ("link data slot=3s", "1:16: found `3s`: at most 2s"),
    (
        "link tun gro",
        "1:10: found `gro`: only a `link veth` has offloads to switch",
    ),
    (
        "link data drop=3",
        "1:16: found `3`: only a `link tun` knows its packets by their numbers",
    ),
    (
        "link tun\nlink ack swap=1001",
        "2:15: found `1001`: at most 1000",
    ),
    (
        "link tun\nlink veth",
        "2:1: found a second `link veth`, `link tun` or `link loopback` line",
    ),
    (
        "link data delay=1ms\nlink loopback",
        "1:1: found `link`: a `link loopback` has no queue, so nothing can wait or get lost there",
    ),
    (
        "link loopback\nlink ack loss=1%",
        "2:1: found `link`: a `link loopback` has no queue, so nothing can wait or get lost there",
    ),
    (
        "link loopback\nhold data",
        "2:6: found `data`: a `link loopback` has no queue, so nothing can wait or get lost there",
    ),
    (
        "link loopback no-gso",
        "1:15: found `no-gso`: only a `link veth` has offloads to switch",
    ),
    (
        "link loopback mtu=1000",
        "1:19: found `1000`: IPv6 needs packets of 1280 bytes",
    ),
    (
        "link veth mtu=100",
        "1:15: found `100`: between 576 and 65535 bytes",
    ),
    (
        "link veth mtu=1000\nsocket tcp6",
        "1:15: found `1000`: IPv6 needs packets of 1280 bytes",
    ),
    (
        "link veth no-tsx",
        "1:11: unknown key `no-tsx`, did you mean `no-tso`?",
    ),
    (
        "link veth gro\nsocket unix",
        "1:1: found `link`: sockets of this family do not pass the link",
    ),
    ("stack sack=2", "1:12: found `2`: between 0 and 1"),
    (
        "stack sac=0",
        "1:7: unknown key `sac`, did you mean `sack`?",
    ),
    (
        "stack base-mss=512",
        "1:16: found `512`: only probing begins there, so the same line must have `mtu-probing=1` or 2",
    ),
    (
        "stack sack=0\nsocket udp4",
        "1:1: found `stack`: these are settings of TCP, so with this family the line would do nothing",
    ),
    (
        "stack sack=0\nstack dsack=0",
        "2:1: found a second `stack` line",
    ),
    (
        "socket udp",
        "1:8: unknown socket family `udp`, did you mean `udp4`? (expected one of `tcp4`, `tcp6`, `ktls4`, `mptcp4`, `mptcp6`, `unix`, `unix-seqpacket`, `vsock`, `udp4`, `udp6`)",
    ),
    (
        "file ext3 size=1",
        "1:6: unknown kind of file `ext3`, did you mean `ext4`? (expected one of `tmpfs`, `memfd`, `ext4`)",
    ),
    (
        "reader pause",
        "1:8: unknown reader mode `pause`, did you mean `paused`?",
    ),
    (
        "reader paused drain",
        "1:15: unknown way to the reader `drain`, expected one of `relay`",
    ),
    (
        "reader relay paused",
        "1:14: found `paused`, expected the end of the line",
    ),
    (
        "reader",
        "1:7: found the end of the line, expected `drain`, `paused` or `relay`",
    ),
    (
        "socket udp4\nreader relay\nsendfile 0+1",
        "2:8: found `relay`: a stream can be relayed",
    ),
    (
        "reader paused relay\nsocket unix-seqpacket\nsendfile 0+1",
        "1:15: found `relay`: a stream can be relayed",
    ),
    ("sendfile 0+1\nüü sendfile", "2:1: unknown operation `üü`"),
    // Keys.
    (
        "link data dealy=1ms",
        "1:11: unknown key `dealy`, did you mean `delay`?",
    ),
    (
        "link data delay",
        "1:11: found `delay`, expected `delay=TIME`",
    ),
    (
        "link data delay=1ms delay=2ms",
        "1:21: found a second `delay`, expected only one in a line",
    ),
    (
        "socket tcp4 cork=1",
        "1:13: found `cork=1`, expected `cork`",
    ),
    (
        "splice-in 0+1 mov",
        "1:15: unknown key `mov`, did you mean `move`?",
    ),
    (
        "splice-out 1 mor",
        "1:14: unknown key `mor`, did you mean `more`?",
    ),
    (
        "file tmpfs",
        "1:11: found the end of the line, expected `size=SIZE`",
    ),
    (
        "file tmpfs 4096",
        "1:12: unknown key `4096`, expected one of `size`",
    ),
    (
        "pipe 65536",
        "1:6: unknown key `65536`, expected one of `capacity`",
    ),
    // Numbers.
    (
        "pwrite -1+1",
        "1:8: found the negative size `-1`, expected 4096, 64k or 1MiB",
    ),
    (
        "pwrite 0+-4096",
        "1:10: found the negative size `-4096`, expected 4096, 64k or 1MiB",
    ),
    ("file tmpfs size=-1", "1:17: found the negative size `-1`"),
    (
        "pwrite -4096",
        "1:8: found the negative offset `-4096`, expected OFFSET+LENGTH",
    ),
    (
        "pwrite 4096",
        "1:8: found `4096`, expected OFFSET+LENGTH such as 0+4096: the length is missing",
    ),
    (
        "b: sendfile 4096",
        "1:1: found `b:`: only actor `a` sends from the file position: where it stands must be known",
    ),
    ("sendfile 0", "1:10: found `0`: an operation of length 0"),
    ("sendfile 5M", "1:10: found `5M`: at most 4194304 bytes"),
    (
        "pipe-write 0+1",
        "1:12: found `0+1`: no pipe yet: a `pipe` operation must come first",
    ),
    (
        "pipe capacity=4096\npipe-write 4096+1",
        "2:12: found `4096+1`: the mapping ends where the file ends",
    ),
    (
        "b: pipe-write 0+1",
        "1:1: found `b:`: only actor `a` uses the pipes",
    ),
    (
        "sendfile 4096+",
        "1:15: the size is missing, expected 4096, 64k or 1MiB",
    ),
    (
        "file tmpfs size=",
        "1:17: the size is missing, expected 4096, 64k or 1MiB",
    ),
    (
        "read all",
        "1:6: found `all`, expected a size such as 4096, 64k or 1MiB",
    ),
    (
        "read 4kb",
        "1:6: the size `4kb` has an unknown unit, expected one of `k`, `KiB`, `M`, `MiB`",
    ),
    (
        "read 1.5",
        "1:6: the size `1.5` is too fine: it has no whole number of bytes",
    ),
    (
        "read 1.k",
        "1:6: found `1.k`, expected a digit after the decimal point",
    ),
    (
        "wait 20",
        "1:6: the time `20` has no unit, expected one of `us`, `ms`, `s`",
    ),
    (
        "wait 20ns",
        "1:6: the time `20ns` has an unknown unit, expected one of `us`, `ms`, `s`",
    ),
    (
        "wait 0.0001ms",
        "1:6: the time `0.0001ms` is too fine: it has no whole number of microseconds",
    ),
    (
        "link ack loss=1",
        "1:15: the share `1` has no unit, expected one of `%`",
    ),
    (
        "link ack loss=0.00001%",
        "1:15: the share `0.00001%` is too fine: it has no whole number of parts per million",
    ),
    (
        "link ack rate=1",
        "1:15: the rate `1` has no unit, expected one of `bit`, `kbit`, `mbit`, `gbit`",
    ),
    (
        "link ack seed=1k",
        "1:15: found `1k`, expected a plain number such as 7",
    ),
    (
        "read 18446744073709551616",
        "1:6: the size `18446744073709551616` is too large",
    ),
    (
        "read 99999999999999M",
        "1:6: the size `99999999999999M` is too large",
    ),
    (
        "wait 18446744073709551615.5s",
        "1:6: the time `18446744073709551615.5s` is too large",
    ),
    (
        "link ack limit=4294967296",
        "1:16: `4294967296` is too large: at most 4294967295",
    ),
    (
        "sendfile 18446744073709551615+1",
        "1:10: the end of the range `18446744073709551615+1` is too large",
    ),
    // Order.
    (
        "socket tcp4\nsocket tcp6",
        "2:1: found a second `socket` line, expected only the one in line 1",
    ),
    (
        "link data\nlink ack\nlink data",
        "3:1: found a second `link data` line, expected only the one in line 1",
    ),
    (
        "file tmpfs size=1\nfile tmpfs size=1",
        "2:1: found a second `file` line",
    ),
    (
        "reader drain\nreader paused",
        "2:1: found a second `reader` line",
    ),
    (
        "expect stock holds\nexpect stock holds",
        "2:1: found a second `expect stock` line, expected only the one in line 1",
    ),
    (
        "sendfile 0+1\nlink data delay=1ms",
        "2:1: found the setup line `link` after an operation, expected all setup lines before the first operation",
    ),
    // Expectations.
    (
        "expect",
        "1:7: found the end of the line, expected a kernel such as `6.12-stock`, or a flavour such as `stock`",
    ),
    (
        "expect sto*ck holds",
        "1:8: found `sto*ck`: a kernel's name has letters, digits and `._:/+-@`",
    ),
    (
        "expect stock",
        "1:13: found the end of the line, expected `holds`, `violates PROPERTY` or `either`",
    ),
    (
        "expect stock hold",
        "1:14: unknown verdict `hold`, did you mean `holds`?",
    ),
    (
        "expect patched holds wated",
        "1:22: unknown means `wated`, did you mean `waited`? (expected one of `waited`, `copied`, `detached`)",
    ),
    (
        "expect patched holds waited copied",
        "1:29: found `copied`, expected the end of the line",
    ),
    (
        "expect stock violates",
        "1:22: found the end of the line, expected a property",
    ),
    (
        "expect stock violates wir",
        "1:23: unknown property `wir`, did you mean `wire`?",
    ),
    // Not text.
    (
        "send\0file",
        "1:5: found a NUL byte: this is a binary file; a scenario is plain text",
    ),
    (
        "# \u{1b}[2J\nwait 1s",
        "1:3: found the control character U+001B; a scenario is plain text",
    ),
    (
        "wait 1s\rwait 1s",
        "1:8: found the control character U+000D",
    ),
];

#[test]
fn errors_say_where_what_and_what_instead() {
    let mut wrong = String::new();
    for (text, expected) in ERRORS.iter().chain(rules::ERRORS) {
        let found = match parse("dir/t.scn", text) {
            Ok(scenario) => format!("it was read as {scenario:?}"),
            Err(error) => error.to_string(),
        };
        if !found.starts_with(&format!("dir/t.scn:{expected}")) {
            wrong += &format!("{text:?}\n   found {found}\nexpected {expected}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
