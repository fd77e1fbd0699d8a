//! From a name to a kernel: all steps in order.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::cache::{Meta, SourceInfo};
use super::catalog::{self, Version};
use super::command::Log;
use super::error::Context as _;
use super::flavour::Tree;
use super::lock::Lock;
use super::machine::{Arch, Machine};
use super::name::Extras;
use super::progress::Silent;
use super::recipe::Recipe;
use super::series::{PatchFiles, Series};
use super::source::{Apt, Fetch, Site};
use super::tree::Manifest;
use super::{
    Cache, Clean, Error, Flavour, Kernel, KernelName, Mutant, Progress, files, make, mutant, space,
    tools, tree,
};

/// Where kernels are made, and from what. Tests put in a source and a cache of
/// their own.
pub(super) struct Workshop {
    cache: Cache,
    patches: PatchFiles,
    fetch: Box<dyn Fetch + Send + Sync>,
    free_bytes: fn(&Path) -> io::Result<u64>,
    install_tools: bool,
    jobs: usize,
}

/// A kernel to be made: what its name means here and now.
struct Order<'a> {
    name: &'a KernelName,
    machine: Machine,
    /// As in file names: `6.12-stock`, `tree-0123456789ab`.
    slug: String,
    /// Name of the image for people and for `meta.json`; a tree's path is the real
    /// one.
    label: String,
    /// Where it is built, and the name of that place's lock.
    source: String,
    origin: Origin,
    series: Series,
    fragment: Vec<u8>,
    recipe: Recipe,
}

/// Slug, label, the source's folder, where that comes from, and all patches.
type Made = (String, String, String, Origin, Series);

