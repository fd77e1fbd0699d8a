//! `inflight kernel`: build, list, find and remove kernels.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use serde_json::json;

use super::format::{Format, note, print};
use super::options::{ensure_on, refuse_host};
use super::{Failure, Status, selftest, usage};
use crate::kernel::space::human_bytes;
use crate::kernel::{
    self, Clean, Entry, EntryKind, ErrorKind, Imported, KernelName, Machine, progress, tools,
};
use crate::report::table::Table;

/// Build, list, find and remove kernels.
///
/// They are kept under $INFLIGHT_CACHE, else $XDG_CACHE_HOME/inflight, else
/// ~/.cache/inflight.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Build kernels that are not built yet
    Build {
        /// VERSION-FLAVOUR, as 6.12-stock, 6.1-patched, 7.3-detach; the same with -debug,
        /// -kcov, -debug-kcov or -kcsan; 6.12-mutant:NAME; tree:PATH
        /// [default: 6.12-stock, 6.12-patched]
        #[arg(value_name = "NAME")]
        names: Vec<KernelName>,
        /// Build for this engine: uml or qemu
        #[arg(long, value_name = "ENGINE", default_value_t)]
        engine: Machine,
        /// Fetch the newest source package first
        #[arg(long)]
        update: bool,
    },
    /// Show what is built, and what it takes on disk
    List {
        /// Print for people, or as json with one object a line
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Print the path of a kernel that is built
    Path {
        /// VERSION-FLAVOUR, as 6.12-stock; the same with -debug, -kcov, -debug-kcov
        /// or -kcsan;
        /// 6.12-mutant:NAME; tree:PATH
        name: KernelName,
        /// Look for the one of this engine: uml or qemu
        #[arg(long, value_name = "ENGINE", default_value_t)]
        engine: Machine,
    },
    /// Write kernels to files, for machines that must not build them
    ///
    /// A file has the kernel's name and key, and the same kernel is the same file each time.
    /// Kernels that are not built yet are built first.
    Export {
        /// As of `build` [default: 6.12-stock, 6.12-patched]
        #[arg(value_name = "NAME")]
        names: Vec<KernelName>,
        /// Write those of this engine: uml or qemu
        #[arg(long, value_name = "ENGINE", default_value_t)]
        engine: Machine,
        /// Write them to this folder
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Write only those of which the folder has no file yet, whatever was built since
        #[arg(long)]
        missing: bool,
    },
    /// Make kernels that were written to files usable here
    ///
    /// From then on they are found by their names, whatever compiler and source there is
    /// here. What has not arrived whole is refused.
    Import {
        /// What `export` has written
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    Selftest(selftest::Args),
    /// Remove builds for which there is a newer one, or what is named
    Clean {
        /// Remove every build of these
        #[arg(value_name = "NAME")]
        names: Vec<KernelName>,
        /// Remove sources and objects, and keep the kernels
        #[arg(long, conflicts_with = "names")]
        sources: bool,
        /// Remove everything
        #[arg(long, conflicts_with_all = ["names", "sources"])]
        all: bool,
    },
}

/// The exit status says whose turn it is, as [`kernel::Error::kind`] does.
impl From<kernel::Error> for Failure {
    fn from(error: kernel::Error) -> Self {
        Failure {
            status: status_of(&error),
            error: error.into(),
        }
    }
}

/// The exit status that an error deserves.
pub(super) fn status_of(error: &kernel::Error) -> Status {
    match error.kind() {
        ErrorKind::BadInput => Status::Usage,
        ErrorKind::Missing => Status::Missing,
        ErrorKind::Failed => Status::Internal,
    }
}

/// # Errors
/// With the exit status that [`kernel::Error::kind`] deserves; `path` of a kernel
/// that is not built: [`Status::Missing`].
pub fn run(args: Args) -> Result<Status, Failure> {
    match args.command {
        Command::Build {
            names,
            engine,
            update,
        } => build(names, engine, update)?,
        Command::List { format } => list(format)?,
        Command::Path { name, engine } => path(&name, engine)?,
        Command::Export {
            names,
            engine,
            out,
            missing,
        } => export(names, engine, &out, missing)?,
        Command::Import { files } => import(&files)?,
        Command::Selftest(args) => return selftest::run(args),
        Command::Clean {
            names,
            sources,
            all,
        } => clean(names, sources, all)?,
    }
    Ok(Status::Held)
}

fn build(mut names: Vec<KernelName>, engine: Machine, update: bool) -> Result<(), Failure> {
    if names.is_empty() {
        names = KernelName::usual();
    }
    is_built_for(&names, engine)?;
    let progress = progress::stderr();
    if update {
        let mut asked = Vec::new();
        for name in &names {
            let KernelName::Release { version, .. } = name else {
                continue;
            };
            if asked.contains(&version) {
                continue;
            }
            asked.push(version);
            match kernel::update(name, &*progress)? {
                Some(package) => progress.note(&format!("{version}: the source is {package} now")),
                None => progress.note(&format!("{version}: the source is the newest there is")),
            }
        }
    }
    if matches!(engine, Machine::Qemu(_)) {
        // Whoever builds for it is about to run it.
        tools::ensure_qemu(&*progress)?;
    }
    let mut rows = Vec::new();
    for name in &names {
        let kernel = kernel::ensure(name, engine, &*progress)?;
        rows.push(vec![
            name.to_string(),
            kernel.release,
            kernel.image.display().to_string(),
        ]);
    }
    drop(progress);
    print(&Table::of(rows).to_string())
}

fn export(
    mut names: Vec<KernelName>,
    engine: Machine,
    out: &Path,
    missing: bool,
) -> Result<(), Failure> {
    if names.is_empty() {
        names = KernelName::usual();
    }
    is_built_for(&names, engine)?;
    if missing {
        let mut left = Vec::new();
        for name in names {
            if kernel::parcel_in(out, &name, engine)?.is_none() {
                left.push(name);
            }
        }
        names = left;
    }
    let mut paths = String::new();
    for kernel in ensure_on(&names, engine)? {
        match kernel::export(&kernel.name, engine, out)? {
            Some(path) => paths += &format!("{}\n", path.display()),
            // Somebody has removed it since.
            None => return path(&kernel.name, engine),
        }
    }
    print(&paths)
}

fn import(files: &[PathBuf]) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for file in files {
        let Imported { name, key, is_new } = kernel::import(file)?;
        let said = match is_new {
            true => "imported",
            false => "was here",
        };
        rows.push(vec![name, key, said.to_owned()]);
    }
    print(&Table::of(rows).to_string())
}

