//! A unit that makes a finding of the campaign smaller than its unit had time for.

use super::check::Error;
use super::store::Store;
use super::{Done, Found, Unit, Watch, Work};
use crate::campaign::minimize::{self, Item, Plan};
use crate::kernel::Kernel;
use crate::oracle::Property;
use crate::process::interrupted;

/// Makes the scenario of `unit` smaller on `kernel`: it must go on to break `property`.
///
/// # Errors
/// [`Error`]. Then the unit is not through. That the scenario breaks nothing here is none.
pub fn run(
    unit: &Unit,
    kernel: &Kernel,
    property: Property,
    expected: Option<Property>,
    store: &Store,
) -> Result<Done, Error> {
    let Work::Smaller {
        scenario,
        shrink_runs,
        ..
    } = &unit.work
    else {
        return Err(Error::Failed(format!("{}: no such unit", unit.id())));
    };
    let watch = Watch::start();
    let plan = Plan {
        kernels: vec![kernel.clone()],
        items: vec![Item {
            kernel: 0,
            text: scenario.clone(),
            property: Some(property),
        }],
        contract: unit.contract,
        shrink_runs: *shrink_runs,
        time: None,
        jobs: 1,
    };
    let mut trouble = None;
    let note = |finding: &crate::campaign::job::Finding| {
        let found = Found::new(unit, finding.clone(), expected);
        store.note(&found)
    };
    let outcomes = minimize::run(&plan, &interrupted, &mut |_, finding| {
        if let Err(error) = note(finding) {
            trouble.get_or_insert(error);
        }
    })?;
    if let Some(error) = trouble {
        return Err(error.into());
    }
    let mut runs = 0;
    for outcome in outcomes {
        match (outcome.failure, outcome.finding) {
            (Some(why), _) => return Err(Error::Failed(why)),
            (None, Some(finding)) => {
                runs += finding.shrink_runs;
                note(&finding)?;
            }
            // Here it holds: the one from which it comes stays as it is.
            (None, None) => {}
        }
    }
    if interrupted() {
        return Err(Error::Failed("interrupted".into()));
    }
    let done = Done {
        scenarios: runs,
        took: watch.stop(std::time::Duration::ZERO),
        ..Done::of(unit)
    };
    store.put(&done)?;
    Ok(done)
}
