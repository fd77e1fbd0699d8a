//! The whole way with a kernel that is a Makefile of ten lines.

use super::*;
use crate::kernel::progress::Silent;
use crate::kernel::{Clean, EntryKind, ErrorKind, Need, catalog};
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

mod selftests;
mod toy;

use toy::*;

#[test]
#[ignore = "other tests start it as a process of their own"]
fn builder_process() {
    let toy = Toy {
        here: std::env::var_os("INFLIGHT_TEST_TOY").unwrap().into(),
        _folder: None,
    };
    toy.ensure(&std::env::var("INFLIGHT_TEST_NAME").unwrap())
        .unwrap();
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn step(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }
    fn tick(&self, _: u64, _: Option<u64>, _: &str) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

#[test]
fn both_flavours_come_from_one_tree_and_share_objects() {
    let toy = Toy::new();
    let told = Told::default();
    let name = "6.12-stock".parse().unwrap();
    assert_eq!(toy.workshop().find(&name, Machine::Uml).unwrap(), None);
    let stock = toy.workshop().ensure(&name, Machine::Uml, &told).unwrap();
    assert_eq!(
        fs::read_to_string(&stock.image).unwrap(),
        "stock splice\npipe\n"
    );
    assert_eq!(stock.release, "6.12.0-toy");
    assert_eq!(toy.trace(), ["fetch", "fs/splice.o", "fs/pipe.o", "linux"]);
    assert_eq!(
        told.0.into_inner().unwrap(),
        [
            "configuring 6.12-stock",
            "note: the Kconfig of 6.12-stock does not take CONFIG_FANCY=y; scenarios that need it will not run",
            "compiling 6.12-stock"
        ]
    );

    assert_eq!(toy.image("6.12-patched"), "patched splice\npipe\n");
    // pipe.o depends on splice.o in the toy, and the real one's pipe.o does not.
    assert_eq!(toy.trace(), ["fs/splice.o", "fs/pipe.o", "linux"]);

    let folder = stock.image.parent().unwrap();
    assert_eq!(
        folder.file_name().unwrap().to_str().unwrap(),
        format!("6.12-stock-{}", stock.key)
    );
    for file in ["linux", "config", "meta.json", "build.log"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    assert_eq!(
        toy.workshop().find(&name, Machine::Uml).unwrap().unwrap(),
        stock
    );
    assert_eq!(toy.ensure("6.12-stock").unwrap(), stock);
    assert_eq!(toy.trace(), [""; 0], "nothing was built twice");

    let listed = toy.workshop().cache.list();
    let kinds: Vec<_> = listed
        .iter()
        .map(|entry| (entry.kind, entry.name.as_str()))
        .collect();
    assert!(
        kinds.contains(&(EntryKind::Kernel, "6.12-stock")),
        "{kinds:?}"
    );
    assert!(
        kinds.contains(&(EntryKind::Kernel, "6.12-patched")),
        "{kinds:?}"
    );
    assert!(kinds.contains(&(EntryKind::Source, "6.12")), "{kinds:?}");
    assert!(listed.iter().all(|entry| entry.size_bytes > 0));
}

#[test]
fn detach_is_the_image_of_patched() {
    let toy = Toy::new();
    let detach = toy.ensure("6.12-detach").unwrap();
    toy.trace();
    let patched = toy.ensure("6.12-patched").unwrap();
    assert_eq!(toy.trace(), [""; 0], "nothing is built for it");
    assert_eq!((&detach.image, &detach.key), (&patched.image, &patched.key));
    assert_eq!(detach.name.to_string(), "6.12-detach");
    let built = toy.workshop().cache.kernels_built();
    let names: Vec<_> = built.iter().map(|(_, meta)| &meta.name).collect();
    assert_eq!(names, ["6.12-patched"]);
}

/// Neither build makes anything of the other anew.
#[test]
fn a_debug_kernel_is_built_apart_from_the_same_source() {
    let toy = Toy::new();
    toy.write("patches/debug/6.12/series", "bug.patch\n");
    toy.write(
        "patches/debug/6.12/bug.patch",
        "--- a/fs/pipe.c\n+++ b/fs/pipe.c\n@@ -1 +1,2 @@\n pipe\n+bug\n",
    );
    let stock = toy.ensure("6.12-stock").unwrap();
    let patched = toy.ensure("6.12-patched").unwrap();
    toy.trace();
    // The first place has the patched source now, and its objects.
    assert_eq!(toy.image("6.12-stock-debug"), "stock splice\npipe\nbug\n");
    assert_eq!(toy.trace(), ["fs/splice.o", "fs/pipe.o", "linux"]);
    assert_eq!(
        toy.image("6.12-patched-debug"),
        "patched splice\npipe\nbug\n"
    );
    assert_eq!(toy.trace(), ["fs/splice.o", "fs/pipe.o", "linux"]);
    let config = fs::read_to_string(toy.here.join("cache/src/6.12-debug/linux/.config")).unwrap();
    assert!(config.contains("CONFIG_64BIT=y\n") && config.contains("CONFIG_WATCH=y\n"));
    for (name, before) in [("6.12-stock", stock), ("6.12-patched", patched)] {
        assert_eq!(toy.ensure(name).unwrap(), before);
    }
    toy.write(
        "patches/6.12/0001.patch",
        &PATCH.replace("patched", "re-patched"),
    );
    toy.ensure("6.12-patched").unwrap();
    assert_eq!(
        toy.image("6.12-patched-debug"),
        "re-patched splice\npipe\nbug\n"
    );
    // pipe.o depends on splice.o in the toy.
    let again = ["fs/splice.o", "fs/pipe.o", "linux"];
    assert_eq!(toy.trace(), [again, again].concat());

    toy.write("archive-version", "2.0");
    toy.write("archive/fs/splice.c", "stock splice\nnewer\n");
    let name = "6.12-stock-debug".parse().unwrap();
    let update = toy.workshop().update(&name, &Silent).unwrap();
    assert_eq!(update.as_deref(), Some("2.0"));
    assert_eq!(
        toy.image("6.12-stock-debug"),
        "stock splice\nnewer\npipe\nbug\n"
    );
}

/// It is the patched kernel with one more patch, built in the same place.
#[test]
fn a_mutant_takes_what_it_changes_to_build() {
    let toy = Toy::new();
    toy.write(
        "patches/mutants/leak.patch",
        "Applies-to: 6.12 7.3\nProperty: wire\n--- a/fs/splice.c\n+++ b/fs/splice.c\n@@ -1 +1 @@\n\
         -patched splice\n+leaking splice\n",
    );
    toy.ensure("6.12-patched").unwrap();
    toy.trace();
    let mutant = toy.ensure("6.12-mutant:leak").unwrap();
    assert_eq!(
        fs::read_to_string(&mutant.image).unwrap(),
        "leaking splice\npipe\n"
    );
    assert_eq!(toy.trace(), ["fs/splice.o", "fs/pipe.o", "linux"]);
    let folder = mutant.image.parent().unwrap().file_name().unwrap();
    assert!(folder.to_str().unwrap().starts_with("6.12-mutant-leak-"));
    assert_eq!(toy.ensure("6.12-mutant:leak").unwrap(), mutant);
    assert_eq!(toy.trace(), [""; 0], "nothing was built twice");

    let error = |name: &str| toy.ensure(name).unwrap_err().to_string();
    let unknown = error("6.12-mutant:lek");
    assert!(
        unknown.contains("no mutant `lek`") && unknown.contains("mutants/lek.patch"),
        "{unknown}"
    );
    toy.write(
        "patches/mutants/leak.patch",
        "Applies-to: 6.1 7.3\nProperty: wire\n--- a/fs/splice.c\n+++ b/fs/splice.c\n",
    );
    let wrong = error("6.12-mutant:leak");
    assert!(
        wrong.contains("leak.patch: not for 6.12: its line `Applies-to:` has `6.1 7.3`"),
        "{wrong}"
    );
}

#[test]
fn a_copy_that_was_cut_off_is_made_again() {
    let toy = Toy::new();
    toy.ensure("6.12-patched").unwrap();
    toy.write("cache/src/6.12-debug/linux/fs/splice.c", "half a fi");
    toy.write("cache/src/6.12-debug/manifest", "");
    assert_eq!(toy.image("6.12-stock-debug"), "stock splice\npipe\n");
}

#[test]
fn a_changed_ingredient_makes_another_kernel() {
    let toy = Toy::new();
    let stock = toy.ensure("6.12-stock").unwrap();
    let patched = toy.ensure("6.12-patched").unwrap();
    toy.write(
        "patches/6.12/0001.patch",
        &PATCH.replace("patched", "re-patched"),
    );
    assert_eq!(toy.ensure("6.12-stock").unwrap().key, stock.key);
    let again = toy.ensure("6.12-patched").unwrap();
    assert_ne!(again.key, patched.key);
    assert_eq!(
        fs::read_to_string(again.image).unwrap(),
        "re-patched splice\npipe\n"
    );
    toy.write("patches/config/uml.config", "CONFIG_64BIT=y\n");
    assert_ne!(toy.ensure("6.12-stock").unwrap().key, stock.key);
}

#[test]
fn a_newer_package_replaces_the_source_on_request() {
    let toy = Toy::new();
    let name: KernelName = "6.12-stock".parse().unwrap();
    let old = toy.ensure("6.12-stock").unwrap();
    toy.ensure("6.12-patched").unwrap();
    let update = || toy.workshop().update(&name, &Silent).unwrap();
    assert_eq!(update(), None);
    toy.write("archive-version", "2.0");
    toy.write("archive/fs/pipe.c", "newer pipe\n");
    assert_eq!(
        toy.ensure("6.12-stock").unwrap(),
        old,
        "not without being asked"
    );
    assert_eq!(update(), Some("2.0".to_owned()));
    assert_eq!(toy.image("6.12-stock"), "stock splice\nnewer pipe\n");
    assert_eq!(toy.image("6.12-patched"), "patched splice\nnewer pipe\n");
    let left: Vec<_> = fs::read_dir(toy.here.join("cache/src"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["6.12"]);
}

#[test]
fn a_kernel_outlives_its_source() {
    let toy = Toy::new();
    let stock = toy.ensure("6.12-stock").unwrap();
    assert!(toy.workshop().clean(&Clean::Sources).unwrap() > 0);
    assert!(!toy.here.join("cache/src").exists());
    assert_eq!(toy.ensure("6.12-stock").unwrap(), stock);
}

#[test]
fn clean_removes_what_it_is_told() {
    let toy = Toy::new();
    let names = || -> Vec<String> {
        let built = toy.workshop().cache.kernels_built();
        let mut names: Vec<_> = built.into_iter().map(|(_, meta)| meta.name).collect();
        names.sort();
        names
    };
    toy.ensure("6.12-stock").unwrap();
    toy.ensure("6.12-patched").unwrap();
    toy.write(
        "patches/6.12/0001.patch",
        &PATCH.replace("patched", "re-patched"),
    );
    toy.ensure("6.12-patched").unwrap();
    assert_eq!(names(), ["6.12-patched", "6.12-patched", "6.12-stock"]);
    toy.workshop().clean(&Clean::Outdated).unwrap();
    assert_eq!(names(), ["6.12-patched", "6.12-stock"]);
    toy.workshop()
        .clean(&Clean::Kernel("6.12-patched".parse().unwrap()))
        .unwrap();
    assert_eq!(names(), ["6.12-stock"]);
    toy.workshop().clean(&Clean::All).unwrap();
    assert!(names().is_empty());
    assert!(
        toy.here.join("cache/locks/6.12.lock").exists(),
        "locks stay"
    );
    toy.image("6.12-stock");
}

#[test]
fn a_source_in_use_is_not_cleaned() {
    let toy = Toy::new();
    toy.ensure("6.12-stock").unwrap();
    let lock = Lock::acquire(&toy.here.join("cache/locks/6.12.lock"), "", &Silent).unwrap();
    let error = toy.workshop().clean(&Clean::All).unwrap_err().to_string();
    assert!(
        error.contains("the source of 6.12 is in use by process"),
        "{error}"
    );
    drop(lock);
    toy.workshop().clean(&Clean::All).unwrap();
}

#[test]
fn two_builders_build_once() {
    let toy = Toy::new();
    toy.hold();
    let mut first = toy.process("6.12-stock");
    toy.wait_for("fs/pipe.o");
    let told = Told::default();
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            toy.workshop()
                .ensure(&"6.12-stock".parse().unwrap(), Machine::Uml, &told)
                .unwrap()
        });
        while told.0.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!second.is_finished());
        toy.release();
        second.join().unwrap()
    });
    assert!(first.wait().unwrap().success());
    assert_eq!(
        told.0.into_inner().unwrap(),
        [format!(
            "waiting for process {}, which works on the source of 6.12",
            first.id()
        )]
    );
    assert_eq!(
        fs::read_to_string(second.image).unwrap(),
        "stock splice\npipe\n"
    );
    assert_eq!(toy.trace(), ["fetch", "fs/splice.o", "fs/pipe.o", "linux"]);
}

