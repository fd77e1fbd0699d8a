//! What guidance is good for: how many executions it takes to reach functions that are
//! deep in the kernel, and to find bugs that were put in, guided and unguided.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, anyhow};
use serde_json::json;

use crate::campaign::fuzz::target::{self, Run};
use crate::campaign::score::{self, median};
use crate::cli::options::ensure;
use crate::cli::{Failure, Status, usage};
use crate::coverage::image::Image;
use crate::kernel::{self, Extras, Kernel, KernelName};
use crate::oracle::Property;
use crate::report::table::Table;

/// What can guide, the least first: nothing; what happened, without the kernel's code;
/// the code, without what happened; both.
const GUIDES: [&str; 4] = ["none", "state", "kernel", "all"];
/// Of these, what bugs are looked for with.
const SEEKERS: [usize; 2] = [0, 3];
/// The bugs that are looked for (kernel-patch/mutants).
const MUTANTS: [&str; 4] = ["wake-early", "short-send", "sendfile-offset", "dirty-pipe"];
/// So many functions are listed.
const LISTED: usize = 20;

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Executions a run.
    pub executions: u32,
    /// Runs, each with a seed of its own, from 1 on.
    pub seeds: u32,
    /// Runs at a time.
    pub jobs: usize,
}

/// What was seen.
pub(super) struct Guidance {
    size: Size,
    kernel: KernelName,
    /// Functions that can be reached at all, those of which any block can run.
    functions: usize,
    guides: Vec<Guide>,
}

/// What one way of guiding has reached.
struct Guide {
    name: &'static str,
    /// A run a seed: the execution that was the first to reach a function, by the
    /// function.
    reached: Vec<HashMap<usize, u32>>,
    /// A run a seed: the executions at which blocks were reached first, ascending.
    blocks: Vec<Vec<u32>>,
    /// By mutant: a run a seed, the executions up to its finding.
    found: BTreeMap<&'static str, Vec<Option<u32>>>,
}

/// One run of the target.
struct Task {
    guide: usize,
    seed: u32,
    /// `None`: the kernel itself, to see what is reached.
    mutant: Option<&'static str>,
}

/// A kernel with one of the bugs, and the properties that it breaks.
struct Mutated {
    kernel: Kernel,
    breaks: Vec<Property>,
}

/// What it came to.
enum Came {
    /// Block and execution.
    Reached(Vec<(u64, u32)>),
    Found(Option<u32>),
}

/// Runs all of it on a patched kernel of this name, and on its mutants.
pub(super) fn measure(
    name: &KernelName,
    program: &Path,
    size: Size,
    tell: impl Fn(usize, usize) + Sync,
) -> Result<(Guidance, Vec<String>), Failure> {
    let version = name.version().unwrap_or_default();
    let kernels = ensure(&[name.clone().with(Extras::Kcov)])?;
    let kernel = kernels
        .first()
        .ok_or_else(|| internal(anyhow!("no kernel to run")))?;
    let mutants = mutants(version)?;
    let tasks = tasks(size.seeds);
    let came = all(&tasks, size.jobs, &tell, |task| {
        let mutant = task.mutant.and_then(|it| mutants.get(it));
        perform(task, kernel, mutant, program, size)
    })?;
    let image = Image::read(&kernel.image).map_err(|error| internal(error.into()))?;
    let blocks = image.blocks().map_err(|error| internal(error.into()))?;
    // A block belongs to the innermost function, wherever that is inlined.
    let function_of: HashMap<u64, usize> = blocks
        .blocks
        .iter()
        .filter_map(|it| Some((it.pc, it.frames.first()?.function)))
        .collect();
    let functions: BTreeSet<usize> = function_of.values().copied().collect();
    let mut guides: Vec<Guide> = GUIDES.iter().map(|it| Guide::new(it)).collect();
    for (task, came) in tasks.iter().zip(came) {
        guides[task.guide].note(task, came, &function_of);
    }
    let names = blocks.functions.into_iter().map(|it| it.name).collect();
    let guidance = Guidance {
        size,
        kernel: kernel.name.clone(),
        functions: functions.len(),
        guides,
    };
    Ok((guidance, names))
}

