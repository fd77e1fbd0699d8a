//! What cannot be, and what is said then.

use std::fs;

use crate::support::{inflight, run, text};

#[test]
fn what_cannot_be_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "").unwrap();
    fs::create_dir_all(at("bad/units")).unwrap();
    fs::write(at("bad/units/a.json"), "{}").unwrap();
    let (file, bad, none, empty) = (at("file"), at("bad"), at("none"), at("empty"));
    let (out, new) = (at("out"), at("new"));
    fs::create_dir(&empty).unwrap();
    let cases: [(&[&str], i32, &str); 10] = [
        (&["check", "--shard", "1/2"], 2, "--out"),
        (&["check", "--out", "x"], 2, "--shard"),
        (
            &["score", "--parcels", "x", "--jobs", "1"],
            2,
            "cannot be used with '--jobs ",
        ),
        (
            &["check", "--shard", "3/2", "--out", "x"],
            2,
            "from 1/N to N/N",
        ),
        (
            &["check", "--shard", "1/2", "--out", text(&empty)],
            2,
            "--seed is needed",
        ),
        (
            &[
                "check",
                "--shard",
                "1/2",
                "--seed",
                "1",
                "--out",
                text(&file),
            ],
            3,
            "cannot make",
        ),
        (
            &["campaign", "merge", text(&none), "--out", text(&empty)],
            2,
            "no such folder",
        ),
        (
            &["campaign", "merge", text(&bad), "--out", text(&empty)],
            2,
            "units/a.json: ",
        ),
        (
            &["campaign", "merge", text(&empty), "--out", text(&out)],
            4,
            "the page: ",
        ),
        (&["campaign", "status", text(&empty)], 2, "no campaign"),
    ];
    for (args, status, said) in cases {
        let output = run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    // Who may not build says what to bring.
    let cache = at("cache");
    let args = [
        "check",
        "--shard",
        "1/2",
        "--seed",
        "1",
        "--kernel",
        "6.12-patched",
        "--out",
        text(&empty),
    ];
    let output = inflight(&args)
        .env("INFLIGHT_CACHE", &cache)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("inflight kernel import"), "{stderr}");
    let output = run(&["campaign", "submit", text(&at("a b")), "--dry-run"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("choose a folder"), "{stderr}");
    assert!(!at("a b").exists());
    let args = [
        "campaign",
        "submit",
        text(&new),
        "--mode",
        "score",
        "--mutant",
        "none",
    ];
    let output = run(&[&args[..], &["--dry-run"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--mutant none"), "{stderr}");
}

/// Also where what a part needs is missing: clap asks for nothing that an argument requires
/// beside one that it conflicts with.
#[test]
fn what_is_nothing_for_a_part_is_told() {
    type Other = (&'static [&'static str], &'static str);
    let of_check: [Other; 4] = [
        (&["--time", "1"], "'--time "),
        (&["--findings", "x"], "'--findings "),
        (&["--jobs", "1"], "'--jobs "),
        (&["--engine", "qemu"], "'--engine "),
    ];
    let of_fuzz: [Other; 3] = [
        (&["--time", "1m"], "'--time "),
        (&["--jobs", "1"], "'--jobs "),
        (&["--", "-x"], "'[OPTION]..."),
    ];
    let (shard, out, parcels) = (["--shard", "1/2"], ["--out", "x"], ["--parcels", "x"]);
    let commands = [
        ("check", vec![shard, out, parcels], &of_check[..]),
        // Its --out is not of parts alone.
        ("fuzz", vec![shard, parcels], &of_fuzz[..]),
    ];
    for (command, of_a_part, others) in commands {
        for part in of_a_part {
            for (other, name) in others {
                let args = [&[command], &part[..], other].concat();
                let output = run(&args);
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
                let said = format!("cannot be used with {name}");
                assert!(stderr.contains(&said), "{args:?}: {stderr}");
            }
        }
    }
}
