//! `inflight bench`: the speed figures.

mod fuzzing;
mod guidance;
mod merge;
mod minimize;
mod transfers;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;

use crate::campaign::check::expected;
use crate::campaign::fuzz::program;
use crate::campaign::host;
use crate::campaign::job::{Event, Job};
use crate::cli::format::{Format, note, print};
use crate::cli::options::{ensure, seed};
use crate::cli::{Failure, Status};
use crate::kernel::{Flavour, Kernel, KernelName, progress};
use crate::oracle::Contract;
use crate::report::table::Table;
use crate::scenario::strategy;

/// The race, each way through a queue of 20 ms: what is measured most.
const BASIC: &str = "\
link data delay=20ms
link ack delay=20ms

sendfile 0+4096
mmap-write 0+4096
";

/// Which figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Topic {
    /// Boot, scenarios a second, and where the time goes
    Scenarios,
    /// What ways of sending cost: stock, patched, by copy, MSG_ZEROCOPY
    Transfers,
    /// How long a failure takes to be made smaller, on kernels that have the race
    Minimize,
    /// The fuzz target next to the property run: executions a second, counted or not
    Fuzz,
    /// What guidance is good for: executions to reach deep functions and to find bugs that
    /// were put in, guided and unguided; takes an hour and more, on a patched kernel
    Guidance,
    /// How long it takes to put the units of a campaign together, against how many there are
    Merge,
}

/// Measure how fast scenarios run, and what the cure costs.
///
/// Guests run one at a time, each on one CPU. Figures of one run on one machine
/// compare; those of two machines do not.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Figures to take
    #[arg(value_enum, value_name = "TOPIC", default_values_t = [Topic::Scenarios, Topic::Transfers, Topic::Minimize])]
    topics: Vec<Topic>,
    /// Measure this kernel; may be given several times [default: 6.12-stock, 6.12-patched]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<KernelName>,
    /// Run so many scenarios for a figure
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Boot so many times for a figure, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    boots: u32,
    /// Generate the scenarios from this seed [default: a new one, printed]
    #[arg(short, long, value_name = "N")]
    seed: Option<u64>,
    /// Run the fuzz target so many times, each from a seed of its own: guidance
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seeds: u32,
    /// Print for people, or as json with one object a kernel
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

/// What one guest took.
struct Measured {
    /// From the start of the kernel to its first scenario.
    boot: Duration,
    /// From its first scenario to the end of the last.
    busy: Duration,
    scenarios: u64,
    virtual_ns: u64,
}

impl Measured {
    fn each_us(&self) -> f64 {
        self.busy.as_secs_f64() * 1e6 / self.scenarios.max(1) as f64
    }
}

/// The figures of one kernel.
struct Figures {
    boot_ms: f64,
    bare_us: f64,
    basic_us: f64,
    generated_us: f64,
    virtual_per_second: f64,
}

/// Measures.
pub fn run(args: &Args) -> Result<Status, Failure> {
    if args.topics.contains(&Topic::Merge) {
        let timings = merge::measure(seed(args.seed)?)?;
        print(&match args.format {
            Format::Human => merge::human(&timings),
            Format::Json => merge::json(&timings),
        })?;
        // Nothing else needs no kernel.
        if args.topics == [Topic::Merge] {
            return Ok(Status::Held);
        }
    }
    let names = match args.kernels.as_slice() {
        [] => vec![known("6.12-stock")?, known("6.12-patched")?],
        given => given.to_vec(),
    };
    let kernels = ensure(&names)?;
    if args.topics.contains(&Topic::Scenarios) {
        scenarios(args, &kernels)?;
    }
    if args.topics.contains(&Topic::Transfers) {
        let mut rows = Vec::new();
        for kernel in &kernels {
            note(format_args!("measuring transfers on {}", kernel.name));
            rows.push((kernel, transfers::measure(kernel)?));
        }
        match args.format {
            Format::Human => print(&transfers::human(&rows))?,
            Format::Json => {
                for (kernel, cells) in &rows {
                    for cell in cells {
                        print(&format!("{}\n", transfers::json(kernel, cell)))?;
                    }
                }
            }
        }
    }
    if args.topics.contains(&Topic::Minimize) {
        let mut rows = Vec::new();
        let broken = |it: &&Kernel| expected(&it.name, Contract::Stable).is_some();
        for kernel in kernels.iter().filter(broken) {
            note(format_args!("measuring the minimizer on {}", kernel.name));
            rows.push((kernel, minimize::measure(kernel)?));
        }
        match args.format {
            Format::Human if rows.is_empty() => note("no kernel given has the race"),
            Format::Human => print(&minimize::human(&rows))?,
            Format::Json => {
                for (kernel, shrunk) in &rows {
                    for it in shrunk {
                        print(&format!("{}\n", minimize::json(kernel, it)))?;
                    }
                }
            }
        }
    }
    if args.topics.contains(&Topic::Fuzz) {
        fuzz(args, &kernels)?;
    }
    if args.topics.contains(&Topic::Guidance) {
        guide(args, &names)?;
    }
    Ok(Status::Held)
}

