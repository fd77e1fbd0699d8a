//! A violation as a file that can be replayed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::campaign::job::Finding;
use crate::kernel::KernelName;
use crate::scenario::{Expect, text};

/// Where a finding comes from.
#[derive(Debug, Clone)]
pub struct Origin<'a> {
    /// The kernel that showed it.
    pub kernel: &'a KernelName,
    /// Seed of the campaign, if it comes from one.
    pub seed: Option<u64>,
}

/// The finding as a scenario file: what was seen as its header, what a replay
/// must see as its `expect` line, then the smallest scenario.
pub fn render(finding: &Finding, origin: &Origin<'_>) -> String {
    let Ok(mut scenario) = text::parse("finding", &finding.minimized) else {
        // Ours, so it parses; if ever not, the text itself is what must be kept.
        return finding.minimized.clone();
    };
    let kernel = origin.kernel;
    let case = match origin.seed {
        Some(seed) => format!("Case {} of seed {seed}, made", finding.index),
        None => "Made".to_string(),
    };
    scenario.header = format!(
        "{kernel} violates {}.\n{}\nSeen in {} of {} runs. {case} smaller from {} to {} ops.",
        finding.property,
        finding.message.trim_end(),
        finding.seen,
        finding.of,
        finding.steps_before,
        finding.steps_after,
    );
    scenario.expects = vec![Expect {
        kernel: kernel.to_string(),
        violated: Some(finding.property.to_string()),
    }];
    scenario.to_string()
}

/// Writes the finding into `directory` and returns the file's path. Writing it
/// again, smaller, replaces the file; there is never half a file.
pub fn save(finding: &Finding, origin: &Origin<'_>, directory: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let name = format!(
        "{}-{}-{}-{}.scn",
        file_name(&origin.kernel.to_string()),
        finding.property,
        origin.seed.unwrap_or(0),
        finding.index
    );
    let path = directory.join(&name);
    let unfinished = directory.join(format!(".{name}.{}", std::process::id()));
    let result =
        write(&unfinished, &render(finding, origin)).and_then(|()| fs::rename(&unfinished, &path));
    if result.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    result.map(|()| path)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn file_name(kernel: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => c,
        _ => '-',
    };
    kernel.chars().map(plain).collect()
}
