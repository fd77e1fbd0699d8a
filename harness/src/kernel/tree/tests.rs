use super::*;
use crate::kernel::progress::Silent;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

struct Toy {
    folder: tempfile::TempDir,
}

impl Toy {
    fn new() -> Self {
        let toy = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        toy.write("Makefile", "VERSION = 6\nPATCHLEVEL = 12\n");
        toy.write("arch/um/Makefile", "um\n");
        toy.write("fs/splice.c", "splice\n");
        toy.write("fs/gone.c", "gone\n");
        toy.write("scripts/run.sh", "run\n");
        toy.write("tools/include/generated/z.h", "source\n");
        fs::set_permissions(
            toy.tree().join("scripts/run.sh"),
            fs::Permissions::from_mode(0o555),
        )
        .unwrap();
        std::os::unix::fs::symlink("../fs", toy.tree().join("scripts/link")).unwrap();
        for product in [
            "fs/splice.o",
            "fs/.splice.o.cmd",
            ".config",
            "vmlinux",
            "include/generated/x.h",
            "include/config/A",
            ".git/HEAD",
            "arch/um/include/generated/y.h",
        ] {
            toy.write(product, "product\n");
        }
        toy.write("scripts/fixdep", "\x7fELF...");
        fs::set_permissions(
            toy.tree().join("scripts/fixdep"),
            fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        toy
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn write(&self, name: &str, text: &str) {
        files::write(&self.tree().join(name), text.as_bytes(), 0o644).unwrap();
    }

    fn scan(&self) -> Manifest {
        Manifest::scan(&self.tree(), &self.home()).unwrap()
    }

    fn mirror(&self) -> u64 {
        mirror(&self.tree(), &self.scan(), &self.home(), &Silent).unwrap()
    }

    fn mirrored(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.home().join("linux").join(name)).ok()
    }

    fn listing(&self, below: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(below).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                found.extend(self.listing(&entry.path()));
            } else {
                found.push(entry.path().display().to_string());
            }
        }
        found.sort();
        found
    }
}

