//! What libFuzzer is told.

use std::ffi::OsString;
use std::time::Duration;

use crate::campaign::fuzz::Plan;
use crate::campaign::fuzz::folder::Folder;
use crate::campaign::fuzz::worker::Id;

/// libFuzzer's numbers are `int`s, and wrap around.
const MOST_TOLD: u64 = i32::MAX as u64;

/// What libFuzzer is told.
pub(super) fn arguments(
    plan: &Plan,
    folder: &Folder,
    id: Id,
    left: Option<Duration>,
    budget: Option<u64>,
) -> Vec<OsString> {
    // It writes to the first one.
    let mut arguments = vec![OsString::from(folder.corpus())];
    arguments.extend(plan.inputs.iter().map(OsString::from));
    let mut prefix = OsString::from("-artifact_prefix=");
    prefix.push(folder.artifacts().join(""));
    arguments.push(prefix);
    // 0 is no seed.
    let seed = plan.seed.wrapping_add(id as u64) % u64::from(u32::MAX) + 1;
    let mut flags = vec![format!("-seed={seed}"), "-reload=1".into()];
    if let Some(left) = left {
        flags.push(format!(
            "-max_total_time={}",
            left.as_secs().clamp(1, MOST_TOLD)
        ));
    }
    if let Some(budget) = budget {
        flags.push(format!("-runs={}", budget.min(MOST_TOLD)));
    }
    arguments.extend(flags.into_iter().map(OsString::from));
    arguments.extend(plan.arguments.iter().cloned());
    arguments
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixture;
    use super::*;

    #[test]
    fn no_number_is_told_that_wraps_around() {
        let it = Fixture::new("");
        let told = |left, budget| {
            let words = arguments(&it.plan, &it.folder(), 0, left, budget);
            let of = |name: &str| {
                let words = words.iter().filter_map(|it| it.to_str());
                let mut numbers = words.filter_map(|it| it.strip_prefix(name));
                numbers.next().map(|it| it.parse::<i32>().unwrap())
            };
            (of("-max_total_time="), of("-runs="))
        };
        assert_eq!(told(None, None), (None, None));
        assert_eq!(
            told(Some(Duration::from_millis(100)), Some(7)),
            (Some(1), Some(7))
        );
        assert_eq!(
            told(Some(Duration::MAX), Some(u64::MAX)),
            (Some(i32::MAX), Some(i32::MAX))
        );
    }
}
