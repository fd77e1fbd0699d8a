//! Bad input gets a clear message and the right exit status, before anything is
//! built or booted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A directory to run in, with a cache of its own that stays empty.
struct Desk {
    dir: TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_inflight"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("INFLIGHT_CACHE", self.dir.path().join("cache"));
        command
    }

    fn inflight(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Exit status 2, nothing on standard output, and every word on standard error.
    #[track_caller]
    fn refuses(&self, args: &[&str], words: &[&str]) {
        let output = self.inflight(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
        for word in words {
            assert!(stderr.contains(word), "{args:?}: no `{word}` in: {stderr}");
        }
        let cache: &Path = &self.dir.path().join("cache/kernels");
        assert!(!cache.exists(), "{args:?} started to build");
    }
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let desk = Desk::new();
    fs::create_dir(desk.dir.path().join("own")).unwrap();
    desk.refuses(
        &["score", "--mutant", "dirty-pip"],
        &["--mutant dirty-pip", "dirty-pipe,"],
    );
    desk.refuses(
        &["score", "--series", "6.11"],
        &["--series 6.11", "6.1", "6.12", "7.3"],
    );
    desk.refuses(&["score", "--corpus", "own"], &["--corpus", "--mode fuzz"]);
    desk.refuses(&["score", "--target", "x"], &["--target", "--mode fuzz"]);
    let fuzz = ["score", "--mode", "fuzz", "--corpus", "none"];
    desk.refuses(&fuzz, &["--corpus none", "No such file"]);
    desk.refuses(
        &["score", "--time-per-mutant", "0s"],
        &["--time-per-mutant", "90s"],
    );
    desk.refuses(&["score", "--seeds", "0"], &["--seeds", "1.."]);
    let own = ["score", "--mutant-dir", "own"];
    desk.refuses(&own, &["--mutant-dir own", "6.12"]);
    desk.refuses(
        &["score", "--mutant-dir", "none"],
        &["none", "No such file"],
    );
    desk.write("own/x.patch", "Applies-to: 6.12\nProperty: wires\n---\n");
    desk.refuses(&own, &["own/x.patch", "no file is changed in it"]);
    desk.write(
        "own/x.patch",
        "Applies-to: 6.12\nProperty: wires\n---\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
    );
    desk.refuses(
        &own,
        &["own/x.patch:2:11: no property `wires`", "stable-on-return"],
    );
}

#[test]
fn a_judge_that_fails_calls_no_commit_bad() {
    let desk = Desk::new();
    desk.write("race.scn", "sendfile 0+1\nmmap-write 0+1\n");
    let judge = |args: &[&str], cache: &str, status: i32, word: &str| {
        let mut command = desk.command(&[&["bisect"], args].concat());
        let output = command.env("INFLIGHT_CACHE", cache).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
        assert!(stderr.contains(word), "{args:?}: no `{word}` in: {stderr}");
    };
    // 255 ends the search, which less than 128 does not.
    for (args, word) in [
        (["none.scn", "--judge", "tree:."], "none.scn"),
        (["race.scn", "--judge", "tree:nowhere"], "tree:nowhere"),
        (["race.scn", "--judge", "tree:race.scn"], "tree:race.scn"),
        (["race.scn", "--judge", "6.12-stok"], "did you mean"),
        (["race.scn", "--judge=tree:.", "--propperty"], "--propperty"),
    ] {
        judge(&args, "cache", 255, word);
    }
    let args = ["race.scn", "--judge", "tree:."];
    judge(&args, "with blank", 255, "INFLIGHT_CACHE");
    // A commit without a kernel in it, as some merged histories have, is passed over.
    judge(&args, "cache", 125, "no Makefile");
}

#[test]
fn selftests_that_are_none() {
    let desk = Desk::new();
    let selftest = |rest: &[&'static str]| [&["kernel", "selftest"], rest].concat();
    desk.refuses(
        &selftest(&["splice-stable"]),
        &["splice-stable", "did you mean `splice_stable`?"],
    );
    desk.refuses(
        &selftest(&["nonesuch"]),
        &["no test `nonesuch`; there are splice_stable, "],
    );
    desk.refuses(
        &selftest(&["--kernel", "6.12-stok"]),
        &["--kernel", "`6.12-stock`?"],
    );
    desk.refuses(&selftest(&["--jobs", "0"]), &["--jobs"]);
}

#[test]
fn scenarios_that_are_none() {
    let desk = Desk::new();
    let cases: [(&str, &[u8], &[&str]); 8] = [
        (
            "op.scn",
            b"sendfile 0+1\nsendfiel 0+4096\n",
            &["op.scn:2:1:", "sendfiel", "sendfile"],
        ),
        ("size.scn", b"file tmpfs size=-1\n", &["size.scn:1:", "-1"]),
        ("unit.scn", b"link data delay=20\n", &["unit.scn:1:", "ms"]),
        (
            "late.scn",
            b"sendfile 0+1\nsocket tcp6\n",
            &["late.scn:2:1:"],
        ),
        (
            "key.scn",
            b"link data dealy=1ms\n",
            &["key.scn:1:11:", "delay"],
        ),
        (
            "huge.scn",
            b"sendfile 0+99999999999999999999\n",
            &["huge.scn:1:"],
        ),
        (
            "binary.scn",
            b"\x7fELF\x02\x01\x01\0\0\0\0",
            &["binary.scn:1:"],
        ),
        ("latin.scn", b"# caf\xe9\nsendfile 0+1\n", &["latin.scn:1:"]),
    ];
    for (name, text, words) in cases {
        desk.write(name, text);
        desk.refuses(&["replay", name], words);
        desk.refuses(&["minimize", name], words);
        let bisect = [
            "bisect",
            name,
            "--good",
            "6.12-patched",
            "--bad",
            "6.12-stock",
        ];
        desk.refuses(&bisect, words);
        desk.refuses(&["explain", name], words);
    }
    assert!(!desk.dir.path().join("explained").exists());
}

#[test]
fn coverage_of_what_cannot_be() {
    let desk = Desk::new();
    desk.write("race.scn", "sendfile 0+1\nmmap-write 0+1\n");
    desk.write("bad.scn", "sendfil 0+1\n");
    desk.write("notes.pcs", "603e4132\n");
    let table: [(&[&str], &[&str]); 5] = [
        (&["coverage"], &["nothing to run", "corpus/"]),
        (&["coverage", "bad.scn"], &["bad.scn:1:1"]),
        (
            &["coverage", "--pcs", "notes.pcs"],
            &["notes.pcs:1: not a file"],
        ),
        (
            &["coverage", "--pcs", "missing.pcs"],
            &["cannot read missing.pcs"],
        ),
        (
            &["coverage", "race.scn", "--kernel", "tree:/x"],
            &["tree:/x counts none of its code"],
        ),
    ];
    for (args, words) in table {
        desk.refuses(args, words);
    }
}

#[test]
fn a_folder_for_an_explanation_that_is_somebody_elses() {
    let desk = Desk::new();
    desk.write("race.scn", "sendfile 0+1\nmmap-write 0+1\n");
    for name in ["report.md", "6.12-stock-sender.pcap"] {
        let folder = desk.dir.path().join(format!("mine-{name}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(name), "mine").unwrap();
        let output = folder.to_str().unwrap();
        let words = ["--output", name, "is not of an earlier explanation"];
        desk.refuses(&["explain", "race.scn", "--output", output], &words);
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "mine");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
    let words = ["--output", "race.scn"];
    desk.refuses(&["explain", "race.scn", "--output", "race.scn"], &words);
}

#[test]
fn files_that_cannot_be_read() {
    let desk = Desk::new();
    desk.refuses(&["replay", "missing.scn"], &["missing.scn"]);
    fs::create_dir(desk.dir.path().join("folder")).unwrap();
    desk.refuses(&["replay", "folder"], &["folder"]);
    desk.refuses(&["minimize", "missing.scn"], &["missing.scn"]);
    desk.refuses(&["explain", "missing.scn"], &["missing.scn"]);
    // What is no scenario is left out of a folder, but not all of it can be that.
    desk.write("folder/notes.txt", "no scenario\n");
    desk.refuses(&["minimize", "folder"], &["folder: no scenarios"]);
    desk.write("folder/bad.scn", "no scenario\n");
    desk.refuses(&["minimize", "folder"], &["bad.scn:1:1:"]);
    desk.write("race.scn", "sendfile 0+1\nmmap-write 0+1\n");
    desk.refuses(
        &["minimize", "race.scn", "race.scn", "--output", "race.scn"],
        &["--output race.scn must be a folder"],
    );
}

#[test]
fn a_place_where_no_result_can_be_written() {
    let desk = Desk::new();
    desk.write("race.scn", "sendfile 0+1\nmmap-write 0+1\n");
    fs::create_dir(desk.dir.path().join("folder")).unwrap();
    desk.write("folder/race.scn", "sendfile 0+1\nmmap-write 0+1\n");
    let link = desk.dir.path().join("link.scn");
    std::os::unix::fs::symlink("nowhere", link).unwrap();
    let long = "x".repeat(250);
    // In /proc not even root may make a file.
    for (output, why) in [
        ("missing/small.scn", "No such file"),
        ("race.scn/small.scn", "Not a directory"),
        ("folder", "it is a folder"),
        ("folder/", "it is a folder"),
        ("new/", "it is a folder"),
        ("..", "it is a folder"),
        ("link.scn", "leads nowhere"),
        ("/proc/small.scn", "os error"),
        (&long, "too long"),
    ] {
        let words = ["cannot write --output", output, why];
        desk.refuses(&["minimize", "race.scn", "--output", output], &words);
    }
    for (output, why) in [
        ("race.scn", "must be a folder"),
        ("race.scn/below", "Not a directory"),
        ("link.scn", "No such file"),
        ("/proc/small", "os error"),
    ] {
        let words = ["--output", output, why];
        desk.refuses(&["minimize", "folder", "--output", output], &words);
    }
    let output = desk.dir.path();
    assert_eq!(fs::read_dir(output).unwrap().count(), 3);
}

#[test]
fn a_bisect_between_what_cannot_be() {
    let desk = Desk::new();
    desk.write("race.scn", "sendfile 0+1\nmmap-write 0+1\n");
    let bisect = |rest: &[&'static str]| [&["bisect", "race.scn"], rest].concat();
    desk.refuses(&bisect(&[]), &["--good", "--bad"]);
    desk.refuses(&bisect(&["--good", "6.12-patched"]), &["--bad"]);
    desk.refuses(
        &bisect(&["--good", "6.12-patched", "--bad", "6.12-stok"]),
        &["6.12-stok", "did you mean `6.12-stock`?"],
    );
    desk.refuses(
        &bisect(&["--good", "6.12-patched", "--bad", "7.3-stock"]),
        &["no patches between 6.12-patched and 7.3-stock"],
    );
    desk.refuses(
        &bisect(&["--tree", "nowhere", "--good", "a", "--bad", "b"]),
        &["--tree nowhere"],
    );
    desk.refuses(
        &bisect(&["--tree", ".", "--good", "v1", "--bad", "v2"]),
        &["`v1`"],
    );
    desk.refuses(
        &[
            "bisect",
            "none.scn",
            "--good",
            "6.12-stock",
            "--bad",
            "6.12-patched",
        ],
        &["none.scn"],
    );
}

#[test]
fn the_kernel_that_runs_already_is_neither_built_nor_booted() {
    let desk = Desk::new();
    desk.write("a.scn", "sendfile 0+1\n");
    for args in [
        &["kernel", "build", "host"] as &[&str],
        &["kernel", "path", "host"],
        &["kernel", "selftest", "--kernel", "host"],
        &["bench", "--kernel", "host"],
        &["fuzz", "--kernel", "host"],
    ] {
        desk.refuses(args, &["`host` runs already"]);
    }
    desk.refuses(
        &["coverage", "a.scn", "--kernel", "host"],
        &["give one of the catalog"],
    );
    for args in [
        &["kernel", "build", "--engine", "host", "6.12-stock"] as &[&str],
        &["kernel", "path", "--engine", "host", "6.12-stock"],
        &["check", "--engine", "host", "--kernel", "6.12-stock"],
        &["replay", "a.scn", "--engine", "qemu", "--kernel", "host"],
    ] {
        desk.refuses(args, &["--engine "]);
    }
}

#[test]
fn kernels_that_are_none() {
    let desk = Desk::new();
    desk.refuses(
        &["check", "--kernel", "9.9-stock"],
        &["9.9-stock", "6.12-patched"],
    );
    desk.refuses(
        &["check", "--kernel", "6.12-stok"],
        &["6.12-stok", "6.12-stock"],
    );
    desk.refuses(&["check", "--kernel", "tree:/nowhere"], &["/nowhere"]);
    let empty = desk.dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let tree = format!("tree:{}", empty.display());
    desk.refuses(&["check", "--kernel", &tree], &["empty", "Makefile"]);
    desk.refuses(&["kernel", "build", "nonsense"], &["nonsense"]);
    desk.refuses(
        &["run", "--kernel", "nonsense", "--", "true"],
        &["nonsense"],
    );
}

#[test]
fn arguments_that_make_no_sense() {
    let desk = Desk::new();
    desk.refuses(&["frobnicate"], &["frobnicate"]);
    desk.refuses(&["check", "--cases", "0"], &["--cases"]);
    desk.refuses(&["check", "--cases", "-5"], &["-5"]);
    desk.refuses(&["check", "--jobs", "0"], &["--jobs"]);
    desk.refuses(
        &["check", "--contract", "maybe"],
        &["maybe", "documented", "stable"],
    );
    desk.refuses(&["check", "--seed", "abc"], &["--seed"]);
    desk.refuses(&["check", "--format", "xml"], &["xml", "json"]);
    desk.refuses(&["replay"], &["FILE"]);
    desk.refuses(&["run", "--kernel", "6.12-stock"], &["PROG"]);
    desk.refuses(
        &["run", "--", "no-such-program-anywhere"],
        &["no-such-program-anywhere"],
    );
    // It would change the network of this machine.
    desk.refuses(&["worker", "{}"], &["guest"]);
}

#[test]
fn the_programs_of_2008_say_what_is_wrong() {
    let desk = Desk::new();
    let send = |file: &str, count: &str, words: &[&str]| {
        let args = [
            "send",
            "-a",
            "127.0.0.1",
            "-p",
            "1",
            "-f",
            file,
            "-c",
            count,
        ];
        desk.refuses(&args, words);
    };
    send("missing", "10", &["--file missing"]);
    desk.write("short", [0; 9]);
    send("short", "10", &["9 bytes", "--count 10"]);
    desk.write("full", [7; 10]);
    send("full", "10", &["not all zeros", "truncate"]);
    desk.write("zeros", [0; 10]);
    send("zeros", "0", &["--count"]);
    send("zeros", "10", &["127.0.0.1:1"]);
    let args = ["recv", "-a", "192.0.2.99", "-p", "2008", "-c", "10"];
    desk.refuses(&args, &["192.0.2.99"]);
    let args = ["recv", "-a", "[localhost]", "-p", "1", "-c", "1"];
    desk.refuses(&args, &["--address", "[localhost]"]);
}

#[test]
fn a_cache_that_cannot_be() {
    let desk = Desk::new();
    desk.write("file", "");
    desk.write("x.scn", "sendfile 0+1\n");
    // The last is no folder that even root may make.
    for (cache, status, words) in [
        ("file", 3, ["file", "INFLIGHT_CACHE"]),
        ("file/below", 3, ["below", "INFLIGHT_CACHE"]),
        ("with blank", 2, ["with blank", "INFLIGHT_CACHE"]),
        ("/proc/inflight", 3, ["/proc/inflight", "INFLIGHT_CACHE"]),
    ] {
        for args in [&["check"][..], &["replay", "x.scn"], &["run", "--", "true"]] {
            let output = desk.command(args).env("INFLIGHT_CACHE", cache).output();
            let output = output.unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
            for word in words {
                assert!(stderr.contains(word), "{args:?}: no `{word}` in: {stderr}");
            }
            // Each reason once.
            assert!(stderr.matches("os error").count() <= 1, "{stderr}");
        }
    }
    assert!(!desk.dir.path().join("with blank").exists());
}

#[test]
fn no_result_is_lost_for_a_closed_or_full_stream() {
    let desk = Desk::new();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let closed = || io::pipe().unwrap().1;

    // The exit status stays what it is without the message.
    for stream in [Stdio::from(full()), Stdio::from(closed())] {
        let mut command = desk.command(&["replay", "missing.scn"]);
        assert_eq!(command.stderr(stream).status().unwrap().code(), Some(2));
    }
    // `| head -1`: who does not read on is no error; doctor's verdict is its own.
    let verdict = desk.inflight(&["doctor"]).status.code();
    let mut command = desk.command(&["doctor"]);
    let output = command.stdout(closed()).stderr(Stdio::piped()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), verdict, "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    // A disk that is full, however, has swallowed the result.
    let mut command = desk.command(&["doctor"]);
    let output = command.stdout(full()).stderr(Stdio::piped()).output();
    let output = output.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("standard output"), "{stderr}");
}

#[test]
fn a_campaign_refuses_what_it_cannot_be_before_anything_is_built() {
    let desk = Desk::new();
    for (arguments, said) in [
        (&["--time", "0"][..], "--time"),
        (&["--time", "8x"], "8x"),
        (&["--runs", "0"], "--runs"),
        (&["--contract", "stabil"], "stabil"),
        (&["--kernel", "6.12-patchd"], "did you mean `6.12-patched`?"),
        (&["no-such-corpus"], "no-such-corpus"),
    ] {
        let output = desk.inflight(&[&["fuzz"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("building"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn help_is_no_error_and_names_every_command() {
    let desk = Desk::new();
    let output = desk.inflight(&["--help"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let help = String::from_utf8(output.stdout).unwrap();
    let commands = [
        "check", "replay", "minimize", "explain", "bisect", "coverage", "fuzz", "run", "kernel",
        "bench", "send", "recv", "doctor",
    ];
    for command in commands {
        assert!(
            help.contains(&format!("  {command} ")),
            "{command} is not in: {help}"
        );
        let output = desk.inflight(&[command, "--help"]);
        assert!(output.status.success(), "{command}: {output:?}");
    }
    assert!(!help.contains("worker"), "{help}");
}
