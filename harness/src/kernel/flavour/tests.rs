use super::*;
use crate::kernel::progress::Silent;
use std::time::SystemTime;

struct Toy {
    folder: tempfile::TempDir,
    tree: Tree,
    lock: Lock,
    log: Log,
}

const SPLICE: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n";

impl Toy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(folder.path().join("6.12"));
        for (name, text) in [
            ("fs/splice.c", SPLICE),
            ("fs/pipe.c", "pipe\n"),
            ("net/gone.c", "gone\n"),
        ] {
            files::write(&tree.source().join(name), text.as_bytes(), 0o644).unwrap();
        }
        Self {
            lock: Lock::acquire(&folder.path().join("lock"), "", &Silent).unwrap(),
            log: Log::create(folder.path().join("log")).unwrap(),
            tree,
            folder,
        }
    }

    fn switch(&mut self, series: &Series) -> Result<(), Error> {
        self.tree
            .switch_to(series, "toy 1", &self.lock, &mut self.log)
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.tree.source().join(name)).ok()
    }

    fn time(&self, name: &str) -> SystemTime {
        fs::metadata(self.tree.source().join(name))
            .unwrap()
            .modified()
            .unwrap()
    }

    /// Every file below the source with its content.
    fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push((path.clone(), fs::read(&path).unwrap()));
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.tree.source(), &mut found);
        found.sort();
        found
    }
}

fn patch(name: &str, text: &str, touched: &[&str]) -> Patch {
    Patch {
        name: name.to_owned(),
        text: text.as_bytes().to_vec(),
        touched: touched.iter().map(PathBuf::from).collect(),
    }
}

/// Changes one file, creates one that is executable, deletes one.
fn series() -> Series {
    Series {
        patches: vec![
            patch(
                "0001-splice.patch",
                "--- a/fs/splice.c\n+++ b/fs/splice.c\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n",
                &["fs/splice.c"],
            ),
            patch(
                "0002-rest.patch",
                "diff --git a/tools/new.sh b/tools/new.sh\nnew file mode 100755\n--- /dev/null\n\
                 +++ b/tools/new.sh\n@@ -0,0 +1 @@\n+new\n\
                 diff --git a/net/gone.c b/net/gone.c\ndeleted file mode 100644\n--- a/net/gone.c\n\
                 +++ /dev/null\n@@ -1 +0,0 @@\n-gone\n\
                 --- a/fs/splice.c\n+++ b/fs/splice.c\n@@ -1,3 +1,3 @@\n one\n-TWO\n+Two\n three\n",
                &["tools/new.sh", "net/gone.c", "fs/splice.c"],
            ),
        ],
    }
}

fn failing() -> Series {
    let mut series = series();
    series.patches.push(patch(
        "0003-bad.patch",
        "--- a/fs/pipe.c\n+++ b/fs/pipe.c\n@@ -1 +1 @@\n-pipe\n+PIPE\n\
         --- a/fs/splice.c\n+++ b/fs/splice.c\n@@ -1,3 +1,3 @@\n one\n-Two\n+2\n three\n@@ -5,2 +5,2 @@\n five\n-seven\n+7\n",
        &["fs/pipe.c", "fs/splice.c"],
    ));
    series
}

#[test]
fn there_and_back_again() {
    let mut toy = Toy::new();
    let before = toy.snapshot();
    let untouched = toy.time("fs/pipe.c");
    toy.switch(&series()).unwrap();
    assert!(
        toy.text("fs/splice.c")
            .unwrap()
            .starts_with("one\nTwo\nthree\n")
    );
    assert_eq!(toy.text("net/gone.c"), None);
    assert_eq!(toy.text("tools/new.sh").unwrap(), "new\n");
    let mode = fs::metadata(toy.tree.source().join("tools/new.sh"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o111, 0o111);
    let patched = toy.time("fs/splice.c");

    toy.switch(&Series::default()).unwrap();
    assert_eq!(toy.snapshot(), before);
    assert!(
        toy.time("fs/splice.c") > patched,
        "make must see the change"
    );
    assert_eq!(toy.time("fs/pipe.c"), untouched);
}

#[test]
fn switching_to_what_is_there_changes_no_time() {
    let mut toy = Toy::new();
    let times = |toy: &Toy| (toy.time("fs/splice.c"), toy.time("fs/pipe.c"));
    let before = times(&toy);
    toy.switch(&Series::default()).unwrap();
    assert_eq!(times(&toy), before);
    toy.switch(&series()).unwrap();
    let patched = times(&toy);
    toy.switch(&series()).unwrap();
    assert_eq!(times(&toy), patched);
}

#[test]
fn a_second_series_starts_from_the_originals() {
    let mut toy = Toy::new();
    toy.switch(&series()).unwrap();
    let other = Series {
        patches: vec![patch(
            "other.patch",
            "--- a/fs/splice.c\n+++ b/fs/splice.c\n@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n\
             --- a/fs/pipe.c\n+++ b/fs/pipe.c\n@@ -1 +1 @@\n-pipe\n+tube\n",
            &["fs/splice.c", "fs/pipe.c"],
        )],
    };
    toy.switch(&other).unwrap();
    assert!(toy.text("fs/splice.c").unwrap().contains("zwei"));
    assert_eq!(toy.text("fs/pipe.c").unwrap(), "tube\n");
    assert_eq!(toy.text("net/gone.c").unwrap(), "gone\n");
    assert_eq!(toy.text("tools/new.sh"), None);
}

#[test]
fn a_failing_hunk_is_named_and_changes_nothing() {
    let mut toy = Toy::new();
    let before = toy.snapshot();
    let error = toy.switch(&failing()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0003-bad.patch does not apply to toy 1: fs/splice.c: Hunk #2 FAILED at 5"
    );
    assert_eq!(toy.snapshot(), before);
    toy.switch(&series()).unwrap();
    let patched = toy.snapshot();
    toy.switch(&failing()).unwrap_err();
    assert_eq!(toy.snapshot(), patched);
}

#[test]
fn a_moved_hunk_applies_and_a_fuzzy_one_does_not() {
    let mut toy = Toy::new();
    let moved =
        "--- a/fs/splice.c\n+++ b/fs/splice.c\n@@ -1,3 +1,3 @@\n five\n-six\n+SIX\n seven\n";
    toy.switch(&Series {
        patches: vec![patch("moved", moved, &["fs/splice.c"])],
    })
    .unwrap();
    assert!(toy.text("fs/splice.c").unwrap().contains("SIX"));
    // patch(1) alone takes this, ignoring the line of context that is wrong.
    let fuzzy = "--- a/fs/splice.c\n+++ b/fs/splice.c\n@@ -1,5 +1,5 @@\n WRONG\n two\n-three\n+3\n four\n five\n";
    let error = toy
        .switch(&Series {
            patches: vec![patch("fuzzy", fuzzy, &["fs/splice.c"])],
        })
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("fs/splice.c: Hunk #1 FAILED at 1"),
        "{error}"
    );
}

