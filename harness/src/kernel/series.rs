//! What `kernel-patch/` contains: configuration fragments and patch series.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};

use super::machine::Arch;
use super::name::Extras;
use super::{Error, files};

/// `kernel-patch/` as it was when this binary was built.
static EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/kernel_patch.rs"));

/// Names a folder to use instead, for who works on the patches.
pub const PATCH_VARIABLE: &str = "INFLIGHT_KERNEL_PATCH";

/// The files of `kernel-patch/`.
#[derive(Debug, Clone)]
pub(super) enum PatchFiles {
    /// Those in this binary.
    Embedded,
    /// Those in a folder.
    Folder(PathBuf),
}

/// Patches in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Series {
    pub patches: Vec<Patch>,
}

/// One patch file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    /// Its name below `kernel-patch/`.
    pub name: String,
    pub text: Vec<u8>,
    /// The files that it changes, creates, deletes or renames, relative to the
    /// top of the source tree.
    pub touched: Vec<PathBuf>,
}

impl PatchFiles {
    /// The folder that [`PATCH_VARIABLE`] names, or the embedded files.
    pub(super) fn from_env() -> Result<Self, Error> {
        match std::env::var_os(PATCH_VARIABLE) {
            Some(folder) if !folder.is_empty() => {
                let folder = PathBuf::from(folder);
                if !folder.is_dir() {
                    return Err(Error::Input(format!(
                        "{PATCH_VARIABLE} names {}, which is no folder",
                        folder.display()
                    )));
                }
                Ok(Self::Folder(folder))
            }
            _ => Ok(Self::Embedded),
        }
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>, Error> {
        match self {
            Self::Embedded => Ok(EMBEDDED
                .iter()
                .find(|(file, _)| *file == name)
                .map(|(_, content)| Cow::Borrowed(*content))),
            Self::Folder(folder) => Ok(files::read(&folder.join(name))?.map(Cow::Owned)),
        }
    }

    /// The names of the files in a folder, which ends with a slash or is empty; none where
    /// there is no such folder.
    pub(super) fn names(&self, folder: &str) -> Result<Vec<String>, Error> {
        match self {
            Self::Embedded => Ok(EMBEDDED
                .iter()
                .filter_map(|(file, _)| file.strip_prefix(folder))
                .filter(|name| !name.contains('/'))
                .map(str::to_owned)
                .collect()),
            Self::Folder(home) => files::names(&home.join(folder)),
        }
    }

    /// Where a file is, for messages.
    pub(super) fn place(&self, name: &str) -> String {
        match self {
            Self::Embedded => format!("kernel-patch/{name} of this binary"),
            Self::Folder(folder) => folder.join(name).display().to_string(),
        }
    }

    /// The configuration fragment; what the extras take follows.
    pub(super) fn fragment(&self, arch: Arch, extras: Extras) -> Result<Vec<u8>, Error> {
        let mut names = arch.fragments().to_vec();
        if extras.watches() {
            names.extend(["debug.config", arch.watching()]);
        }
        if extras == Extras::Kcsan {
            if arch == Arch::Um {
                return Err(Error::Input(
                    "-kcsan looks for races between CPUs, and User Mode Linux has one: \
                     --engine qemu"
                        .to_owned(),
                ));
            }
            names.push("kcsan.config");
        }
        if extras.counts() {
            names.push("kcov.config");
        }
        let mut fragment = Vec::new();
        for name in names {
            let name = format!("config/{name}");
            let part = self.read(&name)?;
            let part = part.ok_or_else(|| Error::Input(format!("no {}", self.place(&name))))?;
            fragment.extend_from_slice(&part);
        }
        Ok(fragment)
    }

    /// Whether there is a series for a version.
    pub(super) fn has_series(&self, version: &str) -> bool {
        matches!(self.read(&format!("{version}/series")), Ok(Some(_)))
    }

    /// What the engine needs of a version: no flavour goes without it. Empty where it
    /// needs nothing.
    pub(super) fn base(&self, arch: Arch, version: &str) -> Result<Series, Error> {
        let patches = self.listed(&format!("{}/{version}", arch.base()))?;
        Ok(Series {
            patches: patches.unwrap_or_default(),
        })
    }

    /// What only a kernel with these extras gets: bugs to be provoked, to see that
    /// it cries; or the places at which to count. Empty where there is nothing.
    pub(super) fn extras(&self, extras: Extras, version: &str) -> Result<Vec<Patch>, Error> {
        let mut patches = Vec::new();
        if extras.watches() {
            patches.extend(
                self.listed(&format!("debug/{version}"))?
                    .unwrap_or_default(),
            );
        }
        if extras.counts() {
            patches.extend(self.listed(&format!("kcov/{version}"))?.unwrap_or_default());
        }
        Ok(patches)
    }

    /// The base and the series of a version.
    pub(super) fn series(&self, arch: Arch, version: &str) -> Result<Series, Error> {
        let mut series = self.base(arch, version)?;
        let Some(patches) = self.listed(version)? else {
            return Err(Error::Input(format!(
                "there is no {version}-patched: no {}",
                self.place(&format!("{version}/series"))
            )));
        };
        series.patches.extend(patches);
        Ok(series)
    }

    pub(super) fn patch(&self, name: String, text: Cow<'static, [u8]>) -> Result<Patch, Error> {
        let touched =
            touched(&text).map_err(|why| Error::Input(format!("{}: {why}", self.place(&name))))?;
        Ok(Patch {
            name,
            text: text.into_owned(),
            touched,
        })
    }

    // The patches that `folder/series` lists; `None`: there is no such file.
    fn listed(&self, folder: &str) -> Result<Option<Vec<Patch>>, Error> {
        let name = format!("{folder}/series");
        let Some(list) = self.read(&name)? else {
            return Ok(None);
        };
        let list = String::from_utf8_lossy(&list);
        let mut patches = Vec::new();
        for (number, line) in list.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let file = format!("{folder}/{line}");
            let text = match Path::new(line)
                .components()
                .all(|c| matches!(c, Component::Normal(_)))
            {
                true => self.read(&file)?,
                false => None,
            };
            let text = text.ok_or_else(|| {
                Error::Input(format!(
                    "{}:{}: no patch `{line}`",
                    self.place(&name),
                    number + 1
                ))
            })?;
            patches.push(self.patch(file, text)?);
        }
        if patches.is_empty() {
            return Err(Error::Input(format!(
                "{} lists no patch",
                self.place(&name)
            )));
        }
        Ok(Some(patches))
    }
}

