//! A source tree of the user's, mirrored into the cache.
//!
//! The user's tree is only read. The mirror is brought up to date by size and
//! time: what differs from the last visit is copied, and its copy gets the
//! present as its time, so that make(1) notices even a file that became older.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::error::Context as _;
use super::{Error, Progress, files};

/// What lstat(2) tells about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    mode: u32,
    size_bytes: u64,
    modified_ns: i128,
}

impl Stamp {
    /// Of a file whose state in the mirror is unknown: equals no real one.
    const UNKNOWN: Self = Self {
        mode: 0,
        size_bytes: 0,
        modified_ns: -1,
    };
}

/// The files of a tree that are source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Sorted by path.
    files: Vec<(PathBuf, Stamp)>,
}

/// Says why `path` is no kernel source tree, or returns its real path.
pub(super) fn check(path: &Path) -> Result<PathBuf, Error> {
    let refuse = |why: &str| Err(Error::Input(format!("tree:{}: {why}", path.display())));
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return refuse(&format!("cannot be opened: {error}")),
    };
    if !metadata.is_dir() {
        return refuse("is no folder");
    }
    let Some(makefile) = files::read(&path.join("Makefile"))? else {
        return refuse("has no Makefile, so it is no kernel source tree");
    };
    let head = String::from_utf8_lossy(&makefile[..makefile.len().min(4096)]).into_owned();
    if !["VERSION", "PATCHLEVEL"]
        .iter()
        .all(|word| head.lines().any(|line| line.starts_with(word)))
    {
        return refuse("its Makefile does not begin with the kernel's VERSION and PATCHLEVEL");
    }
    if !path.join("arch/um").is_dir() {
        return refuse("has no arch/um, and kernels are run as User Mode Linux (make ARCH=um)");
    }
    path.canonicalize().at("resolve", path)
}

impl Manifest {
    /// Looks at every file below `tree`, except `cache`, which may be inside.
    pub(super) fn scan(tree: &Path, cache: &Path) -> Result<Self, Error> {
        let mut manifest = Self::default();
        manifest.walk(tree, Path::new(""), cache)?;
        manifest.files.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(manifest)
    }

    fn walk(&mut self, top: &Path, below: &Path, cache: &Path) -> Result<(), Error> {
        let folder = top.join(below);
        if folder == cache {
            return Ok(());
        }
        for entry in fs::read_dir(&folder).at("read", &folder)? {
            let entry = entry.at("read", &folder)?;
            let name = below.join(entry.file_name());
            let kind = entry.file_type().at("read", &entry.path())?;
            if is_product(&name, kind.is_dir()) {
                continue;
            }
            if kind.is_dir() {
                self.walk(top, &name, cache)?;
            } else if kind.is_file() || kind.is_symlink() {
                let metadata = entry.metadata().at("read", &entry.path())?;
                if kind.is_file() && is_host_program(&entry.path(), &metadata) {
                    continue;
                }
                let stamp = Stamp {
                    mode: metadata.mode(),
                    size_bytes: metadata.size(),
                    modified_ns: i128::from(metadata.mtime()) * 1_000_000_000
                        + i128::from(metadata.mtime_nsec()),
                };
                self.files.push((name, stamp));
            }
        }
        Ok(())
    }

