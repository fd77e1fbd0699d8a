//! The folder with everything that was fetched and built.
//!
//! ```text
//! kernels/NAME-KEY/{linux,config,meta.json,build.log}
//! src/6.12/{linux/,source.json,flavour.json,pristine/}
//! src/tree-HASH/{linux/,manifest}
//! selftests/6.12-KEY/{include/,source/,bin/}
//! logs/   the build under way or failed
//! locks/  never deleted
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::error::Context as _;
use super::{Error, Kernel, KernelName, Machine, files};

/// Names the cache's folder.
pub const CACHE_VARIABLE: &str = "INFLIGHT_CACHE";

/// The cache's folder: `$INFLIGHT_CACHE`, else `$XDG_CACHE_HOME/inflight`, else
/// `$HOME/.cache/inflight`. It need not exist.
///
/// # Errors
/// No variable is set, or the path contains what Kbuild cannot work with.
pub fn root() -> Result<PathBuf, Error> {
    root_from(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

fn root_from(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<PathBuf, Error> {
    // "All paths set in these environment variables must be absolute. If an
    // implementation encounters a relative path [...] it should consider the path
    // invalid and ignore it" (XDG base directory specification).
    let absolute = |name| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let root = match variable(CACHE_VARIABLE) {
        Some(path) => std::path::absolute(path).context(|| "cannot find the current folder")?,
        None => match (absolute("XDG_CACHE_HOME"), absolute("HOME")) {
            (Some(cache), _) => cache.join("inflight"),
            (None, Some(home)) => home.join(".cache/inflight"),
            (None, None) => {
                return Err(Error::missing(
                    "no place for the cache: neither INFLIGHT_CACHE nor HOME is set",
                    "set INFLIGHT_CACHE to a folder with some GB of free space",
                ));
            }
        },
    };
    let forbidden = |c: char| c.is_whitespace() || ":\"'#$\\".contains(c);
    match root.to_str() {
        Some(text) if !text.contains(forbidden) => Ok(root),
        _ => Err(Error::Input(format!(
            "a kernel cannot be built in {}: the path has a blank, a colon, a quote, `#`, `$`, \
             a backslash or bytes that are no text; set INFLIGHT_CACHE to another folder",
            root.display()
        ))),
    }
}

/// The folder and where things are in it.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    root: PathBuf,
}

/// What a kernel was made of. Kept beside it in `meta.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub name: String,
    pub release: String,
    pub key: String,
    /// What went in: see [`super::recipe::Recipe`].
    pub recipe: String,
    pub source: String,
    pub compiler: String,
    /// The image's size, to notice one that was cut off.
    pub image_bytes: u64,
    /// Lines that make printed for it, to estimate the next build; only of a
    /// build from nothing.
    pub objects: Option<u64>,
    pub seconds: u64,
    pub built_unix_s: u64,
    /// It was built elsewhere: by whatever compiler, it is what is wanted here.
    #[serde(default)]
    pub is_imported: bool,
}

/// What a line of `inflight kernel list` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A kernel that can be booted.
    Kernel,
    /// Source and objects, from which the next kernel is built.
    Source,
}

/// Something in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// The kernel's name, or the source's: `6.12`, `tree:PATH`.
    pub name: String,
    /// The kernel's `uname -r`; a source's package version.
    pub release: String,
    /// The content key; empty for a source.
    pub key: String,
    /// On disk.
    pub size_bytes: u64,
    /// When it was built or unpacked.
    pub built: SystemTime,
    /// Its folder, or a kernel's image.
    pub path: PathBuf,
}

impl Cache {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn from_env() -> Result<Self, Error> {
        Ok(Self::new(root()?))
    }