#[test]
fn two_flavours_at_once_do_not_mix() {
    let toy = Toy::new();
    std::thread::scope(|scope| {
        let stock = scope.spawn(|| toy.image("6.12-stock"));
        let patched = scope.spawn(|| toy.image("6.12-patched"));
        assert_eq!(stock.join().unwrap(), "stock splice\npipe\n");
        assert_eq!(patched.join().unwrap(), "patched splice\npipe\n");
    });
}

#[test]
fn a_killed_build_is_continued() {
    let toy = Toy::new();
    toy.ensure("6.12-stock").unwrap();
    toy.trace();
    toy.hold();
    let mut builder = toy.process("6.12-patched");
    toy.wait_for("fs/pipe.o");
    builder.kill().unwrap();
    builder.wait().unwrap();
    let name: KernelName = "6.12-patched".parse().unwrap();
    assert_eq!(toy.workshop().find(&name, Machine::Uml).unwrap(), None);
    toy.release();
    assert_eq!(toy.image("6.12-patched"), "patched splice\npipe\n");
    assert_eq!(toy.image("6.12-stock"), "stock splice\npipe\n");
    let kernels = fs::read_dir(toy.here.join("cache/kernels")).unwrap();
    assert_eq!(kernels.count(), 2, "nothing half is left");
}

