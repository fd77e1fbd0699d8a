//! `send --udp`: what it sends, and what it makes of the answers.

use std::net::{SocketAddr, UdpSocket};

use crate::programs::{Ended, PATIENCE, Zeros, send};

/// The other side.
struct Peer {
    socket: UdpSocket,
    address: SocketAddr,
}

impl Peer {
    fn new() -> Peer {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = socket.local_addr().unwrap();
        Peer { socket, address }
    }

    fn next(&self) -> (Vec<u8>, SocketAddr) {
        let mut bytes = vec![0; 1 << 16];
        let (len, from) = self.socket.recv_from(&mut bytes).unwrap();
        bytes.truncate(len);
        (bytes, from)
    }

    /// Answers the hello, and gives the sizes of all datagrams up to the end, and what
    /// that says.
    fn serve(&self, answer: &str) -> (Vec<usize>, String) {
        let mut sizes = Vec::new();
        loop {
            let (bytes, from) = self.next();
            let text = String::from_utf8_lossy(&bytes);
            if text.starts_with("inflight-send 1 hello ") {
                let ready = "inflight-recv 1 ready bytes=0 rounds=0 count=7 datagrams=0\n";
                self.socket.send_to(ready.as_bytes(), from).unwrap();
            } else if text.starts_with("inflight-send 1 end ") {
                self.socket.send_to(answer.as_bytes(), from).unwrap();
                return (sizes, text.into_owned());
            } else {
                sizes.push(bytes.len());
            }
        }
    }
}

const CLEAN: &str = "inflight-recv 1 clean bytes=9000 rounds=1 count=9000 datagrams=7\n";

/// One round of 9000 bytes, and its datagrams.
fn answered(args: &[&str], answer: &str) -> (Ended, Vec<usize>, String) {
    let peer = Peer::new();
    let zeros = Zeros::new(9000);
    let args = [&["--udp", "-c", "9000", "-n", "1"], args].concat();
    let program = send(&zeros, peer.address, &args);
    let (sizes, end) = peer.serve(answer);
    let ended = program.end();
    zeros.are_zeros();
    (ended, sizes, end)
}

#[test]
fn a_round_is_datagrams_that_fit_whatever_the_pages() {
    for way in [&[][..], &["--splice"]] {
        let (ended, sizes, end) = answered(way, CLEAN);
        assert_eq!(sizes, [1400, 1400, 1400, 1400, 1400, 1400, 600]);
        assert_eq!(
            end,
            "inflight-send 1 end count=9000 bytes=9000 datagrams=7\n"
        );
        ended.is(
            0,
            &[
                "none of 7 datagrams was lost",
                "1 round of 9000, 7 datagrams in ",
            ],
        );

        let large = [way, &["--datagram", "9000"]].concat();
        let (ended, sizes, _) = answered(&large, CLEAN);
        assert_eq!(sizes, [9000]);
        ended.is(0, &["1 datagram in "]);
    }
}

#[test]
fn loss_and_counts_are_said_and_are_no_fault() {
    let answer = "inflight-recv 1 clean bytes=8400 rounds=2 count=4096 datagrams=6\n";
    let (ended, ..) = answered(&[], answer);
    let words = [
        "1 of 7 datagrams lost (14.3 %)",
        "the receiver used --count 4096, this side 9000",
    ];
    ended.is(0, &words);
}

#[test]
fn corruption_seen_by_the_receiver_ends_it() {
    let peer = Peer::new();
    let zeros = Zeros::new(100);
    // It would go on for ever.
    let args = ["--udp", "-c", "100", "-i", "10"];
    let program = send(&zeros, peer.address, &args);
    let (hello, from) = peer.next();
    assert_eq!(hello, b"inflight-send 1 hello count=100\n");
    let ready = b"inflight-recv 1 ready bytes=0 rounds=0 count=100 datagrams=0\n";
    peer.socket.send_to(ready, from).unwrap();
    while peer.next().0.starts_with(b"inflight") {}
    let torn = b"inflight-recv 1 corrupted bytes=100 rounds=1 count=100 datagrams=2 byte=0xab\n";
    peer.socket.send_to(torn, from).unwrap();
    program
        .end()
        .is(1, &["saw corruption: 0xab, byte 0 of its round 2"]);
    zeros.are_zeros();
}

#[test]
fn nobody_there_is_refused() {
    let address = Peer::new().address;
    let zeros = Zeros::new(10);
    let ended = send(&zeros, address, &["--udp", "-c", "10"]).end();
    ended.is(2, &["cannot connect", "refused"]);
}

#[test]
fn who_does_not_know_our_words_is_sent_to_all_the_same() {
    let peer = Peer::new();
    let zeros = Zeros::new(10);
    let args = ["--udp", "-c", "10", "-n", "2", "--connect-timeout", "0.1"];
    let ended = send(&zeros, peer.address, &args).end();
    ended.is(0, &["no answer to the hello", "has not said what it saw"]);
    let mut zero_datagrams = 0;
    let mut ends = 0;
    // All are there already.
    peer.socket.set_nonblocking(true).unwrap();
    let mut bytes = [0; 1000];
    while let Ok(len) = peer.socket.recv(&mut bytes) {
        zero_datagrams += u32::from(len == 10);
        ends += u32::from(bytes[..len].starts_with(b"inflight-send 1 end "));
    }
    assert_eq!((zero_datagrams, ends), (2, 3));
}

#[test]
fn a_receiver_that_leaves_is_lost() {
    let peer = Peer::new();
    let address = peer.address;
    let zeros = Zeros::new(100);
    let program = send(&zeros, address, &["--udp", "-c", "100", "-i", "1"]);
    let (_, from) = peer.next();
    let ready = b"inflight-recv 1 ready bytes=0 rounds=0 count=100 datagrams=0\n";
    peer.socket.send_to(ready, from).unwrap();
    while peer.next().0.starts_with(b"inflight") {}
    drop(peer);
    program
        .end()
        .is(3, &[&format!("lost {address} after "), "refused"]);
    zeros.are_zeros();
}

#[test]
fn a_receiver_that_has_answered_and_then_is_silent_is_lost() {
    let peer = Peer::new();
    let zeros = Zeros::new(100);
    let args = ["--udp", "-c", "100", "-n", "1", "--timeout", "0.3"];
    let program = send(&zeros, peer.address, &args);
    let (_, from) = peer.next();
    let ready = b"inflight-recv 1 ready bytes=0 rounds=0 count=100 datagrams=0\n";
    peer.socket.send_to(ready, from).unwrap();
    program
        .end()
        .is(3, &["lost ", " 1 round of 100, 1 datagram: ", "--timeout"]);
}
