//! One kernel, looked at from one seed.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Mode, Plan, Run};
use crate::campaign::check;
use crate::campaign::fuzz::target::{self, Sought};
use crate::campaign::job::Finding;
use crate::campaign::minimize;
use crate::fuzz::Input;
use crate::kernel::{Extras, Kernel, KernelName};
use crate::oracle::{Contract, Property};
use crate::process::interrupted;

/// For what the fuzz target has found, to be made smaller.
const SHRINK_TIME: Duration = Duration::from_secs(60);

impl Mode {
    /// The kernel that it takes in place of this one.
    pub fn kernel(&self, kernel: &KernelName) -> KernelName {
        let kernel = kernel.clone();
        match (self, kernel.extras()) {
            (Mode::Check, _) => kernel,
            (Mode::Fuzz { .. }, extras) if extras.watches() => kernel.with(Extras::DebugKcov),
            (Mode::Fuzz { .. }, _) => kernel.with(Extras::Kcov),
        }
    }
}

/// Looks for a violation, with findings as they come to `hear`.
pub(super) fn seek(
    plan: &Plan,
    kernel: &Kernel,
    seed: u64,
    shrink_runs: u64,
    hear: impl FnMut(&Finding),
) -> Run {
    let found = match &plan.mode {
        Mode::Check => by_check(plan.time, kernel, seed, shrink_runs, hear),
        Mode::Fuzz { program, corpus } => by_fuzz(
            plan.time,
            kernel,
            seed,
            shrink_runs,
            (program, corpus),
            hear,
        )
        .map_err(|it| it.to_string()),
    };
    match found {
        Ok(run) => run,
        Err(why) => Run {
            seed,
            failures: vec![why],
            ..Run::default()
        },
    }
}

fn by_check(
    time: Duration,
    kernel: &Kernel,
    seed: u64,
    shrink_runs: u64,
    mut hear: impl FnMut(&Finding),
) -> Result<Run, String> {
    let plan = check::Plan {
        kernels: vec![kernel.clone()],
        contract: Contract::Stable,
        seed,
        first: 0,
        stride: 1,
        cases: u64::MAX,
        jobs: 1,
        time: Some(time),
        shrink_runs,
    };
    let outcomes = check::run_until(&plan, &interrupted, |news| match news {
        check::News::Finding(_, finding) => hear(finding),
        check::News::Progress(..) => {}
    });
    let outcomes = outcomes.map_err(|it| it.to_string())?;
    let mut run = Run {
        seed,
        ..Run::default()
    };
    for outcome in outcomes {
        run.scenarios = outcome.scenarios;
        run.took = outcome.busy;
        run.failures = outcome.failures;
        if let Some(finding) = outcome.finding {
            run.note(&finding);
        }
    }
    Ok(run)
}

impl Run {
    fn note(&mut self, finding: &Finding) {
        self.caught = Some(finding.property);
        // One that has not been begun with is as long as it was.
        self.minimized_ops = (finding.shrink_runs > 0).then_some(finding.steps_after);
    }
}

fn by_fuzz(
    time: Duration,
    kernel: &Kernel,
    seed: u64,
    shrink_runs: u64,
    (program, corpus): (&Path, &[std::path::PathBuf]),
    mut hear: impl FnMut(&Finding),
) -> io::Result<Run> {
    let folder = target::folder()?;
    let own = folder.path().join("corpus");
    fs::create_dir(&own)?;
    let target = target::Run {
        program,
        kernel: &kernel.name,
        guide: "all",
        contract: "stable",
        trace: None,
    };
    let mut run = Run {
        seed,
        ..Run::default()
    };
    let begun = Instant::now();
    let mut attempt = 0;
    // Where a call of an input hangs by a known bug, it goes on in a new guest.
    while run.caught.is_none() {
        let left = time.saturating_sub(begun.elapsed()).as_secs();
        if left == 0 {
            break;
        }
        let mut arguments = vec![own.display().to_string()];
        arguments.extend(corpus.iter().map(|it| it.display().to_string()));
        arguments.extend([
            format!("-max_total_time={left}"),
            // 0 would be a new one each time.
            format!("-seed={}", seed.wrapping_add(attempt << 16) as u32),
            format!("-artifact_prefix={}/", folder.path().display()),
            "-print_final_stats=1".into(),
        ]);
        let sought = match target.seek(&arguments) {
            Ok(sought) => sought,
            // What ran before it counts.
            Err(error) => {
                run.failures.push(error.to_string());
                break;
            }
        };
        run.scenarios += sought.executions;
        run.took += sought.took;
        run.caught = sought.violated;
        match kept(&sought) {
            Ok(None) => {}
            Ok(Some(finding)) => {
                hear(&finding);
                if shrink_runs > 0 {
                    shrink(kernel, &finding, shrink_runs, &mut run, &mut hear);
                }
            }
            // It is caught, but what caught it is lost.
            Err(error) => run.failures.push(format!("no finding: {error}")),
        }
        if interrupted() {
            run.failures.push("interrupted".into());
            break;
        }
        attempt += 1;
    }
    Ok(run)
}

/// The input that broke something, as a finding.
fn kept(sought: &Sought) -> io::Result<Option<Finding>> {
    let Some(property) = sought.violated else {
        return Ok(None);
    };
    let path = sought.artifact.as_ref();
    let path = path.ok_or_else(|| io::Error::other("the fuzz target told of no file"))?;
    // The first inputs of an empty corpus are no text, and mean a scenario all the same.
    let Input(scenario) = Input::of(&fs::read(path)?);
    let message = format!("execution {} of the fuzz target", sought.executions);
    let finding = Finding::suspect(0, property, message, &scenario);
    Ok(Some(finding))
}

fn shrink(
    kernel: &Kernel,
    finding: &Finding,
    shrink_runs: u64,
    run: &mut Run,
    hear: &mut impl FnMut(&Finding),
) {
    let property: Property = finding.property;
    let plan = minimize::Plan {
        kernels: vec![kernel.clone()],
        items: vec![minimize::Item {
            kernel: 0,
            text: finding.original.clone(),
            property: Some(property),
        }],
        contract: Contract::Stable,
        shrink_runs,
        time: Some(SHRINK_TIME),
        jobs: 1,
    };
    let outcomes = minimize::run(&plan, &|| false, &mut |_, finding| hear(finding));
    // That it cannot be made smaller takes nothing from the catch.
    for finding in outcomes
        .iter()
        .flatten()
        .filter_map(|it| it.finding.as_ref())
    {
        if finding.property == property {
            run.note(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_kept_as_the_scenario_that_it_means() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("crash-1");
        for bytes in [&b""[..], b"\n", b"sendfile 0+1\n"] {
            fs::write(&path, bytes).unwrap();
            let sought = Sought {
                executions: 2,
                took: Duration::ZERO,
                violated: Some(Property::Wire),
                artifact: Some(path.clone()),
            };
            let finding = kept(&sought).unwrap().unwrap();
            assert_eq!(finding.original, Input::of(bytes).0.to_string());
        }
    }
}
