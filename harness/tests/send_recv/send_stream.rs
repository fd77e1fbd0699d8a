//! `send` over TCP: what it makes of a peer that reads and answers as is fixed here.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::{Domain, SockRef, Socket, Type};

use crate::programs::{PATIENCE, Zeros, recv, send};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn read_all(mut stream: &TcpStream) -> usize {
    let mut seen = Vec::new();
    stream.read_to_end(&mut seen).unwrap()
}

/// Three rounds of 4096 to a peer that reads them all and then answers this.
fn answered(answer: &str) -> crate::programs::Ended {
    let (listener, address) = listener();
    let zeros = Zeros::new(4096);
    let program = send(&zeros, address, &["-c", "4096", "-n", "3"]);
    let mut stream = accept(&listener);
    assert_eq!(read_all(&stream), 3 * 4096);
    stream.write_all(answer.as_bytes()).unwrap();
    drop(stream);
    let ended = program.end();
    zeros.are_zeros();
    let file = zeros.path.display();
    let said = format!("Connected to {address}.\n{file}/4096 -> {address}\n");
    assert_eq!(ended.stdout, said);
    ended
}

#[test]
fn a_receiver_that_saw_zeros() {
    let ended = answered("inflight-recv 1 clean bytes=12288 rounds=3 count=4096\n");
    let words = [
        "12288 bytes, 3 rounds of 4096 in ",
        " MB/s, ",
        " rounds/s",
        "only zeros",
    ];
    ended.is(0, &words);
    assert!(!ended.stderr.contains("--count"), "{ended:?}");
}

#[test]
fn a_receiver_that_does_not_answer_is_no_error() {
    for other in ["", "Bye.\n", "no line"] {
        answered(other).is(0, &["has not said what it saw"]);
    }
}

#[test]
fn counts_that_differ_are_said() {
    let ended = answered("inflight-recv 1 clean bytes=12288 rounds=1 count=8192\n");
    ended.is(0, &["the receiver used --count 8192, this side 4096"]);
}

#[test]
fn bytes_that_are_missing_are_a_fault() {
    let ended = answered("inflight-recv 1 clean bytes=12287 rounds=2 count=4096\n");
    ended.is(1, &["12288 bytes were sent, and the receiver saw 12287"]);
}

#[test]
fn a_receiver_that_was_stopped_has_no_verdict() {
    let ended = answered("inflight-recv 1 stopped bytes=4096 rounds=1 count=4096\n");
    ended.is(3, &["was stopped after 4096 bytes, 1 of its rounds"]);
}

#[test]
fn corruption_seen_by_the_receiver_ends_it() {
    let (listener, address) = listener();
    let zeros = Zeros::new(4096);
    // Without a number of rounds it would go on for ever.
    let program = send(&zeros, address, &["-c", "4096"]);
    let mut stream = accept(&listener);
    stream.read_exact(&mut [0; 4096]).unwrap();
    let line = b"inflight-recv 1 corrupted bytes=8201 rounds=2 count=4096 byte=0xab\n";
    stream.write_all(line).unwrap();
    read_all(&stream);
    let ended = program.end();
    ended.is(1, &["saw corruption: 0xab, byte 9 of its round 3"]);
    zeros.are_zeros();
}

#[test]
fn an_answer_is_found_though_the_connection_was_reset_after_it() {
    let (listener, address) = listener();
    let zeros = Zeros::new(1 << 20);
    let program = send(&zeros, address, &["-c", "1048576"]);
    let mut stream = accept(&listener);
    let line = b"inflight-recv 1 corrupted bytes=0 rounds=0 count=4096 byte=0xab\n";
    stream.write_all(line).unwrap();
    // Unread bytes: to close is to reset.
    drop(stream);
    program.end().is(1, &["saw corruption"]);
}

#[test]
fn a_receiver_that_resets_is_lost() {
    let (listener, address) = listener();
    let zeros = Zeros::new(4096);
    let program = send(&zeros, address, &["-c", "4096"]);
    let mut stream = accept(&listener);
    stream.read_exact(&mut vec![0; 5 * 4096]).unwrap();
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
    let lost = format!("send: lost {address} after ");
    program
        .end()
        .is(3, &[&lost, " rounds of 4096: ", "see its output"]);
    zeros.are_zeros();
}

#[test]
fn a_receiver_that_does_not_read_is_given_up() {
    let (listener, address) = listener();
    let zeros = Zeros::new(64 << 20);
    let args = ["-c", "67108864", "--timeout", "1"];
    let program = send(&zeros, address, &args);
    let _stream = accept(&listener);
    program
        .end()
        .is(3, &["lost ", " 0 rounds of 67108864", "--timeout"]);
    zeros.are_zeros();
}

