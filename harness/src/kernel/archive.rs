//! The mirror that the machine's own apt configuration names, for suites that it
//! does not name.
//!
//! Reads the two forms of sources.list(5). apt itself prints all of it but
//! `Signed-By` (`apt-get indextargets`), without which a suite is not trusted.

use std::fs;
use std::path::Path;

/// One source of binary packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    /// As it is written: the path of a keyring, fingerprints, or a whole key on
    /// continuation lines.
    signed_by: Option<String>,
}

impl Repository {
    /// The same mirror with another suite, as a `.sources` file.
    pub(super) fn with_suite(&self, suite: &str) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n",
            self.uri
        );
        if let Some(key) = &self.signed_by {
            text += &format!("Signed-By: {key}\n");
        }
        text
    }
}

/// The mirror of the distribution's main archive: what has the suite `codename`
/// and the component `main`. `apt` is `/etc/apt`.
pub(super) fn main_archive(apt: &Path, codename: Option<&str>) -> Option<Repository> {
    let mut files = vec![apt.join("sources.list")];
    if let Ok(entries) = fs::read_dir(apt.join("sources.list.d")) {
        let mut more: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    let mut found = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|end| end.to_str()) {
            Some("list") => found.extend(text.lines().filter_map(one_line)),
            Some("sources") => found.extend(deb822(&text)),
            _ => {}
        }
    }
    // Suites that move on to another codename, and the archive's own name for
    // what is not released.
    const MOVING: [&str; 5] = ["stable", "oldstable", "testing", "unstable", "sid"];
    let has = |repository: &Repository, wanted: &str| {
        repository.suites.iter().any(|suite| suite == wanted)
            && repository.components.iter().any(|part| part == "main")
    };
    codename
        .into_iter()
        .chain(MOVING)
        .find_map(|suite| found.iter().find(|entry| has(entry, suite)))
        .cloned()
}

/// `VERSION_CODENAME` of os-release(5).
pub(super) fn codename(os_release: &str) -> Option<&str> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
}

/// `deb [ option=value ... ] uri suite component ...`
fn one_line(line: &str) -> Option<Repository> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?.trim_start();
    if !line[3..].starts_with([' ', '\t']) {
        return None;
    }
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        rest = after;
        signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned);
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let repository = Repository {
        uri: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by,
    };
    fetched(&repository.uri).then_some(repository)
}

/// Stanzas of `Types:`, `URIs:` and so on, with empty lines between them.
fn deb822(text: &str) -> Vec<Repository> {
    let mut found = Vec::new();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for stanza in lines.split(|line| line.trim().is_empty()) {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in stanza {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let field = |wanted: &str| {
            let found = fields.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.as_str())
        };
        let words = |wanted: &str| -> Vec<String> {
            let value = field(wanted).unwrap_or_default();
            value.split_whitespace().map(str::to_owned).collect()
        };
        let off = field("enabled").is_some_and(|value| {
            ["no", "false", "without", "off", "disable"].contains(&value.to_lowercase().as_str())
        });
        if off || !words("types").iter().any(|kind| kind == "deb") {
            continue;
        }
        for uri in words("uris").into_iter().filter(|uri| fetched(uri)) {
            found.push(Repository {
                uri,
                suites: words("suites"),
                components: words("components"),
                signed_by: field("signed-by").map(str::to_owned),
            });
        }
    }
    found
}

/// Not a disc, which has what it has.
fn fetched(uri: &str) -> bool {
    !uri.starts_with("cdrom:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apt(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_main_archive_of_deb822_is_found_with_its_key() {
        let folder = apt(&[
            (
                "sources.list.d/a-vendor.sources",
                "Types: deb\nURIs: http://vendor.example/apt\nSuites: stable\nComponents: main\n",
            ),
            (
                "sources.list.d/debian.sources",
                "Types: deb-src\nURIs: http://source.example/\nSuites: bookworm\nComponents: main\n\n\
                 Enabled: no\nTypes: deb\nURIs: http://off.example/\nSuites: bookworm\nComponents: main\n\n\
                 # why\nTypes: deb deb-src\n# where\nURIs: http://mirror.example/debian\n\
                 Suites: bookworm bookworm-updates\nComponents: main contrib\n\
                 Signed-By:\n -----BEGIN PGP-----\n .\n abc\n",
            ),
            ("sources.list.d/x.sources.off", "Types: deb\n"),
        ]);
        let found = main_archive(folder.path(), Some("bookworm")).unwrap();
        assert_eq!(
            found.with_suite("trixie-backports"),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie-backports\n\
             Components: main\nSigned-By: \n -----BEGIN PGP-----\n .\n abc\n"
        );
        // Where the release is not known, a suite that is always called the same.
        let found = main_archive(folder.path(), None).unwrap();
        assert_eq!(found.uri, "http://vendor.example/apt");
        assert_eq!(main_archive(&folder.path().join("none"), None), None);
    }

    #[test]
    fn the_main_archive_of_one_line_sources_is_found_with_its_key() {
        let folder = apt(&[
            (
                "sources.list",
                "# deb http://comment.example/ bookworm main\n\
                 deb-src http://source.example/ bookworm main\n\
                 deb cdrom:[Debian]/ bookworm main\n\
                 deb http://security.example/ bookworm-security main\n",
            ),
            (
                "sources.list.d/debian.list",
                "deb [ arch=amd64 signed-by=/k/debian.gpg ] http://mirror.example/debian \
                 bookworm main # ours\n",
            ),
        ]);
        let found = main_archive(folder.path(), Some("bookworm")).unwrap();
        assert_eq!(
            found.with_suite("x"),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: x\nComponents: main\n\
             Signed-By: /k/debian.gpg\n"
        );
        assert_eq!(main_archive(folder.path(), Some("trixie")), None);
        assert_eq!(
            one_line("deb http://a.example/ sid main")
                .unwrap()
                .signed_by,
            None
        );
    }

    #[test]
    fn the_codename_is_read() {
        assert_eq!(
            codename("ID=debian\nVERSION_CODENAME=bookworm\n"),
            Some("bookworm")
        );
        assert_eq!(codename("VERSION_CODENAME=\"noble\"\n"), Some("noble"));
        assert_eq!(codename("PRETTY_NAME=\"Debian sid\"\n"), None);
    }
}
