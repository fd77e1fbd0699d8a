//! How it stands is brought up to date, and written down.

use std::time::{Duration, Instant};

use super::Campaign;
use super::slot::Slot;
use crate::campaign::check::expected;
use crate::campaign::fuzz::{Error, failed, folder, page};
use crate::report::whole;

/// What went wrong is shown so often.
const MOST_FAILURES: usize = 8;
/// The rate is that of so much time.
const OF_LATE: Duration = Duration::from_secs(30);

impl Campaign<'_> {
    /// Brings how it stands up to date; `changed`: what was found has changed anyway.
    pub(in crate::campaign::fuzz) fn look(&mut self, changed: bool) -> Result<(), Error> {
        self.looked = Instant::now();
        if self.records.scan(&self.folder.seen()) || changed {
            self.records
                .publish(self.folder)
                .map_err(failed("write a finding"))?;
            let expected = expected(&self.plan.kernel.name, self.plan.contract);
            self.status.causes = self.records.causes(expected);
        }
        for complaint in self.records.take_complaints() {
            self.fail(complaint);
        }
        self.status.unreadable = self.records.unreadable();
        let executions: u64 = self.slots.iter().map(Slot::executions).sum();
        self.note_rate(executions);
        let status = &mut self.status;
        status.executions = self.executions_before + executions;
        status.elapsed_s = self.elapsed_before_s + self.begun.elapsed().as_secs_f64();
        status.remaining_s = self
            .plan
            .time
            .filter(|_| status.is_running)
            .map(|it| it.saturating_sub(self.begun.elapsed()).as_secs_f64());
        status.workers = self.slots.iter().map(Slot::status).collect();
        let features = status.workers.iter().map(|it| it.features).max();
        status.features = status.features.max(features.unwrap_or(0));
        Ok(())
    }

    fn note_rate(&mut self, executions: u64) {
        let now = Instant::now();
        self.of_late.push_back((now, executions));
        while self.of_late.len() > 2 && now - self.of_late[0].0 > OF_LATE {
            self.of_late.pop_front();
        }
        let (since, before) = self.of_late[0];
        let seconds = (now - since).as_secs_f64();
        if seconds > 0.0 {
            self.status.executions_per_s = (executions - before) as f64 / seconds;
        }
    }

    pub(in crate::campaign::fuzz) fn write(&mut self) -> Result<(), Error> {
        self.written = Instant::now();
        let root = self.folder.root();
        (self.status.corpus_files, self.status.corpus_bytes) = folder::size(&self.folder.corpus());
        self.status.note_point();
        let page = page::of(&self.status);
        self.status
            .write(root)
            .and_then(|()| whole::write(root, page::FILE, page.as_bytes()))
            .map_err(failed(format!("write how it stands in {}", root.display())))?;
        Ok(())
    }

    /// Tells what went wrong; the last few of these are kept.
    pub(super) fn fail(&mut self, why: String) {
        let failures = &mut self.status.failures;
        failures.push(why);
        let more = failures.len().saturating_sub(MOST_FAILURES);
        failures.drain(..more);
    }
}
