//! `inflight bisect`: which change turns the verdict over a scenario.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::json;

use super::format::{Format, note, print};
use super::options::ensure;
use super::{Failure, Status, usage};
use crate::bisect::git::{self, Commit, Search, State};
use crate::bisect::{self, Found, Verdict};
use crate::campaign::replay;
use crate::kernel::{self, ErrorKind, Flavour, Kernel, KernelName, Machine};
use crate::oracle::{Contract, Property};
use crate::scenario::{Expected, Scenario, normalize, text};

/// Find the change that turns the verdict over a scenario.
///
/// Over the patches of a series: --good 6.12-patched --bad 6.12-stock, or the other way
/// round. Kernels with the first patches only are built, and kept like all others.
/// Over the commits of a git tree: --tree DIR --good REV --bad REV. The tree is not
/// touched: a private clone of it is searched, and removed afterwards.
///
/// A kernel is bad where the scenario breaks the property, in any of --times runs; good
/// where it does not; and where it cannot be built or does not come to the scenario it is
/// passed over, as with `git bisect skip`. The exit status is 0 when the change is found, 125
/// when what was passed over leaves several.
///
/// With --judge KERNEL one kernel is judged, for `git bisect run`: the exit status is 0 for
/// good, 1 for bad, 125 where there is no telling, and 255 where something is wrong that no
/// other commit mends, which ends that search.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Scenario file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Begin with this kernel, or commit of --tree, which keeps the property
    #[arg(
        long,
        value_name = "KERNEL",
        required_unless_present = "judge",
        requires = "bad"
    )]
    good: Option<String>,
    /// Begin with this kernel, or commit of --tree, which breaks it
    #[arg(
        long,
        value_name = "KERNEL",
        required_unless_present = "judge",
        requires = "good"
    )]
    bad: Option<String>,
    /// Search the commits of this git tree of a kernel's source
    #[arg(long, value_name = "DIR", requires = "good")]
    tree: Option<PathBuf>,
    /// Judge this kernel alone; `tree:.` is the tree that this is called in
    #[arg(long, value_name = "KERNEL", conflicts_with_all = ["good", "bad", "tree"])]
    judge: Option<KernelName>,
    /// Look at this property only [default: the one that the file says is broken, else what the bad kernel breaks; of a tree stable-on-return]
    #[arg(long, value_name = "PROPERTY")]
    property: Option<Property>,
    /// Hold the kernels to this contract: documented or stable
    #[arg(long, value_name = "CONTRACT", default_value = "stable")]
    contract: Contract,
    /// Run it so many times on each kernel
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Print for people, or as json with one object a step
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

/// Whether a command line, maybe one that makes no sense, is of a judge for `git bisect run`.
pub fn is_judge(args: &[OsString]) -> bool {
    let mut args = args.iter().map(|arg| arg.as_encoded_bytes());
    args.any(|arg| arg == b"--judge" || arg.starts_with(b"--judge="))
}

/// Runs the scenario on kernels and says what that means.
struct Bench<'a> {
    args: &'a Args,
    text: String,
    /// What has to be broken; `None`: anything.
    property: Option<Property>,
}

/// Bisects.
pub fn run(args: &Args) -> Result<Status, Failure> {
    search(args).map_err(|failure| match args.judge {
        // No commit is to be called bad for it.
        Some(_) => Failure {
            status: Status::EndsSearch,
            ..failure
        },
        None => failure,
    })
}

fn search(args: &Args) -> Result<Status, Failure> {
    let scenario = normalize::normalize(text::read_file(&args.file).map_err(usage)?);
    let bench = Bench {
        args,
        text: scenario.to_string(),
        property: args.property.or_else(|| property_of(&scenario)),
    };
    match (&args.judge, &args.tree, &args.good, &args.bad) {
        (Some(name), ..) => judge_one(&bench, name),
        (None, Some(tree), Some(good), Some(bad)) => over_commits(bench, tree, good, bad),
        (None, None, Some(good), Some(bad)) => over_patches(bench, good, bad),
        // Clap asks for both.
        _ => Err(usage(anyhow!("--good and --bad are needed"))),
    }
}

