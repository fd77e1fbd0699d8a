//! That a scenario does the same each time it is run.

use inflight::oracle::Contract;
use inflight::scenario::{normalize, text};
use inflight::trial::Trial;

use crate::properties::{CORPUS, Result};

/// What has differed, and in how many runs that must have shown.
///
/// `burst.scn` met other random numbers when it ran first after a boot. In `killed.scn`
/// the clock moved, once in some sixty runs, because a thread of the kernel had read it,
/// too.
const FILES: [(&str, usize); 2] = [("burst.scn", 3), ("killed.scn", 100)];

/// All runs have one digest, the first after a boot as well.
pub fn a_scenario_does_the_same_each_time() -> Result {
    let trial = Trial::set_up(Contract::Documented);
    let mut trial = trial.map_err(|error| error.to_string())?;
    for (wanted, times) in FILES {
        let Some((file, text)) = CORPUS.iter().find(|(file, _)| *file == wanted) else {
            return Err(format!("{wanted} is not in the corpus"));
        };
        let scenario = text::parse(file, text).map_err(|error| error.to_string())?;
        let scenario = normalize::normalize(scenario);
        let mut known = None;
        for run in 0..times {
            let verdict = trial.run_again(&scenario).map_err(|it| it.to_string())?;
            let digest = verdict.history.digest(&scenario);
            let first = known.get_or_insert_with(|| digest.clone());
            if *first != digest {
                return Err(format!(
                    "{file}: run {run} differs: {:#?}",
                    verdict.history.calls
                ));
            }
        }
    }
    Ok(())
}
