//! `inflight coverage`: which code of the kernel scenarios reach.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;

use super::format::{Format, note, print};
use super::{Failure, Status, options, usage};
use crate::campaign::coverage::{self as campaign, Outcome, Plan};
use crate::coverage::{Coverage, Image, ImageError, Pcs};
use crate::fuzz;
use crate::kernel::{self, Kernel, KernelName};
use crate::report::coverage::{self as report, Report};
use crate::report::whole;

mod input;

use input::Input;

/// What is run where nothing is named, in a checkout.
const CORPUS: &str = "corpus";

/// Show which code of the kernel is reached, and which never is.
///
/// Runs scenarios on kernels that count their code (`-kcov`), and writes for each kernel
/// a page to look at, a tracefile for lcov, and the addresses of what ran, which --pcs
/// takes: KERNEL.html, KERNEL.info, KERNEL.pcs.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Scenario files, folders of them, or corpora of libFuzzer [default: corpus/, unless --pcs is given]
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Run on this kernel; may be given several times. Its -kcov is taken [default: 6.12-patched-kcov]
    #[arg(short, long = "kernel", value_name = "KERNEL")]
    kernels: Vec<KernelName>,
    /// Look at what an earlier run has reached, too: a file KERNEL.pcs; may be given several times
    #[arg(long, value_name = "FILE")]
    pcs: Vec<PathBuf>,
    /// Write to this folder
    #[arg(short, long, value_name = "DIR", default_value = "coverage")]
    out: PathBuf,
    /// Run so many guests at a time, each on a CPU of its own [default: the CPUs that this process may use]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Print for people, or as json with one object a kernel
    #[arg(long, value_name = "FORMAT", default_value = "human", value_enum)]
    format: Format,
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Failure {
        let status = match &error {
            ImageError::NotCounted(_) => Status::Usage,
            _ => Status::Internal,
        };
        Failure::new(status, error)
    }
}

/// Runs the scenarios and tells what they reach.
pub fn run(args: &Args) -> Result<Status, Failure> {
    // All that can be read is read before any kernel is built: bad input fails at once.
    let inputs = inputs(args)?;
    let earlier = earlier(&args.pcs)?;
    let names = names(&args.kernels)?;
    try_out(&args.out, &names)?;
    let kernels = options::ensure(&names)?;
    let images: Vec<Image> = kernels
        .iter()
        .map(|kernel| Image::read(&kernel.image))
        .collect::<Result<_, _>>()?;
    let mut all: Vec<Pcs> = kernels
        .iter()
        .zip(&images)
        .map(|(kernel, image)| Pcs::new(&kernel.name, &image.identity))
        .collect();
    for (path, pcs) in earlier {
        // Of several kernels each gets its own, and of those that have one image the one of
        // that name; none, and the first says why.
        let named = |it: &Pcs| it.fits(&pcs) && it.kernel == pcs.kernel;
        let fitting = all.iter().position(named);
        let fitting = fitting.or_else(|| all.iter().position(|it| it.fits(&pcs)));
        let fitting = fitting.unwrap_or(0);
        all[fitting].merge(pcs, &path).map_err(usage)?;
    }
    let since = Instant::now();
    let plan = Plan {
        kernels,
        texts: inputs.iter().map(|it| it.scenario.to_string()).collect(),
        jobs: options::jobs(args.jobs),
    };
    let outcomes = campaign::run(&plan)?;
    let took_s = since.elapsed().as_secs_f64();
    let mut failed = false;
    for (((kernel, image), pcs), outcome) in plan
        .kernels
        .iter()
        .zip(&images)
        .zip(&mut all)
        .zip(&outcomes)
    {
        pcs.addresses.extend(&outcome.addresses);
        check(image, pcs)?;
        tell_trouble(&inputs, kernel, outcome);
        failed |= !outcome.failures.is_empty();
        // First what took the time: whatever becomes of the report.
        let addresses = write(&args.out, &kernel.name, "pcs", &pcs.to_string())?;
        let report = make_report(kernel, image, pcs, outcome)?;
        let page = report::page(&report);
        let written = [
            write(&args.out, &kernel.name, "html", &page)?,
            write(&args.out, &kernel.name, "info", &report::tracefile(&report))?,
            addresses,
        ];
        tell(args.format, &report, outcome, &written, took_s)?;
    }
    Ok(match failed {
        true => Status::Internal,
        false => Status::Held,
    })
}

/// What is to be run: what is named, or the corpus of the checkout.
fn inputs(args: &Args) -> Result<Vec<Input>, Failure> {
    let corpus = Path::new(CORPUS);
    match (args.inputs.is_empty(), args.pcs.is_empty()) {
        (false, _) => input::read(&args.inputs).map_err(usage),
        (true, false) => Ok(Vec::new()),
        (true, true) if corpus.is_dir() => input::read(&[corpus.to_owned()]).map_err(usage),
        (true, true) => Err(usage(anyhow!(
            "nothing to run: name scenarios, folders of them, or --pcs of an earlier run; \
             in a checkout of inflight its {CORPUS}/ is taken"
        ))),
    }
}

