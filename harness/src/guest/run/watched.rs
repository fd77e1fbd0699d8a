//! One run, with all of its packets.

use std::io;
use std::sync::Arc;

use super::{Guest, RunError};
use crate::capture::Capture;
use crate::guest::clock::Clock;
use crate::guest::tap::Tap;
use crate::history::History;
use crate::scenario::Scenario;

impl Guest {
    /// Runs one normalized scenario as [`Guest::run`] does after [`Guest::await_tick`], and
    /// says what went over the link, or why that cannot be seen; `None`: this scenario's
    /// packets pass none, or time passes by the clock here, and waiting for the kernel to
    /// hand over what it has seen would take minutes.
    ///
    /// # Errors
    /// The clock cannot be read. Nothing has run then.
    #[allow(clippy::type_complexity)]
    pub fn run_watched(
        &mut self,
        scenario: &Scenario,
    ) -> io::Result<(Result<History, RunError>, Option<io::Result<Capture>>)> {
        let setup = &scenario.setup;
        let passes = self.virtual_time && setup.socket.family.passes_link();
        // That takes time: the kernel's timers would not stand as they usually do.
        let tap = passes.then(|| Tap::open(&self.link, setup.device.kind));
        self.await_tick()?;
        let clock = Arc::new(Clock::new(self.virtual_time));
        let result = self.run_by(scenario, &clock);
        // What happened is worth telling without them.
        let capture = tap.map(|tap| tap?.read(&clock));
        Ok((result, capture))
    }
}