    /// Makes sure that the folder is there and ours to write to: what runs needs
    /// it even where everything is built.
    pub(super) fn provide(&self) -> Result<(), Error> {
        let access = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
        fs::create_dir_all(&self.root)
            .and_then(|()| Ok(nix::unistd::access(&self.root, access)?))
            .map_err(|error| {
                Error::missing(
                    format!(
                        "{} cannot be used as the cache: {error}",
                        self.root.display()
                    ),
                    "set INFLIGHT_CACHE to a folder of yours with some GB of free space",
                )
            })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn lock_path(&self, what: &str) -> PathBuf {
        self.root.join("locks").join(format!("{what}.lock"))
    }

    pub(super) fn log_path(&self, what: &str) -> PathBuf {
        self.root.join("logs").join(format!("{what}.log"))
    }

    /// The folder of a source and of what we keep about it.
    pub(super) fn source_home(&self, slug: &str) -> PathBuf {
        self.root.join("src").join(slug)
    }

    /// Where programs of a kernel's own tree are: see [`super::workshop`].
    pub(super) fn selftests(&self) -> PathBuf {
        self.root.join("selftests")
    }

    fn kernels(&self) -> PathBuf {
        self.root.join("kernels")
    }

    /// Where a kernel is, by its name as in file names and its key.
    pub(super) fn kernel_folder(&self, name: &str) -> PathBuf {
        self.kernels().join(name)
    }

    /// Whether there is a whole kernel in a folder.
    pub(super) fn is_whole(&self, folder: &Path) -> bool {
        read_meta(folder).is_some()
    }

    /// Takes over a whole kernel from a folder beside. Returns whether it was: somebody
    /// else may have put in the same one meanwhile.
    pub(super) fn take(&self, new: tempfile::TempDir, folder: &Path) -> Result<bool, Error> {
        use std::os::unix::fs::PermissionsExt as _;
        // A temporary folder is nobody else's.
        fs::set_permissions(new.path(), fs::Permissions::from_mode(0o755)).at("write", folder)?;
        match fs::rename(new.path(), folder) {
            Ok(()) => {
                // There is nothing left to remove.
                let _ = new.keep();
                Ok(true)
            }
            Err(_) if self.is_whole(folder) => Ok(false),
            // One that is broken is in the way.
            Err(_) => {
                files::remove_tree(folder)?;
                fs::rename(new.path(), folder).at("create", folder)?;
                let _ = new.keep();
                Ok(true)
            }
        }
    }

    /// The kernel with this key.
    pub(super) fn get(
        &self,
        name: (&KernelName, Machine),
        slug: &str,
        key: &str,
    ) -> Option<Kernel> {
        let folder = self.kernels().join(format!("{slug}-{key}"));
        let meta = read_meta(&folder)?;
        (meta.key == key).then(|| kernel(name, &folder, meta))
    }

    /// Every whole kernel, the newest first.
    pub(super) fn kernels_built(&self) -> Vec<(PathBuf, Meta)> {
        let Ok(entries) = fs::read_dir(self.kernels()) else {
            return Vec::new();
        };
        let mut found: Vec<_> = entries
            .flatten()
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .filter_map(|entry| Some((entry.path(), read_meta(&entry.path())?)))
            .collect();
        found.sort_by_key(|(path, meta)| (std::cmp::Reverse(meta.built_unix_s), path.clone()));
        found
    }

    /// Puts a kernel in: all of it or nothing. The lock of its source is held.
    pub(super) fn put(
        &self,
        (name, machine): (&KernelName, Machine),
        slug: &str,
        source: &Path,
        log: &Path,
        mut meta: Meta,
    ) -> Result<Kernel, Error> {
        let folder = self.kernels().join(format!("{slug}-{}", meta.key));
        let new = self.kernels().join(format!(".new-{slug}"));
        files::remove_tree(&new)?;
        files::create_folder(&new)?;
        let copy = |from: &Path, to: &str| -> Result<(), Error> {
            let to = new.join(to);
            fs::copy(from, &to).at("write", &to)?;
            // rename(2) may reach the disk before the content does.
            let file = fs::File::open(&to).at("open", &to)?;
            file.sync_all().at("write", &to)
        };
        copy(&source.join(machine.arch().target()), "linux")?;
        copy(&source.join(".config"), "config")?;
        copy(log, "build.log")?;
        meta.image_bytes = fs::metadata(new.join("linux")).at("read", &new)?.len();
        let text = serde_json::to_vec_pretty(&meta).at("write", &new)?;
        files::write(&new.join("meta.json"), &text, 0o644)?;
        // One that is there already is broken: `get` did not want it.
        files::remove_tree(&folder)?;
        fs::rename(&new, &folder).at("create", &folder)?;
        Ok(kernel((name, machine), &folder, meta))
    }

    /// Kernels and sources.
    pub(super) fn list(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self
            .kernels_built()
            .into_iter()
            .map(|(folder, meta)| Entry {
                kind: EntryKind::Kernel,
                name: meta.name,
                release: meta.release,
                key: meta.key,
                size_bytes: files::disk_bytes(&folder),
                built: SystemTime::UNIX_EPOCH + Duration::from_secs(meta.built_unix_s),
                path: folder.join("linux"),
            })
            .collect();
        let mut sources: Vec<_> = fs::read_dir(self.root.join("src"))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
            .filter_map(|entry| {
                let info = SourceInfo::read(&entry.path()).ok()??;
                Some(Entry {
                    kind: EntryKind::Source,
                    name: info.name,
                    release: info.version,
                    key: String::new(),
                    size_bytes: files::disk_bytes(&entry.path()),
                    built: entry
                        .path()
                        .join("linux")
                        .metadata()
                        .ok()?
                        .modified()
                        .ok()?,
                    path: entry.path(),
                })
            })
            .collect();
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        entries.extend(sources);
        entries
    }
}

/// What a source is: `source.json` in its home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceInfo {
    /// `6.12`, `tree:PATH`.
    pub name: String,
    /// The package's version, e.g. `6.12.117-1~deb12u1`; of a tree the manifest's hash.
    pub version: String,
}

