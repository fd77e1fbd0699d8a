//! A kernel as one file, to be carried to where nothing is built.
//!
//! `NAME-KEY.tar.gz` holds the folder that a kernel has in the cache, and `sums.json` before
//! it: the blake3 hash of each file. The key names source, patches, configuration and
//! compiler, so files of one name hold kernels that were made of the same; the hashes tell
//! whether this one has arrived whole. Packed twice from where it was built it is the same
//! file, byte by byte.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::cache::{Cache, Meta};
use super::error::Context as _;
use super::{Error, files};

/// What its file's name ends with.
pub const SUFFIX: &str = ".tar.gz";
/// What a kernel's folder holds, and who may run it.
const FILES: [(&str, u32); 4] = [
    ("meta.json", 0o644),
    ("config", 0o644),
    ("build.log", 0o644),
    ("linux", 0o755),
];
const SUMS: &str = "sums.json";
/// Two formats cannot be told apart otherwise.
const FORMAT: u32 = 1;
/// What is no kernel is not unpacked to the end of the disk.
const MOST_BYTES: u64 = 2 << 30;

/// The first file of a parcel.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    format: u32,
    /// The kernel's folder: its name as in file names, and its key.
    folder: String,
    /// By file, in hexadecimal.
    blake3: BTreeMap<String, String>,
}

/// A kernel that came out of a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its name.
    pub name: String,
    /// Its content key.
    pub key: String,
    /// Whether it is new here.
    pub is_new: bool,
}

/// Packs the kernel in `kernel`, a folder of the cache, into `folder`; returns the file.
///
/// # Errors
/// What the file system says.
pub(super) fn pack(kernel: &Path, folder: &Path) -> Result<PathBuf, Error> {
    let name = kernel.file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let mut contents = Vec::new();
    let mut blake3 = BTreeMap::new();
    for (file, mode) in FILES {
        let path = kernel.join(file);
        let bytes = fs::read(&path).at("read", &path)?;
        blake3.insert(file.to_owned(), blake3::hash(&bytes).to_hex().to_string());
        contents.push((file, mode, bytes));
    }
    let sums = Sums {
        format: FORMAT,
        folder: name.clone(),
        blake3,
    };
    let sums = serde_json::to_vec_pretty(&sums).context(|| "cannot describe the kernel")?;
    contents.insert(0, (SUMS, 0o644, sums));
    files::create_folder(folder)?;
    let path = folder.join(format!("{name}{SUFFIX}"));
    // Two who pack at once each have their own, and what comes of it is the same.
    let mut part = tempfile::Builder::new();
    let part = part.prefix(".parcel-").tempfile_in(folder);
    let mut part = part.at("write to", folder)?;
    write(&contents, part.as_file_mut()).at("write", &path)?;
    allow_reading(part.as_file()).at("write", &path)?;
    part.persist(&path)
        .map_err(|it| it.error)
        .at("write", &path)?;
    Ok(path)
}

fn write(contents: &[(&str, u32, Vec<u8>)], to: &mut File) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(to, Compression::default()));
    for (name, mode, bytes) in contents {
        // No time and no owner: the same kernel is the same file.
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        header.set_mtime(0);
        archive.append_data(&mut header, name, &bytes[..])?;
    }
    let file = archive.into_inner()?.finish()?;
    file.sync_all()
}

