//! A unit of fuzzing.
//!
//! What libFuzzer does depends on time, so that two runs of one unit find not quite the
//! same. Either is as good: what is kept is kept by its content.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::check::Error;
use super::store::Store;
use super::{Done, Found, Unit, Watch, Work};
use crate::campaign::check::expected;
use crate::campaign::fuzz::folder::{Folder, FolderError};
use crate::campaign::fuzz::status::Status;
use crate::campaign::fuzz::{self, Plan};
use crate::fuzz::record::{EXTENSION, Record};
use crate::kernel::Kernel;
use crate::process::interrupted;

/// So many may run one unit at the same time, each in a folder of its own.
const MOST_AT_ONCE: u32 = 16;

/// Fuzzes `unit` with the target `program`, which begins with `inputs`. Who goes on with a
/// unit that was killed goes on where it was.
///
/// # Errors
/// [`Error`]. Then the unit is not through.
pub fn run(
    unit: &Unit,
    kernel: &Kernel,
    program: &Path,
    inputs: &[PathBuf],
    store: &Store,
    mut tell: impl FnMut(&Status),
) -> Result<Done, Error> {
    let &Work::Fuzz {
        runs, shrink_runs, ..
    } = &unit.work
    else {
        return Err(Error::Failed(format!("{}: no such unit", unit.id())));
    };
    let watch = Watch::start();
    let failed = |error: &dyn std::fmt::Display| Error::Failed(error.to_string());
    let folder = open(&store.work(unit)).map_err(|it| failed(&it))?;
    let status = Status::resume(folder.root(), &unit.kernel, unit.contract);
    let status = status.map_err(|it| failed(&it))?;
    let share = unit.shard.share(runs);
    let left = share.saturating_sub(status.executions);
    let plan = Plan {
        kernel: kernel.clone(),
        contract: unit.contract,
        jobs: 1,
        // Far from those of the other units, which libFuzzer counts up from.
        seed: unit.seed.wrapping_add(u64::from(unit.shard.index()) << 16),
        time: None,
        runs: Some(left.max(1)),
        inputs: inputs.to_vec(),
        program: program.to_owned(),
        arguments: Vec::new(),
        shrink_runs,
    };
    let status = match left {
        // It had run all, and was killed before it could say so.
        0 => Ok(status),
        _ => fuzz::run(&plan, &folder, status, &interrupted, &mut |it| tell(it)),
    };
    // What it has found is kept, whatever ended it.
    keep(unit, kernel, &folder, store)?;
    let status = status.map_err(|it| failed(&it))?;
    if interrupted() {
        return Err(Error::Failed("interrupted".into()));
    }
    store.add_inputs(&folder.corpus())?;
    let done = Done {
        scenarios: status.executions,
        excused: status.excused.clone(),
        fuzz_features: Some(status.features),
        took: watch.stop(Duration::from_secs_f64(status.elapsed_s)),
        ..Done::of(unit)
    };
    store.put(&done)?;
    // All that is worth keeping is elsewhere.
    let root = folder.root().to_owned();
    drop(folder);
    let _ = fs::remove_dir_all(root);
    Ok(done)
}

/// The unit's folder, or where somebody else is at work there, another.
fn open(path: &Path) -> Result<Folder, FolderError> {
    let mut name = path.as_os_str().to_owned();
    let mut attempt = 1;
    loop {
        match Folder::open(Path::new(&name)) {
            Err(FolderError::Busy(_)) if attempt < MOST_AT_ONCE => {
                attempt += 1;
                name = path.as_os_str().to_owned();
                name.push(format!(".{attempt}"));
            }
            opened => return opened,
        }
    }
}

fn keep(unit: &Unit, kernel: &Kernel, folder: &Folder, store: &Store) -> Result<(), Error> {
    let expected = expected(&kernel.name, unit.contract);
    let failed = |error: std::io::Error| Error::Failed(format!("what it has found: {error}"));
    for entry in fs::read_dir(folder.seen()).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let stem = path.file_stem().and_then(|it| it.to_str());
        let is_record = path.extension().is_some_and(|it| it == EXTENSION);
        let Some(stem) = stem.filter(|it| is_record && !it.starts_with('.')) else {
            continue;
        };
        let record = Record::read(&folder.seen(), stem).map_err(failed)?;
        let log = fs::read(folder.seen().join(format!("{stem}.log")));
        let found = Found {
            state: record.state,
            log: log.ok().map(|it| String::from_utf8_lossy(&it).into_owned()),
            ..Found::new(unit, record.finding, expected)
        };
        store.note(&found)?;
    }
    Ok(())
}
