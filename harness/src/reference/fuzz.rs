//! For tests and fuzzing: the two opinions side by side, on histories that bytes choose.

use super::doctors::DOCTORS;
use super::{History, Opinion, Scenario, opinion};
use crate::oracle::draw::{Rng, random_scenario};
use crate::oracle::model::{Ran, Style, Takes, run};
use crate::oracle::{Contract, Violation, judge};

/// What was chosen, and what both say of it.
#[derive(Debug)]
pub struct Case {
    scenario: Scenario,
    history: History,
    /// What was done to it; `None`: it is as it was.
    doctor: Option<&'static str>,
    /// Whether a byte was torn, as its kernel knows.
    torn: bool,
}

impl Case {
    /// The history that these bytes choose: of a kernel in order or of one with the race,
    /// as it was or doctored.
    pub fn of(bytes: &[u8]) -> Case {
        let mut rng = Rng::of(bytes);
        let [seed, takes, doctor] = [rng.next(), rng.below(8), rng.next()];
        let takes = match takes {
            0..4 => Takes::DuringSend,
            4..6 => Takes::WhenFilled,
            _ => Takes::WhenReceived,
        };
        let scenario = random_scenario(&mut rng);
        let Ran { mut history, torn } = ran_of(&scenario, seed, takes);
        // Half of them stay as they are.
        let doctor = DOCTORS.get(doctor as usize % (2 * DOCTORS.len()));
        let done = doctor.filter(|(_, change)| change(&mut rng, &scenario, &mut history));
        Case {
            scenario,
            history,
            doctor: done.map(|(name, _)| *name),
            torn,
        }
    }

    /// What was done to the history; `None`: it is as it was.
    pub fn doctor(&self) -> Option<&'static str> {
        self.doctor
    }

    /// Lets both judge it.
    ///
    /// # Panics
    /// One of them accepts what the other does not; or the oracle accuses a kernel that
    /// tore no byte.
    pub fn judge(&self) {
        self.compare(judge);
    }

    fn compare(&self, judge: impl Fn(Contract, &Scenario, &History) -> Vec<Violation>) {
        for contract in [Contract::Stable, Contract::Documented] {
            let violations = judge(contract, &self.scenario, &self.history);
            let opinion = opinion(contract, &self.scenario, &self.history);
            let agrees = opinion == Opinion::Agrees;
            let race = self.torn && contract == Contract::Stable;
            assert!(
                self.doctor.is_some() || violations.is_empty() || race,
                "{contract:?}: torn: {race}, {violations:#?}\n{self:#?}\n{}",
                self.scenario
            );
            assert!(
                opinion == Opinion::Unknown || violations.is_empty() == agrees,
                "{contract:?}: {opinion:?}, {violations:#?}\n{self:#?}\n{}",
                self.scenario
            );
        }
    }
}

/// A scenario and what happened in it.
#[cfg(test)]
pub(super) fn ran(seed: u64, takes: Takes) -> (Scenario, History) {
    let scenario = random_scenario(&mut Rng::new(seed));
    let history = ran_of(&scenario, seed, takes).history;
    (scenario, history)
}

fn ran_of(scenario: &Scenario, seed: u64, takes: Takes) -> Ran {
    let style = Style {
        takes,
        overlap: !seed.is_multiple_of(4),
        give_up_after: None,
    };
    run(scenario, style, !seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as a fuzzer begins with; and none of it is always the same.
    #[test]
    fn bytes_choose_all_kinds() {
        let mut rng = Rng::new(2008);
        let mut doctors = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let bytes: Vec<u8> = (0..rng.below(60)).map(|_| rng.next() as u8).collect();
            let case = Case::of(&bytes);
            case.judge();
            doctors.insert(case.doctor);
        }
        // Each, and none.
        assert_eq!(doctors.len(), DOCTORS.len() + 1);
    }

    #[test]
    #[should_panic(expected = "Differs")]
    fn an_oracle_that_accepts_everything_is_caught() {
        let mut cases = (0..=u16::MAX).map(|it| Case::of(&[it.to_le_bytes(); 4].concat()));
        let wrong = cases.find(|it| it.doctor == Some("a call fails for no reason"));
        wrong.unwrap().compare(|_, _, _| Vec::new());
    }

    #[test]
    #[should_panic(expected = "torn: false")]
    fn an_oracle_that_accepts_nothing_is_caught() {
        let any = |contract, scenario: &Scenario, _: &History| {
            judge(contract, scenario, &Case::of(&[1]).history)
        };
        let mut cases = (0..=u16::MAX).map(|it| Case::of(&[it.to_le_bytes(); 4].concat()));
        let right = cases.find(|it| it.doctor.is_none() && !it.history.received.is_empty());
        right.unwrap().compare(any);
    }
}
