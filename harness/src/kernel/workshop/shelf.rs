//! What is built already, and how it comes here from elsewhere.

use std::path::{Path, PathBuf};

use super::{Order, Workshop};
use crate::kernel::cache::{Meta, kernel};
use crate::kernel::machine::Machine;
use crate::kernel::parcel::{self, Imported};
use crate::kernel::{Error, Kernel, KernelName, Need, space, tools};

impl Workshop {
    pub(in crate::kernel) fn find(
        &self,
        name: &KernelName,
        machine: Machine,
    ) -> Result<Option<Kernel>, Error> {
        if *name == KernelName::Host {
            return Ok(Some(Kernel::of_host()?));
        }
        let order = self.order(name, machine)?;
        let source = self.source_id(&order)?;
        Ok(self.lookup(&order, source.as_deref(), tools::compiler().as_deref()))
    }

    /// The kernel as it is in the cache, whatever compiler has made it of whatever source:
    /// the newest of these patches and this configuration. Builds nothing.
    pub(in crate::kernel) fn shipped(
        &self,
        name: &KernelName,
        machine: Machine,
    ) -> Result<Option<Kernel>, Error> {
        match name {
            KernelName::Host => self.find(name, machine),
            _ => Ok(self.lookup(&self.order(name, machine)?, None, None)),
        }
    }

    /// A kernel's name as in file names. Kernels that differ only in how they are booted
    /// have one.
    pub(in crate::kernel) fn slug(
        &self,
        name: &KernelName,
        machine: Machine,
    ) -> Result<String, Error> {
        Ok(self.order(name, machine)?.slug)
    }

    /// The kernel with this key, whatever there is besides.
    pub(in crate::kernel) fn of_key(
        &self,
        name: &KernelName,
        machine: Machine,
        key: &str,
    ) -> Result<Option<Kernel>, Error> {
        let slug = self.slug(name, machine)?;
        Ok(self.cache.get((name, machine), &slug, key))
    }

    /// Packs a kernel that is built into `folder`; `None`: it is not built.
    pub(in crate::kernel) fn export(
        &self,
        name: &KernelName,
        machine: Machine,
        folder: &Path,
    ) -> Result<Option<PathBuf>, Error> {
        let Some(kernel) = self.find(name, machine)? else {
            return Ok(None);
        };
        let home = kernel.image.parent().unwrap_or(&kernel.image);
        parcel::pack(home, folder).map(Some)
    }

    pub(in crate::kernel) fn import(&self, parcel: &Path) -> Result<Imported, Error> {
        self.cache.provide()?;
        parcel::unpack(parcel, &self.cache)
    }

    pub(in crate::kernel) fn need(
        &self,
        names: &[KernelName],
        machine: Machine,
    ) -> Result<Need, Error> {
        let mut need = Need::default();
        for name in names {
            if self.find(name, machine)?.is_some() {
                continue;
            }
            let order = self.order(name, machine)?;
            if self.source_id(&order)?.is_none() {
                need.fetch = true;
                need.free_bytes = space::FETCH_BYTES;
            }
            need.build.push(name.clone());
            need.free_bytes = need.free_bytes.max(space::BUILD_BYTES);
        }
        Ok(need)
    }

    pub(super) fn lookup(
        &self,
        order: &Order<'_>,
        source: Option<&str>,
        compiler: Option<&str>,
    ) -> Option<Kernel> {
        if let (Some(source), Some(compiler)) = (source, compiler) {
            let key = order.recipe.key(source, compiler);
            let own = (order.name, order.machine);
            if let Some(kernel) = self.cache.get(own, &order.slug, &key) {
                return Some(kernel);
            }
        }
        // With all known it is the key that counts, unless it was brought here as it is.
        let is_open = source.is_none() || compiler.is_none();
        let fits = |meta: &Meta| {
            meta.name == order.label
                && meta.recipe == order.recipe.as_str()
                && source.is_none_or(|source| meta.source == source)
                && (meta.is_imported
                    || is_open && compiler.is_none_or(|compiler| meta.compiler == compiler))
        };
        let built = self.cache.kernels_built();
        let (folder, meta) = built.into_iter().find(|(_, meta)| fits(meta))?;
        Some(kernel((order.name, order.machine), &folder, meta))
    }
}