#[test]
fn a_compile_error_shows_the_log_and_leaves_no_kernel() {
    let toy = Toy::new();
    toy.write("archive/fs/splice.c", "ERROR\n");
    let error = toy.ensure("6.12-stock").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let text = error.to_string();
    assert!(
        text.starts_with("compiling 6.12-stock failed; the last lines of "),
        "{text}"
    );
    assert!(text.contains("fs/splice.c:1: error: ERROR"), "{text}");
    let Error::Failed { log: Some(log), .. } = error else {
        panic!()
    };
    assert!(log.is_file());
    assert!(!toy.here.join("cache/kernels").exists());
}

#[test]
fn a_required_option_that_is_dropped_is_an_error() {
    let toy = Toy::new();
    toy.write("archive/drop", "CONFIG_VETH=y\n");
    let error = toy.ensure("6.12-stock").unwrap_err().to_string();
    assert!(
        error.contains("its Kconfig does not take CONFIG_VETH=y"),
        "{error}"
    );
}

#[test]
fn a_series_that_is_not_there_is_said_before_anything_is_fetched() {
    let toy = Toy::new();
    fs::remove_file(toy.here.join("patches/6.12/series")).unwrap();
    let error = toy.ensure("6.12-patched").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadInput);
    assert!(
        error
            .to_string()
            .starts_with("there is no 6.12-patched: no "),
        "{error}"
    );
    assert_eq!(toy.trace(), [""; 0]);
}

