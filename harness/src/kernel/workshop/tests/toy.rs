//! A kernel that is a Makefile of ten lines, and where it is built.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::*;
use crate::kernel::files;
use crate::kernel::progress::Silent;

/// What the suite requires, and one line that the toy's Kconfig does not know.
pub(super) const FRAGMENT: &str = "CONFIG_64BIT=y\nCONFIG_VETH=y\nCONFIG_FANCY=y\n";

/// Behaves like Kbuild as far as this module can tell. `@HERE@/hold` stops it
/// before the second object; `@HERE@/trace` tells what it did.
pub(super) const MAKEFILE: &str = "\
VERSION = 6
PATCHLEVEL = 12
HERE = @HERE@
headers:
	@mkdir -p $(O)/usr/include/linux
	@echo '#define HERE 0' > $(O)/usr/include/linux/toy.h
	@echo headers >> $(HERE)/trace
allnoconfig:
	@echo '# configuration written to .config'
	@grep -v -x -f drop $(KCONFIG_ALLCONFIG) > .config
linux: fs/splice.o fs/pipe.o
	@mkdir -p include/config
	@echo 6.12.0-toy > include/config/kernel.release
	@echo '  LD      linux'
	@cat fs/splice.o fs/pipe.o > linux
	@echo linux >> $(HERE)/trace
fs/pipe.o: fs/splice.o
%.o: %.c
	@echo '  CC      $@'
	@echo $@ >> $(HERE)/trace
	@if [ $@ = fs/pipe.o ]; then while [ -e $(HERE)/hold ]; do sleep 0.02; done; fi
	@if grep -q ERROR $<; then echo '$<:1: error: ERROR'; exit 1; fi
	@cp $< $@
";

pub(super) const PATCH: &str =
    "--- a/fs/splice.c\n+++ b/fs/splice.c\n@@ -1 +1 @@\n-stock splice\n+patched splice\n";

/// Copies `archive/`, whose version is in `archive-version`.
pub(super) struct ToyArchive(PathBuf);

impl Fetch for ToyArchive {
    fn fetch(
        &self,
        _: &Version,
        have: Option<&str>,
        work: &Path,
        into: &Path,
        _: &mut Site<'_>,
    ) -> Result<Option<String>, Error> {
        assert!(work.is_dir() && !into.exists());
        let version = fs::read_to_string(self.0.join("archive-version")).unwrap();
        if have == Some(version.as_str()) {
            return Ok(None);
        }
        let from = self.0.join("archive");
        assert!(
            Command::new("cp")
                .arg("-a")
                .args([from, into.to_owned()])
                .status()
                .unwrap()
                .success()
        );
        let mut trace = files::read(&self.0.join("trace"))
            .unwrap()
            .unwrap_or_default();
        trace.extend(b"fetch\n");
        fs::write(self.0.join("trace"), trace).unwrap();
        Ok(Some(version))
    }
}

/// A folder with archive, patches and cache.
pub(super) struct Toy {
    pub here: PathBuf,
    pub _folder: Option<tempfile::TempDir>,
}

impl Toy {
    pub fn new() -> Self {
        assert!(
            tools::find("make").is_some(),
            "make is needed: see `inflight doctor`"
        );
        let folder = tempfile::tempdir().unwrap();
        let toy = Self {
            here: folder.path().to_owned(),
            _folder: Some(folder),
        };
        toy.write_tree("archive");
        toy.write("archive-version", "1.0");
        toy.write("patches/config/uml.config", FRAGMENT);
        toy.write("patches/config/common.config", "");
        toy.write("patches/config/debug.config", "CONFIG_WATCH=y\n");
        toy.write("patches/config/debug-uml.config", "");
        toy.write("patches/6.12/series", "0001.patch\n");
        toy.write("patches/6.12/0001.patch", PATCH);
        toy
    }

    pub fn write(&self, name: &str, text: &str) {
        files::write(&self.here.join(name), text.as_bytes(), 0o644).unwrap();
    }

    pub fn write_tree(&self, folder: &str) {
        let here = self.here.display().to_string();
        self.write(
            &format!("{folder}/Makefile"),
            &MAKEFILE.replace("@HERE@", &here),
        );
        self.write(&format!("{folder}/drop"), "CONFIG_FANCY=y\n");
        self.write(&format!("{folder}/fs/splice.c"), "stock splice\n");
        self.write(&format!("{folder}/fs/pipe.c"), "pipe\n");
        self.write(&format!("{folder}/arch/um/Makefile"), "um\n");
    }

    pub fn workshop(&self) -> Workshop {
        Workshop {
            cache: Cache::new(self.here.join("cache")),
            patches: PatchFiles::Folder(self.here.join("patches")),
            fetch: Box::new(ToyArchive(self.here.clone())),
            free_bytes: |_| Ok(u64::MAX),
            install_tools: false,
            jobs: 2,
        }
    }

    pub fn ensure(&self, name: &str) -> Result<Kernel, Error> {
        self.workshop()
            .ensure(&name.parse().unwrap(), Machine::Uml, &Silent)
    }

    pub fn image(&self, name: &str) -> String {
        fs::read_to_string(self.ensure(name).unwrap().image).unwrap()
    }

    /// What happened since the last call.
    pub fn trace(&self) -> Vec<String> {
        let path = self.here.join("trace");
        let text = fs::read_to_string(&path).unwrap_or_default();
        files::remove(&path).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the toy has come so far; what it waits for happens or the test
    /// hangs, which the test runner reports.
    pub fn wait_for(&self, what: &str) {
        let reached = || {
            let trace = fs::read_to_string(self.here.join("trace"));
            trace.is_ok_and(|trace| trace.lines().any(|line| line == what))
        };
        while !reached() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn hold(&self) {
        self.write("hold", "");
    }

    pub fn release(&self) {
        fs::remove_file(self.here.join("hold")).unwrap();
    }

    /// `ensure` in a process of its own.
    pub fn process(&self, name: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kernel::workshop::tests::builder_process"])
            .args(["--ignored", "--test-threads=1"])
            .env("INFLIGHT_TEST_TOY", &self.here)
            .env("INFLIGHT_TEST_NAME", name)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}
