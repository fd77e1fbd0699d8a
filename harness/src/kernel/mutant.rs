//! Bugs that are put in on purpose, one a patch: `kernel-patch/mutants`, or a folder of the
//! user's.
//!
//! The text of a patch tells of its bug, and has tags, each a line of its own:
//!
//! | tag | |
//! | --- | --- |
//! | `Applies-to: 6.12 7.3` | versions whose patched source takes the patch; needed |
//! | `Property: wire counts` | properties of which any is the right one to catch it; needed |
//! | `Extras: debug` | only a kernel that watches itself can show it |
//! | `Engine: qemu` | one CPU never shows it |
//!
//! `6.1/NAME.patch` is the same bug for a version that does not take `NAME.patch`.

use std::path::{Path, PathBuf};

use super::Error;
use super::name::{Extras, KernelName};
use super::series::{Patch, PatchFiles};

/// One bug, as a version gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    /// Name of its file, without the end.
    pub name: String,
    /// The patched kernel with the bug.
    pub kernel: KernelName,
    /// What the patch says of itself in its subject line.
    pub subject: String,
    /// What is seen of it, in a sentence or two; empty where the patch does not say.
    pub symptom: String,
    /// Names of properties of which any is the right one to catch it, and where they stand:
    /// `file:line:col`.
    pub properties: Vec<(String, String)>,
    /// Whether one CPU never shows it.
    pub takes_cpus: bool,
}

/// Where mutants are kept.
struct Home {
    files: PatchFiles,
    /// Before the names of their files there.
    prefix: &'static str,
    /// The folder, where it is one of the user's.
    folder: Option<PathBuf>,
}

/// What the tags of a patch say.
#[derive(Debug, PartialEq, Eq)]
struct Tags {
    versions: Vec<String>,
    properties: Vec<(String, String)>,
    extras: Extras,
    takes_cpus: bool,
}

const END: &str = ".patch";

/// Every mutant of a version, sorted by name: ours, or those in a folder of the user's.
///
/// # Errors
/// A file that cannot be read, or whose tags make no sense.
pub(super) fn all(
    patches: &PatchFiles,
    folder: Option<&Path>,
    version: &str,
) -> Result<Vec<Mutant>, Error> {
    let home = match folder {
        None => Home::ours(patches),
        Some(folder) => Home::of_user(folder)?,
    };
    let mut mutants = Vec::new();
    for name in home.names(version)? {
        let (place, patch) = home.read(&name, version)?;
        let tags = Tags::of(&place, &patch)?;
        if tags.is_for(version) {
            mutants.push(Mutant {
                kernel: KernelName::Mutant {
                    version: version.to_owned(),
                    name: home.kernel(&name),
                    extras: tags.extras,
                },
                name,
                subject: patch.subject(),
                symptom: symptom(&String::from_utf8_lossy(&patch.text)),
                properties: tags.properties,
                takes_cpus: tags.takes_cpus,
            });
        }
    }
    Ok(mutants)
}

/// The patch of a kernel `VERSION-mutant:NAME`, where the name may be the path of a file;
/// with a word for it in the names of files, and its own name, with the real path.
///
/// # Errors
/// There is none, or not for this version.
pub(super) fn patch(
    patches: &PatchFiles,
    name: &str,
    version: &str,
) -> Result<(String, String, Patch), Error> {
    let (home, stem) = match name.strip_suffix(END) {
        None => (Home::ours(patches), name.to_owned()),
        Some(path) => {
            let path = Path::new(path);
            let stem = path.file_name().unwrap_or_default().to_string_lossy();
            // `x.patch` is one in the folder where we are.
            let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
            let home = Home::of_user(folder.unwrap_or(Path::new(".")))?;
            (home, stem.into_owned())
        }
    };
    let (place, mut patch) = home.read(&stem, version)?;
    let tags = Tags::of(&place, &patch)?;
    // What is only said of it makes no other kernel.
    patch.text.drain(..diff(&patch.text));
    if !tags.is_for(version) {
        return Err(Error::Input(format!(
            "{place}: not for {version}: its line `Applies-to:` has `{}`",
            tags.versions.join(" ")
        )));
    }
    let kernel = home.kernel(&stem);
    let word = match home.folder {
        None => stem,
        Some(_) => {
            let hash = blake3::hash(kernel.as_bytes()).to_hex();
            format!("{stem}-{}", &hash[..12])
        }
    };
    Ok((word, kernel, patch))
}

impl Home {
    /// `kernel-patch/mutants`.
    fn ours(patches: &PatchFiles) -> Home {
        Home {
            files: patches.clone(),
            prefix: "mutants/",
            folder: None,
        }
    }

