//! Debian's archive, in small.

use super::*;
use crate::kernel::progress::Silent;

#[test]
fn the_candidate_is_read() {
    let said = "Package: linux-source-6.12\nInstalled-Size: 151000\nVersion: 6.12.117-1~deb12u1\n\
                Size: 153476148\nDescription: Linux kernel source";
    let said: Vec<_> = said.lines().map(str::to_owned).collect();
    assert_eq!(
        candidate(&said),
        Some(Candidate {
            version: "6.12.117-1~deb12u1".to_owned(),
            size_bytes: 153_476_148,
        })
    );
    assert_eq!(
        candidate(&["N: Unable to locate package x".to_owned()]),
        None
    );
    assert_eq!(candidate(&[]), None);
}

#[test]
fn the_newest_package_is_taken_for_one_that_is_gone() {
    let said = [
        "linux-source-7.9",
        "linux-source-7.10",
        "linux-source-7.10-dbg",
        "linux-source-6.18",
    ];
    let said = said.map(str::to_owned);
    assert_eq!(newest(&said), Some("linux-source-7.10"));
    assert_eq!(newest(&["linux-source-x".to_owned()]), None);
}

/// A package made here, taken apart as the real one is.
#[test]
fn a_package_is_unpacked_and_a_broken_one_is_not() {
    if tools::find("dpkg-deb").is_none() {
        return; // Not Debian: this way of getting source does not exist.
    }
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path();
    let script = "set -e; mkdir -p linux-source-1/fs p/usr/src p/DEBIAN; \
                  echo splice > linux-source-1/fs/splice.c; \
                  tar -cJf p/usr/src/linux-source-1.tar.xz linux-source-1; \
                  printf 'Package: linux-source-1\\nVersion: 1\\nArchitecture: all\\n\
                  Maintainer: a <a@example.org>\\nDescription: x\\n' > p/DEBIAN/control; \
                  dpkg-deb --root-owner-group --build p x.deb; head -c 300 x.deb > broken.deb";
    let made = clean("sh")
        .args(["-c", script])
        .current_dir(work)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let lock = Lock::acquire(&work.join("lock"), "", &Silent).unwrap();
    let mut log = Log::create(work.join("log")).unwrap();
    let mut site = Site {
        lock: &lock,
        log: &mut log,
        progress: &Silent,
    };
    let into = work.join("linux");
    let name = "linux-source-1";
    unpack(&work.join("broken.deb"), name, work, &into, &mut site).unwrap_err();
    assert!(!into.exists());
    unpack(&work.join("x.deb"), name, work, &into, &mut site).unwrap();
    assert_eq!(fs::read(into.join("fs/splice.c")).unwrap(), b"splice\n");
}

/// An archive whose suite `trixie-backports` has these source packages, each with
/// the file `fs/splice.c`; and an /etc/apt that names it.
fn archive(here: &Path, packages: &[(&str, &str)]) -> Apt {
    let script = r#"set -e
        suite=debian/dists/trixie-backports/main/binary-$(dpkg --print-architecture)
        mkdir -p $suite debian/pool etc/sources.list.d
        while read -r package version; do
            rm -rf p $package; mkdir -p p/usr/src p/DEBIAN $package/fs
            echo splice of $version > $package/fs/splice.c
            tar -cJf p/usr/src/$package.tar.xz $package
            printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n' \
                $package $version > p/DEBIAN/control
            deb=pool/$package.deb
            dpkg-deb --root-owner-group --build p debian/$deb > /dev/null
            { cat p/DEBIAN/control; echo Filename: $deb
              echo Size: $(stat -c %s debian/$deb)
              echo SHA256: $(sha256sum debian/$deb | cut -d' ' -f1); echo; } >> $suite/Packages
        done
        index=${suite#debian/dists/trixie-backports/}/Packages
        { echo Suite: trixie-backports; echo Codename: trixie-backports
          echo Components: main; echo Architectures: all $(dpkg --print-architecture)
          echo Date: $(date -uR); echo SHA256:
          echo " $(sha256sum $suite/Packages | cut -d' ' -f1) $(stat -c %s $suite/Packages) $index"
        } > debian/dists/trixie-backports/Release
        printf 'Types: deb\nURIs: copy:%s/debian\nSuites: sid\nComponents: main\n' "$PWD" \
            > etc/sources.list.d/debian.sources"#;
    let list: String = packages
        .iter()
        .map(|(package, version)| format!("{package} {version}\n"))
        .collect();
    files::write(&here.join("list"), list.as_bytes(), 0o644).unwrap();
    let made = clean("bash")
        .args(["-c", script])
        .stdin(fs::File::open(here.join("list")).unwrap())
        .current_dir(here)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    Apt {
        etc: here.join("etc"),
        // Nobody has signed it.
        options: "Acquire::AllowInsecureRepositories \"true\";\n\
                  APT::Get::AllowUnauthenticated \"true\";\n",
    }
}

const BACKPORT: Version = Version {
    version: "7.3",
    package: "linux-source-7.3",
    suite: Some("trixie-backports"),
};

#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl Progress for Notes {
    fn step(&self, _: &str) {}
    fn tick(&self, _: u64, _: Option<u64>, _: &str) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// Fetches from an archive with these packages; returns what came, its text, and
/// what was said.
fn fetch(packages: &[(&str, &str)]) -> (Result<Option<String>, Error>, String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let apt = archive(here, packages);
    let work = here.join("work");
    fs::create_dir(&work).unwrap();
    let lock = Lock::acquire(&here.join("lock"), "", &Silent).unwrap();
    let mut log = Log::create(here.join("log")).unwrap();
    let notes = Notes::default();
    let mut site = Site {
        lock: &lock,
        log: &mut log,
        progress: &notes,
    };
    let into = here.join("linux");
    let fetched = apt.fetch(&BACKPORT, None, &work, &into, &mut site);
    let text = fs::read_to_string(into.join("fs/splice.c")).unwrap_or_default();
    (fetched, text, notes.0.into_inner().unwrap())
}

/// What a suite does as time goes on.
#[test]
fn a_package_that_is_gone_is_replaced_by_the_newest_or_missed() {
    if tools::find("dpkg-deb").is_none() || tools::find("apt-get").is_none() {
        eprintln!("SKIPPED: this is not Debian, and kernels come from `tree:PATH`");
        return;
    }
    let (fetched, text, notes) = fetch(&[
        ("linux-source-7.2", "7.2.9-1"),
        ("linux-source-7.3", "7.3.4-1"),
    ]);
    assert_eq!(fetched.unwrap().as_deref(), Some("7.3.4-1"));
    assert_eq!((text.as_str(), notes.len()), ("splice of 7.3.4-1\n", 0));

    let (fetched, text, notes) = fetch(&[
        ("linux-source-7.9", "7.9.1-1"),
        ("linux-source-7.10", "7.10.2-1"),
    ]);
    assert_eq!(fetched.unwrap().as_deref(), Some("7.10.2-1"));
    assert_eq!(text, "splice of 7.10.2-1\n");
    assert_eq!(
        notes,
        ["trixie-backports has no linux-source-7.3 any more: trying its linux-source-7.10"]
    );

    let (fetched, _, _) = fetch(&[("linux-headers-7.10", "7.10.2-1")]);
    let error = fetched.unwrap_err();
    assert_eq!(error.kind(), crate::kernel::ErrorKind::Missing);
    assert_eq!(
        error.to_string(),
        "trixie-backports has no package linux-source-7.3 any more\n  \
         remedy: unpack a kernel and name its folder: `tree:PATH`"
    );
}
