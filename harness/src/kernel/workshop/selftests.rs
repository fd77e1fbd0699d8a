//! Tests of a kernel's own tree, built to run on the host's libraries.
//!
//! ```text
//! selftests/6.12-KEY/include/   what `make headers` installs
//! selftests/6.12-KEY/source/    the files of tools/ that the series changes
//! selftests/6.12-KEY/bin/tls    built; or tls.absent, or tls.failed with the reason
//! ```
//!
//! The source is only read: it may have another series just then, so the files that
//! the series touches are made again beside it.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Order, Origin, Workshop};
use crate::kernel::command::{Event, Log, clean};
use crate::kernel::error::Context as _;
use crate::kernel::flavour::Tree;
use crate::kernel::machine::{Arch, Machine};
use crate::kernel::source::Site;
use crate::kernel::{Built, Error, KernelName, Progress, SelftestFile, catalog, files, tools};

const FOLDER: &str = "tools/testing/selftests";

impl Workshop {
    pub(in crate::kernel) fn selftests(
        &self,
        name: &KernelName,
        wanted: &[SelftestFile],
        progress: &dyn Progress,
    ) -> Result<Vec<Built>, Error> {
        let name = source_of(name);
        let order = self.order(&name, Machine::Uml)?;
        self.cache.provide()?;
        if let (Some(source), Some(compiler)) = (self.source_id(&order)?, tools::compiler())
            && let Some(built) = states(&self.shelf(&order, &source, &compiler), wanted)
        {
            return Ok(built);
        }
        if self.install_tools {
            tools::ensure(Arch::Um, progress)?;
        }
        let lock = self.lock(&order, progress)?;
        let log = self.cache.log_path(&format!("{}-selftests", order.source));
        let mut log = Log::create(log)?;
        let mut site = Site {
            lock: &lock,
            log: &mut log,
            progress,
        };
        let home = self.cache.source_home(&order.source);
        let source = if let Origin::Tree(path) = &order.origin {
            self.mirror(path, &home, &order.label, &mut site)?
        } else {
            let version = catalog::version(&order.source).ok_or_else(|| {
                Error::Input(format!("{} is no version of the catalog", order.source))
            })?;
            self.provide(version, &home, &mut site)?
        };
        let compiler = tools::compiler().ok_or_else(|| {
            Error::missing("there is no gcc", tools::install_command(&tools::missing()))
        })?;
        let bench = Bench {
            tree: Tree::new(home),
            shelf: self.shelf(&order, &source, &compiler),
        };
        if !bench.shelf.exists() {
            bench.lay_out(&order, &source, self.jobs, &mut site)?;
        }
        progress.step(&format!("compiling the tests of {}", order.source));
        for (done, file) in (0..).zip(wanted) {
            if state(&bench.shelf, file).is_none() {
                bench.build(file, &mut site)?;
            }
            progress.tick(done + 1, Some(wanted.len() as u64), "tests");
        }
        states(&bench.shelf, wanted)
            .ok_or_else(|| Error::Input(format!("{} changed meanwhile", bench.shelf.display())))
    }

    /// Tests of sources for which there are newer ones.
    pub(super) fn outdated_selftests(&self) -> Vec<PathBuf> {
        let mut shelves: Vec<_> = fs::read_dir(self.cache.selftests())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (source, _key) = name.rsplit_once('-')?;
                let made = entry.metadata().ok()?.modified().ok()?;
                Some((source.to_owned(), Reverse(made), entry.path()))
            })
            .collect();
        shelves.sort();
        let older = shelves.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        older.map(|pair| pair[1].2.clone()).collect()
    }

    fn shelf(&self, order: &Order<'_>, source: &str, compiler: &str) -> PathBuf {
        let key = order.recipe.key(source, compiler);
        let folder = self.cache.selftests();
        folder.join(format!("{}-{key}", order.source))
    }
}

/// The kernel whose source has the tests for all flavours of a version.
fn source_of(name: &KernelName) -> KernelName {
    let KernelName::Release { version, .. } = name else {
        return name.clone();
    };
    let flavour = |flavour: &str| format!("{version}-{flavour}").parse().ok();
    // A version without a series has only the stock one.
    flavour("patched")
        .or_else(|| flavour("stock"))
        .unwrap_or_else(|| name.clone())
}

/// The name of what can be run.
fn program(file: &SelftestFile) -> &str {
    let name = file.source.rsplit('/').next().unwrap_or(file.source);
    name.strip_suffix(".c").unwrap_or(name)
}

fn state(shelf: &Path, file: &SelftestFile) -> Option<Built> {
    let path = shelf.join("bin").join(program(file));
    let beside = |what: &str| shelf.join("bin").join(format!("{}.{what}", program(file)));
    if path.exists() {
        return Some(Built::At(path));
    }
    if beside("absent").exists() {
        return Some(Built::Absent);
    }
    let reason = fs::read_to_string(beside("failed")).ok()?;
    Some(Built::Failed(reason))
}