fn earlier(files: &[PathBuf]) -> Result<Vec<(PathBuf, Pcs)>, Failure> {
    let read = |path: &PathBuf| Ok((path.clone(), Pcs::read(path).map_err(usage)?));
    files.iter().map(read).collect()
}

/// The kernels, as those that count; each once.
fn names(given: &[KernelName]) -> Result<Vec<KernelName>, Failure> {
    let given = match given.is_empty() {
        true => vec![fuzz::usual()],
        false => given.to_vec(),
    };
    let mut names = Vec::new();
    for name in given {
        let counting = name.counting();
        if !counting.extras().counts() {
            return Err(usage(anyhow!(
                "{name} counts none of its code, and is taken as it is: give one of the catalog"
            )));
        }
        if counting != name {
            note(format_args!(
                "inflight: {counting} is taken for {name}: it counts its code"
            ));
        }
        if !names.contains(&counting) {
            names.push(counting);
        }
    }
    Ok(names)
}

/// Whether the results could be written, before it takes long to get them.
fn try_out(folder: &Path, names: &[KernelName]) -> Result<(), Failure> {
    let files: Vec<String> = names.iter().map(|name| format!("{name}.html")).collect();
    let files: Vec<&std::ffi::OsStr> = files.iter().map(AsRef::as_ref).collect();
    whole::try_out(folder, &files).map_err(|error| cannot_write(folder, error))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Failure {
    let error = anyhow::Error::new(error);
    let error = error.context(format!("cannot write to {}", path.display()));
    Failure::new(Status::Missing, error)
}

/// What was noted has to be what can be noted; else the lines would be wrong as well.
fn check(image: &Image, pcs: &Pcs) -> Result<(), Failure> {
    let is_site = |it: &u64| image.sites.binary_search(it).is_ok();
    let strange: Vec<u64> = pcs
        .addresses
        .iter()
        .copied()
        .filter(|it| !is_site(it))
        .collect();
    let Some(first) = strange.first() else {
        return Ok(());
    };
    Err(Failure::new(
        Status::Internal,
        anyhow!(
            "{} of {} addresses that {} noted, the first of them {first:x}, are no blocks by \
             its image: what is told of it would be wrong",
            strange.len(),
            pcs.addresses.len(),
            pcs.kernel
        ),
    ))
}

fn tell_trouble(inputs: &[Input], kernel: &Kernel, outcome: &Outcome) {
    for (index, message) in outcome.crashes.iter().chain(&outcome.failures) {
        let (file, kernel) = (inputs[*index].file.display(), &kernel.name);
        note(format_args!(
            "inflight: {file} on {kernel}: {}",
            message.trim_end()
        ));
    }
}

fn make_report(
    kernel: &Kernel,
    image: &Image,
    pcs: &Pcs,
    outcome: &Outcome,
) -> Result<Report, Failure> {
    let coverage = Coverage::of(&image.blocks()?, &pcs.addresses);
    let paths: Vec<String> = coverage.files.iter().map(|it| it.path.clone()).collect();
    let texts = kernel::source_files(&kernel.name, &paths)?;
    if texts.iter().all(Option::is_none) {
        note("inflight: the source was removed from the cache: the page has no text of it");
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let sources = paths.into_iter().zip(texts);
    let sources: HashMap<String, String> = sources
        .filter_map(|(path, bytes)| Some((path, text(bytes?))))
        .collect();
    Ok(Report {
        kernel: kernel.name.to_string(),
        identity: image.identity.clone(),
        scenarios: outcome.ran,
        coverage,
        sources,
    })
}

/// One of the files of a kernel.
fn write(folder: &Path, kernel: &KernelName, end: &str, text: &str) -> Result<PathBuf, Failure> {
    let failed = |error| cannot_write(folder, error);
    fs::create_dir_all(folder).map_err(failed)?;
    whole::write(folder, format!("{kernel}.{end}"), text.as_bytes()).map_err(failed)
}

fn tell(
    format: Format,
    report: &Report,
    outcome: &Outcome,
    written: &[PathBuf; 3],
    took_s: f64,
) -> Result<(), Failure> {
    let [page, tracefile, pcs] = written;
    match format {
        Format::Human => print(&format!(
            "{}\nscenarios took {took_s:.1} s\nlook at:   {}\nfor lcov:  {}\nto merge:  {}\n\n",
            report::human(report),
            page.display(),
            tracefile.display(),
            pcs.display()
        )),
        Format::Json => {
            let mut object = report::json(report);
            object["crashes"] = outcome.crashes.len().into();
            object["failures"] = outcome.failures.len().into();
            object["seconds"] = took_s.into();
            object["page"] = page.to_string_lossy().into();
            object["tracefile"] = tracefile.to_string_lossy().into();
            object["pcs"] = pcs.to_string_lossy().into();
            print(&format!("{object}\n"))
        }
    }
}
