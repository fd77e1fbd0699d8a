//! What the engines beside User Mode Linux can do here.

use super::{Check, State};
use crate::campaign::host::alone;
use crate::campaign::job::{Event, Job};
use crate::engine;
use crate::guest::lacks::{Feature, Lack};
use crate::kernel::{self, KernelName, Machine, progress};

const HOST: &str = "engine host";

/// The engine `host`: whether it can be used, and what this kernel lacks.
pub fn host() -> Vec<Check> {
    if let Err(error) = engine::host::probe() {
        return vec![refused(error)];
    }
    match lacks() {
        Ok(lacks) => judge(&lacks),
        Err(why) => {
            let found = why.lines().next().unwrap_or_default();
            let remedy = "use --engine uml";
            vec![Check::not_ok(HOST, State::Warn, found, remedy)]
        }
    }
}

fn refused(error: engine::Error) -> Check {
    let (found, remedy) = match error {
        engine::Error::Namespaces { why, remedy } => (why, remedy),
        other => (other.to_string(), "use --engine uml".to_owned()),
    };
    Check::not_ok(HOST, State::Warn, found, remedy)
}

/// Asks a program of that engine.
fn lacks() -> Result<Vec<Lack>, String> {
    let progress = progress::stderr();
    let kernel = kernel::ensure(&KernelName::Host, Machine::Host, &*progress);
    let kernel = kernel.map_err(|error| error.to_string())?;
    let mut told = None;
    let end = alone(&kernel, &Job::Probe, |_, event| match event {
        Event::Lacks(lacks) => told = Some(Ok(lacks)),
        Event::Failed(why) => told = Some(Err(why)),
        _ => {}
    });
    match (told, end) {
        (Some(told), _) => told,
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(end)) => Err(match end.outcome {
            Err(error) => error.to_string(),
            Ok(_) => end.stray,
        }),
    }
}

/// One line for the engine, and one for each thing that could be there.
fn judge(lacks: &[Lack]) -> Vec<Check> {
    let mut checks = vec![Check::ok(
        HOST,
        "namespaces of this kernel; time passes by the clock",
    )];
    let may_be_there = lacks.iter().filter(|it| it.what != Feature::Ext4);
    checks.extend(may_be_there.map(|lack| {
        let then = match lack.what {
            Feature::Netem => {
                "a program delays and holds packets in its place; losses, rates and the like \
                 are skipped"
            }
            Feature::Hold => "a program holds packets in its place",
            _ => "what needs it is skipped",
        };
        let found = format!("no {} ({}): {then}", lack.what, lack.reason);
        Check::not_ok(HOST, State::Warn, found, &lack.remedy)
    }));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_there_is_named_with_its_remedy() {
        let lack = |what| Lack {
            what,
            reason: "no such file".into(),
            remedy: "load it".into(),
        };
        let checks = judge(&[lack(Feature::Netem), lack(Feature::Ext4)]);
        assert_eq!(checks.len(), 2, "nobody can do anything about ext4");
        assert_eq!(checks[0].state, State::Ok);
        assert_eq!(checks[1].state, State::Warn);
        assert!(checks[1].found.starts_with("no netem (no such file): "));
        assert_eq!(checks[1].remedy.as_deref(), Some("load it"));
    }

    #[test]
    fn what_is_refused_is_a_warning_with_a_remedy() {
        let check = refused(engine::Error::Namespaces {
            why: "they are switched off".into(),
            remedy: "switch them on".into(),
        });
        assert_eq!(check.state, State::Warn);
        assert_eq!(check.found, "they are switched off");
        assert_eq!(check.remedy.as_deref(), Some("switch them on"));
    }
}
