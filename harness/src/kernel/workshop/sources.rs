//! The sources that kernels are made of: fetched, copied, mirrored, and looked at.

use std::fs;
use std::path::Path;

use super::{Origin, Workshop};
use crate::kernel::cache::SourceInfo;
use crate::kernel::catalog::Version;
use crate::kernel::command::Log;
use crate::kernel::error::Context as _;
use crate::kernel::flavour::Tree;
use crate::kernel::lock::Lock;
use crate::kernel::machine::{Arch, Machine};
use crate::kernel::progress::Silent;
use crate::kernel::source::Site;
use crate::kernel::tree::{self, Manifest};
use crate::kernel::{Error, KernelName, Progress, files, space, tools};

impl Workshop {
    /// Makes sure that the source of a version is there; returns its package's version.
    pub(super) fn provide(
        &self,
        version: &Version,
        home: &Path,
        site: &mut Site<'_>,
    ) -> Result<String, Error> {
        if let Some(info) = SourceInfo::read(home)? {
            return Ok(info.version);
        }
        match self.replace(version, None, home, site)? {
            Some(version) => Ok(version),
            None => Err(Error::Input(format!("no source of {}", version.version))),
        }
    }

    /// Makes sure that the source of a version is there, and a copy of it, called
    /// `name`, in `home`; returns its package's version. Who wants both locks takes
    /// this place's first.
    pub(super) fn second(
        &self,
        version: &Version,
        name: &str,
        home: &Path,
        site: &mut Site<'_>,
    ) -> Result<String, Error> {
        let first = self.cache.source_home(version.version);
        let what = format!("the source of {}", version.version);
        let path = self.cache.lock_path(version.version);
        let lock = Lock::acquire(&path, &what, site.progress)?;
        let source = {
            let mut site = Site {
                lock: &lock,
                log: &mut *site.log,
                progress: site.progress,
            };
            self.provide(version, &first, &mut site)?
        };
        let info = SourceInfo {
            name: name.to_owned(),
            version: source.clone(),
        };
        if SourceInfo::read(home)?.as_ref() == Some(&info) {
            return Ok(source);
        }
        files::remove_tree(home)?;
        let manifest = Manifest::scan(&first.join("linux"), self.cache.root())?;
        self.check_space(
            home,
            manifest.total_bytes() + space::BUILD_BYTES,
            &info.name,
        )?;
        site.progress.step(&format!("copying {what}"));
        tree::mirror(&first.join("linux"), &manifest, home, site.progress)?;
        Tree::new(first).undo_in(&home.join("linux"))?;
        info.write(home)?;
        Ok(source)
    }

    /// Fetches the source unless it is `have`; it appears in `home` whole or not
    /// at all.
    fn replace(
        &self,
        version: &Version,
        have: Option<&str>,
        home: &Path,
        site: &mut Site<'_>,
    ) -> Result<Option<String>, Error> {
        let beside = |what: &str| home.with_file_name(format!(".{what}-{}", version.version));
        let (work, new, old) = (beside("work"), beside("new"), beside("old"));
        // What a killed process has left is not to be counted as used.
        for leftover in [&work, &new, &old] {
            files::remove_tree(leftover)?;
        }
        self.check_space(
            home,
            space::FETCH_BYTES,
            &format!("the source of {}", version.version),
        )?;
        files::create_folder(&work)?;
        files::create_folder(&new)?;
        let fetched = self
            .fetch
            .fetch(version, have, &work, &new.join("linux"), site);
        files::remove_tree(&work)?;
        if !matches!(fetched, Ok(Some(_))) {
            files::remove_tree(&new)?;
        }
        let Some(fetched) = fetched? else {
            return Ok(None);
        };
        let info = SourceInfo {
            name: version.version.to_owned(),
            version: fetched.clone(),
        };
        info.write(&new)?;
        if home.exists() {
            fs::rename(home, &old).at("move", home)?;
        }
        fs::rename(&new, home).at("create", home)?;
        files::remove_tree(&old)?;
        Ok(Some(fetched))
    }

    /// Brings the mirror of a tree up to date; returns what identifies its content.
    pub(super) fn mirror(
        &self,
        path: &Path,
        home: &Path,
        label: &str,
        site: &mut Site<'_>,
    ) -> Result<String, Error> {
        let manifest = Manifest::scan(path, self.cache.root())?;
        if !home.join("manifest").exists() {
            self.check_space(home, manifest.total_bytes() + space::BUILD_BYTES, label)?;
        }
        site.progress.step(&format!("mirroring {}", path.display()));
        tree::mirror(path, &manifest, home, site.progress)?;
        let id = manifest.id();
        let info = SourceInfo {
            name: label.to_owned(),
            version: id.clone(),
        };
        info.write(home)?;
        Ok(id)
    }

    pub(in crate::kernel) fn update(
        &self,
        name: &KernelName,
        progress: &dyn Progress,
    ) -> Result<Option<String>, Error> {
        let order = self.order(name, Machine::Uml)?;
        let (Origin::Release(version) | Origin::Second(version)) = order.origin else {
            return Err(Error::Input(format!(
                "{}: the source is yours; there is nothing to fetch",
                order.label
            )));
        };
        if self.install_tools {
            tools::ensure(Arch::Um, progress)?;
        }
        let what = format!("the source of {}", version.version);
        let lock = Lock::acquire(&self.cache.lock_path(version.version), &what, progress)?;
        let mut log = Log::create(self.cache.log_path(&format!("{}-source", version.version)))?;
        let mut site = Site {
            lock: &lock,
            log: &mut log,
            progress,
        };
        let home = self.cache.source_home(version.version);
        let have = SourceInfo::read(&home)?.map(|info| info.version);
        self.replace(version, have.as_deref(), &home, &mut site)
    }

    pub(in crate::kernel) fn source_files(
        &self,
        name: &KernelName,
        files: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let order = self.order(name, Machine::Uml)?;
        let tree = Tree::new(self.cache.source_home(&order.source));
        if !tree.source().is_dir() {
            return Ok(vec![None; files.len()]);
        }
        // Nobody waits for a build to look at what it is made of.
        let mut own = tempfile::Builder::new();
        let own = own.prefix("sources-").tempdir_in(self.cache.root());
        let own = own.context(|| "cannot make a temporary folder")?;
        let at = |name: &str| own.path().join(name);
        let lock = Lock::acquire(&at("lock"), "nothing", &Silent)?;
        let mut log = Log::create(at("log"))?;
        tree.files(&order.series, files, &at("source"), &lock, &mut log)
    }
}
