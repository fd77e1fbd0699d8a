//! A private clone of a tree of the user's, in which git does the search.
//!
//! The clone shares the objects of the user's repository and writes nothing to it: no
//! checkout, no worktree, no ref. It is removed when this process ends, however it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Verdict;
use crate::process::{self, Supervised};

/// Why a tree cannot be searched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user asked for something that cannot be.
    #[error("{0}")]
    Input(String),
    /// Somebody else is at it.
    #[error("{} is there: another bisect of this tree is running, or was cut off; remove it then", .0.display())]
    Busy(PathBuf),
    /// It should have worked.
    #[error("cannot {what}: {why}")]
    Failed {
        /// What did not work.
        what: String,
        /// What git or the system said.
        why: String,
    },
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its full name.
    pub id: String,
    /// Its first line.
    pub subject: String,
}

/// Where the search is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// This commit is checked out, to be judged.
    Judge(Commit),
    /// This one turns the verdict.
    Found(Commit),
    /// One of these does; nothing can be told of them.
    Among(Vec<Commit>),
}

/// A search under way.
#[derive(Debug)]
pub struct Search {
    source: PathBuf,
    /// What the older of the two commits is.
    old: Verdict,
    state: State,
    /// Removes the clone.
    _keeper: Supervised,
}

/// The commit that a name stands for in the repository at `tree`.
///
/// # Errors
/// There is no such repository or commit.
pub fn resolve(tree: &Path, name: &str) -> Result<Commit, Error> {
    let wanted = format!("{name}^{{commit}}");
    let id = git(
        tree,
        &["rev-parse", "--verify", "--end-of-options", &wanted],
    )
    .map_err(|why| Error::Input(format!("{}: `{name}`: {why}", tree.display())))?;
    commit(tree, id.trim())
}

