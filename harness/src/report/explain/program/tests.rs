//! Programs of scenarios, as text. `harness/tests/c_programs.rs` compiles and runs them.

use expect_test::expect_file;

use super::assemble::{mentions, without_comments};
use super::own::Own;
use super::source;
use crate::scenario::Scenario;
use crate::scenario::text::parse;

fn scenario(text: &str) -> Scenario {
    parse("test.scn", text).unwrap_or_else(|error| panic!("{error}"))
}

fn program(text: &str) -> String {
    source(&scenario(text)).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    source(&scenario(text)).unwrap_err().to_string()
}

#[test]
fn the_race_is_straight_on() {
    let text = include_str!("../../../../../corpus/race/race-2008.scn");
    expect_file!["tests/race-2008.c"].assert_eq(&program(text));
}

#[test]
fn actors_are_threads_that_take_turns() {
    let text = include_str!("../../../../../corpus/socket/zero-window.scn");
    expect_file!["tests/zero-window.c"].assert_eq(&program(text));
}

#[test]
fn what_is_in_a_pipe_is_the_programs_own_business() {
    let text = include_str!("../../../../../corpus/pipe/tee-second-send.scn");
    expect_file!["tests/tee-second-send.c"].assert_eq(&program(text));
}

#[test]
fn what_is_held_is_held_by_tc() {
    let text = include_str!("../../../../../corpus/link/hold-second-ack.scn");
    expect_file!["tests/hold-second-ack.c"].assert_eq(&program(text));
}

#[test]
fn a_call_that_would_wait_for_what_it_holds_up_is_let_go() {
    let held = program("hold data\nsendfile 0+4096\nmmap-write 0+1\na: release data\n");
    assert!(held.contains("a.done < 4"), "{held}");
    let let_go = program("hold data\nsendfile 0+4096\nmmap-write 0+1\nrelease data\n");
    assert!(!let_go.contains("hangs(&a"), "{let_go}");
    let left = program("hold ack\nsendfile 0+4096\nmmap-write 0+1\n");
    let (_, main) = left.split_once("int main").unwrap();
    assert!(
        main.contains("far parent 1: handle 3: plug release_indefinite"),
        "{left}"
    );
}

#[test]
fn of_two_senders_each_keeps_its_own_order() {
    let text = include_str!("../../../../../corpus/actors/two-senders.scn");
    expect_file!["tests/two-senders.c"].assert_eq(&program(text));
}

#[test]
fn a_connection_for_each_is_a_structure() {
    let text = include_str!("../../../../../corpus/actors/own-connections-unix.scn");
    expect_file!["tests/own-connections-unix.c"].assert_eq(&program(text));
}

#[test]
fn what_is_not_code_belongs_to_nobody() {
    let text =
        "/* the sender */ send(sender, \"the \\\" sender\", it->sender); resender(a.sender);";
    let owned = Own::Connection.text(text);
    let wanted =
        "/* the sender */ send(own->sender, \"the \\\" sender\", it->sender); resender(a.sender);";
    assert_eq!(owned, wanted);
    assert_eq!(Own::Sent.text(text), text);
}

#[test]
fn a_relay_is_a_thread() {
    let text = include_str!("../../../../../corpus/race/relay-unix.scn");
    expect_file!["tests/relay-unix.c"].assert_eq(&program(text));
}

#[test]
fn the_rest_is_read_when_whoever_else_reads_has_done_so() {
    let text = "reader paused\n\nsendfile 0+4096\nb: wait 1ms\nb: read 1\nb: mmap-write 0+1\n";
    let rest = "\twhile (b.done < 3)\n\t\tusleep(100);\n\tawait_blocked(&b, 4);\n\treceive(";
    assert!(program(text).contains(rest), "{}", program(text));
}

#[test]
fn nobody_waits_in_one_thread_for_what_it_has_yet_to_send() {
    let later = "reader paused\n\nsendfile 0+4096\nread 4096\n";
    assert!(!program(later).contains("pthread_t"));
    let before = "reader paused\n\nread 4096\nsendfile 0+4096\n";
    assert!(program(before).contains("reader_does"));
    let own = "reader paused\n\na: read 4096\nsendfile 0+4096\n";
    assert!(refused(own).contains("gives up"));
}

#[test]
fn an_empty_pipe_is_not_waited_for() {
    let empty = "if (piped.first < piped.end)";
    let behind = "pipe capacity=4096\nsplice-in 4096+1\nsplice-out 1\n";
    assert!(program(behind).contains(empty), "{}", program(behind));
    let full = "pipe capacity=4096\nsplice-in 0+1\nsplice-out 1\n";
    assert!(!program(full).contains(empty), "{}", program(full));
}

