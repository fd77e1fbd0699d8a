//! Stock and patched source in one place.
//!
//! make(1) reuses objects only where the path of the source stays the same, so
//! both flavours are built in one tree, and going from one to the other rewrites
//! just the files that differ. What has to hold, whenever the process is killed:
//! the next one can tell what every file should contain.
//!
//! - `pristine/` has the original of every file that a series touches, saved
//!   before the tree is changed; a file that the series creates has none.
//! - `flavour.json` says which series the tree has and which files may differ
//!   from their originals. It is written before the first and after the last
//!   file is changed.
//! - The patches are applied to copies of the originals in `scratch/`, and only
//!   results reach the tree: a hunk that fails changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::command::{Log, clean};
use super::error::Context as _;
use super::lock::Lock;
use super::series::{Patch, Series};
use super::{Error, files};

/// A source tree and what is needed to take it from one series to another.
#[derive(Debug)]
pub(super) struct Tree {
    home: PathBuf,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// [`Series::id`] of the series in the tree; `None` while it is changed.
    applied: Option<String>,
    /// The files that may differ from their originals.
    touched: Vec<PathBuf>,
}

/// A file's content and mode, or that there is none.
type Content = Option<(Vec<u8>, u32)>;

impl Tree {
    /// The tree in `home`: the source is `home/linux`, the rest is ours.
    pub(super) fn new(home: PathBuf) -> Self {
        Self { home }
    }

    /// Where to build.
    pub(super) fn source(&self) -> PathBuf {
        self.home.join("linux")
    }

    fn state_path(&self) -> PathBuf {
        self.home.join("flavour.json")
    }

    fn original(&self, file: &Path) -> PathBuf {
        self.home.join("pristine").join(file)
    }

    /// Gives the tree the content that `series` makes of the originals. A file
    /// that has it already keeps its time, so make(1) leaves its objects alone.
    ///
    /// # Errors
    /// [`Error::Patch`] names patch file, file and hunk; the tree is then as it
    /// was. `version` is for this message.
    pub(super) fn switch_to(
        &self,
        series: &Series,
        version: &str,
        lock: &Lock,
        log: &mut Log,
    ) -> Result<(), Error> {
        let state = self.state()?;
        let id = series.id();
        if state.applied.as_ref() == Some(&id) {
            return Ok(());
        }
        let touched = series.touched();
        let scratch = self.home.join("scratch");
        files::remove_tree(&scratch)?;
        self.render(series, &scratch, version, lock, log)?;

        for file in touched.iter().filter(|file| !state.touched.contains(file)) {
            if let Some((content, mode)) = read(&self.source().join(file))? {
                files::write(&self.original(file), &content, mode)?;
            } else {
                // Of a source that was here before.
                files::remove(&self.original(file))?;
            }
        }
        let mut union = state.touched;
        union.extend(touched.iter().cloned());
        union.sort();
        union.dedup();
        self.set_state(&State {
            applied: None,
            touched: union.clone(),
        })?;
        for file in &union {
            let wanted = if touched.contains(file) {
                read(&scratch.join(file))?
            } else {
                read(&self.original(file))?
            };
            self.give(file, wanted)?;
        }
        self.set_state(&State {
            applied: Some(id),
            touched,
        })?;
        files::remove_tree(&scratch)
    }

    /// Puts the originals of what differs from them into `copy`, a copy of the
    /// source.
    pub(super) fn undo_in(&self, copy: &Path) -> Result<(), Error> {
        for file in self.state()?.touched {
            match read(&self.original(&file))? {
                Some((content, mode)) => files::write(&copy.join(&file), &content, mode)?,
                None => files::remove(&copy.join(&file))?,
            }
        }
        Ok(())
    }

    /// Makes the files that `series` touches below `folder`, as it leaves them.
    /// The tree is only read, and may have another series. A file that the series
    /// deletes is not there.
    ///
    /// # Errors
    /// As [`Tree::switch_to`].
    pub(super) fn render(
        &self,
        series: &Series,
        folder: &Path,
        version: &str,
        lock: &Lock,
        log: &mut Log,
    ) -> Result<(), Error> {
        let state = self.state()?;
        files::create_folder(folder)?;
        for file in &series.touched() {
            if let Some((content, mode)) = self.pristine(&state, file)? {
                files::write(&folder.join(file), &content, mode)?;
            }
        }
        for patch in &series.patches {
            apply(patch, folder, version, lock, log)?;
        }
        Ok(())
    }