/// The property that the file says some kernel breaks.
fn property_of(scenario: &Scenario) -> Option<Property> {
    scenario
        .expects
        .iter()
        .find_map(|line| match &line.verdict {
            Expected::Violates(property) => property.parse().ok(),
            Expected::Holds(_) | Expected::Either => None,
        })
}

fn judge_one(bench: &Bench<'_>, name: &KernelName) -> Result<Status, Failure> {
    no_commit_mends(name)?;
    let verdict = match kernel::ensure(name, Machine::Uml, &*kernel::progress::stderr()) {
        Ok(kernel) => bench.judge(&kernel)?,
        Err(error) => unbuilt(error)?,
    };
    note(format_args!("{name}: {}", word(&verdict)));
    Ok(match verdict {
        Verdict::Good => Status::Held,
        Verdict::Bad => Status::Violated,
        Verdict::Unknown(_) => Status::CannotTell,
    })
}

/// What is wrong whatever is checked out. A tree that is there and is no kernel's may be a
/// commit of another history that was merged, and is passed over.
fn no_commit_mends(name: &KernelName) -> Result<(), Failure> {
    kernel::cache::root()?;
    if let KernelName::Tree(path) = name {
        let read = fs::read_dir(path).map(drop);
        read.map_err(|error| usage(anyhow!("--judge {name}: {error}")))?;
    }
    Ok(())
}

fn over_patches(mut bench: Bench<'_>, good: &str, bad: &str) -> Result<Status, Failure> {
    let good: KernelName = good.parse().map_err(usage)?;
    let bad: KernelName = bad.parse().map_err(usage)?;
    let (patched, before) = ends(&good, &bad).map_err(usage)?;
    let patches = kernel::patches(patched)?;
    let kernels = ensure(&[good.clone(), bad.clone()])?;
    bench.check_ends(&kernels[0], &kernels[1])?;
    let all = patches.len();
    let mut failure = None;
    let found = bisect::search(all, &before, |count| {
        // What ends the search ends it now.
        if failure.is_some() {
            return Verdict::Unknown(String::new());
        }
        let (file, subject) = &patches[count - 1];
        let what = format!("first {count} of {all} patches, up to {file} ({subject})");
        let judged = match kernel::ensure_first(patched, count, &*kernel::progress::stderr()) {
            Ok(kernel) => bench.judge(&kernel),
            Err(error) => unbuilt(error),
        };
        let told = judged.and_then(|verdict| bench.step(&what, &verdict).map(|()| verdict));
        told.unwrap_or_else(|error| {
            let why = error.to_string();
            failure.get_or_insert(error);
            Verdict::Unknown(why)
        })
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    let named = |number: usize| patches[number - 1].clone();
    let suspects = match found {
        Found::Change(number) => vec![named(number)],
        Found::Among(first, last) => (first..=last).map(named).collect(),
    };
    bench.conclude(&before.opposite(), "patch", &suspects)
}

/// Which of the two has the series, and what is said without it.
fn ends<'a>(
    good: &'a KernelName,
    bad: &'a KernelName,
) -> Result<(&'a KernelName, Verdict), anyhow::Error> {
    let parts = |name: &KernelName| match name {
        KernelName::Release {
            version,
            flavour,
            extras,
        } => Some((version.clone(), *extras, *flavour)),
        _ => None,
    };
    let flavours = (parts(good), parts(bad));
    let (Some((version, debug, one)), Some((other_version, other_debug, other))) = flavours else {
        return Err(anyhow!(
            "commits are named with --tree DIR --good REV --bad REV"
        ));
    };
    if version != other_version || debug != other_debug {
        return Err(anyhow!(
            "there are no patches between {good} and {bad}: they are of different sources"
        ));
    }
    match (one, other) {
        (Flavour::Patched, Flavour::Stock) => Ok((good, Verdict::Bad)),
        (Flavour::Stock, Flavour::Patched) => Ok((bad, Verdict::Good)),
        _ => Err(anyhow!(
            "one of {good} and {bad} must be {version}-stock and the other {version}-patched"
        )),
    }
}

fn over_commits(
    mut bench: Bench<'_>,
    tree: &Path,
    good: &str,
    bad: &str,
) -> Result<Status, Failure> {
    let real = tree
        .canonicalize()
        .map_err(|error| usage(anyhow!("--tree {}: {error}", tree.display())))?;
    let good = git::resolve(&real, good)?;
    let bad = git::resolve(&real, bad)?;
    // The same place each time, so that what was built there is of use to the next one.
    let hash = blake3::hash(real.as_os_str().as_encoded_bytes()).to_hex();
    let cache = kernel::cache::root()?;
    let folder = cache.join("bisect").join(&hash[..12]);
    let mut search = Search::begin(&real, &good, &bad, &folder)?;
    let name = KernelName::Tree(search.source().to_owned());
    while let State::Judge(commit) = search.state() {
        let what = described(commit);
        let verdict = match kernel::ensure(&name, Machine::Uml, &*kernel::progress::stderr()) {
            Ok(kernel) => {
                // Nobody says what the ends break, and to build them takes longest.
                bench.property = bench.property.or(Some(Property::StableOnReturn));
                bench.judge(&kernel)?
            }
            Err(error) => unbuilt(error)?,
        };
        bench.step(&what, &verdict)?;
        search.tell(&verdict)?;
    }
    let pair = |it: &Commit| (it.id.clone(), it.subject.clone());
    let suspects = match search.state() {
        State::Found(commit) => vec![pair(commit)],
        State::Among(commits) => commits.iter().map(pair).collect(),
        State::Judge(_) => Vec::new(),
    };
    bench.conclude(&search.turns_to(), "commit", &suspects)
}

fn described(commit: &Commit) -> String {
    let short: String = commit.id.chars().take(12).collect();
    format!("commit {short} ({})", commit.subject)
}

/// A kernel that cannot be built says nothing; a machine that lacks something ends all.
fn unbuilt(error: kernel::Error) -> Result<Verdict, Failure> {
    match error.kind() {
        ErrorKind::Missing => Err(error.into()),
        ErrorKind::BadInput | ErrorKind::Failed => Ok(Verdict::Unknown(error.to_string())),
    }
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Good => "good".to_string(),
        Verdict::Bad => "bad".to_string(),
        Verdict::Unknown(why) => format!("cannot tell: {}", why.lines().next().unwrap_or("")),
    }
}