impl Search {
    /// Clones `tree` into `folder`, which must not be there, and begins.
    ///
    /// # Errors
    /// The folder cannot be had, or git cannot search between the two.
    pub fn begin(tree: &Path, good: &Commit, bad: &Commit, folder: &Path) -> Result<Search, Error> {
        let failed = |what: &str| {
            let what = what.to_string();
            move |why: String| Error::Failed { what, why }
        };
        if folder.exists() {
            return Err(Error::Busy(folder.to_owned()));
        }
        fs::create_dir_all(folder)
            .map_err(|error| error.to_string())
            .map_err(failed(&format!("create {}", folder.display())))?;
        // It does nothing but go with us, and takes the folder along.
        let mut sleep = Command::new("sleep");
        sleep
            .arg("infinity")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let keeper = process::spawn_removing(&mut sleep, folder)
            .map_err(|error| error.to_string())
            .map_err(failed("run sleep"))?;
        let source = folder.join("linux");
        let (from, to) = (tree.display().to_string(), source.display().to_string());
        let clone = ["clone", "--quiet", "--shared", "--no-checkout", &from, &to];
        git(folder, &clone).map_err(failed(&format!("clone {from}")))?;
        // What is old is the one that comes first: a cure can be looked for, too.
        let ancestor = |one: &Commit, other: &Commit| {
            git(
                &source,
                &["merge-base", "--is-ancestor", &one.id, &other.id],
            )
            .is_ok()
        };
        let (old, new, verdict) = match ancestor(bad, good) && !ancestor(good, bad) {
            true => (bad, good, Verdict::Bad),
            false => (good, bad, Verdict::Good),
        };
        let start = ["bisect", "start", "--term-old=old", "--term-new=new"];
        let said = git(&source, &[&start[..], &[&new.id, &old.id]].concat());
        let said = said.map_err(Error::Input)?;
        let state = state(&source, &said)?;
        Ok(Search {
            source,
            old: verdict,
            state,
            _keeper: keeper,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The tree that is checked out.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// What the commit that is searched for says, and those before it do not.
    #[must_use]
    pub fn turns_to(&self) -> Verdict {
        self.old.opposite()
    }

    /// Goes on with the verdict over what is checked out.
    ///
    /// # Errors
    /// Git says no.
    pub fn tell(&mut self, verdict: &Verdict) -> Result<(), Error> {
        let word = match verdict {
            Verdict::Unknown(_) => "skip",
            verdict if *verdict == self.old => "old",
            _ => "new",
        };
        let said = match git(&self.source, &["bisect", word]) {
            Ok(said) => said,
            // That nothing is left but what was skipped is an error to git.
            Err(said) if said.contains("only 'skip'ped commits left") => said,
            Err(why) => {
                let what = format!("bisect {word}");
                return Err(Error::Failed { what, why });
            }
        };
        self.state = state(&self.source, &said)?;
        Ok(())
    }
}

/// What git says after a step.
fn state(source: &Path, said: &str) -> Result<State, Error> {
    let first = said
        .lines()
        .find_map(|line| line.strip_suffix(" is the first new commit"));
    if let Some(id) = first {
        return Ok(State::Found(commit(source, id)?));
    }
    if said.contains("only 'skip'ped commits left") {
        let ids = said.lines().filter(|line| is_id(line));
        let commits = ids.map(|id| commit(source, id));
        return Ok(State::Among(commits.collect::<Result<_, _>>()?));
    }
    Ok(State::Judge(commit(source, "HEAD")?))
}

fn is_id(line: &str) -> bool {
    line.len() >= 40 && line.bytes().all(|it| it.is_ascii_hexdigit())
}

fn commit(tree: &Path, name: &str) -> Result<Commit, Error> {
    let said = git(tree, &["show", "--no-patch", "--format=%H %s", name]);
    let said = said.map_err(|why| Error::Failed {
        what: format!("look at {name}"),
        why,
    })?;
    let (id, subject) = said.trim().split_once(' ').unwrap_or((said.trim(), ""));
    Ok(Commit {
        id: id.to_owned(),
        subject: subject.to_owned(),
    })
}

/// What git tells the programs that it starts (hooks, `git bisect run`) of the repository that
/// they are about: `git rev-parse --local-env-vars`, and what only some of them are told. It would be
/// taken for the one that is meant.
const OF_A_REPOSITORY: [&str; 18] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// What git prints, or what it complains about.
fn git(folder: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(args);
    // The words are read.
    command.env("LC_ALL", "C").stdin(Stdio::null());
    for name in OF_A_REPOSITORY {
        command.env_remove(name);
    }
    let output = command.output().map_err(|error| format!("git: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, complaint) = (text(&output.stdout), text(&output.stderr));
    match output.status.success() {
        true => Ok(said),
        false => Err(format!("{said}{complaint}").trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::tools;
    use std::io::{self, Write};

    /// Whether these tests cannot be; said so, past the capture of output.
    fn git_is_missing() -> bool {
        let missing = tools::find("git").is_none();
        if missing {
            let name = std::thread::current().name().unwrap_or("test").to_owned();
            let remedy = "apt-get install -y --no-install-recommends git";
            let _ = writeln!(io::stderr(), "skipped {name}: no git\n  remedy: {remedy}");
        }
        missing
    }

    /// A repository of `count` commits, each of which writes its number to `n`.
    fn repository(count: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| git(dir.path(), args).unwrap();
        run(&["init", "--quiet"]);
        for number in 0..=count {
            fs::write(dir.path().join("n"), number.to_string()).unwrap();
            run(&["add", "n"]);
            let message = format!("number {number}");
            let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
            run(&[&identity[..], &["commit", "--quiet", "-m", &message]].concat());
        }
        dir
    }

    fn searched(good: &str, bad: &str, judge: impl Fn(u32) -> Verdict) -> (State, u32) {
        let repository = repository(10);
        let tree = repository.path();
        let before = git(tree, &["show-ref", "--head"]).unwrap();
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("clone");
        let [good, bad] = [good, bad].map(|name| resolve(tree, name).unwrap());
        let mut search = Search::begin(tree, &good, &bad, &folder).unwrap();
        assert!(matches!(
            Search::begin(tree, &good, &bad, &folder),
            Err(Error::Busy(_))
        ));
        let mut steps = 0;
        while let State::Judge(_) = search.state() {
            let number = fs::read_to_string(search.source().join("n")).unwrap();
            search.tell(&judge(number.parse().unwrap())).unwrap();
            steps += 1;
        }
        let state = search.state().clone();
        drop(search);
        assert!(!folder.exists(), "the clone is still there");
        assert_eq!(git(tree, &["show-ref", "--head"]).unwrap(), before);
        assert_eq!(git(tree, &["status", "--porcelain"]).unwrap(), "");
        assert!(git(tree, &["bisect", "log"]).is_err());
        (state, steps)
    }

    fn bad_if(bad: bool) -> Verdict {
        if bad { Verdict::Bad } else { Verdict::Good }
    }

    #[test]
    fn the_first_bad_commit_is_found_and_the_tree_is_left_alone() {
        if git_is_missing() {
            return;
        }
        let (state, steps) = searched("HEAD~10", "HEAD", |number| bad_if(number >= 7));
        let State::Found(commit) = state else {
            panic!("{state:?}")
        };
        assert_eq!(commit.subject, "number 7");
        assert!(steps <= 4, "{steps}");
    }

    #[test]
    fn a_cure_is_found_as_well() {
        if git_is_missing() {
            return;
        }
        let (state, _) = searched("HEAD", "HEAD~9", |number| bad_if(number < 3));
        let State::Found(commit) = state else {
            panic!("{state:?}")
        };
        assert_eq!(commit.subject, "number 3");
    }

    #[test]
    fn what_does_not_build_is_skipped() {
        if git_is_missing() {
            return;
        }
        let (state, _) = searched("HEAD~10", "HEAD", |number| match number {
            5..8 => Verdict::Unknown("does not compile".into()),
            number => bad_if(number >= 7),
        });
        let State::Among(commits) = state else {
            panic!("{state:?}")
        };
        let mut subjects: Vec<_> = commits.iter().map(|it| it.subject.as_str()).collect();
        subjects.sort_unstable();
        assert_eq!(subjects, ["number 5", "number 6", "number 7", "number 8"]);
    }

    #[test]
    fn all_that_git_says_of_a_repository_is_kept_from_it() {
        if git_is_missing() {
            return;
        }
        let said = git(Path::new("."), &["rev-parse", "--local-env-vars"]).unwrap();
        let names: Vec<&str> = said.lines().collect();
        assert!(names.contains(&"GIT_DIR"), "{names:?}");
        for name in names {
            assert!(OF_A_REPOSITORY.contains(&name), "{name}");
        }
    }

    #[test]
    fn another_repository_in_the_environment_is_not_the_one_that_is_searched() {
        if git_is_missing() {
            return;
        }
        // The environment is the whole process's: in one of its own.
        if std::env::var_os(INNER).is_some() {
            let (state, _) = searched("HEAD~10", "HEAD", |number| bad_if(number >= 7));
            assert!(matches!(state, State::Found(_)), "{state:?}");
            return;
        }
        let other = repository(1);
        let place = |name: &str| other.path().join(".git").join(name);
        let name = "bisect::git::tests::another_repository_in_the_environment_is_not_the_one_that_is_searched";
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(INNER, "1")
            .env("GIT_DIR", place(""))
            .env("GIT_WORK_TREE", other.path())
            .env("GIT_INDEX_FILE", place("index"))
            .env("GIT_OBJECT_DIRECTORY", place("objects"))
            .env("GIT_COMMON_DIR", place(""))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(said.contains("1 passed"), "{said}");
    }

    /// Says to the test above that it is the inner one.
    const INNER: &str = "INFLIGHT_TEST_INNER";

    #[test]
    fn what_is_no_commit_is_said() {
        if git_is_missing() {
            return;
        }
        let repository = repository(1);
        let error = resolve(repository.path(), "v9.9").unwrap_err();
        assert!(matches!(error, Error::Input(_)), "{error}");
        assert!(error.to_string().contains("v9.9"), "{error}");
        let nowhere = tempfile::tempdir().unwrap();
        assert!(resolve(nowhere.path(), "HEAD").is_err());
    }
}
