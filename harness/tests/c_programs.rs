//! The C program of each scenario in corpus/ that has one: compiled with every warning an
//! error, and run in a stock and a patched kernel, where it must say what the scenario
//! expects. `INFLIGHT_PROGRAMS=FOLDER` keeps the programs to look at. Those of generated
//! scenarios are compiled only.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use inflight::kernel::tools;
use inflight::report::explain::program::{NotInC, source};
use inflight::scenario::text::{files, read_file};
use inflight::scenario::{Expected, Scenario, strategy};

use common::{kernels, repository, say};

/// How many scenarios of the corpus have a program, at least: who adds a scenario for
/// which there is none need not count, who loses one must say why.
const LEAST_PROGRAMS: usize = 137;

const KERNELS: [&str; 2] = ["6.12-stock", "6.12-patched"];

/// A scenario with its name, `race/race-2008`, and its program.
struct Candidate {
    name: String,
    scenario: Scenario,
    program: Result<String, NotInC>,
}

fn corpus() -> Vec<Candidate> {
    let dir = repository().join("corpus");
    let candidate = |path: PathBuf| {
        let scenario = read_file(&path).unwrap_or_else(|error| panic!("{error}"));
        let name = path.strip_prefix(&dir).unwrap().with_extension("");
        Candidate {
            name: name.to_str().unwrap().to_owned(),
            program: source(&scenario),
            scenario,
        }
    };
    files(&dir).unwrap().into_iter().map(candidate).collect()
}

/// What a program exits with on that kernel, by the scenario's own word.
fn expected_status(scenario: &Scenario, kernel: &str) -> i32 {
    let mut expects = scenario.expects.iter();
    match expects.find(|it| it.is_about(kernel)).map(|it| &it.verdict) {
        // A program judges bytes, and not how long a call took that returned.
        Some(Expected::Violates(what)) if what == "liveness" => 0,
        Some(Expected::Violates(_)) => 1,
        Some(Expected::Holds(_)) => 0,
        Some(Expected::Either) => panic!("what {kernel} shows is chance"),
        None => panic!("nothing is expected of {kernel}"),
    }
}

/// Whether all is there that a program needs, but for the kernels.
fn tools_are_there() -> bool {
    let missing: Vec<&str> = [
        ("gcc", "gcc"),
        ("tc", "iproute2"),
        ("mkfs.ext4", "e2fsprogs"),
    ]
    .into_iter()
    .filter(|(tool, _)| tools::find(tool).is_none())
    .map(|(_, package)| package)
    .collect();
    if !missing.is_empty() {
        let packages = missing.join(" ");
        say(&format!(
            "skipped: no C programs without {packages}: apt-get install {packages}\n"
        ));
    }
    missing.is_empty()
}

/// Compiles all of them, as many at a time as there are CPUs.
fn compile(programs: &[(String, String)], folder: &Path) {
    let rest = Mutex::new(programs.iter());
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = rest.lock().unwrap().next();
            let Some((name, text)) = next else { return };
            let file = folder.join(name).with_extension("c");
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            let output = Command::new("gcc")
                .args(["-Wall", "-Wextra", "-Werror", "-O2", "-o"])
                .arg(folder.join(name))
                .arg(&file)
                .output()
                .unwrap();
            if !output.status.success() {
                let errors = String::from_utf8_lossy(&output.stderr).into_owned();
                failed.lock().unwrap().push(errors);
            }
        }
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        (0..cpus).for_each(|_| drop(scope.spawn(work)));
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Runs all of them after one boot: what each has printed, and its exit status.
fn run(names: &[&str], folder: &Path, kernel: &str) -> BTreeMap<String, (String, i32)> {
    let script = "for name; do echo \"= $name\"; ./$name 2>&1; echo \"? $?\"; done";
    let output = Command::new(env!("CARGO_BIN_EXE_inflight"))
        .args(["run", "--kernel", kernel, "--timeout", "300", "--"])
        .args(["sh", "-c", script, "sh"])
        .args(names)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{kernel}: {output:?}");
    let mut results = BTreeMap::new();
    let (mut name, mut said) = (String::new(), String::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some(next) = line.strip_prefix("= ") {
            (name, said) = (next.to_owned(), String::new());
        } else if let Some(status) = line.strip_prefix("? ") {
            let status = status.trim().parse().unwrap();
            results.insert(name.clone(), (said.clone(), status));
        } else {
            said += line;
            said += "\n";
        }
    }
    results
}