    fn of_user(folder: &Path) -> Result<Home, Error> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::Input(format!("no folder of mutants: {}: {why}", folder.display()))
        };
        let real = folder.canonicalize().map_err(|error| wrong(&error))?;
        if !real.is_dir() {
            return Err(wrong(&"it is no folder"));
        }
        Ok(Home {
            files: PatchFiles::Folder(real.clone()),
            prefix: "",
            folder: Some(real),
        })
    }

    /// What a kernel with the mutant of this name calls it.
    fn kernel(&self, name: &str) -> String {
        match &self.folder {
            None => name.to_owned(),
            Some(folder) => folder.join(format!("{name}{END}")).display().to_string(),
        }
    }

    /// The names of the mutants that may be for a version, sorted.
    fn names(&self, version: &str) -> Result<Vec<String>, Error> {
        let mut names = self.files.names(self.prefix)?;
        names.extend(self.files.names(&format!("{}{version}/", self.prefix))?);
        names.retain(|it| it.ends_with(END));
        for name in &mut names {
            name.truncate(name.len() - END.len());
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The patch of this name, rather the one of the version than the one of all, and where
    /// it is.
    fn read(&self, name: &str, version: &str) -> Result<(String, Patch), Error> {
        let Home { files, prefix, .. } = self;
        let general = format!("{prefix}{name}{END}");
        for file in [format!("{prefix}{version}/{name}{END}"), general.clone()] {
            if let Some(text) = files.read(&file)? {
                return Ok((files.place(&file), files.patch(file, text)?));
            }
        }
        Err(Error::Input(format!(
            "there is no mutant `{name}`: no {}",
            files.place(&general)
        )))
    }
}

impl Tags {
    /// Reads them; `file` is for messages.
    fn of(file: &str, patch: &Patch) -> Result<Tags, Error> {
        let text = String::from_utf8_lossy(&patch.text);
        let mut tags = Tags {
            versions: Vec::new(),
            properties: Vec::new(),
            extras: Extras::None,
            takes_cpus: false,
        };
        for (number, line) in message(&text) {
            let Some((tag, _)) = line.split_once(':') else {
                continue;
            };
            for (at, word) in words(line, tag.len() + 1) {
                let place = format!("{file}:{}:{}", number + 1, at + 1);
                let no = |what: &str, known: &str| {
                    Error::Input(format!(
                        "{place}: no {what} `{word}` for a mutant; it can need `{known}`"
                    ))
                };
                match (tag, word) {
                    ("Applies-to", _) => tags.versions.push(word.to_owned()),
                    ("Property", _) => tags.properties.push((word.to_owned(), place)),
                    ("Extras", "debug") => tags.extras = Extras::Debug,
                    ("Extras", _) => return Err(no("extras", "debug")),
                    ("Engine", "qemu") => tags.takes_cpus = true,
                    ("Engine", _) => return Err(no("engine", "qemu")),
                    _ => {}
                }
            }
        }
        for (tag, example, missing) in [
            ("Applies-to:", "6.12 7.3", tags.versions.is_empty()),
            ("Property:", "wire counts", tags.properties.is_empty()),
        ] {
            if missing {
                return Err(Error::Input(format!(
                    "{file}: there is no line like `{tag} {example}` above its `---`"
                )));
            }
        }
        Ok(tags)
    }

    fn is_for(&self, version: &str) -> bool {
        self.versions.iter().any(|it| it == version)
    }
}

/// What stands before the patch itself, and the numbers of these lines, from 0.
fn message(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines.take_while(|(_, line)| !line.starts_with("---") && !line.starts_with("diff "))
}

/// Where what a patch changes begins, after all that is said of it.
fn diff(text: &[u8]) -> usize {
    let is = |at: &usize, line: &[u8]| text[*at..].starts_with(line);
    let lines = text.iter().enumerate();
    let mut starts = lines.filter_map(|(at, byte)| (*byte == b'\n').then_some(at + 1));
    let begins = |at: &usize| is(at, b"diff ") || is(at, b"--- ");
    starts.find(begins).unwrap_or(0)
}

/// The words of a line from `start` on, and where each begins.
fn words(line: &str, start: usize) -> Vec<(usize, &str)> {
    let rest = &line[start..];
    let words = rest.split(|it: char| it.is_whitespace() || it == ',');
    words
        .filter(|word| !word.is_empty())
        .map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word))
        .collect()
}

