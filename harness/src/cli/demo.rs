//! `inflight demo`: the race as it was first shown.

use anyhow::anyhow;
use serde_json::json;

use super::format::{Format, note, print};
use super::options::ensure_on;
use super::{Failure, Status};
use crate::campaign::two_machines::{self, Error, Place, Plan, Shown};
use crate::kernel::machine::Pc;
use crate::kernel::{Flavour, Kernel, KernelName, Machine};
use crate::report::table::Table;

/// Show the race as it was first shown, with nothing but the two programs of 2008.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    demo: Demo,
}

#[derive(Debug, clap::Subcommand)]
enum Demo {
    TwoMachines(TwoMachines),
}

/// Run `send` on one machine and `recv` on another, and both on one over loopback.
///
/// Each machine is a PC in QEMU with a network card of virtio; a switch joins them. The
/// sender changes the first byte of what it has sent as soon as sendfile(2) has returned.
#[derive(Debug, clap::Args)]
struct TwoMachines {
    /// Run on this kernel; may be given several times [default: 6.12-stock, 6.12-patched]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<KernelName>,
    /// Send so many times
    #[arg(short = 'n', long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Send so many bytes each time
    #[arg(short, long, value_name = "COUNT", default_value_t = 4096,
          value_parser = clap::value_parser!(u64).range(1..=(1 << 30)))]
    count: u64,
    /// Let each change stand for so many milliseconds
    #[arg(short, long, value_name = "MS", default_value_t = 5)]
    interval: u64,
    /// Let what is sent wait in the ring of the sender's card for so many microseconds, as
    /// where a card is busy; 0: it is read at once
    #[arg(long, value_name = "US", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    ring_us: u32,
    /// Hold what is sent for so many microseconds before the card gets it (netem)
    #[arg(long, value_name = "US", default_value_t = 0)]
    delay_us: u64,
    /// Print for people, or as json with one object a line
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

const PLACES: [(Place, &str); 2] = [
    (Place::TwoMachines, "two machines"),
    (Place::Loopback, "loopback"),
];

/// Runs the demonstration.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let Demo::TwoMachines(args) = &args.demo;
    let names = match args.kernels.is_empty() {
        true => KernelName::usual(),
        false => args.kernels.clone(),
    };
    // More CPUs than one would only take turns here.
    let pc = Pc {
        cpus: 1,
        ..Pc::default()
    };
    let kernels = ensure_on(&names, Machine::Qemu(pc))?;
    let plan = Plan {
        rounds: args.rounds,
        count: args.count,
        interval_ms: args.interval,
        ring_delay_us: args.ring_us,
        delay_us: args.delay_us,
    };
    note(format_args!(
        "inflight demo: {} times {} bytes, changed as soon as sendfile(2) has returned",
        plan.rounds, plan.count
    ));
    let mut rows = Vec::new();
    for kernel in &kernels {
        for (place, name) in PLACES {
            let shown = two_machines::show(kernel, place, &plan).map_err(failure)?;
            for line in &shown.said {
                note(format_args!("  {line}"));
            }
            rows.push((kernel, name, shown));
        }
    }
    match args.format {
        Format::Human => print(&human(&rows))?,
        Format::Json => print(&lines(&rows))?,
    }
    let surprising = |(kernel, _, shown): &(&Kernel, &str, Shown)| {
        tears(&kernel.name).is_some_and(|it| shown.torn != it)
    };
    match rows.iter().any(surprising) {
        true => Ok(Status::Violated),
        false => Ok(Status::Held),
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Engine(error) => error.into(),
        error => Failure::new(Status::Internal, anyhow!(error)),
    }
}

/// Whether it is expected to; nothing is expected of a tree or a mutant.
fn tears(name: &KernelName) -> Option<bool> {
    name.flavour().map(|it| it == Flavour::Stock)
}

fn human(rows: &[(&Kernel, &str, Shown)]) -> String {
    let headings = ["kernel", "engine", "where", "verdict", "took"];
    let mut table = Table::new(headings, &[4]);
    for (kernel, place, shown) in rows {
        let verdict = match shown.torn {
            true => "data was corrupted",
            false => "all zero",
        };
        let surprise = match tears(&kernel.name) {
            Some(it) if it == shown.torn => " (as expected)",
            Some(_) => " (NOT EXPECTED)",
            None => "",
        };
        table.row([
            kernel.name.to_string(),
            kernel.machine.to_string(),
            (*place).to_owned(),
            verdict.to_owned() + surprise,
            format!("{:.1} s", shown.took.as_secs_f64()),
        ]);
    }
    table.to_string()
}

fn lines(rows: &[(&Kernel, &str, Shown)]) -> String {
    let line = |(kernel, place, shown): &(&Kernel, &str, Shown)| {
        let line = json!({
            "kernel": kernel.name.to_string(),
            "engine": kernel.machine.to_string(),
            "where": place,
            "corrupted": shown.torn,
            "expected": tears(&kernel.name),
            "seconds": shown.took.as_secs_f64(),
            "said": shown.said,
        });
        format!("{line}\n")
    };
    rows.iter().map(line).collect()
}
