//! `recv` over TCP: what it makes of bytes that are fixed.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::SockRef;

use crate::programs::{PATIENCE, Program, recv};

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends this and no more; what it is answered.
fn answer_to(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn torn_at(at: usize) -> Vec<u8> {
    let mut bytes = vec![0; at + 100];
    bytes[at] = 0xab;
    bytes
}

#[test]
fn zeros_are_clean() {
    let (program, address) = recv(&["-c", "4096"]);
    assert_eq!(
        answer_to(address, &[0; 8192]),
        "inflight-recv 1 clean bytes=8192 rounds=2 count=4096\n"
    );
    let ended = program.end();
    ended.is(
        0,
        &[
            "8192 bytes, 2 rounds of 4096 in ",
            " MB/s, ",
            " rounds/s",
            "all zero",
        ],
    );
    assert_eq!(ended.stdout, "");
    assert!(!ended.stderr.contains("last round"), "{ended:?}");
}

#[test]
fn one_other_byte_is_corruption_and_both_sides_say_where() {
    let (program, address) = recv(&["-c", "4096"]);
    assert_eq!(
        answer_to(address, &torn_at(5000)),
        "inflight-recv 1 corrupted bytes=5000 rounds=1 count=4096 byte=0xab\n"
    );
    let ended = program.end();
    ended.is(1, &["byte 904 of round 2"]);
    assert_eq!(ended.stdout, "Data was corrupted: ab.\n");
}

#[test]
fn a_sender_that_goes_on_gets_the_answer_all_the_same() {
    let (program, address) = recv(&["-c", "10"]);
    let mut stream = connect(address);
    // Far more than the receiver's queue holds: had it closed without reading on, the
    // connection would be reset under us.
    stream.write_all(&torn_at(5)).unwrap();
    for _ in 0..100 {
        stream.write_all(&[0; 100_000]).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" corrupted bytes=5 "), "{answer}");
    program.end().is(1, &[]);
}

#[test]
fn a_round_that_is_not_whole_is_said() {
    let (program, address) = recv(&["-c", "4096"]);
    let answer = answer_to(address, &[0; 5000]);
    assert!(answer.contains(" clean bytes=5000 "), "{answer}");
    program
        .end()
        .is(0, &["the last round has 904 bytes of 4096", "--count"]);
}

#[test]
fn nothing_is_no_verdict() {
    let (program, address) = recv(&["-c", "4096"]);
    let answer = answer_to(address, &[]);
    assert!(answer.contains(" clean bytes=0 "), "{answer}");
    program.end().is(4, &["nothing came from 127.0.0.1:"]);
}

#[test]
fn a_sender_that_resets_is_lost() {
    let (program, address) = recv(&["-c", "4096"]);
    let mut stream = connect(address);
    stream.write_all(&[0; 4096]).unwrap();
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    let from = stream.local_addr().unwrap();
    drop(stream);
    let lost = format!("recv: lost {from} after ");
    program
        .end()
        .is(3, &[&lost, " of 4096, all zero: Connection reset"]);
}

#[test]
fn it_keeps_on_and_one_corrupted_connection_decides() {
    let (program, address) = recv(&["-c", "10", "--keep"]);
    assert!(answer_to(address, &torn_at(0)).contains(" corrupted "));
    assert!(answer_to(address, &[0; 10]).contains(" clean "));
    program.signal(Signal::SIGINT);
    let ended = program.end();
    ended.is(1, &["2 connections, 1 corrupted"]);
    assert_eq!(ended.stdout, "Data was corrupted: ab.\n");
}

#[test]
fn it_keeps_on_and_ctrl_c_is_the_end() {
    let (program, address) = recv(&["-c", "10", "--keep"]);
    for _ in 0..3 {
        assert!(answer_to(address, &[0; 10]).contains(" clean "));
    }
    program.signal(Signal::SIGTERM);
    program.end().is(130, &["3 connections, 0 corrupted"]);
}

#[test]
fn ctrl_c_says_what_there_was_to_both_sides() {
    let (mut program, address) = recv(&["-c", "4096", "--progress"]);
    let mut stream = connect(address);
    stream.write_all(&[0; 5000]).unwrap();
    // Once a second.
    program.says(" s: ");
    program.says("; 5000 bytes, 1 round of 4096");
    program.signal(Signal::SIGINT);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" stopped bytes=5000 "), "{answer}");
    drop(stream);
    program
        .end()
        .is(130, &["stopped after 1 rounds", "all zero"]);
}

#[test]
fn ctrl_c_ends_it_before_anybody_came() {
    let (program, _) = recv(&["-c", "4096"]);
    program.signal(Signal::SIGINT);
    program.end().is(130, &[]);
}

#[test]
fn it_listens_on_names_and_on_ipv6() {
    for (host, shown) in [("localhost", ""), ("::1", "::1 "), ("[::1]", "::1 ")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inflight"));
        command.args(["recv", "-a", host, "-p", "0", "-c", "1"]);
        if shown == "::1 " && std::net::TcpListener::bind(("::1", 0)).is_err() {
            crate::common::say("skipped: no IPv6 here\n");
            continue;
        }
        let mut program = Program::start(&mut command);
        program.says(&format!("Listening on {shown}"));
        program.signal(Signal::SIGINT);
        program.end().is(130, &[]);
    }
}

#[test]
fn where_it_cannot_listen_is_said() {
    for (host, word) in [
        ("192.0.2.99", "192.0.2.99 port 0"),
        ("no-such-host.invalid", "no-such-host.invalid"),
        ("fe80::1%no-such0", "no-such0"),
        ("127.0.0.1:80", "port"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recv"));
        command.args(["-a", host, "-p", "0", "-c", "1"]);
        let ended = Program::start(&mut command).end();
        ended.is(2, &[word]);
        assert_eq!(ended.stdout, "");
    }
}