/// Refuses what runs already: nothing is built for it.
fn is_built_for(names: &[KernelName], engine: Machine) -> Result<(), Failure> {
    refuse_host(names)?;
    match engine {
        Machine::Host => Err(usage(anyhow!(
            "--engine host: nothing is built for the kernel that runs already"
        ))),
        Machine::Uml | Machine::Qemu(_) => Ok(()),
    }
}

fn path(name: &KernelName, engine: Machine) -> Result<(), Failure> {
    is_built_for(std::slice::from_ref(name), engine)?;
    let option = match engine {
        Machine::Qemu(_) => format!("--engine {engine} "),
        Machine::Uml | Machine::Host => String::new(),
    };
    match kernel::find(name, engine)? {
        Some(kernel) => print(&format!("{}\n", kernel.image.display())),
        None => Err(Failure {
            status: Status::Missing,
            error: anyhow!("{name} is not built\n  remedy: inflight kernel build {option}{name}"),
        }),
    }
}

fn list(format: Format) -> Result<(), Failure> {
    let entries = kernel::list()?;
    match format {
        Format::Json => {
            let lines: String = entries
                .iter()
                .map(|entry| json_line(entry) + "\n")
                .collect();
            print(&lines)
        }
        Format::Human if entries.is_empty() => {
            note(format_args!(
                "no kernel is built yet: inflight kernel build"
            ));
            Ok(())
        }
        Format::Human => print(&human(&entries, SystemTime::now())),
    }
}

fn json_line(entry: &Entry) -> String {
    let built = entry.built.duration_since(SystemTime::UNIX_EPOCH);
    json!({
        "kind": kind(entry.kind),
        "name": entry.name,
        "release": entry.release,
        "key": entry.key,
        "size_bytes": entry.size_bytes,
        "built_unix_s": built.map_or(0, |time| time.as_secs()),
        "path": entry.path,
    })
    .to_string()
}

fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Kernel => "kernel",
        EntryKind::Source => "source",
    }
}

