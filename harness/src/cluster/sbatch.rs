//! The files that are submitted.
//!
//! They are for people, too: each does what its comment says, and can be changed. One that is
//! there is not written again.

use std::fmt::Write as _;
use std::path::Path;

use super::plan::{Job, Plan};
use crate::kernel::{self, KernelName, Machine};
use crate::report::finding::file_name;
use crate::report::shell::quote;

/// Memory of a job that runs a guest. A guest has 128 MiB, one that watches itself 256.
const MEMORY: &str = "1G";
/// Memory of a job that builds kernels.
const BUILD_MEMORY: &str = "4G";

/// A file to be submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Builds the kernels that are not packed yet.
pub fn build(plan: &Plan, folder: &Path) -> Script {
    let command = match &plan.job {
        Job::Score { mutants, .. } => {
            let mut command = String::from("inflight campaign pack-mutants");
            for version in &plan.kernels {
                let _ = write!(command, " --series {}", quote(version));
            }
            for mutant in mutants {
                let _ = write!(command, " --mutant {}", quote(mutant));
            }
            command + " --out \"$dir/kernels\""
        }
        Job::Check { .. } | Job::Fuzz { .. } => {
            let names: Vec<String> = plan.kernels.iter().map(|it| quote(it)).collect();
            format!(
                "inflight kernel export --out \"$dir/kernels\" {}",
                names.join(" ")
            )
        }
    };
    let text = Header {
        about: "Builds the kernels, and packs them for the units, which build nothing.",
        name: "build",
        array: None,
        cpus: plan.build_cpus,
        memory: BUILD_MEMORY,
    }
    .text(plan, folder)
        + &format!("{command}\n");
    Script {
        name: "build.sbatch".into(),
        text,
    }
}

/// The units of one part.
pub fn units(plan: &Plan, part: &str, folder: &Path) -> Script {
    let mode = plan.job.mode();
    let name = format!("{mode}-{}", file_name(part));
    let shard = format!(
        "--shard \"$SLURM_ARRAY_TASK_ID/{}\" --out \"$dir\"",
        plan.units
    );
    let common = format!("--seed {} --shrink-runs {}", plan.seed, plan.shrink_runs);
    let (kernels, command) = match &plan.job {
        Job::Check { cases } => (
            parcel(part),
            format!(
                "check --kernel {} --contract {} --cases {cases} {common}",
                quote(part),
                plan.contract_of(part)
            ),
        ),
        Job::Fuzz { runs } => (
            parcel(part),
            format!(
                "fuzz --kernel {} --contract {} --runs {runs} {common} --target \"$dir/bin/scenario\"",
                quote(part),
                plan.contract_of(part)
            ),
        ),
        Job::Score {
            seeds,
            time_s,
            mutants,
        } => {
            let mut command = format!(
                "score --seeds {seeds} --time-per-mutant {time_s} --shrink-runs {}",
                plan.shrink_runs
            );
            for version in &plan.kernels {
                let _ = write!(command, " --series {}", quote(version));
            }
            for mutant in mutants {
                let _ = write!(command, " --mutant {}", quote(mutant));
            }
            ("\"$dir\"/kernels/*.tar.gz".to_owned(), command)
        }
    };
    let header = Header {
        about: "Each task runs one unit. One that is killed is run again; one that is through is\n\
                # not run twice.",
        name: &name,
        array: Some(plan.units),
        cpus: 1,
        memory: MEMORY,
    };
    let text = format!(
        "{}{CACHE}inflight kernel import {kernels}\n\n{STATUS}inflight {command} {shard} || status=$?\n{END}",
        header.text(plan, folder)
    );
    Script {
        name: format!("{name}.sbatch"),
        text,
    }
}

/// Puts together what the units came to.
pub fn merge(plan: &Plan, folder: &Path) -> Script {
    let header = Header {
        about: "Puts together what the units came to, however many are through.",
        name: "merge",
        array: None,
        cpus: 1,
        memory: MEMORY,
    };
    let mut text = header.text(plan, folder);
    if let Job::Fuzz { .. } = plan.job {
        let kernel = plan.kernels.first().map_or("", |it| it);
        let _ = write!(
            text,
            "{CACHE}inflight kernel import {}\n\n\
             # Of the inputs of all units those that reach all that any of them does.\n\
             mkdir -p \"$dir/merged/corpus\"\n\
             INFLIGHT_KERNEL={} scenario -merge=1 \"$dir/merged/corpus\" \"$dir/corpus\"\n",
            parcel(kernel),
            quote(kernel),
        );
    }
    text += STATUS;
    text += "inflight campaign merge \"$dir\" --out \"$dir/merged\" || status=$?\n";
    text += END;
    Script {
        name: "merge.sbatch".into(),
        text,
    }
}

/// Makes what was found smaller, a job a cause.
pub fn minimize(plan: &Plan, folder: &Path) -> Script {
    let header = Header {
        about: "Each task makes one cause smaller than its unit had time for. There are as many\n\
                # tasks as causes are to be expected at most; one that has none is through at once.",
        name: "minimize",
        array: Some(plan.causes),
        cpus: 1,
        memory: MEMORY,
    };
    let text = format!(
        "{}{CACHE}inflight kernel import \"$dir\"/kernels/*.tar.gz\n\n\
         {STATUS}inflight campaign minimize \"$dir\" --cause \"$SLURM_ARRAY_TASK_ID\" || status=$?\n{END}",
        header.text(plan, folder)
    );
    Script {
        name: "minimize.sbatch".into(),
        text,
    }
}