impl Bench<'_> {
    fn outcome(&self, kernel: &Kernel) -> Result<replay::Outcome, Failure> {
        let plan = replay::Plan {
            kernels: vec![kernel.clone()],
            texts: vec![self.text.clone()],
            times: self.args.times,
            contract: self.args.contract,
            jobs: 1,
        };
        Ok(replay::run(&plan)?.remove(0).remove(0))
    }

    fn judge(&self, kernel: &Kernel) -> Result<Verdict, Failure> {
        let outcome = self.outcome(kernel)?;
        Ok(verdict(&outcome, self.property))
    }

    /// Both ends must be what they are said to be, or the search would find nonsense.
    fn check_ends(&mut self, good: &Kernel, bad: &Kernel) -> Result<(), Failure> {
        let outcome = self.outcome(bad)?;
        let first = || outcome.violated.first().map(|it| it.0);
        self.property = self.property.or_else(first);
        for (kernel, verdict, wanted) in [
            (bad, verdict(&outcome, self.property), Verdict::Bad),
            (good, self.judge(good)?, Verdict::Good),
        ] {
            if verdict != wanted {
                let (name, file) = (&kernel.name, self.args.file.display());
                let what = match self.property {
                    Some(property) => property.to_string(),
                    None => "anything".to_string(),
                };
                let is = match verdict {
                    Verdict::Good => format!("does not break {what}"),
                    Verdict::Bad => format!("breaks {what}"),
                    Verdict::Unknown(why) => format!("says nothing: {why}"),
                };
                let end = if wanted == Verdict::Good {
                    "--good"
                } else {
                    "--bad"
                };
                return Err(usage(anyhow!("{end} {name}: {file} {is}")));
            }
        }
        Ok(())
    }

    fn step(&self, what: &str, verdict: &Verdict) -> Result<(), Failure> {
        match self.args.format {
            Format::Human => print(&format!("{what}: {}\n", word(verdict))),
            Format::Json => print(&format!(
                "{}\n",
                json!({"at": what, "verdict": word(verdict)})
            )),
        }
    }

    fn conclude(
        &self,
        after: &Verdict,
        kind: &str,
        suspects: &[(String, String)],
    ) -> Result<Status, Failure> {
        let property = self.property.map_or_else(String::new, |it| it.to_string());
        let after = word(after);
        let status = match suspects {
            [_] => Status::Held,
            _ => Status::CannotTell,
        };
        if self.args.format == Format::Json {
            let named = suspects.iter();
            let named = named.map(|(name, subject)| json!({"name": name, "subject": subject}));
            let named: Vec<_> = named.collect();
            let line = json!({"first": after, "violated": property, kind: named});
            print(&format!("{line}\n"))?;
            return Ok(status);
        }
        let mut text = match suspects {
            [_] => format!("\nthe first {kind} that is {after} ({property}):\n"),
            _ => format!(
                "\none of these is the first {kind} that is {after} ({property}); there is no telling which:\n"
            ),
        };
        for (name, subject) in suspects {
            text += &format!("  {name}  {subject}\n");
        }
        print(&text)?;
        Ok(status)
    }
}

