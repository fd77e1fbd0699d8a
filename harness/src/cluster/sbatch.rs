//! The files that are submitted.
//!
//! They are for people, too: each does what its comment says, and can be changed. One that is
//! there is not written again.

use std::fmt::Write as _;
use std::path::Path;

use super::plan::{Job, Plan};
use crate::kernel::{self, KernelName, Machine};
use crate::report::campaign::COVERAGE;
use crate::report::finding::file_name;
use crate::report::shell::quote;

/// Memory of a job that runs a guest. A guest has 128 MiB, one that watches itself 256.
const MEMORY: &str = "1G";
/// Memory of a job that builds kernels.
const BUILD_MEMORY: &str = "4G";

/// Whether a folder's name can stand in these files: sbatch(1) splits words at blanks, reads
/// quotes and expands `%`, and a search path ends at a colon.
pub fn takes(folder: &Path) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,=@".contains(c);
    folder.to_str().is_some_and(|it| it.chars().all(plain))
}

/// What a file that may have been changed says of how many tasks may run at a time: `%N` behind
/// the numbers of its array, as sbatch(1) has it; empty: nothing.
pub fn throttle(text: &str) -> &str {
    let array = text
        .lines()
        .find_map(|it| it.strip_prefix("#SBATCH --array="));
    let Some((before, most)) = array.and_then(|it| it.split_once('%')) else {
        return "";
    };
    let digits = most.chars().take_while(char::is_ascii_digit).count();
    let text = array.unwrap_or_default();
    match digits {
        0 => "",
        _ => &text[before.len()..before.len() + 1 + digits],
    }
}

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
    let mut command = match &plan.job {
        Job::Score { .. } => String::from("inflight campaign pack-mutants --out \"$dir/kernels\""),
        Job::Check { .. } | Job::Fuzz { .. } => {
            String::from("inflight kernel export --missing --out \"$dir/kernels\"")
        }
    };
    match &plan.job {
        Job::Score { mutants, .. } => command += &mutants_of(plan, mutants),
        Job::Check { .. } | Job::Fuzz { .. } => {
            for kernel in &plan.kernels {
                let _ = write!(command, " {}", quote(kernel));
            }
        }
    }
    let header = Header {
        about: "Builds the kernels, and packs them for the units, which build nothing.",
        name: "build",
        array: None,
        cpus: plan.build_cpus,
        memory: BUILD_MEMORY,
    };
    Script {
        name: "build.sbatch".into(),
        text: header.text(plan, folder) + &command + "\n",
    }
}

/// The options that name versions and mutants.
fn mutants_of(plan: &Plan, mutants: &[String]) -> String {
    let mut options = String::new();
    for version in &plan.kernels {
        let _ = write!(options, " --series {}", quote(version));
    }
    for mutant in mutants {
        let _ = write!(options, " --mutant {}", quote(mutant));
    }
    options
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
    let contract = plan.contract_of(part);
    let kernel = quote(part);
    let command = match &plan.job {
        Job::Check { cases } => {
            format!("check --kernel {kernel} --contract {contract} --cases {cases} {common}")
        }
        Job::Fuzz { runs } => format!(
            "fuzz --kernel {kernel} --contract {contract} --runs {runs} {common} \
             --target \"$dir/bin/scenario\""
        ),
        Job::Score {
            seeds,
            time_s,
            mutants,
        } => format!(
            "score --seeds {seeds} --time-per-mutant {time_s} --shrink-runs {}{}",
            plan.shrink_runs,
            mutants_of(plan, mutants)
        ),
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
        "{}{CACHE}{STATUS}inflight {command} {PARCELS} {shard} || status=$?\n{END}",
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
    let mut text = header.text(plan, folder) + STATUS;
    text += "inflight campaign merge \"$dir\" --out \"$dir/merged\" || status=$?\n";
    if let Job::Fuzz { .. } = plan.job {
        let _ = write!(text, "\n{CACHE}mkdir -p \"$dir/merged/corpus\"\n");
        for kernel in &plan.kernels {
            let (kernel, parcel) = (quote(kernel), parcel(kernel));
            let _ = write!(
                text,
                "\n# Of the inputs of all units those that reach all that any of them does on this\n\
                 # kernel, and the code that they reach. Should it fail, the rest is there.\n\
                 inflight kernel import {parcel}\n\
                 INFLIGHT_KERNEL={kernel} scenario -merge=1 \"$dir/merged/corpus\" \"$dir/corpus\" ||\n    \
                 echo \"the inputs are not merged, see above\"\n\
                 inflight coverage --kernel {kernel} --jobs 1 --out \"$dir/merged/{COVERAGE}\" \
                 \"$dir/merged/corpus\" ||\n    echo \"what they reach is not known, see above\"\n"
            );
        }
    }
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
        "{}{CACHE}{STATUS}inflight campaign minimize \"$dir\" {PARCELS} \
         --cause \"$SLURM_ARRAY_TASK_ID\" || status=$?\n{END}",
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
/// Where a unit finds them: it unpacks those that it needs.
const PARCELS: &str = "--parcels \"$dir/kernels\"";
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
            let most = plan.most_at_once.map(|it| format!("%{it}"));
            let _ = writeln!(
                text,
                "#SBATCH --array=1-{array}{}",
                most.unwrap_or_default()
            );
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
            most_at_once: Some(9),
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
        let folder = Path::new("/shared/first");
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
            "#SBATCH --array=1-64%9\n",
            "inflight check --kernel 6.12-patched --contract stable --cases 1000 --seed 7 \
             --shrink-runs 200 --parcels \"$dir/kernels\" --shard \"$SLURM_ARRAY_TASK_ID/64\" --out \"$dir\" || status=$?\n",
        ] {
            assert!(script.text.contains(line), "{line}: {}", script.text);
        }
    }

    #[test]
    fn a_folder_that_sbatch_would_read_otherwise_is_refused() {
        for folder in [
            "/a b", "/it's", "/100%j", "/a:b", "/a\\b", "/a\nb", "/\u{e9}", "/a\"b",
        ] {
            assert!(!takes(Path::new(folder)), "{folder}");
        }
        assert!(takes(Path::new("/shared/first_2.x-y")));
    }

    #[test]
    fn what_a_user_has_put_behind_the_array_stays() {
        assert_eq!(throttle("#!/bin/sh\n#SBATCH --array=1-64%9\nx\n"), "%9");
        assert_eq!(throttle("#!/bin/sh\n#SBATCH --array=1-64\nx\n"), "");
        assert_eq!(throttle("x\n"), "");
        assert_eq!(
            throttle("#SBATCH --array=1-64%12 --partition=long # so\n"),
            "%12"
        );
        assert_eq!(throttle("#SBATCH --array=1-64%x\n"), "");
    }
}
