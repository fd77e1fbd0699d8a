//! A campaign on many machines: parts of it, put together, and two nodes of a real Slurm that
//! lose a node and their controller in the middle.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use inflight::campaign::merge::{Merged, progress};
use inflight::campaign::unit::store::Store;
use inflight::campaign::unit::{Done, Found};

use common::{kernels, repository};

const PROGRAM: &str = env!("CARGO_BIN_EXE_inflight");

fn inflight(args: &[&str]) -> Command {
    program(Path::new(PROGRAM), args)
}

fn run(args: &[&str]) -> Output {
    inflight(args).output().unwrap()
}

fn program(path: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(args).current_dir(repository());
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Units of a campaign, from 1 on, one after the other.
fn units(kernel: &str, cases: &str, numbers: &[u32], of: u32, out: &Path) -> Vec<Output> {
    units_by(Path::new(PROGRAM), kernel, cases, numbers, of, out)
}

fn units_by(
    path: &Path,
    kernel: &str,
    cases: &str,
    numbers: &[u32],
    of: u32,
    out: &Path,
) -> Vec<Output> {
    let unit = |number: &u32| {
        let shard = format!("{number}/{of}");
        let args = [
            "check",
            "--kernel",
            kernel,
            "--cases",
            cases,
            "--seed",
            "7",
            "--shrink-runs",
            "40",
            "--shard",
            &shard,
            "--out",
            text(out),
        ];
        program(path, &args).output().unwrap()
    };
    numbers.iter().map(unit).collect()
}

fn merged(folder: &Path) -> Merged {
    Merged::read(&Store::at(folder)).unwrap()
}

/// Fails with what one of the two has and the other has not.
fn assert_same(one: &Merged, other: &Merged) {
    let told = |it: &Merged| {
        let unit = |it: &Done| (it.unit.id(), format!("{it:#?}"));
        let found = |it: &Found| (it.id(), format!("{it:#?}"));
        let all = it.units().map(unit).chain(it.found().map(found));
        all.collect::<BTreeMap<String, String>>()
    };
    let (left, right) = (told(one), told(other));
    let mut differences = Vec::new();
    for name in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
        match (left.get(name), right.get(name)) {
            (Some(left), Some(right)) => {
                let mut lines = left.lines().zip(right.lines());
                if let Some(line) = lines.find(|(left, right)| left != right) {
                    differences.push(format!("{name}: {line:?}"));
                }
            }
            // Only the first lines: a whole history may be in it.
            (Some(it), None) => differences.push(format!("only one has {name}: {it:.2000}")),
            (None, it) => differences.push(format!("only the other has {name}: {it:.2000?}")),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(one, other);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

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

/// What is there, and not only begun.
fn names_or_none(folder: &Path) -> Vec<String> {
    let mut all = match folder.is_dir() {
        true => names(folder),
        false => Vec::new(),
    };
    all.retain(|it| !it.starts_with('.'));
    all
}

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
    let cases: [(&[&str], i32, &str); 9] = [
        (&["check", "--shard", "1/2"], 2, "--out"),
        (&["check", "--out", "x"], 2, "--shard"),
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

/// Two nodes on this machine; ends with this value.
struct Cluster {
    dir: PathBuf,
    script: PathBuf,
}

impl Cluster {
    /// `None`: there is no Slurm here, which is said.
    fn up(dir: &Path) -> Option<Cluster> {
        let cluster = Cluster {
            dir: dir.join("slurm"),
            script: repository().join("harness/tests/slurm/cluster"),
        };
        let output = Command::new(&cluster.script)
            .args(["up", text(&cluster.dir)])
            .output()
            .unwrap();
        match output.status.code() {
            Some(0) => Some(cluster),
            Some(3) => {
                let why = String::from_utf8_lossy(&output.stderr);
                common::say(&format!("skipped: {}\n", why.trim()));
                None
            }
            _ => panic!("{output:?}"),
        }
    }

    fn does(&self, command: &str, node: &str) {
        let mut args = vec![command, text(&self.dir)];
        args.extend(Some(node).filter(|it| !it.is_empty()));
        let output = Command::new(&self.script).args(args).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }

    /// A command with this cluster's configuration.
    fn sees(&self, command: &mut Command) -> Output {
        let conf = self.dir.join("slurm.conf");
        command.env("SLURM_CONF", conf).output().unwrap()
    }

    fn campaign(&self, args: &[&str]) -> Output {
        self.sees(&mut inflight(&[&["campaign"], args].concat()))
    }

    /// What is in the queue.
    fn queue(&self) -> String {
        let mut command = Command::new("squeue");
        command.args(["--noheader", "--array", "--format=%F_%K %T %r %N"]);
        let output = self.sees(&mut command);
        // While there is no controller nothing is known.
        match output.status.success() {
            true => String::from_utf8(output.stdout).unwrap(),
            false => "no controller".into(),
        }
    }

    fn scontrol(&self, args: &[&str]) {
        // A node that was not drained cannot be resumed: no failure.
        self.sees(Command::new("scontrol").args(args));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let down = Command::new(&self.script)
            .args(["down", text(&self.dir)])
            .status();
        if !thread::panicking() {
            assert!(down.unwrap().success());
        }
    }
}

/// Waits until `is` says so, up to five minutes.
fn wait_until(cluster: &Cluster, what: &str, mut is: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is() {
        let queue = cluster.queue();
        assert!(
            since.elapsed() < Duration::from_secs(300),
            "{what}: {queue}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

const KERNELS: [&str; 2] = ["6.12-patched", "6.12-stock"];
const CASES: &str = "1600";
const UNITS: u32 = 4;

#[test]
fn a_campaign_on_two_nodes_loses_one_and_the_controller_and_nothing_else() {
    if !kernels() {
        return;
    }
    // Slurm's sockets have short names.
    let dir = tempfile::Builder::new().prefix("ifl").tempdir().unwrap();
    let Some(cluster) = Cluster::up(dir.path()) else {
        return;
    };
    let campaign = dir.path().join("campaign");
    let submit = [
        "submit",
        text(&campaign),
        "--kernel",
        KERNELS[0],
        "--kernel",
        KERNELS[1],
        "--contract",
        "stable",
        "--cases",
        CASES,
        "--units",
        "4",
        "--seed",
        "7",
        "--shrink-runs",
        "40",
        "--causes",
        "3",
    ];
    let output = cluster.campaign(&submit);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let done = || merged(&campaign).units().len();
    let runs_on = |node: &str| {
        cluster
            .queue()
            .lines()
            .any(|it| it.ends_with(node) && it.contains("RUNNING"))
    };

    wait_until(&cluster, "a unit is through, and one runs on n1", || {
        done() > 0 && runs_on("n1")
    });
    cluster.does("kill-node", "n1");
    let lost = done();
    assert!(lost < 2 * UNITS as usize, "{lost} were through already");
    wait_until(&cluster, "the other node goes on", || done() > lost);
    cluster.does("kill-controller", "");
    cluster.does("start-controller", "");
    cluster.does("start-node", "n1");
    // What it lost is noticed at once, and not in two minutes.
    cluster.scontrol(&["reconfigure"]);

    // What the controller had not written down is submitted again, as a user would.
    let mut submitted = Instant::now();
    wait_until(&cluster, "all units are through", || {
        // What was launched while it had not quite ended on a node that the controller had
        // forgotten of: Slurm drains the node and holds the task, for a person to look at.
        let queue = cluster.queue();
        for line in queue.lines().filter(|it| it.contains("held")) {
            for node in ["n1", "n2"] {
                cluster.scontrol(&["update", &format!("nodename={node}"), "state=resume"]);
            }
            let task = line.split(' ').next().unwrap_or_default();
            cluster.scontrol(&["release", task]);
        }
        let is_idle = cluster.queue().is_empty();
        let all = done() >= 2 * UNITS as usize;
        if is_idle && !all && submitted.elapsed() > Duration::from_secs(5) {
            let output = cluster.campaign(&["submit", text(&campaign)]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            submitted = Instant::now();
        }
        all
    });
    let page = campaign.join("merged/index.html");
    // Should the controller have forgotten them, the last jobs are submitted again, too.
    wait_until(&cluster, "all is merged and minimized", || {
        let is_idle = cluster.queue().is_empty();
        let is_merged =
            page.is_file() && merged(&campaign.join("merged")).units().len() > 2 * UNITS as usize;
        if is_idle && !is_merged {
            cluster.campaign(&["submit", text(&campaign)]);
        }
        is_idle && is_merged
    });

    // The same, with nothing in between.
    let reference = dir.path().join("reference");
    let numbers: Vec<u32> = (1..=UNITS).collect();
    for kernel in KERNELS {
        for output in units(kernel, CASES, &numbers, UNITS, &reference) {
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
    }
    let whole = merged(&campaign.join("merged"));
    let without_smaller = |merged: &Merged| {
        let mut own = Merged::default();
        let is_own = |unit: &str| unit.starts_with("check-");
        merged
            .units()
            .filter(|it| is_own(&it.unit.id()))
            .for_each(|it| own.add(it.clone()));
        merged
            .found()
            .filter(|it| is_own(&it.unit))
            .for_each(|it| own.note(it.clone()));
        own.timeless()
    };
    assert_same(&without_smaller(&whole), &merged(&reference).timeless());
    assert!(whole.causes().iter().all(|it| it.is_expected));
    assert!(whole.causes()[0].is_settled, "{:?}", whole.causes()[0]);
    let output = cluster.campaign(&["status", text(&campaign)]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("4 of 4"), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn a_campaign_is_cancelled_and_gone_on_with() {
    if !kernels() {
        return;
    }
    let dir = tempfile::Builder::new().prefix("ifl").tempdir().unwrap();
    let Some(cluster) = Cluster::up(dir.path()) else {
        return;
    };
    let campaign = dir.path().join("campaign");
    let submit = [
        "submit",
        text(&campaign),
        "--cases",
        "2000",
        "--units",
        "4",
        "--seed",
        "9",
    ];
    let output = cluster.campaign(&[&submit[..], &["--dry-run"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(cluster.queue(), "");
    let output = cluster.campaign(&submit);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Nothing is submitted twice.
    let tasks = cluster.queue().lines().count();
    let output = cluster.campaign(&["submit", text(&campaign)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        cluster.queue().lines().count() <= tasks,
        "{}",
        cluster.queue()
    );
    // Another one is not to be mixed with it.
    let output = cluster.campaign(&["submit", text(&campaign), "--seed", "10"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let done = || merged(&campaign).units().len();
    wait_until(&cluster, "a unit is through", || done() > 0);
    let output = cluster.campaign(&["cancel", text(&campaign)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    wait_until(&cluster, "all are cancelled", || cluster.queue().is_empty());
    let before = done();
    assert!(before < 4, "{before}");
    let output = cluster.campaign(&["submit", text(&campaign)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    wait_until(&cluster, "it has gone on", || {
        done() == 4 && cluster.queue().is_empty()
    });
    let whole = merged(&campaign.join("merged"));
    let scenarios: u64 = whole.units().map(|it| it.scenarios).sum();
    assert_eq!((whole.units().len(), scenarios), (4, 2000));
}
