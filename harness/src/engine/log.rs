//! What the kernel log says.

use crate::oracle::{self, message};

/// How many of the kernel's last lines an [`super::Exit`] carries.
pub const TAIL_LINES: usize = 40;

/// The lines that report a bug of the kernel: `WARNING:`, `BUG:`, KASAN, lockdep,
/// hung tasks and their like, as [`oracle::reports`] knows them.
pub fn splats(log: &str) -> Vec<String> {
    let reports = oracle::reports(log).into_iter();
    reports.map(|(_, line)| line.to_owned()).collect()
}

/// Whether the kernel came as far as its first message (init/main.c,
/// `start_kernel`).
pub fn started(log: &str) -> bool {
    log.lines()
        .any(|line| message(line).starts_with("Linux version "))
}

/// Whether the kernel panicked.
pub fn panicked(log: &str) -> bool {
    log.lines()
        .any(|line| message(line).starts_with("Kernel panic - not syncing"))
}

/// Whether the host did not take the registers of the first process, because it has
/// more of them than the kernel keeps (arch/um/os-Linux/skas/process.c, `userspace`).
pub fn lacks_registers(log: &str) -> bool {
    log.lines()
        .any(|line| message(line).starts_with("userspace - ptrace set fp regs failed"))
}

/// The last [`TAIL_LINES`] lines; of a log with a panic, those that follow it and
/// some from before it.
pub fn tail(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let end = lines
        .iter()
        .position(|line| message(line).starts_with("Kernel panic - not syncing"))
        .map_or(lines.len(), |panic| lines.len().min(panic + TAIL_LINES / 2));
    lines[end.saturating_sub(TAIL_LINES)..end]
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[    0.000000] Linux version 6.12.117
[    0.000000] Kernel command line: x=BUG: y
[   12.500000][   T42] WARNING: CPU: 0 PID: 42 at net/core/skbuff.c:1 f+0x1/0x2
[   12.500000] BUG: KASAN: slab-use-after-free in g+0x1
[   12.600000] ------------[ cut here ]------------
warning: not the kernel's
[   13.000000] Kernel panic - not syncing: sysrq triggered crash\r
[   13.000000] CPU: 0 UID: 0
";

    #[test]
    fn splats_are_found_and_only_they() {
        assert_eq!(
            splats(LOG),
            [
                "WARNING: CPU: 0 PID: 42 at net/core/skbuff.c:1 f+0x1/0x2",
                "BUG: KASAN: slab-use-after-free in g+0x1",
                "Kernel panic - not syncing: sysrq triggered crash",
            ]
        );
        assert!(splats("[    0.000000] Linux version\n").is_empty());
    }

    #[test]
    fn a_panic_is_one_in_the_kernels_words() {
        assert!(panicked(LOG) && started(LOG));
        assert!(!started("Core dump limits :\n"));
        assert!(!panicked(
            "[ 0.0] Kernel command line: Kernel panic - not syncing\n"
        ));
    }

    #[test]
    fn the_tail_ends_at_the_end_or_soon_after_a_panic() {
        let mut log: String = (0..100).map(|n| format!("[    0.000000] {n}\n")).collect();
        assert_eq!(tail(&log).len(), TAIL_LINES);
        assert_eq!(tail(&log)[TAIL_LINES - 1], "[    0.000000] 99");
        log.push_str("Kernel panic - not syncing: x\n");
        log.extend((0..500).map(|n| format!("register {n}\n")));
        let tail = tail(&log);
        assert_eq!(tail.len(), TAIL_LINES);
        assert!(tail.contains(&"Kernel panic - not syncing: x".to_owned()));
        assert!(super::tail("").is_empty());
    }
}