#[test]
fn a_patch_for_a_file_that_is_not_there_names_it() {
    let mut toy = Toy::new();
    let text = "--- a/fs/none.c\n+++ b/fs/none.c\n@@ -1 +1 @@\n-a\n+b\n";
    let error = toy
        .switch(&Series {
            patches: vec![patch("none.patch", text, &["fs/none.c"])],
        })
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("none.patch does not apply to toy 1:"),
        "{error}"
    );
    assert!(error.contains("fs/none.c"), "{error}");
}

#[test]
fn an_interrupted_switch_is_finished_or_undone() {
    let mut toy = Toy::new();
    let stock = toy.snapshot();
    toy.switch(&series()).unwrap();
    let patched = toy.snapshot();
    let done = toy.tree.state().unwrap();
    // Every point where a kill can strike: the first n files of the series have
    // changed. The scratch folder of the killed process is still there.
    for n in 0..=done.touched.len() {
        for forward in [true, false] {
            toy.switch(&Series::default()).unwrap();
            toy.tree
                .set_state(&State {
                    applied: None,
                    touched: done.touched.clone(),
                })
                .unwrap();
            for file in &done.touched[..n] {
                let path = toy.tree.source().join(file);
                match patched.iter().find(|(name, _)| *name == path) {
                    Some((_, content)) => files::write(&path, content, 0o644).unwrap(),
                    None => files::remove(&path).unwrap(),
                }
            }
            fs::create_dir_all(toy.folder.path().join("6.12/scratch/fs")).unwrap();
            fs::write(toy.folder.path().join("6.12/scratch/fs/splice.c"), "half").unwrap();
            if forward {
                toy.switch(&series()).unwrap();
                assert_eq!(toy.snapshot(), patched, "after {n} files, forward");
            } else {
                toy.switch(&Series::default()).unwrap();
                assert_eq!(toy.snapshot(), stock, "after {n} files, back");
            }
        }
    }
}

#[test]
fn files_are_read_as_a_series_leaves_them_whatever_the_tree_has() {
    let mut toy = Toy::new();
    let names = [
        "fs/splice.c",
        "fs/pipe.c",
        "net/gone.c",
        "tools/new.sh",
        "no",
    ];
    let read = |toy: &mut Toy, series: &Series| -> Vec<Option<String>> {
        let wanted: Vec<String> = names.map(str::to_owned).to_vec();
        let scratch = toy.folder.path().join("looked at");
        let (tree, lock, log) = (&toy.tree, &toy.lock, &mut toy.log);
        let files = tree.files(series, &wanted, &scratch, lock, log).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        files.into_iter().map(|it| it.map(text)).collect()
    };
    let stock = read(&mut toy, &Series::default());
    let patched = read(&mut toy, &series());
    let gone = "gone\n".to_owned();
    let pipe = Some("pipe\n".to_owned());
    assert_eq!(stock[1..], [pipe.clone(), Some(gone), None, None]);
    assert_eq!(stock[0].as_deref(), Some(SPLICE));
    assert_eq!(patched[1..], [pipe, None, Some("new\n".to_owned()), None]);
    assert!(patched[0].as_ref().unwrap().contains("Two"));

    toy.switch(&series()).unwrap();
    let before = toy.snapshot();
    assert_eq!(read(&mut toy, &Series::default()), stock);
    assert_eq!(read(&mut toy, &series()), patched);
    assert_eq!(toy.snapshot(), before);
}
