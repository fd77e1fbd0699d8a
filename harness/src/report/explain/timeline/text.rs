//! The events of a run as plain text, for a report.

use super::events::Story;
use super::scale::instant;
use crate::report::explain::Run;
use crate::report::table::Table;
use crate::scenario::Scenario;

/// The timeline of a run in words: so many lines at most, with the torn ones among them.
pub fn text(scenario: &Scenario, run: &Run, most: usize) -> String {
    let story = Story::new(scenario, run);
    let mut table = Table::new(["at", "", "who", "what", "and"], &[0]);
    // The first ones, and of the rest those that matter.
    let shown = |(row, torn): (usize, bool)| row < most || torn;
    let mut left_out = 0;
    for (row, event) in story.events.iter().enumerate() {
        if !shown((row, event.torn)) {
            left_out += 1;
            continue;
        }
        table.row([
            instant(event.at.time_ns),
            if event.torn { "TORN" } else { "" }.to_string(),
            event.who.clone(),
            event.what.clone(),
            event.details.join("; "),
        ]);
    }
    match left_out {
        0 => table.to_string(),
        _ => format!("{table}... and {left_out} more, which the page has\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::doctor::{Plan, range};
    use crate::report::explain::doctored::{run, torn};
    use crate::scenario::Op;

    #[test]
    fn what_was_torn_is_named_however_long_the_list() {
        let plan = torn();
        let all = text(&plan.scenario, &run(&plan, None), 100);
        let torn_lines = |text: &str| text.lines().filter(|it| it.contains("TORN")).count();
        assert_eq!(torn_lines(&all), 2, "{all}");
        let lines = [
            "1: sendfile 0+4096",
            "2: mmap-write 1000+500",
            "end of the stream",
        ];
        for words in lines {
            assert!(all.contains(words), "{words}: {all}");
        }
        assert!(all.lines().all(|line| line == line.trim_end()), "{all}");
        let short = text(&plan.scenario, &run(&plan, None), 1);
        assert_eq!(torn_lines(&short), 2, "{short}");
        assert!(short.contains("... and 3 more"), "{short}");
    }

    #[test]
    fn a_clean_run_has_nothing_torn() {
        let mut plan = Plan::new(4096);
        plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
        plan.receive(20, range(0, 4096), 0);
        let all = text(&plan.scenario, &run(&plan, None), 100);
        assert!(!all.contains("TORN") && !all.contains("more"), "{all}");
    }
}
