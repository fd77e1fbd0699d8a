//! Puts the text of `kernel-patch/` (configuration, series, patches) into the
//! binary, so that an installed `inflight` builds kernels without its repository.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../kernel-patch");
    // Cargo looks at a directory's files, at any depth.
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();

    let mut table = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&root)?;
        writeln!(
            table,
            "    ({:?}, include_bytes!({:?})),",
            name.to_str()
                .ok_or("a name in kernel-patch/ is not UTF-8")?,
            file.canonicalize()?
        )?;
    }
    table.push_str("]\n");
    let out = Path::new(&env::var("OUT_DIR")?).join("kernel_patch.rs");
    fs::write(out, table)?;
    Ok(())
}

/// What the builder reads: `series`, `*.patch` and `*.config`. Prose stays out.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.file_name().is_some_and(|name| name == "series")
            || path
                .extension()
                .is_some_and(|extension| extension == "patch" || extension == "config")
        {
            files.push(path);
        }
    }
    Ok(())
}