    /// Files as `series` leaves them; `None` for one that is not there. The tree is only
    /// read, and may have another series; somebody may even build in it meanwhile, since
    /// whoever changes a file says so before. Works in `scratch`, which is the caller's,
    /// and so is `lock`.
    ///
    /// # Errors
    /// As [`Tree::switch_to`].
    pub(super) fn files(
        &self,
        series: &Series,
        wanted: &[String],
        scratch: &Path,
        lock: &Lock,
        log: &mut Log,
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let touched = series.touched();
        loop {
            let state = self.state()?;
            files::remove_tree(scratch)?;
            let rendered = self.render(series, scratch, "its source", lock, log);
            let content = |file: &String| {
                let file = Path::new(file);
                let content = match touched.iter().any(|it| it == file) {
                    true => read(&scratch.join(file))?,
                    false => self.pristine(&state, file)?,
                };
                Ok(content.map(|(bytes, _)| bytes))
            };
            let contents = rendered.and_then(|()| wanted.iter().map(content).collect());
            // Else some of it may have been read when it was another's, or a patch did not
            // fit for that.
            if self.state()? == state {
                return contents;
            }
        }
    }

    fn state(&self) -> Result<State, Error> {
        let path = self.state_path();
        let Some(text) = files::read(&path)? else {
            return Ok(State {
                applied: Some(Series::default().id()),
                touched: Vec::new(),
            });
        };
        serde_json::from_slice(&text).at("understand", &path)
    }

    fn set_state(&self, state: &State) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(state).at("write", &self.state_path())?;
        files::write(&self.state_path(), &text, 0o644)
    }

    fn pristine(&self, state: &State, file: &Path) -> Result<Content, Error> {
        if state.touched.iter().any(|touched| touched == file) {
            read(&self.original(file))
        } else {
            read(&self.source().join(file))
        }
    }

    fn give(&self, file: &Path, wanted: Content) -> Result<(), Error> {
        let path = self.source().join(file);
        let present = read(&path)?;
        if present == wanted {
            return Ok(());
        }
        match wanted {
            Some((content, mode)) => files::write(&path, &content, mode),
            None => files::remove(&path),
        }
    }
}

fn read(path: &Path) -> Result<Content, Error> {
    let Some(content) = files::read(path)? else {
        return Ok(None);
    };
    let mode = fs::metadata(path).at("read", path)?.permissions().mode() & 0o777;
    Ok(Some((content, mode)))
}

/// Runs patch(1). A hunk may have moved, but its context must match in full.
fn apply(
    patch: &Patch,
    scratch: &Path,
    version: &str,
    lock: &Lock,
    log: &mut Log,
) -> Result<(), Error> {
    let input = scratch.with_file_name("scratch.patch");
    files::write(&input, &patch.text, 0o644)?;
    let mut command = clean("patch");
    command
        .args(["-p1", "--fuzz=0", "--force", "--no-backup-if-mismatch"])
        .args(["--reject-file=-", "--input"])
        .arg(&input)
        .current_dir(scratch);
    let mut said = Vec::new();
    log.line(&format!("# {}", patch.name));
    let status = log.run(command, lock, &mut |event| {
        if let super::command::Event::Line(line) = event {
            said.push(line.to_owned());
        }
    });
    files::remove(&input)?;
    if status?.success() {
        return Ok(());
    }
    Err(Error::Patch {
        patch: patch.name.clone(),
        version: version.to_owned(),
        detail: complaint(&said),
    })
}

/// What patch(1) complained about, as `FILE: COMPLAINT; ...`.
fn complaint(said: &[String]) -> String {
    let mut file = String::new();
    let mut complaints = Vec::new();
    for line in said {
        let named = line
            .strip_prefix("patching file ")
            .or_else(|| line.strip_prefix("checking file "));
        if let Some(name) = named {
            name.trim_matches('\'').clone_into(&mut file);
        } else if line.starts_with("Hunk #") && line.contains("FAILED") {
            complaints.push(format!("{file}: {}", line.trim_end_matches('.')));
        } else if line.starts_with("can't find file") || line.contains("malformed patch") {
            complaints.push(line.clone());
        } else if let Some(name) = line.strip_prefix("|+++ ") {
            complaints.push(name.to_owned());
        }
    }
    if complaints.is_empty() {
        complaints.extend(said.last().cloned());
    }
    complaints.join("; ")
}

#[cfg(test)]
mod tests;
