//! Kernel names as users write them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::catalog::{self, VERSIONS};

/// What a kernel is called: `6.12-stock`, `6.12-patched`, `tree:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KernelName {
    /// A version of the catalog and a flavour.
    Release {
        /// `6.12`
        version: String,
        /// What is done to the source.
        flavour: Flavour,
    },
    /// A source tree of the user's, taken as it is.
    Tree(PathBuf),
}

/// What is done to the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Nothing.
    Stock,
    /// Our series is applied.
    Patched,
}

/// A name that is no kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kernel `{name}`: {why}")]
pub struct NameError {
    name: String,
    why: String,
}

impl KernelName {
    /// Every name of the catalog, in its order. `tree:PATH` comes on top of these.
    #[must_use]
    pub fn known() -> Vec<KernelName> {
        VERSIONS
            .iter()
            .flat_map(|entry| {
                entry.flavours.iter().map(|flavour| KernelName::Release {
                    version: entry.version.to_owned(),
                    flavour: *flavour,
                })
            })
            .collect()
    }

    /// Those that are meant where none is named: every flavour of
    /// [`catalog::DEFAULT`].
    #[must_use]
    pub fn usual() -> Vec<KernelName> {
        let mut known = Self::known();
        known.retain(|name| {
            matches!(name, KernelName::Release { version, .. } if version == catalog::DEFAULT)
        });
        known
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Flavour::Stock => "stock",
            Flavour::Patched => "patched",
        })
    }
}

impl fmt::Display for KernelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelName::Release { version, flavour } => f.pad(&format!("{version}-{flavour}")),
            KernelName::Tree(path) => f.pad(&format!("tree:{}", path.display())),
        }
    }
}

impl FromStr for KernelName {
    type Err = NameError;

    /// # Errors
    /// A name outside the catalog; the message lists what is known and, where the
    /// name looks like a slip, what was probably meant. Whether the folder of
    /// `tree:PATH` is a kernel tree shows when it is built.
    fn from_str(name: &str) -> Result<Self, NameError> {
        if let Some(path) = name.strip_prefix("tree:") {
            if path.is_empty() {
                return Err(NameError {
                    name: name.to_owned(),
                    why: "the path of a kernel source tree must follow `tree:`".to_owned(),
                });
            }
            return Ok(KernelName::Tree(PathBuf::from(path)));
        }
        let known = Self::known();
        if let Some(found) = known.iter().find(|known| known.to_string() == name) {
            return Ok(found.clone());
        }
        let mut why = String::new();
        // A version that we know, but not with this done to it.
        if let Some((version, flavour)) = name.split_once('-')
            && catalog::version(version).is_some()
            && ["stock", "patched"].contains(&flavour)
        {
            why += &format!("there is no {name}; ");
        }
        why += "known are ";
        for known in &known {
            why += &format!("`{known}`, ");
        }
        why += "and `tree:PATH` for a source tree of your own";
        if let Some(guess) = guess(name, &known) {
            why += &format!("; did you mean `{guess}`?");
        }
        Err(NameError {
            name: name.to_owned(),
            why,
        })
    }
}

/// What was probably meant. Another version is never guessed: who asks for
/// `6.1-stok` does not want `6.12-stock`, though the two differ by little.
fn guess(name: &str, known: &[KernelName]) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    if Path::new(name).is_dir() {
        return Some(format!("tree:{name}"));
    }
    let lower = name.to_lowercase();
    let version_of = |name: &str| -> String {
        name.chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect()
    };
    let asked = version_of(&lower);
    known
        .iter()
        .map(ToString::to_string)
        .filter_map(|known| {
            let version = version_of(&known);
            let (asked_rest, known_rest) = (&lower[asked.len()..], &known[version.len()..]);
            let distance = strsim::damerau_levenshtein(
                asked_rest.trim_start_matches('-'),
                known_rest.trim_start_matches('-'),
            );
            let same_version = asked.is_empty() || asked == version;
            // A bare version has no letter of the flavour: it gets the first one.
            let close = asked_rest.is_empty() || distance <= 3;
            (same_version && close).then_some((distance, known))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str) -> String {
        name.parse::<KernelName>().unwrap_err().to_string()
    }

    #[test]
    fn known_names_parse_and_print_the_same() {
        for name in [
            "6.12-stock",
            "6.12-patched",
            "6.1-stock",
            "7.3-stock",
            "7.3-patched",
            "tree:/usr/src/linux",
            "tree:.",
        ] {
            assert_eq!(name.parse::<KernelName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        assert_eq!(
            error("5.10-stock"),
            "unknown kernel `5.10-stock`: known are `6.12-stock`, `6.12-patched`, `6.1-stock`, \
             `7.3-stock`, `7.3-patched`, and `tree:PATH` for a source tree of your own"
        );
        assert!(
            error("6.1-patched")
                .starts_with("unknown kernel `6.1-patched`: there is no 6.1-patched; known are ")
        );
    }

    #[test]
    fn where_none_is_named_one_version_is_meant() {
        let usual: Vec<_> = KernelName::usual()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(usual, ["6.12-stock", "6.12-patched"]);
    }

    #[test]
    fn slips_get_a_suggestion() {
        let cases = [
            ("6.12-sotck", "6.12-stock"),
            ("6.12-Patched", "6.12-patched"),
            ("6.12patched", "6.12-patched"),
            ("patched", "6.12-patched"),
            ("6.12-patch", "6.12-patched"),
            ("6.12", "6.12-stock"),
            ("7.3-patch", "7.3-patched"),
            ("7.3", "7.3-stock"),
            ("6.1", "6.1-stock"),
        ];
        for (name, meant) in cases {
            let error = error(name);
            let expected = format!("; did you mean `{meant}`?");
            assert!(error.ends_with(&expected), "{error}");
        }
    }

    #[test]
    fn other_versions_and_noise_get_none() {
        for name in [
            "5.10-stock",
            "7.1-patched",
            "host",
            "6.12-mutant:dirty-pipe",
            "",
            "\u{e9}",
        ] {
            let error = error(name);
            assert!(!error.contains("did you mean"), "{error}");
        }
    }

    #[test]
    fn a_folder_without_tree_is_recognised() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().to_str().unwrap();
        assert!(error(name).ends_with(&format!("; did you mean `tree:{name}`?")));
    }

    #[test]
    fn a_tree_needs_a_path() {
        assert!(error("tree:").contains("must follow `tree:`"));
    }
}
