//! Explanations of scenarios that real kernels have run, as others read them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use inflight::kernel::tools;
use serde_json::Value;

use common::{kernels, repository, say};

fn explain(file: &Path, folder: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args(["explain", "--times", "5", "--output"])
        .args([folder, file])
        .args(more)
        .current_dir(repository())
        .output()
        .unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

#[test]
fn the_race_is_explained() {
    if !kernels() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let race = repository().join("corpus/race/race-2008.scn");
    let output = explain(&race, folder.path(), &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["reproduced"], 5);
    assert_eq!(lines[0]["violated"], "stable-on-return");
    assert_eq!(lines[1]["violated"], Value::Null);
    let files = [
        "6.12-patched-receiver.pcap",
        "6.12-patched-sender.pcap",
        "6.12-stock-receiver.pcap",
        "6.12-stock-sender.pcap",
        "report.md",
        "reproducer.c",
        "scenario.scn",
        "timeline.html",
    ];
    assert_eq!(names(folder.path()), files);
    assert_eq!(lines[0]["files"].as_array().unwrap().len(), files.len());
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let report = read("report.md");
    for words in [
        "# 6.12-stock violates stable-on-return",
        "> sendfile(2), NOTES",
        "| violates **stable-on-return** | 5 of 5 |",
        "TORN",
        "carries torn bytes",
        "packet to the receiver: SYN",
        "gcc reproducer.c && ./a.out",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
    assert!(read("timeline.html").contains("class=\"torn-bytes\""));
    // The scenario beside it replays as the report says.
    let scenario = folder.path().join("scenario.scn");
    let replay = Command::new(env!("CARGO_BIN_EXE_inflight"))
        .arg("replay")
        .arg(&scenario)
        .output()
        .unwrap();
    assert_eq!(replay.status.code(), Some(0), "{replay:?}");

    // Once more, without packets: those of before are gone.
    let unix = repository().join("corpus/race/race-unix.scn");
    let output = explain(&unix, folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(names(folder.path()), &files[4..]);
    let report = read("report.md");
    assert!(
        report.contains("none, since unix sends no packets"),
        "{report}"
    );
}

#[test]
fn what_is_not_expected_is_explained_and_is_exit_status_1() {
    if !kernels() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.scn");
    fs::write(
        &file,
        "expect stock holds\n\nsendfile 0+1\nmmap-write 0+1\n",
    )
    .unwrap();
    let to = folder.path().join("out");
    let output = explain(&file, &to, &["--kernel", "6.12-stock"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = fs::read_to_string(to.join("report.md")).unwrap();
    assert!(report.contains("# 6.12-stock violates"), "{report}");
}

#[test]
fn a_datagram_of_several_packets_is_told_as_its_fragments() {
    if !kernels() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = repository().join("corpus/udp/udp-fragments.scn");
    let output = explain(&file, folder.path(), &["-k", "6.12-patched"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = fs::read_to_string(folder.path().join("report.md")).unwrap();
    // All that the datagram carries, and nothing twice.
    for words in [
        "packet to the receiver: fragment 0+1472 ",
        "packet to the receiver: fragment 1472+1480 ",
        "packet to the receiver: fragment 2952+1144 ",
        "the first fragment of a datagram of 4096 bytes",
        "the last fragment of a datagram",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
}

#[test]
fn tshark_reads_the_packets() {
    if !kernels() || tshark_is_missing() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (file, protocol) in [
        ("corpus/race/race-ipv6.scn", "tcp"),
        ("corpus/race/race-udp4.scn", "udp"),
        ("corpus/link/tun-drop.scn", "tcp"),
        ("corpus/link/loopback-read.scn", "tcp"),
    ] {
        let output = explain(
            &repository().join(file),
            folder.path(),
            &["-k", "6.12-patched"],
        );
        assert_eq!(output.status.code(), Some(0), "{file}: {output:?}");
        for end in ["sender", "receiver"] {
            let pcap = folder.path().join(format!("6.12-patched-{end}.pcap"));
            let bad = format!("{protocol}.checksum.status == Bad || _ws.malformed");
            assert_eq!(tshark(&pcap, &bad, protocol), Vec::<f64>::new(), "{file}");
            let times = tshark(&pcap, protocol, protocol);
            assert!(!times.is_empty(), "{file}: no {protocol} at the {end}");
            assert!(times.is_sorted(), "{file}: {times:?}");
            // About the begin of the second day.
            let near = |time: &f64| (time - 86_400.0).abs() < 600.0;
            assert!(times.iter().all(near), "{file}: {times:?}");
        }
    }
    // The check of the check: a byte more or less, and tshark objects.
    let pcap = folder.path().join("6.12-patched-sender.pcap");
    let mut bytes = fs::read(&pcap).unwrap();
    // In the checksum of the first packet: behind both headers of the file and the packet's
    // own, and that of IPv4.
    bytes[24 + 16 + 20 + 16] ^= 1;
    let broken = folder.path().join("broken.pcap");
    fs::write(&broken, &bytes).unwrap();
    assert_eq!(
        tshark(&broken, "tcp.checksum.status == Bad", "tcp").len(),
        1
    );
    fs::write(&broken, &bytes[..bytes.len() - 1]).unwrap();
    assert!(!run_tshark(&broken, "tcp", "tcp").status.success());
}

fn tshark_is_missing() -> bool {
    let missing = tools::find("tshark").is_none();
    if missing {
        say(
            "skipped tshark_reads_the_packets: no tshark\n  remedy: apt-get install -y \
             --no-install-recommends tshark\n",
        );
    }
    missing
}

/// When the packets that pass a filter were seen; tshark must have nothing to say.
fn tshark(pcap: &Path, filter: &str, protocol: &str) -> Vec<f64> {
    let output = run_tshark(pcap, filter, protocol);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<&str> = (stderr.lines())
        .filter(|line| !line.starts_with("Running as user"))
        .collect();
    assert!(output.status.success() && complaints.is_empty(), "{stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn run_tshark(pcap: &Path, filter: &str, protocol: &str) -> Output {
    let pcap: PathBuf = pcap.to_owned();
    Command::new("tshark")
        .args(["-o", &format!("{protocol}.check_checksum:TRUE"), "-r"])
        .arg(pcap)
        .args(["-Y", filter, "-T", "fields", "-e", "frame.time_epoch"])
        .output()
        .unwrap()
}