#[test]
fn the_mirror_has_the_source_and_no_products() {
    let toy = Toy::new();
    let before = toy.listing(&toy.tree());
    assert_eq!(toy.mirror(), 7);
    let top = toy.home().join("linux");
    let names: Vec<_> = toy.listing(&top);
    let names: Vec<_> = names
        .iter()
        .map(|name| name.strip_prefix(top.to_str().unwrap()).unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "/Makefile",
            "/arch/um/Makefile",
            "/fs/gone.c",
            "/fs/splice.c",
            "/scripts/link",
            "/scripts/run.sh",
            "/tools/include/generated/z.h"
        ]
    );
    assert_eq!(
        fs::read_link(top.join("scripts/link")).unwrap(),
        Path::new("../fs")
    );
    assert_eq!(
        fs::metadata(top.join("scripts/run.sh"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o555
    );
    assert_eq!(
        toy.listing(&toy.tree()),
        before,
        "the user's tree was touched"
    );
}

#[test]
fn only_differences_are_copied_and_products_stay() {
    let toy = Toy::new();
    toy.mirror();
    let object = toy.home().join("linux/fs/splice.o");
    fs::write(&object, "ours").unwrap();
    assert_eq!(toy.mirror(), 0);
    let time = |name: &str| {
        fs::metadata(toy.home().join("linux").join(name))
            .unwrap()
            .modified()
            .unwrap()
    };
    let makefile = time("Makefile");
    let splice = time("fs/splice.c");

    toy.write("fs/splice.c", "SPLICE\n");
    // Same size and older than what was there, as after unpacking an archive.
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::options()
        .write(true)
        .open(toy.tree().join("fs/splice.c"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    fs::remove_file(toy.tree().join("fs/gone.c")).unwrap();
    fs::remove_file(toy.tree().join("scripts/link")).unwrap();
    toy.write("scripts/link/now/a.c", "folder\n");
    assert_eq!(toy.mirror(), 4);
    assert_eq!(toy.mirrored("fs/splice.c").unwrap(), "SPLICE\n");
    assert!(time("fs/splice.c") >= splice, "make must see the change");
    assert_eq!(toy.mirrored("fs/gone.c"), None);
    assert_eq!(toy.mirrored("scripts/link/now/a.c").unwrap(), "folder\n");
    assert_eq!(time("Makefile"), makefile);
    assert_eq!(fs::read(&object).unwrap(), b"ours");
    // And a folder that becomes a file.
    fs::remove_dir_all(toy.tree().join("scripts/link")).unwrap();
    toy.write("scripts/link", "file\n");
    toy.mirror();
    assert_eq!(toy.mirrored("scripts/link").unwrap(), "file\n");
}

#[test]
fn an_interrupted_mirror_is_finished() {
    let toy = Toy::new();
    // Cut off in the first visit: a file copied, the manifest not final.
    let mut manifest = toy.scan();
    for (_, stamp) in &mut manifest.files {
        *stamp = Stamp::UNKNOWN;
    }
    files::write(&manifest_path(&toy.home()), &manifest.to_bytes(), 0o644).unwrap();
    files::write(&toy.home().join("linux/fs/gone.c"), b"half", 0o644).unwrap();
    fs::remove_file(toy.tree().join("fs/gone.c")).unwrap();
    toy.mirror();
    assert_eq!(
        toy.mirrored("fs/gone.c"),
        None,
        "copied before the kill, gone since"
    );
    assert_eq!(toy.mirrored("fs/splice.c").unwrap(), "splice\n");
    assert_eq!(toy.mirror(), 0);
}

#[test]
fn the_id_changes_with_size_time_name_and_mode() {
    let toy = Toy::new();
    let mut ids = vec![toy.scan().id()];
    assert_eq!(toy.scan().id(), ids[0]);
    let mut next = |change: &dyn Fn()| {
        change();
        let id = toy.scan().id();
        assert!(!ids.contains(&id));
        ids.push(id);
    };
    next(&|| toy.write("fs/splice.c", "longer than before\n"));
    next(&|| fs::rename(toy.tree().join("fs/gone.c"), toy.tree().join("fs/back.c")).unwrap());
    let path = toy.tree().join("fs/back.c");
    next(&|| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap());
    next(&|| {
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap()
    });
    toy.write("fs/other.o", "a product\n");
    assert_eq!(toy.scan().id(), *ids.last().unwrap());
}

#[test]
fn a_cache_inside_the_tree_is_not_mirrored_into_itself() {
    let toy = Toy::new();
    let cache = toy.tree().join("cache");
    toy.write("cache/x.c", "ours\n");
    let manifest = Manifest::scan(&toy.tree(), &cache).unwrap();
    assert!(
        manifest
            .files
            .iter()
            .all(|(path, _)| !path.starts_with("cache"))
    );
}

#[test]
fn a_manifest_survives_its_text_form() {
    let toy = Toy::new();
    toy.write("fs/with blank\nand line.c", "x");
    let manifest = toy.scan();
    assert_eq!(
        Manifest::from_bytes(&manifest.to_bytes()).unwrap(),
        manifest
    );
    assert_eq!(Manifest::from_bytes(b"nonsense\0"), None);
    assert!(manifest.total_bytes() > 0);
}

#[test]
fn what_is_no_tree_is_refused_with_the_reason() {
    let toy = Toy::new();
    let check = |path: &Path| check(path).unwrap_err().to_string();
    assert!(check(Path::new("/nowhere/at all")).contains("No such file"));
    assert!(check(&toy.tree().join("Makefile")).contains("is no folder"));
    assert!(check(&toy.tree().join("fs")).contains("has no Makefile"));
    assert!(
        check(&toy.tree().join("arch/um")).contains("does not begin with the kernel's VERSION")
    );
    super::check(&toy.tree()).unwrap();
    fs::remove_dir_all(toy.tree().join("arch")).unwrap();
    assert!(check(&toy.tree()).contains("has no arch/um"));
}
