//! Kernel names as users write them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::catalog::{self, VERSIONS};

/// What a kernel is called: `6.12-stock`, `6.12-patched-debug`, `6.12-mutant:NAME`,
/// `tree:PATH`, `host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KernelName {
    /// A version of the catalog and a flavour.
    Release {
        /// `6.12`
        version: String,
        /// What is done to the source, and how it is booted.
        flavour: Flavour,
        /// What is compiled in on top: the end of the name.
        extras: Extras,
    },
    /// The patched kernel of a version with one known bug put in.
    Mutant {
        /// `6.12`
        version: String,
        /// Its file in `kernel-patch/mutants`, without the end; or the path of a file of
        /// the user's, which ends with `.patch`.
        name: String,
        /// What is compiled in on top: the end of the name.
        extras: Extras,
    },
    /// A source tree of the user's, taken as it is.
    Tree(PathBuf),
    /// The one that runs already.
    Host,
}

/// What is done to the source, and how it is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// Nothing.
    Stock,
    /// Our series is applied.
    Patched,
    /// The same image, booted in its other mode: what is left in the queues is
    /// copied instead of waited for.
    Detach,
}

/// What is compiled into a kernel on top of its flavour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extras {
    /// Nothing.
    None,
    /// It watches itself, by KASAN, lockdep and more: `-debug`.
    Debug,
    /// It counts which of its code runs: `-kcov`.
    Kcov,
    /// Both: `-debug-kcov`.
    DebugKcov,
    /// It looks for races between CPUs, by KCSAN: `-kcsan`. Only a PC has CPUs to race.
    Kcsan,
}

impl Extras {
    /// Those that a name tells of; what ends as another does stands before it.
    const NAMED: [Extras; 4] = [
        Extras::DebugKcov,
        Extras::Debug,
        Extras::Kcov,
        Extras::Kcsan,
    ];

    /// Whether the kernel watches itself.
    #[must_use]
    pub fn watches(self) -> bool {
        matches!(self, Extras::Debug | Extras::DebugKcov)
    }

    /// Whether it counts which of its code runs.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Extras::Kcov | Extras::DebugKcov)
    }

    /// What a name ends with.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Extras::None => "",
            Extras::Debug => "-debug",
            Extras::Kcov => "-kcov",
            Extras::DebugKcov => "-debug-kcov",
            Extras::Kcsan => "-kcsan",
        }
    }

    /// The name without them, and what they are.
    fn split(name: &str) -> (&str, Extras) {
        let found = Extras::NAMED
            .into_iter()
            .find_map(|it| Some((name.strip_suffix(it.suffix())?, it)));
        found.unwrap_or((name, Extras::None))
    }
}

/// A name that is no kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kernel `{name}`: {why}")]
pub struct NameError {
    name: String,
    why: String,
}

impl KernelName {
    /// Every name of the catalog, in its order. Each exists with `-debug` and with
    /// `-kcov`, too, and `tree:PATH` comes on top of these.
    #[must_use]
    pub fn known() -> Vec<KernelName> {
        VERSIONS
            .iter()
            .flat_map(|entry| {
                let flavours = catalog::flavours(entry.version).iter();
                flavours.map(|flavour| KernelName::Release {
                    version: entry.version.to_owned(),
                    flavour: *flavour,
                    extras: Extras::None,
                })
            })
            .collect()
    }

    /// Those that are meant where none is named: stock and patched of
    /// [`catalog::DEFAULT`].
    #[must_use]
    pub fn usual() -> Vec<KernelName> {
        let usual = [Flavour::Stock, Flavour::Patched].map(|flavour| KernelName::Release {
            version: catalog::DEFAULT.to_owned(),
            flavour,
            extras: Extras::None,
        });
        usual.to_vec()
    }

    /// The name under which its image is built: not every flavour has one of its
    /// own.
    #[must_use]
    pub fn image(&self) -> KernelName {
        let mut name = self.clone();
        if let KernelName::Release { flavour, .. } = &mut name
            && *flavour == Flavour::Detach
        {
            *flavour = Flavour::Patched;
        }
        name
    }