#[test]
fn a_patch_that_does_not_fit_names_file_and_hunk() {
    let toy = Toy::new();
    toy.write(
        "patches/6.12/0001.patch",
        &PATCH.replace("-stock splice", "-other splice"),
    );
    let error = toy.ensure("6.12-patched").unwrap_err();
    assert_eq!(
        error.to_string(),
        "6.12/0001.patch does not apply to linux-source-6.12 1.0: fs/splice.c: Hunk #1 FAILED at 1"
    );
    assert_eq!(toy.image("6.12-stock"), "stock splice\npipe\n");
}

#[test]
fn no_space_is_said_before_anything_is_written() {
    let toy = Toy::new();
    let mut workshop = toy.workshop();
    workshop.free_bytes = |_| Ok(1_000_000_000);
    let error = workshop
        .ensure(&"6.12-stock".parse().unwrap(), Machine::Uml, &Silent)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(
        error
            .to_string()
            .starts_with("the source of 6.12 needs 4.3 GB in "),
        "{error}"
    );
    assert_eq!(toy.trace(), [""; 0]);
    assert!(!toy.here.join("cache/src").exists());
}

#[test]
fn a_tree_is_built_apart_and_follows_its_changes() {
    let toy = Toy::new();
    toy.write_tree("mine");
    let name = format!("tree:{}", toy.here.join("mine").display());
    let first = toy.ensure(&name).unwrap();
    assert_eq!(
        fs::read_to_string(&first.image).unwrap(),
        "stock splice\npipe\n"
    );
    assert_eq!(toy.trace(), ["fs/splice.o", "fs/pipe.o", "linux"]);
    assert!(!toy.here.join("mine/linux").exists() && !toy.here.join("mine/.config").exists());
    assert_eq!(toy.ensure(&name).unwrap(), first);
    assert_eq!(toy.trace(), [""; 0]);

    toy.write("mine/fs/pipe.c", "my pipe\n");
    let second = toy.ensure(&name).unwrap();
    assert_ne!(second.key, first.key);
    assert_eq!(
        fs::read_to_string(&second.image).unwrap(),
        "stock splice\nmy pipe\n"
    );
    assert_eq!(
        toy.trace(),
        ["fs/pipe.o", "linux"],
        "only what changed is compiled"
    );
}

