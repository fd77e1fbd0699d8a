//! Puts the scenarios of corpus/ into the tests, which run where the files may not be.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../corpus");
    let (mut files, mut folders) = (Vec::<PathBuf>::new(), vec![folder]);
    while let Some(folder) = folders.pop() {
        println!("cargo::rerun-if-changed={}", folder.display());
        for entry in folder.read_dir()? {
            let path = entry?.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|it| it == "scn") => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    let mut list = String::from("pub(crate) const CORPUS: &[(&str, &str)] = &[\n");
    for file in files {
        let name = file.file_name().unwrap_or_default();
        writeln!(list, "    ({name:?}, include_str!({file:?})),")?;
    }
    list.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("corpus.rs"), list)?;
    Ok(())
}
