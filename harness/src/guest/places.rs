//! Which CPU a thread runs on: who is to run beside another one has another.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use super::clock;
use crate::engine::cpu::stay_on;

/// The CPUs that threads are given, in turn; none where they are all the same.
#[derive(Debug)]
pub struct Places {
    cpus: Vec<usize>,
}

/// Where one thread is to run; `None`: where the kernel likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(Option<usize>);

impl Places {
    /// Those that this process may use. In virtual time there is one CPU.
    pub fn here() -> io::Result<Places> {
        if clock::is_virtual()? {
            return Ok(Places { cpus: Vec::new() });
        }
        let mine = sched_getaffinity(Pid::from_raw(0))?;
        let cpus = (0..CpuSet::count()).filter(|cpu| mine.is_set(*cpu).unwrap_or(false));
        Ok(Places {
            cpus: cpus.collect(),
        })
    }

    /// The place of a thread by its number: next to each other, where there are so many.
    pub fn of(&self, number: usize) -> Place {
        match self.cpus.len() {
            0 | 1 => Place(None),
            all => Place(Some(self.cpus[number % all])),
        }
    }
}

impl Place {
    /// Moves the calling thread there. Where that CPU was taken away meanwhile it stays.
    pub fn take(self) {
        let Place(Some(cpu)) = self else { return };
        stay_on(cpu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_have_different_cpus_while_there_are_some() {
        let places = |cpus: &[usize]| Places {
            cpus: cpus.to_vec(),
        };
        assert_eq!(places(&[]).of(1), Place(None));
        assert_eq!(places(&[3]).of(1), Place(None));
        let two = places(&[0, 2]);
        let of: Vec<_> = (0..4).map(|number| two.of(number)).collect();
        assert_eq!(of, [0, 2, 0, 2].map(|cpu| Place(Some(cpu))));
    }

    #[test]
    fn who_takes_a_place_is_there() {
        let all = Places::here().unwrap();
        let last = *all.cpus.last().unwrap();
        let there = std::thread::spawn(move || {
            Place(Some(last)).take();
            sched_getaffinity(Pid::from_raw(0)).unwrap()
        });
        let there = there.join().unwrap();
        let mine: Vec<_> = (0..CpuSet::count())
            .filter(|cpu| there.is_set(*cpu).unwrap())
            .collect();
        assert_eq!(mine, [last]);
    }
}