/// The paragraph `Symptom: ...`, as one line.
fn symptom(text: &str) -> String {
    let lines = message(text).map(|(_, line)| line);
    let mut lines = lines.skip_while(|line| !line.starts_with("Symptom:"));
    let Some(first) = lines.next() else {
        return String::new();
    };
    let mut symptom = first["Symptom:".len()..].trim().to_owned();
    for line in lines.take_while(|line| !line.trim().is_empty()) {
        symptom += " ";
        symptom += line.trim();
    }
    symptom
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const DIFF: &str = "---\n a/x | 2 +-\n\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+Property: b\n";

    fn patch_of(tags: &str) -> String {
        format!("Subject: [PATCH] net: a slip\n\nSymptom: bytes\nget lost.\n\n{tags}{DIFF}")
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, tags) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, patch_of(tags)).unwrap();
        }
        folder
    }

    #[test]
    fn a_version_has_those_that_apply_and_its_own_first() {
        let ours = folder(&[
            (
                "mutants/b.patch",
                "Applies-to: 6.12 7.3\nProperty: wire,counts\n",
            ),
            (
                "mutants/6.1/b.patch",
                "Applies-to: 6.1\nProperty: splat\nExtras: debug\n",
            ),
            (
                "mutants/a.patch",
                "Applies-to: 6.12\nProperty: leaks\nEngine: qemu\n",
            ),
            ("mutants/equivalent/c.patch", "no tags at all\n"),
        ]);
        let files = PatchFiles::Folder(ours.path().to_owned());
        let all = |version| all(&files, None, version).unwrap();
        let names = |version| -> Vec<String> {
            all(version)
                .iter()
                .map(|it| it.kernel.to_string())
                .collect()
        };
        assert_eq!(names("6.12"), ["6.12-mutant:a", "6.12-mutant:b"]);
        assert_eq!(names("7.3"), ["7.3-mutant:b"]);
        assert_eq!(names("6.1"), ["6.1-mutant:b-debug"]);
        let a = &all("6.12")[0];
        assert!(a.takes_cpus && !all("6.12")[1].takes_cpus);
        assert_eq!(
            (&*a.subject, &*a.symptom),
            ("net: a slip", "bytes get lost.")
        );
        let properties: Vec<String> = all("6.12")[1]
            .properties
            .iter()
            .map(|(word, place)| format!("{word} {}", place.rsplit('/').next().unwrap()))
            .collect();
        // Not what the patch itself puts in.
        assert_eq!(properties, ["wire b.patch:7:11", "counts b.patch:7:16"]);
    }

    #[test]
    fn a_folder_of_the_users_makes_kernels_that_can_be_named_anywhere() {
        let own = folder(&[("x.patch", "Applies-to: 6.12\nProperty: wire\n")]);
        let mutants = all(&PatchFiles::Embedded, Some(own.path()), "6.12").unwrap();
        let name = mutants[0].kernel.to_string();
        let path = own.path().join("x.patch").canonicalize().unwrap();
        assert_eq!(name, format!("6.12-mutant:{}", path.display()));
        assert_eq!(name.parse::<KernelName>().unwrap(), mutants[0].kernel);
        let of = |path: &str| patch(&PatchFiles::Embedded, path, "6.12");
        let (word, kernel, _) = of(&path.display().to_string()).unwrap();
        assert!(word.starts_with("x-") && !word.contains('/'), "{word}");
        assert_eq!(kernel, path.display().to_string());
        // What is said of it may change: it is the same kernel.
        let text = of(&path.display().to_string()).unwrap().2.text;
        assert!(text.starts_with(b"--- a/x\n+++ b/x\n"), "{text:?}");
        // Another way to say the same.
        let around = own.path().join("./x.patch").display().to_string();
        assert_eq!(of(&around).unwrap().0, word);
    }

    #[test]
    fn what_is_wrong_with_a_mutant_is_said_with_its_place() {
        let own = folder(&[
            ("none.patch", "Property: wire\n"),
            ("any.patch", "Applies-to: 6.12\n"),
            (
                "extras.patch",
                "Applies-to: 6.12\nProperty: wire\nExtras: kasan\n",
            ),
            (
                "engine.patch",
                "Applies-to: 6.12\nProperty: wire\nEngine:  uml\n",
            ),
            ("old.patch", "Applies-to: 6.1\nProperty: wire\n"),
        ]);
        for (name, says) in [
            (
                "none",
                "none.patch: there is no line like `Applies-to: 6.12 7.3`",
            ),
            (
                "any",
                "any.patch: there is no line like `Property: wire counts`",
            ),
            ("extras", "extras.patch:8:9: no extras `kasan`"),
            ("engine", "engine.patch:8:10: no engine `uml`"),
            (
                "old",
                "old.patch: not for 6.12: its line `Applies-to:` has `6.1`",
            ),
            ("absent", "there is no mutant `absent`: no "),
        ] {
            let path = own.path().join(name).display().to_string() + END;
            let error = patch(&PatchFiles::Embedded, &path, "6.12").unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        let error = patch(&PatchFiles::Embedded, "absent", "6.12").unwrap_err();
        assert!(
            error.to_string().contains("mutants/absent.patch"),
            "{error}"
        );
        let error = all(&PatchFiles::Embedded, Some(Path::new("/none/such")), "6.12").unwrap_err();
        assert!(error.to_string().contains("/none/such"), "{error}");
    }
}