/// The kernels with the bugs, by their names.
fn mutants(version: &str) -> Result<HashMap<&'static str, Mutated>, Failure> {
    let mut mutants = HashMap::new();
    for mutant in kernel::mutants(version, None)? {
        if let Some(name) = MUTANTS.into_iter().find(|it| *it == mutant.name) {
            let kernels = ensure(&[mutant.kernel.clone().with(Extras::Kcov)])?;
            let breaks = score::right(&mutant)?;
            mutants.extend(kernels.into_iter().map(|kernel| {
                (
                    name,
                    Mutated {
                        kernel,
                        breaks: breaks.clone(),
                    },
                )
            }));
        }
    }
    match MUTANTS.into_iter().find(|it| !mutants.contains_key(it)) {
        // The kernel without it would be taken for it.
        Some(absent) => Err(usage(anyhow!("no mutant {absent} for {version}"))),
        None => Ok(mutants),
    }
}

fn internal(error: anyhow::Error) -> Failure {
    Failure::new(Status::Internal, error)
}

fn tasks(seeds: u32) -> Vec<Task> {
    let mut tasks = Vec::new();
    let kernels = std::iter::once(None).chain(MUTANTS.into_iter().map(Some));
    for mutant in kernels {
        for seed in 1..=seeds {
            let seekers = |guide: &usize| mutant.is_none() || SEEKERS.contains(guide);
            for guide in (0..GUIDES.len()).filter(seekers) {
                tasks.push(Task {
                    guide,
                    seed,
                    mutant,
                });
            }
        }
    }
    tasks
}

/// Runs all tasks, so many at a time.
fn all(
    tasks: &[Task],
    jobs: usize,
    tell: &(impl Fn(usize, usize) + Sync),
    perform: impl Fn(&Task) -> Result<Came, Failure> + Sync,
) -> Result<Vec<Came>, Failure> {
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<Came, Failure>>>> =
        tasks.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some((at, task)) = {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    tasks.get(at).map(|task| (at, task))
                } {
                    let result = perform(task);
                    if result.is_err() {
                        // The others need not begin.
                        next.store(tasks.len(), Ordering::SeqCst);
                    }
                    *results[at].lock().unwrap_or_else(|it| it.into_inner()) = Some(result);
                    tell(done.fetch_add(1, Ordering::SeqCst) + 1, tasks.len());
                }
            });
        }
    });
    let results = results
        .into_iter()
        .filter_map(|it| it.into_inner().unwrap_or_else(|it| it.into_inner()));
    results.collect()
}

fn perform(
    task: &Task,
    kernel: &Kernel,
    mutant: Option<&Mutated>,
    program: &Path,
    size: Size,
) -> Result<Came, Failure> {
    let folder = target::folder().map_err(|it| Failure::new(Status::Missing, it))?;
    let (corpus, found) = (folder.path().join("corpus"), folder.path().join("found"));
    for path in [&corpus, &found] {
        fs::create_dir(path)
            .context("cannot make a folder for a corpus")
            .map_err(internal)?;
    }
    let trace = folder.path().join("found/trace");
    let run = Run {
        program,
        kernel: &mutant.map_or(kernel, |it| &it.kernel).name,
        guide: GUIDES[task.guide],
        contract: "stable",
        trace: mutant.is_none().then_some(&*trace),
    };
    let arguments = [
        corpus.display().to_string(),
        format!("-runs={}", size.executions),
        format!("-seed={}", task.seed),
        format!("-artifact_prefix={}/", found.display()),
        "-print_final_stats=1".into(),
    ];
    let sought = run.seek(&arguments).map_err(|it| internal(it.into()))?;
    match mutant {
        Some(Mutated { breaks, .. }) => {
            let found = sought.violated.is_some_and(|it| breaks.contains(&it));
            let executions = u32::try_from(sought.executions).ok();
            Ok(Came::Found(executions.filter(|_| found)))
        }
        None => {
            let text = fs::read_to_string(&trace)
                .context("cannot read a trace")
                .map_err(internal)?;
            Ok(Came::Reached(read_trace(&text).map_err(internal)?))
        }
    }
}

