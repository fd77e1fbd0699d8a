//! The folder that units write to, and campaigns are merged from.
//!
//! ```text
//! units/ID.json     what a unit came to, when it is through
//! found/ID.json     a violation, as soon as it is seen
//! corpus/HASH       an input that reached something new
//! work/ID/          what a fuzzing unit that is not through is at
//! units.jsonl       many units, a line each, as a merge leaves them
//! found.jsonl       many violations, likewise
//! ```
//!
//! Each file has a name that says what is in it, and is written whole. So two that run the
//! same unit write the same, who is killed leaves nothing half, and folders of several
//! machines are one when their files are put together.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Done, Found, Unit};
use crate::report::whole;

const UNITS: &str = "units";
const FOUND: &str = "found";
const CORPUS: &str = "corpus";
const WORK: &str = "work";
const EXTENSION: &str = "json";
const LINES: &str = "jsonl";

/// The folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// Why a folder cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system says no.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {why}: a unit writes none like it; remove it, and run its unit again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        why: String,
    },
}

fn failed<T>(verb: &'static str, path: &Path, result: io::Result<T>) -> Result<T, StoreError> {
    result.map_err(|source| StoreError::Io {
        verb,
        path: path.to_owned(),
        source,
    })
}

impl Store {
    /// Makes what is not there yet. Refuses what cannot be written to.
    ///
    /// # Errors
    /// [`StoreError::Io`]
    pub fn open(root: &Path) -> Result<Store, StoreError> {
        let store = Store::at(root);
        for folder in [UNITS, FOUND, CORPUS] {
            let path = root.join(folder);
            failed("make", &path, fs::create_dir_all(&path))?;
            failed(
                "write to",
                &path,
                whole::try_out(&path, &["a.json".as_ref()]),
            )?;
        }
        Ok(store)
    }

    /// One to be read only.
    pub fn at(root: &Path) -> Store {
        Store {
            root: root.to_owned(),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Inputs that reached something new.
    pub fn corpus(&self) -> PathBuf {
        self.root.join(CORPUS)
    }

    /// Where a unit may keep what it is at.
    pub fn work(&self, unit: &Unit) -> PathBuf {
        self.root.join(WORK).join(unit.id())
    }

    /// Where all those keep it who run the same unit, or did: there, and with a dot and more
    /// behind the name.
    ///
    /// # Errors
    /// [`StoreError::Io`]
    pub fn works(&self, unit: &Unit) -> Result<Vec<PathBuf>, StoreError> {
        let own = unit.id();
        let mut all = files(&self.root.join(WORK))?;
        all.retain(|it| {
            let name = it.file_name().unwrap_or_default().to_string_lossy();
            name.strip_prefix(&*own)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        Ok(all)
    }

    /// What a unit came to, if it is through.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn get(&self, unit: &Unit) -> Result<Option<Done>, StoreError> {
        read_one(&self.root.join(UNITS).join(file_name(&unit.id())))
    }

    /// What a unit has found so far.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn found_of(&self, unit: &Unit) -> Result<Vec<Found>, StoreError> {
        let prefix = format!("{}-", unit.id());
        let is_its = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(prefix.as_bytes())
        };
        let all = files(&self.root.join(FOUND))?;
        let own = all.iter().filter(|it| is_its(it));
        own.filter_map(|it| read_one(it).transpose()).collect()
    }

    /// Writes what a unit came to. What it has found is to be there before.
    ///
    /// # Errors
    /// [`StoreError::Io`]
    pub fn put(&self, done: &Done) -> Result<(), StoreError> {
        self.write(UNITS, &done.unit.id(), done)
    }

    /// Writes a violation, unless the same is there and has come further.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn note(&self, found: &Found) -> Result<(), StoreError> {
        let id = found.id();
        let known: Option<Found> = read_one(&self.root.join(FOUND).join(file_name(&id)))?;
        match known.is_some_and(|it| it.further() <= found.further()) {
            true => Ok(()),
            false => self.write(FOUND, &id, found),
        }
    }

    /// Takes the inputs in `folder` into the corpus, each under its hash.
    ///
    /// # Errors
    /// [`StoreError::Io`]
    pub fn add_inputs(&self, folder: &Path) -> Result<(), StoreError> {
        let corpus = self.corpus();
        for path in files(folder)? {
            let bytes = failed("read", &path, fs::read(&path))?;
            let name = blake3::hash(&bytes).to_hex()[..32].to_owned();
            let to = corpus.join(&name);
            if !to.exists() {
                failed("write", &to, whole::write(&corpus, &name, &bytes))?;
            }
        }
        Ok(())
    }

    /// Writes many units and violations, in place of those that were written so before.
    ///
    /// # Errors
    /// [`StoreError::Io`]
    pub fn put_all<'a>(
        &self,
        units: impl Iterator<Item = &'a Done>,
        found: impl Iterator<Item = &'a Found>,
    ) -> Result<(), StoreError> {
        // A unit that is there has all that it has found: these first.
        self.write_lines(FOUND, found)?;
        self.write_lines(UNITS, units)
    }

    /// All units that are through, by name.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn units(&self) -> Result<Vec<Done>, StoreError> {
        self.read(UNITS)
    }

    /// All violations that were seen, by name.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn found(&self) -> Result<Vec<Found>, StoreError> {
        self.read(FOUND)
    }

    fn write(&self, folder: &str, id: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let folder = self.root.join(folder);
        let name = file_name(id);
        let path = folder.join(&name);
        let bytes = serde_json::to_vec(value).map_err(io::Error::from);
        let bytes = failed("write", &path, bytes)?;
        failed("write", &path, whole::write(&folder, &name, &bytes)).map(drop)
    }

    fn write_lines(
        &self,
        name: &str,
        values: impl Iterator<Item = impl Serialize>,
    ) -> Result<(), StoreError> {
        let name = format!("{name}.{LINES}");
        let path = self.root.join(&name);
        let mut bytes = Vec::new();
        for value in values {
            let line = serde_json::to_writer(&mut bytes, &value).map_err(io::Error::from);
            failed("write", &path, line)?;
            bytes.push(b'\n');
        }
        failed("write", &path, whole::write(&self.root, &name, &bytes)).map(drop)
    }

    fn read<T: DeserializeOwned>(&self, folder: &str) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        for path in files(&self.root.join(folder))? {
            if path.extension() != Some(OsStr::new(EXTENSION)) {
                continue;
            }
            all.extend(read_one(&path)?);
        }
        all.extend(self.read_lines(folder)?);
        Ok(all)
    }

    fn read_lines<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, StoreError> {
        let path = self.root.join(format!("{name}.{LINES}"));
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            bytes => failed("read", &path, bytes)?,
        };
        let lines = (1..).zip(bytes.split(|it| *it == b'\n'));
        let value = |(number, line): (usize, &[u8])| {
            serde_json::from_slice(line).map_err(|error| StoreError::Damaged {
                path: format!("{}:{number}", path.display()).into(),
                why: error.to_string(),
            })
        };
        lines
            .filter(|(_, line)| !line.is_empty())
            .map(value)
            .collect()
    }
}

/// What is in a file; `None`: there is none.
fn read_one<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => failed("read", path, bytes)?,
    };
    let value = serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    })?;
    Ok(Some(value))
}

fn file_name(id: &str) -> String {
    format!("{id}.{EXTENSION}")
}

/// The whole files of a folder, sorted; none where there is no such folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => failed("read", folder, entries)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = failed("read", folder, entry)?;
        // What begins with a dot is being written.
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    Ok(paths)
}
