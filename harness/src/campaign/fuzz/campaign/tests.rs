//! Targets here are shell scripts that talk like one.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::slot::log_of;
use super::*;
use crate::campaign::fuzz::{page, run};
use crate::kernel::{Kernel, KernelName};
use crate::oracle::Contract;

pub(super) struct Fixture {
    dir: tempfile::TempDir,
    pub plan: Plan,
}

impl Fixture {
    /// A campaign whose target does what `script` says; `$corpus` and `$INFLIGHT_FINDINGS`
    /// are its folders, `$seed` and `$runs` what it is told.
    pub fn new(script: &str) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("target");
        let prelude = "#!/bin/sh\ncorpus=$1\nfor word in \"$@\"; do case $word in\n\
                       -seed=*) seed=${word#*=} ;; -runs=*) runs=${word#*=} ;;\n\
                       -artifact_prefix=*) artifacts=${word#*=} ;; esac; done\n";
        fs::write(&program, format!("{prelude}{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let plan = Plan {
            kernel: Kernel {
                name: "6.12-stock-kcov".parse::<KernelName>().unwrap(),
                machine: crate::kernel::Machine::Uml,
                image: "/nonexistent".into(),
                release: "6.12".into(),
                key: String::new(),
            },
            contract: Contract::Documented,
            jobs: 1,
            seed: 7,
            time: None,
            runs: Some(100),
            inputs: Vec::new(),
            program,
            arguments: Vec::new(),
            shrink_runs: 10,
        };
        Fixture { dir, plan }
    }

    pub fn folder(&self) -> Folder {
        Folder::open(&self.dir.path().join("out")).unwrap()
    }

    fn run_in(&self, folder: &Folder) -> Result<Status, Error> {
        let name = self.plan.kernel.name.to_string();
        let status = Status::resume(folder.root(), &name, self.plan.contract).unwrap();
        run(&self.plan, folder, status, &|| false, &mut |_| {})
    }

    fn run(&self) -> Result<Status, Error> {
        self.run_in(&self.folder())
    }
}

const DONE: &str = "printf '#%s\\tDONE   ft: 30 corp: 2/9b exec/s: 9\\n' $runs";

#[test]
fn who_has_run_enough_is_done_and_the_totals_go_on() {
    let mut it = Fixture::new(&format!("echo x >\"$corpus/$seed\"; {DONE}"));
    it.plan.jobs = 2;
    let status = it.run().unwrap();
    assert_eq!((status.executions, status.features), (100, 30));
    assert_eq!((status.restarts, status.sessions), (0, 1));
    assert_eq!(status.corpus_files, 2);
    assert!(!status.is_running);
    let status = it.run().unwrap();
    assert_eq!((status.executions, status.sessions), (200, 2));
    let root = it.dir.path().join("out");
    let page = fs::read_to_string(root.join(page::FILE)).unwrap();
    assert!(page.contains("Session 2"), "{page}");
    let log = fs::read_to_string(root.join(log_of(1))).unwrap();
    assert_eq!(log.matches("DONE").count(), 2, "{log}");
}

#[test]
fn a_kernel_that_dies_is_started_again_with_what_is_left_to_run() {
    // The first one dies after 60 of 100.
    let it = Fixture::new(&format!(
        "if [ $runs = 100 ]; then\n\
         printf '#60\\tNEW    ft: 3 corp: 1/1b exec/s: 1\\n'\n\
         printf 'sendfile 0+1\\n' >\"$corpus/a\"; printf 'sendfile 0+2\\n' >\"$corpus/b\"\n\
         printf 'sendfile 0+1\\n' >\"${{artifacts}}crash-1\"; echo BUG >\"${{artifacts}}crash-1.log\"\n\
         echo \"Test unit written to ${{artifacts}}crash-1\"; exit 70; fi\n{DONE}"
    ));
    let folder = it.folder();
    let status = it.run_in(&folder).unwrap();
    assert_eq!(
        (status.executions, status.restarts, status.deaths),
        (100, 1, 1)
    );
    assert!(status.failures.is_empty(), "{:?}", status.failures);
    // What it died of is in the corpus no more.
    assert!(!folder.corpus().join("a").exists() && folder.corpus().join("b").exists());
    assert!(folder.artifacts().join("corpus-a").exists());
}

