//! The target, built by cargo: libFuzzer is C++, and no part of this program.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::engine::run_dir;
use crate::kernel::{Error, ErrorKind, Progress, tools};
use crate::process;

/// Its name, in the workspace of the fuzz targets.
const NAME: &str = "scenario";
/// As much of what cargo says is shown when it fails.
const TAIL_LINES: usize = 30;
/// How to go on without.
const OTHERWISE: &str = "or give a target that is built already by --target";

/// Builds the target of the checkout that this program comes from, if it is not built
/// yet. Without cargo-fuzz's instrumentation: the kernel is what guides.
///
/// # Errors
/// There is no checkout, no cargo, or no C++ compiler; or it does not compile.
pub fn build(progress: &dyn Progress) -> Result<PathBuf, Error> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("fuzz");
    let cache = run_dir::cache_root().ok_or_else(|| Error::Missing {
        what: "there is no cache directory".into(),
        remedy: "set INFLIGHT_CACHE or HOME".into(),
    })?;
    build_of(&checkout, &cache.join("fuzz"), progress)
}

fn build_of(checkout: &Path, folder: &Path, progress: &dyn Progress) -> Result<PathBuf, Error> {
    let manifest = checkout.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Error::Missing {
            what: format!("the fuzz target's source is not at {}", checkout.display()),
            remedy: format!("run inflight as it was built in a checkout, {OTHERWISE}"),
        });
    }
    let cargo = tools::find("cargo").ok_or_else(|| Error::Missing {
        what: "building the fuzz target needs cargo, not found here".into(),
        remedy: format!("install Rust (https://rustup.rs), {OTHERWISE}"),
    })?;
    tools::ensure_cxx(progress)?;
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--locked", "--bin", NAME])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(folder)
        // Where cargo looks for its configuration, which names the linker.
        .current_dir(checkout);
    progress.step("building the fuzz target");
    run(command, progress)?;
    Ok(folder.join("release").join(NAME))
}

fn run(mut command: Command, progress: &dyn Progress) -> Result<(), Error> {
    let failed = |what: &str, cause: io::Error| Error::Io {
        what: what.to_owned(),
        cause,
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = process::spawn(&mut command).map_err(|it| failed("cannot run cargo", it))?;
    let (tell, said) = mpsc::channel();
    if let Some(stderr) = child.child().stderr.take() {
        thread::spawn(move || {
            let lines = BufReader::new(stderr).lines().map_while(Result::ok);
            for line in lines {
                // Nobody listens any more.
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
    }
    let mut tail = VecDeque::new();
    let mut compiled = 0;
    loop {
        match said.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                compiled += u64::from(line.trim_start().starts_with("Compiling "));
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        progress.tick(compiled, None, "crates");
    }
    let status = child
        .wait()
        .map_err(|it| failed("cannot wait for cargo", it))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        what: format!("cargo cannot build the fuzz target ({status})"),
        log: None,
        tail: tail.into(),
        kind: ErrorKind::Failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::progress::Silent;

    #[test]
    fn without_a_checkout_it_says_how_to_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let error = build_of(&dir.path().join("fuzz"), dir.path(), &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert!(error.to_string().contains("--target"), "{error}");
    }

    #[test]
    fn what_fails_says_what_was_said() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo '   Compiling x' >&2; echo 'error: y' >&2; exit 101",
        ]);
        let error = run(command, &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains("error: y"), "{error}");
        run(Command::new("true"), &Silent).unwrap();
    }
}