    /// Its flavour, if it has one: a mutant is a flavour of its own.
    #[must_use]
    pub fn flavour(&self) -> Option<Flavour> {
        match self {
            KernelName::Release { flavour, .. } => Some(*flavour),
            KernelName::Mutant { .. } | KernelName::Tree(_) | KernelName::Host => None,
        }
    }

    /// Its version in the catalog.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        match self {
            KernelName::Release { version, .. } | KernelName::Mutant { version, .. } => {
                Some(version)
            }
            KernelName::Tree(_) | KernelName::Host => None,
        }
    }

    /// Whether the kernel watches itself.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.extras().watches()
    }

    /// What is compiled in on top. A tree of the user's is taken as it is.
    #[must_use]
    pub fn extras(&self) -> Extras {
        match self {
            KernelName::Release { extras, .. } | KernelName::Mutant { extras, .. } => *extras,
            KernelName::Tree(_) | KernelName::Host => Extras::None,
        }
    }

    /// The same, counting which of its code runs. A tree stays as it is.
    #[must_use]
    pub fn counting(&self) -> KernelName {
        let extras = match self.extras() {
            Extras::None | Extras::Kcov | Extras::Kcsan => Extras::Kcov,
            Extras::Debug | Extras::DebugKcov => Extras::DebugKcov,
        };
        self.clone().with(extras)
    }

    /// The same with these compiled in instead. A tree stays as it is.
    #[must_use]
    pub fn with(mut self, wanted: Extras) -> KernelName {
        match &mut self {
            KernelName::Release { extras, .. } | KernelName::Mutant { extras, .. } => {
                *extras = wanted;
            }
            KernelName::Tree(_) | KernelName::Host => {}
        }
        self
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Flavour::Stock => "stock",
            Flavour::Patched => "patched",
            Flavour::Detach => "detach",
        })
    }
}

impl fmt::Display for KernelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelName::Release {
                version,
                flavour,
                extras,
            } => f.pad(&format!("{version}-{flavour}{}", extras.suffix())),
            KernelName::Mutant {
                version,
                name,
                extras,
            } => f.pad(&format!("{version}-mutant:{name}{}", extras.suffix())),
            KernelName::Tree(path) => f.pad(&format!("tree:{}", path.display())),
            KernelName::Host => f.pad("host"),
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
        if name == "host" {
            return Ok(KernelName::Host);
        }
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
        let (plain, extras) = Extras::split(name);
        if let Some(found) = known.iter().find(|known| known.to_string() == plain) {
            return Ok(found.clone().with(extras));
        }
        // Whether there is such a mutant shows when it is built, as with a tree.
        if let Some((version, mutant)) = plain.split_once("-mutant:")
            && catalog::flavours(version).len() > 1
            && (is_word(mutant) || mutant.ends_with(".patch"))
        {
            return Ok(KernelName::Mutant {
                version: version.to_owned(),
                name: mutant.to_owned(),
                extras,
            });
        }
        let mut why = String::new();
        // A version that we know, but not with this done to it.
        if let Some((version, flavour)) = plain.split_once('-')
            && catalog::version(version).is_some()
            && catalog::FLAVOURS
                .iter()
                .any(|known| known.to_string() == flavour)
        {
            why += &format!("there is no {name}; ");
        }
        why += "known are ";
        for known in &known {
            why += &format!("`{known}`, ");
        }
        why += "each of them with `-debug`, `-kcov`, `-debug-kcov` or `-kcsan` at its end, \
                `VERSION-mutant:NAME` or, with the path of a patch, `VERSION-mutant:FILE.patch`, \
                `tree:PATH` for a source tree of your own, and `host`";
        if let Some(guess) = guess(name, &known) {
            why += &format!("; did you mean `{guess}`?");
        }
        Err(NameError {
            name: name.to_owned(),
            why,
        })
    }
}

