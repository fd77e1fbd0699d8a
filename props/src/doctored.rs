//! The check of the checks: what each property says of a run that is in order, and of the
//! same run with one thing changed.

use inflight::history::{Completed, End, History, Outcome, Stamp};
use inflight::oracle::{Contract, Property, judge};
use inflight::reference::{Opinion, opinion};
use inflight::scenario::text;
use inflight::trial::Trial;

use crate::properties::Result;

/// What is changed, in a run of which scenario, and which property is to see it.
struct Case {
    property: Property,
    text: &'static str,
    change: fn(&mut History),
    /// Whether it is something that the specification speaks of, too.
    specified: bool,
}

const DELAYED: &str = "link data delay=20ms\n\nsendfile 0+4096\nwait 100ms\nmmap-write 0+4096\n";
const LENT: &str = "send-zerocopy 0+4096\nawait-completions\nmmap-write 0+4096\n";
const DATAGRAMS: &str = "socket udp4\n\nsendfile 0+1000\nsendfile 1000+500\n";

const CASES: &[Case] = &[
    Case {
        property: Property::Wire,
        text: DELAYED,
        change: |history| history.received.swap(7, 8),
        specified: true,
    },
    Case {
        property: Property::Datagrams,
        text: DATAGRAMS,
        change: |history| {
            history.chunks.swap(0, 1);
            let (first, second) = (history.chunks[0].at, history.chunks[1].at);
            (history.chunks[0].at, history.chunks[1].at) = (second, first);
        },
        specified: true,
    },
    Case {
        property: Property::Source,
        text: DELAYED,
        change: |history| history.file_pread[4095] ^= 1,
        specified: true,
    },
    Case {
        property: Property::Counts,
        text: DELAYED,
        change: |history| history.calls[0].outcome = Outcome::Returned(4097),
        specified: true,
    },
    Case {
        property: Property::Liveness,
        text: DELAYED,
        change: |history| history.end = End::GivenUp,
        specified: false,
    },
    Case {
        property: Property::StableOnReturn,
        text: DELAYED,
        change: shows_what_was_written,
        specified: true,
    },
    Case {
        property: Property::Completion,
        text: LENT,
        change: shows_what_was_written,
        specified: true,
    },
    Case {
        property: Property::Completion,
        text: LENT,
        change: |history| {
            let told = |of| matches!(of, Completed::Sends { .. });
            history.completions.retain(|it| !told(it.of));
        },
        specified: true,
    },
];

/// The write came through, and all of it arrives after everything else.
fn shows_what_was_written(history: &mut History) {
    history.received[9] = history.file_pread[9];
    let last = history.calls.iter().map(|call| call.exit.order).max();
    for (at, chunk) in (1..).zip(&mut history.chunks) {
        let order = last.unwrap_or(0) + at;
        chunk.at = Stamp { order, ..chunk.at };
    }
}

/// Each property holds of a run, and is broken by one change to it. (What the kernel's log
/// says and what is left behind is no history: `the_guest_hears_the_kernel` and
/// `what_is_kept_is_counted` are about these.)
pub fn each_property_can_be_broken() -> Result {
    let mut trial = Trial::set_up(Contract::Stable).map_err(|error| error.to_string())?;
    let kinds = Property::ALL.iter().filter(|it| !of_no_history(**it));
    for property in kinds.clone() {
        if !CASES.iter().any(|case| case.property == *property) {
            return Err(format!("no case is about {property}"));
        }
    }
    for case in CASES {
        let scenario = text::parse("doctored", case.text).map_err(|error| error.to_string())?;
        let verdict = trial.run(&scenario).map_err(|error| error.to_string())?;
        let mut history = verdict.history;
        if !verdict.violations.is_empty() {
            return Err(format!("{:#?}\n\n{scenario}", verdict.violations));
        }
        (case.change)(&mut history);
        let broken = judge(Contract::Stable, &scenario, &history);
        if !broken.iter().any(|it| it.property == case.property) {
            let property = case.property;
            return Err(format!(
                "{property} has not seen it: {broken:#?}\n\n{scenario}"
            ));
        }
        let specified = opinion(Contract::Stable, &scenario, &history);
        if case.specified != matches!(specified, Opinion::Differs { .. }) {
            return Err(format!("{specified:?}\n\n{scenario}"));
        }
    }
    Ok(())
}

fn of_no_history(property: Property) -> bool {
    matches!(property, Property::Splat | Property::Leaks)
}
