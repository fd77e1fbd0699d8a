//! That files on a disk are on one, and that what only they have does what it says.

use std::fs;

use inflight::history::{Outcome, pattern};
use inflight::oracle::Contract;

use crate::behaviour::{call, run};
use crate::properties::Result;

/// The file system is there, and what the writes left is read back from the disk after
/// the page cache was dropped.
pub fn a_file_is_on_ext4() -> Result {
    let text = "file ext4 size=20000\n\n\
        pwrite 5000+10000\nmsync\ndrop-caches\nsendfile 0+20000\n";
    let before = sectors_read()?;
    let history = run(Contract::Documented, text)?;
    let read_bytes = (sectors_read()? - before) * 512;
    let right = (0..).zip(&history.received).all(|(at, byte)| {
        let generation = u8::from((5000..15_000).contains(&at));
        *byte == pattern(at, generation)
    });
    // Where the pages were not dropped, nothing is read.
    match (right, history.received.len(), read_bytes >= 20_000) {
        (true, 20_000, true) => Ok(()),
        found => Err(format!("{found:?}, {read_bytes} bytes read from the disk")),
    }
}

/// Sectors read from the device that ext4 is on, once it is mounted.
fn sectors_read() -> std::result::Result<u64, String> {
    // The first run mounts it.
    run(Contract::Documented, "file ext4 size=1\n\nsendfile 0+1\n")?;
    let mounts = read("/proc/self/mounts")?;
    let line = mounts.lines().find(|line| line.contains(" ext4 "));
    let device = line.and_then(|line| line.split(' ').next());
    let device = device.ok_or(format!("no ext4 is mounted:\n{mounts}"))?;
    let name = device.rsplit('/').next().unwrap_or(device);
    let stat = read(&format!("/sys/block/{name}/stat"))?;
    let third = stat.split_whitespace().nth(2);
    let sectors = third.and_then(|it| it.parse().ok());
    sectors.ok_or(format!("{name}: {stat}"))
}

fn read(path: &str) -> std::result::Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// A write past the page cache is in the file for who maps, reads and sends it, and is
/// not in the pages that were sent before.
pub fn a_direct_write_passes_the_page_cache() -> Result {
    let text = "link data delay=20ms\nfile ext4 size=8192\n\n\
        mmap-write 0+100\nsendfile 0+8192\ndwrite 512+4096\nsendfile 0+8192\n";
    // Stable, for whatever kernel: the pages in flight are nobody's any more.
    let history = run(Contract::Documented, text)?;
    let at = |at: u64, second: bool| match at {
        0..100 => pattern(at, 1),
        512..4608 if second => pattern(at, 2),
        _ => pattern(at, 0),
    };
    let first: Vec<u8> = (0..8192).map(|offset| at(offset, false)).collect();
    let second: Vec<u8> = (0..8192).map(|offset| at(offset, true)).collect();
    let wrote = call(&history, 2)?.outcome == Outcome::Returned(4096);
    let views = history.file_mmap == second && history.file_pread == second;
    match wrote && views && history.received == [first, second].concat() {
        true => Ok(()),
        false => Err(format!("{:#?}", history.calls)),
    }
}

/// Zeros, and the length stays as it is, though the range may end where the file does.
pub fn a_zeroed_range_is_zeros() -> Result {
    let text = "file ext4 size=12288\n\nzero 4000+5000\nzero 12287+1\nsendfile 0+12288\n";
    let history = run(Contract::Documented, text)?;
    let right = |bytes: &[u8]| {
        bytes.len() == 12_288
            && (0..).zip(bytes).all(|(at, byte)| match at {
                4000..9000 | 12_287 => *byte == 0,
                _ => *byte == pattern(at, 0),
            })
    };
    match right(&history.file_pread) && right(&history.received) {
        true => Ok(()),
        false => Err("not zeros from 4000 to 9000 and at the end".into()),
    }
}

/// What lies behind what was taken out has moved, in the file and in what is sent; what
/// was sent before has not.
pub fn a_collapse_moves_what_lies_behind() -> Result {
    let text = "link data delay=20ms\nfile ext4 size=20000\n\n\
        pwrite 9000+10\nsendfile 0+20000\ncollapse 4096+4096\nsendfile 0+20000\n";
    let history = run(Contract::Documented, text)?;
    let value = |at: u64| pattern(at, u8::from((9000..9010).contains(&at)));
    let before: Vec<u8> = (0..20_000).map(value).collect();
    let after: Vec<u8> = (0..4096).chain(8192..20_000).map(value).collect();
    let done = call(&history, 2)?.outcome == Outcome::Returned(0);
    match done && history.file_pread == after && history.received == [before, after].concat() {
        true => Ok(()),
        false => Err(format!("{:#?}", history.calls)),
    }
}

/// Many files come and go, and none stays: the disk is small.
pub fn the_disk_does_not_fill_up() -> Result {
    for _ in 0..100 {
        let text = "file ext4 size=1048576\n\npwrite 0+1048576\nsendfile 0+4096\n";
        run(Contract::Documented, text)?;
    }
    Ok(())
}
