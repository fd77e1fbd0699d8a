//! **splat**: the kernel's log reports no bug of its own: no WARN, BUG, Oops,
//! panic, sanitizer, lockdep, leak or hung-task report.
//!
//! The one list of what such a report begins with; all who read a kernel's log use
//! it.

use super::{Property, Violation};

/// What a report begins with, and what it is called.
const REPORTS: &[(&str, &str)] = &[
    ("Kernel panic", "panic"),
    ("kernel BUG at", "BUG"),
    ("KASAN:", "KASAN"),
    ("KMSAN:", "KMSAN"),
    ("KCSAN:", "KCSAN"),
    ("KFENCE:", "KFENCE"),
    ("UBSAN:", "UBSAN"),
    (
        "sleeping function called from invalid context",
        "sleep in atomic",
    ),
    ("scheduling while atomic", "sleep in atomic"),
    ("Voluntary context switch within RCU", "lockdep"),
    ("BUG:", "BUG"),
    ("Oops", "Oops"),
    ("general protection", "general protection fault"),
    ("Unable to handle kernel", "bad access"),
    ("divide error:", "divide error"),
    ("Internal error:", "bad access"),
    ("refcount_t:", "reference count"),
    ("list_add corruption", "list corruption"),
    ("list_del corruption", "list corruption"),
    ("possible circular locking", "lockdep"),
    ("possible recursive locking", "lockdep"),
    ("possible irq lock inversion", "lockdep"),
    ("possible deadlock", "lockdep"),
    ("lock order detected", "lockdep"),
    ("inconsistent lock state", "lockdep"),
    ("suspicious RCU usage", "lockdep"),
    ("bad unlock balance", "lockdep"),
    ("trying to register non-static key", "lockdep"),
    ("lock held when returning to user space", "lockdep"),
    ("held lock freed", "lockdep"),
    ("invalid wait context", "lockdep"),
    ("blocked for more than", "hung task"),
    ("detected stall", "RCU stall"),
    ("detected expedited stall", "RCU stall"),
    ("soft lockup", "lockup"),
    ("hard LOCKUP", "lockup"),
    (
        "unregister_netdevice: waiting for",
        "leaked device reference",
    ),
    ("kmemleak: ", "leak"),
    ("unreferenced object 0x", "leak"),
    ("ODEBUG: ", "object"),
    ("ref_tracker: ", "leaked reference"),
    ("Memory failure", "memory failure"),
    ("WARNING:", "WARN"),
    ("cut here ]", "WARN"),
    ("Segfault with no mm", "bad access"),
];

/// Lines that carry such a word and report nothing.
const BENIGN: &[&str] = &[
    "ommand line:",
    "kernel address sanitizer initialized",
    "KernelAddressSanitizer initialized",
    "kfence: initialized",
    "kmemleak: Kernel memory leak detector initialized",
    "kmemleak: Automatic memory scanning thread",
    "Unknown kernel command line parameters",
];

/// The lines of a kernel log that report a bug, without what stands in front of
/// them, each with what it is called.
pub fn reports(kernel_log: &str) -> Vec<(&'static str, &str)> {
    let mut reports: Vec<_> = kernel_log
        .lines()
        .filter_map(|line| {
            if BENIGN.iter().any(|benign| line.contains(benign)) {
                return None;
            }
            let (_, kind) = REPORTS.iter().find(|(mark, _)| begins_word(line, mark))?;
            Some((*kind, message(line)))
        })
        .collect();
    // Only the frame: the line after it says what it is.
    if reports.len() > 1 {
        reports.retain(|(_, line)| !line.contains("cut here ]"));
    }
    reports
}

/// Whether a line of a kernel log reports a bug.
pub fn is_report(line: &str) -> bool {
    !reports(line).is_empty()
}

/// The first report in a kernel log, or `None`.
pub fn splats(kernel_log: &str) -> Option<Violation> {
    let (kind, line) = *reports(kernel_log).first()?;
    Some(Violation::new(
        Property::Splat,
        None,
        format!("the kernel reported ({kind}): {line}"),
    ))
}

/// Whether `mark` stands in `line` and is not the end of a longer word.
fn begins_word(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// A line without its log level, its `[    1.234567] ` and, where
/// CONFIG_PRINTK_CALLER is set, its `[    T1] `.
pub fn message(line: &str) -> &str {
    let mut rest = line.trim();
    while let Some((open, close)) = [('<', '>'), ('[', ']')]
        .into_iter()
        .find(|(open, _)| rest.starts_with(*open))
        && let Some((stamp, after)) = rest[open.len_utf8()..].split_once(close)
    {
        let number = stamp.trim().trim_start_matches(['T', 'C']);
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_report_is_seen() {
        let logs = [
            "[    1.250000] ------------[ cut here ]------------\n[    1.250000] WARNING: CPU: 0 PID: 33 at net/core/stream.c:212 sk_stream_kill_queues+0x30/0x60",
            "<4>[   12.1] WARNING: possible circular locking dependency detected",
            "[    0.51] BUG: kernel NULL pointer dereference, address: 0000000000000008",
            "kernel BUG at mm/filemap.c:154!",
            "Oops: 0000 [#1] SMP",
            "BUG: KASAN: slab-use-after-free in tcp_clean_rtx_queue+0x1/0x2",
            "refcount_t: underflow; use-after-free.",
            "Kernel panic - not syncing: Kernel mode fault at addr 0x8, ip 0x60037d5a",
            "INFO: task inflight:31 blocked for more than 120 seconds.",
            "rcu: INFO: rcu_sched self-detected stall on CPU",
            "general protection fault, probably for non-canonical address 0xdead000000000122",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s!",
            "unregister_netdevice: waiting for veth0 to become free. Usage count = 3",
            "UBSAN: array-index-out-of-bounds in net/ipv4/tcp_output.c:1:2",
            "BUG: sleeping function called from invalid context at fs/splice.c:1",
            "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
            "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "unreferenced object 0x60c0bd80 (size 128):",
            "ODEBUG: free active (active state 0) object: 00000000 object type: timer_list",
        ];
        for log in logs {
            let violation = splats(log).unwrap_or_else(|| panic!("missed: {log}"));
            assert_eq!(violation.property, Property::Splat);
            assert!(!violation.message.contains("cut here"), "{violation:?}");
        }
    }

    #[test]
    fn the_report_is_named_without_its_stamp() {
        let log = "fine\n<4>[    3.000001] BUG: Bad page state in process a  pfn:1\n";
        assert_eq!(
            splats(log).unwrap().message,
            "the kernel reported (BUG): BUG: Bad page state in process a  pfn:1"
        );
    }

    #[test]
    fn ordinary_lines_are_not_reports() {
        let log = "\
Linux version 6.12.117 (x@y) #1 Mon Jan  1 00:00:00 UTC 2026
[    0.000000] Kernel command line: mem=128M panic=-1 oops=panic kernel.panic_on_warn=1 WARNING: BUG:
[    0.000000] kasan: KernelAddressSanitizer initialized
KASAN: kernel address sanitizer initialized
Warning: unable to open an initial console.
[    0.000000] debug_WARN_ON_once is off
DEBUG: nothing here
IPv6: ADDRCONF(NETDEV_CHANGE): veth1: link becomes ready
netem: version 1.3
Console: switching to colour dummy device 80x25
random: crng init done
process 'inflight' started with executable stack
";
        assert_eq!(splats(log), None);
        assert_eq!(splats(""), None);
    }
}
