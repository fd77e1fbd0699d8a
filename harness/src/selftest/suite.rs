//! Which tests, of which files, and how each is started.

use crate::kernel::SelftestFile;

/// The test that comes with our series.
pub const OURS: &str = "splice_stable";

/// A test: some files of the tree, and a script that runs them.
#[derive(Debug, Clone, Copy)]
pub struct Test {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Its files; it is absent where the first is.
    pub files: &'static [SelftestFile],
    /// For sh(1), in a writable folder with the files.
    pub script: &'static str,
}

const fn file(source: &'static str) -> SelftestFile {
    SelftestFile { source }
}

/// A program that needs no arguments.
macro_rules! program {
    ($name:literal, $source:literal) => {
        Test {
            name: $name,
            files: &[file($source)],
            script: concat!("exec ./", $name),
        }
    };
}

/// Every test, ours first. A tree has those of its time.
pub const TESTS: &[Test] = &[
    program!("splice_stable", "net/splice_stable.c"),
    Test {
        name: "default_file_splice_read",
        files: &[
            file("splice/default_file_splice_read.sh"),
            file("splice/default_file_splice_read.c"),
        ],
        script: "exec sh ./default_file_splice_read.sh",
    },
    program!("udp_splice_checksum", "net/udp_splice_checksum.c"),
    program!("tls", "net/tls.c"),
    // By hand: its script takes minutes, and half a dozen tools of the host.
    Test {
        name: "mptcp_connect",
        files: &[file("net/mptcp/mptcp_connect.c")],
        script: include_str!("mptcp_connect.sh"),
    },
    // As mptcp_sockopt.sh runs these two.
    Test {
        name: "mptcp_inq",
        files: &[file("net/mptcp/mptcp_inq.c")],
        script: "set -e; for ip in '' -6; do for r in '' '-r tcp' '-t tcp'; do \
                 ./mptcp_inq $ip $r; done; done",
    },
    Test {
        name: "mptcp_sockopt",
        files: &[file("net/mptcp/mptcp_sockopt.c")],
        script: "set -e; ./mptcp_sockopt; ./mptcp_sockopt -6",
    },
    Test {
        name: "tcp_inq",
        files: &[file("net/tcp_inq.c")],
        script: "set -e; ./tcp_inq -4; ./tcp_inq -6",
    },
    program!("unix_connect", "net/af_unix/unix_connect.c"),
    program!("unix_connreset", "net/af_unix/unix_connreset.c"),
    program!("unix_listen", "net/af_unix/unix_listen.c"),
    program!("diag_uid", "net/af_unix/diag_uid.c"),
    program!("msg_oob", "net/af_unix/msg_oob.c"),
    program!("test_unix_oob", "net/af_unix/test_unix_oob.c"),
    program!("scm_inq", "net/af_unix/scm_inq.c"),
    program!("scm_pidfd", "net/af_unix/scm_pidfd.c"),
    program!("scm_rights", "net/af_unix/scm_rights.c"),
    program!("so_peek_off", "net/af_unix/so_peek_off.c"),
];

/// A test by its name.
///
/// # Errors
/// There is none; the message says what was probably meant.
pub fn find(name: &str) -> Result<&'static Test, String> {
    if let Some(test) = TESTS.iter().find(|test| test.name == name) {
        return Ok(test);
    }
    let near = TESTS
        .iter()
        .map(|test| (strsim::damerau_levenshtein(name, test.name), test.name))
        .filter(|(slips, known)| *slips <= known.len() / 3)
        .min();
    let known: Vec<_> = TESTS.iter().map(|test| test.name).collect();
    Err(match near {
        Some((_, near)) => format!("no test `{name}`, did you mean `{near}`?"),
        None => format!("no test `{name}`; there are {}", known.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_programs_are_unique() {
        let names: BTreeSet<_> = TESTS.iter().map(|test| test.name).collect();
        assert_eq!(names.len(), TESTS.len());
        let files: Vec<_> = TESTS.iter().flat_map(|test| test.files).collect();
        let programs: BTreeSet<_> = files
            .iter()
            .map(|file| file.source.rsplit('/').next())
            .collect();
        assert_eq!(programs.len(), files.len());
        assert_eq!(TESTS[0].name, OURS);
    }

    #[test]
    fn slips_get_a_suggestion() {
        assert_eq!(find("tls").unwrap().name, "tls");
        assert_eq!(
            find("splice-stable").unwrap_err(),
            "no test `splice-stable`, did you mean `splice_stable`?"
        );
        let none = find("nonesuch").unwrap_err();
        assert!(none.contains("; there are splice_stable, "), "{none}");
    }
}