enum Origin {
    Release(&'static Version),
    /// The same source at a place of its own: objects that watch themselves are no
    /// use to the others, nor the other way round.
    Second(&'static Version),
    Tree(PathBuf),
}

impl Workshop {
    pub(super) fn from_env() -> Result<Self, Error> {
        Ok(Self {
            cache: Cache::from_env()?,
            patches: PatchFiles::from_env()?,
            fetch: Box::new(Apt::of_machine()),
            free_bytes: space::free_bytes,
            install_tools: true,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }

    /// A kernel made of a version of the catalog.
    fn of_catalog(
        &self,
        (name, arch): (&KernelName, Arch),
        version: &str,
        extras: Extras,
        slug: String,
        label: String,
        mut series: Series,
    ) -> Result<Made, Error> {
        let Some(entry) = catalog::version(version) else {
            // Built by hand: parsing refuses it.
            return Err(name
                .to_string()
                .parse::<KernelName>()
                .map_or_else(Error::from, |name| {
                    Error::Input(format!("unknown kernel `{name}`"))
                }));
        };
        series.patches.extend(self.patches.extras(extras, version)?);
        let source = format!("{version}{}{}", arch.suffix(), extras.suffix());
        let origin = match (arch, extras) {
            (Arch::Um, Extras::None) => Origin::Release(entry),
            // make(1) would compile all anew, back and forth.
            _ => Origin::Second(entry),
        };
        Ok((slug, label, source, origin, series))
    }

    fn order<'a>(&self, name: &'a KernelName, machine: Machine) -> Result<Order<'a>, Error> {
        let arch = machine.arch();
        let fragment = self.patches.fragment(arch, name.extras())?;
        let (mut slug, mut label, source, origin, series) = match name {
            KernelName::Host => {
                return Err(Error::Input(
                    "`host` is the kernel that runs already: nothing is built for it".to_owned(),
                ));
            }
            KernelName::Release {
                version,
                flavour,
                extras,
            } => {
                let series = match flavour {
                    Flavour::Stock => self.patches.base(arch, version)?,
                    Flavour::Patched | Flavour::Detach => self.patches.series(arch, version)?,
                };
                let label = name.image().to_string();
                self.of_catalog((name, arch), version, *extras, label.clone(), label, series)?
            }
            KernelName::Mutant {
                version,
                name: mutant_name,
                extras,
            } => {
                let mut series = self.patches.series(arch, version)?;
                let (word, real, patch) = mutant::patch(&self.patches, mutant_name, version)?;
                series.patches.push(patch);
                // A colon separates paths in more than one variable.
                let slug = format!("{version}-mutant-{word}{}", extras.suffix());
                let label = format!("{version}-mutant:{real}{}", extras.suffix());
                self.of_catalog((name, arch), version, *extras, slug, label, series)?
            }
            KernelName::Tree(path) => {
                let path = tree::check(path)?;
                let hash = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
                let slug = format!("tree-{}", &hash[..12]);
                let label = format!("tree:{}", path.display());
                (
                    slug.clone(),
                    label,
                    slug + arch.suffix(),
                    Origin::Tree(path),
                    Series::default(),
                )
            }
        };
        let recipe = Recipe::new(&series, &fragment);
        slug += arch.suffix();
        if arch != Arch::Um {
            // Two kernels of one name: neither is an older build of the other.
            label += &format!(" for {}", arch.base());
        }
        Ok(Order {
            name,
            machine,
            slug,
            label,
            source,
            origin,
            series,
            fragment,
            recipe,
        })
    }

    /// What the source is now, as far as that is known.
    fn source_id(&self, order: &Order<'_>) -> Result<Option<String>, Error> {
        match &order.origin {
            Origin::Release(version) | Origin::Second(version) => {
                let home = self.cache.source_home(version.version);
                Ok(SourceInfo::read(&home)?.map(|info| info.version))
            }
            Origin::Tree(path) => Ok(Some(Manifest::scan(path, self.cache.root())?.id())),
        }
    }

    /// The mutants of a version: ours, or those in a folder.
    pub(super) fn mutants(
        &self,
        version: &str,
        folder: Option<&Path>,
    ) -> Result<Vec<Mutant>, Error> {
        mutant::all(&self.patches, folder, version)
    }

    /// The patches of the series of a patched kernel, in order: name and subject.
    pub(super) fn patches(&self, name: &KernelName) -> Result<Vec<(String, String)>, Error> {
        let KernelName::Release { version, .. } = name else {
            return Err(Error::Input(format!("{name} has no series of patches")));
        };
        let base = self.patches.base(Arch::Um, version)?.patches.len();
        let series = self.patches.series(Arch::Um, version)?;
        let own = series.patches.iter().skip(base);
        Ok(own.map(|it| (it.name.clone(), it.subject())).collect())
    }

    /// Makes sure of a patched kernel with only the first so many patches of its series.
    pub(super) fn ensure_first(
        &self,
        name: &KernelName,
        count: usize,
        progress: &dyn Progress,
    ) -> Result<Kernel, Error> {
        let all = self.patches(name)?.len();
        let mut order = self.order(name, Machine::Uml)?;
        if count < all {
            let base = match name {
                KernelName::Release { version, .. } => {
                    self.patches.base(Arch::Um, version)?.patches.len()
                }
                _ => 0,
            };
            // What comes after the series is for kernels that watch themselves.
            order.series.patches.drain(base + count..base + all);
            order.slug = format!("{}-first{count}", order.slug);
            order.label = format!("{} (first {count} of {all} patches)", order.label);
            order.recipe = Recipe::new(&order.series, &order.fragment);
        }
        self.ensure_order(&order, progress)
    }

    pub(super) fn ensure(
        &self,
        name: &KernelName,
        machine: Machine,
        progress: &dyn Progress,
    ) -> Result<Kernel, Error> {
        if *name == KernelName::Host {
            return Kernel::of_host();
        }
        self.ensure_order(&self.order(name, machine)?, progress)
    }

    fn ensure_order(&self, order: &Order<'_>, progress: &dyn Progress) -> Result<Kernel, Error> {
        self.cache.provide()?;
        let source = self.source_id(order)?;
        let compiler = tools::compiler();
        if let Some(kernel) = self.lookup(order, source.as_deref(), compiler.as_deref()) {
            return Ok(kernel);
        }
        if self.install_tools {
            tools::ensure(order.machine.arch(), progress)?;
        }
        let lock = self.lock(order, progress)?;
        let mut log = Log::create(self.cache.log_path(&order.slug))?;
        let mut site = Site {
            lock: &lock,
            log: &mut log,
            progress,
        };
        self.make(order, &mut site)
    }

    /// Waits for whoever builds from the same source.
    fn lock(&self, order: &Order<'_>, progress: &dyn Progress) -> Result<Lock, Error> {
        let what = match &order.origin {
            Origin::Release(version) => format!("the source of {}", version.version),
            Origin::Second(version) => format!("the second source of {}", version.version),
            Origin::Tree(_) => order.label.clone(),
        };
        Lock::acquire(&self.cache.lock_path(&order.source), &what, progress)
    }

    /// With the lock held.
    fn make(&self, order: &Order<'_>, site: &mut Site<'_>) -> Result<Kernel, Error> {
        let begun = Instant::now();
        let home = self.cache.source_home(&order.source);
        let source = match &order.origin {
            Origin::Release(version) => self.provide(version, &home, site)?,
            Origin::Second(version) => self.second(version, &order.source, &home, site)?,
            Origin::Tree(path) => self.mirror(path, &home, &order.label, site)?,
        };
        let compiler = tools::compiler().ok_or_else(|| {
            Error::missing("there is no gcc", tools::install_command(&tools::missing()))
        })?;
        // Whoever had the lock before may have built it.
        if let Some(kernel) = self.lookup(order, Some(&source), Some(&compiler)) {
            return Ok(kernel);
        }
        self.check_space(&home, space::BUILD_BYTES, &order.label)?;
        let place = Tree::new(home);
        if let Origin::Release(version) | Origin::Second(version) = order.origin {
            let shown = format!("{} {source}", version.package);
            place
                .switch_to(&order.series, &shown, site.lock, site.log)
                .map_err(|error| of_substitute(error, version, &source))?;
        }
        let made = self.cache.kernels_built();
        let built = make::build(
            make::Job {
                name: &order.label,
                arch: order.machine.arch(),
                source: &place.source(),
                fragment: &order.fragment,
                jobs: self.jobs,
                objects: made.iter().find_map(|(_, meta)| meta.objects),
            },
            site,
        )
        .map_err(|error| match order.origin {
            Origin::Release(_) | Origin::Second(_) => error,
            Origin::Tree(_) => error.of_user(),
        })?;
        let seconds = begun.elapsed().as_secs();
        site.log.line(&format!("built in {seconds} s"));
        let meta = Meta {
            name: order.label.clone(),
            release: built.release,
            key: order.recipe.key(&source, &compiler),
            recipe: order.recipe.as_str().to_owned(),
            source,
            compiler,
            image_bytes: 0,
            objects: built.objects,
            seconds,
            built_unix_s: SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0, |time| time.as_secs()),
            is_imported: false,
        };
        self.cache.put(
            (order.name, order.machine),
            &order.slug,
            &place.source(),
            site.log.path(),
            meta,
        )
    }

    pub(super) fn source_files(
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

    /// Makes sure that the source of a version is there; returns its package's version.
    fn provide(
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
    fn second(
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
    fn mirror(
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

    fn check_space(&self, path: &Path, need_bytes: u64, what: &str) -> Result<(), Error> {
        space::check(path, need_bytes, what, self.free_bytes)
    }

    pub(super) fn update(
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

    pub(super) fn clean(&self, what: &Clean) -> Result<u64, Error> {
        let built = self.cache.kernels_built();
        let mut freed_bytes = 0;
        let mut remove = |path: &Path| -> Result<(), Error> {
            freed_bytes += files::disk_bytes(path);
            files::remove_tree(path)
        };
        match what {
            Clean::Kernel(name) => {
                let label = match name {
                    // The tree may be gone.
                    KernelName::Tree(path) => {
                        let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                        format!("tree:{}", path.display())
                    }
                    _ => name.image().to_string(),
                };
                // Whatever it is built for.
                let elsewhere = format!("{label} for ");
                let is_it = |name: &str| name == label || name.starts_with(&elsewhere);
                for (folder, _) in built.iter().filter(|(_, meta)| is_it(&meta.name)) {
                    remove(folder)?;
                }
            }
            Clean::Outdated => {
                for (at, (folder, meta)) in built.iter().enumerate() {
                    if built[..at].iter().any(|(_, newer)| newer.name == meta.name) {
                        remove(folder)?;
                    }
                }
                for shelf in self.outdated_selftests() {
                    remove(&shelf)?;
                }
            }
            Clean::Sources => {
                let _locks = self.lock_sources()?;
                remove(&self.cache.root().join("src"))?;
            }
            Clean::All => {
                let _locks = self.lock_sources()?;
                for folder in ["kernels", "src", "selftests", "logs"] {
                    remove(&self.cache.root().join(folder))?;
                }
            }
        }
        Ok(freed_bytes)
    }

    /// The locks of every source, so that none is taken from under a builder.
    fn lock_sources(&self) -> Result<Vec<Lock>, Error> {
        let folder = self.cache.root().join("locks");
        let Ok(entries) = fs::read_dir(&folder) else {
            return Ok(Vec::new());
        };
        let mut locks = Vec::new();
        for entry in entries.flatten() {
            match Lock::attempt(&entry.path())? {
                Ok(lock) => locks.push(lock),
                Err(holder) => {
                    let what = entry.path().with_extension("");
                    let what = what.file_name().unwrap_or_default().to_string_lossy();
                    return Err(Error::missing(
                        format!("the source of {what} is in use by {holder}"),
                        "wait for it, or end it",
                    ));
                }
            }
        }
        Ok(locks)
    }
}

/// A series that does not fit another version than its own is nothing to repair
/// here.
fn of_substitute(error: Error, version: &Version, source: &str) -> Error {
    let own = format!("{}.", version.version);
    if let Some(suite) = version.suite
        && matches!(error, Error::Patch { .. })
        && !source.starts_with(&own)
    {
        return Error::missing(
            format!(
                "{} is no longer in {suite}, and the series does not fit what is there now: {error}",
                version.package
            ),
            format!(
                "unpack a Linux {} and name its folder: `tree:PATH`",
                version.version
            ),
        );
    }
    error
}

mod selftests;
mod shelf;
#[cfg(test)]
mod tests;