/// Whether it can be the name of a file, and of nothing else.
fn is_word(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(fits)
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
    // `6.12-debug`: what is left when that is taken off is a slip like any other.
    let (plain, extras) = Extras::split(&lower);
    if extras != Extras::None {
        return guess(plain, known).map(|meant| meant + extras.suffix());
    }
    let version_of = |name: &str| -> String {
        name.chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect()
    };
    let asked = version_of(&lower);
    let all = [Extras::None].into_iter().chain(Extras::NAMED);
    all.flat_map(|it| known.iter().cloned().map(move |known| known.with(it)))
        .map(|known| known.to_string())
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
            "6.12-detach",
            "6.1-stock",
            "7.3-stock",
            "7.3-patched",
            "6.12-stock-debug",
            "7.3-detach-debug",
            "6.1-stock-kcov",
            "7.3-detach-kcov",
            "7.3-stock-debug-kcov",
            "6.12-patched-kcsan",
            "6.12-mutant:dirty-pipe",
            "7.3-mutant:dirty-pipe-debug-kcov",
            "tree:/usr/src/linux",
            "tree:.",
            "host",
            // Not ours to read anything into.
            "tree:linux-debug",
        ] {
            assert_eq!(name.parse::<KernelName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn detach_is_the_image_of_patched_and_debug_one_of_its_own() {
        for (name, image) in [
            ("6.12-stock", "6.12-stock"),
            ("6.12-patched", "6.12-patched"),
            ("6.12-detach", "6.12-patched"),
            ("6.12-detach-debug", "6.12-patched-debug"),
            ("6.12-detach-kcov", "6.12-patched-kcov"),
            ("6.12-detach-debug-kcov", "6.12-patched-debug-kcov"),
            ("6.12-mutant:x-kcov", "6.12-mutant:x-kcov"),
            ("tree:/x-detach", "tree:/x-detach"),
        ] {
            let name: KernelName = name.parse().unwrap();
            assert_eq!(name.image().to_string(), image);
            assert_eq!(name.is_debug(), image.contains("-debug"));
            assert_eq!(name.extras().counts(), image.ends_with("-kcov"));
        }
    }

    /// A version without a series has nothing to patch with.
    #[test]
    fn the_flavours_of_a_version_follow_from_its_series() {
        for entry in VERSIONS {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel-patch");
            let series = Path::new(folder).join(entry.version).join("series");
            let name = |flavour: &str| format!("{}-{flavour}", entry.version).parse::<KernelName>();
            assert!(name("stock").is_ok());
            assert_eq!(name("patched").is_ok(), series.exists());
            assert_eq!(name("detach").is_ok(), series.exists());
        }
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        let known: String = KernelName::known()
            .iter()
            .map(|known| format!("`{known}`, "))
            .collect();
        assert!(
            known.starts_with("`6.12-stock`, `6.12-patched`, `6.12-detach`, `6.1-stock`, "),
            "{known}"
        );
        assert_eq!(
            error("5.10-stock"),
            format!(
                "unknown kernel `5.10-stock`: known are {known}each of them with `-debug`, \
                 `-kcov`, `-debug-kcov` or `-kcsan` at its end, `VERSION-mutant:NAME` or, with the \
                 path of a patch, `VERSION-mutant:FILE.patch`, `tree:PATH` for a source tree of your own, and `host`"
            )
        );
        assert!(
            error("7.1-detach-debug").starts_with("unknown kernel `7.1-detach-debug`: known are "),
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
            ("6.12-detatch", "6.12-detach"),
            ("6.12-debug", "6.12-stock-debug"),
            ("6.12-patched-debg", "6.12-patched-debug"),
            ("6.12-pached-debug", "6.12-patched-debug"),
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
            "hosts",
            "5.10-mutant:dirty-pipe",
            "6.12-mutant:",
            "6.12-mutant:../x",
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
