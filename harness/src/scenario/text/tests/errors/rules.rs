//! What cannot run as it is written.

/// Text, then place and message.
pub const ERRORS: &[(&str, &str)] = &[
    ("", "1:1: no operation: a scenario has at least one"),
    (
        "# only prose\n\nsocket tcp4\n",
        "3:1: no operation: a scenario has at least one",
    ),
    (
        "link data loss=50%\nsendfile 0+1",
        "1:16: found `50%`: at most 20%: with more, a retransmission is likely to be lost again",
    ),
    (
        "link data duplicate=51%\nsendfile 0+1",
        "1:21: found `51%`: at most 50%",
    ),
    (
        "link data delay=3s\nsendfile 0+1",
        "1:17: found `3s`: at most 2s, so that",
    ),
    (
        "link data jitter=1ms\nsendfile 0+1",
        "1:18: found `1ms`: jitter varies the delay",
    ),
    (
        "link data reorder=1%\nsendfile 0+1",
        "1:19: found `1%`: a reordered packet is one that skips the delay",
    ),
    (
        "link data rate=1kbit\nsendfile 0+1",
        "1:16: found `1kbit`: between 1mbit and 100gbit",
    ),
    (
        "link data limit=100001\nsendfile 0+1",
        "1:17: found `100001`: at most 100000 packets",
    ),
    (
        "socket tcp4 rcvbuf=1\nsendfile 0+1",
        "1:20: found `1`: between 2304 and 4194304 bytes",
    ),
    (
        "file tmpfs size=0\nsendfile 0+1",
        "1:17: found `0`: a file has 1 to 1048576 bytes",
    ),
    (
        "file tmpfs size=1025k\nsendfile 0+1",
        "1:17: found `1025k`: a file has",
    ),
    ("sendfile 0+1\nwait 11s", "2:6: found `11s`: at most 10s"),
    (
        "sendfile 0+0",
        "1:10: found `0+0`: an operation of length 0 does nothing",
    ),
    (
        "wait 0s",
        "1:6: found `0s`: an operation of length 0 does nothing",
    ),
    (
        "sendfile 0+4294967297",
        "1:10: found `0+4294967297`: at most 4294967296 bytes",
    ),
    (
        "sendfile 3M+1",
        "1:10: found `3M+1`: an offset of at most 2097152 bytes",
    ),
    (
        "link data delay=1ms\nsocket unix\nsendfile 0+1",
        "1:1: found `link`: sockets of this family do not pass the link, so this line would do nothing",
    ),
    (
        "socket vsock\nlink ack loss=1%\nsendfile 0+1",
        "2:1: found `link`: sockets of this family do not pass the link",
    ),
    (
        "link data delay=1ms\nlink ack delay=1ms\nsocket udp6\nsendfile 0+1",
        "2:1: found `link`: a receiver of datagrams sends nothing back, so this line would do nothing",
    ),
    (
        "socket udp4 nodelay\nsendfile 0+1",
        "1:13: found `nodelay`: on sockets of this family this would do nothing",
    ),
    (
        "socket unix cork\nsendfile 0+1",
        "1:13: found `cork`: on sockets of this family this would do nothing",
    ),
    (
        "socket unix rcvbuf=4096\nsendfile 0+1",
        "1:20: found `4096`: on sockets of this family this would do nothing",
    ),
    (
        "socket vsock sndbuf=4096\nsendfile 0+1",
        "1:21: found `4096`: on sockets of this family this would do nothing",
    ),
    (
        "pwrite 4095+2",
        "1:8: found `4095+2`: a write must lie inside the file",
    ),
    (
        "b: pipe capacity=4096",
        "1:1: found `b:`: only actor `a` uses the pipes",
    ),
    (
        "socket unix\nb: sendfile 0+1",
        "2:1: found `b:`: only tcp4 and tcp6 have this",
    ),
    (
        "socket unix\nc: send 0+1",
        "2:1: found `c:`: only tcp4 and tcp6 have this",
    ),
    (
        "write 4096",
        "1:7: found `4096`, expected OFFSET+LENGTH such as 0+4096",
    ),
    (
        "socket unix\nb: send-zerocopy 0+1",
        "2:1: found `b:`: only tcp4 and tcp6 have this",
    ),
    (
        "uring-send-zerocopy 4095+2",
        "1:21: found `4095+2`: the mapping ends where the file ends",
    ),
    (
        "send-zerocopy 4096",
        "1:15: found `4096`, expected OFFSET+LENGTH such as 0+4096",
    ),
    (
        "sendfile 0+1\nawait-completions",
        "2:1: found `await-completions`: nothing completes: a `send-zerocopy` or",
    ),
    (
        "writev 4095+2",
        "1:8: found `4095+2`: the mapping ends where the file ends",
    ),
    (
        "socket udp4\nshutdown",
        "2:1: found `shutdown`: only tcp4 and tcp6 have this",
    ),
    (
        "socket ktls4 user-timeout=1s\nsendfile 0+1",
        "1:27: found `1s`: only tcp4 and tcp6 have this",
    ),
    ("b: reset", "1:1: found `b:`: only the reader can `reset`"),
    (
        "reader: wait 1s",
        "1:1: found `reader:`: the reader can only `read`, `reset`, `close` and `shutdown`",
    ),
    (
        "read 1",
        "1:6: found `1`: what the reader does needs the line `reader paused`",
    ),
    (
        "reader: shutdown",
        "1:9: found `shutdown`: what the reader does needs the line `reader paused`",
    ),
    (
        "reader paused\nclose\nread 1",
        "3:6: found `1`: the reader has closed its end already",
    ),
    (
        "reader paused relay\nsendfile 0+1\nreader: shutdown",
        "3:9: found `shutdown`: behind a `relay` the reader can only `read`",
    ),
    (
        "reader paused\nb: close",
        "2:4: found `close`: a sender closes where the reader drains",
    ),
    (
        "a: read 1",
        "1:9: found `1`: what the reader does needs the line `reader paused`",
    ),
    (
        "kill a",
        "1:6: found `a`: a signal goes to another of `a`, `b` and `c`",
    ),
    (
        "b: kill a\nb: kill a",
        "2:9: found `a`: only one operation can kill",
    ),
    (
        "b: kill a\nc: sendfile 0+1",
        "1:9: found `a`: who is killed must be the only one who sends",
    ),
    (
        "socket udp4\nb: kill a",
        "2:9: found `a`: only tcp4 and tcp6 have this",
    ),
    (
        "fork-write 0",
        "1:12: found `0`, expected OFFSET+LENGTH such as 0+4096",
    ),
    (
        "fork-write 4096+1",
        "1:12: found `4096+1`: a write must lie inside the file",
    ),
    (
        "mmap-write 0+1 third",
        "1:16: unknown key `third`, expected one of `second`",
    ),
    (
        "mmap-write 4096+1 second",
        "1:12: found `4096+1`: a write must lie inside the file",
    ),
    (
        "reader: msync",
        "1:1: found `reader:`: the reader can only `read`",
    ),
    (
        "drop-caches 1",
        "1:13: found `1`, expected the end of the line",
    ),
    (
        "file tmpfs sparse",
        "1:18: found the end of the line, expected `size=SIZE`",
    ),
    (
        "file tmpfs size=1 spars",
        "1:19: unknown key `spars`, did you mean `sparse`?",
    ),
    (
        "file tmpfs size=1 read-only read-only",
        "1:29: found a second `read-only`, expected only one in a line",
    ),
    (
        "truncate",
        "1:9: found the end of the line, expected a size in bytes such as 4096",
    ),
    (
        "truncate 2M",
        "1:10: found `2M`: a file has at most 1048576 bytes",
    ),
    (
        "reader: truncate 0",
        "1:1: found `reader:`: the reader can only `read`",
    ),
    (
        "truncate 5000\npwrite 4999+2",
        "2:8: found `4999+2`: a write must lie inside the file, or inside what a `truncate` above",
    ),
    (
        "punch 4096",
        "1:7: found `4096`, expected OFFSET+LENGTH such as 0+4096",
    ),
    (
        "punch 5+0",
        "1:7: found `5+0`: an operation of length 0 does nothing",
    ),
    (
        "reset now",
        "1:7: found `now`, expected the end of the line",
    ),
    (
        "a: signal a",
        "1:11: found `a`: a signal goes to another of `a`, `b` and `c`",
    ),
    (
        "signal reader",
        "1:8: found `reader`: a signal goes to another of `a`, `b` and `c`",
    ),
    ("signal d", "1:8: unknown actor `d`, did you mean `a`?"),
    (
        "socket tcp4 each\nsendfile 0+1",
        "1:13: found `each`: neither `b` nor `c` sends, so nobody else needs a connection",
    ),
    (
        "await b",
        "1:7: found `b`: one of `a`, `b` and `c` awaits or meets another of them",
    ),
    (
        "await reader",
        "1:7: found `reader`: one of `a`, `b` and `c` awaits or meets another of them",
    ),
    (
        "meet b",
        "1:6: found `b`: one of `a`, `b` and `c` awaits or meets another of them",
    ),
    ("meet a after=11ms", "1:14: found `11ms`: at most 10ms"),
    (
        "meet a after=0.5ns",
        "1:14: the phase `0.5ns` is too fine: it has no whole number of nanoseconds",
    ),
    (
        "link: await a",
        "1:1: found `link:`: the link can only `hold` and `release`",
    ),
    (
        "signal",
        "1:7: found the end of the line, expected an actor such as `a`",
    ),
    (
        "pipe capacity=4096\ntee 1",
        "2:5: found `1`: the pipe is empty: a `splice-in`, `sendfile-in`, `vmsplice` or `pipe-write` must come first",
    ),
    (
        "pipe capacity=4096\nsplice-in 0+1\nsplice-out 1 tee",
        "3:12: found `1`: the second pipe is empty: a `tee`, `pour` or `pipe-write tee` must come first",
    ),
    (
        "pipe capacity=4096\nvmsplice 4095+2",
        "2:10: found `4095+2`: the mapping ends where the file ends",
    ),
    (
        "vmsplice 0+1 gifted",
        "1:14: unknown key `gifted`, expected one of `gift`",
    ),
    (
        "socket tcp4 user-timeout=61s\nsendfile 0+1",
        "1:26: found `61s`: at most 60s",
    ),
    (
        "socket tcp4 send-timeout=1us\nsendfile 0+1",
        "1:26: found `1us`: the kernel counts this in whole milliseconds",
    ),
    (
        "file memfd size=4096\ndwrite 0+512",
        "2:8: found `0+512`: only files on ext4 have this: `file ext4`",
    ),
    (
        "file ext4 size=4096\ndwrite 5+512",
        "2:8: found `5+512`: what passes the page cache begins and ends at multiples of 512 bytes, inside the file",
    ),
    (
        "file ext4 size=8192\ncollapse 4096+4096",
        "2:10: found `4096+4096`: what is taken out is whole blocks of 4096 bytes, and not the end of the file",
    ),
    (
        "file ext4 size=8193\ncollapse 0+4096\ntruncate 5",
        "2:10: found `0+4096`: only one `collapse`, and no `truncate` beside it",
    ),
    (
        "file ext4 size=1000\ndwrite 512+512",
        "2:8: found `512+512`: a write must lie inside the file",
    ),
    (
        "socket tcp4 poll\nsendfile 0+1",
        "1:13: found `poll`: a call that blocks needs no poll: the same line must have `nonblock`",
    ),
    (
        "socket udp4 nonblock poll\nsendfile 0+1",
        "1:22: found `poll`: a datagram is taken whole or not at all, so there is no rest to poll for",
    ),
    (
        "socket tcp4 notsent-lowat=5M\nsendfile 0+1",
        "1:27: found `5M`: at most 4194304",
    ),
    (
        "socket tcp4 congestion=vegas\nsendfile 0+1",
        "1:24: unknown congestion control `vegas`, expected one of `reno`, `cubic`, `bbr`",
    ),
    (
        "socket tcp4 quickack=yes\nsendfile 0+1",
        "1:22: unknown value `yes`, expected one of `on`, `off`",
    ),
    (
        "socket mptcp4 congestion=reno\nsendfile 0+1",
        "1:26: found `reno`: on sockets of this family this would do nothing",
    ),
    (
        "splice-in 0+1",
        "1:11: found `0+1`: no pipe yet: a `pipe` operation must come first",
    ),
    (
        "pipe capacity=4096\nsplice-out 1",
        "2:12: found `1`: the pipe is empty: a `splice-in`, `sendfile-in`, `vmsplice` or `pipe-write` must come first",
    ),
    (
        "pipe capacity=1",
        "1:15: found `1`: between 4096 and 1048576 bytes",
    ),
];
