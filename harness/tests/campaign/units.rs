//! Units, killed, run twice, elsewhere, and put together.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use inflight::campaign::merge::progress;

use crate::common::kernels;
use crate::support::{KERNELS, PROGRAM, assert_same, inflight, merged, run, text, units, units_by};

/// The guest's kernel walks the program's path before it runs it, and what it does not know
/// of the path yet takes it time. On a node the program lies in the campaign's folder.
#[test]
fn a_unit_comes_to_the_same_wherever_the_program_lies() {
    if !kernels() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    // What the guest boots from is in the first of the two, as a rule, and so it knows the way.
    let homes = [
        tempfile::tempdir().unwrap(),
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
    ];
    let unit = |home: &tempfile::TempDir| {
        let place = home.path().join("inflight");
        fs::copy(PROGRAM, &place).unwrap();
        let out = out.path().join(home.path().file_name().unwrap());
        let outputs = units_by(&place, KERNELS[1], "8", &[1], 2, &out);
        assert_eq!(outputs[0].status.code(), Some(0), "{outputs:?}");
        merged(&out).timeless()
    };
    let [one, other] = homes.each_ref().map(unit);
    assert_same(&one, &other);
}

#[test]
fn a_unit_that_is_killed_and_one_that_runs_twice_come_to_the_same() {
    if !kernels() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let undisturbed = at("undisturbed");
    for output in units("6.12-patched", "600", &[1, 2], 2, &undisturbed) {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    // The race is found there in each of the first cases, and written at once.
    let stock = at("stock");
    let outputs = units("6.12-stock", "40", &[1], 2, &stock);
    assert_eq!(outputs[0].status.code(), Some(0), "{outputs:?}");
    let reference = merged(&stock);
    assert!(reference.found().len() > 2, "{}", reference.found().len());

    let disturbed = at("disturbed");
    let args = [
        "check",
        "--kernel",
        "6.12-stock",
        "--cases",
        "40",
        "--seed",
        "7",
        "--shrink-runs",
        "40",
        "--shard",
        "1/2",
        "--out",
        text(&disturbed),
    ];
    let mut child = inflight(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let since = Instant::now();
    while names_or_none(&disturbed.join("found")).len() < 2 {
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "nothing is found"
        );
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // It has no result, and what it has found is there.
    assert_eq!(merged(&disturbed).units().len(), 0);
    assert!(merged(&disturbed).found().len() >= 2);
    // Two at once.
    let mut twins: Vec<_> = (0..2)
        .map(|_| {
            inflight(&args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for twin in &mut twins {
        assert_eq!(twin.wait().unwrap().code(), Some(0));
    }
    assert_same(&merged(&disturbed).timeless(), &reference.timeless());

    // Put together, whatever the order, they are one campaign.
    let parts = [text(&undisturbed), text(&stock), text(&disturbed)];
    let merge = |order: [usize; 3], out: &Path| {
        let mut args = vec!["campaign", "merge", "--out", text(out)];
        args.extend(order.map(|it| parts[it]));
        run(&args)
    };
    let (one, two) = (at("one"), at("two"));
    let output = merge([0, 1, 2], &one);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    merge([2, 0, 1], &two);
    // Again, and with what was merged.
    merge([1, 2, 0], &two);
    run(&["campaign", "merge", "--out", text(&two), text(&one)]);
    for file in ["units.jsonl", "found.jsonl", "index.html"] {
        let read = |folder: &Path| fs::read_to_string(folder.join(file)).unwrap();
        assert_eq!(read(&one), read(&two), "{file}");
    }
    let all = merged(&one);
    let series = progress::series(&all);
    let told: Vec<(&str, u64, u64)> = series
        .iter()
        .map(|it| (&*it.unit.kernel, it.done, it.scenarios))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], ("6.12-patched", 2, 600));
    assert_eq!((told[1].0, told[1].1), ("6.12-stock", 1));
    // Each cause is a scenario that shows it.
    let findings = names(&one.join("findings"));
    assert!(!findings.is_empty());
    let output = run(&[
        "replay",
        text(&one.join("findings")),
        "--kernel",
        "6.12-stock",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What is there, and not only begun.
fn names_or_none(folder: &Path) -> Vec<String> {
    let mut all = match folder.is_dir() {
        true => names(folder),
        false => Vec::new(),
    };
    all.retain(|it| !it.starts_with('.'));
    all
}
