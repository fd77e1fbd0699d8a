//! A campaign from its beginning to its end.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `slot` | one target after the other, and what is left to them |
//! | `arguments` | what libFuzzer is told |
//! | `targets` | they are started, heard, and started again |
//! | `shrink` | what was found is made smaller |
//! | `standing` | how it stands is brought up to date, and written down |

mod arguments;
mod shrink;
mod slot;
mod standing;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::records::Records;
use super::status::Status;
use super::worker::{Id, News};
use super::{Error, Plan, failed};
use shrink::Settled;
use slot::{Slot, share};

/// From one look at what has come to the next.
const PATIENCE: Duration = Duration::from_millis(200);
/// From one look at the folder of what guests leave to the next.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From one writing of how it stands to the next.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// libFuzzer ends by itself when the time is over; after so much more it is made to.
const OVERTIME: Duration = Duration::from_secs(5);
/// For what was found and not made smaller by the end.
const FINISH_TIME: Duration = Duration::from_secs(120);

pub(super) struct Campaign<'a> {
    plan: &'a Plan,
    folder: &'a Folder,
    pub(super) status: Status,
    begun: Instant,
    /// Of the sessions before.
    elapsed_before_s: f64,
    executions_before: u64,
    slots: Vec<Slot>,
    next: Id,
    tell: Sender<News>,
    news: Receiver<News>,
    records: Records,
    minimizing: HashSet<String>,
    /// Those for which no guest could be had: in the next session, perhaps.
    unable: HashSet<String>,
    give_up: Arc<AtomicBool>,
    minimized: (Sender<Settled>, Receiver<Settled>),
    looked: Instant,
    written: Instant,
    of_late: VecDeque<(Instant, u64)>,
}

impl<'a> Campaign<'a> {
    pub(super) fn new(plan: &'a Plan, folder: &'a Folder, mut status: Status) -> Campaign<'a> {
        let now = Instant::now();
        status.sessions += 1;
        status.is_running = true;
        status.seed = plan.seed;
        status.failures.clear();
        let (tell, news) = mpsc::channel();
        let slot = |number: usize| Slot {
            number,
            budget: plan.runs.map(|runs| share(runs, plan.jobs, number - 1)),
            current: None,
            not_before: now,
            is_done: false,
            barren: 0,
            executions: 0,
            features: 0,
            restarts: 0,
        };
        Campaign {
            plan,
            folder,
            begun: now,
            elapsed_before_s: status.elapsed_s,
            executions_before: status.executions,
            status,
            slots: (1..=plan.jobs).map(slot).collect(),
            next: 0,
            tell,
            news,
            records: Records::default(),
            minimizing: HashSet::new(),
            unable: HashSet::new(),
            give_up: Arc::new(AtomicBool::new(false)),
            minimized: mpsc::channel(),
            looked: now,
            written: now,
            of_late: VecDeque::new(),
        }
    }

    /// Until the time is over, the inputs have run, or it is interrupted.
    pub(super) fn fuzz(
        &mut self,
        interrupted: &dyn Fn() -> bool,
        hear: &mut dyn FnMut(&Status),
    ) -> Result<(), Error> {
        let is_over = |it: &Campaign<'_>| {
            let time_is_over = it
                .plan
                .time
                .is_some_and(|time| it.begun.elapsed() >= time.saturating_add(OVERTIME));
            interrupted() || time_is_over || it.slots.iter().all(|slot| slot.is_done)
        };
        while !is_over(self) {
            self.start_what_fits()?;
            match self.news.recv_timeout(PATIENCE) {
                Ok(news) => self.note(news)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            // What else has come meanwhile; but a look at the clock now and then.
            for _ in 0..1000 {
                match self.news.try_recv() {
                    Ok(news) => self.note(news)?,
                    Err(_) => break,
                }
            }
            self.go_on(1, hear)?;
        }
        Ok(())
    }

    /// What was found and is not made smaller yet, now that the CPUs have time for it.
    pub(super) fn finish(
        &mut self,
        interrupted: &dyn Fn() -> bool,
        hear: &mut dyn FnMut(&Status),
    ) -> Result<(), Error> {
        self.look(true)?;
        let begun = Instant::now();
        let has_work = |it: &Campaign<'_>| {
            let waits = it.records.next(|stem| it.unable.contains(stem), None);
            waits.is_some() || !it.minimizing.is_empty()
        };
        while has_work(self) && begun.elapsed() < FINISH_TIME && !interrupted() {
            thread::sleep(PATIENCE);
            self.go_on(self.plan.jobs, hear)?;
        }
        Ok(())
    }

    /// What is to be done all the while.
    fn go_on(&mut self, minimizers: usize, hear: &mut dyn FnMut(&Status)) -> Result<(), Error> {
        let settled: Vec<Settled> = self.minimized.1.try_iter().collect();
        let any = !settled.is_empty();
        for (stem, outcome) in settled {
            self.minimizing.remove(&stem);
            if let (false, Some(why)) = (outcome.ran, &outcome.failure) {
                self.fail(format!("making {stem} smaller: {why}"));
                self.unable.insert(stem);
                continue;
            }
            self.records
                .settle(&self.folder.seen(), &stem, outcome, false)
                .map_err(failed("write a finding"))?;
        }
        if any || self.looked.elapsed() >= LOOK_EVERY {
            self.look(any)?;
            self.minimize(minimizers);
            hear(&self.status);
        }
        if any || self.written.elapsed() >= WRITE_EVERY {
            self.write()?;
        }
        Ok(())
    }
}
