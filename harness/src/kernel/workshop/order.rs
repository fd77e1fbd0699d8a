//! What a kernel's name means here and now.

use std::path::PathBuf;

use super::Workshop;
use crate::kernel::cache::SourceInfo;
use crate::kernel::catalog::{self, Version};
use crate::kernel::machine::{Arch, Machine};
use crate::kernel::name::Extras;
use crate::kernel::recipe::Recipe;
use crate::kernel::series::Series;
use crate::kernel::tree::{self, Manifest};
use crate::kernel::{Error, Flavour, KernelName, mutant};

/// A kernel to be made: what its name means here and now.
pub(super) struct Order<'a> {
    pub name: &'a KernelName,
    pub machine: Machine,
    /// As in file names: `6.12-stock`, `tree-0123456789ab`.
    pub slug: String,
    /// Name of the image for people and for `meta.json`; a tree's path is the real
    /// one.
    pub label: String,
    /// Where it is built, and the name of that place's lock.
    pub source: String,
    pub origin: Origin,
    pub series: Series,
    pub fragment: Vec<u8>,
    pub recipe: Recipe,
}

/// Slug, label, the source's folder, where that comes from, and all patches.
type Made = (String, String, String, Origin, Series);

pub(super) enum Origin {
    Release(&'static Version),
    /// The same source at a place of its own: objects that watch themselves are no
    /// use to the others, nor the other way round.
    Second(&'static Version),
    Tree(PathBuf),
}

impl Workshop {
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

    pub(super) fn order<'a>(
        &self,
        name: &'a KernelName,
        machine: Machine,
    ) -> Result<Order<'a>, Error> {
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
    pub(super) fn source_id(&self, order: &Order<'_>) -> Result<Option<String>, Error> {
        match &order.origin {
            Origin::Release(version) | Origin::Second(version) => {
                let home = self.cache.source_home(version.version);
                Ok(SourceInfo::read(&home)?.map(|info| info.version))
            }
            Origin::Tree(path) => Ok(Some(Manifest::scan(path, self.cache.root())?.id())),
        }
    }
}