fn target() -> Result<PathBuf, Failure> {
    program::build(&*progress::stderr()).map_err(Failure::from)
}

fn fuzz(args: &Args, kernels: &[Kernel]) -> Result<(), Failure> {
    let seed = seed(args.seed)?;
    let program = target()?;
    let mut rows = Vec::new();
    for kernel in kernels {
        note(format_args!(
            "measuring the fuzz target on {}, {} cases, --seed {seed}",
            kernel.name, args.times
        ));
        rows.push((kernel, fuzzing::rates(kernel, &program, args.times, seed)?));
    }
    match args.format {
        Format::Human => print(&fuzzing::human(&rows))?,
        Format::Json => {
            for (kernel, it) in &rows {
                print(&format!("{}\n", fuzzing::json(kernel, it)))?;
            }
        }
    }
    Ok(())
}

fn guide(args: &Args, names: &[KernelName]) -> Result<(), Failure> {
    let program = target()?;
    let size = guidance::Size {
        executions: args.times,
        seeds: args.seeds,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let patched = |it: &&KernelName| it.flavour() == Some(Flavour::Patched);
    if !names.iter().any(|it| patched(&it)) {
        note("no kernel given is a patched one, which the bugs are put into");
    }
    for name in names.iter().filter(patched) {
        let tell = |done, of| note(format_args!("guidance on {name}: {done} of {of} runs"));
        let (guidance, functions) = guidance::measure(name, &program, size, tell)?;
        match args.format {
            Format::Human => print(&guidance::human(&guidance, &functions))?,
            Format::Json => print(&format!("{}\n", guidance::json(&guidance, &functions)))?,
        }
    }
    Ok(())
}

fn scenarios(args: &Args, kernels: &[Kernel]) -> Result<(), Failure> {
    let seed = seed(args.seed)?;
    note(format_args!(
        "inflight bench: {} scenarios a figure, --seed {seed}",
        args.times
    ));
    let generate_us = generate_us(seed);
    let mut rows = Vec::new();
    for kernel in kernels {
        note(format_args!("measuring {}", kernel.name));
        rows.push((kernel, figures(kernel, args, seed)?));
    }
    match args.format {
        Format::Human => print(&human(&rows, generate_us))?,
        Format::Json => {
            for (kernel, it) in &rows {
                let line = json!({
                    "kernel": kernel.name.to_string(),
                    "release": kernel.release,
                    "boot_ms": it.boot_ms,
                    "bare_per_second": 1e6 / it.bare_us,
                    "basic_per_second": 1e6 / it.basic_us,
                    "basic_to_bare": it.bare_us / it.basic_us,
                    "generated_per_second": 1e6 / it.generated_us,
                    "virtual_seconds_per_second": it.virtual_per_second,
                    "generate_us": generate_us,
                    "seed": seed,
                });
                print(&format!("{line}\n"))?;
            }
        }
    }
    Ok(())
}

fn known(name: &str) -> Result<KernelName, Failure> {
    name.parse().map_err(crate::cli::usage)
}

fn figures(kernel: &Kernel, args: &Args, seed: u64) -> Result<Figures, Failure> {
    let times = args.times;
    let text = || BASIC.to_string();
    let mut boots = Vec::new();
    for _ in 0..args.boots {
        let job = Job::Bench {
            text: text(),
            times: 1,
        };
        boots.push(measure(kernel, &job)?.boot);
    }
    boots.sort();
    let bare = measure(
        kernel,
        &Job::Bare {
            text: text(),
            times,
        },
    )?;
    let basic = measure(
        kernel,
        &Job::Bench {
            text: text(),
            times,
        },
    )?;
    let generated = Job::Check {
        seed,
        first: 0,
        stride: 1,
        end: times.into(),
        // What every kernel keeps, so that no violation ends it early.
        contract: Contract::Documented,
        shrink_runs: 0,
    };
    let generated = measure(kernel, &generated)?;
    Ok(Figures {
        boot_ms: boots[boots.len() / 2].as_secs_f64() * 1e3,
        bare_us: bare.each_us(),
        basic_us: basic.each_us(),
        generated_us: generated.each_us(),
        virtual_per_second: basic.virtual_ns as f64 / 1e9 / basic.busy.as_secs_f64(),
    })
}

fn measure(kernel: &Kernel, job: &Job) -> Result<Measured, Failure> {
    let start = Instant::now();
    let timed = timed(kernel, job, &kernel.name, |event| match event {
        Event::Done {
            scenarios,
            virtual_ns,
        } => Some((scenarios, virtual_ns)),
        _ => None,
    })?;
    let (scenarios, virtual_ns) = timed.told;
    Ok(Measured {
        boot: timed.first - start,
        busy: timed.at - timed.first,
        scenarios,
        virtual_ns,
    })
}

/// What a guest told, and when on the host's clock.
struct Timed<T> {
    /// The first thing that it was about to do.
    first: Instant,
    at: Instant,
    told: T,
}

/// Boots a guest for `job` and hears of it what `wanted` picks. Fails where that is
/// not told or something goes wrong; `what` then says of which measurement.
fn timed<T>(
    kernel: &Kernel,
    job: &Job,
    what: &dyn Display,
    mut wanted: impl FnMut(Event) -> Option<T>,
) -> Result<Timed<T>, Failure> {
    let mut first = None;
    let mut told = None;
    let mut failure = None;
    let end = host::alone(kernel, job, |at, event| match event {
        Event::About { .. } => {
            first.get_or_insert(at);
        }
        Event::Failed(why) => failure = Some(why),
        Event::Suspect(finding) => {
            failure = Some(format!(
                "violates {}: {}",
                finding.property, finding.message
            ));
        }
        event => {
            if let Some(it) = wanted(event) {
                told = Some((at, it));
            }
        }
    })?;
    let (Some(first), Some((at, told)), None) = (first, told, &failure) else {
        let why = failure.unwrap_or_else(|| format!("{:?} {}", end.outcome, end.stray));
        return Err(Failure::new(Status::Internal, anyhow!("{what}: {why}")));
    };
    Ok(Timed { first, at, told })
}

/// What making one scenario costs, on the host's clock.
fn generate_us(seed: u64) -> f64 {
    const CASES: u64 = 5000;
    // The first case builds the strategy.
    std::hint::black_box(strategy::case(seed, 0));
    let start = Instant::now();
    for index in 0..CASES {
        std::hint::black_box(strategy::case(seed, index));
    }
    start.elapsed().as_secs_f64() * 1e6 / CASES as f64
}

fn human(rows: &[(&Kernel, Figures)], generate_us: f64) -> String {
    let headings = [
        "kernel",
        "boot to first",
        "bare calls",
        "basic scenario",
        "to bare",
        "generated",
        "virtual time",
    ];
    let mut table = Table::new(headings, &[1, 2, 3, 4, 5, 6]);
    let mut shares = Table::new(
        [
            "of a basic scenario",
            "bare calls",
            "harness and oracle",
            "of a generated one: generator",
        ],
        &[1, 2, 3],
    );
    for (kernel, it) in rows {
        table.row([
            kernel.name.to_string(),
            format!("{:.0} ms", it.boot_ms),
            format!("{:.0}/s", 1e6 / it.bare_us),
            format!("{:.0}/s", 1e6 / it.basic_us),
            format!("{:.2}", it.bare_us / it.basic_us),
            format!("{:.0}/s", 1e6 / it.generated_us),
            format!("{:.0} x", it.virtual_per_second),
        ]);
        shares.row([
            kernel.name.to_string(),
            format!("{:.0} us", it.bare_us),
            format!("{:.0} us", it.basic_us - it.bare_us),
            format!("{generate_us:.0} of {:.0} us", it.generated_us),
        ]);
    }
    format!("scenarios a second on one CPU\n\n{table}\nwhere the time goes\n\n{shares}")
}