#[test]
fn a_tree_that_does_not_compile_is_the_users_turn() {
    let toy = Toy::new();
    toy.write_tree("mine");
    toy.write("mine/fs/pipe.c", "ERROR\n");
    let error = toy
        .ensure(&format!("tree:{}", toy.here.join("mine").display()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadInput);
    assert!(
        error.to_string().contains("fs/pipe.c:1: error: ERROR"),
        "{error}"
    );
}

#[test]
fn the_need_shrinks_with_what_is_there() {
    let toy = Toy::new();
    let need = || {
        toy.workshop()
            .need(&KernelName::usual(), Machine::Uml)
            .unwrap()
    };
    let first = need();
    assert!(first.fetch && first.build == KernelName::usual());
    assert_eq!(first.free_bytes, space::FETCH_BYTES);
    toy.ensure("6.12-stock").unwrap();
    let second = need();
    assert!(!second.fetch && second.build.len() == 1);
    assert_eq!(second.free_bytes, space::BUILD_BYTES);
    toy.ensure("6.12-patched").unwrap();
    assert_eq!(need(), Need::default());
}

#[test]
fn a_tree_has_no_update_and_must_be_a_tree() {
    let toy = Toy::new();
    toy.write_tree("mine");
    let name: KernelName = format!("tree:{}", toy.here.join("mine").display())
        .parse()
        .unwrap();
    let error = toy.workshop().update(&name, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadInput);
    let error = toy
        .ensure(&format!("tree:{}", toy.here.display()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadInput);
    assert!(error.to_string().contains("has no Makefile"), "{error}");
}

#[test]
fn a_series_that_does_not_fit_a_substitute_is_a_lack_of_source() {
    let version = catalog::version("7.3").unwrap();
    let error = || Error::Patch {
        patch: "7.3/0001.patch".to_owned(),
        version: "7.9".to_owned(),
        detail: "fs/splice.c: Hunk #1 FAILED at 1".to_owned(),
    };
    let gone = of_substitute(error(), version, "7.9.1-1~bpo13+1");
    assert_eq!(gone.kind(), crate::kernel::ErrorKind::Missing);
    assert!(gone.remedy().unwrap().contains("`tree:PATH`"));
    let text = gone.to_string();
    assert!(
        text.contains("linux-source-7.3 is no longer in trixie-backports")
            && text.contains("Hunk #1"),
        "{text}"
    );
    // An update of the version itself is ours to follow.
    let own = of_substitute(error(), version, "7.3.9-1~bpo13+1");
    assert_eq!(own.kind(), crate::kernel::ErrorKind::Failed);
}