/// What the target has written: an execution and an address a line.
fn read_trace(text: &str) -> anyhow::Result<Vec<(u64, u32)>> {
    let line = |line: &str| {
        let (execution, address) = line.split_once(' ')?;
        let address = u64::from_str_radix(address, 16).ok()?;
        Some((address, execution.parse().ok()?))
    };
    let lines = text.lines();
    lines
        .map(|it| line(it).with_context(|| format!("not a line of a trace: {it}")))
        .collect()
}

impl Guide {
    fn new(name: &'static str) -> Guide {
        Guide {
            name,
            reached: Vec::new(),
            blocks: Vec::new(),
            found: BTreeMap::new(),
        }
    }

    fn note(&mut self, task: &Task, came: Came, function_of: &HashMap<u64, usize>) {
        match (came, task.mutant) {
            (Came::Reached(blocks), _) => {
                let mut reached = HashMap::new();
                for (block, execution) in &blocks {
                    if let Some(function) = function_of.get(block) {
                        let first = reached.entry(*function).or_insert(*execution);
                        *first = (*first).min(*execution);
                    }
                }
                self.reached.push(reached);
                let mut blocks: Vec<u32> = blocks.into_iter().map(|(_, it)| it).collect();
                blocks.sort_unstable();
                self.blocks.push(blocks);
            }
            (Came::Found(found), Some(mutant)) => {
                self.found.entry(mutant).or_default().push(found);
            }
            (Came::Found(_), None) => {}
        }
    }

    /// Over the seeds, the median number of blocks after so many executions.
    fn blocks_after(&self, executions: u32) -> usize {
        let counts = self.blocks.iter();
        let counts = counts.map(|it| it.partition_point(|at| *at <= executions));
        median(counts.map(Some)).unwrap_or_default()
    }

    /// The same of functions.
    fn functions_after(&self, executions: u32) -> usize {
        let counts = self.reached.iter();
        let counts = counts.map(|it| it.values().filter(|at| **at <= executions).count());
        median(counts.map(Some)).unwrap_or_default()
    }

    /// A run a seed: when it reached a function.
    fn reaches(&self, function: usize) -> Vec<Option<u32>> {
        let runs = self.reached.iter();
        runs.map(|it| it.get(&function).copied()).collect()
    }
}

/// How many runs came to it, and after how many executions; the median counts those that
/// did not as later than all.
fn cell(runs: &[Option<u32>]) -> String {
    let came = runs.iter().flatten().count();
    match median(runs.iter().copied()) {
        None => format!("{came} of {}", runs.len()),
        Some(at) => format!("{came} of {}, {at}", runs.len()),
    }
}

impl Guidance {
    /// Functions that not every run reaches, those first that most of the unguided ones
    /// miss; what is reached by all at once is not deep.
    fn deep(&self) -> Vec<usize> {
        let runs: Vec<_> = self.guides.iter().flat_map(|it| &it.reached).collect();
        let all: BTreeSet<usize> = runs.iter().flat_map(|it| it.keys().copied()).collect();
        let missed = |function: &usize| {
            let runs = self.guides[0].reaches(*function);
            runs.iter().filter(|it| it.is_none()).count()
        };
        let came = |function: &usize| runs.iter().filter(|it| it.contains_key(function)).count();
        let mut deep: Vec<usize> = all.into_iter().filter(|it| missed(it) > 0).collect();
        deep.sort_by_key(|it| (std::cmp::Reverse(missed(it)), std::cmp::Reverse(came(it))));
        deep
    }
}

