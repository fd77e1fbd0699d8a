//! `recv --udp`: loss is counted, and a byte that is not zero is corruption.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::programs::{PATIENCE, recv};

const END_OF_3: &[u8] = b"inflight-send 1 end count=1000 bytes=3000 datagrams=3\n";

/// A sender of datagrams to this receiver.
fn socket(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn answer(socket: &UdpSocket) -> String {
    let mut bytes = [0; 1000];
    let len = socket.recv(&mut bytes).unwrap();
    String::from_utf8(bytes[..len].to_vec()).unwrap()
}

#[test]
fn a_whole_conversation() {
    let (program, address) = recv(&["--udp", "-c", "1000"]);
    let sender = socket(address);
    sender.send(b"inflight-send 1 hello count=1000\n").unwrap();
    assert_eq!(
        answer(&sender),
        "inflight-recv 1 ready bytes=0 rounds=0 count=1000 datagrams=0\n"
    );
    for _ in 0..3 {
        sender.send(&[0; 1000]).unwrap();
    }
    sender.send(END_OF_3).unwrap();
    assert_eq!(
        answer(&sender),
        "inflight-recv 1 clean bytes=3000 rounds=3 count=1000 datagrams=3\n"
    );
    let ended = program.end();
    let words = [
        "3000 bytes, 3 rounds of 1000, 3 datagrams in ",
        "none of 3 datagrams",
    ];
    ended.is(0, &words);
    assert!(!ended.stderr.contains("--count"), "{ended:?}");
}

#[test]
fn loss_is_no_corruption_and_is_counted() {
    let (program, address) = recv(&["--udp", "-c", "500"]);
    let sender = socket(address);
    sender.send(&[0; 1000]).unwrap();
    sender.send(END_OF_3).unwrap();
    // It is said until there is an answer.
    sender.send(END_OF_3).unwrap();
    assert!(answer(&sender).contains(" clean bytes=1000 rounds=2 count=500 datagrams=1"));
    let words = [
        "2 of 3 datagrams lost (66.7 %)",
        "the sender used --count 1000, this side 500",
    ];
    program.end().is(0, &words);
}

#[test]
fn the_end_may_overtake() {
    let (program, address) = recv(&["--udp", "-c", "1000"]);
    let sender = socket(address);
    sender.send(&[0; 1000]).unwrap();
    sender.send(END_OF_3).unwrap();
    sender.send(&[0; 1000]).unwrap();
    sender.send(&[0; 1000]).unwrap();
    program.end().is(0, &["none of 3 datagrams"]);
}

#[test]
fn another_byte_is_corruption() {
    for torn in [&[0, 0, 0xab][..], b"inflight-send 1 nonsense"] {
        let (program, address) = recv(&["--udp", "-c", "1000"]);
        let sender = socket(address);
        sender.send(&[0; 1000]).unwrap();
        sender.send(torn).unwrap();
        let at = torn.iter().position(|&byte| byte != 0).unwrap();
        let (byte, bytes) = (torn[at], 1000 + at);
        let said = answer(&sender);
        let expected =
            format!("corrupted bytes={bytes} rounds=1 count=1000 datagrams=2 byte={byte:#04x}");
        assert!(said.contains(&expected), "{said}");
        let ended = program.end();
        ended.is(1, &[&format!("byte {at} of round 2")]);
        assert_eq!(ended.stdout, format!("Data was corrupted: {byte:02x}.\n"));
    }
}

#[test]
fn others_may_end_by_an_empty_datagram_or_by_silence() {
    let (program, address) = recv(&["--udp", "-c", "1000"]);
    let sender = socket(address);
    sender.send(&[0; 1000]).unwrap();
    sender.send(&[]).unwrap();
    program
        .end()
        .is(0, &["1000 bytes, 1 round", "has not said how many"]);

    let (program, address) = recv(&["--udp", "-c", "1000", "--idle", "0.2"]);
    let sender = socket(address);
    sender.send(&[0; 1000]).unwrap();
    assert!(answer(&sender).contains(" clean bytes=1000 "));
    program.end().is(0, &["no datagram for 0.2 s"]);
}

#[test]
fn an_end_without_anything_before_it_is_no_verdict() {
    let (program, address) = recv(&["--udp", "-c", "1000"]);
    socket(address).send(END_OF_3).unwrap();
    program
        .end()
        .is(4, &["nothing came", "3 of 3 datagrams lost"]);
}

#[test]
fn strangers_are_not_heard() {
    let (program, address) = recv(&["--udp", "-c", "1000"]);
    let sender = socket(address);
    sender.send(&[0; 1000]).unwrap();
    let stranger = socket(address);
    stranger.send(&[7; 1000]).unwrap();
    stranger.send(&[]).unwrap();
    sender.send(&[0; 1000]).unwrap();
    sender.send(&[0; 1000]).unwrap();
    sender.send(END_OF_3).unwrap();
    program.end().is(0, &["none of 3 datagrams"]);
}

#[test]
fn it_keeps_on_and_is_through_with_whom_it_is_through() {
    let (program, address) = recv(&["--udp", "-c", "1000", "--keep"]);
    let torn = socket(address);
    torn.send(&[7]).unwrap();
    assert!(answer(&torn).contains(" corrupted "));
    // It has not heard yet that this is over.
    torn.send(&[0; 1000]).unwrap();
    torn.send(END_OF_3).unwrap();
    let clean = socket(address);
    clean.send(&[0; 1000]).unwrap();
    clean.send(&[]).unwrap();
    assert!(answer(&clean).contains(" clean bytes=1000 "));
    // Three at once, and one more for the end that was said later.
    for _ in 0..3 {
        assert!(answer(&torn).contains(" corrupted "));
    }
    // A hello is a new beginning.
    torn.send(b"inflight-send 1 hello count=1000\n").unwrap();
    assert!(answer(&torn).contains(" ready bytes=0 "));
    torn.send(&[]).unwrap();
    assert!(answer(&torn).contains(" clean "));
    torn.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    program.signal(Signal::SIGINT);
    program.end().is(1, &["3 connections, 1 corrupted"]);
}
