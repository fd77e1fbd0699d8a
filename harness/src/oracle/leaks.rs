//! **leaks**: when everything is closed, nothing of the scenario is left: no socket
//! and no packet that belongs to one (sk_wmem_alloc), no open file, no page that was
//! in flight and is in nobody's file any more, no pinned one.
//!
//! Not flagged: what goes by itself within the time that TCP gives an orphaned
//! connection. Who reads the counters waits for that.

use super::{Property, Violation};
use crate::history::{History, Leftovers};

/// Judges what is left, if that was looked at.
pub(super) fn judge(history: &History) -> Option<Violation> {
    history.leftovers.and_then(violation)
}

/// Puts what is left into words; `None`: nothing is.
pub fn violation(left: Leftovers) -> Option<Violation> {
    let Leftovers {
        sockets,
        files,
        pages,
        pins,
    } = left;
    let counted = [
        (sockets, "socket"),
        (files, "open file"),
        (pages, "page of no file"),
        (pins, "pinned page"),
    ];
    let words: Vec<String> = counted
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| match (count, what.split_once(' ')) {
            (1, _) => format!("1 {what}"),
            (_, Some(("page", rest))) => format!("{count} pages {rest}"),
            _ => format!("{count} {what}s"),
        })
        .collect();
    (!words.is_empty()).then(|| {
        Violation::new(
            Property::Leaks,
            None,
            format!("left when everything was closed: {}", words.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::doctor::{Plan, range};
    use crate::oracle::{Contract, judge as judge_all};
    use crate::scenario::Op;

    fn plan(leftovers: Option<Leftovers>) -> Plan {
        let mut plan = Plan::new(4096);
        plan.call(Op::Sendfile(range(0, 4096)), 1, 2);
        plan.receive(3, range(0, 4096), 0);
        plan.history.leftovers = leftovers;
        plan
    }

    #[test]
    fn nothing_left_is_fine_and_so_is_not_having_looked() {
        assert_eq!(plan(None).violations(), []);
        assert_eq!(plan(Some(Leftovers::default())).violations(), []);
    }

    #[test]
    fn each_thing_left_is_flagged_by_its_name() {
        let nothing = Leftovers::default();
        let one = [
            (
                Leftovers {
                    sockets: 1,
                    ..nothing
                },
                "1 socket",
            ),
            (
                Leftovers {
                    files: 2,
                    ..nothing
                },
                "2 open files",
            ),
            (
                Leftovers {
                    pages: 3,
                    ..nothing
                },
                "3 pages of no file",
            ),
            (Leftovers { pins: 4, ..nothing }, "4 pinned pages"),
        ];
        for (left, words) in one {
            let plan = plan(Some(left));
            let violation = plan.violation();
            assert_eq!(violation.property, Property::Leaks);
            assert_eq!(
                violation.message,
                format!("left when everything was closed: {words}")
            );
            // The manual pages promise as much.
            let found = judge_all(Contract::Documented, &plan.scenario, &plan.history);
            assert_eq!(found.len(), 1, "{words}");
        }
        let all = Leftovers {
            sockets: 1,
            files: 1,
            pages: 1,
            pins: 1,
        };
        assert_eq!(
            plan(Some(all)).violation().message,
            "left when everything was closed: 1 socket, 1 open file, 1 page of no file, \
             1 pinned page"
        );
    }
}
