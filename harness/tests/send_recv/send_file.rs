//! Files that `send` cannot take.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::programs::{Program, Zeros, send_command};

const CAP_DAC_OVERRIDE: libc::c_ulong = 1;
const CAP_SYS_RESOURCE: libc::c_ulong = 24;

/// The program is started as one without this privilege, should we be root.
fn without(command: &mut Command, capability: libc::c_ulong) {
    // SAFETY: one system call, which fails without privileges: there is nothing to drop
    // then.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            Ok(())
        });
    }
}

/// A `send` of ten bytes to nobody.
fn command(file: &Path, args: &[&str]) -> Command {
    send_command(
        file,
        ([127, 0, 0, 1], 1).into(),
        &[&["-c", "10"], args].concat(),
    )
}

#[track_caller]
fn refused(mut command: Command, words: &[&str]) {
    let ended = Program::start(&mut command).end();
    ended.is(2, words);
    assert_eq!(ended.stdout, "");
}

#[test]
fn what_is_no_file_of_zeros() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    refused(
        command(&path("none"), &[]),
        &["--file ", "does not exist", "truncate -s 10 "],
    );
    refused(command(folder.path(), &[]), &["--file ", "is a directory"]);
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(command(&path("fifo"), &[]), &["--file ", "is a FIFO"]);
    refused(
        command(Path::new("/dev/zero"), &[]),
        &["--file ", "is a device"],
    );
    for (content, word) in [
        (&[][..], "is empty, fewer than --count 10"),
        (&[0; 9], "has 9 bytes, fewer than --count 10"),
        (&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0], "byte 3 is 0x07"),
        // Not a byte that we have put there: it may be worth something.
        (&[7, 0, 0, 0, 0, 0, 0, 0, 0, 0], "byte 0 is 0x07"),
    ] {
        std::fs::write(path("file"), content).unwrap();
        refused(
            command(&path("file"), &[]),
            &["--file ", word, "truncate -s 10 "],
        );
        assert_eq!(std::fs::read(path("file")).unwrap(), content);
    }
}

#[test]
fn a_file_that_must_not_be_written() {
    let zeros = Zeros::new(10);
    std::fs::set_permissions(&zeros.path, PermissionsExt::from_mode(0o400)).unwrap();
    let mut command = command(&zeros.path, &[]);
    without(&mut command, CAP_DAC_OVERRIDE);
    refused(
        command,
        &[
            "--file ",
            "opened for reading and writing",
            "ermission denied",
            "mapped",
        ],
    );
}

#[test]
fn a_pipe_over_the_limit() {
    let zeros = Zeros::new(10);
    let mut command = command(&zeros.path, &["--splice", "--pipe-size", "1073741824"]);
    without(&mut command, CAP_SYS_RESOURCE);
    refused(
        command,
        &["--pipe-size 1073741824", "/proc/sys/fs/pipe-max-size"],
    );
}

#[test]
fn options_that_belong_together() {
    let zeros = Zeros::new(10);
    refused(
        command(&zeros.path, &["--pipe-size", "4096"]),
        &["--splice"],
    );
    refused(command(&zeros.path, &["--datagram", "100"]), &["--udp"]);
    refused(command(&zeros.path, &["-n", "0"]), &["--rounds"]);
    refused(command(&zeros.path, &["--timeout", "soon"]), &["--timeout"]);
}
