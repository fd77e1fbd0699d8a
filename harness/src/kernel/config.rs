//! Did Kconfig take our configuration?

/// Without one of these the suite cannot run.
const REQUIRED: [&str; 22] = [
    "CONFIG_64BIT",
    "CONFIG_UML_TIME_TRAVEL_SUPPORT",
    "CONFIG_HOSTFS",
    "CONFIG_SMP",
    "CONFIG_PVH",
    "CONFIG_PCI",
    "CONFIG_VIRTIO_PCI",
    "CONFIG_VIRTIO_CONSOLE",
    "CONFIG_VIRTIO_NET",
    "CONFIG_NET_9P_VIRTIO",
    "CONFIG_9P_FS",
    "CONFIG_BINFMT_ELF",
    "CONFIG_PROC_FS",
    "CONFIG_TTY",
    "CONFIG_TMPFS",
    "CONFIG_MEMFD_CREATE",
    "CONFIG_NET_NS",
    "CONFIG_INET",
    "CONFIG_IPV6",
    "CONFIG_VETH",
    "CONFIG_NET_SCH_NETEM",
    "CONFIG_NET_SCH_PLUG",
];

/// The lines of a fragment that are not in the `.config` made from it: Kconfig
/// drops, without a word, what a tree does not know or whose dependencies fail.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Those that nothing works without.
    pub required: Vec<String>,
    /// The rest.
    pub optional: Vec<String>,
}

/// Symbols that a version of Linux has given up, and the one that has taken over
/// what they stood for.
const TAKEN_OVER: [(&str, &str); 1] = [("CONFIG_PROC_SYSCTL=y", "CONFIG_SYSCTL=y")];

/// Compares a fragment with the `.config` that came out.
pub(super) fn dropped(fragment: &str, config: &str) -> Dropped {
    let mut dropped = Dropped::default();
    let lines: std::collections::HashSet<&str> = config.lines().map(str::trim_end).collect();
    for line in meant(fragment) {
        let Some((symbol, _)) = line.split_once('=') else {
            continue;
        };
        if !symbol.starts_with("CONFIG_") || lines.contains(line) {
            continue;
        }
        // Where the old symbol still exists, the file says so when it is off.
        let off = format!("# {symbol} is not set");
        let taken_over = (TAKEN_OVER.iter()).any(|(old, new)| line == *old && lines.contains(new));
        if taken_over && !lines.contains(off.as_str()) {
            continue;
        }
        if REQUIRED.contains(&symbol) {
            dropped.required.push(line.to_owned());
        } else {
            dropped.optional.push(line.to_owned());
        }
    }
    dropped
}

/// The lines that count: of several about one symbol the last one.
fn meant(fragment: &str) -> impl Iterator<Item = &str> {
    let symbol = |line: &str| -> Option<String> {
        let off = (line.strip_prefix("# ")).and_then(|it| it.strip_suffix(" is not set"));
        let symbol = off.or_else(|| Some(line.split_once('=')?.0))?;
        Some(symbol.to_owned())
    };
    let lines: Vec<&str> = fragment.lines().map(str::trim).collect();
    let again = |at: usize| {
        let about = symbol(lines[at]);
        about.is_some() && lines[at + 1..].iter().any(|later| symbol(later) == about)
    };
    let last: Vec<_> = (0..lines.len())
        .filter(|at| !again(*at))
        .map(|at| lines[at])
        .collect();
    last.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::machine::Arch;
    use crate::kernel::name::Extras;

    #[test]
    fn dropped_lines_are_told_apart() {
        let fragment = "# CONFIG_NOT=y\nCONFIG_VETH=y\nCONFIG_NEW=y\nCONFIG_KEPT=y\nCONFIG_NUM=-1\n\
                        # CONFIG_OFF is not set\nCONFIG_HOSTFS=y\n";
        let config = "CONFIG_KEPT=y\n# CONFIG_VETH is not set\nCONFIG_HOSTFS=y\nCONFIG_NUM=0\n";
        assert_eq!(
            dropped(fragment, config),
            Dropped {
                required: vec!["CONFIG_VETH=y".to_owned()],
                optional: vec!["CONFIG_NEW=y".to_owned(), "CONFIG_NUM=-1".to_owned()],
            }
        );
    }

    #[test]
    fn the_last_line_about_a_symbol_counts() {
        let fragment = "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_A is not set\nCONFIG_B=n\nCONFIG_B=m\n";
        let optional = dropped(fragment, "CONFIG_A=n\n").optional;
        assert_eq!(optional, ["CONFIG_B=m"]);
    }

    #[test]
    fn a_symbol_that_another_has_taken_over_is_not_missed() {
        let fragment = "CONFIG_PROC_SYSCTL=y\nCONFIG_SYSCTL=y\n";
        assert_eq!(dropped(fragment, "CONFIG_SYSCTL=y\n"), Dropped::default());
        for config in ["", "CONFIG_SYSCTL=y\n# CONFIG_PROC_SYSCTL is not set\n"] {
            let dropped = dropped(fragment, config).optional;
            assert!(dropped.contains(&"CONFIG_PROC_SYSCTL=y".to_owned()));
        }
    }

    #[test]
    fn our_fragment_asks_for_everything_that_is_required() {
        let files = crate::kernel::series::PatchFiles::Embedded;
        let of = |arch| files.fragment(arch, Extras::None).unwrap();
        let fragment = [of(Arch::Um), of(Arch::X86_64)].concat();
        let fragment = String::from_utf8_lossy(&fragment);
        for symbol in REQUIRED {
            let line = format!("{symbol}=y");
            assert!(fragment.lines().any(|found| found == line), "{line}");
        }
    }
}