#[test]
fn an_empty_pipe_is_not_polled_for() {
    let text = "socket tcp4 nonblock poll\n\npipe capacity=4096\nvmsplice 0+1\nsplice-out 8192\n";
    let begin = "done < 8192 && piped.first < piped.end;";
    assert!(program(text).contains(begin), "{}", program(text));
}

#[test]
fn sends_by_reference_are_told_done_with() {
    let text = include_str!("../../../../../corpus/zerocopy/uring.scn");
    expect_file!["tests/uring.c"].assert_eq(&program(text));
    let both = "write 0+100\nsend-zerocopy 0+100\nuring-send-zerocopy 0+100\nawait-completions\n";
    let both = program(both);
    assert!(both.contains("await_queue();\n\tawait_ring();"), "{both}");
}

#[test]
fn a_second_write_is_known_to_be_allowed_once_all_is_told() {
    let text = "send-zerocopy 0+4096\nmmap-write 0+1\nawait-completions\nmmap-write 0+1\n";
    assert!(source(&scenario(text)).is_ok());
    // Where packets are held the wait need not have an answer.
    let held = format!("hold ack\n{text}");
    assert!(refused(&held).contains("three values"));
}

#[test]
fn nothing_is_there_that_is_not_called() {
    let simple = program("socket unix\nreader paused\n\nsendfile 0+4096\npwrite 0+4096\n");
    assert!(!simple.contains("as root"), "{simple}");
    let simple = without_comments(&simple);
    for absent in [
        "unshare",
        "run",
        "mapping",
        "pthread_t",
        "offload",
        "entering",
        "pipe",
        "set",
        "after",
    ] {
        assert!(!mentions(&simple, absent), "{absent} in\n{simple}");
    }
}

#[test]
fn a_header_cannot_end_the_comment() {
    let text = program("# Ends */ and begins /* again.\n\nsendfile 0+4096\n");
    let (comment, _) = text.split_once("\n */\n").unwrap();
    assert!(!comment.contains("*/"), "{comment}");
    assert_eq!(comment.matches("/*").count(), 1, "{comment}");
}

#[test]
fn what_is_not_in_c_is_named_as_it_stands_in_the_text() {
    let refusals = [
        "link tun\n\nsendfile 0+4096\n",
        "link data loss=10% recover=50%\n\nsendfile 0+4096\n",
        "link data loss=10%\nsocket tcp4 user-timeout=1ms\n\nsendfile 0+4096\n",
        "socket unix\n\nsend-zerocopy 0+4096\n",
        "socket vsock\nfile tmpfs size=262144\n\nsend-zerocopy 0+262144\n",
        "send-zerocopy 0+4096\nmmap-write 0+1\nmmap-write 0+1\n",
        "socket udp4 each\n\nsend-zerocopy 0+100\nb: send-zerocopy 0+100\n",
        "reader paused\n\nsendfile 0+4096\nb: read 1\nread 1\n",
        "file tmpfs size=4096 sparse\n\npipe capacity=4096\nsplice-in 0+4096\nmmap-write 0+1\nsplice-out 4096\n",
        "socket udp4 cork\nfile tmpfs size=65536\n\nsendfile 0+65536\nsendfile 0+65536\n",
        "file tmpfs size=4096 sparse\n\nsendfile 0+4096\nb: sendfile 0+4096\n",
        "pipe capacity=4096\nvmsplice 0+1\nsplice-out 1\nb: sendfile 0+1\nmmap-write 0+1\n",
        "socket udp4 sndbuf=4096\nfile tmpfs size=8192\n\nsendfile 0+8192\n",
    ]
    .map(refused)
    .join("\n");
    expect_test::expect![[r#"
        `link tun` is not in C: it takes a program between two TUN interfaces
        `recover=50%` is not in C: tc(8) gives netem no seed, and bursts would show in few runs
        `user-timeout` is not in C: a sender that gives up tells nobody, and the receiver would wait for ever
        `send-zerocopy 0+4096` is not in C: the kernel refuses it, and says so in different ways
        `send-zerocopy 0+262144` is not in C: what AF_VSOCK takes in parts has a completion for each of them
        `mmap-write 0+1` is not in C: a byte would have three values before the completion
        `send-zerocopy 0+100` is not in C: the completions of every connection would have to be counted
        `b: read 1` is not in C: two threads would read from one socket
        `splice-in 0+4096` is not in C: what is in a pipe of a hole is not the file's
        `sendfile 0+65536` is not in C: what a datagram that is refused throws away is not known
        `b: sendfile 0+4096` is not in C: of zeros it is not known who has sent them
        `mmap-write 0+1` is not in C: what is in a pipe would change during the call
        `sendfile 0+8192` is not in C: what a datagram that is refused throws away is not known"#]]
    .assert_eq(&refusals);
}