/// `None`: something is still to be built.
fn states(shelf: &Path, files: &[SelftestFile]) -> Option<Vec<Built>> {
    files.iter().map(|file| state(shelf, file)).collect()
}

/// Where tests are built, with the lock of their source.
struct Bench {
    tree: Tree,
    shelf: PathBuf,
}

impl Bench {
    /// Headers, and what the series makes of the tests: all of it or nothing.
    fn lay_out(
        &self,
        order: &Order<'_>,
        source: &str,
        jobs: usize,
        site: &mut Site<'_>,
    ) -> Result<(), Error> {
        let what = format!("the headers of {}", order.source);
        site.progress.step(&format!("installing {what}"));
        let new = self
            .shelf
            .with_file_name(format!(".new-selftests-{}", order.source));
        let work = new.join("work");
        files::remove_tree(&new)?;
        files::create_folder(&work)?;
        // With O= nothing is written to the source, though it has been built in.
        let mut command = clean("make");
        command.arg("-C").arg(self.tree.source());
        let mut output = std::ffi::OsString::from("O=");
        output.push(&work);
        command.arg(output).arg(format!("-j{jobs}")).arg("headers");
        site.run(command, &format!("installing {what}"))?;
        let include = work.join("usr/include");
        fs::rename(&include, new.join("include")).at("move", &include)?;

        let rendered = new.join("rendered");
        self.tree
            .render(&order.series, &rendered, source, site.lock, site.log)?;
        let changed = new.join("source");
        files::create_folder(&changed)?;
        if rendered.join("tools").exists() {
            fs::rename(rendered.join("tools"), changed.join("tools")).at("move", &rendered)?;
        }
        for done in [&work, &rendered] {
            files::remove_tree(done)?;
        }
        files::create_folder(&new.join("bin"))?;
        fs::rename(&new, &self.shelf).at("create", &self.shelf)
    }

    /// Makes one test, or notes why there is none.
    fn build(&self, file: &SelftestFile, site: &mut Site<'_>) -> Result<(), Error> {
        let below = Path::new(FOLDER).join(file.source);
        let places = [self.shelf.join("source"), self.tree.source()];
        let source = places
            .iter()
            .map(|place| place.join(&below))
            .find(|path| path.exists());
        let bin = self.shelf.join("bin");
        let note = |what: &str, text: &str| {
            let path = bin.join(format!("{}.{what}", program(file)));
            files::write(&path, text.as_bytes(), 0o644)
        };
        let Some(source) = source else {
            return note("absent", "");
        };
        let target = bin.join(program(file));
        if !file.source.ends_with(".c") {
            let script = fs::read(&source).at("read", &source)?;
            return files::write(&target, &script, 0o755);
        }
        // The options of the tree's own lib.mk, and the places where its Makefiles
        // let sources look for headers.
        let new = bin.join(format!(".new-{}", program(file)));
        let mut command = clean("gcc");
        command.args(["-O2", "-w", "-D_GNU_SOURCE=", "-isystem"]);
        command.arg(self.shelf.join("include"));
        let tests = self.tree.source().join(FOLDER);
        let folder = tests.join(file.source);
        let tools = self.tree.source().join("tools/include");
        for folder in [folder.parent(), Some(&*tests), Some(&*tools)] {
            command.arg("-I").arg(folder.unwrap_or(&tests));
        }
        command.arg(&source).arg("-o").arg(&new).arg("-lpthread");
        let mut complaint = None;
        let status = site.log.run(command, site.lock, &mut |event| {
            if let Event::Line(line) = event
                && complaint.is_none()
                && ["error:", "undefined reference", "cannot find"]
                    .iter()
                    .any(|word| line.contains(word))
            {
                complaint = Some(line.to_owned());
            }
        })?;
        if status.success() {
            return fs::rename(&new, &target).at("create", &target);
        }
        let failure = site.log.failure("compiling a test failed");
        match complaint {
            // Not the test's fault, and gone the next time.
            _ if failure.kind() == crate::kernel::ErrorKind::Missing => Err(failure),
            Some(complaint) => note("failed", &short(&complaint)),
            None => Err(failure),
        }
    }
}

/// A complaint of the compiler, without the folders before the file's name.
fn short(complaint: &str) -> String {
    let (place, rest) = complaint.split_once(": ").unwrap_or(("", complaint));
    let file = place.rsplit('/').next().unwrap_or(place);
    match file {
        "" => rest.to_owned(),
        file => format!("{file}: {rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_complaint_names_the_file_and_not_the_machine() {
        assert_eq!(
            short("/home/x/tools/net/tls.c:1679:9: error: too many arguments"),
            "tls.c:1679:9: error: too many arguments"
        );
        assert_eq!(
            short("/usr/bin/ld: cannot find -lcap"),
            "ld: cannot find -lcap"
        );
        assert_eq!(short("oops"), "oops");
    }
}