/// What the runs on one kernel mean.
fn verdict(outcome: &replay::Outcome, property: Option<Property>) -> Verdict {
    if let Some(why) = &outcome.failure {
        return Verdict::Unknown(why.clone());
    }
    let broken = match property {
        Some(property) => outcome.times(property) > 0,
        None => !outcome.violated.is_empty(),
    };
    match broken {
        true => Verdict::Bad,
        false => Verdict::Good,
    }
}

impl From<git::Error> for Failure {
    fn from(error: git::Error) -> Failure {
        let status = match error {
            git::Error::Input(_) => Status::Usage,
            git::Error::Busy(_) => Status::Missing,
            git::Error::Failed { .. } => Status::Internal,
        };
        Failure::new(status, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_one_version_without_and_with_the_series() {
        let name = |name: &str| name.parse::<KernelName>().unwrap();
        for (good, bad, patched, before) in [
            ("6.12-patched", "6.12-stock", "6.12-patched", Verdict::Bad),
            ("7.3-stock", "7.3-patched", "7.3-patched", Verdict::Good),
        ] {
            let (good, bad) = (name(good), name(bad));
            let (found, verdict) = ends(&good, &bad).unwrap();
            assert_eq!((found, verdict), (&name(patched), before));
        }
        for (good, bad, words) in [
            ("6.12-patched", "7.3-stock", "different sources"),
            ("6.12-patched", "6.12-stock-debug", "different sources"),
            ("6.12-stock", "6.12-stock", "must be 6.12-stock"),
            ("6.12-detach", "6.12-stock", "must be 6.12-stock"),
            ("tree:/x", "6.12-stock", "--tree"),
        ] {
            let error = ends(&name(good), &name(bad)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn another_property_is_not_bad_and_a_failure_is_no_verdict() {
        let outcome = |violated: &[(Property, u32)], failure: Option<&str>| replay::Outcome {
            runs: 3,
            violated: violated.to_vec(),
            message: None,
            digests: None,
            counters: Vec::new(),
            failure: failure.map(String::from),
            skipped: None,
        };
        use Property::{Counts, Wire};
        let of = |violated: &[_], property| verdict(&outcome(violated, None), property);
        assert_eq!(of(&[], Some(Wire)), Verdict::Good);
        assert_eq!(of(&[(Counts, 3)], Some(Wire)), Verdict::Good);
        assert_eq!(of(&[(Counts, 3), (Wire, 1)], Some(Wire)), Verdict::Bad);
        assert_eq!(of(&[(Counts, 3)], None), Verdict::Bad);
        let failed = outcome(&[(Wire, 1)], Some("it did not boot"));
        let verdict = verdict(&failed, Some(Wire));
        assert_eq!(verdict, Verdict::Unknown("it did not boot".into()));
    }
}
