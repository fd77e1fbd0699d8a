//! The two programs of 2008, between two namespaces with a delay.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use inflight::guest::link::Link;
use inflight::scenario::{Family, Setup};
use nix::sched::{CloneFlags, setns};

use crate::properties::Result;

/// The first argument that makes a test program behave as `inflight`.
pub const AS_INFLIGHT: &str = "--as-inflight";

const COUNT: &str = "4096";
const PORT: &str = "2008";
const DELAY_US: u64 = 20_000;

/// Behaves as `inflight` when asked to; `None`: it was not.
pub fn as_inflight() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let program = args.next()?;
    (args.next()? == AS_INFLIGHT)
        .then(|| inflight::cli::main_from(std::iter::once(program).chain(args)))
}

/// On a stock kernel recv sees what send wrote after the return.
pub fn are_torn() -> Result {
    let [send, recv] = run("10")?;
    let said = format!("send: {send:?}\nrecv: {recv:?}");
    let corrupted = String::from_utf8_lossy(&recv.stdout) == "Data was corrupted: ab.\n";
    match (corrupted, recv.status.code()) {
        (true, Some(1)) => Ok(()),
        _ => Err(said),
    }
}

/// On a patched kernel 10,000 rounds are clean.
pub fn are_clean() -> Result {
    let [send, recv] = run("10000")?;
    let said = format!("send: {send:?}\nrecv: {recv:?}");
    let rounds = String::from_utf8_lossy(&recv.stderr).contains("10000 rounds");
    let stdout = String::from_utf8_lossy(&send.stdout);
    let greeted = stdout.contains("Connected to 192.0.2.2:2008.\n")
        && stdout.contains("/4096 -> 192.0.2.2:2008\n");
    let well = send.status.success() && recv.status.success() && recv.stdout.is_empty();
    match rounds && greeted && well {
        true => Ok(()),
        false => Err(said),
    }
}

fn run(rounds: &str) -> std::result::Result<[Output; 2], String> {
    inner(rounds).map_err(|error| error.to_string())
}

fn inner(rounds: &str) -> std::io::Result<[Output; 2]> {
    let mut link = Link::create()?;
    let mut setup = Setup::default();
    setup.data.delay_us = DELAY_US;
    setup.ack.delay_us = DELAY_US;
    link.configure(&setup, |_| false)?;
    let address = Link::receiver_address(Family::Tcp4).to_string();
    let file = std::env::temp_dir().join("zeros");
    File::create(&file)?.set_len(4096)?;

    let mut recv = inflight(&["recv", "-a", &address, "-p", PORT, "-c", COUNT])?;
    let namespace = link.receiver().fd().as_raw_fd();
    // SAFETY: setns(2) is one system call, and the descriptor stays open here
    // until the child has been started.
    unsafe {
        recv.pre_exec(move || {
            let namespace = BorrowedFd::borrow_raw(namespace);
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
            Ok(())
        })
    };
    let recv = recv.spawn()?;
    let send = loop {
        let path = file.to_string_lossy();
        let mut send = inflight(&["send", "-a", &address, "-p", PORT, "-f", &path])?;
        let output = send.args(["-c", COUNT, "-n", rounds]).output()?;
        // Until recv listens, the connection is refused; in virtual time it
        // listens before this sleep is over.
        let refused = String::from_utf8_lossy(&output.stderr).contains("refused");
        if !refused {
            break output;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Ok([send, recv.wait_with_output()?])
}

fn inflight(args: &[&str]) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg(AS_INFLIGHT)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}