impl SourceInfo {
    pub(super) fn read(home: &Path) -> Result<Option<Self>, Error> {
        let path = home.join("source.json");
        files::read(&path)?
            .map(|text| serde_json::from_slice(&text).at("understand", &path))
            .transpose()
    }

    pub(super) fn write(&self, home: &Path) -> Result<(), Error> {
        let path = home.join("source.json");
        let text = serde_json::to_vec_pretty(self).at("write", &path)?;
        files::write(&path, &text, 0o644)
    }
}

pub(super) fn kernel((name, machine): (&KernelName, Machine), folder: &Path, meta: Meta) -> Kernel {
    Kernel {
        name: name.clone(),
        machine,
        image: folder.join("linux"),
        release: meta.release,
        key: meta.key,
    }
}

/// `None` where the folder is no whole kernel: then it is built again.
fn read_meta(folder: &Path) -> Option<Meta> {
    let text = fs::read(folder.join("meta.json")).ok()?;
    let meta: Meta = serde_json::from_slice(&text).ok()?;
    let image = fs::metadata(folder.join("linux")).ok()?;
    (image.is_file() && image.len() == meta.image_bytes).then_some(meta)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(variables: &[(&str, &str)]) -> Result<PathBuf, Error> {
        root_from(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_variables_come_in_order() {
        let all = [
            ("INFLIGHT_CACHE", "/a"),
            ("XDG_CACHE_HOME", "/b"),
            ("HOME", "/c"),
        ];
        assert_eq!(root(&all).unwrap(), Path::new("/a"));
        assert_eq!(root(&all[1..]).unwrap(), Path::new("/b/inflight"));
        assert_eq!(root(&all[2..]).unwrap(), Path::new("/c/.cache/inflight"));
        assert_eq!(
            root(&[("XDG_CACHE_HOME", "relative"), all[2]]).unwrap(),
            Path::new("/c/.cache/inflight")
        );
        assert!(root(&[("INFLIGHT_CACHE", "here")]).unwrap().is_absolute());
        let error = root(&[]).unwrap_err();
        assert!(error.remedy().unwrap().contains("INFLIGHT_CACHE"));
    }

    #[test]
    fn a_path_that_kbuild_cannot_take_is_refused() {
        for path in ["/with blank", "/with:colon", "/with'quote", "/with$dollar"] {
            let error = root(&[("INFLIGHT_CACHE", path)]).unwrap_err();
            assert_eq!(error.kind(), crate::kernel::ErrorKind::BadInput);
            assert!(error.to_string().contains(path), "{error}");
        }
    }

    #[test]
    fn a_kernel_that_was_cut_off_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        let source = folder.path();
        for (name, text) in [("linux", "image"), (".config", "c"), ("log", "l")] {
            fs::write(source.join(name), text).unwrap();
        }
        let meta = Meta {
            name: "6.12-stock".to_owned(),
            release: "6.12.1".to_owned(),
            key: "k".to_owned(),
            recipe: "r".to_owned(),
            source: "s".to_owned(),
            compiler: "c".to_owned(),
            image_bytes: 0,
            objects: None,
            seconds: 1,
            built_unix_s: 7,
            is_imported: false,
        };
        let name: KernelName = "6.12-stock".parse().unwrap();
        let name = (&name, Machine::Uml);
        let slug = "6.12-stock";
        assert!(cache.get(name, slug, "k").is_none());
        let kernel = cache
            .put(name, slug, source, &source.join("log"), meta)
            .unwrap();
        assert_eq!(fs::read(&kernel.image).unwrap(), b"image");
        assert!(cache.get(name, slug, "k").is_some());
        assert!(cache.get(name, slug, "other").is_none());
        assert_eq!(cache.list().len(), 1);
        fs::write(&kernel.image, "im").unwrap();
        assert!(cache.get(name, slug, "k").is_none());
        assert!(cache.list().is_empty());
    }
}