/// A temporary file is nobody else's; a parcel is for everybody.
fn allow_reading(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// The parcel of a kernel in `folder`, by what its name begins with, and the kernel's key.
pub(super) fn find(folder: &Path, stem: &str) -> Result<Option<(PathBuf, String)>, Error> {
    let key = |name: &str| {
        let rest = name.strip_prefix(stem)?.strip_prefix('-')?;
        let key = rest.strip_suffix(SUFFIX)?;
        let is_key = key.len() == 16 && key.chars().all(|it| it.is_ascii_hexdigit());
        is_key.then(|| key.to_owned())
    };
    let names = files::names(folder)?;
    let mut found = names
        .iter()
        .filter_map(|it| Some((folder.join(it), key(it)?)));
    Ok(found.next())
}

/// Unpacks the parcel `path` into the cache. One that is there already stays.
///
/// # Errors
/// It is no parcel, or has not arrived whole ([`super::ErrorKind::BadInput`]); what the file
/// system says.
pub(super) fn unpack(path: &Path, cache: &Cache) -> Result<Imported, Error> {
    let shown = path.display();
    let bad = |why: &dyn std::fmt::Display| {
        Error::Input(format!(
            "{shown}: {why}; it is no whole file of `inflight kernel export`"
        ))
    };
    let file = File::open(path).map_err(|error| Error::Input(format!("{shown}: {error}")))?;
    let contents = read(file).map_err(|error| bad(&error))?;
    let content = |name: &str| contents.get(name).map(Vec::as_slice);
    let sums = content(SUMS).ok_or_else(|| bad(&format!("{SUMS} is not in it")))?;
    let sums: Sums = serde_json::from_slice(sums).map_err(|error| bad(&error))?;
    if sums.format != FORMAT {
        return Err(Error::Input(format!(
            "{shown}: its format is {}, and this inflight knows {FORMAT}: use the same version \
             on both sides",
            sums.format
        )));
    }
    for (file, _) in FILES {
        let bytes = content(file).ok_or_else(|| bad(&format!("{file} is not in it")))?;
        let hash = blake3::hash(bytes).to_hex().to_string();
        if sums.blake3.get(file) != Some(&hash) {
            return Err(bad(&format!("{file} is not what was packed")));
        }
    }
    let meta = content("meta.json").unwrap_or_default();
    let mut meta: Meta = serde_json::from_slice(meta).map_err(|error| bad(&error))?;
    if !is_folder_of(&sums.folder, &meta.key) {
        return Err(bad(&format!("`{}` is no kernel's folder", sums.folder)));
    }
    let mut imported = Imported {
        name: meta.name.clone(),
        key: meta.key.clone(),
        is_new: false,
    };
    let folder = cache.kernel_folder(&sums.folder);
    if cache.is_whole(&folder) {
        return Ok(imported);
    }
    meta.is_imported = true;
    let described = serde_json::to_vec_pretty(&meta).context(|| "cannot describe the kernel")?;
    let home = folder.parent().unwrap_or(&folder);
    files::create_folder(home)?;
    let new = tempfile::Builder::new()
        .prefix(".new-import-")
        .tempdir_in(home)
        .at("write to", home)?;
    for (file, mode) in FILES {
        let bytes = match file {
            "meta.json" => &described[..],
            _ => content(file).unwrap_or_default(),
        };
        files::write(&new.path().join(file), bytes, mode)?;
    }
    imported.is_new = cache.take(new, &folder)?;
    Ok(imported)
}

/// A name that leads to a place of its own in the cache, and nowhere else.
fn is_folder_of(folder: &str, key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !key.is_empty()
        && !folder.starts_with('.')
        && folder.chars().all(plain)
        && folder.ends_with(&format!("-{key}"))
}

fn read(file: File) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut archive = tar::Archive::new(GzDecoder::new(file).take(MOST_BYTES));
    let mut contents = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        // A sparse one says how large it is, and need not be.
        entry.by_ref().take(MOST_BYTES).read_to_end(&mut bytes)?;
        contents.insert(name, bytes);
    }
    // What is cut off behind the last file is cut off all the same.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture {
        dir: tempfile::TempDir,
        kernel: PathBuf,
    }

    const FOLDER: &str = "6.12-stock-0123456789abcdef";

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let kernel = dir.path().join(FOLDER);
        fs::create_dir(&kernel).unwrap();
        let meta = r#"{"name":"6.12-stock","release":"6.12.1","key":"0123456789abcdef",
            "recipe":"r","source":"s","compiler":"c","image_bytes":5,"objects":null,
            "seconds":1,"built_unix_s":7}"#;
        for (name, text) in [
            ("meta.json", meta),
            ("config", "A=y"),
            ("build.log", "l"),
            ("linux", "image"),
        ] {
            fs::write(kernel.join(name), text).unwrap();
        }
        Fixture { dir, kernel }
    }

    fn cache(it: &Fixture, name: &str) -> Cache {
        Cache::new(it.dir.path().join(name))
    }

    #[test]
    fn a_kernel_arrives_as_it_was_sent() {
        let it = fixture();
        let out = it.dir.path().join("out");
        let parcel = pack(&it.kernel, &out).unwrap();
        assert_eq!(parcel, out.join(format!("{FOLDER}.tar.gz")));
        let cache = cache(&it, "cache");
        for is_new in [true, false] {
            let imported = unpack(&parcel, &cache).unwrap();
            assert_eq!((&*imported.name, imported.is_new), ("6.12-stock", is_new));
        }
        let folder = cache.kernel_folder(FOLDER);
        assert_eq!(fs::read(folder.join("linux")).unwrap(), b"image");
        let (_, meta) = cache.kernels_built().remove(0);
        assert!(meta.is_imported);
        // Nothing but it is left there.
        assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    }

    #[test]
    fn the_same_kernel_is_the_same_file() {
        let it = fixture();
        let packed = |folder: &str| {
            let path = pack(&it.kernel, &it.dir.path().join(folder)).unwrap();
            fs::read(path).unwrap()
        };
        assert_eq!(packed("one"), packed("two"));
    }

    #[test]
    fn what_was_cut_off_or_changed_is_refused_and_leaves_nothing() {
        let it = fixture();
        let parcel = pack(&it.kernel, &it.dir.path().join("out")).unwrap();
        let whole = fs::read(&parcel).unwrap();
        let cache = cache(&it, "cache");
        let refused = |bytes: &[u8]| {
            fs::write(&parcel, bytes).unwrap();
            unpack(&parcel, &cache).unwrap_err().to_string()
        };
        for bytes in [0, 10, whole.len() / 2, whole.len() - 1] {
            let error = refused(&whole[..bytes]);
            assert!(error.contains("inflight kernel export"), "{bytes}: {error}");
        }
        // Whole, with another image than its sums say: as by a bit that flipped in memory.
        fs::write(&parcel, &whole).unwrap();
        let mut contents = read(File::open(&parcel).unwrap()).unwrap();
        contents.insert("linux".into(), b"imagf".to_vec());
        let list: Vec<(&str, u32, Vec<u8>)> = contents
            .iter()
            .map(|(name, bytes)| (&**name, 0o644, bytes.clone()))
            .collect();
        let doctored = it.dir.path().join("doctored.tar.gz");
        write(&list, &mut File::create(&doctored).unwrap()).unwrap();
        let error = unpack(&doctored, &cache).unwrap_err();
        assert_eq!(error.kind(), super::super::ErrorKind::BadInput);
        assert!(
            error.to_string().contains("linux is not what was packed"),
            "{error}"
        );
        assert!(cache.kernels_built().is_empty());
        assert!(unpack(&parcel, &cache).unwrap().is_new);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for folder in [
            "../../etc-k",
            "a/b-k",
            ".new-k",
            "6.12-stock",
            "6.12-stock-j",
            "",
        ] {
            assert!(!is_folder_of(folder, "k"), "{folder}");
        }
        assert!(is_folder_of("6.12-stock-k", "k"));
        assert!(!is_folder_of("6.12-stock-", ""));
    }
}