pub(super) fn human(it: &Guidance, names: &[String]) -> String {
    let Size {
        executions, seeds, ..
    } = it.size;
    let mut headings = vec!["guided by".to_owned()];
    let steps = [executions / 8, executions / 4, executions / 2, executions];
    headings.extend(steps.map(|at| format!("blocks at {at}")));
    headings.push("functions".into());
    let mut growth = vec![headings];
    for guide in &it.guides {
        let mut row = vec![guide.name.to_owned()];
        row.extend(steps.map(|at| guide.blocks_after(at).to_string()));
        row.push(format!(
            "{} of {}",
            guide.functions_after(executions),
            it.functions
        ));
        growth.push(row);
    }
    let columns = |first: &str| {
        let guides = it.guides.iter().map(|it| it.name.to_owned());
        std::iter::once(first.to_owned()).chain(guides).collect()
    };
    let seekers = || SEEKERS.iter().map(|at| &it.guides[*at]);
    let names_of = seekers().map(|it| it.name.to_owned());
    let first = std::iter::once("mutant".to_owned());
    let mut mutants: Vec<Vec<String>> = vec![first.chain(names_of).collect()];
    for mutant in MUTANTS {
        let runs = seekers().map(|guide| {
            let runs = guide.found.get(mutant).map(Vec::as_slice);
            cell(runs.unwrap_or_default())
        });
        mutants.push(std::iter::once(mutant.to_owned()).chain(runs).collect());
    }
    let mut functions: Vec<Vec<String>> = vec![columns("function")];
    let deep = it.deep();
    for function in deep.iter().take(LISTED) {
        let runs = it
            .guides
            .iter()
            .map(|guide| cell(&guide.reaches(*function)));
        let name = names[*function].clone();
        functions.push(std::iter::once(name).chain(runs).collect());
    }
    let [growth, mutants, functions] = [growth, mutants, functions].map(Table::of);
    format!(
        "{}: {executions} executions from an empty corpus, {seeds} seeds\n\n\
         medians of what was reached\n\n{growth}\n\
         bugs that were put in: runs that found it, executions up to then (median)\n\n{mutants}\n\
         {} functions that not every unguided run reaches, the first {}\n\n{functions}",
        it.kernel,
        deep.len(),
        deep.len().min(LISTED),
    )
}

pub(super) fn json(it: &Guidance, names: &[String]) -> serde_json::Value {
    let deep = it.deep();
    let guide = |guide: &Guide| {
        let functions: BTreeMap<&str, Vec<Option<u32>>> = deep
            .iter()
            .map(|it| (names[*it].as_str(), guide.reaches(*it)))
            .collect();
        json!({
            "guide": guide.name,
            "blocks": guide.blocks_after(it.size.executions),
            "functions": guide.functions_after(it.size.executions),
            "mutants": guide.found,
            "deep": functions,
        })
    };
    json!({
        "kernel": it.kernel.to_string(),
        "executions": it.size.executions,
        "seeds": it.size.seeds,
        "functions": it.functions,
        "guides": it.guides.iter().map(guide).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_an_execution_and_an_address_a_line() {
        let trace = read_trace("1 600a\n17 600b\n").unwrap();
        assert_eq!(trace, [(0x600a, 1), (0x600b, 17)]);
        for wrong in ["1\n", "x 600a\n", "1 600g\n"] {
            assert!(read_trace(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_run_that_did_not_come_to_it_counts_as_later_than_all() {
        assert_eq!(cell(&[Some(5), Some(9), Some(7)]), "3 of 3, 7");
        assert_eq!(cell(&[Some(5), None, Some(7)]), "2 of 3, 7");
        assert_eq!(cell(&[None, None, Some(7)]), "1 of 3");
        assert_eq!(cell(&[]), "0 of 0");
    }

    #[test]
    fn deep_is_what_unguided_runs_miss() {
        let run = |reached: &[(usize, u32)]| reached.iter().copied().collect();
        let mut guides: Vec<Guide> = GUIDES.iter().map(|it| Guide::new(it)).collect();
        for guide in &mut guides {
            guide.reached = vec![run(&[(0, 1)]), run(&[(0, 1), (1, 9)])];
        }
        guides[3].reached = vec![run(&[(0, 1), (1, 2)]), run(&[(0, 1), (1, 3), (2, 8)])];
        let guidance = Guidance {
            size: Size {
                executions: 10,
                seeds: 2,
                jobs: 1,
            },
            kernel: "6.12-patched-kcov".parse().unwrap(),
            functions: 4,
            guides,
        };
        assert_eq!(guidance.deep(), [2, 1]);
        assert_eq!(guidance.guides[3].functions_after(8), 3);
        assert_eq!(guidance.guides[3].functions_after(2), 2);
        let names = ["everywhere", "rare", "deep", "never"].map(str::to_owned);
        let text = human(&guidance, &names);
        assert!(text.contains("2 functions that not every unguided run reaches"));
        assert!(!text.contains("everywhere"), "{text}");
        assert_eq!(json(&guidance, &names)["guides"][3]["deep"]["deep"][1], 8);
    }
}
