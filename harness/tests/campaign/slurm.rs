//! Campaigns on two nodes, which are lost, cancelled and gone on with.

use std::time::{Duration, Instant};

use inflight::campaign::merge::Merged;
use tempfile::TempDir;

use crate::cluster::{Cluster, wait_until};
use crate::common::kernels;
use crate::support::{KERNELS, assert_same, merged, text, units};

const CASES: &str = "1600";
const UNITS: u32 = 4;

/// A cluster and the folder that it lives in, which goes last; `None`, and said so, where
/// there is no Slurm, or no kernels.
fn two_nodes() -> Option<(TempDir, Cluster)> {
    if !kernels() {
        return None;
    }
    // Slurm's sockets have short names.
    let dir = tempfile::Builder::new().prefix("ifl").tempdir().unwrap();
    let cluster = Cluster::up(dir.path())?;
    Some((dir, cluster))
}

#[test]
fn a_campaign_on_two_nodes_loses_one_and_the_controller_and_nothing_else() {
    let Some((dir, cluster)) = two_nodes() else {
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
    let Some((dir, cluster)) = two_nodes() else {
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