#[test]
fn a_target_that_runs_nothing_ends_it_with_its_last_words() {
    let it = Fixture::new("echo 'error: no such thing' >&2; exit 2");
    let error = it.run().unwrap_err().to_string();
    assert!(error.contains("error: no such thing"), "{error}");
    assert!(error.contains("exit status: 2"), "{error}");
}

#[test]
fn what_goes_wrong_after_inputs_have_run_is_told_and_gone_on_from() {
    let it = Fixture::new(&format!(
        "if [ $runs = 100 ]; then printf '#60\\tNEW    ft: 3\\n'; echo oops; exit 77; fi\n{DONE}"
    ));
    let status = it.run().unwrap();
    assert_eq!(status.executions, 100);
    assert_eq!(status.failures, ["worker 1: exit status: 77: oops"]);
}

#[test]
fn counts_add_up_over_targets() {
    let counted = r#"{"inputs":50,"excused":{"late-syn":2},"violations":{"wire":1}}"#;
    let mut it = Fixture::new(&format!("echo 'inflight-counted {counted}'; exit 179"));
    it.plan.runs = Some(100);
    let status = it.run().unwrap();
    assert_eq!((status.executions, status.restarts), (100, 2));
    assert_eq!(status.excused.values().sum::<u64>(), 4);
    assert_eq!(status.violations.values().sum::<u64>(), 2);
    assert!(status.failures.is_empty(), "{:?}", status.failures);
}

#[test]
fn a_target_that_does_not_end_is_ended_with_the_campaign() {
    let mut it =
        Fixture::new("echo $$ >\"$corpus/pid\"; printf '#1\\tNEW    ft: 3\\n'; exec sleep 1000");
    it.plan.runs = None;
    let folder = it.folder();
    let status = Status::resume(folder.root(), "6.12-stock-kcov", Contract::Documented).unwrap();
    let heard = Cell::new(0);
    let interrupted = || heard.get() > 0;
    let mut hear = |status: &Status| {
        if status.executions > 0 {
            heard.set(1);
        }
    };
    let status = run(&it.plan, &folder, status, &interrupted, &mut hear).unwrap();
    assert_eq!(status.executions, 1);
    let pid = fs::read_to_string(folder.corpus().join("pid")).unwrap();
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn a_target_that_cannot_be_started_stops_no_other() {
    // The second one, whose seed is the next one, never comes to run anything.
    let mut it = Fixture::new(&format!(
        "if [ $seed != 8 ]; then echo 'no memory'; exit 2; fi\n\
         printf '#1\\tNEW    ft: 3\\n'; sleep 5; {DONE}"
    ));
    it.plan.jobs = 2;
    it.plan.time = Some(Duration::from_secs(8));
    let status = it.run().unwrap();
    assert_eq!(status.executions, 50);
    // Three within the first seconds, and it is waited longer each time.
    assert!((3..6).contains(&status.workers[1].restarts), "{status:?}");
    assert!(status.failures[0].contains("worker 2: exit status: 2: no memory"));
}

#[test]
fn a_kernel_that_dies_of_each_first_input_uses_them_up() {
    let mut it = Fixture::new(
        "echo 'sendfile 0+1' >\"${artifacts}crash-1\"\n\
         echo \"Test unit written to ${artifacts}crash-1\"; exit 70",
    );
    it.plan.runs = Some(2);
    let status = it.run().unwrap();
    assert_eq!((status.executions, status.deaths), (2, 2));
}

#[test]
fn who_ends_early_is_started_again() {
    let mut it = Fixture::new("printf '#40\\tDONE   ft: 30 corp: 2/9b exec/s: 9\\n'");
    it.plan.runs = Some(80);
    let status = it.run().unwrap();
    assert_eq!((status.executions, status.restarts), (80, 1));
    assert!(status.failures.is_empty(), "{:?}", status.failures);
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let it = Fixture::new(DONE);
    let folder = it.folder();
    fs::write(folder.seen().join("wire-1-a.json"), "{").unwrap();
    let status = it.run_in(&folder).unwrap();
    assert_eq!((status.executions, status.unreadable), (100, 1));
    let [failure] = &status.failures[..] else {
        panic!("{:?}", status.failures);
    };
    assert!(failure.contains("wire-1-a.json"), "{failure}");
    // Who has removed it goes on with a clean slate.
    fs::remove_file(folder.seen().join("wire-1-a.json")).unwrap();
    assert_eq!(it.run_in(&folder).unwrap().unreadable, 0);
}
