//! A unit of fuzzing.
//!
//! What libFuzzer does depends on time, so that two runs of one unit find not quite the
//! same. Either is as good: what is kept is kept by its content.

use std::collections::HashMap;
use std::fs;
use std::io;
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
        _ => {
            let mut kept = Kept::default();
            let mut hear = |it: &Status| {
                // Should it fail, it is told of at the end, when it is tried again.
                let _ = kept.keep(unit, kernel, &folder.seen(), store);
                tell(it);
            };
            fuzz::run(&plan, &folder, status, &interrupted, &mut hear)
        }
    };
    // What it has found is kept, whatever ended it; and what was found by those who ran it
    // before, or still do.
    for path in store.works(unit)? {
        match Kept::default().keep(unit, kernel, &path.join("seen"), store) {
            // It has come to its end meanwhile, and taken its folder away.
            Err(_) if path != folder.root() && !path.exists() => {}
            kept => kept?,
        }
    }
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
    drop(folder);
    for path in store.works(unit)? {
        // Somebody who is at work there removes it later.
        if let Ok(folder) = Folder::open(&path) {
            store.add_inputs(&folder.corpus())?;
            let _ = fs::remove_dir_all(folder.root());
        }
    }
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

/// What was kept of what a fuzzer has left: by name of the record, how it stood.
#[derive(Debug, Default)]
struct Kept {
    records: HashMap<String, Record>,
}

impl Kept {
    /// Keeps what is new or has come further in `seen`.
    fn keep(
        &mut self,
        unit: &Unit,
        kernel: &Kernel,
        seen: &Path,
        store: &Store,
    ) -> Result<(), Error> {
        let expected = expected(&kernel.name, unit.contract);
        let failed = |error: io::Error| Error::Failed(format!("what it has found: {error}"));
        let entries = match fs::read_dir(seen) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let stem = path.file_stem().and_then(|it| it.to_str());
            let is_record = path.extension().is_some_and(|it| it == EXTENSION);
            let Some(stem) = stem.filter(|it| is_record && !it.starts_with('.')) else {
                continue;
            };
            let record = Record::read(seen, stem).map_err(failed)?;
            if self.records.get(stem) == Some(&record) {
                continue;
            }
            let log = fs::read(seen.join(format!("{stem}.log")));
            let found = Found {
                state: record.state,
                log: log.ok().map(|it| String::from_utf8_lossy(&it).into_owned()),
                ..Found::new(unit, record.finding.clone(), expected)
            };
            store.note(&found)?;
            self.records.insert(stem.to_owned(), record);
        }
        Ok(())
    }
}