fn human(entries: &[Entry], now: SystemTime) -> String {
    let heading = ["NAME", "WHAT", "RELEASE", "KEY", "SIZE", "MADE", "PATH"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for entry in entries {
        rows.push(vec![
            entry.name.clone(),
            kind(entry.kind).to_owned(),
            entry.release.clone(),
            entry.key.chars().take(8).collect(),
            human_bytes(entry.size_bytes),
            age(now.duration_since(entry.built).unwrap_or_default()),
            entry.path.display().to_string(),
        ]);
    }
    let total_bytes: u64 = entries.iter().map(|entry| entry.size_bytes).sum();
    format!("{}{} in all\n", Table::of(rows), human_bytes(total_bytes))
}

fn age(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    match minutes {
        0 => "now".to_owned(),
        1..120 => format!("{minutes} min ago"),
        120..2880 => format!("{} h ago", minutes / 60),
        _ => format!("{} d ago", minutes / 1440),
    }
}

fn clean(names: Vec<KernelName>, sources: bool, all: bool) -> Result<(), Failure> {
    let what = if all {
        vec![Clean::All]
    } else if sources {
        vec![Clean::Sources]
    } else if names.is_empty() {
        vec![Clean::Outdated]
    } else {
        names.into_iter().map(Clean::Kernel).collect()
    };
    let mut freed_bytes = 0;
    for what in &what {
        freed_bytes += kernel::clean(what)?;
    }
    note(format_args!("{} freed", human_bytes(freed_bytes)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Command, String> {
        Line::try_parse_from(line.split(' '))
            .map(|line| line.args.command)
            .map_err(|error| error.to_string())
    }

    fn entry() -> Entry {
        Entry {
            kind: EntryKind::Kernel,
            name: "6.12-stock".to_owned(),
            release: "6.12.117".to_owned(),
            key: "0123456789abcdef".to_owned(),
            size_bytes: 9_600_000,
            built: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
            path: "/c/linux".into(),
        }
    }

    #[test]
    fn a_line_of_json_has_every_field() {
        assert_eq!(
            json_line(&entry()),
            r#"{"built_unix_s":100,"key":"0123456789abcdef","kind":"kernel","name":"6.12-stock","path":"/c/linux","release":"6.12.117","size_bytes":9600000}"#
        );
    }

    #[test]
    fn the_table_adds_up_sizes() {
        let now = entry().built + Duration::from_secs(600);
        assert_eq!(
            human(&[entry(), entry()], now),
            "NAME        WHAT    RELEASE   KEY       SIZE    MADE        PATH\n\
             6.12-stock  kernel  6.12.117  01234567  9.6 MB  10 min ago  /c/linux\n\
             6.12-stock  kernel  6.12.117  01234567  9.6 MB  10 min ago  /c/linux\n\
             19 MB in all\n"
        );
    }

    #[test]
    fn an_unknown_kernel_is_refused_with_the_known_ones() {
        let error = parse("kernel build 5.10-stock").unwrap_err();
        assert!(
            error.contains("unknown kernel `5.10-stock`: known are `6.12-stock`"),
            "{error}"
        );
        assert!(parse("kernel path").is_err());
    }

    #[test]
    fn clean_takes_one_kind_of_target() {
        assert!(matches!(
            parse("kernel clean --all"),
            Ok(Command::Clean { all: true, .. })
        ));
        assert!(parse("kernel clean --all --sources").is_err());
        assert!(parse("kernel clean 6.12-stock --all").is_err());
    }

    #[test]
    fn the_status_follows_the_kind() {
        let status = |error: kernel::Error| Failure::from(error).status;
        assert_eq!(status(kernel::Error::Input("x".into())), Status::Usage);
        let missing = kernel::Error::Missing {
            what: "x".into(),
            remedy: "y".into(),
        };
        assert_eq!(status(missing), Status::Missing);
        let io = kernel::Error::Io {
            what: "x".into(),
            cause: std::io::Error::from_raw_os_error(libc::EIO),
        };
        assert_eq!(status(io), Status::Internal);
    }

    #[test]
    fn ages() {
        for (seconds, text) in [
            (5, "now"),
            (61, "1 min ago"),
            (7200, "2 h ago"),
            (172_800, "2 d ago"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
