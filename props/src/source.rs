//! That the ways to change the file do what they say. Zeros that were not made would
//! look like a kernel that keeps its promise.

use inflight::history::{History, Outcome, pattern};
use inflight::oracle::Contract;

use crate::behaviour::{call, run};
use crate::properties::Result;

/// What was cut off is gone, and what comes in its place is zeros, for who reads the
/// file and for who sends it.
pub fn a_truncate_cuts_and_extends() -> Result {
    let text = "file tmpfs size=8192\n\n\
        truncate 5000\nsendfile 4000+9000\nsendfile 5000+1\ntruncate 10000\nsendfile 0+20000\n";
    let history = run(Contract::Documented, text)?;
    let sent = [1, 2, 4].map(|step| call(&history, step).map(|call| call.outcome));
    if sent != [1000, 0, 10_000].map(|bytes| Ok(Outcome::Returned(bytes))) {
        return Err(format!("the sends returned {sent:?}"));
    }
    let is = |file: &[u8], cut: usize| {
        let kept = (0..)
            .zip(&file[..cut])
            .all(|(at, byte)| *byte == pattern(at, 0));
        file.len() == 10_000 && kept && file[cut..].iter().all(|byte| *byte == 0)
    };
    match is(&history.file_pread, 5000) && is(&history.received[1000..], 5000) {
        true => Ok(()),
        false => Err("the file or what was sent of it is not cut and zeros".into()),
    }
}

/// A hole is zeros and leaves the length as it is.
pub fn a_punch_makes_a_hole() -> Result {
    holes("punch 4000+5000", "tmpfs")
}

/// Nobody has filled a sparse file.
pub fn a_sparse_file_is_zeros() -> Result {
    let text = "file memfd size=12288 sparse\n\nsendfile 0+12288\npwrite 4096+1\n";
    let history = run(Contract::Documented, text)?;
    let zeros = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == 0).count();
    match (zeros(&history.received), zeros(&history.file_pread)) {
        (12_288, 12_287) => Ok(()),
        found => Err(format!("{found:?} zeros were received and are in the file")),
    }
}

/// What is stored beside shows in the first mapping, and it does after the page cache
/// was dropped.
pub fn a_second_mapping_has_the_same_pages() -> Result {
    let text = "file tmpfs size=8192 read-only\n\n\
        mmap-write 0+10\nmmap-write 5+10 second\nmsync\ndrop-caches\nsendfile 0+20\n";
    let history = run(Contract::Documented, text)?;
    let expected: Vec<u8> = (0..20)
        .map(|at| pattern(at, [1, 2, 2, 0][at as usize / 5]))
        .collect();
    let done = (2..4)
        .all(|step| history.call(step).map(|call| call.outcome) == Some(Outcome::Returned(0)));
    let views = [&history.received, &history.file_mmap, &history.file_pread];
    match done && views.iter().all(|view| view.starts_with(&expected)) {
        true => Ok(()),
        false => Err(format!("{:#?}", history.calls)),
    }
}

/// Stores go to the end of the file, not beyond, and a write makes it longer.
pub fn stores_end_where_the_file_does() -> Result {
    let text = "file tmpfs size=8192\n\n\
        truncate 1000\nmmap-write 0+8192\nfork-write 900+200\nmmap-write 1000+1\npwrite 3000+10\n";
    let history = run(Contract::Documented, text)?;
    let outcomes = [1, 2, 3, 4].map(|step| call(&history, step).map(|call| call.outcome));
    let expected = [
        Outcome::Returned(1000),
        Outcome::Returned(100),
        Outcome::Skipped,
        Outcome::Returned(10),
    ];
    match outcomes == expected.map(Ok) && history.file_pread.len() == 3010 {
        true => Ok(()),
        false => Err(format!("{outcomes:?}, {} bytes", history.file_pread.len())),
    }
}

/// That `op` zeroes the bytes from 4000 to 9000, and nothing else.
fn holes(op: &str, file: &str) -> Result {
    let text = format!("file {file} size=12288\n\n{op}\nsendfile 0+12288\n");
    let history: History = run(Contract::Documented, &text)?;
    let right = |bytes: &[u8]| {
        let hole = 4000..9000;
        bytes.len() == 12_288
            && (0..).zip(bytes).all(|(at, byte)| match hole.contains(&at) {
                true => *byte == 0,
                false => *byte == pattern(at, 0),
            })
    };
    match right(&history.file_pread) && right(&history.received) {
        true => Ok(()),
        false => Err(format!(
            "after {op} the file is not a hole from 4000 to 9000"
        )),
    }
}