impl Patch {
    /// What it says of itself in its subject line, without `[PATCH n/m]`.
    pub(super) fn subject(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        let mut lines = text
            .lines()
            .skip_while(|line| !line.starts_with("Subject:"));
        let Some(first) = lines.next() else {
            return String::new();
        };
        let mut subject = first["Subject:".len()..].trim().to_owned();
        // A long one goes on in lines that begin with a blank.
        for line in lines.take_while(|line| line.starts_with(' ')) {
            subject += " ";
            subject += line.trim();
        }
        match subject
            .strip_prefix("[PATCH")
            .and_then(|it| it.split_once(']'))
        {
            Some((_, rest)) => rest.trim().to_owned(),
            None => subject,
        }
    }
}

impl Series {
    /// Tells two series apart: names and contents.
    pub(super) fn id(&self) -> String {
        if self.patches.is_empty() {
            return "none".to_owned();
        }
        let mut hasher = blake3::Hasher::new();
        for patch in &self.patches {
            for part in [patch.name.as_bytes(), &patch.text] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    /// Every file that some patch touches, sorted.
    pub(super) fn touched(&self) -> Vec<PathBuf> {
        let all = self.patches.iter().flat_map(|patch| &patch.touched);
        let mut all: Vec<_> = all.cloned().collect();
        all.sort();
        all.dedup();
        all
    }
}

/// The files that a unified diff touches, with the first folder (`a/`, `b/`)
/// taken off. Hunks are counted through by the numbers in their headers, so that
/// a removed line `-- x` is not taken for a file name.
fn touched(text: &[u8]) -> Result<Vec<PathBuf>, String> {
    let text = String::from_utf8_lossy(text);
    let mut touched: Vec<PathBuf> = Vec::new();
    let (mut old_left, mut new_left) = (0, 0);
    let mut add = |name: &str, strip: bool| -> Result<(), String> {
        // After a tab stands a time in what plain diff(1) writes.
        let name = name.split('\t').next().unwrap_or_default().trim_end();
        if name == "/dev/null" {
            return Ok(());
        }
        let path = match (strip, name.split_once('/')) {
            (false, _) => name,
            (true, Some((_, path))) => path,
            (true, None) => return Err(format!("`{name}` has no folder to strip (use -p1 form)")),
        };
        let path = Path::new(path);
        if path.as_os_str().is_empty()
            || !path.components().all(|c| matches!(c, Component::Normal(_)))
        {
            return Err(format!("`{name}` leads out of the source tree"));
        }
        if !touched.iter().any(|known| known == path) {
            touched.push(path.to_owned());
        }
        Ok(())
    };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if old_left > 0 || new_left > 0 {
            match line.as_bytes().first() {
                Some(b'-') => old_left -= 1,
                Some(b'+') => new_left -= 1,
                Some(b'\\') => {}
                _ => {
                    old_left -= 1;
                    new_left -= 1;
                }
            }
        } else if let Some((old, new)) = hunk_lengths(line) {
            (old_left, new_left) = (old, new);
        } else if let Some(old) = line.strip_prefix("--- ")
            && let Some(new) = lines.peek().and_then(|next| next.strip_prefix("+++ "))
        {
            add(old, true)?;
            add(new, true)?;
        } else if let Some(name) = line
            .strip_prefix("rename from ")
            .or_else(|| line.strip_prefix("rename to "))
        {
            add(name, false)?;
        }
    }
    if touched.is_empty() {
        return Err("no file is changed in it".to_owned());
    }
    Ok(touched)
}

/// The numbers of old and new lines in `@@ -1,7 +1,8 @@`.
fn hunk_lengths(line: &str) -> Option<(i64, i64)> {
    let mut words = line.strip_prefix("@@ ")?.split(' ');
    let mut length = |sign: char| -> Option<i64> {
        let range = words.next()?.strip_prefix(sign)?;
        match range.split_once(',') {
            Some((_, length)) => length.parse().ok(),
            None => Some(1),
        }
    };
    Some((length('-')?, length('+')?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const PATCH: &str = "\
From: A <a@example.org>
Subject: [PATCH] splice: x

Text with a table:
--- and this
is no file.
---
 fs/splice.c | 2 +-

diff --git a/fs/splice.c b/fs/splice.c
index 1..2 100644
--- a/fs/splice.c
+++ b/fs/splice.c
@@ -1,3 +1,3 @@ int x
 a
--- b/sql comment removed
+++ b/not a file
 c
@@ -10 +10 @@
-x
+y
diff --git a/fs/new.h b/fs/new.h
new file mode 100644
--- /dev/null
+++ b/fs/new.h
@@ -0,0 +1 @@
+int new;
diff --git a/old name.txt b/renamed.txt
similarity index 100%
rename from old name.txt
rename to renamed.txt
--
2.39
";

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PatchFiles) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let files = PatchFiles::Folder(folder.path().to_owned());
        (folder, files)
    }

    #[test]
    fn touched_files_are_found_and_nothing_else() {
        let expected = ["fs/splice.c", "fs/new.h", "old name.txt", "renamed.txt"];
        assert_eq!(
            touched(PATCH.as_bytes()).unwrap(),
            expected.map(PathBuf::from)
        );
    }

    #[test]
    fn a_patch_has_a_subject() {
        let subject = |text: &str| {
            let patch = Patch {
                name: "a".to_owned(),
                text: text.as_bytes().to_vec(),
                touched: Vec::new(),
            };
            patch.subject()
        };
        assert_eq!(subject(PATCH), "splice: x");
        let long = "From: A\nSubject: [PATCH v2 07/12] net: a long\n one\nX: y\n\nText.\n";
        assert_eq!(subject(long), "net: a long one");
        assert_eq!(subject("Subject: plain\n\n"), "plain");
        assert_eq!(subject("--- a/x\n+++ b/x\n"), "");
    }

    #[test]
    fn paths_out_of_the_tree_are_refused() {
        for name in ["a/../../etc/passwd", "a//etc/passwd", "a/"] {
            let text = format!("--- {name}\n+++ {name}\n@@ -1 +1 @@\n-a\n+b\n");
            assert!(
                touched(text.as_bytes()).unwrap_err().contains("leads out"),
                "{name}"
            );
        }
        assert!(
            touched(b"--- x\n+++ x\n")
                .unwrap_err()
                .contains("no folder to strip")
        );
        assert!(
            touched(b"hello\n")
                .unwrap_err()
                .contains("no file is changed")
        );
    }

    #[test]
    fn a_series_is_read_in_order_with_comments() {
        let (_folder, files) = folder(&[
            (
                "6.12/series",
                "# ours\n\n0002-b.patch  # first\n0001-a.patch\n",
            ),
            ("6.12/0001-a.patch", PATCH),
            (
                "6.12/0002-b.patch",
                "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
            ),
        ]);
        let series = files.series(Arch::Um, "6.12").unwrap();
        let names: Vec<_> = series.patches.iter().map(|patch| &patch.name).collect();
        assert_eq!(names, ["6.12/0002-b.patch", "6.12/0001-a.patch"]);
        assert_eq!(series.touched().len(), 5);
    }

    #[test]
    fn what_is_wrong_with_a_series_is_said() {
        let (folder, files) = folder(&[
            ("1/series", "a.patch\nnone.patch\n"),
            ("1/a.patch", PATCH),
            ("2/series", "# nothing\n"),
            ("3/series", "../1/a.patch\n"),
        ]);
        let cases = [
            ("0", "there is no 0-patched: no ", "0/series"),
            ("1", "no patch `none.patch`", "1/series:2"),
            ("2", "lists no patch", "2/series"),
            ("3", "no patch `../1/a.patch`", "3/series:1"),
        ];
        for (version, what, place) in cases {
            let error = files.series(Arch::Um, version).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
            let place = folder.path().join(place).display().to_string();
            assert!(error.contains(&place), "{error}");
        }
        assert!(
            files
                .fragment(Arch::Um, Extras::None)
                .unwrap_err()
                .to_string()
                .contains("config/uml.config")
        );
    }

    #[test]
    fn the_id_depends_on_content_name_and_order() {
        let patch = |name: &str, text: &str| Patch {
            name: name.to_owned(),
            text: text.as_bytes().to_vec(),
            touched: Vec::new(),
        };
        let series = |patches: &[Patch]| {
            Series {
                patches: patches.to_vec(),
            }
            .id()
        };
        let (a, b) = (patch("a", "1"), patch("b", "2"));
        let ids = [
            series(&[]),
            series(std::slice::from_ref(&a)),
            series(&[a.clone(), b.clone()]),
            series(&[b.clone(), a.clone()]),
            series(&[patch("a", "3"), b.clone()]),
            series(&[patch("c", "1"), b.clone()]),
            series(&[patch("a1", ""), b]),
        ];
        for (i, id) in ids.iter().enumerate() {
            assert!(!ids[..i].contains(id), "{i} repeats an earlier id");
        }
    }

    #[test]
    fn the_fragments_are_in_the_binary() {
        for extras in [Extras::None, Extras::Debug, Extras::Kcov, Extras::DebugKcov] {
            let fragment = PatchFiles::Embedded.fragment(Arch::Um, extras).unwrap();
            let fragment = String::from_utf8_lossy(&fragment);
            let has = |line: &str| fragment.lines().any(|it| it == line);
            assert!(has("CONFIG_UML_TIME_TRAVEL_SUPPORT=y"));
            assert_eq!(has("CONFIG_KASAN=y"), extras.watches());
            assert_eq!(has("CONFIG_KCOV=y"), extras.counts());
            let fragment = PatchFiles::Embedded.fragment(Arch::X86_64, extras).unwrap();
            let fragment = String::from_utf8_lossy(&fragment);
            assert!(fragment.lines().any(|it| it == "CONFIG_VIRTIO_NET=y"));
            assert!(!fragment.contains("UML"));
        }
    }
}