/// What of the results is not as the scenarios expect it.
fn surprises(
    candidates: &[Candidate],
    results: &BTreeMap<String, (String, i32)>,
    kernel: &str,
) -> Vec<String> {
    let with_program = candidates.iter().filter(|it| it.program.is_ok());
    let surprise = |it: &Candidate| {
        let expected = expected_status(&it.scenario, kernel);
        match results.get(&it.name) {
            Some((_, status)) if *status == expected => None,
            Some((said, status)) => Some(format!(
                "{} on {kernel}: exits with {status}, not {expected}\n{said}",
                it.name
            )),
            None => Some(format!("{} on {kernel} has not run", it.name)),
        }
    };
    with_program.filter_map(surprise).collect()
}

#[test]
fn programs_say_what_their_scenarios_expect() {
    let candidates = corpus();
    let mut programs = Vec::new();
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for candidate in &candidates {
        match &candidate.program {
            Ok(text) => programs.push((candidate.name.clone(), text.clone())),
            Err(not) => {
                let what = format!("{} ({})", candidate.name, not.what);
                reasons.entry(not.why).or_default().push(what);
            }
        }
    }
    let mut summary = format!(
        "{} of {} scenarios of the corpus have a C program\n",
        programs.len(),
        candidates.len()
    );
    for (why, names) in &reasons {
        summary += &format!("  {:3} without: {why}: {}\n", names.len(), names.join(", "));
    }
    say(&summary);
    assert!(programs.len() >= LEAST_PROGRAMS, "{summary}");
    if !tools_are_there() || !kernels() {
        return;
    }
    let own = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let kept = std::env::var_os("INFLIGHT_PROGRAMS").map(PathBuf::from);
    let folder = kept.as_deref().unwrap_or(own.path());
    compile(&programs, folder);
    let names: Vec<&str> = programs.iter().map(|(name, _)| name.as_str()).collect();
    let results = thread::scope(|scope| {
        let runs = KERNELS.map(|kernel| {
            let names = &names;
            scope.spawn(move || run(names, folder, kernel))
        });
        runs.map(|it| it.join().unwrap())
    });
    let mut wrong = Vec::new();
    for (kernel, results) in KERNELS.iter().zip(&results) {
        wrong.extend(surprises(&candidates, results, kernel));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn programs_of_generated_scenarios_compile() {
    const CASES: u64 = 200;
    if !tools_are_there() {
        return;
    }
    let program = |index: u64| {
        let text = source(&strategy::case(2008, index)).ok()?;
        Some((format!("case-{index}"), text))
    };
    let programs: Vec<(String, String)> = (0..CASES).filter_map(program).collect();
    assert!(programs.len() as u64 > CASES / 3, "{}", programs.len());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compile(&programs, folder.path());
}

#[test]
fn a_program_that_says_something_else_is_heard() {
    let candidates = corpus();
    let kernel = KERNELS[0];
    let mut results: BTreeMap<String, (String, i32)> = candidates
        .iter()
        .map(|it| {
            let status = expected_status(&it.scenario, kernel);
            (it.name.clone(), (String::new(), status))
        })
        .collect();
    assert!(surprises(&candidates, &results, kernel).is_empty());
    results.insert("race/race-2008".into(), ("nothing torn\n".into(), 0));
    results.remove("race/late-write");
    let surprises = surprises(&candidates, &results, kernel).join("\n");
    let wrong = "race/race-2008 on 6.12-stock: exits with 0, not 1\nnothing torn\n";
    assert!(surprises.contains(wrong), "{surprises}");
    let absent = "race/late-write on 6.12-stock has not run";
    assert!(surprises.contains(absent), "{surprises}");
}
