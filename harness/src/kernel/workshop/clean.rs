//! What is removed from the cache, and only while nobody uses it.

use std::fs;
use std::path::Path;

use super::Workshop;
use crate::kernel::lock::Lock;
use crate::kernel::{Clean, Error, KernelName, files};

impl Workshop {
    pub(in crate::kernel) fn clean(&self, what: &Clean) -> Result<u64, Error> {
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