#[test]
fn a_receiver_that_does_not_close_is_waited_for_and_not_for_ever() {
    let (listener, address) = listener();
    let zeros = Zeros::new(10);
    let args = ["-c", "10", "-n", "2", "--timeout", "0.5"];
    let program = send(&zeros, address, &args);
    let stream = accept(&listener);
    assert_eq!(read_all(&stream), 20);
    program.end().is(0, &["has not said what it saw"]);
}

#[test]
fn nobody_there_is_refused() {
    // Bound and not listening: nobody else gets the port.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = bound.local_addr().unwrap().as_socket().unwrap();
    let zeros = Zeros::new(10);
    let ended = send(&zeros, address, &["-c", "10"]).end();
    let words = [
        &format!("cannot connect to {address}")[..],
        "refused",
        "`recv`",
    ];
    ended.is(2, &words);
    assert_eq!(ended.stdout, "");
}

#[test]
fn who_does_not_answer_the_handshake_is_given_up() {
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    // Its queue has room for one: others are not answered until that is taken.
    let waits: Vec<_> = (0..4)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)))
        .collect();
    assert!(waits.last().unwrap().is_err(), "{waits:?}");
    let zeros = Zeros::new(10);
    let args = ["-c", "10", "--connect-timeout", "0.3"];
    send(&zeros, address, &args)
        .end()
        .is(2, &["cannot connect", "timed out"]);
}

#[test]
fn ctrl_c_between_two_rounds_leaves_zeros() {
    let (listener, address) = listener();
    let zeros = Zeros::new(10);
    let program = send(&zeros, address, &["-c", "10", "-i", "3600000"]);
    let stream = accept(&listener);
    zeros.await_stain();
    program.signal(Signal::SIGINT);
    assert_eq!(read_all(&stream), 10);
    drop(stream);
    program.end().is(130, &["10 bytes, 1 round of 10 in "]);
    zeros.are_zeros();
}

#[test]
fn ctrl_c_in_the_middle_of_a_round_leaves_zeros() {
    let (listener, address) = listener();
    let bytes = 64 << 20;
    let zeros = Zeros::new(bytes);
    for splice in [&[][..], &["--splice"]] {
        let args = [&["-c", "67108864", "--progress"], splice].concat();
        let mut program = send(&zeros, address, &args);
        let mut stream = accept(&listener);
        // It says so once a second, although nobody reads.
        program.says(" 0 rounds of 67108864");
        program.signal(Signal::SIGHUP);
        // Before that a read would let the round end as if nothing were.
        program.says("stopped; waiting for the receiver");
        let seen = read_all(&stream);
        assert!(0 < seen && seen < bytes, "{seen}");
        let line = format!("inflight-recv 1 clean bytes={seen} rounds=0 count=67108864\n");
        stream.write_all(line.as_bytes()).unwrap();
        drop(stream);
        program.end().is(130, &["only zeros, and all of them"]);
        zeros.are_zeros();
    }
}

#[test]
fn ctrl_c_twice_does_not_wait_for_the_receiver() {
    let (listener, address) = listener();
    let zeros = Zeros::new(10);
    let program = send(&zeros, address, &["-c", "10", "-n", "1", "--timeout", "0"]);
    let stream = accept(&listener);
    assert_eq!(read_all(&stream), 10);
    program.signal(Signal::SIGINT);
    program.end().is(130, &["10 bytes, 1 round"]);
    zeros.are_zeros();
}

#[test]
fn splice_sends_the_same() {
    let (listener, address) = listener();
    let zeros = Zeros::new(100_001);
    let args = ["-c", "100001", "-n", "3", "--splice", "--pipe-size", "5000"];
    let program = send(&zeros, address, &args);
    let mut stream = accept(&listener);
    assert_eq!(read_all(&stream), 300_003);
    let line = b"inflight-recv 1 clean bytes=300003 rounds=3 count=100001\n";
    stream.write_all(line).unwrap();
    drop(stream);
    program.end().is(
        0,
        &["--pipe-size 5000: the pipe holds 8192 bytes", "all of them"],
    );
}

#[test]
fn the_two_agree() {
    // What they see is the kernel's affair, and luck; that they say the same is ours.
    let (receiver, address) = recv(&["-c", "4096"]);
    let zeros = Zeros::new(4096);
    let sender = send(&zeros, address, &["-c", "4096", "-n", "100"]).end();
    let receiver = receiver.end();
    assert_eq!(sender.status, receiver.status, "{sender:?} {receiver:?}");
    assert!(matches!(sender.status, Some(0 | 1)), "{sender:?}");
    let torn = receiver.stdout == "Data was corrupted: ab.\n";
    assert_eq!(torn, sender.status == Some(1), "{receiver:?}");
    zeros.are_zeros();
}
