//! What the ways of sending cost: how long a call takes in virtual time, and how
//! much of the host's CPU.

use serde_json::{Value, json};

use crate::campaign::job::{Event, Job};
use crate::cli::Failure;
use crate::guest::transfer::{Took, Transfer, Way};
use crate::kernel::{Flavour, Kernel, KernelName};
use crate::report::table::Table;

const MIB: usize = 1 << 20;

/// A link, and what is sent over it.
struct Course {
    name: &'static str,
    link: &'static str,
    call_bytes: &'static [usize],
    /// All calls together; large enough for the host's clock to be read.
    bytes: usize,
}

impl Course {
    fn calls(&self, call_bytes: usize) -> u32 {
        match self.bytes / call_bytes {
            1 => 1,
            calls => calls.clamp(64, 1024) as u32,
        }
    }
}

/// One large file.
const BULK: &[Course] = &[
    Course {
        name: "100 Mbit/s, 20 ms",
        link: "link data delay=10ms rate=100mbit\nlink ack delay=10ms\n",
        call_bytes: &[64 * MIB],
        bytes: 64 * MIB,
    },
    Course {
        name: "1 Gbit/s, 1 ms",
        link: "link data delay=500us rate=1gbit\nlink ack delay=500us\n",
        call_bytes: &[64 * MIB],
        bytes: 64 * MIB,
    },
];

/// Calls one after the other on one connection, none of which waits for an answer.
const CALLS: Course = Course {
    name: "1 Gbit/s, 1 ms",
    link: "link data delay=500us rate=1gbit\nlink ack delay=500us\n",
    call_bytes: &[1, 1448, 4096, 16 * 1024, 64 * 1024, 256 * 1024, MIB],
    bytes: 64 * MIB,
};

/// One cell.
pub(super) struct Cell {
    way: Way,
    course: &'static str,
    call_bytes: usize,
    calls: u32,
    took: Took,
    host_us: f64,
}

/// Measures every way that `kernel` has.
pub(super) fn measure(kernel: &Kernel) -> Result<Vec<Cell>, Failure> {
    let mut ways = match kernel.name {
        KernelName::Release {
            flavour: Flavour::Patched | Flavour::Detach,
            ..
        } => vec![Way::Stable(0), Way::Stable(1), Way::Stable(2)],
        _ => vec![Way::Sendfile],
    };
    ways.extend([Way::Copy, Way::ZeroCopy]);
    let mut cells = Vec::new();
    for course in BULK.iter().chain([&CALLS]) {
        for &call_bytes in course.call_bytes {
            for &way in &ways {
                let transfer = Transfer {
                    way,
                    call_bytes,
                    calls: course.calls(call_bytes),
                };
                let (took, host_us) = transferred(kernel, course.link, transfer)?;
                cells.push(Cell {
                    way,
                    course: course.name,
                    call_bytes,
                    calls: transfer.calls,
                    took,
                    host_us,
                });
            }
        }
    }
    Ok(cells)
}

fn transferred(kernel: &Kernel, link: &str, transfer: Transfer) -> Result<(Took, f64), Failure> {
    let job = Job::Transfer {
        // A scenario has an operation; it is the link that counts.
        text: format!("{link}\nsendfile 0+1\n"),
        transfer,
    };
    let what = format!("{}: {}", kernel.name, name(transfer.way));
    let timed = super::timed(kernel, &job, &what, |event| match event {
        Event::Transferred(took) => Some(took),
        _ => None,
    })?;
    let host_us = (timed.at - timed.first).as_secs_f64() * 1e6;
    Ok((timed.told, host_us))
}

fn name(way: Way) -> String {
    match way {
        Way::Sendfile => "sendfile".to_owned(),
        Way::Stable(0) => "sendfile, off".to_owned(),
        Way::Stable(1) => "sendfile, wait".to_owned(),
        Way::Stable(2) => "sendfile, detach".to_owned(),
        Way::Stable(mode) => format!("sendfile, mode {mode}"),
        Way::Copy => "read and write".to_owned(),
        Way::ZeroCopy => "MSG_ZEROCOPY and wait".to_owned(),
    }
}

/// For `--format json`: one object a cell.
pub(super) fn json(kernel: &Kernel, cell: &Cell) -> Value {
    json!({
        "kernel": kernel.name.to_string(),
        "release": kernel.release,
        "way": name(cell.way),
        "link": cell.course,
        "call_bytes": cell.call_bytes,
        "calls": cell.calls,
        "sent_us": cell.took.sent_ns as f64 / 1e3,
        "received_us": cell.took.received_ns as f64 / 1e3,
        "host_us": cell.host_us,
    })
}

/// The tables of all kernels.
pub(super) fn human(rows: &[(&Kernel, Vec<Cell>)]) -> String {
    let mut bulk = Table::new(
        [
            "kernel",
            "64 MiB by",
            "link",
            "returns",
            "received",
            "host CPU",
        ],
        &[3, 4, 5],
    );
    let headings = [
        "kernel", "calls by", "1 B", "1448 B", "4 KiB", "16 KiB", "64 KiB", "256 KiB", "1 MiB",
    ];
    let mut calls = Table::new(headings, &[2, 3, 4, 5, 6, 7, 8]);
    let mut host = Table::new(headings, &[2, 3, 4, 5, 6, 7, 8]);
    for (kernel, cells) in rows {
        let mut ways: Vec<Way> = Vec::new();
        for cell in cells {
            if !ways.contains(&cell.way) {
                ways.push(cell.way);
            }
            if cell.calls == 1 {
                bulk.row([
                    kernel.name.to_string(),
                    name(cell.way),
                    cell.course.to_owned(),
                    format!("{:.1} ms", cell.took.sent_ns as f64 / 1e6),
                    format!("{:.1} ms", cell.took.received_ns as f64 / 1e6),
                    format!("{:.0} ms", cell.host_us / 1e3),
                ]);
            }
        }
        for way in ways {
            let each = |figure: &dyn Fn(&Cell) -> f64| {
                let head = [kernel.name.to_string(), name(way)];
                let of_way = cells.iter().filter(|it| it.way == way && it.calls > 1);
                let figures = of_way.map(|it| format!("{:.1}", figure(it) / f64::from(it.calls)));
                head.into_iter().chain(figures).collect::<Vec<_>>()
            };
            calls.push(each(&|it| it.took.sent_ns as f64 / 1e3));
            host.push(each(&|it| it.host_us));
        }
    }
    let link = CALLS.name;
    format!(
        "one call of 64 MiB, virtual time\n\n{bulk}\n\
         us of virtual time a call, one after the other on one connection, {link}\n\n{calls}\n\
         us of the host's CPU for both ends of it\n\n{host}"
    )
}
