//! Telling a person what takes so long.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Who wants to know how a build gets on. Everything goes to standard error or
/// nowhere: standard output belongs to results.
pub trait Progress: Send + Sync {
    /// A new step begins, e.g. `compiling 6.12-stock`.
    fn step(&self, what: &str);
    /// Within the step: `done` of `total` of `unit`, e.g. `objects`. Called for
    /// every one and at least once a second, so that an implementation can show
    /// the elapsed time. A `total` is an estimate and may be exceeded.
    fn tick(&self, done: u64, total: Option<u64>, unit: &str);
    /// Something to know that is no step.
    fn note(&self, text: &str);
}

/// The right implementation for standard error: a bar on a terminal, lines
/// elsewhere.
#[must_use]
pub fn stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() {
        Box::new(Bar::new())
    } else {
        Box::new(Lines::new(std::io::stderr()))
    }
}

/// Says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: &str) {}
    fn tick(&self, _: u64, _: Option<u64>, _: &str) {}
    fn note(&self, _: &str) {}
}

/// A bar with step, count and elapsed time. Dropping it clears the line.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar on standard error that appears with the first step.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
        }
    }

    fn style(text: &str) -> ProgressStyle {
        ProgressStyle::with_template(text)
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .progress_chars("=> ")
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn step(&self, what: &str) {
        self.bar
            .set_style(Self::style("{spinner} {wide_msg} {elapsed}"));
        self.bar.set_message(what.to_owned());
        self.bar.reset();
        if self.bar.is_hidden() {
            self.bar
                .set_draw_target(indicatif::ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn tick(&self, done: u64, total: Option<u64>, unit: &str) {
        let style = match total {
            Some(_) => "{spinner} {msg} [{wide_bar}] {pos}/{len} {prefix} {elapsed}",
            None if done > 0 => "{spinner} {msg}, {pos} {prefix} {elapsed}",
            // The elapsed time goes on by itself.
            None => return,
        };
        self.bar.set_style(Self::style(style));
        self.bar.set_prefix(unit.to_owned());
        self.bar.set_length(total.unwrap_or(0).max(done));
        self.bar.set_position(done);
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| {
            // Not `eprintln!`: it would panic where standard error is gone.
            let _ = writeln!(std::io::stderr(), "{text}");
        });
    }
}

/// At most one line in this time, besides those that begin a step.
const QUIET: Duration = Duration::from_secs(15);

/// A line a step, and now and then one with the elapsed time.
#[derive(Debug)]
pub struct Lines<W> {
    state: Mutex<State<W>>,
    quiet: Duration,
}

#[derive(Debug)]
struct State<W> {
    out: W,
    step: String,
    begun: Instant,
    said: Instant,
}

impl<W: Write + Send> Lines<W> {
    /// Lines to `out`. An `out` that fails is ignored: a build must not fail
    /// because nobody listens.
    pub fn new(out: W) -> Self {
        Self::with_quiet(out, QUIET)
    }

    fn with_quiet(out: W, quiet: Duration) -> Self {
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                out,
                step: String::new(),
                begun: now,
                said: now,
            }),
            quiet,
        }
    }

    fn with(&self, action: impl FnOnce(&mut State<W>)) {
        // A panic while a line was printed leaves nothing half done.
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        action(&mut state);
    }
}

impl<W: Write + Send> Progress for Lines<W> {
    fn step(&self, what: &str) {
        self.with(|state| {
            let now = Instant::now();
            (state.begun, state.said) = (now, now);
            what.clone_into(&mut state.step);
            let _ = writeln!(state.out, "{what}");
        });
    }

    fn tick(&self, done: u64, total: Option<u64>, unit: &str) {
        self.with(|state| {
            if state.said.elapsed() < self.quiet {
                return;
            }
            state.said = Instant::now();
            let count = match total {
                Some(total) => format!(", {done} of about {} {unit}", total.max(done)),
                None if done > 0 => format!(", {done} {unit}"),
                None => String::new(),
            };
            let seconds = state.begun.elapsed().as_secs();
            let _ = writeln!(
                state.out,
                "{}: {}:{:02}{count}",
                state.step,
                seconds / 60,
                seconds % 60
            );
        });
    }

    fn note(&self, text: &str) {
        self.with(|state| {
            let _ = writeln!(state.out, "{text}");
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: Lines<Vec<u8>>) -> String {
        String::from_utf8(lines.state.into_inner().unwrap().out).unwrap()
    }

    #[test]
    fn lines_are_rare() {
        let lines = Lines::new(Vec::new());
        lines.step("compiling");
        for done in 0..1000 {
            lines.tick(done, Some(1000), "objects");
        }
        lines.note("by the way");
        assert_eq!(said(lines), "compiling\nby the way\n");
    }

    #[test]
    fn lines_tell_count_and_time_when_it_is_due() {
        let lines = Lines::with_quiet(Vec::new(), Duration::ZERO);
        lines.step("compiling");
        lines.tick(7, Some(1225), "objects");
        lines.tick(1300, Some(1225), "objects");
        lines.tick(0, None, "");
        assert_eq!(
            said(lines),
            "compiling\ncompiling: 0:00, 7 of about 1225 objects\n\
             compiling: 0:00, 1300 of about 1300 objects\ncompiling: 0:00\n"
        );
    }

    #[test]
    fn a_bar_is_silent_before_its_first_step() {
        let bar = Bar::new();
        assert!(bar.bar.is_hidden());
    }
}
