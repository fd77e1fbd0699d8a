//! Targets are started, heard, and started again when they have ended.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Campaign;
use super::arguments::arguments;
use super::slot::{Current, Slot, log_of, pause};
use crate::campaign::fuzz::lines::{Line, Progress};
use crate::campaign::fuzz::worker::{News, Order, Process};
use crate::campaign::fuzz::{Error, failed};
use crate::engine::{DIED_STATUS, HUNG_STATUS};
use crate::fuzz::spool::{Counted, FINDINGS_VARIABLE};
use crate::fuzz::{CONTRACT_VARIABLE, Input, KERNEL_VARIABLE, KEY_VARIABLE, SPENT_STATUS};
use crate::scenario::text;

/// Targets in a row that run no input, and nobody else has run one: it cannot be.
const MOST_BARREN: u32 = 3;
/// The same, where all others are done and no time ends it.
const MOST_BARREN_LAST: u32 = 8;

impl Campaign<'_> {
    pub(super) fn start_what_fits(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        for slot in 0..self.slots.len() {
            let it = &self.slots[slot];
            if it.current.is_none() && !it.is_done && it.not_before <= now {
                self.start(slot)?;
            }
        }
        Ok(())
    }

    /// What is left of the time, if it is limited.
    fn left(&self) -> Option<Duration> {
        let time = self.plan.time?;
        Some(time.saturating_sub(self.begun.elapsed()))
    }

    /// Whether a target has run all its inputs, or has no time for more.
    fn has_enough(&self, slot: usize) -> bool {
        let time_is_over = self.left().is_some_and(|it| it < Duration::from_secs(1));
        self.slots[slot].budget == Some(0) || time_is_over
    }

    fn start(&mut self, slot: usize) -> Result<(), Error> {
        if self.has_enough(slot) {
            self.slots[slot].is_done = true;
            return Ok(());
        }
        let (left, budget) = (self.left(), self.slots[slot].budget);
        let id = self.next;
        self.next += 1;
        let env = [
            (KERNEL_VARIABLE, self.plan.kernel.name.to_string().into()),
            (KEY_VARIABLE, self.plan.kernel.key.clone().into()),
            (CONTRACT_VARIABLE, self.plan.contract.to_string().into()),
            (FINDINGS_VARIABLE, self.folder.seen().into()),
        ];
        let order = Order {
            id,
            program: self.plan.program.clone(),
            arguments: arguments(self.plan, self.folder, id, left, budget),
            env: env.into(),
            log: self.folder.root().join(log_of(self.slots[slot].number)),
        };
        let process = Process::start(order, self.tell.clone()).map_err(failed(format!(
            "start the target {}",
            self.plan.program.display()
        )))?;
        self.slots[slot].current = Some(Current {
            id,
            process,
            progress: Progress::default(),
            counted: 0,
            artifact: None,
        });
        Ok(())
    }

    pub(super) fn note(&mut self, news: News) -> Result<(), Error> {
        let (News::Told(id, _) | News::Closed(id, _)) = &news;
        let is = |slot: &&mut Slot| slot.current.as_ref().is_some_and(|it| it.id == *id);
        let Some(slot) = self.slots.iter_mut().find(is) else {
            return Ok(());
        };
        let Some(current) = &mut slot.current else {
            return Ok(());
        };
        match news {
            News::Told(_, Line::Progress(progress)) => {
                current.progress = Progress {
                    features: current.progress.features.max(progress.features),
                    ..progress
                };
            }
            News::Told(_, Line::Artifact(path)) => current.artifact = Some(path),
            News::Told(_, Line::Counted(counted)) => {
                current.counted += counted.inputs;
                self.note_counts(counted);
            }
            News::Closed(_, tail) => {
                let slot = slot.number - 1;
                return self.note_end(slot, tail);
            }
        }
        Ok(())
    }

    fn note_counts(&mut self, counted: Counted) {
        for (bug, times) in counted.excused {
            *self.status.excused.entry(bug).or_default() += times;
        }
        for (property, times) in counted.violations {
            *self.status.violations.entry(property).or_default() += times;
        }
    }

    fn note_end(&mut self, slot: usize, tail: Vec<String>) -> Result<(), Error> {
        let Some(mut ended) = self.slots[slot].current.take() else {
            return Ok(());
        };
        let status = ended
            .process
            .wait()
            .map_err(failed("wait for the target"))?;
        // libFuzzer writes what it trips over itself, too, and ends with another status.
        let how = status.code().and_then(|it| u8::try_from(it).ok());
        let is_death = how.is_some_and(|it| [DIED_STATUS, HUNG_STATUS].contains(&it));
        let died = ended.artifact.take().filter(|_| is_death);
        if died.is_some() {
            // That input ran, whether or not it came to be counted.
            ended.counted = ended.counted.max(1);
        }
        let executions = ended.executions();
        self.slots[slot].account(&ended);
        if status.success() && self.has_enough(slot) {
            self.slots[slot].is_done = true;
            return Ok(());
        }
        let it = &mut self.slots[slot];
        it.restarts += 1;
        it.barren = match executions {
            0 => it.barren + 1,
            _ => 0,
        };
        it.not_before = Instant::now() + pause(it.barren);
        self.status.restarts += 1;
        if status.success() && executions > 0 {
            // It was told of an earlier end than we know of.
            return Ok(());
        }
        if let Some(artifact) = died {
            self.status.deaths += 1;
            self.move_out(&artifact);
            return Ok(());
        }
        if how == Some(SPENT_STATUS) {
            return Ok(());
        }
        if self.is_hopeless(slot) {
            return Err(Error::Target {
                how: status.to_string(),
                lines: tail,
            });
        }
        let number = slot + 1;
        let error = tail.iter().rfind(|it| it.starts_with("error: "));
        let last = error.or(tail.last()).map_or("", |it| it);
        self.fail(format!("worker {number}: {status}: {last}"));
        Ok(())
    }

    /// Whether to go on without inputs that run is of no use. One guest that cannot be had
    /// is not: others are at work, or have been, and it may be memory that is short.
    fn is_hopeless(&self, slot: usize) -> bool {
        let barren = self.slots[slot].barren;
        let fails = |it: &Slot| it.executions() == 0 && (it.is_done || it.barren > 0);
        let is_last = |(other, it): (usize, &Slot)| other == slot || it.is_done;
        let nobody_runs = barren >= MOST_BARREN && self.slots.iter().all(fails);
        let ends_never = self.plan.time.is_none() && barren >= MOST_BARREN_LAST;
        nobody_runs || ends_never && self.slots.iter().enumerate().all(is_last)
    }

    /// Puts what a kernel died of aside, should it be in the corpus: whoever uses that
    /// next is spared.
    fn move_out(&self, artifact: &Path) {
        let Ok(deadly) = text::read_file(artifact) else {
            return;
        };
        let deadly = deadly.to_string();
        let entries = fs::read_dir(self.folder.corpus()).into_iter().flatten();
        for path in entries.flatten().map(|it| it.path()) {
            let is_it = |bytes: Vec<u8>| Input::of(&bytes).0.to_string() == deadly;
            if fs::read(&path).is_ok_and(is_it)
                && let Some(name) = path.file_name()
            {
                let mut aside = OsString::from("corpus-");
                aside.push(name);
                let _ = fs::rename(&path, self.folder.artifacts().join(aside));
            }
        }
    }

    /// Ends all targets and their guests.
    pub(in crate::campaign::fuzz) fn halt(&mut self) {
        for slot in &mut self.slots {
            if let Some(ended) = slot.current.take() {
                slot.account(&ended);
            }
            slot.is_done = true;
        }
    }
}
