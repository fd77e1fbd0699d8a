//! From a name to a kernel: all steps in order.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `order` | what a name means here and now |
//! | `sources` | the sources that kernels are made of |
//! | `shelf` | what is built already, and how it comes here from elsewhere |
//! | `clean` | what is removed |
//! | `selftests` | tests of a kernel's own tree, built to run on the host's libraries |

mod clean;
mod order;
mod selftests;
mod shelf;
mod sources;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::time::{Instant, SystemTime};

use super::cache::Meta;
use super::catalog::Version;
use super::command::Log;
use super::flavour::Tree;
use super::lock::Lock;
use super::machine::{Arch, Machine};
use super::recipe::Recipe;
use super::series::PatchFiles;
use super::source::{Apt, Fetch, Site};
use super::{Cache, Error, Kernel, KernelName, Mutant, Progress, make, mutant, space, tools};
use order::{Order, Origin};

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

    fn check_space(&self, path: &Path, need_bytes: u64, what: &str) -> Result<(), Error> {
        space::check(path, need_bytes, what, self.free_bytes)
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