/// The kernel's file, whatever its key is.
fn parcel(kernel: &str) -> String {
    let stem = kernel.parse::<KernelName>().ok();
    let stem = stem.and_then(|it| kernel::parcel_stem(&it, Machine::Uml).ok());
    match stem {
        Some(stem) => format!("\"$dir\"/kernels/{}-????????????????.tar.gz", quote(&stem)),
        // A tree that cannot be looked at here.
        None => "\"$dir\"/kernels/*.tar.gz".to_owned(),
    }
}

const CACHE: &str = "\
# Kernels are unpacked on the node, for this job only.
INFLIGHT_CACHE=$(mktemp -d)
export INFLIGHT_CACHE
trap 'rm -rf \"$INFLIGHT_CACHE\"' EXIT
trap 'exit 143' INT TERM
";
const STATUS: &str = "status=0\n";
const END: &str = "\
# 1 is no failure: something was found, and it is in the folder.
[ \"$status\" -le 1 ] || exit \"$status\"
";

struct Header<'a> {
    about: &'a str,
    name: &'a str,
    array: Option<u32>,
    cpus: u32,
    memory: &'a str,
}

impl Header<'_> {
    fn text(&self, plan: &Plan, folder: &Path) -> String {
        let Header {
            about,
            name,
            array,
            cpus,
            memory,
        } = self;
        let shown = folder.display();
        let mut text = format!("#!/bin/sh\n# {about}\n#SBATCH --job-name=inflight-{name}\n");
        let mut number = "%j";
        if let Some(array) = array {
            let _ = writeln!(text, "#SBATCH --array=1-{array}");
            number = "%a";
        }
        let _ = write!(
            text,
            "#SBATCH --ntasks=1\n\
             #SBATCH --cpus-per-task={cpus}\n\
             #SBATCH --mem={memory}\n\
             #SBATCH --requeue\n\
             #SBATCH --open-mode=append\n\
             #SBATCH --output={shown}/log/{name}-{number}.log\n"
        );
        for option in &plan.options {
            let _ = writeln!(text, "#SBATCH {option}");
        }
        let dir = quote(&shown.to_string());
        let _ = write!(text, "set -eu\ndir={dir}\nPATH=\"$dir/bin:$PATH\"\n\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::oracle::Contract;

    fn plan(job: Job, kernels: &[&str]) -> Plan {
        Plan {
            job,
            kernels: kernels.iter().map(ToString::to_string).collect(),
            contract: Some(Contract::Stable),
            seed: 7,
            units: 64,
            shrink_runs: 200,
            causes: 16,
            build_cpus: 4,
            options: vec!["--partition=long".into()],
        }
    }

    fn all(plan: &Plan, folder: &Path) -> Vec<Script> {
        let parts = plan.parts();
        let mut all: Vec<Script> = parts.iter().map(|it| units(plan, it, folder)).collect();
        all.extend([
            build(plan, folder),
            merge(plan, folder),
            minimize(plan, folder),
        ]);
        all
    }

    fn jobs() -> [Job; 3] {
        [
            Job::Check { cases: 1000 },
            Job::Fuzz { runs: 1000 },
            Job::Score {
                seeds: 2,
                time_s: 60,
                mutants: vec!["short-send".into()],
            },
        ]
    }

    #[test]
    fn they_are_shell_programs_that_state_what_they_take() {
        let folder = Path::new("/a folder/it's");
        for job in jobs() {
            for script in all(&plan(job.clone(), &["6.12-patched"]), folder) {
                let checked = Command::new("sh")
                    .args(["-n", "-c", &script.text])
                    .output()
                    .unwrap();
                assert!(checked.status.success(), "{}: {checked:?}", script.text);
                for line in [
                    "--requeue",
                    "--cpus-per-task=",
                    "--mem=",
                    "--partition=long",
                ] {
                    let line = format!("\n#SBATCH {line}");
                    assert!(script.text.contains(&line), "{line}: {}", script.text);
                }
                // Options after the first command are not read.
                let command = script.text.find("\nset -eu").unwrap();
                assert!(script.text.rfind("#SBATCH").unwrap() < command);
            }
        }
    }

    #[test]
    fn a_unit_is_what_a_person_would_type() {
        let script = units(
            &plan(Job::Check { cases: 1000 }, &["6.12-patched"]),
            "6.12-patched",
            Path::new("/d"),
        );
        assert_eq!(script.name, "check-6.12-patched.sbatch");
        for line in [
            "#SBATCH --array=1-64\n",
            "inflight kernel import \"$dir\"/kernels/6.12-patched-????????????????.tar.gz\n",
            "inflight check --kernel 6.12-patched --contract stable --cases 1000 --seed 7 \
             --shrink-runs 200 --shard \"$SLURM_ARRAY_TASK_ID/64\" --out \"$dir\" || status=$?\n",
        ] {
            assert!(script.text.contains(line), "{line}: {}", script.text);
        }
    }
}
