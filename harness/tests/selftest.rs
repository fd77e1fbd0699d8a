//! The kernel's own test of the series, on kernels without and with it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use inflight::kernel::{self, ErrorKind};
use serde_json::Value;

const KERNELS: [&str; 2] = ["6.12-stock", "6.12-patched"];

fn selftest(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args(["kernel", "selftest", "--format", "json", "splice_stable"])
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .output();
    output.unwrap()
}

#[test]
fn splice_stable_fails_without_the_series_and_passes_with_it() {
    for name in KERNELS {
        let progress = kernel::progress::stderr();
        match kernel::ensure(&name.parse().unwrap(), kernel::Machine::Uml, &*progress) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Missing => {
                // Straight to the descriptor, so that a skip shows past the capture.
                let _ = fs::write("/dev/stderr", format!("skipped: {error}\n"));
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let output = selftest(&["--kernel", KERNELS[0], "--kernel", KERNELS[1]]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2, "{text}");
    for (row, kernel) in rows.iter().zip(KERNELS) {
        assert_eq!(row["kernel"], kernel);
        assert_eq!(row["verdict"], "as expected", "{row}");
    }
    // Whatever shares pages with the sender is seen to change on the stock kernel,
    // and nothing is skipped but what does not exist.
    let failures = rows[0]["failures"].as_array().unwrap();
    for case in [
        "global.sysctl",
        "splice_stable.tcp4.sendfile_mmap",
        "splice_stable.tcp6.splice_vmspliced",
        "splice_stable.udp4.splice_teed",
        "splice_stable.unix_stream.splice_pipe",
        "splice_stable.tls.splice_more",
        "closed_window.tcp4.handled_signal",
        "closed_window.tcp6.late_reader",
    ] {
        assert!(failures.contains(&case.into()), "{case} passes: {text}");
    }
    let [stock, patched] = [&rows[0], &rows[1]];
    assert_eq!(patched["failed"], 0);
    assert_eq!(
        (&stock["skipped"], &patched["skipped"]),
        (&1.into(), &1.into())
    );
    let all = |row: &Value| row["passed"].as_u64().unwrap() + row["failed"].as_u64().unwrap();
    assert_eq!(all(stock), all(patched));
}
