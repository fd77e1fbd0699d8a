//! The selftests of a source, with the toy.

use super::*;
use crate::kernel::{Built, SelftestFile};

const TESTS: &str = "tools/testing/selftests/net";

/// Adds a test to the toy's archive, and one that only the series brings.
fn with_selftests(toy: &Toy) {
    let program =
        |status: &str| format!("#include <linux/toy.h>\nint main(void) {{ return {status}; }}\n");
    toy.write(&format!("archive/{TESTS}/old.c"), &program("HERE"));
    toy.write(&format!("archive/{TESTS}/bad.c"), &program("THERE"));
    toy.write(&format!("archive/{TESTS}/run.sh"), "exit 0\n");
    let patch = format!(
        "{PATCH}--- /dev/null\n+++ b/{TESTS}/new.c\n@@ -0,0 +1 @@\n+int main(void) {{ return 7; }}\n"
    );
    toy.write("patches/6.12/0001.patch", &patch);
}

fn selftests(toy: &Toy, name: &str, sources: &[&'static str]) -> Vec<Built> {
    let files: Vec<_> = sources
        .iter()
        .map(|source| SelftestFile { source })
        .collect();
    let name = name.parse().unwrap();
    toy.workshop().selftests(&name, &files, &Silent).unwrap()
}

fn exit_of(built: &Built) -> Option<i32> {
    let Built::At(path) = built else {
        panic!("{built:?}")
    };
    Command::new(path).status().unwrap().code()
}

#[test]
fn both_flavours_get_the_selftests_of_the_series() {
    let toy = Toy::new();
    with_selftests(&toy);
    toy.ensure("6.12-stock").unwrap();
    toy.trace();
    let sources = [
        "net/new.c",
        "net/old.c",
        "net/bad.c",
        "net/none.c",
        "net/run.sh",
    ];
    let of_stock = selftests(&toy, "6.12-stock", &sources);
    assert_eq!(toy.trace(), ["headers"]);
    assert_eq!(exit_of(&of_stock[0]), Some(7));
    assert_eq!(exit_of(&of_stock[1]), Some(0));
    let Built::Failed(why) = &of_stock[2] else {
        panic!("{of_stock:?}")
    };
    assert!(
        why.starts_with("bad.c:2:") && why.contains("THERE"),
        "{why}"
    );
    assert_eq!(of_stock[3], Built::Absent);
    assert!(matches!(&of_stock[4], Built::At(path) if path.ends_with("bin/run.sh")));
    // The tree is the stock kernel's as before, and nothing is made twice.
    let source = toy.here.join("cache/src/6.12/linux");
    assert!(!source.join(TESTS).join("new.c").exists());
    assert!(!source.join("usr").exists());
    assert_eq!(selftests(&toy, "6.12-patched", &sources), of_stock);
    assert_eq!(toy.trace(), [""; 0]);
    toy.ensure("6.12-stock").unwrap();
    assert_eq!(toy.trace(), [""; 0]);

    // From the patched tree as well, once the series is another.
    toy.ensure("6.12-patched").unwrap();
    let patch = fs::read_to_string(toy.here.join("patches/6.12/0001.patch")).unwrap();
    toy.write(
        "patches/6.12/0001.patch",
        &patch.replace("return 7", "return 8"),
    );
    let newer = selftests(&toy, "6.12-stock", &sources[..2]);
    assert_eq!(exit_of(&newer[0]), Some(8));
    let shelves = || {
        fs::read_dir(toy.here.join("cache/selftests"))
            .unwrap()
            .count()
    };
    assert_eq!(shelves(), 2);
    assert!(toy.workshop().clean(&Clean::Outdated).unwrap() > 0);
    assert_eq!(shelves(), 1);
    assert_eq!(exit_of(&newer[0]), Some(8));
}

#[test]
fn selftests_of_a_tree_are_its_own() {
    let toy = Toy::new();
    with_selftests(&toy);
    toy.write_tree("tree");
    toy.write(
        &format!("tree/{TESTS}/old.c"),
        "int main(void) { return 3; }\n",
    );
    let name = format!("tree:{}", toy.here.join("tree").display());
    let built = selftests(&toy, &name, &["net/old.c", "net/new.c"]);
    assert_eq!(exit_of(&built[0]), Some(3));
    assert_eq!(built[1], Built::Absent);
    assert!(!toy.here.join("tree/usr").exists());
}