    /// Identifies the content as far as sizes and times tell.
    pub(super) fn id(&self) -> String {
        blake3::hash(&self.to_bytes()).to_hex()[..16].to_owned()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (path, stamp) in &self.files {
            let Stamp {
                mode,
                size_bytes,
                modified_ns,
            } = stamp;
            bytes.extend(format!("{mode:o} {size_bytes} {modified_ns} ").bytes());
            bytes.extend(path.as_os_str().as_bytes());
            bytes.push(0);
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut files = Vec::new();
        for record in bytes.split(|&byte| byte == 0) {
            if record.is_empty() {
                continue;
            }
            let mut fields = record.splitn(4, |&byte| byte == b' ');
            let mut field = || std::str::from_utf8(fields.next()?).ok();
            let stamp = Stamp {
                mode: u32::from_str_radix(field()?, 8).ok()?,
                size_bytes: field()?.parse().ok()?,
                modified_ns: field()?.parse().ok()?,
            };
            let path = std::ffi::OsString::from_vec(fields.next()?.to_vec());
            files.push((path.into(), stamp));
        }
        Some(Self { files })
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.files.iter().map(|(_, stamp)| stamp.size_bytes).sum()
    }
}

fn manifest_path(home: &Path) -> PathBuf {
    home.join("manifest")
}

/// Makes `home/linux` what `manifest` says of `tree`; products of builds in it
/// stay. Interrupted at any point, the next call finishes.
///
/// Returns how many files were copied or removed.
pub(super) fn mirror(
    tree: &Path,
    manifest: &Manifest,
    home: &Path,
    progress: &dyn Progress,
) -> Result<u64, Error> {
    let source = home.join("linux");
    let before = files::read(&manifest_path(home))?
        .and_then(|bytes| Manifest::from_bytes(&bytes))
        .unwrap_or_default();
    let known: HashMap<&Path, Stamp> = before
        .files
        .iter()
        .map(|(p, s)| (p.as_path(), *s))
        .collect();
    let wanted: HashMap<&Path, Stamp> = manifest
        .files
        .iter()
        .map(|(p, s)| (p.as_path(), *s))
        .collect();
    let vanished: Vec<&Path> = known
        .keys()
        .filter(|p| !wanted.contains_key(*p))
        .copied()
        .collect();
    let changed: Vec<&Path> = manifest
        .files
        .iter()
        .filter(|(path, stamp)| known.get(path.as_path()) != Some(stamp))
        .map(|(path, _)| path.as_path())
        .collect();
    if vanished.is_empty() && changed.is_empty() {
        return Ok(0);
    }

    // While we are at it, nothing is known of these.
    let mut pending = Manifest::default();
    let unknown = vanished
        .iter()
        .chain(&changed)
        .map(|path| (path.to_path_buf(), Stamp::UNKNOWN));
    pending.files.extend(unknown);
    let same = manifest
        .files
        .iter()
        .filter(|(path, stamp)| known.get(path.as_path()) == Some(stamp));
    pending.files.extend(same.cloned());
    files::write(&manifest_path(home), &pending.to_bytes(), 0o644)?;

    for path in &vanished {
        files::remove(&source.join(path))?;
    }
    for (done, path) in changed.iter().enumerate() {
        copy(&tree.join(path), &source.join(path))?;
        if done % 512 == 0 {
            progress.tick(done as u64, Some(changed.len() as u64), "files");
        }
    }
    files::write(&manifest_path(home), &manifest.to_bytes(), 0o644)?;
    Ok((vanished.len() + changed.len()) as u64)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    if let Some(parent) = to.parent() {
        files::create_folder(parent)?;
    }
    match fs::symlink_metadata(to) {
        Ok(metadata) if metadata.is_dir() => files::remove_tree(to)?,
        // Also because a file that must not be written cannot be overwritten.
        Ok(_) => files::remove(to)?,
        Err(_) => {}
    }
    let metadata = fs::symlink_metadata(from).at("read", from)?;
    if metadata.is_symlink() {
        let target = fs::read_link(from).at("read", from)?;
        std::os::unix::fs::symlink(target, to).at("create", to)
    } else {
        // The user's file does not change meanwhile, or the next scan sees
        // another time than the one that was noted and copies it again.
        fs::copy(from, to)
            .map(drop)
            .context(|| format!("cannot copy {} to {}", from.display(), to.display()))
    }
}

/// What a build leaves in a tree (most of the kernel's .gitignore), and what is
/// not source to begin with. A product too many copied does no harm: Kbuild makes
/// everything again whose `.cmd` file it does not find.
fn is_product(name: &Path, is_folder: bool) -> bool {
    const SUFFIXES: [&[u8]; 20] = [
        b".o",
        b".a",
        b".ko",
        b".cmd",
        b".order",
        b".mod",
        b".mod.c",
        b".symvers",
        b".lex.c",
        b".tab.c",
        b".tab.h",
        b".so",
        b".so.dbg",
        b".so.raw",
        b".gcno",
        b".gcda",
        b".dtb",
        b".s",
        b".asn1.c",
        b".asn1.h",
    ];
    const AT_TOP: [&[u8]; 6] = [
        b"linux",
        b"System.map",
        b".config",
        b".config.old",
        b".version",
        b"tags",
    ];
    let file = name.file_name().unwrap_or_default().as_bytes();
    if is_folder {
        // tools/include/generated is source.
        let generated = name == Path::new("include/generated")
            || (name.starts_with("arch") && name.ends_with("include/generated"));
        return file == b".git"
            || generated
            || name == Path::new("include/config")
            || file.starts_with(b".tmp_");
    }
    let at_top = name.parent() == Some(Path::new(""));
    let top_product = at_top
        && (AT_TOP.contains(&file)
            || file.starts_with(b"vmlinux")
            || file.starts_with(b".vmlinux")
            || file.starts_with(b"modules.builtin"));
    top_product
        || file.starts_with(b".tmp_")
        || files::is_temporary(name)
        || (file.starts_with(b".") && file.ends_with(b".d"))
        || SUFFIXES.iter().any(|suffix| file.ends_with(suffix))
}

/// Whether it is a program that a build made for itself, like scripts/basic/fixdep.
fn is_host_program(path: &Path, metadata: &fs::Metadata) -> bool {
    let mut magic = [0; 4];
    metadata.mode() & 0o111 != 0
        && path.extension().is_none()
        && fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && &magic == b"\x7fELF"
}

#[cfg(test)]
mod tests;
